//! Commands of sets.

use super::args::is;
use super::collections::{Picks, at_least, opposable, picks, positive, read};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::backend::Table;
use crate::redis::store::effects::Class;
use crate::redis::store::keyspace::{Collection, part_of};
use crate::redis::types::elements::{self, check_name, walk};
use crate::redis::types::set::{self, Combine};
use nokv_core::formats::redis::Kind;

const GROUP: &str = "set";

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: sadd,
        group: GROUP,
        summary: "Adds one or more members to a set. Creates the key if it doesn't exist.",
        usage: "key member [member ...]",
        ..Command::NEW
    },
    Command {
        name: "scard",
        arity: 2,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: scard,
        group: GROUP,
        summary: "Returns the number of members in a set.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "sdiff",
        arity: -2,
        flags: Flags::READ,
        keys: Keys::ALL,
        handler: sdiff,
        group: GROUP,
        summary: "Returns the difference of multiple sets.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "sdiffstore",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::ALL,
        handler: sdiffstore,
        group: GROUP,
        summary: "Stores the difference of multiple sets in a key.",
        usage: "destination key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "sinter",
        arity: -2,
        flags: Flags::READ,
        keys: Keys::ALL,
        handler: sinter,
        group: GROUP,
        summary: "Returns the intersect of multiple sets.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "sintercard",
        arity: -3,
        flags: Flags::READ.and(Flags::MOVABLE_KEYS),
        keys: Keys::Counted { before: 0, count: 1 },
        handler: sintercard,
        group: GROUP,
        since: "7.0.0",
        summary: "Returns the number of members of the intersect of multiple sets.",
        usage: "numkeys key [key ...] [LIMIT limit]",
        ..Command::NEW
    },
    Command {
        name: "sinterstore",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::ALL,
        handler: sinterstore,
        group: GROUP,
        summary: "Stores the intersect of multiple sets in a key.",
        usage: "destination key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "sismember",
        arity: 3,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: sismember,
        group: GROUP,
        summary: "Determines whether a member belongs to a set.",
        usage: "key member",
        ..Command::NEW
    },
    Command {
        name: "smembers",
        arity: 2,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: smembers,
        group: GROUP,
        summary: "Returns all members of a set.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "smismember",
        arity: -3,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: smismember,
        group: GROUP,
        since: "6.2.0",
        summary: "Determines whether multiple members belong to a set.",
        usage: "key member [member ...]",
        ..Command::NEW
    },
    Command {
        name: "smove",
        arity: 4,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::TWO,
        handler: smove,
        group: GROUP,
        summary: "Moves a member from one set to another.",
        usage: "source destination member",
        ..Command::NEW
    },
    Command {
        name: "spop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        handler: spop,
        group: GROUP,
        summary: "Returns one or more random members from a set after removing them. Deletes the set if the last member was popped.",
        usage: "key [count]",
        ..Command::NEW
    },
    Command {
        name: "srandmember",
        arity: -2,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: srandmember,
        group: GROUP,
        summary: "Get one or multiple random members from a set",
        usage: "key [count]",
        ..Command::NEW
    },
    Command {
        name: "srem",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        handler: srem,
        group: GROUP,
        summary: "Removes one or more members from a set. Deletes the set if the last member was removed.",
        usage: "key member [member ...]",
        ..Command::NEW
    },
    Command {
        name: "sscan",
        arity: -3,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: sscan,
        group: GROUP,
        since: "2.8.0",
        summary: "Iterates over members of a set.",
        usage: "key cursor [MATCH pattern] [COUNT count]",
        ..Command::NEW
    },
    Command {
        name: "sunion",
        arity: -2,
        flags: Flags::READ,
        keys: Keys::ALL,
        handler: sunion,
        group: GROUP,
        summary: "Returns the union of multiple sets.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "sunionstore",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::ALL,
        handler: sunionstore,
        group: GROUP,
        summary: "Stores the union of multiple sets in a key.",
        usage: "destination key [key ...]",
        ..Command::NEW
    },
];

fn sadd(call: &mut Call<'_>) -> Answer<Reply> {
    let key = call.args[1];
    call.args[2..].iter().try_for_each(|member| check_name(member))?;
    let mut of = call.keys.collection_or_new(call.db, key, Kind::Set)?;
    let mut added = 0;
    for member in &call.args[2..] {
        added += i64::from(set::add(call.keys, &mut of, member)?);
    }
    if added > 0 {
        call.keys.save(&of)?;
        call.event(Class::SET, "sadd", key);
    }
    Ok(Reply::Int(added))
}

/// Saves a set that lost members, with its events.
fn save_smaller(call: &mut Call<'_>, of: &Collection<'_>, event: &'static str) -> Answer<()> {
    call.keys.save(of)?;
    call.event(Class::SET, event, of.key);
    if of.head.count == 0 {
        call.event(Class::GENERIC, "del", of.key);
    }
    Ok(())
}

fn srem(call: &mut Call<'_>) -> Answer<Reply> {
    call.args[2..].iter().try_for_each(|member| check_name(member))?;
    let Some(mut of) = call.keys.collection(call.db, call.args[1], Kind::Set)? else {
        return Ok(Reply::Int(0));
    };
    let mut removed = 0;
    for member in &call.args[2..] {
        removed += i64::from(set::remove(call.keys, &mut of, member)?);
    }
    if removed > 0 {
        save_smaller(call, &of, "srem")?;
    }
    Ok(Reply::Int(removed))
}

fn smove(call: &mut Call<'_>) -> Answer<Reply> {
    let (from, to, member) = (call.args[1], call.args[2], call.args[3]);
    check_name(member)?;
    let Some(mut source) = call.keys.collection(call.db, from, Kind::Set)? else { return Ok(Reply::Int(0)) };
    // Its type is looked at before anything else.
    call.keys.collection(call.db, to, Kind::Set)?;
    if from == to {
        return Ok(Reply::flag(set::has(call.keys, &source, member)?));
    }
    if !set::remove(call.keys, &mut source, member)? {
        return Ok(Reply::Int(0));
    }
    save_smaller(call, &source, "srem")?;
    let mut target = call.keys.collection_or_new(call.db, to, Kind::Set)?;
    if set::add(call.keys, &mut target, member)? {
        call.keys.save(&target)?;
        call.event(Class::SET, "sadd", to);
    }
    Ok(Reply::Int(1))
}

fn scard(call: &mut Call<'_>) -> Answer<Reply> {
    Ok(Reply::count(read(call, call.args[1], Kind::Set)?.map_or(0, |of| of.head.count)))
}

fn sismember(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(of) = read(call, call.args[1], Kind::Set)? else { return Ok(Reply::Int(0)) };
    Ok(Reply::flag(set::has(call.keys, &of, call.args[2])?))
}

fn smismember(call: &mut Call<'_>) -> Answer<Reply> {
    let of = read(call, call.args[1], Kind::Set)?;
    let mut replies = Vec::with_capacity(call.args.len() - 2);
    for member in &call.args[2..] {
        replies.push(Reply::flag(match &of {
            Some(of) => set::has(call.keys, of, member)?,
            None => false,
        }));
    }
    Ok(Reply::Array(replies))
}

fn smembers(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(of) = read(call, call.args[1], Kind::Set)? else { return Ok(Reply::Set(Vec::new())) };
    let mut members = Vec::new();
    let mut cursor = walk(call.keys, &of, &[])?;
    while cursor.advance()? {
        members.push(Reply::bulk(part_of(cursor.key())));
    }
    Ok(Reply::Set(members))
}

fn bulks(picked: Vec<(Vec<u8>, nokv_core::read::point::Value)>) -> Vec<Reply> {
    picked.into_iter().map(|(member, _)| Reply::Bulk(member)).collect()
}

fn srandmember(call: &mut Call<'_>) -> Answer<Reply> {
    let key = call.args[1];
    let picks = match call.args.get(2) {
        None => {
            let Some(of) = read(call, key, Kind::Set)? else { return Ok(Reply::Nil) };
            let picked = elements::pick_distinct(call.keys, &of, 1)?.pop();
            return Ok(Reply::bulk_or_nil(picked.map(|(member, _)| member)));
        }
        Some(count) if call.args.len() == 3 => picks(opposable(count)?)?,
        Some(_) => return Err(Fail::SYNTAX),
    };
    let Some(of) = read(call, key, Kind::Set)? else { return Ok(Reply::Array(Vec::new())) };
    Ok(Reply::Array(bulks(match picks {
        Picks::Distinct(count) => elements::pick_distinct(call.keys, &of, count)?,
        Picks::Any(count) => elements::pick_any(call.keys, &of, count)?,
    })))
}

fn spop(call: &mut Call<'_>) -> Answer<Reply> {
    let key = call.args[1];
    let count = match call.args.get(2) {
        None => None,
        Some(count) if call.args.len() == 3 => Some(positive(count)?),
        Some(_) => return Err(Fail::SYNTAX),
    };
    let nothing = if count.is_some() { Reply::Set(Vec::new()) } else { Reply::Nil };
    let Some(mut of) = call.keys.collection(call.db, key, Kind::Set)? else { return Ok(nothing) };
    if count == Some(0) {
        return Ok(nothing);
    }
    let picked = elements::pick_distinct(call.keys, &of, count.unwrap_or(1))?;
    of.head.count = of.head.count.saturating_sub(picked.len() as u64);
    // A set that is empty goes with all its elements when it is saved.
    if of.head.count > 0 {
        for (member, _) in &picked {
            call.keys.delete_entry(Table::Elements, &of.element(member));
        }
    }
    save_smaller(call, &of, "spop")?;
    let mut members = bulks(picked);
    Ok(if count.is_some() { Reply::Set(members) } else { members.pop().unwrap_or(Reply::Nil) })
}

/// The sets of some keys, `None` where there is none.
fn sets<'k>(call: &mut Call<'_>, keys: &'k [&'k [u8]]) -> Answer<Vec<Option<Collection<'k>>>> {
    keys.iter().map(|key| read(call, key, Kind::Set)).collect()
}

fn combined(call: &mut Call<'_>, how: Combine) -> Answer<Reply> {
    let sets = sets(call, &call.args[1..])?;
    let mut members = Vec::new();
    set::combine(call.keys, how, &sets, |_, member| {
        members.push(Reply::bulk(member));
        Ok(true)
    })?;
    Ok(Reply::Set(members))
}

fn sinter(call: &mut Call<'_>) -> Answer<Reply> {
    combined(call, Combine::Inter)
}

fn sunion(call: &mut Call<'_>) -> Answer<Reply> {
    combined(call, Combine::Union)
}

fn sdiff(call: &mut Call<'_>) -> Answer<Reply> {
    combined(call, Combine::Diff)
}

fn stored(call: &mut Call<'_>, how: Combine, event: &'static str) -> Answer<Reply> {
    let key = call.args[1];
    let sets = sets(call, &call.args[2..])?;
    let was_there = call.keys.find(call.db, key)?.is_some();
    let count = set::store(call.keys, how, &sets, (call.db, key))?;
    if count > 0 {
        call.event(Class::SET, event, key);
    } else if was_there {
        call.event(Class::GENERIC, "del", key);
    }
    Ok(Reply::count(count))
}

fn sinterstore(call: &mut Call<'_>) -> Answer<Reply> {
    stored(call, Combine::Inter, "sinterstore")
}

fn sunionstore(call: &mut Call<'_>) -> Answer<Reply> {
    stored(call, Combine::Union, "sunionstore")
}

fn sdiffstore(call: &mut Call<'_>) -> Answer<Reply> {
    stored(call, Combine::Diff, "sdiffstore")
}

fn sintercard(call: &mut Call<'_>) -> Answer<Reply> {
    let keys = at_least(call.args[1], 1, "ERR numkeys should be greater than 0")?;
    let keys = usize::try_from(keys)
        .ok()
        .filter(|keys| *keys <= call.args.len() - 2)
        .ok_or(Fail::of("ERR Number of keys can't be greater than number of args"))?;
    let mut limit = 0;
    let (keys, mut rest) = call.args[2..].split_at(keys);
    while let [word, after @ ..] = rest {
        let [number, after @ ..] = after else { return Err(Fail::SYNTAX) };
        if !is(word, "limit") {
            return Err(Fail::SYNTAX);
        }
        limit = at_least(number, 0, "ERR LIMIT can't be negative")?;
        rest = after;
    }
    let sets = sets(call, keys)?;
    let mut count = 0;
    set::combine(call.keys, Combine::Inter, &sets, |_, _| {
        count += 1;
        Ok(count != limit)
    })?;
    Ok(Reply::count(count))
}

fn sscan(call: &mut Call<'_>) -> Answer<Reply> {
    super::scans::scan(call, Kind::Set)
}

#[cfg(test)]
mod tests;
