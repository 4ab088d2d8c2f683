//! Commands of ranges of sorted sets: by rank, by score, by name.

use super::args::{integer, is};
use super::collections::{read, takes_pairs};
use super::zsets::{ZSET, number, tell_removed, to_change};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::build::Build;
use crate::redis::store::effects::Class;
use crate::redis::types::zset::{self, LexBound, Members, ScoreBound, Scored, Span, Which};
use nokv_core::formats::redis::Kind;

const BAD_SCORE: Fail = Fail::of("ERR min or max is not a float");
const BAD_NAME: Fail = Fail::of("ERR min or max not valid string range item");

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "zrange",
        arity: -4,
        flags: Flags::READ,
        handler: zrange,
        summary: "Returns members in a sorted set within a range of indexes.",
        usage: "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        ..ZSET
    },
    Command {
        name: "zrangestore",
        arity: -5,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::TWO,
        handler: zrangestore,
        since: "6.2.0",
        summary: "Stores a range of members from sorted set in a key.",
        usage: "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        ..ZSET
    },
    Command {
        name: "zrevrange",
        arity: -4,
        flags: Flags::READ,
        handler: zrevrange,
        summary: "Returns members in a sorted set within a range of indexes in reverse order.",
        usage: "key start stop [WITHSCORES]",
        ..ZSET
    },
    Command {
        name: "zrangebyscore",
        arity: -4,
        flags: Flags::READ,
        handler: zrangebyscore,
        since: "1.0.5",
        summary: "Returns members in a sorted set within a range of scores.",
        usage: "key min max [WITHSCORES] [LIMIT offset count]",
        ..ZSET
    },
    Command {
        name: "zrevrangebyscore",
        arity: -4,
        flags: Flags::READ,
        handler: zrevrangebyscore,
        since: "2.2.0",
        summary: "Returns members in a sorted set within a range of scores in reverse order.",
        usage: "key max min [WITHSCORES] [LIMIT offset count]",
        ..ZSET
    },
    Command {
        name: "zrangebylex",
        arity: -4,
        flags: Flags::READ,
        handler: zrangebylex,
        since: "2.8.9",
        summary: "Returns members in a sorted set within a lexicographical range.",
        usage: "key min max [LIMIT offset count]",
        ..ZSET
    },
    Command {
        name: "zrevrangebylex",
        arity: -4,
        flags: Flags::READ,
        handler: zrevrangebylex,
        since: "2.8.9",
        summary: "Returns members in a sorted set within a lexicographical range in reverse order.",
        usage: "key max min [LIMIT offset count]",
        ..ZSET
    },
    Command {
        name: "zcount",
        arity: 4,
        flags: Flags::READ.and(Flags::FAST),
        handler: zcount,
        since: "2.0.0",
        summary: "Returns the count of members in a sorted set that have scores within a range.",
        usage: "key min max",
        ..ZSET
    },
    Command {
        name: "zlexcount",
        arity: 4,
        flags: Flags::READ.and(Flags::FAST),
        handler: zlexcount,
        since: "2.8.9",
        summary: "Returns the number of members in a sorted set within a lexicographical range.",
        usage: "key min max",
        ..ZSET
    },
    Command {
        name: "zremrangebyrank",
        arity: 4,
        flags: Flags::WRITE,
        handler: zremrangebyrank,
        since: "2.0.0",
        summary: "Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members \
                  were removed.",
        usage: "key start stop",
        ..ZSET
    },
    Command {
        name: "zremrangebyscore",
        arity: 4,
        flags: Flags::WRITE,
        handler: zremrangebyscore,
        summary: "Removes members in a sorted set within a range of scores. Deletes the sorted set if all members \
                  were removed.",
        usage: "key min max",
        ..ZSET
    },
    Command {
        name: "zremrangebylex",
        arity: 4,
        flags: Flags::WRITE,
        handler: zremrangebylex,
        since: "2.8.9",
        summary: "Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all \
                  members were removed.",
        usage: "key min max",
        ..ZSET
    },
];

fn score_bound(arg: &[u8]) -> Answer<ScoreBound> {
    let (text, is_open) = match arg {
        [b'(', rest @ ..] => (rest, true),
        _ => (arg, false),
    };
    // The C library skips blanks, and takes nothing for 0.
    let text = text.trim_ascii_start();
    let score = if text.is_empty() { Some(0.0) } else { number(text) };
    score.map(|score| ScoreBound { score, is_open }).ok_or(BAD_SCORE)
}

fn name_bound(arg: &[u8]) -> Answer<LexBound<'_>> {
    match arg {
        b"-" => Ok(LexBound::First),
        b"+" => Ok(LexBound::Last),
        [b'[', name @ ..] => Ok(LexBound::Closed(name)),
        [b'(', name @ ..] => Ok(LexBound::Open(name)),
        _ => Err(BAD_NAME),
    }
}

/// What a range is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

impl By {
    fn which<'c>(self, min: &'c [u8], max: &'c [u8]) -> Answer<Which<'c>> {
        Ok(match self {
            Self::Rank => Which::Ranks(integer(min)?, integer(max)?),
            Self::Score => Which::Scores(score_bound(min)?, score_bound(max)?),
            Self::Name => Which::Names(name_bound(min)?, name_bound(max)?),
        })
    }
}

/// What the arguments say.
struct Query<'c> {
    which: Which<'c>,
    reverse: bool,
    window: (u64, u64),
    with_scores: bool,
}

impl<'c> Query<'c> {
    /// Reads `min max [options]`. Without `form` the options say what it is; else that and the direction are given.
    fn read(args: &[&'c [u8]], form: Option<(By, bool)>, stores: bool) -> Answer<Self> {
        let [start, stop, rest @ ..] = args else { return Err(Fail::SYNTAX) };
        let (mut by, mut reverse) = form.unwrap_or((By::Rank, false));
        let (mut skip, mut limit) = (0, -1);
        let mut with_scores = false;
        let mut rest = rest;
        while let [word, after @ ..] = rest {
            rest = after;
            match (*word, after) {
                (word, _) if !stores && is(word, "withscores") => with_scores = true,
                (word, [offset, count, after @ ..]) if is(word, "limit") => {
                    (skip, limit) = (integer(offset)?, integer(count)?);
                    rest = after;
                }
                (word, _) if form.is_none() && is(word, "rev") => reverse = true,
                (word, _) if form.is_none() && is(word, "bylex") => by = By::Name,
                (word, _) if form.is_none() && is(word, "byscore") => by = By::Score,
                _ => return Err(Fail::SYNTAX),
            }
        }
        if limit != -1 && by == By::Rank {
            return Err(Fail::of(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Name {
            return Err(Fail::of("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let (min, max) = if reverse && by != By::Rank { (stop, start) } else { (start, stop) };
        // Nothing stands before the first one.
        let limit = if skip < 0 { 0 } else { u64::try_from(limit).unwrap_or(u64::MAX) };
        let window = (u64::try_from(skip).unwrap_or(0), limit);
        Ok(Self { which: by.which(min, max)?, reverse, window, with_scores })
    }
}

/// Members, with their scores if asked for: as pairs in version 3.
pub(super) fn members(call: &Call<'_>, with_scores: bool, found: Vec<Scored>) -> Reply {
    let pairs = with_scores && takes_pairs(call);
    let mut items = Vec::with_capacity(found.len());
    for (member, score) in found {
        let member = Reply::Bulk(member);
        if pairs {
            items.push(Reply::Array(vec![member, Reply::Double(score)]));
        } else {
            items.push(member);
            if with_scores {
                items.push(Reply::Double(score));
            }
        }
    }
    Reply::Array(items)
}

fn range(call: &mut Call<'_>, form: Option<(By, bool)>) -> Answer<Reply> {
    let args = call.args;
    let query = Query::read(&args[2..], form, false)?;
    let mut found = Vec::new();
    if let Some(of) = read(call, args[1], Kind::SortedSet)? {
        let mut walk = Members::of(call.keys, &of, query.which, query.reverse, query.window)?;
        while walk.advance()? {
            let (member, score) = walk.member()?;
            found.push((member.to_vec(), score));
        }
    }
    Ok(members(call, query.with_scores, found))
}

fn zrange(call: &mut Call<'_>) -> Answer<Reply> {
    range(call, None)
}

fn zrevrange(call: &mut Call<'_>) -> Answer<Reply> {
    range(call, Some((By::Rank, true)))
}

fn zrangebyscore(call: &mut Call<'_>) -> Answer<Reply> {
    range(call, Some((By::Score, false)))
}

fn zrevrangebyscore(call: &mut Call<'_>) -> Answer<Reply> {
    range(call, Some((By::Score, true)))
}

fn zrangebylex(call: &mut Call<'_>) -> Answer<Reply> {
    range(call, Some((By::Name, false)))
}

fn zrevrangebylex(call: &mut Call<'_>) -> Answer<Reply> {
    range(call, Some((By::Name, true)))
}

/// Gives `key` what was built instead of what it held.
pub(super) fn store(call: &mut Call<'_>, key: &[u8], build: Build<'_>, event: &'static str) -> Answer<Reply> {
    let slot = call.keys.slot(call.db, key)?;
    let was_there = call.keys.replace(&slot)?;
    let count = build.finish(call.keys)?.head.count;
    if count > 0 {
        call.event(Class::SORTED_SET, event, key);
    } else if was_there {
        call.event(Class::GENERIC, "del", key);
    }
    Ok(Reply::count(count))
}

fn zrangestore(call: &mut Call<'_>) -> Answer<Reply> {
    let args = call.args;
    let query = Query::read(&args[3..], None, true)?;
    let from = read(call, args[2], Kind::SortedSet)?;
    let mut build = call.keys.build(call.db, args[1], Kind::SortedSet);
    if let Some(of) = from {
        let mut walk = Members::of(call.keys, &of, query.which, query.reverse, query.window)?;
        while walk.advance()? {
            let (member, score) = walk.member()?;
            build.scored(call.keys, member, score)?;
        }
    }
    store(call, args[1], build, "zrangestore")
}

fn zcount(call: &mut Call<'_>) -> Answer<Reply> {
    let args = call.args;
    let (min, max) = (score_bound(args[2])?, score_bound(args[3])?);
    let Some(of) = read(call, args[1], Kind::SortedSet)? else { return Ok(Reply::Int(0)) };
    Ok(Reply::count(Span::of_scores(&of, min, max).count(call.keys, &of)?))
}

fn zlexcount(call: &mut Call<'_>) -> Answer<Reply> {
    let args = call.args;
    let (min, max) = (name_bound(args[2])?, name_bound(args[3])?);
    let Some(of) = read(call, args[1], Kind::SortedSet)? else { return Ok(Reply::Int(0)) };
    Ok(Reply::count(Span::of_names(&of, min, max).count(call.keys, &of)?))
}

fn remove(call: &mut Call<'_>, by: By, event: &'static str) -> Answer<Reply> {
    let args = call.args;
    let which = by.which(args[2], args[3])?;
    let Some(mut of) = to_change(call, args[1])? else { return Ok(Reply::Int(0)) };
    let removed = zset::remove_which(call.keys, &mut of, which)?;
    if removed > 0 {
        tell_removed(call, event, &of);
    }
    Ok(Reply::count(removed))
}

fn zremrangebyrank(call: &mut Call<'_>) -> Answer<Reply> {
    remove(call, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(call: &mut Call<'_>) -> Answer<Reply> {
    remove(call, By::Score, "zremrangebyscore")
}

fn zremrangebylex(call: &mut Call<'_>) -> Answer<Reply> {
    remove(call, By::Name, "zremrangebylex")
}
