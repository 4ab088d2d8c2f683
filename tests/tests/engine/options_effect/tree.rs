//! Effects of the options of the tree.

use nokv::{Db, Options};
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::{fill, small};

pub const CASES: &[Case] = &[
    ("num_level_zero_tables", num_level_zero_tables),
    ("ingest_compact_batch_size", || {
        picked(|o| o.ingest_compact_batch_size = 7, |p| p.ingest_batch as u64, 7);
    }),
    ("ingest_backlog_merge_score", || {
        picked(|o| o.ingest_backlog_merge_score = 3.5, |p| p.ingest_merge_score, 3500);
    }),
    ("ingest_shard_parallelism", || {
        picked(|o| o.ingest_shard_parallelism = 5, |p| p.ingest_parallel as u64, 5)
    }),
    ("compaction_value_weight", compaction_value_weight),
];

/// The option reaches the picker; what the picker does with it is shown by its own tests, which need no threads.
fn picked(
    change: impl Fn(&mut Options),
    of: impl Fn(&nokv_core::compact::PickOptions) -> u64,
    expected: u64,
) {
    let mut options = small();
    change(&mut options);
    let db = Db::open_on(MemFs::new(), options).unwrap();
    assert_eq!(of(&db.engine().options().pick), expected);
}

fn num_level_zero_tables() {
    for mark in [1, 20] {
        let options = Options {
            num_level_zero_tables: mark,
            level0_compaction_tables: 20,
            level0_stop_tables: 40,
            ..small()
        };
        let db = Db::open_on(MemFs::new(), options).unwrap();
        let engine = db.engine().options();
        assert_eq!(engine.level0_slowdown_tables, mark);
        assert_eq!(engine.pick.l0_tables, mark, "a compaction is due before writers are slowed");
    }
}

fn compaction_value_weight() {
    let level0 = |weight: f64| {
        let options = Options {
            compaction_value_weight: weight,
            value_threshold_bytes: 500,
            level0_compaction_tables: 4,
            ..small()
        };
        let db = Db::open_on(MemFs::new(), options).unwrap();
        fill(&db, 100, 1000);
        db.flush().unwrap();
        db.wait_idle().unwrap();
        db.engine().stats().levels[0].tables
    };
    assert_eq!((level0(0.0), level0(1.0)), (1, 0), "one table of four, but it names all values");
}
