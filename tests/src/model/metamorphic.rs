//! One history under many option sets: the same operations, the same answers, whatever the options of each open are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nokv::{BuiltinIndex, Options};
use nokv_vfs_mem::MemFs;

use super::run::{Setup, run_and_count};
use super::seen::Seen;
use crate::net::{Scale, run_cases};

struct Case {
    seed: u64,
    option_set: u64,
}

/// Runs the histories; gives the number of operations.
///
/// # Panics
/// When an answer is not the model's, two option sets saw different histories, or a seed came to nothing: no flush, no
/// compaction, no collection, neither a reopening nor a kill.
pub fn run_all(scale: Scale) -> u64 {
    let (seeds, sets, ops) = scale.pick((1, 8, 3_000), (10, 64, 10_000));
    let cases: Vec<Case> =
        (1..=seeds).flat_map(|seed| (0..sets).map(move |option_set| Case { seed, option_set })).collect();
    // The history of each seed, and what all runs of it came to.
    let histories: Mutex<BTreeMap<u64, (u64, Seen)>> = Mutex::default();
    let count = run_cases(
        "options",
        &cases,
        |case| format!("{}/{}", case.seed, case.option_set),
        |case| {
            let (history, seen) = run_and_count::<_, BuiltinIndex>(Setup {
                name: "one history",
                fs: MemFs::new(),
                dir: "m".into(),
                index: |options: &Options| options.mem_table_engine,
                kill: Some(MemFs::kill_clone),
                seed: case.seed,
                option_set: case.option_set,
                ops,
            });
            let mut histories = histories.lock().unwrap_or_else(PoisonError::into_inner);
            let (first, all) = histories.entry(case.seed).or_insert((history, Seen::default()));
            assert_eq!(history, *first, "another history than under other options");
            all.merge(&seen);
        },
    );
    // One case alone need not have everything.
    if std::env::var_os("NOKV_CASE").is_none() {
        let histories = histories.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(histories.len() as u64, seeds, "seeds that ran");
        for (seed, (_, seen)) in histories {
            seen.check_short().unwrap_or_else(|what| panic!("seed {seed} came to nothing: {what}"));
        }
    }
    count * ops
}
