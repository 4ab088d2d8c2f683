//! How background threads and waiting writers hear of each other: an epoch that grows with every event.
//!
//! A waiter reads the epoch, looks at the engine, and sleeps only while the epoch is still the one it read; so an
//! event between the look and the sleep is not missed.

use std::time::{Duration, Instant};

use nokv_core::engine::ValueLogStep;
use nokv_core::heat::Signals;

use super::limit::RateLimit;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Mutex, spin_loop, spins, thread};

/// While a flush runs, a collection rests so long each time it moved so many bytes: about 64 MiB a second are left to it.
const YIELD: Duration = Duration::from_millis(4);
const YIELD_BYTES: u64 = 256 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HostSignals {
    epoch: Mutex<u64>,
    changed: Condvar,
    publish_waiters: AtomicUsize,
    publish_gate: Mutex<()>,
    published: Condvar,
    io: RateLimit,
    /// Steps that run now and that collection lets go first.
    urgent: AtomicUsize,
    /// Bytes that collections moved since they last looked at that.
    moved: AtomicU64,
    /// Report steps of the value log at level `info`.
    verbose: bool,
}

impl HostSignals {
    pub(crate) fn new(background_bytes_per_second: u64, verbose: bool) -> Self {
        Self { io: RateLimit::new(background_bytes_per_second), verbose, ..Self::default() }
    }

    /// Until the guard is dropped collections go slowly.
    pub(crate) fn urgent(&self) -> Urgent<'_> {
        self.urgent.fetch_add(1, Ordering::Relaxed);
        Urgent(self)
    }

    /// The database closes: background work is not slowed down any more.
    pub(crate) fn stop_limit(&self) {
        self.io.stop();
    }

    /// How often background work waited for its limit.
    pub(crate) fn limit_waits(&self) -> u64 {
        self.io.waits()
    }

    /// The number of the last event.
    pub(crate) fn epoch(&self) -> u64 {
        *self.epoch.lock()
    }

    /// The epoch, for a thread that waits for it to change; `None` once `stop` is set. Read in this order, or a stop
    /// between the two looks would be slept through.
    pub(crate) fn epoch_unless(&self, stop: &AtomicBool) -> Option<u64> {
        let epoch = self.epoch();
        (!stop.load(Ordering::Acquire)).then_some(epoch)
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
        for _ in 0..spins(64) {
            if is_published() {
                return;
            }
            spin_loop();
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

/// See [`HostSignals::urgent`].
pub(crate) struct Urgent<'a>(&'a HostSignals);

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.urgent.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Signals for HostSignals {
    fn work_ready(&self) {
        self.bump();
    }

    fn background_io(&self, bytes: u64) {
        self.io.take(bytes);
    }

    fn collection_io(&self, bytes: u64) {
        self.io.take(bytes);
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if moved >= YIELD_BYTES {
            self.moved.store(0, Ordering::Relaxed);
            if self.urgent.load(Ordering::Relaxed) > 0 {
                thread::sleep(YIELD);
            }
        }
    }

    fn value_log(&self, step: &ValueLogStep) {
        match step {
            ValueLogStep::Refused(refusal) => tracing::warn!("value log: {refusal}"),
            step if self.verbose => tracing::info!("value log: {step}"),
            step => tracing::debug!("value log: {step}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that looked at the stop first and at the epoch then would sleep through a stop between the two.
    #[test]
    fn a_stop_right_after_a_change_wakes_whoever_waits() {
        let signals = HostSignals::new(0, false);
        for round in 0..3000 {
            let stop = AtomicBool::new(false);
            let was_told = std::thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    while let Some(epoch) = signals.epoch_unless(&stop) {
                        if !signals.wait_change(epoch, Some(Instant::now() + Duration::from_secs(20))) {
                            return false;
                        }
                    }
                    true
                });
                signals.bump();
                stop.store(true, Ordering::Release);
                signals.bump();
                waiting.join().unwrap()
            });
            assert!(was_told, "round {round}");
        }
    }
}
