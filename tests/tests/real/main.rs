//! Real processes on real files: a slice of each layer.
#![allow(missing_docs)]

use std::sync::{Mutex, PoisonError};

use nokv_tests::net::Scale;
use nokv_tests::real;

/// One layer at a time: what one leaves open, another would count.
static TURN: Mutex<()> = Mutex::new(());

/// The process that dies is the program `net`.
fn slice(run: fn(Scale) -> u64) -> u64 {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    #[cfg(target_os = "linux")]
    real::process::set_program(env!("CARGO_BIN_EXE_net"));
    run(Scale::Slice)
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    let cases = slice(real::kills);
    assert!(cases >= 12 || cfg!(not(target_os = "linux")), "{cases}");
}

#[test]
fn what_was_acknowledged_is_in_the_files_of_a_stopped_process() {
    let cases = slice(real::images);
    assert!(cases >= 60 || cfg!(not(target_os = "linux")), "{cases}");
}

#[test]
fn a_full_disk_is_clean_and_passes() {
    // 0 where nothing may be mounted: that is printed.
    let cases = slice(real::tmpfs_full);
    assert!(matches!(cases, 0 | 2), "{cases}");
}

#[test]
fn kill_and_reopen_leave_nothing_behind() {
    let cases = slice(real::resources);
    assert!(cases >= 10 || cfg!(not(target_os = "linux")), "{cases}");
}
