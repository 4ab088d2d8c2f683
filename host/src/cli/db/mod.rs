//! Joins the commands to the database handle, on the system's files.
//!
//! 1. What only reads opens read-only: it writes nothing and takes no lock. Records are read only where no process
//!    has the database open. [`Backend::look`] works beside one: it sees that process's files at some moment, and
//!    begins again when they change under it.
//! 2. Every error becomes one line: what, where, and what to do next.

mod failures;
mod store;

use std::path::Path;
use std::time::{Duration, SystemTime};

use nokv_core::manifest::probe;
use nokv_core::vfs::Vfs;
use nokv_core::wal::{self, EndState};
use nokv_vfs_std::StdFs;
use serde_json::{Value as Json, json};

use super::progress::Progress;
use super::store::{
    Access, Backend, CheckReport, RepairReport, RepairStep, Result, Store, WalEnd, WalRecord,
};
use crate::{Db, Error, Options, repair};
use failures::{cut_note, finding, in_use, no_database, not_a_database, notes_of};
pub(super) use failures::{failure, is_database, text_of};
pub use store::FileStore;

/// How often a look begins again beside a process that changes files.
const LOOKS_MAX: u32 = 20;
/// The pause before the second look.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Databases in directories.
#[derive(Debug, Default)]
pub struct Files;

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
        let mut log = json!({});
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
            let opened = db.engine().open_report();
            notes = notes_of(dir, opened, true);
            log = json!({
                "log_segments": opened.replayed_segments,
                "log_records": opened.replayed_records,
                "log_bytes": opened.replayed_bytes,
            });
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
                // What no table holds yet was read from the log by the open, every checksum of it.
                if let (Some(fields), Json::Object(log)) = (summary.as_object_mut(), log) {
                    fields.extend(log);
                }
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
            plan.cut.iter().map(|cut| cut_note(dir, cut, true)).collect()
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
