//! Runs workloads on engines and measures each phase.
//!
//! Engines run in turn within each repeat (A B A B), so that noise of the machine hits all alike. LOAD is a phase of
//! its own. After each phase the engine may finish its background work; that is not in the phase's time, but its
//! processor time and its written bytes are told.

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Instant;

use crate::args::Args;
use crate::check::Check;
use crate::client::{Client, Seen};
use crate::engines::{self, Config, Engine};
use crate::histogram::Histogram;
use crate::process::{Memory, Usage, disk_bytes};
use crate::workload::dist::{Latest, Scrambled};
use crate::workload::keys::Inserts;
use crate::workload::record::{KEY_BYTES, Rng};
use crate::workload::{Source, Workload};

/// What one phase gave.
#[derive(Debug, Clone)]
pub struct Phase {
    pub engine: String,
    pub threads: u64,
    pub repeat: u64,
    pub workload: Workload,
    pub ops: u64,
    pub seconds: f64,
    /// Of reads and scans.
    pub reads: Histogram,
    /// Of inserts, updates and read-modify-writes.
    pub writes: Histogram,
    /// Until the last operation returned.
    pub used: Usage,
    /// Until background work was done too.
    pub used_settled: Usage,
    pub settle_seconds: f64,
    /// Bytes of keys and values given to the engine.
    pub user_bytes: u64,
    /// Bytes of all keys and values in it, and what they take on the disk.
    pub live_bytes: u64,
    pub disk_bytes: u64,
    /// Peak of resident memory above what the process had before the engine was opened; cached files that are mapped
    /// are part of it.
    pub peak_bytes: Option<u64>,
    /// Anonymous memory above that, at the end of the phase.
    pub anonymous_bytes: Option<u64>,
}

impl Phase {
    pub fn kops(&self) -> f64 {
        self.ops as f64 / self.seconds / 1000.0
    }
}

/// The distributions that are costly to make; copied for each thread.
struct Shapes {
    scrambled: Scrambled,
    latest: Latest,
}

/// One engine, opened on a fresh directory, with what was put into it.
struct Stage<'a> {
    args: &'a Args,
    engine: Box<dyn Engine>,
    name: &'a str,
    threads: u64,
    repeat: u64,
    dir: PathBuf,
    inserts: Inserts,
    check: Option<Check>,
    resident_before: Memory,
}

impl Stage<'_> {
    /// `ops` of `workload`, shared out among the threads.
    fn drive(&self, workload: Workload, shapes: &Shapes, ops: u64, seed: u64) -> Seen {
        let barrier = Barrier::new(self.threads as usize);
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|thread| {
                    let mut client = Client {
                        engine: &*self.engine,
                        source: Source::new(
                            workload,
                            &self.inserts,
                            shapes.scrambled.clone(),
                            shapes.latest.clone(),
                        ),
                        inserts: &self.inserts,
                        check: self.check.as_ref(),
                        rng: Rng(seed.wrapping_mul(1_000_003).wrapping_add(thread)),
                        value: vec![0; self.args.value_size as usize],
                        seen: Seen::default(),
                    };
                    let ops = ops / self.threads + u64::from(thread < ops % self.threads);
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        client.run(ops);
                        client.seen
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().expect("a client failed")).collect::<Vec<_>>()
        });
        all.iter().fold(Seen::default(), Seen::merge)
    }

    fn phase(&self, workload: Workload) -> Phase {
        let args = self.args;
        let ops = if workload == Workload::Load { args.records } else { args.ops_of(workload) };
        let warm_up = if workload == Workload::Load { 0 } else { ops * args.warm_up / 100 };
        let seed = (self.repeat << 16) + (workload as u64) * 2;
        let records = self.inserts.readable();
        // As YCSB: requests go also to what will be inserted, and are drawn again while it is not there.
        let to_come = ((ops + warm_up) as f64 * workload.insert_share() * 2.0) as u64;
        let items = if args.zipf_items == 0 { records + to_come } else { args.zipf_items };
        let shapes = Shapes {
            scrambled: Scrambled::new(items, (records + to_come).max(1)),
            latest: Latest::new(if workload == Workload::D { records } else { 1 }),
        };
        if warm_up > 0 {
            std::hint::black_box(self.drive(workload, &shapes, warm_up, seed + 1).sum);
            self.engine.settle();
        }
        Memory::reset_peak();
        let before = Usage::now();
        let seen = self.drive(workload, &shapes, ops, seed);
        let used = Usage::now().since(&before);
        let (started, ended) = seen.span.expect("there is at least one thread");
        std::hint::black_box(seen.sum);
        let settling = Instant::now();
        self.engine.settle();
        let used_settled = Usage::now().since(&before);
        let memory = Memory::now();
        if args.stats {
            println!("{} after {}:\n{}", self.name, workload.name(), self.engine.stats());
        }
        let record_bytes = KEY_BYTES as u64 + args.value_size;
        let above = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Phase {
            engine: self.name.to_string(),
            threads: self.threads,
            repeat: self.repeat,
            workload,
            ops,
            seconds: ended.duration_since(started).as_secs_f64().max(1e-9),
            user_bytes: seen.writes.count() * record_bytes,
            reads: seen.reads,
            writes: seen.writes,
            used,
            used_settled,
            settle_seconds: settling.elapsed().as_secs_f64(),
            live_bytes: self.inserts.readable() * record_bytes,
            disk_bytes: disk_bytes(&self.dir),
            peak_bytes: above(memory.peak, self.resident_before.resident),
            anonymous_bytes: above(memory.anonymous, self.resident_before.anonymous),
        }
    }
}

fn one_group(
    args: &Args,
    name: &str,
    threads: u64,
    repeat: u64,
    group: &[Workload],
    dir: &Path,
) -> Result<Vec<Phase>, String> {
    std::fs::create_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let inserted: f64 = group
        .iter()
        .map(|w| args.ops_of(*w) as f64 * w.insert_share() * (1.0 + args.warm_up as f64 / 100.0))
        .sum();
    let config = Config {
        dir: dir.to_path_buf(),
        cache_bytes: (args.cache as usize) << 20,
        sync: args.sync,
        data_bytes_max: ((args.records as f64 + inserted * 1.2) * (KEY_BYTES as f64 + args.value_size as f64))
            as u64,
        nokv_toml: args.nokv.clone(),
    };
    let resident_before = Memory::now();
    let stage = Stage {
        args,
        engine: engines::open(name, &config)?,
        name,
        threads,
        repeat,
        dir: dir.to_path_buf(),
        inserts: Inserts::new(0),
        check: (args.check && !engines::is_hollow(name))
            .then(|| Check::new(args.value_size as usize, threads as usize)),
        resident_before,
    };
    let mut phases = Vec::new();
    for workload in std::iter::once(Workload::Load).chain(group.iter().copied()) {
        let phase = stage.phase(workload);
        eprintln!(
            "{name:<16} {threads:>2} threads, repeat {repeat}: {:<4} {:>9.1} kops/s",
            workload.name(),
            phase.kops()
        );
        phases.push(phase);
    }
    Ok(phases)
}

/// All of it. Phases come in the order in which they ran.
///
/// # Errors
/// An engine that is not in this build, a directory that cannot be made.
pub fn run(args: &Args) -> Result<Vec<Phase>, String> {
    let names = engine_names(args)?;
    let base = args
        .dir
        .clone()
        .unwrap_or_else(std::env::temp_dir)
        .join(format!("nokv-bench-{}", std::process::id()));
    std::fs::create_dir_all(&base).map_err(|e| format!("{}: {e}", base.display()))?;
    let removed = RemoveAtEnd(&base);
    let mut phases = Vec::new();
    for repeat in 0..args.repeats {
        for group in args.groups() {
            for threads in &args.threads {
                for name in &names {
                    let dir = base.join("engine");
                    phases.extend(one_group(args, name, *threads, repeat, &group, &dir)?);
                    std::fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
                }
            }
        }
    }
    drop(removed);
    Ok(phases)
}

fn engine_names(args: &Args) -> Result<Vec<String>, String> {
    let known = engines::names();
    if args.engines.iter().any(|name| name == "all") {
        return Ok(known.into_iter().filter(|name| *name != "spin").map(String::from).collect());
    }
    match args.engines.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("no engine {name} in this build; there are {}", known.join(", "))),
        None => Ok(args.engines.clone()),
    }
}

struct RemoveAtEnd<'a>(&'a Path);

impl Drop for RemoveAtEnd<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}
