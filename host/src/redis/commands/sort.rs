//! SORT: the elements of a collection in an order, or what stands in keys named after them.

use std::cmp::Ordering;

use super::args::{check_name, integer, is};
use super::transfer::Filling;
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use crate::redis::store::backend::Table;
use crate::redis::store::effects::Class;
use crate::redis::store::keyspace::part_of;
use nokv_core::formats::redis::{COLLECTION_PREFIX_BYTES, Kind};

/// The commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        arity: -2,
        flags: Flags::WRITE.and(Flags::GROWS).and(Flags::MOVABLE_KEYS),
        keys: Keys::FirstAndStore,
        handler: sort,
        summary: "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.",
        usage: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE \
                destination]",
        ..Command::NEW
    },
    Command {
        name: "sort_ro",
        arity: -2,
        flags: Flags::READ.and(Flags::MOVABLE_KEYS),
        keys: Keys::ONE,
        handler: sort,
        since: "7.0.0",
        summary: "Returns the sorted elements of a list, a set, or a sorted set.",
        usage: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        ..Command::NEW
    },
];

/// Bytes of a stored score before the member.
const SCORE_BYTES: usize = 8;

struct Options<'a> {
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    limit: Option<(i64, i64)>,
    is_descending: bool,
    is_alpha: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(mut rest: &[&'a [u8]], may_store: bool) -> Answer<Self> {
        let mut of = Self {
            by: None,
            get: Vec::new(),
            limit: None,
            is_descending: false,
            is_alpha: false,
            store: None,
        };
        loop {
            rest = match rest {
                [] => return Ok(of),
                [word, after @ ..] if is(word, "asc") => {
                    of.is_descending = false;
                    after
                }
                [word, after @ ..] if is(word, "desc") => {
                    of.is_descending = true;
                    after
                }
                [word, after @ ..] if is(word, "alpha") => {
                    of.is_alpha = true;
                    after
                }
                [word, start, count, after @ ..] if is(word, "limit") => {
                    of.limit = Some((integer(start)?, integer(count)?));
                    after
                }
                [word, key, after @ ..] if may_store && is(word, "store") => {
                    check_name(key)?;
                    of.store = Some(key);
                    after
                }
                [word, pattern, after @ ..] if is(word, "by") => {
                    of.by = Some(pattern);
                    after
                }
                [word, pattern, after @ ..] if is(word, "get") => {
                    of.get.push(pattern);
                    after
                }
                _ => return Err(Fail::SYNTAX),
            }
        }
    }

    /// The part of `len` elements that is given.
    fn part(&self, len: usize) -> std::ops::Range<usize> {
        let (start, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(start.max(0)).unwrap_or(usize::MAX).min(len);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}

fn sort(call: &mut Call<'_>) -> Answer<Reply> {
    let mut options = Options::parse(&call.args[2..], call.command.name == "sort")?;
    let found = call.read(call.args[1])?;
    let kind = match &found {
        Some(found) if found.kind == Kind::String || found.kind == Kind::Hash => {
            return Err(Fail::WRONG_TYPE);
        }
        Some(found) => found.kind,
        None => Kind::List,
    };
    // A pattern that names one key gives all elements the same weight: they stay in their order.
    let mut is_sorted = options.by.is_none_or(|by| by.contains(&b'*'));
    if !is_sorted && kind == Kind::Set && options.store.is_some() {
        // What is stored must not depend on an order that a set does not have.
        (is_sorted, options.is_alpha, options.by) = (true, true, None);
    }
    let mut elements = Vec::new();
    if let Some(found) = found {
        let collection = call.keys.collection_of(call.db, call.args[1], &found)?;
        let table = if kind == Kind::SortedSet { Table::Scores } else { Table::Elements };
        let has_order = kind != Kind::Set;
        let reverse = has_order && !is_sorted && options.is_descending;
        let lower = collection.element(b"");
        let mut cursor = call.keys.txn().scan(table, &lower, Some(&collection.end()), reverse)?;
        let len = usize::try_from(collection.head.count).unwrap_or(usize::MAX);
        let wanted = if is_sorted { len } else { options.part(len).end };
        while elements.len() < wanted && cursor.advance()? {
            elements.push(match kind {
                Kind::List => cursor.entry()?.value.into_vec(),
                Kind::SortedSet => {
                    let key = cursor.key();
                    key.get(COLLECTION_PREFIX_BYTES + SCORE_BYTES..).unwrap_or_default().to_vec()
                }
                _ => part_of(cursor.key()).to_vec(),
            });
        }
    }
    let part = options.part(elements.len());
    if is_sorted {
        elements = in_order(call, elements, &options)?;
    }
    let mut given = Vec::new();
    for element in elements.drain(part) {
        if options.get.is_empty() {
            given.push(Some(element));
            continue;
        }
        for pattern in &options.get {
            given.push(look_up(call, pattern, &element)?);
        }
    }
    match options.store {
        None => Ok(Reply::Array(given.into_iter().map(Reply::bulk_or_nil).collect())),
        Some(to) => store(call, to, given),
    }
}

/// Stores a list in place of what the key held.
fn store(call: &mut Call<'_>, to: &[u8], given: Vec<Option<Vec<u8>>>) -> Answer<Reply> {
    let len = given.len();
    let slot = call.keys.slot(call.db, to)?;
    let was_there = call.keys.replace(&slot)?;
    if len > 0 {
        let mut list = Filling::new(call.keys, call.db, to, Kind::List);
        for element in given {
            list.push(call.keys, element.unwrap_or_default())?;
        }
        list.finish(call.keys, 0)?;
        call.event(Class::LIST, "sortstore", to);
    } else if was_there {
        call.event(Class::GENERIC, "del", to);
    }
    Ok(Reply::count(len))
}

/// What elements are compared by.
enum Weight {
    Number(f64),
    Text(Option<Vec<u8>>),
}

fn in_order(call: &mut Call<'_>, elements: Vec<Vec<u8>>, options: &Options<'_>) -> Answer<Vec<Vec<u8>>> {
    let mut weighted = Vec::with_capacity(elements.len());
    for element in elements {
        let by = match options.by {
            None => Some(element.clone()),
            Some(by) => look_up(call, by, &element)?,
        };
        let weight = if options.is_alpha {
            Weight::Text(by)
        } else {
            Weight::Number(by.as_deref().map_or(Ok(0.0), number)?)
        };
        weighted.push((weight, element));
    }
    let compare = |(a, of_a): &(Weight, Vec<u8>), (b, of_b): &(Weight, Vec<u8>)| match (a, b) {
        (Weight::Number(a), Weight::Number(b)) => {
            a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| of_a.cmp(of_b))
        }
        (Weight::Text(a), Weight::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    if options.is_descending {
        weighted.sort_by(|a, b| compare(b, a));
    } else {
        weighted.sort_by(compare);
    }
    Ok(weighted.into_iter().map(|(_, element)| element).collect())
}

fn number(text: &[u8]) -> Answer<f64> {
    let wrong = || Fail::of("ERR One or more scores can't be converted into double");
    // Blanks before it and nothing at all are taken, as the C library takes them.
    let text = std::str::from_utf8(text).map_err(|_| wrong())?.trim_ascii_start();
    if text.is_empty() {
        return Ok(0.0);
    }
    text.parse().ok().filter(|number: &f64| !number.is_nan()).ok_or_else(wrong)
}

/// What the key or the field holds that a pattern names for an element: `weight_*`, `object_*->field`, or `#` for the
/// element itself.
fn look_up(call: &mut Call<'_>, pattern: &[u8], element: &[u8]) -> Answer<Option<Vec<u8>>> {
    if pattern == b"#" {
        return Ok(Some(element.to_vec()));
    }
    let Some(star) = pattern.iter().position(|b| *b == b'*') else { return Ok(None) };
    let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = behind.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < behind.len());
    let (behind, field) = match arrow {
        Some(at) => (&behind[..at], Some(&behind[at + 2..])),
        None => (behind, None),
    };
    let key = [before, element, behind].concat();
    let Some(found) = call.read(&key)? else { return Ok(None) };
    match (field, found.kind) {
        (None, Kind::String) => Ok(Some(found.value.into_vec())),
        (Some(field), Kind::Hash) => {
            check_name(field)?;
            let hash = call.keys.collection_of(call.db, &key, &found)?;
            let stored = call.keys.txn().get(Table::Elements, &hash.element(field))?;
            Ok(stored.map(|stored| stored.value.into_vec()))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn elements_come_in_the_order_asked_for() {
        Bench::new().script(
            r#"
            > RESTORE l 0 "\x12\x01\x02\x14\x14\x00\x00\x00\x06\x00\x03\x01\x01\x01\x02\x01\x0a\x01\xdf\xfb\x02\x03\x01\xff\x0a\x00\x72\xea\xcd\xb5\x44\x67\x02\x9e"
            +OK
            > RESTORE w 0 "\x12\x01\x02\x0f\x0f\x00\x00\x00\x03\x00\x81\x62\x02\x81\x61\x02\x01\x01\xff\x0a\x00\xc9\x73\xb8\x0b\x2f\x18\x54\x5e"
            +OK
            > RESTORE z 0 "\x11\x1a\x1a\x00\x00\x00\x06\x00\x81\x62\x02\xdf\xfe\x02\x81\x61\x02\x83\x31\x2e\x35\x04\x81\x63\x02\x64\x01\xff\x0a\x00\x71\x8b\xe7\x3e\x2c\x2a\xab\x28"
            +OK
            > RESTORE h_1 0 "\x10\x11\x11\x00\x00\x00\x04\x00\x81\x66\x02\x01\x01\x81\x67\x02\x02\x01\xff\x0a\x00\xdc\xe0\x88\xc5\x78\xac\x6c\x2b"
            +OK
            > MSET w_3 1 w_1 3 w_2 2
            +OK
            > SORT l
            [-5 1 2 3 3 10]
            > SORT l DESC LIMIT 1 2
            [3 3]
            > SORT l ALPHA
            [-5 1 10 2 3 3]
            > SORT l BY w_*
            [-5 10 3 3 2 1]
            > SORT l BY h_*->f DESC
            [1 3 3 2 10 -5]
            > SORT l BY nosort DESC
            [3 -5 10 2 1 3]
            > SORT l BY nosort LIMIT 1 3 GET # GET w_* GET h_*->g GET none
            [1 3 2 nil 2 2 nil nil 10 nil nil nil]
            > SORT w
            -ERR One or more scores can't be converted into double
            > SORT w ALPHA
            [1 a b]
            > SORT z BY nosort DESC
            [c a b]
            > SORT z ALPHA LIMIT 1 -1
            [b c]
            > SORT h_1
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SORT l LIMIT 1
            -ERR syntax error
            > SORT_RO l STORE x
            -ERR syntax error
            > SORT l LIMIT 0 3 STORE d
            :3
            > SORT d BY nosort
            [-5 1 2]
            > SORT none STORE d
            :0
            > EXISTS d
            :0
            "#,
        );
    }
}
