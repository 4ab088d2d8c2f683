//! DUMP and RESTORE: values as bytes that Redis 7 gives and takes.

use super::args::{STRING_BYTES_MAX, check_name, integer, is};
use super::transfer::{Filling, score};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::rdb::{self, Element, Writer};
use crate::redis::store::backend::Table;
use crate::redis::store::effects::Class;
use crate::redis::store::keyspace::part_of;
use nokv_core::formats::redis::Kind;

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "dump",
        arity: 2,
        flags: Flags::READ,
        keys: Keys::ONE,
        handler: dump,
        since: "2.6.0",
        summary: "Returns a serialized representation of the value stored at a key.",
        usage: "key",
        ..Command::NEW
    },
    Command {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::GROWS),
        keys: Keys::ONE,
        handler: restore,
        since: "2.6.0",
        summary: "Creates a key from the serialized representation of a value.",
        usage: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        ..Command::NEW
    },
];

fn dump(call: &mut Call<'_>) -> Answer<Reply> {
    let key = call.args[1];
    let Some(found) = call.read(key)? else { return Ok(Reply::Nil) };
    let mut payload = Writer::new(found.kind);
    if found.kind == Kind::String {
        payload.single(&found.value);
        return Ok(Reply::Bulk(payload.finish()));
    }
    let collection = call.keys.collection_of(call.db, key, &found)?;
    let lower = collection.element(b"");
    let mut cursor = call.keys.txn().scan(Table::Elements, &lower, Some(&collection.end()), false)?;
    while cursor.advance()? {
        match found.kind {
            Kind::Set => payload.single(part_of(cursor.key())),
            Kind::Hash => payload.pair(part_of(cursor.key()), &cursor.entry()?.value),
            Kind::SortedSet => payload.scored(part_of(cursor.key()), score(&cursor.entry()?.value)?),
            Kind::List | Kind::String => payload.single(&cursor.entry()?.value),
        }
        if payload.bytes() > STRING_BYTES_MAX {
            return Err(Fail::STRING_TOO_LONG);
        }
    }
    Ok(Reply::Bulk(payload.finish()))
}

#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
}

impl Options {
    /// How often and when a key was used is not noted, so IDLETIME and FREQ have no effect, as without a policy that
    /// looks at them.
    fn parse(mut rest: &[&[u8]]) -> Answer<Self> {
        let mut of = Self::default();
        let (mut has_idle_time, mut has_frequency) = (false, false);
        loop {
            rest = match rest {
                [] => return Ok(of),
                [word, after @ ..] if is(word, "replace") => {
                    of.replaces = true;
                    after
                }
                [word, after @ ..] if is(word, "absttl") => {
                    of.is_absolute = true;
                    after
                }
                [word, seconds, after @ ..] if is(word, "idletime") && !has_frequency => {
                    if integer(seconds)? < 0 {
                        return Err(Fail::of("ERR Invalid IDLETIME value, must be >= 0"));
                    }
                    has_idle_time = true;
                    after
                }
                [word, frequency, after @ ..] if is(word, "freq") && !has_idle_time => {
                    if !(0..=255).contains(&integer(frequency)?) {
                        return Err(Fail::of("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                    }
                    has_frequency = true;
                    after
                }
                _ => return Err(Fail::SYNTAX),
            }
        }
    }
}

fn restore(call: &mut Call<'_>) -> Answer<Reply> {
    let (key, payload) = (call.args[1], call.args[3]);
    let options = Options::parse(&call.args[4..])?;
    let slot = call.keys.slot(call.db, key)?;
    if slot.found.is_some() && !options.replaces {
        return Err(Fail::of("BUSYKEY Target key name already exists."));
    }
    let time =
        u64::try_from(integer(call.args[2])?).map_err(|_| Fail::of("ERR Invalid TTL value, must be >= 0"))?;
    let body = rdb::body(payload).ok_or(Fail::of("ERR DUMP payload version or checksum are wrong"))?;
    // All of it is looked at before anything changes.
    let kind = rdb::check(body, check_name)?;
    let now = call.keys.now();
    let expires_at = if time == 0 || options.is_absolute { time } else { time.saturating_add(now) };
    let was_there = call.keys.remove(&slot)?;
    if expires_at != 0 && expires_at <= now {
        if was_there {
            call.event(Class::GENERIC, "del", key);
        }
        return Ok(Reply::Ok);
    }
    store(call, key, (kind, body), expires_at)?;
    call.event(Class::GENERIC, "restore", key);
    Ok(Reply::Ok)
}

/// Gives a key that holds nothing (any more) its value: the elements go from the payload to the store one by one.
fn store(call: &mut Call<'_>, key: &[u8], (kind, body): (Kind, &[u8]), expires_at: u64) -> Answer<()> {
    let (keys, db) = (&mut *call.keys, call.db);
    if kind == Kind::String {
        return rdb::each(body, |element| {
            let (Element::Single(value) | Element::Scored(value, _) | Element::Pair(value, _)) = element;
            let slot = keys.slot(db, key)?;
            keys.put(slot, value.to_vec(), expires_at)
        });
    }
    let mut filling = Filling::new(keys, db, key, kind);
    rdb::each(body, |element| match element {
        Element::Single(element) if kind == Kind::List => filling.push(keys, element.to_vec()),
        Element::Single(member) => filling.member(keys, member),
        Element::Scored(member, score) => filling.scored(keys, member, score),
        Element::Pair(field, value) => filling.field(keys, field, value.to_vec()),
    })?;
    filling.finish(keys, expires_at)
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn values_are_restored() {
        Bench::new().script(
            r#"
            > RESTORE s 0 "\x00\x03\x61\x62\x63\x0a\x00\xd9\xac\x30\x3d\x41\x72\xa2\xe2"
            +OK
            > RESTORE s 0 "\x00\x03\x61\x62\x63\x0a\x00\xd9\xac\x30\x3d\x41\x72\xa2\xe2"
            -BUSYKEY Target key name already exists.
            > RESTORE s -1 "\x00\x03\x61\x62\x63\x0a\x00\xd9\xac\x30\x3d\x41\x72\xa2\xe2" REPLACE
            -ERR Invalid TTL value, must be >= 0
            > RESTORE s 1000000 "\x00\x03\x61\x62\x63\x0a\x00\xd9\xac\x30\x3d\x41\x72\xa2\xe2" REPLACE
            +OK
            > TTL s
            :1000
            > GET s
            abc
            > RESTORE t 99999999999999 "\x00\x03\x61\x62\x63\x0a\x00\xd9\xac\x30\x3d\x41\x72\xa2\xe2" ABSTTL
            +OK
            > PEXPIRETIME t
            :99999999999999
            > RESTORE u 1 "\x00\x03\x61\x62\x63\x0a\x00\xd9\xac\x30\x3d\x41\x72\xa2\xe2" ABSTTL
            +OK
            > EXISTS u
            :0
            > RESTORE u 0 "\x00\x03\x61\x62\x63\x0a\x00\xd9\xac\x30\x3d\x41\x72\xa2\xe2" IDLETIME 1 FREQ 1
            -ERR syntax error
            > RESTORE u 0 "\x00\x03\x61\x62\x63\x0a\x00\xd9\xac\x30\x3d\x41\x72\xa2\xe2" FREQ 256
            -ERR Invalid FREQ value, must be >= 0 and <= 255
            > RESTORE u 0 abc
            -ERR DUMP payload version or checksum are wrong
            > RESTORE u 0 "\x00\x03abcd\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00"
            -ERR DUMP payload version or checksum are wrong
            > RESTORE m 0 "\x0b\x0e\x02\x00\x00\x00\x03\x00\x00\x00\x03\x00\x05\x00\x09\x00\x0a\x00\xac\x54\x1f\x79\x99\x74\xe2\x6f"
            +OK
            > TYPE m
            +set
            > COPY m n
            :1
            > SORT n
            [3 5 9]
            > DUMP none
            nil
            "#,
        );
    }

    /// A payload of a list, as Redis packs it: one node, a listpack of `count` zeros, LZF.
    fn zeros(count: usize) -> Vec<u8> {
        let bytes = 7 + 2 * count;
        let long = |len: usize| [&[0x80], &(len as u32).to_be_bytes()[..]].concat();
        let mut packed = [&[7], &(bytes as u32).to_le_bytes()[..], &[0xff, 0xff, 0, 1]].concat();
        let left = bytes - 1 - 8;
        packed.extend(std::iter::repeat_n([0xe0, 255, 1], left / 264).flatten());
        packed.extend(std::iter::repeat_n([1, 0, 1], left % 264 / 2).flatten());
        packed.extend([0, 0xff]);
        let body = [&[18, 1, 2, 0xc3], &long(packed.len())[..], &long(bytes), &packed, &[11, 0]].concat();
        let crc = crate::redis::rdb::crc64(&body);
        [&body[..], &crc.to_le_bytes()].concat()
    }

    fn restore(bench: &mut Bench, payload: &[u8]) -> String {
        let client = bench.client.clone();
        bench.server.request(&client, &[b"RESTORE", b"l", b"0", payload]);
        crate::redis::testing::replies(&client)
    }

    /// 4 million elements in 91 KB took 400 MB and 6 s. Half a million are taken; more than the payload's size may hold are
    /// refused before anything is stored.
    #[test]
    fn a_small_payload_of_many_elements_is_bounded() {
        let mut bench = Bench::new();
        let many = zeros(4_000_000);
        assert!((90_000..92_000).contains(&many.len()), "{}", many.len());
        assert_eq!(
            restore(&mut bench, &many),
            "-ERR Bad data format: the payload has more elements than its size may hold"
        );
        assert_eq!(bench.run("DBSIZE"), ":0");
        assert_eq!(restore(&mut bench, &zeros(100_000)), "+OK");
        assert_eq!(bench.run("LLEN l"), ":100000");
        assert_eq!(bench.run("LRANGE l 99998 -1"), "[0 0]");
    }
}
