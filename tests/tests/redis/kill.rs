//! The server is killed under load; nothing that was acknowledged is lost.

use nokv_tests::redis::{kill, kill_large};

/// Kills with every change; `NOKV_REDIS_KILLS` sets another number, `NOKV_REDIS_SEED` another seed.
const KILLS: u64 = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn killed(sync: &str, seed: u64) {
    nokv_tests::real::process::set_program(env!("CARGO_BIN_EXE_net"));
    let kills = number("NOKV_REDIS_KILLS").unwrap_or(KILLS);
    let done = kill::run(number("NOKV_REDIS_SEED").unwrap_or(seed), sync, kills);
    eprintln!(
        "appendfsync {sync}: {} kills, {} steps acknowledged, {} more were there, {} keys at the end",
        done.kills, done.acknowledged, done.more, done.keys
    );
    assert!(done.acknowledged > 0, "nothing was done");
}

#[test]
fn with_sync_always_nothing_acknowledged_is_lost_by_sigkill() {
    killed("always", 11);
}

#[test]
fn with_a_sync_each_second_nothing_acknowledged_is_lost_by_sigkill() {
    killed("everysec", 12);
}

#[test]
fn without_syncs_nothing_acknowledged_is_lost_by_sigkill() {
    killed("no", 13);
}

#[test]
fn a_copy_that_is_killed_half_way_does_not_show() {
    nokv_tests::real::process::set_program(env!("CARGO_BIN_EXE_net"));
    let kills = number("NOKV_REDIS_KILLS").unwrap_or(KILLS);
    let (copying, acknowledged) = kill_large::run(number("NOKV_REDIS_SEED").unwrap_or(14), "always", kills);
    eprintln!("{kills} kills, {copying} of them in a copy, {acknowledged} commands acknowledged");
    assert!(copying > 0, "no kill met a copy");
}
