//! Compactions, collections, back-pressure.

use nokv::{CfId, Db, Options};
use nokv_vfs_mem::Op;

use super::{Slow, quiet};

/// Two tables of level 0 that overlap.
fn two_tables(db: &Slow) {
    for value in [b"old", b"new"] {
        db.fill(0..100, value);
        db.db.flush().unwrap();
    }
}

#[test]
fn a_compaction_is_counted_with_its_time() {
    let db = Slow::open(quiet());
    two_tables(&db);
    assert_eq!(db.stats().compaction.runs, 0);
    db.slow(Op::Sync, "tables/", 9);
    db.db.compact_range(CfId::DEFAULT, None, None).unwrap();
    let stats = db.stats();
    assert_eq!((stats.compaction.runs, stats.counter("compactions")), (1, 1));
    assert_eq!((stats.compaction.last_duration_ms, stats.compaction.max_duration_ms), (9.0, 9.0));
    assert_eq!(stats.counter("dropped_entries"), 100);
    assert!(stats.counter("compaction_read_bytes") > stats.counter("compaction_written_bytes"));
    assert!(stats.counter("compaction_written_bytes") > 0);
}

#[test]
fn tables_above_the_mark_make_score_and_backlog() {
    let db = Slow::open(quiet());
    for n in 0..3 {
        db.fill(n..n + 1, b"value");
        db.db.flush().unwrap();
    }
    assert_eq!((db.stats().compaction.backlog, db.stats().compaction.max_score), (0, 0.003));
    db.db.close().unwrap();
    // Read-only, so that nothing works the backlog off.
    let options = Options { level0_compaction_tables: 2, read_only: true, ..quiet() };
    let db = Db::open_on(db.fs.clone(), options).unwrap();
    let stats = db.stats();
    assert_eq!((stats.compaction.backlog, stats.compaction.max_score), (1, 1.5));
    assert!(stats.engine.stall.debt_bytes > 0);
}

#[test]
fn level_0_at_its_limit_throttles_writers_until_it_is_merged() {
    let db = Slow::open(quiet());
    for n in 0..3 {
        db.fill(n..n + 1, b"value");
        db.db.flush().unwrap();
    }
    assert!(!db.stats().write.throttle_active);
    db.db.close().unwrap();
    let low =
        Options { level0_compaction_tables: 4, num_level_zero_tables: 2, level0_stop_tables: 4, ..quiet() };
    // Read-only first, so that nothing is merged meanwhile.
    let looking = Db::open_on(db.fs.clone(), Options { read_only: true, ..low.clone() }).unwrap();
    let stats = looking.stats();
    assert!(stats.write.throttle_active);
    let stall = &stats.engine.stall;
    assert_eq!((&stall.state[..], stall.level0_tables, stall.level0_slowdown_tables), ("slow", 3, 2));
    assert_eq!(stall.delay_ns_per_kib, 16_000);
    drop(looking);
    let db = Db::open_on(db.fs.clone(), low).unwrap();
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    let stats = db.stats();
    assert!(!stats.write.throttle_active);
    assert_eq!((&stats.engine.stall.state[..], stats.engine.stall.level0_tables), ("none", 0));
}

#[test]
fn the_forecast_follows_the_growth_of_level_0() {
    let db = Slow::open(Options { level0_stop_tables: 2000, ..quiet() });
    let stall = db.stats().engine.stall;
    assert_eq!((stall.seconds_to_slowdown, stall.seconds_to_stop), (0.0, 0.0));
    for n in 0..4 {
        db.fill(n..n + 1, b"value");
        db.db.flush().unwrap();
        db.clock.advance_ms(500);
    }
    // Two tables a second: writers are slowed down from the 1001st on, and wait from the 2000th on.
    let stall = db.stats().engine.stall;
    assert_eq!((stall.seconds_to_slowdown, stall.seconds_to_stop), (498.5, 998.0));
    db.clock.advance_ms(60_000);
    for _ in 0..20 {
        db.clock.advance_ms(1_000);
        db.stats();
    }
    let stall = db.stats().engine.stall;
    assert_eq!((stall.seconds_to_slowdown, stall.debt_bytes_per_second), (0.0, 0.0));
}

#[test]
fn an_iterator_over_a_collection_keeps_segments_pending_until_it_goes() {
    let db = Slow::open(quiet());
    db.fill(0..20, &[1; 8 << 10]);
    db.db.flush().unwrap();
    let mut iter = db.db.iter(Default::default()).unwrap();
    db.fill(0..20, &[2; 8 << 10]);
    db.db.compact_range(CfId::DEFAULT, None, None).unwrap();
    db.db.engine().value_log().seal_heads();
    assert_eq!(db.stats().value_log.discard_queue, 1);
    let report = db.db.run_value_log_gc(0.5).unwrap();
    assert_eq!(report.segments, 1);
    let stats = db.stats();
    assert_eq!(stats.value_log.pending_deletes, 1);
    assert_eq!((stats.value_log.gc.gc_runs, stats.value_log.gc.segments_removed), (1, 1));
    assert_eq!((stats.counter("gc_runs"), stats.counter("gc_segments")), (1, 1));
    assert!(stats.engine.pins.retired_tables > 0 && stats.engine.pins.retired_table_bytes > 0);
    let pinned: u64 = stats.engine.value_log_segments.iter().map(|s| s.pinned_bytes).sum();
    assert!(pinned >= 20 * (8 << 10), "{pinned}");
    let levels: u64 = stats.engine.levels.iter().map(|l| l.pinned_bytes).sum();
    assert_eq!(levels, stats.engine.pins.retired_table_bytes);
    assert_eq!(stats.engine.pins.iterators, 1);
    assert!(stats.engine.pins.list[0].bytes > pinned);
    // It still reads what it saw.
    assert_eq!(iter.next().unwrap().unwrap().1, vec![1; 8 << 10]);
    drop(iter);
    let stats = db.until(|stats| stats.value_log.pending_deletes == 0);
    assert_eq!((stats.value_log.pending_deletes, stats.engine.pins.retired_tables), (0, 0));
    assert_eq!(stats.engine.pins.list, []);
}
