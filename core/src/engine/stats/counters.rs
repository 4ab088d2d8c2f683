//! Counters of the engine since its open.
//!
//! Who may call it: the engine's own paths, from any thread; [`super`] reads them.
//!
//! 1. What is counted for each read or write stands in shards, each on cache lines of its own, and a thread keeps to
//!    one shard. Everything else happens at most once for a log record or a background step, and is shared.
//! 2. Each counter is named once, in the list below.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nokv_formats::CfId;

use super::histogram::{Histogram, Sharded};
use super::shards::{SHARDS, shard_of_thread};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Families with a number below this have counters of their own in each shard; the others share a map.
const DIRECT_FAMILIES: usize = 15;
/// One of so many point reads and writes is timed: reading the clock twice costs as much as a read from memory.
pub const SAMPLED_ONE_IN: u64 = 16;

macro_rules! counters {
    (
        summed { $( $(#[doc = $sdoc:literal])+ $s:ident; )+ }
        shared { $( $(#[doc = $doc:literal])+ $c:ident; )+ }
    ) => {
        /// Events since the open.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct CounterValues {
            $( $(#[doc = $sdoc])+ pub $s: u64, )+
            $( $(#[doc = $doc])+ pub $c: u64, )+
        }

        impl CounterValues {
            /// Name, value and documentation of each.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> + use<> {
                [
                    $( (stringify!($s), self.$s, concat!($($sdoc),+)), )+
                    $( (stringify!($c), self.$c, concat!($($doc),+)), )+
                ]
                .into_iter()
            }
        }

        #[derive(Default)]
        #[repr(align(128))]
        pub(crate) struct Shared { $( pub(crate) $c: Count, )+ }

        impl Shared {
            pub(crate) fn values(&self) -> CounterValues {
                CounterValues { $( $c: self.$c.get(), )+ ..CounterValues::default() }
            }
        }
    };
}

counters! {
    summed {
        /// Point reads.
        reads;
        /// Operations written.
        writes;
        /// Batches written.
        batches;
        /// Encoded bytes of those batches, with pointers in place of separated values.
        written_bytes;
    }
    shared {
        /// Log records of batches.
        log_records;
        /// Log bytes of those records, frames included.
        log_bytes;
        /// Syncs of the log that were asked for.
        syncs;
        /// Bytes of batches that went to the value log instead of into the log.
        separated_bytes;
        /// Value-log bytes that writers appended, frames included.
        value_log_bytes;
        /// Memtables that became tables.
        flushes;
        /// Table bytes that flushes wrote.
        flushed_bytes;
        /// Compactions, moves included.
        compactions;
        /// Table bytes that compactions and collections read.
        compaction_read_bytes;
        /// Table bytes that compactions and collections wrote.
        compaction_written_bytes;
        /// Entries that compactions and collections left out.
        dropped_entries;
        /// Background steps that failed.
        background_errors;
        /// Iterators that took over the buffers of one that ended.
        iterators_reused;
        /// Value-log collections.
        gc_runs;
        /// Value-log segments that they freed.
        gc_segments;
    }
}

/// One shared counter.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a stage ran, and how long it took.
#[derive(Default)]
pub(crate) struct Stage {
    runs: AtomicU64,
    sum_ns: AtomicU64,
    last_ns: AtomicU64,
    max_ns: AtomicU64,
}

/// A stage at one moment: how often it ran, and how long it took, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageValues {
    /// How often it ran.
    pub runs: u64,
    /// All runs together.
    pub sum_ns: u64,
    /// The last one.
    pub last_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl StageValues {
    /// The mean; 0 before the first run.
    pub fn mean_ns(&self) -> u64 {
        self.sum_ns.checked_div(self.runs).unwrap_or(0)
    }
}

impl Stage {
    pub(crate) fn ran(&self, ns: u64) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        self.last_ns.store(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    fn values(&self) -> StageValues {
        let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
        StageValues {
            runs: load(&self.runs),
            sum_ns: load(&self.sum_ns),
            last_ns: load(&self.last_ns),
            max_ns: load(&self.max_ns),
        }
    }
}

/// How long the stages of one flush took, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FlushTimes {
    pub(crate) wait: u64,
    pub(crate) value_sync: u64,
    pub(crate) build: u64,
    pub(crate) install: u64,
    pub(crate) release: u64,
}

/// The stages of flushes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlushStages {
    /// From sealing to the start.
    pub wait: StageValues,
    /// Making the value log durable.
    pub value_sync: StageValues,
    /// Writing the table, and making it durable.
    pub build: StageValues,
    /// The manifest edit, and waiting for its turn.
    pub install: StageValues,
    /// Letting go of log segments.
    pub release: StageValues,
}

#[derive(Default)]
struct Stages {
    wait: Stage,
    value_sync: Stage,
    build: Stage,
    install: Stage,
    release: Stage,
}

/// Operations of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FamilyCounts {
    /// Point reads.
    pub reads: u64,
    /// Operations written.
    pub writes: u64,
}

#[derive(Default)]
#[repr(align(128))]
struct Shard {
    reads: [AtomicU64; DIRECT_FAMILIES],
    other_reads: AtomicU64,
    writes: [AtomicU64; DIRECT_FAMILIES],
    batches: AtomicU64,
    written_bytes: AtomicU64,
    /// Families with higher numbers.
    others: Mutex<BTreeMap<u32, FamilyCounts>>,
}

/// Counters since the open.
pub struct Counters {
    shards: [Shard; SHARDS],
    pub(crate) shared: Shared,
    flush: Stages,
    compaction: Stage,
    pub(crate) get: Sharded,
    pub(crate) set: Sharded,
    pub(crate) scan_step: Sharded,
    pub(crate) sync: Histogram,
    pub(crate) flush_whole: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            shards: core::array::from_fn(|_| Shard::default()),
            shared: Shared::default(),
            flush: Stages::default(),
            compaction: Stage::default(),
            get: Sharded::new(SHARDS),
            set: Sharded::new(SHARDS),
            scan_step: Sharded::new(SHARDS),
            sync: Histogram::new(),
            flush_whole: Histogram::new(),
        }
    }
}

impl Counters {
    #[inline]
    fn shard(&self) -> &Shard {
        &self.shards[shard_of_thread()]
    }

    /// A point read; true if it is one that is timed.
    #[inline]
    pub(crate) fn read(&self, cf: CfId) -> bool {
        let shard = self.shard();
        let before = match shard.reads.get(cf.0 as usize) {
            Some(count) => count.fetch_add(1, Ordering::Relaxed),
            None => {
                shard.others.lock().entry(cf.0).or_default().reads += 1;
                shard.other_reads.fetch_add(1, Ordering::Relaxed)
            }
        };
        before.is_multiple_of(SAMPLED_ONE_IN)
    }

    /// Counts the operations of a batch as they are applied.
    #[inline]
    pub(crate) fn tally(&self) -> Tally<'_> {
        Tally { shard: self.shard(), cf: CfId::DEFAULT, ops: 0 }
    }

    /// Is the next write one that is timed?
    #[inline]
    pub(crate) fn times_next_write(&self) -> bool {
        self.shard().batches.load(Ordering::Relaxed).is_multiple_of(SAMPLED_ONE_IN)
    }

    pub(crate) fn synced(&self, ns: u64) {
        self.shared.syncs.add(1);
        self.sync.record(ns);
    }

    pub(crate) fn flushed(&self, bytes: u64, times: FlushTimes) {
        self.flush.wait.ran(times.wait);
        self.flush.value_sync.ran(times.value_sync);
        self.flush.build.ran(times.build);
        self.flush.install.ran(times.install);
        self.flush.release.ran(times.release);
        self.flush_whole.record(times.value_sync + times.build + times.install + times.release);
        self.shared.flushes.add(1);
        self.shared.flushed_bytes.add(bytes);
    }

    pub(crate) fn compacted(&self, ns: u64) {
        self.shared.compactions.add(1);
        self.compaction.ran(ns);
    }

    pub(crate) fn merged(&self, read: u64, written: u64, entries_in: u64, entries_out: u64) {
        self.shared.compaction_read_bytes.add(read);
        self.shared.compaction_written_bytes.add(written);
        self.shared.dropped_entries.add(entries_in.saturating_sub(entries_out));
    }

    pub(crate) fn background_error(&self) {
        self.shared.background_errors.add(1);
    }

    pub(crate) fn collected(&self, segments: u64) {
        self.shared.gc_runs.add(1);
        self.shared.gc_segments.add(segments);
    }

    pub(super) fn values(&self) -> CounterValues {
        let families = self.families();
        let sum =
            |f: fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| f(s).load(Ordering::Relaxed)).sum();
        CounterValues {
            reads: families.iter().map(|(_, f)| f.reads).sum(),
            writes: families.iter().map(|(_, f)| f.writes).sum(),
            batches: sum(|s| &s.batches),
            written_bytes: sum(|s| &s.written_bytes),
            ..self.shared.values()
        }
    }

    /// Families that were read or written, ascending.
    pub(super) fn families(&self) -> Vec<(CfId, FamilyCounts)> {
        let mut all: BTreeMap<u32, FamilyCounts> = BTreeMap::new();
        for shard in &self.shards {
            for (n, (reads, writes)) in (0..).zip(shard.reads.iter().zip(&shard.writes)) {
                let entry: &mut FamilyCounts = all.entry(n).or_default();
                entry.reads += reads.load(Ordering::Relaxed);
                entry.writes += writes.load(Ordering::Relaxed);
            }
            for (n, counts) in &*shard.others.lock() {
                let entry = all.entry(*n).or_default();
                entry.reads += counts.reads;
                entry.writes += counts.writes;
            }
        }
        all.retain(|_, counts| *counts != FamilyCounts::default());
        all.into_iter().map(|(n, counts)| (CfId(n), counts)).collect()
    }

    pub(super) fn flush_stages(&self) -> FlushStages {
        FlushStages {
            wait: self.flush.wait.values(),
            value_sync: self.flush.value_sync.values(),
            build: self.flush.build.values(),
            install: self.flush.install.values(),
            release: self.flush.release.values(),
        }
    }

    pub(super) fn compaction_stage(&self) -> StageValues {
        self.compaction.values()
    }
}

/// The operations of one batch: a run of one family is counted at once.
pub(crate) struct Tally<'c> {
    shard: &'c Shard,
    cf: CfId,
    ops: u64,
}

impl Tally<'_> {
    /// An operation of `cf`.
    #[inline]
    pub(crate) fn op(&mut self, cf: CfId) {
        if cf != self.cf {
            self.count();
            (self.cf, self.ops) = (cf, 0);
        }
        self.ops += 1;
    }

    /// That was all; the batch has `bytes`.
    #[inline]
    pub(crate) fn done(self, bytes: usize) {
        self.count();
        self.shard.batches.fetch_add(1, Ordering::Relaxed);
        self.shard.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    #[inline]
    fn count(&self) {
        if self.ops == 0 {
            return;
        }
        match self.shard.writes.get(self.cf.0 as usize) {
            Some(count) => {
                count.fetch_add(self.ops, Ordering::Relaxed);
            }
            None => self.shard.others.lock().entry(self.cf.0).or_default().writes += self.ops,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_counted_apart_also_those_with_high_numbers() {
        let counters = Counters::default();
        let mut tally = counters.tally();
        [CfId(0), CfId(0), CfId(2), CfId(40), CfId(0), CfId(40)].into_iter().for_each(|cf| tally.op(cf));
        tally.done(10);
        for cf in [CfId(2), CfId(40), CfId(40), CfId(DIRECT_FAMILIES as u32)] {
            counters.read(cf);
        }
        let expected = [(0, 0, 3), (2, 1, 1), (15, 1, 0), (40, 2, 2)];
        let expected = expected.map(|(cf, reads, writes)| (CfId(cf), FamilyCounts { reads, writes }));
        assert_eq!(counters.families(), expected);
        let values = counters.values();
        assert_eq!((values.reads, values.writes, values.batches, values.written_bytes), (4, 6, 1, 10));
    }

    #[test]
    fn one_of_sixteen_reads_is_timed() {
        let counters = Counters::default();
        let timed = (0..160).filter(|_| counters.read(CfId(0))).count();
        assert_eq!(timed, 10);
    }

    #[test]
    fn a_stage_keeps_sum_last_and_maximum() {
        let stage = Stage::default();
        assert_eq!(stage.values().mean_ns(), 0);
        [5, 9, 1].into_iter().for_each(|ns| stage.ran(ns));
        assert_eq!(stage.values(), StageValues { runs: 3, sum_ns: 15, last_ns: 1, max_ns: 9 });
        assert_eq!(stage.values().mean_ns(), 5);
    }

    #[test]
    fn each_counter_has_one_name() {
        let values = CounterValues { reads: 1, gc_segments: 2, ..CounterValues::default() };
        let mut names: Vec<_> = values.each().map(|(name, ..)| name).collect();
        let before = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), before);
        assert_eq!(values.each().map(|(_, value, _)| value).sum::<u64>(), 3);
    }
}
