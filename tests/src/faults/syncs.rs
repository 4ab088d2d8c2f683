//! The Nth sync fails in each of the ways that systems know. The process that saw it ends; the next one finds what the
//! cache shows, or what a power cut left.

use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::error::Error;
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs, SyncFailure, SyncFault};

use super::open;
use super::told::{Fate, Told, content};
use super::works::{WORKS, Work, op};
use crate::crash::drive::write;
use crate::net::{Scale, run_cases};

struct Case {
    work: &'static Work,
    model: SyncFailure,
    sticky: bool,
    skip: u64,
    /// The sync that fails is of names.
    is_dir: bool,
}

fn fail(case: &Case) {
    let (fs, mut told) = case.work.disk();
    // Names are the file system's own journal: when that fails, the next process does not get to write.
    told.ends_with_error = case.is_dir;
    let fault = SyncFault { path: String::new(), skip: case.skip, sticky: case.sticky, model: case.model };
    fs.set_sync_fault(Some(fault));
    if let Ok(engine) = open(&fs, case.work)
        && let Some(engine) = case.work.run(&fs, engine, &mut told)
        && let Some((step, error)) = &told.error
        // One that was opened since is another process.
        && told.reopened.is_none_or(|at| at < *step)
        // The files of a copy, and the directory that holds it, are not the database's own.
        && !matches!(error, Error::Io { file, .. } if file.is_empty() || file.starts_with("copy"))
    {
        assert!(engine.failure().is_some(), "{told}");
        assert!(matches!(write(&engine, &[op(0)], true), Err(Error::ReadOnly(_))), "{told}");
        assert!(engine.sync().is_err(), "a sync was tried again; {told}");
    }
    fs.set_sync_fault(None);
    // Writes that were not synced may be anywhere: their bytes were given up. Nothing that was is lost.
    let images = [CrashImage::None, CrashImage::All, CrashImage::Random];
    for (n, image) in images.into_iter().enumerate() {
        let image = fs.crash_clone(case.skip * 3 + n as u64, CrashMode::Posix, image);
        let engine = open(&image, case.work).unwrap_or_else(|e| panic!("power cut {n}: {e}; {told}"));
        let found = content(&engine).unwrap_or_else(|e| panic!("power cut {n}: {e}; {told}"));
        assert!(told.allows(&found), "power cut {n}; {told}");
    }
    if !case.sticky && !case.is_dir {
        again(case, &fs, told);
    }
}

/// The next process reads what the cache shows, as if it were durable; what it makes durable is.
fn again(case: &Case, fs: &MemFs, mut told: Told) {
    let engine = open(fs, case.work).unwrap_or_else(|e| panic!("again: {e}; {told}"));
    let found = content(&engine).unwrap_or_else(|e| panic!("again: {e}; {told}"));
    write(&engine, &[op(7)], true).unwrap_or_else(|e| panic!("again: {e}; {told}"));
    engine.sync().unwrap_or_else(|e| panic!("again: {e}; {told}"));
    told.starts_again(found);
    told.writes.push((op(7), Fate::Logged));
    told.synced = told.writes.len();
    drop(engine);
    for (n, image) in [CrashImage::None, CrashImage::Random].into_iter().enumerate() {
        let image = fs.crash_clone(case.skip * 5 + n as u64, CrashMode::Posix, image);
        let engine = open(&image, case.work).unwrap_or_else(|e| panic!("power cut {n} after it: {e}"));
        let found = content(&engine).unwrap_or_else(|e| panic!("power cut {n} after it: {e}"));
        assert!(told.allows(&found), "power cut {n} after it: what was read and synced is lost");
    }
}

/// Runs all; gives the number of cases.
///
/// # Panics
/// When a promise does not hold.
pub fn run_all(scale: Scale) -> u64 {
    let models = [SyncFailure::CleanAndKept, SyncFailure::Reverted, SyncFailure::ErrorButPersisted];
    let mut cases = Vec::new();
    for (w, work) in WORKS.iter().enumerate() {
        let kinds = syncs_of(work);
        for (m, model) in models.into_iter().enumerate() {
            for sticky in [false, true] {
                let step = scale.pick(11, 1);
                let first = scale.pick((w + m * 2 + usize::from(sticky)) % step, 0);
                let syncs = kinds.iter().zip(0..).skip(first).step_by(step);
                cases.extend(syncs.map(|(&is_dir, skip)| Case { work, model, sticky, skip, is_dir }));
            }
        }
    }
    let name = |case: &Case| {
        let often = if case.sticky { "sticky" } else { "once" };
        format!("{}/{:?}/{often}/{}", case.work.name, case.model, case.skip)
    };
    run_cases("syncs", &cases, name, fail)
}

/// The syncs of files, directories and maps that the work makes: is it one of a directory?
fn syncs_of(work: &Work) -> Vec<bool> {
    let (fs, mut told) = work.disk();
    let syncs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&syncs);
    fs.set_call_hook(Box::new(move |_, op, _| {
        if matches!(op, "sync" | "sync_dir" | "flush") {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(op == "sync_dir");
        }
    }));
    let engine = open(&fs, work).expect("nothing fails");
    let engine = work.run(&fs, engine, &mut told).expect("nothing fails");
    engine.close().expect("nothing fails");
    fs.clear_call_hook();
    let syncs = syncs.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(syncs.len() > 10, "{}", syncs.len());
    syncs
}
