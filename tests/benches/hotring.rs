//! Touching keys of a hot ring: a tracked key, alone and by two threads at once; a key that finds no place.
//!
//! Times are of one touch; `hit/*/1` is the figure that has a goal: below 30 ns at the median. The threads of
//! `contended` all touch the same 16 keys, those of `apart` their own.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nokv_core::formats::{CfId, KeyRef};
use nokv_core::hotring::{HotRing, RingOptions, RotatingRing};

const KEYS: usize = 4096;
const SLOT_NS: u64 = 250_000_000;

fn keys(first: usize) -> Vec<[u8; 24]> {
    (first..first + KEYS).map(|i| format!("user{i:020}").into_bytes().try_into().unwrap()).collect()
}

fn shapes() -> [(&'static str, RingOptions); 3] {
    let plain = RingOptions { node_cap: 1 << 16, ..RingOptions::default() };
    let windowed = RingOptions { window_slots: 8, window_slot_ns: SLOT_NS, ..plain };
    [("plain", plain), ("window", windowed), ("uncapped", RingOptions { node_cap: 0, ..plain })]
}

fn hit(c: &mut Criterion) {
    let mut group = c.benchmark_group("hit");
    let keys = keys(0);
    for (name, options) in shapes() {
        for hot in [16, KEYS] {
            let ring = HotRing::new(options, 0);
            for k in &keys {
                ring.touch(KeyRef::new(CfId(0), k), 0);
            }
            let mut i = 0;
            group.bench_function(BenchmarkId::new(format!("{name}/{hot}-keys"), 1), |b| {
                b.iter(|| {
                    i = (i + 1) & (hot - 1);
                    ring.touch(KeyRef::new(CfId(0), black_box(keys[i].as_slice())), 0)
                });
            });
        }
    }
    let (_, windowed) = shapes()[1];
    let ring = RotatingRing::new(windowed, u64::MAX / 2, 0);
    let mut i = 0;
    group.bench_function(BenchmarkId::new("two-generations/16-keys", 1), |b| {
        b.iter(|| {
            i = (i + 1) & 15;
            ring.touch(KeyRef::new(CfId(0), black_box(keys[i].as_slice())), 0)
        });
    });
    group.bench_function(BenchmarkId::new("two-generations-record/16-keys", 1), |b| {
        b.iter(|| {
            i = (i + 1) & 15;
            ring.record(KeyRef::new(CfId(0), black_box(keys[i].as_slice())), 0)
        });
    });
    group.bench_function(BenchmarkId::new("below-a-limit/16-keys", 1), |b| {
        b.iter(|| {
            i = (i + 1) & 15;
            ring.touch_and_clamp(KeyRef::new(CfId(0), black_box(keys[i].as_slice())), u64::MAX, 0)
        });
    });
    group.finish();
}

/// Time of `touches` by each of two threads, as the slower one saw it.
fn both(ring: &HotRing, touches: u64, keys: [&[[u8; 24]]; 2]) -> Duration {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let threads = keys.map(|keys| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let began = Instant::now();
                for i in 0..touches as usize {
                    black_box(ring.touch(KeyRef::new(CfId(0), &keys[i & 15]), 0));
                }
                began.elapsed()
            })
        });
        threads.map(|t| t.join().unwrap()).into_iter().max().unwrap_or_default()
    })
}

fn threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("two-threads");
    let all = keys(0);
    for (name, options) in shapes() {
        let ring = HotRing::new(options, 0);
        group.bench_function(BenchmarkId::new("contended", name), |b| {
            b.iter_custom(|n| both(&ring, n, [&all[..16], &all[..16]]));
        });
        group.bench_function(BenchmarkId::new("apart", name), |b| {
            b.iter_custom(|n| both(&ring, n, [&all[..16], &all[64..80]]));
        });
    }
    group.finish();
}

fn no_place(c: &mut Criterion) {
    let mut group = c.benchmark_group("at-the-cap");
    for (name, options) in shapes().into_iter().take(2) {
        let ring = HotRing::new(RingOptions { node_cap: 1 << 10, ..options }, 0);
        let (hot, cold) = (keys(0), keys(1 << 20));
        for _ in 0..100 {
            for k in hot.iter().take(1024) {
                ring.touch(KeyRef::new(CfId(0), k), 0);
            }
        }
        let mut i = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                i = (i + 1) & (KEYS - 1);
                ring.touch(KeyRef::new(CfId(0), black_box(cold[i].as_slice())), 0)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = hit, threads, no_place
}
criterion_main!(benches);
