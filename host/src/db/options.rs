//! Options of the database. Every one may differ at the next open.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nokv_core::clock::Clock;
use nokv_core::compact::PickOptions;
use nokv_core::engine::EngineOptions;
use nokv_core::table::{Compression, TableOptions};
use nokv_core::{Error, Result};

use super::events::EventListener;
use crate::index::MemTableEngine;

/// Options of a [`crate::Db`]. Sizes are in bytes.
///
/// ```
/// let options = nokv::Options { mem_table_bytes: 8 << 20, sync_writes: true, ..nokv::Options::new("data") };
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone)]
pub struct Options {
    /// Directory of the database.
    pub work_dir: PathBuf,
    /// Opens for reading only: nothing is written, no lock is taken, no thread is started.
    pub read_only: bool,
    /// Makes a new database where there is none.
    pub create_if_missing: bool,
    /// A memtable is sealed at this size; also the limit of one batch.
    pub mem_table_bytes: usize,
    /// Index of new memtables.
    pub mem_table_engine: MemTableEngine,
    /// Sealed memtables at which writers wait.
    pub sealed_mem_tables_max: usize,
    /// Size of a log segment. Between 256 KiB and 4 GiB.
    pub wal_segment_bytes: u64,
    /// What [`crate::WriteOptions::sync`] `None` means.
    pub sync_writes: bool,
    /// Sync each manifest edit. Without it an edit may be lost in a power cut, but never one that a deletion
    /// depends on.
    pub manifest_sync: bool,
    /// The manifest is rewritten when it is larger than this; 0 = never.
    pub manifest_rewrite_threshold_bytes: u64,
    /// Values from this length on go to the value log. 0: only those above an eighth of a log segment, which
    /// always do.
    pub value_threshold_bytes: usize,
    /// A value-log segment is left for a new one at this size.
    pub value_log_segment_bytes: u64,
    /// Buckets of the value log, by key hash.
    pub value_log_buckets: u16,
    /// The first so many of them take the values of hot keys.
    pub value_log_hot_buckets: u16,
    /// How often a value-log segment is looked for that is worth collecting; zero = never by itself.
    pub value_log_gc_interval: Duration,
    /// Dead share, between 0 and 1, from which automatic collection takes a segment.
    pub value_log_gc_discard_ratio: f64,
    /// Size of a data block before compression.
    pub block_bytes: usize,
    /// Filter bits per user key; 0 = no filter.
    pub bloom_bits_per_key: u32,
    /// Compression of tables below level 0.
    pub compression: Compression,
    /// A compaction closes its output tables at this size.
    pub table_bytes: u64,
    /// Bound of the block cache.
    pub block_cache_bytes: usize,
    /// Table files that may be open at once.
    pub open_files_max: usize,
    /// Level-0 tables from which a compaction is due.
    pub level0_compaction_tables: usize,
    /// Level-0 tables at which writers are slowed down.
    pub level0_slowdown_tables: usize,
    /// Level-0 tables at which writers wait.
    pub level0_stop_tables: usize,
    /// Least target size of the first sorted level.
    pub level_base_bytes: u64,
    /// Each level's target is so many times that of the level above.
    pub level_multiplier: u64,
    /// Threads for compactions, besides the one for flushes; 0 = one for each two processors.
    pub compactors: usize,
    /// Bytes a second that background work may write; 0 = no limit.
    pub background_bytes_per_second: u64,
    /// Where time comes from; `None`: the system.
    pub clock: Option<Arc<dyn Clock>>,
    /// Hears of background events.
    pub listener: Option<Arc<dyn EventListener>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            work_dir: PathBuf::from("nokv-data"),
            read_only: false,
            create_if_missing: true,
            mem_table_bytes: 64 << 20,
            mem_table_engine: MemTableEngine::default(),
            sealed_mem_tables_max: 3,
            wal_segment_bytes: 64 << 20,
            sync_writes: false,
            manifest_sync: true,
            manifest_rewrite_threshold_bytes: 4 << 20,
            value_threshold_bytes: 4 << 10,
            value_log_segment_bytes: 256 << 20,
            value_log_buckets: 2,
            value_log_hot_buckets: 0,
            value_log_gc_interval: Duration::from_secs(30),
            value_log_gc_discard_ratio: 0.5,
            block_bytes: 4 << 10,
            bloom_bits_per_key: 10,
            compression: if cfg!(feature = "lz4") { Compression::Lz4 } else { Compression::None },
            table_bytes: 64 << 20,
            block_cache_bytes: 256 << 20,
            open_files_max: 512,
            level0_compaction_tables: 4,
            level0_slowdown_tables: 12,
            level0_stop_tables: 24,
            level_base_bytes: 128 << 20,
            level_multiplier: 10,
            compactors: 0,
            background_bytes_per_second: 0,
            clock: None,
            listener: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("work_dir", &self.work_dir)
            .field("mem_table_bytes", &self.mem_table_bytes)
            .field("mem_table_engine", &self.mem_table_engine)
            .field("value_threshold_bytes", &self.value_threshold_bytes)
            .field("sync_writes", &self.sync_writes)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults, in `work_dir`.
    pub fn new(work_dir: impl Into<PathBuf>) -> Self {
        Self { work_dir: work_dir.into(), ..Self::default() }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the field.
    pub fn validate(&self) -> Result<()> {
        let ratio = self.value_log_gc_discard_ratio;
        if !(ratio > 0.0 && ratio < 1.0) {
            return Err(Error::InvalidArgument(format!(
                "value_log_gc_discard_ratio must be between 0 and 1, not {ratio}"
            )));
        }
        self.to_engine((), 1).validate()
    }

    /// The directory as the file system is given it.
    pub(crate) fn dir(&self) -> Result<String> {
        match self.work_dir.to_str() {
            Some("") => Ok(".".to_string()),
            Some(dir) => Ok(dir.to_string()),
            None => Err(Error::InvalidArgument("work_dir is not UTF-8".to_string())),
        }
    }

    pub(crate) fn to_engine<C>(&self, index: C, database_id: u64) -> EngineOptions<C> {
        EngineOptions {
            index,
            read_only: self.read_only,
            create_if_missing: self.create_if_missing,
            database_id,
            memtable_bytes: self.mem_table_bytes,
            sealed_memtables_max: self.sealed_mem_tables_max,
            wal_segment_bytes: self.wal_segment_bytes,
            value_threshold_bytes: self.value_threshold_bytes,
            value_log_segment_bytes: self.value_log_segment_bytes,
            value_log_buckets: self.value_log_buckets,
            value_log_hot_buckets: self.value_log_hot_buckets,
            table: TableOptions {
                block_bytes: self.block_bytes,
                bloom_bits_per_key: self.bloom_bits_per_key,
                ..TableOptions::new(nokv_core::formats::vlog::record_len)
            },
            compression: self.compression,
            table_bytes: self.table_bytes,
            block_cache_bytes: self.block_cache_bytes,
            open_files_max: self.open_files_max,
            pick: PickOptions {
                l0_tables: self.level0_compaction_tables,
                base_bytes: self.level_base_bytes,
                multiplier: self.level_multiplier,
                ..PickOptions::default()
            },
            level0_slowdown_tables: self.level0_slowdown_tables,
            level0_stop_tables: self.level0_stop_tables,
            io_buffer_bytes: 256 << 10,
            manifest_rewrite_bytes: self.manifest_rewrite_threshold_bytes,
            manifest_sync: self.manifest_sync,
        }
    }

    pub(crate) fn compactor_threads(&self) -> usize {
        match self.compactors {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get() / 2).clamp(1, 4),
            n => n,
        }
    }
}
