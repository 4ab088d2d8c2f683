//! Opening: lock, CURRENT, manifest, one listing, log replay, value-log tails. Nothing that cannot be read is
//! discarded; nothing is written before everything that is named was found.
//!
//! | step | crash after it leaves |
//! |---|---|
//! | new database: a. CURRENT names a manifest with log floor 0 | a database without a log: the next open makes it |
//! | b. first log segment, durable | the same; the segment holds nothing and is made anew |
//! | c. manifest edit {log floor 1} | an empty database |
//! | any database: d. the torn tail of the log zeroed and removed | a shorter torn tail, the same prefix |
//! | e. manifest rewritten, or CURRENT without its clean mark | an unclean stop with nothing lost |
//! | f. unnamed tables and removed value-log segments unlinked | fewer of them |

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::batch::Ops;
use nokv_formats::envelope::SECTION_BATCH;
use nokv_formats::manifest::Edit;
use nokv_formats::names::parse_table as parse_table_name;
use nokv_formats::walfs::{Position, parse_segment_file_name};
use nokv_formats::{Kind, Seq, TableId, TableMeta, ValuePtr};

use crate::clock::Clock;
use crate::compact::BusySet;
use crate::engine::compaction::table_name;
use crate::engine::{Commit, Engine, EngineOptions, Families, Install, Retired, TABLE_DIR, WAL_DIR, stats};
use crate::error::{Error, IoContext, Result};
use crate::heat::{Heat, Signals};
use crate::index::MemIndex;
use crate::level::Version as TableVersion;
use crate::manifest::{CleanClose, HeadEnd, Manifest, ManifestState, probe};
use crate::memtable::Memtable;
use crate::read::view::View;
use crate::sync::{Arc, ArcCell, AtomicBool, AtomicU64, Mutex};
use crate::table::{Table, TableShared};
use crate::vfs::{IoErrorKind, Vfs, join};
use crate::vlog::{ValueLog, ValueLogOptions};
use crate::wal::journal::SEGMENT_EXT;
use crate::wal::{Cut, Journal, JournalConfig, JournalRecord, RecoverFrom, RecoveryReport, replay_read_only};
use crate::write::publish::Publisher;

/// What opening found.
#[derive(Debug, Clone, Default)]
pub struct OpenReport {
    /// The database was made by this open.
    pub created: bool,
    /// It was closed cleanly before.
    pub clean: bool,
    /// Batches replayed from the log.
    pub replayed_batches: u64,
    /// Operations that went into memtables.
    pub replayed_ops: u64,
    /// The part of the log behind the last durable mark that was cut, if any.
    pub cut: Option<Cut>,
    /// Where a torn last edit of the manifest was cut, if any.
    pub manifest_torn_at: Option<u64>,
    /// Unnamed files that were removed.
    pub swept_files: u64,
}

/// What the host gives the engine besides options.
#[derive(Clone)]
pub struct Environment {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Knowledge of hot keys.
    pub heat: Arc<dyn Heat>,
    /// Calls back.
    pub signals: Arc<dyn Signals>,
}

/// Memtables in the making, oldest first.
struct Replay<'o, I: MemIndex> {
    options: &'o EngineOptions<I::Config>,
    flushed: Seq,
    /// Seq before the first record.
    before: Seq,
    last: Seq,
    done: Vec<Arc<Memtable<I>>>,
    filling: Option<Memtable<I>>,
    batches: u64,
    ops: u64,
}

impl<I: MemIndex> Replay<'_, I> {
    fn take(&mut self, record: &JournalRecord<'_>) -> Result<()> {
        let file = "log record";
        let mut seq = record.first_seq;
        self.batches += 1;
        for section in record.sections() {
            let section = section.map_err(|m| Error::malformed(file, record.start.offset, m))?;
            if section.kind != SECTION_BATCH {
                continue;
            }
            for op in Ops::new(section.bytes) {
                let op = op.map_err(|m| Error::malformed(file, record.start.offset, m))?;
                // What tables hold already is not replayed.
                if seq > self.flushed {
                    self.memtable(record.start.segment, seq).apply(&op, seq);
                    self.ops += 1;
                }
                self.last = self.last.max(seq);
                seq = Seq(seq.0 + 1);
            }
        }
        // Between batches only: no batch spans two memtables.
        if self.filling.as_ref().is_some_and(|m| m.memory_bytes() >= self.options.memtable_bytes)
            && let Some(full) = self.filling.take()
        {
            full.seal(self.last);
            self.done.push(Arc::new(full));
        }
        Ok(())
    }

    /// Starts again.
    fn forget(&mut self) {
        self.done.clear();
        self.filling = None;
        (self.last, self.batches, self.ops) = (self.before, 0, 0);
    }

    fn memtable(&mut self, segment: u32, seq: Seq) -> &Memtable<I> {
        let options = self.options;
        self.filling
            .get_or_insert_with(|| Memtable::new(&options.index, options.memtable_bytes, segment, seq))
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Opens the database in `dir`, or makes one.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Corrupt`] and [`Error::Io`] change nothing; [`Error::InvalidArgument`] for
    /// options that cannot be.
    pub fn open(
        fs: V,
        dir: &str,
        options: EngineOptions<I::Config>,
        environment: Environment,
    ) -> Result<Arc<Self>> {
        options.validate()?;
        let lock =
            if options.read_only { None } else { Some(take_lock(&fs, dir, options.create_if_missing)?) };
        let mut report = OpenReport::default();
        if !probe(&fs, dir)? {
            if options.read_only || !options.create_if_missing {
                return Err(Error::io("open", dir, crate::vfs::IoError::new(IoErrorKind::NotFound)));
            }
            // ORDER: the directory's own name is durable before anything in it is acknowledged, also where an
            // earlier process made the directory and died.
            sync_parents(&fs, dir)?;
            Manifest::create(fs.clone(), dir, options.database_id)?;
            report.created = true;
        }
        let opened = Manifest::open(fs.clone(), dir, options.read_only)?;
        let mut manifest = opened.manifest;
        manifest.set_rewrite_threshold(match options.manifest_rewrite_bytes {
            0 => u64::MAX / 2,
            bytes => bytes,
        });
        report.clean = opened.clean.is_some();
        report.manifest_torn_at = opened.torn_at;
        let state = manifest.state().clone();
        let highest_table = check_tables(&fs, dir, &state)?;
        let vlog_options = ValueLogOptions {
            segment_bytes: options.value_log_segment_bytes,
            buckets: options.value_log_buckets,
            hot_buckets: options.value_log_hot_buckets,
            ..ValueLogOptions::default()
        };
        let vlog = ValueLog::open(fs.clone(), dir, vlog_options, options.read_only, &state, report.clean)?;
        if !options.read_only && !report.clean {
            // ORDER: values that the last process left in the kernel's cache, before recovery makes the log
            // records durable that name them.
            vlog.sync()?;
        }
        let mut replay = Replay::<I> {
            options: &options,
            flushed: state.flushed_seq,
            before: state.last_seq.max(state.flushed_seq),
            last: state.last_seq.max(state.flushed_seq),
            done: Vec::new(),
            filling: None,
            batches: 0,
            ops: 0,
        };
        let journal = recover_log(
            &fs,
            dir,
            &options,
            &mut manifest,
            &state,
            opened.clean.as_ref(),
            &vlog,
            &mut replay,
            &mut report,
        )?;
        if !options.read_only {
            manifest.begin_writes()?;
            let cut_any = report.cut.is_some() || opened.torn_at.is_some();
            if !cut_any {
                report.swept_files = sweep_tables(&fs, dir, &state)? + manifest.sweep()? as u64;
            }
            if !cut_any {
                report.swept_files += sweep_value_log(&state, &vlog)?;
                if let Some(journal) = &journal {
                    journal.release_below(state.wal_floor)?;
                }
            }
        }
        report.replayed_batches = replay.batches;
        report.replayed_ops = replay.ops;
        if let Some(clean) = &opened.clean {
            replay.last = replay.last.max(clean.last_seq);
        }
        let last = replay.last;
        let wal_segment = journal.as_ref().map_or(0, |j| j.end().segment);
        let (active, sealed) = match replay.filling.take() {
            Some(filling) => (Arc::new(filling), replay.done),
            None => {
                let fresh =
                    Memtable::new(&options.index, options.memtable_bytes, wal_segment, Seq(last.0 + 1));
                (Arc::new(fresh), replay.done)
            }
        };
        let shared = Arc::new(TableShared::new(options.block_cache_bytes, options.open_files_max));
        let tables = TableVersion::new(state.tables().map(|(level, ingest, meta)| {
            let path = join(&join(dir, TABLE_DIR), &table_name(meta.id));
            let table = Table::new(fs.clone(), &path, TableMeta::clone(meta), shared.clone());
            table.set_level(u32::from(level));
            (level, ingest, Arc::new(table))
        }));
        let view = View {
            id: 1,
            active: active.clone(),
            sealed: sealed.into_iter().rev().collect(),
            tables: Arc::new(tables),
        };
        Ok(Arc::new(Self {
            fs,
            dir: dir.to_string(),
            clock: environment.clock,
            heat: environment.heat,
            signals: environment.signals,
            shared,
            journal,
            vlog,
            install: Mutex::new(Install { manifest, busy: BusySet::default(), flushing: false }),
            commit: Mutex::new(Commit { next_seq: Seq(last.0 + 1), next_ticket: 0, active, paused: false }),
            view_lock: Mutex::new(()),
            view: ArcCell::new(Arc::new(view)),
            view_id: AtomicU64::new(1),
            publisher: Publisher::new(last),
            families: ArcCell::new(Arc::new(Families::of(&state))),
            snapshots: Mutex::default(),
            expiry_cut: AtomicU64::new(state.expiry_cut),
            next_table: AtomicU64::new(state.next_file_id.max(highest_table + 1)),
            database_id: state.db_id,
            // What earlier processes dropped is not known.
            dropped_seq: AtomicU64::new(last.0),
            durable_seq: AtomicU64::new(last.0),
            flushed_seq: AtomicU64::new(state.flushed_seq.0),
            retired: Mutex::new(Retired { tables: Vec::new(), memtables: Vec::new(), segments: Vec::new() }),
            in_flight: Mutex::default(),
            flush_waits_for: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            closed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            gc_running: AtomicBool::new(false),
            removing: AtomicBool::new(false),
            log_busy: AtomicBool::new(false),
            counters: stats::Counters::default(),
            lock: Mutex::new(lock),
            open_report: report,
            options,
        }))
    }

    /// Number of the database.
    pub const fn database_id(&self) -> u64 {
        self.database_id
    }

    /// Merges that run give up soon, and none is started any more: the database is about to close.
    pub fn stop_merges(&self) {
        self.stopping.store(true, crate::sync::Ordering::Release);
    }

    /// Flushes what memtables hold, makes everything durable and marks the database clean. Background work
    /// must have stopped. Idempotent; afterwards every call gives [`Error::Closed`].
    ///
    /// # Errors
    /// What flushing or syncing met; the database is closed all the same, and the next open recovers it.
    pub fn close(&self) -> Result<()> {
        if self.closed.load(crate::sync::Ordering::Acquire) {
            return Ok(());
        }
        let result = self.close_inner();
        self.closed.store(true, crate::sync::Ordering::Release);
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
        let flushed = self.flush_all();
        if let Err(error) = &flushed
            && !super::background::is_passing(error)
        {
            return flushed;
        }
        self.remove_retired()?;
        // Heads are left at a close: sealed segments have a length that the next open can check.
        self.vlog.seal_heads();
        let segments = self.sync_values()?;
        let Some(journal) = &self.journal else { return Ok(()) };
        let end = journal.seal_for_close()?;
        let mut install = self.install.lock();
        let mut edits = Vec::new();
        let floor = end.segment;
        let state = install.manifest.state();
        let is_empty = flushed.is_ok() && state.flushed_seq >= self.last_seq();
        if is_empty && floor > state.wal_floor {
            edits.push(Edit::WalFloor { segment: floor });
        }
        self.push_value_log_edits(&install, &segments, &mut edits);
        edits.push(Edit::NextFileId { id: self.next_table.load(crate::sync::Ordering::Acquire) });
        self.record(&mut install, &edits, true)?;
        if is_empty {
            // ORDER: segments go after the edit that says they are not needed.
            journal.release_below(floor)?;
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

pub(super) fn take_lock<V: Vfs>(fs: &V, dir: &str, create: bool) -> Result<V::Lock> {
    let is_missing = matches!(fs.list(dir), Err(error) if error.kind == IoErrorKind::NotFound);
    if create && is_missing {
        fs.create_dir_all(dir).at("create directory", dir)?;
    }
    let path = join(dir, "LOCK");
    fs.lock(&path).map_err(|error| match error.kind {
        IoErrorKind::WouldBlock => {
            Error::Locked { file: path.clone(), pid: u32::try_from(error.code).ok().filter(|pid| *pid != 0) }
        }
        _ => Error::io("lock", &path, error),
    })
}

/// Makes the name of `dir` durable, and those of the directories that it lies in.
pub(crate) fn sync_parents<V: Vfs>(fs: &V, dir: &str) -> Result<()> {
    if !fs.capabilities().directory_sync {
        return Ok(());
    }
    let mut below = dir.trim_end_matches('/');
    let mut is_own = true;
    while !matches!(below, "" | "." | "..") {
        let parent = match below.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((parent, _)) => parent,
            None => "",
        };
        match fs.sync_dir(parent) {
            Ok(()) => {}
            // A directory further up that may be passed and not read was there before.
            Err(error) if error.kind == IoErrorKind::PermissionDenied && !is_own => return Ok(()),
            Err(error) => return Err(Error::io("sync", parent, error)),
        }
        is_own = false;
        below = parent.trim_end_matches('/');
    }
    Ok(())
}

/// Is every table that the manifest names there, with its size? Gives the highest number of any table file.
fn check_tables<V: Vfs>(fs: &V, dir: &str, state: &ManifestState) -> Result<u64> {
    let table_dir = join(dir, TABLE_DIR);
    let mut found: Vec<(TableId, u64)> = list_or_empty(fs, &table_dir)?
        .into_iter()
        .filter_map(|entry| parse_table_name(&entry.name).map(|id| (id, entry.size)))
        .collect();
    found.sort_unstable();
    for (_, _, meta) in state.tables() {
        let path = || join(&table_dir, &table_name(meta.id));
        match found.binary_search_by_key(&meta.id, |(id, _)| *id) {
            Err(_) => {
                return Err(Error::corrupt(path(), 0, "the manifest names this table, but it is missing"));
            }
            Ok(at) if found[at].1 != meta.file_bytes => {
                return Err(Error::corrupt(
                    path(),
                    found[at].1,
                    "length of the file that the manifest states",
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(found.last().map_or(0, |(id, _)| id.0))
}

/// Removes segments that an edit took out of the manifest before they could be unlinked: below the head and
/// unnamed.
fn sweep_value_log<V: Vfs>(state: &ManifestState, vlog: &ValueLog<V>) -> Result<u64> {
    let mut swept = 0;
    for s in vlog.segments() {
        let below_head = state.vlog_heads.get(&s.bucket).is_some_and(|head| s.segment <= *head);
        if below_head && !state.vlog_segments.contains_key(&(s.bucket, s.segment)) {
            vlog.remove_segment(s.bucket, s.segment)?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn sweep_tables<V: Vfs>(fs: &V, dir: &str, state: &ManifestState) -> Result<u64> {
    let table_dir = join(dir, TABLE_DIR);
    let mut swept = 0;
    for entry in list_or_empty(fs, &table_dir)? {
        let Some(id) = parse_table_name(&entry.name) else { continue };
        if state.table(id).is_none() {
            let path = join(&table_dir, &entry.name);
            fs.unlink(&path).at("unlink", &path)?;
            swept += 1;
        }
    }
    Ok(swept)
}

pub(crate) fn list_or_empty<V: Vfs>(fs: &V, dir: &str) -> Result<Vec<crate::vfs::DirEntry>> {
    match fs.list(dir) {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind == IoErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("list", dir, error)),
    }
}

#[expect(clippy::too_many_arguments, reason = "one step of open, called once")]
fn recover_log<V: Vfs, I: MemIndex>(
    fs: &V,
    dir: &str,
    options: &EngineOptions<I::Config>,
    manifest: &mut Manifest<V>,
    state: &ManifestState,
    clean: Option<&CleanClose>,
    vlog: &ValueLog<V>,
    replay: &mut Replay<'_, I>,
    report: &mut OpenReport,
) -> Result<Option<Journal<V>>> {
    let wal_dir = join(dir, WAL_DIR);
    let config = JournalConfig { segment_bytes: options.wal_segment_bytes / 8 * 8, db_id: state.db_id };
    if state.wal_floor == 0 {
        if options.read_only {
            return Ok(None);
        }
        return make_log(fs, dir, &wal_dir, config, manifest).map(Some);
    }
    let mut from = RecoverFrom {
        floor_segment: state.wal_floor,
        clean_end: clean.map(|c| Position { segment: c.wal_segment, offset: c.wal_offset }),
        end_before: None,
    };
    let recover = |from: RecoverFrom, visit: &mut dyn FnMut(JournalRecord<'_>) -> Result<()>| {
        if options.read_only {
            return replay_read_only(fs, &wal_dir, config, from, visit).map(|report| (None, report));
        }
        let (journal, report) = Journal::recover(fs, &wal_dir, config, from, visit)?;
        Ok((Some(journal), report))
    };
    let mut value_lost = false;
    // Nothing is written before the whole log was visited: an error in between leaves it as it is.
    let first = recover(from, &mut |record| {
        if clean.is_none() && !is_resolvable(&record, state.flushed_seq, vlog)? {
            value_lost = true;
            return Err(Error::corrupt(&wal_dir, record.start.offset, "a record whose value is there"));
        }
        replay.take(&record)
    });
    let (journal, recovery): (Option<Journal<V>>, RecoveryReport) = if value_lost {
        replay.forget();
        from.end_before = first_unresolvable(fs, &wal_dir, config, from, state.flushed_seq, vlog)?;
        recover(from, &mut |record| replay.take(&record))?
    } else {
        first?
    };
    report.cut = recovery.cut;
    Ok(journal)
}

/// A database whose log was never made: no write was ever acknowledged.
fn make_log<V: Vfs>(
    fs: &V,
    dir: &str,
    wal_dir: &str,
    config: JournalConfig,
    manifest: &mut Manifest<V>,
) -> Result<Journal<V>> {
    manifest.begin_writes()?;
    fs.create_dir_all(wal_dir).at("create directory", wal_dir)?;
    let table_dir = join(dir, TABLE_DIR);
    fs.create_dir_all(&table_dir).at("create directory", &table_dir)?;
    // Only what an unfinished run of this function, or a checkpoint's original, left: our own names.
    for entry in list_or_empty(fs, wal_dir)? {
        let name = entry.name.strip_suffix(".tmp").unwrap_or(&entry.name);
        let segment = name.strip_suffix(".idx").unwrap_or(name);
        if entry.is_dir || parse_segment_file_name(segment, SEGMENT_EXT).is_none() {
            continue;
        }
        let path = join(wal_dir, &entry.name);
        fs.unlink(&path).at("unlink", &path)?;
    }
    fs.sync_dir(dir).at("sync", dir)?;
    let journal = Journal::create(fs, wal_dir, config, 1)?;
    // ORDER: the log is durable before the floor says that it must be there.
    manifest.append(&[Edit::WalFloor { segment: 1 }])?;
    Ok(journal)
}

/// The first record behind the durable mark with a pointer that names nothing readable: after a power cut the
/// value may be lost while the pointer was not. It ends the prefix.
fn first_unresolvable<V: Vfs>(
    fs: &V,
    wal_dir: &str,
    config: JournalConfig,
    from: RecoverFrom,
    flushed: Seq,
    vlog: &ValueLog<V>,
) -> Result<Option<Position>> {
    let mut broken: Vec<Position> = Vec::new();
    let mut visit = |record: JournalRecord<'_>| {
        if !is_resolvable(&record, flushed, vlog)? {
            broken.push(record.start);
        }
        Ok(())
    };
    let report = replay_read_only(fs, wal_dir, config, from, &mut visit)?;
    // Before the mark a lost value is damage, and is reported when it is read.
    Ok(broken.into_iter().find(|at| *at >= report.durable_mark))
}

/// Does every pointer of the record that is not in tables yet name its value?
fn is_resolvable<V: Vfs>(record: &JournalRecord<'_>, flushed: Seq, vlog: &ValueLog<V>) -> Result<bool> {
    let mut seq = record.first_seq;
    for section in record.sections() {
        let Ok(section) = section else { break };
        if section.kind != SECTION_BATCH {
            continue;
        }
        for op in Ops::new(section.bytes).map_while(core::result::Result::ok) {
            if op.kind == Kind::Pointer
                && seq > flushed
                && let Ok(ptr) = ValuePtr::decode(op.value)
            {
                match vlog.read(&ptr, op.key, op.version) {
                    Ok(_) => {}
                    // Also when the segment's file is gone: its name was not durable.
                    Err(Error::Corrupt { .. }) => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            seq = Seq(seq.0 + 1);
        }
    }
    Ok(true)
}
