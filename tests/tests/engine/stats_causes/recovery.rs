//! What an open did; statistics from files alone; regions.

use std::sync::Arc;

use nokv::stats::{RegionStatsSnapshot, StatsSnapshot};
use nokv::{RegionMetrics, Vfs};
use nokv_core::vfs::{OpenMode, VfsFile};
use nokv_vfs_mem::FaultFs;

use super::{Slow, quiet};

#[test]
fn an_open_after_a_kill_tells_what_it_replayed() {
    let db = Slow::open(quiet());
    db.fill(0..400, &[1; 1000]);
    let log = db.stats();
    let again = Slow::open_on(db.fs.inner().kill_clone(), quiet());
    let recovery = again.stats().engine.recovery;
    assert!(!recovery.clean);
    assert_eq!((recovery.records, recovery.operations, recovery.segments), (400, 400, 2));
    assert_eq!(recovery.bytes_replayed, log.counter("log_bytes"));
    assert_eq!((recovery.tails_cut, recovery.cut_bytes), (0, 0));
    again.db.close().unwrap();
    let again = Slow::open_on(again.fs.inner().kill_clone(), quiet());
    let recovery = again.stats().engine.recovery;
    assert!(recovery.clean);
    // What is still in the log is in tables too.
    assert_eq!(recovery.operations, 0);
}

#[test]
fn a_torn_tail_is_told_with_its_bytes() {
    let db = Slow::open(quiet());
    db.fill(0..10, b"value");
    let end = db.stats().wal.active_size as u64;
    let killed = db.fs.inner().kill_clone();
    let log = killed.list("db/wal").unwrap().into_iter().find(|f| f.name.ends_with(".wal")).unwrap();
    let file = killed.open(&format!("db/wal/{}", log.name), OpenMode::ReadWrite).unwrap();
    file.write_at(b"torn", end).unwrap();
    let again = Slow::open_on(killed, quiet());
    let recovery = again.stats().engine.recovery;
    assert_eq!((recovery.tails_cut, recovery.cut_bytes, recovery.records), (1, 4, 10));
    assert_eq!(again.db.health().cut_bytes, 4);
}

#[test]
fn a_slow_open_is_told_with_its_time() {
    let db = Slow::open(quiet());
    db.fill(0..10, b"value");
    let clock = Arc::new(nokv::ManualClock::new(super::NOW_MS));
    let fs = FaultFs::new(db.fs.inner().kill_clone());
    let slow = clock.clone();
    fs.observe(move |op, path| {
        if op == nokv_vfs_mem::Op::Lock && path.ends_with("LOCK") {
            slow.advance_ms(17);
        }
    });
    let options = nokv::Options { clock: Some(clock), ..quiet() };
    let db = nokv::Db::open_on(fs, options).unwrap();
    assert_eq!(db.stats().engine.recovery.duration_ms, 17);
}

#[test]
fn files_tell_sizes_and_no_counters() {
    let db = Slow::open(quiet());
    db.fill(0..100, &[1; 1000]);
    db.fill(0..10, &[1; 8 << 10]);
    db.db.flush().unwrap();
    db.fill(100..120, &[1; 1000]);
    db.db.get(b"key00001").unwrap();
    let live = db.stats();
    let calls = db.fs.calls();
    let offline = StatsSnapshot::offline(db.fs.clone(), "db", &quiet()).unwrap();
    assert!(db.fs.calls() > calls);
    assert!(offline.engine.offline && !live.engine.offline);
    assert_eq!(offline.entries, live.entries);
    assert_eq!(offline.lsm.levels, live.lsm.levels);
    assert_eq!(offline.lsm.value_bytes_total, live.lsm.value_bytes_total);
    assert_eq!(offline.value_log.segments, live.value_log.segments);
    assert_eq!(offline.wal.active_segment, live.wal.active_segment);
    assert_eq!(offline.wal.active_size, live.wal.active_size);
    assert_eq!(offline.engine.levels, live.engine.levels);
    assert!(offline.engine.space.wal_bytes > 0);
    assert!(offline.engine.counters.values().all(|n| *n == 0), "{:?}", offline.engine.counters);
    assert_eq!((offline.flush.completed, offline.write.batches_total, offline.compaction.runs), (0, 0, 0));
    assert_eq!(offline.engine.memory, Default::default());
    assert!(offline.engine.latency.is_empty());
    assert!(StatsSnapshot::offline(db.fs.clone(), "nothing here", &quiet()).is_err());
}

struct Counts;

impl RegionMetrics for Counts {
    fn counts(&self) -> RegionStatsSnapshot {
        RegionStatsSnapshot { total: 6, new: 1, running: 2, removing: 1, tombstone: 1, other: 1 }
    }
}

#[test]
fn region_counts_come_from_what_is_attached() {
    let db = Slow::open(quiet());
    let info = db.db.info();
    assert_eq!(info.snapshot().region, RegionStatsSnapshot::default());
    info.set_region_metrics(Arc::new(Counts));
    assert_eq!(info.snapshot().region, Counts.counts());
    assert_eq!(db.stats().region, Counts.counts());
}
