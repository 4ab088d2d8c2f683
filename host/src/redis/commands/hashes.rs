//! Commands of hashes.

use super::args::{integer, is, parse_integer};
use super::collections::{Picks, opposable, picks, read, takes_pairs};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::long_double::LongDouble;
use crate::redis::resp::reply::push_integer;
use crate::redis::store::effects::Class;
use crate::redis::store::keyspace::part_of;
use crate::redis::types::elements::{self, check_name, walk};
use crate::redis::types::hash;
use nokv_core::formats::redis::Kind;

const GROUP: &str = "hash";

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "hdel",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        handler: hdel,
        group: GROUP,
        since: "2.0.0",
        summary: "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.",
        usage: "key field [field ...]",
        ..Command::NEW
    },
    Command {
        name: "hexists",
        arity: 3,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: hexists,
        group: GROUP,
        since: "2.0.0",
        summary: "Determines whether a field exists in a hash.",
        usage: "key field",
        ..Command::NEW
    },
    Command {
        name: "hget",
        arity: 3,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: hget,
        group: GROUP,
        since: "2.0.0",
        summary: "Returns the value of a field in a hash.",
        usage: "key field",
        ..Command::NEW
    },
    Command {
        name: "hgetall",
        arity: 2,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: hgetall,
        group: GROUP,
        since: "2.0.0",
        summary: "Returns all fields and values in a hash.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "hincrby",
        arity: 4,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: hincrby,
        group: GROUP,
        since: "2.0.0",
        summary: "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist.",
        usage: "key field increment",
        ..Command::NEW
    },
    Command {
        name: "hincrbyfloat",
        arity: 4,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: hincrbyfloat,
        group: GROUP,
        since: "2.6.0",
        summary: "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist.",
        usage: "key field increment",
        ..Command::NEW
    },
    Command {
        name: "hkeys",
        arity: 2,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: hkeys,
        group: GROUP,
        since: "2.0.0",
        summary: "Returns all fields in a hash.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "hlen",
        arity: 2,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: hlen,
        group: GROUP,
        since: "2.0.0",
        summary: "Returns the number of fields in a hash.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "hmget",
        arity: -3,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: hmget,
        group: GROUP,
        since: "2.0.0",
        summary: "Returns the values of all fields in a hash.",
        usage: "key field [field ...]",
        ..Command::NEW
    },
    Command {
        name: "hmset",
        arity: -4,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: hmset,
        group: GROUP,
        since: "2.0.0",
        summary: "Sets the values of multiple fields.",
        usage: "key field value [field value ...]",
        ..Command::NEW
    },
    Command {
        name: "hrandfield",
        arity: -2,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: hrandfield,
        group: GROUP,
        since: "6.2.0",
        summary: "Returns one or more random fields from a hash.",
        usage: "key [count [WITHVALUES]]",
        ..Command::NEW
    },
    Command {
        name: "hscan",
        arity: -3,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: hscan,
        group: GROUP,
        since: "2.8.0",
        summary: "Iterates over fields and values of a hash.",
        usage: "key cursor [MATCH pattern] [COUNT count]",
        ..Command::NEW
    },
    Command {
        name: "hset",
        arity: -4,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: hset,
        group: GROUP,
        since: "2.0.0",
        summary: "Creates or modifies the value of a field in a hash.",
        usage: "key field value [field value ...]",
        ..Command::NEW
    },
    Command {
        name: "hsetnx",
        arity: 4,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: hsetnx,
        group: GROUP,
        since: "2.0.0",
        summary: "Sets the value of a field in a hash only when the field doesn't exist.",
        usage: "key field value",
        ..Command::NEW
    },
    Command {
        name: "hstrlen",
        arity: 3,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: hstrlen,
        group: GROUP,
        since: "3.2.0",
        summary: "Returns the length of the value of a field.",
        usage: "key field",
        ..Command::NEW
    },
    Command {
        name: "hvals",
        arity: 2,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: hvals,
        group: GROUP,
        since: "2.0.0",
        summary: "Returns all values in a hash.",
        usage: "key",
        ..Command::NEW
    },
];

/// Pairs of fields and values behind the key.
fn pairs<'c>(call: &Call<'c>) -> Answer<&'c [&'c [u8]]> {
    let pairs = &call.args[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(Fail::arity(call.command.name));
    }
    pairs.iter().step_by(2).try_for_each(|field| check_name(field))?;
    Ok(pairs)
}

fn set_all(call: &mut Call<'_>) -> Answer<i64> {
    let pairs = pairs(call)?;
    let mut of = call.keys.collection_or_new(call.db, call.args[1], Kind::Hash)?;
    let mut added = 0;
    for pair in pairs.chunks_exact(2) {
        added += i64::from(hash::set(call.keys, &mut of, pair[0], pair[1].to_vec())?);
    }
    call.keys.save(&of)?;
    call.event(Class::HASH, "hset", call.args[1]);
    Ok(added)
}

fn hset(call: &mut Call<'_>) -> Answer<Reply> {
    set_all(call).map(Reply::Int)
}

fn hmset(call: &mut Call<'_>) -> Answer<Reply> {
    set_all(call).map(|_| Reply::Ok)
}

fn hsetnx(call: &mut Call<'_>) -> Answer<Reply> {
    let (key, field) = (call.args[1], call.args[2]);
    check_name(field)?;
    if let Some(of) = call.keys.collection(call.db, key, Kind::Hash)?
        && hash::get(call.keys, &of, field)?.is_some()
    {
        return Ok(Reply::Int(0));
    }
    set_field(call, field, call.args[3].to_vec(), "hset")?;
    Ok(Reply::Int(1))
}

fn set_field(call: &mut Call<'_>, field: &[u8], value: Vec<u8>, event: &'static str) -> Answer<()> {
    let key = call.args[1];
    let mut of = call.keys.collection_or_new(call.db, key, Kind::Hash)?;
    hash::set(call.keys, &mut of, field, value)?;
    call.keys.save(&of)?;
    call.event(Class::HASH, event, key);
    Ok(())
}

fn hget(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(of) = read(call, call.args[1], Kind::Hash)? else { return Ok(Reply::Nil) };
    Ok(Reply::value_or_nil(hash::get(call.keys, &of, call.args[2])?))
}

fn hmget(call: &mut Call<'_>) -> Answer<Reply> {
    let of = read(call, call.args[1], Kind::Hash)?;
    let mut values = Vec::with_capacity(call.args.len() - 2);
    for field in &call.args[2..] {
        values.push(match &of {
            Some(of) => Reply::value_or_nil(hash::get(call.keys, of, field)?),
            None => Reply::Nil,
        });
    }
    Ok(Reply::Array(values))
}

fn hexists(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(of) = read(call, call.args[1], Kind::Hash)? else { return Ok(Reply::Int(0)) };
    Ok(Reply::flag(hash::get(call.keys, &of, call.args[2])?.is_some()))
}

fn hstrlen(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(of) = read(call, call.args[1], Kind::Hash)? else { return Ok(Reply::Int(0)) };
    Ok(Reply::count(hash::get(call.keys, &of, call.args[2])?.map_or(0, |value| value.len())))
}

fn hlen(call: &mut Call<'_>) -> Answer<Reply> {
    Ok(Reply::count(read(call, call.args[1], Kind::Hash)?.map_or(0, |of| of.head.count)))
}

fn hdel(call: &mut Call<'_>) -> Answer<Reply> {
    let key = call.args[1];
    call.args[2..].iter().try_for_each(|field| check_name(field))?;
    let Some(mut of) = call.keys.collection(call.db, key, Kind::Hash)? else { return Ok(Reply::Int(0)) };
    let mut removed = 0;
    for field in &call.args[2..] {
        removed += i64::from(hash::remove(call.keys, &mut of, field)?);
    }
    if removed > 0 {
        call.keys.save(&of)?;
        call.event(Class::HASH, "hdel", key);
        if of.head.count == 0 {
            call.event(Class::GENERIC, "del", key);
        }
    }
    Ok(Reply::Int(removed))
}

/// Gives each field and value to `each`.
fn for_all(call: &mut Call<'_>, mut each: impl FnMut(Reply, Option<Reply>), with_values: bool) -> Answer<()> {
    let Some(of) = read(call, call.args[1], Kind::Hash)? else { return Ok(()) };
    let mut cursor = walk(call.keys, &of, &[])?;
    while cursor.advance()? {
        let value = if with_values { Some(Reply::Value(cursor.entry()?.value)) } else { None };
        each(Reply::bulk(part_of(cursor.key())), value);
    }
    Ok(())
}

fn hgetall(call: &mut Call<'_>) -> Answer<Reply> {
    let mut pairs = Vec::new();
    for_all(call, |field, value| pairs.extend(value.map(|value| (field, value))), true)?;
    Ok(Reply::Map(pairs))
}

fn hkeys(call: &mut Call<'_>) -> Answer<Reply> {
    let mut fields = Vec::new();
    for_all(call, |field, _| fields.push(field), false)?;
    Ok(Reply::Array(fields))
}

fn hvals(call: &mut Call<'_>) -> Answer<Reply> {
    let mut values = Vec::new();
    for_all(call, |_, value| values.extend(value), true)?;
    Ok(Reply::Array(values))
}

/// The value of the field that a command is to change.
fn old_value(call: &mut Call<'_>) -> Answer<Option<nokv_core::read::point::Value>> {
    check_name(call.args[2])?;
    match call.keys.collection(call.db, call.args[1], Kind::Hash)? {
        Some(of) => hash::get(call.keys, &of, call.args[2]),
        None => Ok(None),
    }
}

fn hincrby(call: &mut Call<'_>) -> Answer<Reply> {
    let by = integer(call.args[3])?;
    let old = match old_value(call)? {
        Some(value) => parse_integer(&value).ok_or(Fail::of("ERR hash value is not an integer"))?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(Fail::of("ERR increment or decrement would overflow"))?;
    let mut text = Vec::with_capacity(20);
    push_integer(&mut text, new);
    set_field(call, call.args[2], text, "hincrby")?;
    Ok(Reply::Int(new))
}

fn hincrbyfloat(call: &mut Call<'_>) -> Answer<Reply> {
    let by = LongDouble::parse(call.args[3]).ok_or(Fail::NOT_A_FLOAT)?;
    // Only what is infinite has no sum with 0.
    if LongDouble::ZERO.plus(&by).is_none() {
        return Err(Fail::of("ERR value is NaN or Infinity"));
    }
    let old = match old_value(call)? {
        Some(value) => LongDouble::parse(&value).ok_or(Fail::of("ERR hash value is not a float"))?,
        None => LongDouble::ZERO,
    };
    let new = old.plus(&by).ok_or(Fail::of("ERR increment would produce NaN or Infinity"))?;
    let text = new.to_text().into_bytes();
    set_field(call, call.args[2], text.clone(), "hincrbyfloat")?;
    Ok(Reply::Bulk(text))
}

fn hrandfield(call: &mut Call<'_>) -> Answer<Reply> {
    let key = call.args[1];
    let Some(count) = call.args.get(2) else {
        let Some(of) = read(call, key, Kind::Hash)? else { return Ok(Reply::Nil) };
        let picked = elements::pick_distinct(call.keys, &of, 1)?.pop();
        return Ok(Reply::bulk_or_nil(picked.map(|(field, _)| field)));
    };
    let count = opposable(count)?;
    let with_values = match call.args.get(3) {
        None => false,
        Some(word) if call.args.len() == 4 && is(word, "withvalues") => true,
        Some(_) => return Err(Fail::SYNTAX),
    };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Fail::of("ERR value is out of range"));
    }
    let picks = picks(count)?;
    let Some(of) = read(call, key, Kind::Hash)? else { return Ok(Reply::Array(Vec::new())) };
    let picked = match picks {
        Picks::Distinct(count) => elements::pick_distinct(call.keys, &of, count)?,
        Picks::Any(count) => elements::pick_any(call.keys, &of, count)?,
    };
    let in_pairs = takes_pairs(call);
    let mut replies = Vec::with_capacity(picked.len());
    for (field, value) in picked {
        match (with_values, in_pairs) {
            (false, _) => replies.push(Reply::Bulk(field)),
            (true, false) => replies.extend([Reply::Bulk(field), Reply::Value(value)]),
            (true, true) => replies.push(Reply::Array(vec![Reply::Bulk(field), Reply::Value(value)])),
        }
    }
    Ok(Reply::Array(replies))
}

fn hscan(call: &mut Call<'_>) -> Answer<Reply> {
    super::scans::scan(call, Kind::Hash)
}

#[cfg(test)]
mod tests;
