//! Planted bugs: what measures the net of tests. With the feature `planted` one of [`Bug`] at a time can be switched
//! on, and the layer of tests that is there for such bugs must find it. Without the feature [`is`] is `false` at
//! compile time and nothing of this is in the code.
//!
//! Who may call it: the engine asks [`is`] at the place of each bug; the tests of `nokv-tests` plant them. A plant is
//! for the whole process.
//!
//! Each bug is one that people make, and is invisible without its fault: a name that was not synced is missed
//! only after a power cut, a sync that is tried again only after it failed.

/// A bug that can be planted: what is wrong, and what that does to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// The directory is not synced after tables were made in it. After a power cut the manifest names tables that are
    /// not there, and the database does not open.
    TableNameNotSynced = 1,
    /// The directory is not synced after a log segment got its name. A power cut takes the segment, with writes that a
    /// sync acknowledged.
    LogNameNotSynced,
    /// The directory is not synced between the rewritten manifest and the `CURRENT` that names it. A power cut leaves
    /// `CURRENT` alone: the database does not open.
    ManifestNameNotSynced,
    /// `CURRENT.tmp` is renamed to `CURRENT` before its bytes are synced. A power cut leaves an empty `CURRENT`.
    CurrentNotSynced,
    /// An edit of the manifest counts as durable without a sync. A power cut takes the edit, and the log that it
    /// replaced is gone: flushed writes are lost.
    EditNotSynced,
    /// A sync makes the log durable and not the value log before it. A power cut leaves pointers without values:
    /// acknowledged large values are lost.
    PointerBeforeValue,
    /// Tables with pointers are named before the bytes that they point to are synced: of a flush, and of values that a
    /// collection moved. A power cut leaves tables whose values are lost.
    TableBeforeValues,
    /// A sync returns before anything was synced. A power cut takes acknowledged writes.
    SyncDoesNothing,
    /// The leader of a group logs its own batch and forgets those of the others. Even the death of the process takes
    /// acknowledged writes.
    FollowersNotLogged,
    /// The header of a log segment states the new end before the bytes up to there are flushed. After a power cut a
    /// torn tail looks like rot, and the database does not open.
    EndBeforeBytes,
    /// A batch is logged operation by operation. A crash leaves half of it.
    BatchInPieces,
    /// A flush raises the log's floor to the newest segment, not to the first that is still needed. Writes between are
    /// not replayed: lost at the next crash.
    FloorTooHigh,
    /// Log segments are removed before the manifest edit that says they are not needed. A crash between leaves a
    /// database that does not open.
    LogRemovedBeforeEdit,
    /// Replay puts into memtables what tables already hold. Old values hide newer ones that have no log record.
    ReplaysFlushed,
    /// Recovery cuts the torn tail of the log in memory, and leaves its bytes in the file. A later recovery meets them
    /// behind newer records.
    TornTailStays,
    /// A close does not flush, for the log has everything. Batches that were written without a log record are lost by a
    /// clean close.
    CloseTrustsLog,
    /// A checkpoint leaves out the value-log segments that still take values. The copy has pointers to nothing.
    CheckpointWithoutHeads,
    /// An open for reading sweeps files that nothing names. A tool that only looks changes the database, beside an owner
    /// that is about to name the file.
    ReadOnlySweeps,
    /// The number of a value-log segment that is gone is given to a new one. Old pointers in the log resolve to bytes
    /// of other values, or fail.
    SegmentNumberReused,
    /// The checksum of log records is not looked at. A torn record is replayed: garbage in the place of a value.
    LogChecksumIgnored,
    /// A failed sync of the log is tried again, and the second one, which finds clean pages, is believed. Acknowledged
    /// writes were dropped by the kernel.
    SyncTriedAgain,
    /// A flush that failed is forgotten: its memtable goes, and the next flush raises the floor over it. Acknowledged
    /// writes vanish without a crash.
    FailedFlushForgotten,
    /// A full disk closes the database to writes for good, as a failed write does. Space comes back, writes do not.
    FullDiskIsFatal,
    /// A write whose log record found no space is acknowledged all the same. It is gone after a restart.
    FailedAppendAcknowledged,
    /// The checksum of table blocks is not looked at. A flipped bit is a wrong value.
    BlockChecksumIgnored,
    /// The checksum of value-log records is not looked at. A flipped bit is a wrong value.
    ValueChecksumIgnored,
    /// A merge drops a delete as soon as no snapshot is older, whatever tables below hold. Deleted keys come back.
    DeleteDroppedEarly,
    /// A merge drops a range delete as soon as no snapshot is older, whatever tables below hold. Deleted ranges come
    /// back.
    RangeDeleteDroppedEarly,
    /// Tables whose keys overlap are ordered by file number, not by seq. After merges an old value hides a newer one.
    OrderedByNumber,
    /// Flushes and merges do not know of snapshots. A snapshot loses what was overwritten or deleted behind it.
    SnapshotsForgotten,
    /// A collected value-log segment is unlinked while an iterator still reads tables that name it. The iterator fails.
    SegmentRemovedUnderReader,
    /// An expired put is passed over, not taken for a delete. The value before it comes back.
    ExpiredUncoversOlder,
    /// The filter of a table is built over keys without their family. Point reads in other families find nothing.
    FilterWithoutFamily,
    /// A collection of the value log puts tables with moved values on top of the tree. Old values hide newer ones.
    CollectionOnTop,
    /// The caches of blocks and files tell tables apart by offset alone. Reads answer from another table.
    CacheKeysCollide,
    /// Iterators look at the active memtable and at tables, not at memtables that wait for their flush. Keys vanish
    /// from iterators for the time of a flush.
    IteratorSkipsSealed,
    /// A batch is published before it is in the memtable. A reader sees none or half of a batch at a seq that claims
    /// all of it.
    PublishedBeforeApplied,
    /// A truncation of a log is carried out without being decided first. A crash in the middle leaves part of what was
    /// to go: the log goes on from records that its owner took back.
    CutNotDecided,
    /// A truncation of a log leaves the bytes of what it cut. The records come back at the next open.
    CutBytesStay,
}

/// All of them.
pub const ALL: &[Bug] = &[
    Bug::TableNameNotSynced,
    Bug::LogNameNotSynced,
    Bug::ManifestNameNotSynced,
    Bug::CurrentNotSynced,
    Bug::EditNotSynced,
    Bug::PointerBeforeValue,
    Bug::TableBeforeValues,
    Bug::SyncDoesNothing,
    Bug::FollowersNotLogged,
    Bug::EndBeforeBytes,
    Bug::BatchInPieces,
    Bug::FloorTooHigh,
    Bug::LogRemovedBeforeEdit,
    Bug::ReplaysFlushed,
    Bug::TornTailStays,
    Bug::CloseTrustsLog,
    Bug::CheckpointWithoutHeads,
    Bug::ReadOnlySweeps,
    Bug::SegmentNumberReused,
    Bug::LogChecksumIgnored,
    Bug::SyncTriedAgain,
    Bug::FailedFlushForgotten,
    Bug::FullDiskIsFatal,
    Bug::FailedAppendAcknowledged,
    Bug::BlockChecksumIgnored,
    Bug::ValueChecksumIgnored,
    Bug::DeleteDroppedEarly,
    Bug::RangeDeleteDroppedEarly,
    Bug::OrderedByNumber,
    Bug::SnapshotsForgotten,
    Bug::SegmentRemovedUnderReader,
    Bug::ExpiredUncoversOlder,
    Bug::FilterWithoutFamily,
    Bug::CollectionOnTop,
    Bug::CacheKeysCollide,
    Bug::IteratorSkipsSealed,
    Bug::PublishedBeforeApplied,
    Bug::CutNotDecided,
    Bug::CutBytesStay,
];

// The numbers ascend without a hole, so none is missing in the list.
const _: () = {
    let mut i = 0;
    while i < ALL.len() {
        assert!(ALL[i] as usize == i + 1);
        i += 1;
    }
    assert!(ALL.len() == Bug::CutBytesStay as usize);
};

#[cfg(feature = "planted")]
mod on {
    use core::sync::atomic::{AtomicU8, Ordering};

    use nokv_formats::planted::{Checksum, ignore};

    use super::Bug;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants a bug in this process in the place of the one before, or takes that back.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::SeqCst);
        ignore(match bug {
            Some(Bug::LogChecksumIgnored) => Some(Checksum::LogRecord),
            Some(Bug::BlockChecksumIgnored) => Some(Checksum::Block),
            Some(Bug::ValueChecksumIgnored) => Some(Checksum::Value),
            _ => None,
        });
    }

    /// Is it planted?
    #[inline]
    pub fn is(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "planted")]
pub use on::{is, plant};

/// Is it planted? Never.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_: Bug) -> bool {
    false
}
