//! Latency histograms: log-linear buckets, counted with relaxed atomics.
//!
//! Who may call it: anyone, from any thread.
//!
//! Times below 16 ns have a bucket each; each power of two above is cut into eight, up to 2^44 ns (4.9 hours), which
//! longer times count as. So a percentile is at most an eighth too high, and never too low.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::shards::shard_of_thread;
use crate::sync::{AtomicU64, Ordering};

const LINEAR: usize = 16;
const LINEAR_LOG2: u32 = LINEAR.ilog2();
const PARTS_LOG2: u32 = 3;
const HIGHEST_LOG2: u32 = 43;
const BUCKETS: usize = LINEAR + ((HIGHEST_LOG2 - LINEAR_LOG2 + 1) << PARTS_LOG2) as usize;

const fn bucket_of(ns: u64) -> usize {
    if ns < LINEAR as u64 {
        return ns as usize;
    }
    let log2 = ns.ilog2();
    if log2 > HIGHEST_LOG2 {
        return BUCKETS - 1;
    }
    let part = (ns >> (log2 - PARTS_LOG2)) & ((1 << PARTS_LOG2) - 1);
    LINEAR + ((log2 - LINEAR_LOG2) << PARTS_LOG2) as usize + part as usize
}

/// The longest time that counts into `bucket`.
const fn upper_end(bucket: usize) -> u64 {
    if bucket < LINEAR {
        return bucket as u64;
    }
    let above = (bucket - LINEAR) as u64;
    let log2 = (above >> PARTS_LOG2) as u32 + LINEAR_LOG2;
    let part = above & ((1 << PARTS_LOG2) - 1);
    (((1 << PARTS_LOG2) + part + 1) << (log2 - PARTS_LOG2)) - 1
}

#[repr(align(128))]
struct Counts {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Counts {
    fn new() -> Self {
        Self {
            buckets: core::array::from_fn(|_| AtomicU64::new(0)),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }

    fn record(&self, ns: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(ns)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        if ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.fetch_max(ns, Ordering::Relaxed);
        }
    }
}

/// A histogram that threads share: for what happens rarely.
pub struct Histogram(Box<Counts>);

impl Histogram {
    pub(super) fn new() -> Self {
        Self(Box::new(Counts::new()))
    }

    pub(crate) fn record(&self, ns: u64) {
        self.0.record(ns);
    }

    pub(super) fn values(&self) -> Latency {
        Latency::of(core::slice::from_ref(&*self.0))
    }
}

/// A histogram with a part for each thread: for what happens often.
pub struct Sharded(Box<[Counts]>);

impl Sharded {
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Counts::new()).collect())
    }

    pub(crate) fn record(&self, ns: u64) {
        if let Some(counts) = self.0.get(shard_of_thread() % self.0.len().max(1)) {
            counts.record(ns);
        }
    }

    pub(super) fn values(&self) -> Latency {
        Latency::of(&self.0)
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// Measured operations.
    pub count: u64,
    /// Their time, in nanoseconds.
    pub sum_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    buckets: Vec<u64>,
}

impl Latency {
    fn of(parts: &[Counts]) -> Self {
        let mut sum = Self { buckets: alloc::vec![0; BUCKETS], ..Self::default() };
        for part in parts {
            for (total, bucket) in sum.buckets.iter_mut().zip(&part.buckets) {
                *total += bucket.load(Ordering::Relaxed);
            }
            sum.sum_ns = sum.sum_ns.saturating_add(part.sum_ns.load(Ordering::Relaxed));
            sum.max_ns = sum.max_ns.max(part.max_ns.load(Ordering::Relaxed));
        }
        sum.count = sum.buckets.iter().sum();
        sum
    }

    /// A time that `per_mille` thousandths of the measured operations took at most; 0 before the first.
    pub fn quantile_ns(&self, per_mille: u64) -> u64 {
        let wanted = self.count.saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (n, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(n).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_hold_what_belongs_there() {
        assert_eq!(bucket_of(0), 0);
        for bucket in 0..BUCKETS {
            let end = upper_end(bucket);
            assert_eq!(bucket_of(end), bucket);
            assert_eq!(bucket_of(end + 1), (bucket + 1).min(BUCKETS - 1), "behind {end}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_never_too_low_and_at_most_an_eighth_too_high() {
        let histogram = Histogram::new();
        (1..=1000).for_each(|n| histogram.record(n * 977));
        let values = histogram.values();
        assert_eq!((values.count, values.max_ns), (1000, 977_000));
        for per_mille in [1, 10, 500, 900, 990, 999, 1000] {
            let (exact, told) = (per_mille * 977, values.quantile_ns(per_mille));
            assert!(told >= exact && told <= exact + exact / 8, "{per_mille}: {told} for {exact}");
        }
    }

    #[test]
    fn an_empty_histogram_says_0() {
        assert_eq!(Histogram::new().values().quantile_ns(500), 0);
    }

    #[test]
    fn a_time_beyond_the_last_bucket_is_told_as_it_was() {
        let sharded = Sharded::new(4);
        sharded.record(u64::MAX / 2);
        assert_eq!(sharded.values().quantile_ns(999), upper_end(BUCKETS - 1));
        assert_eq!(sharded.values().max_ns, u64::MAX / 2);
    }
}
