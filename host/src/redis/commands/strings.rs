//! Commands of strings.

use super::args::{integer, is, parse_integer};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::resp::reply::push_integer;
use crate::redis::store::effects::Class;
use nokv_core::formats::redis::Kind;

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: 2,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: get,
        group: "string",
        summary: "Returns the string value of a key.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::ONE,
        handler: set,
        group: "string",
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        usage: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
                unix-time-milliseconds | KEEPTTL]",
        ..Command::NEW
    },
    Command {
        name: "incr",
        arity: 2,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
        keys: Keys::ONE,
        handler: incr,
        group: "string",
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        usage: "key",
        ..Command::NEW
    },
];

fn get(call: &mut Call<'_>) -> Answer<Reply> {
    match call.read(call.args[1])? {
        Some(found) if found.kind != Kind::String => Err(Fail::WRONG_TYPE),
        found => Ok(Reply::value_or_nil(found.map(|found| found.value))),
    }
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

fn set(call: &mut Call<'_>) -> Answer<Reply> {
    let (key, value) = (call.args[1], call.args[2]);
    let (mut nx, mut xx, mut get, mut keep) = (false, false, false, false);
    let mut expires_at = None;
    let mut rest = &call.args[3..];
    while let [word, after @ ..] = rest {
        rest = after;
        let units = [("ex", 1000, true), ("px", 1, true), ("exat", 1000, false), ("pxat", 1, false)];
        if let Some((_, unit, is_relative)) = units.iter().find(|(name, ..)| is(word, name)) {
            let [time, after @ ..] = rest else { return Err(Fail::SYNTAX) };
            if expires_at.is_some() {
                return Err(Fail::SYNTAX);
            }
            expires_at = Some(expiry(time, *unit, *is_relative, call.keys.now(), "set")?);
            rest = after;
        } else if is(word, "nx") {
            nx = true;
        } else if is(word, "xx") {
            xx = true;
        } else if is(word, "get") {
            get = true;
        } else if is(word, "keepttl") {
            keep = true;
        } else {
            return Err(Fail::SYNTAX);
        }
    }
    if (nx && xx) || (keep && expires_at.is_some()) {
        return Err(Fail::SYNTAX);
    }
    let slot = if get { call.keys.string(call.db, key)? } else { call.keys.slot(call.db, key)? };
    let old =
        if get { Reply::value_or_nil(slot.found.as_ref().map(|f| f.value.clone())) } else { Reply::Nil };
    if (nx && slot.found.is_some()) || (xx && slot.found.is_none()) {
        return Ok(old);
    }
    let at = if keep { slot.expires_at() } else { expires_at.unwrap_or(0) };
    if at != 0 && at <= call.keys.now() {
        // Its time is over before it began.
        call.keys.remove(&slot)?;
        call.event(Class::GENERIC, "del", key);
    } else {
        call.keys.put(slot, value.to_vec(), at)?;
        call.event(Class::STRING, "set", key);
        if expires_at.is_some() {
            call.event(Class::GENERIC, "expire", key);
        }
    }
    Ok(if get { old } else { Reply::Ok })
}

fn incr(call: &mut Call<'_>) -> Answer<Reply> {
    add(call, 1)
}

fn add(call: &mut Call<'_>, by: i64) -> Answer<Reply> {
    let key = call.args[1];
    let slot = call.keys.string(call.db, key)?;
    let old = match &slot.found {
        Some(found) => parse_integer(&found.value).ok_or(Fail::NOT_AN_INTEGER)?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(Fail::of("ERR increment or decrement would overflow"))?;
    let mut text = Vec::with_capacity(20);
    push_integer(&mut text, new);
    let at = slot.expires_at();
    call.keys.put(slot, text, at)?;
    call.event(Class::STRING, "incrby", key);
    Ok(Reply::Int(new))
}
