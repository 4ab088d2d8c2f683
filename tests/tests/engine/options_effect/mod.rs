//! Every option has an effect that a test observes.
//!
//! Each module lists the cases of some options in `CASES`: the option's name and a function that fails when the
//! option does nothing. A case looks at what the database does, not at what was stored. Modules by theme: `memory`
//! (memtables and log), `writes`, `tables`, `levels`, `tree`, `value_log`, `hot`, `watchdog`, `stats`.

mod hot;
mod levels;
mod memory;
mod stats;
mod support;
mod tables;
mod tree;
mod value_log;
mod watchdog;
mod writes;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nokv::OPTION_FIELDS;

/// The name of an option and what shows its effect.
type Case = (&'static str, fn());

fn modules() -> [(&'static str, &'static [Case]); 9] {
    [
        ("hot", hot::CASES),
        ("levels", levels::CASES),
        ("memory", memory::CASES),
        ("stats", stats::CASES),
        ("tables", tables::CASES),
        ("tree", tree::CASES),
        ("value_log", value_log::CASES),
        ("watchdog", watchdog::CASES),
        ("writes", writes::CASES),
    ]
}

fn with_a_case() -> BTreeSet<&'static str> {
    modules().iter().flat_map(|(_, cases)| cases.iter()).map(|(name, _)| *name).collect()
}

#[test]
fn every_option_has_a_case() {
    let have = with_a_case();
    let known: BTreeSet<&str> = OPTION_FIELDS.iter().map(|field| field.name).collect();
    let unknown: Vec<_> = have.iter().filter(|name| !known.contains(**name)).collect();
    assert!(unknown.is_empty(), "cases of options that do not exist: {unknown:?}");
    let missing: Vec<_> = known.iter().filter(|name| !have.contains(**name)).collect();
    assert!(missing.is_empty(), "options without a case: {missing:?}");
}

fn run(module: &str) {
    let mut failed = Vec::new();
    for (_, cases) in modules().iter().filter(|(name, _)| *name == module) {
        for (option, case) in *cases {
            if catch_unwind(AssertUnwindSafe(case)).is_err() {
                failed.push(*option);
            }
        }
    }
    assert!(failed.is_empty(), "without the promised effect: {failed:?}");
}

#[test]
fn options_of_hot_keys_have_an_effect() {
    run("hot");
}

#[test]
fn options_of_levels_and_threads_have_an_effect() {
    run("levels");
}

#[test]
fn options_of_memtables_and_log_have_an_effect() {
    run("memory");
}

#[test]
fn options_of_statistics_have_an_effect() {
    run("stats");
}

#[test]
fn options_of_tables_and_caches_have_an_effect() {
    run("tables");
}

#[test]
fn options_of_the_tree_have_an_effect() {
    run("tree");
}

#[test]
fn options_of_the_value_log_have_an_effect() {
    run("value_log");
}

#[test]
fn options_of_the_watchdog_have_an_effect() {
    run("watchdog");
}

#[test]
fn options_of_writes_have_an_effect() {
    run("writes");
}
