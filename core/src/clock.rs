//! Time, as the host gives it.

/// A source of time. The engine calls it only where an answer depends on time: an entry that may have
/// expired, the creation of a snapshot, a background step.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch; decides expiry. It may jump; the engine never lets its own time go
    /// below the highest expiry cut that the manifest records.
    fn unix_ms(&self) -> u64;

    /// Nanoseconds since some fixed point, never decreasing; measures durations.
    fn monotonic_ns(&self) -> u64;
}

impl<C: Clock + ?Sized> Clock for alloc::sync::Arc<C> {
    fn unix_ms(&self) -> u64 {
        (**self).unix_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        (**self).monotonic_ns()
    }
}

/// A clock that the caller sets: for tests, simulators, and hosts without one.
#[derive(Debug, Default)]
pub struct ManualClock {
    unix_ms: portable_atomic::AtomicU64,
    monotonic_ns: portable_atomic::AtomicU64,
}

impl ManualClock {
    /// Starts at `unix_ms` milliseconds since the Unix epoch.
    pub const fn new(unix_ms: u64) -> Self {
        Self {
            unix_ms: portable_atomic::AtomicU64::new(unix_ms),
            monotonic_ns: portable_atomic::AtomicU64::new(0),
        }
    }

    /// Moves both clocks forward.
    pub fn advance_ms(&self, by_ms: u64) {
        self.unix_ms.fetch_add(by_ms, portable_atomic::Ordering::SeqCst);
        self.monotonic_ns.fetch_add(by_ms * 1_000_000, portable_atomic::Ordering::SeqCst);
    }

    /// Sets the wall clock, also backwards.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, portable_atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(portable_atomic::Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(portable_atomic::Ordering::SeqCst)
    }
}
