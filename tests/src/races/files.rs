//! Lifetime of files: readers hold tables and value-log segments that compactions and collections have replaced.

use std::time::Duration;

use nokv::{CfId, Db, Error, IterOptions};
use nokv_vfs_mem::MemFs;

use super::{below, join, on_thread, options};

const KEYS: u8 = 6;

fn value(key: u8, round: u8) -> Vec<u8> {
    let mut value = vec![key; if key.is_multiple_of(2) { 1500 } else { 300 }];
    value[0] = round;
    value
}

/// Readers with snapshots and iterators beside flushes, compactions and collections: no read fails, a snapshot gives the
/// same answer twice, a key never shows an older round than before; and what nobody holds any more is deleted.
pub(super) fn deleted_under_readers() {
    let fs = MemFs::new();
    let mut small = options();
    small.level0_compaction_tables = 2;
    small.value_log_gc_interval = if below(2) == 0 { Duration::ZERO } else { Duration::from_secs(1) };
    let db = Db::open_on(fs.clone(), small).unwrap();
    (0..KEYS).for_each(|key| db.set(&[key], &value(key, 0)).unwrap());
    let writer = {
        let db = db.clone();
        on_thread(move || {
            for round in 1..4 {
                (0..KEYS).for_each(|key| db.set(&[key], &value(key, round)).unwrap());
                db.flush().unwrap();
            }
        })
    };
    let mover = {
        let db = db.clone();
        on_thread(move || {
            for _ in 0..2 {
                db.compact_range(CfId::DEFAULT, None, None).unwrap();
                match db.run_value_log_gc(0.01) {
                    Ok(_) | Err(Error::NothingToCollect | Error::GcRejected | Error::Busy(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    };
    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let db = db.clone();
            on_thread(move || {
                let mut newest = [0; KEYS as usize];
                let mut held = None;
                for _ in 0..3 {
                    if reader == 0 {
                        let snapshot = db.snapshot().unwrap();
                        let look = || -> Vec<(u8, Vec<u8>)> {
                            let mut found = Vec::new();
                            let mut iter = db.iter_at(&snapshot, IterOptions::default()).unwrap();
                            iter.rewind().unwrap();
                            while let Some(key) = iter.key().map(|key| key[0]) {
                                found.push((key, iter.value().unwrap().unwrap().to_vec()));
                                iter.next_entry().unwrap();
                            }
                            found
                        };
                        let first = look();
                        assert_eq!(first.len(), KEYS as usize);
                        assert_eq!(first, look(), "a snapshot changed");
                        for (key, found) in &first {
                            assert_eq!(*found, value(*key, found[0]), "key {key}");
                        }
                        held = Some(snapshot);
                    } else {
                        for key in 0..KEYS {
                            let found =
                                db.get(&[key]).unwrap().unwrap_or_else(|| panic!("key {key} is gone"));
                            assert_eq!(found, value(key, found[0]), "key {key}");
                            assert!(found[0] >= newest[key as usize], "key {key} went back");
                            newest[key as usize] = found[0];
                        }
                    }
                }
                drop(held);
            })
        })
        .collect();
    join(writer);
    join(mover);
    readers.into_iter().for_each(join);
    for key in 0..KEYS {
        assert_eq!(db.get(&[key]).unwrap().unwrap(), value(key, 3));
    }
    db.close().unwrap();
    drop(db);
    // Opening sweeps nothing that a close should have deleted: the checker finds no file that nothing names.
    let again = Db::open_on(fs, options()).unwrap();
    assert!(again.check_all().unwrap().is_clean());
    assert_eq!(again.iter(IterOptions::default()).unwrap().count(), KEYS as usize);
}
