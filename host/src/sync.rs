//! Locks, threads and the time of waiting.
//!
//! Who may call it: the crate. Built with `--cfg shuttle` they are those of the checker of schedules: see
//! `nokv_core::sync::model`, whose rules hold here too.

#[cfg(shuttle)]
mod model;

#[cfg(not(shuttle))]
pub(crate) use {
    parking_lot::{Condvar, Mutex, RwLock},
    std::hint::spin_loop,
    std::sync::atomic,
    std::thread,
};

#[cfg(shuttle)]
pub(crate) use {
    model::{Condvar, Gate, Inside, atomic, now},
    nokv_core::sync::model::{Mutex, RwLock, spin_loop, thread},
};

/// Lets calls in until it is taken whole.
#[cfg(not(shuttle))]
pub(crate) type Gate = RwLock<()>;

/// A call is in.
#[cfg(not(shuttle))]
pub(crate) type Inside<'a> = parking_lot::RwLockReadGuard<'a, ()>;

/// How often a short wait looks before it sleeps: each look is one more point where a schedule branches.
pub(crate) const fn spins(usual: u32) -> u32 {
    if cfg!(shuttle) { 1 } else { usual }
}

/// The time that limits of waiting are measured with.
#[cfg(not(shuttle))]
#[inline]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
