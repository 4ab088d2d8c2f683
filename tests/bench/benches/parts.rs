//! Parts that reads and writes are made of: checksum, filter, block. Table lookup, merge and hot ring have theirs in
//! the main workspace (`cargo bench -p nokv-tests`).

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nokv::core::formats::block::{BlockBuilder, BlockRef, Layout, common_prefix};
use nokv::core::formats::crc::crc32c;
use nokv::core::formats::filter::Filter;
use nokv::core::formats::key::key_hash;
use nokv::core::formats::{CfId, EntryRef, KeyRef, Kind, Seq, Version};
use nokv_bench::workload::record::{Key, Rng};

fn crc(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc32c");
    for bytes in [16usize, 256, 4096, 64 << 10] {
        let data = vec![7u8; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| b.iter(|| crc32c(black_box(&data))));
    }
    group.finish();
}

fn filter(c: &mut Criterion) {
    // One that a cache holds, and one that it does not.
    for keys in [10_000u64, 4_000_000] {
        let hashes: Vec<u64> = (0..keys).map(|n| Rng(n).next_u64()).collect();
        let filter = Filter::build(&hashes, 10);
        let mut rng = Rng(1);
        let mut group = c.benchmark_group("filter");
        group.bench_function(BenchmarkId::new("hit", keys), |b| {
            b.iter(|| assert!(filter.may_contain(black_box(hashes[rng.below(keys) as usize]))));
        });
        group.bench_function(BenchmarkId::new("miss", keys), |b| {
            b.iter(|| filter.may_contain(rng.next_u64()))
        });
        group.finish();
    }
}

/// A block of 4 KiB, and its keys in order.
fn block(value_bytes: usize) -> (Vec<u8>, Vec<Key>) {
    let mut keys: Vec<Key> = (0..4096 / (value_bytes as u64 + 24)).map(Key::of).collect();
    keys.sort_unstable_by_key(|key| key.hash);
    let value = vec![5; value_bytes];
    let (mut builder, mut out) = (BlockBuilder::new(16), Vec::new());
    builder.begin(&mut out, Seq(0), 4);
    let mut before: &[u8] = &[];
    for (n, key) in keys.iter().enumerate() {
        let entry = EntryRef {
            version: Version::MAX,
            seq: Seq(n as u64),
            kind: Kind::Put,
            meta: 0,
            expires_at: 0,
            value: &value,
        };
        let stored = KeyRef::new(CfId::DEFAULT, &key.bytes);
        builder.add(&mut out, stored, key_hash(stored), common_prefix(before, &key.bytes), false, &entry);
        before = &key.bytes;
    }
    builder.finish(&mut out);
    (out, keys)
}

fn blocks(c: &mut Criterion) {
    for value_bytes in [16, 256] {
        let (bytes, keys) = block(value_bytes);
        let layout = Layout::parse(&bytes).expect("a block just built");
        let parsed = BlockRef::new(&bytes, &layout);
        let mut group = c.benchmark_group("block");
        group.bench_function(BenchmarkId::new("parse", value_bytes), |b| {
            b.iter(|| Layout::parse(black_box(&bytes)).expect("a block just built"));
        });
        let mut rng = Rng(1);
        group.bench_function(BenchmarkId::new("find", value_bytes), |b| {
            b.iter(|| {
                let key = KeyRef::new(CfId::DEFAULT, &keys[rng.below(keys.len() as u64) as usize].bytes);
                let found = parsed.find(black_box(key), key_hash(key)).expect("a block just built");
                assert!(found.is_some());
            });
        });
        let mut absent = keys.len() as u64;
        group.bench_function(BenchmarkId::new("find_absent", value_bytes), |b| {
            b.iter(|| {
                absent += 1;
                let other = Key::of(absent);
                let key = KeyRef::new(CfId::DEFAULT, &other.bytes);
                black_box(parsed.find(key, key_hash(key)).expect("a block just built"))
            });
        });
        group.throughput(Throughput::Elements(keys.len() as u64));
        group.bench_function(BenchmarkId::new("decode_all", value_bytes), |b| {
            b.iter(|| {
                let (mut at, mut count) = (8, 0);
                while at < layout.entries_end() {
                    let entry = parsed.entry(at).expect("a block just built");
                    black_box(parsed.view(&entry));
                    at = entry.next();
                    count += 1;
                }
                assert_eq!(count, keys.len());
            });
        });
        group.finish();
    }
}

criterion_group!(benches, crc, filter, blocks);
criterion_main!(benches);
