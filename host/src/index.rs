//! The memtable index that options pick at run time, from those that are compiled in.

use std::sync::Arc;

use nokv_core::formats::{EntryRef, KeyRef};
use nokv_core::{Cursor, MemIndex, Result};
#[cfg(feature = "art")]
use nokv_index_art::Art;
#[cfg(feature = "skiplist")]
use nokv_index_skiplist::Skiplist;

/// Which index new memtables get. Only those that are compiled in exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemTableEngine {
    /// An arena skiplist (feature `skiplist`).
    #[cfg(feature = "skiplist")]
    Skiplist,
    /// An adaptive radix tree (feature `art`).
    #[cfg(feature = "art")]
    Art,
    /// No index is compiled in: a database cannot be opened with this.
    None,
}

#[allow(clippy::derivable_impls, reason = "which one it is depends on the features")]
impl Default for MemTableEngine {
    fn default() -> Self {
        // The faster one for points, where both are there.
        #[cfg(feature = "art")]
        return Self::Art;
        #[cfg(all(feature = "skiplist", not(feature = "art")))]
        return Self::Skiplist;
        #[cfg(not(any(feature = "art", feature = "skiplist")))]
        return Self::None;
    }
}

impl std::str::FromStr for MemTableEngine {
    type Err = nokv_core::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            #[cfg(feature = "skiplist")]
            "skiplist" => Ok(Self::Skiplist),
            #[cfg(feature = "art")]
            "art" => Ok(Self::Art),
            _ => Err(nokv_core::Error::InvalidArgument(format!(
                "mem_table_engine {name:?} is not in this build"
            ))),
        }
    }
}

/// One of the compiled-in indexes.
pub enum BuiltinIndex {
    /// An arena skiplist.
    #[cfg(feature = "skiplist")]
    Skiplist(Arc<Skiplist>),
    /// An adaptive radix tree.
    #[cfg(feature = "art")]
    Art(Arc<Art>),
    /// Holds nothing.
    None,
}

macro_rules! each {
    ($type:ident, $self:expr, $x:ident => $e:expr, $none:expr) => {
        match $self {
            #[cfg(feature = "skiplist")]
            $type::Skiplist($x) => $e,
            #[cfg(feature = "art")]
            $type::Art($x) => $e,
            $type::None => $none,
        }
    };
}

/// Entries of one key.
pub enum BuiltinEntries<'a> {
    /// Of a skiplist.
    #[cfg(feature = "skiplist")]
    Skiplist(<Skiplist as MemIndex>::Entries<'a>),
    /// Of a radix tree.
    #[cfg(feature = "art")]
    Art(<Art as MemIndex>::Entries<'a>),
    /// Of nothing.
    None(std::iter::Empty<EntryRef<'a>>),
}

impl<'a> Iterator for BuiltinEntries<'a> {
    type Item = EntryRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<EntryRef<'a>> {
        match self {
            #[cfg(feature = "skiplist")]
            Self::Skiplist(entries) => entries.next(),
            #[cfg(feature = "art")]
            Self::Art(entries) => entries.next(),
            Self::None(entries) => entries.next(),
        }
    }
}

/// A cursor over a [`BuiltinIndex`].
pub enum BuiltinCursor {
    /// Of a skiplist.
    #[cfg(feature = "skiplist")]
    Skiplist(<Skiplist as MemIndex>::Cursor),
    /// Of a radix tree.
    #[cfg(feature = "art")]
    Art(<Art as MemIndex>::Cursor),
    /// Of nothing.
    None,
}

impl MemIndex for BuiltinIndex {
    type Config = MemTableEngine;
    type Entries<'a> = BuiltinEntries<'a>;
    type Cursor = BuiltinCursor;

    fn new(config: &MemTableEngine, bytes: usize) -> Self {
        let _ = bytes;
        match config {
            #[cfg(feature = "skiplist")]
            MemTableEngine::Skiplist => Self::Skiplist(Arc::new(Skiplist::new(&Default::default(), bytes))),
            #[cfg(feature = "art")]
            MemTableEngine::Art => Self::Art(Arc::new(Art::new(&Default::default(), bytes))),
            MemTableEngine::None => Self::None,
        }
    }

    #[inline]
    fn insert(&self, key: KeyRef<'_>, entry: &EntryRef<'_>) {
        let _ = (key, entry);
        each!(Self, self, x => x.insert(key, entry), ());
    }

    #[inline]
    fn entries(&self, key: KeyRef<'_>) -> BuiltinEntries<'_> {
        let _ = key;
        match self {
            #[cfg(feature = "skiplist")]
            Self::Skiplist(x) => BuiltinEntries::Skiplist(x.entries(key)),
            #[cfg(feature = "art")]
            Self::Art(x) => BuiltinEntries::Art(x.entries(key)),
            Self::None => BuiltinEntries::None(std::iter::empty()),
        }
    }

    fn cursor(self: &Arc<Self>) -> BuiltinCursor {
        match &**self {
            #[cfg(feature = "skiplist")]
            Self::Skiplist(x) => BuiltinCursor::Skiplist(x.cursor()),
            #[cfg(feature = "art")]
            Self::Art(x) => BuiltinCursor::Art(x.cursor()),
            Self::None => BuiltinCursor::None,
        }
    }

    fn memory_bytes(&self) -> usize {
        each!(Self, self, x => x.memory_bytes(), 0)
    }

    fn len(&self) -> usize {
        each!(Self, self, x => x.len(), 0)
    }
}

impl Cursor for BuiltinCursor {
    #[inline]
    fn valid(&self) -> bool {
        each!(Self, self, x => x.valid(), false)
    }
    fn seek_first(&mut self) -> Result<()> {
        each!(Self, self, x => x.seek_first(), Ok(()))
    }
    fn seek_last(&mut self) -> Result<()> {
        each!(Self, self, x => x.seek_last(), Ok(()))
    }
    fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        let _ = key;
        each!(Self, self, x => x.seek(key), Ok(()))
    }
    fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        let _ = key;
        each!(Self, self, x => x.seek_for_prev(key), Ok(()))
    }
    #[inline]
    fn next_key(&mut self) -> Result<()> {
        each!(Self, self, x => x.next_key(), Ok(()))
    }
    #[inline]
    fn prev_key(&mut self) -> Result<()> {
        each!(Self, self, x => x.prev_key(), Ok(()))
    }
    #[inline]
    fn key(&self) -> KeyRef<'_> {
        each!(Self, self, x => x.key(), unreachable!("an empty index has no key"))
    }
    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        each!(Self, self, x => x.entry(), None)
    }
    #[inline]
    fn next_entry(&mut self) -> Result<()> {
        each!(Self, self, x => x.next_entry(), Ok(()))
    }
}
