//! Effects of the options of the write pipeline.

use std::time::Duration;

use nokv::{CfId, Db, Error, Options, Seq, Vfs, WriteBatch, WriteOptions, WriteSnapshot};
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::{Gate, open, small, wait_until};

pub const CASES: &[Case] = &[
    ("max_batch_count", max_batch_count),
    ("max_batch_bytes", max_batch_bytes),
    ("write_batch_max_count", write_batch_max_count),
    ("write_batch_max_bytes", write_batch_max_bytes),
    ("write_batch_wait", write_batch_wait),
    ("detect_conflicts", detect_conflicts),
    ("value_threshold_bytes", value_threshold_bytes),
];

fn batch(ops: u32, bytes: usize) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for k in 0..ops {
        batch.put(CfId::DEFAULT, &k.to_be_bytes(), &vec![1; bytes]).unwrap();
    }
    batch
}

/// It is refused as too large, above `limit`, and nothing is there.
fn refused(fs: &MemFs, db: &Db<MemFs>, batch: WriteBatch, limit: u64) {
    let before = db.write_snapshot().refused;
    match db.write(batch, &WriteOptions::default()) {
        Err(Error::BatchTooLarge { limit: told, .. }) => assert_eq!(told, limit),
        other => panic!("{other:?}"),
    }
    assert_eq!(db.write_snapshot().refused, before + 1);
    assert_eq!(db.get(&0u32.to_be_bytes()).unwrap(), None);
    assert_eq!(db.published_seq(), Seq(0));
    assert!(fs.list("db/vlog").is_err(), "it was appended to the value log");
}

fn max_batch_count() {
    let (fs, db) = open(Options { max_batch_count: 3, ..small() });
    // Large enough for the value log: the limit comes before that.
    refused(&fs, &db, batch(4, 5000), 3);
    db.write(batch(3, 5000), &WriteOptions::default()).unwrap();
    let (_, db) = open(small());
    db.write(batch(1000, 10), &WriteOptions::default()).unwrap();
}

fn max_batch_bytes() {
    let (fs, db) = open(Options { max_batch_bytes: 9000, ..small() });
    refused(&fs, &db, batch(2, 5000), 9000);
    db.write(batch(1, 5000), &WriteOptions::default()).unwrap();
    let (_, db) = open(small());
    db.write(batch(10, 5000), &WriteOptions::default()).unwrap();
}

/// Six writers queue up while a seventh is held up in the log; what the queue did.
fn queued(options: Options) -> WriteSnapshot {
    queued_behind(options, 0, |k| [k])
}

/// The same of writers of these keys, the first of which was written `before` times.
pub(super) fn queued_behind(options: Options, before: u64, key: fn(u8) -> [u8; 1]) -> WriteSnapshot {
    let gate = Gate::new(&["store", "write_at"], "db/wal/");
    let db = Db::open_on(gate.fs.clone(), options).unwrap();
    (0..before).for_each(|_| db.set(&key(0), &[0; 1000]).unwrap());
    gate.shut();
    std::thread::scope(|scope| {
        let set = |k: u8| {
            let db = &db;
            scope.spawn(move || db.set(&key(k), &[key(k)[0]; 1000]).unwrap());
        };
        set(0);
        gate.wait_for_one();
        (1..=6).for_each(set);
        wait_until(|| db.write_snapshot().queue_depth == 6);
        let waiting = db.write_snapshot();
        assert_eq!((waiting.queue_entries, waiting.queue_bytes / 1000), (6, 6));
        gate.open();
    });
    for k in 0..=6 {
        let value = db.get(&key(k)).unwrap().unwrap();
        assert_eq!(value, [key(k)[0]; 1000], "large ones are never refused");
    }
    let snapshot = db.write_snapshot();
    let all = before + 7;
    assert_eq!((snapshot.batches, snapshot.entries, snapshot.queue_depth), (all, all, 0));
    assert!(snapshot.waits >= 1 && snapshot.wait_ns > 0);
    snapshot
}

fn write_batch_max_count() {
    assert_eq!(queued(small()).records, 2);
    let three = queued(Options { write_batch_max_count: 3, ..small() });
    assert_eq!((three.records, three.record_batches_max), (3, 3));
    assert_eq!(queued(Options { write_batch_max_count: 1, ..small() }).records, 7);
}

fn write_batch_max_bytes() {
    // A record ends behind the batch that passes the mark.
    let two = queued(Options { write_batch_max_bytes: 1500, ..small() });
    assert_eq!((two.records, two.record_batches_max), (4, 2));
    assert_eq!(queued(Options { write_batch_max_bytes: 0, ..small() }).records, 7);
}

fn write_batch_wait() {
    let (_, db) = open(Options { write_batch_wait: Duration::from_secs(60), ..small() });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| db.set(b"a", b"1").unwrap());
        wait_until(|| db.write_snapshot().coalescing_waits == 1);
        assert_eq!(db.get(b"a").unwrap(), None);
        db.set(b"b", b"2").unwrap();
        first.join().unwrap();
    });
    let snapshot = db.write_snapshot();
    assert_eq!((snapshot.records, snapshot.batches), (1, 2));
    let (_, db) = open(small());
    db.set(b"a", b"1").unwrap();
    db.set(b"b", b"2").unwrap();
    let snapshot = db.write_snapshot();
    assert_eq!((snapshot.records, snapshot.coalescing_waits), (2, 0));
}

fn detect_conflicts() {
    for on in [true, false] {
        let (_, db) = open(Options { detect_conflicts: on, ..small() });
        let mut batch = batch(1, 10);
        batch.require_unchanged(CfId::DEFAULT, b"k", db.published_seq());
        let written = db.write(batch, &WriteOptions::default());
        let moved = db.transaction(|tx| tx.set(CfId::DEFAULT, b"t", b"v"));
        if on {
            assert!(written.is_ok() && moved.is_ok());
            continue;
        }
        assert!(matches!(written, Err(Error::InvalidArgument(text)) if text.starts_with("detect_conflicts")));
        assert!(matches!(moved, Err(Error::InvalidArgument(text)) if text.starts_with("detect_conflicts")));
        assert_eq!(db.published_seq(), Seq(0));
    }
}

fn value_threshold_bytes() {
    let separate = |threshold| {
        let (_, db) = open(Options { value_threshold_bytes: threshold, ..small() });
        db.set(b"k", &[1; 500]).unwrap();
        assert_eq!(db.get(b"k").unwrap().unwrap(), [1; 500]);
        db.write_snapshot().separated
    };
    assert_eq!(separate(500), 1);
    assert_eq!(separate(501), 0);
    // 0: only above an eighth of a log segment.
    assert_eq!(separate(0), 0);
}
