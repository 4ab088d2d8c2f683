//! Point lookup.

use alloc::sync::Arc;
use core::ops::ControlFlow;

use nokv_formats::block::HEADER_BYTES;
use nokv_formats::{EntryRef, KeyRef};

use super::block::Block;
use super::lookups::Lookups;
use super::open::Table;
use crate::error::Result;
use crate::vfs::Vfs;

impl<V: Vfs> Table<V> {
    /// Adds up what a read counted in tables that share what this one does.
    #[inline]
    pub(crate) fn count_lookups(&self, counts: &Lookups) {
        self.shared.lookups.add(counts);
    }

    /// Shows `visit` the entries of exactly `key`, newest first, until it breaks, each with the block that it
    /// lies in: a caller that keeps the block and [`Block::range_of`] the value has the value without a copy.
    /// `key_hash` is `formats::key::key_hash` of the key. The filter is asked here; there is no need to call
    /// [`Table::may_contain`] before.
    ///
    /// # Errors
    /// `Corrupt`, `Unsupported` (a codec that is not compiled in), `Io`.
    pub fn find(
        &self,
        key: KeyRef<'_>,
        key_hash: u64,
        visit: &mut dyn FnMut(EntryRef<'_>, &Arc<Block>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut counts = Lookups::default();
        let found = self.find_counted(key, key_hash, &mut counts, visit);
        self.count_lookups(&counts);
        found
    }

    /// As [`Table::find`], for a caller that asks several tables; it passes the sum to [`Table::count_lookups`].
    #[inline]
    pub(crate) fn find_counted(
        &self,
        key: KeyRef<'_>,
        key_hash: u64,
        counts: &mut Lookups,
        visit: &mut dyn FnMut(EntryRef<'_>, &Arc<Block>) -> ControlFlow<()>,
    ) -> Result<()> {
        let loaded = self.loaded()?;
        if !self.filter_allows(loaded, key_hash, counts)? {
            return Ok(());
        }
        counts.indexes += 1;
        let mut i = loaded.index.find(key);
        if i >= loaded.index.blocks() {
            return Ok(());
        }
        let mut block = self.block(loaded, i)?;
        let damaged = |i, m| match self.block_place(loaded, i) {
            Ok((offset, _)) => self.place(offset).malformed(m),
            Err(e) => e,
        };
        let found = block.view().find(key, key_hash).map_err(|m| damaged(i, m))?;
        let Some(mut entry) = found else { return Ok(()) };
        loop {
            if visit(self.stamped(block.view().view(&entry)), &block).is_break() {
                return Ok(());
            }
            let mut at = entry.next();
            if at == block.layout().entries_end() {
                // More versions of the key may stand in the next block.
                i += 1;
                if !loaded.index.continues(i) {
                    return Ok(());
                }
                block = self.block(loaded, i)?;
                at = HEADER_BYTES;
            } else if !block.view().is_older(at) {
                return Ok(());
            }
            entry = block.view().entry(at).map_err(|m| damaged(i, m))?;
        }
    }
}
