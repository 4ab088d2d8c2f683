//! How background threads and waiting writers hear of each other: an epoch that grows with every event.
//!
//! A waiter reads the epoch, looks at the engine, and sleeps only while the epoch is still the one it read; so an
//! event between the look and the sleep is not missed.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

use nokv_core::heat::Signals;
use parking_lot::{Condvar, Mutex};

use super::limit::RateLimit;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HostSignals {
    epoch: Mutex<u64>,
    changed: Condvar,
    publish_waiters: AtomicUsize,
    publish_gate: Mutex<()>,
    published: Condvar,
    io: RateLimit,
}

impl HostSignals {
    pub(crate) fn new(background_bytes_per_second: u64) -> Self {
        Self { io: RateLimit::new(background_bytes_per_second), ..Self::default() }
    }

    /// The database closes: background work is not slowed down any more.
    pub(crate) fn stop_limit(&self) {
        self.io.stop();
    }

    /// The number of the last event.
    pub(crate) fn epoch(&self) -> u64 {
        *self.epoch.lock()
    }

    /// Something happened.
    pub(crate) fn bump(&self) {
        *self.epoch.lock() += 1;
        self.changed.notify_all();
    }

    /// Sleeps until the epoch is not `seen` any more; false if `until` came first.
    pub(crate) fn wait_change(&self, seen: u64, until: Option<Instant>) -> bool {
        let mut epoch = self.epoch.lock();
        while *epoch == seen {
            match until {
                None => self.changed.wait(&mut epoch),
                Some(until) => {
                    if self.changed.wait_until(&mut epoch, until).timed_out() {
                        return *epoch != seen;
                    }
                }
            }
        }
        true
    }

    /// `published` moved: wakes those who wait for it, if anyone does.
    #[inline]
    pub(crate) fn wake_published(&self) {
        // Pairs with the fence of `wait_published`: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.publish_waiters.load(Ordering::Relaxed) > 0 {
            drop(self.publish_gate.lock());
            self.published.notify_all();
        }
    }

    /// Waits until `is_published` holds.
    pub(crate) fn wait_published(&self, is_published: impl Fn() -> bool) {
        // Another member is inserting a few entries: usually shorter than going to sleep.
        for _ in 0..64 {
            if is_published() {
                return;
            }
            std::hint::spin_loop();
        }
        self.publish_waiters.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut gate = self.publish_gate.lock();
        while !is_published() {
            // The timeout is a belt: a wake-up cannot be lost.
            self.published.wait_for(&mut gate, Duration::from_millis(100));
        }
        drop(gate);
        self.publish_waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Signals for HostSignals {
    fn work_ready(&self) {
        self.bump();
    }

    fn background_io(&self, bytes: u64) {
        self.io.take(bytes);
    }
}
