//! The value of a payload.

use std::collections::HashSet;

use super::reader::{Reader, score};
use super::{packed, *};

/// A value that was read. No collection is empty, and no member or field is there twice.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// Bytes.
    String(Vec<u8>),
    /// Elements in their order.
    List(Vec<Vec<u8>>),
    /// Members.
    Set(Vec<Vec<u8>>),
    /// Members with scores.
    SortedSet(Vec<(Vec<u8>, f64)>),
    /// Fields with values.
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
}

/// Elements of a list in a node of its own, and packed ones.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

/// Reads type and value; `None` if they are damaged, or of a type that is not known here.
pub fn load(body: &[u8]) -> Option<Loaded> {
    let mut reader = Reader::new(body);
    let of = reader.byte()?;
    let loaded = match of {
        TYPE_STRING => Loaded::String(reader.string()?),
        TYPE_LIST => Loaded::List(many(&mut reader, Reader::string)?),
        TYPE_SET => Loaded::Set(many(&mut reader, Reader::string)?),
        TYPE_HASH => Loaded::Hash(many(&mut reader, |reader| Some((reader.string()?, reader.string()?)))?),
        TYPE_SORTED_SET_TEXT => {
            Loaded::SortedSet(many(&mut reader, |reader| Some((reader.string()?, reader.text_score()?)))?)
        }
        TYPE_SORTED_SET => {
            let scored = |reader: &mut Reader<'_>| {
                let member = reader.string()?;
                let score = f64::from_le_bytes(reader.array()?);
                (!score.is_nan()).then_some((member, score))
            };
            Loaded::SortedSet(many(&mut reader, scored)?)
        }
        TYPE_LIST_ZIPLIST => Loaded::List(packed::ziplist(&reader.string()?)?),
        TYPE_SET_INTSET => Loaded::Set(packed::intset(&reader.string()?)?),
        TYPE_SET_LISTPACK => Loaded::Set(packed::listpack(&reader.string()?)?),
        TYPE_HASH_ZIPLIST => Loaded::Hash(pairs(packed::ziplist(&reader.string()?)?)?),
        TYPE_HASH_LISTPACK => Loaded::Hash(pairs(packed::listpack(&reader.string()?)?)?),
        TYPE_SORTED_SET_ZIPLIST => Loaded::SortedSet(scored(packed::ziplist(&reader.string()?)?)?),
        TYPE_SORTED_SET_LISTPACK => Loaded::SortedSet(scored(packed::listpack(&reader.string()?)?)?),
        TYPE_LIST_QUICKLIST => {
            let nodes = many(&mut reader, |reader| packed::ziplist(&reader.string()?))?;
            Loaded::List(nodes.into_iter().flatten().collect())
        }
        TYPE_LIST_QUICKLIST_2 => {
            let node = |reader: &mut Reader<'_>| match reader.length()? {
                NODE_PLAIN => Some(vec![reader.string()?]),
                NODE_PACKED => packed::listpack(&reader.string()?),
                _ => None,
            };
            Loaded::List(many(&mut reader, node)?.into_iter().flatten().collect())
        }
        _ => return None,
    };
    (reader.is_at_end() && loaded.is_sound()).then_some(loaded)
}

/// As many as the length before them says; each takes a byte at least.
fn many<'p, T>(reader: &mut Reader<'p>, one: impl Fn(&mut Reader<'p>) -> Option<T>) -> Option<Vec<T>> {
    let count = reader.length()?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(one(reader)?);
    }
    Some(all)
}

fn pairs(elements: Vec<Vec<u8>>) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut pairs = Vec::with_capacity(elements.len() / 2);
    let mut elements = elements.into_iter();
    while let Some(first) = elements.next() {
        pairs.push((first, elements.next()?));
    }
    Some(pairs)
}

fn scored(elements: Vec<Vec<u8>>) -> Option<Vec<(Vec<u8>, f64)>> {
    pairs(elements)?.into_iter().map(|(member, text)| Some((member, score(&text)?))).collect()
}

impl Loaded {
    fn is_sound(&self) -> bool {
        match self {
            Self::String(_) => true,
            Self::List(elements) => !elements.is_empty(),
            Self::Set(members) => are_different(members.iter()),
            Self::SortedSet(members) => are_different(members.iter().map(|(member, _)| member)),
            Self::Hash(fields) => are_different(fields.iter().map(|(field, _)| field)),
        }
    }
}

/// Is there one at least, and none of them twice?
fn are_different<'a>(names: impl ExactSizeIterator<Item = &'a Vec<u8>>) -> bool {
    let count = names.len();
    let seen: HashSet<&[u8]> = names.map(Vec::as_slice).collect();
    count > 0 && seen.len() == count
}
