//! What builds use: `parking_lot` and `arc-swap` with `std`, spin locks without, and under Miri: `parking_lot` makes
//! pointers from numbers when threads wait, which strict provenance forbids.

use super::Arc;

pub use core::hint::spin_loop;
pub use portable_atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

#[cfg(all(feature = "std", not(miri)))]
pub use parking_lot::{Mutex, MutexGuard, RwLock};
#[cfg(any(not(feature = "std"), miri))]
pub use spin::{Mutex, MutexGuard, RwLock};

/// A field that is written once, before a pointer to it is handed out. It is the value itself; only `loom` asks, at each
/// read, whether the write came before.
#[repr(transparent)]
pub struct Fixed<T>(T);

impl<T: Copy> Fixed<T> {
    /// Holds `value`.
    #[inline(always)]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value.
    #[inline(always)]
    pub const fn get(&self) -> T {
        self.0
    }
}

/// A small number for the calling thread: threads count in turn, so few that run at once share one.
#[cfg(feature = "std")]
#[inline]
pub fn thread_number() -> usize {
    use core::cell::Cell;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    // A thread that ends has no number any more: any will do.
    MINE.try_with(|mine| match mine.get() {
        usize::MAX => {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % 1024;
            mine.set(number);
            number
        }
        number => number,
    })
    .unwrap_or(0)
}

/// A small number for the calling thread, from where its stack lies.
#[cfg(not(feature = "std"))]
#[inline]
pub fn thread_number() -> usize {
    let here = 0u8;
    (&raw const here as usize) >> 12
}

/// An `Arc` that is replaced as a whole. Loading it writes to no line that readers share (with `std`).
#[cfg(feature = "std")]
pub struct ArcCell<T>(arc_swap::ArcSwap<T>);

/// What [`ArcCell::load`] gives: derefs to the `Arc`.
#[cfg(feature = "std")]
pub type ArcGuard<T> = arc_swap::Guard<Arc<T>>;

#[cfg(feature = "std")]
impl<T> ArcCell<T> {
    /// Holds `value`.
    pub fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(value))
    }

    /// The current value, for a short read.
    #[inline]
    pub fn load(&self) -> ArcGuard<T> {
        self.0.load()
    }

    /// The current value, to keep.
    pub fn load_full(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces the value.
    pub fn store(&self, value: Arc<T>) {
        self.0.store(value);
    }
}

/// An `Arc` that is replaced as a whole.
#[cfg(not(feature = "std"))]
pub struct ArcCell<T>(Mutex<Arc<T>>);

/// What [`ArcCell::load`] gives: derefs to `T`.
#[cfg(not(feature = "std"))]
pub type ArcGuard<T> = Arc<T>;

#[cfg(not(feature = "std"))]
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
