//! Which statistic goes out under which Prometheus name. Plain data, looked up by the JSON path of the statistics.
//!
//! 1. Every number of the statistics stands here, or in [`NOT_METRICS`] with the reason: a test compares.
//! 2. Names start with `nokv_` and end in their unit; counters end in `_total`. Times go out in seconds, whatever unit
//!    the statistics have: the last part of the path says it (`_ms`, `_ns`), the name's `_seconds` asks for it.
//! 3. In a path, `[]` stands for each element of a list and `*` for each key of a map; [`LABELS`] says which labels
//!    they give.

/// The Prometheus type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Quantiles with sum and count.
    Summary,
}

/// Where the samples of a metric come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct From {
    /// JSON path in the statistics.
    pub path: &'static str,
    /// Goes behind the name of the metric: `_sum` and `_count` of a summary.
    pub suffix: &'static str,
    /// A label that the path does not give.
    pub label: Option<(&'static str, &'static str)>,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// One line about it.
    pub help: &'static str,
    /// Its samples.
    pub from: &'static [From],
}

/// The labels of a list's elements (fields of the element) or of a map's entries (the name for the key).
pub const LABELS: &[(&str, &[&str])] = &[
    ("lsm.levels[]", &["level"]),
    ("lsm.column_families.*", &["family"]),
    ("value_log.heads.*", &["bucket"]),
    ("engine.levels[]", &["level"]),
    ("engine.value_log_segments[]", &["bucket", "segment"]),
    ("engine.memory.consumers.*", &["consumer"]),
    ("engine.latency.*", &["operation"]),
    ("redis.commands_per_operation.*", &["operation"]),
];

/// Maps of counters whose names are not known here: each goes out as `nokv_NAME_total`.
pub const COUNTER_MAPS: &[&str] = &["engine.counters"];

/// Statistics that are no metrics, and why. A path covers what is below it.
pub const NOT_METRICS: &[(&str, &str)] = &[
    ("value_log.heads.*.Len", "always 0"),
    ("lsm.levels[].level", "a label"),
    ("engine.levels[].level", "a label"),
    ("engine.value_log_segments[].bucket", "a label"),
    ("engine.value_log_segments[].segment", "a label"),
    ("wal.typed_record_reason", "text; the warning is a metric"),
    ("transport.WatchdogReason", "text; its state is a metric"),
    ("hot.read_keys", "keys are data, not labels: see nokv hot"),
    ("hot.write_keys", "keys are data, not labels: see nokv hot"),
    ("engine.value_log_hot.keys", "keys are data, not labels: see nokv hot"),
    ("engine.pins.list", "come and go: see nokv pins; their numbers are metrics"),
    ("engine.stall.state", "text; nokv_write_throttle_active is a metric"),
];

macro_rules! metrics {
    ($($kind:ident $name:literal $path:literal $help:literal)*) => {
        &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            help: $help,
            from: &[From { path: $path, suffix: "", label: None }],
        }),*]
    };
}

macro_rules! rings {
    ($($kind:ident $name:literal $field:literal $help:literal)*) => {
        &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            help: $help,
            from: &[
                From { path: concat!("hot.read_ring.", $field), suffix: "", label: Some(("ring", "read")) },
                From { path: concat!("hot.write_ring.", $field), suffix: "", label: Some(("ring", "write")) },
                From {
                    path: concat!("engine.value_log_hot.ring.", $field),
                    suffix: "",
                    label: Some(("ring", "value_log")),
                },
            ],
        }),*]
    };
}

const fn latency(path: &'static str, quantile: &'static str) -> From {
    From { path, suffix: "", label: Some(("quantile", quantile)) }
}

/// The statistics of the original.
const ORIGINAL: &[Metric] = metrics! {
    Gauge "nokv_entries" "entries" "Entries in tables and memtables, hidden ones included."

    Gauge "nokv_flush_pending_memtables" "flush.pending" "Sealed memtables that are not yet in tables."
    Gauge "nokv_flush_queue_memtables" "flush.queue_length" "Sealed memtables that wait for their turn."
    Gauge "nokv_flush_active_memtables" "flush.active" "Memtables that are being written."
    Gauge "nokv_flush_wait_mean_seconds" "flush.wait_ms" "Time from sealing to the start of the flush: mean."
    Gauge "nokv_flush_wait_last_seconds" "flush.last_wait_ms" "Time from sealing to the start of the flush: the last one."
    Gauge "nokv_flush_wait_max_seconds" "flush.max_wait_ms" "Time from sealing to the start of the flush: the longest."
    Gauge "nokv_flush_build_mean_seconds" "flush.build_ms" "Time to write a table and make it durable: mean."
    Gauge "nokv_flush_build_last_seconds" "flush.last_build_ms" "Time to write a table and make it durable: the last one."
    Gauge "nokv_flush_build_max_seconds" "flush.max_build_ms" "Time to write a table and make it durable: the longest."
    Gauge "nokv_flush_release_mean_seconds" "flush.release_ms" "Time to let go of log segments: mean."
    Gauge "nokv_flush_release_last_seconds" "flush.last_release_ms" "Time to let go of log segments: the last one."
    Gauge "nokv_flush_release_max_seconds" "flush.max_release_ms" "Time to let go of log segments: the longest."
    Counter "nokv_flushes_completed_total" "flush.completed" "Flushes that are done."

    Gauge "nokv_compaction_backlog" "compaction.backlog" "Levels and ingest sets that are due for a compaction."
    Gauge "nokv_compaction_max_score" "compaction.max_score" "Highest compaction score; from 1 on a compaction is due."
    Gauge "nokv_compaction_last_duration_seconds" "compaction.last_duration_ms" "How long the last compaction took."
    Gauge "nokv_compaction_max_duration_seconds" "compaction.max_duration_ms" "How long the longest compaction took."
    Counter "nokv_compaction_runs_total" "compaction.runs" "Compactions that are done."
    Counter "nokv_compaction_ingest_runs_total" "compaction.ingest_runs" "Compactions that drained an ingest set."
    Counter "nokv_compaction_ingest_merge_runs_total" "compaction.ingest_merge_runs" "Compactions that merged tables of an ingest set."
    Counter "nokv_compaction_ingest_seconds_total" "compaction.ingest_ms" "Time in draining ingest sets."
    Counter "nokv_compaction_ingest_merge_seconds_total" "compaction.ingest_merge_ms" "Time in merging ingest sets."
    Counter "nokv_compaction_ingest_tables_total" "compaction.ingest_tables" "Ingest tables that were drained."
    Counter "nokv_compaction_ingest_merge_tables_total" "compaction.ingest_merge_tables" "Ingest tables that were merged."
    Gauge "nokv_compaction_value_weight" "compaction.value_weight" "Weight of value-log bytes in compaction scores."
    Gauge "nokv_compaction_value_weight_suggested" "compaction.value_weight_suggested" "A weight that would relieve a value-dense level."

    Gauge "nokv_value_log_segments" "value_log.segments" "Value-log segments."
    Gauge "nokv_value_log_pending_delete_segments" "value_log.pending_deletes" "Dead segments that readers of older views keep."
    Gauge "nokv_value_log_discard_queue_segments" "value_log.discard_queue" "Segments that are worth collecting."
    Gauge "nokv_value_log_head_segment" "value_log.heads.*.Fid" "The segment of each bucket that takes appends."
    Gauge "nokv_value_log_head_offset_bytes" "value_log.heads.*.Offset" "Bytes in that segment."
    Counter "nokv_value_log_gc_runs_total" "value_log.gc.gc_runs" "Value-log collections that are done."
    Counter "nokv_value_log_gc_segments_removed_total" "value_log.gc.segments_removed" "Segments that collections freed."
    Counter "nokv_value_log_gc_head_updates_total" "value_log.gc.head_updates" "Heads that were left for a new segment."
    Gauge "nokv_value_log_gc_active" "value_log.gc.gc_active" "Collections that run."
    Gauge "nokv_value_log_gc_scheduled" "value_log.gc.gc_scheduled" "Collections that wait to be started."
    Counter "nokv_value_log_gc_throttled_total" "value_log.gc.gc_throttled" "Rounds that ran fewer jobs for the sake of compactions."
    Counter "nokv_value_log_gc_skipped_total" "value_log.gc.gc_skipped" "Rounds that were left out for the sake of compactions."
    Counter "nokv_value_log_gc_rejected_total" "value_log.gc.gc_rejected" "Calls that were refused because one was running."
    Gauge "nokv_value_log_gc_parallelism" "value_log.gc.gc_parallelism" "Collections that may run at once."

    Gauge "nokv_wal_active_segment" "wal.active_segment" "The log segment that takes appends."
    Gauge "nokv_wal_segments" "wal.segment_count" "Log segments in files."
    Gauge "nokv_wal_active_bytes" "wal.active_size" "Bytes written to the active log segment."
    Counter "nokv_wal_segments_removed_total" "wal.segments_removed" "Log segments that were removed."
    Gauge "nokv_wal_entry_records" "wal.record_counts.entries" "Log records with batches of entries."
    Gauge "nokv_wal_raft_entry_records" "wal.record_counts.raft_entries" "Log records with raft entries."
    Gauge "nokv_wal_raft_state_records" "wal.record_counts.raft_states" "Log records with raft states."
    Gauge "nokv_wal_raft_snapshot_records" "wal.record_counts.raft_snapshots" "Log records with raft snapshots."
    Gauge "nokv_wal_other_records" "wal.record_counts.other" "Log records with anything else."
    Gauge "nokv_wal_raft_segments" "wal.segments_with_raft_records" "Log segments that hold raft records."
    Gauge "nokv_wal_removable_raft_segments" "wal.removable_raft_segments" "Those of them that nothing needs."
    Gauge "nokv_wal_typed_record_ratio" "wal.typed_record_ratio" "Raft records among all records, from 0 to 1."
    Gauge "nokv_wal_typed_record_warning" "wal.typed_record_warning" "1 if there are more raft records than the options allow."
    Counter "nokv_wal_auto_gc_runs_total" "wal.auto_gc_runs" "Watchdog passes that removed log segments."
    Counter "nokv_wal_auto_gc_segments_removed_total" "wal.auto_gc_removed" "Log segments that the watchdog removed."
    Gauge "nokv_wal_auto_gc_last_timestamp_seconds" "wal.auto_gc_last_unix" "When the watchdog last removed any; 0 = never."

    Gauge "nokv_raft_groups" "raft.group_count" "Raft groups in the log."
    Gauge "nokv_raft_lagging_groups" "raft.lagging_groups" "Raft groups that lag behind more than allowed."
    Gauge "nokv_raft_min_log_segment" "raft.min_log_segment" "The oldest log segment that a raft group needs."
    Gauge "nokv_raft_max_log_segment" "raft.max_log_segment" "The newest log segment that a raft group starts in."
    Gauge "nokv_raft_max_lag_segments" "raft.max_lag_segments" "Segments between the active one and the oldest that a group needs."
    Gauge "nokv_raft_lag_warn_threshold_segments" "raft.lag_warn_threshold" "Lag above which there is a warning."
    Gauge "nokv_raft_lag_warning" "raft.lag_warning" "1 if any group lags behind more than that."

    Gauge "nokv_write_queue_batches" "write.queue_depth" "Batches in the commit queue."
    Gauge "nokv_write_queue_operations" "write.queue_entries" "Their operations."
    Gauge "nokv_write_queue_bytes" "write.queue_bytes" "Their encoded bytes."
    Gauge "nokv_write_group_mean_operations" "write.avg_batch_entries" "Operations in one group: mean."
    Gauge "nokv_write_group_mean_bytes" "write.avg_batch_bytes" "Encoded bytes of one group: mean."
    Gauge "nokv_write_wait_mean_seconds" "write.avg_request_wait_ms" "Time that a batch waits in the queue: mean."
    Gauge "nokv_write_value_log_mean_seconds" "write.avg_vlog_ms" "Time that a batch with large values needs for the value log: mean."
    Gauge "nokv_write_apply_mean_seconds" "write.avg_apply_ms" "Time to insert a batch into its memtable: mean."
    Counter "nokv_write_groups_total" "write.batches_total" "Groups that were logged."
    Gauge "nokv_write_throttle_active" "write.throttle_active" "1 while writers are slowed down or stopped."
    Counter "nokv_write_hot_key_limited_total" "write.hot_key_limited" "Writes that were refused because of a hot key."

    Gauge "nokv_regions" "region.total" "Regions."
    Gauge "nokv_regions_new" "region.new" "Regions that do not yet run."
    Gauge "nokv_regions_running" "region.running" "Regions that run."
    Gauge "nokv_regions_removing" "region.removing" "Regions on their way out."
    Gauge "nokv_regions_tombstone" "region.tombstone" "Regions that are gone and remembered."
    Gauge "nokv_regions_other" "region.other" "Regions in any other state."

    Gauge "nokv_cache_block_l0_hit_ratio" "cache.block_l0_hit_rate" "Level-0 block look-ups answered from memory, from 0 to 1."
    Gauge "nokv_cache_block_l1_hit_ratio" "cache.block_l1_hit_rate" "Deeper block look-ups answered from memory, from 0 to 1."
    Gauge "nokv_cache_bloom_hit_ratio" "cache.bloom_hit_rate" "Filter look-ups answered from memory, from 0 to 1."
    Gauge "nokv_cache_index_hit_ratio" "cache.index_hit_rate" "Index look-ups answered from memory, from 0 to 1."
    Counter "nokv_cache_iterators_reused_total" "cache.iterator_reused" "Iterators that took over the buffers of earlier ones."

    Gauge "nokv_level_tables" "lsm.levels[].tables" "Sorted tables of a level."
    Gauge "nokv_level_table_bytes" "lsm.levels[].size_bytes" "Their bytes."
    Gauge "nokv_level_value_bytes" "lsm.levels[].value_bytes" "Value-log bytes that they name."
    Gauge "nokv_level_stale_bytes" "lsm.levels[].stale_bytes" "Bytes that a compaction would drop for sure, about."
    Gauge "nokv_level_ingest_tables" "lsm.levels[].ingest_tables" "Tables of a level's ingest set."
    Gauge "nokv_level_ingest_table_bytes" "lsm.levels[].ingest_size_bytes" "Their bytes."
    Gauge "nokv_level_ingest_value_bytes" "lsm.levels[].ingest_value_bytes" "Value-log bytes that they name."
    Gauge "nokv_level_value_density_ratio" "lsm.levels[].value_density" "Value-log bytes among all bytes of the sorted tables, from 0 to 1."
    Gauge "nokv_level_ingest_value_density_ratio" "lsm.levels[].ingest_value_density" "The same of the ingest set."
    Counter "nokv_level_ingest_runs_total" "lsm.levels[].ingest_runs" "Compactions that drained the ingest set."
    Counter "nokv_level_ingest_seconds_total" "lsm.levels[].ingest_ms" "Time in them."
    Counter "nokv_level_ingest_tables_compacted_total" "lsm.levels[].ingest_tables_compacted" "Tables that they took."
    Counter "nokv_level_ingest_merge_runs_total" "lsm.levels[].ingest_merge_runs" "Compactions that merged tables of the ingest set."
    Counter "nokv_level_ingest_merge_seconds_total" "lsm.levels[].ingest_merge_ms" "Time in them."
    Counter "nokv_level_ingest_merge_tables_total" "lsm.levels[].ingest_merge_tables" "Tables that they took."
    Gauge "nokv_lsm_value_bytes" "lsm.value_bytes_total" "Value-log bytes that all tables name."
    Gauge "nokv_lsm_value_density_max_ratio" "lsm.value_density_max" "The highest value density of a level."
    Gauge "nokv_lsm_value_density_alert" "lsm.value_density_alert" "1 if it is above the alert threshold."
    Counter "nokv_family_writes_total" "lsm.column_families.*.writes" "Operations written, by column family."
    Counter "nokv_family_reads_total" "lsm.column_families.*.reads" "Point reads, by column family."

    Counter "nokv_transport_dials_total" "transport.DialsTotal" "Connections to peers that were tried."
    Counter "nokv_transport_dial_failures_total" "transport.DialFailures" "Those that failed."
    Counter "nokv_transport_sends_total" "transport.SendAttempts" "Messages to peers that were tried."
    Counter "nokv_transport_send_successes_total" "transport.SendSuccesses" "Those that arrived."
    Counter "nokv_transport_send_failures_total" "transport.SendFailures" "Those that did not."
    Counter "nokv_transport_retries_total" "transport.Retries" "Messages that were tried again."
    Counter "nokv_transport_retries_exhausted_total" "transport.RetryExhausted" "Messages that were given up."
    Gauge "nokv_transport_blocked_peers" "transport.BlockedPeers" "Peers that are cut off."
    Gauge "nokv_transport_last_failure_timestamp_seconds" "transport.LastFailureUnix" "The last failure; 0 = never."
    Gauge "nokv_transport_watchdog_active" "transport.WatchdogActive" "1 if the watchdog calls the transport sick."
    Gauge "nokv_transport_watchdog_consecutive_failures" "transport.WatchdogConsecutiveFails" "Failures in a row."
    Gauge "nokv_transport_watchdog_threshold" "transport.WatchdogThreshold" "From how many on it does."

    Counter "nokv_redis_commands_total" "redis.commands_total" "Commands to the Redis gateway."
    Counter "nokv_redis_errors_total" "redis.errors_total" "Those that failed."
    Gauge "nokv_redis_connections_active" "redis.connections_active" "Open connections to the gateway."
    Counter "nokv_redis_connections_accepted_total" "redis.connections_accepted" "Connections that were accepted."
    Counter "nokv_redis_operation_commands_total" "redis.commands_per_operation.*" "Commands by operation."
};

/// Hot-key rings.
const RINGS: &[Metric] = rings! {
    Gauge "nokv_hot_ring_buckets" "buckets" "Hash buckets of a hot-key ring."
    Gauge "nokv_hot_ring_keys" "nodes" "Keys that the ring tracks."
    Gauge "nokv_hot_ring_load_factor_ratio" "load_factor" "Keys for each bucket."
    Gauge "nokv_hot_ring_window_slots" "window_slots" "Slots of the sliding window."
    Gauge "nokv_hot_ring_window_slot_seconds" "window_slot_duration" "Length of a slot."
    Gauge "nokv_hot_ring_decay_interval_seconds" "decay_interval" "Time between decays."
    Gauge "nokv_hot_ring_decay_shift" "decay_shift" "Counts are divided by 2^shift then."
    Gauge "nokv_hot_ring_key_cap" "node_cap" "Most keys that the ring tracks."
    Gauge "nokv_hot_ring_sample_mask" "sample_mask" "At the cap, hashes with these bits 0 still come in."
    Counter "nokv_hot_ring_touches_total" "touches" "Counted accesses."
    Counter "nokv_hot_ring_inserts_total" "inserts" "Keys that came in."
    Counter "nokv_hot_ring_removes_total" "removes" "Keys that went."
    Counter "nokv_hot_ring_clamps_total" "clamps" "Accesses that met a limit."
    Counter "nokv_hot_ring_sample_drops_total" "sample_drops" "Accesses of keys that the cap kept out."
    Counter "nokv_hot_ring_decays_total" "decay_runs" "Decays."
    Gauge "nokv_hot_ring_last_decay_timestamp_seconds" "last_decay_unix" "The last decay; 0 = never."
};

/// What is on top of the original's statistics.
const ENGINE: &[Metric] = metrics! {
    Gauge "nokv_offline" "engine.offline" "1 if the numbers come from files alone."
    Gauge "nokv_seq_published" "engine.seqs.published" "The highest seq that reads see."
    Gauge "nokv_seq_durable" "engine.seqs.durable" "Every logged write up to this seq survives power loss."
    Gauge "nokv_seq_flushed" "engine.seqs.flushed" "Every write up to this seq is in tables."
    Gauge "nokv_memtables_sealed" "engine.memtables.sealed" "Memtables that wait for their flush."
    Gauge "nokv_memtable_bytes" "engine.memtables.bytes" "Memory of all memtables."
    Gauge "nokv_memtable_entries" "engine.memtables.entries" "Entries of all memtables."
    Gauge "nokv_flush_value_sync_mean_seconds" "engine.flush.value_sync_ms" "Time to make the value log durable before a flush: mean."
    Gauge "nokv_flush_value_sync_last_seconds" "engine.flush.last_value_sync_ms" "Time to make the value log durable before a flush: the last one."
    Gauge "nokv_flush_value_sync_max_seconds" "engine.flush.max_value_sync_ms" "Time to make the value log durable before a flush: the longest."
    Gauge "nokv_flush_install_mean_seconds" "engine.flush.install_ms" "Time to record a table in the manifest: mean."
    Gauge "nokv_flush_install_last_seconds" "engine.flush.last_install_ms" "Time to record a table in the manifest: the last one."
    Gauge "nokv_flush_install_max_seconds" "engine.flush.max_install_ms" "Time to record a table in the manifest: the longest."
    Gauge "nokv_level_entries" "engine.levels[].entries" "Entries of a level's tables."
    Gauge "nokv_level_live_bytes" "engine.levels[].live_bytes" "Puts and pointers that did not expire."
    Gauge "nokv_level_dead_bytes" "engine.levels[].dead_bytes" "Deletes and purges."
    Gauge "nokv_level_expired_bytes" "engine.levels[].expired_bytes" "At most so much has expired."
    Gauge "nokv_level_pinned_bytes" "engine.levels[].pinned_bytes" "Tables that left the level and that readers still hold."
    Gauge "nokv_value_log_segment_is_head" "engine.value_log_segments[].head" "1 if the segment takes appends."
    Gauge "nokv_value_log_segment_bytes" "engine.value_log_segments[].size_bytes" "Length of a value-log segment."
    Gauge "nokv_value_log_segment_live_bytes" "engine.value_log_segments[].live_bytes" "Named by tables or memtables."
    Gauge "nokv_value_log_segment_dead_bytes" "engine.value_log_segments[].dead_bytes" "Named by nothing."
    Gauge "nokv_value_log_segment_expired_bytes" "engine.value_log_segments[].expired_bytes" "At most so much of what is named has expired."
    Gauge "nokv_value_log_segment_pinned_bytes" "engine.value_log_segments[].pinned_bytes" "Named only by what readers still hold."
    Gauge "nokv_table_bytes" "engine.space.table_bytes" "Table files."
    Gauge "nokv_value_log_bytes" "engine.space.value_log_bytes" "Value-log files."
    Gauge "nokv_value_log_live_bytes" "engine.space.value_log_live_bytes" "Value-log records that tables or memtables name."
    Gauge "nokv_wal_bytes" "engine.space.wal_bytes" "Log files."
    Gauge "nokv_live_bytes" "engine.space.live_bytes" "What a database with nothing hidden would take, about."
    Gauge "nokv_write_amplification_ratio" "engine.space.write_amplification" "Bytes written to files for each byte of the user."
    Gauge "nokv_space_amplification_ratio" "engine.space.space_amplification" "Bytes in files for each live one."
    Gauge "nokv_stall_delay_seconds_per_kibibyte" "engine.stall.delay_ns_per_kib" "How long a writer waits for each KiB."
    Gauge "nokv_compaction_debt_bytes" "engine.stall.debt_bytes" "Bytes that compactions have yet to move."
    Gauge "nokv_compaction_debt_bytes_per_second" "engine.stall.debt_bytes_per_second" "How fast they grow; negative when they shrink."
    Gauge "nokv_level0_tables" "engine.stall.level0_tables" "Level-0 tables."
    Gauge "nokv_level0_slowdown_tables" "engine.stall.level0_slowdown_tables" "Above so many writers are slowed down."
    Gauge "nokv_level0_stop_tables" "engine.stall.level0_stop_tables" "From how many on writers wait."
    Gauge "nokv_stall_slowdown_in_seconds" "engine.stall.seconds_to_slowdown" "Until writers are slowed down, at current rates; 0 = not in sight."
    Gauge "nokv_stall_stop_in_seconds" "engine.stall.seconds_to_stop" "Until writers wait, at current rates; 0 = not in sight."
    Gauge "nokv_memory_bytes" "engine.memory.used_bytes" "Memory of all consumers."
    Gauge "nokv_memory_budget_bytes" "engine.memory.budget_bytes" "The sum of the bounds that are configured."
    Gauge "nokv_memory_consumer_bytes" "engine.memory.consumers.*.used_bytes" "Memory of one consumer."
    Gauge "nokv_memory_consumer_budget_bytes" "engine.memory.consumers.*.budget_bytes" "Its bound; 0 = none of its own."
    Gauge "nokv_block_cache_blocks" "engine.cache.blocks" "Blocks in the cache."
    Gauge "nokv_block_cache_bytes" "engine.cache.bytes" "Their bytes."
    Counter "nokv_block_cache_l0_hits_total" "engine.cache.l0_hits" "Look-ups of level-0 blocks that found one."
    Counter "nokv_block_cache_l0_misses_total" "engine.cache.l0_misses" "Those that did not."
    Counter "nokv_block_cache_l1_hits_total" "engine.cache.l1_hits" "Look-ups of deeper blocks that found one."
    Counter "nokv_block_cache_l1_misses_total" "engine.cache.l1_misses" "Those that did not."
    Counter "nokv_block_cache_evictions_total" "engine.cache.evictions" "Blocks that had to leave."
    Gauge "nokv_open_table_files" "engine.cache.open_files" "Open table files."
    Gauge "nokv_operation_latency_max_seconds" "engine.latency.*.max_ns" "The longest measured operation."
    Gauge "nokv_operation_latency_sampled_one_in" "engine.latency.*.sampled_one_in" "One of so many operations is measured."
    Gauge "nokv_pinned_snapshots" "engine.pins.snapshots" "Open snapshots."
    Gauge "nokv_pinned_iterators" "engine.pins.iterators" "Open iterators."
    Gauge "nokv_pinned_retired_tables" "engine.pins.retired_tables" "Tables that left the tree and that readers still hold."
    Gauge "nokv_pinned_retired_table_bytes" "engine.pins.retired_table_bytes" "Their bytes."
    Gauge "nokv_recovery_clean" "engine.recovery.clean" "1 if the database was closed cleanly before this open."
    Gauge "nokv_recovery_segments" "engine.recovery.segments" "Log segments that the open read."
    Gauge "nokv_recovery_records" "engine.recovery.records" "Log records in them."
    Gauge "nokv_recovery_operations" "engine.recovery.operations" "Operations that went into memtables."
    Gauge "nokv_recovery_replayed_bytes" "engine.recovery.bytes_replayed" "Log bytes that were read."
    Gauge "nokv_recovery_tails_cut" "engine.recovery.tails_cut" "Torn tails that were cut."
    Gauge "nokv_recovery_cut_bytes" "engine.recovery.cut_bytes" "Log bytes that were cut."
    Gauge "nokv_recovery_swept_files" "engine.recovery.swept_files" "Unnamed files that were removed."
    Gauge "nokv_recovery_seconds" "engine.recovery.duration_ms" "How long the open took."
};

const LATENCY: &[Metric] = &[Metric {
    name: "nokv_operation_latency_seconds",
    kind: Kind::Summary,
    help: "How long operations take; sum and count are those of the measured ones.",
    from: &[
        latency("engine.latency.*.p50_ns", "0.5"),
        latency("engine.latency.*.p90_ns", "0.9"),
        latency("engine.latency.*.p99_ns", "0.99"),
        latency("engine.latency.*.p999_ns", "0.999"),
        From { path: "engine.latency.*.sum_ns", suffix: "_sum", label: None },
        From { path: "engine.latency.*.count", suffix: "_count", label: None },
    ],
}];

/// All metrics, in the order in which they are printed.
pub const METRICS: &[&[Metric]] = &[ORIGINAL, RINGS, ENGINE, LATENCY];
