//! Commands of strings: whole values and parts of them.

use super::args::{STRING_BYTES_MAX, check_name, integer, is};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::effects::Class;
use crate::redis::store::keyspace::Slot;
use nokv_core::formats::redis::Kind;
use nokv_core::read::point::Value;

const READ_FAST: Flags = Flags::READ.and(Flags::FAST);
const GROWS: Flags = Flags::WRITE.and(Flags::GROWS);
const GROWS_FAST: Flags = GROWS.and(Flags::FAST);
const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

/// A command of one string.
const STRING: Command = Command { keys: Keys::ONE, group: "string", ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: 2,
        flags: READ_FAST,
        handler: get,
        summary: "Returns the string value of a key.",
        usage: "key",
        ..STRING
    },
    Command {
        name: "set",
        arity: -3,
        flags: GROWS,
        handler: set,
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        usage: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
                unix-time-milliseconds | KEEPTTL]",
        ..STRING
    },
    Command {
        name: "setnx",
        arity: 3,
        flags: GROWS_FAST,
        handler: setnx,
        summary: "Set the string value of a key only when the key doesn't exist.",
        usage: "key value",
        ..STRING
    },
    Command {
        name: "setex",
        arity: 4,
        flags: GROWS,
        handler: setex,
        since: "2.0.0",
        summary: "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
        usage: "key seconds value",
        ..STRING
    },
    Command {
        name: "psetex",
        arity: 4,
        flags: GROWS,
        handler: psetex,
        since: "2.6.0",
        summary: "Sets both string value and expiration time in milliseconds of a key. The key is created if it \
                  doesn't exist.",
        usage: "key milliseconds value",
        ..STRING
    },
    Command {
        name: "getset",
        arity: 3,
        flags: GROWS_FAST,
        handler: getset,
        summary: "Returns the previous string value of a key after setting it to a new value.",
        usage: "key value",
        ..STRING
    },
    Command {
        name: "getdel",
        arity: 2,
        flags: Flags::WRITE.and(Flags::FAST),
        handler: getdel,
        since: "6.2.0",
        summary: "Returns the string value of a key after deleting the key.",
        usage: "key",
        ..STRING
    },
    Command {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        handler: getex,
        since: "6.2.0",
        summary: "Returns the string value of a key after setting its expiration time.",
        usage: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        ..STRING
    },
    Command {
        name: "mget",
        arity: -2,
        flags: READ_FAST,
        keys: Keys::ALL,
        handler: mget,
        summary: "Atomically returns the string values of one or more keys.",
        usage: "key [key ...]",
        ..STRING
    },
    Command {
        name: "mset",
        arity: -3,
        flags: GROWS,
        keys: PAIRS,
        handler: mset,
        since: "1.0.1",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        usage: "key value [key value ...]",
        ..STRING
    },
    Command {
        name: "msetnx",
        arity: -3,
        flags: GROWS,
        keys: PAIRS,
        handler: msetnx,
        since: "1.0.1",
        summary: "Atomically modifies the string values of one or more keys only when all keys don't exist.",
        usage: "key value [key value ...]",
        ..STRING
    },
    Command {
        name: "append",
        arity: 3,
        flags: GROWS_FAST,
        handler: append,
        since: "2.0.0",
        summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        usage: "key value",
        ..STRING
    },
    Command {
        name: "strlen",
        arity: 2,
        flags: READ_FAST,
        handler: strlen,
        since: "2.2.0",
        summary: "Returns the length of a string value.",
        usage: "key",
        ..STRING
    },
    Command {
        name: "getrange",
        arity: 4,
        flags: Flags::READ,
        handler: getrange,
        since: "2.4.0",
        summary: "Returns a substring of the string stored at a key.",
        usage: "key start end",
        ..STRING
    },
    Command {
        name: "substr",
        arity: 4,
        flags: Flags::READ,
        handler: getrange,
        summary: "Returns a substring from a string value.",
        usage: "key start end",
        ..STRING
    },
    Command {
        name: "setrange",
        arity: 4,
        flags: GROWS,
        handler: setrange,
        since: "2.2.0",
        summary: "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
        usage: "key offset value",
        ..STRING
    },
];

fn get(call: &mut Call<'_>) -> Answer<Reply> {
    call.read_string(call.args[1]).map(Reply::value_or_nil)
}

/// A time to live as SET and its like take it, as Unix milliseconds.
///
/// # Errors
/// What Redis says.
pub fn expiry(arg: &[u8], unit_ms: i64, is_relative: bool, now: u64, command: &str) -> Answer<u64> {
    let wrong = || Fail::text(format!("ERR invalid expire time in '{command}' command"));
    let given = integer(arg)?;
    let base = if is_relative { now as i64 } else { 0 };
    let at = given.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base)).filter(|_| given > 0);
    at.and_then(|at| u64::try_from(at).ok()).ok_or_else(wrong)
}

/// Options of SET and GETEX.
#[derive(Default)]
struct Options<'a> {
    nx: bool,
    xx: bool,
    get: bool,
    keep: bool,
    persist: bool,
    /// Time, milliseconds of its unit, whether it counts from now on.
    expiry: Option<(&'a [u8], i64, bool)>,
}

impl<'a> Options<'a> {
    fn parse(mut rest: &[&'a [u8]], is_set: bool) -> Answer<Self> {
        let mut of = Self::default();
        while let [word, after @ ..] = rest {
            rest = after;
            let units = [("ex", 1000, true), ("px", 1, true), ("exat", 1000, false), ("pxat", 1, false)];
            if let Some((_, unit, is_relative)) = units.iter().find(|(name, ..)| is(word, name)) {
                let [time, after @ ..] = rest else { return Err(Fail::SYNTAX) };
                if of.expiry.is_some() {
                    return Err(Fail::SYNTAX);
                }
                of.expiry = Some((time, *unit, *is_relative));
                rest = after;
            } else if is_set && is(word, "nx") {
                of.nx = true;
            } else if is_set && is(word, "xx") {
                of.xx = true;
            } else if is_set && is(word, "get") {
                of.get = true;
            } else if is_set && is(word, "keepttl") {
                of.keep = true;
            } else if !is_set && is(word, "persist") {
                of.persist = true;
            } else {
                return Err(Fail::SYNTAX);
            }
        }
        if (of.nx && of.xx) || ((of.keep || of.persist) && of.expiry.is_some()) {
            return Err(Fail::SYNTAX);
        }
        Ok(of)
    }
}

fn set(call: &mut Call<'_>) -> Answer<Reply> {
    let (key, value) = (call.args[1], call.args[2]);
    let options = Options::parse(&call.args[3..], true)?;
    let now = call.keys.now();
    let at =
        options.expiry.map(|(time, unit, relative)| expiry(time, unit, relative, now, "set")).transpose()?;
    let slot = call.keys.slot(call.db, key)?;
    let mut old = Reply::Nil;
    if options.get {
        call.note_read(key, slot.found.is_some());
        old = string_reply(&slot)?;
    }
    if (options.nx && slot.found.is_some()) || (options.xx && slot.found.is_none()) {
        return Ok(old);
    }
    let kept = if options.keep { slot.expires_at() } else { 0 };
    store(call, slot, value, at.unwrap_or(kept), at.is_some())?;
    Ok(if options.get { old } else { Reply::Ok })
}

/// Sets a key; a time that is over takes it away again at once.
fn store(call: &mut Call<'_>, slot: Slot<'_>, value: &[u8], at: u64, is_new_time: bool) -> Answer<()> {
    let key = slot.key;
    let is_over = at != 0 && at <= call.keys.now();
    if !is_over {
        call.keys.put(slot, value.to_vec(), at)?;
    } else if !call.keys.remove(&slot)? {
        call.event(Class::NEW, "new", key);
    }
    call.event(Class::STRING, "set", key);
    if is_new_time {
        call.event(Class::GENERIC, "expire", key);
    }
    if is_over {
        call.event(Class::EXPIRED, "expired", key);
    }
    Ok(())
}

fn string_reply(slot: &Slot<'_>) -> Answer<Reply> {
    match &slot.found {
        Some(found) if found.kind != Kind::String => Err(Fail::WRONG_TYPE),
        found => Ok(Reply::value_or_nil(found.as_ref().map(|found| found.value.clone()))),
    }
}

fn setnx(call: &mut Call<'_>) -> Answer<Reply> {
    let slot = call.keys.slot(call.db, call.args[1])?;
    if slot.found.is_some() {
        return Ok(Reply::Int(0));
    }
    store(call, slot, call.args[2], 0, false)?;
    Ok(Reply::Int(1))
}

fn setex(call: &mut Call<'_>) -> Answer<Reply> {
    set_until(call, 1000)
}

fn psetex(call: &mut Call<'_>) -> Answer<Reply> {
    set_until(call, 1)
}

fn set_until(call: &mut Call<'_>, unit_ms: i64) -> Answer<Reply> {
    let at = expiry(call.args[2], unit_ms, true, call.keys.now(), call.command.name)?;
    let slot = call.keys.slot(call.db, call.args[1])?;
    store(call, slot, call.args[3], at, true)?;
    Ok(Reply::Ok)
}

fn getset(call: &mut Call<'_>) -> Answer<Reply> {
    let slot = call.keys.slot(call.db, call.args[1])?;
    call.note_read(slot.key, slot.found.is_some());
    let old = string_reply(&slot)?;
    store(call, slot, call.args[2], 0, false)?;
    Ok(old)
}

fn getdel(call: &mut Call<'_>) -> Answer<Reply> {
    let slot = call.keys.slot(call.db, call.args[1])?;
    call.note_read(slot.key, slot.found.is_some());
    let old = string_reply(&slot)?;
    if call.keys.remove(&slot)? {
        call.event(Class::GENERIC, "del", slot.key);
    }
    Ok(old)
}

fn getex(call: &mut Call<'_>) -> Answer<Reply> {
    let options = Options::parse(&call.args[2..], false)?;
    let slot = call.keys.slot(call.db, call.args[1])?;
    let key = slot.key;
    call.note_read(key, slot.found.is_some());
    let old = string_reply(&slot)?;
    if slot.found.is_none() {
        return Ok(old);
    }
    let now = call.keys.now();
    match options.expiry {
        Some((time, unit, relative)) => {
            let at = expiry(time, unit, relative, now, "getex")?;
            if at <= now {
                call.keys.remove(&slot)?;
                call.event(Class::GENERIC, "del", key);
            } else {
                call.keys.set_expiry(slot, at)?;
                call.event(Class::GENERIC, "expire", key);
            }
        }
        None if options.persist && slot.expires_at() != 0 => {
            call.keys.set_expiry(slot, 0)?;
            call.event(Class::GENERIC, "persist", key);
        }
        None => {}
    }
    Ok(old)
}

fn mget(call: &mut Call<'_>) -> Answer<Reply> {
    let mut values = Vec::with_capacity(call.args.len() - 1);
    for key in &call.args[1..] {
        let found = call.read(key)?.filter(|found| found.kind == Kind::String);
        values.push(Reply::value_or_nil(found.map(|found| found.value)));
    }
    Ok(Reply::Array(values))
}

/// The pairs behind the name.
fn pairs<'c>(call: &Call<'c>) -> Answer<&'c [[&'c [u8]; 2]]> {
    let (pairs, rest) = call.args[1..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fail::arity(call.command.name));
    }
    pairs.iter().try_for_each(|[key, _]| check_name(key))?;
    Ok(pairs)
}

fn mset(call: &mut Call<'_>) -> Answer<Reply> {
    for [key, value] in pairs(call)? {
        let slot = call.keys.slot(call.db, key)?;
        store(call, slot, value, 0, false)?;
    }
    Ok(Reply::Ok)
}

fn msetnx(call: &mut Call<'_>) -> Answer<Reply> {
    let pairs = pairs(call)?;
    for [key, _] in pairs {
        if call.keys.find(call.db, key)?.is_some() {
            return Ok(Reply::Int(0));
        }
    }
    for [key, value] in pairs {
        let slot = call.keys.slot(call.db, key)?;
        store(call, slot, value, 0, false)?;
    }
    Ok(Reply::Int(1))
}

/// The string of a slot, to be changed.
pub(super) fn take_string(slot: &mut Slot<'_>) -> Vec<u8> {
    let empty = || Value::owned(Vec::new());
    slot.found.as_mut().map_or_else(Vec::new, |found| std::mem::replace(&mut found.value, empty()).into_vec())
}

fn append(call: &mut Call<'_>) -> Answer<Reply> {
    let (key, more) = (call.args[1], call.args[2]);
    let mut slot = call.keys.string(call.db, key)?;
    let mut value = take_string(&mut slot);
    if value.len() + more.len() > STRING_BYTES_MAX {
        return Err(Fail::STRING_TOO_LONG);
    }
    value.extend_from_slice(more);
    let (len, at) = (value.len(), slot.expires_at());
    call.keys.put(slot, value, at)?;
    call.event(Class::STRING, "append", key);
    Ok(Reply::count(len))
}

fn strlen(call: &mut Call<'_>) -> Answer<Reply> {
    Ok(Reply::count(call.read_string(call.args[1])?.map_or(0, |value| value.len())))
}

/// The bytes from `start` to `end`, counted from the end where negative; both clamp to the string, as in Redis.
fn part(len: usize, start: i64, end: i64) -> Option<(usize, usize)> {
    let len = i64::try_from(len).ok()?;
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return None;
    }
    let clamp = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (clamp(start), clamp(end).min(len - 1));
    if start > end { None } else { Some((usize::try_from(start).ok()?, usize::try_from(end).ok()?)) }
}

fn getrange(call: &mut Call<'_>) -> Answer<Reply> {
    let (start, end) = (integer(call.args[2])?, integer(call.args[3])?);
    let Some(value) = call.read_string(call.args[1])? else { return Ok(Reply::Text("")) };
    let part = part(value.len(), start, end).and_then(|(start, end)| value.get(start..=end));
    Ok(Reply::bulk(part.unwrap_or_default()))
}

fn setrange(call: &mut Call<'_>) -> Answer<Reply> {
    let (key, offset, part) = (call.args[1], integer(call.args[2])?, call.args[3]);
    let offset = usize::try_from(offset).map_err(|_| Fail::of("ERR offset is out of range"))?;
    let mut slot = call.keys.string(call.db, key)?;
    if part.is_empty() {
        return Ok(Reply::count(slot.found.map_or(0, |found| found.value.len())));
    }
    let end = offset.saturating_add(part.len());
    if end > STRING_BYTES_MAX {
        return Err(Fail::STRING_TOO_LONG);
    }
    let mut value = take_string(&mut slot);
    if value.len() < end {
        value.resize(end, 0);
    }
    value[offset..end].copy_from_slice(part);
    let (len, at) = (value.len(), slot.expires_at());
    call.keys.put(slot, value, at)?;
    call.event(Class::STRING, "setrange", key);
    Ok(Reply::count(len))
}

#[cfg(test)]
mod tests;
