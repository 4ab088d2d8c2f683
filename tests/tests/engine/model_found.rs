//! What the model test found, each as the shortest sequence that shows it.
#![allow(missing_docs)]

use std::sync::Arc;

use nokv::core::formats::batch::Op;
use nokv::core::formats::{KeyRef, Kind};
use nokv::{CfId, Clock, Db, Expiry, IterOptions, ManualClock, Options, Version, WriteBatch, WriteOptions};
use nokv_vfs_mem::MemFs;

const CF: CfId = CfId::DEFAULT;

fn open(clock: &Arc<ManualClock>) -> Db<MemFs> {
    let mut options = Options::new("db");
    options.clock = Some(clock.clone());
    Db::open_on(MemFs::new(), options).unwrap()
}

fn put_expiring(db: &Db<MemFs>, version: Version, value: &[u8], expires_at: u64) {
    let op = Op { kind: Kind::Put, key: KeyRef::new(CF, b"k"), version, meta: 0, expires_at, value };
    let mut batch = WriteBatch::new();
    batch.push(&op).unwrap();
    db.write(batch, &WriteOptions::default()).unwrap();
}

/// The purge went as done, while the value that it hides stayed for the sake of the versions below it.
#[test]
fn a_purged_value_with_an_expiry_does_not_come_back() {
    let clock = Arc::new(ManualClock::new(1_000));
    let db = open(&clock);
    let expires_at = clock.unix_ms() + 500;
    db.set_versioned_entry(CF, b"k", Version(3), b"three", 0).unwrap();
    put_expiring(&db, Version(5), b"five", expires_at);
    db.set_versioned_entry(CF, b"k", Version(5), b"five again", 0).unwrap();
    db.purge(CF, b"k", Version(5)).unwrap();
    db.set_with_ttl(b"plain", b"x", Expiry::At(expires_at)).unwrap();
    db.purge(CF, b"plain", Version::MAX).unwrap();
    let look = || {
        assert_eq!(db.get(b"k").unwrap().unwrap(), b"three");
        assert!(db.get(b"plain").unwrap().is_none());
        assert_eq!(db.iter(IterOptions::default()).unwrap().count(), 1);
    };
    look();
    db.flush().unwrap();
    look();
    db.compact_range(CF, None, None).unwrap();
    look();
    // The value that was purged expires all the same, and counts as a delete then.
    clock.advance_ms(500);
    assert!(db.get(b"k").unwrap().is_none());
    db.compact_range(CF, None, None).unwrap();
    assert!(db.get(b"k").unwrap().is_none());
}

/// A delete stands in front of its table, and the table before it ends with a range delete up to there: the end counted as
/// that key, so the delete could not go, and was chosen to go for ever.
#[test]
fn a_delete_behind_the_end_of_a_range_delete_goes_once() {
    let mut options = Options::new("db");
    options.table_bytes = 4 << 10;
    let db = Db::open_on(MemFs::new(), options).unwrap();
    db.set(b"a1", b"old").unwrap();
    db.set(b"c", b"old").unwrap();
    db.flush().unwrap();
    let snapshot = db.snapshot().unwrap();
    db.delete_range(CF, b"a3", b"b").unwrap();
    for key in ["a1", "a2", "a3", "a4", "a5"] {
        // Two fill a table, and stay out of the value log.
        db.set(key.as_bytes(), &[key.as_bytes()[1]; 1_000]).unwrap();
    }
    db.del(b"b").unwrap();
    db.set(b"c", b"new").unwrap();
    db.flush().unwrap();
    db.compact_range(CF, None, None).unwrap();
    drop(snapshot);
    // A thread of its own: what is to be shown may not come to an end.
    let (done, ended) = std::sync::mpsc::channel();
    let idle = db.clone();
    std::thread::spawn(move || {
        idle.set(b"d", b"work for the background").unwrap();
        idle.flush().unwrap();
        idle.wait_idle().unwrap();
        done.send(()).unwrap();
    });
    ended.recv_timeout(std::time::Duration::from_secs(60)).expect("compactions come to an end");
    let entries: Vec<_> = db.internal_iter().unwrap().map(Result::unwrap).collect();
    assert!(entries.iter().all(|entry| entry.kind == Kind::Put), "deletes are gone");
    assert_eq!(db.get(b"c").unwrap().unwrap(), b"new");
    assert!(db.get(b"b").unwrap().is_none());
}
