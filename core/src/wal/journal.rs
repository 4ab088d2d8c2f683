//! The operation journal: entries of (operation, entity, key, data, time) on a walfs log, appended by any number of
//! threads, replayed in order, truncated as a whole.
//!
//! Who may call it: anyone, from any thread; one process at a time has a journal open. Rules
//! 1. An entry is one log record (see [`nokv_formats::journal`]): it is there whole or not at all.
//! 2. An append that returned survives the death of the process; with [`SyncMode::Always`] a power cut too.
//! 3. A truncation is one record, the mark: once it is durable nothing before it is ever replayed, and before that
//!    everything is. Removing the segments before it only gives space back.
//! 4. The end of the log that a stop tore is removed by [`Journal::open`] and reported by [`Journal::replay`].
//!    Damage anywhere else is [`Error::Corrupt`] and changes nothing.
//!
//! | crash in truncate | journal afterwards |
//! |---|---|
//! | before the mark is durable | all entries, or none if the mark reached the disk by itself |
//! | before the segments are removed | none; opening removes them |
//! | later | none |

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::journal::{MARK_BYTES, Record as Stored, decode, mark};
use nokv_formats::walfs::{FRAME_HEAD_BYTES, Position, frame_len, segment_file_name};

pub use nokv_formats::journal::{Entry, Op};

use super::log::Log;
use super::options::LogOptions;
use super::reader::{LogReader, Next, Record};
use crate::error::{Error, Result};
use crate::sync::Mutex;
use crate::vfs::{Vfs, join};

/// A spare buffer larger than this is not kept.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// When an append returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SyncMode {
    /// When the entry is durable. Appends at the same time share syncs.
    #[default]
    Always,
    /// When the entry is in the operating system: a power cut may take the last entries.
    None,
}

/// What [`Journal::replay`] saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// Entries that were given to the callback.
    pub entries: u64,
    /// The end that a stop tore and that opening removed, if there was one.
    pub torn: Option<TornTail>,
}

/// The end of a journal that a stop tore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornTail {
    /// Where the first entry stood that is not there any more.
    pub at: Position,
    /// What was expected there.
    pub what: &'static str,
    /// Whole entries behind it: a power cut can keep a later unsynced entry and lose an earlier one.
    pub whole_entries_behind: u64,
}

/// See the module.
pub struct Journal<V: Vfs> {
    log: Log<V>,
    sync: SyncMode,
    /// Behind the last durable mark: replay starts here.
    start: Mutex<Position>,
    /// A buffer to encode in; taken out while it is used.
    spare: Mutex<Vec<u8>>,
}

impl<V: Vfs> Journal<V> {
    /// Opens the journal in `dir`, made if it is missing, with segments of 16 MiB: the bound of an entry.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damage before what is known to be durable, [`Error::Locked`] if it is open elsewhere,
    /// and what the file system says.
    pub fn open(fs: V, dir: &str, sync: SyncMode) -> Result<Self> {
        Self::open_with(fs, dir, sync, LogOptions::default())
    }

    /// [`Journal::open`] with the log's own options.
    ///
    /// # Errors
    /// As [`Journal::open`]; a journal is not opened for reading only.
    pub fn open_with(fs: V, dir: &str, sync: SyncMode, options: LogOptions) -> Result<Self> {
        if options.read_only {
            let text = "a journal is opened for writing: use the log itself to look at it";
            return Err(Error::InvalidArgument(text.to_string()));
        }
        let log = Log::open(fs, dir, options)?;
        let start = last_mark(&log)?.map_or(Position::start_of(0), behind_mark);
        // What a truncation that was interrupted did not get to.
        log.release_below(start.segment)?;
        Ok(Self { log, sync, start: Mutex::new(start), spare: Mutex::new(Vec::new()) })
    }

    /// Appends an entry. It is durable when this returns, or in the operating system: see [`SyncMode`].
    ///
    /// # Errors
    /// An entry larger than a segment; a full disk (clean); or a failed write or sync, after which the journal is dead
    /// and whether the entry survives is unknown.
    pub fn append(&self, entry: &Entry<'_>) -> Result<Position> {
        let mut bytes = core::mem::take(&mut *self.spare.lock());
        bytes.clear();
        entry.encode(&mut bytes);
        let appended = self.log.append(&bytes, 0);
        if bytes.capacity() <= SPARE_BYTES_MAX {
            *self.spare.lock() = bytes;
        }
        if self.sync == SyncMode::Always && appended.is_ok() {
            match self.log.sync() {
                // The entry is in the journal: appending it again because of a full disk would double it.
                Err(e) if e.is_no_space() => return Err(Error::OutcomeUnknown(e.to_string())),
                synced => synced.map(drop)?,
            }
        }
        appended
    }

    /// Makes every entry appended before the call durable.
    ///
    /// # Errors
    /// A failed flush, after which the journal is dead.
    pub fn sync(&self) -> Result<()> {
        self.log.sync().map(|_| ())
    }

    /// Gives every entry that was there when the call began to `visit`, in order. `visit` may append and truncate.
    ///
    /// # Errors
    /// What `visit` gives: nothing more is read then. [`Error::Corrupt`] at damage, after the entries before it.
    /// [`Error::Busy`] if the journal was truncated meanwhile.
    pub fn replay<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Entry<'_>) -> core::result::Result<(), E>,
    ) -> core::result::Result<ReplayReport, E> {
        let end = end_of(&self.log);
        let start = *self.start.lock();
        let mut reader = self.reader_at(start);
        let mut entries = 0;
        loop {
            if *self.start.lock() != start {
                return Err(Error::Busy("the journal was truncated while it was replayed").into());
            }
            let next = match reader.next() {
                Ok(next) => next,
                // Its segment went away between the look and the read.
                Err(_) if *self.start.lock() != start => continue,
                Err(e) => return Err(e.into()),
            };
            match next {
                Next::Record(record) if record.position < end => {
                    if let Stored::Entry(entry) = stored(&self.log, &record)? {
                        visit(entry)?;
                        entries += 1;
                    }
                }
                _ => return Ok(ReplayReport { entries, torn: self.torn() }),
            }
        }
    }

    /// What [`Journal::open`] removed from the end.
    pub fn torn(&self) -> Option<TornTail> {
        let report = self.log.report();
        Some(TornTail {
            at: report.cut_at?,
            what: report.cut_what.unwrap_or("an entry"),
            whole_entries_behind: report.records_cut,
        })
    }

    /// Removes all entries that were appended before the call, durably. A crash meanwhile leaves all of them or none.
    ///
    /// # Errors
    /// A full disk before the mark is stored: nothing happened. An error of removing files: the entries are gone all
    /// the same, and the next truncation or opening removes the files. Any other: the journal is dead, and the next
    /// opening shows all entries or none.
    pub fn truncate(&self) -> Result<()> {
        if *self.start.lock() >= end_of(&self.log) {
            return Ok(());
        }
        // In a segment of its own, so that all before it can go. Without space for one it goes where it fits.
        match self.log.rotate() {
            Err(e) if e.is_no_space() => {}
            other => other?,
        }
        let position = self.log.append(&mark(), 0)?;
        // ORDER: the mark is durable before replay starts behind it and before anything is removed.
        self.log.sync()?;
        {
            let mut start = self.start.lock();
            *start = (*start).max(behind_mark(position));
        }
        self.log.release_below(position.segment).map(|_| ())
    }

    /// Makes everything durable, whatever the mode, and takes no more entries.
    ///
    /// # Errors
    /// As [`Journal::sync`].
    pub fn close(&self) -> Result<()> {
        self.log.close().map(|_| ())
    }

    /// The log that the journal stands in.
    pub const fn log(&self) -> &Log<V> {
        &self.log
    }

    fn reader_at(&self, start: Position) -> LogReader<'_, V> {
        if start.segment == 0 { self.log.reader() } else { self.log.reader_from(start) }
    }
}

/// Behind the last record.
fn end_of<V: Vfs>(log: &Log<V>) -> Position {
    log.segments().last().map_or(Position::default(), |s| Position { segment: s.number, offset: s.end })
}

fn behind_mark(position: Position) -> Position {
    const FRAME_BYTES: u64 = match frame_len(MARK_BYTES) {
        Some(len) => len as u64,
        None => 0,
    };
    Position { offset: position.offset.saturating_add(FRAME_BYTES), ..position }
}

fn stored<'r, V: Vfs>(log: &Log<V>, record: &Record<'r>) -> Result<Stored<'r>> {
    decode(record.payload).map_err(|m| {
        let Position { segment, offset } = record.position;
        Error::malformed(segment_path(log, segment), offset.saturating_add(FRAME_HEAD_BYTES as u64), m)
    })
}

fn segment_path<V: Vfs>(log: &Log<V>, segment: u32) -> String {
    join(&log.dir, &segment_file_name(segment, &log.ext))
}

/// The last mark of the log. The newest segment is looked at first: what lies before a mark is on its way out, and
/// whether it can be read does not matter.
fn last_mark<V: Vfs>(log: &Log<V>) -> Result<Option<Position>> {
    for segment in log.segments().iter().rev().filter(|s| s.entries > 0) {
        let mut found = None;
        let mut reader = log.reader_from(Position::start_of(segment.number));
        while let Next::Record(record) = reader.next()? {
            if record.position.segment != segment.number {
                break;
            }
            if stored(log, &record)? == Stored::Mark {
                found = Some(record.position);
            }
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
