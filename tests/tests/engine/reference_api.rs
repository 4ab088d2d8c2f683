//! The original's functions of the embedded database, one by one: each test is named after the function that it
//! shows, and is named by the table in `docs/parity.md`.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use nokv::{
    CfId, CoreApi, Db, Error, Expiry, IterOptions, Kind, ManualClock, MemTableEngine, Options, Version,
    split_internal_key,
};
use nokv_tests::small_db;
use nokv_vfs_mem::MemFs;

fn open() -> Db<MemFs> {
    Db::open_on(MemFs::new(), small_db::options("db")).expect("open")
}

fn value(db: &Db<MemFs>, key: &[u8]) -> Option<Vec<u8>> {
    db.get(key).expect("get").map(|v| v.to_vec())
}

#[test]
fn open_makes_a_database_and_finds_it_again() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small_db::options("db")).expect("open");
    db.set(b"hello", b"world").expect("set");
    db.close().expect("close");
    let db = Db::open_on(fs, small_db::options("db")).expect("open again");
    assert_eq!(value(&db, b"hello").as_deref(), Some(&b"world"[..]));
}

#[test]
fn new_default_options_are_valid() {
    assert!(Options::new("data").validate().is_ok());
}

#[test]
fn close_keeps_everything_and_ends_all_clones() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small_db::options("db")).expect("open");
    let other = db.clone();
    db.set(b"k", b"v").expect("set");
    assert!(!other.is_closed());
    db.close().expect("close");
    assert!(other.is_closed());
    assert!(matches!(other.set(b"k", b"w"), Err(Error::Closed)));
    assert!(matches!(other.get(b"k"), Err(Error::Closed)));
    assert!(db.close().is_ok(), "closing twice is fine");
    let db = Db::open_on(fs, small_db::options("db")).expect("open again");
    assert!(db.open_report().clean);
    assert_eq!(value(&db, b"k").as_deref(), Some(&b"v"[..]));
}

#[test]
fn set_replaces_and_del_removes() {
    let db = open();
    db.set(b"k", b"1").expect("set");
    db.set(b"k", b"2").expect("set");
    db.set(b"empty", b"").expect("set");
    assert_eq!(value(&db, b"k").as_deref(), Some(&b"2"[..]));
    assert_eq!(value(&db, b"empty").as_deref(), Some(&b""[..]));
    db.del(b"k").expect("del");
    db.del(b"never there").expect("del");
    assert_eq!(value(&db, b"k"), None);
}

#[test]
fn families_are_apart() {
    let db = open();
    let cf = db.create_cf("users").expect("create");
    db.set_cf(cf, b"k", b"user").expect("set_cf");
    db.set(b"k", b"plain").expect("set");
    let of = |cf| db.get_cf(cf, b"k").expect("get_cf").map(|v| v.to_vec());
    assert_eq!(of(cf).as_deref(), Some(&b"user"[..]));
    db.del_cf(cf, b"k").expect("del_cf");
    assert_eq!(of(cf), None);
    assert_eq!(of(CfId::DEFAULT).as_deref(), Some(&b"plain"[..]));
}

#[test]
fn a_versioned_entry_is_read_at_its_version_and_later() {
    let db = open();
    let at = |v: u64| db.get_versioned_entry(CfId::WRITE, b"k", Version(v)).expect("get");
    db.set_versioned_entry(CfId::WRITE, b"k", Version(10), b"ten", 7).expect("set");
    db.set_versioned_entry(CfId::WRITE, b"k", Version(20), b"twenty", 8).expect("set");
    assert!(at(9).is_none());
    let entry = at(15).expect("version 10");
    assert_eq!((entry.version, entry.meta, &entry.value[..]), (Version(10), 7, &b"ten"[..]));
    assert_eq!(at(20).expect("version 20").meta, 8);
    db.delete_versioned_entry(CfId::WRITE, b"k", Version(15)).expect("delete");
    assert!(at(15).is_none());
    assert_eq!(at(20).expect("newer than the delete").version, Version(20));
    let max = db.set_versioned_entry(CfId::WRITE, b"k", Version::MAX, b"", 0);
    assert!(matches!(max, Err(Error::InvalidArgument(_))), "the plain version is not for callers");
}

#[test]
fn set_with_ttl_ends_at_its_millisecond() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = Options { clock: Some(clock.clone()), ..small_db::options("db") };
    let db = Db::open_on(MemFs::new(), options).expect("open");
    db.set_with_ttl(b"in", b"1", Expiry::In(Duration::from_millis(1500))).expect("set");
    db.set_with_ttl(b"at", b"2", Expiry::At(1_001_500)).expect("set");
    clock.set_unix_ms(1_001_499);
    assert!(value(&db, b"in").is_some() && value(&db, b"at").is_some());
    clock.set_unix_ms(1_001_500);
    assert!(value(&db, b"in").is_none() && value(&db, b"at").is_none());
    db.set_with_ttl(b"past", b"3", Expiry::At(5)).expect("set");
    assert!(value(&db, b"past").is_none(), "a past time is an expired entry");
}

#[test]
fn an_entry_is_detached_and_says_everything() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = Options { clock: Some(clock), ..small_db::options("db") };
    let db = Db::open_on(MemFs::new(), options).expect("open");
    db.set_with_ttl(b"k", b"v", Expiry::At(2_000_000)).expect("set");
    let entry = db.get_entry(CfId::DEFAULT, b"k").expect("get").expect("there");
    db.set(b"k", b"other").expect("set");
    db.close().expect("close");
    assert_eq!(&entry.value[..], b"v", "it outlives the write and the database");
    assert_eq!((entry.version, entry.expires_at), (Version::MAX, Some(2_000_000)));
}

#[test]
fn an_iterator_rewinds_seeks_steps_and_tells_its_end() {
    let db = open();
    for key in [&b"a"[..], b"b", b"c"] {
        db.set(key, key).expect("set");
    }
    db.set_cf(CfId::LOCK, b"not shown", b"").expect("set");
    let mut iter = db.iter(IterOptions::default()).expect("iter");
    db.set(b"bb", b"later").expect("set");
    iter.rewind().expect("rewind");
    let mut keys = Vec::new();
    while iter.valid() {
        let key = iter.key().expect("key").to_vec();
        assert_eq!(&iter.value().expect("value").expect("there")[..], key);
        keys.push(key);
        iter.next_entry().expect("next");
    }
    assert_eq!(keys, [b"a", b"b", b"c"], "one moment, user keys only");
    assert!(iter.key().is_none() && iter.entry().expect("entry").is_none());
    iter.seek(b"aa", CfId::DEFAULT).expect("seek");
    assert_eq!(iter.key(), Some(&b"b"[..]));
    iter.prev_entry().expect("prev");
    assert_eq!(iter.key(), Some(&b"a"[..]));
    let entry = iter.entry().expect("entry").expect("item");
    drop(iter);
    assert_eq!(&entry.value[..], b"a", "an item outlives its iterator");
}

#[test]
fn a_reverse_iterator_and_a_prefix() {
    let db = open();
    for key in [&b"a1"[..], b"a2", b"b1", b"b2", b"c1"] {
        db.set(key, b"").expect("set");
    }
    let keys = |options: IterOptions| -> Vec<Vec<u8>> {
        db.iter(options).expect("iter").map(|r| r.expect("item").0).collect()
    };
    let prefix = Some(b"b".to_vec());
    assert_eq!(keys(IterOptions { prefix: prefix.clone(), ..IterOptions::default() }), [b"b1", b"b2"]);
    assert_eq!(keys(IterOptions { prefix, reverse: true, ..IterOptions::default() }), [b"b2", b"b1"]);
}

#[test]
fn an_internal_iterator_shows_every_version_with_its_parts() {
    let db = open();
    db.set(b"k", b"plain").expect("set");
    db.set_versioned_entry(CfId::WRITE, b"k", Version(3), b"three", 1).expect("set");
    db.set_versioned_entry(CfId::WRITE, b"k", Version(9), b"nine", 2).expect("set");
    db.delete_versioned_entry(CfId::WRITE, b"k", Version(5)).expect("delete");
    let mut seen = Vec::new();
    for entry in db.internal_iter().expect("iter") {
        let entry = entry.expect("entry");
        let key = split_internal_key(&entry.key).expect("parts");
        assert_eq!(key.user_key, b"k");
        seen.push((key.cf, key.version, entry.kind));
    }
    let expected = [
        (CfId::DEFAULT, Version::MAX, Kind::Put),
        (CfId::WRITE, Version(9), Kind::Put),
        (CfId::WRITE, Version(5), Kind::Delete),
        (CfId::WRITE, Version(3), Kind::Put),
    ];
    assert_eq!(seen, expected, "families ascend, versions descend");
    assert!(split_internal_key(b"short").is_none());
}

#[test]
fn run_value_log_gc_frees_dead_values_only() {
    let db = open();
    for round in 0..4u8 {
        for i in 0..100u32 {
            db.set(&small_db::key(i), &[round; 2000]).expect("set");
        }
    }
    db.flush().expect("flush");
    db.compact_range(CfId::DEFAULT, None, None).expect("compact");
    let report = db.run_value_log_gc(0.5).expect("collect");
    assert!(report.segments > 0 && report.bytes > 0, "{report:?}");
    for i in 0..100 {
        assert_eq!(value(&db, &small_db::key(i)), Some(vec![3; 2000]));
    }
    assert!(matches!(db.run_value_log_gc(0.5), Err(Error::NothingToCollect)));
    assert!(matches!(db.run_value_log_gc(0.0), Err(Error::InvalidArgument(_))));
    assert!(matches!(db.run_value_log_gc(1.0), Err(Error::InvalidArgument(_))));
}

#[test]
fn manifest_names_families_and_tables() {
    let db = open();
    db.create_cf("users").expect("create");
    db.set(b"k", b"v").expect("set");
    db.flush().expect("flush");
    let manifest = db.manifest();
    assert!(manifest.families.values().any(|f| f.name == "users"), "{manifest:?}");
    assert_eq!(manifest.tables().count(), 1);
}

#[test]
fn the_core_api_serves_any_database_behind_one_pointer() {
    let db: Box<dyn CoreApi> = Box::new(open());
    db.set(b"a", b"1").expect("set");
    db.set_cf(CfId::LOCK, b"a", b"2").expect("set_cf");
    db.set_with_ttl(b"b", b"3", Expiry::In(Duration::from_secs(3600))).expect("set_with_ttl");
    assert_eq!(&db.get(b"a").expect("get").expect("there").value[..], b"1");
    assert_eq!(&db.get_cf(CfId::LOCK, b"a").expect("get").expect("there").value[..], b"2");
    assert_eq!(db.iter(IterOptions::default()).expect("iter").count(), 2);
    db.del(b"a").expect("del");
    db.del_cf(CfId::LOCK, b"a").expect("del_cf");
    assert!(db.get(b"a").expect("get").is_none() && db.get_cf(CfId::LOCK, b"a").expect("get").is_none());
    assert!(db.stats().is_ok());
    db.close().expect("close");
}

#[test]
fn mem_table_engines_have_the_originals_names() {
    for name in ["skiplist", "art"] {
        let engine: MemTableEngine = name.parse().expect("a name of the original");
        let options = Options { mem_table_engine: engine, ..small_db::options("db") };
        let db = Db::open_on(MemFs::new(), options).expect("open");
        db.set(b"k", name.as_bytes()).expect("set");
        assert_eq!(value(&db, b"k").as_deref(), Some(name.as_bytes()));
    }
    assert!("btree".parse::<MemTableEngine>().is_err());
}
