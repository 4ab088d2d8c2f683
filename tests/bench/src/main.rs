//! Runs YCSB LOAD, A, B and C on each engine in turn, in one process, and prints thousands of operations a
//! second. Only ratios within one run mean anything. `--engines nokv-art,nokv-art-hot` shows what hot rings cost.
//!
//! `cargo run --release --features rocksdb -- --records 1000000 --ops 1000000 --repeats 3`

mod engines;
mod workload;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use engines::{Engine, Nothing};
use workload::{Rng, Zipf, key_of, value_of};

struct Config {
    records: u64,
    ops: u64,
    threads: u64,
    value_bytes: usize,
    cache_bytes: usize,
    repeats: usize,
    dir: std::path::PathBuf,
    engines: Vec<String>,
}

fn main() {
    let mut config = Config {
        records: 1_000_000,
        ops: 1_000_000,
        threads: 2,
        value_bytes: 256,
        cache_bytes: 256 << 20,
        repeats: 3,
        dir: std::env::temp_dir().join(format!("nokv-bench-{}", std::process::id())),
        engines: vec!["nothing".into()],
    };
    if cfg!(feature = "nokv") {
        config.engines.extend(["nokv-skiplist".into(), "nokv-art".into()]);
    }
    if cfg!(feature = "rocksdb") {
        config.engines.push("rocksdb".into());
    }
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_else(|| panic!("{flag} wants a value"));
        match flag.as_str() {
            "--records" => config.records = value.parse().expect("a number"),
            "--ops" => config.ops = value.parse().expect("a number"),
            "--threads" => config.threads = value.parse().expect("a number"),
            "--value" => config.value_bytes = value.parse().expect("a number"),
            "--cache-mib" => config.cache_bytes = value.parse::<usize>().expect("a number") << 20,
            "--repeats" => config.repeats = value.parse().expect("a number"),
            "--dir" => config.dir = value.into(),
            "--engines" => config.engines = value.split(',').map(String::from).collect(),
            _ => panic!("no such flag: {flag}"),
        }
    }
    let zipf = Zipf::new(config.records);
    println!("{:<16} {:>9} {:>9} {:>9} {:>9}   kops/s, min/median/max of {}", "", "LOAD", "A", "B", "C", config.repeats);
    let mut all: Vec<Vec<[f64; 4]>> = vec![Vec::new(); config.engines.len()];
    for repeat in 0..config.repeats {
        for (n, name) in config.engines.iter().enumerate() {
            let dir = config.dir.join(format!("{name}-{repeat}"));
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).expect("directory");
            let engine: Box<dyn Engine> = match name.as_str() {
                "nothing" => Box::new(Nothing),
                #[cfg(feature = "nokv")]
                "nokv-skiplist" | "nokv-art" | "nokv-art-hot" => {
                    let index = match name.as_str() {
                        "nokv-skiplist" => nokv::MemTableEngine::Skiplist,
                        _ => nokv::MemTableEngine::Art,
                    };
                    Box::new(engines::Nokv::open(&dir, index, name.ends_with("-hot"), config.cache_bytes))
                }
                #[cfg(feature = "rocksdb")]
                "rocksdb" => Box::new(engines::Rocks::open(&dir, config.cache_bytes)),
                _ => panic!("no such engine: {name}"),
            };
            let load = load(&config, &*engine);
            engine.report();
            engine.settle();
            let a = mixed(&config, &*engine, &zipf, 50, 1);
            engine.settle();
            let b = mixed(&config, &*engine, &zipf, 95, 2);
            let c = mixed(&config, &*engine, &zipf, 100, 3);
            engine.report();
            all[n].push([load, a, b, c]);
            eprintln!("{name:<16} {load:>9.0} {a:>9.0} {b:>9.0} {c:>9.0}");
            drop(engine);
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
    for (name, runs) in config.engines.iter().zip(&all) {
        print!("{name:<16}");
        for w in 0..4 {
            let mut column: Vec<f64> = runs.iter().map(|r| r[w]).collect();
            column.sort_by(f64::total_cmp);
            print!(" {:>4.0}/{:.0}/{:.0}", column[0], column[column.len() / 2], column[column.len() - 1]);
        }
        println!();
    }
}

/// Runs `work(thread, rng)` for `ops` operations on all threads; thousands a second.
fn timed(config: &Config, ops: u64, seed: u64, work: impl Fn(u64, u64, &mut Rng) + Sync) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..config.threads {
            let work = &work;
            scope.spawn(move || {
                let mut rng = Rng(seed * 1_000_003 + thread);
                work(thread, ops / config.threads, &mut rng);
            });
        }
    });
    ops as f64 / started.elapsed().as_secs_f64() / 1000.0
}

fn load(config: &Config, engine: &dyn Engine) -> f64 {
    timed(config, config.records, 7, |thread, count, rng| {
        let (mut key, mut value) = ([0; 24], vec![0; config.value_bytes]);
        for i in 0..count {
            key_of(i * config.threads + thread, &mut key);
            value_of(rng, &mut value);
            engine.set(&key, &value);
        }
    })
}

fn mixed(config: &Config, engine: &dyn Engine, zipf: &Zipf, read_percent: u64, seed: u64) -> f64 {
    let missing = AtomicU64::new(0);
    let kops = timed(config, config.ops, seed, |_, count, rng| {
        let (mut key, mut value) = ([0; 24], vec![0; config.value_bytes]);
        for _ in 0..count {
            key_of(zipf.next(rng), &mut key);
            if rng.next() % 100 < read_percent {
                if engine.get(&key).is_none() {
                    missing.fetch_add(1, Ordering::Relaxed);
                }
            } else {
                value_of(rng, &mut value);
                engine.set(&key, &value);
            }
        }
    });
    assert_eq!(missing.into_inner(), 0, "a key that was loaded is not there");
    kops
}
