//! Counters of the engine, and the sizes that files and views tell.

use alloc::vec::Vec;

use nokv_formats::Seq;

use crate::engine::Engine;
use crate::index::MemIndex;
use crate::sync::{AtomicU64, Ordering};
use crate::vfs::Vfs;

/// Threads count on lines of their own: shared counters would be the busiest lines of the engine.
const SHARDS: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Shard {
    reads: AtomicU64,
    writes: AtomicU64,
    batches: AtomicU64,
    written_bytes: AtomicU64,
}

/// Counters since the open.
#[derive(Default)]
pub struct Counters {
    shards: [Shard; SHARDS],
    syncs: AtomicU64,
    flushes: AtomicU64,
    flushed_bytes: AtomicU64,
    flush_ns: AtomicU64,
    compactions: AtomicU64,
    compaction_ns: AtomicU64,
    compaction_read_bytes: AtomicU64,
    compaction_written_bytes: AtomicU64,
    dropped_entries: AtomicU64,
    background_errors: AtomicU64,
    gc_runs: AtomicU64,
    gc_segments: AtomicU64,
}

/// A number that differs between threads that run at once: where the stack of this call lies.
#[inline]
fn shard_of_thread() -> usize {
    let here = 0u8;
    // Stacks are at least 16 KiB apart; only the address is used.
    ((&raw const here as usize) >> 14) % SHARDS
}

impl Counters {
    #[inline]
    fn shard(&self) -> &Shard {
        &self.shards[shard_of_thread()]
    }

    #[inline]
    pub(crate) fn read(&self) {
        self.shard().reads.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn written(&self, ops: usize, bytes: usize) {
        let shard = self.shard();
        shard.writes.fetch_add(ops as u64, Ordering::Relaxed);
        shard.batches.fetch_add(1, Ordering::Relaxed);
        shard.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn flushed(&self, bytes: u64, ns: u64) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flushed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.flush_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(crate) fn compacted(&self, ns: u64) {
        self.compactions.fetch_add(1, Ordering::Relaxed);
        self.compaction_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(crate) fn merged(&self, read: u64, written: u64, entries_in: u64, entries_out: u64) {
        self.compaction_read_bytes.fetch_add(read, Ordering::Relaxed);
        self.compaction_written_bytes.fetch_add(written, Ordering::Relaxed);
        self.dropped_entries.fetch_add(entries_in.saturating_sub(entries_out), Ordering::Relaxed);
    }

    pub(crate) fn background_error(&self) {
        self.background_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn collected(&self, segments: u64) {
        self.gc_runs.fetch_add(1, Ordering::Relaxed);
        self.gc_segments.fetch_add(segments, Ordering::Relaxed);
    }
}

/// One level of the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Sorted tables (level 0: all tables).
    pub tables: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tables of the ingest set.
    pub ingest_tables: u64,
    /// Their bytes.
    pub ingest_bytes: u64,
    /// Entries of all its tables.
    pub entries: u64,
    /// Value-log bytes that its tables name.
    pub value_bytes: u64,
}

/// The engine at one moment. Counters start at 0 with each open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Point reads.
    pub reads: u64,
    /// Operations written.
    pub writes: u64,
    /// Batches written.
    pub batches: u64,
    /// Encoded bytes of those batches.
    pub written_bytes: u64,
    /// Log syncs.
    pub syncs: u64,
    /// Flushes.
    pub flushes: u64,
    /// Table bytes that flushes wrote.
    pub flushed_bytes: u64,
    /// Time in flushes, in nanoseconds.
    pub flush_ns: u64,
    /// Compactions.
    pub compactions: u64,
    /// Time in compactions, in nanoseconds.
    pub compaction_ns: u64,
    /// Table bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Table bytes that compactions wrote.
    pub compaction_written_bytes: u64,
    /// Entries that compactions left out.
    pub dropped_entries: u64,
    /// Background steps that failed.
    pub background_errors: u64,
    /// Value-log collections.
    pub gc_runs: u64,
    /// Segments they freed.
    pub gc_segments: u64,
    /// The highest visible seq.
    pub published: Seq,
    /// Every logged write up to here is durable.
    pub durable: Seq,
    /// Every write up to here is in tables.
    pub flushed: Seq,
    /// Sealed memtables that wait for their flush.
    pub sealed_memtables: u64,
    /// Memory of all memtables, in bytes.
    pub memtable_bytes: u64,
    /// Entries in memtables.
    pub memtable_entries: u64,
    /// Bytes of live log segments.
    pub wal_bytes: u64,
    /// The levels.
    pub levels: Vec<LevelStats>,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Open snapshots.
    pub snapshots: u64,
    /// Retired tables that readers still hold.
    pub retired_tables: u64,
    /// Value-log bytes in files.
    pub value_log_bytes: u64,
    /// Value-log bytes that tables or memtables name.
    pub value_log_live_bytes: u64,
    /// Value-log segments.
    pub value_log_segments: u64,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// The engine at this moment.
    pub fn stats(&self) -> EngineStats {
        let c = &self.counters;
        let sum = |f: fn(&Shard) -> &AtomicU64| c.shards.iter().map(|s| f(s).load(Ordering::Relaxed)).sum();
        let view = self.view();
        let levels: Vec<LevelStats> = view
            .tables
            .levels()
            .iter()
            .map(|level| {
                let mut s = LevelStats::default();
                for table in &level.tables {
                    s.tables += 1;
                    s.bytes += table.meta().file_bytes;
                }
                for table in &level.ingest {
                    s.ingest_tables += 1;
                    s.ingest_bytes += table.meta().file_bytes;
                }
                for table in level.tables.iter().chain(&level.ingest) {
                    s.entries += table.meta().props.entries();
                    s.value_bytes += table.meta().props.live.iter().map(|l| l.bytes).sum::<u64>();
                }
                s
            })
            .collect();
        let cache = self.shared.cache().stats();
        let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
        let segments = self.vlog.segments();
        let in_memtables: u64 = view.memtables().map(|m| m.live().values().sum::<u64>()).sum();
        EngineStats {
            reads: sum(|s| &s.reads),
            writes: sum(|s| &s.writes),
            batches: sum(|s| &s.batches),
            written_bytes: sum(|s| &s.written_bytes),
            syncs: load(&c.syncs),
            flushes: load(&c.flushes),
            flushed_bytes: load(&c.flushed_bytes),
            flush_ns: load(&c.flush_ns),
            compactions: load(&c.compactions),
            compaction_ns: load(&c.compaction_ns),
            compaction_read_bytes: load(&c.compaction_read_bytes),
            compaction_written_bytes: load(&c.compaction_written_bytes),
            dropped_entries: load(&c.dropped_entries),
            background_errors: load(&c.background_errors),
            gc_runs: load(&c.gc_runs),
            gc_segments: load(&c.gc_segments),
            published: self.published(),
            durable: self.durable_seq(),
            flushed: self.flushed_seq(),
            sealed_memtables: view.sealed.len() as u64,
            memtable_bytes: view.memtables().map(|m| m.memory_bytes() as u64).sum(),
            memtable_entries: view.memtables().map(|m| m.index().len() as u64).sum(),
            wal_bytes: self.batch_log.as_ref().map_or(0, |j| j.live_bytes()),
            cache_bytes: cache.bytes as u64,
            snapshots: self.snapshots.lock().len() as u64,
            retired_tables: self.retired.lock().tables.len() as u64,
            value_log_bytes: segments.iter().map(|s| s.size).sum(),
            value_log_live_bytes: levels.iter().map(|l| l.value_bytes).sum::<u64>() + in_memtables,
            value_log_segments: segments.len() as u64,
            levels,
        }
    }

    /// Hits and misses of the block cache.
    pub fn cache_counts(&self) -> (u64, u64) {
        let cache = self.shared.cache().stats();
        (cache.level_0.hits + cache.deeper.hits, cache.level_0.misses + cache.deeper.misses)
    }

    /// Look-ups in the filters and indexes of tables since the open.
    pub fn lookups(&self) -> crate::table::Lookups {
        self.shared.lookups()
    }

    /// Table files that are open now.
    pub fn open_table_files(&self) -> usize {
        self.shared.files().len()
    }

    /// The filters in memory.
    pub fn filter_stats(&self) -> crate::table::FilterStats {
        self.shared.filters().stats()
    }

    /// Roughly how many file bytes the keys of `cf` in `lower..upper` take, value log included, memtables not.
    pub fn approximate_size(&self, cf: nokv_formats::CfId, lower: &[u8], upper: Option<&[u8]>) -> u64 {
        let lower = nokv_formats::KeyRef::new(cf, lower);
        let view = self.view();
        let mut bytes = 0;
        for table in view.tables.tables() {
            let props = &table.meta().props;
            let behind = match upper {
                Some(upper) => props.smallest.as_ref() >= nokv_formats::KeyRef::new(cf, upper),
                None => props.smallest.cf > cf,
            };
            if behind || props.largest.as_ref() < lower {
                continue;
            }
            let share = table.share_of(lower, upper);
            let whole = table.meta().file_bytes + props.live.iter().map(|l| l.bytes).sum::<u64>();
            bytes += (whole as f64 * share) as u64;
        }
        bytes
    }
}
