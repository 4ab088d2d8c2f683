//! Crash at every call: a workload on a simulated disk, an image of that disk before each changing call, and what
//! must hold of each image.
//!
//! One thread runs the workload; two check images. Everything is deterministic: the same seed gives the same calls
//! and images. A failing image prints how to run just that one, its name being
//! `workload/call.image[/call.image...]`. Nested parts are crashes during the recovery of the image before.
//! `NOKV_CRASH_SEED` gives other images.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::MemIndex;
use nokv_core::engine::{Engine, EngineOptions};
use nokv_core::vfs::Capabilities;
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

pub mod drive;
pub mod points;
pub mod suite;
pub mod trace;
pub mod track;
pub mod verify;
pub mod workloads;

use drive::{DIR, Drive, environment};
use track::{Mark, Track};
use verify::{Origin, Question, Recovered};

use crate::net::{Scale, picked_of, replay, say, text_of};

/// Threads that check images.
const CHECKERS: usize = 2;
/// Crashes during the recovery of crashes.
const DEPTH_MAX: usize = 3;
/// Failures that are reported in full.
const FAILURES_MAX: usize = 5;
/// After so many failures no more images are made: they say nothing new.
const FAILURES_ENOUGH: usize = 20;
/// Every workload gives at least so many images: the fourteen of the suite are above 20,000 together.
const IMAGES_MIN: usize = 1_600;

/// A workload and the disk it runs on.
pub struct Workload<I: MemIndex> {
    /// Its name in reports.
    pub name: &'static str,
    /// What the disk can do.
    pub capabilities: Capabilities,
    /// How far the disk may go.
    pub mode: CrashMode,
    /// Options of the engine.
    pub options: EngineOptions<I::Config>,
    /// What is done. The database was just made.
    pub run: fn(Drive<MemFs, I>),
}

/// The disk of a usual host.
pub const USUAL: Capabilities =
    Capabilities { maps: true, atomic_rename: true, directory_sync: true, hard_links: true };

/// One kind of image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Cut(CrashImage, u64),
}

/// The last ones are for full runs.
const KINDS: [(&str, Kind); 12] = [
    ("kill", Kind::Kill),
    ("none", Kind::Cut(CrashImage::None, 0)),
    ("all", Kind::Cut(CrashImage::All, 1)),
    ("one-not", Kind::Cut(CrashImage::AllButOne, 2)),
    ("one-only", Kind::Cut(CrashImage::OneOnly, 3)),
    ("random1", Kind::Cut(CrashImage::Random, 4)),
    ("random2", Kind::Cut(CrashImage::Random, 5)),
    ("random3", Kind::Cut(CrashImage::Random, 6)),
    ("random4", Kind::Cut(CrashImage::Random, 7)),
    ("random5", Kind::Cut(CrashImage::Random, 8)),
    ("one-not2", Kind::Cut(CrashImage::AllButOne, 9)),
    ("one-only2", Kind::Cut(CrashImage::OneOnly, 10)),
];
/// Of these in a slice.
const SLICE_KINDS: usize = 7;

fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn image(fs: &MemFs, kind: Kind, mode: CrashMode, seed: u64) -> MemFs {
    match kind {
        Kind::Kill => fs.kill_clone(),
        Kind::Cut(image, n) => fs.crash_clone(mix(seed, n), mode, image),
    }
}

/// An image to check.
struct Job {
    fs: MemFs,
    kind: Kind,
    mark: Mark,
    seed: u64,
    /// `call.image`, nested with `/`.
    case: String,
    what: String,
}

/// Everything the checkers share.
struct Checker<'a, I: MemIndex> {
    workload: &'a Workload<I>,
    kinds: &'static [(&'static str, Kind)],
    track: Track,
    only: Option<String>,
    images: AtomicUsize,
    failures: Mutex<Vec<String>>,
    failed: Arc<AtomicUsize>,
}

impl<I: MemIndex> Checker<'_, I> {
    /// Is this case, or one below it, wanted?
    fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|only| {
            only == case || only.strip_prefix(case).is_some_and(|rest| rest.starts_with('/'))
        })
    }

    fn check(&self, job: &Job, depth: usize) -> Option<Recovered> {
        let before = job.fs.kill_clone();
        let question = Question::<I> {
            options: &self.workload.options,
            track: &self.track,
            mark: &job.mark,
            origin: if job.kind == Kind::Kill { Origin::Killed } else { Origin::PowerCut },
            seed: job.seed,
            mode: self.workload.mode,
        };
        self.images.fetch_add(1, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| question.verify(&job.fs)));
        let result = result.unwrap_or_else(|panic| Err(format!("panic: {}", text_of(panic))));
        match result {
            Ok(found) => {
                let chosen = if depth == 1 { job.seed % 10 == 3 } else { job.seed % 4 == 1 };
                let replay = self.only.as_ref().is_some_and(|only| only != &job.case);
                if depth <= DEPTH_MAX && (chosen || replay) {
                    self.deeper(job, &before, found, depth);
                }
                Some(found)
            }
            Err(error) => {
                self.fail(job, &error);
                None
            }
        }
    }

    fn fail(&self, job: &Job, error: &str) {
        let count = self.failed.fetch_add(1, Ordering::Relaxed);
        if count < FAILURES_MAX {
            let name = self.workload.name;
            let text = format!(
                "{name}, {what}: {error}\n    {}",
                replay("crash", &format!("{name}/{}", job.case)),
                what = job.what,
            );
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    /// Crashes during the recovery of `before`.
    fn deeper(&self, job: &Job, before: &MemFs, found: Recovered, depth: usize) {
        let open = |fs: &MemFs| {
            Engine::<MemFs, I>::open(fs.clone(), DIR, self.workload.options.clone(), environment()).map(drop)
        };
        let counted = before.kill_clone();
        if open(&counted).is_err() {
            return self.fail(job, "the second recovery of the same image fails");
        }
        let calls = counted.calls();
        let mut chosen = [mix(job.seed, 11), mix(job.seed, 12)].map(|n| n % calls.max(1)).to_vec();
        chosen.dedup();
        let fs = before.kill_clone();
        let jobs = Arc::new(Mutex::new(Vec::new()));
        let steps = self.track.steps_up_to(job.mark.epoch, found.last).0;
        // A crash image is at rest: nothing of it can be lost any more. A killed process leaves more to lose.
        let synced = if job.kind == Kind::Kill { job.mark.synced } else { steps };
        let mark = Mark { synced, acknowledged: steps, registered: steps, ..job.mark.clone() };
        let hook = {
            let (jobs, fs, case, what) = (Arc::clone(&jobs), fs.clone(), job.case.clone(), job.what.clone());
            let (mode, base, replay) = (self.workload.mode, job.seed, self.only.is_some());
            let kinds = self.kinds;
            move |call: u64, op: &str, path: &str| {
                if !replay && !chosen.contains(&call) {
                    return;
                }
                for (n, &(name, kind)) in kinds.iter().enumerate() {
                    let seed = mix(base, call * 16 + n as u64);
                    if !replay && kind != Kind::Kill && !seed.is_multiple_of(5) {
                        continue;
                    }
                    let mut mark = mark.clone();
                    if kind != Kind::Kill && mark.synced < steps {
                        // Within one recovery nothing is acknowledged.
                        mark.acknowledged = mark.synced;
                    }
                    let job = Job {
                        fs: image(&fs, kind, mode, seed),
                        kind,
                        mark,
                        seed,
                        case: format!("{case}/{call}.{name}"),
                        what: format!("{what}, then {name} before call {call} of its recovery ({op} {path})"),
                    };
                    jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
                }
            }
        };
        fs.set_call_hook(Box::new(hook));
        let opened = open(&fs);
        fs.clear_call_hook();
        if opened.is_err() {
            return self.fail(job, "the third recovery of the same image fails");
        }
        let jobs = std::mem::take(&mut *jobs.lock().unwrap_or_else(PoisonError::into_inner));
        for job in jobs {
            if self.wants(&job.case) {
                self.check(&job, depth + 1);
            }
        }
    }

    fn drain(&self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return };
            if self.wants(&job.case) && self.failed.load(Ordering::Relaxed) < FAILURES_ENOUGH {
                self.check(&job, 1);
            }
        }
    }
}

/// The seed of this run.
fn seed() -> u64 {
    std::env::var("NOKV_CRASH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// The case to run alone: its workload and the rest.
fn only() -> Option<(String, String)> {
    let case = picked_of("crash")?;
    let (workload, rest) = case.split_once('/').unwrap_or((&case, ""));
    Some((workload.to_owned(), rest.to_owned()))
}

/// Runs a workload and checks its images; gives their number.
///
/// # Panics
/// When a rule does not hold of an image.
pub fn run<I: MemIndex>(workload: &Workload<I>, scale: Scale) -> u64 {
    let only = only();
    if only.as_ref().is_some_and(|(name, _)| name != workload.name) {
        return 0;
    }
    let alone = only.is_some();
    let fs = MemFs::with_capabilities(workload.capabilities);
    let track = Track::new();
    let checker = Checker {
        workload,
        kinds: if alone { &KINDS } else { scale.pick(&KINDS[..SLICE_KINDS], &KINDS) },
        track: track.clone(),
        only: only.map(|(_, case)| case).filter(|case| !case.is_empty()),
        images: AtomicUsize::new(0),
        failures: Mutex::new(Vec::new()),
        failed: Arc::default(),
    };
    let (send, receive) = sync_channel::<Job>(64);
    let receive = Mutex::new(receive);
    std::thread::scope(|scope| {
        for _ in 0..CHECKERS {
            scope.spawn(|| checker.drain(&receive));
        }
        let hook = {
            let (fs, track, mode, seed) = (fs.clone(), track.clone(), workload.mode, seed());
            let (kinds, failed) = (checker.kinds, Arc::clone(&checker.failed));
            move |call: u64, op: &str, path: &str| {
                if failed.load(Ordering::Relaxed) >= FAILURES_ENOUGH {
                    return;
                }
                let mark = track.mark();
                for (n, &(name, kind)) in kinds.iter().enumerate() {
                    let seed = mix(seed, call * 16 + n as u64);
                    let job = Job {
                        fs: image(&fs, kind, mode, seed),
                        kind,
                        mark: mark.clone(),
                        seed,
                        case: format!("{call}.{name}"),
                        what: format!("{name} before call {call} ({op} {path})"),
                    };
                    let _ = send.send(job);
                }
            }
        };
        fs.set_call_hook(Box::new(hook));
        let drive = catch_unwind(AssertUnwindSafe(|| {
            (workload.run)(Drive::new(fs.clone(), workload.options.clone(), track.clone()));
        }));
        // Drops the sender: the checkers come to an end.
        fs.clear_call_hook();
        if let Err(panic) = drive {
            std::panic::resume_unwind(panic);
        }
    });
    let images = checker.images.load(Ordering::Relaxed);
    let failed = checker.failed.load(Ordering::Relaxed);
    say(&format!("{}: {} calls, {} steps, {images} images", workload.name, fs.calls(), track.len()));
    let failures = checker.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "{failed} of {images} images break a rule:\n{}", failures.join("\n"));
    assert!(images >= IMAGES_MIN || alone, "only {images} images");
    images as u64
}
