//! Races: the real engine on the file system in memory, run under one schedule of its threads after another.
//!
//! Only builds with `--cfg shuttle` have this module: there the locks, atomics and threads of core, host and the file
//! system are those of the checker `shuttle`, which decides alone which thread goes on at each of them.
//!
//! Who may call it: the program `net` (`.ci/races`). Invariants
//! 1. A chunk is so many schedules from one seed of one scheduler; it is what a failure names and what runs again.
//! 2. Nothing in a body depends on time, on addresses or on the order of a hash map, so a chunk always fails in the same
//!    schedule. What a body draws, it draws from the checker.

mod commit;
mod files;
mod hot;
mod log;
mod publish;
mod shutdown;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use nokv::{ManualClock, Options};
use nokv_core::sync::model::thread::{JoinHandle, spawn};
use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

use crate::net::{Scale, picked_of, text_of};

/// Schedules of a chunk.
pub const CHUNK: u64 = 100;

/// What meets what.
pub struct Race {
    /// Its name.
    pub name: &'static str,
    /// One execution.
    body: fn(),
}

/// All of them.
pub const RACES: &[Race] = &[
    Race { name: "publish", body: publish::in_order },
    Race { name: "commit", body: commit::groups },
    Race { name: "commit-fails", body: commit::failures },
    Race { name: "shutdown", body: shutdown::beside_everything },
    Race { name: "last-handle", body: shutdown::by_the_last_handle },
    Race { name: "files", body: files::deleted_under_readers },
    Race { name: "hot", body: hot::enter_and_compete },
    Race { name: "walfs", body: log::readers_and_cuts },
];

#[derive(Clone, Copy)]
enum By {
    /// Any thread that can run, each time.
    Random,
    /// Few changes between threads, at places drawn before.
    Pct,
}

impl By {
    const ALL: [(Self, &str); 2] = [(Self::Random, "random"), (Self::Pct, "pct")];

    fn scheduler(self, seed: u64) -> Box<dyn Scheduler + Send> {
        let count = CHUNK as usize;
        match self {
            Self::Random => Box::new(RandomScheduler::new_from_seed(seed, count)),
            Self::Pct => Box::new(PctScheduler::new_from_seed(seed, 3, count)),
        }
    }
}

/// Runs the schedules of one race.
///
/// # Panics
/// If one fails, with the command that runs its chunk again.
pub fn run_named(name: &str, scale: Scale) -> u64 {
    let race = RACES.iter().find(|race| race.name == name).unwrap_or_else(|| panic!("no race {name}"));
    let seeds = scale.pick(1, 50);
    By::ALL.iter().map(|by| (0..seeds).map(|seed| chunk(race, *by, seed)).sum::<u64>()).sum()
}

/// Runs the schedules of all races, or the one chunk that is picked: `race/scheduler/seed`.
///
/// # Panics
/// As [`run_named`].
pub fn run_all(scale: Scale) -> u64 {
    let Some(one) = picked_of("races") else {
        return RACES.iter().map(|race| run_named(race.name, scale)).sum();
    };
    let parts: Vec<&str> = one.split('/').collect();
    let [name, by, seed] = parts[..] else { panic!("a chunk is race/scheduler/seed, not {one:?}") };
    let race = RACES.iter().find(|race| race.name == name).unwrap_or_else(|| panic!("no race {name}"));
    let by = By::ALL.iter().find(|(_, known)| *known == by).unwrap_or_else(|| panic!("no scheduler {by}"));
    chunk(race, *by, seed.parse().expect("a seed is a number"))
}

fn chunk(race: &Race, (by, scheduler): (By, &str), seed: u64) -> u64 {
    let mut config = Config::new();
    // The engine's own calls go deeper than the stacks that the checker gives to threads by itself.
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    let runner = Runner::new(by.scheduler(seed), config);
    let ran = catch_unwind(AssertUnwindSafe(|| runner.run(race.body)));
    match ran {
        Ok(schedules) => schedules as u64,
        Err(panic) => resume_unwind(Box::new(format!(
            "{}\nagain: NOKV_CASE=races:{}/{scheduler}/{seed} RUSTFLAGS=\"--cfg shuttle\" cargo run --release -p nokv-tests \
             --no-default-features --features skiplist,art,lz4 --bin net -- races",
            text_of(panic),
            race.name,
        ))),
    }
}

/// A number below `end`, drawn from the schedule.
fn below(end: u64) -> u64 {
    shuttle::rand::thread_rng().gen_range(0..end)
}

/// Runs on a thread of the checker.
fn on_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn(run)
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("a thread that panics ends the execution")
}

/// A small database with one thread for flushes and one for compactions.
fn options() -> Options {
    let mut options = Options::new("db");
    options.mem_table_bytes = 64 << 10;
    options.sealed_mem_tables_max = 1;
    options.wal_segment_bytes = 256 << 10;
    options.table_bytes = 4 << 10;
    options.block_bytes = 512;
    options.value_threshold_bytes = 1000;
    options.value_log_segment_bytes = 64 << 10;
    options.value_log_bucket_count = 1;
    options.value_log_hot_bucket_count = 0;
    options.value_log_gc_interval = Duration::ZERO;
    options.enable_wal_watchdog = false;
    options.num_compactors = 1;
    options.block_cache_bytes = 64 << 10;
    options.bloom_cache_bytes = 64 << 10;
    options.clock = Some(Arc::new(ManualClock::new(1)));
    options
}
