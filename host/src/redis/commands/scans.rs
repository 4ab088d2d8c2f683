//! HSCAN, SSCAN and ZSCAN: small collections at once, others a piece at a time.
//!
//! Elements are walked in the order in which they are stored, so whatever is there all the time comes exactly once.

use super::args::{integer, is};
use super::{Answer, Call, Fail, Reply};
use crate::redis::glob;
use crate::redis::resp::reply::{double, push_integer};
use crate::redis::server::cursors::{self, Scope};
use crate::redis::store::keyspace::{Collection, part_of};
use crate::redis::types::elements::{is_compact, walk};
use crate::redis::types::zset::{self, Members, Which};
use nokv_core::formats::redis::Kind;

/// Elements that a call looks at if it does not say how many.
const COUNT: u64 = 10;

/// `key cursor [MATCH pattern] [COUNT count]` on a collection of `kind`.
///
/// # Errors
/// What Redis says; a cursor that is not known (any more).
pub fn scan(call: &mut Call<'_>, kind: Kind) -> Answer<Reply> {
    let cursor = cursors::parse(call.args[2])?;
    let Some(of) = super::collections::read(call, call.args[1], kind)? else {
        return Ok(reply(0, Vec::new()));
    };
    let options = Options::read(&call.args[3..])?;
    let is_whole = is_compact(kind, &of.head);
    if is_whole && kind == Kind::SortedSet {
        return Ok(reply(0, whole_by_score(call, &of, &options)?));
    }
    // Not by the collection's number: positions are names, which mean the same in whatever the key holds by now.
    let scope = Scope::Elements { db: call.db, key: call.args[1].to_vec() };
    let from = if is_whole { None } else { call.state.cursors.resume(&scope, cursor)? };
    let limit = if is_whole { u64::MAX } else { options.count };
    let (found, next) = piece(call, &of, &from.unwrap_or_default(), limit, &options)?;
    let next = match next {
        Some(position) => call.state.cursors.hold(scope, cursor, position),
        None => {
            call.state.cursors.end(cursor);
            0
        }
    };
    Ok(reply(next, found))
}

struct Options<'c> {
    pattern: Option<&'c [u8]>,
    count: u64,
}

impl<'c> Options<'c> {
    fn read(mut rest: &[&'c [u8]]) -> Answer<Self> {
        let mut options = Self { pattern: None, count: COUNT };
        loop {
            match rest {
                [] => return Ok(options),
                [word, count, after @ ..] if is(word, "count") => {
                    let count = integer(count)?;
                    options.count = u64::try_from(count).ok().filter(|n| *n > 0).ok_or(Fail::SYNTAX)?;
                    rest = after;
                }
                [word, pattern, after @ ..] if is(word, "match") => {
                    options.pattern = Some(*pattern).filter(|pattern| *pattern != b"*");
                    rest = after;
                }
                _ => return Err(Fail::SYNTAX),
            }
        }
    }
}

/// Looks at up to `limit` elements from `from` on; gives those that match, and where the next one stands.
fn piece(
    call: &mut Call<'_>,
    of: &Collection<'_>,
    from: &[u8],
    limit: u64,
    options: &Options<'_>,
) -> Answer<(Vec<Reply>, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut cursor = walk(call.keys, of, from)?;
    let mut looked = 0;
    while cursor.advance()? {
        let part = part_of(cursor.key());
        if looked == limit {
            return Ok((found, Some(part.to_vec())));
        }
        looked += 1;
        if options.pattern.is_none_or(|pattern| glob::matches(pattern, part, false)) {
            found.push(Reply::bulk(part));
            match of.kind {
                Kind::Hash => found.push(Reply::Value(cursor.entry()?.value)),
                Kind::SortedSet => found.push(Reply::bulk(double(zset::decode(&cursor.entry()?.value)?))),
                _ => {}
            }
        }
    }
    Ok((found, None))
}

/// A small sorted set comes in the order of its scores.
fn whole_by_score(call: &mut Call<'_>, of: &Collection<'_>, options: &Options<'_>) -> Answer<Vec<Reply>> {
    let mut found = Vec::new();
    let mut walk = Members::of(call.keys, of, Which::Ranks(0, -1), false, (0, u64::MAX))?;
    while walk.advance()? {
        let (member, score) = walk.member()?;
        if options.pattern.is_none_or(|pattern| glob::matches(pattern, member, false)) {
            found.extend([Reply::bulk(member), Reply::bulk(double(score))]);
        }
    }
    Ok(found)
}

fn reply(cursor: u64, found: Vec<Reply>) -> Reply {
    let mut text = Vec::new();
    push_integer(&mut text, i64::try_from(cursor).unwrap_or(0));
    Reply::Array(vec![Reply::Bulk(text), Reply::Array(found)])
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    /// Walks on from `cursor` to the end; gives the members that come.
    fn rest(bench: &mut Bench, command: &str, key: &str, mut cursor: String) -> Vec<String> {
        let mut given = Vec::new();
        loop {
            let reply = bench.run(&format!("{command} {key} {cursor} COUNT 50")).replace(['[', ']'], "");
            let mut words = reply.split_whitespace().map(str::to_owned);
            cursor = words.next().expect("a cursor");
            assert!(!cursor.starts_with('-'), "{reply}");
            given.extend(words.filter(|word| word.starts_with('m')));
            if cursor == "0" {
                return given;
            }
        }
    }

    /// A first step, something else, and the rest: what is there all the time comes.
    fn goes_on_after(command: &str, make: &str, between: &[&str], stays: impl Fn(usize) -> bool) {
        let mut bench = Bench::new();
        let words: Vec<String> = (0..600)
            .map(|i| match command {
                "SSCAN" => format!("m{i:03}"),
                "HSCAN" => format!("m{i:03} v"),
                _ => format!("{i} m{i:03}"),
            })
            .collect();
        let make = format!("{make} k {}", words.join(" "));
        assert_eq!(bench.run(&make), ":600");
        let first = bench.run(&format!("{command} k 0 COUNT 50")).replace(['[', ']'], "");
        let cursor = first.split(' ').next().expect("a cursor").to_owned();
        for line in between {
            let reply = bench.run(if *line == "make" { &make } else { line });
            assert!(!reply.starts_with('-'), "{reply}");
        }
        let given = rest(&mut bench, command, "k", cursor);
        let wanted: Vec<String> = (50..600).filter(|i| stays(*i)).map(|i| format!("m{i:03}")).collect();
        assert_eq!(given, wanted, "{command} {between:?}");
    }

    #[test]
    fn a_cursor_goes_on_whatever_became_of_the_collection() {
        goes_on_after("SSCAN", "SADD", &["DEL k", "make"], |_| true);
        goes_on_after("SSCAN", "SADD", &["SUNIONSTORE k k"], |_| true);
        goes_on_after("SSCAN", "SADD", &["RENAME k l", "COPY l k"], |_| true);
        goes_on_after("HSCAN", "HSET", &["DEL k", "make"], |_| true);
        goes_on_after("ZSCAN", "ZADD", &["ZREMRANGEBYRANK k 0 399"], |i| i >= 400);
        goes_on_after("ZSCAN", "ZADD", &["ZUNIONSTORE k 1 k"], |_| true);
        let mut bench = Bench::new();
        bench.run(&format!("SADD k {}", (0..600).map(|i| format!("m{i} ")).collect::<String>()));
        let reply = bench.run("SSCAN k 0");
        let cursor = reply.trim_start_matches('[').split(' ').next().expect("a cursor").to_owned();
        bench.run("COPY k l");
        assert_eq!(bench.run(&format!("SSCAN l {cursor}")), "-ERR invalid cursor");
    }

    #[test]
    fn a_full_scan_of_others_leaves_a_cursor_alone() {
        let mut bench = Bench::new();
        let name = "n".repeat(60_000);
        (0..300).for_each(|i| drop(bench.run(&format!("SET {i}{name} v"))));
        let cursor_of =
            |reply: &str| reply.trim_start_matches('[').split(' ').next().expect("a cursor").to_owned();
        let mine = cursor_of(&bench.run("SCAN 0 COUNT 1"));
        let other = bench.connect();
        let (mut cursor, mut steps) = ("0".to_owned(), 0);
        loop {
            cursor = cursor_of(&bench.run_as(&other, &format!("SCAN {cursor} COUNT 1")));
            steps += 1;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(steps, 300);
        assert!(bench.run(&format!("SCAN {mine} COUNT 1")).contains("nnn"));
    }
}
