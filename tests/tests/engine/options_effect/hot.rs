//! Effects of the options of hot keys.

use std::sync::Arc;
use std::time::Duration;

use nokv::{Db, Error, HotReport, HotRingReport, ManualClock, Options};
use nokv_core::vfs::Vfs;
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::small;
use super::writes::queued_behind;

pub const CASES: &[Case] = &[
    ("hot_ring_enabled", enabled),
    ("hot_ring_bits", bits),
    ("hot_ring_top_k", top_k),
    ("hot_ring_rotation_interval", rotation_interval),
    ("hot_ring_node_cap", node_cap),
    ("hot_ring_node_sample_bits", node_sample_bits),
    ("hot_ring_decay_interval", decay_interval),
    ("hot_ring_decay_shift", decay_shift),
    ("hot_ring_window_slots", window_slots),
    ("hot_ring_window_slot_duration", window_slot_duration),
    ("write_hot_key_limit", write_limit),
    ("hot_write_burst_threshold", burst_threshold),
    ("hot_write_batch_multiplier", batch_multiplier),
    ("value_log_hot_bucket_count", hot_bucket_count),
    ("value_log_hot_key_threshold", hot_key_threshold),
    ("value_log_hot_ring_override", ring_override),
    ("value_log_hot_ring_bits", value_log_bits),
    ("value_log_hot_ring_rotation_interval", value_log_rotation_interval),
    ("value_log_hot_ring_node_cap", value_log_node_cap),
    ("value_log_hot_ring_node_sample_bits", value_log_node_sample_bits),
    ("value_log_hot_ring_decay_interval", value_log_decay_interval),
    ("value_log_hot_ring_decay_shift", value_log_decay_shift),
    ("value_log_hot_ring_window_slots", value_log_window_slots),
    ("value_log_hot_ring_window_slot_duration", value_log_window_slot_duration),
];

const SECOND: Duration = Duration::from_secs(1);

/// Counts of all time, unless a case says otherwise, also in the value log's own ring.
fn base() -> Options {
    Options {
        hot_ring_enabled: true,
        hot_ring_window_slots: 0,
        hot_ring_rotation_interval: Duration::ZERO,
        value_log_hot_ring_override: true,
        value_log_hot_ring_window_slots: 0,
        value_threshold_bytes: 64,
        ..small()
    }
}

struct Small {
    db: Db<MemFs>,
    fs: MemFs,
    clock: Arc<ManualClock>,
}

impl Small {
    fn open(options: Options) -> Self {
        let (fs, clock) = (MemFs::new(), Arc::new(ManualClock::new(1_700_000_000_000)));
        let db = Db::open_on(fs.clone(), Options { clock: Some(clock.clone()), ..options }).unwrap();
        Self { db, fs, clock }
    }

    fn read(&self, key: &[u8], times: usize) {
        (0..times).for_each(|_| drop(self.db.get(key).unwrap()));
    }

    /// Writes with a value that goes to the value log.
    fn write(&self, key: &[u8], times: usize) {
        (0..times).for_each(|_| self.db.set(key, &[7; 100]).unwrap());
    }

    fn pass(&self, time: Duration) {
        self.clock.advance_ms(time.as_millis() as u64);
        self.db.hot_step();
    }

    fn report(&self) -> HotReport {
        self.db.hot_report()
    }

    fn reads(&self) -> HotRingReport {
        self.report().read.unwrap()
    }

    fn values(&self) -> HotRingReport {
        self.report().value_log.unwrap()
    }

    fn has_hot_bucket(&self) -> bool {
        self.fs.list("db/vlog/bucket-000").is_ok_and(|names| !names.is_empty())
    }
}

fn count(ring: &HotRingReport) -> u64 {
    ring.top.first().map_or(0, |hot| hot.count)
}

/// The count of a key that was read `times` when `time` has passed.
fn read_count_after(options: Options, times: usize, time: Duration) -> u64 {
    let small = Small::open(options);
    small.read(b"a", times);
    small.pass(time);
    count(&small.reads())
}

/// The same of a key whose large value was written.
fn value_count_after(options: Options, times: usize, time: Duration) -> u64 {
    let small = Small::open(options);
    small.write(b"a", times);
    small.pass(time);
    count(&small.values())
}

fn enabled() {
    let on = |hot_ring_enabled| {
        let small = Small::open(Options { hot_ring_enabled, ..base() });
        small.read(b"a", 1);
        small.report().read.map(|ring| ring.ring.touches)
    };
    assert_eq!([on(true), on(false)], [Some(1), None]);
}

fn bits() {
    let buckets = |hot_ring_bits| {
        Small::open(Options { hot_ring_bits, hot_ring_node_cap: 0, ..base() }).reads().ring.buckets
    };
    assert_eq!([buckets(4), buckets(0)], [16, 4096]);
    assert!(matches!(Options { hot_ring_bits: 25, ..base() }.validate(), Err(Error::InvalidArgument(_))));
}

fn top_k() {
    let listed = |hot_ring_top_k| {
        let small = Small::open(Options { hot_ring_top_k, ..base() });
        (0..40u8).for_each(|k| small.read(&[k], 1));
        small.reads().top.len()
    };
    assert_eq!([listed(5), listed(0)], [5, 16]);
}

fn rotation_interval() {
    let after = |hot_ring_rotation_interval, time| {
        read_count_after(Options { hot_ring_rotation_interval, ..base() }, 5, time)
    };
    assert_eq!(
        [after(SECOND, SECOND), after(SECOND, 2 * SECOND), after(Duration::ZERO, 9 * SECOND)],
        [5, 0, 5]
    );
}

fn node_cap() {
    let nodes = |hot_ring_node_cap| {
        let small = Small::open(Options { hot_ring_node_cap, ..base() });
        (0..200u8).for_each(|k| small.read(&[k], 1));
        small.reads().ring.nodes
    };
    assert_eq!([nodes(20), nodes(0)], [20, 200]);
}

fn node_sample_bits() {
    let entered = |hot_ring_node_sample_bits| {
        // A slot for each read: every key in the ring is cold, so whoever may compete comes in.
        let small = Small::open(Options {
            hot_ring_node_sample_bits,
            hot_ring_node_cap: 16,
            hot_ring_window_slots: 1,
            hot_ring_window_slot_duration: SECOND,
            ..base()
        });
        for k in 0..1000u32 {
            small.read(&k.to_be_bytes(), 1);
            small.clock.advance_ms(1000);
        }
        small.reads().ring
    };
    let (all, sampled) = (entered(0), entered(4));
    assert_eq!((all.inserts, all.sample_drops, all.sample_mask), (1000, 0, 0));
    assert!((20..200).contains(&sampled.inserts) && sampled.sample_mask == 15, "{sampled:?}");
}

fn decay_interval() {
    let after = |hot_ring_decay_interval, time| {
        read_count_after(Options { hot_ring_decay_interval, ..base() }, 8, time)
    };
    assert_eq!(
        [after(SECOND, SECOND), after(SECOND, 2 * SECOND), after(Duration::ZERO, 9 * SECOND)],
        [4, 2, 8]
    );
}

fn decay_shift() {
    let after = |hot_ring_decay_shift| {
        let o = Options { hot_ring_decay_interval: SECOND, hot_ring_decay_shift, ..base() };
        read_count_after(o, 32, SECOND)
    };
    assert_eq!([after(0), after(1), after(3)], [16, 16, 4]);
}

fn window_slots() {
    let after = |hot_ring_window_slots, time| {
        let slot = Options { hot_ring_window_slot_duration: SECOND, ..base() };
        read_count_after(Options { hot_ring_window_slots, ..slot }, 3, time)
    };
    assert_eq!(
        [after(2, SECOND), after(2, 2 * SECOND), after(3, 2 * SECOND), after(0, 99 * SECOND)],
        [3, 0, 3, 3]
    );
}

fn window_slot_duration() {
    let after = |hot_ring_window_slot_duration, time| {
        read_count_after(
            Options { hot_ring_window_slots: 2, hot_ring_window_slot_duration, ..base() },
            3,
            time,
        )
    };
    assert_eq!(
        [after(SECOND, SECOND), after(SECOND / 4, SECOND), after(Duration::ZERO, SECOND / 4)],
        [3, 0, 3]
    );
}

fn write_limit() {
    let passed = |write_hot_key_limit| {
        let o = Options { hot_ring_window_slots: 2, hot_ring_window_slot_duration: SECOND, ..base() };
        let small = Small::open(Options { write_hot_key_limit, ..o });
        (0..50).take_while(|_| small.db.set(b"a", b"v").is_ok()).count()
    };
    assert_eq!([passed(7), passed(0)], [7, 50]);
}

/// The most batches in one log record when six more writers of a key that was written `before` times queue up.
/// Records have room for two batches of a cold key.
fn largest_record(before: u64, options: Options) -> u64 {
    let o = Options { value_threshold_bytes: 0, write_batch_max_count: 2, ..options };
    queued_behind(o, before, |_| [1]).record_batches_max
}

fn burst_threshold() {
    let o = |hot_write_burst_threshold| Options {
        hot_write_burst_threshold,
        hot_write_batch_multiplier: 3,
        ..base()
    };
    // Seven writes follow: of 12 none is the 20th, of 27 the last six are.
    let largest = [largest_record(5, o(20)), largest_record(20, o(20)), largest_record(20, o(0))];
    assert_eq!(largest, [2, 6, 2]);
}

fn batch_multiplier() {
    let o = |hot_write_batch_multiplier| Options {
        hot_write_burst_threshold: 1,
        hot_write_batch_multiplier,
        ..base()
    };
    let largest = |multiplier| largest_record(2, o(multiplier));
    assert_eq!([largest(0), largest(1), largest(2), largest(3)], [2, 2, 4, 6]);
    // By bytes: a record ends behind the batch that passes the mark.
    let o = |multiplier| Options { value_threshold_bytes: 0, write_batch_max_bytes: 1500, ..o(multiplier) };
    let largest = |multiplier| queued_behind(o(multiplier), 2, |_| [1]).record_batches_max;
    assert_eq!([largest(1), largest(2)], [2, 3]);
}

fn hot_bucket_count() {
    let is_split = |value_log_hot_bucket_count| {
        let o = Options { value_log_hot_bucket_count, value_log_hot_key_threshold: 2, ..base() };
        let small = Small::open(Options { value_log_bucket_count: 4, ..o });
        small.write(b"a", 9);
        (small.has_hot_bucket(), small.report().value_log.is_some())
    };
    assert_eq!(is_split(1), (true, true));
    assert!(!is_split(0).1, "nothing is counted where nothing is kept apart");
    // Every key is hot from its first write on: only the hot buckets have files.
    let used = |value_log_hot_bucket_count| {
        let o = Options { value_log_hot_bucket_count, value_log_hot_key_threshold: 1, ..base() };
        let small = Small::open(Options { value_log_bucket_count: 5, ..o });
        (0..40u8).for_each(|k| small.write(&[k], 1));
        let mut names: Vec<_> = small.fs.list("db/vlog").unwrap().into_iter().map(|e| e.name).collect();
        names.sort();
        names
    };
    assert_eq!(used(1), ["bucket-000"]);
    assert_eq!(used(2), ["bucket-000", "bucket-001"]);
}

fn hot_key_threshold() {
    let is_hot = |value_log_hot_key_threshold, writes| {
        let small = Small::open(Options { value_log_hot_key_threshold, ..base() });
        small.write(b"a", writes);
        small.has_hot_bucket()
    };
    assert_eq!([is_hot(5, 4), is_hot(5, 5), is_hot(0, 99)], [false, true, false]);
}

fn ring_override() {
    let slots = |value_log_hot_ring_override| {
        let o = Options { hot_ring_window_slots: 3, value_log_hot_ring_window_slots: 5, ..base() };
        Small::open(Options { value_log_hot_ring_override, ..o }).values().ring.window_slots
    };
    assert_eq!([slots(true), slots(false)], [5, 3]);
}

fn value_log_bits() {
    let buckets = |value_log_hot_ring_bits| {
        let o = Options { hot_ring_bits: 6, value_log_hot_ring_node_cap: 0, ..base() };
        Small::open(Options { value_log_hot_ring_bits, ..o }).values().ring.buckets
    };
    assert_eq!([buckets(3), buckets(0)], [8, 64]);
}

fn value_log_rotation_interval() {
    let after = |value_log_hot_ring_rotation_interval| {
        value_count_after(Options { value_log_hot_ring_rotation_interval, ..base() }, 5, 2 * SECOND)
    };
    assert_eq!([after(SECOND), after(Duration::ZERO)], [0, 5]);
}

fn value_log_node_cap() {
    let nodes = |value_log_hot_ring_node_cap| {
        let small = Small::open(Options { value_log_hot_ring_node_cap, ..base() });
        (0..60u8).for_each(|k| small.write(&[k], 1));
        small.values().ring.nodes
    };
    assert_eq!([nodes(10), nodes(0)], [10, 60]);
}

fn value_log_node_sample_bits() {
    let mask = |value_log_hot_ring_node_sample_bits| {
        let o = Options { value_log_hot_ring_node_cap: 16, ..base() };
        let small = Small::open(Options { value_log_hot_ring_node_sample_bits, ..o });
        (0..300u32).for_each(|k| small.write(&k.to_be_bytes(), 1));
        (small.values().ring.inserts, small.values().ring.sample_mask)
    };
    let (all, few) = (mask(0), mask(6));
    assert!(few.0 < all.0 && (all.1, few.1) == (0, 63), "{all:?} {few:?}");
}

fn value_log_decay_interval() {
    let after = |value_log_hot_ring_decay_interval| {
        value_count_after(Options { value_log_hot_ring_decay_interval, ..base() }, 8, 2 * SECOND)
    };
    assert_eq!([after(SECOND), after(Duration::ZERO)], [2, 8]);
}

fn value_log_decay_shift() {
    let after = |value_log_hot_ring_decay_shift| {
        let o = Options { value_log_hot_ring_decay_interval: SECOND, ..base() };
        value_count_after(Options { value_log_hot_ring_decay_shift, ..o }, 32, SECOND)
    };
    assert_eq!([after(0), after(2)], [16, 8]);
}

fn value_log_window_slots() {
    let after = |value_log_hot_ring_window_slots| {
        let o = Options { value_log_hot_ring_window_slot_duration: SECOND, ..base() };
        value_count_after(Options { value_log_hot_ring_window_slots, ..o }, 3, 2 * SECOND)
    };
    assert_eq!([after(2), after(3), after(0)], [0, 3, 3]);
}

fn value_log_window_slot_duration() {
    let after = |value_log_hot_ring_window_slot_duration| {
        let o = Options { value_log_hot_ring_window_slots: 2, ..base() };
        value_count_after(Options { value_log_hot_ring_window_slot_duration, ..o }, 3, SECOND)
    };
    assert_eq!([after(SECOND), after(SECOND / 4)], [3, 0]);
}
