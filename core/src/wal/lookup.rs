//! Log indexes: which a log has, and where the record of one is.
//!
//! Who may call it: anyone through [`Log`]. Rules
//! 1. A record replaces every earlier record whose index is the same or higher, as the log of a consensus group
//!    does. So the indexes that count rise along the log, and files alone tell which they are.
//! 2. The records of a segment have consecutive indexes from its first one on; between segments there may be gaps.

use alloc::vec::Vec;

use super::log::{Log, Mode};
use super::survey::SegmentInfo;
use crate::error::{Error, Result};
use crate::vfs::Vfs;
use nokv_formats::walfs::Position;

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
        let places = self.places_in(&span.info)?;
        let offset = places.get(ordinal).map(|entry| entry.offset).ok_or(missing)?;
        Ok(Position { segment: span.info.number, offset })
    }
}
