//! Numbers of the log's typed records, of collections, of the ingest set, of filters, of queued writers and of hot
//! keys, as JSON shows them.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use nokv::stats::StatsSnapshot;
use nokv::{CfId, Error, Options, RaftPointer, RecordKind, Vfs};
use nokv_core::engine::GcTick;
use nokv_core::vfs::Capabilities;
use nokv_vfs_mem::{MemFs, Op};

use super::{Slow, quiet};

#[test]
fn typed_records_are_counted_warned_of_and_removed_by_the_watchdog() {
    let options = Options { raft_lag_warn_segments: 1, ..quiet() };
    let slow = Slow::open(options);
    let (db, wal) = (&slow.db, slow.db.wal());
    let first = wal.append_typed(RecordKind::RaftEntries, 1, b"entry", false).unwrap();
    wal.append_typed(RecordKind::RaftState, 1, b"state", false).unwrap();
    wal.append_typed(RecordKind::RaftSnapshot, 2, b"snapshot", false).unwrap();
    let point = |group, at: nokv::Position| {
        let pointer = RaftPointer { group, segment: at.segment, offset: at.offset, ..RaftPointer::default() };
        db.wal().set_raft_pointer(pointer).unwrap();
    };
    point(1, first);
    point(2, first);
    db.set(b"k", b"v").unwrap();
    let stats = slow.stats();
    let counts = stats.wal.record_counts;
    assert_eq!((counts.entries, counts.raft_entries, counts.raft_states), (1, 1, 1));
    assert_eq!((counts.raft_snapshots, counts.other), (1, 0));
    assert_eq!(stats.wal.segments_with_raft_records, 1);
    assert!((stats.wal.typed_record_ratio - 0.75).abs() < 1e-9);
    assert!(stats.wal.typed_record_warning && !stats.wal.typed_record_reason.is_empty());
    assert_eq!((stats.raft.group_count, stats.raft.lagging_groups, stats.raft.lag_warning), (2, 0, false));
    // Four segments later both groups lag; then their pointers move to the end, and the watchdog removes.
    while db.wal().active_segment() < first.segment + 4 {
        slow.fill(0..100, &[7; 1000]);
    }
    let last = wal.append_typed(RecordKind::RaftEntries, 1, b"entry", false).unwrap();
    db.flush().unwrap();
    let stats = slow.stats();
    assert_eq!((stats.raft.lagging_groups, stats.raft.lag_warning), (2, true));
    assert_eq!(stats.raft.lag_warn_threshold, 1);
    assert_eq!(stats.raft.max_lag_segments, i64::from(last.segment - first.segment));
    assert_eq!((stats.raft.min_log_segment, stats.raft.max_log_segment), (first.segment, first.segment));
    assert_eq!((stats.wal.removable_raft_segments, stats.wal.auto_gc_runs), (0, 0));
    assert!(!stats.wal.typed_record_warning, "few of many: {:?}", stats.wal);
    point(1, last);
    point(2, last);
    assert_eq!(slow.stats().wal.removable_raft_segments, 1, "only the first has raft records");
    db.wal_watchdog_step().unwrap();
    let stats = slow.stats();
    assert_eq!((stats.wal.auto_gc_runs, stats.wal.auto_gc_removed, stats.wal.segments_removed), (1, 4, 4));
    assert_eq!(stats.wal.auto_gc_last_unix, (super::NOW_MS / 1000) as i64);
    assert_eq!((stats.wal.segments_with_raft_records, stats.wal.removable_raft_segments), (1, 0));
}

#[test]
fn records_of_a_users_own_kinds_are_counted_as_others() {
    let slow = Slow::open(quiet());
    slow.db.set(b"k", b"v").unwrap();
    for kind in [128, 255] {
        slow.db.wal().append_typed(RecordKind::Other(kind), 1, b"own", false).unwrap();
    }
    let wal = slow.stats().wal;
    assert_eq!((wal.record_counts.entries, wal.record_counts.other), (1, 2));
    assert_eq!((wal.segments_with_raft_records, wal.typed_record_ratio), (0, 0.0));
}

#[test]
fn a_collection_is_counted_from_queue_to_end() {
    let slow = Slow::open(Options { value_log_segment_bytes: 64 << 10, ..quiet() });
    let db = &slow.db;
    let head_of = |bucket: u32| slow.stats().value_log.heads.get(&bucket).copied();
    assert_eq!((slow.stats().value_log.segments, head_of(0)), (0, None));
    for _ in 0..3 {
        slow.fill(0..60, &[7; 5000]);
    }
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    let before = slow.stats().value_log;
    let files = db.engine().value_log().segments();
    assert_eq!(before.segments, files.len() as i64);
    let head = files.iter().find(|s| s.head).unwrap();
    let told = head_of(0).unwrap();
    assert_eq!((told.fid, told.offset), (head.segment, head.size));
    assert!(before.discard_queue > 0 && before.gc.head_updates > 3, "{before:?}");
    assert_eq!((before.gc.gc_runs, before.gc.gc_active, before.gc.gc_scheduled), (0, 0, 0));
    assert_eq!(before.gc.gc_parallelism, 1);
    assert!(matches!(db.engine().gc_tick().unwrap(), GcTick::Started(1)));
    assert_eq!(slow.stats().value_log.gc.gc_scheduled, 1);
    let step = db.engine().next_collection().unwrap();
    assert_eq!(slow.stats().value_log.gc.gc_active, 1);
    assert!(matches!(db.run_value_log_gc(0.5), Err(Error::GcRejected)));
    db.engine().run_work(step).unwrap();
    while db.engine().has_collections() {
        match db.engine().next_collection() {
            Some(step) => db.engine().run_work(step).unwrap(),
            None => db.flush().unwrap(),
        }
    }
    let after = slow.stats().value_log;
    assert_eq!((after.gc.gc_runs, after.gc.gc_rejected, after.gc.gc_active), (1, 1, 0));
    assert_eq!((after.discard_queue, after.gc.gc_scheduled), (0, 0));
    assert!(after.gc.segments_removed >= before.discard_queue as u64, "{before:?} {after:?}");
}

#[test]
fn load_shows_as_skipped_and_throttled_collections() {
    let dead = |options: Options| {
        let options = Options { level0_compaction_tables: 2, value_log_gc_parallelism: 4, ..options };
        let slow = Slow::open(Options { num_compactors: 1, ..options });
        for _ in 0..3 {
            slow.fill(0..60, &[7; 5000]);
        }
        slow.db.compact_range(CfId::DEFAULT, None, None).unwrap();
        slow.db.set(b"k", b"v").unwrap();
        slow.db.flush().unwrap();
        slow.db.engine().gc_tick().unwrap();
        slow.stats().value_log.gc
    };
    let skipped = dead(Options { value_log_gc_skip_score: 0.001, ..quiet() });
    assert_eq!((skipped.gc_skipped, skipped.gc_throttled, skipped.gc_parallelism), (1, 0, 0));
    let throttled = dead(Options { value_log_gc_reduce_score: 0.001, ..quiet() });
    assert_eq!((throttled.gc_skipped, throttled.gc_throttled, throttled.gc_parallelism), (0, 1, 2));
}

/// Flushes four tables of 10 values of the value log each, and gives the statistics once they left level 0.
fn four_tables(slow: &Slow) -> StatsSnapshot {
    for _ in 0..4 {
        slow.fill(0..10, &[7; 5000]);
        slow.db.flush().unwrap();
    }
    soon(slow, |s| s.lsm.levels[0].table_count == 0)
}

/// The first statistics that are as wanted, while a background thread is held up. Levels and what happened to them
/// are looked at one after the other: wait for both.
fn soon(slow: &Slow, is_wanted: impl Fn(&StatsSnapshot) -> bool) -> StatsSnapshot {
    let given_up = Instant::now() + Duration::from_secs(60);
    loop {
        let stats = slow.stats();
        if is_wanted(&stats) {
            return stats;
        }
        assert!(Instant::now() < given_up, "{:?} {:?}", stats.compaction, stats.lsm.levels);
        std::thread::yield_now();
    }
}

/// Four tables move into the set of the last level. Their drain stops at the first read of the level's table, so the
/// next four can only be merged among themselves.
#[test]
fn work_on_the_ingest_set_is_counted_by_level() {
    let options = Options {
        level0_compaction_tables: 4,
        num_level_zero_tables: 4,
        ingest_backlog_merge_score: 1.0,
        ingest_shard_parallelism: 2,
        num_compactors: 2,
        compaction_value_weight: 0.0,
        table_bytes: 1 << 20,
        ..quiet()
    };
    let slow = Slow::open(options);
    slow.fill(0..20, b"below");
    slow.db.flush().unwrap();
    slow.db.compact_range(CfId::DEFAULT, None, None).unwrap();
    let [base] = &slow.fs.list("db/tables").unwrap()[..] else { panic!("one table") };
    let (base, clock) = (base.name.clone(), slow.clock.clone());
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    slow.fs.observe(move |op, path| {
        if op == Op::Read && path.ends_with(&base) {
            // Ends with an error once the sender is gone.
            let _ = wait.lock().unwrap().recv();
        }
        if op == Op::Sync && path.contains("tables") {
            clock.advance_ms(1);
        }
    });
    let first = four_tables(&slow).lsm.levels[6];
    assert_eq!((first.table_count, first.ingest_tables, first.value_bytes), (1, 4, 0));
    assert!(first.ingest_size_bytes > 0 && first.ingest_value_bytes >= 4 * 10 * 5000, "{first:?}");
    let all = first.ingest_value_bytes + first.ingest_size_bytes;
    let density = first.ingest_value_bytes as f64 / all as f64;
    assert!(density > 0.5 && (first.ingest_value_density - density).abs() < 1e-9, "{first:?}");
    assert_eq!((first.ingest_runs, first.merge_runs), (0, 0));
    four_tables(&slow);
    let held = soon(&slow, |s| s.compaction.merge_runs > 0 && s.lsm.levels[6].ingest_tables == 5);
    let level = held.lsm.levels[6];
    // The four of the drain, and one that was made of four. Values of it that are hidden are no longer named.
    assert_eq!((level.ingest_tables, level.merge_runs, level.merge_tables, level.ingest_runs), (5, 1, 4, 0));
    assert!(level.merge_ms >= 1.0, "{level:?}");
    assert_eq!(level.ingest_value_bytes * 4, first.ingest_value_bytes * 5);
    drop(go_on);
    let stats = soon(&slow, |s| s.compaction.ingest_runs > 0 && s.lsm.levels[6].ingest_tables == 1);
    let (all, levels) = (&stats.compaction, &stats.lsm.levels);
    let level = levels[6];
    assert_eq!((level.ingest_tables, level.ingest_runs, level.ingest_tables_compacted), (1, 1, 4));
    assert!(level.ingest_ms >= 1.0, "{level:?}");
    assert_eq!((all.ingest_runs, all.ingest_tables), (1, 4));
    assert_eq!((all.merge_runs, all.merge_tables), (1, 4));
    assert_eq!((all.ingest_ms, all.merge_ms), (level.ingest_ms, level.merge_ms));
    let elsewhere = levels.iter().filter(|l| l.level != 6);
    assert!(elsewhere.into_iter().all(|l| (l.ingest_runs, l.merge_runs) == (0, 0)), "{levels:?}");
    assert_eq!(slow.db.get(b"key00003").unwrap().unwrap(), [7; 5000]);
}

#[test]
fn the_value_weight_is_told_and_a_higher_one_suggested_where_values_dominate() {
    let options = Options { compaction_value_weight: 0.25, ..quiet() };
    let slow = Slow::open(options);
    assert_eq!(slow.stats().compaction.value_weight, 0.25);
    assert_eq!(slow.stats().compaction.value_weight_suggested, 0.0);
    slow.fill(0..200, &[7; 5000]);
    slow.db.flush().unwrap();
    let compaction = slow.stats().compaction;
    assert!(compaction.value_weight_suggested > 0.25, "{compaction:?}");
}

#[test]
fn filters_and_indexes_in_memory_are_hits() {
    let rates = |bloom_cache_bytes| {
        let slow = Slow::open(Options { bloom_cache_bytes, ..quiet() });
        for table in 0..4 {
            slow.fill(table * 100..table * 100 + 100, b"value");
            slow.db.flush().unwrap();
        }
        assert_eq!((slow.stats().cache.bloom_hit_rate, slow.stats().cache.index_hit_rate), (0.0, 0.0));
        for k in (0..400).chain(0..400) {
            slow.db.get(format!("key{k:05}").as_bytes()).unwrap().unwrap();
        }
        let cache = slow.stats().cache;
        (cache.bloom_hit_rate, cache.index_hit_rate)
    };
    let (bloom, index) = rates(0);
    assert!(bloom > 0.95 && index > 0.95 && index < 1.0, "first uses are read: {bloom} {index}");
    // Room for one filter of the four.
    let (bloom, index) = rates(200);
    assert!(bloom > 0.5 && bloom < 0.999 && index > 0.95, "filters are read again: {bloom} {index}");
}

#[test]
fn hot_keys_and_their_rings_are_told() {
    let options = Options {
        hot_ring_enabled: true,
        hot_ring_top_k: 2,
        hot_ring_node_cap: 64,
        hot_ring_node_sample_bits: 2,
        hot_ring_window_slots: 4,
        hot_ring_window_slot_duration: Duration::from_secs(1),
        hot_ring_decay_interval: Duration::from_secs(60),
        hot_ring_decay_shift: 0,
        write_hot_key_limit: 50,
        ..quiet()
    };
    let slow = Slow::open(options);
    slow.fill(0..10, b"value");
    for k in [3, 3, 3, 5, 5, 7] {
        slow.db.get(format!("key{k:05}").as_bytes()).unwrap().unwrap();
    }
    for _ in 0..20 {
        slow.fill(4..5, b"value");
    }
    let hot = slow.stats().hot;
    let listed = |keys: &[nokv::stats::HotKeyStat]| -> Vec<(Vec<u8>, u64)> {
        keys.iter().map(|k| (k.key.clone(), k.count as u64)).collect()
    };
    assert_eq!(listed(&hot.read_keys), [(b"key00003".to_vec(), 3), (b"key00005".to_vec(), 2)]);
    assert_eq!(listed(&hot.write_keys)[0], (b"key00004".to_vec(), 21));
    let ring = hot.write_ring.unwrap();
    assert_eq!((ring.touches, ring.inserts, ring.nodes, ring.removes), (30, 10, 10, 0));
    assert_eq!((ring.node_cap, ring.sample_mask, ring.window_slots, ring.decay_shift), (64, 3, 4, 1));
    assert_eq!((ring.window_slot_duration, ring.decay_interval), (1_000_000_000, 60_000_000_000));
    assert!((ring.load_factor - ring.nodes as f64 / ring.buckets as f64).abs() < 1e-9);
    assert_eq!((ring.clamps, ring.decay_runs, ring.last_decay_unix), (0, 0, 0));
    // A minute later counts were cut; the limit and the cap show when they are met.
    slow.clock.advance_ms(61_000);
    slow.db.hot_step();
    let limited = (0..60).filter(|_| matches!(slow.db.set(b"one", b""), Err(Error::HotKeyWriteThrottle)));
    assert_eq!(limited.count(), 10);
    slow.fill(0..2000, b"value");
    let stats = slow.stats();
    let ring = stats.hot.write_ring.unwrap();
    assert_eq!((ring.clamps, stats.write.hot_key_limited), (10, 10));
    assert!(ring.decay_runs >= 1 && ring.last_decay_unix == super::NOW_MS as i64 / 1000 + 61, "{ring:?}");
    assert!(ring.nodes <= 64 && ring.sample_drops > 1000, "{ring:?}");
    // At the cap a new key takes the place of the coldest one.
    assert!(ring.removes > 0 && ring.inserts - ring.removes == ring.nodes, "{ring:?}");
}

#[test]
fn rings_that_are_off_are_left_out() {
    let slow = Slow::open(quiet());
    slow.fill(0..10, b"value");
    let hot = slow.stats().hot;
    assert!(hot.read_ring.is_none() && hot.write_ring.is_none() && hot.write_keys.is_empty());
}

#[test]
fn writers_behind_a_blocked_one_are_the_queue() {
    // Without maps the log is written by calls, which can be held up.
    let fs = MemFs::with_capabilities(Capabilities { maps: false, ..MemFs::new().capabilities() });
    let slow = Slow::open_on(fs, quiet());
    let (reached, at_log) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    slow.fs.observe(move |op, path| {
        if op == Op::Write && path.contains("wal/") && reached.send(()).is_ok() {
            // Ends with an error once the sender is gone.
            let _ = wait.lock().unwrap().recv();
        }
    });
    std::thread::scope(|scope| {
        let write = || {
            let db = slow.db.clone();
            scope.spawn(move || db.set(b"key", &[7; 3000]).unwrap());
        };
        write();
        at_log.recv().unwrap();
        write();
        write();
        let given_up = Instant::now() + Duration::from_secs(20);
        let mut queue = slow.db.write_snapshot();
        while queue.queue_depth < 2 && Instant::now() < given_up {
            std::thread::yield_now();
            queue = slow.db.write_snapshot();
        }
        slow.clock.advance_ms(30);
        drop(go_on);
        drop(at_log);
        assert_eq!((queue.queue_depth, queue.queue_entries), (2, 2));
        assert!(queue.queue_bytes > 6000, "{queue:?}");
    });
    let write = slow.stats().write;
    assert_eq!((write.queue_depth, write.queue_entries, write.queue_bytes), (0, 0, 0));
    assert!(write.avg_request_wait_ms > 0.0, "{write:?}");
}
