//! Commands that make one sorted set of several, sets among them: their members have the score 1.

use super::args::{integer, is};
use super::zsets::{ZSET, score};
use super::zsets_ranges::{members, store};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::types::zset_combine::{Aggregate, Combine, Source, combine};
use nokv_core::formats::redis::{Kind, score_to_bits};

const READ: Flags = Flags::READ.and(Flags::MOVABLE_KEYS);
const STORE: Flags = Flags::WRITE.and(Flags::GROWS).and(Flags::MOVABLE_KEYS);
const FROM: Keys = Keys::Counted { before: 0, count: 1 };
const FROM_AND_TO: Keys = Keys::Counted { before: 1, count: 2 };

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "zunion",
        arity: -3,
        flags: READ,
        keys: FROM,
        handler: zunion,
        since: "6.2.0",
        summary: "Returns the union of multiple sorted sets.",
        usage: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
        ..ZSET
    },
    Command {
        name: "zinter",
        arity: -3,
        flags: READ,
        keys: FROM,
        handler: zinter,
        since: "6.2.0",
        summary: "Returns the intersect of multiple sorted sets.",
        usage: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
        ..ZSET
    },
    Command {
        name: "zdiff",
        arity: -3,
        flags: READ,
        keys: FROM,
        handler: zdiff,
        since: "6.2.0",
        summary: "Returns the difference between multiple sorted sets.",
        usage: "numkeys key [key ...] [WITHSCORES]",
        ..ZSET
    },
    Command {
        name: "zintercard",
        arity: -3,
        flags: READ,
        keys: FROM,
        handler: zintercard,
        since: "7.0.0",
        summary: "Returns the number of members of the intersect of multiple sorted sets.",
        usage: "numkeys key [key ...] [LIMIT limit]",
        ..ZSET
    },
    Command {
        name: "zunionstore",
        arity: -4,
        flags: STORE,
        keys: FROM_AND_TO,
        handler: zunionstore,
        since: "2.0.0",
        summary: "Stores the union of multiple sorted sets in a key.",
        usage: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX]",
        ..ZSET
    },
    Command {
        name: "zinterstore",
        arity: -4,
        flags: STORE,
        keys: FROM_AND_TO,
        handler: zinterstore,
        since: "2.0.0",
        summary: "Stores the intersect of multiple sorted sets in a key.",
        usage: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX]",
        ..ZSET
    },
    Command {
        name: "zdiffstore",
        arity: -4,
        flags: STORE,
        keys: FROM_AND_TO,
        handler: zdiffstore,
        since: "6.2.0",
        summary: "Stores the difference of multiple sorted sets in a key.",
        usage: "destination numkeys key [key ...]",
        ..ZSET
    },
];

/// What becomes of the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Reply,
    Store,
    Count,
}

/// `numkeys key [key ...]` with options.
struct Query<'c> {
    sources: Vec<Source<'c>>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: u64,
}

impl<'c> Query<'c> {
    fn read(call: &mut Call<'_>, args: &'c [&'c [u8]], how: Combine, purpose: Use) -> Answer<Self> {
        let count = integer(args[0])?;
        if count < 1 {
            let name = call.command.name;
            return Err(Fail::text(format!("ERR at least 1 input key is needed for '{name}' command")));
        }
        let count = usize::try_from(count).map_err(|_| Fail::SYNTAX)?;
        let names = args[1..].get(..count).ok_or(Fail::SYNTAX)?;
        let mut sources = Vec::with_capacity(names.len());
        for name in names {
            let found = if purpose == Use::Store { call.keys.find(call.db, name)? } else { call.read(name)? };
            let set = match found {
                Some(found) if !matches!(found.kind, Kind::Set | Kind::SortedSet) => {
                    return Err(Fail::WRONG_TYPE);
                }
                Some(found) => Some(call.keys.collection_of(call.db, name, &found)?),
                None => None,
            };
            sources.push(Source { set, weight: 1.0 });
        }
        let mut query = Self { sources, aggregate: Aggregate::Sum, with_scores: false, limit: u64::MAX };
        query.options(&args[1 + count..], how, purpose)?;
        Ok(query)
    }

    fn options(&mut self, mut rest: &[&[u8]], how: Combine, purpose: Use) -> Answer<()> {
        let has_scores = how != Combine::Diff && purpose != Use::Count;
        while let [word, after @ ..] = rest {
            rest = after;
            if has_scores && is(word, "weights") && rest.len() >= self.sources.len() {
                for source in &mut self.sources {
                    let [weight, after @ ..] = rest else { return Err(Fail::SYNTAX) };
                    source.weight = score(weight).map_err(|_| Fail::of("ERR weight value is not a float"))?;
                    rest = after;
                }
            } else if has_scores && is(word, "aggregate") {
                let [word, after @ ..] = rest else { return Err(Fail::SYNTAX) };
                self.aggregate = match *word {
                    word if is(word, "sum") => Aggregate::Sum,
                    word if is(word, "min") => Aggregate::Min,
                    word if is(word, "max") => Aggregate::Max,
                    _ => return Err(Fail::SYNTAX),
                };
                rest = after;
            } else if purpose == Use::Reply && is(word, "withscores") {
                self.with_scores = true;
            } else if purpose == Use::Count && is(word, "limit") {
                let [limit, after @ ..] = rest else { return Err(Fail::SYNTAX) };
                let limit = super::collections::at_least(limit, 0, "ERR LIMIT can't be negative")?;
                self.limit = if limit == 0 { u64::MAX } else { limit };
                rest = after;
            } else {
                return Err(Fail::SYNTAX);
            }
        }
        Ok(())
    }
}

fn reply(call: &mut Call<'_>, how: Combine) -> Answer<Reply> {
    let args = call.args;
    let query = Query::read(call, &args[1..], how, Use::Reply)?;
    let mut found = Vec::new();
    combine(call.keys, how, query.aggregate, query.sources, |_, member, score| {
        found.push((member.to_vec(), score));
        Ok(true)
    })?;
    // They come in the order of members, which stays among equal scores.
    found.sort_by_key(|(_, score)| score_to_bits(*score));
    Ok(members(call, query.with_scores, found))
}

fn zunion(call: &mut Call<'_>) -> Answer<Reply> {
    reply(call, Combine::Union)
}

fn zinter(call: &mut Call<'_>) -> Answer<Reply> {
    reply(call, Combine::Inter)
}

fn zdiff(call: &mut Call<'_>) -> Answer<Reply> {
    reply(call, Combine::Diff)
}

fn zintercard(call: &mut Call<'_>) -> Answer<Reply> {
    let args = call.args;
    let query = Query::read(call, &args[1..], Combine::Inter, Use::Count)?;
    let mut count = 0;
    combine(call.keys, Combine::Inter, query.aggregate, query.sources, |_, _, _| {
        count += 1;
        Ok(count < query.limit)
    })?;
    Ok(Reply::count(count))
}

fn combine_and_store(call: &mut Call<'_>, how: Combine, event: &'static str) -> Answer<Reply> {
    let args = call.args;
    let query = Query::read(call, &args[2..], how, Use::Store)?;
    let mut build = call.keys.build(call.db, args[1], Kind::SortedSet);
    combine(call.keys, how, query.aggregate, query.sources, |keys, member, score| {
        build.scored(keys, member, score).map(|()| true)
    })?;
    store(call, args[1], build, event)
}

fn zunionstore(call: &mut Call<'_>) -> Answer<Reply> {
    combine_and_store(call, Combine::Union, "zunionstore")
}

fn zinterstore(call: &mut Call<'_>) -> Answer<Reply> {
    combine_and_store(call, Combine::Inter, "zinterstore")
}

fn zdiffstore(call: &mut Call<'_>) -> Answer<Reply> {
    combine_and_store(call, Combine::Diff, "zdiffstore")
}
