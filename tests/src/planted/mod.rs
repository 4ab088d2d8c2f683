//! The planted bugs of `nokv_core::planted`, each with the layer of the net that must find it and how many cases that
//! layer has for it.
//!
//! Who may call it: the test `planted`. A probe is the ordinary code of a layer, cut to the narrowest run that must
//! find the bug; it knows nothing of what is planted. Its budget is the number of its cases: what it did not find in
//! those has escaped.

use nokv::{BuiltinIndex, MemTableEngine};
use nokv_core::planted::Bug;
use nokv_vfs_mem::MemFs;

use crate::crash::suite::run_named;
use crate::faults::{calls, space, syncs};
use crate::model::{Setup, run};
use crate::net::Scale;
use crate::record_log;
use crate::{damage, glimpse};

/// A run of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Crash at every call of one workload.
    Crash(&'static str),
    /// So many operations on the database and the model, from one seed.
    Model(u64, u64),
    /// Syncs of this work fail.
    FailedSync(&'static str),
    /// Calls of this work fail.
    FailedCall(&'static str),
    /// The disk is full from calls of this work on.
    FullDisk(&'static str),
    /// Bits of the files with this ending are flipped.
    Damage(&'static str),
    /// A reader between any two inserts of a batch.
    Glimpse,
    /// Crash at every call of the record log.
    RecordLog,
}

impl Probe {
    /// Runs it; gives the number of cases.
    ///
    /// # Panics
    /// When a case fails.
    pub fn run(self) -> u64 {
        match self {
            Self::Crash(workload) => run_named(workload, Scale::Slice),
            Self::Model(seed, ops) => {
                run::<_, BuiltinIndex>(Setup {
                    name: "planted",
                    fs: MemFs::new(),
                    dir: "m".into(),
                    index: |_| MemTableEngine::Skiplist,
                    kill: Some(MemFs::kill_clone),
                    seed,
                    option_set: seed,
                    ops,
                });
                ops
            }
            Self::FailedSync(work) => syncs::run_named(work, Scale::Full),
            Self::FailedCall(work) => calls::run_named(work, Scale::Slice),
            Self::FullDisk(work) => space::run_named(work, Scale::Slice),
            Self::Damage(suffix) => damage::run_flips(suffix, Scale::Slice),
            Self::Glimpse => glimpse::run_all(Scale::Slice),
            Self::RecordLog => record_log::run_all(Scale::Slice),
        }
    }

    /// What a case is.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Crash(_) | Self::RecordLog => "images",
            Self::Model(..) => "operations",
            Self::FailedSync(_) | Self::FailedCall(_) | Self::FullDisk(_) => "faults",
            Self::Damage(_) => "flips",
            Self::Glimpse => "looks",
        }
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Crash(workload) => format!("crash, {workload}"),
            Self::Model(seed, _) => format!("model, seed {seed}"),
            Self::FailedSync(work) => format!("syncs, {work}"),
            Self::FailedCall(work) => format!("faults, {work}"),
            Self::FullDisk(work) => format!("space, {work}"),
            Self::Damage(suffix) => format!("damage of *{suffix}"),
            Self::Glimpse => "glimpse".to_owned(),
            Self::RecordLog => "record log".to_owned(),
        };
        f.pad(&text)
    }
}

const MODEL: Probe = Probe::Model(1, 60_000);

/// Every bug and what must find it.
pub const PLANTED: &[(Bug, Probe)] = &[
    (Bug::TableNameNotSynced, Probe::Crash("writes")),
    (Bug::LogNameNotSynced, Probe::Crash("log")),
    (Bug::ManifestNameNotSynced, Probe::Crash("writes")),
    (Bug::CurrentNotSynced, Probe::Crash("writes")),
    (Bug::EditNotSynced, Probe::Crash("writes")),
    (Bug::PointerBeforeValue, Probe::Crash("writes")),
    (Bug::TableBeforeValues, Probe::Crash("collection")),
    (Bug::SyncDoesNothing, Probe::Crash("writes")),
    (Bug::FollowersNotLogged, Probe::Crash("writes")),
    (Bug::EndBeforeBytes, Probe::Crash("writes")),
    (Bug::BatchInPieces, Probe::Crash("writes")),
    (Bug::FloorTooHigh, Probe::Crash("log")),
    (Bug::LogRemovedBeforeEdit, Probe::Crash("log")),
    (Bug::ReplaysFlushed, Probe::Crash("unlogged")),
    (Bug::TornTailStays, Probe::Crash("writes")),
    (Bug::CloseTrustsLog, Probe::Crash("unlogged")),
    (Bug::CheckpointWithoutHeads, Probe::Crash("checkpoint")),
    (Bug::ReadOnlySweeps, Probe::Crash("writes")),
    (Bug::SegmentNumberReused, Probe::Crash("numbers")),
    (Bug::LogChecksumIgnored, Probe::Crash("writes-hostile")),
    (Bug::SyncTriedAgain, Probe::FailedSync("mixed")),
    (Bug::FailedFlushForgotten, Probe::FailedCall("mixed")),
    (Bug::FullDiskIsFatal, Probe::FullDisk("rotation")),
    (Bug::FailedAppendAcknowledged, Probe::FullDisk("rotation")),
    (Bug::BlockChecksumIgnored, Probe::Damage(".sst")),
    (Bug::ValueChecksumIgnored, Probe::Damage(".vlog")),
    (Bug::DeleteDroppedEarly, MODEL),
    (Bug::RangeDeleteDroppedEarly, MODEL),
    (Bug::OrderedByNumber, Probe::Crash("numbers")),
    (Bug::SnapshotsForgotten, MODEL),
    (Bug::SegmentRemovedUnderReader, MODEL),
    (Bug::ExpiredUncoversOlder, MODEL),
    (Bug::FilterWithoutFamily, MODEL),
    (Bug::CollectionOnTop, MODEL),
    (Bug::CacheKeysCollide, MODEL),
    (Bug::IteratorSkipsSealed, Probe::Glimpse),
    (Bug::PublishedBeforeApplied, Probe::Glimpse),
    (Bug::CutNotDecided, Probe::RecordLog),
    (Bug::CutBytesStay, Probe::RecordLog),
];
