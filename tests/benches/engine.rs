//! Hot paths of the engine: log append, table lookup, merge, `get`, `set`. Figures mean something only as ratios
//! of one run.
#![allow(missing_docs)]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nokv::{Db, Options};
use nokv_core::Cursor;
use nokv_core::formats::envelope::SECTION_BATCH;
use nokv_core::formats::key::key_hash;
use nokv_core::formats::{CfId, EntryRef, KeyRef, Kind, Seq, TableMeta, Version};
use nokv_core::read::merge::MergeCursor;
use nokv_core::table::{Compression, CursorOptions, Table, TableBuilder, TableOptions, TableShared};
use nokv_core::vfs::Vfs;
use nokv_core::wal::{BatchLog, BatchLogConfig, Section};
use nokv_vfs_mem::MemFs;
use nokv_vfs_std::StdFs;

fn key(n: u64) -> [u8; 24] {
    let mut key = *b"user00000000000000000000";
    let mut digits = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in key[4..].iter_mut().rev() {
        *byte = b'0' + (digits % 10) as u8;
        digits /= 10;
    }
    key
}

fn wal_append(c: &mut Criterion) {
    let mut group = c.benchmark_group("wal_append");
    for bytes in [16usize, 1024, 32 << 10] {
        let dir = tempfile::tempdir().expect("directory");
        let config = BatchLogConfig { segment_bytes: 64 << 20, db_id: 1 };
        let path = dir.path().to_str().expect("UTF-8");
        let batch_log = BatchLog::create(&StdFs::new(), path, config, 1).expect("batch_log");
        let payload = vec![7u8; bytes];
        let mut seq = 1;
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{bytes}"), |b| {
            b.iter(|| {
                let parts: &[&[u8]] = &[&payload];
                let section = Section { kind: SECTION_BATCH, group: 0, parts };
                let end = batch_log.append(Seq(seq), &[section]).expect("append").end;
                seq += 1;
                if end.offset > 60 << 20 {
                    batch_log.release_below(end.segment).expect("release");
                }
            });
        });
    }
    group.finish();
}

/// A table of every `step`-th of `count` sorted keys.
fn table(fs: &MemFs, name: &str, keys: &[[u8; 24]]) -> Arc<Table<MemFs>> {
    let options = TableOptions {
        compression: Compression::None,
        ..TableOptions::new(nokv_core::formats::vlog::record_len)
    };
    let mut builder = TableBuilder::new(fs.create(name).expect("file"), name, options, 1).expect("builder");
    let value = [5u8; 256];
    for (n, key) in keys.iter().enumerate() {
        let entry = EntryRef {
            version: Version::MAX,
            seq: Seq(n as u64 + 1),
            kind: Kind::Put,
            meta: 0,
            expires_at: 0,
            value: &value,
        };
        builder.add(KeyRef::new(CfId::DEFAULT, key), &entry).expect("add");
    }
    let meta: TableMeta = builder.finish().expect("table");
    Arc::new(Table::new(fs.clone(), name, meta, Arc::new(TableShared::new(1 << 30, 16))))
}

fn sorted_keys(count: u64, step: u64, from: u64) -> Vec<[u8; 24]> {
    let mut keys: Vec<_> = (0..count).map(|n| key(n * step + from)).collect();
    keys.sort_unstable();
    keys
}

fn table_lookup(c: &mut Criterion) {
    let fs = MemFs::new();
    let keys = sorted_keys(100_000, 1, 0);
    let table = table(&fs, "t", &keys);
    let mut n = 0usize;
    let find = |key: &[u8]| {
        let key = KeyRef::new(CfId::DEFAULT, key);
        let mut found = 0;
        let mut visit = |entry: EntryRef<'_>, _: &_| {
            found = entry.value.len();
            ControlFlow::Break(())
        };
        table.find(key, key_hash(key), &mut visit).expect("find");
        found
    };
    c.bench_function("table_lookup/hit", |b| {
        b.iter(|| {
            n = (n + 7919) % keys.len();
            assert_eq!(find(&keys[n]), 256);
        });
    });
    c.bench_function("table_lookup/miss", |b| {
        b.iter(|| {
            n += 1;
            black_box(find(&key(1_000_000 + n as u64)))
        });
    });
}

fn merge(c: &mut Criterion) {
    let fs = MemFs::new();
    let tables: Vec<_> = (0..8).map(|n| table(&fs, &format!("m{n}"), &sorted_keys(10_000, 8, n))).collect();
    let mut group = c.benchmark_group("merge");
    group.throughput(Throughput::Elements(80_000));
    group.sample_size(20);
    group.bench_function("8_tables_80000_keys", |b| {
        b.iter(|| {
            let cursors = tables.iter().map(|t| t.cursor(CursorOptions::COMPACTION)).collect();
            let mut merge = MergeCursor::new(cursors);
            merge.seek_first().expect("seek");
            let mut count = 0;
            while merge.valid() {
                count += merge.source(0).1.entry().map_or(0, |e| e.value.len().min(1));
                merge.next_key().expect("next");
            }
            assert_eq!(count, 80_000);
        });
    });
    group.finish();
}

fn get_and_set(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("directory");
    let db = Db::open(Options::new(dir.path())).expect("open");
    for n in 0..200_000 {
        db.set(&key(n), &[3; 256]).expect("set");
    }
    db.flush().expect("flush");
    db.compact_range(CfId::DEFAULT, None, None).expect("compact");
    db.wait_idle().expect("idle");
    let mut n = 0;
    c.bench_function("db/get", |b| {
        b.iter(|| {
            n = (n + 7919) % 200_000;
            assert!(db.get(&key(n)).expect("get").is_some());
        });
    });
    c.bench_function("db/get_absent", |b| {
        b.iter(|| {
            n += 1;
            black_box(db.get(&key(1_000_000 + n)).expect("get"))
        });
    });
    c.bench_function("db/set", |b| {
        b.iter(|| {
            n = (n + 7919) % 200_000;
            db.set(&key(n), &[4; 256]).expect("set");
        });
    });
    drop(db);
}

criterion_group!(benches, wal_append, table_lookup, merge, get_and_set);
criterion_main!(benches);
