//! Commands of lists that answer at once.

use super::args::{self, integer, is};
use super::collections::{at_least, opposable, positive, read};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::resp::reply::Bulks;
use crate::redis::store::effects::Class;
use crate::redis::store::keyspace::Collection;
use crate::redis::types::list::{self, Side};
use nokv_core::formats::redis::Kind;

const GROUP: &str = "list";

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "lindex",
        arity: 3,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: lindex,
        group: GROUP,
        summary: "Returns an element from a list by its index.",
        usage: "key index",
        ..Command::NEW
    },
    Command {
        name: "linsert",
        arity: 5,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::ONE,
        handler: linsert,
        group: GROUP,
        since: "2.2.0",
        summary: "Inserts an element before or after another element in a list.",
        usage: "key <BEFORE | AFTER> pivot element",
        ..Command::NEW
    },
    Command {
        name: "llen",
        arity: 2,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: llen,
        group: GROUP,
        summary: "Returns the length of a list.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "lmove",
        arity: 5,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::TWO,
        handler: lmove,
        group: GROUP,
        since: "6.2.0",
        summary: "Returns an element after popping it from one list and pushing it to another. Deletes the list if the last element was moved.",
        usage: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        ..Command::NEW
    },
    Command {
        name: "lmpop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::MOVABLE_KEYS),
        keys: Keys::Counted { before: 0, count: 1 },
        handler: lmpop,
        group: GROUP,
        since: "7.0.0",
        summary: "Returns multiple elements from a list after removing them. Deletes the list if the last element was popped.",
        usage: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        ..Command::NEW
    },
    Command {
        name: "lpop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        handler: lpop,
        group: GROUP,
        summary: "Returns the first elements in a list after removing it. Deletes the list if the last element was popped.",
        usage: "key [count]",
        ..Command::NEW
    },
    Command {
        name: "lpos",
        arity: -3,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: lpos,
        group: GROUP,
        since: "6.0.6",
        summary: "Returns the index of matching elements in a list.",
        usage: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        ..Command::NEW
    },
    Command {
        name: "lpush",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: lpush,
        group: GROUP,
        summary: "Prepends one or more elements to a list. Creates the key if it doesn't exist.",
        usage: "key element [element ...]",
        ..Command::NEW
    },
    Command {
        name: "lpushx",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: lpushx,
        group: GROUP,
        since: "2.2.0",
        summary: "Prepends one or more elements to a list only when the list exists.",
        usage: "key element [element ...]",
        ..Command::NEW
    },
    Command {
        name: "lrange",
        arity: 4,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: lrange,
        group: GROUP,
        summary: "Returns a range of elements from a list.",
        usage: "key start stop",
        ..Command::NEW
    },
    Command {
        name: "lrem",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::ONE,
        handler: lrem,
        group: GROUP,
        summary: "Removes elements from a list. Deletes the list if the last element was removed.",
        usage: "key count element",
        ..Command::NEW
    },
    Command {
        name: "lset",
        arity: 4,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::ONE,
        handler: lset,
        group: GROUP,
        summary: "Sets the value of an element in a list by its index.",
        usage: "key index element",
        ..Command::NEW
    },
    Command {
        name: "ltrim",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::ONE,
        handler: ltrim,
        group: GROUP,
        summary: "Removes elements from both ends a list. Deletes the list if all elements were trimmed.",
        usage: "key start stop",
        ..Command::NEW
    },
    Command {
        name: "rpop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        handler: rpop,
        group: GROUP,
        summary: "Returns and removes the last elements of a list. Deletes the list if the last element was popped.",
        usage: "key [count]",
        ..Command::NEW
    },
    Command {
        name: "rpoplpush",
        arity: 3,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::TWO,
        handler: rpoplpush,
        group: GROUP,
        since: "1.2.0",
        summary: "Returns the last element of a list after removing and pushing it to another list. Deletes the list if the last element was popped.",
        usage: "source destination",
        ..Command::NEW
    },
    Command {
        name: "rpush",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: rpush,
        group: GROUP,
        summary: "Appends one or more elements to a list. Creates the key if it doesn't exist.",
        usage: "key element [element ...]",
        ..Command::NEW
    },
    Command {
        name: "rpushx",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: rpushx,
        group: GROUP,
        since: "2.2.0",
        summary: "Appends an element to a list only when the list exists.",
        usage: "key element [element ...]",
        ..Command::NEW
    },
];

/// Saves a list that lost elements to `event`, and tells.
fn save_smaller(call: &mut Call<'_>, of: &Collection<'_>, event: &'static str) -> Answer<()> {
    call.keys.save(of)?;
    call.event(Class::LIST, event, of.key);
    if of.head.count == 0 {
        call.event(Class::GENERIC, "del", of.key);
    }
    Ok(())
}

const fn push_event(side: Side) -> &'static str {
    match side {
        Side::Left => "lpush",
        Side::Right => "rpush",
    }
}

const fn pop_event(side: Side) -> &'static str {
    match side {
        Side::Left => "lpop",
        Side::Right => "rpop",
    }
}

fn push(call: &mut Call<'_>, side: Side, must_exist: bool) -> Answer<Reply> {
    let key = call.args[1];
    let mut of = if must_exist {
        match call.keys.collection(call.db, key, Kind::List)? {
            Some(of) => of,
            None => return Ok(Reply::Int(0)),
        }
    } else {
        call.keys.collection_or_new(call.db, key, Kind::List)?
    };
    for element in &call.args[2..] {
        list::push(call.keys, &mut of, side, element)?;
    }
    call.keys.save(&of)?;
    call.event(Class::LIST, push_event(side), key);
    Ok(Reply::count(of.head.count))
}

fn lpush(call: &mut Call<'_>) -> Answer<Reply> {
    push(call, Side::Left, false)
}

fn rpush(call: &mut Call<'_>) -> Answer<Reply> {
    push(call, Side::Right, false)
}

fn lpushx(call: &mut Call<'_>) -> Answer<Reply> {
    push(call, Side::Left, true)
}

fn rpushx(call: &mut Call<'_>) -> Answer<Reply> {
    push(call, Side::Right, true)
}

/// Takes up to `n` elements from an end of a list, and tells.
///
/// # Errors
/// What the store met.
pub fn pop_from(call: &mut Call<'_>, of: &mut Collection<'_>, side: Side, n: u64) -> Answer<Vec<Reply>> {
    let taken = list::take(call.keys, of, side, n)?;
    if !taken.is_empty() {
        save_smaller(call, of, pop_event(side))?;
    }
    Ok(taken.into_iter().map(Reply::Value).collect())
}

fn pop(call: &mut Call<'_>, side: Side) -> Answer<Reply> {
    if call.args.len() > 3 {
        return Err(Fail::arity(call.command.name));
    }
    let count = call.args.get(2).map(|count| positive(count)).transpose()?;
    let Some(mut of) = call.keys.collection(call.db, call.args[1], Kind::List)? else {
        return Ok(if count.is_some() { Reply::NilArray } else { Reply::Nil });
    };
    let mut taken = pop_from(call, &mut of, side, count.unwrap_or(1))?;
    Ok(if count.is_some() { Reply::Array(taken) } else { taken.pop().unwrap_or(Reply::Nil) })
}

fn lpop(call: &mut Call<'_>) -> Answer<Reply> {
    pop(call, Side::Left)
}

fn rpop(call: &mut Call<'_>) -> Answer<Reply> {
    pop(call, Side::Right)
}

fn llen(call: &mut Call<'_>) -> Answer<Reply> {
    Ok(Reply::count(read(call, call.args[1], Kind::List)?.map_or(0, |of| of.head.count)))
}

fn lrange(call: &mut Call<'_>) -> Answer<Reply> {
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    let Some(of) = read(call, call.args[1], Kind::List)? else { return Ok(Reply::Array(Vec::new())) };
    let Some(range) = args::range(start, stop, of.head.count) else { return Ok(Reply::Array(Vec::new())) };
    let mut found = Bulks::default();
    list::range(call.keys, &of, range, |element| found.push(element))?;
    Ok(Reply::Bulks(found))
}

/// The index that an argument names in a list.
fn index_in(of: &Collection<'_>, index: i64) -> Option<u64> {
    u64::try_from(args::index(index, of.head.count)).ok().filter(|index| *index < of.head.count)
}

fn lindex(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(of) = read(call, call.args[1], Kind::List)? else { return Ok(Reply::Nil) };
    match index_in(&of, integer(call.args[2])?) {
        Some(index) => Ok(Reply::Value(list::get(call.keys, &of, index)?)),
        None => Ok(Reply::Nil),
    }
}

fn lset(call: &mut Call<'_>) -> Answer<Reply> {
    let key = call.args[1];
    let mut of = call.keys.collection(call.db, key, Kind::List)?.ok_or(Fail::NO_SUCH_KEY)?;
    let index = index_in(&of, integer(call.args[2])?).ok_or(Fail::OUT_OF_RANGE)?;
    list::set(call.keys, &mut of, index, call.args[3])?;
    call.keys.save(&of)?;
    call.event(Class::LIST, "lset", key);
    Ok(Reply::Ok)
}

fn linsert(call: &mut Call<'_>) -> Answer<Reply> {
    let key = call.args[1];
    let is_before = match call.args[2] {
        word if is(word, "before") => true,
        word if is(word, "after") => false,
        _ => return Err(Fail::SYNTAX),
    };
    let Some(mut of) = call.keys.collection(call.db, key, Kind::List)? else { return Ok(Reply::Int(0)) };
    if !list::insert(call.keys, &mut of, is_before, call.args[3], call.args[4])? {
        return Ok(Reply::Int(-1));
    }
    call.keys.save(&of)?;
    call.event(Class::LIST, "linsert", key);
    Ok(Reply::count(of.head.count))
}

fn lrem(call: &mut Call<'_>) -> Answer<Reply> {
    let count = integer(call.args[2])?;
    let Some(mut of) = call.keys.collection(call.db, call.args[1], Kind::List)? else {
        return Ok(Reply::Int(0));
    };
    let side = if count < 0 { Side::Right } else { Side::Left };
    let limit = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let removed = list::remove(call.keys, &mut of, side, limit, call.args[3])?;
    if removed > 0 {
        save_smaller(call, &of, "lrem")?;
    }
    Ok(Reply::count(removed))
}

fn ltrim(call: &mut Call<'_>) -> Answer<Reply> {
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    let Some(mut of) = call.keys.collection(call.db, call.args[1], Kind::List)? else { return Ok(Reply::Ok) };
    let count = of.head.count;
    match args::range(start, stop, count) {
        Some((start, stop)) => {
            list::cut(call.keys, &mut of, Side::Right, count - 1 - stop)?;
            list::cut(call.keys, &mut of, Side::Left, start)?;
        }
        None => list::cut(call.keys, &mut of, Side::Left, count)?,
    }
    save_smaller(call, &of, "ltrim")?;
    Ok(Reply::Ok)
}

fn lpos(call: &mut Call<'_>) -> Answer<Reply> {
    let (mut rank, mut count, mut looks_max) = (1, None, 0);
    let mut rest = &call.args[3..];
    while let [word, after @ ..] = rest {
        let [number, after @ ..] = after else { return Err(Fail::SYNTAX) };
        if is(word, "rank") {
            rank = opposable(number)?;
            if rank == 0 {
                return Err(Fail::of(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                     negative to start from the end of the list",
                ));
            }
        } else if is(word, "count") {
            count = Some(at_least(number, 0, "ERR COUNT can't be negative")?);
        } else if is(word, "maxlen") {
            looks_max = at_least(number, 0, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(Fail::SYNTAX);
        }
        rest = after;
    }
    let mut found = Vec::new();
    if let Some(of) = read(call, call.args[1], Kind::List)? {
        let side = if rank < 0 { Side::Right } else { Side::Left };
        let wanted = match count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        let mut skips = rank.unsigned_abs() - 1;
        let mut cursor = list::walk_from(call.keys, &of, side)?;
        let mut looked = 0;
        while (found.len() as u64) < wanted && (looks_max == 0 || looked < looks_max) && cursor.advance()? {
            looked += 1;
            if *cursor.entry()?.value != *call.args[2] {
                continue;
            }
            if skips > 0 {
                skips -= 1;
                continue;
            }
            found.push(Reply::count(if rank < 0 { of.head.count - looked } else { looked - 1 }));
        }
    }
    Ok(if count.is_some() { Reply::Array(found) } else { found.pop().unwrap_or(Reply::Nil) })
}

/// An end, as LMOVE and its like name it.
///
/// # Errors
/// [`Fail::SYNTAX`].
pub fn side(arg: &[u8]) -> Answer<Side> {
    if is(arg, "left") {
        Ok(Side::Left)
    } else if is(arg, "right") {
        Ok(Side::Right)
    } else {
        Err(Fail::SYNTAX)
    }
}

/// Moves the element at the end `from` of a list to the end `to` of the list at `target`.
///
/// # Errors
/// What the store met; [`Fail::WRONG_TYPE`].
pub fn move_to(
    call: &mut Call<'_>,
    mut source: Collection<'_>,
    target: &[u8],
    (from, to): (Side, Side),
) -> Answer<Reply> {
    // Its type is looked at before anything changes.
    let other = call.keys.collection(call.db, target, Kind::List)?;
    let taken = list::take(call.keys, &mut source, from, 1)?;
    let Some(element) = taken.into_iter().next() else { return Ok(Reply::Nil) };
    if source.key == target {
        list::push(call.keys, &mut source, to, &element)?;
        call.keys.save(&source)?;
        call.event(Class::LIST, push_event(to), target);
        call.event(Class::LIST, pop_event(from), target);
        return Ok(Reply::Value(element));
    }
    let mut other = match other {
        Some(other) => other,
        None => call.keys.new_collection(call.db, target, Kind::List),
    };
    list::push(call.keys, &mut other, to, &element)?;
    call.keys.save(&other)?;
    call.event(Class::LIST, push_event(to), target);
    save_smaller(call, &source, pop_event(from))?;
    Ok(Reply::Value(element))
}

fn move_now(call: &mut Call<'_>, sides: (Side, Side)) -> Answer<Reply> {
    match call.keys.collection(call.db, call.args[1], Kind::List)? {
        Some(source) => move_to(call, source, call.args[2], sides),
        None => Ok(Reply::Nil),
    }
}

fn lmove(call: &mut Call<'_>) -> Answer<Reply> {
    let sides = (side(call.args[3])?, side(call.args[4])?);
    move_now(call, sides)
}

fn rpoplpush(call: &mut Call<'_>) -> Answer<Reply> {
    move_now(call, (Side::Right, Side::Left))
}

/// The arguments of LMPOP from the number of keys on: keys, end, count.
///
/// # Errors
/// What Redis says.
pub fn several<'c>(args: &'c [&'c [u8]]) -> Answer<(&'c [&'c [u8]], Side, u64)> {
    let [keys, rest @ ..] = args else { return Err(Fail::SYNTAX) };
    let keys = at_least(keys, 1, "ERR numkeys should be greater than 0")?;
    let keys = usize::try_from(keys).ok().filter(|keys| *keys < rest.len()).ok_or(Fail::SYNTAX)?;
    let (keys, rest) = rest.split_at(keys);
    let [end, rest @ ..] = rest else { return Err(Fail::SYNTAX) };
    let side = side(end)?;
    let count = match rest {
        [] => 1,
        [word, count] if is(word, "count") => at_least(count, 1, "ERR count should be greater than 0")?,
        _ => return Err(Fail::SYNTAX),
    };
    Ok((keys, side, count))
}

/// Takes elements from the first of the lists that is there; `None` if none is.
///
/// # Errors
/// What the store met; [`Fail::WRONG_TYPE`].
pub fn pop_first_of(call: &mut Call<'_>, keys: &[&[u8]], side: Side, count: u64) -> Answer<Option<Reply>> {
    for key in call.candidates(keys) {
        if let Some(mut of) = call.keys.collection(call.db, key, Kind::List)? {
            let taken = pop_from(call, &mut of, side, count)?;
            return Ok(Some(Reply::Array(vec![Reply::bulk(key), Reply::Array(taken)])));
        }
    }
    Ok(None)
}

fn lmpop(call: &mut Call<'_>) -> Answer<Reply> {
    let (keys, side, count) = several(&call.args[1..])?;
    Ok(pop_first_of(call, keys, side, count)?.unwrap_or(Reply::NilArray))
}

#[cfg(test)]
mod tests;
