//! Each number of the statistics, driven by its cause. Time is a manual clock that a slow file system advances.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use nokv::stats::StatsSnapshot;
use nokv::{Db, ManualClock, Options};
use nokv_vfs_mem::{FaultFs, MemFs, Op};

mod background;
mod bytes;
mod flush;
mod owners;
mod readers;
mod recovery;
mod writers;

const NOW_MS: u64 = 1_700_000_000_000;

/// A database on a file system that can be slow.
struct Slow {
    db: Db<FaultFs<MemFs>>,
    fs: FaultFs<MemFs>,
    clock: Arc<ManualClock>,
}

/// Options under which nothing happens by itself but flushes of full memtables.
fn quiet() -> Options {
    Options {
        mem_table_bytes: 1 << 20,
        wal_segment_bytes: 256 << 10,
        level0_compaction_tables: 1000,
        num_level_zero_tables: 1000,
        level0_stop_tables: 1000,
        value_threshold_bytes: 4 << 10,
        value_log_segment_bytes: 1 << 20,
        value_log_bucket_count: 1,
        value_log_hot_bucket_count: 0,
        value_log_gc_interval: Duration::ZERO,
        wal_auto_gc_interval: Duration::ZERO,
        ..Options::new("db")
    }
}

impl Slow {
    fn open(options: Options) -> Self {
        Self::open_on(MemFs::new(), options)
    }

    fn open_on(inner: MemFs, options: Options) -> Self {
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let fs = FaultFs::new(inner);
        let options = Options { clock: Some(clock.clone()), ..options };
        let db = Db::open_on(fs.clone(), options).unwrap();
        Self { db, fs, clock }
    }

    /// Each `op` on a path with `part` in it takes `ms` from now on, and nothing else takes any time.
    fn slow(&self, op: Op, part: &'static str, ms: u64) {
        let clock = self.clock.clone();
        self.fs.observe(move |called, path| {
            if called == op && path.contains(part) {
                clock.advance_ms(ms);
            }
        });
    }

    fn fill(&self, keys: std::ops::Range<u32>, value: &[u8]) {
        for k in keys {
            self.db.set(format!("key{k:05}").as_bytes(), value).unwrap();
        }
    }

    fn stats(&self) -> StatsSnapshot {
        self.db.stats()
    }

    /// The first statistics that are as wanted. Nobody is told when the last reader of a file leaves: a background
    /// thread sees it when it next looks, once a second.
    fn until(&self, is_wanted: impl Fn(&StatsSnapshot) -> bool) -> StatsSnapshot {
        loop {
            let stats = self.stats();
            if is_wanted(&stats) {
                return stats;
            }
            self.db.wait_idle().unwrap();
            std::thread::yield_now();
        }
    }
}
