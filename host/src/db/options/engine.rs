//! What the options mean: checks, and the engine's own options.

use nokv_core::compact::PickOptions;
use nokv_core::engine::{EngineOptions, WatchdogOptions};
use nokv_core::table::TableOptions;
use nokv_core::{Error, Result};

use super::{Options, hot};
use crate::db::commit::QueueOptions;

impl Options {
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
        hot::validate(self)?;
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
            value_log_buckets: self.value_log_bucket_count.max(1),
            value_log_hot_buckets: if self.value_log_bucket_count > 1 {
                self.value_log_hot_bucket_count
            } else {
                0
            },
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
            level0_slowdown_tables: self.num_level_zero_tables,
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
        QueueOptions {
            batch_count_max: self.max_batch_count,
            batch_bytes_max: self.max_batch_bytes,
            record_batches_max: self.write_batch_max_count,
            record_bytes_max: self.write_batch_max_bytes,
            wait: self.write_batch_wait,
        }
    }

    pub(crate) fn compactor_threads(&self) -> usize {
        match self.num_compactors {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get() / 2).clamp(1, 4),
            n => n,
        }
    }
}
