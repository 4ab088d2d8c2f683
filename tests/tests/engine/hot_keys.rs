//! Hot keys in the handle: lists, throttling, value-log buckets, warm blocks, compaction scores, a restart.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nokv::core::hotring::HotKey;
use nokv::{CfId, Db, Error, ManualClock, Options, Version, WriteBatch, WriteOptions};
use nokv_core::vfs::Vfs;
use nokv_vfs_mem::MemFs;

/// The window is two slots of a second.
fn options(clock: &Arc<ManualClock>) -> Options {
    Options {
        hot_ring_enabled: true,
        mem_table_bytes: 256 << 10,
        wal_segment_bytes: 256 << 10,
        value_log_gc_interval: Duration::ZERO,
        num_compactors: 1,
        hot_ring_window_slots: 2,
        hot_ring_window_slot_duration: Duration::from_secs(1),
        clock: Some(clock.clone()),
        ..Options::new("db")
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_700_000_000_000))
}

fn open(options: Options) -> Db<MemFs> {
    Db::open_on(MemFs::new(), options).unwrap()
}

fn listed(keys: &[HotKey]) -> Vec<(&[u8], u64)> {
    keys.iter().map(|hot| (hot.key.user_key.as_slice(), hot.count)).collect()
}

fn limited(clock: &Arc<ManualClock>, limit: u32) -> Db<MemFs> {
    open(Options { write_hot_key_limit: limit, ..options(clock) })
}

#[test]
fn so_many_writes_of_a_key_pass_and_the_next_is_refused_until_the_window_moved_on() {
    let clock = clock();
    let db = limited(&clock, 3);
    for n in 0..3u8 {
        db.set(b"a", &[n]).unwrap();
    }
    assert_eq!(db.set(b"a", b"x"), Err(Error::HotKeyWriteThrottle));
    assert_eq!(db.del(b"a"), Err(Error::HotKeyWriteThrottle));
    assert!(Error::HotKeyWriteThrottle.may_retry());
    assert_eq!(db.get(b"a").unwrap().unwrap(), [2]);
    db.set(b"b", b"other").unwrap();
    assert_eq!(db.hot_report().hot_key_limited, 2);
    clock.advance_ms(1000);
    assert_eq!(db.set(b"a", b"x"), Err(Error::HotKeyWriteThrottle), "the window is two seconds");
    clock.advance_ms(1000);
    db.set(b"a", b"again").unwrap();
    assert_eq!(db.get(b"a").unwrap().unwrap(), b"again");
    assert_eq!(db.hot_report().hot_key_limited, 3);
}

#[test]
fn a_batch_with_a_key_at_its_limit_is_refused_whole_and_counts_for_nothing() {
    let clock = clock();
    let db = limited(&clock, 2);
    db.set(b"hot", b"1").unwrap();
    let published = db.engine().published();
    let mut batch = WriteBatch::new();
    for key in [b"a".as_slice(), b"hot", b"hot", b"b"] {
        batch.put(CfId::DEFAULT, key, b"2").unwrap();
    }
    assert_eq!(db.write(batch, &WriteOptions::default()), Err(Error::HotKeyWriteThrottle));
    assert_eq!(db.engine().published(), published);
    assert!(db.get(b"a").unwrap().is_none() && db.get(b"b").unwrap().is_none());
    assert_eq!(db.get(b"hot").unwrap().unwrap(), b"1");
    assert_eq!(listed(&db.hot_report().write.unwrap().top), [(b"hot".as_slice(), 1)]);
    // What was taken back can be used.
    db.set(b"a", b"3").unwrap();
    db.set(b"a", b"3").unwrap();
    db.set(b"hot", b"3").unwrap();
    assert_eq!(db.hot_report().hot_key_limited, 1);
}

#[test]
fn writers_at_once_never_pass_the_limit_together() {
    let clock = clock();
    let db = limited(&clock, 25);
    let passed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    match db.set(b"a", b"v") {
                        Ok(()) => drop(passed.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert_eq!(error, Error::HotKeyWriteThrottle),
                    }
                }
            });
        }
    });
    assert_eq!((passed.into_inner(), db.hot_report().hot_key_limited), (25, 175));
}

#[test]
fn nothing_is_throttled_by_default() {
    let clock = clock();
    let db = open(options(&clock));
    for _ in 0..10_000 {
        db.set(b"a", b"v").unwrap();
    }
    assert_eq!(db.hot_report().hot_key_limited, 0);
}

#[test]
fn a_limit_that_a_key_would_never_recover_from_is_refused() {
    let clock = clock();
    let limited = Options { write_hot_key_limit: 1, ..options(&clock) };
    let named = |o: &Options| match o.validate() {
        Err(Error::InvalidArgument(text)) => text.contains("write_hot_key_limit"),
        _ => false,
    };
    assert!(limited.validate().is_ok());
    assert!(named(&Options { hot_ring_enabled: false, ..limited.clone() }));
    let rigid =
        Options { hot_ring_window_slots: 0, hot_ring_rotation_interval: Duration::ZERO, ..limited.clone() };
    assert!(named(&rigid));
    let rotating = Options { hot_ring_rotation_interval: Duration::from_secs(1), ..rigid.clone() };
    assert!(rotating.validate().is_ok());
    let db = open(rotating);
    db.set(b"a", b"v").unwrap();
    clock.advance_ms(1000);
    db.hot_step();
    assert_eq!(db.set(b"a", b"v"), Err(Error::HotKeyWriteThrottle), "the warm generation still knows it");
    clock.advance_ms(1000);
    db.hot_step();
    db.set(b"a", b"v").unwrap();
}

#[test]
fn reads_and_writes_are_counted_by_key_and_apart() {
    let clock = clock();
    let db = open(options(&clock));
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, b"w", b"1").unwrap();
    batch.delete(CfId::DEFAULT, b"w").unwrap();
    batch.put(CfId::WRITE, b"w", b"1").unwrap();
    batch.delete_range(CfId::DEFAULT, b"x", b"y").unwrap();
    db.write(batch, &WriteOptions::default()).unwrap();
    let snapshot = db.snapshot().unwrap();
    db.get(b"r").unwrap();
    db.get_entry(CfId::DEFAULT, b"r").unwrap();
    db.get_at(&snapshot, CfId::DEFAULT, b"r", Version::MAX).unwrap();
    db.multi_get(CfId::DEFAULT, &[b"r", b"s"]).unwrap();
    let report = db.hot_report();
    let (read, write) = (report.read.unwrap(), report.write.unwrap());
    assert_eq!(listed(&read.top), [(b"r".as_slice(), 4), (b"s", 1)]);
    assert_eq!(listed(&write.top), [(b"w".as_slice(), 2), (b"w", 1)]);
    assert_eq!(write.top[1].key.cf, CfId::WRITE);
    assert_eq!((read.ring.touches, read.ring.nodes, write.ring.touches), (5, 2, 3));
    assert!(read.memory_bytes > 0);
    // All of it leaves the window.
    clock.advance_ms(2000);
    assert!(db.hot_report().read.unwrap().top.is_empty());
}

#[test]
fn a_database_without_rings_works_and_reports_none() {
    let clock = clock();
    let db = open(Options { hot_ring_enabled: false, ..options(&clock) });
    db.set(b"a", b"v").unwrap();
    assert_eq!(db.get(b"a").unwrap().unwrap(), b"v");
    db.hot_step();
    assert_eq!(db.hot_report(), nokv::HotReport::default());
}

#[test]
fn a_restart_starts_with_empty_rings() {
    let (clock, fs) = (clock(), MemFs::new());
    let db = Db::open_on(fs.clone(), options(&clock)).unwrap();
    db.set(b"a", b"v").unwrap();
    db.close().unwrap();
    drop(db);
    let reader = Db::open_on(fs.clone(), Options { read_only: true, ..options(&clock) }).unwrap();
    reader.get(b"a").unwrap();
    let report = reader.hot_report();
    assert_eq!(report.read.unwrap().ring.touches, 1);
    assert!(report.write.is_none() && report.value_log.is_none(), "nothing is written");
    let db = Db::open_on(fs, options(&clock)).unwrap();
    assert_eq!(db.hot_report().write.unwrap().ring.touches, 0);
}

#[test]
fn values_of_hot_keys_go_to_the_hot_buckets() {
    let clock = clock();
    let fs = MemFs::new();
    let o = Options { value_threshold_bytes: 64, value_log_hot_key_threshold: 3, ..options(&clock) };
    let db = Db::open_on(fs.clone(), o).unwrap();
    let in_hot_bucket = || fs.list("db/vlog/bucket-000").map_or(0, |names| names.len());
    for n in 0..2u8 {
        db.set(b"hot", &[n; 100]).unwrap();
    }
    for n in 0..100u8 {
        db.set(&[n], &[n; 100]).unwrap();
        db.set(b"small", b"is not asked").unwrap();
    }
    assert_eq!(in_hot_bucket(), 0);
    db.set(b"hot", &[2; 100]).unwrap();
    assert!(in_hot_bucket() > 0);
    assert_eq!(db.get(b"hot").unwrap().unwrap(), [2; 100]);
    let ring = db.hot_report().value_log.unwrap();
    assert_eq!((listed(&ring.top)[0], ring.ring.nodes), ((b"hot".as_slice(), 3), 101));
    drop(db);
    let db = Db::open_on(fs, options(&clock)).unwrap();
    assert_eq!(db.get(b"hot").unwrap().unwrap(), [2; 100]);
}

/// Block-cache misses of reading the hot keys after a compaction that put them into new blocks.
fn misses_after_compaction(hot_rings: bool) -> u64 {
    let clock = clock();
    let db = open(Options { hot_ring_enabled: hot_rings, ..options(&clock) });
    let key = |k: u32| format!("key{k:06}").into_bytes();
    let fill = |tag: u8| {
        for k in 0..3000 {
            db.set(&key(k), &[tag; 100]).unwrap();
        }
        db.flush().unwrap();
    };
    fill(1);
    let hot: Vec<_> = (0..8).map(|k| key(k * 350)).collect();
    for _ in 0..5 {
        hot.iter().for_each(|key| assert!(db.get(key).unwrap().is_some()));
    }
    fill(2);
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    db.wait_idle().unwrap();
    db.hot_step();
    let misses = || {
        let cache = db.engine().stats().cache;
        cache.level_0.misses + cache.deeper.misses
    };
    let before = misses();
    hot.iter().for_each(|key| assert_eq!(db.get(key).unwrap().unwrap(), [2; 100]));
    misses() - before
}

#[test]
fn hot_keys_are_read_without_a_cache_miss_after_a_compaction() {
    assert_eq!(misses_after_compaction(true), 0);
    assert!(misses_after_compaction(false) >= 8);
}

#[test]
fn a_level_that_holds_what_is_read_most_has_a_higher_compaction_score() {
    let clock = clock();
    let db = open(Options { level0_compaction_tables: 8, level_base_bytes: 64 << 20, ..options(&clock) });
    for round in 0..4u8 {
        db.set(b"a", &[round]).unwrap();
        db.set(b"k", &[round]).unwrap();
        db.flush().unwrap();
    }
    let raw = db.engine().scores().level[0];
    assert_eq!(raw, 500);
    for key in [b"b", b"c", b"z"] {
        db.get(key).unwrap();
        db.get(key).unwrap();
    }
    db.hot_step();
    assert_eq!(
        db.engine().scores().level[0],
        raw + raw * 166 / 1000,
        "two of three hot keys lie in its range"
    );
    clock.advance_ms(10_000);
    db.hot_step();
    assert_eq!(db.engine().scores().level[0], raw);
}

#[test]
fn the_ten_hottest_are_listed_in_order_with_a_cap_of_a_hundredth_of_the_keys() {
    const KEYS: usize = 10_000;
    let clock = clock();
    let cap = KEYS as u64 / 100;
    let db = open(Options { hot_ring_node_cap: cap, hot_ring_top_k: 10, ..options(&clock) });
    let mut sum = 0.0;
    let zipf: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let mut course = 0x2545_f491_4f6c_dd1du64;
    let mut exact = vec![0u64; KEYS];
    for _ in 0..300_000 {
        course ^= course << 13;
        course ^= course >> 7;
        course ^= course << 17;
        let at = (course >> 11) as f64 / (1u64 << 53) as f64 * sum;
        let k = zipf.partition_point(|s| *s <= at).min(KEYS - 1);
        exact[k] += 1;
        db.get(format!("key{k:05}").as_bytes()).unwrap();
    }
    let mut order: Vec<usize> = (0..KEYS).collect();
    order.sort_by_key(|k| std::cmp::Reverse(exact[*k]));
    let read = db.hot_report().read.unwrap();
    let names: Vec<Vec<u8>> = order[..10].iter().map(|k| format!("key{k:05}").into_bytes()).collect();
    assert_eq!(read.top.iter().map(|hot| hot.key.user_key.clone()).collect::<Vec<_>>(), names);
    assert!(read.ring.nodes <= cap, "{:?}", read.ring);
    assert_eq!(read.ring.touches, 300_000);
    // Two generations, each with places for the cap rounded up to groups, a window and the key's bytes.
    assert!(read.memory_bytes < 2 * (cap * 120 + 4096), "{}", read.memory_bytes);
}
