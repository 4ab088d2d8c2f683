//! Statistics and health of the handle.

use nokv_core::engine::{EngineStats, Stall};
use nokv_core::manifest::ManifestState;
use nokv_core::{MemIndex, Vfs};
use serde::Serialize;

use super::Db;

/// One level of the tree. Sizes in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct LevelInfo {
    /// Its number.
    pub level: usize,
    /// Sorted tables (level 0: all tables).
    pub tables: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Tables of the ingest set.
    pub ingest_tables: u64,
    /// Their bytes.
    pub ingest_size_bytes: u64,
    /// Entries of all its tables.
    pub entries: u64,
    /// Value-log bytes that its tables name.
    pub value_bytes: u64,
}

/// The database at one moment; counters start at 0 with each open. Sizes in bytes, times in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// Entries in tables and memtables, hidden ones included.
    pub entries: u64,
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
    /// Time in flushes.
    pub flush_ms: u64,
    /// Compactions.
    pub compactions: u64,
    /// Time in compactions.
    pub compaction_ms: u64,
    /// Table bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Table bytes that compactions wrote.
    pub compaction_written_bytes: u64,
    /// Entries that compactions left out.
    pub dropped_entries: u64,
    /// Background steps that failed.
    pub background_errors: u64,
    /// Highest compaction score of a level; above 1 a compaction is due.
    pub compaction_score: f64,
    /// Bytes that compactions have yet to move.
    pub compaction_debt_bytes: u64,
    /// Value-log collections.
    pub gc_runs: u64,
    /// Segments they freed.
    pub gc_segments: u64,
    /// The highest visible seq.
    pub published_seq: u64,
    /// Every logged write up to here is durable.
    pub durable_seq: u64,
    /// Every write up to here is in tables.
    pub flushed_seq: u64,
    /// Sealed memtables that wait for their flush.
    pub sealed_memtables: u64,
    /// Memory of all memtables.
    pub memtable_bytes: u64,
    /// Bytes of live log segments.
    pub wal_bytes: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Block-cache hits.
    pub cache_hits: u64,
    /// Block-cache misses.
    pub cache_misses: u64,
    /// Open snapshots.
    pub snapshots: u64,
    /// Retired tables that readers still hold.
    pub retired_tables: u64,
    /// Bytes of value-log files.
    pub value_log_bytes: u64,
    /// Value-log bytes that tables or memtables name.
    pub value_log_live_bytes: u64,
    /// Value-log segments.
    pub value_log_segments: u64,
    /// Are writers slowed down or stopped now?
    pub throttle_active: bool,
    /// The levels.
    pub levels: Vec<LevelInfo>,
}

/// Is the database well?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Takes writes.
    pub writable: bool,
    /// Why it does not.
    pub cause: Option<String>,
    /// What keeps background work from going on just now, and may pass, such as a full disk.
    pub hindrance: Option<String>,
    /// Open snapshots: (seq, age in milliseconds).
    pub snapshots: Vec<(u64, u64)>,
    /// Log bytes behind the last durable mark that the open cut; 0 if it cut nothing.
    pub cut_bytes: u64,
}

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// The database at this moment.
    pub fn stats(&self) -> Stats {
        let engine = self.engine();
        let e: EngineStats = engine.stats();
        let scores = engine.scores();
        let cache = engine.cache_counts();
        let ms = |ns: u64| ns / 1_000_000;
        Stats {
            entries: e.levels.iter().map(|l| l.entries).sum::<u64>() + e.memtable_entries,
            reads: e.reads,
            writes: e.writes,
            batches: e.batches,
            written_bytes: e.written_bytes,
            syncs: e.syncs,
            flushes: e.flushes,
            flushed_bytes: e.flushed_bytes,
            flush_ms: ms(e.flush_ns),
            compactions: e.compactions,
            compaction_ms: ms(e.compaction_ns),
            compaction_read_bytes: e.compaction_read_bytes,
            compaction_written_bytes: e.compaction_written_bytes,
            dropped_entries: e.dropped_entries,
            background_errors: e.background_errors,
            compaction_score: scores.level.iter().chain(&scores.ingest).max().copied().unwrap_or(0) as f64
                / 1000.0,
            compaction_debt_bytes: scores.debt_bytes,
            gc_runs: e.gc_runs,
            gc_segments: e.gc_segments,
            published_seq: e.published.0,
            durable_seq: e.durable.0,
            flushed_seq: e.flushed.0,
            sealed_memtables: e.sealed_memtables,
            memtable_bytes: e.memtable_bytes,
            wal_bytes: e.wal_bytes,
            cache_bytes: e.cache_bytes,
            cache_hits: cache.0,
            cache_misses: cache.1,
            snapshots: e.snapshots,
            retired_tables: e.retired_tables,
            value_log_bytes: e.value_log_bytes,
            value_log_live_bytes: e.value_log_live_bytes,
            value_log_segments: e.value_log_segments,
            throttle_active: engine.stall() != Stall::None,
            levels: e
                .levels
                .iter()
                .enumerate()
                .map(|(level, l)| LevelInfo {
                    level,
                    tables: l.tables,
                    size_bytes: l.bytes,
                    ingest_tables: l.ingest_tables,
                    ingest_size_bytes: l.ingest_bytes,
                    entries: l.entries,
                    value_bytes: l.value_bytes,
                })
                .collect(),
        }
    }

    /// Is the database well?
    pub fn health(&self) -> Health {
        let engine = self.engine();
        let cause = engine.failure().map(|e| e.to_string());
        let now = engine.now_ms();
        Health {
            writable: cause.is_none() && !self.options().read_only && !self.is_closed(),
            cause,
            hindrance: engine.hindrance().map(|e| e.to_string()),
            snapshots: engine
                .open_snapshots()
                .into_iter()
                .map(|(seq, at)| (seq.0, now.saturating_sub(at)))
                .collect(),
            cut_bytes: engine.open_report().cut.as_ref().map_or(0, |cut| cut.bytes),
        }
    }

    /// What the manifest says: families, tables, floors.
    pub fn manifest(&self) -> ManifestState {
        self.engine().manifest_state()
    }
}
