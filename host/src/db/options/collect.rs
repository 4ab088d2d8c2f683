//! What the options mean to value-log collection and to ingest sets.

use nokv_core::compact::PickOptions;
use nokv_core::vlog::GcOptions;

use super::Options;

impl Options {
    /// Options of the picker about ingest sets and values; 0 means the default.
    pub(super) fn to_ingest_pick(&self) -> PickOptions {
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

    pub(super) fn to_gc(&self) -> GcOptions {
        let default = GcOptions::default();
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
}
