//! The log beside what the machine can do: `cargo run --release --bin wal`.
//!
//! - `memcpy + crc`: the same frames copied into a fresh, preallocated map of the size of the log's segment.
//! - `write`: the same frames by `write`; synced: by `pwrite` into a preallocated file, with `fdatasync`.
//!
//! Log and floors run in turn, several times; a ratio is of the two figures of one turn. All records of a
//! measurement fit one segment: making segments is not in it.

mod count;
mod floor;
mod log;
mod measure;
mod threads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use measure::Sample;
use nokv_bench::report::Spread;
use nokv_bench::workload::record::Rng;

#[global_allocator]
static ALLOCATOR: count::Counting = count::Counting;

/// Records that reads by position choose from: what a cache holds is what is measured.
const HOT_RECORDS: usize = 1024;

#[derive(Parser)]
#[command(about = "The log beside plain writes and a raw copy into a map")]
struct Args {
    /// Record sizes, in bytes.
    #[arg(long, value_delimiter = ',', default_value = "16,1024,32768,65536,524288",
          value_parser = clap::value_parser!(u64).range(1..=16 << 20))]
    sizes: Vec<u64>,
    /// MiB that one unsynced measurement appends, at most; also at most two million records, at least 64.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=2048))]
    mib: u64,
    /// Records of a synced measurement; batched, so many batches.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    synced: u64,
    /// Records in a batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    batch: u64,
    /// How often all of it runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    repeats: u64,
    /// Where files are made. Default: the temporary directory.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// A line of the table.
struct Line {
    name: &'static str,
    samples: Vec<Sample>,
    /// The line that is its floor.
    floor: Option<&'static str>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let base =
        args.dir.clone().unwrap_or_else(std::env::temp_dir).join(format!("nokv-wal-{}", std::process::id()));
    let result = args.sizes.iter().try_for_each(|size| one_size(&args, &base, *size as usize));
    let _ = std::fs::remove_dir_all(&base);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wal: {}: {e}", base.display());
            ExitCode::FAILURE
        }
    }
}

fn one_size(args: &Args, base: &Path, size: usize) -> std::io::Result<()> {
    let payload: Vec<u8> = {
        let mut rng = Rng(size as u64);
        (0..size).map(|_| rng.next_u64() as u8).collect()
    };
    let ops = ((args.mib as usize) << 20).div_ceil(floor::frame_bytes(size)).clamp(64, 2_000_000);
    let (batch, synced) = (args.batch as usize, args.synced as usize);
    // Batches large enough to fill a disk are cut short.
    let synced_batched = (synced * batch).min(ops);
    let mut rng = Rng(1);
    let hot = HOT_RECORDS.min(ops);
    let order: Vec<usize> = (0..ops.min(500_000)).map(|_| rng.below(hot as u64) as usize).collect();
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..args.repeats {
        let mut run = |name, floor, work: &dyn Fn(&Path) -> std::io::Result<Sample>| -> std::io::Result<()> {
            std::fs::create_dir_all(base)?;
            let sample = work(base)?;
            std::fs::remove_dir_all(base)?;
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.samples.push(sample),
                None => lines.push(Line { name, samples: vec![sample], floor }),
            }
            Ok(())
        };
        let (payload, order) = (&payload[..], &order[..]);
        let copy = Some("memcpy + crc");
        run("memcpy + crc", None, &|d| floor::memcpy(d, payload, ops))?;
        run("append", copy, &|d| Ok(log::append(d, payload, ops, false, false)))?;
        run("append, indexed", copy, &|d| Ok(log::append(d, payload, ops, true, false)))?;
        run("append batch", copy, &|d| Ok(log::append_batch(d, payload, ops, batch, false)))?;
        run("append, 2 writers", copy, &|d| Ok(threads::mixed(d, payload, ops, 2, 0)))?;
        run("append, tailed", copy, &|d| Ok(threads::mixed(d, payload, ops, 1, 1)))?;
        run("4 writers, 4 readers", copy, &|d| Ok(threads::mixed(d, payload, ops.min(200_000), 4, 4)))?;
        run("write", copy, &|d| floor::write(d, payload, ops, 1, false))?;
        run("read from map + crc", None, &|d| floor::read(d, payload, hot, order))?;
        run("read by position", Some("read from map + crc"), &|d| Ok(log::read(d, payload, hot, order)))?;
        run("read in order", Some("read from map + crc"), &|d| Ok(log::read_all(d, payload, ops)))?;
        run("pwrite, fdatasync", None, &|d| floor::write(d, payload, synced, 1, true))?;
        run("append synced", Some("pwrite, fdatasync"), &|d| {
            Ok(log::append(d, payload, synced, false, true))
        })?;
        run("pwrite batch, fdatasync", None, &|d| floor::write(d, payload, synced_batched, batch, true))?;
        run("append batch synced", Some("pwrite batch, fdatasync"), &|d| {
            Ok(log::append_batch(d, payload, synced_batched, batch, true))
        })?;
    }
    print(size, batch, &lines);
    Ok(())
}

fn print(size: usize, batch: usize, lines: &[Line]) {
    println!("\n{size} bytes a record, batches of {batch}");
    println!(
        "{:<24} {:>12} {:>12} {:>12} {:>12} {:>8} {:>8}  ratio to",
        "ns a record", "min", "median", "max", "MiB/s", "allocs", "ratio"
    );
    for line in lines {
        let Some(ns) = Spread::of(line.samples.iter().map(|s| s.ns)) else { continue };
        let allocations = Spread::of(line.samples.iter().map(|s| s.allocations)).map_or(0.0, |s| s.median);
        let floor = line.floor.and_then(|name| lines.iter().find(|l| l.name == name));
        let ratio = floor.and_then(|floor| {
            Spread::of(line.samples.iter().zip(&floor.samples).map(|(ours, floor)| ours.ns / floor.ns))
        });
        let speed = size as f64 / (1 << 20) as f64 / (ns.median / 1e9);
        print!("{:<24} {:>12.1} {:>12.1} {:>12.1} {speed:>12.1}", line.name, ns.min, ns.median, ns.max);
        print!(" {allocations:>8.3}");
        match ratio {
            Some(ratio) => println!(" {:>8.2}  {}", ratio.median, line.floor.unwrap_or_default()),
            None => println!(),
        }
    }
}
