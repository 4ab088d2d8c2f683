//! The Nth call fails, once or from then on, in each way that a call can.

use nokv_core::error::Error;
use nokv_core::vfs::IoErrorKind;
use nokv_vfs_mem::{FaultFs, MemFs, Rule};

use super::told::{Told, content};
use super::works::{WORKS, Work, op};
use super::{Db, open, reopens};
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
    /// The call is carried out and reported as failed.
    Afterwards,
}

struct Case {
    work: &'static Work,
    how: How,
    sticky: bool,
    call: u64,
    /// Calls of the first open.
    first: u64,
}

fn rule(case: &Case) -> Rule {
    let kind = match case.how {
        How::Io | How::Short | How::Afterwards => IoErrorKind::Other,
        How::NoSpace => IoErrorKind::NoSpace,
        How::TooManyFiles => IoErrorKind::TooManyFiles,
    };
    let rule = Rule::any(kind).skip(case.call);
    let rule = if case.sticky { rule.sticky() } else { rule };
    match case.how {
        How::Short => rule.short(13),
        How::Afterwards => rule.afterwards(),
        _ => rule,
    }
}

/// Calls of a work: those of its first open, and all.
fn calls_of(work: &Work) -> (u64, u64) {
    let (disk, mut told) = work.disk();
    let fs = FaultFs::new(disk);
    let engine = open(&fs, work).expect("nothing fails");
    let first = fs.calls();
    let engine = work.run(&fs, engine, &mut told).expect("nothing fails");
    assert!(told.error.is_none(), "{told}");
    engine.close().expect("nothing fails");
    assert!(fs.calls() > first + 150, "{}", fs.calls());
    (first, fs.calls())
}

fn fail(case: &Case) {
    let (disk, mut told) = case.work.disk();
    let fs = FaultFs::new(disk.clone());
    fs.add_rule(rule(case));
    match open(&fs, case.work) {
        Err(error) => assert!(case.call < case.first, "the first open: {error}"),
        Ok(engine) => {
            if let Some(engine) = case.work.run(&fs, engine, &mut told) {
                after(&fs, &engine, case, &mut told);
            }
        }
    }
    fs.clear();
    reopens(&disk, case.work, &told);
}

/// What the open database must still do.
fn after(fs: &FaultFs<MemFs>, engine: &Db<FaultFs<MemFs>>, case: &Case, told: &mut Told) {
    if let Some(cause) = engine.failure() {
        // Writes are refused with the cause; reads go on once the disk answers again.
        let refused = write(engine, &[op(0)], true);
        assert!(matches!(refused, Err(Error::ReadOnly(_))), "{cause}: {refused:?}; {told}");
        fs.clear();
        content(engine).unwrap_or_else(|e| panic!("reads after {cause}: {e}; {told}"));
        assert!(engine.close().is_err(), "a clean close after {cause}; {told}");
        return;
    }
    fs.clear();
    let found = content(engine).unwrap_or_else(|e| panic!("{e}; {told}"));
    if !case.sticky {
        assert!(found == told.acknowledged(), "what is read is not what was acknowledged; {told}");
    }
    if engine.close().is_ok() {
        told.flushed();
    }
}

/// Runs all; gives the number of cases.
///
/// # Panics
/// When a promise does not hold.
pub fn run_all(scale: Scale) -> u64 {
    let mut cases = Vec::new();
    let hows = [How::Io, How::NoSpace, How::TooManyFiles, How::Short, How::Afterwards];
    for (w, work) in WORKS.iter().enumerate() {
        let (first, calls) = calls_of(work);
        for (h, how) in hows.into_iter().enumerate() {
            for sticky in [false, true] {
                let step = scale.pick(23, 1);
                let from = scale.pick((w * 7 + h * 3 + usize::from(sticky)) as u64 % step, 0);
                let calls = (from..calls).step_by(step as usize);
                cases.extend(calls.map(|call| Case { work, how, sticky, call, first }));
            }
        }
    }
    let name = |case: &Case| {
        let often = if case.sticky { "sticky" } else { "once" };
        format!("{}/{:?}/{often}/{}", case.work.name, case.how, case.call)
    };
    run_cases("faults", &cases, name, fail)
}
