//! What the commit queue counts.
//!
//! Who may call it: the commit queue counts, statistics take a [`WriteSnapshot`].
//!
//! 1. What the leader counts lies beside the queue, under the lock that it takes anyway to hand the leadership on.
//! 2. What any writer may count lies in shards by thread, and only writers that met something slow (sleep in the
//!    queue, the value log) or were drawn for a sample touch it.

use nokv_core::sync::thread_number;

use crate::sync::atomic::{AtomicU64, Ordering};

const SHARDS: usize = 16;
/// One batch of so many has the time of its insertion taken: reading a clock costs a tenth of a small write.
const APPLY_SAMPLE_BITS: u32 = 6;

/// Counted by the leader.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct LeaderCounts {
    records: u64,
    batches: u64,
    entries: u64,
    bytes: u64,
    record_batches_max: u64,
}

impl LeaderCounts {
    /// A group was logged.
    #[inline]
    pub(crate) fn logged(&mut self, batches: usize, entries: usize, bytes: usize) {
        self.records += 1;
        self.batches += batches as u64;
        self.entries += entries as u64;
        self.bytes += bytes as u64;
        self.record_batches_max = self.record_batches_max.max(batches as u64);
    }

    /// Adds what was counted elsewhere.
    #[inline]
    pub(crate) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.batches += other.batches;
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.record_batches_max = self.record_batches_max.max(other.record_batches_max);
    }
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    waits: AtomicU64,
    wait_ns: AtomicU64,
    separated: AtomicU64,
    value_log_ns: AtomicU64,
    applies: AtomicU64,
    apply_ns: AtomicU64,
    refused: AtomicU64,
    coalescing_waits: AtomicU64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct WriteCounters {
    shards: [Shard; SHARDS],
}

/// The write path at one moment. Counts start at 0 with each open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteSnapshot {
    /// Batches that wait in the commit queue now.
    pub queue_depth: u64,
    /// Their operations.
    pub queue_entries: u64,
    /// Their encoded bytes.
    pub queue_bytes: u64,
    /// Groups of batches that were logged together.
    pub records: u64,
    /// Batches in them.
    pub batches: u64,
    /// Operations in them.
    pub entries: u64,
    /// Encoded bytes in them: a large value counts as the pointer to it.
    pub bytes: u64,
    /// Most batches in one of them.
    pub record_batches_max: u64,
    /// How often a leader waited for others to come along (`write_batch_wait`).
    pub coalescing_waits: u64,
    /// Batches that slept in the queue, or for others, or until memtables were flushed. The other ones did not wait,
    /// or so short that sleeping was not worth it.
    pub waits: u64,
    /// How long they waited, in nanoseconds.
    pub wait_ns: u64,
    /// Batches that had values for the value log.
    pub separated: u64,
    /// Time in the value log, in nanoseconds.
    pub value_log_ns: u64,
    /// Batches whose insertion into the memtable was timed: about one in 64.
    pub applies_sampled: u64,
    /// How long those took, in nanoseconds.
    pub apply_ns: u64,
    /// Batches that were refused because they are above `max_batch_count` or `max_batch_bytes`.
    pub refused: u64,
}

fn mean(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

impl WriteSnapshot {
    /// Operations in one group, on average; 0 before the first.
    pub fn record_entries_mean(&self) -> f64 {
        mean(self.entries, self.records)
    }

    /// Encoded bytes in one group, on average; 0 before the first.
    pub fn record_bytes_mean(&self) -> f64 {
        mean(self.bytes, self.records)
    }

    /// How long a batch waited, on average over all, in milliseconds.
    pub fn wait_ms_mean(&self) -> f64 {
        mean(self.wait_ns, self.batches) / 1e6
    }

    /// How long the value log took, on average over the batches that had values for it, in milliseconds.
    pub fn value_log_ms_mean(&self) -> f64 {
        mean(self.value_log_ns, self.separated) / 1e6
    }

    /// How long an insertion took, on average over the sample, in milliseconds.
    pub fn apply_ms_mean(&self) -> f64 {
        mean(self.apply_ns, self.applies_sampled) / 1e6
    }
}

impl WriteCounters {
    fn shard(&self) -> &Shard {
        &self.shards[thread_number() % SHARDS]
    }

    /// The leader is about to wait for others.
    pub(crate) fn coalesces(&self) {
        self.shard().coalescing_waits.fetch_add(1, Ordering::Relaxed);
    }

    /// A batch waited.
    #[cold]
    pub(crate) fn waited(&self, ns: u64) {
        let shard = self.shard();
        shard.waits.fetch_add(1, Ordering::Relaxed);
        shard.wait_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// A batch went through the value log.
    pub(crate) fn separated(&self, ns: u64) {
        let shard = self.shard();
        shard.separated.fetch_add(1, Ordering::Relaxed);
        shard.value_log_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Is the batch that ends with `seq` to be timed? Spread evenly, whatever the sizes of batches are.
    #[inline]
    pub(crate) const fn samples(seq: u64) -> bool {
        seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - APPLY_SAMPLE_BITS) == 0
    }

    /// The insertion of a sampled batch took so long.
    #[cold]
    pub(crate) fn applied(&self, ns: u64) {
        let shard = self.shard();
        shard.applies.fetch_add(1, Ordering::Relaxed);
        shard.apply_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// A batch was too large.
    #[cold]
    pub(crate) fn refused(&self) {
        self.shard().refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts; the fields about the queue are 0.
    pub(crate) fn snapshot(&self, leader: &LeaderCounts) -> WriteSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sum = |of: fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| load(of(s))).sum();
        WriteSnapshot {
            records: leader.records,
            batches: leader.batches,
            entries: leader.entries,
            bytes: leader.bytes,
            record_batches_max: leader.record_batches_max,
            coalescing_waits: sum(|s| &s.coalescing_waits),
            waits: sum(|s| &s.waits),
            wait_ns: sum(|s| &s.wait_ns),
            separated: sum(|s| &s.separated),
            value_log_ns: sum(|s| &s.value_log_ns),
            applies_sampled: sum(|s| &s.applies),
            apply_ns: sum(|s| &s.apply_ns),
            refused: sum(|s| &s.refused),
            ..WriteSnapshot::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_takes_one_in_64_whatever_the_sizes_of_batches_are() {
        for stride in [1, 2, 3, 7, 64, 100, 1000] {
            let taken = (0..64_000u64).filter(|n| WriteCounters::samples(n * stride)).count();
            assert!((800..1200).contains(&taken), "{taken} of 64000 at stride {stride}");
        }
    }

    #[test]
    fn means_of_nothing_are_zero() {
        let none = WriteCounters::default().snapshot(&LeaderCounts::default());
        assert_eq!(none, WriteSnapshot::default());
        assert_eq!((none.wait_ms_mean(), none.record_entries_mean()), (0.0, 0.0));
    }
}
