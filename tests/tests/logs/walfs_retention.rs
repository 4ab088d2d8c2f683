//! Removal of old segments, and backup of sealed ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nokv::CleanerGuard;
use nokv_core::Error;
use nokv_core::clock::ManualClock;
use nokv_core::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};
use nokv_core::wal::{Log, LogOptions, Next, Position, Retention};
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, Op, Rule};

const POLICY: Retention = Retention { enabled: true, max_age_ms: 0, min_segments: 0, max_segments: 0 };

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_000_000))
}

fn options(retention: Retention, clock: &Arc<ManualClock>) -> LogOptions {
    LogOptions { segment_bytes: 1024, retention, clock: Some(clock.clone()), ..LogOptions::default() }
}

/// Segments 1 to `segments`, the last one active, one minute apart.
fn filled<V: Vfs>(fs: V, retention: Retention, clock: &Arc<ManualClock>, segments: u32) -> Log<V> {
    let log = Log::open(fs, "log", options(retention, clock)).unwrap();
    for i in 1..=segments {
        log.append(&[i as u8; 100], u64::from(i)).unwrap();
        clock.advance_ms(60_000);
        if i < segments {
            log.rotate().unwrap();
            log.seal().unwrap();
        }
    }
    log
}

fn numbers<V: Vfs>(log: &Log<V>) -> Vec<u32> {
    log.segments().iter().map(|s| s.number).collect()
}

fn yes(_: u32) -> bool {
    true
}

#[test]
fn too_many_segments_lose_the_oldest() {
    let clock = clock();
    let log = filled(MemFs::new(), Retention { max_segments: 3, ..POLICY }, &clock, 8);
    assert_eq!(log.mark_for_deletion(0), 5);
    assert_eq!(log.queued_for_deletion(), [1, 2, 3, 4, 5]);
    assert_eq!(log.mark_for_deletion(0), 0);
    let cleaned = log.clean_step(0, &yes).unwrap();
    assert_eq!((cleaned.removed, cleaned.bytes), (vec![1, 2, 3, 4, 5], 5 * 1024));
    assert_eq!((numbers(&log), log.queued_for_deletion()), (vec![6, 7, 8], vec![]));
    assert_eq!(log.position_for_index(5), Err(Error::IndexTruncated { index: 5, first: 6 }));
}

#[test]
fn segments_older_than_the_limit_go_and_younger_ones_stay() {
    let clock = clock();
    let log = filled(MemFs::new(), Retention { max_age_ms: 150_000, ..POLICY }, &clock, 6);
    // Segment i was sealed at 1,000 s + i minutes; now it is 6 minutes.
    let now = 1_000_000 + 6 * 60_000;
    assert_eq!(log.clean_step(now, &yes).unwrap().removed, [1, 2, 3]);
    assert_eq!(log.clean_step(now, &yes).unwrap().removed, [0; 0]);
    assert_eq!(log.clean_step(now + 3_600_000, &yes).unwrap().removed, [4, 5]);
    assert_eq!(numbers(&log), [6]);
}

#[test]
fn the_minimum_and_the_active_segment_stay_whatever_the_limits_say() {
    let clock = clock();
    let policy = Retention { max_age_ms: 1, min_segments: 4, max_segments: 2, ..POLICY };
    let log = filled(MemFs::new(), policy, &clock, 8);
    assert_eq!(log.clean_step(u64::MAX / 2, &yes).unwrap().removed, [1, 2, 3, 4]);
    assert_eq!(log.clean_step(u64::MAX / 2, &yes).unwrap().removed, [0; 0]);
    assert_eq!(numbers(&log), [5, 6, 7, 8]);
    let all = filled(MemFs::new(), Retention { max_age_ms: 1, ..POLICY }, &clock, 3);
    all.clean_step(u64::MAX / 2, &yes).unwrap();
    assert_eq!(numbers(&all), [3]);
}

#[test]
fn a_policy_that_is_off_or_has_no_limit_removes_nothing_and_undated_segments_have_no_age() {
    let clock = clock();
    let off = Retention { enabled: false, max_segments: 1, max_age_ms: 1, min_segments: 1 };
    for policy in [off, POLICY] {
        let log = filled(MemFs::new(), policy, &clock, 5);
        assert_eq!(log.clean_step(u64::MAX, &yes).unwrap().removed, [0; 0]);
        assert_eq!(numbers(&log).len(), 5);
    }
    let undated = LogOptions { clock: None, ..options(Retention { max_age_ms: 1, ..POLICY }, &clock) };
    let log = Log::open(MemFs::new(), "log", undated).unwrap();
    log.append(b"x", 1).unwrap();
    log.rotate().unwrap();
    log.seal().unwrap();
    assert_eq!(log.clean_step(u64::MAX, &yes).unwrap().removed, [0; 0]);
}

#[test]
fn the_callers_no_keeps_the_segment_and_all_behind_it() {
    let clock = clock();
    let log = filled(MemFs::new(), Retention { max_segments: 1, ..POLICY }, &clock, 6);
    let cleaned = log.clean_step(0, &|segment| segment != 3).unwrap();
    assert_eq!((cleaned.removed, cleaned.deferred), (vec![1, 2], vec![3, 4, 5]));
    assert_eq!(numbers(&log), [3, 4, 5, 6]);
    assert_eq!(log.clean_step(0, &yes).unwrap().removed, [3, 4, 5]);
}

#[test]
fn a_segment_that_is_read_stays_until_the_reader_leaves() {
    let clock = clock();
    let fs = MemFs::new();
    let log = filled(fs.clone(), Retention { max_segments: 1, ..POLICY }, &clock, 6);
    let mut reader = log.reader_from(Position::start_of(3));
    let cleaned = log.clean_step(0, &yes).unwrap();
    assert_eq!((cleaned.removed, cleaned.deferred), (vec![1, 2], vec![3, 4, 5]));
    for i in 3..=4 {
        assert!(matches!(reader.next().unwrap(), Next::Record(r) if r.log_index == i));
    }
    assert_eq!(log.clean_step(0, &yes).unwrap().removed, [3]);
    drop(reader);
    assert_eq!(log.clean_step(0, &yes).unwrap().removed, [4, 5]);
    assert!(!fs.list("log").unwrap().iter().any(|e| e.name.starts_with("000000005")));
}

#[test]
fn segments_that_somebody_else_removed_are_forgotten_and_a_hole_is_told() {
    let clock = clock();
    let fs = MemFs::new();
    let log = filled(fs.clone(), Retention { max_segments: 2, ..POLICY }, &clock, 6);
    log.mark_for_deletion(0);
    assert_eq!(log.cleanup_stale().unwrap(), [0; 0]);
    for segment in [1, 2] {
        fs.unlink(&format!("log/{segment:09}.wal")).unwrap();
    }
    assert_eq!(log.cleanup_stale().unwrap(), [1, 2]);
    assert_eq!((numbers(&log), log.queued_for_deletion()), (vec![3, 4, 5, 6], vec![3, 4]));
    fs.unlink("log/000000004.wal").unwrap();
    let e = log.cleanup_stale().unwrap_err();
    assert!(matches!(&e, Error::Corrupt { file, .. } if file.ends_with("000000004.wal")), "{e}");
    assert_eq!(numbers(&log), [3, 4, 5, 6]);
}

#[test]
fn a_crash_while_cleaning_leaves_a_log_without_a_hole() {
    let clock = clock();
    let fs = MemFs::new();
    let policy = Retention { max_segments: 2, ..POLICY };
    let log = filled(fs.clone(), policy, &clock, 7);
    log.sync().unwrap();
    let images = Arc::new(std::sync::Mutex::new(vec![]));
    let hook = {
        let (fs, images) = (fs.clone(), Arc::clone(&images));
        move |call: u64, _: &str, _: &str| {
            for image in [CrashImage::None, CrashImage::All, CrashImage::Random] {
                images.lock().unwrap().push(fs.crash_clone(call, CrashMode::Posix, image));
            }
        }
    };
    fs.set_call_hook(Box::new(hook));
    log.clean_step(0, &yes).unwrap();
    fs.clear_call_hook();
    for image in images.lock().unwrap().iter() {
        let log = Log::open(image.clone(), "log", options(policy, &clock)).unwrap();
        let (first, last) = log.index_bounds().unwrap();
        assert!(first <= 6 && last == 7);
        (first..=last).for_each(|i| _ = log.position_for_index(i).unwrap());
    }
}

#[test]
fn a_failed_removal_is_told_and_the_step_can_be_done_again() {
    let clock = clock();
    let fs = FaultFs::new(MemFs::new());
    let log = filled(fs.clone(), Retention { max_segments: 1, ..POLICY }, &clock, 5);
    fs.add_rule(Rule::new(Op::Unlink, IoErrorKind::PermissionDenied).path("000000002.wal"));
    assert!(matches!(log.clean_step(0, &yes), Err(Error::Io { op: "unlink", .. })));
    assert_eq!(numbers(&log), [2, 3, 4, 5]);
    assert_eq!(log.clean_step(0, &yes).unwrap().removed, [2, 3, 4]);
}

#[test]
fn the_guard_runs_the_step_with_its_clock_and_stops_on_drop() {
    let clock = clock();
    let log = Arc::new(filled(MemFs::new(), Retention { max_age_ms: 90_000, ..POLICY }, &clock, 4));
    let asked = Arc::new(AtomicU32::new(0));
    let can_delete = {
        let asked = Arc::clone(&asked);
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            true
        }
    };
    let hour = Duration::from_secs(3600);
    let guard = CleanerGuard::start(Arc::clone(&log), clock.clone(), hour, can_delete).unwrap();
    guard.run_now().unwrap().unwrap();
    assert_eq!(numbers(&log), [3, 4]);
    clock.advance_ms(60_000);
    assert_eq!(guard.run_now().unwrap().unwrap().removed, [3]);
    assert_eq!(guard.last().unwrap().unwrap().removed, [3]);
    drop(guard);
    assert_eq!((asked.load(Ordering::SeqCst), Arc::strong_count(&log)), (3, 1), "the thread is gone");
}

#[test]
fn the_guard_survives_a_predicate_that_panics() {
    let clock = clock();
    let log = Arc::new(filled(MemFs::new(), Retention { max_segments: 1, ..POLICY }, &clock, 3));
    let hour = Duration::from_secs(3600);
    let guard = CleanerGuard::start(Arc::clone(&log), clock, hour, |_| panic!("no opinion")).unwrap();
    assert!(guard.run_now().is_none());
    drop(guard);
    assert_eq!(numbers(&log), [1, 2, 3]);
}

fn read_all<V: Vfs>(fs: V, dir: &str) -> Vec<(Position, u64, Vec<u8>)> {
    let options = LogOptions { read_only: true, ..LogOptions::default() };
    let log = Log::open(fs, dir, options).unwrap();
    let mut reader = log.reader();
    let mut records = vec![];
    while let Next::Record(r) = reader.next().unwrap() {
        records.push((r.position, r.log_index, r.payload.to_vec()));
    }
    records
}

#[test]
fn sealed_segments_are_copied_with_their_index_and_the_active_one_is_not() {
    let clock = clock();
    let fs = MemFs::new();
    let log = filled(fs.clone(), POLICY, &clock, 5);
    log.rotate().unwrap();
    log.append(b"active", 6).unwrap();
    let copies = log.backup_segments_after(2, "backup").unwrap();
    assert_eq!(copies.keys().copied().collect::<Vec<_>>(), [3, 4, 5]);
    let mut names: Vec<_> = fs.list("backup").unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    let expected: Vec<_> = (3..=5).flat_map(|n| [format!("{n:09}.wal"), format!("{n:09}.wal.idx")]).collect();
    assert_eq!(names, expected);
    for (segment, path) in &copies {
        assert_eq!(*path, format!("backup/{segment:09}.wal"));
        for end in ["", ".idx"] {
            let from = fs.contents(&format!("log/{segment:09}.wal{end}")).unwrap();
            assert_eq!(fs.contents(&format!("{path}{end}")).unwrap(), from);
        }
    }
    let after = fs.crash_clone(1, CrashMode::Hostile, CrashImage::None);
    assert_eq!(read_all(after, "backup").iter().map(|r| r.1).collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn the_newest_sealed_segment_is_copied_alone_and_again_without_harm() {
    let clock = clock();
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options(POLICY, &clock)).unwrap();
    log.append(b"one", 1).unwrap();
    assert_eq!(log.backup_last_sealed("backup").unwrap(), None);
    log.rotate().unwrap();
    for _ in 0..2 {
        let copy = log.backup_last_sealed("backup").unwrap();
        assert_eq!(copy, Some((1, "backup/000000001.wal".to_string())));
    }
    assert_eq!(read_all(fs, "backup"), [(Position::start_of(1), 1, b"one".to_vec())]);
}

#[test]
fn a_damaged_segment_is_not_copied_and_the_logs_own_directory_is_refused() {
    let clock = clock();
    let fs = MemFs::new();
    let log = filled(fs.clone(), POLICY, &clock, 4);
    fs.open("log/000000002.wal", OpenMode::ReadWrite).unwrap().write_at(b"!", 80).unwrap();
    assert!(log.backup_segments_after(0, "backup").is_err_and(|e| e.is_corrupt()));
    let names: Vec<_> = fs.list("backup").unwrap().into_iter().map(|e| e.name).collect();
    assert!(names.iter().all(|n| n.starts_with("000000001.wal")), "{names:?}");
    assert!(matches!(log.backup_segments_after(0, "log/"), Err(Error::InvalidArgument(_))));
}

#[test]
fn at_any_crash_a_backup_holds_whole_segments_only_and_a_failed_write_leaves_none() {
    let clock = clock();
    let fs = MemFs::new();
    let log = filled(fs.clone(), POLICY, &clock, 4);
    let images = Arc::new(std::sync::Mutex::new(vec![]));
    let hook = {
        let (fs, images) = (fs.clone(), Arc::clone(&images));
        move |call: u64, _: &str, _: &str| {
            for image in [CrashImage::None, CrashImage::All, CrashImage::Random, CrashImage::OneOnly] {
                images.lock().unwrap().push(fs.crash_clone(call, CrashMode::Posix, image));
            }
        }
    };
    fs.set_call_hook(Box::new(hook));
    log.backup_segments_after(0, "backup").unwrap();
    fs.clear_call_hook();
    for image in images.lock().unwrap().iter() {
        for entry in image.list("backup").unwrap_or_default() {
            if entry.name.ends_with(".wal") {
                let copy = image.contents(&format!("backup/{}", entry.name)).unwrap();
                assert_eq!(copy, fs.contents(&format!("log/{}", entry.name)).unwrap());
            }
        }
    }
    let faulty = FaultFs::new(MemFs::new());
    let log = filled(faulty.clone(), POLICY, &clock, 3);
    faulty.add_rule(Rule::new(Op::Write, IoErrorKind::NoSpace).path("backup/000000001.wal.tmp").short(100));
    assert!(log.backup_segments_after(0, "backup").is_err_and(|e| e.is_no_space()));
    let names: Vec<_> = faulty.list("backup").unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["000000001.wal.idx"]);
}
