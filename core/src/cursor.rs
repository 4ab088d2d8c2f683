//! A cursor over the keys of one source, and over the entries of the key it stands on.

use nokv_formats::{EntryRef, KeyRef};

use crate::error::Result;

/// A position in a sorted source: a memtable index, a table, a level, a merge of those.
///
/// It moves over *keys*, both ways; at a key it shows that key's entries newest first (version descending,
/// then seq descending), forward only. Each move to a key leaves it on that key's first entry. Moving past
/// either end makes it invalid; only a seek makes it valid again. After an error it is invalid.
///
/// It owns what it reads (an `Arc` of its source), so it has no lifetime.
pub trait Cursor {
    /// Stands on a key?
    fn valid(&self) -> bool;

    /// To the first key.
    fn seek_first(&mut self) -> Result<()>;

    /// To the last key.
    fn seek_last(&mut self) -> Result<()>;

    /// To the first key at or after `key`.
    fn seek(&mut self, key: KeyRef<'_>) -> Result<()>;

    /// To the last key at or before `key`.
    fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()>;

    /// To the next key, however many entries of this one are left. Must be valid.
    fn next_key(&mut self) -> Result<()>;

    /// To the previous key. Must be valid.
    fn prev_key(&mut self) -> Result<()>;

    /// The key it stands on. Must be valid.
    fn key(&self) -> KeyRef<'_>;

    /// The entry it stands on; `None` after the key's last entry. Must be valid.
    fn entry(&self) -> Option<EntryRef<'_>>;

    /// To the next older entry of this key. Must be valid and on an entry.
    fn next_entry(&mut self) -> Result<()>;
}
