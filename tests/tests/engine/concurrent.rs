//! Writers that meet: a sync of one beside the write of another, groups that the engine is too busy for, a close
//! beside calls.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nokv::{CfId, Db, Error, IterOptions, Options, WriteBatch, WriteOptions};
use nokv_core::clock::ManualClock;
use nokv_core::engine::{Engine, EngineOptions, Environment, Member};
use nokv_core::formats::{KeyRef, Version};
use nokv_core::heat::{NoHeat, NoSignals};
use nokv_tests::foreign::TreeIndex;
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

fn open(fs: &MemFs) -> Arc<Engine<MemFs, TreeIndex>> {
    let mut options = EngineOptions::new((), 7);
    options.memtable_bytes = 256 << 10;
    options.wal_segment_bytes = 256 << 10;
    options.value_threshold_bytes = 1000;
    let environment = Environment {
        clock: Arc::new(ManualClock::new(1)),
        heat: Arc::new(NoHeat),
        signals: Arc::new(NoSignals),
    };
    Engine::open(fs.clone(), "db", options, environment).unwrap()
}

/// Writes without a sync; gives what is needed to sync.
fn write(
    engine: &Engine<MemFs, TreeIndex>,
    key: &[u8],
    value: &[u8],
) -> nokv_core::engine::Ticket<TreeIndex> {
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, key, value).unwrap();
    let (batch, _guard) = engine.prepare(&batch).unwrap();
    let mut member = Member { batch: &batch, disable_wal: false, outcome: None };
    engine.log(core::slice::from_mut(&mut member));
    let ticket = member.outcome.unwrap().unwrap();
    engine.apply(&batch, &ticket);
    ticket
}

#[test]
fn a_sync_claims_nothing_whose_value_was_written_beside_it() {
    let fs = MemFs::new();
    let engine = open(&fs);
    let first = write(&engine, b"first", &[1; 2000]);
    // Behind the sync of the values' bytes and before that of the log another one writes.
    let done = Arc::new(AtomicBool::new(false));
    let second = Arc::new(std::sync::Mutex::new(None));
    {
        let (engine, done, second) = (engine.clone(), done.clone(), second.clone());
        fs.set_call_hook(Box::new(move |_, op, path| {
            let is_between = op == "sync_dir" && path.contains("vlog");
            if is_between && !done.swap(true, Ordering::SeqCst) {
                *second.lock().unwrap() = Some(write(&engine, b"second", &[2; 2000]));
            }
        }));
    }
    engine.sync_to(&first).unwrap();
    fs.clear_call_hook();
    assert!(done.load(Ordering::SeqCst), "the value log was synced");
    let look = |image: MemFs| {
        let again = open(&image);
        let get = |key: &[u8]| {
            again.get(KeyRef::new(CfId::DEFAULT, key), Version::MAX).unwrap().map(|hit| hit.value.to_vec())
        };
        (get(b"first"), get(b"second"))
    };
    // Not synced: it may be gone, as a whole.
    for seed in 0..20 {
        for image in [CrashImage::None, CrashImage::All, CrashImage::Random] {
            let (a, b) = look(fs.crash_clone(seed, CrashMode::Posix, image));
            assert_eq!(a, Some(vec![1; 2000]));
            assert!(b.is_none() || b == Some(vec![2; 2000]));
        }
    }
    let ticket = second.lock().unwrap().take().unwrap();
    engine.sync_to(&ticket).unwrap();
    for seed in 0..20 {
        for image in [CrashImage::None, CrashImage::All, CrashImage::Random] {
            let (a, b) = look(fs.crash_clone(seed, CrashMode::Posix, image));
            assert_eq!((a, b), (Some(vec![1; 2000]), Some(vec![2; 2000])));
        }
    }
}

fn small() -> Options {
    let mut options = Options::new("db");
    options.mem_table_bytes = 64 << 10;
    options.sealed_mem_tables_max = 1;
    options.wal_segment_bytes = 256 << 10;
    options.table_bytes = 64 << 10;
    options.level_base_bytes = 256 << 10;
    options.value_log_gc_interval = Duration::ZERO;
    options
}

#[test]
fn a_group_that_waits_for_a_flush_does_not_wait_for_itself() {
    let db = Db::open_on(MemFs::new(), small()).unwrap();
    std::thread::scope(|scope| {
        for t in 0..8u32 {
            let db = &db;
            scope.spawn(move || {
                for k in 0..150u32 {
                    let mut batch = WriteBatch::new();
                    let key = (t << 16 | k).to_be_bytes();
                    batch.put(CfId::DEFAULT, &key, &[t as u8; 3000]).unwrap();
                    if k % 3 == 0 {
                        batch.require_unchanged(CfId::DEFAULT, &key, db.published_seq());
                    }
                    db.write(batch, &WriteOptions::default()).unwrap();
                }
            });
        }
    });
    assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 8 * 150);
}

#[test]
fn closing_beside_writers_and_background_calls_ends_them_and_leaves_a_clean_database() {
    for round in 0..10 {
        let fs = MemFs::new();
        let db = Db::open_on(fs.clone(), small()).unwrap();
        let written = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4u32)
                .map(|t| {
                    let db = db.clone();
                    scope.spawn(move || {
                        let mut count = 0u32;
                        loop {
                            match db.set(&(t << 16 | count).to_be_bytes(), &[7; 2000]) {
                                Ok(()) => count += 1,
                                Err(Error::Closed) => return count,
                                Err(error) => panic!("{error}"),
                            }
                        }
                    })
                })
                .collect();
            let caller = {
                let db = db.clone();
                scope.spawn(move || {
                    loop {
                        match db.compact_range(CfId::DEFAULT, None, None) {
                            Ok(()) => {}
                            Err(Error::Closed) => return,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            };
            while db.published_seq().0 < 200 + round * 50 {
                std::thread::yield_now();
            }
            db.close().unwrap();
            caller.join().unwrap();
            writers.into_iter().map(|w| w.join().unwrap()).sum::<u32>()
        });
        let again = Db::open_on(fs.kill_clone(), small()).unwrap();
        assert!(again.open_report().clean);
        assert_eq!(again.iter(IterOptions::default()).unwrap().count(), written as usize);
        assert!(again.check_all().unwrap().is_clean());
    }
}

#[test]
fn a_full_disk_is_told_to_writers_and_flushes_and_passes() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small()).unwrap();
    db.set(b"before", b"1").unwrap();
    fs.set_capacity(fs.used() + (100 << 10));
    let mut refused = None;
    for k in 0..2000u32 {
        if let Err(error) = db.set(&k.to_be_bytes(), &[1; 1000]) {
            refused = Some((k, error));
            break;
        }
    }
    let (stored, error) = refused.expect("the disk is full at some point");
    assert!(error.is_no_space(), "{error}");
    assert!(db.flush().unwrap_err().is_no_space());
    assert!(db.health().writable);
    assert_eq!(db.get(b"before").unwrap().unwrap(), b"1");
    fs.set_capacity(u64::MAX);
    // The background looks again after a while.
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while db.set(b"after", b"2").is_err() || db.flush().is_err() {
        assert!(std::time::Instant::now() < until, "writes go on without a restart");
        std::thread::yield_now();
    }
    db.close().unwrap();
    let db = Db::open_on(fs, small()).unwrap();
    assert_eq!(db.iter(IterOptions::default()).unwrap().count(), stored as usize + 2);
}
