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
