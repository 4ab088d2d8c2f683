//! Every call of the file system fails once: nothing that a sync acknowledged is lost, nothing panics, a full disk is
//! clean, and any other failed write or sync closes the database to writes.
#![cfg(feature = "skiplist")]

use std::collections::BTreeMap;
use std::sync::Arc;

use nokv_core::engine::{Engine, GcStep};
use nokv_core::error::{Error, Result};
use nokv_core::formats::CfId;
use nokv_core::table::CursorOptions;
use nokv_core::vfs::{IoErrorKind, Vfs};
use nokv_index_skiplist::Skiplist;
use nokv_tests::crash::drive::{DIR, environment, tiny, write};
use nokv_tests::crash::track::Op;
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, SyncFailure, SyncFault};

type Content = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// What was told to the writer, in commit order.
#[derive(Default)]
struct Told {
    /// One write each, and whether it was acknowledged.
    writes: Vec<(Op, bool)>,
    /// So many of them are durable.
    synced: usize,
    /// The first error.
    error: Option<(usize, Error)>,
}

fn op(i: usize) -> Op {
    let len = [30, 700, 4000, 0, 2500][i % 5];
    let key = format!("key{:02}", i % 11).into_bytes();
    if i % 13 == 12 { Op::Delete(0, key) } else { Op::Put(0, key, vec![i as u8; len].into()) }
}

fn open<V: Vfs>(fs: &V) -> Result<Arc<Engine<V, Skiplist>>> {
    Engine::open(fs.clone(), DIR, tiny(()), environment())
}

/// Background work of step `i`, and whether everything is durable then.
fn background<V: Vfs>(engine: &Arc<Engine<V, Skiplist>>, i: usize) -> Result<bool> {
    match i % 12 {
        3 | 8 => engine.sync().map(|_| true),
        5 => engine.flush_all().map(|()| true),
        10 => {
            engine.flush_all()?;
            engine.run_all_work()?;
            while !engine.compact_range_step(CfId(0), None, None)? {}
            collect(engine)?;
            engine.run_all_work().map(|()| true)
        }
        _ => Ok(false),
    }
}

fn collect<V: Vfs>(engine: &Arc<Engine<V, Skiplist>>) -> Result<()> {
    let mut collection = match engine.gc_start(0.2) {
        Err(Error::NothingToCollect) => return Ok(()),
        other => other?,
    };
    for _ in 0..100 {
        match engine.gc_step(&mut collection)? {
            GcStep::Wait => engine.flush_all()?,
            GcStep::Again => {}
            GcStep::Done(_) => return Ok(()),
        }
    }
    panic!("the collection does not end");
}

/// Forty writes with everything between; goes on after errors.
fn workload<V: Vfs>(engine: &Arc<Engine<V, Skiplist>>, told: &mut Told) {
    for i in 0..40 {
        let result = write(engine, &[op(i)], true);
        if !matches!(result, Err(Error::ReadOnly(_))) {
            told.writes.push((op(i), result.is_ok()));
        }
        let count = told.writes.len();
        match result.and_then(|_| background(engine, i)) {
            Ok(true) => told.synced = count,
            Ok(false) => {}
            Err(error) => {
                told.error.get_or_insert((i, error));
            }
        }
    }
}

fn content<V: Vfs>(engine: &Engine<V, Skiplist>) -> Result<Content> {
    let mut scan = engine.scan(CfId(0), &[], None, None, CursorOptions::SCAN)?;
    scan.seek_first()?;
    let mut content = Content::new();
    while let (Some(key), Some(entry)) = (scan.key(), scan.entry()) {
        let value = engine.value_of(key, &entry)?;
        content.insert(key.user_key.to_vec(), Arc::from(&*value));
        scan.next()?;
    }
    Ok(content)
}

fn apply(content: &mut Content, op: &Op) {
    match op {
        Op::Put(_, key, value) => drop(content.insert(key.clone(), Arc::clone(value))),
        Op::Delete(_, key) => drop(content.remove(key)),
        other => panic!("{other:?}"),
    }
}

/// Is `found` what some history leaves: all acknowledged writes up to some point, at least `low`, where those that
/// were not acknowledged happened or not?
fn is_a_prefix(found: &Content, told: &Told, low: usize) -> bool {
    let mut states = vec![Content::new()];
    if low == 0 && states.contains(found) {
        return true;
    }
    for (i, (op, acknowledged)) in told.writes.iter().enumerate() {
        let mut next: Vec<Content> = states.clone();
        next.iter_mut().for_each(|state| apply(state, op));
        if *acknowledged {
            states = next;
        } else {
            states.extend(next);
            states.sort();
            states.dedup();
        }
        if i + 1 >= low && states.contains(found) {
            return true;
        }
    }
    false
}

/// Reopens after a death and after power cuts: a prefix that holds what was synced, and the database works.
fn reopens(fs: &MemFs, told: &Told, what: &str) {
    let images = [
        ("killed", fs.kill_clone()),
        ("nothing", fs.crash_clone(1, CrashMode::Posix, CrashImage::None)),
        ("random", fs.crash_clone(2, CrashMode::Posix, CrashImage::Random)),
    ];
    for (name, image) in images {
        let engine = open(&image).unwrap_or_else(|e| panic!("{what}, {name}: {e}"));
        let found = content(&engine).unwrap_or_else(|e| panic!("{what}, {name}: {e}"));
        assert!(
            is_a_prefix(&found, told, told.synced),
            "{what}, {name}: no prefix, or synced writes are lost"
        );
        write(&engine, &[op(1)], true).unwrap_or_else(|e| panic!("{what}, {name}: {e}"));
        engine.close().unwrap_or_else(|e| panic!("{what}, {name}: {e}"));
        drop(engine);
        let engine = open(&image).unwrap_or_else(|e| panic!("{what}, {name}, again: {e}"));
        let report = engine.check(&mut |_| {}).unwrap();
        assert!(report.is_clean(), "{what}, {name}: {:?}", report.problems);
    }
}

fn calls_of_the_workload() -> (u64, u64) {
    let fs = FaultFs::new(MemFs::new());
    let engine = open(&fs).unwrap();
    let first = fs.calls();
    let mut told = Told::default();
    workload(&engine, &mut told);
    assert!(told.error.is_none(), "{:?}", told.error);
    engine.close().unwrap();
    assert!(fs.calls() > first + 150, "{}", fs.calls());
    (first, fs.calls())
}

fn fail_each_call(kind: IoErrorKind, sticky: bool) {
    let (first, calls) = calls_of_the_workload();
    let mut poisoned = 0;
    for n in 0..calls {
        let what = format!("call {n}, {kind:?}, sticky {sticky}");
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        fs.fail_call(n, sticky, kind);
        let mut told = Told::default();
        match open(&fs) {
            Err(_) => assert!(n < first, "{what}: open"),
            Ok(engine) => {
                workload(&engine, &mut told);
                poisoned += usize::from(engine.failure().is_some());
                if let Some(cause) = engine.failure() {
                    // Writes are refused with the cause; reads go on once the disk answers again.
                    let refused = write(&engine, &[op(0)], true);
                    assert!(matches!(refused, Err(Error::ReadOnly(_))), "{what}: {cause}: {refused:?}");
                    fs.clear();
                    content(&engine).unwrap_or_else(|e| panic!("{what}: reads after {cause}: {e}"));
                    assert!(engine.close().is_err(), "{what}: a clean close after {cause}");
                } else if !sticky {
                    fs.clear();
                    let mut all = Content::new();
                    told.writes.iter().filter(|(_, ok)| *ok).for_each(|(op, _)| apply(&mut all, op));
                    let found = content(&engine).unwrap_or_else(|e| panic!("{what}: {e}"));
                    assert!(
                        found == all,
                        "{what}: {:?}: what is read is not what was acknowledged",
                        told.error
                    );
                    if engine.close().is_ok() {
                        told.synced = told.writes.len();
                    }
                }
                drop(engine);
            }
        }
        reopens(&memory, &told, &what);
    }
    println!("{calls} calls, {poisoned} close the database to writes");
    assert!(kind == IoErrorKind::NoSpace || poisoned > 20);
}

#[test]
fn any_call_fails_once() {
    fail_each_call(IoErrorKind::Other, false);
}

#[test]
fn any_call_fails_and_all_after_it() {
    fail_each_call(IoErrorKind::Other, true);
}

/// A write or an allocation that finds no space: nothing is closed, and writes resume at once.
#[test]
fn a_full_disk_is_clean() {
    use nokv_vfs_mem::{Op as Call, Rule};
    for call in [Call::Write, Call::Allocate] {
        for n in 0.. {
            let memory = MemFs::new();
            let fs = FaultFs::new(memory.clone());
            let engine = open(&fs).unwrap();
            fs.add_rule(Rule::new(call, IoErrorKind::NoSpace).skip(n));
            let mut told = Told::default();
            workload(&engine, &mut told);
            let fired = fs.failures() > 0;
            fs.clear();
            let what = format!("{call:?} {n}: {:?}", told.error);
            assert!(engine.failure().is_none(), "{what}: {:?}", engine.failure());
            if let Some((_, error)) = &told.error {
                assert!(error.is_no_space(), "{what}");
            }
            let mut all = Content::new();
            told.writes.iter().filter(|(_, ok)| *ok).for_each(|(op, _)| apply(&mut all, op));
            assert!(content(&engine).unwrap() == all, "{what}");
            write(&engine, &[op(3)], true).unwrap_or_else(|e| panic!("{what}: {e}"));
            told.writes.push((op(3), true));
            engine.sync().unwrap_or_else(|e| panic!("{what}: {e}"));
            told.synced = told.writes.len();
            engine.flush_all().unwrap_or_else(|e| panic!("{what}: {e}"));
            drop(engine);
            reopens(&memory, &told, &what);
            if !fired {
                break;
            }
        }
    }
}

/// A disk that is full for a while, at any size.
#[test]
fn a_small_disk_is_clean() {
    for kib in (80..700).step_by(23) {
        let fs = MemFs::new();
        let engine = open(&fs).unwrap();
        fs.set_capacity(fs.used() + (kib << 10));
        let mut told = Told::default();
        workload(&engine, &mut told);
        let what = format!("{kib} KiB: {:?}", told.error);
        assert!(engine.failure().is_none(), "{what}: {:?}", engine.failure());
        fs.set_capacity(u64::MAX);
        engine.run_all_work().unwrap_or_else(|e| panic!("{what}: {e}"));
        write(&engine, &[op(3)], true).unwrap_or_else(|e| panic!("{what}: {e}"));
        told.writes.push((op(3), true));
        engine.sync().unwrap_or_else(|e| panic!("{what}: {e}"));
        told.synced = told.writes.len();
        drop(engine);
        reopens(&fs, &told, &what);
    }
}

/// A sync that fails in each of the ways that systems know.
#[test]
fn a_failed_sync_is_for_good() {
    for model in [SyncFailure::CleanAndKept, SyncFailure::Reverted, SyncFailure::ErrorButPersisted] {
        for skip in 0.. {
            let fs = MemFs::new();
            let engine = open(&fs).unwrap();
            fs.set_sync_fault(Some(SyncFault { path: String::new(), skip, sticky: false, model }));
            let mut told = Told::default();
            workload(&engine, &mut told);
            fs.set_sync_fault(None);
            let what = format!("{model:?}, sync {skip}: {:?}", told.error);
            let Some((_, error)) = &told.error else { break };
            let failure = engine.failure();
            assert!(failure.is_some(), "{what}");
            assert!(matches!(write(&engine, &[op(0)], true), Err(Error::ReadOnly(_))), "{what}: {error}");
            assert!(engine.sync().is_err(), "{what}: a sync was tried again");
            drop(engine);
            // Writes that were not synced may be anywhere: their bytes were given up. Nothing that was is lost.
            for (n, image) in [CrashImage::None, CrashImage::All, CrashImage::Random].into_iter().enumerate()
            {
                let image = fs.crash_clone(skip * 3 + n as u64, CrashMode::Posix, image);
                let engine = open(&image).unwrap_or_else(|e| panic!("{what}, {n}: {e}"));
                let found = content(&engine).unwrap_or_else(|e| panic!("{what}, {n}: {e}"));
                assert!(is_a_prefix(&found, &told, told.synced), "{what}, {n}");
            }
        }
    }
}
