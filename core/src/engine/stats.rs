//! Counters of the engine, and the sizes that files and views tell.
//!
//! Who may call it: any thread, at any time. Nothing here waits for a background step: where scores need the install
//! lock and a manifest edit is being synced under it, the running compactions are left out of account.

use alloc::vec::Vec;

use nokv_formats::walfs::{Position, parse_segment_file_name};
use nokv_formats::{CfId, Seq};

use crate::compact::{BusySet, LevelHeat, Scores, scores};
use crate::engine::{Engine, WAL_DIR};
use crate::index::MemIndex;
use crate::sync::Arc;
use crate::table::{CacheStats, Lookups};
use crate::vfs::Vfs;
use crate::wal::batch_log::SEGMENT_EXT;

mod bytes;
mod counters;
mod histogram;
mod pins;
mod shards;

pub use bytes::{LevelStats, SegmentStats};
pub(crate) use counters::FlushTimes;
pub use counters::{CounterValues, Counters, FamilyCounts, FlushStages, SAMPLED_ONE_IN, StageValues};
pub use histogram::Latency;
pub(crate) use pins::PinList;
pub use pins::{Pin, PinOwner, PinStats};

/// How long operations take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Point reads; one of [`SAMPLED_ONE_IN`].
    pub get: Latency,
    /// Commits as the host measures them; one of [`SAMPLED_ONE_IN`].
    pub set: Latency,
    /// Steps of iterators as the host measures them; one of [`SAMPLED_ONE_IN`].
    pub scan_step: Latency,
    /// Syncs of log and value log; all.
    pub sync: Latency,
    /// Flushes without their wait; all.
    pub flush: Latency,
}

/// The log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Where the next record goes.
    pub end: Position,
    /// Segments in files.
    pub segments: u64,
    /// Bytes of headers and records; of whole files when read-only.
    pub bytes: u64,
}

/// The engine at one moment. Counters start at 0 with each open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Events since the open.
    pub counters: CounterValues,
    /// Operations by family, ascending.
    pub families: Vec<(CfId, FamilyCounts)>,
    /// The stages of flushes.
    pub flush: FlushStages,
    /// Is a flush running?
    pub flush_active: bool,
    /// Compactions, moves included.
    pub compaction: StageValues,
    /// How long operations take.
    pub latencies: Latencies,
    /// The highest visible seq.
    pub published: Seq,
    /// Every logged write up to here is durable.
    pub durable: Seq,
    /// Every write up to here is in tables.
    pub flushed: Seq,
    /// Sealed memtables that wait for their flush, or are in it.
    pub sealed_memtables: u64,
    /// Memory of all memtables, in bytes; those that only readers hold included.
    pub memtable_bytes: u64,
    /// Entries in memtables.
    pub memtable_entries: u64,
    /// The log.
    pub log: LogStats,
    /// The levels.
    pub levels: Vec<LevelStats>,
    /// About how much of tables and value log would stay if nothing hidden was kept, in bytes.
    pub live_bytes: u64,
    /// The value log's segments.
    pub segments: Vec<SegmentStats>,
    /// Collected segments whose files wait for readers.
    pub retired_segments: u64,
    /// The block cache.
    pub cache: CacheStats,
    /// Open table files.
    pub open_files: u64,
    /// Memory of indexes and range deletes of open tables, in bytes.
    pub table_memory_bytes: u64,
    /// Memory of filters, in bytes.
    pub filter_memory_bytes: u64,
    /// Look-ups in filters and indexes.
    pub lookups: Lookups,
    /// Open snapshots.
    pub snapshots: u64,
    /// Tables that left the tree and that readers still hold.
    pub retired_tables: u64,
    /// Their bytes.
    pub retired_table_bytes: u64,
    /// Open iterators and snapshots, oldest first.
    pub pins: Vec<PinStats>,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// The engine at this moment.
    pub fn stats(&self) -> EngineStats {
        let view = self.view();
        let (retired_tables, retired_table_bytes, retired_segments, retired_memtable_bytes) = {
            let retired = self.retired.lock();
            let held = || retired.tables.iter().filter(|t| Arc::strong_count(t) > 1);
            let memtables = retired.memtables.iter().filter(|m| Arc::strong_count(m) > 1);
            (
                held().count() as u64,
                held().map(|t| t.meta().file_bytes).sum(),
                retired.segments.len() as u64,
                memtables.map(|m| m.memory_bytes() as u64).sum::<u64>(),
            )
        };
        // A guard in the expression below would live to its end.
        let snapshots = self.snapshots.lock().len() as u64;
        let c = &self.counters;
        EngineStats {
            counters: c.values(),
            families: c.families(),
            flush: c.flush_stages(),
            flush_active: self.flush_runs.load(crate::sync::Ordering::Acquire),
            compaction: c.compaction_stage(),
            latencies: Latencies {
                get: c.get.values(),
                set: c.set.values(),
                scan_step: c.scan_step.values(),
                sync: c.sync.values(),
                flush: c.flush_whole.values(),
            },
            published: self.published(),
            durable: self.durable_seq(),
            flushed: self.flushed_seq(),
            sealed_memtables: view.sealed.len() as u64,
            memtable_bytes: view.memtables().map(|m| m.memory_bytes() as u64).sum::<u64>()
                + retired_memtable_bytes,
            memtable_entries: view.memtables().map(|m| m.index().len() as u64).sum(),
            log: self.log_stats(),
            levels: self.level_stats(&view),
            live_bytes: self.live_estimate(&view.tables),
            segments: self.segment_stats(&view),
            retired_segments,
            cache: self.shared.cache().stats(),
            open_files: self.shared.files().len() as u64,
            table_memory_bytes: self.shared.pinned_bytes() as u64,
            filter_memory_bytes: self.shared.filters().stats().bytes as u64,
            lookups: self.shared.lookups(),
            snapshots,
            retired_tables,
            retired_table_bytes,
            pins: self.pins(),
        }
    }

    fn log_stats(&self) -> LogStats {
        if let Some(log) = &self.batch_log {
            let segments = log.segments();
            let bytes = segments.iter().map(|s| s.end).sum();
            return LogStats { end: log.end(), segments: segments.len() as u64, bytes };
        }
        // Read-only: as the open found it, and what files are there now.
        let files = self.fs.list(&self.path(WAL_DIR)).unwrap_or_default();
        let segments = || files.iter().filter(|f| parse_segment_file_name(&f.name, SEGMENT_EXT).is_some());
        LogStats {
            end: self.open_report.log_end,
            segments: segments().count() as u64,
            bytes: segments().map(|f| f.size).sum(),
        }
    }

    /// Scores and debt of the tree, without waiting for a manifest edit that is being made durable.
    pub fn scores_now(&self) -> Scores {
        let heat = self.heat.read_most();
        let view = self.view.load();
        let heat = LevelHeat::of(&view.tables, &heat);
        let scores = match self.install.try_lock() {
            Some(install) => scores(&view.tables, &install.busy, &self.options.pick),
            None => scores(&view.tables, &BusySet::default(), &self.options.pick),
        };
        scores.heated(&heat)
    }

    /// A host measured a commit; see [`Engine::times_next_write`].
    pub fn note_write_time(&self, ns: u64) {
        self.counters.set.record(ns);
    }

    /// Is the next commit of this thread one that the host is to measure?
    #[inline]
    pub fn times_next_write(&self) -> bool {
        self.counters.times_next_write()
    }

    /// A host measured a step of an iterator.
    pub fn note_scan_step_time(&self, ns: u64) {
        self.counters.scan_step.record(ns);
    }

    /// The monotonic clock, in nanoseconds.
    #[inline]
    pub fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
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
    pub fn approximate_size(&self, cf: CfId, lower: &[u8], upper: Option<&[u8]>) -> u64 {
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
