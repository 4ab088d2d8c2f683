//! Memory, disk and opening time of a large database, in one run:
//! `cargo run --release --bin footprint -- DIR [RECORDS]`
//!
//! Values are 256 random bytes, which no codec makes smaller. The killed process is this program itself, started
//! again with `kill` as its third argument.

use std::path::Path;
use std::time::Instant;

use nokv::{CfId, Db, Options};
use nokv_bench::process::Memory;
use nokv_bench::workload::record::{Key, Rng};

const MIB: f64 = (1 << 20) as f64;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = args.get(1).expect("a directory");
    let records: u64 = args.get(2).map_or(10_000_000, |n| n.parse().expect("a number"));
    if args.get(3).is_some_and(|a| a == "kill") {
        return write_and_die(dir, records);
    }
    let _ = std::fs::remove_dir_all(dir);
    let fresh = Db::open(Options::new(dir)).expect("open");
    drop(fresh);
    println!(
        "new database: {:.2} MiB of files, the log segment is {:.0} MiB",
        disk(dir),
        Options::default().wal_segment_bytes as f64 / MIB
    );
    let options = Options::new(dir);
    let allowed = (options.mem_table_bytes * (options.sealed_mem_tables_max + 1) + options.block_cache_bytes)
        as f64
        / MIB
        + 256.0;
    let db = Db::open(options).expect("open");
    let started = Instant::now();
    let peak = put_all(&db, records, 1);
    let kops = records as f64 / started.elapsed().as_secs_f64() / 1000.0;
    println!(
        "loaded {records} records at {kops:.0} kops/s; peak anonymous memory {peak:.0} MiB of {allowed:.0} allowed"
    );
    let started = Instant::now();
    db.close().expect("close");
    drop(db);
    println!("closed in {:?}", started.elapsed());
    open_timed(dir, "after a clean close");
    let status = std::process::Command::new(&args[0])
        .args([dir, &args.get(2).cloned().unwrap_or("10000000".into()), "kill"])
        .status();
    println!("killed: {status:?}");
    open_timed(dir, "after kill -9");
    let db = Db::open(Options::new(dir)).expect("open");
    let started = Instant::now();
    for round in 2..7 {
        put_all(&db, records, round);
    }
    println!("overwritten five times in {:.0?}", started.elapsed());
    db.flush().expect("flush");
    let started = Instant::now();
    db.compact_range(CfId::DEFAULT, None, None).expect("compact");
    println!("compacted in {:.0?}", started.elapsed());
    db.wait_idle().expect("idle");
    let live = records as f64 * (24.0 + 256.0) / MIB;
    let files = disk(dir);
    println!("files {files:.0} MiB, live data {live:.0} MiB: ratio {:.3}", files / live);
    let mut value = [0; 256];
    for n in (0..records).step_by((records / 1000).max(1) as usize) {
        fill(n, 6, &mut value);
        assert_eq!(db.get(&Key::of(n).bytes).expect("get").as_deref(), Some(&value[..]), "record {n}");
    }
    println!("1000 records read back right");
}

fn fill(n: u64, round: u64, value: &mut [u8; 256]) {
    let mut rng = Rng(n * 31 + round);
    for chunk in value.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next_u64().to_le_bytes());
    }
}

/// Writes all records on two threads; gives the peak of anonymous memory in MiB.
fn put_all(db: &Db, records: u64, round: u64) -> f64 {
    let peak = std::sync::Mutex::new(0f64);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let peak = &peak;
            scope.spawn(move || {
                let mut value = [0; 256];
                for n in (thread..records).step_by(2) {
                    fill(n, round, &mut value);
                    db.set(&Key::of(n).bytes, &value).expect("set");
                    if n % 100_000 < 2 {
                        let now = anonymous();
                        let mut peak = peak.lock().unwrap();
                        *peak = peak.max(now);
                    }
                }
            });
        }
    });
    peak.into_inner().unwrap()
}

fn open_timed(dir: &str, when: &str) {
    let started = Instant::now();
    let db = Db::open(Options::new(dir)).expect("open");
    let took = started.elapsed();
    println!("opened {when} in {took:?}; {} operations replayed", db.open_report().replayed_ops);
}

fn write_and_die(dir: &str, records: u64) {
    let db = Db::open(Options::new(dir)).expect("open");
    put_all(&db, (records / 10).max(2), 1);
    let me = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-9", &me]).status();
}

/// Anonymous resident memory of this process, in MiB; 0 where nobody tells.
fn anonymous() -> f64 {
    Memory::now().anonymous.unwrap_or(0) as f64 / MIB
}

/// MiB on disk of all files below `dir`, as allocated.
fn disk(dir: &str) -> f64 {
    nokv_bench::process::disk_bytes(Path::new(dir)) as f64 / MIB
}
