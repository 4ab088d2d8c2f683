//! Value-log collection: the worst segments' live values move to the head, by merging exactly the tables that
//! name them. Nothing goes through the write path, so there is nothing to race with.
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. victims chosen among sealed segments | nothing |
//! | b. memtables that name them flushed | tables that name them |
//! | c. each table that names one merged in its place: value to the head, same key, version, seq | as a compaction: new bytes are synced before the manifest edit |
//! | d. manifest edit {remove segment}, when nothing names it | the file, unlinked by the next open |
//! | e. file unlinked | nothing to do |
//!
//! A writer that appended a value before its segment was sealed may publish the pointer after step a. Step b
//! therefore waits until every writer that was in flight then has left: [`crate::Error::Busy`] until it has.

use alloc::vec::Vec;

use nokv_formats::manifest::Edit;
use nokv_formats::vlog::SEGMENT_HEADER_BYTES;
use nokv_formats::{KeyRef, ValuePtr, Version};

use crate::compact::run::Relocate;
use crate::compact::{Input, Place};
use crate::engine::{Engine, Install};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::sync::Ordering;
use crate::vfs::Vfs;
use crate::vlog::SegmentInfo;

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
}

/// A collection under way: the host drives it with [`Engine::gc_step`].
pub struct Collection {
    victims: Vec<(SegmentId, u64)>,
    barrier: u64,
    moved_bytes: u64,
}

/// What a step of a collection says.
pub enum GcStep {
    /// Writers that were in flight must leave first, or memtables be flushed first: run flushes, then step
    /// again.
    Wait,
    /// One table was merged; step again.
    Again,
    /// Done.
    Done(GcReport),
}

struct Mover<'e, V: Vfs, I: MemIndex> {
    engine: &'e Engine<V, I>,
    victims: &'e [(SegmentId, u64)],
    moved_bytes: u64,
}

impl<V: Vfs, I: MemIndex> Relocate for Mover<'_, V, I> {
    fn relocate(&mut self, key: KeyRef<'_>, version: Version, ptr: &ValuePtr) -> Result<Option<ValuePtr>> {
        let from = (ptr.bucket, ptr.segment);
        if !self.victims.iter().any(|(victim, _)| *victim == from) {
            return Ok(None);
        }
        let value = self.engine.vlog.read(ptr, key, version)?;
        self.moved_bytes += value.len() as u64;
        self.engine.signals.background_io(value.len() as u64);
        let hot = ptr.bucket < self.engine.options.value_log_hot_buckets;
        self.engine.vlog.append(key.cf, key.user_key, version, &value, hot).map(Some)
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Live bytes of each segment, as tables and memtables say.
    pub fn value_log_live(&self) -> alloc::collections::BTreeMap<SegmentId, u64> {
        let view = self.view();
        let mut live = alloc::collections::BTreeMap::new();
        for table in view.tables.tables() {
            for l in &table.meta().props.live {
                *live.entry((l.bucket, l.segment)).or_default() += l.bytes;
            }
        }
        for memtable in view.memtables() {
            for (id, bytes) in memtable.live() {
                *live.entry(id).or_default() += bytes;
            }
        }
        live
    }

    /// Starts a collection of the segments whose dead share is at least `discard_ratio`.
    ///
    /// # Errors
    /// [`Error::GcRejected`] while one is running; [`Error::NothingToCollect`]; [`Error::InvalidArgument`]
    /// for a ratio that is not between 0 and 1.
    pub fn gc_start(&self, discard_ratio: f64) -> Result<Collection> {
        self.check_writable()?;
        if !(discard_ratio > 0.0 && discard_ratio < 1.0) {
            return Err(Error::InvalidArgument(alloc::format!(
                "discard_ratio {discard_ratio} is not between 0 and 1"
            )));
        }
        if self.gc_running.swap(true, Ordering::AcqRel) {
            return Err(Error::GcRejected);
        }
        let victims = self.choose_victims(discard_ratio);
        if victims.is_empty() {
            self.gc_running.store(false, Ordering::Release);
            return Err(Error::NothingToCollect);
        }
        // Victims are sealed: writers that enter from now on append elsewhere.
        let barrier = self.in_flight.lock().barrier();
        Ok(Collection { victims, barrier, moved_bytes: 0 })
    }

    fn choose_victims(&self, discard_ratio: f64) -> Vec<(SegmentId, u64)> {
        let live = self.value_log_live();
        let dead_share = |s: &SegmentInfo| {
            let bytes = s.size.saturating_sub(SEGMENT_HEADER_BYTES);
            let alive = live.get(&(s.bucket, s.segment)).copied().unwrap_or(0);
            if bytes == 0 { 1.0 } else { bytes.saturating_sub(alive) as f64 / bytes as f64 }
        };
        let gone = self.retired.lock().segments.clone();
        let segments: Vec<SegmentInfo> =
            self.vlog.segments().into_iter().filter(|s| !gone.contains(&(s.bucket, s.segment))).collect();
        // A head with enough dead bytes is left for a new one, so that a manual call can empty the log.
        let is_worth = |s: &&SegmentInfo| s.size > SEGMENT_HEADER_BYTES && dead_share(s) >= discard_ratio;
        if segments.iter().filter(|s| s.head).any(|s| is_worth(&s)) {
            self.vlog.seal_heads();
        }
        let heads: Vec<SegmentId> =
            self.vlog.segments().iter().filter(|s| s.head).map(|s| (s.bucket, s.segment)).collect();
        let mut victims: Vec<_> = segments
            .iter()
            .filter(|s| !heads.contains(&(s.bucket, s.segment)))
            .map(|s| (dead_share(s), (s.bucket, s.segment), s.size))
            .filter(|(dead, ..)| *dead >= discard_ratio)
            .collect();
        victims.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        victims.into_iter().map(|(_, id, bytes)| (id, bytes)).collect()
    }

    /// One step of a collection. After an error the collection is over.
    ///
    /// # Errors
    /// What a merge meets.
    pub fn gc_step(&self, gc: &mut Collection) -> Result<GcStep> {
        let result = self.gc_step_inner(gc);
        if !matches!(result, Ok(GcStep::Wait | GcStep::Again)) {
            self.gc_running.store(false, Ordering::Release);
        }
        if let Err(error) = &result
            && !super::background::is_passing(error)
            && !matches!(error, Error::ReadOnly(_) | Error::Closed)
        {
            self.poison(error);
        }
        result
    }

    /// Gives a collection up; what was moved stays moved.
    pub fn gc_abandon(&self, gc: Collection) {
        drop(gc);
        self.gc_running.store(false, Ordering::Release);
    }

    fn gc_step_inner(&self, gc: &mut Collection) -> Result<GcStep> {
        self.check_writable()?;
        if !self.in_flight.lock().passed(gc.barrier) {
            return Ok(GcStep::Wait);
        }
        let view = self.view();
        let named = |m: &&crate::sync::Arc<crate::memtable::Memtable<I>>| {
            gc.victims.iter().any(|(v, _)| m.names_segment(v.0, v.1))
        };
        if named(&&view.active) {
            match self.rotate_memtable() {
                Ok(()) | Err(Error::Busy(_)) => {}
                Err(error) => return Err(error),
            }
            self.signals.work_ready();
            return Ok(GcStep::Wait);
        }
        if view.sealed.iter().any(|m| named(&m)) {
            return Ok(GcStep::Wait);
        }
        let names =
            |live: &nokv_formats::VlogLive| gc.victims.iter().any(|(v, _)| *v == (live.bucket, live.segment));
        let Some(input) = first_that_names(&view.tables, names) else {
            return self.gc_finish(gc).map(GcStep::Done);
        };
        let Some(token) = self.claim_rewrite(input) else { return Ok(GcStep::Wait) };
        let mut mover = Mover { engine: self, victims: &gc.victims, moved_bytes: 0 };
        let result =
            self.merge_tables(&[input], Place { level: input.level, ingest: input.ingest }, &mut mover);
        let moved = mover.moved_bytes;
        self.install.lock().busy.release(token);
        result?;
        gc.moved_bytes += moved;
        Ok(GcStep::Again)
    }

    fn gc_finish(&self, gc: &Collection) -> Result<GcReport> {
        let mut install = self.install.lock();
        let named: Vec<_> = gc
            .victims
            .iter()
            .filter(|(v, _)| install.manifest.state().vlog_segments.contains_key(v))
            .collect();
        let edits: Vec<Edit> = named
            .iter()
            .map(|((bucket, segment), _)| Edit::VlogRemove { bucket: *bucket, segment: *segment })
            .collect();
        if !edits.is_empty() {
            self.record(&mut install, &edits, true)?;
        }
        self.retired.lock().segments.extend(gc.victims.iter().map(|(victim, _)| *victim));
        drop(install);
        let report = GcReport {
            segments: gc.victims.len() as u64,
            bytes: gc.victims.iter().map(|(_, bytes)| bytes).sum(),
            moved_bytes: gc.moved_bytes,
        };
        self.counters.collected(report.segments);
        self.remove_retired()?;
        Ok(report)
    }

    /// Unlinks value-log segments that retired, once no retired table or memtable that names them is read.
    pub(crate) fn remove_dead_segments(&self) -> Result<()> {
        let free: Vec<SegmentId> = {
            let retired = self.retired.lock();
            let by_tables = |id: &SegmentId| {
                retired
                    .tables
                    .iter()
                    .any(|t| t.meta().props.live.iter().any(|l| (l.bucket, l.segment) == *id))
            };
            let by_memtables = |id: &SegmentId| retired.memtables.iter().any(|m| m.names_segment(id.0, id.1));
            retired.segments.iter().filter(|id| !by_tables(id) && !by_memtables(id)).copied().collect()
        };
        for id in free {
            self.vlog.remove_segment(id.0, id.1)?;
            self.retired.lock().segments.retain(|s| *s != id);
        }
        Ok(())
    }

    /// Makes the value log durable; gives the segments whose names and bytes, up to the call, are durable now.
    pub(crate) fn sync_values(&self) -> Result<Vec<SegmentInfo>> {
        let mut segments = self.vlog.segments();
        self.vlog.sync()?;
        let after = self.vlog.segments();
        for s in &mut segments {
            // A segment that was left meanwhile may have bytes that the sync did not cover.
            let now = after.iter().find(|now| (now.bucket, now.segment) == (s.bucket, s.segment));
            s.settled = now.is_some_and(|now| now.settled);
            s.size = now.map_or(s.size, |now| now.size);
        }
        Ok(segments)
    }

    /// Those of `segments` that no collection took out of the manifest since they were listed. None leaves while
    /// `_install` is held.
    pub(crate) fn without_removed(
        &self,
        _install: &Install<V>,
        segments: &[SegmentInfo],
    ) -> Vec<SegmentInfo> {
        // In this order: a segment leaves the value log before it leaves this list.
        let gone = self.retired.lock().segments.clone();
        let there: Vec<SegmentId> = self.vlog.segments().iter().map(|s| (s.bucket, s.segment)).collect();
        let stays = |s: &&SegmentInfo| {
            let id = (s.bucket, s.segment);
            !gone.contains(&id) && there.binary_search(&id).is_ok()
        };
        segments.iter().filter(stays).copied().collect()
    }

    /// Adds edits for what the manifest does not know yet of `durable` segments.
    pub(crate) fn push_value_log_edits(
        &self,
        install: &Install<V>,
        durable: &[SegmentInfo],
        edits: &mut Vec<Edit>,
    ) {
        let state = install.manifest.state();
        for s in self.without_removed(install, durable) {
            let (bucket, segment) = (s.bucket, s.segment);
            let known = state.vlog_segments.get(&(bucket, segment));
            // Collected before a crash, and not swept by an open that cut something: the next one does.
            if known.is_none() && state.vlog_heads.get(&bucket).is_some_and(|head| segment <= *head) {
                continue;
            }
            if s.settled && known.is_none_or(|k| !k.sealed) {
                edits.push(Edit::VlogSegment { bucket, segment, sealed: true, size: s.size });
            } else if known.is_none() {
                // How long it is durable is not known while appends go on.
                edits.push(Edit::VlogSegment { bucket, segment, sealed: false, size: 0 });
            }
            if s.head && state.vlog_heads.get(&bucket).is_none_or(|head| *head < segment) {
                edits.push(Edit::VlogHead { bucket, segment });
            }
        }
    }
}

fn first_that_names<V: Vfs>(
    tables: &crate::read::view::Tables<V>,
    names: impl Fn(&nokv_formats::VlogLive) -> bool,
) -> Option<Input> {
    for (n, level) in tables.levels().iter().enumerate() {
        for (ingest, set) in [(false, &level.tables), (true, &level.ingest)] {
            for table in set {
                if table.meta().props.live.iter().any(&names) {
                    return Some(Input { level: n as u8, ingest, id: table.meta().id });
                }
            }
        }
    }
    None
}
