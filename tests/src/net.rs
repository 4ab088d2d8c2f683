//! The net: every layer of tests that counts its cases, in one list. The suites run a slice of each; the program `net`
//! runs them whole and prints what came of it.
//!
//! Who may call it: the suites, `net`, and the test of planted bugs.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much of a layer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// What runs with every change: seconds.
    Slice,
    /// The counts that `docs/reliability.md` promises.
    Full,
}

impl Scale {
    /// The one of two that belongs to this scale.
    pub fn pick<T>(self, slice: T, full: T) -> T {
        match self {
            Self::Slice => slice,
            Self::Full => full,
        }
    }
}

/// A layer: a fault, and all cases in which it happens.
#[derive(Clone, Copy)]
pub struct Layer {
    /// Its name on the command line.
    pub name: &'static str,
    /// What goes wrong in it, for people.
    pub fault: &'static str,
    /// What a case is.
    pub unit: &'static str,
    /// The least number of cases of a slice, and of a full run: with fewer the layer fails.
    pub floor: (u64, u64),
    /// Runs it and gives the number of cases. Panics when one fails, with the command that replays that case.
    pub run: fn(Scale) -> u64,
}

/// How a layer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// All cases passed, and there were enough of them: how many.
    Passed(u64),
    /// A case failed, or there were too few: what is wrong.
    Failed(String),
    /// It cannot be run here: why.
    NotRun(String),
}

/// What came of a layer.
pub struct Outcome {
    /// The layer.
    pub layer: Layer,
    /// How it ended.
    pub ended: Ended,
    /// How long it took.
    pub time: Duration,
}

thread_local! {
    /// Why the layer that runs on this thread cannot be run.
    static NOT_RUN: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Did the layer that runs on this thread ask which case to run alone?
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

impl Layer {
    /// Runs it to its end or its first failure.
    pub fn outcome(&self, scale: Scale) -> Outcome {
        self.outcome_of(scale, picked().is_some())
    }

    /// With `alone` one case was picked: the floor is for all of them.
    fn outcome_of(&self, scale: Scale, alone: bool) -> Outcome {
        let started = Instant::now();
        NOT_RUN.set(None);
        ASKED.set(false);
        let ran = catch_unwind(AssertUnwindSafe(|| (self.run)(scale))).map_err(text_of);
        let (name, unit, floor) = (self.name, self.unit, scale.pick(self.floor.0, self.floor.1));
        let ended = match (ran, NOT_RUN.take()) {
            (Err(what), _) => Ended::Failed(what),
            (Ok(0), Some(why)) => Ended::NotRun(why),
            (Ok(_), _) if alone && !ASKED.get() => {
                Ended::Failed(format!("{name} has no cases that {CASE} could pick"))
            }
            (Ok(0), None) if alone => Ended::Failed(format!("{CASE} matches no case of {name}")),
            (Ok(cases), _) if !alone && cases < floor => {
                Ended::Failed(format!("only {cases} {unit}: at least {floor} are promised"))
            }
            (Ok(cases), _) => Ended::Passed(cases),
        };
        Outcome { layer: *self, ended, time: started.elapsed() }
    }
}

/// Says on behalf of a layer that it cannot be run here, and why; gives its number of cases, 0.
pub fn not_run(why: &str) -> u64 {
    say(&format!("NOT run: {why}"));
    NOT_RUN.set(Some(why.to_owned()));
    0
}

/// The variable that picks one case: `layer:name`.
const CASE: &str = "NOKV_CASE";

/// The one case to run, as layer and name.
pub fn picked() -> Option<(String, String)> {
    let case = std::env::var(CASE).ok()?;
    let (layer, name) = case.split_once(':').unwrap_or((&case, ""));
    Some((layer.to_owned(), name.to_owned()))
}

/// The one case of `layer` to run; all, if there is none. A case of another layer is none of this one: it runs nothing.
pub fn picked_of(layer: &str) -> Option<String> {
    ASKED.set(true);
    picked().map(|(of, name)| if of == layer { name } else { String::new() })
}

/// The command that runs one case again, alone.
pub fn replay(layer: &str, name: &str) -> String {
    format!("{}{CASE}='{layer}:{name}' cargo run --release -p nokv-tests --bin net {layer}", seeds())
}

/// The command that runs the test on this thread again, alone; none outside of a test.
pub fn replay_test() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let (suite, _) = program.file_stem()?.to_str()?.rsplit_once('-')?;
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main")?;
    Some(format!("{}cargo test -p nokv-tests --test {suite} -- --exact {test}", seeds()))
}

/// What a case depends on beside its name.
const SEEDS: [&str; 3] = ["NOKV_CRASH_SEED", "NOKV_MODEL_SEED", "NOKV_MODEL_OPS"];

/// Those of them that are set, as a command begins.
fn seeds() -> String {
    let set = SEEDS.iter().filter_map(|name| Some(format!("{name}={} ", std::env::var(name).ok()?)));
    set.collect()
}

/// Runs every case, on all cores, up to the first that panics; gives their number. `NOKV_CASE=layer:name` runs that one
/// alone.
///
/// # Panics
/// When a case does, with what it said and the command that replays it.
pub fn run_cases<T: Sync>(
    layer: &str,
    cases: &[T],
    name: impl Fn(&T) -> String + Sync,
    run: impl Fn(&T) + Sync,
) -> u64 {
    run_picked(picked_of(layer).as_deref(), layer, cases, name, run)
}

fn run_picked<T: Sync>(
    only: Option<&str>,
    layer: &str,
    cases: &[T],
    name: impl Fn(&T) -> String + Sync,
    run: impl Fn(&T) + Sync,
) -> u64 {
    let wanted = |case: &&T| only.is_none_or(|only| name(case) == only);
    let cases: Vec<&T> = cases.iter().filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<String>> = Mutex::new(None);
    let worker = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(case))) {
                next.store(cases.len(), Ordering::Relaxed);
                let name = name(case);
                let said = text_of(panic);
                let text = format!("{name}: {said}\n    {}", replay(layer, &name));
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(cases.len());
        (0..threads).for_each(|_| drop(scope.spawn(worker)));
    });
    if let Some(text) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        panic!("{text}");
    }
    cases.len() as u64
}

static QUIET: AtomicBool = AtomicBool::new(false);

/// Silences [`say`] for the whole process, or gives it its voice back: for those who run layers that are to fail.
pub fn be_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::SeqCst);
}

/// What a layer tells beside its number of cases.
pub fn say(text: &str) {
    if !QUIET.load(Ordering::SeqCst) {
        println!("{text}");
    }
}

/// What a panic said.
pub fn text_of(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(|| "?".to_owned(), |text| (*text).to_owned()),
    }
}

/// Prints the table: fault, cases, failures, time.
///
/// # Errors
/// What `out` gives.
pub fn print(out: &mut dyn Write, outcomes: &[Outcome]) -> std::io::Result<()> {
    let width = outcomes.iter().map(|o| o.layer.fault.len()).max().unwrap_or(0).max("fault".len());
    writeln!(out, "{:<width$}  {:>10}  {:<12} {:>8}  {:>7}", "fault", "cases", "", "failures", "time")?;
    for outcome in outcomes {
        let (cases, failures) = match &outcome.ended {
            Ended::Passed(cases) => (cases.to_string(), "0"),
            Ended::Failed(_) => ("?".to_owned(), "1"),
            Ended::NotRun(_) => ("not run".to_owned(), "-"),
        };
        let (fault, unit, seconds) = (outcome.layer.fault, outcome.layer.unit, outcome.time.as_secs_f64());
        writeln!(out, "{fault:<width$}  {cases:>10}  {unit:<12} {failures:>8}  {seconds:>5.1} s")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
