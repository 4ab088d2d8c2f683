//! What a key holds, as it was looked up.

use nokv_core::formats::redis::{self, Head, Kind};
use nokv_core::read::point::Value;

use super::super::backend::Table;

/// What a key holds.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its type.
    pub kind: Kind,
    /// Unix milliseconds, 0 = never.
    pub expires_at: u64,
    /// The string, or the stored head.
    pub value: Value,
}

/// A key that was looked up, for whoever is to change it.
#[derive(Debug)]
pub struct Slot<'k> {
    /// The database.
    pub db: u8,
    /// The key.
    pub key: &'k [u8],
    /// What it holds.
    pub found: Option<Found>,
}

impl Slot<'_> {
    /// Its expiry, 0 for none.
    pub fn expires_at(&self) -> u64 {
        self.found.as_ref().map_or(0, |found| found.expires_at)
    }
}

/// A collection that was looked up or is new.
#[derive(Debug)]
pub struct Collection<'k> {
    /// The database.
    pub db: u8,
    /// The key.
    pub key: &'k [u8],
    /// Its type.
    pub kind: Kind,
    /// Unix milliseconds, 0 = never.
    pub expires_at: u64,
    /// The head. Whoever changes elements keeps `count` and `longest` right.
    pub head: Head,
    /// It is stored.
    pub exists: bool,
    pub(in crate::redis::store) space: u8,
}

impl Collection<'_> {
    /// The key of an element in [`Table::Elements`].
    pub fn element(&self, part: &[u8]) -> Vec<u8> {
        [&redis::collection_prefix(self.space, self.head.collection), part].concat()
    }

    /// The key of a member in [`Table::Scores`].
    pub fn score(&self, bits: u64, member: &[u8]) -> Vec<u8> {
        [&redis::collection_prefix(self.space, self.head.collection)[..], &bits.to_be_bytes(), member]
            .concat()
    }

    /// Where its elements stand in a table: the first key that one may have, and the first behind all. What was taken from
    /// the ends is not within.
    pub fn bounds(&self, table: Table) -> (Vec<u8>, Vec<u8>) {
        let is_by_ends =
            matches!((self.kind, table), (Kind::List, Table::Elements) | (Kind::SortedSet, Table::Scores));
        match self.head.ends.filter(|_| is_by_ends) {
            Some((first, last)) => {
                let upper = last.checked_add(1).map(|behind| self.element(&behind.to_be_bytes()));
                (self.element(&first.to_be_bytes()), upper.unwrap_or_else(|| self.end()))
            }
            None => (self.element(&[]), self.end()),
        }
    }

    /// Notes the score of a member that is about to be added.
    pub fn note_score(&mut self, bits: u64) {
        self.head.ends = match self.head.ends {
            Some((first, last)) => Some((first.min(bits), last.max(bits))),
            None => (self.head.count == 0).then_some((bits, bits)),
        };
    }

    /// The first key behind all its elements.
    pub fn end(&self) -> Vec<u8> {
        collection_end(self.space, self.head.collection)
    }

    /// The space of its database.
    pub const fn space(&self) -> u8 {
        self.space
    }

    /// Notes the length of an element.
    pub fn note_length(&mut self, bytes: usize) {
        self.head.longest = self.head.longest.max(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

/// The first key behind all elements of a collection.
pub(super) fn collection_end(space: u8, collection: u64) -> Vec<u8> {
    redis::collection_prefix(space, collection + 1).to_vec()
}

/// The part of an element's key behind the collection's.
pub fn part_of(key: &[u8]) -> &[u8] {
    key.get(redis::COLLECTION_PREFIX_BYTES..).unwrap_or_default()
}
