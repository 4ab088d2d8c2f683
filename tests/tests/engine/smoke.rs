//! The handle, end to end: the first things that a user does.
#![allow(missing_docs)]

use nokv::{CfId, Db, Expiry, IterOptions, ManualClock, Options, Version, WriteBatch, WriteOptions};
use nokv_vfs_mem::MemFs;
use std::sync::Arc;

fn small(dir: &str) -> Options {
    let mut options = Options::new(dir);
    options.mem_table_bytes = 256 << 10;
    options.wal_segment_bytes = 256 << 10;
    options.table_bytes = 64 << 10;
    options.level_base_bytes = 256 << 10;
    options.value_threshold_bytes = 1 << 10;
    options.value_log_segment_bytes = 256 << 10;
    options.value_log_gc_interval = std::time::Duration::ZERO;
    options
}

#[test]
fn set_get_reopen() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    for i in 0..20_000u32 {
        let key = format!("key{:08}", i * 7919 % 20_000);
        db.set(key.as_bytes(), format!("value{i}").repeat(3).as_bytes()).unwrap();
    }
    let look = |db: &Db<MemFs>| {
        for i in (0..20_000u32).step_by(37) {
            let key = format!("key{:08}", i * 7919 % 20_000);
            let value = db.get(key.as_bytes()).unwrap().unwrap_or_else(|| panic!("{key}"));
            assert_eq!(value, format!("value{i}").repeat(3).as_bytes());
        }
        assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 20_000);
        let reverse = IterOptions { reverse: true, ..IterOptions::default() };
        let keys: Vec<_> = db.iter(reverse).unwrap().map(|r| r.unwrap().0).collect();
        assert_eq!(keys.len(), 20_000);
        assert!(keys.is_sorted_by(|a, b| a > b));
    };
    look(&db);
    db.flush().unwrap();
    look(&db);
    db.wait_idle().unwrap();
    look(&db);
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    look(&db);
    println!("{:#?}", db.stats());
    db.close().unwrap();
    assert!(db.get(b"x").is_err());
    let db = Db::open_on(fs, small("db")).unwrap();
    assert!(db.open_report().clean);
    look(&db);
    assert!(db.check_all().unwrap().is_clean());
}

#[test]
fn large_values_and_collection() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    for round in 0..4u8 {
        for i in 0..200u32 {
            db.set(format!("k{i}").as_bytes(), &vec![round; 5000]).unwrap();
        }
    }
    db.flush().unwrap();
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    let before = db.stats();
    let report = db.run_value_log_gc(0.5).unwrap();
    assert!(report.segments > 0);
    // A thread that still looks at the old tables holds the files of collected segments.
    let mut after = db.stats();
    for _ in 0..10_000 {
        if after.value_log.pending_deletes == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        db.wait_idle().unwrap();
        after = db.stats();
    }
    assert!(after.engine.space.value_log_bytes < before.engine.space.value_log_bytes, "{before:?} {after:?}");
    for i in 0..200u32 {
        assert_eq!(db.get(format!("k{i}").as_bytes()).unwrap().unwrap(), vec![3; 5000]);
    }
    assert_eq!(db.run_value_log_gc(0.9), Err(nokv::Error::NothingToCollect));
    db.checkpoint("copy").unwrap();
    db.close().unwrap();
    let copy = Db::open_on(fs, small("copy")).unwrap();
    assert_eq!(copy.get(b"k7").unwrap().unwrap(), vec![3; 5000]);
    assert!(copy.check_all().unwrap().is_clean());
}

#[test]
fn kill_and_recover() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    for i in 0..5000u32 {
        db.set(format!("k{i}").as_bytes(), &i.to_le_bytes()).unwrap();
    }
    let killed = fs.kill_clone();
    let again = Db::open_on(killed, small("db")).unwrap();
    for i in 0..5000u32 {
        assert_eq!(again.get(format!("k{i}").as_bytes()).unwrap().unwrap(), i.to_le_bytes());
    }
}

#[test]
fn versions_ttl_batches() {
    let clock = Arc::new(ManualClock::new(1_000));
    let mut options = small("db");
    options.clock = Some(clock.clone());
    let db = Db::open_on(MemFs::new(), options).unwrap();
    let cf = CfId::DEFAULT;
    db.set_versioned_entry(cf, b"k", Version(5), b"five", 1).unwrap();
    db.set_versioned_entry(cf, b"k", Version(3), b"three", 255).unwrap();
    assert_eq!(db.get(b"k").unwrap().unwrap(), b"five");
    let three = db.get_versioned_entry(cf, b"k", Version(4)).unwrap().unwrap();
    assert_eq!((&*three.value, three.version, three.meta), (&b"three"[..], Version(3), 255));
    db.purge(cf, b"k", Version(5)).unwrap();
    assert_eq!(db.get(b"k").unwrap().unwrap(), b"three");
    db.set_with_ttl(b"t", b"x", Expiry::At(2_000)).unwrap();
    assert!(db.get(b"t").unwrap().is_some());
    clock.advance_ms(1_000);
    assert!(db.get(b"t").unwrap().is_none());
    let mut batch = WriteBatch::new();
    batch.put(cf, b"a", b"1").unwrap();
    batch.require_unchanged(cf, b"a", db.published_seq());
    db.write(batch.clone(), &WriteOptions { sync: Some(true), ..Default::default() }).unwrap();
    assert_eq!(db.write(batch, &WriteOptions::default()), Err(nokv::Error::Conflict));
    db.delete_range(cf, b"a", b"b").unwrap();
    assert!(db.get(b"a").unwrap().is_none());
    db.flush().unwrap();
    assert!(db.get(b"a").unwrap().is_none());
    assert_eq!(db.get(b"k").unwrap().unwrap(), b"three");
}
