//! What the options mean to the engine, the commit queue and the threads.

use nokv_core::compact::PickOptions;
use nokv_core::engine::{EngineOptions, WatchdogOptions};
use nokv_core::table::TableOptions;
use nokv_core::{Error, Result};

use super::Options;
use crate::db::commit::QueueOptions;

/// What 0 means for `num_level_zero_tables`.
pub(super) const LEVEL0_SLOWDOWN_TABLES: usize = 12;

impl Options {
    /// The directory as the file system is given it.
    pub(crate) fn dir(&self) -> Result<String> {
        match self.work_dir.to_str() {
            Some("") => Ok(".".to_string()),
            Some(dir) => Ok(dir.to_string()),
            None => Err(Error::InvalidArgument("work_dir must be UTF-8".to_string())),
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
            value_log_max_entries: self.value_log_max_entries,
            value_log_buckets: self.value_log_bucket_count.max(1),
            value_log_hot_buckets: if self.value_log_bucket_count > 1 {
                self.value_log_hot_bucket_count
            } else {
                0
            },
            gc: self.to_gc(),
            table: TableOptions {
                block_bytes: self.block_bytes,
                bloom_bits_per_key: self.bloom_bits_per_key,
                ..TableOptions::new(nokv_core::formats::vlog::record_len)
            },
            compression: self.compression,
            table_bytes: self.table_bytes,
            block_cache_bytes: self.block_cache_bytes,
            filter_cache_bytes: self.bloom_cache_bytes,
            open_files_max: self.open_files_max,
            pick: PickOptions {
                // Writers are never slowed down before a compaction is due.
                l0_tables: self.level0_compaction_tables.min(self.level0_slowdown_tables()).max(1),
                base_bytes: self.level_base_bytes,
                multiplier: self.level_multiplier,
                ..self.to_ingest_pick()
            },
            level0_slowdown_tables: self.level0_slowdown_tables(),
            level0_stop_tables: self.level0_stop_tables,
            io_buffer_bytes: 256 << 10,
            manifest_rewrite_bytes: self.manifest_rewrite_threshold_bytes,
            manifest_sync: self.manifest_sync,
            watchdog: WatchdogOptions {
                enabled: self.enable_wal_watchdog,
                min_removable: self.wal_auto_gc_min_removable,
                max_batch: self.wal_auto_gc_max_batch,
                warn_ratio: self.wal_typed_record_warn_ratio,
                warn_segments: self.wal_typed_record_warn_segments,
                lag_warn_segments: self.raft_lag_warn_segments,
            },
        }
    }

    pub(crate) fn to_queue(&self) -> QueueOptions {
        let or_none = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        QueueOptions {
            batch_count_max: or_none(self.max_batch_count),
            batch_bytes_max: or_none(self.max_batch_bytes),
            separate_from: self.to_engine((), 1).separate_from(),
            record_batches_max: self.write_batch_max_count,
            record_bytes_max: self.write_batch_max_bytes,
            wait: self.write_batch_wait,
        }
    }

    /// Level-0 tables from which writers are slowed down.
    pub(crate) const fn level0_slowdown_tables(&self) -> usize {
        if self.num_level_zero_tables == 0 { LEVEL0_SLOWDOWN_TABLES } else { self.num_level_zero_tables }
    }

    pub(crate) fn compactor_threads(&self) -> usize {
        match self.num_compactors {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get() / 2).clamp(1, 4),
            n => n,
        }
    }
}
