//! Stages of flushes: a slow file raises the stage that it belongs to, and no other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use nokv::stats::StatsSnapshot;
use nokv_vfs_mem::Op;

use super::{Slow, quiet};

/// Mean, last and longest of each stage: wait, value sync, build, install, release.
fn stages(stats: &StatsSnapshot) -> [[f64; 3]; 5] {
    let (f, more) = (&stats.flush, &stats.engine.flush);
    [
        [f.wait_ms, f.last_wait_ms, f.max_wait_ms],
        [more.value_sync_ms, more.last_value_sync_ms, more.max_value_sync_ms],
        [f.build_ms, f.last_build_ms, f.max_build_ms],
        [more.install_ms, more.last_install_ms, more.max_install_ms],
        [f.release_ms, f.last_release_ms, f.max_release_ms],
    ]
}

/// Only `stage` took time, and it took `ms` in the one flush that was.
fn assert_only(db: &Slow, stage: usize, ms: f64) {
    let mut expected = [[0.0; 3]; 5];
    expected[stage] = [ms; 3];
    assert_eq!(stages(&db.stats()), expected);
    assert_eq!(db.stats().flush.completed, 1);
    assert_eq!(db.stats().engine.latency["flush"].max_ns, (ms * 1e6) as u64);
}

#[test]
fn a_slow_value_log_raises_the_value_sync_stage_only() {
    let db = Slow::open(quiet());
    db.fill(0..1, &[7; 8 << 10]);
    db.slow(Op::Sync, "vlog/", 5);
    db.db.flush().unwrap();
    assert_only(&db, 1, 5.0);
}

#[test]
fn a_slow_table_raises_the_build_stage_only() {
    let db = Slow::open(quiet());
    db.fill(0..10, b"value");
    db.slow(Op::Sync, "tables/", 7);
    db.db.flush().unwrap();
    assert_only(&db, 2, 7.0);
}

#[test]
fn a_slow_manifest_raises_the_install_stage_only() {
    let db = Slow::open(quiet());
    db.fill(0..10, b"value");
    db.slow(Op::Sync, "MANIFEST", 11);
    db.db.flush().unwrap();
    assert_only(&db, 3, 11.0);
}

#[test]
fn slow_unlinks_of_log_segments_raise_the_release_stage_only() {
    let db = Slow::open(quiet());
    db.fill(0..600, &[1; 1000]);
    let before = db.stats().wal.segment_count;
    assert!(before >= 2, "{before} segments");
    let (clock, unlinks) = (db.clock.clone(), Arc::new(AtomicU64::new(0)));
    let count = unlinks.clone();
    db.fs.observe(move |op, path| {
        if op == Op::Unlink && path.contains("wal/") {
            clock.advance_ms(3);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    db.db.flush().unwrap();
    let gone = before - db.stats().wal.segment_count;
    assert!(gone >= 1, "{gone} segments were released");
    assert_eq!(db.stats().wal.segments_removed, gone as u64);
    assert_only(&db, 4, 3.0 * unlinks.load(Ordering::SeqCst) as f64);
}

#[test]
fn mean_last_and_longest_are_kept_apart() {
    let db = Slow::open(quiet());
    for (n, ms) in [(0, 20), (1, 30), (2, 10)] {
        db.fill(n..n + 1, b"value");
        db.slow(Op::Sync, "tables/", ms);
        db.db.flush().unwrap();
    }
    let stats = db.stats();
    assert_eq!(stages(&stats)[2], [20.0, 10.0, 30.0]);
    assert_eq!(stats.flush.completed, 3);
    assert_eq!(stats.counter("flushes"), 3);
}

#[test]
fn a_memtable_that_waits_for_another_ones_flush_is_queued_and_its_wait_counted() {
    let db = Slow::open(quiet());
    let (reached, at_table) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    db.fill(0..1, b"first");
    db.fs.observe(move |op, path| {
        if op == Op::Create && path.contains("tables/") && reached.send(()).is_ok() {
            // Ends with an error once the sender is gone.
            let _ = wait.lock().unwrap().recv();
        }
    });
    db.db.engine().rotate_memtable().unwrap();
    at_table.recv().unwrap();
    db.fill(1..2, b"second");
    db.db.engine().rotate_memtable().unwrap();
    let stats = db.stats();
    assert_eq!((stats.flush.pending, stats.flush.queue_length, stats.flush.active), (2, 1, 1));
    assert_eq!(stats.engine.memtables.sealed, 2);
    db.clock.advance_ms(40);
    drop(go_on);
    drop(at_table);
    db.db.flush().unwrap();
    let stats = db.stats();
    assert_eq!((stats.flush.pending, stats.flush.queue_length, stats.flush.active), (0, 0, 0));
    assert_eq!(stages(&stats)[0], [20.0, 40.0, 40.0]);
}
