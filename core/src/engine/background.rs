//! Background work as values: the host asks for a step, runs it on a thread of its choice, and asks again.

use nokv_formats::Seq;

use crate::engine::Engine;
use crate::engine::compaction::Claim;
use crate::engine::gc::CollectStep;
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::memtable::Memtable;
use crate::planted::{self, Bug};
use crate::sync::{Arc, Ordering};
use crate::vfs::Vfs;

/// One step. Dropping it without running it leaves what it claimed busy: always run it.
pub enum Work<I> {
    /// Write the oldest sealed memtable as a table.
    Flush(Arc<Memtable<I>>),
    /// Merge or move tables.
    Compact(Claim),
    /// Unlink files that nobody reads any more.
    RemoveRetired,
    /// Make the next log segment before it is needed.
    PrepareLog,
    /// One step of an automatic value-log collection.
    Collect(CollectStep),
}

impl<I> core::fmt::Debug for Work<I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Flush(_) => "flush",
            Self::Compact(claim) => return claim.fmt(f),
            Self::RemoveRetired => "remove retired files",
            Self::PrepareLog => "prepare the log",
            Self::Collect(_) => "value-log collection",
        })
    }
}

/// How a writer is to be slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// Go on.
    None,
    /// Each written byte costs this many nanoseconds of waiting, so that debt stops growing.
    Slow {
        /// Nanoseconds per KiB written.
        ns_per_kib: u64,
    },
    /// Wait until background work has made progress.
    Stop,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// The next step of background work, claimed for the caller; `None` when there is nothing to do now.
    /// `small_only` asks for short steps (flush, log) and leaves compactions to other threads.
    pub fn next_work(&self, small_only: bool) -> Option<Work<I>> {
        if self.check_writable().is_err() {
            return None;
        }
        if let Some(work) = self.claim_flush() {
            return Some(work);
        }
        if self.batch_log.as_ref().is_some_and(|j| j.wants_next())
            && !self.log_busy.swap(true, Ordering::AcqRel)
        {
            return Some(Work::PrepareLog);
        }
        if self.has_removable() && !self.removing.swap(true, Ordering::AcqRel) {
            return Some(Work::RemoveRetired);
        }
        if small_only || self.stopping.load(Ordering::Acquire) {
            return None;
        }
        self.claim_compaction().map(Work::Compact)
    }

    /// Runs a step. An error is also kept as the database's failure, unless it may pass (a full disk): then
    /// the step is handed out again.
    ///
    /// # Errors
    /// What the step met.
    pub fn run_work(&self, work: Work<I>) -> Result<()> {
        let result = match work {
            Work::Flush(memtable) => self.run_flush(&memtable),
            Work::Compact(claim) => self.run_compaction(claim),
            Work::Collect(step) => self.run_collect(step),
            Work::RemoveRetired => {
                let result = self.remove_retired();
                self.removing.store(false, Ordering::Release);
                result
            }
            Work::PrepareLog => {
                let result = match &self.batch_log {
                    Some(batch_log) => batch_log.prepare_next().map(|_| ()),
                    None => Ok(()),
                };
                self.log_busy.store(false, Ordering::Release);
                result
            }
        };
        match &result {
            Ok(()) => *self.hindrance.lock() = None,
            // Given up for a close, or to be tried again: nothing failed.
            Err(Error::Busy(_)) => {}
            Err(error) => {
                self.counters.background_error();
                if is_passing(error) {
                    *self.hindrance.lock() = Some(error.clone());
                } else {
                    self.poison(error);
                }
            }
        }
        result
    }

    /// Does a sealed memtable hold a seq up to `seq`?
    pub fn has_sealed_up_to(&self, seq: Seq) -> bool {
        self.view.load().sealed.iter().any(|m| m.first_seq() <= seq)
    }

    /// Is anything sealed?
    pub fn has_flush_work(&self) -> bool {
        !self.view.load().sealed.is_empty()
    }

    /// How writers are to be slowed down now. Rises with debt, from nothing.
    pub fn stall(&self) -> Stall {
        let view = self.view.load();
        let sealed = view.sealed.len();
        let level0 = view.tables.levels()[0].tables.len();
        let options = &self.options;
        let active_full = view.active.memory_bytes() >= options.memtable_bytes;
        if (sealed >= options.sealed_memtables_max && active_full) || level0 >= options.level0_stop_tables {
            return Stall::Stop;
        }
        // 0 at the slowdown mark, 1 at the stop mark.
        let (low, high) = (options.level0_slowdown_tables, options.level0_stop_tables);
        let by_level0 = if level0 <= low { 0.0 } else { (level0 - low) as f64 / (high - low).max(1) as f64 };
        let memtables = options.sealed_memtables_max as f64;
        let waiting = if sealed >= 2 { (sealed as f64 - 1.0) / memtables } else { 0.0 };
        let by_sealed = waiting * waiting;
        let share = by_level0.max(by_sealed).min(1.0);
        if share <= 0.0 {
            return Stall::None;
        }
        // From 0 to 64 us per KiB (16 MiB/s).
        Stall::Slow { ns_per_kib: (share * share * 64_000.0) as u64 }
    }

    /// Runs background work on the calling thread until nothing is left, steps of collections included. For hosts
    /// without threads.
    ///
    /// # Errors
    /// The first error of a step.
    pub fn run_all_work(&self) -> Result<()> {
        while let Some(work) = self.next_work(false).or_else(|| self.next_collection()) {
            self.run_work(work)?;
        }
        Ok(())
    }
}

/// Does the same step have a chance later, with nothing lost meanwhile?
pub(crate) fn is_passing(error: &Error) -> bool {
    (error.is_no_space() && !planted::is(Bug::FullDiskIsFatal))
        || matches!(error, Error::Busy(_))
        || matches!(error, Error::Io { source, .. } if source.kind == crate::vfs::IoErrorKind::TooManyFiles)
}
