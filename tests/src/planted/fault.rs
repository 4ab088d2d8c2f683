//! Calls that fail: a narrow cut of the suite of faults, in which each fault is shown by one rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nokv_core::engine::Engine;
use nokv_core::error::{Error, Result};
use nokv_core::formats::CfId;
use nokv_core::vfs::{Capabilities, IoErrorKind, Vfs};
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, Op as Call, Rule, SyncFailure, SyncFault};

use crate::crash::USUAL;
use crate::crash::drive::{DIR, environment, tiny, write};
use crate::crash::track::{Content, Op};
use crate::crash::verify::content_of;

type Db<V> = Arc<Engine<V, Skiplist>>;

/// Single writes and whether each was acknowledged; so many of them are durable.
#[derive(Default)]
struct Told {
    writes: Vec<(Op, bool)>,
    synced: usize,
    failed: bool,
}

fn op(i: usize) -> Op {
    let len = [30, 2900, 4000, 0, 2800][i % 5];
    let key = format!("key{:02}", i % 11).into_bytes();
    if i % 13 == 12 { Op::Delete(0, key) } else { Op::Put(0, key, vec![i as u8; len].into()) }
}

fn open<V: Vfs>(fs: &V) -> Result<Db<V>> {
    Engine::open(fs.clone(), DIR, tiny(()), environment())
}

/// Goes on after errors. `look` is called before each flush: what only the log holds must be there.
fn workload<V: Vfs>(engine: &Db<V>, told: &mut Told, look: &mut dyn FnMut(&Told)) {
    // The last writes are not flushed.
    for i in 0..235 {
        let result = write(engine, &[op(i)], true);
        if !matches!(result, Err(Error::ReadOnly(_))) {
            told.writes.push((op(i), result.is_ok()));
        }
        if i % 12 == 11 {
            look(told);
        }
        let durable = result.and_then(|_| match i % 24 {
            7 | 15 => engine.sync().map(|_| true),
            11 => engine.flush_all().map(|()| true),
            23 => {
                engine.flush_all()?;
                engine.run_all_work()?;
                while !engine.compact_range_step(CfId(0), None, None)? {}
                engine.run_all_work().map(|()| true)
            }
            _ => Ok(false),
        });
        match durable {
            Ok(true) => told.synced = told.writes.len(),
            Ok(false) => {}
            Err(_) => told.failed = true,
        }
    }
}

fn content<V: Vfs>(engine: &Db<V>, what: &str) -> Content {
    content_of(engine, &BTreeSet::from([0])).unwrap_or_else(|e| panic!("{what}: {e}"))
}

fn apply(content: &mut Content, op: &Op) {
    match op {
        Op::Put(cf, key, value) => drop(content.insert((*cf, key.clone()), Arc::clone(value))),
        Op::Delete(cf, key) => drop(content.remove(&(*cf, key.clone()))),
        other => panic!("{other:?}"),
    }
}

fn acknowledged(told: &Told) -> Content {
    let mut all = BTreeMap::new();
    told.writes.iter().filter(|(_, ok)| *ok).for_each(|(op, _)| apply(&mut all, op));
    all
}

/// Is `found` what the acknowledged writes up to some point, at least `low`, leave, with or without each of those that
/// were not acknowledged?
fn is_a_prefix(found: &Content, told: &Told, low: usize) -> bool {
    let mut states = vec![Content::new()];
    for (i, (op, ok)) in told.writes.iter().enumerate() {
        if i >= low && states.contains(found) {
            return true;
        }
        let mut next = states.clone();
        next.iter_mut().for_each(|state| apply(state, op));
        if *ok {
            states = next;
        } else {
            states.extend(next);
            states.sort();
            states.dedup();
        }
    }
    states.contains(found)
}

fn reopens(fs: &MemFs, told: &Told, what: &str) {
    for (name, image, low) in [
        ("killed", fs.kill_clone(), told.writes.len()),
        ("power cut", fs.crash_clone(1, CrashMode::Posix, CrashImage::None), told.synced),
        ("random", fs.crash_clone(2, CrashMode::Posix, CrashImage::Random), told.synced),
    ] {
        let what = format!("{what}, {name}");
        let engine = open(&image).unwrap_or_else(|e| panic!("{what}: {e}"));
        let found = content(&engine, &what);
        assert!(is_a_prefix(&found, told, low), "{what}: acknowledged writes are lost");
    }
}

/// Each write or allocation finds a full disk, once: nothing is closed, nothing that was acknowledged is lost. The log
/// is written through maps, and without.
pub(super) fn full_disk() -> u64 {
    let mut cases = 0;
    for (call, maps) in [(Call::Write, false), (Call::Write, true), (Call::Allocate, true)] {
        for n in 0.. {
            let memory = MemFs::with_capabilities(Capabilities { maps, ..USUAL });
            let fs = FaultFs::new(memory.clone());
            let engine = open(&fs).expect("open");
            fs.add_rule(Rule::new(call, IoErrorKind::NoSpace).skip(n));
            let mut told = Told::default();
            let what = format!("no space at {call:?} {n}, maps {maps}");
            let mut looked = false;
            workload(&engine, &mut told, &mut |told| {
                if fs.failures() > 0 && !looked {
                    looked = true;
                    reopens(&memory, told, &what);
                }
            });
            let fired = fs.failures() > 0;
            fs.clear();
            cases += 1;
            assert!(engine.failure().is_none(), "{what}: {:?}", engine.failure());
            assert!(content(&engine, &what) == acknowledged(&told), "{what}: wrong answers");
            drop(engine);
            reopens(&memory, &told, &what);
            if !fired {
                break;
            }
        }
    }
    cases
}

/// Counts the syncs of a disk: of files, maps and directories.
fn count_syncs(fs: &MemFs) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let syncs = Arc::clone(&count);
    fs.set_call_hook(Box::new(move |_, op, _| {
        if matches!(op, "sync" | "flush" | "sync_dir") {
            syncs.fetch_add(1, Ordering::SeqCst);
        }
    }));
    count
}

/// Each sync fails, in each of the ways that systems know: it is told, or nothing that was acknowledged is lost; and the
/// database takes no more writes.
pub(super) fn failed_sync() -> u64 {
    let fs = MemFs::new();
    let engine = open(&fs).expect("open");
    let syncs = count_syncs(&fs);
    workload(&engine, &mut Told::default(), &mut |_| {});
    let syncs = syncs.load(Ordering::SeqCst);
    let models = [SyncFailure::CleanAndKept, SyncFailure::Reverted, SyncFailure::ErrorButPersisted];
    for model in models {
        for skip in 0..syncs {
            let what = format!("sync {skip} fails as {model:?}");
            let fs = MemFs::new();
            let engine = open(&fs).expect("open");
            let count = count_syncs(&fs);
            fs.set_sync_fault(Some(SyncFault { path: String::new(), skip, sticky: false, model }));
            let after_a_power_cut = |told: &Told, image: CrashImage| {
                let image = fs.crash_clone(skip, CrashMode::Posix, image);
                let engine = open(&image).unwrap_or_else(|e| panic!("{what}: {e}"));
                let found = content(&engine, &what);
                assert!(is_a_prefix(&found, told, told.synced), "{what}: acknowledged writes are lost");
            };
            let mut told = Told::default();
            let mut looked = false;
            workload(&engine, &mut told, &mut |told| {
                if count.load(Ordering::SeqCst) > skip && !looked {
                    looked = true;
                    after_a_power_cut(told, CrashImage::None);
                }
            });
            assert!(!told.failed || engine.failure().is_some(), "{what}: writes go on");
            after_a_power_cut(&told, CrashImage::None);
            after_a_power_cut(&told, CrashImage::All);
            fs.clear_call_hook();
        }
    }
    syncs * models.len() as u64
}

/// Each call fails, once: what is read is what was acknowledged, or nothing is written any more.
pub(super) fn failed_call() -> u64 {
    let mut cases = 0;
    for n in 0.. {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let engine = open(&fs).expect("open");
        fs.fail_call(fs.calls() + n, false, IoErrorKind::Other);
        let mut told = Told::default();
        workload(&engine, &mut told, &mut |_| {});
        let fired = fs.failures() > 0;
        fs.clear();
        cases += 1;
        let what = format!("call {n} fails");
        if engine.failure().is_none() {
            assert!(content(&engine, &what) == acknowledged(&told), "{what}: wrong answers");
        }
        drop(engine);
        reopens(&memory, &told, &what);
        if !fired {
            return cases;
        }
    }
    cases
}
