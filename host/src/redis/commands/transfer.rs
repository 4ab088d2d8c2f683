//! Whole collections from one key to another, and new ones from a row of elements. They may be larger than a batch.

use super::Answer;
use crate::redis::store::backend::Table;
use crate::redis::store::build::Build;
use crate::redis::store::keyspace::{Found, Keyspace, part_of};
use nokv_core::formats::Malformed;
use nokv_core::formats::redis::{self, Head, Kind};

/// The position of the first element of a new list.
const LIST_START: u64 = 1 << 63;
/// The distance of neighbours in a new list.
const LIST_STRIDE: u64 = 1 << 20;

/// The number of a stored score.
///
/// # Errors
/// It is none.
pub fn score(stored: &[u8]) -> Answer<f64> {
    let bytes = stored.try_into().map_err(|_| Malformed::new(0, "score of a member"))?;
    Ok(f64::from_le_bytes(bytes))
}

/// Gives the key `to`, which holds nothing (any more), what was found under `from`, with its expiry.
///
/// # Errors
/// What the store met.
pub fn copy(keys: &mut Keyspace, from: (u8, &[u8]), found: Found, to: (u8, &[u8])) -> Answer<()> {
    let expires_at = found.expires_at;
    if found.kind == Kind::String {
        let slot = keys.slot(to.0, to.1)?;
        return keys.put(slot, found.value.into_vec(), expires_at);
    }
    let source = keys.collection_of(from.0, from.1, &found)?;
    let mut target = Filling::new(keys, to.0, to.1, found.kind);
    let mut cursor = keys.txn().scan(Table::Elements, &source.element(b""), Some(&source.end()), false)?;
    while cursor.advance()? {
        let part = part_of(cursor.key()).to_vec();
        let value = cursor.entry()?.value;
        if found.kind == Kind::SortedSet {
            let score = score(&value)?;
            target.0.scored(keys, &part, score)?;
        } else {
            target.0.element(keys, &part, value.into_vec())?;
        }
    }
    drop(cursor);
    let head = &mut target.0.collection.head;
    (head.flags, head.longest, head.ends) = (source.head.flags, source.head.longest, source.head.ends);
    target.finish(keys, expires_at)
}

/// A new collection that is filled element by element.
pub struct Filling<'k>(Build<'k>);

impl<'k> Filling<'k> {
    /// A collection for a key that holds nothing by the time of [`Filling::finish`].
    pub fn new(keys: &mut Keyspace, db: u8, key: &'k [u8], kind: Kind) -> Self {
        Self(keys.build(db, key, kind))
    }

    /// The next element of a list.
    ///
    /// # Errors
    /// What the store met.
    pub fn push(&mut self, keys: &mut Keyspace, element: Vec<u8>) -> Answer<()> {
        let at = LIST_START + self.0.collection.head.count * LIST_STRIDE;
        let first = self.0.collection.head.ends.map_or(at, |(first, _)| first);
        self.0.collection.head.ends = Some((first, at));
        self.0.element(keys, &at.to_be_bytes(), element)
    }

    /// A new member of a set.
    ///
    /// # Errors
    /// What the store met.
    pub fn member(&mut self, keys: &mut Keyspace, member: &[u8]) -> Answer<()> {
        if super::args::parse_integer(member).is_none() {
            self.0.collection.head.flags |= Head::NOT_INTEGERS;
        }
        self.0.element(keys, member, Vec::new())
    }

    /// A new field of a hash.
    ///
    /// # Errors
    /// What the store met.
    pub fn field(&mut self, keys: &mut Keyspace, field: &[u8], value: Vec<u8>) -> Answer<()> {
        self.0.element(keys, field, value)
    }

    /// A new member of a sorted set.
    ///
    /// # Errors
    /// What the store met.
    pub fn scored(&mut self, keys: &mut Keyspace, member: &[u8], score: f64) -> Answer<()> {
        self.0.scored(keys, member, redis::score_from_bits(redis::score_to_bits(score)))
    }

    /// Gives the key its collection. `expires_at` is in Unix milliseconds, 0 for never.
    ///
    /// # Errors
    /// What the store met.
    pub fn finish(mut self, keys: &mut Keyspace, expires_at: u64) -> Answer<()> {
        self.0.collection.expires_at = expires_at;
        self.0.finish(keys).map(drop)
    }
}
