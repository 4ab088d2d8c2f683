//! The Nth sync fails in each of the ways that systems know. The process that saw it ends; the next one finds what the
//! cache shows, or what a power cut left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::error::Error;
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs, SyncFailure, SyncFault};

use super::told::{Fate, Told, content};
use super::works::{Work, op, wanted};
use super::{Db, goes_on, open, opens};
use crate::crash::drive::write;
use crate::net::{Scale, run_cases};

struct Case {
    work: &'static Work,
    model: SyncFailure,
    sticky: bool,
    skip: u64,
    /// The sync that fails is of names.
    is_dir: bool,
    /// The process that met it closes the database; else it dies.
    closes: bool,
}

fn fail(case: &Case) {
    let (fs, mut told) = case.work.disk();
    // Names are the file system's own journal: when that fails, the next process does not get to write.
    told.ends_with_error = case.is_dir;
    let fault = SyncFault { path: String::new(), skip: case.skip, sticky: case.sticky, model: case.model };
    fs.set_sync_fault(Some(fault));
    let syncs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&syncs);
    fs.set_call_hook(Box::new(move |_, op, _| {
        counted.fetch_add(u64::from(is_sync(op)), Ordering::SeqCst);
    }));
    let mut looked = false;
    let mut look = |engine: &Db<MemFs>, told: &Told| {
        if syncs.load(Ordering::SeqCst) > case.skip && !looked {
            looked = true;
            reads(engine, case, told);
            power_cuts(case, &fs, told, "at the fault");
        }
    };
    if let Ok(engine) = open(&fs, case.work)
        && let Some(engine) = case.work.run(&fs, engine, &mut told, &mut look)
    {
        reads(&engine, case, &told);
        if let Some((step, error)) = &told.error
            // One that was opened since is another process.
            && told.reopened.is_none_or(|at| at < *step)
            // The files of a copy, and the directory that holds it, are not the database's own.
            && !matches!(error, Error::Io { file, .. } if file.is_empty() || file.starts_with("copy"))
        {
            assert!(engine.failure().is_some(), "{told}");
            assert!(matches!(write(&engine, &[op(0)], true), Err(Error::ReadOnly(_))), "{told}");
            assert!(engine.sync().is_err(), "a sync was tried again; {told}");
        }
        if case.closes {
            match engine.close() {
                Ok(()) => told.flushed(),
                Err(error) => assert!(syncs.load(Ordering::SeqCst) > case.skip, "close: {error}; {told}"),
            }
        }
    }
    fs.clear_call_hook();
    fs.set_sync_fault(None);
    power_cuts(case, &fs, &told, "at the end");
    if !case.sticky && !case.is_dir {
        again(case, &fs, told);
    }
}

fn is_sync(op: &str) -> bool {
    matches!(op, "sync" | "sync_dir" | "flush")
}

/// What the open database shows is what was acknowledged; an error only where bytes were thrown away under it.
fn reads(engine: &Db<MemFs>, case: &Case, told: &Told) {
    match content(engine) {
        Ok(found) => assert!(told.is_shown(&found), "what is read is not what was acknowledged; {told}"),
        Err(error) => assert!(case.model == SyncFailure::Reverted, "a read failed: {error}; {told}"),
    }
}

/// Writes that were not synced may be anywhere: their bytes were given up. Nothing that was is lost.
fn power_cuts(case: &Case, fs: &MemFs, told: &Told, when: &str) {
    for (n, image) in [CrashImage::None, CrashImage::All, CrashImage::Random].into_iter().enumerate() {
        let left = fs.crash_clone(case.skip * 3 + n as u64, CrashMode::Posix, image);
        opens(&left, case.work, told, &format!("power cut {when}, {image:?}"), &|found| told.allows(found));
    }
}

/// The next process reads what the cache shows, as if it were durable; what it makes durable is.
fn again(case: &Case, fs: &MemFs, mut told: Told) {
    let kept = case.model != SyncFailure::Reverted;
    let right = |found: &_| if kept { told.has_all(found) } else { told.allows(found) };
    let (engine, found) = opens(fs, case.work, &told, "again", &right);
    write(&engine, &[op(7)], true).unwrap_or_else(|e| panic!("again: {e}; {told}"));
    engine.sync().unwrap_or_else(|e| panic!("again: {e}; {told}"));
    told.starts_again(found);
    told.writes.push((vec![op(7)], Fate::Logged));
    told.synced = told.writes.len();
    drop(engine);
    for image in [CrashImage::None, CrashImage::Random] {
        let left = fs.crash_clone(case.skip * 5, CrashMode::Posix, image);
        let name = format!("power cut after it, {image:?}");
        let (engine, found) = opens(&left, case.work, &told, &name, &|found| told.allows(found));
        goes_on(&left, case.work, &told, &name, engine, found);
    }
}

/// Runs all; gives the number of cases.
///
/// # Panics
/// When a promise does not hold.
pub fn run_all(scale: Scale) -> u64 {
    run_works(None, scale)
}

/// Runs one work by its name; gives the number of cases.
///
/// # Panics
/// When a promise does not hold, or there is no such work.
pub fn run_named(work: &str, scale: Scale) -> u64 {
    run_works(Some(work), scale)
}

fn run_works(only: Option<&str>, scale: Scale) -> u64 {
    let models = [SyncFailure::CleanAndKept, SyncFailure::Reverted, SyncFailure::ErrorButPersisted];
    let mut cases = Vec::new();
    for (w, work) in wanted(only).into_iter().enumerate() {
        let kinds = syncs_of(work);
        for (m, model) in models.into_iter().enumerate() {
            for sticky in [false, true] {
                let step = scale.pick(11, 1);
                let first = scale.pick((w + m * 2 + usize::from(sticky)) % step, 0);
                let syncs = kinds.iter().zip(0..).skip(first).step_by(step);
                cases.extend(syncs.map(|(&(is_dir, in_close), skip)| {
                    // A close that fails leaves what a death does: each second one is tried, and all in the close itself.
                    let closes = in_close || skip % 2 == 1;
                    Case { work, model, sticky, skip, is_dir, closes }
                }));
            }
        }
    }
    let name = |case: &Case| {
        let often = if case.sticky { "sticky" } else { "once" };
        format!("{}/{:?}/{often}/{}", case.work.name, case.model, case.skip)
    };
    run_cases("syncs", &cases, name, fail)
}

/// The syncs of files, directories and maps that the work makes: is it one of a directory, and of the last close?
fn syncs_of(work: &Work) -> Vec<(bool, bool)> {
    let (fs, mut told) = work.disk();
    let syncs: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = Arc::clone(&syncs);
    fs.set_call_hook(Box::new(move |_, op, _| {
        if is_sync(op) {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(op == "sync_dir");
        }
    }));
    let taken = || syncs.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let engine = open(&fs, work).expect("nothing fails");
    let engine = work.run(&fs, engine, &mut told, &mut |_, _| {}).expect("nothing fails");
    let before = taken().len();
    engine.close().expect("nothing fails");
    fs.clear_call_hook();
    let syncs = taken();
    assert!(before > 10 && syncs.len() > before, "{before} of {}", syncs.len());
    syncs.into_iter().enumerate().map(|(n, is_dir)| (is_dir, n >= before)).collect()
}
