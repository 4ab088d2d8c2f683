//! Value-log collection: live values of dead segments move to the head, by merging exactly the tables that name them.
//! Nothing goes through the write path, so there is nothing to race with.
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. victims chosen among sealed segments | nothing |
//! | b. writers in flight left, memtables that name victims flushed, a sample of each verified | tables that name them |
//! | c. each table that names one merged in its place: value to the head, same key, version, seq | as a compaction: new bytes are synced before the manifest edit |
//! | d. manifest edit {remove segment}, when nothing names it | the file, unlinked by the next open |
//! | e. file unlinked | nothing to do |
//!
//! 1. A *job* collects segments of one bucket (that of a manual call: of all). A bucket has one job at most.
//! 2. A writer that appended a value before its segment was sealed may publish the pointer after step a, and so may a
//!    merge of another job that moves values. Both count as *in flight*; step b waits until all that were at step a have left.
//! 3. A table that is merged gives up the values of every verified victim, whichever job it is for: jobs of all
//!    buckets together rewrite each table about once.
//! 4. Victims are chosen first and their buckets registered then; what another job freed in between is left out. From
//!    then on segments of these buckets leave by this job only.
//! 5. The host calls [`Engine::gc_tick`] at its interval, and runs what [`Engine::next_collection`] hands out on as
//!    many threads as it likes. A step is one table. Between steps the plan is made again: under load nothing is handed out.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::sync::Arc;
use crate::vfs::Vfs;
use crate::vlog::{Sampled, SegmentUse};

mod pass;
mod segments;
mod stats;
mod step;
mod verify;

pub use pass::GcTick;
pub(crate) use stats::GcCounters;
pub use stats::{GcStats, HeadInfo};
pub(crate) use step::CollectStep;
pub use verify::{Contradiction, Refusal};

/// A value-log segment: bucket and number.
pub type SegmentId = (u16, u32);

/// What a collection freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Segments that nothing names any more. Their files go when the last reader leaves.
    pub segments: u64,
    /// Bytes of those segments.
    pub bytes: u64,
    /// Bytes of live values that were moved.
    pub moved_bytes: u64,
    /// Segments that were left alone, because what is believed of them is not what a sample shows.
    pub refused: u64,
}

/// What a step of a collection says.
#[derive(Debug)]
pub enum GcStep {
    /// Writers that were in flight must leave first, or memtables be flushed first: run flushes, then step
    /// again.
    Wait,
    /// Something was done; step again.
    Again,
    /// Done.
    Done(GcReport),
}

/// A segment to collect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Victim {
    pub(crate) id: SegmentId,
    pub(crate) bytes: u64,
}

impl From<&SegmentUse> for Victim {
    fn from(s: &SegmentUse) -> Self {
        Self { id: (s.bucket, s.segment), bytes: s.bytes }
    }
}

/// Segments that are collected together.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) buckets: Vec<u16>,
    /// Those that are still there.
    pub(crate) victims: Vec<Victim>,
    /// All, those that went included.
    all: Vec<SegmentId>,
    barrier: u64,
    verified: bool,
    is_automatic: bool,
    is_started: bool,
    pub(crate) report: GcReport,
}

/// A manual collection under way: its caller drives it with [`Engine::gc_step`].
#[derive(Debug)]
pub struct Collection {
    job: Job,
}

/// What the jobs of a database share. Behind a leaf lock.
#[derive(Default)]
pub(crate) struct GcState {
    /// Buckets that have a job.
    buckets: BTreeSet<u16>,
    /// Automatic jobs of which no step runs.
    queue: Vec<Job>,
    /// Automatic jobs that have not ended, and those of them that were started.
    automatic: usize,
    started: usize,
    /// Manual collections that have not ended.
    manual: usize,
    /// Verified victims of all jobs.
    moving: Arc<BTreeSet<SegmentId>>,
    refused: BTreeMap<SegmentId, Refusal>,
    /// Counts samples, so that each starts at another place.
    turn: u64,
    last_sample: Option<(SegmentId, Sampled)>,
}

impl GcState {
    fn end(&mut self, job: &Job) {
        for bucket in &job.buckets {
            self.buckets.remove(bucket);
        }
        let moving = Arc::make_mut(&mut self.moving);
        moving.retain(|id| !job.all.contains(id));
        if job.is_automatic {
            self.automatic = self.automatic.saturating_sub(1);
            self.started = self.started.saturating_sub(usize::from(job.is_started));
        } else {
            self.manual = self.manual.saturating_sub(1);
        }
    }

    /// `segment` is left alone from now on.
    fn refuse(&mut self, id: SegmentId, refusal: Refusal) {
        Arc::make_mut(&mut self.moving).remove(&id);
        self.refused.entry(id).or_insert(refusal);
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Starts a collection of all segments whose dead share is at least `discard_ratio`, but for those of buckets
    /// that have a job.
    ///
    /// # Errors
    /// [`Error::GcRejected`] if all of those buckets have one; [`Error::NothingToCollect`];
    /// [`Error::InvalidArgument`] for a ratio that is not between 0 and 1.
    pub fn gc_start(&self, discard_ratio: f64) -> Result<Collection> {
        self.check_writable()?;
        if !(discard_ratio > 0.0 && discard_ratio < 1.0) {
            return Err(Error::InvalidArgument(alloc::format!(
                "discard_ratio {discard_ratio} is not between 0 and 1"
            )));
        }
        let mut picked = crate::vlog::pick_victims(&self.collectable_segments(), discard_ratio);
        {
            let mut gc = self.gc.lock();
            if picked.is_empty() {
                // What is not there may be on its way out.
                let running = gc.manual > 0;
                return Err(if running { self.gc_reject() } else { Error::NothingToCollect });
            }
            picked.retain(|s| !gc.buckets.contains(&s.bucket));
            if picked.is_empty() {
                return Err(self.gc_reject());
            }
            gc.buckets.extend(picked.iter().map(|s| s.bucket));
            gc.manual += 1;
        }
        let job = self.gc_job(&picked, false);
        if job.victims.is_empty() {
            self.gc.lock().end(&job);
            return Err(Error::NothingToCollect);
        }
        Ok(Collection { job })
    }

    fn gc_reject(&self) -> Error {
        self.gc_counters.rejected();
        Error::GcRejected
    }

    /// A job of those of `picked` that are still there. Their buckets are registered.
    fn gc_job(&self, picked: &[SegmentUse], is_automatic: bool) -> Job {
        for s in picked.iter().filter(|s| s.head) {
            self.vlog.seal_head(s.bucket, s.segment);
        }
        // ORDER: victims are sealed, so writers and merges that enter from now on append elsewhere.
        let barrier = self.in_flight.lock().barrier();
        let mut buckets: Vec<u16> = picked.iter().map(|s| s.bucket).collect();
        buckets.sort_unstable();
        buckets.dedup();
        // ORDER: the buckets are registered, so nothing of them leaves from now on but by this job. Another one may have
        // freed some of `picked` since they were chosen, and ended: what is gone must not be taken for damage.
        let there = self.segments_there();
        let victims: Vec<Victim> =
            picked.iter().map(Victim::from).filter(|v| there.iter().any(|s| s.id() == v.id)).collect();
        Job {
            buckets,
            all: victims.iter().map(|v| v.id).collect(),
            victims,
            barrier,
            verified: false,
            is_automatic,
            is_started: false,
            report: GcReport::default(),
        }
    }

    /// One step of a collection. After an error the collection is over.
    ///
    /// # Errors
    /// What a merge meets.
    pub fn gc_step(&self, gc: &mut Collection) -> Result<GcStep> {
        let result = self.gc_step_inner(&mut gc.job);
        if !matches!(result, Ok(GcStep::Wait | GcStep::Again)) {
            self.gc.lock().end(&gc.job);
        }
        if let Err(error) = &result
            && !super::background::is_passing(error)
            && !matches!(error, Error::ReadOnly(_) | Error::Closed)
        {
            self.poison(error);
        }
        result
    }

    fn gc_step_inner(&self, job: &mut Job) -> Result<GcStep> {
        self.check_writable()?;
        let Some(action) = self.gc_next_action(job)? else { return Ok(GcStep::Wait) };
        self.gc_run_action(job, action)?;
        if !job.victims.is_empty() {
            return Ok(GcStep::Again);
        }
        self.gc_ended(job);
        Ok(GcStep::Done(job.report))
    }

    /// Gives a collection up; what was moved stays moved.
    pub fn gc_abandon(&self, gc: Collection) {
        self.gc.lock().end(&gc.job);
    }

    /// Segments that collection leaves alone, because what is believed of them is not what a sample shows.
    pub fn gc_refusals(&self) -> Vec<Refusal> {
        self.gc.lock().refused.values().cloned().collect()
    }
}

/// One thing that happened to the value log, for reports: see [`crate::heat::Signals::value_log`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueLogStep {
    /// A bucket got a new head.
    Rotated(crate::vlog::Rotation),
    /// A collection started.
    Started {
        /// Its buckets.
        buckets: Vec<u16>,
        /// Segments that it collects.
        segments: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// A table was merged.
    Merged {
        /// Bytes of values that moved out of victims.
        moved_bytes: u64,
    },
    /// A segment is left alone.
    Refused(Refusal),
    /// Nothing names a segment any more.
    Collected {
        /// Its bucket.
        bucket: u16,
        /// Its number.
        segment: u32,
        /// Its bytes.
        bytes: u64,
    },
    /// The file of a segment was unlinked.
    Removed {
        /// Its bucket.
        bucket: u16,
        /// Its number.
        segment: u32,
    },
    /// A collection ended.
    Ended {
        /// Its buckets.
        buckets: Vec<u16>,
        /// What it freed.
        report: GcReport,
    },
    /// Automatic collection did not start under load.
    Skipped,
}

impl core::fmt::Display for ValueLogStep {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Rotated(r) => {
                write!(f, "bucket {} has the new head {}", r.bucket, r.segment)?;
                match r.left {
                    Some((segment, bytes)) => {
                        write!(f, " after {segment} of {bytes} bytes, {} values", r.entries)
                    }
                    None => Ok(()),
                }
            }
            Self::Started { buckets, segments, bytes } => {
                write!(f, "collection of {segments} segments, {bytes} bytes, in buckets {buckets:?} started")
            }
            Self::Merged { moved_bytes } => write!(f, "collection moved {moved_bytes} bytes of a table"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Collected { bucket, segment, bytes } => {
                write!(f, "segment {segment} of bucket {bucket}, {bytes} bytes, is named by nothing any more")
            }
            Self::Removed { bucket, segment } => {
                write!(f, "segment {segment} of bucket {bucket} was removed")
            }
            Self::Ended { buckets, report } => write!(
                f,
                "collection in buckets {buckets:?} freed {} segments, {} bytes, and moved {} bytes",
                report.segments, report.bytes, report.moved_bytes
            ),
            Self::Skipped => f.write_str("collection waits for flushes and compactions"),
        }
    }
}

impl ValueLogStep {
    /// As text.
    pub fn describe(&self) -> String {
        self.to_string()
    }
}
