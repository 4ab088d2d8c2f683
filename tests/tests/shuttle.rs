//! A slice of the races, one test each: `RUSTFLAGS="--cfg shuttle" cargo test --release -p nokv-tests --test shuttle`. All
//! of their schedules: `RUSTFLAGS="--cfg shuttle" cargo run --release -p nokv-tests --bin net`. Other builds have none.
#![cfg(shuttle)]
#![allow(missing_docs)]

use nokv_tests::net::Scale;
use nokv_tests::races::{RACES, run_named};

macro_rules! races {
    ($($test:ident: $name:literal,)+) => {
        $(#[test]
        fn $test() {
            run_named($name, Scale::Slice);
        })+

        #[test]
        fn every_race_has_a_test() {
            let named = [$($name),+];
            assert!(RACES.iter().map(|race| race.name).eq(named));
        }
    };
}

races! {
    batches_become_visible_in_commit_order: "publish",
    every_member_of_a_group_gets_its_own_answer: "commit",
    a_failing_group_answers_everybody_and_loses_nothing_acknowledged: "commit-fails",
    a_close_beside_everything_ends_it_and_loses_nothing: "shutdown",
    the_last_handle_closes_on_any_thread: "last-handle",
    files_live_as_long_as_their_readers: "files",
    no_touch_of_a_hot_key_is_lost: "hot",
    a_reader_of_a_log_meets_cuts_and_cleaning: "walfs",
}
