//! One database under process after process: each is stopped at random moments, for an image each time, and killed in the end.
//!
//! Two threads check images. The child stands still while they are behind, so that most of the time goes into checks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::child::Orders;
use super::dice::{Dice, mix};
use super::image::{Image, place};
use super::model::{Model, Resolved};
use super::process::Process;
use super::record::Record;
use super::script::Shape;
use super::verify::{Question, Verdict, keep};
use crate::net::text_of;

/// Threads that check.
const CHECKERS: usize = 2;

/// What a campaign does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// Processes that are killed.
    pub kills: u64,
    /// Images of each, besides the one that the kill leaves.
    pub stops: u64,
}

/// What it did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Images that were checked.
    pub images: u64,
    /// Kills, each with its image checked.
    pub kills: u64,
    /// Acknowledged steps.
    pub steps: u64,
    /// Bytes of all images.
    pub bytes: u64,
    /// Time that the child was let run, that taking images took, and that checking them took, all threads together.
    pub ran: Duration,
    /// Time to take images.
    pub taking: Duration,
    /// Time to check them.
    pub checking: Duration,
}

impl Done {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.kills += other.kills;
        self.steps += other.steps;
        self.bytes += other.bytes;
        self.ran += other.ran;
        self.taking += other.taking;
        self.checking += other.checking;
    }
}

/// An image to check.
struct Job {
    image: Image,
    model: Model,
    n: u64,
    what: String,
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    failure: Mutex<Option<String>>,
    checking: Mutex<Duration>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Checks an image on files of its own.
    fn check(&self, job: &Job) -> Verdict<Resolved> {
        let started = Instant::now();
        let place = place("nokv-real-image-");
        let dir = place.path().join("db");
        let result = catch_unwind(AssertUnwindSafe(|| {
            job.image.put(&dir).map_err(|e| format!("the copy: {e}"))?;
            Question { dir: &dir, model: &job.model, n: job.n }.verify()
        }));
        let result = result.unwrap_or_else(|panic| Err(format!("panic: {}", text_of(panic))));
        *locked(&self.checking) += started.elapsed();
        result.map_err(|error| keep(&job.image, &job.model, job.n, &format!("{}: {error}", job.what)).1)
    }

    fn drain(&self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            let job = locked(jobs).recv();
            let Ok(job) = job else { return };
            if self.failed().is_none()
                && let Err(error) = self.check(&job)
            {
                *locked(&self.failure) = Some(error);
            }
        }
    }

    fn failed(&self) -> Option<String> {
        locked(&self.failure).clone()
    }
}

/// One database and its processes.
struct Campaign<'a> {
    plan: Plan,
    place: TempDir,
    model: Model,
    dice: Dice,
    generation: u64,
    first: Vec<u64>,
    done: Done,
    shared: &'a Shared,
}

/// The workload of a seed.
pub const fn shape(seed: u64) -> Shape {
    let mut dice = Dice::new(mix(seed, 1));
    let threads = 1 + dice.below(4);
    Shape { seed, threads, keys: 20 + dice.below(60), large: 9000, large_one_in: 6 + dice.below(10) }
}

/// Runs a campaign.
///
/// # Panics
/// When a rule does not hold; the text says how to look at what was left.
pub fn run(plan: Plan) -> Done {
    let shared = Shared::default();
    let (send, receive) = sync_channel::<Job>(CHECKERS);
    let receive = Mutex::new(receive);
    let shape = shape(plan.seed);
    let mut campaign = Campaign {
        plan,
        place: place("nokv-real-"),
        model: Model::new(shape),
        dice: Dice::new(mix(plan.seed, 2)),
        generation: 0,
        first: vec![1; shape.threads as usize + 1],
        done: Done::default(),
        shared: &shared,
    };
    let result = std::thread::scope(|scope| {
        for _ in 0..CHECKERS {
            scope.spawn(|| shared.drain(&receive));
        }
        let result = campaign.all(&send);
        drop(send);
        result
    });
    let result = result.and_then(|()| shared.failed().map_or(Ok(()), Err));
    if let Err(error) = result {
        panic!(
            "{error}\n    To run the same workload again: NOKV_REAL_SEED={} and the same command",
            plan.seed
        );
    }
    campaign.done.checking = *locked(&shared.checking);
    campaign.done
}

impl Campaign<'_> {
    fn dir(&self) -> std::path::PathBuf {
        self.place.path().join("db")
    }

    fn all(&mut self, send: &SyncSender<Job>) -> Verdict<()> {
        for _ in 0..self.plan.kills {
            self.one(send)?;
            self.generation += 1;
        }
        Ok(())
    }

    /// One process from start to kill.
    fn one(&mut self, send: &SyncSender<Job>) -> Verdict<()> {
        let record_path = self.place.path().join("record");
        let record = Record::create(&record_path).map_err(|e| e.to_string())?;
        let orders = Orders {
            dir: self.dir(),
            record: record_path,
            shape: self.model.shape,
            generation: self.generation,
            first: self.first.clone(),
            ballast: Vec::new(),
        };
        let mut child = Process::start(&orders.to_args(), &self.place.path().join("errors"));
        for stop in 0..self.plan.stops {
            if let Some(error) = self.shared.failed() {
                return Err(error);
            }
            self.pause();
            child.stop()?;
            let job = self.image(&record, &format!("stop {stop} of process {}", self.generation))?;
            // Waits while the checkers are behind; the child stands meanwhile.
            let _ = send.send(job);
            child.go_on()?;
        }
        self.pause();
        if self.plan.stops == 0 {
            // Long enough to get anywhere: into recovery, or far behind it.
            std::thread::sleep(Duration::from_micros(self.dice.below(60_000)));
        }
        child.kill()?;
        self.after_kill(&record)
    }

    /// Lets the child run for a while.
    fn pause(&mut self) {
        let micros = match self.dice.below(64) {
            0 => 20_000,
            1..8 => self.dice.below(5_000),
            _ => self.dice.below(1_200),
        };
        let started = Instant::now();
        std::thread::sleep(Duration::from_micros(micros));
        self.done.ran += started.elapsed();
    }

    /// The files as they are now, with what they must hold.
    fn image(&mut self, record: &Record, what: &str) -> Verdict<Job> {
        let started = Instant::now();
        self.done.steps += self.model.follow(record, &self.first).map_err(|e| format!("the record: {e}"))?;
        let image = Image::take(&self.dir()).map_err(|e| format!("taking an image: {e}"))?;
        self.done.images += 1;
        self.done.bytes += image.bytes();
        let n = self.generation * 100_000 + self.done.images;
        self.done.taking += started.elapsed();
        Ok(Job { image, model: self.model.clone(), n, what: format!("{what}, seed {}", self.plan.seed) })
    }

    /// Checks what the kill left: in place, or on a copy, and then the next process recovers the same files.
    fn after_kill(&mut self, record: &Record) -> Verdict<()> {
        let what = format!("kill of process {}", self.generation);
        let job = self.image(record, &what)?;
        self.done.images -= u64::from(self.plan.stops == 0);
        let resolved = if self.dice.one_in(2) {
            let question = Question { dir: &self.dir(), model: &job.model, n: job.n };
            let result = catch_unwind(AssertUnwindSafe(|| question.verify()));
            let result = result.unwrap_or_else(|panic| Err(format!("panic: {}", text_of(panic))));
            result
                .map_err(|error| keep(&job.image, &job.model, job.n, &format!("{}: {error}", job.what)).1)?
        } else {
            self.shared.check(&job)?
        };
        self.done.kills += 1;
        self.model.resolve(&resolved);
        self.first = self.model.threads.iter().map(|reach| reach.acked + 1).collect();
        self.first.push(resolved.unlogged + 1);
        Ok(())
    }
}
