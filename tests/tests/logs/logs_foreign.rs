//! The public logs at run time on a file system that is not ours: no maps, no atomic rename, no directory syncs, no
//! hard links. Each is written over several segments, left as by the death of its process, opened, cut and replayed.

use nokv_core::Error;
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_core::wal::journal::{Entry, Op};
use nokv_core::wal::record_log::Record;
use nokv_core::wal::{Journal, Log, LogOptions, Next, RecordLog, SyncMode};
use nokv_tests::foreign::MapFs;

fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, ..LogOptions::default() }
}

fn payload(i: u64) -> Vec<u8> {
    (0..(i * 37) % 900).map(|b| (b * 7 + i) as u8).collect()
}

fn open_log(fs: &MapFs) -> Log<MapFs> {
    Log::open(fs.clone(), "log", options(4096)).unwrap()
}

/// Indexes of all records; each payload must be the one of its index.
fn indexes(log: &Log<MapFs>) -> Vec<u64> {
    let mut reader = log.reader();
    let mut seen = vec![];
    while let Next::Record(record) = reader.next().unwrap() {
        assert_eq!(record.payload, payload(record.log_index), "record {}", record.log_index);
        seen.push(record.log_index);
    }
    seen
}

#[test]
fn a_log_is_written_reopened_truncated_and_read() {
    let fs = MapFs::new();
    let log = open_log(&fs);
    for i in 1..=30 {
        log.append(&payload(i), i).unwrap();
    }
    log.sync().unwrap();
    assert!(log.segments().len() > 2, "the records span segments");
    assert!(matches!(Log::open(fs.clone(), "log", options(4096)), Err(Error::Locked { .. })));

    let fs = fs.kill_clone();
    let log = open_log(&fs);
    assert!(indexes(&log).into_iter().eq(1..=30));
    log.truncate_after(11).unwrap();
    assert!(indexes(&log).into_iter().eq(1..=11));
    for i in 12..=14 {
        log.append(&payload(i), i).unwrap();
    }
    let last = log.sync().unwrap();

    let fs = fs.kill_clone();
    let log = open_log(&fs);
    assert!(indexes(&log).into_iter().eq(1..=14), "nothing that was cut came back");
    assert_eq!(log.current().map(|s| s.number), Some(last.segment));
    log.release_below(last.segment).unwrap();
    assert_eq!(log.segments().first().map(|s| s.number), Some(last.segment));
    log.truncate_after(0).unwrap();
    assert!(indexes(&log).is_empty());
    log.append(&payload(1), 1).unwrap();
    log.close().unwrap();
    drop(log);
    assert_eq!(indexes(&open_log(&fs)), [1]);
}

#[test]
fn a_torn_record_at_the_end_of_a_log_is_cut() {
    let fs = MapFs::new();
    let log = open_log(&fs);
    for i in 1..=4 {
        log.append(&payload(i), i).unwrap();
    }
    log.sync().unwrap();
    let torn = log.append(&payload(5), 5).unwrap();
    let fs = fs.kill_clone();
    let file = fs.open("log/000000001.wal", OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, torn.offset + 20).unwrap();
    file.write_at(&[byte[0] ^ 1], torn.offset + 20).unwrap();
    drop(file);
    let log = open_log(&fs);
    assert_eq!((log.report().cut_at, log.report().records_cut), (Some(torn), 0));
    assert_eq!(indexes(&log), [1, 2, 3, 4]);
    log.append(&payload(5), 5).unwrap();
    drop(log);
    assert_eq!(indexes(&open_log(&fs)), [1, 2, 3, 4, 5]);
}

/// Four of them fill a segment.
const QUARTER: usize = 262_000;

fn open_records(fs: &MapFs) -> RecordLog<MapFs> {
    RecordLog::open(fs.clone(), "records", options(64 + 1_048_576 + 16)).unwrap()
}

fn append_records(log: &RecordLog<MapFs>, ids: std::ops::RangeInclusive<u64>) {
    for id in ids {
        log.append(&[Record { id, data: &vec![id as u8; QUARTER + id as usize] }]).unwrap();
    }
}

/// Ids of all records; each must hold its own bytes.
fn ids(log: &RecordLog<MapFs>) -> Vec<u64> {
    let mut iter = log.iter(0);
    let mut seen = vec![];
    while let Some(record) = iter.next().unwrap() {
        assert!(record.data == vec![record.id as u8; QUARTER + record.id as usize], "record {}", record.id);
        seen.push(record.id);
    }
    seen
}

#[test]
fn a_record_log_is_written_reopened_cut_at_both_ends_and_iterated() {
    let fs = MapFs::new();
    let log = open_records(&fs);
    append_records(&log, 5..=18);
    assert!(log.log().segments().len() > 3, "the records span segments");

    let fs = fs.kill_clone();
    let log = open_records(&fs);
    assert!(ids(&log).into_iter().eq(5..=18));
    log.truncate(12).unwrap();
    log.trim(8).unwrap();
    assert_eq!((log.first_id(), log.last_id()), (Some(9), Some(12)));
    let refused = log.append(&[Record { id: 19, data: b"x" }]);
    assert_eq!(refused, Err(Error::NotSequential { expected: 13, found: 19 }));
    append_records(&log, 13..=14);

    let fs = fs.kill_clone();
    let log = open_records(&fs);
    assert_eq!((log.first_id(), log.last_id()), (Some(9), Some(14)));
    assert!(ids(&log).into_iter().eq(9..=14));
    log.close().unwrap();
    drop(log);
    assert!(ids(&open_records(&fs)).into_iter().eq(9..=14));
}

fn open_journal(fs: &MapFs, sync: SyncMode) -> Journal<MapFs> {
    Journal::open_with(fs.clone(), "journal", sync, options(4096)).unwrap()
}

fn append_entries(journal: &Journal<MapFs>, numbers: std::ops::Range<u64>) {
    for i in numbers {
        let (key, data) = (format!("key-{i}"), payload(i));
        let op = if i % 5 == 4 { Op::Delete } else { Op::Put };
        let data = (op == Op::Put).then_some(&data[..]);
        let entry = Entry { op, entity: "processes", key: &key, data, timestamp_ns: i as i64 };
        journal.append(&entry).unwrap();
    }
}

/// Numbers of all entries; each must be whole.
fn replay(journal: &Journal<MapFs>) -> Vec<u64> {
    let mut seen = vec![];
    let report = journal
        .replay(|entry| {
            let i = entry.timestamp_ns as u64;
            assert_eq!((entry.entity, entry.key), ("processes", &format!("key-{i}")[..]));
            let is_put = i % 5 != 4;
            assert_eq!((entry.op == Op::Put, entry.data.is_some()), (is_put, is_put));
            assert!(entry.data.is_none_or(|data| data == payload(i)), "entry {i}");
            seen.push(i);
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!((report.entries, report.torn), (seen.len() as u64, None));
    seen
}

#[test]
fn a_journal_is_written_reopened_truncated_and_replayed() {
    for sync in [SyncMode::Always, SyncMode::None] {
        let fs = MapFs::new();
        let journal = open_journal(&fs, sync);
        append_entries(&journal, 0..40);
        assert!(journal.log().segments().len() > 2, "the entries span segments");

        let fs = fs.kill_clone();
        let journal = open_journal(&fs, sync);
        assert!(replay(&journal).into_iter().eq(0..40));
        journal.truncate().unwrap();
        assert!(replay(&journal).is_empty());
        append_entries(&journal, 40..43);

        let fs = fs.kill_clone();
        let journal = open_journal(&fs, sync);
        assert_eq!(replay(&journal), [40, 41, 42], "nothing that was removed came back");
        journal.close().unwrap();
        drop(journal);
        assert_eq!(replay(&open_journal(&fs, sync)), [40, 41, 42]);
    }
}
