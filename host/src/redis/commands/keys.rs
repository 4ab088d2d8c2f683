//! Commands of keys, whatever they hold.

use super::args::{integer, is};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::effects::Class;
use nokv_core::formats::redis::Kind;

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: Keys::ALL,
        handler: del,
        summary: "Deletes one or more keys.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "exists",
        arity: -2,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ALL,
        handler: exists,
        summary: "Determines whether one or more keys exist.",
        usage: "key [key ...]",
        ..Command::NEW
    },
    Command {
        name: "type",
        arity: 2,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: kind,
        summary: "Determines the type of value stored at a key.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "ttl",
        arity: 2,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: ttl,
        summary: "Returns the expiration time in seconds of a key.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "pexpireat",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::ONE,
        handler: pexpireat,
        since: "2.6.0",
        summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        usage: "key unix-time-milliseconds [NX | XX | GT | LT]",
        ..Command::NEW
    },
    Command {
        name: "dbsize",
        arity: 1,
        flags: Flags::READ.and(Flags::FAST),
        handler: dbsize,
        group: "server",
        summary: "Returns the number of keys in the database.",
        ..Command::NEW
    },
    Command {
        name: "flushall",
        flags: Flags::WRITE,
        handler: flushall,
        group: "server",
        summary: "Removes all keys from all databases.",
        usage: "[ASYNC | SYNC]",
        ..Command::NEW
    },
];

fn del(call: &mut Call<'_>) -> Answer<Reply> {
    let mut removed = 0;
    for key in &call.args[1..] {
        let slot = call.keys.slot(call.db, key)?;
        if call.keys.remove(&slot)? {
            removed += 1;
            call.event(Class::GENERIC, "del", key);
        }
    }
    Ok(Reply::Int(removed))
}

fn exists(call: &mut Call<'_>) -> Answer<Reply> {
    let mut found = 0;
    for key in &call.args[1..] {
        found += i64::from(call.read(key)?.is_some());
    }
    Ok(Reply::Int(found))
}

/// The name of a type.
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::SortedSet => "zset",
        Kind::Hash => "hash",
    }
}

fn kind(call: &mut Call<'_>) -> Answer<Reply> {
    let found = call.read(call.args[1])?;
    Ok(Reply::Status(found.map_or("none", |found| kind_name(found.kind)).into()))
}

fn ttl(call: &mut Call<'_>) -> Answer<Reply> {
    let Some(found) = call.read(call.args[1])? else { return Ok(Reply::Int(-2)) };
    if found.expires_at == 0 {
        return Ok(Reply::Int(-1));
    }
    Ok(Reply::count((found.expires_at - call.keys.now() + 500) / 1000))
}

fn pexpireat(call: &mut Call<'_>) -> Answer<Reply> {
    let at = integer(call.args[2])?;
    if call.args.len() > 3 && !is(call.args[3], "nx") {
        return Err(Fail::SYNTAX);
    }
    let slot = call.keys.slot(call.db, call.args[1])?;
    if slot.found.is_none() {
        return Ok(Reply::Int(0));
    }
    if at <= call.keys.now() as i64 {
        call.keys.remove(&slot)?;
        call.event(Class::GENERIC, "del", call.args[1]);
    } else {
        call.keys.set_expiry(slot, at as u64)?;
        call.event(Class::GENERIC, "expire", call.args[1]);
    }
    Ok(Reply::Int(1))
}

fn dbsize(call: &mut Call<'_>) -> Answer<Reply> {
    let space = call.keys.space(call.db);
    let pending = call.keys.effects().counts[usize::from(space)];
    let is_zeroed = call.keys.effects().counts.zeroed[usize::from(space)];
    let known = if is_zeroed { 0 } else { call.keys.counts().of(space)? as i64 };
    Ok(Reply::Int(known + pending))
}

fn flushall(call: &mut Call<'_>) -> Answer<Reply> {
    call.keys.flush_all();
    Ok(Reply::Ok)
}
