//! The steps of a job: verify, merge one table, take segments out of the manifest.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use nokv_formats::manifest::Edit;
use nokv_formats::{KeyRef, ValuePtr, Version};

use super::{Job, SegmentId, ValueLogStep, Victim};
use crate::compact::run::Relocate;
use crate::compact::{Input, Place, Ticket};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::memtable::Memtable;
use crate::planted::{self, Bug};
use crate::read::view::Tables;
use crate::sync::{Arc, Ordering};
use crate::vfs::Vfs;

/// What a job does next.
#[derive(Debug)]
pub(super) enum Action {
    /// Read a sample of each victim.
    Verify,
    /// Merge a table in its place.
    Merge(Input, Ticket),
    /// Nothing names these any more.
    Remove(Vec<Victim>),
}

/// A step of an automatic collection.
#[derive(Debug)]
pub struct CollectStep(Box<(Job, Action)>);

impl CollectStep {
    pub(super) fn new(job: Job, action: Action) -> Self {
        Self(Box::new((job, action)))
    }
}

/// Moves values out of victims.
struct Mover<'e, V: Vfs, I: MemIndex> {
    engine: &'e Engine<V, I>,
    victims: Arc<BTreeSet<SegmentId>>,
    moved_bytes: u64,
    /// A record as it is read.
    record: Vec<u8>,
    /// The segment of a value that cannot be read, and why.
    damaged: Option<(SegmentId, Error)>,
}

impl<V: Vfs, I: MemIndex> Relocate for Mover<'_, V, I> {
    fn relocate(&mut self, key: KeyRef<'_>, version: Version, ptr: &ValuePtr) -> Result<Option<ValuePtr>> {
        let from = (ptr.bucket, ptr.segment);
        if !self.victims.contains(&from) {
            return Ok(None);
        }
        let engine = self.engine;
        // Values may be large: looked at for each.
        if engine.stopping.load(Ordering::Relaxed) {
            return Err(Error::Busy("the database closes"));
        }
        let value_at = engine.vlog.read_into(ptr, key, version, &mut self.record).inspect_err(|error| {
            if matches!(error, Error::Corrupt { .. }) {
                self.damaged = Some((from, error.clone()));
            }
        })?;
        let value = self.record.get(value_at..).unwrap_or(&[]);
        self.moved_bytes += value.len() as u64;
        engine.signals.collection_io(value.len() as u64);
        let hot = ptr.bucket < engine.options.value_log_hot_buckets;
        let moved = engine.vlog.append(key.cf, key.user_key, version, value, hot)?;
        engine.tell_rotations();
        Ok(Some(moved))
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// What `job` can do now; `None` while writers, flushes or compactions are in the way.
    pub(super) fn gc_next_action(&self, job: &mut Job) -> Result<Option<Action>> {
        if !self.in_flight.lock().passed(job.barrier) {
            return Ok(None);
        }
        self.gc_drop_refused(job);
        if job.victims.is_empty() {
            return Ok(Some(Action::Remove(Vec::new())));
        }
        if !job.verified {
            return Ok(Some(Action::Verify));
        }
        let view = self.view();
        let named = |m: &Arc<Memtable<I>>| job.victims.iter().any(|v| m.names_segment(v.id.0, v.id.1));
        if named(&view.active) {
            match self.rotate_memtable() {
                Ok(()) | Err(Error::Busy(_)) => {}
                Err(error) => return Err(error),
            }
            self.signals.work_ready();
            return Ok(None);
        }
        if view.sealed.iter().any(named) {
            return Ok(None);
        }
        let is_victim = |id: &SegmentId| job.victims.iter().any(|v| v.id == *id);
        let mut named: BTreeSet<SegmentId> = BTreeSet::new();
        let mut claimed = None;
        for input in tables_that_name(&view.tables, is_victim, &mut named) {
            claimed = self.claim_rewrite(input).map(|token| (input, token));
            if claimed.is_some() {
                break;
            }
        }
        // What nothing names goes first: it makes room, and needs none.
        let free: Vec<Victim> = job.victims.iter().filter(|v| !named.contains(&v.id)).copied().collect();
        if !free.is_empty() {
            if let Some((_, token)) = claimed {
                self.install.lock().busy.release(token);
            }
            return Ok(Some(Action::Remove(free)));
        }
        Ok(claimed.map(|(input, token)| Action::Merge(input, token)))
    }

    /// Runs what [`Engine::gc_next_action`] gave.
    pub(super) fn gc_run_action(&self, job: &mut Job, action: Action) -> Result<()> {
        match action {
            Action::Verify => self.gc_verify(job),
            Action::Merge(input, token) => self.gc_merge(job, input, token),
            Action::Remove(victims) => self.gc_remove(job, &victims),
        }
    }

    fn gc_merge(&self, job: &mut Job, input: Input, token: Ticket) -> Result<()> {
        // Nothing names what is moved before the outputs are installed: other jobs must know of that.
        let in_flight = self.enter_flight();
        let victims = self.gc.lock().moving.clone();
        let mut mover = Mover { engine: self, victims, moved_bytes: 0, record: Vec::new(), damaged: None };
        let place = match planted::is(Bug::CollectionOnTop) {
            true => Place { level: 0, ingest: false },
            false => Place { level: input.level, ingest: input.ingest },
        };
        let result = self.merge_tables(&[input], place, &mut mover);
        drop(in_flight);
        self.install.lock().busy.release(token);
        let (moved_bytes, damaged) = (mover.moved_bytes, mover.damaged);
        if let (Err(_), Some((id, error))) = (&result, damaged) {
            // The value stays where it is, unreadable as it was; what else there is goes on.
            self.counters.background_error();
            self.gc_leave_damaged(id, &error);
            return Ok(());
        }
        result?;
        job.report.moved_bytes += moved_bytes;
        self.gc_counters.moved(moved_bytes);
        self.signals.value_log(&ValueLogStep::Merged { moved_bytes });
        Ok(())
    }

    fn gc_remove(&self, job: &mut Job, victims: &[Victim]) -> Result<()> {
        let mut install = self.install.lock();
        let state = install.manifest.state();
        let edits: Vec<Edit> = victims
            .iter()
            .filter(|v| state.vlog_segments.contains_key(&v.id))
            .map(|v| Edit::VlogRemove { bucket: v.id.0, segment: v.id.1 })
            .collect();
        if !edits.is_empty() {
            self.record(&mut install, &edits, true)?;
        }
        self.retired.lock().segments.extend(victims.iter().map(|v| v.id));
        drop(install);
        job.victims.retain(|v| !victims.iter().any(|gone| gone.id == v.id));
        job.report.segments += victims.len() as u64;
        job.report.bytes += victims.iter().map(|v| v.bytes).sum::<u64>();
        for v in victims {
            let (bucket, segment) = v.id;
            self.signals.value_log(&ValueLogStep::Collected { bucket, segment, bytes: v.bytes });
        }
        self.remove_retired()
    }

    /// All victims of the job went, or are left alone.
    pub(super) fn gc_ended(&self, job: &Job) {
        self.counters.collected(job.report.segments);
        self.signals.value_log(&ValueLogStep::Ended { buckets: job.buckets.clone(), report: job.report });
    }

    /// Runs a step of an automatic collection; the job goes back where it came from unless it is over.
    pub(crate) fn run_collect(&self, step: CollectStep) -> Result<()> {
        let (mut job, action) = *step.0;
        let result = self.gc_run_action(&mut job, action);
        match &result {
            Ok(()) if job.victims.is_empty() => {
                self.gc_ended(&job);
                self.gc.lock().end(&job);
            }
            // Given up for a close, or to be tried again.
            Ok(()) | Err(Error::Busy(_)) => self.gc.lock().queue.insert(0, job),
            Err(_) => self.gc.lock().end(&job),
        }
        self.signals.work_ready();
        result
    }

    /// Tells the host of new heads.
    #[inline]
    pub(crate) fn tell_rotations(&self) {
        for rotation in self.vlog.take_rotations() {
            self.signals.value_log(&ValueLogStep::Rotated(rotation));
        }
    }
}

/// The tables that name a victim; adds the victims that they name to `named`.
fn tables_that_name<V: Vfs>(
    tables: &Tables<V>,
    is_victim: impl Fn(&SegmentId) -> bool,
    named: &mut BTreeSet<SegmentId>,
) -> Vec<Input> {
    let mut found = Vec::new();
    for source in tables.sources() {
        let live = &source.table.meta().props.live;
        let mut names_any = false;
        for id in live.iter().map(|l| (l.bucket, l.segment)).filter(&is_victim) {
            names_any = true;
            named.insert(id);
        }
        if names_any {
            let id = source.table.meta().id;
            found.push(Input { level: source.level, ingest: source.ingest, id });
        }
    }
    found
}
