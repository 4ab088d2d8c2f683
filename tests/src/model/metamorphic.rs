//! One history under many option sets: the same operations, the same answers, whatever the options of each open are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nokv::{BuiltinIndex, Options};
use nokv_vfs_mem::MemFs;

use super::run::{Setup, run};
use crate::net::{Scale, run_cases};

struct Case {
    seed: u64,
    option_set: u64,
}

/// Runs the histories; gives the number of operations.
///
/// # Panics
/// When an answer is not the model's, or two option sets saw different histories.
pub fn run_all(scale: Scale) -> u64 {
    let (seeds, sets, ops) = scale.pick((1, 8, 3_000), (10, 64, 10_000));
    let cases: Vec<Case> =
        (1..=seeds).flat_map(|seed| (0..sets).map(move |option_set| Case { seed, option_set })).collect();
    let histories: Mutex<BTreeMap<u64, u64>> = Mutex::default();
    let count = run_cases(
        "options",
        &cases,
        |case| format!("{}/{}", case.seed, case.option_set),
        |case| {
            let history = run::<_, BuiltinIndex>(Setup {
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
            let first = *histories.entry(case.seed).or_insert(history);
            assert_eq!(history, first, "another history than under other options");
        },
    );
    count * ops
}
