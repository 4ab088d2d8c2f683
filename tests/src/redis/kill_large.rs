//! The server is killed while it copies a hash that is larger than what it writes at once: its elements go to the store ahead
//! of the head, and must not show without it.
//!
//! One client goes round: `COPY src dst REPLACE`, `DEL dst`, `HSET dst` with one field. After a kill `dst` is as after what was
//! acknowledged last, or as after the command behind it: whole, absent, or with the one field, and `src` is as ever.
//!
//! The database has its usual options: a small memtable would not take the batches.

use std::time::{Duration, Instant};

use super::process::{ServerProcess, Shape};
use super::wire::{Client, Wire};
use crate::real::dice::{Dice, mix};
use crate::real::image::place;

/// Fields of the hash.
const FIELDS: usize = 600;
/// Bytes of each.
const FIELD_BYTES: usize = 4096;

/// What `dst` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    Absent,
    One,
    Whole,
}

impl Copied {
    /// The next command, and what is there after it.
    const fn next(self) -> (&'static str, Self) {
        match self {
            Self::Absent => ("HSET dst one x", Self::One),
            Self::One => ("COPY src dst REPLACE", Self::Whole),
            Self::Whole => ("DEL dst", Self::Absent),
        }
    }
}

/// Kills a server `kills` times; gives how often it was in the middle of a copy as far as its client knows, and how many
/// commands were acknowledged.
///
/// # Panics
/// When what is there is neither.
pub fn run(seed: u64, sync: &str, kills: u64) -> (u64, u64) {
    let place = place("nokv-redis-large-");
    let mut dice = Dice::new(mix(seed, 78));
    let (mut state, mut is_made, mut copying, mut acknowledged) = (Copied::Absent, false, 0, 0);
    for open in 0..=kills {
        let mut one = || -> Result<(), String> {
            let conf = format!("appendfsync {sync}");
            let mut server = ServerProcess::start(place.path(), &conf, Shape::Usual)?;
            let mut client = Client::connect(server.at()).map_err(|error| error.to_string())?;
            if is_made {
                state = seen(&mut client, state)?;
            } else {
                make(&mut client)?;
                is_made = true;
            }
            let until = Instant::now() + Duration::from_millis(20 + dice.below(400));
            std::thread::scope(|scope| {
                let worker = scope.spawn(|| {
                    while let Ok(reply) = client.call(state.next().0) {
                        if let Some(error) = reply.error() {
                            return Err(format!("{}: {error}", state.next().0));
                        }
                        state = state.next().1;
                        acknowledged += 1;
                    }
                    Ok(())
                });
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                server.kill()?;
                worker.join().map_err(|_| "the client panicked".to_owned())?
            })
        };
        one().unwrap_or_else(|error| {
            panic!("appendfsync {sync}, after {open} kills, NOKV_REDIS_SEED={seed}: {error}")
        });
        copying += u64::from(state == Copied::One);
    }
    (copying, acknowledged)
}

fn value(n: usize) -> Vec<u8> {
    format!("{n:0>FIELD_BYTES$}").into_bytes()
}

fn make(client: &mut Client) -> Result<(), String> {
    for n in 0..FIELDS {
        client.push(&[b"HSET".to_vec(), b"src".to_vec(), format!("f{n:04}").into_bytes(), value(n)]);
    }
    client.send().map_err(|error| error.to_string())?;
    for _ in 0..FIELDS {
        let reply = client.read().map_err(|error| error.to_string())?;
        if reply != Wire::Int(1) {
            return Err(reply.show());
        }
    }
    Ok(())
}

/// What `dst` is now; an error if it cannot be that.
fn seen(client: &mut Client, acknowledged: Copied) -> Result<Copied, String> {
    let mut call = |line: &str| client.call(line).map_err(|error| format!("{line}: {error}"));
    if !is_whole(call("HGETALL src")?, call("HLEN src")?) {
        return Err("the hash that is copied changed".to_owned());
    }
    let (all, len) = (call("HGETALL dst")?, call("HLEN dst")?);
    let state = match &all {
        Wire::Items(_, items) if items.is_empty() && len == Wire::Int(0) => Copied::Absent,
        Wire::Items(_, items)
            if *items == [Wire::Bulk(b"one".to_vec()), Wire::Bulk(b"x".to_vec())] && len == Wire::Int(1) =>
        {
            Copied::One
        }
        _ if is_whole(all.clone(), len.clone()) => Copied::Whole,
        Wire::Items(_, items) => {
            return Err(format!("dst has {} fields, HLEN is {}", items.len() / 2, len.show()));
        }
        other => return Err(other.show()),
    };
    let keys = if state == Copied::Absent { 1 } else { 2 };
    if call("DBSIZE")? != Wire::Int(keys) {
        return Err(format!("DBSIZE is not {keys}"));
    }
    if state != acknowledged && state != acknowledged.next().1 {
        return Err(format!("dst is {state:?}; {acknowledged:?} was acknowledged"));
    }
    Ok(state)
}

fn is_whole(all: Wire, len: Wire) -> bool {
    let Wire::Items(_, items) = all else { return false };
    let mut pairs: Vec<(Wire, Wire)> =
        items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    pairs.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let expected = |n: usize| (Wire::Bulk(format!("f{n:04}").into_bytes()), Wire::Bulk(value(n)));
    len == Wire::Int(FIELDS as i64)
        && pairs.len() == FIELDS
        && pairs.into_iter().enumerate().all(|(n, pair)| pair == expected(n))
}
