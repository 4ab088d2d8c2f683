//! One segment file, used directly.

use std::sync::{Arc, Mutex};

use nokv_core::Error;
use nokv_core::clock::ManualClock;
use nokv_core::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};
use nokv_core::wal::{Log, LogOptions, Next, Position, SegmentFile};
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, Op, Rule};

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1024, ..LogOptions::default() }
}

fn open(fs: &MemFs) -> SegmentFile<MemFs> {
    SegmentFile::open(fs.clone(), "log", 1, &options()).unwrap()
}

/// A record of 104 bytes: nine fit a segment of 1024.
fn payload(i: u64) -> Vec<u8> {
    vec![i as u8; 88]
}

fn filled(fs: &MemFs, count: u64) -> SegmentFile<MemFs> {
    let segment = open(fs);
    (1..=count).for_each(|i| _ = segment.write(&payload(i), i + 9).unwrap());
    segment
}

fn read<V: Vfs>(segment: &SegmentFile<V>) -> Vec<u64> {
    let mut reader = segment.reader();
    let mut seen = vec![];
    while let Next::Record(r) = reader.next().unwrap() {
        assert_eq!(r.payload, payload(r.log_index - 9));
        seen.push(r.log_index);
    }
    seen
}

#[test]
fn a_segment_is_made_written_read_and_opened_again() {
    let fs = MemFs::new();
    let clock = nokv_core::sync::Arc::new(ManualClock::new(7));
    let dated = LogOptions { clock: Some(clock), marker: 77, ..options() };
    let segment = SegmentFile::open(fs.clone(), "log", 1, &dated).unwrap();
    let first = segment.write(&payload(1), 10).unwrap();
    assert_eq!(first, Position { segment: 1, offset: 64 });
    let second = segment.write(&payload(2), 11).unwrap();
    assert_eq!(segment.read(first.offset).unwrap(), (payload(1), second));
    assert!(matches!(segment.read(second.offset + 104), Err(Error::InvalidArgument(_))));
    assert!(matches!(segment.read(0), Err(Error::InvalidArgument(_))));
    let info = segment.info();
    assert_eq!((info.number, info.end, info.entries, info.first_log_index), (1, 64 + 208, 2, 10));
    assert_eq!((info.file_bytes, info.marker, info.sealed), (1024, 77, false));
    assert_eq!(info.created_ns, 7_000_000);
    segment.close().unwrap();
    let segment = open(&fs);
    let header = segment.header();
    assert!(header.is_active() && !header.is_sealed());
    assert_eq!((header.write_offset, header.entry_count), (272, 2));
    assert_eq!(read(&segment), [10, 11]);
    assert_eq!(segment.path(), "log/000000001.wal");
}

#[test]
fn a_log_and_a_direct_user_read_each_others_segments() {
    let fs = MemFs::new();
    filled(&fs, 4).close().unwrap();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    assert_eq!(log.index_bounds(), Some((10, 13)));
    log.append(&payload(5), 14).unwrap();
    log.close().unwrap();
    drop(log);
    assert_eq!(read(&open(&fs)), [10, 11, 12, 13, 14]);
}

#[test]
fn a_batch_writes_what_fits_and_says_how_many() {
    let fs = MemFs::new();
    let segment = open(&fs);
    let payloads: Vec<_> = (1..=12).map(payload).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let indexes: Vec<_> = (10..22).collect();
    let mut positions = vec![];
    let e = segment.write_batch(&payloads, &indexes, &mut positions).unwrap_err();
    assert_eq!(e, Error::SegmentFull { segment: 1, written: 9 });
    assert_eq!(positions.len(), 9);
    let mut next = vec![];
    let second = SegmentFile::open(fs, "log", 2, &options()).unwrap();
    second.write_batch(&payloads[9..], &indexes[9..], &mut next).unwrap();
    assert_eq!((read(&segment).len(), read(&second)), (9, vec![19, 20, 21]));
    assert!(matches!(segment.write_batch(&payloads, &[1], &mut next), Err(Error::InvalidArgument(_))));
}

#[test]
fn will_exceed_is_true_exactly_where_a_write_says_full() {
    let segment = filled(&MemFs::new(), 8);
    assert_eq!(1024 - segment.info().end, 128);
    assert!(!segment.will_exceed(112) && segment.will_exceed(113) && segment.will_exceed(usize::MAX));
    assert_eq!(segment.write(&[0; 113], 18), Err(Error::SegmentFull { segment: 1, written: 0 }));
    segment.write(&[0; 112], 18).unwrap();
    assert!(segment.will_exceed(0));
}

#[test]
fn an_index_that_does_not_follow_is_refused_and_nothing_is_written() {
    let segment = filled(&MemFs::new(), 2);
    for index in [0, 11, 13] {
        assert!(matches!(segment.write(b"x", index), Err(Error::InvalidArgument(_))), "{index}");
    }
    assert_eq!(segment.info().entries, 2);
    segment.write(&payload(3), 12).unwrap();
}

#[test]
fn sealing_stops_writes_writes_the_index_file_and_ends_readers() {
    let fs = MemFs::new();
    let segment = filled(&fs, 3);
    let mut reader = segment.reader();
    for i in 10..=12 {
        assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.log_index == i));
    }
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    segment.seal().unwrap();
    assert_eq!(reader.next().unwrap(), Next::End);
    assert_eq!(reader.last_position(), Some(Position { segment: 1, offset: 64 + 208 }));
    assert_eq!(segment.write(b"x", 13), Err(Error::SegmentSealed(1)));
    assert!(segment.header().is_sealed() && segment.is_sealed_in_memory());
    assert_eq!(fs.contents("log/000000001.wal.idx").unwrap().len(), 3 * 16);
    drop(reader);
    drop(segment);
    let segment = open(&fs);
    assert_eq!(segment.write(b"x", 13), Err(Error::SegmentSealed(1)));
    assert_eq!(read(&segment), [10, 11, 12]);
}

#[test]
fn sealed_in_memory_stops_writes_without_a_word_on_disk() {
    let fs = MemFs::new();
    let segment = filled(&fs, 1);
    segment.mark_sealed_in_memory();
    assert!(segment.is_sealed_in_memory() && !segment.header().is_sealed());
    assert_eq!(segment.write(b"x", 11), Err(Error::SegmentSealed(1)));
    drop(segment);
    open(&fs).write(&payload(2), 11).unwrap();
}

#[test]
fn places_are_in_memory_until_cleared_and_found_again() {
    let segment = filled(&MemFs::new(), 4);
    let entries = segment.index_entries().unwrap();
    assert_eq!(
        entries.iter().map(|e| (e.offset, e.len)).collect::<Vec<_>>(),
        [(64, 88), (168, 88), (272, 88), (376, 88)]
    );
    assert!(!segment.clear_index());
    segment.seal().unwrap();
    assert!(segment.clear_index());
    assert_eq!(segment.index_entries().unwrap(), entries);
}

#[test]
fn truncation_keeps_the_records_up_to_the_index_for_good_and_takes_records_again() {
    for seal in [false, true] {
        for keep in 10..=17 {
            let fs = MemFs::new();
            let segment = filled(&fs, 9);
            if seal {
                segment.seal().unwrap();
            }
            segment.truncate_to(keep).unwrap();
            assert!(read(&segment).into_iter().eq(10..=keep));
            assert_eq!(segment.index_entries().unwrap().len() as u64, keep - 9);
            drop(segment);
            let fs = fs.crash_clone(1, CrashMode::Hostile, CrashImage::None);
            let segment = open(&fs);
            assert!(read(&segment).into_iter().eq(10..=keep), "sealed {seal}, keep {keep}");
            segment.write(&payload(keep - 8), keep + 1).unwrap();
            assert!(read(&segment).into_iter().eq(10..=keep + 1));
        }
    }
}

#[test]
fn truncation_to_an_index_that_is_not_there_is_a_typed_error() {
    let segment = filled(&MemFs::new(), 3);
    assert_eq!(segment.truncate_to(13), Err(Error::IndexNotYet { index: 13, last: 12 }));
    assert_eq!(segment.truncate_to(9), Err(Error::IndexTruncated { index: 9, first: 10 }));
    segment.truncate_to(12).unwrap();
    assert_eq!(read(&segment), [10, 11, 12]);
}

#[test]
fn a_reader_behind_the_cut_keeps_the_segment_as_it_is() {
    let segment = filled(&MemFs::new(), 5);
    let mut reader = segment.reader();
    (0..3).for_each(|_| assert!(matches!(reader.next().unwrap(), Next::Record(_))));
    assert_eq!(segment.truncate_to(11), Err(Error::ReadersBehind { segment: 1, readers: 1 }));
    segment.truncate_to(12).unwrap();
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    segment.write(&payload(4), 13).unwrap();
    assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.log_index == 13));
}

#[test]
fn a_crash_in_a_truncation_leaves_the_old_records_or_the_new_end() {
    for seal in [false, true] {
        let fs = MemFs::new();
        let segment = filled(&fs, 9);
        segment.sync().unwrap();
        if seal {
            segment.seal().unwrap();
        }
        let images = Arc::new(Mutex::new(vec![]));
        let hook = {
            let (fs, images) = (fs.clone(), Arc::clone(&images));
            move |call: u64, op: &str, path: &str| {
                let mut images = images.lock().unwrap();
                images.push((fs.kill_clone(), format!("kill before {call} {op} {path}")));
                for image in [
                    CrashImage::None,
                    CrashImage::All,
                    CrashImage::AllButOne,
                    CrashImage::OneOnly,
                    CrashImage::Random,
                ] {
                    let what = format!("{image:?} before {call} {op} {path}");
                    images.push((fs.crash_clone(call, CrashMode::Posix, image), what));
                }
            }
        };
        fs.set_call_hook(Box::new(hook));
        segment.truncate_to(13).unwrap();
        fs.clear_call_hook();
        let (mut old, mut new) = (0, 0);
        for (image, what) in images.lock().unwrap().iter() {
            let segment = SegmentFile::open(image.clone(), "log", 1, &options());
            let segment = segment.unwrap_or_else(|e| panic!("sealed {seal}, {what}: {e}"));
            match read(&segment).len() {
                9 => old += 1,
                4 => new += 1,
                n => panic!("sealed {seal}, {what}: {n} records"),
            }
        }
        assert!(old > 0 && new > 0, "{old} old, {new} new");
    }
}

#[test]
fn removal_waits_for_the_last_reader() {
    let fs = MemFs::new();
    let segment = filled(&fs, 3);
    segment.seal().unwrap();
    let (mut a, b) = (segment.reader(), segment.reader());
    assert!(segment.has_active_readers());
    assert_eq!(segment.remove(), Err(Error::ReadersBehind { segment: 1, readers: 2 }));
    assert!(matches!(a.next().unwrap(), Next::Record(_)));
    assert!(!segment.mark_for_deletion().unwrap());
    assert_eq!(segment.write(b"x", 13), Err(Error::Closed));
    drop(b);
    assert!(matches!(a.next().unwrap(), Next::Record(_)));
    assert!(fs.contents("log/000000001.wal").is_ok());
    drop(a);
    assert!(fs.list("log").unwrap().is_empty());
}

#[test]
fn remove_takes_segment_and_index_at_once_where_nobody_reads() {
    let fs = MemFs::new();
    let segment = filled(&fs, 3);
    segment.seal().unwrap();
    segment.remove().unwrap();
    assert!(fs.list("log").unwrap().is_empty());
}

#[test]
fn a_second_writer_and_a_wrong_number_are_refused_and_a_reader_writes_nothing() {
    let fs = MemFs::new();
    let segment = filled(&fs, 3);
    let again = SegmentFile::open(fs.clone(), "log", 1, &options()).map(|_| ());
    assert!(matches!(again, Err(Error::Locked { .. })));
    assert!(SegmentFile::open(fs.clone(), "log", 0, &options()).is_err());
    segment.sync().unwrap();
    let reading = LogOptions { read_only: true, ..options() };
    let calls = fs.calls();
    let reader = SegmentFile::open(fs.clone(), "log", 1, &reading).unwrap();
    assert_eq!(read(&reader), [10, 11, 12]);
    assert!(matches!(reader.write(b"x", 13), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.truncate_to(10), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.remove(), Err(Error::ReadOnly(_))));
    assert_eq!(fs.calls(), calls, "calls that change something");
    assert!(SegmentFile::open(fs, "log", 9, &reading).is_err());
}

#[test]
fn damage_is_told_and_a_torn_tail_is_cut() {
    let fs = MemFs::new();
    filled(&fs, 4).close().unwrap();
    fs.open("log/000000001.wal", OpenMode::ReadWrite).unwrap().write_at(&[9; 5], 64 + 416).unwrap();
    assert_eq!(read(&open(&fs)), [10, 11, 12, 13]);
    fs.open("log/000000001.wal", OpenMode::ReadWrite).unwrap().write_at(&[9; 5], 64 + 120).unwrap();
    let e = SegmentFile::open(fs.clone(), "log", 1, &options()).map(|_| ()).unwrap_err();
    assert!(e.is_corrupt(), "{e}");
}

#[test]
fn after_a_failed_sync_the_segment_is_dead_until_it_is_opened_again() {
    let fs = FaultFs::new(MemFs::new());
    let segment = SegmentFile::open(fs.clone(), "log", 1, &options()).unwrap();
    segment.write(&payload(1), 10).unwrap();
    fs.add_rule(Rule::new(Op::Flush, IoErrorKind::Other));
    fs.add_rule(Rule::new(Op::Sync, IoErrorKind::Other));
    let e = segment.sync().unwrap_err();
    fs.clear();
    assert_eq!(segment.sync(), Err(e.clone()));
    assert_eq!(segment.write(b"x", 11), Err(e));
    drop(segment);
    let segment = SegmentFile::open(fs, "log", 1, &options()).unwrap();
    segment.write(&payload(2), 11).unwrap();
}

#[test]
fn with_sync_every_write_a_record_survives_a_power_cut() {
    for (sync_every_write, survive) in [(true, 2), (false, 0)] {
        let fs = MemFs::new();
        let segment = SegmentFile::open(fs.clone(), "log", 1, &LogOptions { sync_every_write, ..options() });
        let segment = segment.unwrap();
        segment.write(&payload(1), 10).unwrap();
        segment.write_batch(&[&payload(2)], &[11], &mut vec![]).unwrap();
        let after = fs.crash_clone(1, CrashMode::Posix, CrashImage::None);
        assert_eq!(open(&after).info().entries, survive);
    }
}

#[test]
fn syncs_beside_a_seal_leave_the_sealed_header_as_it_is() {
    for round in 0..200 {
        let fs = MemFs::new();
        let segment = filled(&fs, 3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..3).for_each(|_| segment.sync().unwrap()));
            }
            scope.spawn(|| {
                segment.write(&payload(4), 13).unwrap();
                segment.seal().unwrap();
            });
        });
        let header = segment.header();
        assert!(header.is_sealed() && header.entry_count == 4, "round {round}: {header:?}");
        assert_eq!(header.write_offset, 64 + 4 * 104, "round {round}");
        drop(segment);
        assert_eq!(read(&open(&fs)), [10, 11, 12, 13]);
    }
}
