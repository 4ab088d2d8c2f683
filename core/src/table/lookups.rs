//! Counts of look-ups in tables: how many filters and indexes were asked, and how often one had to be read first.
//!
//! A point read counts in a [`Lookups`] of its own, on its stack, and adds it up once at its end: one or two additions
//! on a line that few threads share, however many tables it asked.

use crate::sync::{AtomicU64, Ordering};

const SHARDS: usize = 16;

/// Counts of one point read, or sums of all.
///
/// - *Filter hit rate*: the share of the filters asked for that were in memory, [`Lookups::filter_hit_rate`].
/// - *Index hit rate*: the share of the indexes asked for that were in memory, [`Lookups::index_hit_rate`]. An index is
///   asked for when the filter does not exclude the key. It is read with the first use of its table, then stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Filters that were asked for.
    pub filters: u64,
    /// Of these, those that excluded the key.
    pub filter_excluded: u64,
    /// Of these, those that were not in memory: read first, or done without.
    pub filter_misses: u64,
    /// Indexes that were asked for.
    pub indexes: u64,
    /// Of these, those that were read first.
    pub index_misses: u64,
}

fn share(of: u64, misses: u64) -> f64 {
    if of == 0 { 0.0 } else { of.saturating_sub(misses) as f64 / of as f64 }
}

impl Lookups {
    /// Share of the filters asked for that were in memory; 0 if none was asked for.
    pub fn filter_hit_rate(&self) -> f64 {
        share(self.filters, self.filter_misses)
    }

    /// Share of the indexes asked for that were in memory; 0 if none was asked for.
    pub fn index_hit_rate(&self) -> f64 {
        share(self.indexes, self.index_misses)
    }
}

#[derive(Default)]
#[repr(align(128))]
struct Shard {
    filters: AtomicU64,
    excluded: AtomicU64,
    filter_misses: AtomicU64,
    indexes: AtomicU64,
    index_misses: AtomicU64,
}

/// The sums.
#[derive(Default)]
pub(super) struct LookupCounters {
    shards: [Shard; SHARDS],
}

impl LookupCounters {
    /// Adds up what one read counted.
    #[inline]
    pub(super) fn add(&self, counts: &Lookups) {
        let here = 0u8;
        // A number that differs between threads that run at once: stacks are at least 16 KiB apart. Only the address
        // is used.
        let shard = &self.shards[((&raw const here as usize) >> 14) % SHARDS];
        let add = |counter: &AtomicU64, by: u64| {
            if by != 0 {
                counter.fetch_add(by, Ordering::Relaxed);
            }
        };
        add(&shard.filters, counts.filters);
        add(&shard.excluded, counts.filter_excluded);
        add(&shard.filter_misses, counts.filter_misses);
        add(&shard.indexes, counts.indexes);
        add(&shard.index_misses, counts.index_misses);
    }

    pub(super) fn sum(&self) -> Lookups {
        let sum =
            |of: fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| of(s).load(Ordering::Relaxed)).sum();
        Lookups {
            filters: sum(|s| &s.filters),
            filter_excluded: sum(|s| &s.excluded),
            filter_misses: sum(|s| &s.filter_misses),
            indexes: sum(|s| &s.indexes),
            index_misses: sum(|s| &s.index_misses),
        }
    }
}
