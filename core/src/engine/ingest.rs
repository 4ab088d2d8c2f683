//! Bulk ingest: foreign tables become live by one manifest edit, with one seq for all their entries.
//!
//! Writers pause (they get `Busy`) while it runs. Everything older is flushed first, so that memtables hold
//! nothing older than the new tables, and replay has nothing to put above them.
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. memtables flushed | a flushed database |
//! | b. foreign tables copied under new numbers, verified, synced | unnamed tables, swept at open |
//! | c. one edit {add tables, flushed seq = their seq, [range delete table]} | all of them, or none |

use alloc::vec::Vec;

use nokv_formats::manifest::Edit;
use nokv_formats::{CfId, KeyRef, RangeDelete, Seq, TableMeta};

use crate::engine::checkpoint::copy_file;
use crate::engine::compaction::NewTables;
use crate::engine::writes::check_seqs;
use crate::engine::{Engine, TABLE_DIR};
use crate::error::{Error, IoContext, Result};
use crate::index::MemIndex;
use crate::read::view::View;
use crate::sync::{Arc, Ordering};
use crate::table::{Compression, Table};
use crate::vfs::Vfs;

/// A range whose content the new tables replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedRange {
    /// Family.
    pub cf: CfId,
    /// First key.
    pub start: Vec<u8>,
    /// First key behind it.
    pub end: Vec<u8>,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Installs tables that a [`crate::table::TableBuilder`] wrote, by path on the same file system; they are
    /// copied and stay where they are. With `replace`, everything in that range goes in the same step. Gives
    /// the seq of all their entries.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a table that does not verify; [`Error::InvalidArgument`] for one that points into
    /// a value log, or tables that overlap one another, or leave the replaced range; [`Error::Busy`] while
    /// another thread flushes.
    pub fn ingest(&self, paths: &[&str], replace: Option<&ReplacedRange>) -> Result<Seq> {
        self.check_writable()?;
        {
            let mut commit = self.commit.lock();
            if commit.paused {
                return Err(Error::Busy("another ingest runs"));
            }
            commit.paused = true;
        }
        let result = self.ingest_paused(paths, replace);
        self.commit.lock().paused = false;
        self.signals.work_ready();
        result
    }

    fn ingest_paused(&self, paths: &[&str], replace: Option<&ReplacedRange>) -> Result<Seq> {
        self.flush_all()?;
        let (seq, ticket) = {
            let commit = self.commit.lock();
            (commit.next_seq, commit.next_ticket)
        };
        check_seqs(seq)?;
        if !self.publisher.is_drained(ticket) {
            return Err(Error::Busy("writes are not yet applied"));
        }
        let mut metas = Vec::new();
        let result = self.take_foreign(paths, replace, seq, &mut metas);
        if let Err(error) = result {
            for meta in &metas {
                let _ = self.fs.unlink(&self.table_path(meta.id));
            }
            return Err(error);
        }
        self.sync_typed()?;
        self.install_foreign(metas, replace, seq, ticket)?;
        Ok(seq)
    }

    fn take_foreign(
        &self,
        paths: &[&str],
        replace: Option<&ReplacedRange>,
        seq: Seq,
        metas: &mut Vec<Arc<TableMeta>>,
    ) -> Result<()> {
        for path in paths {
            let foreign = Table::<V>::read_meta(&self.fs, path)?;
            if foreign.props.pointers > 0 || foreign.props.range_deletes > 0 {
                return Err(Error::InvalidArgument(alloc::format!(
                    "{path} holds value pointers or range deletes: only plain tables can be ingested"
                )));
            }
            let (low, high) = (&foreign.props.smallest, &foreign.props.largest);
            let families = self.families();
            if !(low.cf.0..=high.cf.0).all(|cf| families.is_live(CfId(cf))) {
                return Err(Error::InvalidArgument(alloc::format!(
                    "{path} holds keys of a column family that does not exist"
                )));
            }
            if let Some(range) = replace {
                let inside = low.as_ref() >= KeyRef::new(range.cf, &range.start)
                    && high.as_ref() < KeyRef::new(range.cf, &range.end);
                if !inside {
                    return Err(Error::InvalidArgument(alloc::format!("{path} leaves the replaced range")));
                }
            }
            if metas.iter().any(|m| m.props.smallest <= *high && *low <= m.props.largest) {
                return Err(Error::InvalidArgument(alloc::format!("{path} overlaps another of the tables")));
            }
            let id = self.take_table_id();
            let mut meta = TableMeta { id, global_seq: Some(seq), ..foreign };
            meta.props.seq_min = seq;
            meta.props.seq_max = seq;
            let meta = Arc::new(meta);
            metas.push(meta.clone());
            copy_file(&self.fs, path, &self.table_path(id), meta.file_bytes, &mut |_| {})?;
            // Every checksum, before anything names it.
            self.table(meta).verify()?;
        }
        let dir = self.path(TABLE_DIR);
        self.fs.sync_dir(&dir).at("sync", &dir)
    }

    fn install_foreign(
        &self,
        mut metas: Vec<Arc<TableMeta>>,
        replace: Option<&ReplacedRange>,
        seq: Seq,
        ticket: u64,
    ) -> Result<()> {
        let mut last = seq;
        if let Some(range) = replace {
            // The range delete stands one seq below: it hides the old entries and not the new ones.
            let delete =
                RangeDelete { cf: range.cf, start: range.start.clone(), end: range.end.clone(), seq };
            let mut outputs = NewTables::new(self, Compression::None, (seq, seq));
            let mut builder = crate::compact::run::Outputs::create(&mut outputs)?;
            builder.add_range_delete(&delete);
            crate::compact::run::Outputs::finished(&mut outputs, builder.finish()?)?;
            let deletes = outputs.commit()?;
            last = Seq(seq.0 + 1);
            for meta in &mut metas {
                let mut moved = TableMeta::clone(meta);
                moved.global_seq = Some(last);
                moved.props.seq_min = last;
                moved.props.seq_max = last;
                *meta = Arc::new(moved);
            }
            metas.splice(0..0, deletes);
        }
        let mut install = self.install.lock();
        let mut edits: Vec<Edit> =
            metas.iter().map(|meta| Edit::AddTable { level: 0, ingest: false, meta: meta.clone() }).collect();
        edits.push(Edit::NextFileId { id: self.next_table.load(Ordering::Acquire) });
        edits.push(Edit::FlushedSeq { seq: last });
        self.record(&mut install, &edits, true)?;
        let added: Vec<_> = metas.iter().map(|meta| (0, false, self.table(meta.clone()))).collect();
        let mut commit = self.commit.lock();
        let view_lock = self.view_lock.lock();
        let old = self.view.load_full();
        // The empty active memtable starts behind the new tables.
        let fresh = Arc::new(crate::memtable::Memtable::new(
            &self.options.index,
            self.options.memtable_bytes,
            commit.active.wal_segment(),
            Seq(last.0 + 1),
        ));
        commit.active = fresh.clone();
        self.store_view(View {
            id: old.id + 1,
            active: fresh,
            sealed: old.sealed.clone(),
            tables: Arc::new(old.tables.apply(&[], added)),
        });
        drop(view_lock);
        commit.next_seq = Seq(last.0 + 1);
        commit.next_ticket = ticket + 1;
        drop(commit);
        drop(install);
        self.flushed_seq.fetch_max(last.0, Ordering::AcqRel);
        self.publisher.done(ticket, last);
        Ok(())
    }

    /// Is the flush of everything before a paused write path done?
    pub fn is_paused(&self) -> bool {
        self.commit.lock().paused
    }
}
