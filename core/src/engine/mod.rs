//! The engine: all parts joined, as explicit steps.
//!
//! The host calls reads and writes from any number of threads, and runs the background [`Work`] that
//! [`Engine::next_work`] hands out. Nothing here waits: a step that cannot go on says [`Error::Busy`].
//!
//! Lock order, outer first; no lock is held across a sync, but for `install`, which only background steps and
//! family changes take and which the manifest's own order needs:
//! 1. `install`: the manifest, the busy set
//! 2. `commit`: seqs, tickets, the log's append order
//! 3. `view_lock`: replacing the view
//! 4. `snapshots`, `retired`, `in_flight`, `failure`, `gc`, `raft`, `regions`: leaves, never two at once

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::Seq;

use crate::clock::Clock;
use crate::compact::BusySet;
use crate::error::{Error, Result};
use crate::heat::{Heat, Signals};
use crate::index::MemIndex;
use crate::manifest::{Manifest, ManifestState, RaftPointer, RegionMeta};
use crate::memtable::Memtable;
use crate::read::merge::Room;
use crate::read::view::View;
use crate::sync::{Arc, ArcCell, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::table::{Table, TableShared};
use crate::vfs::{Vfs, join};
use crate::vlog::ValueLog;
use crate::wal::{BatchLog, Position, Tally};
use crate::write::publish::Publisher;

mod background;
mod changes;
mod check;
mod checkpoint;
mod close;
mod compaction;
mod families;
mod flush;
mod gc;
mod ingest;
mod open;
mod options;
mod raft;
mod reads;
mod regions;
mod repair;
mod replay;
mod snapshots;
mod stats;
mod stats_compaction;
mod typed;
pub mod watchdog;
mod writes;

pub use background::{Stall, Work};
pub use check::CheckReport;
pub use compaction::table_name;
pub use families::Families;
pub use gc::{
    Collection, Contradiction, GcReport, GcStats, GcStep, GcTick, HeadInfo, Refusal, SegmentId, ValueLogStep,
};
pub use ingest::ReplacedRange;
pub use open::{Environment, OpenReport};
pub use options::EngineOptions;
pub use raft::REWRITE_BYTES_MAX;
pub use reads::{Entries, InternalScan, prefix_end};
pub use repair::{RepairPlan, RepairStep, apply_repair, plan_repair};
pub use snapshots::Snapshot;
pub use stats::{
    CounterValues, EngineStats, FamilyCounts, FlushStages, Latencies, Latency, LevelStats, LogStats, Pin,
    PinOwner, PinStats, SAMPLED_ONE_IN, SegmentStats, StageValues,
};
pub use stats_compaction::{CompactionStats, IngestStats, LevelPressure, MergeReasons};
pub use typed::{RecordKind, TypedSection, TypedVisit, WalSegment};
pub use watchdog::{RaftStatus, WalStatus, WatchdogOptions};
pub use writes::{Member, Prepared, Separated, Ticket};

/// The directory of the log.
pub(crate) const WAL_DIR: &str = "wal";
/// The directory of the tables.
pub(crate) const TABLE_DIR: &str = "tables";

/// An open database.
pub struct Engine<V: Vfs, I: MemIndex> {
    pub(crate) fs: V,
    pub(crate) dir: String,
    pub(crate) options: EngineOptions<I::Config>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) heat: Arc<dyn Heat>,
    pub(crate) signals: Arc<dyn Signals>,
    pub(crate) database_id: u64,
    /// Number of the next table file.
    pub(crate) next_table: AtomicU64,
    pub(crate) shared: Arc<TableShared>,
    /// `None` when read-only.
    pub(crate) batch_log: Option<BatchLog<V>>,
    pub(crate) vlog: ValueLog<V>,
    pub(crate) install: Mutex<Install<V>>,
    pub(crate) commit: Mutex<Commit<I>>,
    pub(crate) view_lock: Mutex<()>,
    pub(crate) view: ArcCell<View<V, I>>,
    /// Id of the view in `view`; stored behind it.
    pub(crate) view_id: AtomicU64,
    pub(crate) publisher: Publisher,
    pub(crate) families: ArcCell<Families>,
    pub(crate) snapshots: Mutex<snapshots::SnapshotList>,
    /// The highest expiry cut that a durable manifest edit records.
    pub(crate) expiry_cut: AtomicU64,
    /// No merge takes entries out that expire from here on: see [`Engine::keep_expired_from`].
    pub(crate) expired_kept_from: AtomicU64,
    /// The highest seq of a write whose last trace a merge may have removed: see `Engine::admit`.
    pub(crate) dropped_seq: AtomicU64,
    pub(crate) durable_seq: AtomicU64,
    pub(crate) flushed_seq: AtomicU64,
    /// The log floor that the manifest records.
    pub(crate) wal_floor: AtomicU32,
    /// What the log held when it was replayed, and where it ended, for one that is read-only.
    pub(crate) replayed: (Tally, Position),
    /// The manifest's raft pointers and regions, to look at without its lock.
    pub(crate) raft: Mutex<BTreeMap<u64, RaftPointer>>,
    pub(crate) regions: Mutex<BTreeMap<u64, RegionMeta>>,
    pub(crate) watchdog: watchdog::Counters,
    pub(crate) retired: Mutex<Retired<V, I>>,
    pub(crate) in_flight: Mutex<InFlight>,
    /// The seq that must be published before a flush that was asked for can start; 0 if none waits.
    pub(crate) flush_waits_for: AtomicU64,
    pub(crate) failed: AtomicBool,
    pub(crate) failure: Mutex<Option<Error>>,
    /// The last error of a background step that may pass; `None` once one succeeded again.
    pub(crate) hindrance: Mutex<Option<Error>>,
    pub(crate) closed: AtomicBool,
    /// Merges give up; nothing new is started.
    pub(crate) stopping: AtomicBool,
    pub(crate) gc: Mutex<gc::GcState>,
    pub(crate) gc_counters: gc::GcCounters,
    pub(crate) compaction_counters: stats_compaction::CompactionCounters,
    pub(crate) removing: AtomicBool,
    pub(crate) log_busy: AtomicBool,
    pub(crate) counters: stats::Counters,
    /// A flush runs: as `Install::flushing`, for statistics.
    pub(crate) flush_runs: AtomicBool,
    pub(crate) pins: stats::PinList<V, I>,
    /// Room of scans that ended.
    pub(crate) scan_rooms: Mutex<Vec<Room>>,
    pub(crate) lock: Mutex<Option<V::Lock>>,
    pub(crate) open_report: OpenReport,
}

/// What installing a change of the tree needs.
pub(crate) struct Install<V: Vfs> {
    pub(crate) manifest: Manifest<V>,
    pub(crate) busy: BusySet,
    pub(crate) flushing: bool,
}

/// What the commit leader owns.
pub(crate) struct Commit<I> {
    pub(crate) next_seq: Seq,
    pub(crate) next_ticket: u64,
    pub(crate) active: Arc<Memtable<I>>,
    /// An ingest runs: writers are told to come again.
    pub(crate) paused: bool,
}

/// What left the tree but may still be read.
pub(crate) struct Retired<V: Vfs, I> {
    /// Tables to unlink when their last reader leaves.
    pub(crate) tables: Vec<Arc<Table<V>>>,
    /// Flushed memtables that a pinned view may hold.
    pub(crate) memtables: Vec<Arc<Memtable<I>>>,
    /// Value-log segments that nothing live names, to unlink when no retired table or memtable names them.
    pub(crate) segments: Vec<gc::SegmentId>,
}

/// Writers that appended to the value log and did not publish their pointers yet.
#[derive(Default)]
pub(crate) struct InFlight {
    next: u64,
    running: BTreeMap<u64, ()>,
}

impl InFlight {
    pub(crate) fn enter(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.running.insert(id, ());
        id
    }

    pub(crate) fn leave(&mut self, id: u64) {
        self.running.remove(&id);
    }

    /// Writers that enter from now on have at least this number.
    pub(crate) const fn barrier(&self) -> u64 {
        self.next
    }

    /// Did every writer below `barrier` leave?
    pub(crate) fn passed(&self, barrier: u64) -> bool {
        self.running.first_key_value().is_none_or(|(id, ())| *id >= barrier)
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// The current view, to keep.
    pub fn view(&self) -> Arc<View<V, I>> {
        self.view.load_full()
    }

    /// The highest seq that reads see.
    pub fn published(&self) -> Seq {
        self.publisher.published()
    }

    /// Every logged write up to here survives power loss.
    pub fn durable_seq(&self) -> Seq {
        Seq(self.durable_seq.load(Ordering::Acquire).max(self.flushed_seq.load(Ordering::Acquire)))
    }

    /// Every write up to here is in tables.
    pub fn flushed_seq(&self) -> Seq {
        Seq(self.flushed_seq.load(Ordering::Acquire))
    }

    /// The engine's time in Unix milliseconds: the host's, but never below the highest expiry cut.
    pub fn now_ms(&self) -> u64 {
        self.clock.unix_ms().max(self.expiry_cut.load(Ordering::Acquire))
    }

    /// What the manifest says.
    pub fn manifest_state(&self) -> ManifestState {
        self.install.lock().manifest.state().clone()
    }

    /// The column families.
    pub fn families(&self) -> Arc<Families> {
        self.families.load_full()
    }

    /// The file system.
    pub const fn fs(&self) -> &V {
        &self.fs
    }

    /// The database's directory.
    pub fn dir(&self) -> &str {
        &self.dir
    }

    /// What it was opened with.
    pub const fn options(&self) -> &EngineOptions<I::Config> {
        &self.options
    }

    /// What opening found.
    pub const fn open_report(&self) -> &OpenReport {
        &self.open_report
    }

    /// The log; `None` when read-only.
    pub const fn batch_log(&self) -> Option<&BatchLog<V>> {
        self.batch_log.as_ref()
    }

    /// The value log.
    pub const fn value_log(&self) -> &ValueLog<V> {
        &self.vlog
    }

    /// Why the database takes no writes; `None` while it does.
    pub fn failure(&self) -> Option<Error> {
        if !self.failed.load(Ordering::Acquire) {
            return None;
        }
        self.failure.lock().clone()
    }

    /// What keeps background work from going on just now, and may pass: a full disk, a want of file handles.
    pub fn hindrance(&self) -> Option<Error> {
        self.hindrance.lock().clone()
    }

    /// Turns the database read-only for good; the first cause stays.
    pub fn poison(&self, cause: &Error) {
        let mut failure = self.failure.lock();
        if failure.is_none() {
            *failure = Some(cause.clone());
        }
        drop(failure);
        self.failed.store(true, Ordering::Release);
    }

    /// After a failed write: a full disk and a want of file handles pass, anything else does not.
    pub(crate) fn poison_unless_passing(&self, error: &Error) {
        let is_argument =
            matches!(error, Error::KeyTooLarge(_) | Error::ValueTooLarge(_) | Error::ReadOnly(_));
        if !background::is_passing(error) && !is_argument {
            self.poison(error);
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.options.read_only {
            return Err(Error::ReadOnly("it was opened read-only".to_string()));
        }
        match self.failure() {
            None => Ok(()),
            Some(cause) => Err(Error::ReadOnly(cause.to_string())),
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        join(&self.dir, name)
    }
}
