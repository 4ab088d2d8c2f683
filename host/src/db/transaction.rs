//! Optimistic transactions: reads at a snapshot, writes in a batch, preconditions for all that was read.

use std::collections::BTreeMap;

use nokv_core::formats::{CfId, KeyBuf, KeyRef, Seq, Version};
use nokv_core::read::point::Value;
use nokv_core::write::WriteBatch;
use nokv_core::{MemIndex, Result, Vfs};

use super::{Db, Snapshot, WriteOptions};

/// A transaction. What it reads is as of its start, with its own writes on top; committing fails with
/// [`Conflict`](nokv_core::Error::Conflict) if a key that it read was written meanwhile. Dropping it writes nothing.
pub struct Transaction<'db, V: Vfs, I: MemIndex> {
    db: &'db Db<V, I>,
    snapshot: Snapshot<V, I>,
    batch: WriteBatch,
    /// Own writes: `None` is a delete.
    written: BTreeMap<KeyBuf, Option<Vec<u8>>>,
    read: BTreeMap<KeyBuf, ()>,
}

impl<'db, V: Vfs, I: MemIndex> Transaction<'db, V, I> {
    pub(crate) const fn new(db: &'db Db<V, I>, snapshot: Snapshot<V, I>) -> Self {
        Self { db, snapshot, batch: WriteBatch::new(), written: BTreeMap::new(), read: BTreeMap::new() }
    }

    /// The value of `key`; the transaction depends on it from now on.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn get(&mut self, cf: CfId, key: &[u8]) -> Result<Option<Value>> {
        let at = KeyRef::new(cf, key).to_buf();
        if let Some(own) = self.written.get(&at) {
            return Ok(own.clone().map(Value::owned));
        }
        let entry = self.db.get_at(&self.snapshot, cf, key, Version::MAX)?;
        self.read.insert(at, ());
        Ok(entry.map(|e| e.value))
    }

    /// Sets `key` when the transaction commits.
    ///
    /// # Errors
    /// As [`WriteBatch::put`].
    pub fn set(&mut self, cf: CfId, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.put(cf, key, value)?;
        self.written.insert(KeyRef::new(cf, key).to_buf(), Some(value.to_vec()));
        Ok(())
    }

    /// Removes `key` when the transaction commits.
    ///
    /// # Errors
    /// As [`WriteBatch::delete`].
    pub fn del(&mut self, cf: CfId, key: &[u8]) -> Result<()> {
        self.batch.delete(cf, key)?;
        self.written.insert(KeyRef::new(cf, key).to_buf(), None);
        Ok(())
    }

    /// Makes the transaction depend on `key` without reading it.
    pub fn require_unchanged(&mut self, cf: CfId, key: &[u8]) {
        self.read.insert(KeyRef::new(cf, key).to_buf(), ());
    }

    /// The seq that it reads at.
    pub const fn seq(&self) -> Seq {
        self.snapshot.seq()
    }

    /// Commits. A transaction without writes always succeeds: it read one snapshot.
    ///
    /// # Errors
    /// [`Conflict`](nokv_core::Error::Conflict); as [`Db::write`].
    pub fn commit(mut self, options: &WriteOptions) -> Result<Seq> {
        if self.batch.is_empty() {
            return Ok(self.snapshot.seq());
        }
        for key in self.read.keys() {
            self.batch.require_unchanged(key.cf, &key.user_key, self.snapshot.seq());
        }
        self.db.write(self.batch, options)
    }
}
