//! The layers, and the child's way in.

use std::path::PathBuf;
use std::process::ExitCode;

use super::campaign::{Done, Plan, run};
use super::child::{Orders, work};
use super::dice::mix;
use super::{full, verify};
use crate::net::Scale;

pub use super::resources::resources;

/// Kills of one database, one process after another.
const KILLS_OF_ONE: u64 = 20;
/// Images of one process.
const STOPS_OF_ONE: u64 = 250;

/// The seed of this run.
pub fn seed() -> u64 {
    std::env::var("NOKV_REAL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// With `--child` as its first argument the program is a process of one of these layers.
pub fn child_main() -> Option<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (first, args) = args.split_first()?;
    if first != "--child" {
        return None;
    }
    Some(match args.split_first().map(|(what, rest)| (what.as_str(), rest)) {
        Some(("work", rest)) if Orders::from_args(rest).is_some() => {
            Orders::from_args(rest).iter().for_each(work);
            ExitCode::SUCCESS
        }
        Some(("full", [mount, work, seed])) => {
            full::supervise(&PathBuf::from(mount), &PathBuf::from(work), seed.parse().unwrap_or(1));
            ExitCode::SUCCESS
        }
        #[cfg(feature = "redis")]
        Some(("redis", rest)) => crate::redis::process::serve(rest),
        Some(("verify", [dir])) => match verify::verify_kept(&PathBuf::from(dir)) {
            Ok(_) => {
                println!("what is kept in {dir} is as it must be");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        },
        _ => ExitCode::from(2),
    })
}

/// Campaigns until there are as many cases as `wanted`.
fn campaigns(kind: u64, wanted: u64, cases: impl Fn(&Done) -> u64, plan: impl Fn(u64, u64) -> Plan) -> Done {
    let mut all = Done::default();
    for i in 0.. {
        if cases(&all) >= wanted {
            break;
        }
        // The first one is the seed itself, so that the seed of a failure runs it first.
        let seed = if i == 0 { seed() } else { mix(mix(seed(), kind), i) };
        all.add(&run(plan(seed, wanted - cases(&all))));
    }
    all
}

/// Processes that are killed with `SIGKILL`. Gives their number.
///
/// # Panics
/// When something acknowledged is gone, or anything else does not hold.
pub fn kills(scale: Scale) -> u64 {
    let wanted = scale.pick(12, 500);
    let done = campaigns(
        1,
        wanted,
        |done| done.kills,
        |seed, left| Plan { seed, kills: left.min(KILLS_OF_ONE), stops: 0 },
    );
    println!("kills: {} kills, {} acknowledged steps", done.kills, done.steps);
    done.kills
}

/// Images of a process that is stopped. Gives their number.
///
/// # Panics
/// When something acknowledged is gone, or anything else does not hold.
pub fn images(scale: Scale) -> u64 {
    let wanted = scale.pick(60, 50_000);
    let stops = scale.pick(30, STOPS_OF_ONE);
    let started = std::time::Instant::now();
    let done = campaigns(
        2,
        wanted,
        |done| done.images,
        |seed, left| {
            let kills = left.div_ceil(stops + 1).min(8);
            Plan { seed, kills, stops: stops.min(left.div_ceil(kills)) }
        },
    );
    println!(
        "images: {:.0} a second; {} steps, {} kills; of one image: {:.0} KiB, child ran {:.2} ms, taking {:.2} ms, \
         checking {:.2} ms",
        done.images as f64 / started.elapsed().as_secs_f64(),
        done.steps,
        done.kills,
        done.bytes as f64 / 1024.0 / done.images as f64,
        done.ran.as_secs_f64() * 1e3 / done.images as f64,
        done.taking.as_secs_f64() * 1e3 / done.images as f64,
        done.checking.as_secs_f64() * 1e3 / done.images as f64,
    );
    done.images
}

/// Runs on a disk of 16 MiB that becomes full. Gives their number; 0 where nothing may be mounted.
///
/// # Panics
/// When something acknowledged is gone, or anything else does not hold.
pub fn tmpfs_full(scale: Scale) -> u64 {
    full::run(seed(), scale.pick(2, 20))
}
