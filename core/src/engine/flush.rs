//! Flush: the oldest sealed memtable becomes a table of level 0.
//!
//! Each step is durable before the next:
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. value log synced, and the log if it holds typed records | nothing that is named |
//! | b. table bytes, then its directory entry | an unnamed table, swept at open |
//! | c. manifest edit {add table, log floor, flushed seq, value-log segments} | replay skips what the table holds |
//! | d. log segments below the floor unlinked, if no raft group has records (else by the watchdog) | segments below the floor, ignored and swept |
//!
//! Flushes install in seal order: only the oldest sealed memtable is ever claimed, one at a time.

use alloc::vec::Vec;

use nokv_formats::manifest::Edit;
use nokv_formats::{Seq, TableMeta, Version};

use crate::clock::Clock;
use crate::compact::run::{self, Job, OlderTables, Stay};
use crate::engine::background::Work;
use crate::engine::compaction::NewTables;
use crate::engine::stats::FlushTimes;
use crate::engine::{Engine, Install};
use crate::error::Result;
use crate::index::MemIndex;
use crate::memtable::Memtable;
use crate::planted::{self, Bug};
use crate::read::range_set::RangeSet;
use crate::read::view::View;
use crate::sync::{Arc, Ordering};
use crate::table::{Compression, Table};
use crate::vfs::Vfs;

/// Times the stages of a flush.
struct StopWatch<'c> {
    clock: &'c dyn Clock,
    at: u64,
}

impl<'c> StopWatch<'c> {
    fn start(clock: &'c dyn Clock) -> Self {
        Self { clock, at: clock.monotonic_ns() }
    }

    /// Nanoseconds since the last lap.
    fn lap(&mut self) -> u64 {
        let now = self.clock.monotonic_ns();
        let ns = now.saturating_sub(self.at);
        self.at = now;
        ns
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Claims the oldest sealed memtable, when every batch in it is whole.
    pub(crate) fn claim_flush(&self) -> Option<Work<I>> {
        let mut install = self.install.lock();
        if install.flushing {
            return None;
        }
        let memtable = self.view.load().sealed.last()?.clone();
        if self.publisher.published() < memtable.last_seq() {
            // A batch of it is still being inserted: whoever publishes it calls. Looked at again behind the mark,
            // for it may have been published in between.
            self.flush_waits_for.store(memtable.last_seq().0, Ordering::SeqCst);
            if self.publisher.published() < memtable.last_seq() {
                return None;
            }
        }
        install.flushing = true;
        Some(Work::Flush(memtable))
    }

    pub(crate) fn run_flush(&self, memtable: &Arc<Memtable<I>>) -> Result<()> {
        self.flush_runs.store(true, Ordering::Release);
        let mut result = self.flush_memtable(memtable);
        if planted::is(Bug::FailedFlushForgotten) && result.is_err() {
            self.install_flush(memtable, &[]);
            result = Ok(());
        }
        self.flush_runs.store(false, Ordering::Release);
        self.install.lock().flushing = false;
        result
    }

    fn flush_memtable(&self, memtable: &Arc<Memtable<I>>) -> Result<()> {
        let mut watch = StopWatch::start(&*self.clock);
        let wait = watch.at.saturating_sub(memtable.sealed_at_ns());
        // ORDER: values before the table that points to them.
        let segments = self.sync_values()?;
        let value_sync = watch.lap();
        let horizon = self.horizon();
        let view = self.view();
        let ranges = memtable.ranges().unwrap_or_default();
        let tables = self.build_from_memtable(memtable, &ranges, &horizon, &view)?;
        self.sync_typed().inspect_err(|e| self.give_back(&tables, e))?;
        let build = watch.lap();
        let mut install = self.install.lock();
        let floor = self.log_floor(install.manifest.state(), self.flush_floor(Some(memtable)));
        let mut edits = Vec::new();
        for meta in &tables {
            edits.push(Edit::AddTable { level: 0, ingest: false, meta: meta.clone() });
        }
        edits.push(Edit::NextFileId { id: self.next_table.load(Ordering::Acquire) });
        edits.push(Edit::WalFloor { segment: floor });
        edits.push(Edit::FlushedSeq { seq: memtable.last_seq() });
        self.push_expiry_cut(&install, horizon.cut_ms, &mut edits);
        self.push_value_log_edits(&install, &segments, &mut edits);
        if planted::is(Bug::LogRemovedBeforeEdit)
            && let Some(batch_log) = &self.batch_log
        {
            batch_log.release_below(floor)?;
        }
        // ORDER: the table is durable before the edit names it; the floor moves in the same edit.
        self.record(&mut install, &edits, true).inspect_err(|e| self.give_back(&tables, e))?;
        self.install_flush(memtable, &tables);
        self.flushed_seq.fetch_max(memtable.last_seq().0, Ordering::AcqRel);
        let bytes = tables.iter().map(|t| t.file_bytes).sum();
        let installed = watch.lap();
        // ORDER: segments go after the edit that says they are not needed.
        self.release_log(&install)?;
        drop(install);
        let times = FlushTimes { wait, value_sync, build, install: installed, release: watch.lap() };
        self.counters.flushed(bytes, times);
        self.signals.work_ready();
        Ok(())
    }

    fn build_from_memtable(
        &self,
        memtable: &Arc<Memtable<I>>,
        ranges: &RangeSet,
        horizon: &crate::engine::snapshots::Horizon,
        view: &View<V, I>,
    ) -> Result<Vec<Arc<TableMeta>>> {
        if memtable.is_empty() {
            return Ok(Vec::new());
        }
        let families = self.families();
        let job = Job {
            horizon: &horizon.seqs,
            cut_ms: horizon.cut_ms,
            version_min: Version(0),
            dropped: families.dropped(),
            // One memtable, one table: level 0 is ordered by whole tables.
            split_bytes: u64::MAX,
            is_cancelled: &|| false,
        };
        let mut older = OlderTables::<V>::new(view.tables.tables().cloned().collect());
        let seqs = (memtable.first_seq(), memtable.last_seq());
        let mut outputs = NewTables::new(self, Compression::None, seqs);
        let sources = Vec::from([memtable.index().cursor()]);
        let stats = run::run(&job, sources, ranges, &mut older, &mut Stay, &mut outputs)?;
        self.note_dropped(stats.dropped);
        outputs.commit()
    }

    /// Replaces the memtable by its tables in the view. The caller holds `install`.
    fn install_flush(&self, memtable: &Arc<Memtable<I>>, tables: &[Arc<TableMeta>]) {
        let opened: Vec<(u8, bool, Arc<Table<V>>)> =
            tables.iter().map(|meta| (0, false, self.table(meta.clone()))).collect();
        let _view_lock = self.view_lock.lock();
        let old = self.view.load_full();
        let next = Arc::new(old.tables.apply(&[], opened));
        let sealed = old.sealed.iter().filter(|m| !Arc::ptr_eq(m, memtable)).cloned().collect();
        self.store_view(View { id: old.id + 1, active: old.active.clone(), sealed, tables: next });
        self.retired.lock().memtables.push(memtable.clone());
    }

    /// Appends `edits` to the manifest; after an error that is not a clean full disk the database is
    /// read-only.
    pub(crate) fn record(&self, install: &mut Install<V>, edits: &[Edit], must_sync: bool) -> Result<()> {
        self.check_open()?;
        let sync = must_sync || self.options.manifest_sync;
        let result = install.manifest.append_with(edits, sync);
        if let Err(error) = &result
            && (!error.is_no_space() || install.manifest.dead().is_some())
        {
            self.poison(error);
        }
        if result.is_ok() {
            self.wal_floor.store(install.manifest.state().wal_floor, Ordering::Release);
        }
        result
    }

    /// Adds the expiry cut, where it moves.
    pub(crate) fn push_expiry_cut(&self, install: &Install<V>, cut_ms: u64, edits: &mut Vec<Edit>) {
        if cut_ms > install.manifest.state().expiry_cut {
            edits.push(Edit::ExpiryCut { unix_ms: cut_ms });
        }
    }

    /// The last seq that a memtable of the view or a table holds.
    pub(crate) fn last_seq(&self) -> Seq {
        Seq(self.commit.lock().next_seq.0 - 1)
    }
}
