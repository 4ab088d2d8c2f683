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
//! | f. unnamed tables, removed value-log segments and unfinished log segments unlinked | fewer of them |

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::names::parse_table as parse_table_name;
use nokv_formats::walfs::Position;
use nokv_formats::{Seq, TableId, TableMeta};

use crate::clock::Clock;
use crate::compact::BusySet;
use crate::engine::compaction::table_name;
use crate::engine::gc::GcCounters;
use crate::engine::replay::{Replay, recover_log};
use crate::engine::stats_compaction::CompactionCounters;
use crate::engine::{
    Commit, Engine, EngineOptions, Families, Install, Retired, TABLE_DIR, WAL_DIR, stats, watchdog,
};
use crate::error::{Error, IoContext, Result};
use crate::heat::{Heat, Signals};
use crate::index::MemIndex;
use crate::level::Version as TableVersion;
use crate::manifest::{Manifest, ManifestState, probe};
use crate::memtable::Memtable;
use crate::planted::{self, Bug};
use crate::read::view::View;
use crate::sync::{Arc, ArcCell, AtomicBool, AtomicU32, AtomicU64, Mutex};
use crate::table::{Table, TableShared};
use crate::vfs::{IoErrorKind, Vfs, join};
use crate::vlog::{ValueLog, ValueLogOptions};
use crate::wal::batch_log::SEGMENT_EXT;
use crate::wal::{Cut, Tally, remove_temporaries};
use crate::write::publish::Publisher;

/// No database gives out as many table numbers in its life; what names a higher one lies, and adding to it could wrap.
const TABLE_NUMBER_MAX: u64 = 1 << 62;

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
    /// Log records that were replayed; a batch may have several.
    pub replayed_records: u64,
    /// Log segments that hold records.
    pub replayed_segments: u64,
    /// Bytes of the records in them.
    pub replayed_bytes: u64,
    /// Where the log ended.
    pub log_end: Position,
    /// How long the open took, in nanoseconds.
    pub open_ns: u64,
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
        let started_ns = environment.clock.monotonic_ns();
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
        let next_table = state.next_file_id.max(check_tables(&fs, dir, &state)?.saturating_add(1));
        if next_table > TABLE_NUMBER_MAX {
            let what = "table numbers that are not used up";
            return Err(Error::corrupt(join(dir, TABLE_DIR), 0, what));
        }
        let vlog_options = ValueLogOptions {
            segment_bytes: options.value_log_segment_bytes,
            max_entries: options.value_log_max_entries,
            buckets: options.value_log_buckets,
            hot_buckets: options.value_log_hot_buckets,
            ..ValueLogOptions::default()
        };
        let vlog = ValueLog::open(fs.clone(), dir, vlog_options, options.read_only, &state, report.clean)?;
        let mut replay = Replay::<I> {
            options: &options,
            flushed: state.flushed_seq,
            next_family: state.next_family(),
            manifest: manifest.path(),
            before: state.last_seq.max(state.flushed_seq),
            last: state.last_seq.max(state.flushed_seq),
            done: Vec::new(),
            filling: None,
            batches: 0,
            ops: 0,
            tally: Tally::default(),
            end: Position::default(),
        };
        let batch_log = recover_log(
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
            make_table_dir(&fs, dir)?;
            let cut_any = report.cut.is_some() || opened.torn_at.is_some();
            if !cut_any {
                report.swept_files = sweep_tables(&fs, dir, &state)? + manifest.sweep()? as u64;
            }
            if !cut_any {
                report.swept_files += sweep_value_log(&state, &vlog)? + sweep_unfinished_log(&fs, dir)?;
                if let Some(batch_log) = &batch_log {
                    batch_log.release_below(state.wal_floor)?;
                }
            }
        }
        if options.read_only && planted::is(Bug::ReadOnlySweeps) {
            report.swept_files = sweep_tables(&fs, dir, &state)?;
        }
        report.replayed_batches = replay.batches;
        report.replayed_ops = replay.ops;
        if let Some(clean) = &opened.clean {
            replay.last = replay.last.max(clean.last_seq);
        }
        let last = replay.last;
        let wal_segment = batch_log.as_ref().map_or(0, |j| j.end().segment);
        let (active, sealed) = match replay.filling.take() {
            Some(filling) => (Arc::new(filling), replay.done),
            None => {
                let fresh =
                    Memtable::new(&options.index, options.memtable_bytes, wal_segment, Seq(last.0 + 1));
                (Arc::new(fresh), replay.done)
            }
        };
        let shared = TableShared::new(options.block_cache_bytes, options.open_files_max);
        let shared = Arc::new(shared.with_filter_bytes(options.filter_cache_bytes));
        let tables = TableVersion::new(state.tables().map(|(level, ingest, meta)| {
            let path = join(&join(dir, TABLE_DIR), &table_name(meta.id));
            let table = Table::new(fs.clone(), &path, TableMeta::clone(meta), shared.clone());
            table.set_level(u32::from(level));
            (level, ingest, Arc::new(table))
        }));
        let opened_ns = environment.clock.monotonic_ns();
        report.open_ns = opened_ns.saturating_sub(started_ns);
        sealed.iter().for_each(|memtable| memtable.note_sealed_at(opened_ns));
        // Making the log set it.
        let wal_floor = manifest.state().wal_floor;
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
            batch_log,
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
            expired_kept_from: AtomicU64::new(u64::MAX),
            next_table: AtomicU64::new(next_table),
            database_id: state.db_id,
            // What earlier processes dropped is not known.
            dropped_seq: AtomicU64::new(last.0),
            durable_seq: AtomicU64::new(last.0),
            flushed_seq: AtomicU64::new(state.flushed_seq.0),
            wal_floor: AtomicU32::new(wal_floor),
            replayed: (replay.tally, replay.end),
            raft: Mutex::new(state.raft),
            regions: Mutex::new(state.regions),
            watchdog: watchdog::Counters::default(),
            retired: Mutex::new(Retired { tables: Vec::new(), memtables: Vec::new(), segments: Vec::new() }),
            in_flight: Mutex::default(),
            flush_waits_for: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            hindrance: Mutex::new(None),
            closed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            gc: Mutex::default(),
            gc_counters: GcCounters::default(),
            compaction_counters: CompactionCounters::default(),
            removing: AtomicBool::new(false),
            log_busy: AtomicBool::new(false),
            counters: stats::Counters::default(),
            flush_runs: AtomicBool::new(false),
            pins: stats::PinList::default(),
            scan_rooms: Mutex::new(Vec::new()),
            lock: Mutex::new(lock),
            open_report: report,
            options,
        }))
    }

    /// Number of the database.
    pub const fn database_id(&self) -> u64 {
        self.database_id
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

/// A copy of a database without tables may have lost the empty directory.
fn make_table_dir<V: Vfs>(fs: &V, dir: &str) -> Result<()> {
    let table_dir = join(dir, TABLE_DIR);
    match fs.list(&table_dir) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == IoErrorKind::NotFound => {
            fs.create_dir_all(&table_dir).at("create directory", &table_dir)?;
            fs.sync_dir(dir).at("sync", dir)
        }
        Err(error) => Err(Error::io("list", &table_dir, error)),
    }
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

/// Removes log segments that a stop left unfinished: they have no name of their own yet.
fn sweep_unfinished_log<V: Vfs>(fs: &V, dir: &str) -> Result<u64> {
    let wal_dir = join(dir, WAL_DIR);
    match fs.list(&wal_dir) {
        Err(e) if e.kind == IoErrorKind::NotFound => Ok(0),
        Err(e) => Err(Error::io("list", &wal_dir, e)),
        Ok(_) => remove_temporaries(fs, &wal_dir, SEGMENT_EXT),
    }
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
