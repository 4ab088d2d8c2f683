//! The seam for memtable indexes.

use alloc::sync::Arc;

use nokv_formats::{EntryRef, KeyRef};

use crate::cursor::Cursor;

/// A sorted, concurrent, insert-only map from key to its entries.
///
/// Any number of threads insert and read at once. An entry is visible to a read that starts after its
/// `insert` returned; a read that runs beside it sees all of it or nothing. Nothing is ever removed: memory
/// goes when the last owner of the index and of its cursors goes. Range deletes never come here.
pub trait MemIndex: Send + Sync + Sized + 'static {
    /// What a new index is told.
    type Config: Clone + Send + Sync + 'static;

    /// Entries of one key, newest first (version descending, then seq descending).
    type Entries<'a>: Iterator<Item = EntryRef<'a>>
    where
        Self: 'a;

    /// A cursor over the whole index; sees at least what was inserted before it moved.
    type Cursor: Cursor + Send + 'static;

    /// An empty index that will hold about `bytes` of keys and values.
    fn new(config: &Self::Config, bytes: usize) -> Self;

    /// Adds an entry. No two entries of a key have the same version and seq.
    fn insert(&self, key: KeyRef<'_>, entry: &EntryRef<'_>);

    /// The entries of `key`.
    fn entries(&self, key: KeyRef<'_>) -> Self::Entries<'_>;

    /// A cursor that is not yet on a key.
    fn cursor(self: &Arc<Self>) -> Self::Cursor;

    /// Bytes of memory that the index holds, allocated but unused ones included.
    fn memory_bytes(&self) -> usize;

    /// How many entries it holds.
    fn len(&self) -> usize;

    /// True when it holds none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
