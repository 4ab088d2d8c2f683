//! Removal of old segments, as a step that the host calls when it likes.
//!
//! Who may call it: anyone, through [`Log`]. Time comes as an argument. Invariants
//! 1. Segments go oldest first and without a gap: numbers of a log are consecutive. So the first one that must stay
//!    keeps all behind it.
//! 2. The active segment stays, and never fewer than `min_segments` do.
//! 3. No segment goes that a reader stands in, or stands before. The last look at the readers and the decision are
//!    one step: a reader that comes later starts behind.

use alloc::vec::Vec;

use super::log::{Log, Mode};
use super::survey::SegmentInfo;
use crate::error::{Error, IoContext, Result};
use crate::vfs::Vfs;

/// Which segments a log may lose.
///
/// ```
/// use nokv_core::wal::{LogOptions, Retention};
/// let retention = Retention { enabled: true, max_age_ms: 3_600_000, min_segments: 2, max_segments: 100 };
/// let options = LogOptions { retention, ..LogOptions::default() };
/// # assert_eq!(options.retention.max_segments, 100);
/// ```
///
/// Both limits are of "or" kind: a segment goes if it is too old, or one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Mark segments at all?
    pub enabled: bool,
    /// Segments last written longer ago than this are too old, in milliseconds; 0 for no such limit. One without a
    /// date in its header never is.
    pub max_age_ms: u64,
    /// So many segments stay in any case, the active one among them; 0 is as 1.
    pub min_segments: u32,
    /// More segments than these are too many, the active one among them; 0 for no such limit.
    pub max_segments: u32,
}

/// What one step removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// The segments, oldest first.
    pub removed: Vec<u32>,
    /// Bytes of their files.
    pub bytes: u64,
    /// Marked segments that stay for now: a reader is there, or the caller refused.
    pub deferred: Vec<u32>,
}

impl Retention {
    /// The segments to remove, of `segments` oldest first. Pure.
    pub fn choose(&self, segments: &[SegmentInfo], now_unix_ms: u64) -> Vec<u32> {
        if !self.enabled {
            return Vec::new();
        }
        let mut left = segments.len();
        let mut chosen = Vec::new();
        // The newest is the active one.
        for info in segments.iter().take(segments.len().saturating_sub(1)) {
            let too_many = self.max_segments != 0 && left > self.max_segments as usize;
            let goes = info.sealed && left > self.keep() && (too_many || self.is_too_old(info, now_unix_ms));
            if !goes {
                break;
            }
            chosen.push(info.number);
            left -= 1;
        }
        chosen
    }

    fn keep(&self) -> usize {
        self.min_segments.max(1) as usize
    }

    fn is_too_old(&self, info: &SegmentInfo, now_unix_ms: u64) -> bool {
        let written_ms = info.modified_ns.max(info.created_ns) / 1_000_000;
        self.max_age_ms != 0 && written_ms != 0 && now_unix_ms.saturating_sub(written_ms) > self.max_age_ms
    }
}

impl<V: Vfs> Log<V> {
    /// Queues the segments that the retention policy gives up at `now_unix_ms`; gives how many are new.
    pub fn mark_for_deletion(&self, now_unix_ms: u64) -> usize {
        let chosen = self.options.retention.choose(&self.segments(), now_unix_ms);
        let mut queue = self.queue.lock();
        chosen.into_iter().filter(|segment| queue.insert(*segment)).count()
    }

    /// The queued segments, oldest first.
    pub fn queued_for_deletion(&self) -> Vec<u32> {
        self.queue.lock().iter().copied().collect()
    }

    /// Seals what was rotated away, marks, then removes queued segments, oldest first, as long as no reader stands there and `can_delete` agrees,
    /// which is asked with no lock held. What stays is looked at again by the next step.
    ///
    /// # Errors
    /// What the file system says; segments before the failure are gone. A failed seal: the log is dead.
    pub fn clean_step(&self, now_unix_ms: u64, can_delete: &dyn Fn(u32) -> bool) -> Result<Cleaned> {
        let tail = self.tail()?;
        if self.options.retention.enabled && !tail.state().is_closed() {
            // Only sealed segments go, and nobody else may ever seal them.
            match self.seal() {
                // A close came in between: it sealed all.
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => return Err(error),
            }
        }
        self.mark_for_deletion(now_unix_ms);
        let mut cleaned = Cleaned::default();
        let queued = self.queued_for_deletion();
        for segment in &queued {
            let segments = self.segments();
            let is_oldest = segments.first().is_some_and(|info| info.number == *segment && info.sealed);
            if segments.iter().all(|info| info.number != *segment) {
                // Released by other means.
                self.queue.lock().remove(segment);
                continue;
            }
            let is_read = || self.readers.oldest().is_some_and(|oldest| oldest <= *segment);
            let may_go = is_oldest && segments.len() > self.options.retention.keep();
            if !may_go || is_read() || !can_delete(*segment) {
                break;
            }
            let floor = segment.saturating_add(1);
            let is_claimed = {
                let state = tail.state();
                floor <= state.end().segment && self.readers.claim_below(floor)
            };
            if !is_claimed {
                break;
            }
            cleaned.bytes += self.release_below(floor)?;
            self.queue.lock().remove(segment);
            cleaned.removed.push(*segment);
        }
        cleaned.deferred = self.queued_for_deletion();
        Ok(cleaned)
    }

    /// Forgets the oldest segments whose files somebody else removed; gives their numbers.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a file is missing behind one that is there; what the file system says.
    pub fn cleanup_stale(&self) -> Result<Vec<u32>> {
        let Mode::Writing { tail, .. } = &self.mode else { return Ok(Vec::new()) };
        let there: Vec<u32> = {
            let _no_sealer = tail.flush.lock();
            let names = self.fs.list(&self.dir).at("list", &self.dir)?;
            let number = |name: &str| nokv_formats::walfs::parse_segment_file_name(name, &self.ext);
            names.iter().filter_map(|entry| number(&entry.name)).collect()
        };
        let missing = |info: &SegmentInfo| info.sealed && !there.contains(&info.number);
        let segments = self.segments();
        let gone: Vec<u32> = segments.iter().take_while(|i| missing(i)).map(|i| i.number).collect();
        if let Some(hole) = segments.iter().skip(gone.len()).find(|info| missing(info)) {
            return Err(Error::corrupt(
                self.segment_path(hole.number),
                0,
                "the file of a segment is missing",
            ));
        }
        if let Some(last) = gone.last() {
            self.release_below(last.saturating_add(1))?;
            self.queue.lock().retain(|segment| segment > last);
        }
        Ok(gone)
    }
}
