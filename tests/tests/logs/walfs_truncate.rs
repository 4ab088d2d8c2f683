//! Truncation of the general log: what goes is gone for good, at once, and never from under a reader.

use std::sync::{Arc, Mutex};

use nokv_core::Error;
use nokv_core::vfs::Vfs;
use nokv_core::wal::{Log, LogOptions, Next, Position, dump};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1024, ..LogOptions::default() }
}

fn payload(i: u64) -> Vec<u8> {
    vec![i as u8; 100 + (i % 5) as usize * 10]
}

fn filled(fs: &MemFs, indexes: impl Iterator<Item = u64>) -> Log<MemFs> {
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    for i in indexes {
        log.append(&payload(i), i).unwrap();
    }
    log
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

fn names(fs: &MemFs) -> Vec<String> {
    let mut names: Vec<_> = fs.list("log").unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    names
}

#[test]
fn keeps_the_records_up_to_the_index_and_appends_behind_them() {
    for keep in 1..=30 {
        let fs = MemFs::new();
        let log = filled(&fs, 1..=30);
        log.prepare_next().unwrap();
        let end = log.truncate_after(keep).unwrap();
        assert_eq!(log.index_bounds(), Some((1, keep)));
        assert_eq!(log.durable(), Some(end), "keep {keep}");
        assert!(indexes(&log).into_iter().eq(1..=keep), "keep {keep}");
        let at = log.append(&payload(keep + 1), keep + 1).unwrap();
        assert!(at >= end);
        assert!(indexes(&log).into_iter().eq(1..=keep + 1), "keep {keep}");
    }
}

#[test]
fn removed_records_never_return_after_a_reopen() {
    for keep in [1, 6, 7, 15, 29] {
        let fs = MemFs::new();
        let log = filled(&fs, 1..=30);
        log.truncate_after(keep).unwrap();
        drop(log);
        let fs = fs.crash_clone(1, CrashMode::Hostile, CrashImage::None);
        let log = Log::open(fs.clone(), "log", options()).unwrap();
        assert!(indexes(&log).into_iter().eq(1..=keep), "keep {keep}");
        // A shorter record in the old place must not uncover what lay behind.
        log.append(b"x", keep + 1).unwrap();
        log.close().unwrap();
        drop(log);
        let log = Log::open(fs, "log", options()).unwrap();
        assert_eq!(log.index_bounds(), Some((1, keep + 1)), "keep {keep}");
    }
}

#[test]
fn zero_removes_everything_and_starts_again_at_segment_1() {
    let fs = MemFs::new();
    let log = filled(&fs, 1..=30);
    log.release_below(3).unwrap();
    assert_eq!(log.truncate_after(0).unwrap(), Position { segment: 1, offset: 64 });
    assert_eq!((log.index_bounds(), indexes(&log)), (None, vec![]));
    assert_eq!(names(&fs), ["000000001.wal", "walfs.lock"]);
    assert_eq!(log.append(&payload(9), 9).unwrap(), Position { segment: 1, offset: 64 });
    drop(log);
    let log = Log::open(fs, "log", options()).unwrap();
    assert_eq!(indexes(&log), [9]);
}

#[test]
fn an_index_above_the_last_removes_nothing() {
    let fs = MemFs::new();
    let log = filled(&fs, 1..=10);
    log.sync().unwrap();
    let before = names(&fs);
    log.truncate_after(11).unwrap();
    log.truncate_after(10).unwrap();
    assert_eq!(names(&fs), before);
    assert_eq!(log.index_bounds(), Some((1, 10)));
}

#[test]
fn an_index_below_what_is_there_is_a_typed_error_unless_it_is_the_one_before_the_first() {
    let fs = MemFs::new();
    let log = filled(&fs, 100..=120);
    let e = log.truncate_after(50).unwrap_err();
    assert_eq!(e, Error::IndexTruncated { index: 50, first: 100 });
    assert_eq!(log.index_bounds(), Some((100, 120)));
    log.truncate_after(99).unwrap();
    assert_eq!(log.index_bounds(), None);
    log.append(&payload(7), 7).unwrap();
    assert_eq!(log.index_bounds(), Some((7, 7)));
}

#[test]
fn an_index_in_a_gap_keeps_what_is_below_it() {
    let fs = MemFs::new();
    let log = filled(&fs, [1, 2, 3, 10, 11, 12].into_iter());
    log.truncate_after(7).unwrap();
    assert_eq!(indexes(&log), [1, 2, 3]);
}

#[test]
fn records_that_a_lower_index_replaced_do_not_return() {
    let fs = MemFs::new();
    let log = filled(&fs, [10, 11, 12, 5, 6, 7].into_iter());
    assert_eq!(log.index_bounds(), Some((5, 7)));
    log.truncate_after(6).unwrap();
    assert_eq!(log.index_bounds(), Some((5, 6)));
    log.truncate_after(4).unwrap();
    assert_eq!((log.index_bounds(), indexes(&log)), (None, vec![]));
}

#[test]
fn records_without_an_index_behind_the_last_go_with_the_rest() {
    let fs = MemFs::new();
    let log = filled(&fs, 1..=3);
    let end = log.durable();
    let three = log.append(b"no index", 0).unwrap();
    assert!(Some(three) >= end);
    log.truncate_after(3).unwrap();
    assert_eq!(indexes(&log), [1, 2, 3]);
    assert!(matches!(log.read(three), Err(Error::InvalidArgument(_))));
}

#[test]
fn a_reader_behind_the_cut_makes_it_a_typed_error_that_removes_nothing() {
    let fs = MemFs::new();
    let log = filled(&fs, 1..=30);
    let last = log.segments().last().unwrap().number;
    let doomed = log.reader_from(Position::start_of(last));
    let mut fine = log.reader();
    assert!(matches!(fine.next().unwrap(), Next::Record(r) if r.log_index == 1));
    log.sync().unwrap();
    let before = names(&fs);
    let e = log.truncate_after(4).unwrap_err();
    assert_eq!(e, Error::ReadersBehind { segment: last, readers: 1 });
    assert_eq!(names(&fs), before);
    assert!(indexes(&log).into_iter().eq(1..=30));
    let e = log.truncate_after(0).unwrap_err();
    assert_eq!(e, Error::ReadersBehind { segment: last, readers: 2 });
    drop(doomed);
    log.truncate_after(4).unwrap();
    for i in 2..=4 {
        assert!(matches!(fine.next().unwrap(), Next::Record(r) if r.log_index == i));
    }
    assert_eq!(fine.next().unwrap(), Next::NoNewData);
    log.append(&payload(5), 5).unwrap();
    assert!(matches!(fine.next().unwrap(), Next::Record(r) if r.log_index == 5 && r.payload == payload(5)));
}

#[test]
fn a_reader_at_the_start_follows_into_a_log_that_starts_again() {
    let fs = MemFs::new();
    let log = filled(&fs, 1..=30);
    let mut reader = log.reader_from(Position::start_of(1));
    log.truncate_after(0).unwrap();
    log.append(&payload(77), 77).unwrap();
    assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.log_index == 77));
}

#[test]
fn a_crash_at_any_step_leaves_the_old_log_or_the_new() {
    let kinds =
        [CrashImage::None, CrashImage::All, CrashImage::AllButOne, CrashImage::OneOnly, CrashImage::Random];
    for maps in [true, false] {
        for keep in [0, 1, 6, 13, 29] {
            let caps = nokv_core::vfs::Capabilities { maps, ..MemFs::new().capabilities() };
            let fs = MemFs::with_capabilities(caps);
            let log = filled(&fs, 1..=30);
            log.sync().unwrap();
            let images = Arc::new(Mutex::new(vec![]));
            let hook = {
                let (fs, images) = (fs.clone(), Arc::clone(&images));
                move |call: u64, op: &str, path: &str| {
                    let mut images = images.lock().unwrap();
                    images.push((fs.kill_clone(), format!("kill before {call} {op} {path}")));
                    for image in kinds {
                        for mode in [CrashMode::Posix, CrashMode::Hostile] {
                            let what = format!("{mode:?} {image:?} before {call} {op} {path}");
                            images.push((fs.crash_clone(call, mode, image), what));
                        }
                    }
                }
            };
            fs.set_call_hook(Box::new(hook));
            log.truncate_after(keep).unwrap();
            fs.clear_call_hook();
            let (mut old, mut new) = (0, 0);
            let images = images.lock().unwrap();
            assert!(images.len() > 60);
            for (image, what) in images.iter() {
                let what = format!("keep {keep}, {what}");
                let mut shown = dump(image.clone(), "log", ".wal").unwrap();
                let mut dumped = vec![];
                while let Some(record) = shown.next().unwrap() {
                    dumped.push(record.log_index);
                }
                let reading = LogOptions { read_only: true, ..options() };
                let read = indexes(&Log::open(image.clone(), "log", reading).unwrap());
                let again = Arc::new(Mutex::new(vec![]));
                let hook = {
                    let (fs, again) = (image.clone(), Arc::clone(&again));
                    move |call: u64, _: &str, _: &str| {
                        again.lock().unwrap().push(fs.crash_clone(
                            call,
                            CrashMode::Posix,
                            CrashImage::Random,
                        ));
                    }
                };
                image.set_call_hook(Box::new(hook));
                let log =
                    Log::open(image.clone(), "log", options()).unwrap_or_else(|e| panic!("{what}: {e}"));
                image.clear_call_hook();
                let seen = indexes(&log);
                match seen.len() as u64 {
                    30 => old += 1,
                    n if n == keep => new += 1,
                    n => panic!("{what}: {n} records"),
                }
                assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{what}: {seen:?}");
                assert_eq!((&read, &dumped), (&seen, &seen), "{what}");
                let next = seen.len() as u64 + 1;
                log.append(&payload(next), next).unwrap();
                log.sync().unwrap();
                drop(log);
                let after = image.crash_clone(7, CrashMode::Hostile, CrashImage::None);
                let log =
                    Log::open(after, "log", options()).unwrap_or_else(|e| panic!("{what}, went on: {e}"));
                assert!(indexes(&log).into_iter().eq(1..=next), "{what}, went on");
                for image in again.lock().unwrap().iter() {
                    let log = Log::open(image.clone(), "log", options()).unwrap();
                    let whole = indexes(&log);
                    // Before the first step the name of the decision may still be lost.
                    let is_old_or_new = whole == seen || (whole.len() == 30 && seen.len() as u64 == keep);
                    assert!(is_old_or_new, "{what}, stopped again while opening: {whole:?}");
                }
            }
            assert!(old > 0 && new > 0, "keep {keep}: {old} old, {new} new");
        }
    }
}

#[test]
fn a_damaged_intention_is_told_and_changes_nothing() {
    use nokv_core::vfs::VfsFile;
    let fs = MemFs::new();
    drop(filled(&fs, 1..=30));
    fs.create("log/walfs.truncate")
        .unwrap()
        .write_at(b"WTRC and then something else altogether.", 0)
        .unwrap();
    let before = names(&fs);
    let e = Log::open(fs.clone(), "log", options()).map(|_| ()).unwrap_err();
    assert!(matches!(&e, Error::Corrupt { file, .. } if file.ends_with("walfs.truncate")), "{e}");
    assert_eq!(names(&fs), before);
}

#[test]
fn a_failure_before_the_decision_changes_nothing_and_one_behind_it_is_finished_by_the_next_open() {
    use nokv_core::vfs::IoErrorKind;
    use nokv_vfs_mem::{FaultFs, Op, Rule};
    for (op, path, is_clean) in [
        (Op::Create, "walfs.truncate", true),
        (Op::Write, "walfs.truncate", true),
        (Op::Sync, "walfs.truncate", true),
        (Op::Unlink, "000000003.wal", false),
        (Op::Unlink, "walfs.truncate", false),
    ] {
        let fs = FaultFs::new(MemFs::new());
        let log = Log::open(fs.clone(), "log", options()).unwrap();
        (1..=30).for_each(|i| _ = log.append(&payload(i), i).unwrap());
        fs.add_rule(Rule::new(op, IoErrorKind::Other).path(path));
        log.truncate_after(4).unwrap_err();
        fs.clear();
        assert_eq!(log.append(&payload(31), 31).is_ok(), is_clean, "{op:?} {path}");
        drop(log);
        let log = Log::open(fs.inner().clone(), "log", options()).unwrap();
        let last = if is_clean { 31 } else { 4 };
        assert!(indexes(&log).into_iter().eq(1..=last), "{op:?} {path}");
    }
}
