//! Effects of the options of the tree.
//!
//! Where steps are counted, the only thread for compactions is held up once it has run one, and the case runs the
//! steps that the engine hands out, one by one.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nokv::{Db, Event, EventListener, Options};
use nokv_core::engine::{Stall, Work};
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::{fill, small};

pub const CASES: &[Case] = &[
    ("num_level_zero_tables", num_level_zero_tables),
    ("ingest_compact_batch_size", ingest_compact_batch_size),
    ("ingest_backlog_merge_score", ingest_backlog_merge_score),
    ("ingest_shard_parallelism", ingest_shard_parallelism),
    ("compaction_value_weight", compaction_value_weight),
];

/// Tells of the first compaction, and keeps its thread until the other end is dropped.
struct Hold {
    first: Mutex<Sender<()>>,
    release: Mutex<Receiver<()>>,
}

impl EventListener for Hold {
    fn on_event(&self, event: &Event) {
        if let Event::StepDone { what, .. } = event
            && what.contains("Claim")
        {
            let _ = self.first.lock().unwrap().send(());
            let _ = self.release.lock().unwrap().recv();
        }
    }
}

/// A database whose compactions the case runs. Dropped in this order.
struct Held {
    _release: Sender<()>,
    db: Db<MemFs>,
}

impl Held {
    /// `options` start a compaction at `tables` tables in level 0.
    fn open(options: Options, tables: usize) -> Self {
        let (first, was_first) = channel();
        let (release, until) = channel();
        let hold = Hold { first: Mutex::new(first), release: Mutex::new(until) };
        let options = Options {
            num_compactors: 1,
            compaction_value_weight: 0.0,
            listener: Some(Arc::new(hold)),
            ..options
        };
        let held = Self { db: Db::open_on(MemFs::new(), options).unwrap(), _release: release };
        (0..tables).for_each(|_| held.table(b"a"));
        was_first.recv_timeout(Duration::from_secs(60)).unwrap();
        held
    }

    /// Writes a table of one key.
    fn table(&self, key: &[u8]) {
        self.db.set(key, b"value").unwrap();
        self.db.flush().unwrap();
    }

    /// The next compaction, claimed; small steps are run.
    fn claim(&self) -> Option<Work<nokv::BuiltinIndex>> {
        loop {
            match self.db.engine().next_work(false)? {
                work @ Work::Compact(_) => return Some(work),
                work => self.run(work),
            }
        }
    }

    fn run(&self, work: Work<nokv::BuiltinIndex>) {
        self.db.engine().run_work(work).unwrap();
    }

    fn in_level_zero(&self) -> usize {
        self.db.engine().stats().levels[0].tables as usize
    }

    fn in_ingest_set(&self) -> usize {
        self.db.engine().stats().levels[6].ingest_tables as usize
    }
}

fn num_level_zero_tables() {
    // The compaction that is due at the mark ran, or left before; nobody runs another one.
    let stalled_at = |(mark, due): (usize, usize)| {
        let held = Held::open(
            Options {
                num_level_zero_tables: mark,
                level0_compaction_tables: 20,
                level0_stop_tables: 40,
                ..small()
            },
            due,
        );
        while held.db.engine().stall() == Stall::None {
            assert!(!held.db.stats().write.throttle_active);
            held.table(b"a");
        }
        assert!(held.db.stats().write.throttle_active);
        held.in_level_zero()
    };
    // 0 is the default.
    assert_eq!([(1, 1), (3, 3), (5, 5), (0, 12)].map(stalled_at), [2, 4, 6, 13]);
}

fn ingest_compact_batch_size() {
    let left = |ingest_compact_batch_size| {
        let held = Held::open(
            Options {
                ingest_compact_batch_size,
                num_level_zero_tables: 1,
                level0_compaction_tables: 20,
                level0_stop_tables: 40,
                ..small()
            },
            1,
        );
        // The first table is in the set.
        (0..8).for_each(|_| held.table(b"a"));
        assert_eq!((held.in_level_zero(), held.in_ingest_set()), (8, 1));
        held.run(held.claim().unwrap());
        assert_eq!(held.in_level_zero() + held.in_ingest_set(), 9, "moved, not merged");
        held.in_level_zero()
    };
    // 0 is the default, 4.
    assert_eq!([1, 3, 7, 0].map(left), [7, 5, 1, 4]);
}

fn ingest_backlog_merge_score() {
    // Tables that wait in the set when it is first merged, while what is below them is being drained. It should hold four.
    let merged_from = |ingest_backlog_merge_score| {
        let held = Held::open(
            Options {
                ingest_backlog_merge_score,
                num_level_zero_tables: 1,
                level0_stop_tables: 40,
                ..small()
            },
            1,
        );
        while held.in_ingest_set() < 4 {
            held.table(b"a");
            held.run(held.claim().unwrap());
        }
        let drain = held.claim().unwrap();
        let mut waiting = 0;
        let merge = loop {
            if let Some(work) = held.claim() {
                break work;
            }
            held.table(b"a");
            held.run(held.claim().unwrap());
            waiting += 1;
            assert_eq!((held.in_level_zero(), held.in_ingest_set()), (0, 4 + waiting));
        };
        held.run(merge);
        assert_eq!(held.in_ingest_set(), 4 + 1);
        held.run(drain);
        assert_eq!(held.in_ingest_set(), 1);
        assert_eq!(held.db.get(b"a").unwrap().unwrap(), b"value");
        let total = held.db.stats().compaction;
        assert_eq!((total.merge_runs, total.merge_tables), (1, waiting as i64));
        waiting
    };
    // 0 is the default, 2.
    assert_eq!([1.0, 1.5, 3.0, 0.0].map(merged_from), [4, 6, 12, 8]);
}

fn ingest_shard_parallelism() {
    let at_once = |ingest_shard_parallelism| {
        let held = Held::open(
            Options {
                ingest_shard_parallelism,
                num_level_zero_tables: 1,
                ingest_compact_batch_size: 12,
                level0_stop_tables: 40,
                ..small()
            },
            1,
        );
        // Twelve tables of different keys beside the first one: each can go by itself.
        (0..12u8).for_each(|k| held.table(&[b'b' + k]));
        held.run(held.claim().unwrap());
        assert_eq!((held.in_level_zero(), held.in_ingest_set()), (0, 13));
        let claimed: Vec<_> = std::iter::from_fn(|| held.claim()).collect();
        let count = claimed.len();
        claimed.into_iter().for_each(|work| held.run(work));
        assert_eq!(held.in_ingest_set(), 13 - count);
        count
    };
    // 0 is 1.
    assert_eq!([1, 2, 5, 0].map(at_once), [1, 2, 5, 1]);
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
