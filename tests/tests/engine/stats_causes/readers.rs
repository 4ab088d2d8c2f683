//! Caches, iterators, snapshots, latencies of reads.

use nokv::CfId;
use nokv_vfs_mem::Op;

use super::{Slow, quiet};

#[test]
fn block_hits_are_counted_by_level() {
    let db = Slow::open(quiet());
    db.fill(0..1, b"value");
    db.db.flush().unwrap();
    let get = |times: u32| (0..times).for_each(|_| assert!(db.db.get(b"key00000").unwrap().is_some()));
    get(4);
    let stats = db.stats();
    assert_eq!((stats.cache.block_l0_hit_rate, stats.cache.block_l1_hit_rate), (0.75, 0.0));
    assert_eq!((stats.engine.cache.l0_hits, stats.engine.cache.l0_misses), (3, 1));
    assert_eq!((stats.engine.cache.blocks, stats.engine.cache.open_files), (1, 1));
    // Another table below, so that this one is merged and not only moved.
    db.fill(0..1, b"value");
    db.db.compact_range(CfId::DEFAULT, None, None).unwrap();
    let before = db.stats().engine.cache;
    get(10);
    let after = db.stats();
    assert_eq!(after.engine.cache.l1_misses - before.l1_misses, 1);
    assert_eq!(after.engine.cache.l1_hits - before.l1_hits, 9);
    assert_eq!(after.engine.cache.l0_hits, before.l0_hits);
    let (hits, misses) = (after.engine.cache.l1_hits as f64, after.engine.cache.l1_misses as f64);
    assert_eq!(after.cache.block_l1_hit_rate, hits / (hits + misses));
}

#[test]
fn an_iterator_takes_over_the_buffers_of_one_that_ended() {
    let db = Slow::open(quiet());
    db.fill(0..10, b"value");
    let scan = || db.db.iter(Default::default()).unwrap().count();
    assert_eq!(scan(), 10);
    assert_eq!(db.stats().cache.iterator_reused, 0);
    assert_eq!(scan(), 10);
    assert_eq!(db.stats().cache.iterator_reused, 1);
    // Two at once: there is room for one of them.
    let (mut a, mut b) = (db.db.iter(Default::default()).unwrap(), db.db.iter(Default::default()).unwrap());
    assert_eq!((a.next().unwrap().unwrap(), b.next().unwrap().unwrap().0), {
        let value = nokv::Value::owned(b"value".to_vec());
        ((b"key00000".to_vec(), value), b"key00000".to_vec())
    });
    assert_eq!(db.stats().cache.iterator_reused, 2);
}

#[test]
fn reads_and_writes_are_counted_by_family() {
    let db = Slow::open(quiet());
    let extra = db.db.create_cf("extra").unwrap();
    for (cf, writes, reads) in [(CfId::DEFAULT, 3, 2), (CfId::LOCK, 1, 0), (extra, 2, 5)] {
        for _ in 0..writes {
            db.db.set_cf(cf, b"k", b"v").unwrap();
        }
        for _ in 0..reads {
            db.db.get_cf(cf, b"k").unwrap();
        }
    }
    let mut batch = nokv::WriteBatch::new();
    batch.put(extra, b"a", b"1").unwrap();
    batch.put(CfId::DEFAULT, b"a", b"1").unwrap();
    batch.put(extra, b"b", b"1").unwrap();
    db.db.write(batch, &Default::default()).unwrap();
    db.db.multi_get(CfId::DEFAULT, &[b"a", b"b"]).unwrap();
    let stats = db.stats();
    let counts = |name: &str| (stats.lsm.column_families[name].writes, stats.lsm.column_families[name].reads);
    assert_eq!(counts("default"), (4, 4));
    assert_eq!(counts("lock"), (1, 0));
    assert_eq!(counts("write"), (0, 0));
    assert_eq!(counts("extra"), (4, 5));
    assert_eq!((stats.counter("writes"), stats.counter("reads")), (9, 9));
    db.db.drop_cf("extra").unwrap();
    assert!(!db.stats().lsm.column_families.contains_key("extra"));
}

#[test]
fn a_slow_read_shows_in_the_latency_of_get() {
    let db = Slow::open(quiet());
    db.fill(0..1, b"value");
    db.db.flush().unwrap();
    db.slow(Op::Read, "tables/", 4);
    // The first read is one of those that are timed. It opens the table and reads a block.
    db.db.get(b"key00000").unwrap();
    let get = db.stats().engine.latency["get"];
    assert_eq!((get.count, get.sampled_one_in), (1, 16));
    assert!(get.max_ns >= 8_000_000 && get.p50_ns == get.max_ns, "{get:?}");
    for _ in 0..160 {
        db.db.get(b"key00000").unwrap();
    }
    let get = db.stats().engine.latency["get"];
    assert_eq!((get.count, get.p50_ns, get.p90_ns), (11, 0, 0));
    assert_eq!((get.p999_ns, get.sum_ns), (get.max_ns, get.max_ns));
}

#[test]
fn a_slow_read_shows_in_the_latency_of_scan_steps() {
    let db = Slow::open(quiet());
    db.fill(0..1000, &[1; 100]);
    db.db.flush().unwrap();
    let mut iter = db.db.iter(Default::default()).unwrap();
    iter.rewind().unwrap();
    db.slow(Op::Read, "tables/", 4);
    while iter.valid() {
        iter.next_entry().unwrap();
    }
    let steps = db.stats().engine.latency["scan_step"];
    assert_eq!(steps.count, 63);
    assert_eq!(steps.p50_ns, 0);
}

#[test]
fn iterators_and_snapshots_are_listed_with_age() {
    let db = Slow::open(quiet());
    db.fill(0..10, b"value");
    let snapshot = db.db.snapshot().unwrap();
    db.clock.advance_ms(100);
    let iter = db.db.iter(Default::default()).unwrap();
    db.clock.advance_ms(20);
    let all = db.db.internal_iter().unwrap();
    db.clock.advance_ms(3);
    let pins = db.stats().engine.pins;
    let seen: Vec<_> = pins.list.iter().map(|p| (&p.owner[..], p.seq, p.age_ms, p.bytes)).collect();
    assert_eq!(seen, [("snapshot", 10, 123, 0), ("iterator", 10, 23, 0), ("internal_iterator", 10, 3, 0)]);
    assert_eq!((pins.snapshots, pins.iterators), (1, 2));
    let health = db.db.health();
    assert_eq!((health.iterators, &health.pins), (2, &pins.list));
    drop((snapshot, iter, all));
    assert_eq!(db.stats().engine.pins, Default::default());
}

#[test]
fn a_snapshot_pins_at_most_what_was_written_since() {
    let db = Slow::open(quiet());
    db.fill(0..100, &[1; 100]);
    db.db.flush().unwrap();
    let _snapshot = db.db.snapshot().unwrap();
    assert_eq!(db.stats().engine.pins.list[0].bytes, 0);
    db.fill(0..50, &[2; 100]);
    db.db.flush().unwrap();
    let stats = db.stats();
    let third = stats.table_bytes() / 3;
    let bytes = stats.engine.pins.list[0].bytes;
    assert!(bytes.abs_diff(third) <= 1, "{bytes} of {}: 50 of 150 entries", stats.table_bytes());
}

#[test]
fn an_iterator_pins_what_left_the_tree() {
    let db = Slow::open(quiet());
    db.fill(0..100, &[1; 100]);
    db.db.flush().unwrap();
    let table = db.stats().table_bytes();
    let iter = db.db.iter(Default::default()).unwrap();
    assert_eq!(db.stats().engine.pins.list[0].bytes, 0);
    db.fill(0..100, &[2; 100]);
    db.db.compact_range(CfId::DEFAULT, None, None).unwrap();
    let stats = db.stats();
    assert_eq!(stats.engine.pins.retired_table_bytes, table);
    // And the memtable that was active then, now full of what it does not see.
    assert!(stats.engine.pins.list[0].bytes > table);
    assert!(stats.engine.memory.consumers["iterators"].used_bytes > 0);
    drop(iter);
    let stats = db.until(|stats| stats.engine.pins.retired_table_bytes == 0);
    assert_eq!(stats.engine.pins.list, []);
}
