//! A test net is measured by what it catches: every planted bug is found by its layer within its budget, and the
//! same runs find nothing where nothing is planted.
//!
//! `NOKV_PLANTED=NAME[,NAME...]` plants those alone. One test, for a plant is for the whole process.
#![allow(missing_docs)]

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::time::Instant;

use nokv_core::planted::{ALL, Bug, plant};
use nokv_tests::net::{be_quiet, text_of};
use nokv_tests::planted::{PLANTED, Probe};

/// Runs a probe with a bug planted, quietly. Gives the number of cases or what it found, and how long it took.
fn outcome(bug: Option<Bug>, probe: Probe) -> (Result<u64, String>, f64) {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    be_quiet(true);
    plant(bug);
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| probe.run())).map_err(text_of);
    let seconds = started.elapsed().as_secs_f64();
    plant(None);
    be_quiet(false);
    set_hook(hook);
    (result, seconds)
}

/// The gist of a report: what the first failing case said.
fn gist(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let line = match lines.as_slice() {
        [first, second, ..] if first.ends_with(':') => second,
        [first, ..] => first,
        [] => "",
    };
    line.chars().take(150).collect()
}

#[test]
fn every_planted_bug_is_found() {
    let only = std::env::var("NOKV_PLANTED").ok();
    let is_wanted =
        |bug: &Bug| only.as_ref().is_none_or(|only| only.split(',').any(|n| n == format!("{bug:?}")));
    for bug in ALL {
        assert_eq!(PLANTED.iter().filter(|(b, _)| b == bug).count(), 1, "{bug:?} has no layer, or several");
    }
    let planted: Vec<_> = PLANTED.iter().filter(|(bug, _)| is_wanted(bug)).collect();
    let mut budgets: Vec<(Probe, u64)> = Vec::new();
    println!("nothing planted:");
    for (_, probe) in &planted {
        if budgets.iter().all(|(p, _)| p != probe) {
            let (result, seconds) = outcome(None, *probe);
            let cases = result.unwrap_or_else(|e| panic!("{probe} fails with nothing planted:\n{e}"));
            println!("{probe:<26} {cases:>7} {:<10} {seconds:>6.1} s", probe.unit());
            budgets.push((*probe, cases));
        }
    }
    println!("\n{:<26} {:<26} {:>18}   caught in", "planted", "layer", "budget");
    let mut escaped = Vec::new();
    for (bug, probe) in planted {
        let (result, seconds) = outcome(Some(*bug), *probe);
        let budget = budgets.iter().find(|(p, _)| p == probe).map_or(0, |(_, cases)| *cases);
        let name = format!("{bug:?}");
        let budget = format!("{budget} {}", probe.unit());
        match result {
            Err(text) => println!("{name:<26} {probe:<26} {budget:>18}   {seconds:>5.2} s  {}", gist(&text)),
            Ok(_) => {
                println!("{name:<26} {probe:<26} {budget:>18}   ESCAPED");
                escaped.push(name);
            }
        }
    }
    assert!(escaped.is_empty(), "the net did not find: {escaped:?}");
}
