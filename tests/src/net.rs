//! The net: every layer of tests that counts its cases, in one list. The suites run a slice of each; the program `net`
//! runs them whole and prints what came of it.
//!
//! Who may call it: the suites, `net`, and the test of planted bugs.

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
    /// Runs it and gives the number of cases. Panics when one fails, with the command that replays that case.
    pub run: fn(Scale) -> u64,
}

/// What came of a layer.
pub struct Outcome {
    /// Its name.
    pub layer: Layer,
    /// Cases, or what the failing one said.
    pub cases: Result<u64, String>,
    /// How long it took.
    pub time: Duration,
}

impl Layer {
    /// Runs it to its end or its first failure.
    pub fn outcome(&self, scale: Scale) -> Outcome {
        let started = Instant::now();
        let cases = catch_unwind(AssertUnwindSafe(|| (self.run)(scale))).map_err(text_of);
        Outcome { layer: *self, cases, time: started.elapsed() }
    }
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
    let only = std::env::var("NOKV_CASE").ok();
    let wanted = |case: &&T| {
        only.as_ref().is_none_or(|only| only.split_once(':') == Some((layer, name(case).as_str())))
    };
    let cases: Vec<&T> = cases.iter().filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<String>> = Mutex::new(None);
    let worker = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(case))) {
                next.store(cases.len(), Ordering::Relaxed);
                let name = name(case);
                let said = text_of(panic);
                let text = format!(
                    "{name}: {said}\n    NOKV_CASE='{layer}:{name}' cargo run --release -p nokv-tests --bin net {layer}"
                );
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
        let (cases, failures) = match outcome.cases {
            Ok(cases) => (cases.to_string(), 0),
            Err(_) => ("?".to_owned(), 1),
        };
        let (fault, unit, seconds) = (outcome.layer.fault, outcome.layer.unit, outcome.time.as_secs_f64());
        writeln!(out, "{fault:<width$}  {cases:>10}  {unit:<12} {failures:>8}  {seconds:>5.1} s")?;
    }
    Ok(())
}
