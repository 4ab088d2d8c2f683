//! One bucket of the value log: its head, and what is known of its other segments.
//!
//! Who may call it: [`super::ValueLog`], under the bucket's lock.
//!
//! *Marks* are offsets at which records of a segment start, about [`MARKS`] of them spread over its length. They are kept
//! for segments that this process wrote, so that a sample can start in the middle of one; records have no index.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::sync::{Arc, AtomicU64, Ordering};
use crate::vfs::Vfs;

/// About how many marks a segment gets.
const MARKS: u64 = 64;

pub(super) struct Bucket<V: Vfs> {
    pub(super) head: Option<Arc<Segment<V>>>,
    /// Values that the head took.
    pub(super) entries: u32,
    /// Marks of the head, ascending.
    marks: Vec<u64>,
    /// No longer heads, but not synced since their last append.
    pub(super) unsynced: Vec<Arc<Segment<V>>>,
    /// All segments but the head, with their lengths.
    pub(super) sealed: BTreeMap<u32, u64>,
    /// Marks of sealed segments.
    sealed_marks: BTreeMap<u32, Box<[u64]>>,
    pub(super) next_segment: u32,
    /// Names of this bucket are not durable yet.
    pub(super) new_names: bool,
}

pub(super) struct Segment<V: Vfs> {
    pub(super) number: u32,
    pub(super) path: String,
    pub(super) file: V::File,
    /// Where the next record goes.
    pub(super) end: AtomicU64,
    /// Appends that returned, counted; compared with `synced` to know whether there is anything to sync.
    pub(super) written: AtomicU64,
    pub(super) synced: AtomicU64,
}

impl<V: Vfs> Bucket<V> {
    pub(super) const fn new() -> Self {
        Self {
            head: None,
            entries: 0,
            marks: Vec::new(),
            unsynced: Vec::new(),
            sealed: BTreeMap::new(),
            sealed_marks: BTreeMap::new(),
            next_segment: 1,
            new_names: false,
        }
    }

    /// A record starts at `offset` of the head.
    pub(super) fn appended(&mut self, offset: u64, segment_bytes: u64) {
        self.entries = self.entries.saturating_add(1);
        let apart = (segment_bytes / MARKS).max(1);
        if self.marks.last().is_none_or(|last| offset - last >= apart)
            && (self.marks.len() as u64) < 2 * MARKS
        {
            self.marks.push(offset);
        }
    }

    /// The head takes no more appends; those under way go on.
    pub(super) fn seal(&mut self) {
        if let Some(head) = self.head.take() {
            self.sealed.insert(head.number, head.end.load(Ordering::Relaxed));
            self.sealed_marks.insert(head.number, core::mem::take(&mut self.marks).into_boxed_slice());
            self.unsynced.push(head);
        }
        self.marks.clear();
        self.entries = 0;
    }

    /// Forgets a segment that is not the head.
    pub(super) fn forget(&mut self, segment: u32) {
        self.sealed.remove(&segment);
        self.sealed_marks.remove(&segment);
        self.unsynced.retain(|s| s.number != segment);
    }

    /// One of the marks of a sealed segment, by turns.
    pub(super) fn mark(&self, segment: u32, turn: u64) -> Option<u64> {
        let marks = self.sealed_marks.get(&segment).filter(|marks| !marks.is_empty())?;
        marks.get((turn % marks.len() as u64) as usize).copied()
    }
}
