//! The record log: records with consecutive ids, durable when appended, cut at either end. The log of a consensus
//! group, for example.
//!
//! Who may call it: anyone, from any thread. It stands on a walfs log: a record is one log record, its id the log index,
//! and a log of the original with indexes that go on opens here. In memory it is the same code on a file system in
//! memory. Rules
//! 1. Ids are consecutive. The first record of an empty log may have any id from 1 on; 0 is "no index" in walfs files
//!    and refused, and so is `u64::MAX`, behind which there is none.
//! 2. An append that returned is durable. Of one that did not, a crash or a failure leaves a prefix: some of its first
//!    records, in order, or none.
//! 3. A truncation is atomic: after a crash all of it happened or nothing. Trimming takes whole segments, oldest first,
//!    never the newest; a crash leaves some of them.
//! 4. An iterator whose place was truncated or trimmed away gives [`Error::RemovedUnderIterator`] when it moves, and
//!    holds up neither.
//!
//! Lock order: `cutting`, `appending`, then those of the log, then `shared`. Whoever cuts the log holds `cutting`, and
//! `appending` too where ids change; appenders hold `appending` while they store, not while they sync. `shared` is
//! never held across I/O.

mod iter;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::walfs::{HEADER_BYTES, frame_len, segment_file_name};

pub use iter::RecordIter;

use super::log::Log;
use super::options::LogOptions;
use crate::error::{Error, Result};
use crate::sync::Mutex;
use crate::vfs::{Vfs, join};

/// The longest data of a record, in bytes.
pub const MAX_RECORD_DATA_LEN: usize = 1_048_576;

/// The smallest segment: any record fits a new one.
const SEGMENT_BYTES_MIN: u64 = match frame_len(MAX_RECORD_DATA_LEN) {
    Some(len) => (HEADER_BYTES + len) as u64,
    None => u64::MAX,
};

/// Where a segment's header has its first log index.
const FIRST_INDEX_AT: u64 = 44;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub id: u64,
    /// Its bytes.
    pub data: &'a [u8],
}

/// See the module.
pub struct RecordLog<V: Vfs> {
    log: Log<V>,
    /// Id of the last record, 0 for none.
    appending: Mutex<u64>,
    cutting: Mutex<()>,
    shared: Mutex<iter::Shared>,
}

impl<V: Vfs> RecordLog<V> {
    /// Opens the log in `dir`, made if it is missing. A directory holds at most one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damage that is more than an interrupted append, and for records whose ids do not go on;
    /// [`Error::Locked`] if it is open elsewhere; segments too small for the largest record, or `read_only`; and what
    /// the file system says.
    pub fn open(fs: V, dir: &str, options: LogOptions) -> Result<Self> {
        if options.read_only {
            let text = "a record log is opened for writing: use the log itself to look at it";
            return Err(Error::InvalidArgument(text.to_string()));
        }
        if options.segment_bytes < SEGMENT_BYTES_MIN {
            let text = format!("segments of a record log have at least {SEGMENT_BYTES_MIN} bytes");
            return Err(Error::InvalidArgument(text));
        }
        let log = Log::open(fs, dir, options)?;
        let last = check_ids(&log)?;
        Ok(Self { log, appending: Mutex::new(last), cutting: Mutex::new(()), shared: Mutex::default() })
    }

    /// Id of the first record; `None` without records.
    pub fn first_id(&self) -> Option<u64> {
        self.log.index_bounds().map(|(first, _)| first)
    }

    /// Id of the last record, durable or about to be; `None` without records.
    pub fn last_id(&self) -> Option<u64> {
        self.log.index_bounds().map(|(_, last)| last)
    }

    /// Reads from the record `start` on, or from the first one behind where it would be. Appending meanwhile is fine:
    /// at the end the iterator gives nothing, and more when there is more.
    pub fn iter(&self, start: u64) -> RecordIter<'_, V> {
        RecordIter::new(self, start)
    }

    /// Appends records and returns when they are durable. Appends at the same time share syncs.
    ///
    /// # Errors
    /// [`Error::RecordTooBig`] and [`Error::NotSequential`]: nothing was written. A full disk is clean, but a prefix of
    /// `records` may be there: see [`RecordLog::last_id`]. After a failed write or sync the log is dead, and which of
    /// `records` survive is unknown. Earlier records are untouched by any of these.
    pub fn append(&self, records: &[Record<'_>]) -> Result<()> {
        let Some(first) = records.first() else { return Ok(()) };
        if let Some(big) = records.iter().find(|r| r.data.len() > MAX_RECORD_DATA_LEN) {
            return Err(Error::RecordTooBig { bytes: big.data.len(), limit: MAX_RECORD_DATA_LEN });
        }
        let payloads: Vec<&[u8]> = records.iter().map(|r| r.data).collect();
        {
            let mut last = self.appending.lock();
            let new_last = check_sequence(*last, records)?;
            match self.log.append_batch(&payloads, first.id) {
                Ok(_) => *last = new_last,
                Err(e) => {
                    *last = self.last_id().unwrap_or(0);
                    return Err(e);
                }
            }
        }
        self.log.sync().map(|_| ())
    }

    /// Removes the records behind `last_to_keep`, durably. After a crash either all of them are gone or none. A log
    /// that is empty afterwards takes any id again.
    ///
    /// # Errors
    /// What the file system says; after most failures the log is dead, and opening it shows all or none of the records.
    pub fn truncate(&self, last_to_keep: u64) -> Result<()> {
        let _one_at_a_time = self.cutting.lock();
        let mut last = self.appending.lock();
        let Some((first, old_last)) = self.log.index_bounds() else { return Ok(()) };
        if last_to_keep >= old_last {
            return Ok(());
        }
        let keep = if last_to_keep < first { 0 } else { last_to_keep };
        let done = self.log.truncate_after(keep);
        *last = self.last_id().unwrap_or(0);
        let mut shared = self.shared.lock();
        match &done {
            Ok(_) => shared.truncated(last_to_keep, old_last),
            // Iterators look again at what is there.
            Err(_) => shared.trimmed(),
        }
        drop(shared);
        done.map(|_| ())
    }

    /// Says that the records up to `discard_up_to` are not needed any more. Segments that hold nothing else are removed,
    /// never the newest: fewer records may go, or none.
    ///
    /// # Errors
    /// What the file system says; the rest can be trimmed by another call.
    pub fn trim(&self, discard_up_to: u64) -> Result<()> {
        let is_needed = |s: &super::SegmentInfo| {
            s.entries == 0 || s.first_log_index.saturating_add(s.entries - 1) > discard_up_to
        };
        let _one_at_a_time = self.cutting.lock();
        let segments = self.log.segments();
        let Some(floor) = segments.iter().find(|s| is_needed(s)).or(segments.last()) else { return Ok(()) };
        let released = self.log.release_below(floor.number);
        self.shared.lock().trimmed();
        released.map(|_| ())
    }

    /// Takes no more records. What was appended is durable already; iterators may go on.
    ///
    /// # Errors
    /// A failed sync, after which the log is dead.
    pub fn close(&self) -> Result<()> {
        self.log.close().map(|_| ())
    }

    /// The log that the records stand in.
    pub const fn log(&self) -> &Log<V> {
        &self.log
    }
}

/// The id of the last of `records`, which are not empty and follow `last` (0 for none).
fn check_sequence(last: u64, records: &[Record<'_>]) -> Result<u64> {
    let first = match (last, records.first()) {
        (0, Some(first)) => first.id.max(1),
        _ => last.saturating_add(1),
    };
    let mut new_last = last;
    for (expected, record) in (first..=u64::MAX).zip(records) {
        if record.id != expected {
            return Err(Error::NotSequential { expected, found: record.id });
        }
        if record.id == u64::MAX {
            let text = "the highest number is no record id: none could follow";
            return Err(Error::InvalidArgument(text.to_string()));
        }
        new_last = expected;
    }
    Ok(new_last)
}

/// The last id of a log whose ids go on from segment to segment; 0 without records.
fn check_ids<V: Vfs>(log: &Log<V>) -> Result<u64> {
    let mut last = 0u64;
    for s in log.segments().iter().filter(|s| s.entries > 0) {
        let goes_on = s.first_log_index != 0 && (last == 0 || s.first_log_index == last.saturating_add(1));
        let new_last = s.first_log_index.checked_add(s.entries - 1);
        match new_last.filter(|_| goes_on) {
            Some(new_last) => last = new_last,
            None => {
                let path = join(&log.dir, &segment_file_name(s.number, &log.ext));
                let what = format!(
                    "expected records from id {} on, found first index {}",
                    last.saturating_add(1),
                    s.first_log_index
                );
                return Err(Error::corrupt(path, FIRST_INDEX_AT, what));
            }
        }
    }
    Ok(last)
}
