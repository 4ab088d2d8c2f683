//! What can go wrong, as the caller needs to know it: what to do next, and where it happened.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use core::fmt;

use nokv_formats::Malformed;

use crate::vfs::IoError;

/// Result of the engine's calls.
pub type Result<T> = core::result::Result<T, Error>;

/// An error of the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call of the file system failed.
    #[error("{op} {file}: {source}")]
    Io {
        /// The call.
        op: &'static str,
        /// Its file.
        file: String,
        /// What the system said.
        source: IoError,
    },
    /// Stored bytes are not what their format and checksums say. Nothing was changed; `nokv check` lists all
    /// damage, `nokv repair` plans what can be saved.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: Cow<'static, str>,
    },
    /// The file needs something that this build does not have.
    #[error("{file} needs {what}, which this build does not have")]
    Unsupported {
        /// The codec or format version.
        what: String,
        /// The file.
        file: String,
    },
    /// The database is closed.
    #[error("the database is closed")]
    Closed,
    /// The database takes no writes; reads go on.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Another process has the database open.
    #[error("{file} is locked{}", .pid.map_or_else(String::new, |pid| alloc::format!(" by process {pid}")))]
    Locked {
        /// The lock file.
        file: String,
        /// Who holds it, where known.
        pid: Option<u32>,
    },
    /// A precondition of a batch does not hold any more. Read again and retry.
    #[error("a key of the batch's preconditions was changed")]
    Conflict,
    /// The batch is larger than a memtable or the configured limits. Nothing was written.
    #[error("the batch of {bytes} bytes and {count} operations is above the limit of {limit}")]
    BatchTooLarge {
        /// Encoded bytes of the batch.
        bytes: u64,
        /// Operations in it.
        count: u64,
        /// The limit that it exceeds.
        limit: u64,
    },
    /// The key is longer than 65,535 bytes.
    #[error("the key of {0} bytes is above the limit of 65535")]
    KeyTooLarge(usize),
    /// The value is longer than 1 GiB.
    #[error("the value of {0} bytes is above the limit of 1073741824")]
    ValueTooLarge(usize),
    /// An argument or option that cannot be: names it.
    #[error("{0}")]
    InvalidArgument(String),
    /// No such column family.
    #[error("no column family {0}")]
    UnknownFamily(String),
    /// The deadline of the call passed; nothing was written.
    #[error("the deadline passed before the write could start")]
    DeadlineExceeded,
    /// Too much is in flight; nothing was done. Wait for background work and retry.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// A key of the batch was written as often as `write_hot_key_limit` allows. Nothing was written; the key's count
    /// falls with time.
    #[error("a key of the batch is written too often just now")]
    HotKeyWriteThrottle,
    /// The write may or may not survive: its sync failed. The database is read-only until it is reopened.
    #[error("the outcome of the write is unknown: {0}")]
    OutcomeUnknown(String),
    /// No record with that log index was appended yet.
    #[error("log index {index} is not there yet: the last one is {last}")]
    IndexNotYet {
        /// The index asked for.
        index: u64,
        /// The highest one, 0 if there is none.
        last: u64,
    },
    /// The record with that log index was removed from the front of the log.
    #[error("log index {index} was removed: the first one is {first}")]
    IndexTruncated {
        /// The index asked for.
        index: u64,
        /// The lowest one.
        first: u64,
    },
    /// The log index lies between others but was never used.
    #[error("no record has log index {index}")]
    IndexMissing {
        /// The index asked for.
        index: u64,
    },
    /// The segment is sealed: it takes no more records.
    #[error("segment {0} is sealed")]
    SegmentSealed(u32),
    /// The record does not fit what is left of the segment. It goes to the next one.
    #[error("segment {segment} is full; {written} records of the batch were written")]
    SegmentFull {
        /// The segment.
        segment: u32,
        /// Records of the batch before this one, which were written.
        written: usize,
    },
    /// The marker in a segment's header is not one that the owner of the log accepts. Nothing was changed.
    #[error("{file} has marker {marker:#010x}: {reason}")]
    MarkerRefused {
        /// The segment's file.
        file: String,
        /// Its marker.
        marker: u32,
        /// What is wrong with it, in the validator's words.
        reason: String,
    },
    /// Readers stand behind the place where the log was to be cut. Nothing was removed: move or drop them.
    #[error("{readers} readers stand behind the new end of the log, up to segment {segment}")]
    ReadersBehind {
        /// The newest segment that one stands in.
        segment: u32,
        /// How many there are.
        readers: usize,
    },
    /// The data of a record is longer than a record log takes. Nothing was written.
    #[error("the record of {bytes} bytes is above the limit of {limit}")]
    RecordTooBig {
        /// Its length.
        bytes: usize,
        /// The longest possible.
        limit: usize,
    },
    /// The id of a record does not follow the one before it. Nothing was written.
    #[error("record id {found} where {expected} must follow")]
    NotSequential {
        /// The id that would have been right.
        expected: u64,
        /// The id that was given.
        found: u64,
    },
    /// The log was cut where an iterator stands.
    #[error("record {id}, which the iterator was to give, was removed")]
    RemovedUnderIterator {
        /// The record that it would have given next.
        id: u64,
    },
    /// A value-log collection is running already.
    #[error("a value-log collection is running already")]
    GcRejected,
    /// No value-log segment has enough dead bytes.
    #[error("no value-log segment has enough dead bytes")]
    NothingToCollect,
}

impl Error {
    /// An I/O error of `op` on `file`.
    pub fn io(op: &'static str, file: impl ToString, source: IoError) -> Self {
        Self::Io { op, file: file.to_string(), source }
    }

    /// Damage in `file` at `offset`.
    pub fn corrupt(file: impl ToString, offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt { file: file.to_string(), offset, what: what.into() }
    }

    /// A decoder's complaint about a buffer that starts `base` bytes into `file`.
    pub fn malformed(file: impl ToString, base: u64, malformed: Malformed) -> Self {
        Self::corrupt(file, base.saturating_add(malformed.offset), malformed.what)
    }

    /// May the same call succeed when tried again later?
    pub fn may_retry(&self) -> bool {
        matches!(
            self,
            Self::Conflict
                | Self::Busy(_)
                | Self::DeadlineExceeded
                | Self::GcRejected
                | Self::HotKeyWriteThrottle
        ) || self.is_no_space()
    }

    /// Is it a full disk? Such a failure is clean: nothing was half done. A sync that found no space is not: it is a
    /// failed sync.
    pub fn is_no_space(&self) -> bool {
        let Self::Io { op, source, .. } = self else { return false };
        source.kind == crate::vfs::IoErrorKind::NoSpace && !op.starts_with("sync") && *op != "flush"
    }

    /// Is it damage of stored bytes?
    pub const fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

/// Attaches operation and file to an [`IoError`].
pub trait IoContext<T> {
    /// Names the call that failed.
    fn at(self, op: &'static str, file: impl fmt::Display) -> Result<T>;
}

impl<T> IoContext<T> for core::result::Result<T, IoError> {
    fn at(self, op: &'static str, file: impl fmt::Display) -> Result<T> {
        self.map_err(|source| Error::io(op, file, source))
    }
}
