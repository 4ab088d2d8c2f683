//! Truncation of a log: everything behind a place goes, at once and for good.
//!
//! Who may call it: [`Log::truncate_after`]; opening finishes what a stop interrupted ([`finish`], [`pretend`]).
//!
//! Order of the steps; each is durable before the next:
//! a. what stays is synced and looked at: records end where the cut is to be     nothing changed
//! b. `walfs.truncate` gets its name: temporary file, sync, rename, sync of the directory
//! c. segments behind the cut are removed, the newest first
//! d. the segment of the cut: index file removed, header active again, zeros behind the cut
//! e. `walfs.truncate` is removed
//!
//! | stop after | the next open finds |
//! |---|---|
//! | a, or inside b | the old log; or the new one, if the name got to the disk |
//! | b, c, d | `walfs.truncate`: does c to e again, which ends in the same place; readers see the new log |
//! | e | the new log, or as after d |
//!
//! Nothing is appended between b and e: the appenders' lock is held. A failure behind b leaves a log that is dead
//! until it is opened again; one before b changes nothing.

use alloc::format;
use alloc::vec::Vec;
use core::cell::Cell;

use nokv_formats::walfs::{
    FLAG_ACTIVE, HEADER_BYTES, Position, Scanner, TRUNCATION_FILE_NAME, Truncation, index_file_name,
};
use nokv_formats::walfs::{Found, SegmentHeader};

use super::log::Log;
use super::open::{fresh, open_surveyed};
use super::survey::{SegmentInfo, Surveyed, list_segments, read_segment, survey_segment};
use super::tail::{Config, Rotated, State, Tail, remove_segment, write_temporary};
use crate::error::{Error, IoContext, Result};
use crate::planted::{self, Bug};
use crate::sync::Ordering;
use crate::vfs::{IoErrorKind, Vfs, join};

impl<V: Vfs> Log<V> {
    /// Keeps what lies before and at the newest record whose log index is `log_index` or lower, and removes the
    /// rest for good; 0 removes everything, and the log starts again with segment 1. Gives the new end.
    ///
    /// Nothing is removed if no record has a higher index. After a crash the log is the old or the new one, whole.
    ///
    /// # Errors
    /// [`Error::IndexTruncated`] if the records up to `log_index` are gone already, [`Error::ReadersBehind`] if a
    /// reader stands behind the new end: both change nothing. What the file system says, after which the log is
    /// dead until it is opened again.
    pub fn truncate_after(&self, log_index: u64) -> Result<Position> {
        let tail = self.tail()?;
        let last_kept = Cell::new(Position::NIL);
        tail.truncate(
            |state| {
                let truncation = self.plan(state, log_index, &last_kept)?;
                if let Some(truncation) = &truncation {
                    // From here on a reader that moves looks again first, and then waits for the state's lock.
                    self.readers.begin_epoch();
                    let end = new_end(truncation);
                    if let Some((segment, readers)) = self.readers.behind(end) {
                        return Err(Error::ReadersBehind { segment, readers });
                    }
                }
                Ok(truncation)
            },
            |end| self.forget_behind(log_index, end, last_kept.get()),
        )
    }

    /// Where to cut, if anywhere; tells what the commit position falls back to.
    fn plan(
        &self,
        state: &State<V>,
        log_index: u64,
        last_kept: &Cell<Position>,
    ) -> Result<Option<Truncation>> {
        if log_index == 0 {
            return Ok(Some(Truncation::Reset));
        }
        let spans = super::lookup::spans(state.infos());
        let Some((first, last)) = super::lookup::bounds_of(&spans) else { return Ok(None) };
        let holds_last = spans.last().map_or(0, |span| span.info.number);
        let nothing_behind = || state.infos().all(|info| info.number <= holds_last || info.entries == 0);
        if log_index > last || (log_index == last && nothing_behind()) {
            return Ok(None);
        }
        if log_index.saturating_add(1) < first {
            return Err(Error::IndexTruncated { index: log_index, first });
        }
        let Some(span) = spans.iter().rev().find(|span| span.first <= log_index) else {
            // No index remains, also none that a removed record had replaced.
            let first = state.infos().find(|info| info.first_log_index != 0 && info.entries != 0);
            let segment = first.map_or(1, |info| info.number);
            return Ok(Some(Truncation::Cut { end: Position::start_of(segment), entries: 0 }));
        };
        // An index in a gap keeps all of the segment before the gap.
        let entries = (log_index.min(span.last) - span.info.first_log_index).saturating_add(1);
        let end = self.end_of_record(&span.info, entries)?;
        if self.committed() >= end {
            last_kept.set(self.end_of_record(&span.info, entries - 1)?);
        }
        Ok(Some(Truncation::Cut { end, entries }))
    }

    /// Where the first `entries` records of a segment end.
    fn end_of_record(&self, info: &SegmentInfo, entries: u64) -> Result<Position> {
        if entries == 0 {
            return Ok(Position::start_of(info.number));
        }
        if entries == info.entries {
            return Ok(Position { segment: info.number, offset: info.end });
        }
        let offset =
            self.places_in(info)?.get(usize::try_from(entries).unwrap_or(usize::MAX)).map(|e| e.offset);
        offset.map(|offset| Position { segment: info.number, offset }).ok_or_else(|| {
            Error::corrupt(self.segment_path(info.number), info.end, "fewer records than known of")
        })
    }

    /// Drops what is remembered of records behind `end`.
    fn forget_behind(&self, log_index: u64, end: Position, last_kept: Position) {
        if log_index == 0 {
            self.places.clear();
        } else {
            self.places.delete_range(log_index.saturating_add(1), u64::MAX);
        }
        *self.last_read.lock() = None;
        *self.last_index.lock() = None;
        self.queue.lock().retain(|segment| *segment < end.segment);
        self.announced.store(end.segment, Ordering::Release);
        // The segment of the cut is active again, and those behind it will be others.
        self.cleared_to.fetch_min(end.segment.saturating_sub(1), Ordering::AcqRel);
        self.readers.lower_floor(end.segment);
        let mut committed = self.committed.lock();
        if *committed >= end {
            *committed = last_kept;
        }
    }
}

fn new_end(truncation: &Truncation) -> Position {
    match truncation {
        Truncation::Reset => Position::start_of(1),
        Truncation::Cut { end, .. } => *end,
    }
}

impl<V: Vfs> Tail<V> {
    /// Carries out what `plan` says about the log as it is when nobody appends or syncs; `done` then hears the
    /// new end, before anybody appends again. Appenders wait meanwhile.
    pub fn truncate(
        &self,
        plan: impl FnOnce(&State<V>) -> Result<Option<Truncation>>,
        done: impl FnOnce(Position),
    ) -> Result<Position> {
        let _one_at_a_time = self.flush.lock();
        let mut state = loop {
            self.flush_to_end(false)?;
            let state = self.state.lock();
            state.alive()?;
            if state.rotated.is_empty() {
                break state;
            }
        };
        let Some(truncation) = plan(&state)? else { return Ok(state.end()) };
        check(&self.fs, &self.config, &truncation)?;
        let mut next = self.next.lock();
        decide(&self.fs, &self.config.dir, &truncation).map_err(|failed| match failed {
            Undecided::Unchanged(e) => e,
            Undecided::Unknown(e) => {
                state.kill(&e);
                e
            }
        })?;
        next.clear();
        let active = finish(&self.fs, &self.config, &truncation).inspect_err(|e| state.kill(e))?;
        let number = active.segment.number;
        self.active_number.store(number, Ordering::Release);
        match truncation {
            Truncation::Reset => state.settled.clear(),
            Truncation::Cut { .. } => state.settled.retain(|info| info.number < number),
        }
        state.active = active;
        let end = state.end();
        *self.durable.lock() = end;
        done(end);
        Ok(end)
    }
}

/// What a failure inside step b left.
enum Undecided {
    /// The temporary file was not made: the log is as it was.
    Unchanged(Error),
    /// The next open may find the truncation.
    Unknown(Error),
}

/// Do records end where the log is to end? Changes nothing.
fn check<V: Vfs>(fs: &V, config: &Config, truncation: &Truncation) -> Result<()> {
    let Truncation::Cut { end, entries } = truncation else { return Ok(()) };
    let path = join(&config.dir, &nokv_formats::walfs::segment_file_name(end.segment, &config.ext));
    let mut bytes = Vec::new();
    read_segment(fs, &path, &mut bytes)?;
    let mut scanner = Scanner::new(&bytes);
    let mut count = 0;
    while (scanner.offset() as u64) < end.offset {
        match scanner.step() {
            Found::Record(_) => count += 1,
            _ => {
                return Err(Error::corrupt(
                    path,
                    scanner.offset() as u64,
                    "expected a record before the cut",
                ));
            }
        }
    }
    if scanner.offset() as u64 != end.offset || count != *entries {
        return Err(Error::corrupt(path, end.offset, "expected the end of a record where the log is cut"));
    }
    Ok(())
}

/// Step b.
fn decide<V: Vfs>(fs: &V, dir: &str, truncation: &Truncation) -> core::result::Result<(), Undecided> {
    if planted::is(Bug::CutNotDecided) {
        return Ok(());
    }
    let path = join(dir, TRUNCATION_FILE_NAME);
    let temporary = write_temporary(fs, &path, &truncation.to_bytes()).map_err(Undecided::Unchanged)?;
    let named = fs.rename(&temporary, &path).at("rename", &path);
    named.and_then(|()| fs.sync_dir(dir).at("sync_dir", dir)).map_err(Undecided::Unknown)
}

/// The truncation that a stop interrupted, if there is one.
pub(crate) fn pending<V: Vfs>(fs: &V, dir: &str) -> Result<Option<Truncation>> {
    let path = join(dir, TRUNCATION_FILE_NAME);
    let mut bytes = Vec::new();
    match read_segment(fs, &path, &mut bytes) {
        Ok(()) => {}
        Err(Error::Io { source, .. }) if source.kind == IoErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    }
    Truncation::decode(&bytes).map(Some).map_err(|m| Error::malformed(path, 0, m))
}

/// Steps c to e; gives the segment that takes records. Doing it again changes nothing.
pub(crate) fn finish<V: Vfs>(fs: &V, config: &Config, truncation: &Truncation) -> Result<Rotated<V>> {
    let keep = match truncation {
        Truncation::Reset => 0,
        Truncation::Cut { end, .. } => {
            check(fs, config, truncation)?;
            end.segment
        }
    };
    let mut found = list_segments(fs, &config.dir, &config.ext)?;
    // ORDER: the newest first, each durably, so that what is left is the start of the log at any moment.
    while let Some(last) = found.pop_if(|f| f.number > keep) {
        remove_segment(fs, &config.dir, &config.ext, last.number)?;
    }
    let active = match truncation {
        Truncation::Reset => fresh(config.create_segment(fs, 1, 0)?),
        Truncation::Cut { end, .. } => {
            let file = found.pop().filter(|f| f.number == end.segment).ok_or_else(|| {
                let path = join(&config.dir, TRUNCATION_FILE_NAME);
                Error::corrupt(path, 0, format!("segment {} is missing", end.segment))
            })?;
            let index = join(&config.dir, &index_file_name(end.segment, &config.ext));
            match fs.unlink(&index) {
                Err(e) if e.kind != IoErrorKind::NotFound => return Err(Error::io("unlink", index, e)),
                _ => {}
            }
            let mut surveyed = survey_segment(fs, &file, false)?;
            cut_view(&mut surveyed, truncation);
            open_surveyed(fs, config, &surveyed)?
        }
    };
    let path = join(&config.dir, TRUNCATION_FILE_NAME);
    match fs.unlink(&path) {
        Err(e) if e.kind != IoErrorKind::NotFound => return Err(Error::io("unlink", path, e)),
        _ => {}
    }
    fs.sync_dir(&config.dir).at("sync_dir", &config.dir)?;
    Ok(active)
}

/// Makes `surveyed` look as if the truncation were finished.
pub(crate) fn pretend(surveyed: &mut Vec<Surveyed>, truncation: &Truncation) {
    match truncation {
        Truncation::Reset => surveyed.clear(),
        Truncation::Cut { end, .. } => {
            surveyed.retain(|s| s.number <= end.segment);
            if let Some(last) = surveyed.last_mut().filter(|s| s.number == end.segment) {
                cut_view(last, truncation);
            }
        }
    }
}

fn cut_view(s: &mut Surveyed, truncation: &Truncation) {
    let Truncation::Cut { end, entries } = truncation else { return };
    // Fewer records than that is damage, which stays.
    if s.end >= end.offset {
        (s.end, s.entries, s.damage) = (end.offset, *entries, None);
        s.header = s.header.map(|h| SegmentHeader {
            flags: FLAG_ACTIVE,
            write_offset: end.offset.max(HEADER_BYTES as u64),
            entry_count: *entries,
            ..h
        });
    }
}
