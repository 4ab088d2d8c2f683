//! The disk is full from the Nth call on: for good, for a while, or from the start at some size. Then there is space
//! again.

use nokv_vfs_mem::MemFs;

use super::told::{Fate, Told, content};
use super::works::{Work, op, wanted};
use super::{Db, open, reopens, survives};
use crate::crash::drive::write;
use crate::net::{Scale, run_cases};

#[derive(Debug, Clone, Copy)]
enum Full {
    /// From this call on, until the work is done.
    From(u64),
    /// From this call on, for so many calls.
    For(u64, u64),
    /// So many KiB are left at the start.
    At(u64),
}

struct Case {
    work: &'static Work,
    full: Full,
}

fn fill(case: &Case) {
    let (fs, mut told) = case.work.disk();
    let opened = match case.full {
        Full::At(kib) => {
            fs.set_capacity(fs.used() + (kib << 10));
            open(&fs, case.work)
        }
        Full::From(from) => {
            full_between(&fs, from, u64::MAX);
            open(&fs, case.work)
        }
        Full::For(from, calls) => {
            full_between(&fs, from, from + calls);
            open(&fs, case.work)
        }
    };
    let mut looked = false;
    let mut look = |engine: &Db<MemFs>, told: &Told| {
        if fs.refusals() > 0 && !looked {
            looked = true;
            let found = content(engine).unwrap_or_else(|e| panic!("reads need no space: {e}; {told}"));
            assert!(told.is_shown(&found), "what is read is not what was acknowledged; {told}");
            assert!(engine.failure().is_none(), "{:?}; {told}", engine.failure());
            // The next process has space again.
            let left = fs.kill_clone();
            left.set_capacity(u64::MAX);
            survives(&left, case.work, told);
        }
    };
    let engine = match opened {
        Ok(engine) => case.work.run(&fs, engine, &mut told, &mut look),
        Err(error) => {
            assert!(error.is_no_space(), "open: {error}");
            None
        }
    };
    fs.clear_call_hook();
    if let Some((_, error)) = &told.error {
        assert!(error.is_no_space(), "{told}");
    }
    if let Some(engine) = &engine {
        assert!(engine.failure().is_none(), "{:?}; {told}", engine.failure());
        let found = content(engine).unwrap_or_else(|e| panic!("reads need no space: {e}; {told}"));
        assert!(told.is_shown(&found), "what is read is not what was acknowledged; {told}");
    }
    // There is space again: at once with the database that is open, or with one that is opened now.
    fs.set_capacity(u64::MAX);
    let engine = match engine {
        Some(engine) => engine,
        None => {
            let engine = open(&fs, case.work).unwrap_or_else(|e| panic!("with space again: {e}; {told}"));
            told.starts_again(content(&engine).unwrap_or_else(|e| panic!("with space again: {e}; {told}")));
            engine
        }
    };
    engine.run_all_work().unwrap_or_else(|e| panic!("background work: {e}; {told}"));
    write(&engine, &[op(3)], true).unwrap_or_else(|e| panic!("write: {e}; {told}"));
    told.writes.push((vec![op(3)], Fate::Logged));
    engine.sync().unwrap_or_else(|e| panic!("sync: {e}; {told}"));
    told.synced = told.writes.len();
    engine.flush_all().unwrap_or_else(|e| panic!("flush: {e}; {told}"));
    told.flushed();
    drop(engine);
    reopens(&fs, case.work, &told, 2);
}

/// No more space than is used, from call `from` on, up to call `to`.
fn full_between(fs: &MemFs, from: u64, to: u64) {
    let (disk, start) = (fs.clone(), fs.calls());
    fs.set_call_hook(Box::new(move |call, _, _| {
        let call = call - start;
        if call == from {
            disk.set_capacity(disk.used());
        } else if call == to {
            disk.set_capacity(u64::MAX);
        }
    }));
}

fn calls_of(work: &Work) -> u64 {
    let (fs, mut told) = work.disk();
    let before = fs.calls();
    let engine = open(&fs, work).expect("there is space");
    let engine = work.run(&fs, engine, &mut told, &mut |_, _| {}).expect("there is space");
    assert!(told.error.is_none(), "{told}");
    engine.close().expect("there is space");
    fs.calls() - before
}

/// Runs all; gives the number of cases.
///
/// # Panics
/// When a full disk is not clean, or does not pass.
pub fn run_all(scale: Scale) -> u64 {
    run_works(None, scale)
}

/// Runs one work by its name; gives the number of cases.
///
/// # Panics
/// When a full disk is not clean, or does not pass, or there is no such work.
pub fn run_named(work: &str, scale: Scale) -> u64 {
    run_works(Some(work), scale)
}

fn run_works(only: Option<&str>, scale: Scale) -> u64 {
    let mut cases = Vec::new();
    for (w, work) in wanted(only).into_iter().enumerate() {
        let step = scale.pick(19, 1);
        let first = scale.pick(w as u64 * 5 % step, 0);
        for call in (first..calls_of(work)).step_by(step as usize) {
            cases.push(Case { work, full: Full::From(call) });
            cases.push(Case { work, full: Full::For(call, 3 + call % 40) });
        }
        cases.extend((80..700).step_by(scale.pick(230, 9)).map(|kib| Case { work, full: Full::At(kib) }));
    }
    run_cases("space", &cases, |case| format!("{}/{:?}", case.work.name, case.full), fill)
}
