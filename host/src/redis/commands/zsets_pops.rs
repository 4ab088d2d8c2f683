//! Commands that take members out of sorted sets, or pick some by chance.

use super::args::is;
use super::collections::{Picks, at_least, opposable, picks, positive, read, timeout};
use super::zsets::{ZSET, tell_removed, to_change};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::keyspace::Collection;
use crate::redis::types::random;
use crate::redis::types::zset::{self, Members, Scored, Which};
use nokv_core::formats::redis::Kind;

const POP: Flags = Flags::WRITE.and(Flags::FAST);
const WAIT: Flags = Flags::WRITE.and(Flags::BLOCKING);

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "zpopmin",
        arity: -2,
        flags: POP,
        handler: zpopmin,
        since: "5.0.0",
        summary: "Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if \
                  the last member was popped.",
        usage: "key [count]",
        ..ZSET
    },
    Command {
        name: "zpopmax",
        arity: -2,
        flags: POP,
        handler: zpopmax,
        since: "5.0.0",
        summary: "Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if \
                  the last member was popped.",
        usage: "key [count]",
        ..ZSET
    },
    Command {
        name: "zmpop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::MOVABLE_KEYS),
        keys: Keys::Counted { before: 0, count: 1 },
        handler: zmpop,
        since: "7.0.0",
        summary: "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. \
                  Deletes the sorted set if the last member was popped.",
        usage: "numkeys key [key ...] MIN | MAX [COUNT count]",
        ..ZSET
    },
    Command {
        name: "bzpopmin",
        arity: -3,
        flags: WAIT.and(Flags::FAST),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        handler: bzpopmin,
        since: "5.0.0",
        summary: "Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a \
                  member is available otherwise. Deletes the sorted set if the last element was popped.",
        usage: "key [key ...] timeout",
        ..ZSET
    },
    Command {
        name: "bzpopmax",
        arity: -3,
        flags: WAIT.and(Flags::FAST),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        handler: bzpopmax,
        since: "5.0.0",
        summary: "Removes and returns the member with the highest score from one or more sorted sets. Blocks until a \
                  member is available otherwise. Deletes the sorted set if the last element was popped.",
        usage: "key [key ...] timeout",
        ..ZSET
    },
    Command {
        name: "bzmpop",
        arity: -5,
        flags: WAIT.and(Flags::MOVABLE_KEYS),
        keys: Keys::Counted { before: 0, count: 2 },
        handler: bzmpop,
        since: "7.0.0",
        summary: "Removes and returns a member by score from one or more sorted sets. Blocks until a member is \
                  available otherwise. Deletes the sorted set if the last element was popped.",
        usage: "timeout numkeys key [key ...] MIN | MAX [COUNT count]",
        ..ZSET
    },
    Command {
        name: "zrandmember",
        arity: -2,
        flags: Flags::READ,
        handler: zrandmember,
        since: "6.2.0",
        summary: "Returns one or more random members from a sorted set.",
        usage: "key [count [WITHSCORES]]",
        ..ZSET
    },
];

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

/// Takes up to `count` members out.
fn pop(call: &mut Call<'_>, of: &mut Collection<'_>, end: End, count: u64) -> Answer<Vec<Scored>> {
    let count = count.min(of.head.count);
    let Some(last) =
        i64::try_from(count).ok().and_then(|count| count.checked_sub(1)).filter(|last| *last >= 0)
    else {
        return Ok(Vec::new());
    };
    let reverse = end == End::Max;
    let mut walk = Members::of(call.keys, of, Which::Ranks(0, last), reverse, (0, u64::MAX))?;
    let mut popped = Vec::new();
    while walk.advance()? {
        let (member, score) = walk.member()?;
        popped.push((member.to_vec(), score));
    }
    if let Some((_, score)) = popped.first() {
        zset::note_end(of, *score, reverse);
    }
    let which = if reverse { Which::Ranks(-1 - last, -1) } else { Which::Ranks(0, last) };
    if let [(member, score)] = &popped[..] {
        zset::remove(call.keys, of, member, *score);
        call.keys.save(of)?;
    } else {
        zset::remove_which(call.keys, of, which)?;
    }
    tell_removed(call, if reverse { "zpopmax" } else { "zpopmin" }, of);
    Ok(popped)
}

fn zpopmin(call: &mut Call<'_>) -> Answer<Reply> {
    pop_one_key(call, End::Min)
}

fn zpopmax(call: &mut Call<'_>) -> Answer<Reply> {
    pop_one_key(call, End::Max)
}

fn pop_one_key(call: &mut Call<'_>, end: End) -> Answer<Reply> {
    let count = match call.args[2..] {
        [] => None,
        [count] => Some(positive(count)?),
        _ => return Err(Fail::SYNTAX),
    };
    let popped = match to_change(call, call.args[1])? {
        Some(mut of) => pop(call, &mut of, end, count.unwrap_or(1))?,
        None => Vec::new(),
    };
    if count.is_some() {
        return Ok(super::zsets_ranges::members(call, true, popped));
    }
    Ok(Reply::Array(
        popped.into_iter().flat_map(|(m, score)| [Reply::Bulk(m), Reply::Double(score)]).collect(),
    ))
}

/// Takes members out of the first of these keys that has some.
fn pop_first<'k>(
    call: &mut Call<'_>,
    keys: &'k [&'k [u8]],
    end: End,
    count: u64,
) -> Answer<Option<(&'k [u8], Vec<Scored>)>> {
    for key in call.candidates(keys) {
        if let Some(mut of) = to_change(call, key)? {
            return Ok(Some((key, pop(call, &mut of, end, count)?)));
        }
    }
    Ok(None)
}

/// `numkeys key [key ...] MIN | MAX [COUNT count]`.
struct Many<'c> {
    keys: &'c [&'c [u8]],
    end: End,
    count: u64,
}

impl<'c> Many<'c> {
    fn read(args: &'c [&'c [u8]]) -> Answer<Self> {
        let keys = at_least(args[0], 1, "ERR numkeys should be greater than 0")?;
        let keys = usize::try_from(keys).map_err(|_| Fail::SYNTAX)?;
        let rest = &args[1..];
        let (Some(names), Some([end, rest @ ..])) = (rest.get(..keys), rest.get(keys..)) else {
            return Err(Fail::SYNTAX);
        };
        let end = match *end {
            word if is(word, "min") => End::Min,
            word if is(word, "max") => End::Max,
            _ => return Err(Fail::SYNTAX),
        };
        let count = match rest {
            [] => 1,
            [word, count, rest @ ..] if is(word, "count") => {
                let count = at_least(count, 1, "ERR count should be greater than 0")?;
                if !rest.is_empty() {
                    return Err(Fail::SYNTAX);
                }
                count
            }
            _ => return Err(Fail::SYNTAX),
        };
        Ok(Self { keys: names, end, count })
    }

    fn pop(&self, call: &mut Call<'_>) -> Answer<Option<Reply>> {
        let Some((key, popped)) = pop_first(call, self.keys, self.end, self.count)? else { return Ok(None) };
        let pairs =
            popped.into_iter().map(|(m, score)| Reply::Array(vec![Reply::Bulk(m), Reply::Double(score)]));
        Ok(Some(Reply::Array(vec![Reply::bulk(key), Reply::Array(pairs.collect())])))
    }
}

fn zmpop(call: &mut Call<'_>) -> Answer<Reply> {
    let args = call.args;
    Ok(Many::read(&args[1..])?.pop(call)?.unwrap_or(Reply::NilArray))
}

fn bzmpop(call: &mut Call<'_>) -> Answer<Reply> {
    let args = call.args;
    let seconds = timeout(args[1])?;
    let many = Many::read(&args[2..])?;
    match many.pop(call)? {
        Some(reply) => Ok(reply),
        None => Ok(call.wait_for(many.keys, seconds, Reply::NilArray)),
    }
}

fn bzpopmin(call: &mut Call<'_>) -> Answer<Reply> {
    wait_pop(call, End::Min)
}

fn bzpopmax(call: &mut Call<'_>) -> Answer<Reply> {
    wait_pop(call, End::Max)
}

fn wait_pop(call: &mut Call<'_>, end: End) -> Answer<Reply> {
    let args = call.args;
    let [keys @ .., seconds] = &args[1..] else { return Err(Fail::SYNTAX) };
    let seconds = timeout(seconds)?;
    let Some((key, popped)) = pop_first(call, keys, end, 1)? else {
        return Ok(call.wait_for(keys, seconds, Reply::NilArray));
    };
    let mut reply = vec![Reply::bulk(key)];
    reply.extend(popped.into_iter().flat_map(|(m, score)| [Reply::Bulk(m), Reply::Double(score)]));
    Ok(Reply::Array(reply))
}

fn zrandmember(call: &mut Call<'_>) -> Answer<Reply> {
    let args = call.args;
    let (count, with_scores) = match args[2..] {
        [] => {
            let Some(of) = read(call, args[1], Kind::SortedSet)? else { return Ok(Reply::Nil) };
            let picked = zset::pick(call.keys, &of, &[random::below(of.head.count)])?;
            return Ok(picked.into_iter().next().map_or(Reply::Nil, |(member, _)| Reply::Bulk(member)));
        }
        [count] => (opposable(count)?, false),
        [count, word] if is(word, "withscores") => {
            let count = opposable(count)?;
            if count.unsigned_abs() > i64::MAX as u64 / 2 {
                return Err(Fail::of("ERR value is out of range"));
            }
            (count, true)
        }
        [count, ..] => {
            opposable(count)?;
            return Err(Fail::SYNTAX);
        }
    };
    let Some(of) = read(call, args[1], Kind::SortedSet)? else { return Ok(Reply::Array(Vec::new())) };
    let picked = match picks(count)? {
        Picks::Distinct(count) if count >= of.head.count => {
            let mut walk = Members::of(call.keys, &of, Which::Ranks(0, -1), false, (0, u64::MAX))?;
            let mut all = Vec::new();
            while walk.advance()? {
                let (member, score) = walk.member()?;
                all.push((member.to_vec(), score));
            }
            all
        }
        Picks::Distinct(count) => zset::pick(call.keys, &of, &random::distinct(count, of.head.count))?,
        Picks::Any(count) => {
            let drawn: Vec<u64> = (0..count).map(|_| random::below(of.head.count)).collect();
            let mut order: Vec<usize> = (0..drawn.len()).collect();
            order.sort_unstable_by_key(|at| drawn[*at]);
            let sorted: Vec<u64> = order.iter().map(|at| drawn[*at]).collect();
            let mut picked: Vec<_> = order.into_iter().zip(zset::pick(call.keys, &of, &sorted)?).collect();
            picked.sort_unstable_by_key(|(at, _)| *at);
            picked.into_iter().map(|(_, member)| member).collect()
        }
    };
    Ok(super::zsets_ranges::members(call, with_scores, picked))
}
