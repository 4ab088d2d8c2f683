//! Every option is checked at the open, and what is wrong with it starts with its name.

use std::collections::BTreeSet;
use std::time::Duration;

use nokv::{Db, Error, OPTION_FIELDS, Options};
use nokv_vfs_mem::MemFs;

/// What must be refused.
enum Bad {
    /// A change to the defaults.
    Set(fn(&mut Options)),
    /// Nothing: every value of the type is fine, for this reason.
    Nothing(&'static str),
}

use Bad::{Nothing, Set};

const ANY_BOOL: &str = "both are fine";
const ANY_COUNT: &str = "0 is off or the default, and more is only more";

const TABLE: &[(&str, &[Bad])] = &[
    ("work_dir", &[Set(|o| o.work_dir = not_utf8())]),
    ("read_only", &[Nothing(ANY_BOOL)]),
    ("create_if_missing", &[Nothing(ANY_BOOL)]),
    ("mem_table_bytes", &[Set(|o| o.mem_table_bytes = 0), Set(|o| o.mem_table_bytes = (64 << 10) - 1)]),
    ("mem_table_engine", &[Nothing("only what is compiled in has a value; `None` is refused by the open")]),
    ("sealed_mem_tables_max", &[Set(|o| o.sealed_mem_tables_max = 0)]),
    ("wal_segment_bytes", &[Set(|o| o.wal_segment_bytes = 0), Set(|o| o.wal_segment_bytes = 4 << 30)]),
    ("sync_writes", &[Nothing(ANY_BOOL)]),
    ("manifest_sync", &[Nothing(ANY_BOOL)]),
    ("manifest_rewrite_threshold_bytes", &[Nothing("a small one only rewrites often; 0 = never")]),
    ("max_batch_count", &[Nothing("0 = no limit")]),
    ("max_batch_bytes", &[Nothing("0 = the memtable's size")]),
    ("write_batch_max_count", &[Set(|o| o.write_batch_max_count = 0)]),
    ("write_batch_max_bytes", &[Nothing("with 0 each batch has a record of its own")]),
    ("write_batch_wait", &[Set(|o| o.write_batch_wait = Duration::from_secs(61))]),
    ("detect_conflicts", &[Nothing(ANY_BOOL)]),
    ("value_threshold_bytes", &[Nothing("an eighth of a log segment is always a bound")]),
    (
        "value_log_segment_bytes",
        &[Set(|o| o.value_log_segment_bytes = 0), Set(|o| o.value_log_segment_bytes = (64 << 10) - 1)],
    ),
    ("value_log_max_entries", &[Nothing("0 = no limit")]),
    ("value_log_bucket_count", &[Set(|o| o.value_log_bucket_count = 1001)]),
    (
        "value_log_hot_bucket_count",
        &[
            Set(|o| o.value_log_hot_bucket_count = 4),
            Set(|o| (o.value_log_bucket_count, o.value_log_hot_bucket_count) = (2, 2)),
        ],
    ),
    ("value_log_hot_key_threshold", &[Nothing(ANY_COUNT)]),
    ("value_log_gc_interval", &[Set(|o| o.value_log_gc_interval = Duration::MAX)]),
    (
        "value_log_gc_discard_ratio",
        &[
            Set(|o| o.value_log_gc_discard_ratio = 0.0),
            Set(|o| o.value_log_gc_discard_ratio = 1.0),
            Set(|o| o.value_log_gc_discard_ratio = -0.5),
            Set(|o| o.value_log_gc_discard_ratio = f64::NAN),
        ],
    ),
    ("value_log_gc_parallelism", &[Set(|o| o.value_log_gc_parallelism = 257)]),
    (
        "value_log_gc_reduce_score",
        &[
            Set(|o| o.value_log_gc_reduce_score = -1.0),
            Set(|o| o.value_log_gc_reduce_score = f64::NAN),
            Set(|o| o.value_log_gc_reduce_score = f64::INFINITY),
        ],
    ),
    (
        "value_log_gc_skip_score",
        &[
            Set(|o| o.value_log_gc_skip_score = -1.0),
            Set(|o| o.value_log_gc_skip_score = f64::NAN),
            Set(|o| o.value_log_gc_skip_score = f64::INFINITY),
        ],
    ),
    ("value_log_gc_reduce_backlog", &[Nothing(ANY_COUNT)]),
    ("value_log_gc_skip_backlog", &[Nothing(ANY_COUNT)]),
    (
        "value_log_gc_sample_size_ratio",
        &[
            Set(|o| o.value_log_gc_sample_size_ratio = 1.01),
            Set(|o| o.value_log_gc_sample_size_ratio = f64::NAN),
        ],
    ),
    (
        "value_log_gc_sample_count_ratio",
        &[
            Set(|o| o.value_log_gc_sample_count_ratio = -0.01),
            Set(|o| o.value_log_gc_sample_count_ratio = f64::NAN),
        ],
    ),
    ("value_log_gc_sample_from_head", &[Nothing(ANY_BOOL)]),
    ("value_log_verbose", &[Nothing(ANY_BOOL)]),
    ("discard_stats_flush_threshold", &[Nothing("superseded: it does nothing")]),
    ("table_bytes", &[Set(|o| o.table_bytes = 4095), Set(|o| o.table_bytes = u64::MAX)]),
    ("block_bytes", &[Set(|o| o.block_bytes = 0), Set(|o| o.block_bytes = usize::MAX)]),
    ("bloom_bits_per_key", &[Set(|o| o.bloom_bits_per_key = 65)]),
    ("compression", &[Set(|o| o.compression = nokv::Compression::Zstd)]),
    ("block_cache_bytes", &[Nothing("0 = no cache")]),
    ("bloom_cache_bytes", &[Nothing("0 = no bound")]),
    ("open_files_max", &[Set(|o| o.open_files_max = 0)]),
    ("num_compactors", &[Set(|o| o.num_compactors = 257)]),
    ("num_level_zero_tables", &[Set(|o| o.num_level_zero_tables = usize::MAX)]),
    ("level0_compaction_tables", &[Set(|o| o.level0_compaction_tables = 0)]),
    (
        "level0_stop_tables",
        &[
            Set(|o| o.level0_stop_tables = 0),
            Set(|o| o.level0_stop_tables = 11),
            Set(|o| o.level0_compaction_tables = 25),
            Set(|o| o.num_level_zero_tables = 25),
        ],
    ),
    ("level_base_bytes", &[Set(|o| o.level_base_bytes = 0)]),
    ("level_multiplier", &[Set(|o| o.level_multiplier = 1), Set(|o| o.level_multiplier = u64::MAX)]),
    ("ingest_compact_batch_size", &[Nothing(ANY_COUNT)]),
    (
        "ingest_backlog_merge_score",
        &[
            Set(|o| o.ingest_backlog_merge_score = -2.0),
            Set(|o| o.ingest_backlog_merge_score = f64::NAN),
            Set(|o| o.ingest_backlog_merge_score = f64::INFINITY),
        ],
    ),
    ("ingest_shard_parallelism", &[Set(|o| o.ingest_shard_parallelism = 257)]),
    (
        "compaction_value_weight",
        &[
            Set(|o| o.compaction_value_weight = -0.1),
            Set(|o| o.compaction_value_weight = f64::NAN),
            Set(|o| o.compaction_value_weight = f64::INFINITY),
        ],
    ),
    (
        "compaction_value_alert_threshold",
        &[
            Set(|o| o.compaction_value_alert_threshold = 1.5),
            Set(|o| o.compaction_value_alert_threshold = f64::NAN),
        ],
    ),
    ("background_bytes_per_second", &[Set(|o| o.background_bytes_per_second = 1)]),
    ("hot_ring_enabled", &[Nothing(ANY_BOOL)]),
    ("hot_ring_bits", &[Set(|o| o.hot_ring_bits = 25)]),
    ("hot_ring_top_k", &[Set(|o| o.hot_ring_top_k = usize::MAX)]),
    ("hot_ring_rotation_interval", &[Set(|o| o.hot_ring_rotation_interval = Duration::MAX)]),
    ("hot_ring_node_cap", &[Nothing("0 = no limit")]),
    ("hot_ring_node_sample_bits", &[Set(|o| o.hot_ring_node_sample_bits = 64)]),
    ("hot_ring_decay_interval", &[Set(|o| o.hot_ring_decay_interval = Duration::MAX)]),
    ("hot_ring_decay_shift", &[Set(|o| o.hot_ring_decay_shift = 32)]),
    ("hot_ring_window_slots", &[Set(|o| o.hot_ring_window_slots = 257)]),
    ("hot_ring_window_slot_duration", &[Set(|o| o.hot_ring_window_slot_duration = Duration::MAX)]),
    ("write_hot_key_limit", &[Nothing("0 = never")]),
    ("hot_write_burst_threshold", &[Nothing("0 = never")]),
    ("hot_write_batch_multiplier", &[Set(|o| o.hot_write_batch_multiplier = u32::MAX)]),
    ("value_log_hot_ring_override", &[Nothing(ANY_BOOL)]),
    ("value_log_hot_ring_bits", &[Set(|o| o.value_log_hot_ring_bits = 25)]),
    (
        "value_log_hot_ring_rotation_interval",
        &[Set(|o| o.value_log_hot_ring_rotation_interval = Duration::MAX)],
    ),
    ("value_log_hot_ring_node_cap", &[Nothing("0 = no limit")]),
    ("value_log_hot_ring_node_sample_bits", &[Set(|o| o.value_log_hot_ring_node_sample_bits = 64)]),
    ("value_log_hot_ring_decay_interval", &[Set(|o| o.value_log_hot_ring_decay_interval = Duration::MAX)]),
    ("value_log_hot_ring_decay_shift", &[Set(|o| o.value_log_hot_ring_decay_shift = 32)]),
    ("value_log_hot_ring_window_slots", &[Set(|o| o.value_log_hot_ring_window_slots = 257)]),
    (
        "value_log_hot_ring_window_slot_duration",
        &[Set(|o| o.value_log_hot_ring_window_slot_duration = Duration::MAX)],
    ),
    ("enable_wal_watchdog", &[Nothing(ANY_BOOL)]),
    ("wal_auto_gc_interval", &[Set(|o| o.wal_auto_gc_interval = Duration::MAX)]),
    ("wal_auto_gc_min_removable", &[Nothing(ANY_COUNT)]),
    ("wal_auto_gc_max_batch", &[Nothing(ANY_COUNT)]),
    (
        "wal_typed_record_warn_ratio",
        &[
            Set(|o| o.wal_typed_record_warn_ratio = 1.1),
            Set(|o| o.wal_typed_record_warn_ratio = -0.1),
            Set(|o| o.wal_typed_record_warn_ratio = f64::NAN),
        ],
    ),
    ("wal_typed_record_warn_segments", &[Nothing("0 = never")]),
    ("raft_lag_warn_segments", &[Nothing("0 = never")]),
];

#[cfg(unix)]
fn not_utf8() -> std::path::PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(vec![b'd', 0xff]).into()
}

#[test]
fn the_table_names_every_option_and_says_why_none_is_bad() {
    let have: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    let known: BTreeSet<&str> = OPTION_FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(have, known);
    for (name, cases) in TABLE {
        assert!(!cases.is_empty(), "{name}");
        assert!(cases.iter().all(|case| !matches!(case, Nothing(""))), "{name}");
    }
}

#[test]
fn an_open_with_a_bad_value_names_the_option_and_makes_nothing() {
    for (name, cases) in TABLE {
        for (n, case) in cases.iter().enumerate() {
            let Set(set) = case else { continue };
            let mut options = Options::new("db");
            set(&mut options);
            let fs = MemFs::new();
            match Db::open_on(fs.clone(), options) {
                Err(Error::InvalidArgument(text)) if text.split(' ').next() == Some(*name) => {}
                other => panic!("{name}, case {n}: {:?}", other.map(|_| "it opened")),
            }
            assert_eq!(fs.used(), 0, "{name}, case {n}");
        }
    }
}

#[test]
fn defaults_and_zeros_that_mean_off_or_default_open() {
    let zeros = Options {
        manifest_rewrite_threshold_bytes: 0,
        max_batch_count: 0,
        max_batch_bytes: 0,
        write_batch_max_bytes: 0,
        value_threshold_bytes: 0,
        value_log_max_entries: 0,
        value_log_bucket_count: 0,
        value_log_hot_bucket_count: 1,
        value_log_gc_interval: Duration::ZERO,
        value_log_gc_parallelism: 0,
        value_log_gc_reduce_score: 0.0,
        value_log_gc_skip_score: 0.0,
        value_log_gc_reduce_backlog: 0,
        value_log_gc_skip_backlog: 0,
        value_log_gc_sample_size_ratio: 0.0,
        value_log_gc_sample_count_ratio: 0.0,
        bloom_bits_per_key: 0,
        block_cache_bytes: 0,
        bloom_cache_bytes: 0,
        num_compactors: 0,
        num_level_zero_tables: 0,
        ingest_compact_batch_size: 0,
        ingest_backlog_merge_score: 0.0,
        ingest_shard_parallelism: 0,
        compaction_value_weight: 0.0,
        compaction_value_alert_threshold: 0.0,
        background_bytes_per_second: 0,
        hot_ring_bits: 0,
        hot_ring_top_k: 0,
        hot_ring_rotation_interval: Duration::ZERO,
        hot_ring_node_cap: 0,
        hot_ring_decay_shift: 0,
        hot_ring_window_slots: 0,
        hot_ring_window_slot_duration: Duration::ZERO,
        wal_auto_gc_interval: Duration::ZERO,
        wal_auto_gc_min_removable: 0,
        wal_auto_gc_max_batch: 0,
        wal_typed_record_warn_ratio: 0.0,
        ..Options::new("db")
    };
    for options in [Options::new("db"), zeros] {
        let db = Db::open_on(MemFs::new(), options).unwrap();
        db.set(b"k", &[1; 10_000]).unwrap();
        db.flush().unwrap();
        assert_eq!(db.get(b"k").unwrap().unwrap().len(), 10_000);
        db.close().unwrap();
    }
}
