//! What hostile bytes found in logs, one test for each.

use nokv_core::Error;
use nokv_core::formats::Seq;
use nokv_core::formats::crc::crc32c;
use nokv_core::formats::walfs::{HEADER_BYTES, SegmentHeader};
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_core::wal::{
    BatchLog, BatchLogConfig, Log, LogOptions, Next, OnDamage, RecoverFrom, Section, SegmentFile,
    replay_read_only,
};
use nokv_vfs_mem::MemFs;

const CONFIG: BatchLogConfig = BatchLogConfig { segment_bytes: 512, db_id: 7 };
const FROM: RecoverFrom = RecoverFrom { floor_segment: 1, clean_end: None, end_before: None };

fn records(fs: &MemFs) -> nokv_core::Result<Vec<Vec<u8>>> {
    let mut seen = Vec::new();
    replay_read_only(fs, "wal", CONFIG, FROM, &mut |record| {
        seen.push(record.body.to_vec());
        Ok(())
    })?;
    Ok(seen)
}

fn append(log: &BatchLog<MemFs>, i: u8) {
    let body = [i; 200];
    log.append(Seq(u64::from(i)), &[Section { kind: 200, group: 1, parts: &[&body] }]).unwrap();
}

/// Recovery made the header of a segment anew and gave it a first record number counted from the end of the log, as if
/// it were the last segment: the next opening took the log for rotten.
#[test]
fn a_rebuilt_header_in_the_middle_of_the_log_is_believed_by_the_next_opening() {
    let fs = MemFs::new();
    let log = BatchLog::create(&fs, "wal", CONFIG, 1).unwrap();
    (1..=8).for_each(|i| append(&log, i));
    let segments = log.segments();
    assert!(segments.len() >= 4);
    drop(log);
    let before = records(&fs).unwrap();
    assert_eq!(before.len(), 8);
    for middle in &segments[1..segments.len() - 1] {
        let fs = fs.kill_clone();
        let path = format!("wal/{:09}.wal", middle.number);
        fs.open(&path, OpenMode::ReadWrite).unwrap().write_at(&[0xff; 4], 4).unwrap();
        let (log, report) =
            BatchLog::recover(&fs, "wal", CONFIG, FROM, &mut |_| Ok(()), &mut || Ok(())).unwrap();
        assert_eq!(report.headers_rebuilt, [middle.number]);
        append(&log, 9);
        log.seal_for_close().unwrap();
        drop(log);
        let after = records(&fs).unwrap_or_else(|error| panic!("segment {}: {error}", middle.number));
        assert_eq!(after[..8], before);
        assert_eq!(after.len(), 9);
    }
}

fn with_header(change: impl Fn(&mut SegmentHeader)) -> MemFs {
    let fs = MemFs::new();
    let options = LogOptions { segment_bytes: 256, ..LogOptions::default() };
    let log = Log::open(fs.clone(), "log", options).unwrap();
    (1..=9u64).for_each(|i| assert!(log.append(&[7; 40], i).is_ok()));
    log.close().unwrap();
    for segment in log.segments() {
        let path = format!("log/{:09}.wal", segment.number);
        let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
        let mut header = SegmentHeader::decode(&fs.contents(&path).unwrap()).unwrap();
        change(&mut header);
        let bytes = header.to_bytes();
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(crc32c(&bytes[..56]).to_le_bytes(), bytes[56..60]);
        file.write_at(&bytes, 0).unwrap();
    }
    fs
}

/// A first log index near the largest number made opening add past it.
#[test]
fn the_largest_first_log_index_is_no_panic() {
    for first in [u64::MAX, u64::MAX - 1, u64::MAX - 2] {
        let fs = with_header(|header| header.first_log_index = first);
        for read_only in [true, false] {
            let options = LogOptions { segment_bytes: 256, read_only, ..LogOptions::default() };
            if let Ok(log) = Log::open(fs.kill_clone(), "log", options) {
                let _ = log.position_for_index(u64::MAX);
                let _ = log.append(b"more", u64::MAX);
            }
        }
    }
}

/// Counts of records were believed whatever the length of their segment, and added up.
#[test]
fn a_count_of_records_that_cannot_fit_is_no_panic() {
    let fs = with_header(|header| header.entry_count = u64::MAX);
    for read_only in [true, false] {
        let options = LogOptions { segment_bytes: 256, read_only, ..LogOptions::default() };
        let opened = Log::open(fs.kill_clone(), "log", options);
        assert!(opened.is_err() || read_only, "the records say otherwise");
    }
}

fn small() -> LogOptions {
    LogOptions { segment_bytes: 4096, ..LogOptions::default() }
}

/// Three records from log index `first` on, forged into the header of the only segment.
fn three_from(first: u64, sealed: bool) -> MemFs {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", small()).unwrap();
    (1..=3u64).for_each(|i| assert!(log.append(&[i as u8; 40], i).is_ok()));
    if sealed {
        log.close().unwrap();
    } else {
        log.sync().unwrap();
    }
    drop(log);
    let fs = fs.kill_clone();
    let path = "log/000000001.wal";
    let mut header = SegmentHeader::decode(&fs.contents(path).unwrap()[..HEADER_BYTES]).unwrap();
    header.first_log_index = first;
    fs.open(path, OpenMode::ReadWrite).unwrap().write_at(&header.to_bytes(), 0).unwrap();
    fs
}

/// The log indexes of a log up to its end or damage; is there damage? Each is found where its record is.
fn log_indexes(log: &Log<MemFs>) -> (Vec<u64>, bool) {
    let mut reader = log.reader();
    let mut indexes = Vec::new();
    loop {
        match reader.next() {
            Ok(Next::Record(record)) => {
                assert_eq!(log.position_for_index(record.log_index), Ok(record.position));
                indexes.push(record.log_index);
            }
            Ok(_) => return (indexes, false),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                return (indexes, true);
            }
        }
    }
}

/// Log indexes that counted past the largest number were held at it: two records had the same one, and looking it up
/// gave another place than reading. The largest number itself is none, since nothing could follow.
#[test]
fn log_indexes_past_the_largest_number_are_damage() {
    for sealed in [true, false] {
        for fit in 0..=3 {
            let first = u64::MAX - fit;
            let left: Vec<u64> = (first..u64::MAX).collect();
            let fs = three_from(first, sealed);
            let read_only = LogOptions { read_only: true, ..small() };
            let log = Log::open(fs.clone(), "log", read_only).unwrap();
            assert_eq!(log_indexes(&log), (left.clone(), fit < 3), "{fit} {sealed}");
            let refused = Log::open(fs.kill_clone(), "log", small());
            assert_eq!(refused.is_err_and(|e| e.is_corrupt()), fit < 3, "{fit} {sealed}");
            let cut = LogOptions { on_damage: OnDamage::Cut, ..small() };
            let log = Log::open(fs.clone(), "log", cut).unwrap();
            assert_eq!(log_indexes(&log), (left.clone(), false), "{fit} {sealed}");
            assert!(matches!(log.append(b"none", u64::MAX), Err(Error::InvalidArgument(_))));
            log.append(b"lower", 7).unwrap();
            assert_eq!(log.index_bounds(), Some((7, 7)), "it replaces those above");
            log.close().unwrap();
            drop(log);
            let log = Log::open(fs, "log", small()).unwrap();
            assert_eq!(log.index_bounds(), Some((7, 7)));
        }
    }
}

#[test]
fn the_largest_number_is_no_log_index() {
    let refused = |result: nokv_core::Result<_>| matches!(result, Err(Error::InvalidArgument(_)));
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", small()).unwrap();
    assert!(refused(log.append(b"none", u64::MAX)));
    log.append(b"last", u64::MAX - 1).unwrap();
    assert!(refused(log.append(b"none", u64::MAX)));
    assert!(log.append_batch(&[b"a", b"b"], u64::MAX - 1).is_err());
    log.close().unwrap();
    drop(log);
    let log = Log::open(fs.clone(), "log", small()).unwrap();
    assert!(refused(log.append(b"none", u64::MAX)));
    assert_eq!(log.index_bounds(), Some((u64::MAX - 1, u64::MAX - 1)));
    let segment = SegmentFile::open(fs, "single", 1, &small()).unwrap();
    assert!(refused(segment.write(b"none", u64::MAX)));
    segment.write(b"last", u64::MAX - 1).unwrap();
    assert!(refused(segment.write(b"none", u64::MAX)));
}
