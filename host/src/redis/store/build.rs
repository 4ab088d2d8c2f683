//! Collections that are written as a whole and may be larger than one batch: results of `SUNIONSTORE` and its like.
//!
//! Elements without a head are invisible, so they may be written ahead of the command that they belong to. A `building`
//! record tells of them until the head is there:
//!
//! ```text
//! a. record and first piece   one batch, as soon as more than a piece is at hand; takes the collection's number, too
//! b. further pieces           one batch each
//! c. commit of the command    the rest of the elements, the head, the end of the record, what else the command does
//!
//! crash before a     nothing
//! crash from a to c  record and elements, no head: Keyspace::open removes both
//! crash after c      the collection, no record
//! ```
//! A command that fails, or meets a conflict, leaves what a crash before c does. So does one whose builder is dropped
//! while the rest of its transaction commits. `Builds::sweep` removes it when the next transaction begins:
//!
//! ```text
//! d. elements and record go   one batch of range deletes, if the record is still there: if not, c did happen
//!
//! crash before d     as between a and c
//! crash after d      nothing
//! ```
//! 1. What fits in a piece is written by the command's commit alone.
//! 2. Nothing is written ahead under a range that the transaction deletes: that would delete it, too.

use nokv_core::Result;
use nokv_core::formats::redis::{self, Kind};

use super::backend::{Backend, BatchLimit, CommitError, Conditions, Table};
use super::changes::{Changes, Put};
use super::keyspace::{Collection, Keyspace};
use crate::redis::fail::Answer;

/// Bytes that are written at once, but for stores whose batches are small.
const PIECE_BYTES: u64 = 1 << 20;
/// What a write takes beside its key and value, at most.
const WRITE_BYTES: u64 = 32;

/// Number and space of a collection.
type Which = (u8, u64);

/// Collections that were written ahead and have no committed head.
#[derive(Debug)]
pub(super) struct Builds {
    /// Of this transaction, without a head yet.
    open: Vec<Which>,
    /// Of this transaction, with a head in it.
    finished: Vec<Which>,
    /// Of transactions that ended without them.
    left: Vec<Which>,
    piece_bytes: u64,
}

impl Builds {
    /// For a store whose batches are limited.
    pub(super) fn new(limit: BatchLimit) -> Self {
        // What is left of a piece joins the command's own changes: both fit.
        let by_writes = (limit.writes / 4).saturating_mul(WRITE_BYTES);
        let piece_bytes = PIECE_BYTES.min(limit.bytes / 4).min(by_writes);
        Self { open: Vec::new(), finished: Vec::new(), left: Vec::new(), piece_bytes }
    }

    /// Bytes that are written at once.
    pub(super) const fn piece_bytes(&self) -> u64 {
        self.piece_bytes
    }

    /// The transaction committed.
    pub(super) fn committed(&mut self) {
        self.finished.clear();
        self.left.append(&mut self.open);
    }

    /// The transaction did not commit.
    pub(super) fn abandoned(&mut self) {
        self.left.append(&mut self.open);
        self.left.append(&mut self.finished);
    }

    /// Removes what was left.
    ///
    /// # Errors
    /// What the store met: the rest stays for the next time.
    pub(super) fn sweep(&mut self, backend: &dyn Backend) -> Result<()> {
        while let Some((space, collection)) = self.left.last().copied() {
            let name = record_name(collection);
            if backend.get(Table::System, &name)?.is_some() {
                let (lower, upper) = (
                    redis::collection_prefix(space, collection),
                    redis::collection_prefix(space, collection + 1),
                );
                let mut changes = Changes::default();
                changes.delete_range(Table::Elements, &lower, Some(&upper));
                changes.delete_range(Table::Scores, &lower, Some(&upper));
                changes.delete(Table::System, &name);
                match backend.commit(&changes, &Conditions::NONE) {
                    Ok(_) => {}
                    Err(CommitError::Conflict) => return Ok(()),
                    Err(CommitError::Store(error)) => return Err(error),
                }
            }
            self.left.pop();
        }
        Ok(())
    }
}

fn record_name(collection: u64) -> Vec<u8> {
    [redis::SYSTEM_BUILDING, &collection.to_be_bytes()].concat()
}

/// A collection that is being written. Its key gets it by [`Build::finish`]; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Build<'k> {
    /// The collection. Set its expiry, flags and ends as it should have them; elements and lengths are counted here.
    pub collection: Collection<'k>,
    pending: Changes,
    /// What it takes in a batch, at most.
    pending_bytes: u64,
    /// Something was written ahead.
    is_ahead: bool,
}

impl Build<'_> {
    /// Adds an element, which must be a new one.
    ///
    /// # Errors
    /// What the store met.
    pub fn element(&mut self, keys: &mut Keyspace, part: &[u8], value: Vec<u8>) -> Answer<()> {
        let length =
            if self.collection.kind == Kind::List { value.len() } else { part.len().max(value.len()) };
        self.collection.note_length(length);
        self.collection.head.count += 1;
        let key = self.collection.element(part);
        Ok(self.put(keys, Table::Elements, &key, value)?)
    }

    /// Adds a member of a sorted set, which must be a new one.
    ///
    /// # Errors
    /// What the store met.
    pub fn scored(&mut self, keys: &mut Keyspace, member: &[u8], score: f64) -> Answer<()> {
        self.collection.note_length(member.len());
        let bits = redis::score_to_bits(score);
        self.collection.note_score(bits);
        self.collection.head.count += 1;
        let key = self.collection.score(bits, member);
        self.put(keys, Table::Scores, &key, Vec::new())?;
        let key = self.collection.element(member);
        Ok(self.put(keys, Table::Elements, &key, (score + 0.0).to_le_bytes().to_vec())?)
    }

    /// Adds an entry of the collection as it is to be stored; whoever does keeps the head right.
    ///
    /// # Errors
    /// What the store met.
    pub(super) fn put(
        &mut self,
        keys: &mut Keyspace,
        table: Table,
        key: &[u8],
        value: Vec<u8>,
    ) -> Result<()> {
        self.pending_bytes += (key.len() + value.len()) as u64 + WRITE_BYTES;
        self.pending.put(table, key, Put { value, kind: 0, expires_at: 0 });
        if self.pending_bytes > keys.builds().piece_bytes {
            self.write_ahead(keys, key)?;
        }
        Ok(())
    }

    fn write_ahead(&mut self, keys: &mut Keyspace, key: &[u8]) -> Result<()> {
        let changes = keys.txn().changes();
        if !self.is_ahead && [Table::Elements, Table::Scores].iter().any(|table| changes.hides(*table, key)) {
            self.move_to(keys);
            return Ok(());
        }
        if !self.is_ahead {
            let (space, collection) = (self.collection.space(), self.collection.head.collection);
            let plain = |value| Put { value, kind: 0, expires_at: 0 };
            self.pending.put(Table::System, &record_name(collection), plain(vec![space]));
            self.pending.put(
                Table::System,
                redis::SYSTEM_NEXT,
                plain(keys.next_number().to_le_bytes().to_vec()),
            );
            // Before the write: it may be there even if it seems to fail.
            keys.builds().open.push((space, collection));
            self.is_ahead = true;
        }
        // ORDER: the record is in the first piece.
        keys.txn().spill(&self.pending)?;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    /// What was not written goes into the transaction.
    fn move_to(&mut self, keys: &mut Keyspace) {
        self.pending_bytes = 0;
        for (table, writes) in self.pending.take() {
            for (key, put) in writes {
                match put {
                    Some(put) => keys.txn().put(table, &key, put),
                    None => keys.txn().delete(table, &key),
                }
            }
        }
    }
}

impl<'k> Build<'k> {
    /// Of a collection whose number is new.
    pub(super) fn of(collection: Collection<'k>) -> Self {
        Self { collection, pending: Changes::default(), pending_bytes: 0, is_ahead: false }
    }

    /// Gives the key its collection, within the transaction. What the key held must have been removed; an empty
    /// collection leaves the key without one.
    ///
    /// # Errors
    /// What the store met.
    pub fn finish(mut self, keys: &mut Keyspace) -> Answer<Collection<'k>> {
        self.end(keys);
        keys.save(&self.collection)?;
        self.collection.exists = self.collection.head.count > 0;
        Ok(self.collection)
    }

    /// All elements are there: the transaction gets the rest of them, and the end of the record. The head is next.
    pub(super) fn end(&mut self, keys: &mut Keyspace) {
        self.move_to(keys);
        if self.is_ahead {
            let which = (self.collection.space(), self.collection.head.collection);
            // ORDER: the record ends in the batch that has the head.
            keys.txn().delete(Table::System, &record_name(which.1));
            let builds = keys.builds();
            builds.open.retain(|open| *open != which);
            builds.finished.push(which);
        }
    }
}

impl Keyspace {
    /// Begins a new collection for `key`; see [`Build::finish`].
    pub fn build<'k>(&mut self, db: u8, key: &'k [u8], kind: Kind) -> Build<'k> {
        Build::of(self.new_collection(db, key, kind))
    }
}

#[cfg(test)]
mod tests;
