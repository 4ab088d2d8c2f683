//! A memtable index out of the standard library: a `BTreeMap` behind a lock, in safe code.
//!
//! Any number of threads may insert and read.
//! 1. An entry is in the slots before its number is in the map, and stays where it is: a reader needs the lock only
//!    to learn numbers.
//! 2. A cursor keeps a copy of its key and of its key's numbers, so it holds no lock between moves.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use nokv_core::formats::{EntryRef, KeyBuf, KeyRef, Kind, Seq, Version};
use nokv_core::{Cursor, MemIndex, Result};

struct Stored {
    version: Version,
    seq: Seq,
    kind: Kind,
    meta: u8,
    expires_at: u64,
    value: Box<[u8]>,
}

impl Stored {
    fn entry(&self) -> EntryRef<'_> {
        let Self { version, seq, kind, meta, expires_at, .. } = *self;
        EntryRef { version, seq, kind, meta, expires_at, value: &self.value }
    }
}

/// Slots that never move: chunk n holds 2^n of them.
struct Slots {
    chunks: [OnceLock<Box<[OnceLock<Stored>]>>; 32],
    taken: AtomicUsize,
}

impl Slots {
    fn slot(&self, number: usize) -> &OnceLock<Stored> {
        let at = number + 1;
        let chunk = at.ilog2();
        let slots =
            self.chunks[chunk as usize].get_or_init(|| (0..1 << chunk).map(|_| OnceLock::new()).collect());
        &slots[at - (1 << chunk)]
    }

    fn add(&self, stored: Stored) -> usize {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        assert!(self.slot(number).set(stored).is_ok(), "a number is taken once");
        number
    }

    fn get(&self, number: usize) -> &Stored {
        self.slot(number).get().expect("it was set before its number was told")
    }
}

/// Numbers of a key's entries, newest first.
type Numbers = BTreeMap<Reverse<(Version, Seq)>, usize>;

/// See the module.
pub struct TreeIndex {
    keys: RwLock<BTreeMap<KeyBuf, Numbers>>,
    slots: Slots,
    bytes: AtomicUsize,
}

impl TreeIndex {
    fn keys(&self) -> RwLockReadGuard<'_, BTreeMap<KeyBuf, Numbers>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entries of a key.
pub struct TreeEntries<'a> {
    slots: &'a Slots,
    numbers: std::vec::IntoIter<usize>,
}

impl<'a> Iterator for TreeEntries<'a> {
    type Item = EntryRef<'a>;

    fn next(&mut self) -> Option<EntryRef<'a>> {
        self.numbers.next().map(|number| self.slots.get(number).entry())
    }
}

impl MemIndex for TreeIndex {
    type Config = ();
    type Entries<'a> = TreeEntries<'a>;
    type Cursor = TreeCursor;

    fn new((): &(), _bytes: usize) -> Self {
        let slots = Slots { chunks: [const { OnceLock::new() }; 32], taken: AtomicUsize::new(0) };
        Self { keys: RwLock::default(), slots, bytes: AtomicUsize::new(0) }
    }

    fn insert(&self, key: KeyRef<'_>, entry: &EntryRef<'_>) {
        let EntryRef { version, seq, kind, meta, expires_at, value } = *entry;
        let number = self.slots.add(Stored { version, seq, kind, meta, expires_at, value: value.into() });
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.entry(key.to_buf()).or_default().insert(Reverse((version, seq)), number);
        self.bytes.fetch_add(key.user_key.len() + value.len() + 128, Ordering::Relaxed);
    }

    fn entries(&self, key: KeyRef<'_>) -> TreeEntries<'_> {
        let numbers =
            self.keys().get(&key.to_buf()).map(|n| n.values().copied().collect()).unwrap_or_default();
        let numbers: Vec<usize> = numbers;
        TreeEntries { slots: &self.slots, numbers: numbers.into_iter() }
    }

    fn cursor(self: &Arc<Self>) -> TreeCursor {
        TreeCursor { index: self.clone(), at: None }
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.load(Ordering::Relaxed)
    }

    fn len(&self) -> usize {
        self.slots.taken.load(Ordering::Relaxed)
    }
}

struct Position {
    key: KeyBuf,
    numbers: Vec<usize>,
    next: usize,
}

/// A cursor over the whole index.
pub struct TreeCursor {
    index: Arc<TreeIndex>,
    at: Option<Position>,
}

impl TreeCursor {
    fn go(&mut self, lower: Bound<KeyBuf>, upper: Bound<KeyBuf>, last: bool) {
        let keys = self.index.keys();
        let mut range = keys.range((lower, upper));
        let found = if last { range.next_back() } else { range.next() };
        let at = found.map(|(key, numbers)| Position {
            key: key.clone(),
            numbers: numbers.values().copied().collect(),
            next: 0,
        });
        drop(keys);
        self.at = at;
    }

    fn position(&self) -> &Position {
        self.at.as_ref().expect("the cursor stands on a key")
    }
}

impl Cursor for TreeCursor {
    fn valid(&self) -> bool {
        self.at.is_some()
    }

    fn seek_first(&mut self) -> Result<()> {
        self.go(Bound::Unbounded, Bound::Unbounded, false);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.go(Bound::Unbounded, Bound::Unbounded, true);
        Ok(())
    }

    fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.go(Bound::Included(key.to_buf()), Bound::Unbounded, false);
        Ok(())
    }

    fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.go(Bound::Unbounded, Bound::Included(key.to_buf()), true);
        Ok(())
    }

    fn next_key(&mut self) -> Result<()> {
        let key = self.position().key.clone();
        self.go(Bound::Excluded(key), Bound::Unbounded, false);
        Ok(())
    }

    fn prev_key(&mut self) -> Result<()> {
        let key = self.position().key.clone();
        self.go(Bound::Unbounded, Bound::Excluded(key), true);
        Ok(())
    }

    fn key(&self) -> KeyRef<'_> {
        self.position().key.as_ref()
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        let at = self.position();
        at.numbers.get(at.next).map(|number| self.index.slots.get(*number).entry())
    }

    fn next_entry(&mut self) -> Result<()> {
        self.at.as_mut().expect("the cursor stands on a key").next += 1;
        Ok(())
    }
}
