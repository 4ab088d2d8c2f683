//! The statistics of a database at one moment, under the names of the original: what [`crate::Db::stats`] gives and
//! what goes out as JSON. Each number is defined in `docs/stats.md`.
//!
//! Who may call it: anyone; these are plain values.
//!
//! 1. Field names in JSON are those of the original, exactly; what is on top of them stands below `engine`.
//! 2. A field that the original leaves out when it is empty is left out only then; all others are always there. No
//!    number is NaN or infinite.
//! 3. Reading is tolerant: fields that are missing are 0, fields that are unknown are passed over, so that a tool
//!    can look at an older or newer process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::extra::EngineSnapshot;
use super::hot_key::HotKeyStat;

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// The database at one moment. Counters start at 0 with each open.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatsSnapshot {
    /// Entries in tables and memtables, hidden ones included.
    pub entries: i64,
    /// Flushes.
    pub flush: FlushStatsSnapshot,
    /// Compactions.
    pub compaction: CompactionStatsSnapshot,
    /// Value log.
    pub value_log: ValueLogStatsSnapshot,
    /// Log.
    pub wal: WalStatsSnapshot,
    /// Raft groups in the log.
    pub raft: RaftStatsSnapshot,
    /// Writers.
    pub write: WriteStatsSnapshot,
    /// Regions, as the attached [`super::RegionMetrics`] says.
    pub region: RegionStatsSnapshot,
    /// Hot keys.
    pub hot: HotStatsSnapshot,
    /// Caches.
    pub cache: CacheStatsSnapshot,
    /// The tree.
    pub lsm: LsmStatsSnapshot,
    /// Messages between stores; 0 without a cluster.
    pub transport: TransportSnapshot,
    /// Redis gateway; 0 without one.
    pub redis: RedisSnapshot,
    /// What the original does not have.
    pub engine: EngineSnapshot,
}

impl StatsSnapshot {
    /// Bytes of all table files.
    pub fn table_bytes(&self) -> u64 {
        let bytes = |l: &LsmLevelStats| l.size_bytes.saturating_add(l.ingest_size_bytes);
        self.lsm.levels.iter().map(|l| u64::try_from(bytes(l)).unwrap_or(0)).sum()
    }

    /// The counter of this name in `engine.counters`; 0 if there is none.
    pub fn counter(&self, name: &str) -> u64 {
        self.engine.counters.get(name).copied().unwrap_or(0)
    }
}

/// Flush queue and the time that its stages take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlushStatsSnapshot {
    /// Sealed memtables that are not yet in tables.
    pub pending: i64,
    /// Those of them that wait for their turn.
    pub queue_length: i64,
    /// Those that are being written.
    pub active: i64,
    /// Time from sealing to the start of the flush: mean.
    pub wait_ms: f64,
    /// The last one.
    pub last_wait_ms: f64,
    /// The longest.
    pub max_wait_ms: f64,
    /// Time to write a table and make it durable: mean.
    pub build_ms: f64,
    /// The last one.
    pub last_build_ms: f64,
    /// The longest.
    pub max_build_ms: f64,
    /// Time to let go of log segments: mean.
    pub release_ms: f64,
    /// The last one.
    pub last_release_ms: f64,
    /// The longest.
    pub max_release_ms: f64,
    /// Flushes that are done.
    pub completed: i64,
}

/// Compactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CompactionStatsSnapshot {
    /// Levels and ingest sets whose score makes a compaction due.
    pub backlog: i64,
    /// The highest score; from 1 on a compaction is due.
    pub max_score: f64,
    /// How long the last one took.
    pub last_duration_ms: f64,
    /// How long the longest took.
    pub max_duration_ms: f64,
    /// Compactions that are done, of any kind.
    pub runs: u64,
    /// Those that drained an ingest set into its level.
    pub ingest_runs: i64,
    /// Those that merged tables of an ingest set among themselves.
    #[serde(rename = "ingest_merge_runs")]
    pub merge_runs: i64,
    /// Time in draining.
    pub ingest_ms: f64,
    /// Time in merging ingest sets.
    #[serde(rename = "ingest_merge_ms")]
    pub merge_ms: f64,
    /// Ingest tables that were drained.
    pub ingest_tables: i64,
    /// Ingest tables that were merged among themselves.
    #[serde(rename = "ingest_merge_tables")]
    pub merge_tables: i64,
    /// `Options::compaction_value_weight`.
    pub value_weight: f64,
    /// A weight that would bring a value-dense level under its alert threshold sooner; 0 and left out without an
    /// alert.
    #[serde(skip_serializing_if = "is_zero")]
    pub value_weight_suggested: f64,
}

/// Value log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValueLogStatsSnapshot {
    /// Segments.
    pub segments: i64,
    /// Segments that nothing live names, kept for readers of older views.
    pub pending_deletes: i64,
    /// Segments, heads included, whose dead share makes them worth collecting.
    pub discard_queue: i64,
    /// Where the next append of each bucket goes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub heads: BTreeMap<u32, ValueLogHead>,
    /// Collections.
    pub gc: ValueLogGcSnapshot,
}

/// The head of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValueLogHead {
    /// Always 0: a head is a place, not a value.
    #[serde(rename = "Len")]
    pub len: u32,
    /// Bytes in the segment.
    #[serde(rename = "Offset")]
    pub offset: u64,
    /// The segment.
    #[serde(rename = "Fid")]
    pub fid: u32,
}

/// Value-log collections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValueLogGcSnapshot {
    /// Collections that are done.
    pub gc_runs: u64,
    /// Segments that they freed.
    pub segments_removed: u64,
    /// Heads that were left for a new segment.
    pub head_updates: u64,
    /// Collections that run.
    pub gc_active: i64,
    /// Collections that wait to be started.
    pub gc_scheduled: u64,
    /// Automatic rounds that ran fewer jobs for the sake of compactions.
    pub gc_throttled: u64,
    /// Automatic rounds that were left out for the sake of compactions.
    pub gc_skipped: u64,
    /// Calls that were refused because one was running.
    pub gc_rejected: u64,
    /// How many may run at once.
    pub gc_parallelism: i64,
}

/// Log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WalStatsSnapshot {
    /// The segment that takes appends.
    pub active_segment: i64,
    /// Segments in files.
    pub segment_count: i64,
    /// Bytes written to the active segment.
    pub active_size: i64,
    /// Segments that were removed.
    pub segments_removed: u64,
    /// Records by kind.
    pub record_counts: RecordCounts,
    /// Segments that hold raft records.
    pub segments_with_raft_records: i64,
    /// Those of them that nothing needs.
    pub removable_raft_segments: i64,
    /// Raft records among all records, from 0 to 1.
    pub typed_record_ratio: f64,
    /// Are they more than the options allow?
    pub typed_record_warning: bool,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub typed_record_reason: String,
    /// Watchdog passes that removed segments.
    pub auto_gc_runs: u64,
    /// Segments that they removed.
    pub auto_gc_removed: u64,
    /// When the last one was, in seconds since the Unix epoch; 0 = never.
    pub auto_gc_last_unix: i64,
}

/// Log records by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordCounts {
    /// With batches of entries.
    pub entries: u64,
    /// With raft entries.
    pub raft_entries: u64,
    /// With raft states.
    pub raft_states: u64,
    /// With raft snapshots.
    pub raft_snapshots: u64,
    /// With anything else.
    pub other: u64,
}

/// Raft groups in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RaftStatsSnapshot {
    /// Groups.
    pub group_count: i64,
    /// Those that lag behind more than the options allow.
    pub lagging_groups: i64,
    /// The oldest segment that a group needs.
    pub min_log_segment: u32,
    /// The newest segment that a group starts in.
    pub max_log_segment: u32,
    /// Segments between the active one and the oldest that a group needs.
    pub max_lag_segments: i64,
    /// `Options::raft_lag_warn_segments`.
    pub lag_warn_threshold: i64,
    /// Does any group lag behind more than that?
    pub lag_warning: bool,
}

/// Writers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WriteStatsSnapshot {
    /// Batches in the commit queue.
    pub queue_depth: i64,
    /// Their operations.
    pub queue_entries: i64,
    /// Their encoded bytes.
    pub queue_bytes: i64,
    /// Operations in one group: mean.
    pub avg_batch_entries: f64,
    /// Encoded bytes of one group: mean.
    pub avg_batch_bytes: f64,
    /// Time that a batch waits in the queue: mean.
    pub avg_request_wait_ms: f64,
    /// Time that a batch with large values needs for the value log: mean.
    #[serde(rename = "avg_vlog_ms")]
    pub avg_value_log_ms: f64,
    /// Time to insert a batch into its memtable: mean.
    pub avg_apply_ms: f64,
    /// Groups that were logged.
    pub batches_total: i64,
    /// Are writers slowed down or stopped now?
    pub throttle_active: bool,
    /// Writes that were refused because of a hot key.
    pub hot_key_limited: u64,
}

/// Regions by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionStatsSnapshot {
    /// All.
    pub total: i64,
    /// Not yet running.
    pub new: i64,
    /// Running.
    pub running: i64,
    /// On their way out.
    pub removing: i64,
    /// Gone, remembered.
    pub tombstone: i64,
    /// In any other state.
    pub other: i64,
}

/// Hot keys. Rings that are off are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HotStatsSnapshot {
    /// The keys that are read most, hottest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_keys: Vec<HotKeyStat>,
    /// Their ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_ring: Option<RingSnapshot>,
    /// The keys that are written most, hottest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write_keys: Vec<HotKeyStat>,
    /// Their ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_ring: Option<RingSnapshot>,
}

/// A hot-key ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RingSnapshot {
    /// Hash buckets.
    pub buckets: u64,
    /// Keys that it tracks.
    pub nodes: u64,
    /// Keys for each bucket.
    pub load_factor: f64,
    /// Slots of the sliding window.
    pub window_slots: u64,
    /// Length of a slot, in nanoseconds.
    pub window_slot_duration: u64,
    /// Time between decays, in nanoseconds.
    pub decay_interval: u64,
    /// Counts are divided by 2^shift then.
    pub decay_shift: u32,
    /// Most keys that it tracks.
    pub node_cap: u64,
    /// At the cap, hashes with these bits 0 still come in.
    pub sample_mask: u64,
    /// Counted accesses.
    pub touches: u64,
    /// Keys that came in.
    pub inserts: u64,
    /// Keys that went.
    pub removes: u64,
    /// Accesses that met a limit.
    pub clamps: u64,
    /// Accesses of keys that the cap kept out.
    pub sample_drops: u64,
    /// Decays.
    pub decay_runs: u64,
    /// The last one, in seconds since the Unix epoch; 0 = never.
    pub last_decay_unix: i64,
}

/// Shares of look-ups that were answered from memory, each from 0 to 1; 0 before the first look-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheStatsSnapshot {
    /// Blocks of level 0.
    pub block_l0_hit_rate: f64,
    /// Blocks of all other levels.
    pub block_l1_hit_rate: f64,
    /// Filters.
    pub bloom_hit_rate: f64,
    /// Table indexes.
    pub index_hit_rate: f64,
    /// Iterators that took over the memory of an earlier one.
    pub iterator_reused: u64,
}

/// The tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LsmStatsSnapshot {
    /// Every level, from 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<LsmLevelStats>,
    /// Value-log bytes that tables name.
    pub value_bytes_total: i64,
    /// The highest density of any level.
    pub value_density_max: f64,
    /// Is it above `Options::compaction_value_alert_threshold`?
    pub value_density_alert: bool,
    /// Operations by column family.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub column_families: BTreeMap<String, ColumnFamilySnapshot>,
}

/// One level. Sizes in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LsmLevelStats {
    /// Its number.
    pub level: i64,
    /// Sorted tables (level 0: all tables).
    #[serde(rename = "tables")]
    pub table_count: i64,
    /// Their bytes.
    pub size_bytes: i64,
    /// Value-log bytes that they name.
    pub value_bytes: i64,
    /// Bytes of their entries that a compaction would drop for sure: deletes, purges and expired entries, about.
    pub stale_bytes: i64,
    /// Tables of the ingest set.
    pub ingest_tables: i64,
    /// Their bytes.
    pub ingest_size_bytes: i64,
    /// Value-log bytes that they name.
    pub ingest_value_bytes: i64,
    /// Value-log bytes among all bytes of the sorted tables, from 0 to 1.
    pub value_density: f64,
    /// The same of the ingest set.
    pub ingest_value_density: f64,
    /// Compactions that drained its ingest set.
    pub ingest_runs: i64,
    /// Time in them.
    pub ingest_ms: f64,
    /// Ingest tables that they took.
    pub ingest_tables_compacted: i64,
    /// Compactions that merged its ingest set's tables among themselves.
    #[serde(rename = "ingest_merge_runs")]
    pub merge_runs: i64,
    /// Time in them.
    #[serde(rename = "ingest_merge_ms")]
    pub merge_ms: f64,
    /// Ingest tables that they took.
    #[serde(rename = "ingest_merge_tables")]
    pub merge_tables: i64,
}

/// Operations of one column family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnFamilySnapshot {
    /// Operations written.
    pub writes: u64,
    /// Point reads.
    pub reads: u64,
}

/// Messages between stores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TransportSnapshot {
    /// Connections that were tried.
    pub dials_total: u64,
    /// Those that failed.
    pub dial_failures: u64,
    /// Messages that were tried.
    pub send_attempts: u64,
    /// Those that arrived.
    pub send_successes: u64,
    /// Those that did not.
    pub send_failures: u64,
    /// Messages that were tried again.
    pub retries: u64,
    /// Those that were given up.
    pub retry_exhausted: u64,
    /// Peers that are cut off.
    pub blocked_peers: u64,
    /// The last failure, in seconds since the Unix epoch; 0 = never.
    pub last_failure_unix: i64,
    /// Does the watchdog call the transport sick?
    pub watchdog_active: bool,
    /// Failures in a row.
    pub watchdog_consecutive_fails: u64,
    /// From how many on it does.
    pub watchdog_threshold: u64,
    /// Why.
    pub watchdog_reason: String,
}

/// Redis gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RedisSnapshot {
    /// Commands.
    pub commands_total: u64,
    /// Those that failed.
    pub errors_total: u64,
    /// Open connections.
    pub connections_active: i64,
    /// Connections since the start.
    pub connections_accepted: u64,
    /// Commands by name.
    pub commands_per_operation: BTreeMap<String, u64>,
}
