//! Options of the general log and what its readers do: each test shows the effect of one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use nokv_core::clock::ManualClock;
use nokv_core::formats::walfs::SegmentHeader;
use nokv_core::vfs::Vfs;
use nokv_core::wal::{Log, LogOptions, Next, NoopDecoder, Position, RecordDecoder};
use nokv_core::{Error, Result};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1024, ..LogOptions::default() }
}

fn after_power_cut(fs: &MemFs) -> usize {
    let image = fs.crash_clone(1, CrashMode::Posix, CrashImage::None);
    let log = Log::open(image, "log", options()).unwrap();
    let mut reader = log.reader();
    let mut count = 0;
    while let Next::Record(_) = reader.next().unwrap() {
        count += 1;
    }
    count
}

#[test]
fn with_sync_every_write_an_append_survives_a_power_cut_and_without_it_need_not() {
    for (sync_every_write, survive) in [(true, 3), (false, 0)] {
        let fs = MemFs::new();
        let log = Log::open(fs.clone(), "log", LogOptions { sync_every_write, ..options() }).unwrap();
        log.append(b"one", 1).unwrap();
        log.append_batch(&[b"two", b"three"], 2).unwrap();
        assert_eq!(after_power_cut(&fs), survive);
    }
}

#[test]
fn bytes_per_sync_syncs_when_so_much_was_appended_and_counts_for_the_active_segment() {
    let fs = MemFs::new();
    // A frame of 84 bytes of payload has 104 bytes.
    let log = Log::open(fs.clone(), "log", LogOptions { bytes_per_sync: 300, ..options() }).unwrap();
    log.append(&[1; 84], 1).unwrap();
    log.append(&[1; 84], 2).unwrap();
    assert_eq!((log.bytes_per_sync_count(), after_power_cut(&fs)), (0, 0));
    log.append(&[1; 84], 3).unwrap();
    assert_eq!((log.bytes_per_sync_count(), after_power_cut(&fs)), (1, 3));
    log.append_batch(&[&[1; 84], &[1; 84], &[1; 84], &[1; 84]], 4).unwrap();
    assert_eq!((log.bytes_per_sync_count(), after_power_cut(&fs)), (2, 7));
    log.rotate().unwrap();
    assert_eq!(log.bytes_per_sync_count(), 0);
}

#[test]
fn the_rotation_hook_hears_of_each_new_segment_once_and_may_call_back() {
    let seen = Arc::new(Mutex::new(vec![]));
    let cell: Arc<OnceLock<Arc<Log<MemFs>>>> = Arc::default();
    let hook = {
        let (seen, cell) = (Arc::clone(&seen), Arc::clone(&cell));
        move |segment: u32| {
            seen.lock().unwrap().push(segment);
            if let Some(log) = cell.get() {
                let current = log.current().unwrap();
                assert!(current.number >= segment);
                log.append(b"from the hook", 0).unwrap();
                log.sync().unwrap();
                assert!(log.segments().len() >= 2);
            }
        }
    };
    let with_hook = LogOptions { on_rotate: Some(nokv_core::sync::Arc::new(hook)), ..options() };
    let log = Arc::new(Log::open(MemFs::new(), "log", with_hook).unwrap());
    let _ = cell.set(Arc::clone(&log));
    for _ in 0..30 {
        log.append(&[7; 200], 0).unwrap();
    }
    log.rotate().unwrap();
    let active = log.current().unwrap().number;
    assert!(active > 5);
    assert_eq!(*seen.lock().unwrap(), (2..=active).collect::<Vec<_>>());
    assert_eq!(log.segment_rotated_count(), u64::from(active) - 1);
    // A batch over several segments, and an empty segment that is not rotated.
    seen.lock().unwrap().clear();
    log.append_batch(&[&[7; 900][..]; 4], 0).unwrap();
    log.append(b"", 0).unwrap();
    let now = log.current().unwrap().number;
    assert_eq!(*seen.lock().unwrap(), (active + 1..=now).collect::<Vec<_>>());
}

#[test]
fn after_a_truncation_the_hook_hears_of_the_same_numbers_again() {
    let count = Arc::new(AtomicU64::new(0));
    let hook = {
        let count = Arc::clone(&count);
        move |_| _ = count.fetch_add(1, Ordering::SeqCst)
    };
    let with_hook = LogOptions { on_rotate: Some(nokv_core::sync::Arc::new(hook)), ..options() };
    let log = Log::open(MemFs::new(), "log", with_hook).unwrap();
    for i in 1..=12 {
        log.append(&[7; 400], i).unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 5);
    log.truncate_after(2).unwrap();
    log.append_batch(&[&[7; 400][..]; 4], 3).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 7);
}

#[test]
fn the_marker_is_written_and_a_refused_one_keeps_the_log_closed_and_unchanged() {
    let fs = MemFs::new();
    drop(Log::open(fs.clone(), "log", LogOptions { marker: 0xC0FF_EE01, ..options() }).unwrap());
    let bytes = fs.contents("log/000000001.wal").unwrap();
    assert_eq!(SegmentHeader::decode(&bytes).unwrap().marker, 0xC0FF_EE01);
    let only = |wanted: u32| -> LogOptions {
        let validator =
            move |marker: u32| if marker == wanted { Ok(()) } else { Err(format!("not {wanted}")) };
        LogOptions { marker_validator: Some(nokv_core::sync::Arc::new(validator)), ..options() }
    };
    for read_only in [false, true] {
        let refused = LogOptions { read_only, ..only(5) };
        let e = Log::open(fs.clone(), "log", refused).map(|_| ()).unwrap_err();
        let reason = "not 5".to_string();
        let file = "log/000000001.wal".to_string();
        assert_eq!(e, Error::MarkerRefused { file, marker: 0xC0FF_EE01, reason });
        assert_eq!(fs.contents("log/000000001.wal").unwrap(), bytes);
        Log::open(fs.clone(), "log", LogOptions { read_only, ..only(0xC0FF_EE01) }).unwrap();
    }
}

#[test]
fn the_clock_dates_the_headers() {
    let fs = MemFs::new();
    let clock = nokv_core::sync::Arc::new(ManualClock::new(1_000));
    let log = Log::open(fs, "log", LogOptions { clock: Some(clock.clone()), ..options() }).unwrap();
    log.append(b"x", 1).unwrap();
    clock.advance_ms(500);
    log.rotate().unwrap();
    log.seal().unwrap();
    let segments = log.segments();
    assert_eq!((segments[0].created_ns, segments[0].modified_ns), (1_000_000_000, 1_500_000_000));
    assert_eq!(segments[1].created_ns, 1_500_000_000);
}

#[test]
fn readers_do_not_pass_the_committed_position() {
    let log = Log::open(MemFs::new(), "log", LogOptions { commit_check: true, ..options() }).unwrap();
    let positions: Vec<_> = (1..=20).map(|i| log.append(&[i as u8; 100], i).unwrap()).collect();
    let mut reader = log.reader();
    assert_eq!(log.committed(), Position::NIL);
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    log.commit(positions[11]);
    log.commit(positions[3]);
    assert_eq!(log.committed(), positions[11]);
    for i in 1..=12 {
        assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.log_index == i));
    }
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    assert_eq!(reader.seek_next().unwrap(), None);
    log.commit(positions[12]);
    assert_eq!(reader.seek_next().unwrap(), Some(positions[12]));
    // Truncation takes the position back: what is written there anew is not committed.
    drop(reader);
    log.truncate_after(5).unwrap();
    assert_eq!(log.committed(), positions[4]);
    log.append(&[66; 100], 6).unwrap();
    let mut reader = log.reader_after(positions[4]).unwrap();
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    log.truncate_after(0).unwrap_err();
    drop(reader);
    log.truncate_after(0).unwrap();
    assert_eq!(log.committed(), Position::NIL);
}

#[test]
fn without_commit_check_a_commit_holds_nobody() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    let first = log.append(b"one", 1).unwrap();
    log.append(b"two", 2).unwrap();
    log.commit(first);
    let mut reader = log.reader();
    assert_eq!(reader.seek_next().unwrap(), Some(first));
    assert!(reader.seek_next().unwrap().is_some());
}

struct Unwrap;

impl RecordDecoder for Unwrap {
    fn decode<'a>(&self, payload: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        match payload.split_first() {
            Some((b'=', rest)) => Ok(rest),
            Some((b'r', rest)) => {
                scratch.extend(rest.iter().rev());
                Ok(scratch)
            }
            _ => Err(Error::InvalidArgument("unknown wrapper".into())),
        }
    }
}

#[test]
fn a_decoder_sees_each_record_and_one_it_refuses_can_be_passed() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    let positions = log.append_batch(&[b"=abc", b"rabc", b"?", b"=end"], 1).unwrap();
    let mut reader = log.reader().with_decoder(nokv_core::sync::Arc::new(Unwrap));
    assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.payload == b"abc"));
    assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.payload == b"cba" && r.log_index == 2));
    for _ in 0..2 {
        assert_eq!(reader.next(), Err(Error::InvalidArgument("unknown wrapper".into())));
        assert_eq!(reader.last_position(), Some(positions[1]));
    }
    assert_eq!(reader.seek_next().unwrap(), Some(positions[2]));
    assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.payload == b"end" && r.log_index == 4));
    let mut plain = log.reader().with_decoder(nokv_core::sync::Arc::new(NoopDecoder));
    assert!(matches!(plain.next().unwrap(), Next::Record(r) if r.payload == b"=abc"));
}

#[test]
fn a_reader_knows_its_last_position_and_goes_on_from_it_or_after_it() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    let positions: Vec<_> = (1..=20).map(|i| log.append(&[i as u8; 100], i).unwrap()).collect();
    let mut reader = log.reader();
    assert_eq!(reader.last_position(), None);
    for position in &positions[..8] {
        assert_eq!(reader.seek_next().unwrap(), Some(*position));
        assert_eq!(reader.last_position(), Some(*position));
    }
    let last = reader.last_position().unwrap();
    assert_eq!(log.reader_from(last).seek_next().unwrap(), Some(last));
    assert_eq!(log.reader_after(last).unwrap().seek_next().unwrap(), Some(positions[8]));
    assert_eq!(log.reader_from(Position::NIL).seek_next().unwrap(), Some(positions[0]));
    let behind = Position { offset: 5000, ..*positions.last().unwrap() };
    assert!(matches!(log.reader_from(behind).next(), Err(Error::InvalidArgument(_))));
    assert!(log.reader_after(behind).is_err());
}

#[test]
fn on_the_active_tail_there_is_no_new_data_and_the_end_comes_only_after_close() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    let mut reader = log.reader();
    log.append(b"one", 1).unwrap();
    assert!(reader.seek_next().unwrap().is_some());
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    log.rotate().unwrap();
    log.seal().unwrap();
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    log.append(b"two", 2).unwrap();
    assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.payload == b"two"));
    log.close().unwrap();
    assert_eq!(reader.next().unwrap(), Next::End);
}

#[test]
fn readers_and_appenders_and_truncations_at_once_never_see_half_a_record() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while stop.load(Ordering::SeqCst) == 0 {
                    let mut reader = log.reader();
                    let mut last = 0;
                    while let Next::Record(r) = reader.next().unwrap() {
                        assert!(r.payload.iter().all(|b| *b == r.payload[0]), "torn");
                        assert_eq!(r.log_index, last + 1);
                        last = r.log_index;
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut next = 1;
            for round in 0..400u64 {
                for _ in 0..12 {
                    log.append(&vec![round as u8; 60 + (round % 7) as usize * 8], next).unwrap();
                    next += 1;
                }
                let keep = next - 1 - round % 11;
                match log.truncate_after(keep) {
                    Ok(_) => next = keep + 1,
                    Err(Error::ReadersBehind { .. }) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            stop.store(1, Ordering::SeqCst);
        });
    });
}

#[test]
fn one_process_only_may_write() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    assert!(matches!(Log::open(fs.clone(), "log", options()).map(|_| ()), Err(Error::Locked { .. })));
    drop(log);
    Log::open(fs.clone(), "log", options()).unwrap();
    assert!(fs.list("log").unwrap().iter().any(|e| e.name == "walfs.lock"));
}
