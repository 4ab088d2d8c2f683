//! Automatic collection: a pass of jobs, one a bucket, when the host's time for it has come.
//!
//! A pass is chosen as a whole and the next one is chosen when all of its jobs ended: so what is moved now is never
//! mistaken for dead because no table names it yet.

use alloc::vec::Vec;

use super::step::CollectStep;
use super::{GcState, Job, ValueLogStep};
use crate::engine::{Engine, Work};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::sync::Ordering;
use crate::vfs::Vfs;
use crate::vlog::{GcLoad, GcPlan, flush_first, jobs_of, pick_automatic};

/// What [`Engine::gc_tick`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcTick {
    /// Nothing is worth collecting.
    Nothing,
    /// The pass before still runs.
    Running,
    /// Something is worth collecting, but flushes and compactions come first.
    Skipped,
    /// So many jobs wait for [`Engine::next_collection`].
    Started(usize),
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// What flushes and compactions have yet to do.
    pub fn gc_load(&self) -> GcLoad {
        self.gc_load_of(&self.scores())
    }

    pub(super) fn gc_load_of(&self, scores: &crate::compact::Scores) -> GcLoad {
        GcLoad { score: scores.max(), backlog: self.view.load().sealed.len() + scores.due() }
    }

    /// Looks for segments that are worth collecting and makes jobs of them. Memtables that may hide dead bytes are
    /// sealed, so that they are counted the next time.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Closed`]; what starting a memtable gives.
    pub fn gc_tick(&self) -> Result<GcTick> {
        self.check_writable()?;
        if self.stopping.load(Ordering::Acquire) {
            return Ok(GcTick::Nothing);
        }
        if self.gc.lock().automatic > 0 {
            return Ok(GcTick::Running);
        }
        let options = &self.options.gc;
        let segment_bytes = self.options.value_log_segment_bytes;
        let stats = self.collectable_segments();
        let log_bytes: u64 = stats.iter().map(|s| s.bytes).sum();
        if flush_first(
            self.values_hidden_by_memtable(log_bytes),
            log_bytes,
            options.discard_ratio,
            segment_bytes,
        ) {
            match self.rotate_memtable() {
                Ok(()) | Err(Error::Busy(_)) => self.signals.work_ready(),
                Err(error) => return Err(error),
            }
        }
        let picked = pick_automatic(&stats, options.discard_ratio, segment_bytes);
        if picked.is_empty() {
            return Ok(GcTick::Nothing);
        }
        match GcPlan::new(options, self.gc_load()) {
            GcPlan::Skip => {
                self.gc_counters.skipped();
                self.signals.value_log(&ValueLogStep::Skipped);
                return Ok(GcTick::Skipped);
            }
            GcPlan::Run { reduced: true, .. } => self.gc_counters.throttled(),
            GcPlan::Run { .. } => {}
        }
        let mut jobs = jobs_of(&picked, segment_bytes);
        {
            let mut gc = self.gc.lock();
            jobs.retain(|bucket, _| !gc.buckets.contains(bucket));
            gc.buckets.extend(jobs.keys());
            gc.automatic += jobs.len();
        }
        let jobs: Vec<Job> = jobs.values().map(|segments| self.gc_job(segments, true)).collect();
        let (jobs, over): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| !job.victims.is_empty());
        let count = jobs.len();
        let mut gc = self.gc.lock();
        over.iter().for_each(|job| gc.end(job));
        gc.queue.extend(jobs);
        drop(gc);
        Ok(if count == 0 { GcTick::Nothing } else { GcTick::Started(count) })
    }

    /// About how many of `log_bytes` the entries of the active memtable may hide: those that it names itself, one
    /// value of the usual length for each delete, all for a range delete. Inline values count nothing: they rarely take the
    /// place of large ones.
    fn values_hidden_by_memtable(&self, log_bytes: u64) -> u64 {
        let view = self.view.load();
        if view.active.has_range_deletes() {
            return log_bytes;
        }
        let (mut bytes, mut pointers) = (0u64, 0u64);
        for table in view.tables.tables() {
            bytes = bytes.saturating_add(table.value_bytes());
            pointers = pointers.saturating_add(table.meta().props.pointers);
        }
        let usual = bytes.checked_div(pointers).unwrap_or(0);
        let named: u64 = view.active.live().values().sum();
        named.saturating_add(view.active.deletes().saturating_mul(usual))
    }

    /// The next step of an automatic collection, claimed for the caller; `None` when there is none now, because
    /// none is due, writers or flushes must come first, or the load is too high.
    pub fn next_collection(&self) -> Option<Work<I>> {
        let waiting = self.gc.lock().queue.len();
        if waiting == 0 || self.stopping.load(Ordering::Acquire) || self.check_writable().is_err() {
            return None;
        }
        let allowed = GcPlan::new(&self.options.gc, self.gc_load()).parallelism();
        for _ in 0..waiting {
            let mut job = take_job(&mut self.gc.lock(), allowed)?;
            match self.gc_next_action(&mut job) {
                Ok(Some(action)) => return Some(Work::Collect(CollectStep::new(job, action))),
                Ok(None) => self.gc.lock().queue.push(job),
                Err(error) => {
                    self.gc.lock().end(&job);
                    if !crate::engine::background::is_passing(&error) {
                        self.poison(&error);
                    }
                }
            }
        }
        None
    }

    /// Do automatic jobs wait or run?
    pub fn has_collections(&self) -> bool {
        self.gc.lock().automatic > 0
    }
}

/// The first job of which a step may run beside the others, when `allowed` may run at once.
fn take_job(gc: &mut GcState, allowed: usize) -> Option<Job> {
    if allowed == 0 {
        return None;
    }
    let may_start = gc.started < allowed;
    let at = gc.queue.iter().position(|job| job.is_started || may_start)?;
    let mut job = gc.queue.remove(at);
    if !job.is_started {
        job.is_started = true;
        gc.started += 1;
    }
    Some(job)
}
