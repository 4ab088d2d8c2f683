//! Options of the database: one table of fields, from which the struct, its defaults, its TOML form and the
//! listing of the command line are made.
//!
//! Who may call it: anyone. Every option may differ at the next open. Types say the unit ([`Duration`]) or names do
//! (`_bytes`); where the original took negative numbers for "off" or "default", 0 does that here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::toml::de::DeValue;
use nokv_core::clock::Clock;
use nokv_core::table::Compression;

use super::events::EventListener;
use crate::index::MemTableEngine;

mod bounds;
mod collect;
mod engine;
mod hot;
mod page;
mod toml;
mod value;

use value::Setting;

pub use page::page;
pub use value::OptionKind;

/// What is known of an option beside its value.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct OptionField {
    /// Its name, in code and in TOML.
    pub name: &'static str,
    /// What it is about: the options of a group stand together.
    pub group: &'static str,
    /// What sort of value it has.
    pub kind: OptionKind,
    /// The original's name of it; empty for one that the original does not have.
    pub original: &'static str,
    /// Its documentation, line by line.
    pub doc: &'static [&'static str],
    show: fn(&Options, OptionKind) -> String,
    parse: fn(&mut Options, &DeValue<'_>, OptionKind) -> Result<(), String>,
}

impl OptionField {
    /// The field of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        OPTION_FIELDS.iter().find(|field| field.name == name)
    }

    /// Its value in `options`, as it stands in TOML.
    pub fn value(&self, options: &Options) -> String {
        (self.show)(options, self.kind)
    }

    /// Its default, as it stands in TOML.
    pub fn default_value(&self) -> String {
        self.value(&Options::default())
    }

    /// It is checked, and otherwise without effect: something better took its place.
    pub fn is_superseded(&self) -> bool {
        self.doc.first().is_some_and(|line| line.trim_start().starts_with("Superseded:"))
    }

    fn parse_into(&self, options: &mut Options, value: &DeValue<'_>) -> Result<(), String> {
        (self.parse)(options, value, self.kind)
    }
}

macro_rules! options {
    ($( [$group:literal] $(
        $(#[doc = $doc:literal])+ $name:ident: $ty:ty = $default:expr, $original:literal;
    )+ )+) => {
        /// Options of a [`crate::Db`]. Sizes are in bytes.
        ///
        /// ```
        /// let options = nokv::Options { mem_table_bytes: 8 << 20, sync_writes: true, ..nokv::Options::new("data") };
        /// assert!(options.validate().is_ok());
        /// ```
        #[derive(Clone)]
        pub struct Options {
            $($( $(#[doc = $doc])+ pub $name: $ty, )+)+
            /// Where time comes from; `None`: the system.
            pub clock: Option<Arc<dyn Clock>>,
            /// Hears of background events.
            pub listener: Option<Arc<dyn EventListener>>,
        }

        impl Default for Options {
            fn default() -> Self {
                Self { $($( $name: $default, )+)+ clock: None, listener: None }
            }
        }

        impl std::fmt::Debug for Options {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("Options")
                    $($( .field(stringify!($name), &self.$name) )+)+
                    .finish_non_exhaustive()
            }
        }

        /// Every option that has a value in TOML, in the order of the struct.
        pub static OPTION_FIELDS: &[OptionField] = &[
            $($( OptionField {
                name: stringify!($name),
                group: $group,
                kind: <$ty as Setting>::KIND.named(stringify!($name)),
                original: $original,
                doc: &[$($doc),+],
                show: |options, kind| options.$name.show(kind),
                parse: |options, value, kind| {
                    options.$name = Setting::parse(value, kind)?;
                    Ok(())
                },
            }, )+)+
        ];
    };
}

options! {
    ["Where"]
    /// Directory of the database.
    work_dir: PathBuf = PathBuf::from("nokv-data"), "WorkDir";
    /// Opens for reading only: nothing is written, no lock is taken, no thread is started.
    read_only: bool = false, "";
    /// Makes a new database where there is none.
    create_if_missing: bool = true, "";

    ["Memtables and log"]
    /// A memtable is sealed at this size, in bytes; also the most that one batch may hold.
    mem_table_bytes: usize = 64 << 20, "MemTableSize";
    /// Index of new memtables: `art` or `skiplist`, as compiled in.
    mem_table_engine: MemTableEngine = MemTableEngine::default(), "MemTableEngine";
    /// Sealed memtables at which writers wait. At least 1.
    sealed_mem_tables_max: usize = 3, "";
    /// Size of a log segment, in bytes: at least 256 KiB, below 4 GiB.
    wal_segment_bytes: u64 = 64 << 20, "";
    /// What `WriteOptions::sync` `None` means: does a write survive power loss when it returns?
    sync_writes: bool = false, "SyncWrites";
    /// Sync each manifest edit. Without it an edit's sync is put off, at most until the first deletion or log
    /// release that needs it.
    manifest_sync: bool = true, "ManifestSync";
    /// The manifest is rewritten when it is larger than this, in bytes; 0 = never.
    manifest_rewrite_threshold_bytes: u64 = 4 << 20, "ManifestRewriteThreshold";

    ["Writes"]
    /// Most operations in one batch: a larger one is refused with `BatchTooLarge` and nothing written. 0 = no limit
    /// but the memtable's size.
    max_batch_count: u64 = 0, "MaxBatchCount";
    /// Most encoded bytes in one batch: a larger one is refused with `BatchTooLarge` and nothing written. 0 = the
    /// memtable's size, which is always a limit.
    max_batch_bytes: u64 = 0, "MaxBatchSize";
    /// Most batches that one log record takes together. It never refuses a batch; at least 1.
    write_batch_max_count: usize = 64, "WriteBatchMaxCount";
    /// A log record takes no more batches behind this many encoded bytes. It never refuses a batch.
    write_batch_max_bytes: usize = 1 << 20, "WriteBatchMaxSize";
    /// How long the writer of a log record that would hold one batch waits for others to come along; zero = not at
    /// all.
    write_batch_wait: Duration = Duration::ZERO, "WriteBatchWait";
    /// Takes batches with preconditions, which transactions use. Without it such a batch is refused with
    /// `InvalidArgument`.
    detect_conflicts: bool = true, "DetectConflicts";

    ["Value log"]
    /// Values from this length on, in bytes, go to the value log. 0: only those above an eighth of a log segment,
    /// which always do.
    value_threshold_bytes: usize = 4 << 10, "ValueThreshold";
    /// A value-log segment is left for a new one at this size, in bytes.
    value_log_segment_bytes: u64 = 256 << 20, "ValueLogFileSize";
    /// A value-log segment is left for a new one at this many values; 0 = no limit.
    value_log_max_entries: u32 = 0, "ValueLogMaxEntries";
    /// Buckets of the value log, by key hash; 0 and 1: one.
    value_log_bucket_count: u16 = 4, "ValueLogBucketCount";
    /// The first so many buckets take the values of hot keys; 0: hot keys are not kept apart.
    value_log_hot_bucket_count: u16 = 1, "ValueLogHotBucketCount";
    /// A key is hot for the value log from this count in its ring on; 0: none ever is.
    value_log_hot_key_threshold: u32 = 8, "ValueLogHotKeyThreshold";
    /// How often value-log segments are looked for that are worth collecting; zero = never by itself.
    value_log_gc_interval: Duration = Duration::from_secs(30), "ValueLogGCInterval";
    /// Dead share of a segment, above 0 and below 1, from which automatic collection takes it.
    value_log_gc_discard_ratio: f64 = 0.5, "ValueLogGCDiscardRatio";
    /// Collections at a time, each in a bucket of its own; 0 = half the compaction threads, at least 1.
    value_log_gc_parallelism: usize = 0, "ValueLogGCParallelism";
    /// From this compaction score on, half as many collections run; 0 = the default.
    value_log_gc_reduce_score: f64 = 2.0, "ValueLogGCReduceScore";
    /// From this compaction score on, automatic collection waits; 0 = the default.
    value_log_gc_skip_score: f64 = 4.0, "ValueLogGCSkipScore";
    /// From so many waiting flushes and compactions on, half as many collections run; 0 = the default.
    value_log_gc_reduce_backlog: usize = 4, "ValueLogGCReduceBacklog";
    /// From so many waiting flushes and compactions on, automatic collection waits; 0 = the default.
    value_log_gc_skip_backlog: usize = 8, "ValueLogGCSkipBacklog";
    /// Share of a segment's bytes that is read to verify its count of dead bytes before it is collected; 0 = the
    /// default, at most 1.
    value_log_gc_sample_size_ratio: f64 = 0.01, "ValueLogGCSampleSizeRatio";
    /// The sample also ends at this share of the values that `value_log_max_entries` allows; 0 = the default, at
    /// most 1.
    value_log_gc_sample_count_ratio: f64 = 0.01, "ValueLogGCSampleCountRatio";
    /// Take the sample from the segment's start instead of a place that changes from collection to collection.
    value_log_gc_sample_from_head: bool = false, "ValueLogGCSampleFromHead";
    /// Log each value-log step at level `info`.
    value_log_verbose: bool = false, "ValueLogVerbose";
    /// Superseded: dead bytes are part of each manifest edit and exact at all times. Checked and otherwise without
    /// effect.
    discard_stats_flush_threshold: u32 = 100, "DiscardStatsFlushThreshold";

    ["Tables and caches"]
    /// A compaction closes its output tables at this size, in bytes.
    table_bytes: u64 = 64 << 20, "SSTableMaxSz";
    /// Size of a data block before compression, in bytes.
    block_bytes: usize = 4 << 10, "";
    /// Filter bits per user key; 0 = no filter.
    bloom_bits_per_key: u32 = 10, "";
    /// Compression of tables below level 0: `none`, `lz4` or `zstd`, as compiled in.
    compression: Compression = if cfg!(feature = "lz4") { Compression::Lz4 } else { Compression::None }, "";
    /// Bound of the block cache, in bytes.
    block_cache_bytes: usize = 256 << 20, "BlockCacheSize";
    /// Bound of the filters of open tables, in bytes; those of tables that were not read for long are read again on
    /// demand. 0 = no bound.
    bloom_cache_bytes: usize = 64 << 20, "BloomCacheSize";
    /// Table files that may be open at once.
    open_files_max: usize = 512, "";

    ["Tree"]
    /// Threads for compactions, besides the one for flushes; 0 = one for each two processors, at most 4.
    num_compactors: usize = 0, "NumCompactors";
    /// Level-0 tables above which writers are slowed down; 0 = the default.
    num_level_zero_tables: usize = engine::LEVEL0_SLOWDOWN_TABLES, "NumLevelZeroTables";
    /// Level-0 tables from which a compaction is due.
    level0_compaction_tables: usize = 4, "";
    /// Level-0 tables at which writers wait. Not below `num_level_zero_tables`.
    level0_stop_tables: usize = 24, "";
    /// Least target size of the first sorted level, in bytes.
    level_base_bytes: u64 = 128 << 20, "";
    /// Each level's target is so many times that of the level above.
    level_multiplier: u64 = 10, "";
    /// Most level-0 tables that move into an ingest set in one step; 0 = the default.
    ingest_compact_batch_size: usize = 4, "IngestCompactBatchSize";
    /// Score of an ingest set from which its tables are merged among themselves when they cannot drain; 0 = the
    /// default.
    ingest_backlog_merge_score: f64 = 2.0, "IngestBacklogMergeScore";
    /// Shards of one ingest set that may be compacted at once; 0 = 1.
    ingest_shard_parallelism: usize = 2, "IngestShardParallelism";
    /// How much the value-log bytes that a level names add to its compaction score; 0 = nothing.
    compaction_value_weight: f64 = 0.5, "CompactionValueWeight";
    /// Share of value-log bytes among a level's bytes above which statistics give an alert; 0 = never.
    compaction_value_alert_threshold: f64 = 0.6, "CompactionValueAlertThreshold";
    /// Bytes a second that background work may write; 0 = no limit.
    background_bytes_per_second: u64 = 0, "";

    ["Hot keys"]
    /// Count how often keys are read and written. Each read and write then costs a look at the clock and a count that
    /// threads share.
    hot_ring_enabled: bool = false, "HotRingEnabled";
    /// The rings have 2^bits hash buckets; 0 = the default, at most 24.
    hot_ring_bits: u8 = 12, "HotRingBits";
    /// Hottest keys that statistics list, and whose blocks are kept warm; 0 = the default.
    hot_ring_top_k: usize = 16, "HotRingTopK";
    /// How often a ring starts a new generation; the one before is kept beside it. Zero = never.
    hot_ring_rotation_interval: Duration = Duration::from_secs(1800), "HotRingRotationInterval";
    /// Most keys that a ring tracks; 0 = no limit.
    hot_ring_node_cap: u64 = 1 << 16, "HotRingNodeCap";
    /// At the cap, one of 2^bits new keys, always the same ones, may still come in; 0 = none but for a key that
    /// turns out hotter than the coldest one.
    hot_ring_node_sample_bits: u8 = 0, "HotRingNodeSampleBits";
    /// How often all counts of a ring are cut down; zero = never.
    hot_ring_decay_interval: Duration = Duration::ZERO, "HotRingDecayInterval";
    /// Counts are divided by 2^shift then; 0 with an interval counts as 1.
    hot_ring_decay_shift: u32 = 1, "HotRingDecayShift";
    /// Slots of the sliding window in which touches count; 0 = they count for ever.
    hot_ring_window_slots: usize = 8, "HotRingWindowSlots";
    /// Length of a slot; zero = the default.
    hot_ring_window_slot_duration: Duration = Duration::from_millis(250), "HotRingWindowSlotDuration";
    /// Writes of one key within the window after which the next is refused with `HotKeyWriteThrottle`; 0 = never.
    write_hot_key_limit: u32 = 0, "WriteHotKeyLimit";
    /// Writes of one key within the window above which its writers get larger log records; 0 = never.
    hot_write_burst_threshold: u32 = 8, "HotWriteBurstThreshold";
    /// `write_batch_max_count` and `write_batch_max_bytes` are multiplied by this then; 0 and 1: not at all.
    hot_write_batch_multiplier: u32 = 2, "HotWriteBatchMultiplier";
    /// The value log's ring has options of its own, those that follow.
    value_log_hot_ring_override: bool = false, "ValueLogHotRingOverride";
    /// As `hot_ring_bits`; 0 = the same.
    value_log_hot_ring_bits: u8 = 0, "ValueLogHotRingBits";
    /// As `hot_ring_rotation_interval`; zero = never.
    value_log_hot_ring_rotation_interval: Duration = Duration::ZERO, "ValueLogHotRingRotationInterval";
    /// As `hot_ring_node_cap`.
    value_log_hot_ring_node_cap: u64 = 1 << 16, "ValueLogHotRingNodeCap";
    /// As `hot_ring_node_sample_bits`.
    value_log_hot_ring_node_sample_bits: u8 = 0, "ValueLogHotRingNodeSampleBits";
    /// As `hot_ring_decay_interval`; zero = never.
    value_log_hot_ring_decay_interval: Duration = Duration::ZERO, "ValueLogHotRingDecayInterval";
    /// As `hot_ring_decay_shift`.
    value_log_hot_ring_decay_shift: u32 = 1, "ValueLogHotRingDecayShift";
    /// As `hot_ring_window_slots`.
    value_log_hot_ring_window_slots: usize = 8, "ValueLogHotRingWindowSlots";
    /// As `hot_ring_window_slot_duration`.
    value_log_hot_ring_window_slot_duration: Duration = Duration::from_millis(250), "ValueLogHotRingWindowSlotDuration";

    ["Log watchdog"]
    /// Watch the log's backlog: warn about typed records, remove segments that nothing needs.
    enable_wal_watchdog: bool = true, "EnableWALWatchdog";
    /// How often the watchdog looks; zero = never by itself.
    wal_auto_gc_interval: Duration = Duration::from_secs(15), "WALAutoGCInterval";
    /// Removable segments from which a pass removes any; 0 = 1.
    wal_auto_gc_min_removable: usize = 1, "WALAutoGCMinRemovable";
    /// Most segments that one pass removes; 0 = the default.
    wal_auto_gc_max_batch: usize = 4, "WALAutoGCMaxBatch";
    /// Share of raft records among the log's records from which statistics warn; 0 = never.
    wal_typed_record_warn_ratio: f64 = 0.35, "WALTypedRecordWarnRatio";
    /// Segments with raft records above which statistics warn; 0 = never.
    wal_typed_record_warn_segments: u64 = 6, "WALTypedRecordWarnSegments";
    /// Segments that a raft group may lag behind the active one before statistics warn; 0 = never.
    raft_lag_warn_segments: u64 = 8, "RaftLagWarnSegments";
}

impl Options {
    /// The defaults, in `work_dir`.
    pub fn new(work_dir: impl Into<PathBuf>) -> Self {
        Self { work_dir: work_dir.into(), ..Self::default() }
    }
}
