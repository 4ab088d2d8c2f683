//! The write path, the log, memory.

use std::sync::mpsc;

use nokv::{CfId, Options, WriteBatch, WriteOptions};
use nokv_vfs_mem::Op;

use super::{Slow, quiet};

#[test]
fn groups_are_counted_with_their_entries_and_bytes() {
    let db = Slow::open(quiet());
    let mut batch = WriteBatch::new();
    for k in 0..3u8 {
        batch.put(CfId::DEFAULT, &[k], b"value").unwrap();
    }
    let bytes = batch.bytes() as f64;
    db.db.write(batch.clone(), &WriteOptions::default()).unwrap();
    let write = db.stats().write;
    assert_eq!((write.batches_total, write.avg_batch_entries, write.avg_batch_bytes), (1, 3.0, bytes));
    batch.clear();
    batch.put(CfId::DEFAULT, b"k", b"v").unwrap();
    db.db.write(batch, &WriteOptions::default()).unwrap();
    assert_eq!((db.stats().write.batches_total, db.stats().write.avg_batch_entries), (2, 2.0));
    assert_eq!(db.stats().counter("log_records"), 2);
    assert_eq!(db.stats().wal.record_counts.entries, 2);
}

#[test]
fn the_log_is_told_by_segments_and_sizes() {
    let db = Slow::open(quiet());
    let wal = db.stats().wal;
    assert_eq!((wal.active_segment, wal.segment_count), (1, 1));
    let start = wal.active_size;
    db.fill(0..1, &[1; 1000]);
    let one = db.stats().wal.active_size - start;
    assert!((1000..1200).contains(&one), "{one}");
    assert_eq!(db.stats().counter("log_bytes"), one as u64);
    db.fill(1..400, &[1; 1000]);
    let stats = db.stats();
    assert_eq!((stats.wal.active_segment, stats.wal.segment_count), (2, 2));
    assert!(stats.engine.space.wal_bytes as i64 >= 400 * one);
    assert_eq!(stats.counter("log_bytes"), 400 * one as u64);
}

#[test]
fn a_slow_sync_shows_in_the_latency_of_sync_and_of_set() {
    let db = Slow::open(Options { sync_writes: true, ..quiet() });
    let clock = db.clock.clone();
    db.fs.observe(move |op, path| {
        if matches!(op, Op::Sync | Op::Flush) && path.contains("wal/") {
            clock.advance_ms(6);
        }
    });
    db.fill(0..1, b"value");
    let latency = db.stats().engine.latency;
    let sync = latency["sync"];
    assert_eq!((sync.count, db.stats().counter("syncs"), sync.sampled_one_in), (1, 1, 1));
    assert!(sync.max_ns >= 6_000_000, "{sync:?}");
    assert_eq!((latency["set"].count, latency["set"].max_ns), (1, sync.max_ns));
    assert_eq!((latency["get"].count, latency["scan_step"].count), (0, 0));
}

#[test]
fn values_of_their_own_are_counted_apart() {
    let db = Slow::open(quiet());
    db.fill(0..2, &[1; 8 << 10]);
    let stats = db.stats();
    let (kept, moved) = (stats.counter("written_bytes"), stats.counter("separated_bytes"));
    assert!(kept < 200, "{kept}: keys and pointers");
    assert!(moved > 2 * (8 << 10) - 100 && moved < 2 * (8 << 10) + 100, "{moved}");
    let segment = stats.engine.value_log_segments[0];
    assert_eq!(stats.counter("value_log_bytes"), segment.live_bytes);
}

#[test]
fn memory_is_told_by_consumer_and_stays_in_its_bounds() {
    let db = Slow::open(Options { block_cache_bytes: 64 << 10, mem_table_bytes: 256 << 10, ..quiet() });
    let empty = db.stats().engine.memory;
    assert_eq!(empty.consumers["memtables"].budget_bytes, 4 * (256 << 10));
    assert_eq!(empty.consumers["block_cache"].budget_bytes, 64 << 10);
    db.fill(0..1000, &[1; 1000]);
    db.db.flush().unwrap();
    db.fill(0..100, &[1; 1000]);
    assert_eq!(db.db.iter(Default::default()).unwrap().count(), 1000);
    let memory = db.stats().engine.memory;
    for name in ["memtables", "block_cache", "indexes", "open_files"] {
        assert!(memory.consumers[name].used_bytes > 0, "{name}: {memory:?}");
    }
    for (name, of) in &memory.consumers {
        assert!(of.budget_bytes == 0 || of.used_bytes <= of.budget_bytes, "{name}: {of:?}");
    }
    assert_eq!(memory.used_bytes, memory.consumers.values().map(|c| c.used_bytes).sum::<u64>());
    assert_eq!(memory.budget_bytes, memory.consumers.values().map(|c| c.budget_bytes).sum::<u64>());
}

#[test]
fn seqs_follow_writes_syncs_and_flushes() {
    let db = Slow::open(quiet());
    db.fill(0..5, b"value");
    let seqs = || db.stats().engine.seqs;
    assert_eq!((seqs().published, seqs().durable, seqs().flushed), (5, 0, 0));
    db.db.sync().unwrap();
    assert_eq!((seqs().published, seqs().durable, seqs().flushed), (5, 5, 0));
    db.db.flush().unwrap();
    assert_eq!(seqs().flushed, 5);
    assert_eq!((db.stats().entries, db.stats().engine.memtables.entries), (5, 0));
}

#[test]
fn statistics_do_not_wait_for_a_manifest_that_does_not_come_back_from_its_sync() {
    let db = Slow::open(quiet());
    db.fill(0..1, b"value");
    let (reached, at_manifest) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    db.fs.observe(move |op, path| {
        if op == Op::Sync && path.contains("MANIFEST") && reached.send(()).is_ok() {
            let _ = wait.lock().unwrap().recv();
        }
    });
    db.db.engine().rotate_memtable().unwrap();
    at_manifest.recv().unwrap();
    let stats = db.stats();
    assert_eq!((stats.flush.active, stats.flush.completed), (1, 0));
    drop(at_manifest);
    drop(go_on);
    db.db.flush().unwrap();
    assert_eq!(db.stats().flush.completed, 1);
}
