//! Families, durability, background work, copies, checks and state of the handle.

use std::time::Duration;

use nokv_core::engine::{CheckReport, GcReport, OpenReport, ReplacedRange};
use nokv_core::formats::{CfId, KeyRef, Seq};
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};

use super::{Db, background};
use crate::sync::atomic::Ordering;
use crate::sync::now;

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// Makes a column family; durable on return.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad or taken name.
    pub fn create_cf(&self, name: &str) -> Result<CfId> {
        let _entered = self.enter()?;
        self.check(CfId::DEFAULT)?;
        self.inner.engine.create_family(name)
    }

    /// Drops a column family with all that is in it; durable on return.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`]; [`Error::InvalidArgument`] for a built-in one.
    pub fn drop_cf(&self, name: &str) -> Result<()> {
        let _entered = self.enter()?;
        self.check(CfId::DEFAULT)?;
        self.inner.engine.drop_family(name)
    }

    /// The column family of this name.
    pub fn cf(&self, name: &str) -> Option<CfId> {
        self.inner.engine.families().get(name)
    }

    /// Names and numbers of the column families, by name.
    pub fn cfs(&self) -> Vec<(String, CfId)> {
        self.inner.engine.families().iter().map(|(name, id)| (name.to_string(), id)).collect()
    }

    /// Makes every write that returned before this call durable; gives the last seq that is.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`]: the sync failed, the database is read-only until it is reopened.
    pub fn sync(&self) -> Result<Seq> {
        let _entered = self.enter()?;
        self.check(CfId::DEFAULT)?;
        self.inner.engine.sync()
    }

    /// Every logged write up to here survives power loss.
    pub fn durable_seq(&self) -> Seq {
        self.inner.engine.durable_seq()
    }

    /// Writes all memtables to tables, and waits for that.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] with the cause if a flush failed.
    pub fn flush(&self) -> Result<()> {
        let _entered = self.enter()?;
        self.check(CfId::DEFAULT)?;
        let target = self.inner.engine.published();
        loop {
            let epoch = self.inner.signals.epoch();
            match self.inner.engine.rotate_memtable() {
                Ok(()) => break,
                Err(Error::Busy(_)) => self.wait_for_work(epoch)?,
                Err(error) => return Err(error),
            }
        }
        loop {
            let epoch = self.inner.signals.epoch();
            if !self.inner.engine.has_sealed_up_to(target) {
                return Ok(());
            }
            self.wait_for_work(epoch)?;
        }
    }

    pub(super) fn wait_for_work(&self, epoch: u64) -> Result<()> {
        if let Some(cause) = self.inner.engine.failure() {
            return Err(Error::ReadOnly(cause.to_string()));
        }
        if let Some(hindrance) = self.inner.engine.hindrance() {
            return Err(hindrance);
        }
        let soon = now() + Duration::from_millis(50);
        self.inner.signals.wait_change(epoch, Some(soon));
        self.check(CfId::DEFAULT)
    }

    /// Merges everything in a range of a family down to the last level that holds some of it, dropping what is
    /// hidden or expired. `None` bounds are open. Waits for it.
    ///
    /// # Errors
    /// As [`Db::flush`].
    pub fn compact_range(&self, cf: CfId, lower: Option<&[u8]>, upper: Option<&[u8]>) -> Result<()> {
        let _entered = self.enter()?;
        self.check(cf)?;
        // What comes later is left: steady writers would keep it from ending.
        let up_to = self.published_seq();
        self.flush()?;
        loop {
            let epoch = self.inner.signals.epoch();
            match self.inner.engine.compact_range_step_to(cf, lower, upper, up_to) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Error::Busy(_)) => self.wait_for_work(epoch)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Frees value-log segments whose dead share is at least `discard_ratio` (between 0 and 1).
    ///
    /// # Errors
    /// [`Error::NothingToCollect`]; [`Error::GcRejected`] while a collection runs.
    pub fn run_value_log_gc(&self, discard_ratio: f64) -> Result<GcReport> {
        let _entered = self.enter()?;
        self.check(CfId::DEFAULT)?;
        background::collect(&self.inner.engine, &self.inner.signals, discard_ratio, Some(&self.inner.closing))
    }

    /// Waits until no background work is left.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] with the cause if background work failed.
    pub fn wait_idle(&self) -> Result<()> {
        self.check(CfId::DEFAULT)?;
        if let Some(workers) = &self.inner.workers {
            workers.wait_idle(&self.inner.signals, || {
                self.is_closed() || self.inner.engine.failure().or(self.inner.engine.hindrance()).is_some()
            });
        }
        match self.inner.engine.failure() {
            Some(cause) => Err(Error::ReadOnly(cause.to_string())),
            None => self.inner.engine.hindrance().map_or(Ok(()), Err),
        }
    }

    /// Makes a second database in `target` with everything written before the call, sharing the files that are
    /// never written again. Gives the seq that it holds.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `target` is not an empty or missing directory.
    pub fn checkpoint(&self, target: &str) -> Result<Seq> {
        let _entered = self.enter()?;
        if std::path::Path::new(target).starts_with(self.inner.engine.dir()) {
            return Err(Error::InvalidArgument(format!("{target} lies in the database's own directory")));
        }
        self.flush()?;
        self.inner.engine.checkpoint(target)
    }

    /// Installs tables that [`crate::TableWriter`] wrote, in one step, optionally in place of a range.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::InvalidArgument`]: nothing was changed.
    pub fn ingest(&self, tables: &[&str], replace: Option<&ReplacedRange>) -> Result<Seq> {
        let _entered = self.enter()?;
        self.check(CfId::DEFAULT)?;
        loop {
            let epoch = self.inner.signals.epoch();
            match self.inner.engine.ingest(tables, replace) {
                Err(Error::Busy(_)) => self.wait_for_work(epoch)?,
                other => return other,
            }
        }
    }

    /// Checks every checksum and invariant of what is open.
    ///
    /// # Errors
    /// Only what is not damage; damage is in the report.
    pub fn check_all(&self) -> Result<CheckReport> {
        self.check(CfId::DEFAULT)?;
        self.inner.engine.check(&mut |_| {})
    }

    /// Roughly how many file bytes the keys of a range take.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`], [`Error::Closed`].
    pub fn approximate_size(&self, cf: CfId, lower: &[u8], upper: Option<&[u8]>) -> Result<u64> {
        self.check(cf)?;
        Ok(self.inner.engine.approximate_size(cf, lower, upper))
    }

    /// The writes after `since`, in commit order, as far back as the log still goes.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the log does not go back to `since` any more.
    pub fn changes_since(&self, since: Seq) -> Result<Vec<(Seq, WriteBatch)>> {
        let _entered = self.enter()?;
        self.check(CfId::DEFAULT)?;
        self.inner.engine.changes_since(since)
    }

    /// The newest seq that touched `key` after `since`, if any.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn touched_since(&self, cf: CfId, key: &[u8], since: Seq) -> Result<Option<Seq>> {
        self.check(cf)?;
        self.inner.engine.touched_since(KeyRef::new(cf, key), since)
    }

    /// May a write have touched `key` after `since`? As a precondition of a batch asks: true also where a merge left
    /// nothing that would tell.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn changed_since(&self, cf: CfId, key: &[u8], since: Seq) -> Result<bool> {
        self.check(cf)?;
        self.inner.engine.changed_since(KeyRef::new(cf, key), since)
    }

    /// The last seq that reads see.
    pub fn published_seq(&self) -> Seq {
        self.inner.engine.published()
    }

    /// What opening found and did.
    pub fn open_report(&self) -> &OpenReport {
        self.inner.engine.open_report()
    }

    /// Was it closed?
    pub fn is_closed(&self) -> bool {
        self.inner.closing.load(Ordering::Acquire)
    }

    /// Flushes, syncs and closes. Idempotent; afterwards every call on every clone gives [`Error::Closed`].
    ///
    /// # Errors
    /// What flushing or syncing met; it is closed all the same, and the next open recovers it.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }
}
