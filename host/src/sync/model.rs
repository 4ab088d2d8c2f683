//! The parts of `sync` that know a time, for the checker of schedules. Only builds with `--cfg shuttle` have it.
//!
//! Who may call it: `sync`. Invariants
//! 1. Only looking at the time and waiting move it, so a schedule that runs again sees the same times.
//! 2. A wait that nobody ended took its whole limit.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nokv_core::sync::model;
use nokv_core::sync::{Mutex, MutexGuard};

/// Atomics of the checker.
pub(crate) mod atomic {
    pub(crate) use nokv_core::sync::model::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
}

/// Nanoseconds that have passed. It goes on over all schedules: only differences are ever looked at.
static PASSED: AtomicU64 = AtomicU64::new(0);

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// The time. Each look takes a microsecond.
pub(crate) fn now() -> Instant {
    start() + Duration::from_nanos(PASSED.fetch_add(1000, Ordering::Relaxed))
}

/// As `parking_lot::Condvar`.
#[derive(Debug, Default)]
pub(crate) struct Condvar(model::Condvar);

/// As `parking_lot::WaitTimeoutResult`.
pub(crate) struct Waited(bool);

impl Waited {
    /// Did the limit come first?
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Nobody waits.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Waits for a call.
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.0.wait(guard);
    }

    /// Waits for a call or for `until`.
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> Waited {
        let was_called = self.0.wait_some(guard);
        if !was_called {
            let until = until.saturating_duration_since(start()).as_nanos() as u64;
            PASSED.fetch_max(until, Ordering::Relaxed);
        }
        Waited(!was_called)
    }

    /// Waits for a call, or so long.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, at_most: Duration) -> Waited {
        self.wait_until(guard, now() + at_most)
    }

    /// Wakes one.
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all.
    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// As `parking_lot::RwLock<()>`, where a thread may be in more than once.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<Calls>,
    left: model::Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    inside: usize,
    is_taken: bool,
}

impl Gate {
    pub(crate) fn new((): ()) -> Self {
        Self { state: Mutex::new(Calls::default()), left: model::Condvar::new() }
    }

    /// Waits while it is taken, and not for those that wait to take it.
    pub(crate) fn read_recursive(&self) -> Inside<'_> {
        let mut state = self.state.lock();
        while state.is_taken {
            self.left.wait(&mut state);
        }
        state.inside += 1;
        Inside(self)
    }

    /// Waits until nobody is in.
    pub(crate) fn write(&self) -> Taken<'_> {
        let mut state = self.state.lock();
        while state.is_taken || state.inside > 0 {
            self.left.wait(&mut state);
        }
        state.is_taken = true;
        Taken(self)
    }
}

/// A call is in.
pub(crate) struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state.lock().inside -= 1;
        self.0.left.notify_all();
    }
}

/// Nobody else is in.
pub(crate) struct Taken<'a>(&'a Gate);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.state.lock().is_taken = false;
        self.0.left.notify_all();
    }
}
