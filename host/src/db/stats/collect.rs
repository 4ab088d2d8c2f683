//! Fills a snapshot from the engine and the host.

use nokv_core::engine::{EngineStats, Stall};
use nokv_core::{MemIndex, Vfs};

use super::snapshot::{FlushStatsSnapshot, LsmLevelStats, StatsSnapshot};
use super::{CompactionStatsSnapshot, LsmStatsSnapshot};
use crate::db::Db;

/// Numbers of the original are signed: what is larger than they can say is the largest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// `part / of`, and 0 where there is nothing.
fn ratio(part: f64, of: f64) -> f64 {
    if of > 0.0 { part / of } else { 0.0 }
}

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// The database at this moment.
    pub fn stats(&self) -> StatsSnapshot {
        let engine = self.engine();
        let e = engine.stats();
        let mut s = StatsSnapshot {
            entries: signed(e.levels.iter().map(|l| l.entries).sum::<u64>() + e.memtable_entries),
            flush: flush(&e),
            compaction: self.compaction(&e),
            lsm: lsm(&e),
            ..StatsSnapshot::default()
        };
        s.value_log.segments = signed(e.value_log_segments);
        s.value_log.gc.gc_runs = e.gc_runs;
        s.value_log.gc.segments_removed = e.gc_segments;
        s.write.throttle_active = engine.stall() != Stall::None;
        s.write.batches_total = signed(e.batches);
        s.write.avg_batch_entries = ratio(e.writes as f64, e.batches as f64);
        s.write.avg_batch_bytes = ratio(e.written_bytes as f64, e.batches as f64);
        if let Some(regions) = &*self.inner.stats.regions.read() {
            s.region = regions.counts();
        }
        s.engine.space.value_log_bytes = e.value_log_bytes;
        let counters = &mut s.engine.counters;
        for (name, value) in [
            ("reads", e.reads),
            ("writes", e.writes),
            ("flushes", e.flushes),
            ("compactions", e.compactions),
            ("compaction_read_bytes", e.compaction_read_bytes),
            ("dropped_entries", e.dropped_entries),
            ("gc_segments", e.gc_segments),
        ] {
            counters.insert(name.to_string(), value);
        }
        s
    }

    fn compaction(&self, e: &EngineStats) -> CompactionStatsSnapshot {
        let scores = self.engine().scores();
        let all = || scores.level.iter().chain(&scores.ingest).copied();
        CompactionStatsSnapshot {
            backlog: all().filter(|score| *score >= 1000).count() as i64,
            max_score: all().max().unwrap_or(0) as f64 / 1000.0,
            runs: e.compactions,
            value_weight: self.options().compaction_value_weight,
            ..CompactionStatsSnapshot::default()
        }
    }
}

fn flush(e: &EngineStats) -> FlushStatsSnapshot {
    FlushStatsSnapshot {
        pending: signed(e.sealed_memtables),
        completed: signed(e.flushes),
        build_ms: ratio(ms(e.flush_ns), e.flushes as f64),
        ..FlushStatsSnapshot::default()
    }
}

fn lsm(e: &EngineStats) -> LsmStatsSnapshot {
    let levels: Vec<LsmLevelStats> = e
        .levels
        .iter()
        .enumerate()
        .map(|(level, l)| LsmLevelStats {
            level: level as i64,
            table_count: signed(l.tables),
            size_bytes: signed(l.bytes),
            value_bytes: signed(l.value_bytes),
            ingest_tables: signed(l.ingest_tables),
            ingest_size_bytes: signed(l.ingest_bytes),
            ..LsmLevelStats::default()
        })
        .collect();
    LsmStatsSnapshot {
        value_bytes_total: levels.iter().map(|l| l.value_bytes).sum(),
        levels,
        ..Default::default()
    }
}
