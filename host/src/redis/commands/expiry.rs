//! Commands of the time at which a key goes.

use super::args::{integer, is};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::effects::Class;

/// A command that sets the time.
const SETS: Command =
    Command { arity: -3, flags: Flags::WRITE.and(Flags::FAST), keys: Keys::ONE, ..Command::NEW };
/// A command that tells the time.
const TELLS: Command =
    Command { arity: 2, flags: Flags::READ.and(Flags::FAST), keys: Keys::ONE, usage: "key", ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "expire",
        handler: expire,
        summary: "Sets the expiration time of a key in seconds.",
        usage: "key seconds [NX | XX | GT | LT]",
        ..SETS
    },
    Command {
        name: "pexpire",
        handler: pexpire,
        since: "2.6.0",
        summary: "Sets the expiration time of a key in milliseconds.",
        usage: "key milliseconds [NX | XX | GT | LT]",
        ..SETS
    },
    Command {
        name: "expireat",
        handler: expireat,
        since: "1.2.0",
        summary: "Sets the expiration time of a key to a Unix timestamp.",
        usage: "key unix-time-seconds [NX | XX | GT | LT]",
        ..SETS
    },
    Command {
        name: "pexpireat",
        handler: pexpireat,
        since: "2.6.0",
        summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        usage: "key unix-time-milliseconds [NX | XX | GT | LT]",
        ..SETS
    },
    Command {
        name: "persist",
        arity: 2,
        handler: persist,
        since: "2.2.0",
        summary: "Removes the expiration time of a key.",
        usage: "key",
        ..SETS
    },
    Command {
        name: "ttl",
        handler: ttl,
        summary: "Returns the expiration time in seconds of a key.",
        ..TELLS
    },
    Command {
        name: "pttl",
        handler: pttl,
        since: "2.6.0",
        summary: "Returns the expiration time in milliseconds of a key.",
        ..TELLS
    },
    Command {
        name: "expiretime",
        handler: expiretime,
        since: "7.0.0",
        summary: "Returns the expiration time of a key as a Unix timestamp.",
        ..TELLS
    },
    Command {
        name: "pexpiretime",
        handler: pexpiretime,
        since: "7.0.0",
        summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        ..TELLS
    },
];

fn expire(call: &mut Call<'_>) -> Answer<Reply> {
    set(call, 1000, true)
}

fn pexpire(call: &mut Call<'_>) -> Answer<Reply> {
    set(call, 1, true)
}

fn expireat(call: &mut Call<'_>) -> Answer<Reply> {
    set(call, 1000, false)
}

fn pexpireat(call: &mut Call<'_>) -> Answer<Reply> {
    set(call, 1, false)
}

/// When a new time is taken.
#[derive(Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    fn parse(words: &[&[u8]]) -> Answer<Self> {
        let mut of = Self::default();
        for word in words {
            let flags = [("nx", &mut of.nx), ("xx", &mut of.xx), ("gt", &mut of.gt), ("lt", &mut of.lt)];
            match flags.into_iter().find(|(name, _)| is(word, name)) {
                Some((_, flag)) => *flag = true,
                None => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Fail::text(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if of.nx && (of.xx || of.gt || of.lt) {
            return Err(Fail::of("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if of.gt && of.lt {
            return Err(Fail::of("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(of)
    }

    /// Is `new` taken where `old` is? No time (0) counts as never.
    fn holds(&self, old: u64, new: i64) -> bool {
        let has_old = old != 0;
        let old = if has_old { i64::try_from(old).unwrap_or(i64::MAX) } else { i64::MAX };
        !((self.nx && has_old)
            || (self.xx && !has_old)
            || (self.gt && (!has_old || new <= old))
            || (self.lt && has_old && new >= old))
    }
}

fn set(call: &mut Call<'_>, unit_ms: i64, is_relative: bool) -> Answer<Reply> {
    let key = call.args[1];
    let condition = Condition::parse(&call.args[3..])?;
    let given = integer(call.args[2])?;
    let now = call.keys.now();
    let base = if is_relative { i64::try_from(now).unwrap_or(i64::MAX) } else { 0 };
    let at = given
        .checked_mul(unit_ms)
        .and_then(|at| at.checked_add(base))
        .ok_or_else(|| Fail::text(format!("ERR invalid expire time in '{}' command", call.command.name)))?;
    let slot = call.keys.slot(call.db, key)?;
    if slot.found.is_none() || !condition.holds(slot.expires_at(), at) {
        return Ok(Reply::Int(0));
    }
    match u64::try_from(at).ok().filter(|at| *at > now) {
        None => {
            call.keys.remove(&slot)?;
            call.event(Class::GENERIC, "del", key);
        }
        Some(at) => {
            call.keys.set_expiry(slot, at)?;
            call.event(Class::GENERIC, "expire", key);
        }
    }
    Ok(Reply::Int(1))
}

fn persist(call: &mut Call<'_>) -> Answer<Reply> {
    let slot = call.keys.slot(call.db, call.args[1])?;
    if slot.expires_at() == 0 {
        return Ok(Reply::Int(0));
    }
    call.keys.set_expiry(slot, 0)?;
    call.event(Class::GENERIC, "persist", call.args[1]);
    Ok(Reply::Int(1))
}

/// -2 for no key, -1 for one without a time, otherwise what `of` makes of the time and of now.
fn tell(call: &mut Call<'_>, of: fn(u64, u64) -> u64) -> Answer<Reply> {
    Ok(match call.read(call.args[1])? {
        None => Reply::Int(-2),
        Some(found) if found.expires_at == 0 => Reply::Int(-1),
        Some(found) => Reply::count(of(found.expires_at, call.keys.now())),
    })
}

fn ttl(call: &mut Call<'_>) -> Answer<Reply> {
    tell(call, |at, now| (at.saturating_sub(now).saturating_add(500)) / 1000)
}

fn pttl(call: &mut Call<'_>) -> Answer<Reply> {
    tell(call, u64::saturating_sub)
}

fn expiretime(call: &mut Call<'_>) -> Answer<Reply> {
    tell(call, |at, _| at.saturating_add(500) / 1000)
}

fn pexpiretime(call: &mut Call<'_>) -> Answer<Reply> {
    tell(call, |at, _| at)
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn times_are_set_under_conditions() {
        Bench::new().script(
            r#"
            > SET k v
            +OK
            > EXPIRE k 100 XX
            :0
            > EXPIRE k 100 GT
            :0
            > EXPIRE k 100 LT
            :1
            > EXPIRE k 200 NX
            :0
            > EXPIRE k 300 GT
            :1
            > EXPIRE k 400 LT
            :0
            > TTL k
            :300
            > EXPIRE k 50 NX XX
            -ERR NX and XX, GT or LT options at the same time are not compatible
            > EXPIRE k 50 GT LT
            -ERR GT and LT options at the same time are not compatible
            > EXPIRE k 50 FOO
            -ERR Unsupported option FOO
            > EXPIRE k a
            -ERR value is not an integer or out of range
            > EXPIRE k 9223372036854775807
            -ERR invalid expire time in 'expire' command
            > PEXPIRE k 9223372036854775807
            -ERR invalid expire time in 'pexpire' command
            > PEXPIREAT k 9223372036854775807
            :1
            > PEXPIRETIME k
            :9223372036854775807
            > EXPIREAT k 99999999999
            :1
            > EXPIRETIME k
            :99999999999
            > PERSIST k
            :1
            > PERSIST k
            :0
            > PTTL k
            :-1
            > EXPIRE k -1
            :1
            > PTTL k
            :-2
            "#,
        );
    }
}
