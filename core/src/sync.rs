//! Locks and cells: `parking_lot` and `arc-swap` with `std`, spin locks without.
//!
//! Built with `--cfg loom` or `--cfg shuttle` they are those of the checker of that name instead (`model`): the tests
//! that run the engine over all or many schedules are built so, nothing else is.

pub use alloc::sync::Arc;

#[cfg(any(loom, shuttle))]
pub mod model;
#[cfg(not(any(loom, shuttle)))]
mod real;

#[cfg(any(loom, shuttle))]
pub use model::{
    ArcCell, ArcGuard, AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Fixed,
    Mutex, MutexGuard, Ordering, RwLock, spin_loop, thread_number,
};
#[cfg(not(any(loom, shuttle)))]
pub use real::{
    ArcCell, ArcGuard, AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Fixed,
    Mutex, MutexGuard, Ordering, RwLock, spin_loop, thread_number,
};

/// An array of the same new value, over and over: a constant, except where `loom` counts each atomic.
#[doc(hidden)]
#[macro_export]
macro_rules! each_new {
    ($new:expr; $count:expr) => {{
        #[cfg(not(loom))]
        let each = [const { $new }; $count];
        #[cfg(loom)]
        let each: [_; $count] = core::array::from_fn(|_| $new);
        each
    }};
}
