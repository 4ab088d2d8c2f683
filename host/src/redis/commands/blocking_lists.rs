//! Commands of lists that wait for elements.

use super::collections::timeout;
use super::lists::{move_to, pop_first_of, pop_from, several, side};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::types::list::Side;
use nokv_core::formats::redis::Kind;

const GROUP: &str = "list";

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "blmove",
        arity: 6,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::NO_SCRIPT).and(Flags::BLOCKING),
        keys: Keys::TWO,
        handler: blmove,
        group: GROUP,
        since: "6.2.0",
        summary: "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise. Deletes the list if the last element was moved.",
        usage: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        ..Command::NEW
    },
    Command {
        name: "blmpop",
        arity: -5,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
        keys: Keys::Counted { before: 0, count: 2 },
        handler: blmpop,
        group: GROUP,
        since: "7.0.0",
        summary: "Pops the first element from one of multiple lists. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        usage: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        ..Command::NEW
    },
    Command {
        name: "blpop",
        arity: -3,
        flags: Flags::WRITE.and(Flags::NO_SCRIPT).and(Flags::BLOCKING),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        handler: blpop,
        group: GROUP,
        since: "2.0.0",
        summary: "Removes and returns the first element in a list. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        usage: "key [key ...] timeout",
        ..Command::NEW
    },
    Command {
        name: "brpop",
        arity: -3,
        flags: Flags::WRITE.and(Flags::NO_SCRIPT).and(Flags::BLOCKING),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        handler: brpop,
        group: GROUP,
        since: "2.0.0",
        summary: "Removes and returns the last element in a list. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        usage: "key [key ...] timeout",
        ..Command::NEW
    },
    Command {
        name: "brpoplpush",
        arity: 4,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::NO_SCRIPT).and(Flags::BLOCKING),
        keys: Keys::TWO,
        handler: brpoplpush,
        group: GROUP,
        since: "2.2.0",
        summary: "Pops an element from a list, pushes it to another list and returns it. Block until an element is available otherwise. Deletes the list if the last element was popped.",
        usage: "source destination timeout",
        ..Command::NEW
    },
];

fn pop(call: &mut Call<'_>, side: Side) -> Answer<Reply> {
    let args = &call.args[1..];
    let [keys @ .., seconds] = args else { return Err(Fail::SYNTAX) };
    let seconds = timeout(seconds)?;
    for key in call.candidates(keys) {
        if let Some(mut of) = call.keys.collection(call.db, key, Kind::List)? {
            let mut reply = vec![Reply::bulk(key)];
            reply.extend(pop_from(call, &mut of, side, 1)?);
            return Ok(Reply::Array(reply));
        }
    }
    Ok(call.wait_for(keys, seconds, Reply::NilArray))
}

fn blpop(call: &mut Call<'_>) -> Answer<Reply> {
    pop(call, Side::Left)
}

fn brpop(call: &mut Call<'_>) -> Answer<Reply> {
    pop(call, Side::Right)
}

fn blmpop(call: &mut Call<'_>) -> Answer<Reply> {
    let seconds = timeout(call.args[1])?;
    let (keys, side, count) = several(&call.args[2..])?;
    match pop_first_of(call, keys, side, count)? {
        Some(reply) => Ok(reply),
        None => Ok(call.wait_for(keys, seconds, Reply::NilArray)),
    }
}

fn moved(call: &mut Call<'_>, sides: (Side, Side), seconds: &[u8]) -> Answer<Reply> {
    let seconds = timeout(seconds)?;
    let args = call.args;
    match call.keys.collection(call.db, args[1], Kind::List)? {
        Some(source) => move_to(call, source, args[2], sides),
        // Nothing where it could not wait, but an array of nothing where it waited.
        None if call.in_exec => Ok(Reply::Nil),
        None => Ok(call.wait_for(&args[1..2], seconds, Reply::NilArray)),
    }
}

fn blmove(call: &mut Call<'_>) -> Answer<Reply> {
    let sides = (side(call.args[3])?, side(call.args[4])?);
    moved(call, sides, call.args[5])
}

fn brpoplpush(call: &mut Call<'_>) -> Answer<Reply> {
    moved(call, (Side::Right, Side::Left), call.args[3])
}

#[cfg(test)]
mod tests;
