//! The same locks and cells, as the checkers `loom` (all schedules of something small) and `shuttle` (many schedules of
//! something large) provide them. Only builds with `--cfg loom` or `--cfg shuttle` have this module.
//!
//! Who may call it: the crates of this workspace, through their own `sync` modules. Invariants
//! 1. Nothing here looks at the time or at the thread of the system: a schedule alone decides what happens.
//! 2. A wait with a limit never sleeps for good: it lets others run some times and then says that the time is up. So
//!    whoever relies on a limit to go on is never called stuck, and whoever relies on being woken must wait without.

#[cfg(loom)]
use loom as checker;
#[cfg(shuttle)]
use shuttle as checker;

use alloc::sync::Arc;
use core::ops::{Deref, DerefMut};

pub use checker::hint::spin_loop;
pub use checker::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use checker::thread;

use checker::sync as base;

/// As `parking_lot::Mutex`.
#[derive(Debug, Default)]
pub struct Mutex<T>(base::Mutex<T>);

/// As `parking_lot::MutexGuard`.
pub struct MutexGuard<'a, T> {
    /// To lock it again after a wait.
    #[cfg(shuttle)]
    mutex: &'a Mutex<T>,
    held: Option<base::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    /// Holds `value`.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        Self(base::Mutex::new(value))
    }

    /// Holds `value`.
    #[cfg(shuttle)]
    pub const fn new(value: T) -> Self {
        Self(base::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.guard(self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// The lock, if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|held| self.guard(held))
    }

    fn guard<'a>(&'a self, held: base::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard {
            #[cfg(shuttle)]
            mutex: self,
            held: Some(held),
        }
    }

    /// Needs no lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("empty only while it waits")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("empty only while it waits")
    }
}

/// As `parking_lot::RwLock`.
#[derive(Debug, Default)]
pub struct RwLock<T>(base::RwLock<T>);

/// As `parking_lot::RwLockReadGuard`.
pub type RwLockReadGuard<'a, T> = base::RwLockReadGuard<'a, T>;

impl<T> RwLock<T> {
    /// Holds `value`.
    pub fn new(value: T) -> Self {
        Self(base::RwLock::new(value))
    }

    /// Waits until nobody writes.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until nobody reads or writes.
    pub fn write(&self) -> base::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// An `Arc` that is replaced as a whole.
pub struct ArcCell<T>(Mutex<Arc<T>>);

/// What [`ArcCell::load`] gives: derefs to `T`.
pub type ArcGuard<T> = Arc<T>;

impl<T> ArcCell<T> {
    /// Holds `value`.
    pub fn new(value: Arc<T>) -> Self {
        Self(Mutex::new(value))
    }

    /// The current value, for a short read.
    pub fn load(&self) -> ArcGuard<T> {
        self.0.lock().clone()
    }

    /// The current value, to keep.
    pub fn load_full(&self) -> Arc<T> {
        self.0.lock().clone()
    }

    /// Replaces the value.
    pub fn store(&self, value: Arc<T>) {
        *self.0.lock() = value;
    }
}

/// A field that is written once, before a pointer to it is handed out. A read that is not ordered behind the write fails
/// the test, with `loom`.
pub struct Fixed<T> {
    value: T,
    #[cfg(loom)]
    written: loom::cell::UnsafeCell<()>,
}

impl<T: Copy> Fixed<T> {
    /// Holds `value`.
    pub fn new(value: T) -> Self {
        Self {
            value,
            #[cfg(loom)]
            written: loom::cell::UnsafeCell::new(()),
        }
    }

    /// The value.
    pub fn get(&self) -> T {
        #[cfg(loom)]
        self.written.with(|_| ());
        self.value
    }
}

/// A small number for the calling thread.
#[cfg(shuttle)]
pub fn thread_number() -> usize {
    usize::from(shuttle::current::me())
}

/// A small number for the calling thread: the models of `loom` do not depend on it.
#[cfg(loom)]
pub fn thread_number() -> usize {
    0
}

/// A condition to wait for.
#[cfg(shuttle)]
#[derive(Debug, Default)]
pub struct Condvar {
    base: base::Condvar,
    /// Calls so far, for waits with a limit.
    calls: core::sync::atomic::AtomicU64,
}

#[cfg(shuttle)]
impl Condvar {
    /// Nobody waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for a call.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("a guard that does not wait");
        guard.held = Some(self.base.wait(held).unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// Waits for a call for some time; false if none came (rule 2).
    pub fn wait_some<T>(&self, guard: &mut MutexGuard<'_, T>) -> bool {
        use shuttle::rand::Rng;
        let seen = self.calls.load(Ordering::Relaxed);
        for _ in 0..shuttle::rand::thread_rng().gen_range(1..5) {
            guard.held = None;
            thread::yield_now();
            guard.held = guard.mutex.lock().held.take();
            if self.calls.load(Ordering::Relaxed) != seen {
                return true;
            }
        }
        false
    }

    /// Wakes one.
    pub fn notify_one(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.base.notify_one();
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.base.notify_all();
    }
}
