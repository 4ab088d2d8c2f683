//! Bounds of open files, threads, memory, space and number of files, measured after each of many rounds of open, work, kill and
//! open again.
//!
//! A round has two halves. A child works on the database; stopped under way, its open files and threads are counted; then
//! it is killed. This process opens what was left, works on it and closes it: then it must have exactly the open files
//! and threads that it had before. What the directory takes is measured in between, when nothing is left to do.
//! Memory is what a process has resident of its own, without maps of files: of the child while it is stopped, and of this
//! process, which opens, checks and closes each database twice, behind each round.
//! "Stays at its level" means that the most of the second half of all rounds is not above the most of the first half by
//! more than a quarter; of memory, by more than an eighth and a MiB.

use std::path::Path;
use std::time::Duration;

use nokv::{CfId, Db, Options, WriteBatch, WriteOptions};

use super::child::Orders;
use super::dice::{Dice, mix};
use super::image::{Image, place};
use super::model::Model;
use super::options::{file_system, options};
use super::process::Process;
use super::record::Record;
use super::script::{FAMILIES, Shape};
use super::verify::Question;
use crate::net::Scale;

/// Threads of a child that are not its own: the first one.
const THREADS_OF_PROCESS: u64 = 1;
/// Background threads of a database under the options of these suites: flush, compactions, log, collections, heat.
const THREADS_OF_DB: u64 = 8;
/// Open files of a process without a database: three streams and the record.
const FILES_OF_PROCESS: u64 = 4;
/// Open files of a database besides its tables: lock, manifest, log segments (active, next, sealed and live ones), and
/// one for each value-log segment.
const FILES_OF_DB: u64 = 16;

/// Most memory of a child, in KiB: the caches and memtables of these options, stacks, and what the allocator keeps.
const MEMORY_OF_CHILD_KIB: u64 = 32 << 10;
/// What an allocator may keep more or less of, in KiB.
const MEMORY_SLACK_KIB: u64 = 1 << 10;

/// A figure of a round: its name, where it stands, and how much more than so much may be there later.
type Fact = (&'static str, fn(&Round) -> u64, fn(u64) -> u64);

const fn a_quarter(before: u64) -> u64 {
    before / 4 + 4
}

const fn memory_slack(before: u64) -> u64 {
    before / 8 + MEMORY_SLACK_KIB
}

/// One round's figures.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    child_files: u64,
    child_threads: u64,
    /// In KiB.
    child_memory: u64,
    /// Of this process, in KiB.
    memory: u64,
    bytes: u64,
    files: u64,
}

fn entries(path: &str) -> u64 {
    std::fs::read_dir(path).unwrap_or_else(|e| panic!("{path}: {e}")).count() as u64
}

/// What a process has resident of its own, in KiB.
fn memory_kib(pid: &str) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or_else(|| panic!("{path} does not tell what is resident:\n{status}"))
}

/// Names of what this process has open in or below `dir`.
fn open_below(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("the system tells");
    entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.starts_with(dir))
        .map(|target| target.display().to_string())
        .collect()
}

/// Threads of this process that a database started.
fn threads_of_db() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the system tells");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("nokv-"))
        .collect()
}

/// Rounds of open, work, kill and open again. Gives their number.
///
/// # Panics
/// When anything grows, or is not as it must be.
pub fn resources(scale: Scale) -> u64 {
    let rounds = scale.pick(10, 100);
    let seed = super::linux::seed();
    let shape = Shape { seed, threads: 2, keys: 60, large: 6000, large_one_in: 8 };
    let place = place("nokv-real-loops-");
    let dir = place.path().join("db");
    let mut model = Model::new(shape);
    let mut first = vec![1; shape.threads as usize + 1];
    let mut figures = Vec::new();
    for round in 0..rounds {
        let result = one(&mut model, &mut first, place.path(), &dir, round);
        let round = result.unwrap_or_else(|error| {
            panic!(
                "round {round}: {error}\n    NOKV_REAL_SEED={seed} cargo run --release -p nokv-tests --bin net resources"
            )
        });
        figures.push(round);
    }
    let (early, late) = figures.split_at(figures.len() / 2);
    let most = |rounds: &[Round], what: fn(&Round) -> u64| rounds.iter().map(what).max().unwrap_or(0);
    let facts: [Fact; 6] = [
        ("open files of a child", |r| r.child_files, a_quarter),
        ("threads of a child", |r| r.child_threads, a_quarter),
        ("KiB of memory of a child", |r| r.child_memory, memory_slack),
        ("KiB of memory behind a close", |r| r.memory, memory_slack),
        ("bytes of the directory", |r| r.bytes, a_quarter),
        ("files in it", |r| r.files, a_quarter),
    ];
    for (what, of, slack) in facts {
        let (before, after) = (most(early, of), most(late, of));
        println!(
            "resources: {what}: at most {before} in the first half of {rounds} rounds, {after} in the second"
        );
        assert!(
            after <= before + slack(before),
            "{what} grow: {before}, then {after}\n    NOKV_REAL_SEED={seed} cargo run --release -p nokv-tests --bin \
             net resources"
        );
    }
    rounds
}

fn one(model: &mut Model, first: &mut Vec<u64>, place: &Path, dir: &Path, n: u64) -> Result<Round, String> {
    let shape = model.shape;
    let mut dice = Dice::new(mix(mix(shape.seed, 8), n));
    let record_path = place.join("record");
    let record = Record::create(&record_path).map_err(|e| e.to_string())?;
    let mut figures = Round::default();
    let orders = Orders {
        dir: dir.to_owned(),
        record: record_path,
        shape,
        generation: n,
        first: first.clone(),
        ballast: Vec::new(),
    };
    let mut child = Process::start(&orders.to_args(), &place.join("errors"));
    // Files that it may have open each on its own: those of the moment with the most, as the open files are.
    let (mut segments, mut log) = (0, 0);
    // Until it has done something.
    let mut steps = 0;
    while steps < 2_000 {
        std::thread::sleep(Duration::from_millis(1 + dice.below(4)));
        child.stop()?;
        steps += model.follow(&record, first).map_err(|e| e.to_string())?;
        let pid = child.id().as_raw_nonzero();
        if model.created {
            figures.child_files = figures.child_files.max(entries(&format!("/proc/{pid}/fd")));
            figures.child_threads = figures.child_threads.max(entries(&format!("/proc/{pid}/task")));
            segments = segments.max(files_below(&dir.join("vlog"))?);
            log = log.max(files_below(&dir.join("wal"))?);
            figures.child_memory = figures.child_memory.max(memory_kib(&pid.to_string()));
        }
        child.go_on()?;
    }
    child.kill()?;
    model.follow(&record, first).map_err(|e| e.to_string())?;
    let child_options = options(dir, shape.seed, n * 2);
    check_child(&figures, &child_options, (segments, log))?;
    let resolved = Question { dir, model, n }.verify()?;
    model.resolve(&resolved);
    *first = model.threads.iter().map(|reach| reach.acked + 1).collect();
    first.push(resolved.unlogged + 1);
    settle(dir, shape.seed, n)?;
    let (files, threads) = (open_below(dir), threads_of_db());
    if !files.is_empty() || !threads.is_empty() {
        return Err(format!("left behind by a closed database: {files:?} {threads:?}"));
    }
    let image = Image::take(dir).map_err(|e| e.to_string())?;
    figures.bytes = image.bytes();
    figures.files = image.files() as u64;
    drop(image);
    figures.memory = memory_kib("self");
    Ok(figures)
}

fn files_below(dir: &Path) -> Result<u64, String> {
    if !dir.exists() {
        return Ok(0);
    }
    Ok(Image::take(dir).map_err(|e| e.to_string())?.files() as u64)
}

fn check_child(figures: &Round, options: &Options, (segments, log): (u64, u64)) -> Result<(), String> {
    let most = FILES_OF_PROCESS + FILES_OF_DB + options.open_files_max as u64 + 2 * segments + log;
    if figures.child_files > most {
        return Err(format!("{} open files of a child, more than {most}", figures.child_files));
    }
    // Two writers, one without a log, and one that maintains.
    let most = THREADS_OF_PROCESS + THREADS_OF_DB + 4;
    if figures.child_threads > most {
        return Err(format!("{} threads of a child, more than {most}", figures.child_threads));
    }
    if figures.child_memory > MEMORY_OF_CHILD_KIB {
        return Err(format!(
            "{} KiB of memory of a child, more than {MEMORY_OF_CHILD_KIB}",
            figures.child_memory
        ));
    }
    Ok(())
}

/// Brings the database to rest: everything merged and collected.
fn settle(dir: &Path, seed: u64, n: u64) -> Result<(), String> {
    let told = |what: &'static str| move |e: nokv::Error| format!("{what}: {e}");
    let options = Options { value_log_gc_interval: Duration::ZERO, ..options(dir, seed, 0) };
    let db = Db::open_on(file_system(seed, n), options).map_err(told("open"))?;
    let mut batch = WriteBatch::new();
    batch.delete(CfId::DEFAULT, b"~").map_err(told("delete"))?;
    db.write(batch, &WriteOptions::default()).map_err(told("write"))?;
    for _ in 0..200 {
        match db.run_value_log_gc(0.05) {
            Ok(_) => {}
            Err(nokv::Error::NothingToCollect) => break,
            Err(error) => return Err(format!("collect: {error}")),
        }
    }
    for cf in 0..FAMILIES {
        db.compact_range(CfId(cf), None, None).map_err(told("compact"))?;
    }
    db.wait_idle().map_err(told("wait"))?;
    db.close().map_err(told("close"))
}
