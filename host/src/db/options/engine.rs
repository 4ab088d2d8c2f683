//! What the options mean: checks, and the engine's own options.

use nokv_core::compact::PickOptions;
use nokv_core::engine::EngineOptions;
use nokv_core::table::TableOptions;
use nokv_core::vlog::GcOptions;
use nokv_core::{Error, Result};

use super::Options;

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
            open_files_max: self.open_files_max,
            pick: PickOptions {
                // Writers are never slowed down before a compaction is due.
                l0_tables: self.level0_compaction_tables.min(self.level0_slowdown()).max(1),
                base_bytes: self.level_base_bytes,
                multiplier: self.level_multiplier,
                ..self.to_ingest_pick()
            },
            level0_slowdown_tables: self.level0_slowdown(),
            level0_stop_tables: self.level0_stop_tables,
            io_buffer_bytes: 256 << 10,
            manifest_rewrite_bytes: self.manifest_rewrite_threshold_bytes,
            manifest_sync: self.manifest_sync,
        }
    }

    /// Level-0 tables from which writers are slowed down.
    fn level0_slowdown(&self) -> usize {
        match self.num_level_zero_tables {
            0 => Self::default().num_level_zero_tables,
            n => n,
        }
    }

    /// Options of the picker about ingest sets and values; 0 means the default.
    fn to_ingest_pick(&self) -> PickOptions {
        let default = PickOptions::default();
        let batch = self.ingest_compact_batch_size;
        let score = self.ingest_backlog_merge_score;
        PickOptions {
            ingest_batch: if batch > 0 { batch } else { default.ingest_batch },
            ingest_merge_score: if score > 0.0 {
                (score * 1000.0) as u64
            } else {
                default.ingest_merge_score
            },
            ingest_parallel: self.ingest_shard_parallelism.max(1),
            value_weight: (self.compaction_value_weight.max(0.0) * 1000.0) as u64,
            ..default
        }
    }

    fn to_gc(&self) -> GcOptions {
        let default = GcOptions::default();
        // 0 means the default.
        let mille = |score: f64, default: u64| if score > 0.0 { (score * 1000.0) as u64 } else { default };
        let count = |count: usize, default: usize| if count > 0 { count } else { default };
        let share = |share: f64, default: f64| if share > 0.0 { share } else { default };
        GcOptions {
            discard_ratio: self.value_log_gc_discard_ratio,
            parallelism: self.gc_parallelism(),
            reduce_score: mille(self.value_log_gc_reduce_score, default.reduce_score),
            skip_score: mille(self.value_log_gc_skip_score, default.skip_score),
            reduce_backlog: count(self.value_log_gc_reduce_backlog, default.reduce_backlog),
            skip_backlog: count(self.value_log_gc_skip_backlog, default.skip_backlog),
            sample_size_ratio: share(self.value_log_gc_sample_size_ratio, default.sample_size_ratio),
            sample_count_ratio: share(self.value_log_gc_sample_count_ratio, default.sample_count_ratio),
            sample_from_head: self.value_log_gc_sample_from_head,
        }
    }

    /// Value-log collections at once.
    pub(crate) fn gc_parallelism(&self) -> usize {
        match self.value_log_gc_parallelism {
            0 => (self.compactor_threads() / 2).max(1),
            n => n,
        }
    }

    pub(crate) fn compactor_threads(&self) -> usize {
        match self.num_compactors {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get() / 2).clamp(1, 4),
            n => n,
        }
    }
}
