//! Iterators of the handle.

use nokv_core::engine::{Engine, InternalScan, Pin, PinOwner, SAMPLED_ONE_IN};
use nokv_core::formats::{CfId, EntryRef, KeyRef, Kind, Seq, Version};
use nokv_core::read::point::Value;
use nokv_core::read::scan::Scan;
use nokv_core::{MemIndex, Result, Vfs};
use std::sync::Arc;

use super::Entry;

/// What an iterator covers and shows.
///
/// ```
/// let options = nokv::IterOptions { prefix: Some(b"user/".to_vec()), ..Default::default() };
/// ```
#[derive(Debug, Clone, Default)]
pub struct IterOptions {
    /// Column family.
    pub cf: CfId,
    /// Only keys that start with this.
    pub prefix: Option<Vec<u8>>,
    /// First key (included).
    pub lower: Option<Vec<u8>>,
    /// Last bound (not included).
    pub upper: Option<Vec<u8>>,
    /// Shows no values: [`Iter::value`] is empty, and nothing is read from the value log.
    pub key_only: bool,
    /// Goes from the last key to the first: `for` loops and [`Iter::rewind`] start at the end.
    pub reverse: bool,
    /// Leaves the block cache as it is: for scans of everything.
    pub no_cache: bool,
}

/// An iterator over keys and their visible values, at one moment for its whole life.
///
/// Use it as a Rust iterator (in the direction of [`IterOptions::reverse`]), or as a cursor: `seek`, `next_entry`,
/// `prev_entry`, `valid`, `key`, `value`.
pub struct Iter<V: Vfs, I: MemIndex> {
    engine: Arc<Engine<V, I>>,
    scan: Scan<V, I>,
    key_only: bool,
    reverse: bool,
    /// The Rust iterator has not yet been started.
    fresh: bool,
    /// Steps so far: one of so many is timed.
    steps: u64,
    _pin: Pin<V, I>,
}

impl<V: Vfs, I: MemIndex> Drop for Iter<V, I> {
    fn drop(&mut self) {
        self.engine.recycle(&mut self.scan);
    }
}

impl<V: Vfs, I: MemIndex> Iter<V, I> {
    pub(crate) fn new(engine: Arc<Engine<V, I>>, scan: Scan<V, I>, key_only: bool, reverse: bool) -> Self {
        let pin = engine.pin_view(PinOwner::Iterator, scan.view().clone(), scan.seq());
        Self { engine, scan, key_only, reverse, fresh: true, steps: 0, _pin: pin }
    }

    /// See [`Scan::see_expired`].
    #[cfg(feature = "redis")]
    pub(crate) fn with_expired(mut self) -> Self {
        self.scan.see_expired();
        self
    }

    /// When the entry that it stands on expires, in Unix milliseconds; 0 = never.
    #[cfg(feature = "redis")]
    pub(crate) fn expires_at(&self) -> u64 {
        self.scan.entry().map_or(0, |entry| entry.expires_at)
    }

    #[inline]
    fn step(&mut self, step: fn(&mut Scan<V, I>) -> Result<()>) -> Result<()> {
        let is_timed = self.steps.is_multiple_of(SAMPLED_ONE_IN);
        self.steps = self.steps.wrapping_add(1);
        if !is_timed {
            return step(&mut self.scan);
        }
        let started = self.engine.monotonic_ns();
        let result = step(&mut self.scan);
        self.engine.note_scan_step_time(self.engine.monotonic_ns().saturating_sub(started));
        result
    }

    /// To the first key, or to the last one of a reverse iterator.
    ///
    /// # Errors
    /// Damage of what had to be read.
    pub fn rewind(&mut self) -> Result<()> {
        self.fresh = false;
        if self.reverse { self.scan.seek_last() } else { self.scan.seek_first() }
    }

    /// To the first key at or after `key`; for a reverse iterator, the last one at or before it.
    ///
    /// # Errors
    /// Damage of what had to be read.
    pub fn seek(&mut self, key: &[u8], cf: CfId) -> Result<()> {
        self.fresh = false;
        let key = KeyRef::new(cf, key);
        if self.reverse { self.scan.seek_for_prev(key) } else { self.scan.seek(key) }
    }

    /// Stands on a key?
    pub const fn valid(&self) -> bool {
        self.scan.valid()
    }

    /// To the next key in key order, whatever the direction of the iterator.
    ///
    /// # Errors
    /// Damage of what had to be read.
    pub fn next_entry(&mut self) -> Result<()> {
        self.step(Scan::next)
    }

    /// To the previous key in key order.
    ///
    /// # Errors
    /// Damage of what had to be read.
    pub fn prev_entry(&mut self) -> Result<()> {
        self.step(Scan::prev)
    }

    /// The key it stands on.
    pub fn key(&self) -> Option<&[u8]> {
        self.scan.key().map(|key| key.user_key)
    }

    /// The value it stands on; empty with `key_only`.
    ///
    /// # Errors
    /// Damage of the value log.
    pub fn value(&self) -> Result<Option<Value>> {
        let (Some(key), Some(entry)) = (self.scan.key(), self.scan.entry()) else { return Ok(None) };
        if self.key_only {
            return Ok(Some(Value::owned(Vec::new())));
        }
        self.engine.value_of(key, &entry).map(Some)
    }

    /// Shows the value to `look`, without a copy unless it is in the value log; false if it stands on nothing.
    ///
    /// # Errors
    /// As [`Iter::value`].
    pub fn with_value(&self, look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match self.scan.entry() {
            Some(entry) if !self.key_only && entry.kind == nokv_core::formats::Kind::Put => look(entry.value),
            Some(_) => self.value()?.iter().for_each(|value| look(value)),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Everything about the entry it stands on.
    ///
    /// # Errors
    /// Damage of the value log.
    pub fn entry(&self) -> Result<Option<Entry>> {
        let Some(value) = self.value()? else { return Ok(None) };
        Ok(self.scan.entry().map(|e| Entry {
            value,
            version: e.version,
            meta: e.meta,
            expires_at: super::expiry_of(e.expires_at),
            seq: e.seq,
        }))
    }

    /// The seq it reads at.
    pub const fn seq(&self) -> Seq {
        self.scan.seq()
    }
}

impl<V: Vfs, I: MemIndex> Iterator for Iter<V, I> {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        let moved = match (self.fresh, self.reverse) {
            (true, _) => self.rewind(),
            (false, false) => self.step(Scan::next),
            (false, true) => self.step(Scan::prev),
        };
        if let Err(error) = moved {
            return Some(Err(error));
        }
        let key = self.key()?.to_vec();
        match self.value() {
            Ok(value) => value.map(|value| Ok((key, value))),
            Err(error) => Some(Err(error)),
        }
    }
}

/// One stored entry, as [`InternalIter`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalEntry {
    /// The internal key: see [`split_internal_key`].
    pub key: Vec<u8>,
    /// What the entry does.
    pub kind: Kind,
    /// The caller's byte.
    pub meta: u8,
    /// Unix milliseconds, 0 = never.
    pub expires_at: u64,
    /// The value, or the encoded pointer of [`Kind::Pointer`].
    pub value: Vec<u8>,
}

/// An iterator over every stored entry of every family, hidden ones and deletes included, in comparator order.
pub struct InternalIter<V: Vfs, I: MemIndex> {
    scan: InternalScan<V, I>,
    fresh: bool,
    _pin: Pin<V, I>,
}

impl<V: Vfs, I: MemIndex> InternalIter<V, I> {
    pub(crate) fn new(engine: &Arc<Engine<V, I>>, scan: InternalScan<V, I>) -> Self {
        let pin = engine.pin_view(PinOwner::InternalIterator, scan.view().clone(), scan.seq());
        Self { scan, fresh: true, _pin: pin }
    }
}

impl<V: Vfs, I: MemIndex> Iterator for InternalIter<V, I> {
    type Item = Result<InternalEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let moved = if std::mem::take(&mut self.fresh) { self.scan.seek_first() } else { self.scan.next() };
        if let Err(error) = moved {
            return Some(Err(error));
        }
        let (key, entry) = self.scan.entry()?;
        Some(Ok(InternalEntry {
            key: internal_key(key, &entry),
            kind: entry.kind,
            meta: entry.meta,
            expires_at: entry.expires_at,
            value: entry.value.to_vec(),
        }))
    }
}

/// The parts of an internal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalKey<'a> {
    /// Column family.
    pub cf: CfId,
    /// The user's key.
    pub user_key: &'a [u8],
    /// MVCC version; `MAX` for plain entries.
    pub version: Version,
    /// Commit order.
    pub seq: Seq,
}

/// `cf u32, user key, version u64, seq u64`, big-endian. For display and tools; nothing on disk has this form.
fn internal_key(key: KeyRef<'_>, entry: &EntryRef<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.user_key.len() + 20);
    bytes.extend_from_slice(&key.cf.0.to_be_bytes());
    bytes.extend_from_slice(key.user_key);
    bytes.extend_from_slice(&entry.version.0.to_be_bytes());
    bytes.extend_from_slice(&entry.seq.0.to_be_bytes());
    bytes
}

/// Takes an internal key apart; `None` if it is too short to be one.
pub fn split_internal_key(key: &[u8]) -> Option<InternalKey<'_>> {
    let (cf, rest) = key.split_first_chunk::<4>()?;
    let (rest, seq) = rest.split_last_chunk::<8>()?;
    let (user_key, version) = rest.split_last_chunk::<8>()?;
    Some(InternalKey {
        cf: CfId(u32::from_be_bytes(*cf)),
        user_key,
        version: Version(u64::from_be_bytes(*version)),
        seq: Seq(u64::from_be_bytes(*seq)),
    })
}
