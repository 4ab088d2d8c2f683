//! The rings of a database: which keys are read, written, and written with large values; and what follows from it.
//!
//! | ring | touched by | used for |
//! |---|---|---|
//! | read | point reads | statistics, warm blocks, compaction scores |
//! | write | each key of a batch, before the log | statistics, throttling, larger log records |
//! | value log | each value that goes to the value log | its hot buckets |
//!
//! Who may call it: the handle. A ring that nothing asks for is not made; what is left of it then is one branch.
//! 1. A batch is let in as a whole or refused as a whole, before anything of it is written anywhere; what it counted
//!    for its keys before the one at the limit is taken back.
//! 2. Time is the database's clock.

use std::sync::Arc;
use std::time::Duration;

use nokv_core::clock::Clock;
use nokv_core::engine::Engine;
use nokv_core::formats::{CfId, KeyBuf, KeyRef, Kind};
use nokv_core::heat::Heat;
use nokv_core::hotring::{HotKey, RingOptions, RingStats, RotatingRing};
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};

use super::Db;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// `hot_ring_top_k` when it is 0.
const TOP_K_DEFAULT: usize = 16;
/// A key of the top that was read less often is not worth a block.
const WARM_COUNT_MIN: u64 = 2;
/// The background step runs at least so often.
const STEP_MAX: Duration = Duration::from_secs(1);
const STEP_MIN: Duration = Duration::from_millis(10);

/// A ring's shape and how often it rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RotatingOptions {
    pub(crate) ring: RingOptions,
    pub(crate) rotation_ns: u64,
}

impl RotatingOptions {
    /// Does a count ever fall by itself?
    pub(crate) const fn forgets(&self) -> bool {
        self.ring.window_slots > 0 || self.ring.decay_interval_ns > 0 || self.rotation_ns > 0
    }
}

/// What the rings are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HotOptions {
    /// Master switch.
    pub(crate) enabled: bool,
    /// No write will come.
    pub(crate) read_only: bool,
    /// Read and write ring.
    pub(crate) shape: RotatingOptions,
    pub(crate) value_log: RotatingOptions,
    /// Keys that statistics list and that are kept warm; 0 = the default.
    pub(crate) top_k: usize,
    /// 0 = no key is hot for the value log.
    pub(crate) value_log_threshold: u32,
    /// 0 = no limit.
    pub(crate) write_limit: u32,
    /// 0 = no writer is hot.
    pub(crate) burst_threshold: u32,
    pub(crate) batch_multiplier: u32,
}

/// One ring at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HotRingReport {
    /// Its shape and counters.
    pub ring: RingStats,
    /// Its hottest keys, the hottest first; as many as `hot_ring_top_k`.
    pub top: Vec<HotKey>,
    /// Memory that it holds, in bytes.
    pub memory_bytes: u64,
}

/// All rings of a database at one moment; `None`: there is no such ring.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HotReport {
    /// Keys that are read.
    pub read: Option<HotRingReport>,
    /// Keys that are written.
    pub write: Option<HotRingReport>,
    /// Keys whose values go to the value log.
    pub value_log: Option<HotRingReport>,
    /// Batches that were refused because a key of theirs was at its limit.
    pub hot_key_limited: u64,
}

/// See the module.
pub(crate) struct HotRings {
    clock: Arc<dyn Clock>,
    read: Option<RotatingRing>,
    write: Option<RotatingRing>,
    value_log: Option<RotatingRing>,
    options: HotOptions,
    limited: AtomicU64,
    /// The keys that were read most when the step last looked.
    read_most: Mutex<Arc<[KeyBuf]>>,
}

impl HotRings {
    pub(crate) fn new(options: HotOptions, clock: Arc<dyn Clock>) -> Self {
        let now = clock.monotonic_ns();
        let ring =
            |wanted: bool, o: &RotatingOptions| wanted.then(|| RotatingRing::new(o.ring, o.rotation_ns, now));
        let writes = options.enabled && !options.read_only;
        Self {
            read: ring(options.enabled, &options.shape),
            write: ring(writes, &options.shape),
            value_log: ring(writes && options.value_log_threshold > 0, &options.value_log),
            clock,
            options,
            limited: AtomicU64::new(0),
            read_most: Mutex::default(),
        }
    }

    #[inline]
    fn now(&self, ring: &RotatingRing) -> u64 {
        if ring.needs_time() { self.clock.monotonic_ns() } else { 0 }
    }

    /// A point read of `key`.
    #[inline]
    pub(crate) fn on_read(&self, key: KeyRef<'_>) {
        if let Some(ring) = &self.read {
            ring.record(key, self.now(ring));
        }
    }

    /// Lets a batch in, before anything of it is written; gives what the limits of its log record are multiplied by.
    #[inline]
    pub(crate) fn admit(&self, batch: &WriteBatch) -> Result<u32> {
        match &self.write {
            Some(ring) => self.admit_to(ring, batch),
            None => Ok(1),
        }
    }

    fn admit_to(&self, ring: &RotatingRing, batch: &WriteBatch) -> Result<u32> {
        let now = self.now(ring);
        let limit = u64::from(self.options.write_limit);
        let counts_are_used = limit > 0 || self.options.burst_threshold > 0;
        let mut hottest = 0;
        for (n, op) in batch.iter().enumerate() {
            // A range is not a key.
            if op.kind == Kind::RangeDelete {
                continue;
            }
            if !counts_are_used {
                ring.record(op.key, now);
                continue;
            }
            let (count, limited) = ring.touch_and_clamp(op.key, limit, now);
            if limited {
                for op in batch.iter().take(n).filter(|op| op.kind != Kind::RangeDelete) {
                    ring.untouch(op.key, now);
                }
                self.limited.fetch_add(1, Ordering::Relaxed);
                return Err(Error::HotKeyWriteThrottle);
            }
            hottest = hottest.max(count);
        }
        Ok(self.scale(hottest))
    }

    /// How often the background step is to run; `None` without any ring.
    pub(crate) fn step_interval(&self) -> Option<Duration> {
        let rings = [
            (&self.read, &self.options.shape),
            (&self.write, &self.options.shape),
            (&self.value_log, &self.options.value_log),
        ];
        let mut interval = None;
        for (_, o) in rings.into_iter().filter(|(ring, _)| ring.is_some()) {
            let own = [o.ring.decay_interval_ns, o.rotation_ns].into_iter().filter(|ns| *ns > 0).min();
            let own = own.map_or(STEP_MAX, Duration::from_nanos).clamp(STEP_MIN, STEP_MAX);
            interval = Some(interval.map_or(own, |i: Duration| i.min(own)));
        }
        interval
    }

    /// Rotates and decays what is due, and keeps the hottest keys' blocks warm.
    pub(crate) fn step<V: Vfs, I: MemIndex>(&self, engine: &Engine<V, I>) {
        let (now, unix_s) = (self.clock.monotonic_ns(), self.clock.unix_ms() / 1000);
        for ring in [&self.read, &self.write, &self.value_log].into_iter().flatten() {
            ring.maintain(now, unix_s);
        }
        let Some(read) = &self.read else { return };
        let mut top = read.top_n(self.top_k(), now);
        top.retain(|hot| hot.count >= WARM_COUNT_MIN);
        let keys: Arc<[KeyBuf]> = top.into_iter().map(|hot| hot.key).collect();
        *self.read_most.lock() = keys.clone();
        for key in keys.iter() {
            // What cannot be read is told to whoever asks for it.
            if let Err(error) = engine.warm(key.as_ref()) {
                tracing::debug!(%error, "a hot key's block was not brought in");
            }
        }
    }

    fn top_k(&self) -> usize {
        if self.options.top_k == 0 { TOP_K_DEFAULT } else { self.options.top_k }
    }

    /// What the limits of a log record are multiplied by for a writer of `key`, as it is now.
    pub(crate) fn scale_of(&self, key: KeyRef<'_>) -> u32 {
        self.write.as_ref().map_or(1, |ring| self.scale(ring.frequency(key, self.now(ring))))
    }

    fn scale(&self, count: u64) -> u32 {
        let burst = u64::from(self.options.burst_threshold);
        if burst > 0 && count > burst { self.options.batch_multiplier.max(1) } else { 1 }
    }

    fn report_of(&self, ring: &Option<RotatingRing>) -> Option<HotRingReport> {
        ring.as_ref().map(|ring| HotRingReport {
            ring: ring.stats(),
            top: ring.top_n(self.top_k(), self.clock.monotonic_ns()),
            memory_bytes: ring.memory_bytes() as u64,
        })
    }

    pub(crate) fn report(&self) -> HotReport {
        HotReport {
            read: self.report_of(&self.read),
            write: self.report_of(&self.write),
            value_log: self.report_of(&self.value_log),
            hot_key_limited: self.limited.load(Ordering::Relaxed),
        }
    }
}

impl Heat for HotRings {
    fn is_hot(&self, key: KeyRef<'_>) -> bool {
        let Some(ring) = &self.value_log else { return false };
        ring.touch(key, self.now(ring)) >= u64::from(self.options.value_log_threshold)
    }

    fn read_most(&self) -> Arc<[KeyBuf]> {
        self.read_most.lock().clone()
    }
}

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// The hot rings at this moment. Looks at every key that they track.
    pub fn hot_report(&self) -> HotReport {
        self.inner.hot.report()
    }

    /// What `write_batch_max_count` and `write_batch_max_bytes` are multiplied by for a writer of this key of the
    /// default family just now: `hot_write_batch_multiplier` if it is hot, else 1.
    pub fn write_scale(&self, key: &[u8]) -> u32 {
        self.inner.hot.scale_of(KeyRef::new(CfId::DEFAULT, key))
    }

    /// Runs the background step of the rings now: rotation and decay that are due by the database's clock, and
    /// bringing the hottest keys' blocks into the cache. A database with threads does it by itself.
    pub fn hot_step(&self) {
        self.inner.hot.step(&self.inner.engine);
    }
}
