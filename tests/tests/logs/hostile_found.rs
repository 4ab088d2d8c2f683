//! What hostile bytes found in logs, one test for each.

use nokv_core::formats::Seq;
use nokv_core::formats::crc::crc32c;
use nokv_core::formats::walfs::{HEADER_BYTES, SegmentHeader};
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_core::wal::{BatchLog, BatchLogConfig, Log, LogOptions, RecoverFrom, Section, replay_read_only};
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
