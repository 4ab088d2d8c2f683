//! The Nth call fails, once or from then on, in each way that a call can.

use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::error::Error;
use nokv_core::vfs::IoErrorKind;
use nokv_vfs_mem::{FaultFs, MemFs, Op, Rule};

use super::told::{Told, content};
use super::works::{Work, op, wanted};
use super::{Db, open, reopens, survives};
use crate::crash::drive::write;
use crate::net::{Scale, run_cases};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// EIO.
    Io,
    /// ENOSPC from any call, also from those that cannot give it.
    NoSpace,
    /// EMFILE.
    TooManyFiles,
    /// A write writes a part of what it was given; other calls fail with EIO.
    Short,
    /// The same with ENOSPC: a write gets as far as there is space.
    Partial,
    /// The call is carried out and reported as failed.
    Afterwards,
}

const HOWS: [How; 6] = [How::Io, How::NoSpace, How::TooManyFiles, How::Short, How::Partial, How::Afterwards];

struct Case {
    work: &'static Work,
    how: How,
    sticky: bool,
    call: u64,
    /// What the call is.
    op: Op,
    /// Calls of the first open.
    first: u64,
}

impl Case {
    fn rule(&self, skip: u64) -> Rule {
        let kind = match self.how {
            How::Io | How::Short | How::Afterwards => IoErrorKind::Other,
            How::NoSpace | How::Partial => IoErrorKind::NoSpace,
            How::TooManyFiles => IoErrorKind::TooManyFiles,
        };
        let rule = Rule::any(kind).skip(skip);
        let rule = if self.sticky { rule.sticky() } else { rule };
        match self.how {
            How::Short => rule.short(13),
            // Less than the head of a record, or across a sector.
            How::Partial => rule.short([13, 600][self.call as usize % 2]),
            How::Afterwards => rule.afterwards(),
            _ => rule,
        }
    }

    /// A full disk, as the seam says that one shows.
    fn is_clean(&self) -> bool {
        matches!(self.how, How::NoSpace | How::Partial)
            && !self.sticky
            && matches!(self.op, Op::Write | Op::Allocate)
    }
}

/// Calls of a work: how many its first open makes, and all, to the end of the last close.
fn calls_of(work: &Work) -> (u64, Vec<Op>) {
    let (disk, mut told) = work.disk();
    let fs = FaultFs::new(disk);
    let ops: Arc<Mutex<Vec<Op>>> = Arc::default();
    let seen = Arc::clone(&ops);
    fs.observe(move |op, _| seen.lock().unwrap_or_else(PoisonError::into_inner).push(op));
    let engine = open(&fs, work).expect("nothing fails");
    let first = fs.calls();
    let engine = work.run(&fs, engine, &mut told, &mut |_, _| {}).expect("nothing fails");
    assert!(told.error.is_none(), "{told}");
    reads(&fs, &engine, &told);
    reads(&fs, &engine, &told);
    engine.close().expect("nothing fails");
    let ops = std::mem::take(&mut *ops.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(ops.len() as u64 > first + 150, "{}", ops.len());
    (first, ops)
}

fn fail(case: &Case) {
    let (disk, mut told) = case.work.disk();
    let fs = FaultFs::new(disk.clone());
    fs.add_rule(case.rule(case.call));
    match open(&fs, case.work) {
        Err(error) => assert!(case.call < case.first, "the first open: {error}"),
        Ok(engine) => {
            let mut looked = false;
            let mut look = |engine: &Db<FaultFs<MemFs>>, told: &Told| {
                if fs.failures() > 0 && !looked {
                    looked = true;
                    reads(&fs, engine, told);
                    survives(&disk, case.work, told);
                }
            };
            if let Some(engine) = case.work.run(&fs, engine, &mut told, &mut look) {
                after(&fs, &engine, case, &mut told);
            }
        }
    }
    assert!(fs.failures() > 0, "the call was never made; {told}");
    fs.clear();
    reopens(&disk, case.work, &told, case.call);
}

/// What the open database shows is what was acknowledged, or an error because a call failed.
fn reads(fs: &FaultFs<MemFs>, engine: &Db<FaultFs<MemFs>>, told: &Told) {
    let before = fs.failures();
    match content(engine) {
        Ok(found) => assert!(told.is_shown(&found), "what is read is not what was acknowledged; {told}"),
        Err(error) => assert!(fs.failures() > before, "a read failed: {error}; {told}"),
    }
}

/// What the open database must still do, and its close under the fault.
fn after(fs: &FaultFs<MemFs>, engine: &Db<FaultFs<MemFs>>, case: &Case, told: &mut Told) {
    reads(fs, engine, told);
    let failure = engine.failure();
    if let Some(cause) = &failure {
        assert!(!case.is_clean(), "a full disk closed the database to writes: {cause}; {told}");
        // Writes are refused with the cause.
        let refused = write(engine, &[op(0)], true);
        assert!(matches!(refused, Err(Error::ReadOnly(_))), "{cause}: {refused:?}; {told}");
    }
    // Reads go on once the disk answers again.
    if case.sticky {
        fs.clear();
    }
    reads(fs, engine, told);
    if case.sticky {
        fs.add_rule(case.rule(0));
    }
    match engine.close() {
        Ok(()) => {
            assert!(failure.is_none(), "a clean close after {failure:?}; {told}");
            told.flushed();
        }
        Err(error) => assert!(fs.failures() > 0, "close: {error}; {told}"),
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
    let mut cases = Vec::new();
    for (w, work) in wanted(only).into_iter().enumerate() {
        let (first, ops) = calls_of(work);
        for (h, how) in HOWS.into_iter().enumerate() {
            for sticky in [false, true] {
                let step = scale.pick(37, 1);
                let from = scale.pick((w * 7 + h * 3 + usize::from(sticky)) % step, 0);
                let calls = ops.iter().zip(0..).skip(from).step_by(step);
                cases.extend(calls.map(|(&op, call)| Case { work, how, sticky, call, op, first }));
            }
        }
    }
    let name = |case: &Case| {
        let often = if case.sticky { "sticky" } else { "once" };
        format!("{}/{:?}/{often}/{}", case.work.name, case.how, case.call)
    };
    run_cases("faults", &cases, name, fail)
}
