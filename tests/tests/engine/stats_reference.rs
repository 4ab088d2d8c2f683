//! After a mixed workload every name of the reference is there, with the value that the workload caused.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nokv::stats::RegionStatsSnapshot;
use nokv::{
    CfId, Db, IterOptions, Options, RaftPointer, RecordKind, RegionMetrics, WriteBatch, WriteOptions,
};
use nokv_vfs_mem::MemFs;
use serde_json::Value;

const REFERENCE: &str = include_str!("stats_names/reference.txt");
const LARGE: usize = 8 << 10;

fn options() -> Options {
    Options {
        mem_table_bytes: 4 << 20,
        wal_segment_bytes: 1 << 20,
        level0_compaction_tables: 100,
        num_level_zero_tables: 3,
        level0_stop_tables: 1000,
        value_threshold_bytes: 4 << 10,
        value_log_bucket_count: 1,
        value_log_hot_bucket_count: 0,
        value_log_gc_interval: Duration::ZERO,
        wal_auto_gc_interval: Duration::ZERO,
        compaction_value_alert_threshold: 0.5,
        compaction_value_weight: 0.0,
        hot_ring_enabled: true,
        hot_ring_window_slots: 0,
        ..Options::new("db")
    }
}

struct Regions;

impl RegionMetrics for Regions {
    fn counts(&self) -> RegionStatsSnapshot {
        RegionStatsSnapshot { total: 15, new: 1, running: 2, removing: 3, tombstone: 4, other: 5 }
    }
}

fn key(n: u32) -> Vec<u8> {
    format!("key{n:05}").into_bytes()
}

/// What the workload did, to check against.
#[derive(Default)]
struct Done {
    default_writes: u64,
    default_reads: u64,
    lock_writes: u64,
    batches: u64,
    ops: u64,
    flushes: u64,
}

fn work(db: &Db<MemFs>) -> Done {
    let mut done = Done::default();
    let mut set = |k: Vec<u8>, value: &[u8]| {
        db.set(&k, value).unwrap();
        done.default_writes += 1;
        done.batches += 1;
    };
    // The hottest keys are written most, in order.
    for n in 0..200 {
        for _ in 0..if n < 5 { 50 - 8 * n } else { 1 } {
            set(key(n), b"small");
        }
    }
    for n in 1000..1040 {
        set(key(n), &[1; LARGE]);
    }
    db.flush().unwrap();
    for n in 1000..1040 {
        set(key(n), &[2; LARGE]);
    }
    db.flush().unwrap();
    done.flushes = 2;
    let mut batch = WriteBatch::new();
    for n in 0..10 {
        batch.put(CfId::LOCK, &key(n), b"lock").unwrap();
    }
    batch.delete(CfId::DEFAULT, &key(199)).unwrap();
    db.write(batch, &WriteOptions::default()).unwrap();
    done.lock_writes += 10;
    done.default_writes += 1;
    done.batches += 1;
    for n in 0..5 {
        for _ in 0..40 - 7 * n {
            assert!(db.get(&key(n)).unwrap().is_some());
            done.default_reads += 1;
        }
    }
    assert!(db.get(&key(199)).unwrap().is_none());
    done.default_reads += 1;
    for _ in 0..2 {
        assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 199 + 40);
    }
    done.ops = done.default_writes + done.lock_writes;
    done
}

fn at<'a>(json: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(json, |json, name| match name.strip_suffix("[]") {
        Some(list) => &json[list][0],
        None if name == "*" => json.as_object().and_then(|map| map.values().next()).unwrap_or(&Value::Null),
        None => &json[name],
    })
}

#[test]
fn every_name_is_there_with_what_the_workload_did() {
    let db = Db::open_on(MemFs::new(), options()).unwrap();
    db.info().set_region_metrics(Arc::new(Regions));
    let done = work(&db);
    let wal = db.wal();
    for _ in 0..3 {
        wal.append_typed(RecordKind::RaftEntries, 7, b"entry", false).unwrap();
    }
    let place = wal.append_typed(RecordKind::RaftState, 7, b"state", false).unwrap();
    let pointer =
        RaftPointer { group: 7, segment: place.segment, offset: place.offset, ..Default::default() };
    wal.set_raft_pointer(pointer).unwrap();
    let live = db.stats();
    let json = serde_json::to_value(&live).unwrap();
    let number = |path: &str| at(&json, path).as_f64().unwrap_or_else(|| panic!("{path} is no number"));

    // A flush leaves out what is hidden in its own memtable: 200 keys and 40, 40 again, and 11 in the log.
    assert_eq!(number("entries"), 291.0);
    assert_eq!(number("flush.completed"), done.flushes as f64);
    assert_eq!((number("flush.pending"), number("flush.active"), number("flush.queue_length")), (0., 0., 0.));
    for stage in ["wait", "build"] {
        let [mean, last, max] = ["", "last_", "max_"].map(|p| number(&format!("flush.{p}{stage}_ms")));
        assert!(max > 0.0 && mean > 0.0 && mean <= max && last <= max, "{stage}: {mean} {last} {max}");
    }
    assert_eq!(number("compaction.runs"), 0.0);
    assert_eq!(number("compaction.value_weight"), options().compaction_value_weight);
    assert_eq!(number("write.batches_total"), done.batches as f64);
    assert_eq!(number("write.avg_batch_entries"), done.ops as f64 / done.batches as f64);
    assert!(number("write.avg_batch_bytes") > 10.0 && number("write.avg_vlog_ms") > 0.0);
    assert_eq!(at(&json, "write.throttle_active"), false);
    assert_eq!(number("wal.record_counts.raft_entries"), 3.0);
    assert_eq!(number("wal.record_counts.raft_states"), 1.0);
    assert!(number("wal.active_segment") >= 1.0 && number("wal.active_size") > 64.0);
    assert!(number("wal.typed_record_ratio") > 0.0);
    assert_eq!((number("raft.group_count"), number("raft.lagging_groups")), (1.0, 0.0));
    assert_eq!(number("raft.min_log_segment"), f64::from(place.segment));
    assert_eq!(number("region.total"), 15.0);
    assert_eq!(number("region.tombstone"), 4.0);
    assert!(number("cache.block_l0_hit_rate") > 0.5 && number("cache.block_l0_hit_rate") < 1.0);
    assert_eq!(number("cache.iterator_reused"), 1.0);
    assert_eq!(number("lsm.levels[].level"), 0.0);
    assert_eq!(number("lsm.levels[].tables"), 2.0);
    assert_eq!(number("lsm.value_bytes_total"), live.engine.value_log_segments[0].live_bytes as f64);
    assert_eq!(number("lsm.levels[].value_density"), number("lsm.value_density_max"));
    assert_eq!(at(&json, "lsm.value_density_alert"), true);
    let families = &live.lsm.column_families;
    assert_eq!(
        (families["default"].writes, families["default"].reads),
        (done.default_writes, done.default_reads)
    );
    assert_eq!((families["lock"].writes, families["lock"].reads), (done.lock_writes, 0));
    assert_eq!(number("value_log.segments"), 1.0);
    assert_eq!(number("value_log.heads.*.Offset"), live.engine.value_log_segments[0].size_bytes as f64);

    // The hottest keys, in order: each write and each read of the first five counted.
    let hottest = |keys: &[nokv::stats::HotKeyStat]| {
        keys.iter().take(5).map(|k| (k.key.clone(), k.count)).collect::<Vec<_>>()
    };
    let expected =
        |first: i32, step: i32| (0..5).map(|n| (key(n as u32), first - step * n)).collect::<Vec<_>>();
    assert_eq!(hottest(&live.hot.write_keys), expected(50, 8));
    assert_eq!(hottest(&live.hot.read_keys), expected(40, 7));
    let ring = live.hot.read_ring.unwrap();
    assert_eq!((ring.touches, ring.nodes), (done.default_reads, 6));
    assert_eq!(ring.load_factor, 6.0 / ring.buckets as f64);
    assert!(live.engine.memory.consumers["hot_rings"].used_bytes > 0);

    // Every name, those that may be empty included unless nothing caused them.
    let uncaused = BTreeSet::from(["compaction.value_weight_suggested", "wal.typed_record_reason"]);
    for line in REFERENCE.lines().filter(|l| !l.starts_with('#')) {
        let path = line.trim_end_matches('?');
        let may_lack = uncaused.contains(path);
        assert!(may_lack || !at(&json, path).is_null(), "{path} is not there");
    }

    // What merging and collecting adds.
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    db.engine().value_log().seal_heads();
    let report = db.run_value_log_gc(0.3).unwrap();
    db.wait_idle().unwrap();
    let after = db.stats();
    assert!(after.compaction.runs >= 1 && after.compaction.max_duration_ms > 0.0);
    assert!(after.compaction.last_duration_ms <= after.compaction.max_duration_ms);
    assert_eq!((after.value_log.gc.gc_runs, after.value_log.gc.segments_removed), (1, report.segments));
    assert_eq!((after.value_log.pending_deletes, after.value_log.discard_queue), (0, 0));
    // Overwritten and deleted entries went; the families of the batch that was not in a table did not.
    assert_eq!(after.entries, 199 + 40 + 10);
    assert_eq!(after.lsm.value_bytes_total as u64 * 2, live.lsm.value_bytes_total as u64);
}
