//! The net: every layer of tests that counts its cases, in one list. The suites run a slice of each; the program `net`
//! runs them whole and prints what came of it.
//!
//! Who may call it: the suites, `net`, and the test of planted bugs.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
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
