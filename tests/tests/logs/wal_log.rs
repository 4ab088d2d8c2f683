//! The general log on a disk that crashes, and its readers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nokv_core::Error;
use nokv_core::vfs::{Capabilities, IoErrorKind, OpenMode, Vfs, VfsFile};
use nokv_core::wal::{EndState, Log, LogOptions, Next, OnDamage, Position, dump};
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, Op as Call, Rule};

fn options() -> LogOptions {
    LogOptions { segment_bytes: 4096, ..LogOptions::default() }
}

fn payload(i: u64) -> Vec<u8> {
    (0..(i * 37) % 900).map(|b| (b * 7 + i) as u8).collect()
}

fn indexes(log: &Log<MemFs>) -> Vec<u64> {
    let mut reader = log.reader();
    let mut seen = vec![];
    while let Next::Record(record) = reader.next().unwrap() {
        assert_eq!(record.payload, payload(record.log_index), "record {}", record.log_index);
        seen.push(record.log_index);
    }
    seen
}

#[test]
fn crash_at_every_call() {
    for maps in [true, false] {
        let fs = MemFs::with_capabilities(Capabilities { maps, ..MemFs::new().capabilities() });
        let log = Log::open(fs.clone(), "log", options()).unwrap();
        let (acknowledged, images) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(vec![])));
        let hook = {
            let (fs, acknowledged, images) = (fs.clone(), Arc::clone(&acknowledged), Arc::clone(&images));
            move |call: u64, op: &str, path: &str| {
                let a = acknowledged.load(Ordering::SeqCst);
                let kinds = [
                    CrashImage::None,
                    CrashImage::All,
                    CrashImage::AllButOne,
                    CrashImage::OneOnly,
                    CrashImage::Random,
                ];
                let mut images = images.lock().unwrap();
                images.push((fs.kill_clone(), a, format!("kill before {call} {op} {path}")));
                for image in kinds {
                    let what = format!("{image:?} before {call} {op} {path}");
                    images.push((fs.crash_clone(call, CrashMode::Posix, image), a, what));
                }
            }
        };
        fs.set_call_hook(Box::new(hook));
        for i in 1..=40u64 {
            log.append(&payload(i), i).unwrap();
            match i % 9 {
                3 => {
                    log.sync().unwrap();
                    acknowledged.store(i as usize, Ordering::SeqCst);
                }
                5 => {
                    log.prepare_next().unwrap();
                }
                8 => log.seal().unwrap(),
                _ => {}
            }
        }
        fs.clear_call_hook();
        for (image, acknowledged, what) in images.lock().unwrap().iter() {
            let log = Log::open(image.clone(), "log", options()).unwrap_or_else(|e| panic!("{what}: {e}"));
            let seen = indexes(&log);
            assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{what}: {seen:?}");
            assert!(seen.len() >= *acknowledged, "{what}: {} of {acknowledged}", seen.len());
            let next = seen.len() as u64 + 1;
            log.append(&payload(next), next).unwrap();
            log.sync().unwrap();
            drop(log);
            let after = image.crash_clone(3, CrashMode::Hostile, CrashImage::None);
            let log = Log::open(after, "log", options()).unwrap_or_else(|e| panic!("{what}, went on: {e}"));
            assert!(indexes(&log).into_iter().eq(1..=next), "{what}, went on");
        }
    }
}

#[test]
fn a_reader_follows_over_segments_made_after_it() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    let mut reader = log.reader();
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    let payloads: Vec<_> = (1..=30).map(payload).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let positions = log.append_batch(&payloads, 1).unwrap();
    assert!(positions.last().unwrap().segment > 2, "the batch spans segments");
    for (i, position) in positions.iter().enumerate() {
        match reader.next().unwrap() {
            Next::Record(r) => {
                assert_eq!((r.position, r.log_index, r.payload), (*position, i as u64 + 1, payloads[i]))
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reader.next().unwrap(), Next::NoNewData);
    log.rotate().unwrap();
    log.append(&payload(31), 31).unwrap();
    assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.log_index == 31));
    let last = reader.last_position().unwrap();

    let mut from = log.reader_from(positions[20]);
    assert!(matches!(from.next().unwrap(), Next::Record(r) if r.log_index == 21));
    let mut after = log.reader_after(positions[20]).unwrap();
    assert!(matches!(after.next().unwrap(), Next::Record(r) if r.log_index == 22));
    assert_eq!(log.reader_after(last).unwrap().next().unwrap(), Next::NoNewData);
    let inside = Position { offset: positions[20].offset + 8, ..positions[20] };
    assert!(log.reader_from(inside).next().is_err());

    log.close().unwrap();
    assert_eq!(reader.next().unwrap(), Next::End);
    assert!(matches!(log.append(b"x", 32), Err(Error::Closed)));
}

#[test]
fn a_reader_inside_a_released_segment_ends_it_and_a_later_one_is_told() {
    let fs = MemFs::new();
    let log = Log::open(fs, "log", options()).unwrap();
    for i in 1..=40 {
        log.append(&payload(i), i).unwrap();
    }
    let (mut inside, mut late) = (log.reader(), log.reader_from(Position { segment: 1, offset: 64 }));
    assert!(matches!(inside.next().unwrap(), Next::Record(r) if r.log_index == 1));
    log.release_below(2).unwrap();
    assert!(matches!(inside.next().unwrap(), Next::Record(r) if r.log_index == 2));
    assert!(matches!(late.next(), Err(Error::InvalidArgument(_))));
    assert_eq!(log.segments()[0].number, 2);
}

#[test]
fn a_record_larger_than_a_segment_is_refused_and_a_gap_in_the_numbers_told() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    assert!(matches!(log.append(&[0; 5000], 1), Err(Error::BatchTooLarge { .. })));
    let largest = 4096 - 64 - 16;
    log.append(&vec![1; largest], 1).unwrap();
    log.append(&vec![1; largest], 2).unwrap();
    log.append(b"x", 3).unwrap();
    log.close().unwrap();
    drop(log);
    fs.unlink("log/000000002.wal").unwrap();
    let e = Log::open(fs.clone(), "log", options()).map(|_| ()).unwrap_err();
    assert!(matches!(&e, Error::Corrupt { file, .. } if file.ends_with("000000002.wal")), "{e}");
    let shown = dump(fs.clone(), "log", ".wal").unwrap();
    assert!(matches!(shown.end_state(), EndState::Damage { segment: 2, whole_records_behind: 1, .. }));
    let cut = LogOptions { on_damage: OnDamage::Cut, ..options() };
    let log = Log::open(fs, "log", cut).unwrap();
    assert_eq!(log.segments().last().unwrap().number, 2);
    log.append(b"y", 2).unwrap();
}

#[test]
fn places_that_are_none_are_told_apart() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    let first = log.append(b"first", 0).unwrap();
    let second = log.append(b"second", 0).unwrap();
    let told = |segment, offset| match log.read(Position { segment, offset }) {
        Err(Error::InvalidArgument(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(9, 64), "no segment 9 in the log");
    for offset in [0, 63, first.offset + 1, second.offset + 4096] {
        assert!(told(1, offset).starts_with("no record at"), "{offset}");
    }
    assert!(log.read(Position { offset: first.offset + 8, ..first }).is_err(), "the middle of a record");
    assert_eq!(log.read(second).unwrap(), b"second");
}

/// Where overwriting takes space, a full disk refuses headers. A sync said yes without any header that claims its bytes,
/// and damage to them later passed for an append that a stop had interrupted: it was cut.
#[test]
fn a_sync_that_no_header_claims_is_not_acknowledged() {
    let (mut refused_syncs, mut damaged) = (0, 0);
    // Records alone in a segment; in several; and the last of them empty.
    for (records, rotate) in [(3, false), (12, false), (3, true), (12, true)] {
        for refused in 0..6 {
            let memory =
                MemFs::with_capabilities(Capabilities { maps: false, ..MemFs::new().capabilities() });
            let fs = FaultFs::new(memory.clone());
            let log = Log::open(fs.clone(), "log", options()).unwrap();
            for i in 1..=records {
                log.append(&[i as u8; 700], i).unwrap();
            }
            if rotate {
                log.rotate().unwrap();
            }
            for _ in 0..refused {
                fs.add_rule(Rule::new(Call::Write, IoErrorKind::NoSpace).path(".wal"));
            }
            // It passes: at the latest when all refusals are used up.
            let mut syncs = 0;
            while let Err(e) = log.sync() {
                assert!(e.is_no_space(), "{e}");
                refused_syncs += 1;
                syncs += 1;
                assert!(syncs <= refused, "{records} records, {refused} refused: it does not pass");
            }
            // Damage to a record that was acknowledged is rot, but for the last one: whole records behind it tell.
            for number in 1..=3 {
                let path = format!("log/{number:09}.wal");
                for record in 0..5u64 {
                    let disk = memory.kill_clone();
                    let Ok(file) = disk.open(&path, OpenMode::ReadWrite) else { continue };
                    let mut byte = [0];
                    let at = 64 + record * 720 + 100;
                    let is_read = file.read_at(&mut byte, at) == Ok(1);
                    if !is_read || byte[0] == 0 || u64::from(byte[0]) == records {
                        continue;
                    }
                    file.write_at(&[byte[0] ^ 0x10], at).unwrap();
                    let opened = Log::open(disk, "log", options()).and_then(|log| indexes_of_any(&log));
                    assert!(
                        matches!(opened, Err(Error::Corrupt { .. })),
                        "{records} records, rotated {rotate}, {refused} refused, record {record} of {path}: {opened:?}"
                    );
                    damaged += 1;
                }
            }
            fs.clear();
            log.append(b"it goes on", records + 1).unwrap();
            log.sync().unwrap();
        }
    }
    assert!(refused_syncs > 10 && damaged > 100, "{refused_syncs} syncs, {damaged} damaged");
}

/// Log indexes of all records; a sealed segment is looked at only here.
fn indexes_of_any(log: &Log<MemFs>) -> Result<Vec<u64>, Error> {
    let mut reader = log.reader();
    let mut seen = vec![];
    while let Next::Record(record) = reader.next()? {
        seen.push(record.log_index);
    }
    Ok(seen)
}
