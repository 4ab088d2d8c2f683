//! Fills the object `engine` of a snapshot: what the original does not have.
//!
//! Who may call it: [`super::collect`].

use std::collections::BTreeMap;

use nokv_core::engine::{EngineStats, Latency, PinOwner, PinStats, SAMPLED_ONE_IN, Stall};
use nokv_core::{MemIndex, Vfs};

use super::collect::{more_flush_stages, ratio};
use super::forecast::{Load, seconds_until};
use super::{
    CacheDetail, EngineSnapshot, LatencySnapshot, LevelBytes, MemorySnapshot, MemoryUse, MemtableSnapshot,
    PinSnapshot, PinsSnapshot, RecoverySnapshot, SegmentBytes, SeqSnapshot, SpaceSnapshot, StallSnapshot,
    ValueLogHotSnapshot, WriteStatsSnapshot,
};
use crate::db::Db;

/// About what an open file takes in this process.
const OPEN_FILE_BYTES: u64 = 1 << 10;

impl<V: Vfs, I: MemIndex> Db<V, I> {
    pub(super) fn engine_section(
        &self,
        e: &EngineStats,
        write: &WriteStatsSnapshot,
        hot_bytes: u64,
    ) -> EngineSnapshot {
        EngineSnapshot {
            offline: false,
            counters: e.counters.each().map(|(name, value, _)| (name.to_string(), value)).collect(),
            seqs: SeqSnapshot { published: e.published.0, durable: e.durable.0, flushed: e.flushed.0 },
            memtables: MemtableSnapshot {
                sealed: e.sealed_memtables,
                bytes: e.memtable_bytes,
                entries: e.memtable_entries,
            },
            flush: more_flush_stages(e),
            levels: levels(e),
            value_log_segments: segments(e),
            space: space(e),
            stall: self.stall_snapshot(e),
            memory: self.memory(e, write, hot_bytes),
            cache: CacheDetail {
                blocks: e.cache.blocks as u64,
                bytes: e.cache.bytes as u64,
                l0_hits: e.cache.level_0.hits,
                l0_misses: e.cache.level_0.misses,
                l1_hits: e.cache.deeper.hits,
                l1_misses: e.cache.deeper.misses,
                evictions: e.cache.evictions,
                open_files: e.open_files,
            },
            latency: latencies(e),
            pins: PinsSnapshot {
                snapshots: e.snapshots,
                iterators: e.pins.len() as u64 - e.snapshots.min(e.pins.len() as u64),
                retired_tables: e.retired_tables,
                retired_table_bytes: e.retired_table_bytes,
                list: e.pins.iter().map(pin).collect(),
            },
            recovery: self.recovery(),
            value_log_hot: ValueLogHotSnapshot::default(),
        }
    }

    fn stall_snapshot(&self, e: &EngineStats) -> StallSnapshot {
        let stall = self.engine().stall();
        let (state, delay_ns_per_kib) = match stall {
            Stall::None => ("none", 0),
            Stall::Slow { ns_per_kib } => ("slow", ns_per_kib),
            Stall::Stop => ("stop", 0),
        };
        let options = self.engine().options();
        let (slow, stop) = (options.level0_slowdown_tables as u64, options.level0_stop_tables as u64);
        let now = Load {
            at_ns: self.engine().monotonic_ns(),
            debt_bytes: self.engine().scores_now().debt_bytes,
            level0_tables: e.levels.first().map_or(0, |l| l.tables),
            sealed: e.sealed_memtables,
        };
        let rates = self.inner.stats.loads.lock().rates(now);
        let sealed_max = options.sealed_memtables_max as u64;
        let sooner = |level0_mark: u64, sealed_mark: u64| {
            let by_tables = seconds_until(now.level0_tables, level0_mark, rates.level0_tables);
            let by_memtables = seconds_until(now.sealed, sealed_mark, rates.sealed);
            let in_sight = [by_tables, by_memtables].into_iter().flatten();
            in_sight.fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.min(b)))).unwrap_or(0.0)
        };
        StallSnapshot {
            state: state.to_string(),
            delay_ns_per_kib,
            debt_bytes: now.debt_bytes,
            debt_bytes_per_second: rates.debt_bytes,
            level0_tables: now.level0_tables,
            level0_slowdown_tables: slow,
            level0_stop_tables: stop,
            seconds_to_slowdown: sooner(slow + 1, 2),
            seconds_to_stop: sooner(stop, sealed_max),
        }
    }

    fn memory(&self, e: &EngineStats, write: &WriteStatsSnapshot, hot_bytes: u64) -> MemorySnapshot {
        let options = self.engine().options();
        let memtables = options.memtable_bytes as u64 * (options.sealed_memtables_max as u64 + 1);
        let iterators = e.pins.iter().map(|p| p.memory_bytes).sum();
        let files = OPEN_FILE_BYTES;
        let uses = [
            ("memtables", e.memtable_bytes, memtables),
            ("block_cache", e.cache.bytes as u64, options.block_cache_bytes as u64),
            ("indexes", e.table_memory_bytes, 0),
            ("filters", e.filter_memory_bytes, self.options().bloom_cache_bytes as u64),
            ("hot_rings", hot_bytes, 0),
            ("open_files", e.open_files * files, options.open_files_max as u64 * files),
            ("iterators", iterators, 0),
            ("commit_queue", u64::try_from(write.queue_bytes).unwrap_or(0), 0),
        ];
        let consumer = |(name, used_bytes, budget_bytes): (&str, u64, u64)| {
            (name.to_string(), MemoryUse { used_bytes, budget_bytes })
        };
        let consumers: BTreeMap<String, MemoryUse> = uses.into_iter().map(consumer).collect();
        MemorySnapshot {
            used_bytes: consumers.values().map(|c| c.used_bytes).sum(),
            budget_bytes: consumers.values().map(|c| c.budget_bytes).sum(),
            consumers,
        }
    }

    fn recovery(&self) -> RecoverySnapshot {
        let report = self.open_report();
        RecoverySnapshot {
            clean: report.clean,
            segments: report.replayed_segments,
            records: report.replayed_records,
            operations: report.replayed_ops,
            bytes_replayed: report.replayed_bytes,
            tails_cut: u64::from(report.cut.is_some()) + u64::from(report.manifest_torn_at.is_some()),
            cut_bytes: report.cut.as_ref().map_or(0, |cut| cut.bytes),
            swept_files: report.swept_files,
            duration_ms: report.open_ns / 1_000_000,
        }
    }
}

/// A pin as it is shown.
pub(super) fn pin(pin: &PinStats) -> PinSnapshot {
    let owner = match pin.owner {
        PinOwner::Snapshot => "snapshot",
        PinOwner::Iterator => "iterator",
        PinOwner::InternalIterator => "internal_iterator",
    };
    PinSnapshot { owner: owner.to_string(), seq: pin.seq.0, age_ms: pin.age_ms, bytes: pin.bytes }
}

fn levels(e: &EngineStats) -> Vec<LevelBytes> {
    let level = |(l, level): (&nokv_core::engine::LevelStats, u64)| {
        let size = l.bytes + l.ingest_bytes;
        LevelBytes {
            level,
            entries: l.entries,
            live_bytes: size.saturating_sub(l.dead_bytes + l.expired_bytes),
            dead_bytes: l.dead_bytes,
            expired_bytes: l.expired_bytes,
            pinned_bytes: l.pinned_bytes,
        }
    };
    e.levels.iter().zip(0..).map(level).collect()
}

fn segments(e: &EngineStats) -> Vec<SegmentBytes> {
    let segment = |s: &nokv_core::engine::SegmentStats| SegmentBytes {
        bucket: u32::from(s.bucket),
        segment: s.segment,
        head: s.head,
        size_bytes: s.size,
        live_bytes: s.live_bytes,
        dead_bytes: s.dead_bytes,
        expired_bytes: s.expired_bytes,
        pinned_bytes: s.pinned_bytes,
    };
    e.segments.iter().map(segment).collect()
}

fn space(e: &EngineStats) -> SpaceSnapshot {
    let c = &e.counters;
    let table_bytes: u64 = e.levels.iter().map(|l| l.bytes + l.ingest_bytes).sum();
    let value_log_bytes: u64 = e.segments.iter().map(|s| s.size).sum();
    let by_user = c.written_bytes + c.separated_bytes;
    let to_files = c.log_bytes + c.value_log_bytes + c.flushed_bytes + c.compaction_written_bytes;
    SpaceSnapshot {
        table_bytes,
        value_log_bytes,
        value_log_live_bytes: e.segments.iter().map(|s| s.live_bytes + s.expired_bytes).sum(),
        wal_bytes: e.log.bytes,
        live_bytes: e.live_bytes,
        write_amplification: ratio(to_files, by_user),
        space_amplification: ratio(table_bytes + value_log_bytes, e.live_bytes),
    }
}

fn latencies(e: &EngineStats) -> BTreeMap<String, LatencySnapshot> {
    let l = &e.latencies;
    let of = |name: &str, latency: &Latency, sampled_one_in| {
        let snapshot = LatencySnapshot {
            sampled_one_in,
            count: latency.count,
            sum_ns: latency.sum_ns,
            p50_ns: latency.quantile_ns(500),
            p90_ns: latency.quantile_ns(900),
            p99_ns: latency.quantile_ns(990),
            p999_ns: latency.quantile_ns(999),
            max_ns: latency.max_ns,
        };
        (name.to_string(), snapshot)
    };
    BTreeMap::from([
        of("get", &l.get, SAMPLED_ONE_IN),
        of("set", &l.set, SAMPLED_ONE_IN),
        of("scan_step", &l.scan_step, SAMPLED_ONE_IN),
        of("sync", &l.sync, 1),
        of("flush", &l.flush, 1),
    ])
}
