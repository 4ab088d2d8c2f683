//! The bytes of a file, as pages that are shared until one side changes them.
//!
//! Invariants:
//! 1. A page that is absent reads as zeros.
//! 2. Every byte at or behind `len` is zero, so growing needs no clearing.
//! 3. Cloning copies no page: images of a disk share what they have in common.

use alloc::collections::BTreeMap;
use nokv_core::sync::Arc;

/// Bytes in a page, the unit of sharing and of space.
pub(crate) const PAGE: u64 = 4096;
/// Bytes that a disk writes as a whole.
pub(crate) const SECTOR: u64 = 512;
/// Sectors in a page.
pub(crate) const SECTORS: u64 = PAGE / SECTOR;

/// A page.
pub(crate) type Page = [u8; PAGE as usize];

/// Pages and length.
#[derive(Clone, Default)]
pub(crate) struct Content {
    pages: Arc<BTreeMap<u64, Arc<Page>>>,
    len: u64,
}

impl Content {
    /// Length in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Is `page` there (not a hole)?
    pub(crate) fn has_page(&self, page: u64) -> bool {
        self.pages.contains_key(&page)
    }

    /// The pages that are there, in `start..end`.
    pub(crate) fn pages(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Arc<Page>)> {
        self.pages.range(start..end.max(start)).map(|(&n, page)| (n, page))
    }

    /// Copies bytes at `offset` into `buf`, holes as zeros, without regard to the length.
    pub(crate) fn copy_out(&self, buf: &mut [u8], offset: u64) {
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let start = (at % PAGE) as usize;
            let n = rest.len().min(PAGE as usize - start);
            let (head, tail) = rest.split_at_mut(n);
            match self.pages.get(&(at / PAGE)) {
                Some(page) => head.copy_from_slice(&page[start..start + n]),
                None => head.fill(0),
            }
            rest = tail;
            at += n as u64;
        }
    }

    /// Reads up to the end; how many bytes that was.
    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let left = self.len.saturating_sub(offset);
        let n = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.copy_out(&mut buf[..n], offset);
        n
    }

    /// Copies `bytes` to `offset`, without regard to the length.
    pub(crate) fn copy_in(&mut self, bytes: &[u8], offset: u64) {
        let pages = Arc::make_mut(&mut self.pages);
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = (at % PAGE) as usize;
            let n = rest.len().min(PAGE as usize - start);
            let (head, tail) = rest.split_at(n);
            let page = pages.entry(at / PAGE).or_insert_with(|| Arc::new([0; PAGE as usize]));
            Arc::make_mut(page)[start..start + n].copy_from_slice(head);
            rest = tail;
            at += n as u64;
        }
    }

    /// Zeroes `start..end` where there are pages; none is made.
    pub(crate) fn zero(&mut self, start: u64, end: u64) {
        let first = start / PAGE;
        if start >= end || self.pages(first, end.div_ceil(PAGE)).next().is_none() {
            return;
        }
        for (&n, page) in Arc::make_mut(&mut self.pages).range_mut(first..end.div_ceil(PAGE)) {
            let base = n * PAGE;
            let from = start.max(base) - base;
            let to = end.min(base + PAGE) - base;
            Arc::make_mut(page)[from as usize..to as usize].fill(0);
        }
    }

    /// Sets the length; what is cut off is gone.
    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let keep = len.div_ceil(PAGE);
            if self.pages(keep, u64::MAX).next().is_some() {
                Arc::make_mut(&mut self.pages).split_off(&keep);
            }
            self.zero(len, keep * PAGE);
        }
        self.len = len;
    }

    /// Sets the length of bytes that were put together from parts: zeros whatever lies behind it.
    pub(crate) fn settle(&mut self, len: u64) {
        self.len = u64::MAX;
        self.set_len(len);
    }

    /// Takes `page` of `other`, shared.
    pub(crate) fn share_page(&mut self, other: &Self, page: u64) {
        let pages = Arc::make_mut(&mut self.pages);
        match other.pages.get(&page) {
            Some(found) => drop(pages.insert(page, Arc::clone(found))),
            None => drop(pages.remove(&page)),
        }
    }

    /// Takes one sector of `other`.
    pub(crate) fn copy_sector(&mut self, other: &Self, sector: u64) {
        let mut buf = [0; SECTOR as usize];
        other.copy_out(&mut buf, sector * SECTOR);
        if self.has_page(sector / SECTORS) || buf.iter().any(|b| *b != 0) {
            self.copy_in(&buf, sector * SECTOR);
        }
    }
}
