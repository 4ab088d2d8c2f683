//! A transaction on a [`Backend`]: reads see its own writes, and it commits only if no key that it read in
//! [`Table::Keys`] was written meanwhile.
//!
//! 1. Whoever changes a collection writes its head too. So the keys alone tell whether something changed, and reads of
//!    elements need no precondition.
//! 2. Nothing is written before [`Txn::commit`], except by [`Txn::spill`].

use std::sync::Arc;

use nokv_core::read::point::Value;
use nokv_core::{Error, Result};

use super::backend::{Backend, CommitError, Conditions, Cursor, Stored, Table, Unchanged};
use super::changes::{Changes, Put};

/// A transaction. It can be used again after [`Txn::begin`].
pub struct Txn {
    backend: Arc<dyn Backend>,
    changes: Changes,
    read: Conditions,
    since: u64,
}

impl Txn {
    /// A transaction that reads from now on.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        let since = backend.seq();
        Self { backend, changes: Changes::default(), read: Conditions::NONE, since }
    }

    /// Forgets everything and starts again, now.
    pub fn begin(&mut self) {
        self.changes.clear();
        self.read.clear();
        self.since = self.backend.seq();
    }

    /// The store.
    pub const fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The seq at which it began.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// What it is to write.
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Commits only if this holds, too.
    pub fn require(&mut self, condition: Unchanged) {
        self.read.push(condition.table, &condition.key, condition.since);
    }

    /// The entry of `key`.
    ///
    /// # Errors
    /// What the store met.
    pub fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Stored>> {
        if let Some(own) = self.changes.get(table, key) {
            return Ok(own.map(stored));
        }
        if matches!(table, Table::Keys(_)) {
            self.read.push(table, key, self.since);
        }
        self.backend.get(table, key)
    }

    /// When the entry of `key` expires (0 = never), if there is one. Its value is not looked at.
    ///
    /// # Errors
    /// What the store met.
    pub fn expiry_of(&mut self, table: Table, key: &[u8]) -> Result<Option<u64>> {
        if let Some(own) = self.changes.get(table, key) {
            return Ok(own.map(|put| put.expires_at));
        }
        if matches!(table, Table::Keys(_)) {
            self.read.push(table, key, self.since);
        }
        self.backend.expiry_of(table, key)
    }

    /// Sets `key`.
    pub fn put(&mut self, table: Table, key: &[u8], put: Put) {
        self.changes.put(table, key, put);
    }

    /// Sets `key` to plain bytes.
    pub fn set(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.changes.put(table, key, Put { value, kind: 0, expires_at: 0 });
    }

    /// Removes `key`.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.changes.delete(table, key);
    }

    /// Removes a range.
    pub fn delete_range(&mut self, table: Table, lower: &[u8], upper: Option<&[u8]>) {
        self.changes.delete_range(table, lower, upper);
    }

    /// A cursor over `lower..upper` with the transaction's own writes so far.
    ///
    /// # Errors
    /// What the store met.
    pub fn scan(
        &self,
        table: Table,
        lower: &[u8],
        upper: Option<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Cursor>> {
        let stored = self.backend.scan(table, lower, upper, reverse)?;
        if !self.changes.concern(table) {
            return Ok(stored);
        }
        let mut own: Vec<(Vec<u8>, Option<Put>)> =
            self.changes.range(table, lower, upper).map(|(key, put)| (key.clone(), put.clone())).collect();
        // Taken from the end.
        if !reverse {
            own.reverse();
        }
        Ok(self.merged(stored, own, table, reverse))
    }

    /// Removes `lower..upper`; gives a cursor over what stood there, with the transaction's own writes so far.
    ///
    /// # Errors
    /// What the store met: nothing is removed then.
    pub fn take_range(&mut self, table: Table, lower: &[u8], upper: &[u8]) -> Result<Box<dyn Cursor>> {
        let stored = self.backend.scan(table, lower, Some(upper), false)?;
        let mut own = self.changes.drain(table, lower, upper);
        own.reverse();
        let cursor = self.merged(stored, own, table, false);
        self.changes.delete_range(table, lower, Some(upper));
        Ok(cursor)
    }

    /// Stored entries under the transaction's own: those from the last to the first of the walk.
    fn merged(
        &self,
        stored: Box<dyn Cursor>,
        own: Vec<(Vec<u8>, Option<Put>)>,
        table: Table,
        reverse: bool,
    ) -> Box<dyn Cursor> {
        let hidden = self.changes.ranges().iter().filter(|range| range.table == table).cloned().collect();
        Box::new(Merged { stored, own, hidden, table, reverse, state: State::Fresh, current: None })
    }

    /// Commits; gives the seq of the last write, or of the last one before it if it had none.
    ///
    /// # Errors
    /// [`CommitError`]: nothing was written.
    pub fn commit(&mut self) -> std::result::Result<u64, CommitError> {
        if !self.changes.is_empty() {
            return self.backend.commit(&self.changes, &self.read);
        }
        Ok(self.backend.seq())
    }

    /// Writes what stands in it now, without preconditions: only for what nothing names yet, such as elements of a
    /// collection that has no head.
    ///
    /// # Errors
    /// What the store met.
    pub fn spill(&mut self, changes: &Changes) -> Result<()> {
        match self.backend.commit(changes, &Conditions::NONE) {
            Ok(_) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
            Err(CommitError::Conflict) => Err(Error::Conflict),
        }
    }
}

fn stored(put: &Put) -> Stored {
    Stored { value: Value::owned(put.value.clone()), kind: put.kind, expires_at: put.expires_at }
}

#[derive(PartialEq, Eq)]
enum State {
    Fresh,
    /// The stored cursor stands on an entry that was not yet given.
    Stands,
    /// It was given.
    Given,
    Ended,
}

/// Stored entries under the transaction's own.
struct Merged {
    stored: Box<dyn Cursor>,
    own: Vec<(Vec<u8>, Option<Put>)>,
    hidden: Vec<super::changes::DeletedRange>,
    table: Table,
    reverse: bool,
    state: State,
    /// Its own entry that it stands on; otherwise it stands on the stored one.
    current: Option<(Vec<u8>, Put)>,
}

impl Merged {
    /// Moves the stored cursor to an entry that no range hides.
    fn advance_stored(&mut self) -> Result<()> {
        loop {
            if !self.stored.advance()? {
                self.state = State::Ended;
                return Ok(());
            }
            if !self.hidden.iter().any(|range| range.covers(self.table, self.stored.key())) {
                self.state = State::Stands;
                return Ok(());
            }
        }
    }
}

impl Cursor for Merged {
    fn advance(&mut self) -> Result<bool> {
        self.current = None;
        loop {
            if matches!(self.state, State::Fresh | State::Given) {
                self.advance_stored()?;
            }
            let Some((own_key, _)) = self.own.last() else {
                let stands = self.state == State::Stands;
                if stands {
                    self.state = State::Given;
                }
                return Ok(stands);
            };
            if self.state == State::Stands {
                let order = own_key.as_slice().cmp(self.stored.key());
                let order = if self.reverse { order.reverse() } else { order };
                if order.is_gt() {
                    self.state = State::Given;
                    return Ok(true);
                }
                if order.is_eq() {
                    // Its own hides the stored one.
                    self.state = State::Given;
                }
            }
            if let Some((key, Some(put))) = self.own.pop() {
                self.current = Some((key, put));
                return Ok(true);
            }
        }
    }

    fn key(&self) -> &[u8] {
        self.current.as_ref().map_or_else(|| self.stored.key(), |(key, _)| key)
    }

    fn expires_at(&self) -> Result<u64> {
        self.current.as_ref().map_or_else(|| self.stored.expires_at(), |(_, put)| Ok(put.expires_at))
    }

    fn entry(&self) -> Result<Stored> {
        self.current.as_ref().map_or_else(|| self.stored.entry(), |(_, put)| Ok(stored(put)))
    }
}
