//! Tables: immutable sorted files.
//!
//! Who may call it: flush, compaction and ingest build them ([`TableBuilder`]); reads, compaction and check
//! open them ([`Table`]). The bytes are described in `formats::{block, table, filter, table_props}`.
//!
//! 1. A table never changes once its builder has finished it.
//! 2. [`Table::new`] does no I/O. Index and filter are read and verified on first use, each block's checksum
//!    when it is read; a failed load is not remembered.
//! 3. A read that finds its block in the cache touches no file handle.
//! 4. No lock of this module is held across a sync; a lock is held across reads only while one table's index
//!    is loaded.
//! 5. Filters may leave the memory and be read again (`filters`); indexes stay with their table.

mod block;
mod build;
mod cache;
mod compress;
mod files;
mod filters;
mod iter;
mod lazy;
mod lookups;
mod open;
mod probe;
mod salvage;
mod verify;

#[cfg(test)]
mod tests;

pub use block::Block;
pub use build::{TableBuilder, TableOptions};
pub use cache::{BlockCache, CacheStats, HitCount};
pub use compress::{Compression, is_available};
pub use files::FileCache;
pub use filters::{FilterCache, FilterStats};
pub use iter::{CursorOptions, TableCursor};
pub use lookups::Lookups;
pub use open::Table;
pub(crate) use salvage::{Salvaged, salvage};

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// What the tables of a database share: cache, file handles, counters.
pub struct TableShared {
    pub(crate) cache: BlockCache,
    pub(crate) files: FileCache,
    pub(crate) filters: FilterCache,
    lookups: lookups::LookupCounters,
    pinned_bytes: AtomicUsize,
    next_key: AtomicU64,
}

impl TableShared {
    /// A block cache of `cache_bytes` (0 for none) and at most `max_open_files` cached handles.
    pub fn new(cache_bytes: usize, max_open_files: usize) -> Self {
        Self {
            cache: BlockCache::new(cache_bytes),
            files: FileCache::new(max_open_files),
            filters: FilterCache::new(0),
            lookups: lookups::LookupCounters::default(),
            pinned_bytes: AtomicUsize::new(0),
            next_key: AtomicU64::new(1),
        }
    }

    /// The same with filters bounded to `bytes`; 0 = no bound.
    #[must_use]
    pub fn with_filter_bytes(mut self, bytes: usize) -> Self {
        self.filters = FilterCache::new(bytes);
        self
    }

    /// The filters in memory.
    pub fn filters(&self) -> &FilterCache {
        &self.filters
    }

    /// Look-ups in filters and indexes since the open.
    pub fn lookups(&self) -> Lookups {
        self.lookups.sum()
    }

    /// The block cache.
    pub fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// The open file handles.
    pub fn files(&self) -> &FileCache {
        &self.files
    }

    /// Bytes that indexes and range deletes of loaded tables hold; filters are counted by [`FilterCache::stats`].
    pub fn pinned_bytes(&self) -> usize {
        self.pinned_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn pin(&self, bytes: usize) {
        self.pinned_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn unpin(&self, bytes: usize) {
        self.pinned_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A number for one open table, never given twice: two databases may share a cache, and a table number may
    /// return after a repair.
    pub(crate) fn new_key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }
}
