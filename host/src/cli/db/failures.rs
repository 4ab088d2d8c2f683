//! What went wrong in a directory, as one line for people: what, where, and what to do next.
//!
//! Who may call it: commands that work on directories, with or without a database around them. Nothing here writes.

use std::path::Path;

use nokv_core::vfs::{IoErrorKind, Vfs, join};
use nokv_core::wal::Cut;
use nokv_vfs_std::StdFs;

use crate::cli::output::things;
use crate::cli::store::{Failure, Finding, Result};
use crate::{Error, OpenReport};

/// The name of a directory as text, which is one or is not there.
pub(in crate::cli) fn text_of(dir: &Path) -> Result<&str> {
    let place = || dir.display().to_string();
    if dir.exists() && !dir.is_dir() {
        return Err(Failure::new("this is not a directory", place(), "name the directory that it lies in"));
    }
    let next = "name it with characters of UTF-8";
    dir.to_str().ok_or_else(|| Failure::new("the name is not UTF-8", place(), next))
}

/// Is this a database's own directory: are there names in it that say which files count?
pub(in crate::cli) fn is_database(dir: &Path) -> bool {
    let ours =
        |name: &str| ["CURRENT", "CURRENT-A", "CURRENT-B"].contains(&name) || name.starts_with("MANIFEST-");
    let entries = dir.to_str().and_then(|dir| StdFs::new().list(dir).ok()).unwrap_or_default();
    entries.iter().any(|entry| !entry.is_dir && ours(&entry.name))
}

pub(super) fn no_database(dir: &str) -> Failure {
    let next = "check --workdir; nokv set and nokv import make a database";
    Failure::new("there is no database here", dir, next)
}

/// The complaint about a directory of other things, in which nothing looks like ours.
pub(super) fn not_a_database(dir: &str) -> Option<Failure> {
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
pub(super) fn in_use(dir: &str) -> Option<Error> {
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

/// Says what went wrong in the database in `dir`, where, and what to do next.
pub(in crate::cli) fn failure(dir: &str, error: &Error) -> Failure {
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
            // What is not there has no bytes that could be damaged.
            let (said, place) = match what.contains("missing") {
                true => (format!("the database is damaged ({what})"), file.clone()),
                false => (format!("the file is damaged ({what})"), format!("{file} byte {offset}")),
            };
            Failure::new(said, place, beside(next))
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
pub(super) fn notes_of(dir: &str, report: &OpenReport, read_only: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(cut) = &report.cut {
        notes.push(cut_note(dir, cut, read_only));
    }
    if let Some(at) = report.manifest_torn_at {
        notes.push(format!(
            "the last change of the manifest before an unclean stop is not whole: {dir} manifest byte {at}: it is \
             left out"
        ));
    }
    notes
}

pub(super) fn finding(dir: &str, error: &Error) -> Finding {
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

/// What the next open cuts off the log, or what this one did.
pub(super) fn cut_note(dir: &str, cut: &Cut, read_only: bool) -> String {
    let Cut { at, bytes, records, .. } = cut;
    let done = match (read_only, *records) {
        (true, 0) => "the next open for writing removes them",
        (true, _) => "the next open for writing removes them: copy the directory first if they matter",
        (false, _) => "they were removed",
    };
    format!(
        "the last writes before an unclean stop are not whole: {dir}/wal segment {} offset {}: {} and {} behind the \
         last synced write are left out; {done}",
        at.segment,
        at.offset,
        things(*bytes, "byte"),
        things(*records, "whole record"),
    )
}

#[cfg(test)]
mod tests {
    use nokv_core::wal::Position;

    use super::*;

    #[test]
    fn whole_records_behind_a_cut_are_worth_a_copy() {
        let cut = |records| Cut {
            at: Position { segment: 1, offset: 64 },
            broken_at: Position { segment: 1, offset: 64 },
            what: "a record",
            bytes: 1,
            records,
        };
        let note = cut_note("db", &cut(1), true);
        assert!(note.contains("1 byte and 1 whole record behind"), "{note}");
        assert!(note.ends_with("removes them: copy the directory first if they matter"), "{note}");
        let note = cut_note("db", &cut(0), true);
        assert!(note.ends_with("0 whole records behind the last synced write are left out; the next open for writing removes them"), "{note}");
        assert!(cut_note("db", &cut(2), false).ends_with("they were removed"));
    }

    #[test]
    fn a_database_is_known_by_its_names() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(!is_database(dir.path()) && !is_database(&dir.path().join("none")));
        std::fs::create_dir(dir.path().join("CURRENT")).expect("a writable directory");
        assert!(!is_database(dir.path()), "a directory of that name");
        std::fs::write(dir.path().join("MANIFEST-000001"), "x").expect("a writable directory");
        assert!(is_database(dir.path()));
        let file = dir.path().join("MANIFEST-000001");
        assert_eq!(text_of(&file).unwrap_err().what, "this is not a directory");
        assert!(text_of(&dir.path().join("none")).is_ok());
    }
}
