//! BITFIELD: integers of any width within a string.

use super::args::{integer, is, parse_integer};
use super::bits::{grown, offset};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::effects::Class;

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "bitfield",
        arity: -2,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::ONE,
        handler: bitfield,
        group: "bitmap",
        since: "3.2.0",
        summary: "Performs arbitrary bitfield integer operations on strings.",
        usage: "key [GET encoding offset | [OVERFLOW WRAP | SAT | FAIL] SET encoding offset value | INCRBY encoding \
                offset increment [GET encoding offset | [OVERFLOW WRAP | SAT | FAIL] SET encoding offset value | \
                INCRBY encoding offset increment ...]]",
        ..Command::NEW
    },
    Command {
        name: "bitfield_ro",
        arity: -2,
        flags: Flags::READ.and(Flags::FAST),
        keys: Keys::ONE,
        handler: bitfield_ro,
        group: "bitmap",
        since: "6.0.0",
        summary: "Performs arbitrary read-only bitfield integer operations on strings.",
        usage: "key [GET encoding offset [GET encoding offset ...]]",
        ..Command::NEW
    },
];

/// What becomes of a number that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// The type of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Type {
    is_signed: bool,
    bits: u32,
}

impl Type {
    fn parse(arg: &[u8]) -> Answer<Self> {
        let wrong = Fail::of(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (is_signed, bits) = match arg {
            [b'i', bits @ ..] => (true, bits),
            [b'u', bits @ ..] => (false, bits),
            _ => return Err(wrong),
        };
        let bits = parse_integer(bits).and_then(|bits| u32::try_from(bits).ok());
        let bits = bits.filter(|bits| *bits >= 1 && *bits <= if is_signed { 64 } else { 63 });
        bits.map(|bits| Self { is_signed, bits }).ok_or(wrong)
    }

    const fn max(self) -> i128 {
        (1 << (if self.is_signed { self.bits - 1 } else { self.bits })) - 1
    }

    const fn min(self) -> i128 {
        if self.is_signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    /// The number whose lowest bits these are.
    const fn of_bits(self, number: i128) -> i128 {
        let low = number & ((1 << self.bits) - 1);
        if low > self.max() { low - (1 << self.bits) } else { low }
    }

    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        if (self.min()..=self.max()).contains(&number) {
            return Some(number);
        }
        match overflow {
            Overflow::Wrap => Some(self.of_bits(number)),
            Overflow::Saturate => Some(if number > self.max() { self.max() } else { self.min() }),
            Overflow::Fail => None,
        }
    }

    /// A number that is to be set. An unsigned type takes a negative one as the large one with its bits; and as in
    /// Redis, one so far below a signed type that it is more than 63 bits from its largest number counts as above it.
    fn taken(self, number: i64) -> i128 {
        let wide = i128::from(number);
        if !self.is_signed {
            i128::from(number as u64)
        } else if self.bits < 64 && self.max() - wide > i128::from(i64::MAX) {
            wide + (1 << 64)
        } else {
            wide
        }
    }

    fn read(self, bytes: &[u8], at: u64) -> i128 {
        let mut number = 0i128;
        for bit in at..at + u64::from(self.bits) {
            let byte = bytes.get((bit / 8) as usize).copied().unwrap_or(0);
            number = number << 1 | i128::from(byte >> (7 - bit % 8) & 1);
        }
        self.of_bits(number)
    }

    /// Writes a number into bytes that have room for it.
    fn write(self, bytes: &mut [u8], at: u64, number: i128) {
        for (bit, from) in (at..at + u64::from(self.bits)).zip((0..self.bits).rev()) {
            if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
                let mask = 0x80 >> (bit % 8);
                if number >> from & 1 == 1 {
                    *byte |= mask;
                } else {
                    *byte &= !mask;
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Debug, Clone, Copy)]
struct Step {
    of: Type,
    at: u64,
    action: Action,
    overflow: Overflow,
}

fn steps(mut rest: &[&[u8]], only_reads: bool) -> Answer<Vec<Step>> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut writes = false;
    loop {
        let (name, arguments, after) = match rest {
            [] => break,
            [word, how, after @ ..] if is(word, "overflow") => {
                overflow = if is(how, "wrap") {
                    Overflow::Wrap
                } else if is(how, "sat") {
                    Overflow::Saturate
                } else if is(how, "fail") {
                    Overflow::Fail
                } else {
                    return Err(Fail::of("ERR Invalid OVERFLOW type specified"));
                };
                rest = after;
                continue;
            }
            [word, of, at, after @ ..] if is(word, "get") => ("get", [*of, *at, b""], after),
            [word, of, at, by, after @ ..] if is(word, "set") => ("set", [*of, *at, *by], after),
            [word, of, at, by, after @ ..] if is(word, "incrby") => ("incrby", [*of, *at, *by], after),
            _ => return Err(Fail::SYNTAX),
        };
        rest = after;
        let of = Type::parse(arguments[0])?;
        let at = offset(arguments[1], Some(of.bits))?;
        let action = match name {
            "get" => Action::Get,
            "set" => Action::Set(integer(arguments[2])?),
            _ => Action::Add(integer(arguments[2])?),
        };
        writes |= !matches!(action, Action::Get);
        steps.push(Step { of, at, action, overflow });
    }
    if only_reads && writes {
        return Err(Fail::of("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    Ok(steps)
}

fn bitfield_ro(call: &mut Call<'_>) -> Answer<Reply> {
    let steps = steps(&call.args[2..], true)?;
    read(call, &steps)
}

fn read(call: &mut Call<'_>, steps: &[Step]) -> Answer<Reply> {
    let value = call.read_string(call.args[1])?;
    let bytes: &[u8] = value.as_deref().unwrap_or_default();
    Ok(Reply::Array(steps.iter().map(|step| number(step.of.read(bytes, step.at))).collect()))
}

fn number(number: i128) -> Reply {
    Reply::Int(number as i64)
}

fn bitfield(call: &mut Call<'_>) -> Answer<Reply> {
    let steps = steps(&call.args[2..], false)?;
    let ends = steps.iter().filter(|step| !matches!(step.action, Action::Get));
    let Some(last) = ends.map(|step| step.at + u64::from(step.of.bits) - 1).max() else {
        return read(call, &steps);
    };
    let key = call.args[1];
    let mut slot = call.keys.string(call.db, key)?;
    let (mut bytes, grows) = grown(&mut slot, last)?;
    let mut replies = Vec::with_capacity(steps.len());
    let mut has_changed = false;
    for Step { of, at, action, overflow } in steps {
        let old = of.read(&bytes, at);
        let (wanted, gives_old) = match action {
            Action::Get => {
                replies.push(number(old));
                continue;
            }
            Action::Set(new) => (of.taken(new), true),
            Action::Add(by) => (old + i128::from(by), false),
        };
        let Some(new) = of.fit(wanted, overflow) else {
            replies.push(Reply::Nil);
            continue;
        };
        has_changed |= grows || new != old;
        of.write(&mut bytes, at, new);
        replies.push(number(if gives_old { old } else { new }));
    }
    // A string that grew stays so, even if nothing was written into it.
    if has_changed || grows {
        let expires_at = slot.expires_at();
        call.keys.put(slot, bytes, expires_at)?;
    }
    if has_changed {
        call.event(Class::STRING, "setbit", key);
    }
    Ok(Reply::Array(replies))
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn fields_overflow_as_they_are_told() {
        Bench::new().script(
            r#"
            > BITFIELD f SET i8 #0 100 SET i8 #1 200 GET u8 #1
            [:0 :0 :200]
            > BITFIELD f INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 3 INCRBY u2 102 3
            [:1 :3 :3]
            > BITFIELD f OVERFLOW FAIL INCRBY u2 102 1 SET u2 102 9
            [nil nil]
            > BITFIELD f OVERFLOW SAT SET i8 0 -129 GET i8 0
            [:100 :-128]
            > BITFIELD f SET i64 3 -9223372036854775808 INCRBY i64 3 -1
            [:450359962737049600 :9223372036854775807]
            > BITFIELD f OVERFLOW SAT SET i31 2 -9223372036854775808 GET i31 2
            [:536870911 :1073741823]
            > BITFIELD f SET u63 3 -1 GET u63 3
            [:9223372036854775807 :9223372036854775807]
            > BITFIELD f GET u64 0
            -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
            > BITFIELD f GET u8 -1
            -ERR bit offset is not an integer or out of range
            > BITFIELD f OVERFLOW FOO
            -ERR Invalid OVERFLOW type specified
            > BITFIELD f SET u8 0
            -ERR syntax error
            > BITFIELD_RO f GET u8 0
            [:159]
            > BITFIELD_RO f SET u8 0 1
            -ERR BITFIELD_RO only supports the GET subcommand
            > BITFIELD none OVERFLOW FAIL SET u2 20 9
            [nil]
            > STRLEN none
            :3
            "#,
        );
    }
}
