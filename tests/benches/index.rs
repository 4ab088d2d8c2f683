//! Memtable indexes: insert, lookup hit and miss, scan; one thread and two; 24-byte keys, 256-byte values.
//!
//! `locked-btree`, a `RwLock<BTreeMap>`, is the yardstick. Times are of the whole round over `KEYS` keys;
//! throughput is in keys.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nokv_core::formats::{CfId, EntryRef, KeyBuf, KeyRef, Kind, Seq, Version};
use nokv_core::sync::RwLock;
use nokv_core::{Cursor, MemIndex};
use nokv_index_art::Art;
use nokv_index_skiplist::Skiplist;
use nokv_tests::laws::index::Course;

const KEYS: usize = 200_000;
const VALUE: [u8; 256] = [7; 256];

/// What is measured.
trait Rival: Send + Sync + 'static {
    fn new() -> Self;
    fn insert(&self, key: &[u8], seq: u64);
    fn lookup(&self, key: &[u8]) -> bool;
    fn scan(self: &Arc<Self>) -> usize;
}

impl<I: MemIndex<Config = ()>> Rival for I {
    fn new() -> Self {
        I::new(&(), KEYS * 400)
    }
    fn insert(&self, key: &[u8], seq: u64) {
        let entry = EntryRef {
            version: Version::MAX,
            seq: Seq(seq),
            kind: Kind::Put,
            meta: 0,
            expires_at: 0,
            value: &VALUE,
        };
        MemIndex::insert(self, KeyRef::new(CfId(0), key), &entry);
    }
    fn lookup(&self, key: &[u8]) -> bool {
        self.entries(KeyRef::new(CfId(0), key)).next().is_some_and(|entry| entry.value[0] == 7)
    }
    fn scan(self: &Arc<Self>) -> usize {
        let mut cursor = self.cursor();
        let mut bytes = 0;
        cursor.seek_first().unwrap();
        while cursor.valid() {
            bytes += cursor.key().user_key.len() + cursor.entry().map_or(0, |e| e.value.len());
            cursor.next_key().unwrap();
        }
        bytes
    }
}

struct LockedBtree(RwLock<BTreeMap<KeyBuf, (u64, Vec<u8>)>>);

impl Rival for LockedBtree {
    fn new() -> Self {
        Self(RwLock::new(BTreeMap::new()))
    }
    fn insert(&self, key: &[u8], seq: u64) {
        let (key, value) = (KeyBuf { cf: CfId(0), user_key: key.to_vec() }, VALUE.to_vec());
        self.0.write().insert(key, (seq, value));
    }
    fn lookup(&self, key: &[u8]) -> bool {
        let key = KeyBuf { cf: CfId(0), user_key: key.to_vec() };
        self.0.read().get(&key).is_some_and(|found| found.1[0] == 7)
    }
    fn scan(self: &Arc<Self>) -> usize {
        self.0.read().iter().map(|(key, (_, value))| key.user_key.len() + value.len()).sum()
    }
}

/// `user` and 20 digits, in random order; odd numbers are in the index, even ones are not.
fn keys(odd: u64) -> Vec<[u8; 24]> {
    let mut course = Course::new(1);
    let mut keys: Vec<[u8; 24]> = (0..KEYS as u64)
        .map(|i| {
            let number = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1) & !1 | odd;
            format!("user{number:020}").into_bytes().try_into().unwrap()
        })
        .collect();
    course.shuffle(&mut keys);
    keys
}

/// Each of `threads` takes its share of `keys`.
fn on_threads(threads: usize, keys: &[[u8; 24]], each: impl Fn(usize, &[u8; 24]) + Sync) {
    let share = keys.len().div_ceil(threads);
    let run =
        |t: usize, keys: &[[u8; 24]]| keys.iter().enumerate().for_each(|(i, key)| each(t * share + i, key));
    if threads == 1 {
        return run(0, keys);
    }
    thread::scope(|scope| {
        for (t, keys) in keys.chunks(share).enumerate() {
            let run = &run;
            scope.spawn(move || run(t, keys));
        }
    });
}

fn measure<R: Rival>(c: &mut Criterion, name: &str) {
    let (present, absent) = (keys(1), keys(0));
    let mut probes = present.clone();
    Course::new(9).shuffle(&mut probes);
    let full = Arc::new(R::new());
    on_threads(1, &present, |i, key| full.insert(key, i as u64 + 1));
    for threads in [1, 2] {
        let id = || BenchmarkId::new(name, threads);
        let mut group = c.benchmark_group("insert");
        group.throughput(Throughput::Elements(KEYS as u64));
        group.bench_function(id(), |b| {
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
            group.bench_function(id(), |b| {
                b.iter(|| on_threads(threads, keys, |_, key| assert_eq!(full.lookup(black_box(key)), found)));
            });
            group.finish();
        }
    }
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function(name, |b| b.iter(|| black_box(full.scan())));
    group.finish();
}

fn all(c: &mut Criterion) {
    measure::<Skiplist>(c, "skiplist");
    measure::<Art>(c, "art");
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
