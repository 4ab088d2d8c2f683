//! Closing: everything in tables, everything durable, the database marked clean.
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. memtables flushed | a flushed database |
//! | b. value log synced, log sealed | an unclean stop with nothing to replay |
//! | c. manifest edit {log floor, value-log segments} | the same |
//! | d. log segments below the floor unlinked | the same |
//! | e. CURRENT with the clean mark | a clean database |

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::manifest::Edit;

use crate::engine::{Engine, background};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::manifest::{CleanClose, HeadEnd};
use crate::planted::{self, Bug};
use crate::sync::Ordering;
use crate::vfs::Vfs;

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Merges that run give up soon, and none is started any more: the database is about to close.
    pub fn stop_merges(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Flushes what memtables hold, makes everything durable and marks the database clean. Background work
    /// must have stopped. Idempotent; afterwards every call gives [`Error::Closed`].
    ///
    /// # Errors
    /// What flushing or syncing met; the database is closed all the same, and the next open recovers it.
    pub fn close(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let result = self.close_inner();
        self.closed.store(true, Ordering::Release);
        *self.lock.lock() = None;
        result
    }

    fn close_inner(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        if let Some(cause) = self.failure() {
            return Err(Error::ReadOnly(cause.to_string()));
        }
        let flushed = if planted::is(Bug::CloseTrustsLog) { Ok(()) } else { self.flush_all() };
        if let Err(error) = &flushed
            && !background::is_passing(error)
        {
            return flushed;
        }
        self.remove_retired()?;
        // Heads are left at a close: sealed segments have a length that the next open can check.
        self.vlog.seal_heads();
        let segments = self.sync_values()?;
        let Some(batch_log) = &self.batch_log else { return Ok(()) };
        let end = batch_log.seal_for_close()?;
        let mut install = self.install.lock();
        let mut edits = Vec::new();
        let state = install.manifest.state();
        let floor = self.log_floor(state, end.segment);
        let is_empty = flushed.is_ok() && state.flushed_seq >= self.last_seq();
        if is_empty && floor > state.wal_floor {
            edits.push(Edit::WalFloor { segment: floor });
        }
        self.push_value_log_edits(&install, &segments, &mut edits);
        edits.push(Edit::NextFileId { id: self.next_table.load(Ordering::Acquire) });
        self.record(&mut install, &edits, true)?;
        if is_empty {
            // ORDER: segments go after the edit that says they are not needed.
            batch_log.release_below(floor)?;
        }
        install.manifest.close_clean(CleanClose {
            wal_segment: end.segment,
            wal_offset: end.offset,
            last_seq: self.last_seq(),
            vlog_heads: self
                .vlog
                .segments()
                .iter()
                .filter(|s| s.head)
                .map(|s| HeadEnd { bucket: s.bucket, segment: s.segment, bytes: s.size })
                .collect(),
            ..CleanClose::default()
        })?;
        flushed
    }

    /// Seals the active memtable and flushes all on the calling thread.
    ///
    /// # Errors
    /// What a flush met; [`Error::Busy`] while another thread flushes.
    pub fn flush_all(&self) -> Result<()> {
        loop {
            match self.rotate_memtable() {
                Ok(()) => break,
                Err(Error::Busy(_)) => {
                    let Some(work) = self.claim_flush() else {
                        return Err(Error::Busy("another thread flushes"));
                    };
                    self.run_work(work)?;
                }
                Err(error) => return Err(error),
            }
        }
        while let Some(work) = self.claim_flush() {
            self.run_work(work)?;
        }
        if self.has_flush_work() { Err(Error::Busy("another thread flushes")) } else { Ok(()) }
    }
}
