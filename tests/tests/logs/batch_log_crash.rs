//! The engine's batch log on a disk that crashes: what a sync acknowledged is there, what is there is a prefix, and
//! crashing again during recovery changes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nokv_core::Error;
use nokv_core::formats::Seq;
use nokv_core::formats::envelope::SECTION_BATCH;
use nokv_core::vfs::Vfs;
use nokv_core::wal::{
    BatchLog, BatchLogConfig, Position, RecoverFrom, RecoveryReport, Section, replay_read_only,
};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs, SyncFailure, SyncFault};

const CONFIG: BatchLogConfig = BatchLogConfig { segment_bytes: 8192, db_id: 77 };
const FROM: RecoverFrom = RecoverFrom { floor_segment: 1, clean_end: None, end_before: None };
const IMAGES: [CrashImage; 6] = [
    CrashImage::None,
    CrashImage::All,
    CrashImage::AllButOne,
    CrashImage::OneOnly,
    CrashImage::Random,
    CrashImage::Random,
];

fn body(i: u64) -> Vec<u8> {
    // Some batches are larger than a segment, or than two.
    let len = match i % 11 {
        0 => 9000,
        7 => 20_000,
        3 => 0,
        n => 97 * n as usize,
    };
    (0..len).map(|b| (b as u64 * 31 + i) as u8).collect()
}

fn append(batch_log: &BatchLog<impl Vfs>, i: u64) -> Result<Position, Error> {
    let bytes = body(i);
    let (a, b) = bytes.split_at(bytes.len() / 3);
    let section = Section { kind: SECTION_BATCH, group: 0, parts: &[a, b] };
    batch_log.append(Seq(i), &[section]).map(|a| a.end)
}

fn recover(fs: &MemFs, from: RecoverFrom) -> Result<(BatchLog<MemFs>, RecoveryReport, Vec<u64>), Error> {
    let mut seen = vec![];
    let (batch_log, report) = BatchLog::recover(
        fs,
        "wal",
        CONFIG,
        from,
        &mut |record| {
            let sections: Vec<_> = record.sections().map(|s| s.unwrap()).collect();
            assert_eq!(sections.len(), 1);
            assert_eq!(sections[0].bytes, body(record.first_seq.0), "batch {}", record.first_seq.0);
            seen.push(record.first_seq.0);
            Ok(())
        },
        &mut || Ok(()),
    )?;
    Ok((batch_log, report, seen))
}

fn replay(fs: &MemFs) -> Result<(RecoveryReport, Vec<u64>), Error> {
    let mut seen = vec![];
    let report = replay_read_only(fs, "wal", CONFIG, FROM, &mut |record| {
        seen.push(record.first_seq.0);
        Ok(())
    })?;
    Ok((report, seen))
}

fn assert_prefix(seen: &[u64], acknowledged: usize, appended: usize, what: &str) {
    assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{what}: {seen:?}");
    assert!(seen.len() >= acknowledged, "{what}: {} of {acknowledged} acknowledged", seen.len());
    assert!(seen.len() <= appended, "{what}: {} of {appended} appended", seen.len());
}

/// Appends, syncs, rotates; `maps` chooses how segments are written.
fn workload(
    fs: &MemFs,
    from: u64,
    acknowledged: &AtomicUsize,
    appended: &AtomicUsize,
    batch_log: &BatchLog<MemFs>,
) {
    let _ = fs;
    for i in from..from + 24 {
        appended.store(i as usize, Ordering::SeqCst);
        append(batch_log, i).unwrap();
        match i % 8 {
            2 => {
                batch_log.prepare_next().unwrap();
            }
            4 | 7 => {
                batch_log.sync().unwrap();
                acknowledged.store(i as usize, Ordering::SeqCst);
            }
            5 => batch_log.maintain().unwrap(),
            _ => {}
        }
    }
}

fn memory(maps: bool) -> MemFs {
    let fs = MemFs::new();
    MemFs::with_capabilities(nokv_core::vfs::Capabilities { maps, ..fs.capabilities() })
}

type Image = (MemFs, usize, usize, String);

/// Images before every changing call of `run`.
fn images_of(
    fs: &MemFs,
    acknowledged: &Arc<AtomicUsize>,
    appended: &Arc<AtomicUsize>,
    run: impl FnOnce(),
) -> Vec<Image> {
    let images = Arc::new(Mutex::new(vec![]));
    let hook = {
        let (fs, images) = (fs.clone(), Arc::clone(&images));
        let (acknowledged, appended) = (Arc::clone(acknowledged), Arc::clone(appended));
        move |call: u64, op: &str, path: &str| {
            let (a, b) = (acknowledged.load(Ordering::SeqCst), appended.load(Ordering::SeqCst));
            let mut images = images.lock().unwrap();
            images.push((fs.kill_clone(), a, b, format!("kill before call {call} {op} {path}")));
            for (i, image) in IMAGES.into_iter().enumerate() {
                let mode = if i % 2 == 0 { CrashMode::Posix } else { CrashMode::Hostile };
                let what = format!("{mode:?} {image:?} before call {call} {op} {path}");
                images.push((fs.crash_clone(call * 7 + i as u64, mode, image), a, b, what));
            }
        }
    };
    fs.set_call_hook(Box::new(hook));
    run();
    fs.clear_call_hook();
    std::mem::take(&mut *images.lock().unwrap())
}

fn crash_everywhere(maps: bool) {
    let fs = memory(maps);
    let (acknowledged, appended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let batch_log = BatchLog::create(&fs, "wal", CONFIG, 1).unwrap();
    let images =
        images_of(&fs, &acknowledged, &appended, || workload(&fs, 1, &acknowledged, &appended, &batch_log));
    assert!(images.len() > 300, "{}", images.len());
    for (n, (image, acknowledged, appended, what)) in images.iter().enumerate() {
        let (planned, would) = replay(image).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_prefix(&would, *acknowledged, *appended, what);
        if n % 9 == 0 {
            // Crash again at every call of the recovery.
            let again = image.kill_clone();
            let (a, b) = (Arc::new(AtomicUsize::new(would.len())), Arc::new(AtomicUsize::new(would.len())));
            let deeper = images_of(&again, &a, &b, || drop(recover(&again, FROM).unwrap()));
            for (image, ..) in deeper.iter().step_by(5).filter(|(.., w)| w.starts_with("kill")) {
                let (_, seen) = replay(image).unwrap_or_else(|e| panic!("{what}, then killed: {e}"));
                assert_eq!(seen, would, "{what}, then killed");
            }
            // The image itself may lose more, if it was that of a killed process: never what was acknowledged.
            for (image, _, _, deep) in &deeper {
                let (_, seen) = replay(image).unwrap_or_else(|e| panic!("{what}, then {deep}: {e}"));
                assert_prefix(&seen, *acknowledged, *appended, &format!("{what}, then {deep}"));
            }
        }
        let (batch_log, report, seen) = recover(image, FROM).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!((&report.end, &seen), (&planned.end, &would), "{what}");
        // What recovery delivered is durable, and the batch log goes on behind it.
        let next = seen.len() as u64 + 1;
        append(&batch_log, next).unwrap();
        batch_log.sync().unwrap();
        let after = image.crash_clone(n as u64, CrashMode::Hostile, CrashImage::None);
        let (_, _, seen) = recover(&after, FROM).unwrap_or_else(|e| panic!("{what}, went on: {e}"));
        assert!(seen.iter().copied().eq(1..=next), "{what}, went on: {seen:?}");
    }
}

#[test]
fn crash_at_every_call_mapped() {
    crash_everywhere(true);
}

#[test]
fn crash_at_every_call_positional() {
    crash_everywhere(false);
}

fn filled(fs: &MemFs, count: u64) -> BatchLog<MemFs> {
    let batch_log = BatchLog::create(fs, "wal", CONFIG, 1).unwrap();
    for i in 1..=count {
        append(&batch_log, i).unwrap();
    }
    batch_log
}

fn files(fs: &MemFs) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<_> = fs.list("wal").unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    names.into_iter().map(|n| (n.clone(), fs.contents(&format!("wal/{n}")).unwrap())).collect()
}

#[test]
fn after_a_clean_close_any_flipped_bit_of_a_record_is_refused() {
    use nokv_core::vfs::{OpenMode, VfsFile};
    let fs = MemFs::new();
    let batch_log = filled(&fs, 12);
    let end = batch_log.seal_for_close().unwrap();
    let from = RecoverFrom { clean_end: Some(end), ..FROM };
    assert!(matches!(append(&batch_log, 13), Err(Error::Closed)));
    drop(batch_log);
    let (_, before) = replay(&fs).unwrap();
    let infos: Vec<_> = files(&fs);
    for (name, bytes) in &infos {
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        for at in (0..used).step_by(13) {
            let image = fs.kill_clone();
            let file = image.open(&format!("wal/{name}"), OpenMode::ReadWrite).unwrap();
            file.write_at(&[bytes[at] ^ (1 << (at % 8))], at as u64).unwrap();
            let damaged = files(&image);
            match recover(&image, from) {
                Err(Error::Corrupt { .. }) => {
                    assert!(files(&image) == damaged, "{name} {at}: refusing wrote")
                }
                Err(e) => panic!("{name} {at}: {e}"),
                Ok((_, report, seen)) => {
                    assert!(at < 64, "{name} {at}: not noticed");
                    assert_eq!(seen, before, "{name} {at}");
                    assert!(at >= 60 || report.headers_rebuilt.len() == 1, "{name} {at}");
                }
            }
        }
        if used <= 64 {
            continue; // made ahead of time and never used
        }
        let image = fs.kill_clone();
        image.unlink(&format!("wal/{name}")).unwrap();
        assert!(matches!(recover(&image, from), Err(Error::Corrupt { .. })), "{name} missing");
    }
}

#[test]
fn damage_before_a_durable_mark_is_rot_and_behind_it_a_torn_tail() {
    use nokv_core::vfs::{OpenMode, VfsFile};
    let fs = MemFs::new();
    let batch_log =
        BatchLog::create(&fs, "wal", BatchLogConfig { segment_bytes: 1 << 16, db_id: 77 }, 1).unwrap();
    let mut ends = vec![Position { segment: 1, offset: 64 }];
    for i in [1, 2, 3, 4, 5, 6] {
        ends.push(append(&batch_log, i).unwrap());
        if i == 3 {
            batch_log.sync().unwrap();
        }
    }
    for (damaged, survive) in [(1usize, None), (2, None), (3, None), (4, Some(3)), (5, Some(4)), (6, Some(5))]
    {
        let image = fs.kill_clone();
        let at = ends[damaged - 1].offset + 20;
        let file = image.open("wal/000000001.wal", OpenMode::ReadWrite).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_at(&[byte[0] ^ 1], at).unwrap();
        match (recover(&image, FROM), survive) {
            (Err(Error::Corrupt { offset, .. }), None) => assert_eq!(offset, ends[damaged - 1].offset),
            (Ok((_, report, seen)), Some(n)) => {
                assert_eq!(seen.len(), n);
                let cut = report.cut.unwrap();
                assert_eq!(cut.at, ends[n]);
                assert_eq!(cut.records, 6 - damaged as u64);
                assert!(cut.bytes > 0);
            }
            (other, _) => panic!("batch {damaged}: {:?}", other.map(|(_, r, s)| (r, s))),
        }
    }
}

#[test]
fn a_foreign_or_misplaced_record_is_not_taken() {
    let fs = MemFs::new();
    let batch_log = filled(&fs, 3);
    batch_log.sync().unwrap();
    drop(batch_log);
    let other = BatchLogConfig { db_id: 78, ..CONFIG };
    let result = replay_read_only(&fs, "wal", other, FROM, &mut |_| panic!("delivered"));
    assert!(matches!(result, Err(Error::Corrupt { offset: 64, .. })), "{result:?}");
}

#[test]
fn a_full_disk_is_clean_also_in_the_middle_of_a_large_batch() {
    let fs = MemFs::new();
    let batch_log = filled(&fs, 5);
    fs.set_capacity(fs.used() + 9000);
    let e = append(&batch_log, 7).unwrap_err();
    assert!(e.is_no_space(), "{e}");
    fs.set_capacity(u64::MAX);
    append(&batch_log, 6).unwrap();
    append(&batch_log, 7).unwrap();
    batch_log.sync().unwrap();
    let (_, _, seen) = recover(&fs.crash_clone(1, CrashMode::Posix, CrashImage::None), FROM).unwrap();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn released_segments_are_gone_and_the_rest_recovers_from_the_floor() {
    let fs = MemFs::new();
    let batch_log = filled(&fs, 20);
    batch_log.sync().unwrap();
    let mut starts = vec![];
    replay_read_only(&fs, "wal", CONFIG, FROM, &mut |r| {
        starts.push((r.start.segment, r.first_seq.0));
        Ok(())
    })
    .unwrap();
    let (floor, first) = starts[12];
    assert!(batch_log.release_below(floor).unwrap() > 0);
    assert_eq!(batch_log.segments()[0].number, floor);
    let live = batch_log.live_bytes();
    drop(batch_log);
    let (batch_log, report, seen) =
        recover(&fs, RecoverFrom { floor_segment: floor, clean_end: None, end_before: None }).unwrap();
    assert_eq!(report.cut, None);
    assert_eq!(*seen.last().unwrap(), 20);
    assert!(seen[0] <= first);
    // The segment that was made ahead of time takes records now.
    assert!((live..=live + 64).contains(&batch_log.live_bytes()));
    assert!(matches!(recover(&fs, FROM), Err(Error::Corrupt { .. })), "the first segment is missing");
}

/// A segment that was made ahead learns the number of its first record without a sync: when that is lost with its
/// records, the next segment's own number is no proof that nothing came before.
#[test]
fn records_behind_a_first_segment_that_was_lost_are_not_taken() {
    for maps in [true, false] {
        let fs = memory(maps);
        let batch_log = BatchLog::create(&fs, "wal", CONFIG, 1).unwrap();
        // Of segment 2, which is the floor.
        let mut firsts = Vec::new();
        for i in 1.. {
            let end = append(&batch_log, 11 * i + 6).unwrap();
            if end.segment >= 2 && end.segment < 4 {
                firsts.push(11 * i + 6);
            }
            if end.segment == 4 {
                break;
            }
            batch_log.prepare_next().unwrap();
        }
        let from = RecoverFrom { floor_segment: 2, ..FROM };
        let mut lost = 0;
        for seed in 0..400 {
            for image in [CrashImage::AllButOne, CrashImage::Random] {
                let left = fs.crash_clone(seed, CrashMode::Posix, image);
                let (_, _, seen) = recover(&left, from).unwrap();
                let all = seen.len().min(firsts.len());
                assert_eq!(seen[..all], firsts[..all], "maps {maps}, seed {seed}, {image:?}: no prefix");
                lost += u64::from(image == CrashImage::AllButOne && seen.is_empty());
            }
        }
        assert!(lost > 0, "no image without segment 2");
    }
}

#[test]
fn a_failed_sync_is_for_good() {
    let fs = MemFs::new();
    let batch_log = filled(&fs, 2);
    let fault =
        SyncFault { path: String::new(), skip: 0, sticky: false, model: SyncFailure::ErrorButPersisted };
    fs.set_sync_fault(Some(fault));
    assert!(batch_log.sync().is_err());
    fs.set_sync_fault(None);
    assert!(batch_log.sync().is_err());
    assert!(append(&batch_log, 3).is_err());
}

#[test]
fn appends_go_on_while_a_sync_flushes() {
    let fs = MemFs::new();
    let batch_log = Arc::new(filled(&fs, 3));
    let appended = Arc::new(AtomicUsize::new(0));
    let hook = {
        let (batch_log, appended) = (Arc::clone(&batch_log), Arc::clone(&appended));
        move |_: u64, op: &str, _: &str| {
            // The flush is about to run: an append that needed its lock would never end.
            if op == "flush" && appended.fetch_add(1, Ordering::SeqCst) == 0 {
                append(&batch_log, 4).unwrap();
            }
        }
    };
    let before = batch_log.end();
    fs.set_call_hook(Box::new(hook));
    let durable = batch_log.sync().unwrap();
    fs.clear_call_hook();
    assert!(appended.load(Ordering::SeqCst) > 0);
    assert_eq!(durable, before, "a sync claims what was there when it began");
    assert!(batch_log.end() > before);
}

#[test]
fn a_covered_sync_flushes_nothing() {
    let fs = MemFs::new();
    let batch_log = filled(&fs, 3);
    batch_log.sync().unwrap();
    let calls = fs.calls();
    assert_eq!(batch_log.sync().unwrap(), batch_log.end());
    assert_eq!(fs.calls(), calls);
}

#[test]
fn whatever_sync_fails_nothing_acknowledged_is_lost() {
    for model in [SyncFailure::CleanAndKept, SyncFailure::Reverted, SyncFailure::ErrorButPersisted] {
        for skip in 0.. {
            let fs = MemFs::new();
            let batch_log = BatchLog::create(&fs, "wal", CONFIG, 1).unwrap();
            fs.set_sync_fault(Some(SyncFault { path: String::new(), skip, sticky: false, model }));
            let (mut acknowledged, mut appended, mut failed) = (0, 0, false);
            for i in 1..=24u64 {
                appended = i as usize;
                let step = append(&batch_log, i).and_then(|_| match i % 5 {
                    0 => batch_log.sync().map(|_| acknowledged = i as usize),
                    2 => batch_log.prepare_next().map(|_| ()),
                    3 => batch_log.maintain(),
                    _ => Ok(()),
                });
                if step.is_err() {
                    failed = true;
                    assert!(append(&batch_log, i + 1).is_err(), "{model:?} {skip}: not dead");
                    assert!(batch_log.sync().is_err(), "{model:?} {skip}: a sync was retried");
                    break;
                }
            }
            for (n, image) in IMAGES.into_iter().enumerate() {
                let image = fs.crash_clone(skip * 10 + n as u64, CrashMode::Hostile, image);
                let what = format!("{model:?}, sync {skip} failed");
                let (_, _, seen) = recover(&image, FROM).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_prefix(&seen, acknowledged, appended, &what);
            }
            if !failed {
                assert!(skip > 20);
                break;
            }
        }
    }
}
