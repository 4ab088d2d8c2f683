//! The memtable's indexes beside `crossbeam-skiplist` and a `BTreeMap` under a lock: insert, lookup, short scan.
//!
//! Keys of 24 bytes in random order, values of 256 bytes. The rivals keep one value to a key and no versions, which
//! the indexes do: they do less.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_skiplist::SkipMap;
use nokv::MemIndex;
use nokv::core::Cursor;
use nokv::core::formats::{CfId, EntryRef, KeyRef, Kind, Seq, Version};
use nokv_bench::workload::record::{Key, Rng};
use nokv_index_art::Art;
use nokv_index_skiplist::Skiplist;

const KEYS: usize = 200_000;
const SCAN_KEYS: usize = 50;
const SCANS: usize = 2_000;
const VALUE: [u8; 256] = [7; 256];

type Bytes = [u8; 24];

trait Rival: Send + Sync + 'static {
    fn new() -> Self;
    fn insert(&self, key: &Bytes, seq: u64);
    fn lookup(&self, key: &Bytes) -> bool;
    /// Bytes of up to [`SCAN_KEYS`] keys and values from `key` on.
    fn scan(self: &Arc<Self>, key: &Bytes) -> usize;
}

impl<I: MemIndex<Config = ()>> Rival for I {
    fn new() -> Self {
        I::new(&(), KEYS * 512)
    }

    fn insert(&self, key: &Bytes, seq: u64) {
        let entry = EntryRef {
            version: Version::MAX,
            seq: Seq(seq),
            kind: Kind::Put,
            meta: 0,
            expires_at: 0,
            value: &VALUE,
        };
        MemIndex::insert(self, KeyRef::new(CfId::DEFAULT, key), &entry);
    }

    fn lookup(&self, key: &Bytes) -> bool {
        self.entries(KeyRef::new(CfId::DEFAULT, key)).next().is_some_and(|entry| entry.value[0] == 7)
    }

    fn scan(self: &Arc<Self>, key: &Bytes) -> usize {
        let mut cursor = self.cursor();
        cursor.seek(KeyRef::new(CfId::DEFAULT, key)).expect("memory does not fail");
        let mut bytes = 0;
        for _ in 0..SCAN_KEYS {
            if !cursor.valid() {
                break;
            }
            bytes += cursor.key().user_key.len() + cursor.entry().map_or(0, |entry| entry.value.len());
            cursor.next_key().expect("memory does not fail");
        }
        bytes
    }
}

struct Crossbeam(SkipMap<Bytes, Box<[u8]>>);

impl Rival for Crossbeam {
    fn new() -> Self {
        Self(SkipMap::new())
    }

    fn insert(&self, key: &Bytes, _: u64) {
        self.0.insert(*key, VALUE.into());
    }

    fn lookup(&self, key: &Bytes) -> bool {
        self.0.get(key).is_some_and(|entry| entry.value()[0] == 7)
    }

    fn scan(self: &Arc<Self>, key: &Bytes) -> usize {
        self.0.range(*key..).take(SCAN_KEYS).map(|entry| entry.key().len() + entry.value().len()).sum()
    }
}

struct LockedBtree(RwLock<BTreeMap<Bytes, Box<[u8]>>>);

impl Rival for LockedBtree {
    fn new() -> Self {
        Self(RwLock::default())
    }

    fn insert(&self, key: &Bytes, _: u64) {
        self.0.write().expect("nobody panics with it").insert(*key, VALUE.into());
    }

    fn lookup(&self, key: &Bytes) -> bool {
        self.0.read().expect("nobody panics with it").get(key).is_some_and(|value| value[0] == 7)
    }

    fn scan(self: &Arc<Self>, key: &Bytes) -> usize {
        let map = self.0.read().expect("nobody panics with it");
        let range = map.range::<Bytes, _>((Bound::Included(key), Bound::Unbounded));
        range.take(SCAN_KEYS).map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// Records `first..first + KEYS`: hashes, so their order is random.
fn keys(first: u64) -> Vec<Bytes> {
    (first..first + KEYS as u64).map(|n| Key::of(n).bytes).collect()
}

fn on_threads(threads: usize, keys: &[Bytes], each: impl Fn(usize, &Bytes) + Sync) {
    let share = keys.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for (t, keys) in keys.chunks(share).enumerate() {
            let each = &each;
            let run = move || keys.iter().enumerate().for_each(|(i, key)| each(t * share + i, key));
            if threads == 1 { run() } else { drop(scope.spawn(run)) }
        }
    });
}

fn measure<R: Rival>(c: &mut Criterion, name: &str) {
    let (present, absent) = (keys(0), keys(KEYS as u64));
    let mut probes = present.clone();
    let mut rng = Rng(9);
    for i in (1..probes.len()).rev() {
        probes.swap(i, rng.below(i as u64 + 1) as usize);
    }
    let full = Arc::new(R::new());
    on_threads(1, &present, |i, key| full.insert(key, i as u64 + 1));
    for threads in [1, 2] {
        let mut group = c.benchmark_group("insert");
        group.throughput(Throughput::Elements(KEYS as u64));
        group.bench_function(BenchmarkId::new(name, threads), |b| {
            b.iter_batched(
                R::new,
                |index| {
                    on_threads(threads, &present, |i, key| index.insert(key, i as u64 + 1));
                    index
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
        for (what, keys, found) in [("hit", &probes, true), ("miss", &absent, false)] {
            let mut group = c.benchmark_group(what);
            group.throughput(Throughput::Elements(KEYS as u64));
            group.bench_function(BenchmarkId::new(name, threads), |b| {
                b.iter(|| on_threads(threads, keys, |_, key| assert_eq!(full.lookup(black_box(key)), found)));
            });
            group.finish();
        }
        let mut group = c.benchmark_group("scan_50");
        group.throughput(Throughput::Elements(SCANS as u64));
        group.bench_function(BenchmarkId::new(name, threads), |b| {
            b.iter(|| on_threads(threads, &probes[..SCANS], |_, key| assert!(full.scan(black_box(key)) > 0)));
        });
        group.finish();
    }
}

fn all(c: &mut Criterion) {
    measure::<Art>(c, "art");
    measure::<Skiplist>(c, "skiplist");
    measure::<Crossbeam>(c, "crossbeam-skiplist");
    measure::<LockedBtree>(c, "locked-btree");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = all
}
criterion_main!(benches);
