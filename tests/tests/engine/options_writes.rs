//! The write pipeline at its edges: limits before anything is written, and waiting that ends.

use std::time::{Duration, Instant};

use nokv::{CfId, Db, Error, Options, Vfs, WriteBatch, WriteOptions};
use nokv_vfs_mem::MemFs;

fn small() -> Options {
    Options { mem_table_bytes: 64 << 10, wal_segment_bytes: 256 << 10, ..Options::new("db") }
}

/// A batch that is too large for the memtable even with its large values replaced wrote those values first.
#[test]
fn a_batch_above_the_memtable_appends_nothing_to_the_value_log() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), small()).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, b"large", &[1; 10_000]).unwrap();
    for k in 0..80u32 {
        batch.put(CfId::DEFAULT, &k.to_be_bytes(), &[2; 1000]).unwrap();
    }
    let refused = db.write(batch, &WriteOptions::default());
    assert!(matches!(refused, Err(Error::BatchTooLarge { count: 81, limit: 65_536, .. })), "{refused:?}");
    assert!(fs.list("db/vlog").is_err(), "a value was appended");
    assert_eq!(db.get(b"large").unwrap(), None);
}

/// Only what the log and the memtable hold counts: the values themselves may be larger than a memtable.
#[test]
fn a_batch_of_large_values_counts_as_its_pointers() {
    let db = Db::open_on(MemFs::new(), small()).unwrap();
    let mut batch = WriteBatch::new();
    for k in 0..30u32 {
        batch.put(CfId::DEFAULT, &k.to_be_bytes(), &[3; 10_000]).unwrap();
    }
    db.write(batch, &WriteOptions::default()).unwrap();
    assert_eq!(db.get(&29u32.to_be_bytes()).unwrap().unwrap(), [3; 10_000]);
}

#[test]
fn a_writer_that_waits_for_others_writes_when_the_database_closes() {
    let fs = MemFs::new();
    let options = Options { write_batch_wait: Duration::from_secs(60), ..small() };
    let db = Db::open_on(fs.clone(), options).unwrap();
    let begun = Instant::now();
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| db.set(b"k", b"v"));
        while db.write_snapshot().coalescing_waits == 0 {
            std::thread::yield_now();
        }
        db.close().unwrap();
        writer.join().unwrap()
    });
    assert!(begun.elapsed() < Duration::from_secs(60), "it waited to the end");
    let found = Db::open_on(fs, small()).unwrap().get(b"k").unwrap();
    assert_eq!(found.is_some(), written.is_ok(), "{written:?}");
}

#[test]
fn a_deadline_is_not_spent_on_waiting_for_others() {
    let options = Options { write_batch_wait: Duration::from_secs(60), ..small() };
    let db = Db::open_on(MemFs::new(), options).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, b"k", b"v").unwrap();
    let deadline = Some(Instant::now() + Duration::from_secs(2));
    db.write(batch, &WriteOptions { deadline, ..Default::default() }).unwrap();
    assert_eq!(db.get(b"k").unwrap().unwrap(), b"v");
}

#[test]
fn time_in_the_value_log_and_in_insertions_is_counted() {
    let db = Db::open_on(MemFs::new(), small()).unwrap();
    for k in 0..1000u32 {
        db.set(&k.to_be_bytes(), &[1; 10]).unwrap();
    }
    let before = db.write_snapshot();
    assert_eq!((before.records, before.batches, before.entries, before.separated), (1000, 1000, 1000, 0));
    assert!((5..50).contains(&before.applies_sampled) && before.apply_ns > 0, "{before:?}");
    assert_eq!((before.record_entries_mean(), before.wait_ms_mean()), (1.0, 0.0));
    db.set(b"large", &[1; 10_000]).unwrap();
    let after = db.write_snapshot();
    assert!(after.separated == 1 && after.value_log_ns > 0 && after.value_log_ms_mean() > 0.0, "{after:?}");
    assert!(after.bytes - before.bytes < 100, "a large value counts as its pointer");
}
