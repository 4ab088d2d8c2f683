//! Log indexes: which a log has, and where the record of one is.
//!
//! Who may call it: anyone through [`Log`]. Rules
//! 1. A record replaces every earlier record whose index is the same or higher, as the log of a consensus group
//!    does. So the indexes that count rise along the log, and files alone tell which they are.
//! 2. The records of a segment have consecutive indexes from its first one on; between segments there may be gaps.

use alloc::vec::Vec;

use nokv_formats::walfs::{IndexEntry, Position};

use super::index::ShardedIndex;
use super::log::{LastIndex, Log, Mode};
use super::survey::SegmentInfo;
use super::tail::write_index;
use crate::error::{Error, Result};
use crate::sync::{Arc, Ordering};
use crate::vfs::Vfs;

/// The log indexes of a segment that count: `first..=last`, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub info: SegmentInfo,
    pub first: u64,
    pub last: u64,
}

/// Spans of a log, oldest first, rising.
pub(crate) fn spans(infos: impl DoubleEndedIterator<Item = SegmentInfo>) -> Vec<Span> {
    let mut ceiling = None;
    let mut spans = Vec::new();
    for info in infos.rev().filter(|info| info.first_log_index != 0 && info.entries != 0) {
        let first = info.first_log_index;
        let last = first.saturating_add(info.entries - 1);
        let last = ceiling.map_or(last, |ceiling: u64| last.min(ceiling - 1));
        if first <= last {
            ceiling = Some(first);
            spans.push(Span { info, first, last });
        }
    }
    spans.reverse();
    spans
}

/// The first and the last index.
pub(crate) fn bounds_of(spans: &[Span]) -> Option<(u64, u64)> {
    Some((spans.first()?.first, spans.last()?.last))
}

impl<V: Vfs> Log<V> {
    fn spans(&self) -> Vec<Span> {
        match &self.mode {
            Mode::Writing { tail, .. } => spans(tail.state().infos()),
            Mode::Reading { segments, .. } => spans(segments.iter().cloned()),
        }
    }

    /// The lowest and the highest log index of the log; `None` if no record has one.
    pub fn index_bounds(&self) -> Option<(u64, u64)> {
        bounds_of(&self.spans())
    }

    /// Where the record with `log_index` is.
    ///
    /// # Errors
    /// [`Error::IndexNotYet`] above the highest index, [`Error::IndexTruncated`] below the lowest,
    /// [`Error::IndexMissing`] in a gap between; [`Error::Corrupt`] and what the file system says where the place
    /// must be read from the files.
    pub fn position_for_index(&self, log_index: u64) -> Result<Position> {
        loop {
            if let Some(position) = self.places.get(log_index) {
                return Ok(position);
            }
            let epoch = self.readers.epoch();
            let found = self.look_up(log_index, epoch);
            // A truncation meanwhile: look again at what is there now.
            if self.readers.epoch() == epoch {
                return found;
            }
        }
    }

    fn look_up(&self, log_index: u64, epoch: u64) -> Result<Position> {
        let spans = self.spans();
        let Some((first, last)) = bounds_of(&spans) else {
            return Err(Error::IndexNotYet { index: log_index, last: 0 });
        };
        if log_index > last {
            return Err(Error::IndexNotYet { index: log_index, last });
        }
        if log_index < first {
            return Err(Error::IndexTruncated { index: log_index, first });
        }
        let missing = Error::IndexMissing { index: log_index };
        let span = spans.iter().find(|s| (s.first..=s.last).contains(&log_index)).ok_or(missing.clone())?;
        let ordinal = usize::try_from(log_index - span.info.first_log_index).unwrap_or(usize::MAX);
        let places = self.remembered_places(&span.info, epoch)?;
        let offset = places.get(ordinal).map(|entry| entry.offset).ok_or(missing)?;
        Ok(Position { segment: span.info.number, offset })
    }

    /// Positions by log index that are in memory: all of them, unless [`LogOptions::log_index`] is off or segments
    /// were cleared. What is missing there is looked up in the files; what a caller puts there is believed.
    ///
    /// [`LogOptions::log_index`]: super::LogOptions::log_index
    pub const fn log_index(&self) -> &ShardedIndex {
        &self.places
    }

    /// Forgets the positions of a sealed segment, which are in its index file; false for a segment that is not
    /// sealed, or not there.
    pub fn clear_index(&self, segment: u32) -> bool {
        let spans = self.spans();
        let is_sealed = self.extent(segment).is_some_and(|info| info.sealed);
        if let (true, Some(span)) = (is_sealed, spans.iter().find(|s| s.info.number == segment)) {
            self.places.delete_range(span.first, span.last);
        }
        is_sealed
    }

    /// Bytes of memory that looking up log indexes takes.
    pub fn index_memory_bytes(&self) -> u64 {
        let last = self.last_index.lock().as_ref().map_or(0, |last| size_of_val(&*last.entries) as u64);
        self.places.memory_bytes() + last
    }

    /// Forgets the segments sealed since the last time, where the options say so.
    pub(super) fn forget_sealed(&self) {
        if !self.options.clear_index_on_flush || !self.options.log_index {
            return;
        }
        let Mode::Writing { tail, .. } = &self.mode else { return };
        let cleared = self.cleared_to.load(Ordering::Acquire);
        let Some(newest) = tail.state().settled.back().map(|info| info.number).filter(|n| *n > cleared)
        else {
            return;
        };
        for span in self.spans().iter().filter(|s| s.info.sealed && s.info.number > cleared) {
            self.places.delete_range(span.first, span.last);
        }
        self.cleared_to.fetch_max(newest, Ordering::AcqRel);
    }

    /// Reads the positions of all records with a log index: of sealed segments from their index files, which are
    /// made again where they cannot be trusted. The active segment was read anyway.
    pub(super) fn load_places(&self) -> Result<()> {
        if !self.options.log_index {
            return Ok(());
        }
        let (mut batch, mut bytes) = (Vec::new(), Vec::new());
        for span in self.spans() {
            if span.info.sealed && self.options.clear_index_on_flush {
                continue;
            }
            let trusted = if span.info.sealed { self.trusted_index(&span.info, &mut bytes) } else { None };
            let entries = match trusted.map_or_else(|| self.scan_again(&span.info), Ok) {
                Ok(entries) => entries,
                // Damage is told to those who look there.
                Err(e) if e.is_corrupt() => continue,
                Err(e) => return Err(e),
            };
            batch.clear();
            let indexes = span.info.first_log_index..=u64::MAX;
            batch.extend(
                indexes
                    .zip(entries.iter())
                    .filter(|(index, _)| *index <= span.last)
                    .map(|(index, e)| (index, Position { segment: span.info.number, offset: e.offset })),
            );
            self.places.set_batch(&batch);
        }
        Ok(())
    }

    /// Places by the records of a segment; a sealed one gets its index file back.
    fn scan_again(&self, info: &SegmentInfo) -> Result<Vec<IndexEntry>> {
        let entries = self.places_in(info)?;
        if let (true, Mode::Writing { tail, .. }) = (info.sealed, &self.mode) {
            // Failing to write it loses nothing.
            let _ = write_index(&self.fs, &tail.config, info.number);
        }
        Ok(entries)
    }

    /// As [`Log::places_in`], remembering the last sealed segment looked into. `epoch` was taken before `info` was.
    fn remembered_places(&self, info: &SegmentInfo, epoch: u64) -> Result<Arc<[IndexEntry]>> {
        let mut last = self.last_index.lock();
        let is_known = |last: &&LastIndex| {
            (last.segment, last.epoch, last.entries.len() as u64) == (info.number, epoch, info.entries)
        };
        if let Some(last) = last.as_ref().filter(is_known) {
            return Ok(Arc::clone(&last.entries));
        }
        *last = None;
        drop(last);
        let entries: Arc<[IndexEntry]> = self.places_in(info)?.into();
        if info.sealed {
            let segment = info.number;
            *self.last_index.lock() = Some(LastIndex { segment, epoch, entries: Arc::clone(&entries) });
        }
        Ok(entries)
    }
}
