//! Joins the commands to the database handle, on the system's files.
//!
//! 1. What only reads opens read-only: it writes nothing and takes no lock. Records are read only where no process
//!    has the database open. [`Backend::look`] works beside one: it sees that process's files at some moment, and
//!    begins again when they change under it.
//! 2. Every error becomes one line: what, where, and what to do next.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, SystemTime};

use nokv_core::engine::table_name;
use nokv_core::formats::vlog::SEGMENT_HEADER_BYTES;
use nokv_core::manifest::probe;
use nokv_core::vfs::{IoErrorKind, Vfs, join};
use nokv_core::vlog::segment_path;
use nokv_core::wal::{self, Cut, EndState};
use nokv_vfs_std::StdFs;
use serde_json::{Value as Json, json};

use super::progress::Progress;
use super::store::{
    Access, Backend, CheckReport, Failure, Finding, RepairReport, RepairStep, Result, Store, Visit, WalEnd,
    WalRecord, Walk,
};
use crate::metrics::{self, MetricsOptions, MetricsServer, ServeError};
use crate::{CfId, Db, Error, IterOptions, OpenReport, Options, Seq, WriteBatch, WriteOptions, repair};

/// `nokv compact` collects value-log segments with at least this share of dead bytes.
const COMPACT_DISCARD_RATIO: f64 = 0.1;
/// How often a look begins again beside a process that changes files.
const LOOKS_MAX: u32 = 20;
/// The pause before the second look.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How often a bar moves while another thread works.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Databases in directories.
#[derive(Debug, Default)]
pub struct Files;

/// An open database in a directory.
pub struct FileStore {
    db: Db,
    dir: String,
}

impl FileStore {
    fn fail(&self, error: &Error) -> Failure {
        failure(&self.dir, error)
    }
}

pub(super) fn text_of(dir: &Path) -> Result<&str> {
    let next = "name it with characters of UTF-8";
    dir.to_str().ok_or_else(|| Failure::new("the name is not UTF-8", dir.display().to_string(), next))
}

fn no_database(dir: &str) -> Failure {
    let next = "check --workdir; nokv set and nokv import make a database";
    Failure::new("there is no database here", dir, next)
}

/// The complaint about a directory of other things, in which nothing looks like ours.
fn not_a_database(dir: &str) -> Option<Failure> {
    let ours = |name: &str| {
        ["tables", "vlog", "wal"].contains(&name)
            || name.starts_with("CURRENT")
            || name.starts_with("MANIFEST-")
    };
    let entries = StdFs::new().list(dir).ok()?;
    let next = "name a directory of its own for the database";
    (!entries.iter().any(|e| ours(&e.name)))
        .then(|| Failure::new("the directory holds other files and no database", dir, next))
}

/// The complaint about a process that has the database open, if there is one.
fn in_use(dir: &str) -> Option<Error> {
    let path = join(dir, "LOCK");
    match StdFs::new().probe_lock(&path) {
        Err(error) if error.kind == IoErrorKind::WouldBlock => {
            let pid = u32::try_from(error.code).ok().filter(|pid| *pid != 0);
            Some(Error::Locked { file: path, pid })
        }
        // What else keeps us from the lock file, the next step meets too.
        _ => None,
    }
}

/// What a process that has the database open changes while it works: names, lengths and times of the files at the
/// top.
fn stamp(dir: &str) -> Vec<(std::ffi::OsString, u64, Option<SystemTime>)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let of = |entry: std::fs::DirEntry| {
        let meta = entry.metadata().ok()?;
        Some((entry.file_name(), meta.len(), meta.modified().ok()))
    };
    let mut stamp: Vec<_> = entries.flatten().filter_map(of).collect();
    stamp.sort();
    stamp
}

/// Says what went wrong in the database in `dir`, where, and what to do next.
pub(super) fn failure(dir: &str, error: &Error) -> Failure {
    let beside = |next: &str| match in_use(dir) {
        Some(Error::Locked { pid, .. }) => format!(
            "{} has the database open, and what it changes meanwhile can look like this: run the command again, or \
             when it has ended; else {next}",
            holder(pid)
        ),
        _ => next.to_owned(),
    };
    match error {
        Error::Io { op, file, source } => {
            let next = match source.kind {
                IoErrorKind::NoSpace => "free space there, then run the command again; nothing is lost",
                IoErrorKind::PermissionDenied => "check the rights of the file and its directory",
                IoErrorKind::TooManyFiles => "raise the limit of open files (ulimit -n)",
                IoErrorKind::NotFound => "check the name",
                _ => "check the disk and the system's log, then run the command again",
            };
            Failure::new(format!("cannot {op} ({source})"), file.clone(), beside(next))
        }
        Error::Corrupt { file, offset, what } => {
            let next = "keep a copy of the directory; nokv check lists all damage, nokv repair shows what can \
                        be saved";
            Failure::new(
                format!("the file is damaged ({what})"),
                format!("{file} byte {offset}"),
                beside(next),
            )
        }
        Error::Unsupported { what, file } => {
            let next = "use a build with that feature";
            Failure::new(format!("the file needs {what}, which this build does not have"), file.clone(), next)
        }
        Error::Locked { file, pid } => {
            let kill = pid.map_or_else(String::new, |pid| format!(" (kill {pid})"));
            let next = format!(
                "wait until it ends, or stop it{kill}; stats, manifest, vlog and regions work beside it"
            );
            Failure::new(format!("{} has the database open", holder(*pid)), file.clone(), next)
        }
        Error::ReadOnly(_) | Error::OutcomeUnknown(_) => {
            Failure::new(error.to_string(), dir, "mend the cause, then run the command again")
        }
        Error::KeyTooLarge(_) | Error::ValueTooLarge(_) | Error::BatchTooLarge { .. } => {
            Failure::new(error.to_string(), dir, "shorten or remove this record")
        }
        other if other.may_retry() => Failure::new(other.to_string(), dir, "run the command again"),
        other => Failure::new(other.to_string(), dir, ""),
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// What an open found at the ends of log and manifest, where they were not whole.
fn notes_of(dir: &str, report: &OpenReport, read_only: bool) -> Vec<String> {
    let done = if read_only { "the next open for writing removes them" } else { "they were removed" };
    let mut notes = Vec::new();
    if let Some(cut) = &report.cut {
        let Cut { at, bytes, records, .. } = cut;
        notes.push(format!(
            "the last writes before an unclean stop are not whole: {dir}/wal segment {} offset {}: {bytes} bytes and \
             {records} whole records behind the last synced write are left out; {done}",
            at.segment, at.offset
        ));
    }
    if let Some(at) = report.manifest_torn_at {
        notes.push(format!(
            "the last change of the manifest before an unclean stop is not whole: {dir} manifest byte {at}: it is \
             left out"
        ));
    }
    notes
}

fn open_read_only(dir: &str) -> std::result::Result<Db, Error> {
    let mut options = Options::new(dir);
    options.read_only = true;
    options.create_if_missing = false;
    Db::open(options)
}

impl Backend for Files {
    type Store = FileStore;

    fn open(&self, dir: &Path, access: Access) -> Result<FileStore> {
        self.open_with(dir, access, &Options::default())
    }

    fn open_with(&self, dir: &Path, access: Access, options: &Options) -> Result<FileStore> {
        let dir = text_of(dir)?;
        let there =
            probe(&StdFs::new(), dir).map_err(|e| not_a_database(dir).unwrap_or_else(|| failure(dir, &e)))?;
        if !there && access != Access::Create {
            return Err(no_database(dir));
        }
        if access == Access::Read
            && let Some(locked) = in_use(dir)
        {
            return Err(failure(dir, &locked));
        }
        let db = if matches!(access, Access::Read | Access::Look) {
            open_read_only(dir)
        } else {
            let mut options = Options { work_dir: dir.into(), ..options.clone() };
            options.create_if_missing = access == Access::Create;
            // One command is too short a time for it; `compact` collects itself.
            options.value_log_gc_interval = Duration::ZERO;
            Db::open(options)
        };
        Ok(FileStore { db: db.map_err(|e| failure(dir, &e))?, dir: dir.to_owned() })
    }

    fn look(&self, dir: &Path, ask: &dyn Fn(&FileStore) -> Result<Json>) -> Result<Json> {
        let name = text_of(dir)?;
        let mut looks = 1;
        loop {
            let before = stamp(name);
            let answer = self.open(dir, Access::Look).and_then(|store| {
                let value = ask(&store)?;
                store.close()?;
                Ok(value)
            });
            let is_changing = || in_use(name).is_some() || stamp(name) != before;
            if answer.is_ok() || looks >= LOOKS_MAX || !is_changing() {
                return answer;
            }
            // Each time longer: the process may be in the middle of a burst.
            std::thread::sleep(LOOK_AGAIN * looks);
            looks += 1;
        }
    }

    fn check(&self, dir: &Path, progress: &Progress) -> Result<CheckReport> {
        let dir = text_of(dir)?;
        let mut summary = json!({});
        let mut notes = Vec::new();
        if let Some(locked) = in_use(dir) {
            return Err(failure(dir, &locked));
        }
        let opened = match probe(&StdFs::new(), dir) {
            Ok(false) => return Err(no_database(dir)),
            Ok(true) => open_read_only(dir),
            Err(error) => not_a_database(dir).map_or(Ok(Err(error)), Err)?,
        };
        let report = opened.and_then(|db| {
            let total = db.stats().table_bytes();
            notes = notes_of(dir, db.engine().open_report(), true);
            let mut done = 0;
            let report = db.engine().check(&mut |bytes| {
                done += bytes;
                progress.at(done, Some(total));
            })?;
            db.close()?;
            Ok(report)
        });
        let problems = match report {
            Ok(report) => {
                summary["tables"] = report.tables.into();
                summary["entries"] = report.entries.into();
                summary["separate_values"] = report.values.into();
                summary["checked_bytes"] = report.bytes.into();
                report.problems
            }
            Err(error @ (Error::Corrupt { .. } | Error::Unsupported { .. })) => {
                // Where opening stops, nothing behind it was looked at.
                summary["opens"] = false.into();
                vec![error]
            }
            Err(error) => return Err(failure(dir, &error)),
        };
        Ok(CheckReport { damage: problems.iter().map(|e| finding(dir, e)).collect(), summary, notes })
    }

    fn repair(&self, dir: &Path, apply: bool, _: &Progress) -> Result<RepairReport> {
        let dir = text_of(dir)?;
        let fs = StdFs::new();
        match probe(&fs, dir) {
            Ok(false) => return Err(no_database(dir)),
            Err(_) => not_a_database(dir).map_or(Ok(()), Err)?,
            Ok(true) => {}
        }
        let plan = repair::plan(&fs, dir).map_err(|e| failure(dir, &e))?;
        let applied = apply && !plan.is_empty();
        let notes = if plan.is_empty() {
            // What an open does by itself is no step of the plan.
            let opened = open_read_only(dir).map_err(|e| failure(dir, &e))?;
            notes_of(dir, opened.engine().open_report(), true)
        } else {
            Vec::new()
        };
        if applied {
            repair::apply(&fs, dir, &plan).map_err(|e| failure(dir, &e))?;
        }
        let step = |s: &repair::RepairStep| RepairStep {
            file: s.file.clone(),
            what: s.what.clone(),
            lost: s.lost.clone(),
        };
        Ok(RepairReport { steps: plan.steps.iter().map(step).collect(), applied, notes })
    }

    fn wal_dump(
        &self,
        dir: &Path,
        extension: &str,
        visit: &mut dyn FnMut(&WalRecord<'_>) -> Result<()>,
    ) -> Result<WalEnd> {
        let dir = text_of(dir)?;
        let fs = StdFs::new();
        // A directory without segments is an empty log; none at all is a wrong name.
        fs.list(dir).map_err(|e| failure(dir, &Error::io("list", dir, e)))?;
        let mut dump = wal::dump(fs, dir, extension).map_err(|e| failure(dir, &e))?;
        while let Some(record) = dump.next().map_err(|e| failure(dir, &e))? {
            visit(&WalRecord {
                segment: record.position.segment,
                offset: record.position.offset,
                log_index: record.log_index,
                data: record.payload,
            })?;
        }
        Ok(match dump.end_state() {
            EndState::Clean if dump.segments().is_empty() => WalEnd::Empty,
            EndState::Clean => WalEnd::Clean,
            EndState::TornTail { segment, offset, what, .. } => {
                WalEnd::Torn { segment: *segment, offset: *offset, what: (*what).to_owned() }
            }
            EndState::Damage { segment, offset, what, whole_records_behind } => WalEnd::Damage {
                segment: *segment,
                offset: *offset,
                what: (*what).to_owned(),
                whole_behind: *whole_records_behind,
            },
        })
    }
}

fn finding(dir: &str, error: &Error) -> Finding {
    match error {
        Error::Corrupt { file, offset, what } => {
            Finding { file: file.clone(), offset: *offset, what: what.to_string() }
        }
        Error::Unsupported { what, file } => Finding {
            file: file.clone(),
            offset: 0,
            what: format!("needs {what}, which this build does not have"),
        },
        other => Finding { file: dir.to_owned(), offset: 0, what: other.to_string() },
    }
}

/// Runs `work` on a thread of its own while the bar shows `measure` on this one.
fn watch<T: Send>(
    progress: &Progress,
    total: u64,
    measure: impl Fn() -> u64,
    work: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let (ended, end) = channel::<()>();
        let worker = scope.spawn(move || {
            let result = work();
            drop(ended);
            result
        });
        while end.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            progress.at(measure().min(total), Some(total));
        }
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Bytes of all files below `dir`; what cannot be read counts nothing.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

impl Store for FileStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.db.get(key).map_err(|e| self.fail(&e))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.synced(|batch| batch.put(CfId::DEFAULT, key, value))
    }

    fn del(&self, key: &[u8]) -> Result<()> {
        self.synced(|batch| batch.delete(CfId::DEFAULT, key))
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.delete(CfId::DEFAULT, key).map_err(|e| self.fail(&e))?;
        let unsynced = WriteOptions { sync: Some(false), ..WriteOptions::default() };
        self.db.write(batch, &unsynced).map_err(|e| self.fail(&e))?;
        Ok(())
    }

    fn write(&self, pairs: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<()> {
        let mut batch = WriteBatch::new();
        for (key, value) in pairs {
            batch.put(CfId::DEFAULT, key, value).map_err(|e| self.fail(&e))?;
        }
        let unsynced = WriteOptions { sync: Some(false), ..WriteOptions::default() };
        self.db.write(batch, &unsynced).map_err(|e| self.fail(&e))?;
        Ok(())
    }

    fn mark(&self) -> Result<u64> {
        Ok(self.db.published_seq().0)
    }

    fn changed_since(&self, key: &[u8], mark: u64) -> Result<bool> {
        let touched = self.db.touched_since(CfId::DEFAULT, key, Seq(mark)).map_err(|e| self.fail(&e))?;
        Ok(touched.is_some())
    }

    fn scan(&self, prefix: &[u8], reverse: bool, visit: &mut Visit<'_>) -> Result<()> {
        let prefix = (!prefix.is_empty()).then(|| prefix.to_vec());
        let options = IterOptions { prefix, reverse, no_cache: true, ..IterOptions::default() };
        let fail = |e: Error| self.fail(&e);
        let mut iter = self.db.iter(options).map_err(fail)?;
        iter.rewind().map_err(fail)?;
        while let Some(key) = iter.key() {
            let value = iter.value().map_err(fail)?;
            if visit(key, value.as_deref().unwrap_or_default())? == Walk::Stop {
                break;
            }
            if reverse { iter.prev_entry() } else { iter.next_entry() }.map_err(fail)?;
        }
        Ok(())
    }

    fn entries_about(&self) -> Option<u64> {
        u64::try_from(self.db.stats().entries).ok()
    }

    fn sync(&self) -> Result<()> {
        self.db.sync().map_err(|e| self.fail(&e))?;
        Ok(())
    }

    fn stats(&self) -> Result<Json> {
        let stats = self.db.stats();
        // A command that only looks is not the process whose numbers these would be.
        let stats = if self.db.options().read_only { stats.of_files() } else { stats };
        serde_json::to_value(stats)
            .map_err(|e| Failure::new(format!("statistics cannot be shown ({e})"), &self.dir, ""))
    }

    fn regions(&self) -> Result<Json> {
        let regions: Vec<Json> = self
            .db
            .engine()
            .regions()
            .iter()
            .map(|region| {
                let peers: Vec<Json> = region
                    .peers
                    .iter()
                    .map(|peer| json!({"store_id": peer.store_id, "peer_id": peer.peer_id}))
                    .collect();
                json!({
                    "id": region.id,
                    "state": format!("{:?}", region.state).to_lowercase(),
                    "start_key": region.start_key.escape_ascii().to_string(),
                    "end_key": region.end_key.escape_ascii().to_string(),
                    "epoch": {"version": region.epoch.version, "conf_version": region.epoch.conf_version},
                    "peers": peers,
                })
            })
            .collect();
        Ok(json!({ "regions": regions }))
    }

    fn notes(&self) -> Vec<String> {
        notes_of(&self.dir, self.db.engine().open_report(), self.db.options().read_only)
    }

    fn serve(&self, addr: &str, options: MetricsOptions) -> Result<MetricsServer> {
        metrics::serve_with(&self.db, addr, options).map_err(|error| {
            let next = match &error {
                ServeError::NotLoopback(_) => {
                    "use 127.0.0.1, or add --metrics-allow-remote: there is no password"
                }
                ServeError::Listen { .. } => "use another port; 0 takes a free one",
                _ => "use HOST:PORT, or PORT for 127.0.0.1",
            };
            Failure::new(error.to_string(), "--metrics-addr", next)
        })
    }

    fn manifest(&self) -> Result<Json> {
        let state = self.db.manifest();
        let families: Vec<Json> = state
            .families
            .iter()
            .map(|(id, f)| json!({"number": id.0, "name": f.name, "dropped_at_seq": f.dropped_at.map(|s| s.0)}))
            .collect();
        let tables: Vec<Json> = state
            .tables()
            .map(|(level, ingest, meta)| {
                let (first, last) = (&meta.props.smallest, &meta.props.largest);
                json!({
                    "level": level,
                    "ingest": ingest,
                    "file": format!("tables/{}", table_name(meta.id)),
                    "file_bytes": meta.file_bytes,
                    "entries": meta.props.entries(),
                    "seq_max": meta.props.seq_max.0,
                    "smallest_key": first.user_key.escape_ascii().to_string(),
                    "largest_key": last.user_key.escape_ascii().to_string(),
                })
            })
            .collect();
        let heads: Vec<Json> = state
            .vlog_heads
            .iter()
            .map(|(bucket, segment)| json!({"bucket": bucket, "segment": segment}))
            .collect();
        Ok(json!({
            "database_id": format!("{:016x}", state.db_id),
            "log_floor_segment": state.wal_floor,
            "flushed_seq": state.flushed_seq.0,
            "last_seq": state.last_seq.0,
            "next_file_id": state.next_file_id,
            "families": families,
            "tables": tables,
            "value_log_heads": heads,
        }))
    }

    fn vlog(&self) -> Result<Json> {
        let live = self.db.engine().value_log_live();
        let segments: Vec<Json> = self
            .db
            .engine()
            .value_log()
            .segments()
            .iter()
            .map(|s| {
                let live = live.get(&(s.bucket, s.segment)).copied().unwrap_or(0);
                json!({
                    "bucket": s.bucket,
                    "segment": s.segment,
                    "file": segment_path("", s.bucket, s.segment),
                    "file_bytes": s.size,
                    "live_bytes": live,
                    "dead_bytes": s.size.saturating_sub(live + SEGMENT_HEADER_BYTES),
                })
            })
            .collect();
        Ok(json!({ "segments": segments }))
    }

    fn compact(&self, progress: &Progress) -> Result<Json> {
        let fail = |e: Error| self.fail(&e);
        let size = || {
            let stats = self.db.stats();
            (stats.table_bytes(), stats.engine.space.value_log_bytes)
        };
        self.db.flush().map_err(fail)?;
        let before = size();
        let measure = || self.db.stats().counter("compaction_read_bytes");
        watch(progress, before.0, measure, || {
            self.db.cfs().iter().try_for_each(|(_, cf)| self.db.compact_range(*cf, None, None))
        })
        .map_err(fail)?;
        // Each run frees at least one segment and leaves none of its size behind.
        let collected = watch(progress, before.0, measure, || {
            let mut segments = 0;
            loop {
                match self.db.run_value_log_gc(COMPACT_DISCARD_RATIO) {
                    Ok(report) => segments += report.segments,
                    Err(Error::NothingToCollect) => return Ok(segments),
                    Err(error) => return Err(error),
                }
            }
        })
        .map_err(fail)?;
        self.db.wait_idle().map_err(fail)?;
        let after = size();
        Ok(json!({
            "tables_before_bytes": before.0,
            "tables_after_bytes": after.0,
            "value_log_before_bytes": before.1,
            "value_log_after_bytes": after.1,
            "value_log_segments_collected": collected,
        }))
    }

    fn checkpoint(&self, to: &Path, progress: &Progress) -> Result<Json> {
        let target = text_of(to)?;
        let stats = self.db.stats();
        let total = stats.table_bytes() + stats.engine.space.value_log_bytes;
        let made = watch(progress, total, || bytes_below(to), || self.db.checkpoint(target));
        let seq = made.map_err(|error| match error {
            Error::InvalidArgument(what) => {
                Failure::new(what, target, "name a directory that does not exist yet, or an empty one")
            }
            error => self.fail(&error),
        })?;
        Ok(json!({ "to": target, "seq": seq.0, "bytes": bytes_below(to) }))
    }

    fn close(self) -> Result<()> {
        self.db.close().map_err(|e| self.fail(&e))
    }
}

impl FileStore {
    fn synced(&self, fill: impl FnOnce(&mut WriteBatch) -> crate::Result<()>) -> Result<()> {
        let mut batch = WriteBatch::new();
        fill(&mut batch).map_err(|e| self.fail(&e))?;
        let synced = WriteOptions { sync: Some(true), ..WriteOptions::default() };
        self.db.write(batch, &synced).map_err(|e| self.fail(&e))?;
        Ok(())
    }
}
