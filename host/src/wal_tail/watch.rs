//! Waits for news of a log in this process.
//!
//! Who may call it: anyone, from any thread; any number of readers share a watch. Invariants
//! 1. The epoch grows with every change of the log, after it. A reader takes the epoch, looks at the log, and sleeps
//!    only while the epoch is the one it took: no change between the look and the sleep is missed.
//! 2. Who changes the log takes a lock only if somebody waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nokv_core::vfs::Vfs;
use nokv_core::wal::{LogOptions, LogReader, Next, Record};

use crate::Result;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, now};

/// Hears of the changes of a log. See [`super`] for an example.
#[derive(Debug, Default)]
pub struct LogWatch {
    epoch: AtomicU64,
    waiters: AtomicUsize,
    gate: Mutex<()>,
    changed: Condvar,
}

impl LogWatch {
    /// A watch that nothing tells yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The options, with this watch told of every change. A hook that was there is called too, first.
    pub fn told_by(self: &Arc<Self>, mut options: LogOptions) -> LogOptions {
        let watch = Arc::clone(self);
        let before = options.on_change.take();
        options.on_change = Some(Arc::new(move || {
            if let Some(hook) = &before {
                hook();
            }
            watch.wake();
        }));
        options
    }

    /// Something changed: wakes all who wait.
    pub fn wake(&self) {
        // Both sides write first and read then, in one total order: one of them sees the other.
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            drop(self.gate.lock());
            self.changed.notify_all();
        }
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Sleeps until the epoch is not `seen` any more; false if `until` came first.
    fn wait(&self, seen: u64, until: Option<Instant>) -> bool {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.gate.lock();
        let mut in_time = true;
        while in_time && self.epoch() == seen {
            match until {
                None => self.changed.wait(&mut gate),
                Some(until) => in_time = !self.changed.wait_until(&mut gate, until).timed_out(),
            }
        }
        drop(gate);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        self.epoch() != seen
    }
}

/// What [`TailReader::next`] gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Tailed<'a> {
    /// A record.
    Record(Record<'a>),
    /// The time was up and there was none.
    NoNewData,
    /// The log was closed, or died, and everything before was given. Nothing comes any more.
    End,
}

/// A reader of a log that waits at its end.
pub struct TailReader<'l, V: Vfs> {
    reader: LogReader<'l, V>,
    watch: &'l LogWatch,
    payload: Vec<u8>,
}

impl<'l, V: Vfs> TailReader<'l, V> {
    /// Goes on from where `reader` is. Its log must have been opened with the options that `watch` gave: a log that
    /// tells nothing is never heard of.
    pub const fn new(reader: LogReader<'l, V>, watch: &'l LogWatch) -> Self {
        Self { reader, watch, payload: Vec::new() }
    }

    /// The next record, over all segments. Waits for it at the end of the log: for ever, or for `at_most` (0 does not
    /// wait).
    ///
    /// # Errors
    /// As [`LogReader::next`].
    pub fn next(&mut self, at_most: Option<Duration>) -> Result<Tailed<'_>> {
        // A time too far away to be named is for ever.
        let until = at_most.and_then(|time| now().checked_add(time));
        let (position, log_index) = loop {
            let seen = self.watch.epoch();
            match self.reader.next()? {
                Next::Record(record) => {
                    self.payload.clear();
                    self.payload.extend_from_slice(record.payload);
                    break (record.position, record.log_index);
                }
                Next::End => return Ok(Tailed::End),
                Next::NoNewData if at_most == Some(Duration::ZERO) => return Ok(Tailed::NoNewData),
                Next::NoNewData => {
                    if !self.watch.wait(seen, until) {
                        return Ok(Tailed::NoNewData);
                    }
                }
            }
        };
        Ok(Tailed::Record(Record { position, log_index, payload: &self.payload }))
    }

    /// The reader, where it is.
    pub fn into_inner(self) -> LogReader<'l, V> {
        self.reader
    }
}
