//! Statistics that the original does not have: the object `engine` of a [`super::StatsSnapshot`]. Each number is
//! defined in `docs/stats.md`.
//!
//! Who may call it: anyone; these are plain values. Sizes are in bytes, times in the unit that a name ends in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hot_key::HotKeyStat;
use super::snapshot::RingSnapshot;

/// What is on top of the original's statistics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineSnapshot {
    /// Made from files alone: nothing runs, counters are 0.
    pub offline: bool,
    /// Events since the open, by name.
    pub counters: BTreeMap<String, u64>,
    /// Places in commit order.
    pub seqs: SeqSnapshot,
    /// Memtables.
    pub memtables: MemtableSnapshot,
    /// The stages of a flush that the original does not tell apart.
    pub flush: FlushStages,
    /// Every level, from 0: what its bytes are.
    pub levels: Vec<LevelBytes>,
    /// Every value-log segment: what its bytes are.
    pub value_log_segments: Vec<SegmentBytes>,
    /// Amplification.
    pub space: SpaceSnapshot,
    /// Back-pressure, now and ahead.
    pub stall: StallSnapshot,
    /// Memory against its bounds.
    pub memory: MemorySnapshot,
    /// Block cache and file handles.
    pub cache: CacheDetail,
    /// How long operations take, by name.
    pub latency: BTreeMap<String, LatencySnapshot>,
    /// What keeps files and entries from going.
    pub pins: PinsSnapshot,
    /// What the open found and did.
    pub recovery: RecoverySnapshot,
    /// The ring that chooses value-log buckets.
    pub value_log_hot: ValueLogHotSnapshot,
}

/// Places in commit order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeqSnapshot {
    /// The highest that reads see.
    pub published: u64,
    /// Every logged write up to here survives power loss.
    pub durable: u64,
    /// Every write up to here is in tables.
    pub flushed: u64,
}

/// Memtables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemtableSnapshot {
    /// Those that wait for their flush.
    pub sealed: u64,
    /// Memory of all.
    pub bytes: u64,
    /// Entries of all.
    pub entries: u64,
}

/// Stages of a flush beside waiting, building and releasing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlushStages {
    /// Time to make the value log durable first: mean.
    pub value_sync_ms: f64,
    /// The last one.
    pub last_value_sync_ms: f64,
    /// The longest.
    pub max_value_sync_ms: f64,
    /// Time to record the table in the manifest, waiting for other changes of the tree included: mean.
    pub install_ms: f64,
    /// The last one.
    pub last_install_ms: f64,
    /// The longest.
    pub max_install_ms: f64,
}

/// The bytes of a level's tables by what they are; live, dead and expired add up to the level's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LevelBytes {
    /// Its number.
    pub level: u64,
    /// Entries of its tables.
    pub entries: u64,
    /// Puts and pointers that did not expire. Some may be hidden by newer levels.
    pub live_bytes: u64,
    /// Deletes and purges.
    pub dead_bytes: u64,
    /// At most so much has expired.
    pub expired_bytes: u64,
    /// Tables that left the level and that readers still hold; not part of the level's size.
    pub pinned_bytes: u64,
}

/// The bytes of a value-log segment by what they are; live, dead, expired and pinned add up to its size without
/// its header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SegmentBytes {
    /// Bucket.
    pub bucket: u32,
    /// Segment in the bucket.
    pub segment: u32,
    /// Does it take appends?
    pub head: bool,
    /// Length of the file.
    pub size_bytes: u64,
    /// Named by tables or memtables.
    pub live_bytes: u64,
    /// Named by nothing.
    pub dead_bytes: u64,
    /// At most so much of what is named has expired.
    pub expired_bytes: u64,
    /// Named only by tables and memtables that readers still hold.
    pub pinned_bytes: u64,
}

/// Amplification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpaceSnapshot {
    /// Table files.
    pub table_bytes: u64,
    /// Value-log files.
    pub value_log_bytes: u64,
    /// Records in them that tables or memtables name.
    pub value_log_live_bytes: u64,
    /// Log files.
    pub wal_bytes: u64,
    /// About how much of tables and value log a database with nothing hidden would take.
    pub live_bytes: u64,
    /// Bytes written to files for each byte that was written by the user; 0 before the first.
    pub write_amplification: f64,
    /// Bytes in tables and value log for each live one; 0 without data.
    pub space_amplification: f64,
}

/// Back-pressure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StallSnapshot {
    /// `none`, `slow` or `stop`.
    pub state: String,
    /// How long a writer waits for each KiB, in nanoseconds.
    pub delay_ns_per_kib: u64,
    /// Bytes that compactions have yet to move.
    pub debt_bytes: u64,
    /// How fast they have grown since the snapshot before; negative when they shrink.
    pub debt_bytes_per_second: f64,
    /// Level-0 tables now.
    pub level0_tables: u64,
    /// From how many on writers are slowed down.
    pub level0_slowdown_tables: u64,
    /// From how many on writers wait.
    pub level0_stop_tables: u64,
    /// At the rates since the snapshot before: seconds until writers are slowed down; 0 = not in sight.
    pub seconds_to_slowdown: f64,
    /// Seconds until writers wait; 0 = not in sight.
    pub seconds_to_stop: f64,
}

/// Memory against its bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemorySnapshot {
    /// All consumers.
    pub used_bytes: u64,
    /// The sum of the bounds that are configured.
    pub budget_bytes: u64,
    /// By name.
    pub consumers: BTreeMap<String, MemoryUse>,
}

/// What one consumer holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryUse {
    /// Now.
    pub used_bytes: u64,
    /// At most; 0 = no bound of its own.
    pub budget_bytes: u64,
}

/// Block cache and file handles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheDetail {
    /// Blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Look-ups of level-0 blocks that found one.
    pub l0_hits: u64,
    /// Those that did not.
    pub l0_misses: u64,
    /// Look-ups of deeper blocks that found one.
    pub l1_hits: u64,
    /// Those that did not.
    pub l1_misses: u64,
    /// Blocks that had to leave.
    pub evictions: u64,
    /// Open table files.
    pub open_files: u64,
}

/// How long an operation takes. Percentiles are upper ends of buckets, at most an eighth too high.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LatencySnapshot {
    /// One of so many operations is measured.
    pub sampled_one_in: u64,
    /// Measured operations.
    pub count: u64,
    /// Their time.
    pub sum_ns: u64,
    /// Half are at most as long.
    pub p50_ns: u64,
    /// 90 % are at most as long.
    pub p90_ns: u64,
    /// 99 % are at most as long.
    pub p99_ns: u64,
    /// 99.9 % are at most as long.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// What keeps files and entries from going.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PinsSnapshot {
    /// Open snapshots.
    pub snapshots: u64,
    /// Open iterators.
    pub iterators: u64,
    /// Tables that left the tree and that readers still hold.
    pub retired_tables: u64,
    /// Their bytes.
    pub retired_table_bytes: u64,
    /// Who, oldest first.
    pub list: Vec<PinSnapshot>,
}

/// A snapshot or an iterator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PinSnapshot {
    /// `snapshot`, `iterator` or `internal_iterator`.
    pub owner: String,
    /// The last write that it sees.
    pub seq: u64,
    /// How long it has been open.
    pub age_ms: u64,
    /// Iterators: bytes of files and memtables that only readers hold, this one among them. Snapshots: at most so
    /// many bytes of hidden entries are kept for it.
    pub bytes: u64,
}

/// What the open found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecoverySnapshot {
    /// It was closed cleanly before.
    pub clean: bool,
    /// Log segments that hold records.
    pub segments: u64,
    /// Log records in them.
    pub records: u64,
    /// Operations that went into memtables.
    pub operations: u64,
    /// Log bytes that were read.
    pub bytes_replayed: u64,
    /// Torn tails that were cut, of log and manifest.
    pub tails_cut: u64,
    /// Log bytes that were cut.
    pub cut_bytes: u64,
    /// Unnamed files that were removed.
    pub swept_files: u64,
    /// How long the open took.
    pub duration_ms: u64,
}

/// The ring that chooses value-log buckets. Left out when it is off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValueLogHotSnapshot {
    /// Its hottest keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<HotKeyStat>,
    /// Itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingSnapshot>,
}
