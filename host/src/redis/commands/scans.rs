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
    let cursor = call.args[2];
    cursors::parse(cursor)?;
    let Some(of) = super::collections::read(call, call.args[1], kind)? else {
        return Ok(reply(0, Vec::new()));
    };
    let options = Options::read(&call.args[3..])?;
    let is_whole = is_compact(kind, &of.head);
    if is_whole && kind == Kind::SortedSet {
        return Ok(reply(0, whole_by_score(call, &of, &options)?));
    }
    let scope = Scope::Collection { number: of.head.collection };
    let from = if is_whole { None } else { call.state.cursors.resume(scope, cursor)? };
    let limit = if is_whole { u64::MAX } else { options.count };
    let (found, next) = piece(call, &of, &from.unwrap_or_default(), limit, &options)?;
    let next = next.map_or(0, |position| call.state.cursors.hold(scope, position));
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
