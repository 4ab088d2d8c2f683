//! Writes of the handle.

use nokv_core::formats::{CfId, Seq, Version};
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};

use super::commit::{Ask, Target};
use super::{Db, Expiry, SCRATCH, Transaction, WriteOptions, WriteSnapshot};

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`]; [`Error::ReadOnly`] with the cause after a failure;
    /// [`Error::OutcomeUnknown`] if a sync failed; [`Error::Closed`]; a full disk is [`Error::Io`] with nothing
    /// written; [`Error::HotKeyWriteThrottle`] if `write_hot_key_limit` is set and `key` is at it.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.set_cf(CfId::DEFAULT, key, value)
    }

    /// Removes `key` with all its versions.
    ///
    /// # Errors
    /// As [`Db::set`].
    pub fn del(&self, key: &[u8]) -> Result<()> {
        self.del_cf(CfId::DEFAULT, key)
    }

    /// Sets `key` in a column family.
    ///
    /// # Errors
    /// As [`Db::set`]; [`Error::UnknownFamily`].
    pub fn set_cf(&self, cf: CfId, key: &[u8], value: &[u8]) -> Result<()> {
        self.write_one(cf, |batch| batch.put(cf, key, value))
    }

    /// Removes `key` in a column family, with all its versions.
    ///
    /// # Errors
    /// As [`Db::set_cf`].
    pub fn del_cf(&self, cf: CfId, key: &[u8]) -> Result<()> {
        self.write_one(cf, |batch| batch.delete(cf, key))
    }

    /// Sets `key` until `expiry`. An expiry in the past counts as a delete at once.
    ///
    /// # Errors
    /// As [`Db::set`].
    pub fn set_with_ttl(&self, key: &[u8], value: &[u8], expiry: Expiry) -> Result<()> {
        let at = self.expires_at(expiry);
        self.write_one(CfId::DEFAULT, |batch| batch.put_expiring(CfId::DEFAULT, key, value, at))
    }

    /// The stored form of an expiry: Unix milliseconds, at least 1.
    pub fn expires_at(&self, expiry: Expiry) -> u64 {
        match expiry {
            Expiry::At(ms) => ms.max(1),
            Expiry::In(after) => {
                let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                self.inner.engine.now_ms().saturating_add(after).max(1)
            }
        }
    }

    /// Sets one version of `key`, with a byte of the caller's own. Other versions stay.
    ///
    /// # Errors
    /// As [`Db::set_cf`]; [`Error::InvalidArgument`] for version `MAX`.
    pub fn set_versioned_entry(
        &self,
        cf: CfId,
        key: &[u8],
        version: Version,
        value: &[u8],
        meta: u8,
    ) -> Result<()> {
        self.write_one(cf, |batch| batch.put_versioned(cf, key, version, value, meta))
    }

    /// Hides the versions of `key` up to `version`.
    ///
    /// # Errors
    /// As [`Db::set_versioned_entry`].
    pub fn delete_versioned_entry(&self, cf: CfId, key: &[u8], version: Version) -> Result<()> {
        self.write_one(cf, |batch| batch.delete_versioned(cf, key, version))
    }

    /// Removes exactly one version of `key`; [`Version::MAX`] is the plain entry. Older versions show again.
    ///
    /// # Errors
    /// As [`Db::set_cf`].
    pub fn purge(&self, cf: CfId, key: &[u8], version: Version) -> Result<()> {
        self.write_one(cf, |batch| batch.purge(cf, key, version))
    }

    /// Removes every key in `start..end` of a family with all its versions.
    ///
    /// # Errors
    /// As [`Db::set_cf`].
    pub fn delete_range(&self, cf: CfId, start: &[u8], end: &[u8]) -> Result<()> {
        if start >= end {
            return self.check(cf);
        }
        self.write_one(cf, |batch| batch.delete_range(cf, start, end))
    }

    /// Commits a batch: all of it, across families, or nothing. Gives the seq of its last operation.
    ///
    /// # Errors
    /// As [`Db::set`]; [`Error::BatchTooLarge`]; [`Error::Conflict`] if a precondition does not hold;
    /// [`Error::DeadlineExceeded`]; [`Error::InvalidArgument`] for preconditions if `detect_conflicts` is off. Nothing
    /// was written then.
    ///
    /// ```
    /// # fn main() -> nokv::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = nokv::Db::open(nokv::Options::new(dir.path()))?;
    /// use nokv::{CfId, WriteBatch, WriteOptions};
    /// let mut batch = WriteBatch::new();
    /// batch.put(CfId::DEFAULT, b"a", b"1")?;
    /// batch.delete(CfId::DEFAULT, b"b")?;
    /// db.write(batch, &WriteOptions { sync: Some(true), ..Default::default() })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(&self, batch: WriteBatch, options: &WriteOptions) -> Result<Seq> {
        self.write_for_more(batch, options).map(|(seq, _)| seq)
    }

    /// [`Db::write`]; gives the batch back, empty, so that the next one may use its memory.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_for_more(&self, batch: WriteBatch, options: &WriteOptions) -> Result<(Seq, WriteBatch)> {
        self.check(CfId::DEFAULT)?;
        let mut checked = CfId::DEFAULT;
        for op in batch.iter() {
            if op.key.cf != checked {
                self.check(op.key.cf)?;
                checked = op.key.cf;
            }
        }
        if batch.is_conditional() {
            self.check_conflicts_are_detected()?;
        }
        let (seq, mut batch) = self.commit(batch, options)?;
        batch.clear();
        Ok((seq, batch))
    }

    fn write_one(&self, cf: CfId, fill: impl FnOnce(&mut WriteBatch) -> Result<()>) -> Result<()> {
        self.check(cf)?;
        let mut batch = SCRATCH.take();
        batch.clear();
        fill(&mut batch)?;
        let (_, mut batch) = self.commit(batch, &WriteOptions::default())?;
        // A large value does not stay in every thread that once wrote one.
        if batch.bytes() <= 64 << 10 {
            batch.clear();
            SCRATCH.with_borrow_mut(|scratch| *scratch = batch);
        }
        Ok(())
    }

    #[inline]
    fn commit(&self, batch: WriteBatch, options: &WriteOptions) -> Result<(Seq, WriteBatch)> {
        let _entered = self.enter()?;
        if options.disable_wal && options.sync == Some(true) {
            let text = "sync and disable_wal exclude each other: without a log record nothing can be synced";
            return Err(Error::InvalidArgument(text.to_string()));
        }
        let sync = options.sync.unwrap_or(self.inner.options.sync_writes) && !options.disable_wal;
        let inner = &*self.inner;
        let target = Target { engine: &inner.engine, signals: &inner.signals, closing: &inner.closing };
        let ask = Ask { sync, scale: inner.hot.admit(&batch)? };
        if !inner.engine.times_next_write() {
            return inner.queue.commit(&target, batch, options, ask);
        }
        let started = inner.engine.monotonic_ns();
        let result = inner.queue.commit(&target, batch, options, ask);
        inner.engine.note_write_time(inner.engine.monotonic_ns().saturating_sub(started));
        result
    }

    /// The write path at this moment.
    pub fn write_snapshot(&self) -> WriteSnapshot {
        self.inner.queue.snapshot()
    }

    /// How often background work waited because of `background_bytes_per_second`.
    pub fn background_limit_waits(&self) -> u64 {
        self.inner.signals.limit_waits()
    }

    /// `detect_conflicts` takes batches with preconditions.
    pub(super) fn check_conflicts_are_detected(&self) -> Result<()> {
        if self.inner.options.detect_conflicts {
            return Ok(());
        }
        let text = "detect_conflicts is off: neither transactions nor batches with preconditions are taken";
        Err(Error::InvalidArgument(text.to_string()))
    }

    /// Runs `body` as an optimistic transaction and commits what it wrote, if nothing that it read was changed
    /// meanwhile; tries again on [`Error::Conflict`], up to 100 times.
    ///
    /// # Errors
    /// What `body` gives; [`Error::Conflict`] after the last try; as [`Db::write`].
    ///
    /// ```
    /// # fn main() -> nokv::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = nokv::Db::open(nokv::Options::new(dir.path()))?;
    /// use nokv::CfId;
    /// let count = db.transaction(|tx| {
    ///     let n: u64 = tx.get(CfId::DEFAULT, b"count")?.map_or(0, |v| v.len() as u64);
    ///     tx.set(CfId::DEFAULT, b"count", &vec![b'x'; n as usize + 1])?;
    ///     Ok(n + 1)
    /// })?;
    /// assert_eq!(count, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction<T>(&self, mut body: impl FnMut(&mut Transaction<'_, V, I>) -> Result<T>) -> Result<T> {
        const TRIES: usize = 100;
        for attempt in 1.. {
            let mut tx = self.begin()?;
            let value = body(&mut tx)?;
            match tx.commit(&WriteOptions::default()) {
                Ok(_) => return Ok(value),
                Err(Error::Conflict) if attempt < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict)
    }

    /// Starts a transaction that the caller commits.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::InvalidArgument`] if `detect_conflicts` is off.
    pub fn begin(&self) -> Result<Transaction<'_, V, I>> {
        self.check_conflicts_are_detected()?;
        Ok(Transaction::new(self, self.snapshot()?))
    }
}
