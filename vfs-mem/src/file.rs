//! One file of the simulated disk: what the process sees, what is durable, and what lies between.
//!
//! Invariants:
//! 1. `durable` with all patches of all pending sectors and the last of `lens` is `current`.
//! 2. A sector without an entry in `pending` is the same in `durable` and `current`.
//! 3. A lost sector was marked clean by a failed sync: later syncs pass it by, until it is written again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use nokv_core::sync::Arc;

use crate::content::{Content, PAGE, SECTOR, SECTORS};
use crate::ranges::Ranges;

/// One change of a part of one sector.
#[derive(Clone)]
pub(crate) enum Patch {
    /// `len` bytes of `src` from `at`.
    Bytes { start: u16, len: u16, src: Arc<[u8]>, at: usize },
    /// Zeros, from a cut.
    Zero { start: u16, end: u16 },
}

impl Patch {
    /// Applies it to `sector` of `content`.
    pub(crate) fn apply(&self, content: &mut Content, sector: u64) {
        let base = sector * SECTOR;
        match self {
            Self::Bytes { start, len, src, at } => {
                content.copy_in(&src[*at..*at + usize::from(*len)], base + u64::from(*start));
            }
            Self::Zero { start, end } => content.zero(base + u64::from(*start), base + u64::from(*end)),
        }
    }
}

/// The unsynced history of one sector, oldest first.
#[derive(Clone, Default)]
pub(crate) struct Sector {
    pub(crate) patches: Vec<Patch>,
    pub(crate) lost: bool,
}

/// A file.
#[derive(Clone, Default)]
pub(crate) struct FileNode {
    pub(crate) current: Content,
    pub(crate) durable: Content,
    pub(crate) pending: BTreeMap<u64, Sector>,
    /// Lengths since the last sync, oldest first, without the durable one.
    pub(crate) lens: Vec<u64>,
    lens_lost: bool,
    /// Pages that `allocate` reserved, and those of them that are durable.
    pub(crate) reserved: Ranges,
    pub(crate) durable_reserved: Ranges,
    /// Pages that count against the capacity.
    pub(crate) charged: u64,
    /// Names that the process sees.
    pub(crate) links: u32,
    /// Open handles.
    pub(crate) open: u32,
}

impl FileNode {
    /// A new, empty file with one name.
    pub(crate) fn fresh() -> Self {
        Self { links: 1, ..Self::default() }
    }

    /// A file as it is after a start of the machine.
    pub(crate) fn at_rest(content: Content, reserved: Ranges) -> Self {
        let mut file = Self {
            current: content.clone(),
            durable: content,
            durable_reserved: reserved.clone(),
            reserved,
            ..Self::default()
        };
        file.charged = file.count_pages();
        file
    }

    /// Is anything unsynced?
    pub(crate) fn is_dirty(&self) -> bool {
        !self.pending.is_empty() || !self.lens.is_empty()
    }

    /// Pages with blocks: written or reserved.
    fn count_pages(&self) -> u64 {
        self.reserved.covered(0, u64::MAX)
            + self.current.pages(0, u64::MAX).filter(|(n, _)| !self.reserved.contains(*n)).count() as u64
    }

    /// Pages that bytes at `start..end` would newly take.
    pub(crate) fn pages_needed(&self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let (first, last) = (start / PAGE, end.div_ceil(PAGE));
        let written =
            self.current.pages(first, last).filter(|(n, _)| !self.reserved.contains(*n)).count() as u64;
        last - first - self.reserved.covered(first, last) - written
    }

    /// Has every byte below `len` a block?
    pub(crate) fn is_allocated(&self, len: u64) -> bool {
        self.pages_needed(0, len) == 0
    }

    /// Writes; the file grows as needed.
    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        self.charged += self.pages_needed(offset, end);
        let src: Arc<[u8]> = bytes.into();
        let mut at = 0;
        while at < bytes.len() {
            let place = offset + at as u64;
            let start = place % SECTOR;
            let len = ((SECTOR - start) as usize).min(bytes.len() - at);
            let patch = Patch::Bytes { start: start as u16, len: len as u16, src: Arc::clone(&src), at };
            self.push(place / SECTOR, patch);
            at += len;
        }
        self.current.copy_in(bytes, offset);
        if end > self.durable.len() {
            // Bytes that are written behind the durable end bring the length along.
            self.lens_lost = false;
        }
        if end > self.current.len() {
            self.note_len(end);
        }
    }

    fn push(&mut self, sector: u64, patch: Patch) {
        let history = self.pending.entry(sector).or_default();
        history.patches.push(patch);
        history.lost = false;
    }

    fn note_len(&mut self, len: u64) {
        if len != self.current.len() {
            self.current.set_len(len);
            self.lens.push(len);
            self.lens_lost = false;
        }
    }

    /// Sets the length.
    pub(crate) fn set_len(&mut self, len: u64) {
        let old = self.current.len();
        if len < old {
            let pages: Vec<u64> =
                self.current.pages(len / PAGE, old.div_ceil(PAGE)).map(|(n, _)| n).collect();
            for sector in pages.into_iter().flat_map(|n| n * SECTORS..(n + 1) * SECTORS) {
                let base = sector * SECTOR;
                if base + SECTOR > len && base < old {
                    let start = len.saturating_sub(base) as u16;
                    self.push(sector, Patch::Zero { start, end: SECTOR as u16 });
                }
            }
        }
        self.note_len(len);
        if len < old {
            self.reserved.clip(len.div_ceil(PAGE));
            self.charged = self.count_pages();
        }
    }

    /// Reserves blocks and grows the length over them.
    pub(crate) fn allocate(&mut self, start: u64, end: u64) {
        self.charged += self.pages_needed(start, end);
        self.reserved.insert(start / PAGE, end.div_ceil(PAGE));
        self.note_len(end.max(self.current.len()));
    }

    /// Makes `start..end` (whole sectors) and the length durable.
    pub(crate) fn persist(&mut self, start: u64, end: u64) {
        let (first, last) = (start / SECTOR, end.div_ceil(SECTOR));
        let wanted: Vec<u64> =
            self.pending.range(first..last).filter(|(_, s)| !s.lost).map(|(n, _)| *n).collect();
        let mut rest = wanted.as_slice();
        while let Some(&sector) = rest.first() {
            let page = sector / SECTORS;
            let count = rest.iter().take_while(|n| **n / SECTORS == page).count();
            let pending = self.pending.range(page * SECTORS..(page + 1) * SECTORS).count();
            if count == pending {
                self.durable.share_page(&self.current, page);
            }
            for n in &rest[..count] {
                if count != pending {
                    self.durable.copy_sector(&self.current, *n);
                }
                self.pending.remove(n);
            }
            rest = &rest[count..];
        }
        if !self.lens_lost {
            self.persist_len();
        }
        self.durable_reserved = self.reserved.clone();
    }

    fn persist_len(&mut self) {
        let len = self.current.len();
        self.durable.set_len(len);
        self.lens.clear();
        // Behind the end both sides are zeros now: what was there before a cut cannot come back.
        self.pending.split_off(&len.div_ceil(SECTOR));
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) {
        self.persist(0, u64::MAX);
    }

    /// A failed sync marked everything clean: nobody will write it, everybody still reads it.
    pub(crate) fn lose(&mut self, start: u64, end: u64) {
        for (_, sector) in self.pending.range_mut(start / SECTOR..end.div_ceil(SECTOR)) {
            sector.lost = true;
        }
        self.lens_lost = !self.lens.is_empty();
    }

    /// A failed sync threw unsynced pages away; length and blocks stay.
    pub(crate) fn revert(&mut self, start: u64, end: u64) {
        let range = start / SECTOR..end.div_ceil(SECTOR);
        let sectors: Vec<u64> = self.pending.range(range).map(|(n, _)| *n).collect();
        for n in &sectors {
            self.current.copy_sector(&self.durable, *n);
            self.pending.remove(n);
        }
        self.current.settle(self.current.len());
        self.charged = self.count_pages();
    }
}
