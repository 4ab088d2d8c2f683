//! Fills a snapshot: one function for each object of it.
//!
//! Who may call it: anyone, through [`Db::stats`]. It waits for no background step and no sync;
//! for a writer only while that makes a segment.

use nokv_core::engine::{
    CompactionStats, EngineStats, FlushStages as Stages, IngestStats, LevelStats, StageValues, Stall,
};
use nokv_core::hotring::{HotKey, RingStats};
use nokv_core::{MemIndex, Result, Vfs};

use super::snapshot::{
    CacheStatsSnapshot, ColumnFamilySnapshot, CompactionStatsSnapshot, FlushStatsSnapshot, LsmLevelStats,
    LsmStatsSnapshot, RaftStatsSnapshot, RecordCounts, StatsSnapshot, ValueLogGcSnapshot, ValueLogHead,
    ValueLogStatsSnapshot, WalStatsSnapshot, WriteStatsSnapshot,
};
use super::{
    EngineSnapshot, HotKeyStat, HotStatsSnapshot, MemorySnapshot, RingSnapshot, ValueLogHotSnapshot,
};
use crate::db::{Db, HotReport, HotRingReport, Options};

/// Numbers of the original are signed: what is larger than they can say is the largest.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// `part / of`, and 0 where there is nothing.
pub(super) fn ratio(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// The database at this moment.
    pub fn stats(&self) -> StatsSnapshot {
        let e = self.engine().stats();
        let hot_report = self.hot_report();
        let write = self.write_stats(hot_report.hot_key_limited);
        let rings = [&hot_report.read, &hot_report.write, &hot_report.value_log];
        let hot_bytes = rings.into_iter().flatten().map(|ring| ring.memory_bytes).sum();
        let (hot, value_log_hot) = hot(hot_report);
        let compaction = self.engine().compaction_stats(self.options().compaction_value_alert_threshold);
        let regions = self.inner.stats.regions.read().clone();
        let redis = self.inner.stats.redis.read().clone();
        StatsSnapshot {
            entries: signed(e.levels.iter().map(|l| l.entries).sum::<u64>() + e.memtable_entries),
            flush: flush(&e),
            compaction: self.compaction_stats(&compaction),
            value_log: self.value_log_stats(&e),
            wal: self.wal_stats(&e),
            raft: self.raft_stats(),
            region: regions.map(|regions| regions.counts()).unwrap_or_default(),
            hot,
            redis: redis.map(|redis| redis.counts()).unwrap_or_default(),
            cache: cache(&e),
            lsm: self.lsm_stats(&e, &compaction),
            engine: EngineSnapshot { value_log_hot, ..self.engine_section(&e, &write, hot_bytes) },
            write,
            ..StatsSnapshot::default()
        }
    }

    fn write_stats(&self, hot_key_limited: u64) -> WriteStatsSnapshot {
        let queue = self.write_snapshot();
        WriteStatsSnapshot {
            queue_depth: signed(queue.queue_depth),
            queue_entries: signed(queue.queue_entries),
            queue_bytes: signed(queue.queue_bytes),
            avg_batch_entries: queue.record_entries_mean(),
            avg_batch_bytes: queue.record_bytes_mean(),
            avg_request_wait_ms: queue.wait_ms_mean(),
            avg_value_log_ms: queue.value_log_ms_mean(),
            avg_apply_ms: queue.apply_ms_mean(),
            batches_total: signed(queue.records),
            throttle_active: self.engine().stall() != Stall::None,
            hot_key_limited,
        }
    }

    fn compaction_stats(&self, c: &CompactionStats) -> CompactionStatsSnapshot {
        let ingest = c.total();
        CompactionStatsSnapshot {
            backlog: signed(c.backlog),
            max_score: c.max_score,
            last_duration_ms: ms(c.last_ns),
            max_duration_ms: ms(c.max_ns),
            runs: c.runs,
            ingest_runs: signed(ingest.ingest_runs),
            merge_runs: signed(ingest.ingest_merge_runs),
            ingest_ms: ms(ingest.ingest_ns),
            merge_ms: ms(ingest.merge_ns),
            ingest_tables: signed(ingest.ingest_tables_compacted),
            merge_tables: signed(ingest.merge_tables),
            value_weight: self.options().compaction_value_weight,
            value_weight_suggested: c.value_weight_suggested,
        }
    }

    fn value_log_stats(&self, e: &EngineStats) -> ValueLogStatsSnapshot {
        let gc = self.engine().gc_stats();
        let head = |s: &nokv_core::engine::SegmentStats| {
            let head = ValueLogHead { len: 0, offset: s.size, fid: s.segment };
            (u32::from(s.bucket), head)
        };
        ValueLogStatsSnapshot {
            segments: signed(e.segments.len() as u64),
            // Segments alone; tables are in `engine.pins`.
            pending_deletes: signed(e.retired_segments),
            discard_queue: signed(gc.discard_queue),
            // Segments are in order: the newest of each bucket is its head, open or not.
            heads: e.segments.iter().map(head).collect(),
            gc: ValueLogGcSnapshot {
                gc_runs: gc.gc_runs,
                segments_removed: gc.segments_removed,
                head_updates: gc.head_updates,
                gc_active: signed(gc.gc_active),
                gc_scheduled: gc.gc_scheduled,
                gc_throttled: gc.gc_throttled,
                gc_skipped: gc.gc_skipped,
                gc_rejected: gc.gc_rejected,
                gc_parallelism: signed(gc.gc_parallelism),
            },
        }
    }

    fn wal_stats(&self, e: &EngineStats) -> WalStatsSnapshot {
        let status = self.wal_status();
        let counts = status.record_counts;
        WalStatsSnapshot {
            active_segment: i64::from(e.log.end.segment),
            segment_count: signed(e.log.segments),
            active_size: signed(e.log.end.offset),
            segments_removed: status.segments_removed,
            record_counts: RecordCounts {
                entries: counts.entries,
                raft_entries: counts.raft_entries,
                raft_states: counts.raft_states,
                raft_snapshots: counts.raft_snapshots,
                other: counts.other,
            },
            segments_with_raft_records: signed(status.segments_with_raft_records),
            removable_raft_segments: signed(status.removable_raft_segments),
            typed_record_ratio: status.typed_record_ratio,
            typed_record_warning: status.typed_record_warning,
            typed_record_reason: status.typed_record_reason,
            auto_gc_runs: status.auto_gc_runs,
            auto_gc_removed: status.auto_gc_removed,
            auto_gc_last_unix: signed(status.auto_gc_last_unix),
        }
    }

    fn raft_stats(&self) -> RaftStatsSnapshot {
        let status = self.engine().raft_status();
        RaftStatsSnapshot {
            group_count: signed(status.group_count),
            lagging_groups: signed(status.lagging_groups),
            min_log_segment: status.min_log_segment,
            max_log_segment: status.max_log_segment,
            max_lag_segments: signed(status.max_lag_segments),
            lag_warn_threshold: signed(status.lag_warn_threshold),
            lag_warning: status.lag_warning,
        }
    }

    fn lsm_stats(&self, e: &EngineStats, c: &CompactionStats) -> LsmStatsSnapshot {
        let both = e.levels.iter().zip(&c.ingest).zip(0..);
        let levels: Vec<LsmLevelStats> = both.map(|((l, ingest), number)| level(l, ingest, number)).collect();
        let densities = levels.iter().flat_map(|l| [l.value_density, l.ingest_value_density]);
        let value_density_max = densities.fold(0.0, f64::max);
        let threshold = self.options().compaction_value_alert_threshold;
        LsmStatsSnapshot {
            value_bytes_total: levels
                .iter()
                .map(|l| l.value_bytes.saturating_add(l.ingest_value_bytes))
                .sum(),
            value_density_max,
            value_density_alert: threshold > 0.0 && value_density_max > threshold,
            column_families: self.families(e),
            levels,
        }
    }

    /// Every family that lives; what was counted for dropped ones is gone.
    fn families(&self, e: &EngineStats) -> std::collections::BTreeMap<String, ColumnFamilySnapshot> {
        let counts = |id| e.families.iter().find(|(cf, _)| *cf == id).map(|(_, c)| *c).unwrap_or_default();
        let row = |(name, id)| {
            let counts = counts(id);
            (name, ColumnFamilySnapshot { writes: counts.writes, reads: counts.reads })
        };
        self.cfs().into_iter().map(row).collect()
    }
}

impl StatsSnapshot {
    /// What the files of the database in `dir` tell: nothing is written, no lock is taken, a process may have it
    /// open. Counters, latencies and memory are 0; what depends on options is judged by `options`, of which the
    /// directory is not used.
    ///
    /// # Errors
    /// As opening it read-only.
    pub fn offline<V: Vfs>(fs: V, dir: &str, options: &Options) -> Result<Self> {
        let options = Options {
            read_only: true,
            create_if_missing: false,
            work_dir: dir.into(),
            listener: None,
            ..options.clone()
        };
        let db = Db::open_on(fs, options)?;
        let stats = db.stats().of_files();
        db.close()?;
        Ok(stats)
    }

    /// Without what tells of the process that took it: for a database that was opened only to look.
    pub(crate) fn of_files(mut self) -> Self {
        self.engine.offline = true;
        self.engine.memory = MemorySnapshot::default();
        self.engine.latency.clear();
        self
    }
}

fn level(l: &LevelStats, ingest: &IngestStats, level: i64) -> LsmLevelStats {
    LsmLevelStats {
        level,
        table_count: signed(l.tables),
        size_bytes: signed(l.bytes),
        value_bytes: signed(l.value_bytes),
        stale_bytes: signed(l.dead_bytes + l.expired_bytes),
        ingest_tables: signed(l.ingest_tables),
        ingest_size_bytes: signed(l.ingest_bytes),
        ingest_value_bytes: signed(l.ingest_value_bytes),
        value_density: ratio(l.value_bytes, l.value_bytes + l.bytes),
        ingest_value_density: ratio(l.ingest_value_bytes, l.ingest_value_bytes + l.ingest_bytes),
        ingest_runs: signed(ingest.ingest_runs),
        ingest_ms: ms(ingest.ingest_ns),
        ingest_tables_compacted: signed(ingest.ingest_tables_compacted),
        merge_runs: signed(ingest.ingest_merge_runs),
        merge_ms: ms(ingest.merge_ns),
        merge_tables: signed(ingest.merge_tables),
    }
}

/// The hot rings, and the one that chooses value-log buckets.
fn hot(report: HotReport) -> (HotStatsSnapshot, ValueLogHotSnapshot) {
    let parts = |ring: Option<HotRingReport>| match ring {
        None => (Vec::new(), None),
        Some(HotRingReport { ring, top, .. }) => (top.into_iter().map(hot_key).collect(), Some(shape(&ring))),
    };
    let (read_keys, read_ring) = parts(report.read);
    let (write_keys, write_ring) = parts(report.write);
    let (keys, ring) = parts(report.value_log);
    (HotStatsSnapshot { read_keys, read_ring, write_keys, write_ring }, ValueLogHotSnapshot { keys, ring })
}

fn hot_key(key: HotKey) -> HotKeyStat {
    HotKeyStat { key: key.key.user_key.to_vec(), count: i32::try_from(key.count).unwrap_or(i32::MAX) }
}

fn shape(ring: &RingStats) -> RingSnapshot {
    RingSnapshot {
        buckets: ring.buckets,
        nodes: ring.nodes,
        load_factor: ring.load_factor,
        window_slots: u64::from(ring.window_slots),
        window_slot_duration: ring.window_slot_duration,
        decay_interval: ring.decay_interval,
        decay_shift: ring.decay_shift,
        node_cap: ring.node_cap,
        sample_mask: ring.sample_mask,
        touches: ring.touches,
        inserts: ring.inserts,
        removes: ring.removes,
        clamps: ring.clamps,
        sample_drops: ring.sample_drops,
        decay_runs: ring.decay_runs,
        last_decay_unix: signed(ring.last_decay_unix),
    }
}

fn stage(stage: &StageValues) -> (f64, f64, f64) {
    (ms(stage.sum_ns) / (stage.runs.max(1) as f64), ms(stage.last_ns), ms(stage.max_ns))
}

fn flush(e: &EngineStats) -> FlushStatsSnapshot {
    let active = u64::from(e.flush_active).min(e.sealed_memtables);
    let Stages { wait, build, release, .. } = &e.flush;
    let (wait_ms, last_wait_ms, max_wait_ms) = stage(wait);
    let (build_ms, last_build_ms, max_build_ms) = stage(build);
    let (release_ms, last_release_ms, max_release_ms) = stage(release);
    FlushStatsSnapshot {
        pending: signed(e.sealed_memtables),
        queue_length: signed(e.sealed_memtables - active),
        active: signed(active),
        wait_ms,
        last_wait_ms,
        max_wait_ms,
        build_ms,
        last_build_ms,
        max_build_ms,
        release_ms,
        last_release_ms,
        max_release_ms,
        completed: signed(e.counters.flushes),
    }
}

/// The stages that the original does not tell apart.
pub(super) fn more_flush_stages(e: &EngineStats) -> super::FlushStages {
    let (value_sync_ms, last_value_sync_ms, max_value_sync_ms) = stage(&e.flush.value_sync);
    let (install_ms, last_install_ms, max_install_ms) = stage(&e.flush.install);
    super::FlushStages {
        value_sync_ms,
        last_value_sync_ms,
        max_value_sync_ms,
        install_ms,
        last_install_ms,
        max_install_ms,
    }
}

fn cache(e: &EngineStats) -> CacheStatsSnapshot {
    let rate = |c: nokv_core::table::HitCount| ratio(c.hits, c.hits + c.misses);
    CacheStatsSnapshot {
        block_l0_hit_rate: rate(e.cache.level_0),
        block_l1_hit_rate: rate(e.cache.deeper),
        bloom_hit_rate: e.lookups.filter_hit_rate(),
        index_hit_rate: e.lookups.index_hit_rate(),
        iterator_reused: e.counters.iterators_reused,
    }
}
