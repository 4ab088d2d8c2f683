//! Where raft groups stand in the log, and what of it must be kept for them.
//!
//! Who may call it: the host. Rules
//! 1. The log keeps a group's records from its pointer on; those of a group without a pointer, all; those of a group
//!    that was removed, none that were there before.
//! 2. A pointer is durable after the part of the log that it names, and after what it says was applied.
//!
//! | step of setting a pointer | crash after it leaves |
//! |---|---|
//! | a. log synced | the old pointer; records before the new one are still there |
//! | b. manifest edit {pointer, log floor} | the new pointer |
//! | c. log segments below the floor unlinked | the same |
//!
//! Rewriting a group's records forward, so that a group that lags does not pin the log:
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. copies of its live records at the end of the log, one batch, marked | the old pointer: copies that it does not name are passed over |
//! | b. log synced | the same |
//! | c. manifest edit {pointer to the copies, log floor} | the new pointer |
//! | d. log segments below the floor unlinked | the same |

use alloc::vec::Vec;

use nokv_formats::envelope::SECTION_COPIES;
use nokv_formats::manifest::{Edit, RaftPointer};

use crate::engine::typed::{kept_from, visit_group};
use crate::engine::{Engine, Install, RecordKind};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::manifest::ManifestState;
use crate::memtable::Memtable;
use crate::planted::{self, Bug};
use crate::sync::{Arc, Ordering};
use crate::vfs::Vfs;
use crate::wal::{Position, Section};

/// Most bytes that [`Engine::rewrite_forward`] copies at once. A group with more takes a snapshot instead.
pub const REWRITE_BYTES_MAX: usize = 64 << 20;
/// How often a rewrite reads a group's records anew because the group was written to meanwhile.
const REWRITE_TRIES: usize = 4;

/// The place that a group's pointer names, and where it was removed before.
type Standing = (Option<Position>, Option<Position>);

fn standing_of(state: &ManifestState, group: u64) -> Standing {
    (state.raft.get(&group).and_then(RaftPointer::position), state.raft_removed.get(&group).copied())
}

/// The live records of a group.
#[derive(Default)]
struct Live {
    records: Vec<(RecordKind, Vec<u8>)>,
    bytes: usize,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// The pointers of all raft groups, by group.
    pub fn raft_pointers(&self) -> Vec<RaftPointer> {
        self.raft.lock().values().copied().collect()
    }

    /// Sets the pointer of a raft group, durably. What was logged before the call is made durable first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a pointer that moves back or names a place that the log does not have; what syncing
    /// and the manifest give.
    pub fn set_raft_pointer(&self, pointer: RaftPointer) -> Result<()> {
        self.check_writable()?;
        // ORDER: what the pointer names, and what it says was applied, before the pointer.
        self.sync_log()?;
        let mut install = self.install.lock();
        self.check_place(&install, &pointer)?;
        self.record_group(&mut install, Vec::from([Edit::RaftPointer(pointer)]))
    }

    /// Forgets a raft group: its pointer, and the records that the log holds of it. A group of the same number may
    /// start anew.
    ///
    /// # Errors
    /// As [`Engine::set_raft_pointer`].
    pub fn remove_raft_group(&self, group: u64) -> Result<()> {
        self.check_writable()?;
        // ORDER: after a crash no record is appended before the place of the removal.
        self.sync_log()?;
        let mut install = self.install.lock();
        let Some(batch_log) = &self.batch_log else { return Err(Error::Closed) };
        let before = batch_log.durable();
        // ORDER: the log forgets the group once the edit is durable: until then its records count for the floor.
        self.record_group(&mut install, Vec::from([Edit::RaftRemove { group, before }]))?;
        batch_log.forget_group(group, before);
        Ok(())
    }

    /// Copies the live records of a group to the end of the log and moves its pointer there, so that the segments
    /// which held them can be released. Gives how many were copied. See the module for the order of writes.
    ///
    /// # Errors
    /// [`Error::Busy`] if the group is written to or its pointer moves all the while: try again.
    /// [`Error::BatchTooLarge`] for more than [`REWRITE_BYTES_MAX`]: let the group take a snapshot. Otherwise as
    /// [`Engine::set_raft_pointer`].
    pub fn rewrite_forward(&self, group: u64) -> Result<u64> {
        self.check_writable()?;
        let (standing, at, copied) = self.copy_to_end(group)?;
        // ORDER: the copies before the pointer that names them.
        self.sync_log()?;
        let mut install = self.install.lock();
        let state = install.manifest.state();
        if standing_of(state, group) != standing {
            return Err(Error::Busy("the pointer of the group moved"));
        }
        if copied == 0 && !state.raft.contains_key(&group) {
            return Ok(0);
        }
        let old = state.raft.get(&group).copied().unwrap_or(RaftPointer { group, ..RaftPointer::default() });
        let pointer = RaftPointer { segment: at.segment, offset: at.offset, ..old };
        self.record_group(&mut install, Vec::from([Edit::RaftPointer(pointer)]))?;
        Ok(copied)
    }

    /// Gives how the group stood, where the copies start, and how many there are.
    fn copy_to_end(&self, group: u64) -> Result<(Standing, Position, u64)> {
        let Some(batch_log) = &self.batch_log else { return Err(Error::Closed) };
        for _ in 0..REWRITE_TRIES {
            let span = batch_log.group_span(group);
            let (standing, from, pointer, snapshot) = {
                let install = self.install.lock();
                let state = install.manifest.state();
                let (from, pointer) = kept_from(state, group);
                (standing_of(state, group), from, pointer, batch_log.snapshot(from.segment)?)
            };
            let mut live = Live::default();
            let mut take = |kind: RecordKind, _: Position, bytes: &[u8]| live.take(kind, bytes);
            snapshot.visit(from, &mut |record| visit_group(record, group, pointer, &mut take))?;
            let commit = self.commit.lock();
            self.check_writable()?;
            if batch_log.group_span(group) != span {
                continue;
            }
            if live.records.is_empty() {
                return Ok((standing, batch_log.end(), 0));
            }
            let pieces: Vec<_> = live.records.iter().map(|(_, bytes)| [bytes.as_slice()]).collect();
            let mut sections = Vec::with_capacity(pieces.len() + 1);
            sections.push(Section { kind: SECTION_COPIES, group, parts: &[] });
            let kinds = live.records.iter().map(|(kind, _)| kind.tag());
            sections.extend(kinds.zip(&pieces).map(|(kind, parts)| Section { kind, group, parts }));
            let appended = self.append_sections(&commit, &sections)?;
            return Ok((standing, appended.start, live.records.len() as u64));
        }
        Err(Error::Busy("the group is written to"))
    }

    /// A pointer's place lies in the log, and is durable.
    fn check_place(&self, install: &Install<V>, pointer: &RaftPointer) -> Result<()> {
        let Some(batch_log) = &self.batch_log else { return Err(Error::Closed) };
        let Some(at) = pointer.position() else { return Ok(()) };
        let floor = Position::start_of(install.manifest.state().wal_floor);
        let state = install.manifest.state();
        // A place that it named before was looked at then.
        let is_known = state.raft.get(&pointer.group).and_then(RaftPointer::position) == Some(at);
        if at < floor || at > batch_log.durable() || !(is_known || batch_log.is_place(at)?) {
            let text = alloc::format!("the log has no place {at} for the pointer of group {}", pointer.group);
            return Err(Error::InvalidArgument(text));
        }
        Ok(())
    }

    /// Do the edits keep the rules? Asked before they are recorded, for a caller's mistake must not close the database.
    pub(super) fn check_edits(&self, install: &Install<V>, edits: &[Edit]) -> Result<ManifestState> {
        let mut next = install.manifest.state().clone();
        next.apply(edits)?;
        Ok(next)
    }

    /// Records a change of raft groups, with the log floor that it allows, and releases the log below.
    fn record_group(&self, install: &mut Install<V>, mut edits: Vec<Edit>) -> Result<()> {
        let next = self.check_edits(install, &edits)?;
        let gone = edits.iter().find_map(|edit| match edit {
            Edit::RaftRemove { group, before } => Some((*group, *before)),
            _ => None,
        });
        let floor = self.log_floor_without(&next, self.flush_floor(None), gone);
        if floor > next.wal_floor {
            edits.push(Edit::WalFloor { segment: floor });
        }
        self.record(install, &edits, true)?;
        *self.raft.lock() = install.manifest.state().raft.clone();
        // ORDER: segments go after the edit that says they are not needed.
        self.release_log(install).inspect_err(|error| self.poison_unless_passing(error))
    }

    /// The first segment that the log must keep if its batches are needed from `flush_floor` on.
    pub(crate) fn log_floor(&self, state: &ManifestState, flush_floor: u32) -> u32 {
        self.log_floor_without(state, flush_floor, None)
    }

    /// [`Engine::log_floor`] where what a group has before a place does not count.
    fn log_floor_without(
        &self,
        state: &ManifestState,
        flush_floor: u32,
        gone: Option<(u64, Position)>,
    ) -> u32 {
        let mut floor = flush_floor;
        for pointer in state.raft.values().filter_map(RaftPointer::position) {
            floor = floor.min(pointer.segment);
        }
        if let Some(batch_log) = &self.batch_log {
            // A group whose pointer says nothing keeps all it has.
            let mut tally = batch_log.tally();
            if let Some((group, before)) = gone {
                tally.forget_group(group, before);
            }
            let unpointed = tally
                .groups()
                .iter()
                .filter(|(group, _)| state.raft.get(group).and_then(RaftPointer::position).is_none());
            floor = unpointed.fold(floor, |floor, (_, span)| floor.min(span.first.segment));
        }
        floor.max(state.wal_floor)
    }

    /// Unlinks what lies below the recorded floor, unless that is for the watchdog to do.
    pub(crate) fn release_log(&self, install: &Install<V>) -> Result<()> {
        let Some(batch_log) = &self.batch_log else { return Ok(()) };
        let state = install.manifest.state();
        if self.options.watchdog.enabled && (!state.raft.is_empty() || batch_log.has_groups()) {
            return Ok(());
        }
        batch_log.release_below(state.wal_floor).map(|_| ())
    }

    /// The first segment with a batch that no table holds, once `flushed` is in one.
    pub(crate) fn flush_floor(&self, flushed: Option<&Arc<Memtable<I>>>) -> u32 {
        // No batch gets a place in the log meanwhile.
        let commit = self.commit.lock();
        if planted::is(Bug::FloorTooHigh) {
            return self.batch_log.as_ref().map_or(0, |log| log.end().segment);
        }
        let view = self.view.load();
        // A memtable that nothing was given to needs nothing of what is there.
        let untouched = commit.next_seq == commit.active.first_seq();
        view.memtables()
            .filter(|m| flushed.is_none_or(|flushed| !Arc::ptr_eq(m, flushed)))
            .filter(|m| !(untouched && Arc::ptr_eq(m, &commit.active)))
            .map(|m| m.wal_segment())
            .min()
            .unwrap_or_else(|| self.batch_log.as_ref().map_or(0, |log| log.end().segment))
    }

    /// The floor that the manifest records.
    pub(crate) fn recorded_floor(&self) -> u32 {
        self.wal_floor.load(Ordering::Acquire)
    }
}

impl Live {
    fn take(&mut self, kind: RecordKind, bytes: &[u8]) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > REWRITE_BYTES_MAX {
            return Err(Error::BatchTooLarge {
                bytes: self.bytes as u64,
                count: self.records.len() as u64,
                limit: REWRITE_BYTES_MAX as u64,
            });
        }
        self.records.push((kind, bytes.to_vec()));
        Ok(())
    }
}
