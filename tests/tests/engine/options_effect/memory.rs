//! Effects of the options of place, memtables, log and manifest.

use std::time::{Duration, Instant};

use nokv::core::engine::SegmentStats;
use nokv::{
    BuiltinIndex, CfId, Db, Error, MemTableEngine, OptionField, Options, Vfs, WriteBatch, WriteOptions,
};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

use super::Case;
use super::support::{Gate, Noted, fill, open, small};

pub const CASES: &[Case] = &[
    ("work_dir", work_dir),
    ("read_only", read_only),
    ("create_if_missing", create_if_missing),
    ("mem_table_bytes", mem_table_bytes),
    ("mem_table_engine", mem_table_engine),
    ("sealed_mem_tables_max", sealed_mem_tables_max),
    ("wal_segment_bytes", wal_segment_bytes),
    ("sync_writes", sync_writes),
    ("manifest_sync", manifest_sync),
    ("manifest_rewrite_threshold_bytes", manifest_rewrite_threshold_bytes),
    ("discard_stats_flush_threshold", discard_stats_flush_threshold),
];

fn work_dir() {
    let (fs, db) = open(Options { work_dir: "some/where".into(), ..small() });
    db.set(b"k", b"v").unwrap();
    assert!(fs.list("some/where").unwrap().iter().any(|entry| entry.name == "CURRENT"));
    assert!(fs.list("db").is_err());
}

fn read_only() {
    let noted = Noted::new();
    let db = Db::open_on(noted.fs.clone(), small()).unwrap();
    db.set(b"k", b"v").unwrap();
    db.close().unwrap();
    drop(db);
    noted.forget();
    let db = Db::open_on(noted.fs.clone(), Options { read_only: true, ..small() }).unwrap();
    assert_eq!(db.get(b"k").unwrap().unwrap(), b"v");
    assert!(matches!(db.set(b"k", b"w"), Err(Error::ReadOnly(_))));
    db.close().unwrap();
    drop(db);
    assert_eq!(noted.count_all(), 0, "it changed something");
}

fn create_if_missing() {
    let fs = MemFs::new();
    let refused = Db::open_on(fs.clone(), Options { create_if_missing: false, ..small() });
    assert!(refused.is_err());
    assert_eq!(fs.used(), 0);
    drop(Db::open_on(fs.clone(), small()).unwrap());
    Db::open_on(fs, Options { create_if_missing: false, ..small() }).unwrap();
}

fn mem_table_bytes() {
    let flushes = |bytes| {
        let (_, db) = open(Options { mem_table_bytes: bytes, ..small() });
        fill(&db, 4000, 50);
        db.wait_idle().unwrap();
        db.engine().stats().counters.flushes
    };
    assert!(flushes(64 << 10) >= 3);
    assert_eq!(flushes(16 << 20), 0);
}

fn mem_table_engine() {
    let index = |engine| {
        let (_, db) = open(Options { mem_table_engine: engine, ..small() });
        fill(&db, 100, 50);
        assert_eq!(db.get(&7u32.to_be_bytes()).unwrap().unwrap(), [7; 50]);
        let view = db.engine().view();
        matches!(view.active.index().as_ref(), BuiltinIndex::Skiplist(_))
    };
    assert!(index(MemTableEngine::Skiplist));
    assert!(!index(MemTableEngine::Art));
}

fn sealed_mem_tables_max() {
    for most in [1, 3] {
        let gate = Gate::new(&["create"], "tables/");
        let options = Options { sealed_mem_tables_max: most, ..small() };
        let db = Db::open_on(gate.fs.clone(), options).unwrap();
        gate.shut();
        let mut refused = 0;
        for k in 0..1_000_000u32 {
            let mut batch = WriteBatch::new();
            batch.put(CfId::DEFAULT, &k.to_be_bytes(), &[1; 1000]).unwrap();
            let deadline = Some(Instant::now() + Duration::from_millis(2));
            let written = db.write(batch, &WriteOptions { deadline, ..Default::default() });
            let sealed = db.engine().stats().sealed_memtables as usize;
            assert!(sealed <= most);
            refused = if written.is_err() && sealed == most { refused + 1 } else { 0 };
            if refused == 3 {
                break;
            }
        }
        assert_eq!(refused, 3, "writers never waited");
        gate.open();
        db.close().unwrap();
    }
}

fn wal_segment_bytes() {
    let segments = |bytes| {
        let options = Options { wal_segment_bytes: bytes, mem_table_bytes: 16 << 20, ..small() };
        let (fs, db) = open(options);
        fill(&db, 1000, 1000);
        let files = fs.list("db/wal").unwrap();
        drop(db);
        files.iter().filter(|entry| entry.name.ends_with(".wal")).count()
    };
    assert!(segments(256 << 10) >= 4);
    assert_eq!(segments(4 << 20), 1);
}

fn sync_writes() {
    for on in [true, false] {
        let (fs, db) = open(Options { sync_writes: on, ..small() });
        db.sync().unwrap();
        db.set(b"k", b"v").unwrap();
        let after = fs.crash_clone(1, CrashMode::Posix, CrashImage::None);
        let found = Db::open_on(after, small()).unwrap().get(b"k").unwrap();
        assert_eq!(found.is_some(), on);
    }
}

fn manifest_sync() {
    let syncs = |on| {
        let noted = Noted::new();
        let options = Options {
            manifest_sync: on,
            // Every flushed table moves down by an edit that deletes nothing.
            level0_compaction_tables: 1,
            wal_segment_bytes: 4 << 20,
            ..small()
        };
        let db = Db::open_on(noted.fs.clone(), options).unwrap();
        noted.forget();
        for range in 0..20u32 {
            for k in 0..10 {
                db.set(&(range * 100 + k).to_be_bytes(), b"v").unwrap();
            }
            db.flush().unwrap();
            db.wait_idle().unwrap();
        }
        let (syncs, writes) = (noted.count("sync", "MANIFEST"), noted.count("write_at", "MANIFEST"));
        assert!(writes >= 30, "{writes} edits: tables were to move");
        syncs
    };
    let (with, without) = (syncs(true), syncs(false));
    assert!(without < with, "{without} syncs without, {with} with");
}

fn manifest_rewrite_threshold_bytes() {
    let manifests = |bytes| {
        let noted = Noted::new();
        let options =
            Options { manifest_rewrite_threshold_bytes: bytes, level0_compaction_tables: 2, ..small() };
        let db = Db::open_on(noted.fs.clone(), options).unwrap();
        noted.forget();
        for round in 0..60u8 {
            db.set(b"k", &[round]).unwrap();
            db.flush().unwrap();
            db.wait_idle().unwrap();
        }
        noted.count("create", "MANIFEST")
    };
    assert!(manifests(4 << 10) >= 1);
    assert_eq!(manifests(0), 0);
}

/// Superseded: it is marked, and any value gives the same files.
fn discard_stats_flush_threshold() {
    assert!(OptionField::find("discard_stats_flush_threshold").unwrap().is_superseded());
    let live = |threshold| {
        let (_, db) = open(Options { discard_stats_flush_threshold: threshold, ..small() });
        for _ in 0..3 {
            fill(&db, 20, 5000);
            db.flush().unwrap();
        }
        db.compact_range(CfId::DEFAULT, None, None).unwrap();
        let segments = db.engine().stats().segments;
        let sum = |of: fn(&SegmentStats) -> u64| segments.iter().map(of).sum::<u64>();
        (sum(|s| s.live_bytes), sum(|s| s.size))
    };
    let (live_bytes, all_bytes) = live(1);
    assert!(live_bytes < all_bytes);
    assert_eq!(live(1_000_000), (live_bytes, all_bytes));
}
