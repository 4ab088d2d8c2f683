//! The process that is stopped and killed: it runs a workload until that happens.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nokv::core::vfs::IoErrorKind;
use nokv::{CfId, Db, Error, WriteOptions};

use super::dice::{Dice, mix};
use super::options::{file_system, options};
use super::record::{Record, STEPS_MAX};
use super::script::{EXTRA, EXTRA_ID, Op, Shape, Step, batch_of};

/// What a child is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// The database.
    pub dir: PathBuf,
    /// The record of what it does.
    pub record: PathBuf,
    /// The workload.
    pub shape: Shape,
    /// Which process of this database it is.
    pub generation: u64,
    /// The first step of each thread, the unlogged one last.
    pub first: Vec<u64>,
    /// On a full disk: the files that are removed, one at a time, to make space. When none is left it kills itself.
    pub ballast: Vec<PathBuf>,
}

impl Orders {
    /// As arguments.
    pub fn to_args(&self) -> Vec<String> {
        let Shape { seed, threads, keys, large, large_one_in } = self.shape;
        let mut args = vec!["work".to_owned()];
        args.extend([&self.dir, &self.record].map(|path| path.display().to_string()));
        args.extend([seed, threads, keys, large, large_one_in, self.generation].map(|n| n.to_string()));
        args.extend(self.first.iter().map(u64::to_string));
        args.extend(self.ballast.iter().map(|path| path.display().to_string()));
        args
    }

    /// From the arguments behind `work`.
    pub fn from_args(args: &[String]) -> Option<Self> {
        let number = |at: usize| args.get(at)?.parse::<u64>().ok();
        let (seed, threads, keys) = (number(2)?, number(3)?, number(4)?);
        let shape = Shape { seed, threads, keys, large: number(5)?, large_one_in: number(6)? };
        let ballast = 8 + threads as usize + 1;
        Some(Self {
            dir: args.first()?.into(),
            record: args.get(1)?.into(),
            shape,
            generation: number(7)?,
            first: (8..ballast).map(number).collect::<Option<_>>()?,
            ballast: args.get(ballast..)?.iter().map(PathBuf::from).collect(),
        })
    }
}

/// A worker of the child.
struct Work<'a> {
    db: &'a Db,
    record: &'a Record,
    orders: &'a Orders,
    steps: &'a AtomicU64,
    full: &'a Full,
}

/// Threads that wait for space: how many, and in which round.
#[derive(Default)]
struct Full(Mutex<(u64, u64)>);

impl Full {
    fn locked(&self) -> MutexGuard<'_, (u64, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next round.
    fn wait(&self) {
        let round = {
            let mut state = self.locked();
            state.0 += 1;
            state.1
        };
        while self.locked().1 == round {
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Lets all go on.
    fn next_round(&self) {
        let mut state = self.locked();
        *state = (0, state.1 + 1);
    }

    /// Waits until so many threads wait in a round that starts now.
    fn wait_for(&self, threads: u64) {
        self.next_round();
        while self.locked().0 < threads {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs a workload until it is killed.
///
/// # Panics
/// When the database gives an error that no call of a workload can meet.
pub fn work(orders: &Orders) {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let (seed, n) = (orders.shape.seed, orders.generation * 2);
    let record = Record::open(&orders.record).expect("the record is there");
    let db = Db::open_on(file_system(seed, n), options(&orders.dir, seed, n))
        .unwrap_or_else(|e| panic!("open: {e}"));
    if db.cf(EXTRA).is_none() {
        let id = db.create_cf(EXTRA).unwrap_or_else(|e| panic!("create family: {e}"));
        assert_eq!(id, CfId(EXTRA_ID));
    }
    record.set_open().expect("the record can be written");
    let (steps, full) = (AtomicU64::new(0), Full::default());
    let work = Work { db: &db, record: &record, orders, steps: &steps, full: &full };
    std::thread::scope(|scope| {
        for thread in 0..orders.shape.threads {
            let work = &work;
            scope.spawn(move || or_exit(|| work.logged(thread)));
        }
        if orders.ballast.is_empty() {
            scope.spawn(|| or_exit(|| work.unlogged()));
            scope.spawn(|| or_exit(|| work.maintain()));
        } else {
            scope.spawn(|| or_exit(|| work.free_space()));
        }
    });
}

/// A thread that fails ends the process.
fn or_exit(run: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
        std::process::exit(101);
    }
}

/// Is this a full disk?
pub fn is_full(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind == IoErrorKind::NoSpace)
}

impl Work<'_> {
    fn range(&self, thread: u64) -> std::ops::Range<u64> {
        let first = self.orders.first[thread as usize];
        first..first + STEPS_MAX
    }

    fn logged(&self, thread: u64) {
        let (shape, first) = (self.orders.shape, self.orders.first[thread as usize]);
        for n in self.range(thread) {
            self.record.set_pending(thread, n).expect("the record can be written");
            let step = shape.step(thread, n);
            let seq = loop {
                match self.step(&step) {
                    Ok(seq) => break seq,
                    Err(error) if is_full(&error) && !self.orders.ballast.is_empty() => self.full.wait(),
                    Err(error) => panic!("thread {thread}, step {n}, {step:?}: {error}"),
                }
            };
            self.record.set_acked(thread, first, n, seq).expect("the record can be written");
            self.steps.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn step(&self, step: &Step) -> nokv::Result<u64> {
        let seed = self.orders.shape.seed;
        match step {
            Step::Batch(ops, sync) => {
                let options = WriteOptions { sync: sync.then_some(true), ..WriteOptions::default() };
                return self.db.write(batch_of(ops, seed)?, &options).map(|seq| seq.0);
            }
            Step::Single(Op::Put((cf, key), value)) => {
                self.db.set_cf(CfId(*cf), key.as_bytes(), &value.bytes(seed))?;
            }
            Step::Single(Op::Delete((cf, key))) => self.db.del_cf(CfId(*cf), key.as_bytes())?,
            Step::Single(op @ Op::DeleteRange(cf, ..)) => {
                let batch = batch_of(std::slice::from_ref(op), seed)?;
                for op in batch.iter() {
                    self.db.delete_range(CfId(*cf), op.key.user_key, op.value)?;
                }
            }
        }
        Ok(0)
    }

    fn unlogged(&self) {
        let shape = self.orders.shape;
        let (thread, first) = (shape.threads, self.orders.first[shape.threads as usize]);
        let options = WriteOptions { disable_wal: true, ..WriteOptions::default() };
        for n in self.range(thread) {
            self.record.set_pending(thread, n).expect("the record can be written");
            let batch = batch_of(&shape.unlogged_step(n), shape.seed).expect("within limits");
            let seq = self.db.write(batch, &options).unwrap_or_else(|e| panic!("unlogged step {n}: {e}"));
            self.record.set_acked(thread, first, n, seq.0).expect("the record can be written");
            if mix(shape.seed, n).is_multiple_of(64) {
                self.db.flush().unwrap_or_else(|e| panic!("flush behind unlogged step {n}: {e}"));
                self.record.set_flushed(n).expect("the record can be written");
            }
            // Most of the work is to be logged.
            let until = self.steps.load(Ordering::Relaxed) + 4;
            while self.steps.load(Ordering::Relaxed) < until {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    /// Flushes, merges, collects and reads, each after so many steps of the others.
    fn maintain(&self) {
        let mut dice = Dice::new(mix(mix(self.orders.shape.seed, 404), self.orders.generation));
        loop {
            let until = self.steps.load(Ordering::Relaxed) + 20 + dice.below(300);
            while self.steps.load(Ordering::Relaxed) < until {
                std::thread::sleep(Duration::from_micros(200));
            }
            let cf = CfId(dice.below(u64::from(super::script::FAMILIES)) as u32);
            let (what, result) = match dice.below(8) {
                0 => ("flush", self.db.flush()),
                1 | 2 => ("compact", self.db.compact_range(cf, None, None)),
                3 | 4 => ("collect", self.db.run_value_log_gc(0.05).map(drop)),
                5 => ("sync", self.db.sync().map(drop)),
                6 => ("check", self.check()),
                _ => ("scan", self.scan(cf)),
            };
            match result {
                Ok(()) | Err(Error::NothingToCollect | Error::GcRejected) => {}
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }

    fn check(&self) -> nokv::Result<()> {
        let report = self.db.check_all()?;
        report.problems.into_iter().next().map_or(Ok(()), Err)
    }

    fn scan(&self, cf: CfId) -> nokv::Result<()> {
        for item in self.db.iter(nokv::IterOptions { cf, ..Default::default() })? {
            item?;
        }
        Ok(())
    }

    /// Each time that every thread has met a full disk: reads must go on, then a file is removed, and all go on.
    fn free_space(&self) {
        for path in &self.orders.ballast {
            self.full.wait_for(self.orders.shape.threads);
            self.readable();
            std::fs::remove_file(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let before = self.steps.load(Ordering::Relaxed);
            // Background work that met the full disk tries again by itself: until then writers may meet it once more.
            while self.steps.load(Ordering::Relaxed) < before + 50 {
                self.full.next_round();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.full.wait_for(self.orders.shape.threads);
        self.readable();
        if self.orders.generation.is_multiple_of(2) {
            // A close on a full disk may fail; it loses nothing.
            let _ = self.db.close();
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }

    /// A full disk stops no read, and is no failure.
    fn readable(&self) {
        assert_eq!(self.db.health().cause, None, "a full disk closed the database to writes");
        for cf in 0..super::script::FAMILIES {
            self.scan(CfId(cf)).unwrap_or_else(|e| panic!("a read on a full disk: {e}"));
        }
    }
}
