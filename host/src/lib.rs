//! NoKV: an embedded key-value database, and the command line on top of it.
//!
//! - [`Db`] is the handle: open it, clone it, use it from any thread.
//! - [`Options`] say where and how; every one may differ at the next open.
//! - What survives what: a write that returned survives the death of the process; with `sync` it survives power
//!   loss. After power loss, what is there is a prefix of what was written, in commit order; a batch is there as a
//!   whole or not at all.
//! - Tests can run on a file system in memory that crashes like a disk: [`Db::open_on`].
#![forbid(unsafe_code)]

#[cfg(feature = "cli")]
pub mod cli;
mod db;
mod index;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "redis")]
pub mod redis;
pub mod repair;
mod sync;
mod table_writer;
mod wal_cleaner;
pub mod wal_tail;

/// Statistics: what [`Db::stats`] gives.
pub mod stats {
    pub use crate::db::{
        CacheDetail, CacheStatsSnapshot, ColumnFamilySnapshot, CompactionStatsSnapshot, EngineSnapshot,
        FlushStages, FlushStatsSnapshot, HotKeyStat, HotStatsSnapshot, LatencySnapshot, LevelBytes,
        LsmLevelStats, LsmStatsSnapshot, MemorySnapshot, MemoryUse, MemtableSnapshot, PinSnapshot,
        PinsSnapshot, RaftStatsSnapshot, RecordCounts, RecoverySnapshot, RedisMetrics, RedisSnapshot,
        RegionMetrics, RegionStatsSnapshot, RingSnapshot, SegmentBytes, SeqSnapshot, SpaceSnapshot,
        StallSnapshot, StatsCollector, StatsSnapshot, TransportSnapshot, ValueLogGcSnapshot, ValueLogHead,
        ValueLogHotSnapshot, ValueLogStatsSnapshot, WalStatsSnapshot, WriteStatsSnapshot,
    };
}

pub use db::{
    CoreApi, Db, Entry, Event, EventListener, Expiry, Health, HotReport, HotRingReport, InternalEntry,
    InternalIter, InternalKey, Iter, IterOptions, OPTION_FIELDS, OptionField, OptionKind, Options,
    RegionMetrics, Snapshot, StatsCollector, StatsSnapshot, Transaction, Wal, WriteOptions, WriteSnapshot,
    options_page, split_internal_key,
};
pub use index::{BuiltinCursor, BuiltinEntries, BuiltinIndex, MemTableEngine};
pub use nokv_core as core;
pub use nokv_core::clock::{Clock, ManualClock};
pub use nokv_core::engine::watchdog::Decision as WatchdogDecision;
pub use nokv_core::engine::{
    CheckReport, GcReport, OpenReport, RaftStatus, RecordKind, ReplacedRange, TypedSection, WalSegment,
    WalStatus,
};
pub use nokv_core::formats::{CfId, Kind, Seq, Version};
pub use nokv_core::manifest::{RaftPointer, RegionEpoch, RegionMeta, RegionPeer, RegionState};
pub use nokv_core::read::point::Value;
pub use nokv_core::table::Compression;
pub use nokv_core::wal::{Position, RecordCounts};
pub use nokv_core::write::WriteBatch;
pub use nokv_core::{Error, MemIndex, Result, Vfs};
pub use nokv_vfs_std::StdFs;
pub use table_writer::TableWriter;
pub use wal_cleaner::CleanerGuard;
