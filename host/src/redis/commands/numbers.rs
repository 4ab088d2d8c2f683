//! Commands of strings that are numbers.

use super::args::{integer, parse_integer};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::long_double::LongDouble;
use crate::redis::resp::reply::push_integer;
use crate::redis::store::effects::Class;

const NUMBER: Command = Command {
    flags: Flags::WRITE.and(Flags::GROWS).and(Flags::FAST),
    keys: Keys::ONE,
    group: "string",
    ..Command::NEW
};

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "incr",
        arity: 2,
        handler: incr,
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        usage: "key",
        ..NUMBER
    },
    Command {
        name: "decr",
        arity: 2,
        handler: decr,
        summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        usage: "key",
        ..NUMBER
    },
    Command {
        name: "incrby",
        arity: 3,
        handler: incrby,
        summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't \
                  exist.",
        usage: "key increment",
        ..NUMBER
    },
    Command {
        name: "decrby",
        arity: 3,
        handler: decrby,
        summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't \
                  exist.",
        usage: "key decrement",
        ..NUMBER
    },
    Command {
        name: "incrbyfloat",
        arity: 3,
        handler: incrbyfloat,
        since: "2.6.0",
        summary: "Increment the floating point value of a key by a number. Uses 0 as initial value if the key \
                  doesn't exist.",
        usage: "key increment",
        ..NUMBER
    },
];

fn incr(call: &mut Call<'_>) -> Answer<Reply> {
    add(call, 1)
}

fn decr(call: &mut Call<'_>) -> Answer<Reply> {
    add(call, -1)
}

fn incrby(call: &mut Call<'_>) -> Answer<Reply> {
    let by = integer(call.args[2])?;
    add(call, by)
}

fn decrby(call: &mut Call<'_>) -> Answer<Reply> {
    let by = integer(call.args[2])?;
    let by = by.checked_neg().ok_or(Fail::of("ERR decrement would overflow"))?;
    add(call, by)
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

fn incrbyfloat(call: &mut Call<'_>) -> Answer<Reply> {
    let (key, by) = (call.args[1], call.args[2]);
    let slot = call.keys.string(call.db, key)?;
    let old = match &slot.found {
        Some(found) => LongDouble::parse(&found.value).ok_or(Fail::NOT_A_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let by = LongDouble::parse(by).ok_or(Fail::NOT_A_FLOAT)?;
    let sum = old.plus(&by).ok_or(Fail::of("ERR increment would produce NaN or Infinity"))?;
    let text = sum.to_text();
    let at = slot.expires_at();
    call.keys.put(slot, text.clone().into_bytes(), at)?;
    call.event(Class::STRING, "incrbyfloat", key);
    Ok(Reply::Bulk(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn numbers_stay_within_64_bits() {
        Bench::new().script(
            r#"
            > INCR n
            :1
            > INCRBY n 100
            :101
            > DECR n
            :100
            > DECRBY n 7
            :93
            > INCRBY n 9223372036854775807
            -ERR increment or decrement would overflow
            > DECRBY n -9223372036854775808
            -ERR decrement would overflow
            > INCRBY n a
            -ERR value is not an integer or out of range
            > SET n 01
            +OK
            > INCR n
            -ERR value is not an integer or out of range
            > SET n abc
            +OK
            > INCRBYFLOAT n 1
            -ERR value is not a valid float
            > DEL n
            :1
            > INCRBYFLOAT n 0.1
            0.1
            > INCRBYFLOAT n 0.2
            0.3
            > INCRBYFLOAT n -0.3
            0
            > INCRBYFLOAT n 3.0e3
            3000
            > INCRBYFLOAT n inf
            -ERR increment would produce NaN or Infinity
            > INCRBYFLOAT n x
            -ERR value is not a valid float
            "#,
        );
    }
}
