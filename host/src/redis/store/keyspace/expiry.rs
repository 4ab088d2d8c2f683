//! Keys whose time has come.
//!
//! 1. A key with an expiry has a row in `redis.expiries`; key and row are written and deleted in one batch. A space has as
//!    many keys as it has entries without an expiry, and rows: what expired counts until it is taken out.
//! 2. It is taken out by the first write command that looks the key up, before the command does anything with the key, and
//!    by [`Keyspace::expire_due`] in the order of time. Reads take nothing out.
//! 3. The store keeps what expired until it is taken out ([`Backend::keep_expired_from`]). What it dropped before the front
//!    was opened has a row alone. If such a key is made anew before the row is taken out, both count, and nothing is told
//!    when the row goes: the key is there.
//! 4. A key of database 0 that another program gave an expiry has no row. It does not count, and goes without an event.
//!
//! [`Backend::keep_expired_from`]: super::super::backend::Backend::keep_expired_from

use nokv_core::formats::redis::{self, Kind, SPACES};

use super::super::backend::Table;
use super::super::effects::Class;
use super::Keyspace;
use crate::redis::fail::Answer;

/// Where the first row of each space stands, or a place before it.
#[derive(Debug)]
pub(super) struct Due {
    /// Time and key.
    next: [(u64, Vec<u8>); SPACES],
    /// The first time of all.
    first: u64,
    /// The transaction under way moved some of them on.
    has_moved: bool,
    /// What the store was told to keep.
    kept_from: u64,
}

impl Due {
    /// Every row may be due.
    pub(super) fn new() -> Self {
        Self {
            next: std::array::from_fn(|_| (0, Vec::new())),
            first: 0,
            has_moved: false,
            kept_from: u64::MAX,
        }
    }

    /// A row is there from now on.
    fn add(&mut self, space: u8, time: u64, key: &[u8]) {
        let next = &mut self.next[usize::from(space) % SPACES];
        if (time, key) < (next.0, &next.1) {
            *next = (time, key.to_vec());
            self.first = time.min(self.first);
        }
    }

    /// There is nothing before this place.
    fn move_to(&mut self, space: u8, next: (u64, Vec<u8>)) {
        self.next[usize::from(space) % SPACES] = next;
        self.first = self.next.iter().map(|(time, _)| *time).min().unwrap_or(u64::MAX);
        self.has_moved = true;
    }

    /// Keys were to go in a transaction that did not commit: what was due still is.
    pub(super) fn not_committed(&mut self) {
        if std::mem::take(&mut self.has_moved) {
            self.next.iter_mut().for_each(|next| *next = (0, Vec::new()));
            self.first = 0;
        }
    }

    /// The transaction committed; gives what the store is to keep from now on, if it does not know.
    pub(super) fn committed(&mut self) -> Option<u64> {
        self.has_moved = false;
        let before = std::mem::replace(&mut self.kept_from, self.first);
        (before != self.first).then_some(self.first)
    }
}

impl Keyspace {
    /// The earliest time at which [`Keyspace::expire_due`] may have something to do.
    pub const fn next_due(&self) -> u64 {
        self.due.first
    }

    /// Takes up to `limit` keys out whose time has come, within the transaction; gives their number. With fewer than
    /// `limit`, all that are due at `now` are out.
    ///
    /// # Errors
    /// What the store met.
    pub fn expire_due(&mut self, limit: usize) -> Answer<usize> {
        let mut done = 0;
        for space in 0..SPACES as u8 {
            if self.due.next[usize::from(space)].0 <= self.now && done < limit {
                done += self.expire_due_of(space, limit - done)?;
            }
        }
        Ok(done)
    }

    fn expire_due_of(&mut self, space: u8, limit: usize) -> Answer<usize> {
        let mut due = Vec::new();
        let mut next = (u64::MAX, Vec::new());
        // Not from the first one that there ever was: what went before is deleted, and would be walked over.
        let (time, key) = &self.due.next[usize::from(space)];
        let from = redis::expiry_key(space, *time, key);
        let mut cursor = self.txn.scan(Table::Expiries, &from, Some(&[space + 1]), false)?;
        while cursor.advance()? {
            let (time, key) = redis::split_expiry_key(cursor.key())?;
            if time > self.now || due.len() == limit {
                next = (time, key.to_vec());
                break;
            }
            due.push((time, key.to_vec(), cursor.entry()?.value));
        }
        drop(cursor);
        for (time, key, row) in &due {
            self.take_row(space, *time, key, row)?;
        }
        self.due.move_to(space, next);
        Ok(due.len())
    }

    /// Takes a key out that was found, and whose time has come.
    pub(super) fn take_expired(&mut self, space: u8, key: &[u8], time: u64) -> Answer<()> {
        match self.txn.get(Table::Expiries, &redis::expiry_key(space, time, key))? {
            Some(row) => self.take_row(space, time, key, &row.value),
            None => {
                self.txn.delete(Table::Keys(space), key);
                Ok(())
            }
        }
    }

    /// Takes out what a row is about.
    fn take_row(&mut self, space: u8, time: u64, key: &[u8], row: &[u8]) -> Answer<()> {
        let (kind, collection) = redis::split_expiry_value(row)?;
        let table = Table::Keys(space);
        let stored = self.txn.expiry_of(table, key)?;
        self.txn.delete(Table::Expiries, &redis::expiry_key(space, time, key));
        if stored == Some(time) {
            self.txn.delete(table, key);
        }
        if kind != Kind::String {
            self.drop_elements(space, kind, collection)?;
        }
        self.effects.counts[usize::from(space)] -= 1;
        self.effects.expired += 1;
        // Otherwise it was made anew.
        if stored.is_none_or(|stored| stored == time) {
            let db = self.db_of(space);
            self.effects.touch(db, key);
            self.effects.event(Class::EXPIRED, "expired", db, key);
        }
        Ok(())
    }

    /// Adds the row of a key.
    pub(super) fn add_row(&mut self, space: u8, key: &[u8], (kind, collection): (Kind, u64), time: u64) {
        let at = redis::expiry_key(space, time, key);
        self.txn.set(Table::Expiries, &at, redis::expiry_value(kind, collection).to_vec());
        self.due.add(space, time, key);
    }

    /// Deletes the row of a key that goes, or gets another one.
    pub(super) fn delete_row(&mut self, space: u8, key: &[u8], time: u64) -> Answer<()> {
        let at = redis::expiry_key(space, time, key);
        if space == 0 && self.counts.may_have_strays() && self.txn.get(Table::Expiries, &at)?.is_none() {
            // Another program's: it counts from now on.
            self.effects.counts[0] += 1;
        }
        self.txn.delete(Table::Expiries, &at);
        Ok(())
    }
}
