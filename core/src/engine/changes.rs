//! The writes after a seq, as the log still has them: for followers that keep up.

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::batch::{Op, Ops};
use nokv_formats::envelope::SECTION_BATCH;
use nokv_formats::{Kind, Seq, ValuePtr};

use crate::engine::{Engine, WAL_DIR};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::vfs::Vfs;
use crate::wal::{BatchLogConfig, BatchLogRecord, RecoverFrom, replay_read_only};
use crate::write::WriteBatch;

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Adds `op`, with its value in place of a pointer to it.
    fn push_whole(&self, batch: &mut WriteBatch, op: &Op<'_>) -> Result<()> {
        if op.kind != Kind::Pointer {
            return batch.push(op);
        }
        let ptr = ValuePtr::decode(op.value).map_err(|m| Error::malformed("log record", 0, m))?;
        let value = self.vlog.read(&ptr, op.key, op.version)?;
        batch.push(&Op { kind: Kind::Put, value: &value, ..*op })
    }

    /// Was the value that a flushed `op` points to collected? What is in the log may outlive what it points to.
    fn was_collected(&self, op: &Op<'_>, seq: Seq) -> bool {
        let Ok(ptr) = ValuePtr::decode(op.value) else { return false };
        let is_there = |s: &crate::vlog::SegmentInfo| (s.bucket, s.segment) == (ptr.bucket, ptr.segment);
        op.kind == Kind::Pointer && seq <= self.flushed_seq() && !self.vlog.segments().iter().any(is_there)
    }

    /// Logged writes after `since`, up to what is published now, in commit order, each record with the seq of its
    /// first operation. Values are read from the value log. Batches without a log record are not there.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the log does not go back to `since` any more: start from a checkpoint.
    pub fn changes_since(&self, since: Seq) -> Result<Vec<(Seq, WriteBatch)>> {
        self.check_open()?;
        let Some(batch_log) = &self.batch_log else {
            return Err(Error::InvalidArgument("a read-only database has no log to follow".to_string()));
        };
        let published = self.published();
        if since >= published {
            return Ok(Vec::new());
        }
        // Nothing is released and nothing appended meanwhile.
        let install = self.install.lock();
        let commit = self.commit.lock();
        let floor_segment = batch_log.segments().first().map_or(0, |s| s.number);
        let config =
            BatchLogConfig { segment_bytes: self.options.wal_segment_bytes / 8 * 8, db_id: self.database_id };
        let from = RecoverFrom { floor_segment, clean_end: None, end_before: None };
        let mut changes: Vec<(Seq, WriteBatch)> = Vec::new();
        let mut oldest: Option<Seq> = None;
        // The highest seq whose value is gone.
        let mut gone = Seq(0);
        let mut visit = |record: BatchLogRecord<'_>| {
            oldest.get_or_insert(record.first_seq);
            let mut seq = record.first_seq;
            let mut batch = WriteBatch::new();
            let mut first = None;
            for section in record.sections() {
                let section = section.map_err(|m| Error::malformed("log record", record.start.offset, m))?;
                if section.kind != SECTION_BATCH {
                    continue;
                }
                for op in Ops::new(section.bytes) {
                    let op = op.map_err(|m| Error::malformed("log record", record.start.offset, m))?;
                    if seq > since && seq <= published {
                        first.get_or_insert(seq);
                        match self.push_whole(&mut batch, &op) {
                            Err(Error::Corrupt { .. }) if self.was_collected(&op, seq) => gone = seq,
                            pushed => pushed?,
                        }
                    }
                    seq = Seq(seq.0 + 1);
                }
            }
            changes.extend(first.map(|first| (first, batch)));
            Ok(())
        };
        replay_read_only(&self.fs, &self.path(WAL_DIR), config, from, &mut visit)?;
        drop(commit);
        drop(install);
        // A log that was released starts behind what was asked for.
        match oldest {
            Some(oldest) if oldest.0 <= since.0 + 1 && gone <= since => Ok(changes),
            _ => Err(Error::InvalidArgument(alloc::format!("the log does not go back to seq {since}"))),
        }
    }
}
