//! The same random commands to a real Redis and to ours.

use nokv::redis::Config;
use nokv_tests::redis::compare;
use nokv_tests::redis::oracle::{OurRedis, RealRedis};

/// Commands with every change; `NOKV_REDIS_COMMANDS` sets another number.
const COMMANDS: u64 = 20_000;

fn real() -> Option<RealRedis> {
    let real = RealRedis::start();
    if real.is_none() {
        assert!(std::env::var("REQUIRE_REDIS").is_err(), "redis-server is not installed");
        eprintln!("redis-server is not installed: nothing was compared");
    }
    real
}

fn compare(protocol: u8, seed: u64) {
    let Some(real) = real() else { return };
    let ours = OurRedis::start(Config::default());
    let commands = std::env::var("NOKV_REDIS_COMMANDS").ok().and_then(|n| n.parse().ok()).unwrap_or(COMMANDS);
    let seed = std::env::var("NOKV_REDIS_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(seed);
    let sent = compare::run(real.at(), ours.at(), seed, commands, protocol);
    eprintln!("{sent} commands in RESP{protocol}: the same as redis-server {}", real.version());
}

#[test]
fn random_commands_have_the_answers_of_redis_in_resp2() {
    compare(2, 1);
}

#[test]
fn random_commands_have_the_answers_of_redis_in_resp3() {
    compare(3, 2);
}
