//! What the Redis front needs of a store: ordered tables, reads, and one write primitive that is atomic over any keys
//! and refuses to write over what changed since it was read.
//!
//! The embedded database is one ([`super::embedded`]); a cluster will be another.

use std::sync::Arc;

use nokv_core::read::point::Value;
use nokv_core::{Error, Result};

use super::changes::Changes;
use crate::db::RedisMetrics;

/// A table of the front: see `nokv_core::formats::redis` for what stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Keys of a space: strings, and heads of collections.
    Keys(u8),
    /// Elements of collections.
    Elements,
    /// Members of sorted sets in the order of their scores.
    Scores,
    /// Keys in the order of their expiry.
    Expiries,
    /// What the front notes for itself.
    System,
}

/// What is stored under a key.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The value.
    pub value: Value,
    /// The entry's byte: the type, for keys.
    pub kind: u8,
    /// When it expires, in Unix milliseconds; 0 = never.
    pub expires_at: u64,
}

/// "Nobody wrote `key` after `since`."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchanged {
    /// Its table.
    pub table: Table,
    /// The key.
    pub key: Vec<u8>,
    /// The seq at which it was read.
    pub since: u64,
}

/// Conditions of a commit.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Of each: table, end of its key in `keys`, seq.
    list: Vec<(Table, usize, u64)>,
    keys: Vec<u8>,
}

impl Conditions {
    /// None.
    pub const NONE: Self = Self { list: Vec::new(), keys: Vec::new() };

    /// Adds that nobody wrote `key` after `since`.
    pub fn push(&mut self, table: Table, key: &[u8], since: u64) {
        self.keys.extend_from_slice(key);
        self.list.push((table, self.keys.len(), since));
    }

    /// Table, key and seq of each.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &[u8], u64)> {
        let mut start = 0;
        self.list.iter().map(move |(table, end, since)| {
            let key = self.keys.get(start..*end).unwrap_or_default();
            start = *end;
            (*table, key, *since)
        })
    }

    /// Forgets all, and keeps its memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.keys.clear();
    }
}

/// Why a commit wrote nothing.
#[derive(Debug, Clone)]
pub enum CommitError {
    /// Something that was read has changed: read again.
    Conflict,
    /// The store cannot, or says why not.
    Store(Error),
}

/// A store of ordered tables.
pub trait Backend: Send + Sync {
    /// The seq up to which reads see writes.
    fn seq(&self) -> u64;

    /// The entry of `key`, also one that expired: whoever reads knows what time it is. See [`Backend::keep_expired_from`].
    ///
    /// # Errors
    /// What the store met.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Stored>>;

    /// When the entry of `key` expires, in Unix milliseconds (0 = never), if there is one. Its value is not looked at.
    ///
    /// # Errors
    /// What the store met.
    fn expiry_of(&self, table: Table, key: &[u8]) -> Result<Option<u64>>;

    /// A cursor over the entries of `lower..upper` (no `upper`: to the end), at one moment, with those that expired. It
    /// stands before the first one, or before the last one if it goes backwards.
    ///
    /// # Errors
    /// What the store met.
    fn scan(
        &self,
        table: Table,
        lower: &[u8],
        upper: Option<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Cursor>>;

    /// Writes all of `changes` or nothing, provided that `unchanged` holds. Gives the seq of the last write. What it
    /// acknowledges survives the death of the process, and power loss after the next [`Backend::sync`].
    ///
    /// # Errors
    /// [`CommitError`].
    fn commit(&self, changes: &Changes, unchanged: &Conditions) -> std::result::Result<u64, CommitError>;

    /// Does `condition` hold?
    ///
    /// # Errors
    /// What the store met.
    fn is_unchanged(&self, condition: &Unchanged) -> Result<bool>;

    /// Makes everything durable that was committed before the call; gives the seq up to which it is.
    ///
    /// # Errors
    /// What the store met; it takes no more writes then.
    fn sync(&self) -> Result<u64>;

    /// Entries that expire at this time or later stay until they are deleted; those that expire before may go at any time
    /// after. All may go that expired before the first call.
    fn keep_expired_from(&self, unix_ms: u64);

    /// Why it takes no writes, if it does not.
    fn failure(&self) -> Option<String>;

    /// What one commit may write; more is [`Error::BatchTooLarge`], and nothing is written.
    fn batch_limit(&self) -> BatchLimit {
        BatchLimit::NONE
    }

    /// Shows the front's counters among the store's statistics.
    fn attach(&self, _metrics: Arc<dyn RedisMetrics>) {}

    /// Bytes of memory and of disk that it takes, as far as it counts them.
    fn space(&self) -> Space {
        Space::default()
    }
}

/// What one commit may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimit {
    /// Bytes of keys and values, and some for each write.
    pub bytes: u64,
    /// Writes.
    pub writes: u64,
}

impl BatchLimit {
    /// Anything.
    pub const NONE: Self = Self { bytes: u64::MAX, writes: u64::MAX };
}

/// What a store takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of files.
    pub disk: Option<u64>,
}

/// Walks entries in key order.
pub trait Cursor: Send {
    /// To the next entry; false at the end.
    ///
    /// # Errors
    /// What the store met.
    fn advance(&mut self) -> Result<bool>;

    /// The key that it stands on; empty before the first step.
    fn key(&self) -> &[u8];

    /// The entry that it stands on.
    ///
    /// # Errors
    /// What the store met.
    fn entry(&self) -> Result<Stored>;

    /// When the entry that it stands on expires, in Unix milliseconds; 0 = never.
    ///
    /// # Errors
    /// What the store met.
    fn expires_at(&self) -> Result<u64> {
        self.entry().map(|entry| entry.expires_at)
    }

    /// Shows the value of the entry that it stands on, without a copy where the store can.
    ///
    /// # Errors
    /// What the store met.
    fn with_value(&self, look: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.entry().map(|entry| look(&entry.value))
    }
}
