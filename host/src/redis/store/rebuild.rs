//! Transactions that change more than one batch takes: SPOP of a million members, RPUSH of as many.
//!
//! The collection with the most changes is built anew under another number, ahead of its head ([`super::build`]): the
//! transaction is left with the new head and one range delete of what was there. So it fits, and is atomic as before.
//!
//! 1. Only what the store refused as too large is rebuilt: all else is written as it is.
//! 2. Whoever changes a collection saved its head, so the heads in a transaction name the collections that it changes.
//! 3. What is left when no collection has many changes does not fit: the transaction fails as a whole. So does one that
//!    empties the database before: nothing can be written ahead under the range that it deletes.

use nokv_core::formats::redis::{self, Head, Kind};
use nokv_core::{Error, Result};

use super::backend::{CommitError, Table};
use super::build::Build;
use super::changes::{Changes, Put};
use super::keyspace::{Collection, Keyspace, part_of};

/// What a write counts beside its bytes.
const WRITE_BYTES: usize = 16;

/// A collection that the transaction changes.
struct Changed {
    space: u8,
    key: Vec<u8>,
    kind: Kind,
    expires_at: u64,
    head: Head,
    /// Roughly the bytes of its changes.
    bytes: usize,
}

impl Changed {
    /// Where its elements stand: first key, and the first behind.
    fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        let at = |number| redis::collection_prefix(self.space, number).to_vec();
        (at(self.head.collection), at(self.head.collection + 1))
    }
}

impl Keyspace {
    /// Commits the transaction, with collections rebuilt as far as it does not fit.
    pub(super) fn commit_rebuilt(&mut self) -> std::result::Result<u64, CommitError> {
        loop {
            let result = self.txn().commit();
            if !matches!(result, Err(CommitError::Store(Error::BatchTooLarge { .. }))) {
                return result;
            }
            let next = self.next_number();
            let Some(changed) = most_changed(self.txn().changes(), next) else { return result };
            if changed.bytes as u64 <= self.builds().piece_bytes() {
                return result;
            }
            self.rebuild(&changed).map_err(CommitError::Store)?;
        }
    }

    /// Gives a key what its collection holds now, under another number.
    fn rebuild(&mut self, old: &Changed) -> Result<()> {
        let head = Head { collection: self.take_number(), ..old.head };
        let collection = Collection {
            db: self.db_of(old.space),
            key: &old.key,
            kind: old.kind,
            expires_at: old.expires_at,
            head,
            exists: true,
            space: old.space,
        };
        let prefix = collection.element(&[]);
        let mut build = Build::of(collection);
        let (lower, upper) = old.bounds();
        let tables: &[Table] =
            if old.kind == Kind::SortedSet { &[Table::Elements, Table::Scores] } else { &[Table::Elements] };
        for table in tables {
            let mut cursor = self.txn().take_range(*table, &lower, &upper)?;
            while cursor.advance()? {
                let key = [&prefix, part_of(cursor.key())].concat();
                build.put(self, *table, &key, cursor.entry()?.value.into_vec())?;
            }
        }
        // The key stays as it is but for the number: effects and counts know of it already.
        build.end(self);
        let mut value = Vec::new();
        build.collection.head.encode(&mut value);
        let put = Put { value, kind: old.kind as u8, expires_at: old.expires_at };
        self.txn().put(Table::Keys(old.space), &old.key, put);
        if old.expires_at != 0 {
            let at = redis::expiry_key(old.space, old.expires_at, &old.key);
            let value = redis::expiry_value(old.kind, build.collection.head.collection).to_vec();
            self.txn().set(Table::Expiries, &at, value);
        }
        Ok(())
    }
}

/// The collection with the most changes among those that can be written ahead under the number `next`.
fn most_changed(changes: &Changes, next: u64) -> Option<Changed> {
    let mut most: Option<Changed> = None;
    for (table, writes) in changes.tables() {
        let Table::Keys(space) = table else { continue };
        if changes.hides(Table::Elements, &redis::collection_prefix(space, next)) {
            continue;
        }
        for (key, put) in writes.iter() {
            let Some(put) = put else { continue };
            let Some(kind) = Kind::from_byte(put.kind).filter(|kind| *kind != Kind::String) else { continue };
            let Ok(head) = Head::decode(&put.value) else { continue };
            let mut changed =
                Changed { space, key: key.clone(), kind, expires_at: put.expires_at, head, bytes: 0 };
            let (lower, upper) = changed.bounds();
            for table in [Table::Elements, Table::Scores] {
                changed.bytes += changes
                    .range(table, &lower, Some(&upper))
                    .map(|(key, put)| key.len() + put.as_ref().map_or(0, |put| put.value.len()) + WRITE_BYTES)
                    .sum::<usize>();
            }
            if most.as_ref().is_none_or(|most| changed.bytes > most.bytes) {
                most = Some(changed);
            }
        }
    }
    most
}

#[cfg(test)]
mod tests;
