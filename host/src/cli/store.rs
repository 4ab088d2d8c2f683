//! What the command line asks of the engine, and how it says that something went wrong.
//!
//! Commands know these traits only; the file that joins them to the database handle is `cli/db`, and tests
//! run every command on a map in memory. All calls are made from one thread.

use std::fmt;
use std::io;
use std::path::Path;

use serde_json::Value as Json;

use super::progress::Progress;
use crate::Options;
use crate::metrics::{MetricsOptions, MetricsServer};

/// Result of every step of a command.
pub type Result<T> = std::result::Result<T, Failure>;

/// How the process ends. Scripts rely on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The key is absent, or `check`, `wal dump` or `wal verify` found damage.
    Negative,
    /// Any other error.
    Error,
    /// SIGINT ended it early; the number is the one that shells give such a process.
    Interrupted,
}

impl Exit {
    /// The exit code of the process.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Negative => 1,
            Self::Error => 2,
            Self::Interrupted => 130,
        }
    }
}

/// Why a command stopped: what happened, where, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What happened.
    pub what: String,
    /// Where: a file, a line, a directory. May be empty.
    pub place: String,
    /// What to do next. May be empty.
    pub next: String,
    /// The reader of our output went away: nobody is told, and it is no error.
    pub quiet: bool,
}

impl Failure {
    /// An error that ends the command with code 2.
    pub fn new(what: impl Into<String>, place: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit: Exit::Error, what: what.into(), place: place.into(), next: next.into(), quiet: false }
    }

    /// The same failure, ending the command in another way.
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// A failure to write the command's output. A reader that closed the pipe is a quiet end.
    pub fn output(error: &io::Error) -> Self {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        let mut failure = Self::new(
            format!("the output cannot be written ({error})"),
            "standard output",
            "free space there or send it elsewhere, then run the command again",
        );
        if quiet {
            failure.exit = Exit::Done;
            failure.quiet = true;
        }
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nokv")?;
        for part in [&self.what, &self.place, &self.next].into_iter().filter(|part| !part.is_empty()) {
            write!(f, ": {part}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// What a command is about to do with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Looks: as `Read`, and also beside a process that has the database open, which may change it meanwhile.
    Look,
    /// Reads only: nothing in the directory changes. A missing database is an error, and so is a process that has
    /// it open.
    Read,
    /// Writes to a database that is there.
    Write,
    /// Writes, and makes the database if the directory is missing or empty.
    Create,
}

/// Go on with a scan, or stop it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// Give me the next entry.
    On,
    /// Enough.
    Stop,
}

/// Looks at one key and value of a scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Walk> + 'a;

/// Opens databases and works on directories that need not be healthy.
pub trait Backend {
    /// An open database.
    type Store: Store;

    /// Opens the database in `dir`.
    ///
    /// # Errors
    /// No database there, damage, or another process holds it.
    fn open(&self, dir: &Path, access: Access) -> Result<Self::Store>;

    /// As [`Backend::open`], with the options of a file; a backend without options takes no notice of them.
    ///
    /// # Errors
    /// As [`Backend::open`].
    fn open_with(&self, dir: &Path, access: Access, options: &Options) -> Result<Self::Store> {
        let _ = options;
        self.open(dir, access)
    }

    /// Asks the database in `dir` something, also beside a process that has it open: when that one changes files
    /// meanwhile, asks again.
    ///
    /// # Errors
    /// As [`Backend::open`], and what `ask` gave.
    fn look(&self, dir: &Path, ask: &dyn Fn(&Self::Store) -> Result<Json>) -> Result<Json> {
        let store = self.open(dir, Access::Look)?;
        let value = ask(&store)?;
        store.close()?;
        Ok(value)
    }

    /// Verifies every checksum and invariant and lists all damage. Writes nothing.
    ///
    /// # Errors
    /// Only when the check itself cannot run; damage is a finding.
    fn check(&self, dir: &Path, progress: &Progress) -> Result<CheckReport>;

    /// Plans what it takes to make a damaged database open again, and does it only if `apply` is set.
    ///
    /// # Errors
    /// The directory cannot be read, or a step of the plan failed.
    fn repair(&self, dir: &Path, apply: bool, progress: &Progress) -> Result<RepairReport>;

    /// Shows the records of any walfs directory in order, up to its end or to the first damage. Writes nothing.
    ///
    /// # Errors
    /// The directory cannot be read, or `visit` failed; damage is a [`WalEnd`].
    fn wal_dump(
        &self,
        dir: &Path,
        extension: &str,
        visit: &mut dyn FnMut(&WalRecord<'_>) -> Result<()>,
    ) -> Result<WalEnd>;
}

/// An open database, as the commands use it. Keys and values are those of the default family.
pub trait Store {
    /// The live value of `key`.
    ///
    /// # Errors
    /// Damage or I/O.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Sets `key`; the write survives power loss when this returns.
    ///
    /// # Errors
    /// Limits, damage or I/O.
    fn set(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Deletes `key`, synced as [`Store::set`].
    ///
    /// # Errors
    /// As [`Store::set`].
    fn del(&self, key: &[u8]) -> Result<()>;

    /// Deletes `key`, unsynced as [`Store::write`].
    ///
    /// # Errors
    /// As [`Store::set`].
    fn remove(&self, key: &[u8]) -> Result<()>;

    /// Writes all pairs in their order, the later of two equal keys winning, whole or not at all, unsynced. A
    /// pair that is larger than a batch may be comes alone.
    ///
    /// # Errors
    /// As [`Store::set`].
    fn write(&self, pairs: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<()>;

    /// A mark in commit order, for [`Store::changed_since`].
    ///
    /// # Errors
    /// The database is closed.
    fn mark(&self) -> Result<u64>;

    /// Was `key` written after `mark` was taken?
    ///
    /// # Errors
    /// Damage or I/O.
    fn changed_since(&self, key: &[u8], mark: u64) -> Result<bool>;

    /// Shows all live pairs whose keys start with `prefix`, in key order or backwards, from one snapshot.
    ///
    /// # Errors
    /// Damage or I/O, or what `visit` gave.
    fn scan(&self, prefix: &[u8], reverse: bool, visit: &mut Visit<'_>) -> Result<()>;

    /// Roughly how many pairs a scan of everything shows, for the progress bar.
    fn entries_about(&self) -> Option<u64> {
        None
    }

    /// Makes everything written so far survive power loss.
    ///
    /// # Errors
    /// I/O.
    fn sync(&self) -> Result<()>;

    /// The statistics, as `nokv stats` shows them.
    ///
    /// # Errors
    /// The database is closed.
    fn stats(&self) -> Result<Json>;

    /// The files that the manifest names: tables by level, log floor, value-log heads.
    ///
    /// # Errors
    /// The database is closed.
    fn manifest(&self) -> Result<Json>;

    /// The value-log segments with their live and dead bytes.
    ///
    /// # Errors
    /// Damage or I/O.
    fn vlog(&self) -> Result<Json>;

    /// The regions that the store holds.
    ///
    /// # Errors
    /// Damage or I/O.
    fn regions(&self) -> Result<Json>;

    /// What the open found that people should know, such as a log whose end was cut; one note each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Serves metrics until the guard is dropped.
    ///
    /// # Errors
    /// The address cannot be used.
    fn serve(&self, addr: &str, options: MetricsOptions) -> Result<MetricsServer>;

    /// The store of a Redis server.
    ///
    /// # Errors
    /// What the database met.
    #[cfg(feature = "redis")]
    fn redis(&self) -> Result<std::sync::Arc<dyn crate::redis::store::backend::Backend>>;

    /// Flushes and merges everything into as few levels as possible; gives a summary.
    ///
    /// # Errors
    /// Damage or I/O.
    fn compact(&self, progress: &Progress) -> Result<Json>;

    /// Makes a database of its own in the new directory `to`; gives a summary.
    ///
    /// # Errors
    /// `to` exists, or I/O.
    fn checkpoint(&self, to: &Path, progress: &Progress) -> Result<Json>;

    /// Closes cleanly, so that the next open has nothing to replay.
    ///
    /// # Errors
    /// I/O.
    fn close(self) -> Result<()>;
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// All damage, empty for a healthy database.
    pub damage: Vec<Finding>,
    /// What was looked at: files, entries, bytes.
    pub summary: Json,
    /// What is no damage and people should know.
    pub notes: Vec<String>,
}

/// One step of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairStep {
    /// The file it changes.
    pub file: String,
    /// What it does to it.
    pub what: String,
    /// What is lost by it, empty if nothing.
    pub lost: String,
}

/// The plan of a repair, done or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// In the order in which they are done.
    pub steps: Vec<RepairStep>,
    /// Were they done?
    pub applied: bool,
    /// What is no damage and people should know.
    pub notes: Vec<String>,
}

/// One record of a walfs directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRecord<'a> {
    /// Number of the segment.
    pub segment: u32,
    /// Byte offset of the record's header.
    pub offset: u64,
    /// Log index, 0 where the log counts none.
    pub log_index: u64,
    /// The payload.
    pub data: &'a [u8],
}

/// How a walfs directory ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalEnd {
    /// There is no segment file at all.
    Empty,
    /// Zeros behind the last record.
    Clean,
    /// The last write was cut short; no whole record stands behind it.
    Torn {
        /// Number of the segment.
        segment: u32,
        /// Where the torn record starts.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A bad record with whole records behind it.
    Damage {
        /// Number of the segment.
        segment: u32,
        /// Where the bad record starts.
        offset: u64,
        /// What is wrong there.
        what: String,
        /// Whole records behind it that were not shown.
        whole_behind: u64,
    },
}
