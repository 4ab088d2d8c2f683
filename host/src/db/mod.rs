//! The handle: a cheap, cloneable way to one open database.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nokv_core::clock::Clock;
use nokv_core::engine::{Engine, Environment};
use nokv_core::formats::{CfId, Seq, Version};
use nokv_core::heat::{Heat, Signals};
use nokv_core::read::point::{Hit, Value};
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};
use nokv_vfs_std::StdFs;

use crate::index::{BuiltinIndex, MemTableEngine};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Gate, Inside, Mutex};

mod admin;
mod api;
mod background;
mod commit;
mod events;
mod hot;
mod iter;
mod limit;
mod options;
mod reads;
mod signals;
mod stats;
mod transaction;
mod wal;
mod watchdog;
mod write_counters;
mod writes;

pub use api::CoreApi;
pub use commit::WriteOptions;
pub use events::{Event, EventListener};
pub use hot::{HotReport, HotRingReport};
pub use iter::{InternalEntry, InternalIter, InternalKey, Iter, IterOptions, split_internal_key};
pub use options::{OPTION_FIELDS, OptionField, OptionKind, Options, page as options_page};
pub use stats::{
    CacheDetail, CacheStatsSnapshot, ColumnFamilySnapshot, CompactionStatsSnapshot, EngineSnapshot,
    FlushStages, FlushStatsSnapshot, Health, HotKeyStat, HotStatsSnapshot, LatencySnapshot, LevelBytes,
    LsmLevelStats, LsmStatsSnapshot, MemorySnapshot, MemoryUse, MemtableSnapshot, PinSnapshot, PinsSnapshot,
    RaftStatsSnapshot, RecordCounts, RecoverySnapshot, RedisMetrics, RedisSnapshot, RegionMetrics,
    RegionStatsSnapshot, RingSnapshot, SegmentBytes, SeqSnapshot, SpaceSnapshot, StallSnapshot,
    StatsCollector, StatsSnapshot, TransportSnapshot, ValueLogGcSnapshot, ValueLogHead, ValueLogHotSnapshot,
    ValueLogStatsSnapshot, WalStatsSnapshot, WriteStatsSnapshot,
};
pub use transaction::Transaction;
pub use wal::Wal;
pub use write_counters::WriteSnapshot;

use background::{WorkerOptions, Workers};
use commit::CommitQueue;
use hot::HotRings;
use signals::HostSignals;

/// When a value goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// At this time, in milliseconds since the Unix epoch.
    At(u64),
    /// So long after now.
    In(Duration),
}

/// A value with everything that is stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// MVCC version; [`Version::MAX`] for a plain write.
    pub version: Version,
    /// The caller's byte.
    pub meta: u8,
    /// When it expires, in milliseconds since the Unix epoch; `None`: never.
    pub expires_at: Option<u64>,
    /// Its place in commit order.
    pub seq: Seq,
}

pub(crate) fn expiry_of(expires_at: u64) -> Option<u64> {
    (expires_at != 0).then_some(expires_at)
}

impl From<Hit> for Entry {
    fn from(hit: Hit) -> Self {
        Self {
            value: hit.value,
            version: hit.version,
            meta: hit.meta,
            expires_at: expiry_of(hit.expires_at),
            seq: hit.seq,
        }
    }
}

/// A consistent past of the database: reads of it see what was written before it was made, for as long as it
/// lives. It holds up nobody, but what it sees stays on disk.
pub struct Snapshot<V: Vfs = StdFs, I: MemIndex = BuiltinIndex>(pub(crate) nokv_core::engine::Snapshot<V, I>);

impl<V: Vfs, I: MemIndex> Snapshot<V, I> {
    /// The last write that it sees.
    pub const fn seq(&self) -> Seq {
        self.0.seq()
    }
}

/// The system's clock.
#[derive(Debug)]
struct SystemClock {
    start: std::time::Instant,
}

/// The system's clock, for a log without a database.
#[cfg(feature = "cli")]
pub(crate) fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock { start: std::time::Instant::now() })
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }

    fn monotonic_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

struct Inner<V: Vfs, I: MemIndex> {
    engine: Arc<Engine<V, I>>,
    signals: Arc<HostSignals>,
    queue: CommitQueue<I>,
    hot: Arc<HotRings>,
    workers: Option<Workers>,
    options: Options,
    stats: stats::HostStats,
    closing: AtomicBool,
    /// Held by calls that change the database; taken whole by a close.
    gate: Gate,
    close_result: Mutex<Option<Result<()>>>,
}

impl<V: Vfs, I: MemIndex> Drop for Inner<V, I> {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the database failed; the next open recovers it");
        }
    }
}

impl<V: Vfs, I: MemIndex> Inner<V, I> {
    fn close(&self) -> Result<()> {
        let mut result = self.close_result.lock();
        if let Some(result) = &*result {
            return result.clone();
        }
        // Whoever waits for background work gives up; then every call that was let in leaves.
        self.closing.store(true, Ordering::Release);
        self.engine.stop_merges();
        self.signals.bump();
        self.signals.stop_limit();
        self.queue.stop_waiting();
        let _all_have_left = self.gate.write();
        if let Some(workers) = &self.workers {
            workers.stop(&self.signals);
        }
        let closed = self.engine.close();
        self.signals.bump();
        *result = Some(closed.clone());
        drop(result);
        if let Some(listener) = &self.options.listener {
            listener.on_event(&Event::Closed);
        }
        closed
    }
}

thread_local! {
    /// The batch of single writes, so that they do not allocate.
    static SCRATCH: RefCell<WriteBatch> = const { RefCell::new(WriteBatch::new()) };
}

/// An open database. Clones are the same database; it closes when the last one is dropped, or by
/// [`Db::close`].
///
/// ```
/// # fn main() -> nokv::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path();
/// let db = nokv::Db::open(nokv::Options::new(path))?;
/// db.set(b"hello", b"world")?;
/// assert_eq!(db.get(b"hello")?.as_deref(), Some(&b"world"[..]));
/// db.close()
/// # }
/// ```
pub struct Db<V: Vfs = StdFs, I: MemIndex = BuiltinIndex> {
    inner: Arc<Inner<V, I>>,
}

impl<V: Vfs, I: MemIndex> Clone for Db<V, I> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<V: Vfs, I: MemIndex> std::fmt::Debug for Db<V, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("dir", &self.inner.engine.dir()).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database in `options.work_dir` on the system's files, or makes one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for options that cannot be; [`Error::Locked`] if another process has it open;
    /// [`Error::Corrupt`] and [`Error::Io`] for what cannot be read: nothing is changed then.
    pub fn open(options: Options) -> Result<Self> {
        Self::open_on(StdFs::new(), options)
    }
}

impl<V: Vfs> Db<V> {
    /// Opens the database on any file system, with the index that the options name.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_on(fs: V, options: Options) -> Result<Self> {
        if options.mem_table_engine == MemTableEngine::None {
            return Err(Error::InvalidArgument(
                "mem_table_engine is none: no memtable index is compiled in".to_string(),
            ));
        }
        let engine = options.mem_table_engine;
        Self::open_with(fs, engine, options)
    }
}

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// Opens the database on any file system with any index.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_with(fs: V, index: I::Config, options: Options) -> Result<Self> {
        options.validate()?;
        let dir = options.dir()?;
        let clock = options
            .clock
            .clone()
            .unwrap_or_else(|| Arc::new(SystemClock { start: std::time::Instant::now() }));
        let signals =
            Arc::new(HostSignals::new(options.background_bytes_per_second, options.value_log_verbose));
        let hot = Arc::new(HotRings::new(options.to_hot(random_id()), clock.clone()));
        let environment = Environment {
            clock: clock.clone(),
            heat: hot.clone() as Arc<dyn Heat>,
            signals: signals.clone() as Arc<dyn Signals>,
        };
        let engine = Engine::open(fs, &dir, options.to_engine(index, random_id()), environment)?;
        let workers = if options.read_only {
            None
        } else {
            let interval = options.value_log_gc_interval;
            let worker_options = WorkerOptions {
                compactors: options.compactor_threads(),
                gc_interval: (!interval.is_zero()).then_some(interval),
                gc_threads: options.gc_parallelism(),
                watchdog_interval: options.watchdog_interval(),
                listener: options.listener.clone(),
                hot: hot.clone(),
            };
            Some(Workers::start(&engine, &signals, worker_options)?)
        };
        if let Some(listener) = &options.listener {
            listener.on_event(&Event::Opened);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                signals,
                queue: CommitQueue::new(options.to_queue(), clock),
                workers,
                options,
                hot,
                stats: stats::HostStats::default(),
                closing: AtomicBool::new(false),
                gate: Gate::new(()),
                close_result: Mutex::new(None),
            }),
        })
    }

    /// The engine below.
    pub fn engine(&self) -> &Arc<Engine<V, I>> {
        &self.inner.engine
    }

    /// The options it was opened with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Lets a call in that changes the database; closing waits until the guard is dropped.
    fn enter(&self) -> Result<Inside<'_>> {
        // Recursive: a call may use another one while a close waits.
        let guard = self.inner.gate.read_recursive();
        if self.inner.closing.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(guard)
    }

    fn check(&self, cf: CfId) -> Result<()> {
        if self.inner.closing.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        // Most calls are for the families that cannot be dropped.
        if cf > CfId::WRITE && !self.inner.engine.families().is_live(cf) {
            return Err(Error::UnknownFamily(format!("number {}", cf.0)));
        }
        Ok(())
    }
}

/// A number for a new database, from the process's address layout, id and time: it need only differ.
pub(crate) fn random_id() -> u64 {
    if cfg!(shuttle) {
        // A schedule that runs again must find the same names.
        return 1;
    }
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u128(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos()));
    hasher.finish().max(1)
}
