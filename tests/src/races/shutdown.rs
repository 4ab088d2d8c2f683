//! Closing, beside everything else.

use nokv::{CfId, Db, Error, IterOptions};
use nokv_core::sync::model::thread::yield_now;
use nokv_vfs_mem::MemFs;

use super::{below, join, on_thread, options};

fn key(writer: u8, n: u16) -> Vec<u8> {
    [&[writer], n.to_be_bytes().as_slice()].concat()
}

/// A close while others write, read, flush and compact: it ends, all calls end, later ones say so; the next open finds it
/// clean, with every write that was acknowledged and none beside.
pub(super) fn beside_everything() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), options()).unwrap();
    let writers: Vec<_> = (0..2u8)
        .map(|writer| {
            let db = db.clone();
            on_thread(move || {
                for n in 0..12u16 {
                    let value = vec![writer; if below(4) == 0 { 4000 } else { 900 }];
                    match db.set(&key(writer, n), &value) {
                        Ok(()) => {}
                        Err(Error::Closed) => return n,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                12
            })
        })
        .collect();
    let reader = {
        let db = db.clone();
        on_thread(move || {
            for _ in 0..6 {
                match db.iter(IterOptions::default()) {
                    Ok(iter) => drop(iter.take(3).collect::<Vec<_>>()),
                    Err(Error::Closed) => return,
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    };
    let caller = {
        let db = db.clone();
        on_thread(move || {
            let calls: [fn(&Db<MemFs>) -> nokv::Result<()>; 4] = [
                |db| db.flush(),
                |db| db.compact_range(CfId::DEFAULT, None, None),
                |db| db.wait_idle(),
                |db| db.run_value_log_gc(0.1).map(drop),
            ];
            for _ in 0..2 {
                match calls[below(4) as usize](&db) {
                    Ok(()) | Err(Error::NothingToCollect | Error::GcRejected | Error::Busy(_)) => {}
                    Err(Error::Closed) => return,
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    };
    (0..below(40)).for_each(|_| yield_now());
    let other = {
        let db = db.clone();
        on_thread(move || db.close().unwrap())
    };
    db.close().unwrap();
    assert_eq!(db.set(b"late", b"1"), Err(Error::Closed));
    assert!(db.is_closed());
    let written: Vec<u16> = writers.into_iter().map(join).collect();
    join(reader);
    join(caller);
    join(other);
    drop(db);
    let again = Db::open_on(fs.kill_clone(), options()).unwrap();
    assert!(again.open_report().clean);
    for (writer, count) in written.iter().enumerate() {
        for n in 0..*count {
            assert!(again.get(&key(writer as u8, n)).unwrap().is_some(), "{writer} {n} was acknowledged");
        }
    }
    let total: u16 = written.iter().sum();
    assert_eq!(again.iter(IterOptions::default()).unwrap().count(), usize::from(total));
}

/// Nobody closes: the last handle goes, on any thread, while background work may run and a snapshot lives on.
pub(super) fn by_the_last_handle() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), options()).unwrap();
    let users: Vec<_> = (0..2u8)
        .map(|writer| {
            let db = db.clone();
            on_thread(move || {
                for n in 0..8 {
                    db.set(&key(writer, n), &[writer; 6000]).unwrap();
                }
                drop(db);
            })
        })
        .collect();
    let snapshot = db.snapshot().unwrap();
    drop(db);
    users.into_iter().for_each(join);
    drop(snapshot);
    let again = Db::open_on(fs.clone(), options()).unwrap();
    assert!(again.open_report().clean);
    assert_eq!(again.iter(IterOptions::default()).unwrap().count(), 16);
}
