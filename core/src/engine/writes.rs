//! The write path as steps.
//!
//! ```text
//! prepare   large values go to the value log                       any thread
//! log       preconditions, seqs, one log record for the group      the leader, under `commit`
//! apply     insert the own batch into its memtable, publish        each member, in parallel
//! sync_to   make the log durable up to the own record              members that asked for it
//! ```
//! A write is visible when `published` has passed its last seq; the host waits for that before it answers.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::batch::Op;
use nokv_formats::key::key_hash;
use nokv_formats::value_ptr::VALUE_PTR_BYTES;
use nokv_formats::vlog::record_len;
use nokv_formats::{CfId, KeyRef, Kind, Seq, Version, varint};

use crate::engine::{Commit, Engine, background};
use crate::error::{Error, Result};
use crate::formats::envelope;
use crate::index::MemIndex;
use crate::memtable::Memtable;
use crate::planted::{self, Bug};
use crate::read::point;
use crate::read::resolve::Bounds;
use crate::read::view::View;
use crate::sync::{Arc, Ordering};
use crate::vfs::Vfs;
use crate::wal::{Appended, Position, Section};
use crate::write::WriteBatch;

/// A batch that has a place in commit order.
pub struct Ticket<I> {
    number: u64,
    first: Seq,
    last: Seq,
    memtable: Arc<Memtable<I>>,
    /// End of its log record; `None` without one.
    end: Option<Position>,
}

impl<I> Ticket<I> {
    /// The seq of its first operation.
    pub const fn first_seq(&self) -> Seq {
        self.first
    }

    /// The seq of its last operation.
    pub const fn last_seq(&self) -> Seq {
        self.last
    }
}

/// One batch of a group and what came of it.
pub struct Member<'a, I> {
    /// The prepared batch.
    pub batch: &'a WriteBatch,
    /// Writes no log record: the batch may vanish, whole, until it is flushed.
    pub disable_wal: bool,
    /// Set by [`Engine::log`].
    pub outcome: Option<Result<Ticket<I>>>,
}

/// Marks a writer whose values are in the value log while its pointers are not yet published.
pub struct Separated<'e, V: Vfs, I: MemIndex> {
    engine: &'e Engine<V, I>,
    id: u64,
}

impl<V: Vfs, I: MemIndex> Drop for Separated<'_, V, I> {
    fn drop(&mut self) {
        self.engine.in_flight.lock().leave(self.id);
    }
}

/// A batch to log, its large values replaced by pointers, and what keeps their segments meanwhile.
pub type Prepared<'b, 'e, V, I> = (Cow<'b, WriteBatch>, Option<Separated<'e, V, I>>);

/// Are there seqs for one more batch? Only a manifest that lies, or 2^56 writes, can use them up.
pub(super) fn check_seqs(next: Seq) -> Result<()> {
    match next <= Seq::BATCH_START_MAX {
        true => Ok(()),
        false => Err(Error::ReadOnly("its seqs are used up".to_string())),
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Moves large values to the value log. The guard is kept until the batch is published, or given up.
    ///
    /// # Errors
    /// A batch above the limits; what writing to the value log gives.
    pub fn prepare<'b>(&self, batch: &'b WriteBatch) -> Result<Prepared<'b, '_, V, I>> {
        self.check_writable()?;
        let threshold = self.options.separate_from();
        if batch.value_bytes_max() < threshold {
            self.check_bytes(batch, batch.bytes())?;
            return Ok((Cow::Borrowed(batch), None));
        }
        self.check_separated_size(batch, threshold)?;
        let guard = self.enter_flight();
        let mut ops = Vec::with_capacity(batch.bytes().min(64 << 10));
        let mut appended_bytes = 0;
        for op in batch.iter() {
            if op.kind != Kind::Put || op.value.len() < threshold {
                op.encode(&mut ops);
                continue;
            }
            let hot = self.heat.is_hot(op.key);
            let appended = self.vlog.append(op.key.cf, op.key.user_key, op.version, op.value, hot);
            let ptr = appended.inspect_err(|error| self.poison_unless_passing(error))?;
            appended_bytes += record_len(op.key.user_key.len(), ptr.value_len);
            Op { kind: Kind::Pointer, value: &ptr.to_bytes(), ..op }.encode(&mut ops);
        }
        self.tell_rotations();
        let separated = batch.with_ops(ops);
        let out_of_line = batch.bytes().saturating_sub(separated.bytes()) as u64;
        self.counters.shared.separated_bytes.add(out_of_line);
        self.counters.shared.value_log_bytes.add(appended_bytes);
        Ok((Cow::Owned(separated), Some(guard)))
    }

    /// Marks whoever appends to the value log and publishes the pointers later, until the guard is dropped.
    pub(crate) fn enter_flight(&self) -> Separated<'_, V, I> {
        let id = self.in_flight.lock().enter();
        Separated { engine: self, id }
    }

    /// Refuses a batch that would be too large with its large values replaced, before any of them is written.
    fn check_separated_size(&self, batch: &WriteBatch, threshold: usize) -> Result<()> {
        let mut bytes = batch.bytes();
        for op in batch.iter().filter(|op| op.kind == Kind::Put && op.value.len() >= threshold) {
            // Its length and bytes are part of the encoded batch.
            bytes -= varint::len(op.value.len() as u64) + op.value.len();
            bytes += VALUE_PTR_BYTES;
        }
        self.check_bytes(batch, bytes)
    }

    fn check_bytes(&self, batch: &WriteBatch, bytes: usize) -> Result<()> {
        let limit = self.options.memtable_bytes;
        if bytes > limit {
            return Err(Error::BatchTooLarge {
                bytes: bytes as u64,
                count: batch.len() as u64,
                limit: limit as u64,
            });
        }
        Ok(())
    }

    /// Gives the batches of `group` their place in commit order and logs them as one record (or parts of one
    /// where it is longer than a segment). Each member gets a ticket, or the reason why not; a member that is
    /// refused leaves no trace. [`Error::Busy`] for a member: run background work, then try it again;
    /// [`Error::UnknownFamily`]: it names a family that was never made. What it writes to one that was dropped has no effect.
    pub fn log(&self, group: &mut [Member<'_, I>]) {
        let mut commit = self.commit.lock();
        if let Err(error) = self.log_locked(&mut commit, group, &[]) {
            for member in group {
                if !matches!(member.outcome, Some(Err(_))) {
                    member.outcome = Some(Err(error.clone()));
                }
            }
        }
    }

    /// [`Engine::log`], with `extra` sections in the log record of the first batch; gives the last record.
    pub(crate) fn log_locked(
        &self,
        commit: &mut Commit<I>,
        group: &mut [Member<'_, I>],
        extra: &[Section<'_>],
    ) -> Result<Option<Appended>> {
        self.check_writable()?;
        if commit.paused {
            return Err(Error::Busy("an ingest runs"));
        }
        let batch_log = self.batch_log.as_ref().ok_or(Error::Closed)?;
        check_seqs(commit.next_seq)?;
        if commit.active.memory_bytes() >= self.options.memtable_bytes {
            self.rotate_locked(commit)?;
            self.signals.work_ready();
        }
        let first = commit.next_seq;
        let mut next = first;
        let mut number = commit.next_ticket;
        let mut logged = false;
        for i in 0..group.len() {
            let (before, rest) = group.split_at_mut(i);
            let member = &mut rest[0];
            if let Err(error) = self.admit(commit, member.batch, (next, number), before) {
                member.outcome = Some(Err(error));
                continue;
            }
            let last = Seq(next.0 + member.batch.len() as u64 - 1);
            member.outcome =
                Some(Ok(Ticket { number, first: next, last, memtable: commit.active.clone(), end: None }));
            next = Seq(last.0 + 1);
            number += 1;
            logged |= !member.disable_wal;
        }
        let mut appended = None;
        if logged {
            appended = match self.append(batch_log, group, extra) {
                Err(_) if planted::is(Bug::FailedAppendAcknowledged) => None,
                result => Some(result?),
            };
            let end = appended.as_ref().map(|last| last.end);
            for member in group.iter_mut() {
                if let (false, Some(Ok(ticket))) = (member.disable_wal, &mut member.outcome) {
                    ticket.end = end;
                }
            }
        }
        commit.next_seq = next;
        commit.next_ticket = number;
        Ok(appended)
    }

    fn append(
        &self,
        batch_log: &crate::wal::BatchLog<V>,
        group: &[Member<'_, I>],
        extra: &[Section<'_>],
    ) -> Result<Appended> {
        let logged = |m: &&Member<'_, I>| !m.disable_wal && matches!(m.outcome, Some(Ok(_)));
        let mut last = None;
        let mut rest = group;
        // A record's operations have consecutive seqs, so a batch without a record ends the record.
        while let Some(from) = rest.iter().position(|m| logged(&m)) {
            let run = rest[from..].iter().take_while(|m| logged(m)).count();
            let members = &rest[from..from + if planted::is(Bug::FollowersNotLogged) { 1 } else { run }];
            rest = &rest[from + run..];
            let Some(Ok(first)) = members.first().and_then(|m| m.outcome.as_ref()) else { break };
            if planted::is(Bug::BatchInPieces)
                && let [member] = members
            {
                for (op, seq) in member.batch.iter().zip(first.first.0..) {
                    let mut piece = Vec::new();
                    op.encode(&mut piece);
                    let section = Section { kind: envelope::SECTION_BATCH, group: 0, parts: &[&piece] };
                    last = Some(batch_log.append(Seq(seq), &[section])?);
                }
                continue;
            }
            let single;
            let parts: &[&[u8]] = if let [member] = members {
                single = [member.batch.encoded()];
                &single
            } else {
                &members.iter().map(|m| m.batch.encoded()).collect::<Vec<_>>()
            };
            let section = Section { kind: envelope::SECTION_BATCH, group: 0, parts };
            let appended = match extra {
                [] => batch_log.append(first.first, &[section]),
                extra => {
                    let sections: Vec<_> = extra.iter().copied().chain([section]).collect();
                    batch_log.append(first.first, &sections)
                }
            };
            match appended {
                Ok(appended) => {
                    last = Some(appended);
                    self.counters.shared.log_records.add(1);
                    self.counters.shared.log_bytes.add(appended.bytes());
                }
                // A full disk is clean: nothing of this record counts, no seq was given yet.
                Err(error) if background::is_passing(&error) && last.is_none() => return Err(error),
                Err(error) => {
                    self.poison(&error);
                    return Err(Error::OutcomeUnknown(error.to_string()));
                }
            }
        }
        last.ok_or(Error::Busy("nothing to log"))
    }

    /// May this batch be committed now, behind `before`?
    fn admit(
        &self,
        commit: &Commit<I>,
        batch: &WriteBatch,
        (first, number): (Seq, u64),
        before: &[Member<'_, I>],
    ) -> Result<()> {
        if batch.is_empty() {
            return Err(Error::InvalidArgument("a batch without operations".to_string()));
        }
        if !self.publisher.has_room(number) {
            return Err(Error::Busy("too many writes in flight"));
        }
        // A log record of a family that no manifest names would be the sign of a lost manifest at the next open.
        let family = batch.family_max();
        if family > CfId::WRITE && !self.families.load().was_made(family) {
            return Err(Error::UnknownFamily(format!("number {}", family.0)));
        }
        // What was read at the last seq of all has not changed since: one writer alone never looks further.
        let mut open = batch.preconditions().filter(|c| c.since.0.saturating_add(1) < first.0).peekable();
        if open.peek().is_none() {
            return Ok(());
        }
        if !self.publisher.is_drained(commit.next_ticket) {
            return Err(Error::Busy("writes before this one are not yet applied"));
        }
        let view = self.view.load();
        for condition in open {
            let key = condition.key;
            if self.may_have_changed(&view, key, condition.since)? {
                return Err(Error::Conflict);
            }
            let touched =
                before.iter().filter(|m| matches!(m.outcome, Some(Ok(_)))).flat_map(|m| m.batch.iter()).any(
                    |op| match op.kind {
                        Kind::RangeDelete => {
                            op.key.cf == key.cf && op.key.user_key <= key.user_key && key.user_key < op.value
                        }
                        _ => op.key == key,
                    },
                );
            if touched {
                return Err(Error::Conflict);
            }
        }
        Ok(())
    }

    /// May a write have touched `key` after `since`? True also where nothing tells any more.
    ///
    /// # Errors
    /// Damage of what had to be read; [`Error::Closed`].
    pub fn changed_since(&self, key: KeyRef<'_>, since: Seq) -> Result<bool> {
        self.check_open()?;
        self.may_have_changed(&self.view.load(), key, since)
    }

    fn may_have_changed(&self, view: &View<V, I>, key: KeyRef<'_>, since: Seq) -> Result<bool> {
        Ok(view.touched_since(key, key_hash(key), since)?.is_some()
            || self.may_have_vanished(view, key, since)?)
    }

    /// May a write have touched `key` after `since` of which nothing is left? A delete goes once all that it hides
    /// is gone, unless a snapshot is older. A plain value that is still there was hidden by none.
    fn may_have_vanished(&self, view: &View<V, I>, key: KeyRef<'_>, since: Seq) -> Result<bool> {
        // Behind the view: a merge notes what it drops before it installs.
        if self.dropped_seq.load(Ordering::SeqCst) <= since.0 {
            return Ok(false);
        }
        let bounds = Bounds { version: Version::MAX, seq: Seq::MAX };
        let hit = point::get(view, key, key_hash(key), bounds, &|| self.now_ms())?;
        // One that came after `since` tells nothing of what was dropped before it came; it is a change itself.
        Ok(hit.is_none_or(|hit| hit.version != Version::MAX || hit.seq > since))
    }

    /// Inserts a logged batch into its memtable and publishes what is due. True if `published` moved: then
    /// wake those who wait for it.
    #[inline]
    pub fn apply(&self, batch: &WriteBatch, ticket: &Ticket<I>) -> bool {
        if planted::is(Bug::PublishedBeforeApplied) {
            self.publisher.done(ticket.number, ticket.last);
        }
        let mut seq = ticket.first;
        let mut tally = self.counters.tally();
        for op in batch.iter() {
            tally.op(op.key.cf);
            ticket.memtable.apply(&op, seq);
            seq = Seq(seq.0 + 1);
        }
        debug_assert_eq!(seq.0, ticket.last.0 + 1);
        tally.done(batch.bytes());
        let moved =
            planted::is(Bug::PublishedBeforeApplied) || self.publisher.done(ticket.number, ticket.last);
        let waited_for = self.flush_waits_for.load(Ordering::SeqCst);
        if waited_for != 0
            && self.publisher.published().0 >= waited_for
            && self.flush_waits_for.swap(0, Ordering::SeqCst) != 0
        {
            self.signals.work_ready();
        }
        moved
    }

    /// Is the batch visible to reads?
    #[inline]
    pub fn is_published(&self, ticket: &Ticket<I>) -> bool {
        self.publisher.published() >= ticket.last
    }

    /// Were all writes that have a ticket applied?
    pub fn is_drained(&self) -> bool {
        let next = self.commit.lock().next_ticket;
        self.publisher.is_drained(next)
    }

    /// Makes the batch, and everything before it in commit order, durable.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`]: the sync failed, the database is read-only from now on.
    pub fn sync_to(&self, ticket: &Ticket<I>) -> Result<()> {
        let (Some(end), Some(batch_log)) = (ticket.end, &self.batch_log) else { return Ok(()) };
        if batch_log.durable() < end {
            self.sync_log()?;
        }
        self.durable_seq.fetch_max(ticket.last.0, Ordering::AcqRel);
        Ok(())
    }

    /// Makes everything that was logged before the call durable; gives the last seq that is.
    ///
    /// # Errors
    /// As [`Engine::sync_to`].
    pub fn sync(&self) -> Result<Seq> {
        self.check_writable()?;
        let last = Seq(self.commit.lock().next_seq.0 - 1);
        self.sync_log()?;
        self.durable_seq.fetch_max(last.0, Ordering::AcqRel);
        Ok(last)
    }

    pub(crate) fn sync_log(&self) -> Result<()> {
        let Some(batch_log) = &self.batch_log else { return Ok(()) };
        if planted::is(Bug::SyncDoesNothing) {
            return Ok(());
        }
        // ORDER: values before the pointers that name them, and no claim about a pointer that was logged behind the
        // sync of the values.
        let started = self.clock.monotonic_ns();
        let result = batch_log
            .sync_after(|| if planted::is(Bug::PointerBeforeValue) { Ok(()) } else { self.vlog.sync() });
        self.counters.synced(self.clock.monotonic_ns().saturating_sub(started));
        result.map(|_| ()).map_err(|error| {
            self.poison(&error);
            Error::OutcomeUnknown(error.to_string())
        })
    }

    /// Seals the active memtable, unless it is empty, so that it can be flushed.
    ///
    /// # Errors
    /// [`Error::Busy`] while as many as allowed are sealed already.
    pub fn rotate_memtable(&self) -> Result<()> {
        self.check_writable()?;
        let mut commit = self.commit.lock();
        if commit.next_seq.0 == commit.active.first_seq().0 {
            return Ok(());
        }
        self.rotate_locked(&mut commit)?;
        drop(commit);
        self.signals.work_ready();
        Ok(())
    }

    pub(super) fn rotate_locked(&self, commit: &mut Commit<I>) -> Result<()> {
        let _view_lock = self.view_lock.lock();
        let old = self.view.load_full();
        if old.sealed.len() >= self.options.sealed_memtables_max {
            return Err(Error::Busy("memtables wait for their flush"));
        }
        let batch_log = self.batch_log.as_ref().ok_or(Error::Closed)?;
        commit.active.note_sealed_at(self.clock.monotonic_ns());
        commit.active.seal(Seq(commit.next_seq.0 - 1));
        let fresh = Arc::new(Memtable::new(
            &self.options.index,
            self.options.memtable_bytes,
            batch_log.end().segment,
            commit.next_seq,
        ));
        let mut sealed = Vec::with_capacity(old.sealed.len() + 1);
        sealed.push(commit.active.clone());
        sealed.extend(old.sealed.iter().cloned());
        commit.active = fresh.clone();
        self.store_view(View { id: old.id + 1, active: fresh, sealed, tables: old.tables.clone() });
        Ok(())
    }

    /// Replaces the view. The caller holds `view_lock` and took the id from the view before.
    pub(crate) fn store_view(&self, view: View<V, I>) {
        let id = view.id;
        self.view.store(Arc::new(view));
        // Behind the view: a reader that sees the old id read a seq from before this view took writes.
        self.view_id.store(id, Ordering::SeqCst);
    }
}
