//! Commands of single members of sorted sets: ZADD, ZSCORE, ZRANK, ...

use super::args::is;
use super::collections::read;
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::effects::Class;
use crate::redis::store::keyspace::Collection;
use crate::redis::types::zset;
use nokv_core::formats::redis::Kind;

const READ: Flags = Flags::READ.and(Flags::FAST);
const ADD: Flags = Flags::WRITE.and(Flags::GROWS).and(Flags::FAST);

/// A command of sorted sets with one key.
pub(super) const ZSET: Command =
    Command { keys: Keys::ONE, group: "sorted-set", since: "1.2.0", ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "zadd",
        arity: -4,
        flags: ADD,
        handler: zadd,
        summary: "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't \
                  exist.",
        usage: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        ..ZSET
    },
    Command {
        name: "zincrby",
        arity: 4,
        flags: ADD,
        handler: zincrby,
        summary: "Increments the score of a member in a sorted set.",
        usage: "key increment member",
        ..ZSET
    },
    Command {
        name: "zrem",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        handler: zrem,
        summary: "Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.",
        usage: "key member [member ...]",
        ..ZSET
    },
    Command {
        name: "zcard",
        arity: 2,
        flags: READ,
        handler: zcard,
        summary: "Returns the number of members in a sorted set.",
        usage: "key",
        ..ZSET
    },
    Command {
        name: "zscore",
        arity: 3,
        flags: READ,
        handler: zscore,
        summary: "Returns the score of a member in a sorted set.",
        usage: "key member",
        ..ZSET
    },
    Command {
        name: "zmscore",
        arity: -3,
        flags: READ,
        handler: zmscore,
        since: "6.2.0",
        summary: "Returns the score of one or more members in a sorted set.",
        usage: "key member [member ...]",
        ..ZSET
    },
    Command {
        name: "zrank",
        arity: -3,
        flags: READ,
        handler: zrank,
        since: "2.0.0",
        summary: "Returns the index of a member in a sorted set ordered by ascending scores.",
        usage: "key member [WITHSCORE]",
        ..ZSET
    },
    Command {
        name: "zrevrank",
        arity: -3,
        flags: READ,
        handler: zrevrank,
        since: "2.0.0",
        summary: "Returns the index of a member in a sorted set ordered by descending scores.",
        usage: "key member [WITHSCORE]",
        ..ZSET
    },
    Command {
        name: "zscan",
        arity: -3,
        flags: Flags::READ,
        handler: zscan,
        since: "2.8.0",
        summary: "Iterates over members and scores of a sorted set.",
        usage: "key cursor [MATCH pattern] [COUNT count]",
        ..ZSET
    },
];

/// A score as Redis takes it: no blanks, not NaN, not too large for a number.
///
/// # Errors
/// [`Fail::NOT_A_FLOAT`].
pub(super) fn score(arg: &[u8]) -> Answer<f64> {
    number(arg).filter(|score| !score.is_infinite() || names_infinity(arg)).ok_or(Fail::NOT_A_FLOAT)
}

/// A number that is not NaN. One that is too large is infinite.
pub(super) fn number(arg: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(arg).ok()?;
    text.parse::<f64>().ok().or_else(|| hexadecimal(text)).filter(|number| !number.is_nan())
}

fn names_infinity(arg: &[u8]) -> bool {
    arg.iter().any(|byte| byte.eq_ignore_ascii_case(&b'n'))
}

/// `[+-]0x` digits `[.digits] [p exponent]`, as the C library reads it.
fn hexadecimal(text: &str) -> Option<f64> {
    let (is_negative, rest) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let rest = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"))?;
    let (digits, power) = match rest.split_once(['p', 'P']) {
        Some((digits, power)) => (digits, power.parse::<i32>().ok()?.clamp(-5_000, 5_000)),
        None => (rest, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    // More digits than the number can hold are not worth their rounding.
    if whole.len() + part.len() == 0 || whole.len() + part.len() > 13 {
        return None;
    }
    let bits = u64::from_str_radix(&[whole, part].concat(), 16).ok()?;
    let number = bits as f64 * 2f64.powi(power - 4 * part.len() as i32);
    Some(if is_negative { -number } else { number })
}

/// The sorted set of a key, for a command that changes it.
///
/// # Errors
/// What the store met; the key holds something else.
pub(super) fn to_change<'k>(call: &mut Call<'_>, key: &'k [u8]) -> Answer<Option<Collection<'k>>> {
    call.keys.collection(call.db, key, Kind::SortedSet)
}

/// Tells that members went, and the key too if they were the last.
pub(super) fn tell_removed(call: &mut Call<'_>, name: &'static str, of: &Collection<'_>) {
    call.event(Class::SORTED_SET, name, of.key);
    if of.head.count == 0 {
        call.event(Class::GENERIC, "del", of.key);
    }
}

#[derive(Default, Clone, Copy)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

/// What became of a member.
enum Added {
    /// It is as it was, as an option asks.
    Skipped,
    /// It has this score now.
    New(f64),
    /// It had another score.
    Changed(f64),
    /// It had the same score.
    Same(f64),
}

/// Adds a member or changes its score.
fn add(
    call: &mut Call<'_>,
    of: &mut Collection<'_>,
    options: Options,
    score: f64,
    member: &[u8],
) -> Answer<Added> {
    let Some(old) = zset::score(call.keys, of, member)? else {
        if options.xx {
            return Ok(Added::Skipped);
        }
        zset::set(call.keys, of, member, None, score);
        return Ok(Added::New(score));
    };
    if options.nx {
        return Ok(Added::Skipped);
    }
    let new = if options.incr { old + score } else { score };
    if new.is_nan() {
        return Err(Fail::of("ERR resulting score is not a number (NaN)"));
    }
    if (options.gt && new <= old) || (options.lt && new >= old) {
        return Ok(Added::Skipped);
    }
    if new == old {
        return Ok(Added::Same(new));
    }
    zset::set(call.keys, of, member, Some(old), new);
    Ok(Added::Changed(new))
}

fn zadd(call: &mut Call<'_>) -> Answer<Reply> {
    let mut options = Options::default();
    let mut rest = &call.args[2..];
    while let [word, after @ ..] = rest {
        let option = match *word {
            word if is(word, "nx") => &mut options.nx,
            word if is(word, "xx") => &mut options.xx,
            word if is(word, "gt") => &mut options.gt,
            word if is(word, "lt") => &mut options.lt,
            word if is(word, "ch") => &mut options.ch,
            word if is(word, "incr") => &mut options.incr,
            _ => break,
        };
        *option = true;
        rest = after;
    }
    if rest.is_empty() || !rest.len().is_multiple_of(2) {
        return Err(Fail::SYNTAX);
    }
    if options.nx && options.xx {
        return Err(Fail::of("ERR XX and NX options at the same time are not compatible"));
    }
    if [options.nx, options.gt, options.lt].iter().filter(|given| **given).count() > 1 {
        return Err(Fail::of("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    if options.incr && rest.len() > 2 {
        return Err(Fail::of("ERR INCR option supports a single increment-element pair"));
    }
    put(call, options, rest)
}

fn zincrby(call: &mut Call<'_>) -> Answer<Reply> {
    let pair = [call.args[2], call.args[3]];
    put(call, Options { incr: true, ..Options::default() }, &pair)
}

/// Adds pairs of scores and members.
fn put(call: &mut Call<'_>, options: Options, pairs: &[&[u8]]) -> Answer<Reply> {
    let key = call.args[1];
    let mut members = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        members.push((score(pair[0])?, pair[1]));
    }
    let otherwise = if options.incr { Reply::Nil } else { Reply::Int(0) };
    let found = to_change(call, key)?;
    if found.is_none() && options.xx {
        return Ok(otherwise);
    }
    for (_, member) in &members {
        crate::redis::types::elements::check_name(member)?;
    }
    let mut of = match found {
        Some(of) => of,
        None => call.keys.new_collection(call.db, key, Kind::SortedSet),
    };
    let (mut added, mut changed) = (0, 0);
    let mut result = otherwise;
    for (score, member) in members {
        let done = add(call, &mut of, options, score, member)?;
        added += i64::from(matches!(done, Added::New(_)));
        changed += i64::from(matches!(done, Added::Changed(_)));
        if let (true, Added::New(score) | Added::Changed(score) | Added::Same(score)) = (options.incr, done) {
            result = Reply::Double(score);
        }
    }
    if added + changed > 0 {
        call.keys.save(&of)?;
        call.event(Class::SORTED_SET, if options.incr { "zincr" } else { "zadd" }, key);
    }
    if options.incr {
        return Ok(result);
    }
    Ok(Reply::Int(if options.ch { added + changed } else { added }))
}

fn zrem(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(mut of) = to_change(call, call.args[1])? else { return Ok(Reply::Int(0)) };
    for member in &call.args[2..] {
        crate::redis::types::elements::check_name(member)?;
    }
    let mut removed = 0;
    for member in &call.args[2..] {
        if let Some(score) = zset::score(call.keys, &of, member)? {
            zset::remove(call.keys, &mut of, member, score);
            removed += 1;
        }
    }
    if removed > 0 {
        call.keys.save(&of)?;
        tell_removed(call, "zrem", &of);
    }
    Ok(Reply::Int(removed))
}

fn zcard(call: &mut Call<'_>) -> Answer<Reply> {
    let of = read(call, call.args[1], Kind::SortedSet)?;
    Ok(Reply::count(of.map_or(0, |of| of.head.count)))
}

fn zscore(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(of) = read(call, call.args[1], Kind::SortedSet)? else { return Ok(Reply::Nil) };
    Ok(zset::score(call.keys, &of, call.args[2])?.map_or(Reply::Nil, Reply::Double))
}

fn zmscore(call: &mut Call<'_>) -> Answer<Reply> {
    let of = read(call, call.args[1], Kind::SortedSet)?;
    let mut scores = Vec::with_capacity(call.args.len() - 2);
    for member in &call.args[2..] {
        let score = match &of {
            Some(of) => zset::score(call.keys, of, member)?,
            None => None,
        };
        scores.push(score.map_or(Reply::Nil, Reply::Double));
    }
    Ok(Reply::Array(scores))
}

fn zrank(call: &mut Call<'_>) -> Answer<Reply> {
    rank(call, false)
}

fn zrevrank(call: &mut Call<'_>) -> Answer<Reply> {
    rank(call, true)
}

fn rank(call: &mut Call<'_>, reverse: bool) -> Answer<Reply> {
    let with_score = match call.args.get(3) {
        _ if call.args.len() > 4 => return Err(Fail::arity(call.command.name)),
        None => false,
        Some(word) if is(word, "withscore") => true,
        Some(_) => return Err(Fail::SYNTAX),
    };
    let otherwise = if with_score { Reply::NilArray } else { Reply::Nil };
    let member = call.args[2];
    let Some(of) = read(call, call.args[1], Kind::SortedSet)? else { return Ok(otherwise) };
    let Some(score) = zset::score(call.keys, &of, member)? else { return Ok(otherwise) };
    let rank = zset::rank(call.keys, &of, member, score)?;
    let rank = Reply::count(if reverse { of.head.count.saturating_sub(rank + 1) } else { rank });
    Ok(if with_score { Reply::Array(vec![rank, Reply::Double(score)]) } else { rank })
}

fn zscan(call: &mut Call<'_>) -> Answer<Reply> {
    super::scans::scan(call, Kind::SortedSet)
}

#[cfg(test)]
mod tests;
