//! The rest of the handle: bulk ingest, read-only opens, followers, listeners, limits, families.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nokv::{
    CfId, Compression, CoreApi, Db, Error, Event, EventListener, IterOptions, Options, ReplacedRange, Seq,
    TableWriter, Version, WriteBatch, WriteOptions, split_internal_key,
};
use nokv_vfs_mem::MemFs;

fn small(dir: &str) -> Options {
    let mut options = Options::new(dir);
    options.mem_table_bytes = 256 << 10;
    options.wal_segment_bytes = 256 << 10;
    options.table_bytes = 64 << 10;
    options.level_base_bytes = 256 << 10;
    options.value_log_gc_interval = Duration::ZERO;
    options
}

fn table(fs: &MemFs, path: &str, keys: std::ops::Range<u32>, value: &[u8]) {
    let mut writer = TableWriter::create_on(fs, path, Compression::None).unwrap();
    for k in keys {
        writer.put(CfId::DEFAULT, format!("{k:05}").as_bytes(), value).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn ingested_tables_are_newer_than_what_was_there_and_older_than_what_comes() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    for k in 0..100 {
        db.set(format!("{k:05}").as_bytes(), b"old").unwrap();
    }
    table(&fs, "a.sst", 50..150, b"bulk");
    table(&fs, "b.sst", 150..250, b"bulk");
    let snapshot = db.snapshot().unwrap();
    db.ingest(&["a.sst", "b.sst"], None).unwrap();
    db.set(b"00060", b"new").unwrap();
    let check = |db: &Db<MemFs>| {
        let get = |k: u32| db.get(format!("{k:05}").as_bytes()).unwrap().map(|v| v.to_vec());
        assert_eq!(get(10).unwrap(), b"old");
        assert_eq!(get(55).unwrap(), b"bulk");
        assert_eq!(get(60).unwrap(), b"new");
        assert_eq!(get(249).unwrap(), b"bulk");
        assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 250);
        assert!(db.check_all().unwrap().is_clean());
    };
    check(&db);
    assert_eq!(db.get_at(&snapshot, CfId::DEFAULT, b"00055", Version::MAX).unwrap().unwrap().value, b"old");
    assert!(db.get_at(&snapshot, CfId::DEFAULT, b"00200", Version::MAX).unwrap().is_none());
    drop(snapshot);
    let killed = Db::open_on(fs.kill_clone(), small("db")).unwrap();
    check(&killed);
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    check(&db);
    // Overlap with each other, or nothing at all: refused, nothing changed.
    assert!(matches!(db.ingest(&["a.sst", "a.sst"], None), Err(Error::InvalidArgument(_))));
    check(&db);
    table(&fs, "c.sst", 20..30, b"replaced");
    let range = ReplacedRange { cf: CfId::DEFAULT, start: b"00000".to_vec(), end: b"00100".to_vec() };
    db.ingest(&["c.sst"], Some(&range)).unwrap();
    assert!(db.get(b"00010").unwrap().is_none());
    assert_eq!(db.get(b"00025").unwrap().unwrap(), b"replaced");
    assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 160);
    db.close().unwrap();
    let db = Db::open_on(fs, small("db")).unwrap();
    assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 160);
    assert!(db.check_all().unwrap().is_clean());
}

#[test]
fn a_damaged_foreign_table_is_refused_and_changes_nothing() {
    use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    table(&fs, "a.sst", 0..100, b"bulk");
    let file = fs.open("a.sst", OpenMode::ReadWrite).unwrap();
    file.write_at(&[0xff], 200).unwrap();
    assert!(matches!(db.ingest(&["a.sst"], None), Err(Error::Corrupt { .. })));
    assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 0);
    db.set(b"k", b"v").unwrap();
    assert_eq!(fs.list("db/tables").unwrap().len(), 0);
}

#[test]
fn a_read_only_open_sees_unflushed_writes_and_writes_nothing() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    db.set(b"a", b"1").unwrap();
    let copy = fs.kill_clone();
    let calls = copy.calls();
    let mut options = small("db");
    options.read_only = true;
    let reader = Db::open_on(copy.clone(), options.clone()).unwrap();
    assert_eq!(reader.get(b"a").unwrap().unwrap(), b"1");
    assert!(matches!(reader.set(b"b", b"2"), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.create_cf("x"), Err(Error::ReadOnly(_))));
    reader.close().unwrap();
    assert_eq!(copy.calls(), calls, "a read-only open changed the disk");
    options.work_dir = "nowhere".into();
    assert!(matches!(Db::open_on(copy, options), Err(Error::Io { .. })));
}

#[test]
fn a_second_open_is_refused_until_the_first_is_closed() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    assert!(matches!(Db::open_on(fs.clone(), small("db")), Err(Error::Locked { .. })));
    drop(db);
    Db::open_on(fs, small("db")).unwrap();
}

#[test]
fn closing_one_clone_closes_all_and_is_idempotent() {
    let db = Db::open_on(MemFs::new(), small("db")).unwrap();
    let other = db.clone();
    db.close().unwrap();
    db.close().unwrap();
    assert!(other.is_closed());
    assert_eq!(other.get(b"k").unwrap_err(), Error::Closed);
    assert_eq!(other.set(b"k", b"v").unwrap_err(), Error::Closed);
    assert_eq!(other.flush().unwrap_err(), Error::Closed);
    assert_eq!(other.sync().unwrap_err(), Error::Closed);
    assert!(other.iter(IterOptions::default()).is_err());
    assert!(other.snapshot().is_err());
}

#[test]
fn followers_see_every_logged_write_in_order() {
    let db = Db::open_on(MemFs::new(), small("db")).unwrap();
    let mut seqs = Vec::new();
    for k in 0..10u8 {
        let mut batch = WriteBatch::new();
        batch.put(CfId::DEFAULT, &[k], &[k]).unwrap();
        batch.delete(CfId::LOCK, &[k]).unwrap();
        seqs.push(db.write(batch, &WriteOptions::default()).unwrap());
    }
    let changes = db.changes_since(seqs[6]).unwrap();
    let firsts: Vec<Seq> = changes.iter().map(|(first, _)| *first).collect();
    assert_eq!(firsts, [Seq(seqs[6].0 + 1), Seq(seqs[7].0 + 1), Seq(seqs[8].0 + 1)]);
    assert_eq!(changes[0].1.iter().map(|op| op.key.user_key.to_vec()).collect::<Vec<_>>(), [[7], [7]]);
    assert_eq!(db.changes_since(db.published_seq()).unwrap(), []);
    db.flush().unwrap();
    for k in 0..3000u32 {
        db.set(&k.to_be_bytes(), &[1; 300]).unwrap();
    }
    db.flush().unwrap();
    assert!(matches!(db.changes_since(Seq(1)), Err(Error::InvalidArgument(_))), "the log was released");
}

#[test]
fn families_come_and_go_and_numbers_are_not_used_again() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    let cats = db.create_cf("cats").unwrap();
    db.set_cf(cats, b"tom", b"1").unwrap();
    assert!(db.create_cf("cats").is_err());
    assert!(db.create_cf("../x").is_err());
    db.drop_cf("cats").unwrap();
    assert!(matches!(db.get_cf(cats, b"tom"), Err(Error::UnknownFamily(_))));
    assert!(db.drop_cf("default").is_err());
    let again = db.create_cf("cats").unwrap();
    assert_ne!(again, cats);
    assert!(db.get_cf(again, b"tom").unwrap().is_none());
    db.flush().unwrap();
    db.compact_range(again, None, None).unwrap();
    db.close().unwrap();
    let db = Db::open_on(fs, small("db")).unwrap();
    assert_eq!(db.cf("cats"), Some(again));
    assert!(db.internal_iter().unwrap().all(|e| split_internal_key(&e.unwrap().key).unwrap().cf != cats));
}

#[test]
fn limits_are_typed_errors_and_write_nothing() {
    let db = Db::open_on(MemFs::new(), small("db")).unwrap();
    assert_eq!(db.set(&[1; 65_536], b"v").unwrap_err(), Error::KeyTooLarge(65_536));
    db.set(&[1; 65_535], b"v").unwrap();
    let mut batch = WriteBatch::new();
    for k in 0..400u32 {
        batch.put(CfId::DEFAULT, &k.to_be_bytes(), &[0; 1000]).unwrap();
    }
    assert!(matches!(db.write(batch, &WriteOptions::default()), Err(Error::BatchTooLarge { .. })));
    assert!(db.get(&0u32.to_be_bytes()).unwrap().is_none());
    assert!(db.set_versioned_entry(CfId::DEFAULT, b"k", Version::MAX, b"v", 0).is_err());
    db.set(b"", b"").unwrap();
    assert_eq!(db.get(b"").unwrap().unwrap(), b"");
    let past = WriteOptions { deadline: Some(Instant::now()), ..Default::default() };
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, b"d", b"v").unwrap();
    match db.write(batch, &past) {
        Ok(_) => assert!(db.get(b"d").unwrap().is_some()),
        Err(error) => assert_eq!((error, db.get(b"d").unwrap()), (Error::DeadlineExceeded, None)),
    }
}

#[test]
fn transactions_that_race_lose_nothing() {
    let db = Db::open_on(MemFs::new(), small("db")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    loop {
                        let added = db.transaction(|tx| {
                            let n = tx.get(CfId::DEFAULT, b"n")?.map_or(0, |v| {
                                u64::from_le_bytes(v.as_ref().try_into().expect("eight bytes"))
                            });
                            tx.set(CfId::DEFAULT, b"n", &(n + 1).to_le_bytes())
                        });
                        match added {
                            Ok(()) => break,
                            Err(error) => assert_eq!(error, Error::Conflict),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(*db.get(b"n").unwrap().unwrap(), 400u64.to_le_bytes());
}

#[test]
fn many_writers_with_and_without_sync_lose_nothing() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small("db")).unwrap();
    std::thread::scope(|scope| {
        for t in 0..8u32 {
            let db = &db;
            scope.spawn(move || {
                for k in 0..500u32 {
                    let key = (t * 1000 + k).to_be_bytes();
                    let mut batch = WriteBatch::new();
                    batch.put(CfId::DEFAULT, &key, &[7; 200]).unwrap();
                    let sync = Some(k % 50 == 0);
                    db.write(batch, &WriteOptions { sync, ..Default::default() }).unwrap();
                    assert!(db.get(&key).unwrap().is_some(), "a write that returned is read");
                }
            });
        }
    });
    assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 4000);
    let killed = Db::open_on(fs.kill_clone(), small("db")).unwrap();
    assert_eq!(killed.iter(IterOptions::default()).unwrap().count(), 4000);
}

#[derive(Default)]
struct Count(AtomicUsize);

impl EventListener for Count {
    fn on_event(&self, event: &Event) {
        if let Event::StepDone { what, .. } = event
            && what == "flush"
        {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn listeners_hear_of_flushes_and_the_api_is_object_safe() {
    let count = Arc::new(Count::default());
    let mut options = small("db");
    options.listener = Some(count.clone());
    let db = Db::open_on(MemFs::new(), options).unwrap();
    let api: &dyn CoreApi = &db;
    api.set(b"k", b"v").unwrap();
    assert_eq!(api.get(b"k").unwrap().unwrap().value, b"v");
    assert_eq!(api.iter(IterOptions::default()).unwrap().count(), 1);
    db.flush().unwrap();
    db.wait_idle().unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(db.approximate_size(CfId::DEFAULT, b"", None).unwrap() > 0);
    assert_eq!(db.approximate_size(CfId::LOCK, b"", None).unwrap(), 0);
    assert!(db.health().writable);
    assert_eq!(api.stats().unwrap().flush.completed, 1);
    api.close().unwrap();
}
