//! The engine's log as the layers above the database use it: typed records of raft groups, their pointers, and the
//! catalog of regions.
//!
//! Who may call it: raft stores and tools, by [`Db::wal`]. What is kept, and until when, is in
//! [`nokv_core::engine::Engine::append_typed`] and its neighbours.

use nokv_core::engine::watchdog::Decision;
use nokv_core::engine::{RaftStatus, RecordKind, Stall, TypedSection, WalSegment, WalStatus};
use nokv_core::formats::{CfId, Seq};
use nokv_core::manifest::{RaftPointer, RegionMeta};
use nokv_core::wal::{Position, RecordCounts};
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};
use nokv_vfs_std::StdFs;

use super::{Db, WriteOptions};
use crate::index::BuiltinIndex;
use crate::sync::now;

/// The log of an open database. Cheap to make and to clone.
///
/// ```
/// # fn main() -> nokv::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = nokv::Db::open(nokv::Options::new(dir.path()))?;
/// use nokv::{RaftPointer, RecordKind};
/// let wal = db.wal();
/// let at = wal.append_typed(RecordKind::RaftEntries, 7, b"entry 1", true)?;
/// wal.set_raft_pointer(RaftPointer { group: 7, segment: at.segment, offset: at.offset, ..Default::default() })?;
/// let mut found = Vec::new();
/// wal.replay_group(7, |kind, _, bytes| {
///     found.push((kind, bytes.to_vec()));
///     Ok(())
/// })?;
/// assert_eq!(found, [(RecordKind::RaftEntries, b"entry 1".to_vec())]);
/// # Ok(())
/// # }
/// ```
pub struct Wal<V: Vfs = StdFs, I: MemIndex = BuiltinIndex> {
    db: Db<V, I>,
}

impl<V: Vfs, I: MemIndex> Clone for Wal<V, I> {
    fn clone(&self) -> Self {
        Self { db: self.db.clone() }
    }
}

impl<V: Vfs, I: MemIndex> std::fmt::Debug for Wal<V, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("db", &self.db).finish()
    }
}

impl<V: Vfs, I: MemIndex> Wal<V, I> {
    /// Appends a record of a group; gives where it starts. It survives the death of the process when this returns, and
    /// with `sync` power loss.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a kind below 128 or a group from 2^56 on; [`Error::BatchTooLarge`];
    /// [`Error::OutcomeUnknown`] after a failed write or sync; [`Error::ReadOnly`], [`Error::Closed`]; a full disk is
    /// [`Error::Io`] with nothing written.
    pub fn append_typed(&self, kind: RecordKind, group: u64, bytes: &[u8], sync: bool) -> Result<Position> {
        self.append_sections(&[TypedSection { kind, group, bytes }], sync)
    }

    /// Appends several records, of one group or several: all of them are there after a crash, or none.
    ///
    /// # Errors
    /// As [`Wal::append_typed`].
    pub fn append_sections(&self, sections: &[TypedSection<'_>], sync: bool) -> Result<Position> {
        let _entered = self.db.enter()?;
        let engine = &self.db.inner.engine;
        let appended = engine.append_typed(sections)?;
        if sync {
            engine.sync_log_to(appended.end)?;
        }
        // The log may want its next segment.
        if engine.batch_log().is_some_and(nokv_core::wal::BatchLog::wants_next) {
            self.db.inner.signals.bump();
        }
        Ok(appended.start)
    }

    /// Commits a batch together with records: after a crash all of it is there, or nothing. Gives the seq of its last
    /// operation, and where the log record starts.
    ///
    /// # Errors
    /// As [`Db::write`] and [`Wal::append_typed`]; [`Error::InvalidArgument`] with `disable_wal`.
    pub fn write_with_sections(
        &self,
        batch: &WriteBatch,
        sections: &[TypedSection<'_>],
        options: &WriteOptions,
    ) -> Result<(Seq, Position)> {
        let _entered = self.db.enter()?;
        self.db.check(CfId::DEFAULT)?;
        for op in batch.iter() {
            self.db.check(op.key.cf)?;
        }
        if options.disable_wal {
            let text = "records and a batch go into one log record: disable_wal leaves none";
            return Err(Error::InvalidArgument(text.to_string()));
        }
        if batch.is_conditional() {
            self.db.check_conflicts_are_detected()?;
        }
        // No throttling of hot keys: what is applied was decided elsewhere.
        self.db.inner.queue.check(batch)?;
        let (engine, signals) = (&self.db.inner.engine, &self.db.inner.signals);
        let (prepared, _separated) = engine.prepare(batch)?;
        let (ticket, at) = loop {
            let epoch = signals.epoch();
            let busy = engine.stall() == Stall::Stop;
            match if busy { None } else { Some(engine.log_with_sections(&prepared, sections)) } {
                Some(Err(Error::Busy(_))) | None => {
                    if options.deadline.is_some_and(|d| now() >= d) {
                        return Err(Error::DeadlineExceeded);
                    }
                    self.db.wait_for_work(epoch)?;
                }
                Some(logged) => break logged?,
            }
        };
        if engine.apply(&prepared, &ticket) {
            signals.wake_published();
        }
        signals.wait_published(|| engine.is_published(&ticket));
        if options.sync.unwrap_or(self.db.inner.options.sync_writes) {
            engine.sync_to(&ticket)?;
        }
        Ok((ticket.last_seq(), at))
    }

    /// Gives the records of `group` that the log keeps, in order: kind, where the log record starts, bytes. Records that
    /// are appended meanwhile are not among them. An error of `visit` ends it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a log that is damaged; what `visit` gives; I/O errors.
    pub fn replay_group(
        &self,
        group: u64,
        mut visit: impl FnMut(RecordKind, Position, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let _entered = self.db.enter()?;
        self.db.inner.engine.replay_group(group, &mut visit)
    }

    /// The segments, oldest first, with what they hold.
    pub fn segments(&self) -> Vec<WalSegment> {
        self.db.inner.engine.wal_segments()
    }

    /// The segment that takes records; 0 when the database is read-only.
    pub fn active_segment(&self) -> u32 {
        self.db.inner.engine.batch_log().map_or(0, |log| log.end().segment)
    }

    /// Where the next record goes; `None` when the database is read-only.
    pub fn end(&self) -> Option<Position> {
        self.db.inner.engine.batch_log().map(nokv_core::wal::BatchLog::end)
    }

    /// How many records of each kind the log holds.
    pub fn record_counts(&self) -> RecordCounts {
        self.db.inner.engine.record_counts()
    }

    /// Makes everything that was logged before the call durable.
    ///
    /// # Errors
    /// As [`Db::sync`].
    pub fn sync(&self) -> Result<()> {
        self.db.sync().map(|_| ())
    }

    /// The pointers of all raft groups, by group.
    pub fn raft_pointers(&self) -> Vec<RaftPointer> {
        self.db.inner.engine.raft_pointers()
    }

    /// Says where a raft group stands, durably: its records before the pointer's place are not needed any more. What was
    /// logged before the call is made durable first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a pointer that moves back, or names a place that the log does not have: nothing was
    /// changed then. What syncing and the manifest give.
    pub fn set_raft_pointer(&self, pointer: RaftPointer) -> Result<()> {
        let _entered = self.db.enter()?;
        self.db.inner.engine.set_raft_pointer(pointer)
    }

    /// Forgets a raft group: its pointer, and what the log holds of it.
    ///
    /// # Errors
    /// As [`Wal::set_raft_pointer`].
    pub fn remove_raft_group(&self, group: u64) -> Result<()> {
        let _entered = self.db.enter()?;
        self.db.inner.engine.remove_raft_group(group)
    }

    /// Copies the live records of a group that lags to the end of the log and moves its pointer there, so that it does
    /// not keep old segments. Gives how many were copied.
    ///
    /// # Errors
    /// [`Error::Busy`] while the group is written to: try again. [`Error::BatchTooLarge`] for more than 64 MiB. As
    /// [`Wal::set_raft_pointer`].
    pub fn rewrite_forward(&self, group: u64) -> Result<u64> {
        let _entered = self.db.enter()?;
        self.db.inner.engine.rewrite_forward(group)
    }
}

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// The log, for typed records.
    pub fn wal(&self) -> Wal<V, I> {
        Wal { db: self.clone() }
    }

    /// The log at this moment.
    pub fn wal_status(&self) -> WalStatus {
        self.inner.engine.wal_status()
    }

    /// How far raft groups lag behind the log.
    pub fn raft_status(&self) -> RaftStatus {
        self.inner.engine.raft_status()
    }

    /// One pass of the log's watchdog on the calling thread; gives what it decided. It does nothing if
    /// `enable_wal_watchdog` is off.
    ///
    /// # Errors
    /// What the manifest and the file system give.
    pub fn wal_watchdog_step(&self) -> Result<Decision> {
        let _entered = self.enter()?;
        self.inner.engine.watchdog_step()
    }

    /// The regions of this store, by number.
    pub fn regions(&self) -> Vec<RegionMeta> {
        self.inner.engine.regions()
    }

    /// Adds a region to the catalog, or replaces what it says of one; durable on return.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if keys are out of order, or epoch or state move back; what the manifest gives.
    pub fn set_region(&self, region: &RegionMeta) -> Result<()> {
        let _entered = self.enter()?;
        self.inner.engine.set_region(region)
    }

    /// Takes a region out of the catalog; durable on return.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it is not there; what the manifest gives.
    pub fn remove_region(&self, id: u64) -> Result<()> {
        let _entered = self.enter()?;
        self.inner.engine.remove_region(id)
    }
}
