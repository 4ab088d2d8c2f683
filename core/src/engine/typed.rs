//! Typed records: what raft groups and other users keep in the engine's log, beside its batches.
//!
//! Who may call it: the host, from any thread. A typed record is a section of a log record, with a kind and a group;
//! its bytes are the group's own. Rules
//! 1. It has a place in commit order and no seq: a record without operations says the seq that comes next.
//! 2. The log keeps a group's records from its pointer on; those of a group without a pointer, all; those of a group
//!    that was removed, none that were there before.
//! 3. A pointer is durable after the part of the log that it names, and after what it says was applied.
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

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::envelope::{
    GROUP_MAX, SECTION_BATCH, SECTION_COPIES, SECTION_RAFT_ENTRIES, SECTION_RAFT_SNAPSHOT,
    SECTION_RAFT_STATE, SECTION_USER,
};
use nokv_formats::manifest::{Edit, RaftPointer, RegionMeta};

use crate::engine::{Commit, Engine, Install, Member, Ticket, WAL_DIR, background};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::manifest::ManifestState;
use crate::sync::Ordering;
use crate::vfs::Vfs;
use crate::wal::{
    Appended, BatchLogConfig, BatchLogRecord, Position, RecordCounts, RecoverFrom, Section, replay_read_only,
};
use crate::write::WriteBatch;

/// Most bytes that [`Engine::rewrite_forward`] copies at once. A group with more takes a snapshot instead.
pub const REWRITE_BYTES_MAX: usize = 64 << 20;
/// How often a rewrite reads a group's records anew because the group was written to meanwhile.
const REWRITE_TRIES: usize = 4;

/// What a typed record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Entries of a raft group.
    RaftEntries,
    /// Hard state of a raft group.
    RaftState,
    /// Snapshot mark of a raft group.
    RaftSnapshot,
    /// A kind of the user's own, from 128 on.
    Other(u8),
}

impl RecordKind {
    /// Its number in the log.
    pub const fn tag(self) -> u8 {
        match self {
            Self::RaftEntries => SECTION_RAFT_ENTRIES,
            Self::RaftState => SECTION_RAFT_STATE,
            Self::RaftSnapshot => SECTION_RAFT_SNAPSHOT,
            Self::Other(tag) => tag,
        }
    }

    /// The kind with this number; `None` for the engine's own sections.
    pub const fn of(tag: u8) -> Option<Self> {
        match tag {
            SECTION_RAFT_ENTRIES => Some(Self::RaftEntries),
            SECTION_RAFT_STATE => Some(Self::RaftState),
            SECTION_RAFT_SNAPSHOT => Some(Self::RaftSnapshot),
            SECTION_USER.. => Some(Self::Other(tag)),
            _ => None,
        }
    }
}

/// A typed record to append.
#[derive(Debug, Clone, Copy)]
pub struct TypedSection<'a> {
    /// What it is.
    pub kind: RecordKind,
    /// Whose it is, below 2^56.
    pub group: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A segment of the log, with what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalSegment {
    /// Its number.
    pub number: u32,
    /// Bytes of its header and records.
    pub bytes: u64,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Is it sealed?
    pub sealed: bool,
    /// What it holds. Nothing for a segment below the floor that the open found.
    pub counts: RecordCounts,
}

/// Takes the typed records of a group: kind, where the log record starts, bytes.
pub type TypedVisit<'v> = &'v mut dyn FnMut(RecordKind, Position, &[u8]) -> Result<()>;

/// The live records of a group.
#[derive(Default)]
struct Live {
    records: Vec<(RecordKind, Vec<u8>)>,
    bytes: usize,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Appends `sections` as one log record, whole or absent. It survives the death of the process when this returns,
    /// and power loss once [`Engine::sync_log_to`] its end returned.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a kind or group that cannot be; [`Error::BatchTooLarge`]; a full disk is clean;
    /// [`Error::OutcomeUnknown`] for any other failure, after which the database is read-only.
    pub fn append_typed(&self, sections: &[TypedSection<'_>]) -> Result<Appended> {
        self.check_sections(sections, 0)?;
        if sections.is_empty() {
            return Err(Error::InvalidArgument("a log record without sections".to_string()));
        }
        let pieces: Vec<_> = sections.iter().map(|s| [s.bytes]).collect();
        let commit = self.commit.lock();
        self.check_writable()?;
        self.append_sections(&commit, &to_sections(sections, &pieces))
    }

    /// [`Engine::log`] for one batch, with `sections` in the same log record: all of it is there after a crash, or
    /// nothing. Gives where the record starts.
    ///
    /// # Errors
    /// As [`Engine::log`] and [`Engine::append_typed`]; nothing was logged then.
    pub fn log_with_sections(
        &self,
        batch: &WriteBatch,
        sections: &[TypedSection<'_>],
    ) -> Result<(Ticket<I>, Position)> {
        self.check_sections(sections, batch.bytes())?;
        let pieces: Vec<_> = sections.iter().map(|s| [s.bytes]).collect();
        let mut member = Member { batch, disable_wal: false, outcome: None };
        let logged = {
            let mut commit = self.commit.lock();
            let group = core::slice::from_mut(&mut member);
            self.log_locked(&mut commit, group, &to_sections(sections, &pieces))?
        };
        match (member.outcome, logged) {
            (Some(Ok(ticket)), Some(logged)) => Ok((ticket, logged.start)),
            (Some(Err(error)), _) => Err(error),
            _ => Err(Error::Busy("the write was not taken")),
        }
    }

    fn check_sections(&self, sections: &[TypedSection<'_>], other_bytes: usize) -> Result<()> {
        for section in sections {
            if section.group > GROUP_MAX {
                return Err(Error::InvalidArgument("a group's number must be below 2^56".to_string()));
            }
            if RecordKind::of(section.kind.tag()).is_none() {
                return Err(Error::InvalidArgument("a kind of one's own must be 128 to 255".to_string()));
            }
        }
        let bytes = sections.iter().fold(other_bytes, |sum, s| sum.saturating_add(s.bytes.len()));
        if bytes > self.options.memtable_bytes {
            return Err(Error::BatchTooLarge {
                bytes: bytes as u64,
                count: sections.len() as u64,
                limit: self.options.memtable_bytes as u64,
            });
        }
        Ok(())
    }

    /// Appends a record without operations. The commit lock makes its first seq that of the next operation.
    fn append_sections(&self, commit: &Commit<I>, sections: &[Section<'_>]) -> Result<Appended> {
        let batch_log = self.batch_log.as_ref().ok_or(Error::Closed)?;
        batch_log.append(commit.next_seq, sections).map_err(|error| {
            if background::is_passing(&error) {
                return error;
            }
            self.poison(&error);
            Error::OutcomeUnknown(error.to_string())
        })
    }

    /// Makes the log durable up to `end`, with the values that it names.
    ///
    /// # Errors
    /// As [`Engine::sync`].
    pub fn sync_log_to(&self, end: Position) -> Result<()> {
        self.check_writable()?;
        match &self.batch_log {
            Some(batch_log) if batch_log.durable() < end => self.sync_log(),
            _ => Ok(()),
        }
    }

    /// Gives the records of `group` that the log keeps, in order.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a log that is damaged; what `visit` gives; I/O errors.
    pub fn replay_group(&self, group: u64, visit: TypedVisit<'_>) -> Result<()> {
        self.check_open()?;
        let Some(batch_log) = &self.batch_log else { return self.replay_group_read_only(group, visit) };
        let (from, pointer, snapshot) = {
            // Nothing is released meanwhile; later the files stay open.
            let install = self.install.lock();
            let state = install.manifest.state();
            let (from, pointer) = kept_from(state, group);
            (from, pointer, batch_log.snapshot(from.segment)?)
        };
        snapshot.visit(from, &mut |record| visit_group(record, group, pointer, visit))
    }

    fn replay_group_read_only(&self, group: u64, visit: TypedVisit<'_>) -> Result<()> {
        let (floor, (from, pointer)) = {
            let install = self.install.lock();
            let state = install.manifest.state();
            (state.wal_floor, kept_from(state, group))
        };
        if floor == 0 {
            return Ok(());
        }
        let config =
            BatchLogConfig { segment_bytes: self.options.wal_segment_bytes / 8 * 8, db_id: self.database_id };
        let place = RecoverFrom { floor_segment: floor, clean_end: None, end_before: None };
        let mut each = |record: BatchLogRecord<'_>| {
            if record.start < from { Ok(()) } else { visit_group(&record, group, pointer, visit) }
        };
        replay_read_only(&self.fs, &self.path(WAL_DIR), config, place, &mut each).map(|_| ())
    }

    /// The segments of the log, oldest first, with what they hold. Empty when read-only.
    pub fn wal_segments(&self) -> Vec<WalSegment> {
        let Some(batch_log) = &self.batch_log else { return Vec::new() };
        let tally = batch_log.tally();
        let segment = |info: crate::wal::SegmentInfo| WalSegment {
            number: info.number,
            bytes: info.end,
            file_bytes: info.file_bytes,
            sealed: info.sealed,
            counts: tally.of_segment(info.number),
        };
        batch_log.segments().into_iter().map(segment).collect()
    }

    /// What the log holds.
    pub fn record_counts(&self) -> RecordCounts {
        self.batch_log.as_ref().map_or_else(|| self.replayed.total(), |log| log.tally().total())
    }

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
        let edits = Vec::from([Edit::RaftRemove { group, before }]);
        self.check_edits(&install, &edits)?;
        batch_log.forget_group(group, before);
        self.record_group(&mut install, edits)
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
        let (from, at, copied) = self.copy_to_end(group)?;
        // ORDER: the copies before the pointer that names them.
        self.sync_log()?;
        let mut install = self.install.lock();
        let state = install.manifest.state();
        if kept_from(state, group).0 != from {
            return Err(Error::Busy("the pointer of the group moved"));
        }
        let old = state.raft.get(&group).copied().unwrap_or(RaftPointer { group, ..RaftPointer::default() });
        let pointer = RaftPointer { segment: at.segment, offset: at.offset, ..old };
        self.record_group(&mut install, Vec::from([Edit::RaftPointer(pointer)]))?;
        Ok(copied)
    }

    /// Gives where the copied records started, where the copies start, and how many there are.
    fn copy_to_end(&self, group: u64) -> Result<(Position, Position, u64)> {
        let Some(batch_log) = &self.batch_log else { return Err(Error::Closed) };
        for _ in 0..REWRITE_TRIES {
            let span = batch_log.group_span(group);
            let (from, pointer, snapshot) = {
                let install = self.install.lock();
                let (from, pointer) = kept_from(install.manifest.state(), group);
                (from, pointer, batch_log.snapshot(from.segment)?)
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
                return Ok((from, batch_log.end(), 0));
            }
            let pieces: Vec<_> = live.records.iter().map(|(_, bytes)| [bytes.as_slice()]).collect();
            let mut sections = Vec::with_capacity(pieces.len() + 1);
            sections.push(Section { kind: SECTION_COPIES, group, parts: &[] });
            let kinds = live.records.iter().map(|(kind, _)| kind.tag());
            sections.extend(kinds.zip(&pieces).map(|(kind, parts)| Section { kind, group, parts }));
            let appended = self.append_sections(&commit, &sections)?;
            return Ok((from, appended.start, live.records.len() as u64));
        }
        Err(Error::Busy("the group is written to"))
    }

    /// A pointer's place lies in the log, and is durable.
    fn check_place(&self, install: &Install<V>, pointer: &RaftPointer) -> Result<()> {
        let Some(batch_log) = &self.batch_log else { return Err(Error::Closed) };
        let Some(at) = pointer.position() else { return Ok(()) };
        let floor = Position::start_of(install.manifest.state().wal_floor);
        if at < floor || at > batch_log.durable() {
            let text = alloc::format!("the log has no place {at} for the pointer of group {}", pointer.group);
            return Err(Error::InvalidArgument(text));
        }
        Ok(())
    }

    /// Do the edits keep the rules? Asked before they are recorded, for a caller's mistake must not close the database.
    fn check_edits(&self, install: &Install<V>, edits: &[Edit]) -> Result<ManifestState> {
        let mut next = install.manifest.state().clone();
        next.apply(edits)?;
        Ok(next)
    }

    /// Records a change of raft groups, with the log floor that it allows, and releases the log below.
    fn record_group(&self, install: &mut Install<V>, mut edits: Vec<Edit>) -> Result<()> {
        let next = self.check_edits(install, &edits)?;
        let floor = self.log_floor(&next, self.flush_floor(None));
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
        let mut floor = flush_floor;
        for pointer in state.raft.values().filter_map(RaftPointer::position) {
            floor = floor.min(pointer.segment);
        }
        if let Some(batch_log) = &self.batch_log {
            // A group whose pointer says nothing keeps all it has.
            let tally = batch_log.tally();
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
        let has_groups = !state.raft.is_empty() || !batch_log.tally().groups().is_empty();
        if self.options.watchdog.enabled && has_groups {
            return Ok(());
        }
        batch_log.release_below(state.wal_floor).map(|_| ())
    }

    /// The regions of this store, by number.
    pub fn regions(&self) -> Vec<RegionMeta> {
        self.regions.lock().values().cloned().collect()
    }

    /// Adds a region to the catalog, or replaces what it says of one; durable on return.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if keys are out of order, or epoch or state move back; what the manifest gives.
    pub fn set_region(&self, region: &RegionMeta) -> Result<()> {
        self.record_region(Edit::Region(region.clone()))
    }

    /// Takes a region out of the catalog; durable on return.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it is not there; what the manifest gives.
    pub fn remove_region(&self, id: u64) -> Result<()> {
        self.record_region(Edit::RegionRemove { id })
    }

    fn record_region(&self, edit: Edit) -> Result<()> {
        self.check_writable()?;
        let mut install = self.install.lock();
        let edits = [edit];
        self.check_edits(&install, &edits)?;
        self.record(&mut install, &edits, true)?;
        *self.regions.lock() = install.manifest.state().regions.clone();
        Ok(())
    }

    /// The first segment with a batch that no table holds, once `flushed` is in one.
    pub(crate) fn flush_floor(
        &self,
        flushed: Option<&crate::sync::Arc<crate::memtable::Memtable<I>>>,
    ) -> u32 {
        use crate::sync::Arc;
        // No batch gets a place in the log meanwhile.
        let commit = self.commit.lock();
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

fn to_sections<'a>(sections: &[TypedSection<'a>], pieces: &'a [[&'a [u8]; 1]]) -> Vec<Section<'a>> {
    let both = sections.iter().zip(pieces);
    both.map(|(s, parts)| Section { kind: s.kind.tag(), group: s.group, parts }).collect()
}

/// From where on a group's records are kept, and what its pointer names.
fn kept_from(state: &ManifestState, group: u64) -> (Position, Option<Position>) {
    let pointer = state.raft.get(&group).and_then(RaftPointer::position);
    let removed = state.raft_removed.get(&group).copied();
    let floor = Position::start_of(state.wal_floor);
    (pointer.or(removed).unwrap_or(floor).max(floor), pointer)
}

/// The records of `group` in one batch. Copies that `pointer` does not name were never made to count.
fn visit_group(
    record: &BatchLogRecord<'_>,
    group: u64,
    pointer: Option<Position>,
    visit: TypedVisit<'_>,
) -> Result<()> {
    for section in record.sections() {
        let section = section.map_err(|m| Error::malformed("log record", record.start.offset, m))?;
        if section.group != group || section.kind == SECTION_BATCH {
            continue;
        }
        if section.kind == SECTION_COPIES && pointer != Some(record.start) {
            return Ok(());
        }
        if let Some(kind) = RecordKind::of(section.kind) {
            visit(kind, record.start, section.bytes)?;
        }
    }
    Ok(())
}
