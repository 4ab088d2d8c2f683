//! SCAN, KEYS and RANDOMKEY: which keys there are.
//!
//! SCAN walks the keys in their order from the last one that it gave: a key that is there all the time is given exactly
//! once, whatever else is written meanwhile.

use std::hash::{BuildHasher, RandomState};

use super::args::{integer, is};
use super::databases;
use super::keys::kind_name;
use super::{Answer, Call, Command, Fail, Flags, Reply};
use crate::redis::glob;
use crate::redis::server::cursors::{Scope, parse};
use crate::redis::store::backend::Table;
use nokv_core::formats::redis::Kind;

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "scan",
        arity: -2,
        flags: Flags::READ,
        handler: scan,
        since: "2.8.0",
        summary: "Iterates over the key names in the database.",
        usage: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        ..Command::NEW
    },
    Command {
        name: "keys",
        arity: 2,
        flags: Flags::READ,
        handler: keys,
        summary: "Returns all key names that match a pattern.",
        usage: "pattern",
        ..Command::NEW
    },
    Command {
        name: "randomkey",
        arity: 1,
        flags: Flags::READ,
        handler: randomkey,
        summary: "Returns a random key name from the database.",
        ..Command::NEW
    },
];

/// Keys that are looked at if nothing else is asked for.
const COUNT: i64 = 10;
/// Bytes of keys in one reply: a larger count goes on with the next call.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// What SCAN and its like are asked for.
pub struct Wanted<'a> {
    /// Only what matches.
    pub pattern: Option<&'a [u8]>,
    /// How many are looked at.
    pub count: i64,
    /// Only keys of the type of this name.
    pub kind: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// Reads the options; `TYPE` only where there are keys.
    ///
    /// # Errors
    /// What Redis says.
    pub fn parse(mut rest: &[&'a [u8]], of_keys: bool) -> Answer<Self> {
        let mut wanted = Self { pattern: None, count: COUNT, kind: None };
        loop {
            rest = match rest {
                [] => return Ok(wanted),
                [word, count, after @ ..] if is(word, "count") => {
                    wanted.count = integer(count)?;
                    if wanted.count < 1 {
                        return Err(Fail::SYNTAX);
                    }
                    after
                }
                [word, pattern, after @ ..] if is(word, "match") => {
                    wanted.pattern = Some(pattern);
                    after
                }
                [word, kind, after @ ..] if of_keys && is(word, "type") => {
                    wanted.kind = Some(kind);
                    after
                }
                _ => return Err(Fail::SYNTAX),
            }
        }
    }

    /// Does the name match?
    pub fn takes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }
}

/// The key right behind this one.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn scan(call: &mut Call<'_>) -> Answer<Reply> {
    let number = parse(call.args[1])?;
    let wanted = Wanted::parse(&call.args[2..], true)?;
    let scope = Scope::Keys { space: call.keys.space(call.db) };
    let from = call.state.cursors.resume(&scope, number)?.map(after).unwrap_or_default();
    // What cannot match is not looked at.
    let prefix = wanted.pattern.map_or(&b""[..], literal);
    let mut cursor = call.keys.keys(call.db, prefix.max(&from))?;
    let (mut given, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
    let mut last = Vec::new();
    let next = loop {
        if !cursor.advance()? || !cursor.key().starts_with(prefix) {
            call.state.cursors.end(number);
            break 0;
        }
        if looked_at == wanted.count || bytes > REPLY_BYTES_MAX {
            break call.state.cursors.hold(scope, number, last);
        }
        looked_at += 1;
        let key = cursor.key();
        key.clone_into(&mut last);
        let is_wanted = wanted.takes(key)
            && match wanted.kind {
                Some(name) => {
                    Kind::from_byte(cursor.entry()?.kind).is_some_and(|kind| is(name, kind_name(kind)))
                }
                None => true,
            };
        if is_wanted {
            bytes += key.len();
            given.push(Reply::bulk(key));
        }
    };
    Ok(Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(given)]))
}

/// What stands before the first special character of a pattern: all that matches begins with it.
fn literal(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'));
    &pattern[..end.unwrap_or(pattern.len())]
}

fn keys(call: &mut Call<'_>) -> Answer<Reply> {
    let pattern = call.args[1];
    let prefix = literal(pattern);
    let mut cursor = call.keys.keys(call.db, prefix)?;
    let mut given = Vec::new();
    while cursor.advance()? && cursor.key().starts_with(prefix) {
        if glob::matches(pattern, cursor.key(), false) {
            given.push(Reply::bulk(cursor.key()));
        }
    }
    Ok(Reply::Array(given))
}

/// A number below `limit`, which is not 0.
fn random(limit: u64) -> u64 {
    RandomState::new().hash_one(limit) % limit
}

/// Keys that are stepped over one by one to reach a random one.
const STEPS_MAX: u64 = 1024;

/// With few keys each is as likely as any other. Among many, a random place between the first and the last key is looked
/// for, so a key behind a large gap is more likely.
fn randomkey(call: &mut Call<'_>) -> Answer<Reply> {
    let (from, steps) = match databases::size(call, call.db)? {
        Some(0) => return Ok(Reply::Nil),
        Some(size) if size <= STEPS_MAX => (Vec::new(), random(size)),
        _ => (random_place(call)?, random(STEPS_MAX)),
    };
    let mut cursor = call.keys.keys(call.db, &from)?;
    for _ in 0..steps {
        if !cursor.advance()? {
            break;
        }
    }
    if cursor.advance()? {
        return Ok(Reply::bulk(cursor.key()));
    }
    // Behind the last key is the first one.
    cursor = call.keys.keys(call.db, b"")?;
    Ok(if cursor.advance()? { Reply::bulk(cursor.key()) } else { Reply::Nil })
}

fn random_place(call: &mut Call<'_>) -> Answer<Vec<u8>> {
    let table = Table::Keys(call.keys.space(call.db));
    let mut ends = Vec::new();
    for reverse in [false, true] {
        let mut cursor = call.keys.txn().scan(table, b"", None, reverse)?;
        if !cursor.advance()? {
            return Ok(Vec::new());
        }
        ends.push(cursor.key().to_vec());
    }
    let [first, last] = &ends[..] else { return Ok(Vec::new()) };
    let same = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    let low = first.get(same).copied().unwrap_or(0);
    let high = last.get(same).copied().unwrap_or(u8::MAX).max(low);
    let mut place = first[..same].to_vec();
    place.push(low + random(u64::from(high - low) + 1) as u8);
    // Keys are mostly digits and letters.
    place.extend(
        (0..12)
            .map(|_| b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[random(62) as usize]),
    );
    Ok(place)
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn options_of_scan() {
        Bench::new().script(
            r#"
            > SCAN 0
            [0 []]
            > RANDOMKEY
            nil
            > SET key:1 x
            +OK
            > SCAN 0 COUNT 0
            -ERR syntax error
            > SCAN 0 COUNT a
            -ERR value is not an integer or out of range
            > SCAN 0 FOO
            -ERR syntax error
            > SCAN x
            -ERR invalid cursor
            > SCAN 0 MATCH key:* TYPE string
            [0 [key:1]]
            > SCAN 0 TYPE list
            [0 []]
            > KEYS k*
            [key:1]
            > KEYS key:[2]
            []
            > RANDOMKEY
            key:1
            "#,
        );
    }

    #[test]
    fn what_stays_is_given_once_whatever_is_written_meanwhile() {
        let mut bench = Bench::new();
        (0..50).for_each(|i| drop(bench.run(&format!("SET stays:{i} x"))));
        let (mut cursor, mut given, mut step) = ("0".to_owned(), Vec::new(), 0);
        loop {
            let reply = bench.run(&format!("SCAN {cursor} COUNT 7"));
            // A call that is repeated gives the same, only that each start is an iteration of its own: others may have
            // begun at the same place, and go at their own pace.
            let again = bench.run(&format!("SCAN {cursor} COUNT 7"));
            let keys = |reply: &str| reply.split_once(' ').map(|(_, keys)| keys.to_owned());
            assert_eq!(keys(&again), keys(&reply));
            assert_eq!(again == reply, cursor != "0");
            let reply = reply.replace(['[', ']'], "");
            let mut words = reply.split_whitespace().map(str::to_owned);
            cursor = words.next().expect("a cursor");
            given.extend(words.filter(|key| key.starts_with("stays:")));
            if cursor == "0" {
                break;
            }
            for i in 0..5 {
                bench.run(&format!("SET s{step} x"));
                bench.run(&format!("SET t{i}:{step} x"));
                bench.run(&format!("DEL s{}", step - 3));
            }
            step += 1;
        }
        let mut wanted: Vec<String> = (0..50).map(|i| format!("stays:{i}")).collect();
        wanted.sort();
        assert_eq!(given, wanted);
    }

    #[test]
    fn a_cursor_goes_with_its_database() {
        let mut bench = Bench::new();
        (0..20).for_each(|i| drop(bench.run(&format!("SET k{i} x"))));
        let reply = bench.run("SCAN 0");
        let cursor = reply.trim_start_matches('[').split(' ').next().expect("a cursor").to_owned();
        bench.run("SWAPDB 0 1");
        assert_eq!(bench.run(&format!("SCAN {cursor}")), "-ERR invalid cursor");
        bench.run("SELECT 1");
        assert!(bench.run(&format!("SCAN {cursor}")).starts_with("[0 ["));
    }
}
