//! The thread that runs the log watchdog.
//!
//! Who may call it: `background`, once for an open database.

use std::time::Duration;

use nokv_core::engine::Engine;
use nokv_core::{Error, MemIndex, Result, Vfs};

use super::events::{Event, EventListener};
use super::options::Options;
use super::signals::HostSignals;
use crate::sync::atomic::AtomicBool;
use crate::sync::now;

impl Options {
    /// How often the watchdog looks by itself; `None`: never.
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        let on = self.enable_wal_watchdog && !self.wal_auto_gc_interval.is_zero();
        on.then_some(self.wal_auto_gc_interval)
    }
}

pub(crate) fn watchdog_loop<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    stop: &AtomicBool,
    interval: Duration,
    listener: Option<&dyn EventListener>,
) {
    let (mut next, mut warned) = (now() + interval, false);
    while let Some(epoch) = signals.epoch_unless(stop) {
        if now() < next {
            signals.wait_change(epoch, Some(next));
            continue;
        }
        next = now() + interval;
        let started = now();
        let result: Result<()> = match engine.watchdog_step() {
            Ok(decision) => {
                if decision.warn && !warned {
                    tracing::warn!(reason = decision.reason, "the log holds many raft records");
                }
                warned = decision.warn;
                if decision.remove_below.is_none() {
                    continue;
                }
                // A backlog that passes at the interval would not catch up with is worked off at once.
                let batch = engine.options().watchdog.max_batch.max(1);
                if decision.removable > batch.saturating_mul(2) {
                    next = started;
                }
                Ok(())
            }
            Err(Error::Closed | Error::ReadOnly(_)) => continue,
            Err(error) => {
                tracing::error!(%error, "the log watchdog failed");
                Err(error)
            }
        };
        if let Some(listener) = listener {
            listener.on_event(&Event::step("log watchdog", started.elapsed(), &result));
        }
    }
}
