//! The value of a payload, element by element: none of them is held longer than whoever takes it needs.
//!
//! 1. At most one packed string is in memory at a time, unpacked.
//! 2. What a payload gives is bounded by its size: strings by what LZF can do at best and [`UNPACKED_BYTES_MAX`] in all,
//!    elements by [`ELEMENTS_FREE`] and [`ELEMENTS_PER_BYTE`]. A packed element takes two bytes at least, and each costs a
//!    write here; only long rows of equal ones come near the bound.
//!
//! [`UNPACKED_BYTES_MAX`]: super::reader::UNPACKED_BYTES_MAX

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use nokv_core::formats::redis::Kind;

use super::packed::{Form, Packed};
use super::reader::{Reader, score};
use super::*;
use crate::redis::fail::{Answer, Fail};

/// A part of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element<'e> {
    /// The string, an element of a list, or a member of a set.
    Single(&'e [u8]),
    /// A member of a sorted set.
    Scored(&'e [u8], f64),
    /// A field of a hash, and its value.
    Pair(&'e [u8], &'e [u8]),
}

/// Elements of a list in a node of its own, and packed ones.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

/// Elements that a payload may have, however small it is.
const ELEMENTS_FREE: u64 = 1 << 20;
/// Elements that it may have for each of its bytes.
const ELEMENTS_PER_BYTE: u64 = 8;

const DAMAGED: Fail = Fail::of("ERR Bad data format");
const TOO_MANY: Fail = Fail::of("ERR Bad data format: the payload has more elements than its size may hold");

/// The type of a payload, if it is one that is known here.
fn kind_of(of: u8) -> Option<Kind> {
    Some(match of {
        TYPE_STRING => Kind::String,
        TYPE_LIST | TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST | TYPE_LIST_QUICKLIST_2 => Kind::List,
        TYPE_SET | TYPE_SET_INTSET | TYPE_SET_LISTPACK => Kind::Set,
        TYPE_SORTED_SET_TEXT | TYPE_SORTED_SET | TYPE_SORTED_SET_ZIPLIST | TYPE_SORTED_SET_LISTPACK => {
            Kind::SortedSet
        }
        TYPE_HASH | TYPE_HASH_ZIPLIST | TYPE_HASH_LISTPACK => Kind::Hash,
        _ => return None,
    })
}

/// The type of a payload that is sound: it reads to its end, no collection is empty, no member or field is there twice,
/// and `name` takes all of these.
///
/// # Errors
/// What Redis says; what `name` says.
pub fn check(body: &[u8], name: fn(&[u8]) -> Answer<()>) -> Answer<Kind> {
    let kind = body.first().and_then(|of| kind_of(*of)).ok_or(DAMAGED)?;
    let mut names = Names::default();
    let mut count = 0;
    each(body, |element| {
        count += 1;
        match (kind, element) {
            (Kind::String | Kind::List, _) => Ok(()),
            (_, Element::Single(new) | Element::Scored(new, _) | Element::Pair(new, _)) => {
                name(new)?;
                if names.is_new(new) { Ok(()) } else { Err(DAMAGED) }
            }
        }
    })?;
    if count > 0 { Ok(kind) } else { Err(DAMAGED) }
}

/// Names that were seen, each as 128 bits that nobody can foresee: as large for long names as for short ones.
#[derive(Default)]
struct Names {
    seen: HashSet<[u64; 2]>,
    keys: [RandomState; 2],
}

impl Names {
    fn is_new(&mut self, name: &[u8]) -> bool {
        self.seen.insert(self.keys.each_ref().map(|key| key.hash_one(name)))
    }
}

/// Gives the elements in their order to `take`.
///
/// # Errors
/// What Redis says of damage, at the latest behind the last element; what `take` says.
pub fn each(body: &[u8], mut take: impl FnMut(Element<'_>) -> Answer<()>) -> Answer<()> {
    let mut reader = Reader::new(body);
    let of = reader.byte().ok_or(DAMAGED)?;
    let mut left = ELEMENTS_FREE + ELEMENTS_PER_BYTE * body.len() as u64;
    let take = &mut |element: Element<'_>| {
        left = left.checked_sub(1).ok_or(TOO_MANY)?;
        take(element)
    };
    let count = match of {
        TYPE_LIST
        | TYPE_SET
        | TYPE_HASH
        | TYPE_SORTED_SET_TEXT
        | TYPE_SORTED_SET
        | TYPE_LIST_QUICKLIST
        | TYPE_LIST_QUICKLIST_2 => reader.length().ok_or(DAMAGED)?,
        _ => 1,
    };
    // Each takes a byte at least.
    for _ in 0..count {
        one(&mut reader, of, take)?;
    }
    if reader.is_at_end() { Ok(()) } else { Err(DAMAGED) }
}

/// Reads an element, or a string of packed ones.
fn one(reader: &mut Reader<'_>, of: u8, take: &mut impl FnMut(Element<'_>) -> Answer<()>) -> Answer<()> {
    match of {
        TYPE_STRING | TYPE_LIST | TYPE_SET => take(Element::Single(&string(reader)?)),
        TYPE_HASH => {
            let field = string(reader)?;
            take(Element::Pair(&field, &string(reader)?))
        }
        TYPE_SORTED_SET_TEXT => {
            let member = string(reader)?;
            take(Element::Scored(&member, reader.text_score().ok_or(DAMAGED)?))
        }
        TYPE_SORTED_SET => {
            let member = string(reader)?;
            let score = reader.array().map(f64::from_le_bytes).filter(|score| !score.is_nan());
            take(Element::Scored(&member, score.ok_or(DAMAGED)?))
        }
        TYPE_LIST_QUICKLIST_2 => match reader.length().ok_or(DAMAGED)? {
            NODE_PLAIN => take(Element::Single(&string(reader)?)),
            NODE_PACKED => singles(&string(reader)?, Form::Listpack, take),
            _ => Err(DAMAGED),
        },
        TYPE_LIST_QUICKLIST | TYPE_LIST_ZIPLIST => singles(&string(reader)?, Form::Ziplist, take),
        TYPE_SET_INTSET => singles(&string(reader)?, Form::Intset, take),
        TYPE_SET_LISTPACK => singles(&string(reader)?, Form::Listpack, take),
        TYPE_HASH_ZIPLIST | TYPE_SORTED_SET_ZIPLIST => pairs(&string(reader)?, Form::Ziplist, of, take),
        TYPE_HASH_LISTPACK | TYPE_SORTED_SET_LISTPACK => pairs(&string(reader)?, Form::Listpack, of, take),
        _ => Err(DAMAGED),
    }
}

fn string<'p>(reader: &mut Reader<'p>) -> Answer<Cow<'p, [u8]>> {
    reader.string().ok_or(DAMAGED)
}

fn singles(bytes: &[u8], form: Form, take: &mut impl FnMut(Element<'_>) -> Answer<()>) -> Answer<()> {
    let mut packed = Packed::new(bytes, form).ok_or(DAMAGED)?;
    let mut text = Vec::new();
    while let Some(item) = packed.next().ok_or(DAMAGED)? {
        take(Element::Single(item.text(&mut text)))?;
    }
    Ok(())
}

fn pairs(bytes: &[u8], form: Form, of: u8, take: &mut impl FnMut(Element<'_>) -> Answer<()>) -> Answer<()> {
    let mut packed = Packed::new(bytes, form).ok_or(DAMAGED)?;
    let (mut first_text, mut second_text) = (Vec::new(), Vec::new());
    while let Some(first) = packed.next().ok_or(DAMAGED)? {
        let second = packed.next().flatten().ok_or(DAMAGED)?;
        let (first, second) = (first.text(&mut first_text), second.text(&mut second_text));
        if matches!(of, TYPE_HASH_ZIPLIST | TYPE_HASH_LISTPACK) {
            take(Element::Pair(first, second))?;
        } else {
            take(Element::Scored(first, score(second).ok_or(DAMAGED)?))?;
        }
    }
    Ok(())
}
