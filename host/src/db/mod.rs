//! The handle: a cheap, cloneable way to one open database.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nokv_core::clock::Clock;
use nokv_core::engine::{CheckReport, Engine, Environment, GcReport, OpenReport, ReplacedRange};
use nokv_core::formats::{CfId, KeyRef, Seq, Version};
use nokv_core::heat::{NoHeat, Signals};
use nokv_core::read::point::{Hit, Value};
use nokv_core::table::CursorOptions;
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};
use nokv_vfs_std::StdFs;

use crate::index::{BuiltinIndex, MemTableEngine};

mod api;
mod background;
mod commit;
mod events;
mod iter;
mod limit;
mod options;
mod signals;
mod stats;
mod transaction;

pub use api::CoreApi;
pub use commit::WriteOptions;
pub use events::{Event, EventListener};
pub use iter::{InternalEntry, InternalIter, InternalKey, Iter, IterOptions, split_internal_key};
pub use options::Options;
pub use stats::{Health, Stats};
pub use transaction::Transaction;

use background::{WorkerOptions, Workers};
use commit::CommitQueue;
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
    workers: Option<Workers>,
    options: Options,
    closing: AtomicBool,
    close_result: parking_lot::Mutex<Option<Result<()>>>,
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
        self.closing.store(true, Ordering::Release);
        // Writers that were let in finish: their batches are applied before the flush.
        self.queue.shut(&self.engine, &self.signals);
        self.engine.stop_merges();
        if let Some(workers) = &self.workers {
            workers.stop(&self.signals);
        }
        let closed = self.engine.close();
        self.signals.bump();
        if let Some(listener) = &self.options.listener {
            listener.on_event(&Event::Closed);
        }
        *result = Some(closed.clone());
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
            return Err(Error::InvalidArgument("no memtable index is compiled in".to_string()));
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
        let signals = Arc::new(HostSignals::new(options.background_bytes_per_second));
        let environment =
            Environment { clock, heat: Arc::new(NoHeat), signals: signals.clone() as Arc<dyn Signals> };
        let engine = Engine::open(fs, &dir, options.to_engine(index, random_id()), environment)?;
        let workers = if options.read_only {
            None
        } else {
            let interval = options.value_log_gc_interval;
            let worker_options = WorkerOptions {
                compactors: options.compactor_threads(),
                gc_interval: (!interval.is_zero()).then_some(interval),
                gc_ratio: options.value_log_gc_discard_ratio,
                listener: options.listener.clone(),
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
                queue: CommitQueue::new(),
                workers,
                options,
                closing: AtomicBool::new(false),
                close_result: parking_lot::Mutex::new(None),
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

    // ---- writes ----

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`]; [`Error::ReadOnly`] with the cause after a failure;
    /// [`Error::OutcomeUnknown`] if a sync failed; [`Error::Closed`]; a full disk is [`Error::Io`] with nothing
    /// written.
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
    /// [`Error::DeadlineExceeded`]. Nothing was written then.
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
        self.check(CfId::DEFAULT)?;
        for op in batch.iter() {
            self.check(op.key.cf)?;
        }
        self.commit(batch, options).map(|(seq, _)| seq)
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
            SCRATCH.set(batch);
        }
        Ok(())
    }

    #[inline]
    fn commit(&self, batch: WriteBatch, options: &WriteOptions) -> Result<(Seq, WriteBatch)> {
        let sync = options.sync.unwrap_or(self.inner.options.sync_writes);
        self.inner.queue.commit(&self.inner.engine, &self.inner.signals, batch, options, sync)
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
    /// [`Error::Closed`].
    pub fn begin(&self) -> Result<Transaction<'_, V, I>> {
        Ok(Transaction::new(self, self.snapshot()?))
    }

    // ---- reads ----

    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if what had to be read is damaged; [`Error::Closed`].
    #[inline]
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.get_cf(CfId::DEFAULT, key)
    }

    /// The value of `key` in a column family.
    ///
    /// # Errors
    /// As [`Db::get`]; [`Error::UnknownFamily`].
    #[inline]
    pub fn get_cf(&self, cf: CfId, key: &[u8]) -> Result<Option<Value>> {
        self.check(cf)?;
        Ok(self.inner.engine.get(KeyRef::new(cf, key), Version::MAX)?.map(|hit| hit.value))
    }

    /// The value of `key` with all that is stored with it.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn get_entry(&self, cf: CfId, key: &[u8]) -> Result<Option<Entry>> {
        self.get_versioned_entry(cf, key, Version::MAX)
    }

    /// The newest version of `key` up to `version`; [`Entry::version`] says which.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn get_versioned_entry(&self, cf: CfId, key: &[u8], version: Version) -> Result<Option<Entry>> {
        self.check(cf)?;
        Ok(self.inner.engine.get(KeyRef::new(cf, key), version)?.map(Entry::from))
    }

    /// As [`Db::get_versioned_entry`], at a snapshot.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn get_at(
        &self,
        snapshot: &Snapshot<V, I>,
        cf: CfId,
        key: &[u8],
        version: Version,
    ) -> Result<Option<Entry>> {
        self.check(cf)?;
        Ok(self.inner.engine.get_at(&snapshot.0, KeyRef::new(cf, key), version)?.map(Entry::from))
    }

    /// The values of several keys of a family at one moment, in the order of `keys`.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn multi_get(&self, cf: CfId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.check(cf)?;
        let keys: Vec<KeyRef<'_>> = keys.iter().map(|key| KeyRef::new(cf, key)).collect();
        Ok(self.inner.engine.multi_get(&keys)?.into_iter().map(|hit| hit.map(|h| h.value)).collect())
    }

    /// A snapshot of now.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot<V, I>> {
        self.check(CfId::DEFAULT)?;
        Ok(Snapshot(self.inner.engine.snapshot()))
    }

    /// An iterator, now.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    ///
    /// ```
    /// # fn main() -> nokv::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = nokv::Db::open(nokv::Options::new(dir.path()))?;
    /// db.set(b"b", b"2")?;
    /// db.set(b"a", b"1")?;
    /// let keys: nokv::Result<Vec<_>> = db.iter(Default::default())?.map(|r| r.map(|(k, _)| k)).collect();
    /// assert_eq!(keys?, [b"a", b"b"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self, options: IterOptions) -> Result<Iter<V, I>> {
        self.iter_from(None, options)
    }

    /// An iterator at a snapshot.
    ///
    /// # Errors
    /// As [`Db::iter`].
    pub fn iter_at(&self, snapshot: &Snapshot<V, I>, options: IterOptions) -> Result<Iter<V, I>> {
        self.iter_from(Some(snapshot), options)
    }

    fn iter_from(&self, snapshot: Option<&Snapshot<V, I>>, options: IterOptions) -> Result<Iter<V, I>> {
        self.check(options.cf)?;
        let mut lower = options.lower.unwrap_or_default();
        let mut upper = options.upper;
        if let Some(prefix) = options.prefix {
            if let Some(end) = nokv_core::engine::prefix_end(&prefix) {
                upper = Some(upper.map_or(end.clone(), |u| u.min(end)));
            }
            lower = lower.max(prefix);
        }
        let cursor = if options.no_cache { CursorOptions::COMPACTION } else { CursorOptions::default() };
        let scan =
            self.inner.engine.scan(options.cf, &lower, upper.as_deref(), snapshot.map(|s| &s.0), cursor)?;
        Ok(Iter::new(self.inner.engine.clone(), scan, options.key_only, options.reverse))
    }

    /// Every stored entry of every family, hidden ones and deletes included. For tools and replication.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn internal_iter(&self) -> Result<InternalIter<V, I>> {
        self.check(CfId::DEFAULT)?;
        Ok(InternalIter::new(self.inner.engine.internal_scan(CursorOptions::COMPACTION)?))
    }

    // ---- families ----

    /// Makes a column family; durable on return.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad or taken name.
    pub fn create_cf(&self, name: &str) -> Result<CfId> {
        self.check(CfId::DEFAULT)?;
        self.inner.engine.create_family(name)
    }

    /// Drops a column family with all that is in it; durable on return.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`]; [`Error::InvalidArgument`] for a built-in one.
    pub fn drop_cf(&self, name: &str) -> Result<()> {
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

    // ---- durability and background work ----

    /// Makes every write that returned before this call durable; gives the last seq that is.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`]: the sync failed, the database is read-only until it is reopened.
    pub fn sync(&self) -> Result<Seq> {
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
            if self.inner.engine.flushed_seq() >= target {
                return Ok(());
            }
            self.wait_for_work(epoch)?;
        }
    }

    fn wait_for_work(&self, epoch: u64) -> Result<()> {
        if let Some(cause) = self.inner.engine.failure() {
            return Err(Error::ReadOnly(cause.to_string()));
        }
        let soon = std::time::Instant::now() + Duration::from_millis(50);
        self.inner.signals.wait_change(epoch, Some(soon));
        self.check(CfId::DEFAULT)
    }

    /// Merges everything in a range of a family down to the last level that holds some of it, dropping what is
    /// hidden or expired. `None` bounds are open. Waits for it.
    ///
    /// # Errors
    /// As [`Db::flush`].
    pub fn compact_range(&self, cf: CfId, lower: Option<&[u8]>, upper: Option<&[u8]>) -> Result<()> {
        self.check(cf)?;
        self.flush()?;
        loop {
            let epoch = self.inner.signals.epoch();
            match self.inner.engine.compact_range_step(cf, lower, upper) {
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
        self.check(CfId::DEFAULT)?;
        background::collect(&self.inner.engine, &self.inner.signals, discard_ratio, None)
    }

    /// Waits until no background work is left.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] with the cause if background work failed.
    pub fn wait_idle(&self) -> Result<()> {
        self.check(CfId::DEFAULT)?;
        if let Some(workers) = &self.inner.workers {
            workers.wait_idle(&self.inner.signals);
        }
        match self.inner.engine.failure() {
            Some(cause) => Err(Error::ReadOnly(cause.to_string())),
            None => Ok(()),
        }
    }

    // ---- copies, checks ----

    /// Makes a second database in `target` with everything written before the call, sharing the files that are
    /// never written again. Gives the seq that it holds.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `target` is not an empty or missing directory.
    pub fn checkpoint(&self, target: &str) -> Result<Seq> {
        self.flush()?;
        self.inner.engine.checkpoint(target)
    }

    /// Installs tables that [`crate::TableWriter`] wrote, in one step, optionally in place of a range.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::InvalidArgument`]: nothing was changed.
    pub fn ingest(&self, tables: &[&str], replace: Option<&ReplacedRange>) -> Result<Seq> {
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

    // ---- state ----

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

/// A number for a new database, from the process's address layout, id and time: it need only differ.
pub(crate) fn random_id() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u128(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos()));
    hasher.finish().max(1)
}
