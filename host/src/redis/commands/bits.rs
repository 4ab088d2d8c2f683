//! Commands of strings as rows of bits. Bit 0 is the highest of the first byte.

use super::args::{STRING_BYTES_MAX, check_name, integer, is, parse_integer};
use super::strings::take_string;
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::effects::Class;
use crate::redis::store::keyspace::Slot;

const BITS: Command = Command { keys: Keys::ONE, group: "bitmap", ..Command::NEW };

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "setbit",
        arity: 4,
        flags: Flags::WRITE.and(Flags::GROWS),
        handler: setbit,
        since: "2.2.0",
        summary: "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
        usage: "key offset value",
        ..BITS
    },
    Command {
        name: "getbit",
        arity: 3,
        flags: Flags::READ.and(Flags::FAST),
        handler: getbit,
        since: "2.2.0",
        summary: "Returns a bit value by offset.",
        usage: "key offset",
        ..BITS
    },
    Command {
        name: "bitcount",
        arity: -2,
        flags: Flags::READ,
        handler: bitcount,
        since: "2.6.0",
        summary: "Counts the number of set bits (population counting) in a string.",
        usage: "key [start end [BYTE | BIT]]",
        ..BITS
    },
    Command {
        name: "bitpos",
        arity: -3,
        flags: Flags::READ,
        handler: bitpos,
        since: "2.8.7",
        summary: "Finds the first set (1) or clear (0) bit in a string.",
        usage: "key bit [start [end [BYTE | BIT]]]",
        ..BITS
    },
    Command {
        name: "bitop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::Range { first: 2, last: -1, step: 1 },
        handler: bitop,
        since: "2.6.0",
        summary: "Performs bitwise operations on multiple strings, and stores the result.",
        usage: "AND | OR | XOR | NOT destkey key [key ...]",
        ..BITS
    },
];

/// The number of a bit; `#n` is the `n`th of fields of `width` bits, where that is taken.
///
/// # Errors
/// What Redis says.
pub fn offset(arg: &[u8], width: Option<u32>) -> Answer<u64> {
    let wrong = Fail::of("ERR bit offset is not an integer or out of range");
    let (digits, unit) = match (arg, width) {
        ([b'#', digits @ ..], Some(width)) => (digits, i64::from(width)),
        _ => (arg, 1),
    };
    let at = parse_integer(digits).and_then(|at| at.checked_mul(unit)).and_then(|at| u64::try_from(at).ok());
    at.filter(|at| at >> 3 < STRING_BYTES_MAX as u64).ok_or(wrong)
}

/// The string of a slot with room for the bit `last`, and whether it had to grow.
pub(super) fn grown(slot: &mut Slot<'_>, last: u64) -> Answer<(Vec<u8>, bool)> {
    let bytes = usize::try_from(last / 8 + 1).map_err(|_| Fail::STRING_TOO_LONG)?;
    let is_new = slot.found.is_none();
    let mut value = take_string(slot);
    let grows = value.len() < bytes;
    if grows {
        value.resize(bytes, 0);
    }
    Ok((value, grows || is_new))
}

fn setbit(call: &mut Call<'_>) -> Answer<Reply> {
    let at = offset(call.args[2], None)?;
    let on = match call.args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err(Fail::of("ERR bit is not an integer or out of range")),
    };
    let key = call.args[1];
    let mut slot = call.keys.string(call.db, key)?;
    let (mut value, grows) = grown(&mut slot, at)?;
    let (byte, mask) = (&mut value[(at / 8) as usize], 0x80u8 >> (at % 8));
    let old = *byte & mask != 0;
    if grows || old != on {
        if on {
            *byte |= mask;
        } else {
            *byte &= !mask;
        }
        let expires_at = slot.expires_at();
        call.keys.put(slot, value, expires_at)?;
        call.event(Class::STRING, "setbit", key);
    }
    Ok(Reply::flag(old))
}

fn getbit(call: &mut Call<'_>) -> Answer<Reply> {
    let at = offset(call.args[2], None)?;
    let value = call.read_string(call.args[1])?;
    let byte = value.as_ref().and_then(|value| value.get((at / 8) as usize)).copied().unwrap_or(0);
    Ok(Reply::flag(byte & (0x80 >> (at % 8)) != 0))
}

/// Which bits a command looks at: from the first to the last.
fn span(len: usize, start: i64, end: i64, in_bits: bool) -> Option<(u64, u64)> {
    let len = i64::try_from(len).ok()? * if in_bits { 8 } else { 1 };
    let clamp = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (clamp(start), clamp(end).min(len - 1));
    if start > end {
        return None;
    }
    let (start, end) = (u64::try_from(start).ok()?, u64::try_from(end).ok()?);
    Some(if in_bits { (start, end) } else { (8 * start, 8 * end + 7) })
}

fn in_bits(arg: &[u8]) -> Answer<bool> {
    if is(arg, "bit") {
        Ok(true)
    } else if is(arg, "byte") {
        Ok(false)
    } else {
        Err(Fail::SYNTAX)
    }
}

/// Bytes of the bits from `start` to `end`, with those that do not belong to them set to those of `outside`.
fn bytes_of(value: &[u8], start: u64, end: u64, outside: u8) -> impl Iterator<Item = (u64, u8)> {
    let (first, last) = (start / 8, end / 8);
    let bytes = value.get(first as usize..=last as usize).unwrap_or_default();
    (first..).zip(bytes).map(move |(at, byte)| {
        let mut mask = 0xffu8;
        if at == first {
            mask &= 0xff >> (start % 8);
        }
        if at == last {
            mask &= 0xff << (7 - end % 8);
        }
        (at, byte & mask | outside & !mask)
    })
}

fn bitcount(call: &mut Call<'_>) -> Answer<Reply> {
    let (start, end, unit) = match call.args[2..] {
        [] => (0, -1, false),
        [start, end] => (integer(start)?, integer(end)?, false),
        [start, end, unit] => (integer(start)?, integer(end)?, in_bits(unit)?),
        _ => return Err(Fail::SYNTAX),
    };
    let Some(value) = call.read_string(call.args[1])? else { return Ok(Reply::Int(0)) };
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Int(0));
    }
    let Some((start, end)) = span(value.len(), start, end, unit) else { return Ok(Reply::Int(0)) };
    Ok(Reply::count(
        bytes_of(&value, start, end, 0).map(|(_, byte)| u64::from(byte.count_ones())).sum::<u64>(),
    ))
}

fn bitpos(call: &mut Call<'_>) -> Answer<Reply> {
    let bit = match integer(call.args[2])? {
        0 => false,
        1 => true,
        _ => return Err(Fail::of("ERR The bit argument must be 1 or 0.")),
    };
    let (start, end, unit) = match call.args[3..] {
        [] => (0, None, false),
        [start] => (integer(start)?, None, false),
        [start, end] => (integer(start)?, Some(integer(end)?), false),
        [start, end, unit] => (integer(start)?, Some(integer(end)?), in_bits(unit)?),
        _ => return Err(Fail::SYNTAX),
    };
    let Some(value) = call.read_string(call.args[1])? else {
        return Ok(Reply::Int(if bit { -1 } else { 0 }));
    };
    let Some((first, last)) = span(value.len(), start, end.unwrap_or(-1), unit) else {
        return Ok(Reply::Int(-1));
    };
    // Bits that do not belong to the span must not be found.
    let outside = if bit { 0 } else { 0xff };
    let found = bytes_of(&value, first, last, outside).find(|(_, byte)| *byte != outside);
    Ok(match found {
        Some((at, byte)) => {
            let within = if bit { byte.leading_zeros() } else { byte.leading_ones() };
            Reply::count(8 * at + u64::from(within))
        }
        // Behind its end a string goes on with zeros.
        None if !bit && end.is_none() => Reply::count(8 * value.len()),
        None => Reply::Int(-1),
    })
}

fn bitop(call: &mut Call<'_>) -> Answer<Reply> {
    let names = ["and", "or", "xor", "not"];
    let op = *names.iter().find(|name| is(call.args[1], name)).ok_or(Fail::SYNTAX)?;
    let (to, from) = (call.args[2], &call.args[3..]);
    if op == "not" && from.len() != 1 {
        return Err(Fail::of("ERR BITOP NOT must be called with a single source key."));
    }
    check_name(to)?;
    let mut sources = Vec::with_capacity(from.len());
    for key in from {
        sources.push(call.read_string(key)?);
    }
    let len = sources.iter().flatten().map(|source| source.len()).max().unwrap_or(0);
    let mut result = vec![0; len];
    for (at, source) in sources.iter().enumerate() {
        let source: &[u8] = source.as_deref().unwrap_or_default();
        let (shared, behind) = result.split_at_mut(source.len());
        let pairs = shared.iter_mut().zip(source);
        match op {
            "not" => pairs.for_each(|(to, from)| *to = !from),
            "and" if at > 0 => {
                pairs.for_each(|(to, from)| *to &= from);
                behind.fill(0);
            }
            "xor" => pairs.for_each(|(to, from)| *to ^= from),
            _ => pairs.for_each(|(to, from)| *to |= from),
        }
    }
    drop(sources);
    let slot = call.keys.slot(call.db, to)?;
    if result.is_empty() {
        if call.keys.remove(&slot)? {
            call.event(Class::GENERIC, "del", to);
        }
    } else {
        call.keys.put(slot, result, 0)?;
        call.event(Class::STRING, "set", to);
    }
    Ok(Reply::count(len))
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn bits_are_set_counted_and_found() {
        Bench::new().script(
            r#"
            > SETBIT b 7 1
            :0
            > SETBIT b 7 0
            :1
            > SETBIT b 4294967296 1
            -ERR bit offset is not an integer or out of range
            > SETBIT b 1 2
            -ERR bit is not an integer or out of range
            > GETBIT b 100
            :0
            > SET m foobar
            +OK
            > BITCOUNT m
            :26
            > BITCOUNT m 1 1
            :6
            > BITCOUNT m 5 30 BIT
            :17
            > BITCOUNT m 0
            -ERR syntax error
            > BITCOUNT m -30 -10 BIT
            :10
            > BITPOS m 1
            :1
            > BITPOS m 0 2 3 BIT
            :3
            > BITPOS m 2
            -ERR The bit argument must be 1 or 0.
            > BITPOS none 0
            :0
            > BITPOS none 1
            :-1
            > SET f "\x1f\x1f"
            +OK
            > BITPOS f 1 1
            :11
            > BITPOS f 1 9 15 BIT
            :11
            "#,
        );
    }

    #[test]
    fn strings_are_combined_bit_by_bit() {
        Bench::new().script(
            r#"
            > MSET a abcdef b foo
            +OK
            > BITOP AND d a b
            :6
            > STRLEN d
            :6
            > GETRANGE d 0 2
            `bc
            > BITOP OR d a b
            :6
            > GET d
            goodef
            > BITOP NOT d a b
            -ERR BITOP NOT must be called with a single source key.
            > BITOP FOO d a
            -ERR syntax error
            > BITOP XOR d a a
            :6
            > BITCOUNT d
            :0
            > BITOP AND d none
            :0
            > EXISTS d
            :0
            "#,
        );
    }
}
