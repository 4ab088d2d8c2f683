//! Memory, by an allocator that counts: what a database holds, what a read and a touch ask for, and that no number in a
//! damaged file decides how much is allocated.
#![allow(missing_docs)]

mod counting;
mod lies;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use counting::{asked_by, peak_of};
use nokv::core::formats::KeyRef;
use nokv::core::hotring::{HotRing, RingOptions, RotatingRing};
use nokv::{CfId, Db, IterOptions, Options};

/// The heap is that of the whole program: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(i: u64) -> Vec<u8> {
    format!("key{i:09}").into_bytes()
}

#[test]
fn a_touch_of_a_tracked_key_allocates_nothing() {
    let _alone = alone();
    let keys: Vec<Vec<u8>> = (0..1000).map(key).collect();
    let window = RingOptions { window_slots: 8, window_slot_ns: 1000, ..RingOptions::default() };
    for options in [RingOptions::default(), window] {
        let (plain, rotating) = (HotRing::new(options, 0), RotatingRing::new(options, 1 << 40, 0));
        let touch_all = |now: u64| {
            for key in &keys {
                plain.touch(KeyRef::new(CfId::DEFAULT, key), now);
                rotating.touch(KeyRef::new(CfId::DEFAULT, key), now);
            }
        };
        touch_all(1);
        for now in 2..50 {
            let (calls, bytes, ()) = asked_by(|| touch_all(now * 700));
            assert_eq!((calls, bytes), (0, 0), "{options:?}, time {now}");
        }
    }
}

#[test]
fn a_get_from_a_memtable_allocates_what_its_value_needs() {
    let _alone = alone();
    for hot_ring_enabled in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { hot_ring_enabled, ..Options::new(dir.path()) };
        let db = Db::open(options).unwrap();
        for (i, len) in [0, 1, 10, 100, 1000, 3000].into_iter().enumerate() {
            let key = key(i as u64);
            db.set(&key, &vec![1; len]).unwrap();
            // The first ones track the key, and take the thread's number.
            (0..10).for_each(|_| assert_eq!(db.get(&key).unwrap().map(|v| v.len()), Some(len)));
            for _ in 0..100 {
                let (calls, bytes, value) = asked_by(|| db.get(&key).unwrap());
                assert_eq!(value.map(|v| v.len()), Some(len));
                // The value, and the counts of the `Arc` that it may be in.
                assert!(
                    calls <= 1 && bytes <= len + 32,
                    "{len} bytes of value: {calls} calls for {bytes} bytes"
                );
            }
            (0..10).for_each(|_| assert!(db.get(b"never written").unwrap().is_none()));
            let (calls, bytes, value) = asked_by(|| db.get(b"never written").unwrap());
            assert!(value.is_none());
            assert_eq!((calls, bytes), (0, 0), "a key that is not there");
        }
        db.close().unwrap();
    }
}

/// What a database may hold besides memtables and caches: buffers of merges and of log and value log, indexes of open
/// tables, the queue, statistics, and whatever the threads of this program have.
const SLACK: usize = 6 << 20;

#[test]
fn an_open_database_stays_within_memtables_caches_and_a_slack() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        mem_table_bytes: 1 << 20,
        sealed_mem_tables_max: 2,
        wal_segment_bytes: 1 << 20,
        table_bytes: 1 << 20,
        level_base_bytes: 4 << 20,
        block_cache_bytes: 2 << 20,
        bloom_cache_bytes: 256 << 10,
        open_files_max: 16,
        value_log_segment_bytes: 4 << 20,
        value_log_gc_interval: Duration::from_millis(50),
        ..Options::new(dir.path())
    };
    let budget = options.mem_table_bytes * (options.sealed_mem_tables_max + 1)
        + options.block_cache_bytes as usize
        + options.bloom_cache_bytes as usize
        + SLACK;
    let mut peaks = Vec::new();
    let (whole, ()) = peak_of(|| {
        let db = Db::open(options).unwrap();
        let mut x = 1u64;
        let mut next = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            x >> 33
        };
        for _ in 0..8 {
            for i in 0..8_000 {
                let len = if i % 40 == 0 { 6_000 } else { 300 };
                db.set(&key(next() % 20_000), &vec![i as u8; len]).unwrap();
                if i % 4 == 0 {
                    db.get(&key(next() % 20_000)).unwrap();
                }
            }
            let scanned = db.iter(IterOptions::default()).unwrap().take(5_000).filter(Result::is_ok).count();
            assert!(scanned > 1000, "{scanned}");
            peaks.push(db.stats().engine.memory.used_bytes);
        }
        db.close().unwrap();
    });
    println!("at most {whole} bytes of heap within a budget of {budget}; told by statistics: {peaks:?}");
    assert!(whole <= budget, "{whole} bytes of heap, the budget is {budget}");
    assert!(whole > 1 << 20, "{whole} bytes: nothing was measured");
}
