//! Typed records: what raft groups and other users keep in the engine's log, beside its batches.
//!
//! Who may call it: the host, from any thread. A typed record is a section of a log record, with a kind and a group;
//! its bytes are the group's own. Rules
//! 1. It has a place in commit order and no seq: a record without operations says the seq that comes next.
//! 2. A batch reaches a table only after the typed records that were logged with it or before it are durable.
//! 3. What the log keeps of a group, and until when, is in `raft.rs`.

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::envelope::{
    GROUP_MAX, SECTION_BATCH, SECTION_COPIES, SECTION_RAFT_ENTRIES, SECTION_RAFT_SNAPSHOT,
    SECTION_RAFT_STATE, SECTION_USER,
};
use nokv_formats::manifest::RaftPointer;

use crate::engine::writes::check_seqs;
use crate::engine::{Commit, Engine, Member, Ticket, WAL_DIR, background};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::manifest::ManifestState;
use crate::vfs::Vfs;
use crate::wal::batch_log::SEGMENT_EXT;
use crate::wal::survey::{SegmentFile, list_segments};
use crate::wal::{
    Appended, BatchLogConfig, BatchLogRecord, Position, RecordCounts, RecoverFrom, Section, replay_read_only,
};
use crate::write::WriteBatch;

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

/// A memtable is sealed when the log has this many segments since its first batch.
const LOG_SEGMENTS_OF_A_MEMTABLE: u32 = 4;

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
        let mut commit = self.commit.lock();
        self.check_writable()?;
        let appended = self.append_sections(&commit, &to_sections(sections, &pieces))?;
        self.bound_log(&mut commit, appended.end.segment)?;
        Ok(appended)
    }

    /// Seals a memtable that takes so few batches that it would keep the log of ever more typed records.
    fn bound_log(&self, commit: &mut Commit<I>, end: u32) -> Result<()> {
        let is_untouched = commit.next_seq == commit.active.first_seq();
        if is_untouched || end.saturating_sub(commit.active.wal_segment()) < LOG_SEGMENTS_OF_A_MEMTABLE {
            return Ok(());
        }
        match self.rotate_locked(commit) {
            Ok(()) => self.signals.work_ready(),
            // Others wait for their flush already: a later append tries again.
            Err(Error::Busy(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
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
    pub(super) fn append_sections(&self, commit: &Commit<I>, sections: &[Section<'_>]) -> Result<Appended> {
        let batch_log = self.batch_log.as_ref().ok_or(Error::Closed)?;
        check_seqs(commit.next_seq)?;
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

    /// Makes typed records durable before a table is named that holds batches which were logged with them or behind
    /// them: else after a power cut these would be there without those.
    pub(crate) fn sync_typed(&self) -> Result<()> {
        match &self.batch_log {
            Some(batch_log) if batch_log.has_groups() => self.sync_log(),
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

    /// The segments of the log, oldest first, with what they hold. When read-only, those that were replayed; of all but
    /// the last, `bytes` is what the file has.
    pub fn wal_segments(&self) -> Vec<WalSegment> {
        let Some(batch_log) = &self.batch_log else { return self.replayed_segments() };
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

    fn replayed_segments(&self) -> Vec<WalSegment> {
        let (tally, end) = &self.replayed;
        // A segment behind the end was made ahead of time, or would be cut.
        let files = list_segments(&self.fs, &self.path(WAL_DIR), SEGMENT_EXT).unwrap_or_default();
        let replayed =
            files.into_iter().filter(|f| (self.recorded_floor()..=end.segment).contains(&f.number));
        let segment = |file: SegmentFile| WalSegment {
            number: file.number,
            bytes: if file.number == end.segment { end.offset } else { file.file_bytes },
            file_bytes: file.file_bytes,
            sealed: file.number < end.segment,
            counts: tally.of_segment(file.number),
        };
        replayed.map(segment).collect()
    }

    /// What the log holds.
    pub fn record_counts(&self) -> RecordCounts {
        self.batch_log.as_ref().map_or_else(|| self.replayed.0.total(), |log| log.tally().total())
    }
}

fn to_sections<'a>(sections: &[TypedSection<'a>], pieces: &'a [[&'a [u8]; 1]]) -> Vec<Section<'a>> {
    let both = sections.iter().zip(pieces);
    both.map(|(s, parts)| Section { kind: s.kind.tag(), group: s.group, parts }).collect()
}

/// From where on a group's records are kept, and what its pointer names.
pub(super) fn kept_from(state: &ManifestState, group: u64) -> (Position, Option<Position>) {
    let pointer = state.raft.get(&group).and_then(RaftPointer::position);
    let removed = state.raft_removed.get(&group).copied();
    let floor = Position::start_of(state.wal_floor);
    (pointer.or(removed).unwrap_or(floor).max(floor), pointer)
}

/// The records of `group` in one batch. Copies that `pointer` does not name were never made to count.
pub(super) fn visit_group(
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
