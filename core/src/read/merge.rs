//! A merge of cursors over the keys of several sources, newest source first.
//!
//! At a key it names the sources that hold the key, in source order (newest first); the caller reads their
//! entries. It merges keys, not entries: what a reader sees of a key is `resolve`'s business.
//!
//! Invariants
//! 1. `at` holds the sources that stand on the current key, ascending; all others that are valid are in
//!    `heap` and stand behind it in the direction of travel.
//! 2. The heap orders by key in the direction of travel, then by source number.

use alloc::vec::Vec;
use core::cmp::Ordering;

use nokv_formats::{CfId, KeyRef};

use crate::cursor::Cursor;
use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// A heap item: the first bytes of a source's key decide most comparisons.
#[derive(Debug, Clone, Copy)]
struct Slot {
    cf: CfId,
    prefix: u64,
    source: u32,
}

/// The first eight bytes of a key, big-endian, zero-padded: orders as the key does where it differs.
#[inline]
fn prefix_of(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(bytes)
        }
    }
}

/// Memory that a merge works in.
#[derive(Debug, Default)]
pub struct Room {
    heap: Vec<Slot>,
    at: Vec<u32>,
}

impl Room {
    /// Bytes that it holds.
    pub const fn memory_bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Slot>() + self.at.capacity() * size_of::<u32>()
    }
}

/// Merges cursors of one kind.
pub struct MergeCursor<C> {
    sources: Vec<C>,
    heap: Vec<Slot>,
    at: Vec<u32>,
    direction: Direction,
}

impl<C: Cursor> MergeCursor<C> {
    /// Merges `sources`, the newest first. Not yet on a key.
    pub fn new(sources: Vec<C>) -> Self {
        Self { sources, heap: Vec::new(), at: Vec::new(), direction: Direction::Forward }
    }

    /// Works in `room` from now on. Not on a key afterwards.
    pub fn use_room(&mut self, mut room: Room) {
        room.heap.clear();
        room.at.clear();
        (self.heap, self.at) = (room.heap, room.at);
    }

    /// Gives its room away. Not on a key afterwards.
    pub fn take_room(&mut self) -> Room {
        Room { heap: core::mem::take(&mut self.heap), at: core::mem::take(&mut self.at) }
    }

    /// Stands on a key?
    #[inline]
    pub fn valid(&self) -> bool {
        !self.at.is_empty()
    }

    /// The key it stands on. Must be valid.
    #[inline]
    pub fn key(&self) -> KeyRef<'_> {
        self.sources[self.at[0] as usize].key()
    }

    /// How many sources hold the key.
    #[inline]
    pub fn width(&self) -> usize {
        self.at.len()
    }

    /// The i-th newest source that holds the key, and its number.
    #[inline]
    pub fn source(&self, i: usize) -> (usize, &C) {
        let n = self.at[i] as usize;
        (n, &self.sources[n])
    }

    /// The i-th newest source that holds the key, to step over its entries.
    #[inline]
    pub fn source_mut(&mut self, i: usize) -> &mut C {
        &mut self.sources[self.at[i] as usize]
    }

    /// To the first key of all.
    pub fn seek_first(&mut self) -> Result<()> {
        self.seek_all(Direction::Forward, |c| c.seek_first())
    }

    /// To the last key of all.
    pub fn seek_last(&mut self) -> Result<()> {
        self.seek_all(Direction::Backward, |c| c.seek_last())
    }

    /// To the first key at or after `key`.
    pub fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.seek_all(Direction::Forward, |c| c.seek(key))
    }

    /// To the last key at or before `key`.
    pub fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.seek_all(Direction::Backward, |c| c.seek_for_prev(key))
    }

    fn seek_all(&mut self, direction: Direction, mut seek: impl FnMut(&mut C) -> Result<()>) -> Result<()> {
        self.direction = direction;
        self.at.clear();
        self.heap.clear();
        self.at.reserve(self.sources.len());
        self.heap.reserve(self.sources.len());
        for n in 0..self.sources.len() {
            seek(&mut self.sources[n])?;
            self.push(n as u32);
        }
        self.gather();
        Ok(())
    }

    /// To the next key. Must be valid.
    #[inline]
    pub fn next_key(&mut self) -> Result<()> {
        if self.direction == Direction::Backward {
            self.turn(Direction::Forward)?;
        }
        self.step(C::next_key)
    }

    /// To the previous key. Must be valid.
    pub fn prev_key(&mut self) -> Result<()> {
        if self.direction == Direction::Forward {
            self.turn(Direction::Backward)?;
        }
        self.step(C::prev_key)
    }

    /// Moves the sources that stand on the key, and finds the next one.
    #[inline]
    fn step(&mut self, mut step: impl FnMut(&mut C) -> Result<()>) -> Result<()> {
        if let &[n] = &self.at[..] {
            let stepped = step(&mut self.sources[n as usize]);
            if stepped.is_err() {
                self.at.clear();
                return stepped;
            }
            // The common case: the next key is in the same source, and in no other.
            let stays = match (self.slot(n), self.heap.first()) {
                (Some(slot), Some(top)) => self.order(&slot, top) == Ordering::Less,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !stays {
                self.push(n);
                self.gather();
            }
            return Ok(());
        }
        let at = core::mem::take(&mut self.at);
        let mut result = Ok(());
        for &n in &at {
            result = step(&mut self.sources[n as usize]);
            if result.is_err() {
                break;
            }
            self.push(n);
        }
        self.recycle(at);
        result?;
        self.gather();
        Ok(())
    }

    /// After an error: `at` is empty, so the cursor is invalid; the buffer is kept.
    fn recycle(&mut self, mut at: Vec<u32>) {
        at.clear();
        self.at = at;
    }

    /// Moves the sources that are not on the key to the other side of it.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let key = self.key().to_buf();
        self.direction = direction;
        self.heap.clear();
        for n in 0..self.sources.len() as u32 {
            if self.at.contains(&n) {
                continue;
            }
            let source = &mut self.sources[n as usize];
            let moved = match direction {
                Direction::Forward => source.seek(key.as_ref()),
                Direction::Backward => source.seek_for_prev(key.as_ref()),
            };
            if let Err(error) = moved {
                self.at.clear();
                return Err(error);
            }
            self.push(n);
        }
        Ok(())
    }

    /// Takes every source that stands on the first key of the heap.
    #[inline]
    fn gather(&mut self) {
        self.at.clear();
        let Some(first) = self.pop() else { return };
        self.at.push(first.source);
        while let Some(top) = self.heap.first() {
            let same = top.prefix == first.prefix
                && top.cf == first.cf
                && self.sources[top.source as usize].key().user_key
                    == self.sources[first.source as usize].key().user_key;
            if !same {
                break;
            }
            if let Some(top) = self.pop() {
                self.at.push(top.source);
            }
        }
    }

    /// By key, in the direction of travel.
    #[inline]
    fn order(&self, a: &Slot, b: &Slot) -> Ordering {
        let keys = (a.cf, a.prefix).cmp(&(b.cf, b.prefix)).then_with(|| {
            let (x, y) = (&self.sources[a.source as usize], &self.sources[b.source as usize]);
            x.key().user_key.cmp(y.key().user_key)
        });
        if self.direction == Direction::Forward { keys } else { keys.reverse() }
    }

    /// Is `a` to be visited before `b`?
    #[inline]
    fn before(&self, a: &Slot, b: &Slot) -> bool {
        match self.order(a, b) {
            Ordering::Equal => a.source < b.source,
            order => order == Ordering::Less,
        }
    }

    /// The heap item of a source that stands on a key.
    #[inline]
    fn slot(&self, source: u32) -> Option<Slot> {
        let cursor = &self.sources[source as usize];
        cursor.valid().then(|| {
            let key = cursor.key();
            Slot { cf: key.cf, prefix: prefix_of(key.user_key), source }
        })
    }

    #[inline]
    fn push(&mut self, source: u32) {
        let Some(slot) = self.slot(source) else { return };
        self.heap.push(slot);
        let mut child = self.heap.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.before(&self.heap[child], &self.heap[parent]) {
                break;
            }
            self.heap.swap(child, parent);
            child = parent;
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Slot> {
        if self.heap.is_empty() {
            return None;
        }
        let top = self.heap.swap_remove(0);
        let mut parent = 0;
        loop {
            let left = 2 * parent + 1;
            if left >= self.heap.len() {
                break;
            }
            let right = left + 1;
            let mut child = left;
            if right < self.heap.len() && self.before(&self.heap[right], &self.heap[left]) {
                child = right;
            }
            if !self.before(&self.heap[child], &self.heap[parent]) {
                break;
            }
            self.heap.swap(child, parent);
            parent = child;
        }
        Some(top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use nokv_formats::{EntryRef, KeyBuf};
    use proptest::prelude::*;

    /// Keys only.
    struct Keys {
        keys: Vec<KeyBuf>,
        at: Option<usize>,
    }

    impl Cursor for Keys {
        fn valid(&self) -> bool {
            self.at.is_some()
        }
        fn seek_first(&mut self) -> Result<()> {
            self.at = (!self.keys.is_empty()).then_some(0);
            Ok(())
        }
        fn seek_last(&mut self) -> Result<()> {
            self.at = self.keys.len().checked_sub(1);
            Ok(())
        }
        fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
            self.at = self.keys.iter().position(|k| k.as_ref() >= key);
            Ok(())
        }
        fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
            self.at = self.keys.iter().rposition(|k| k.as_ref() <= key);
            Ok(())
        }
        fn next_key(&mut self) -> Result<()> {
            self.at = self.at.map(|i| i + 1).filter(|i| *i < self.keys.len());
            Ok(())
        }
        fn prev_key(&mut self) -> Result<()> {
            self.at = self.at.and_then(|i| i.checked_sub(1));
            Ok(())
        }
        fn key(&self) -> KeyRef<'_> {
            self.keys[self.at.unwrap()].as_ref()
        }
        fn entry(&self) -> Option<EntryRef<'_>> {
            None
        }
        fn next_entry(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        First,
        Last,
        Seek(u8),
        SeekForPrev(u8),
        Next,
        Prev,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec(
            prop_oneof![
                1 => Just(Step::First),
                1 => Just(Step::Last),
                2 => any::<u8>().prop_map(Step::Seek),
                2 => any::<u8>().prop_map(Step::SeekForPrev),
                8 => Just(Step::Next),
                8 => Just(Step::Prev),
            ],
            1..60,
        )
    }

    proptest! {
        #[test]
        fn walks_like_the_union(sets in prop::collection::vec(any::<BTreeSet<u8>>(), 0..5), steps in steps()) {
            let union: Vec<u8> = sets.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
            let mut merge = MergeCursor::new(sets.iter().map(|set| Keys {
                keys: set.iter().map(|k| KeyRef::new(CfId(0), &[*k]).to_buf()).collect(), at: None,
            }).collect());
            let mut model: Option<usize> = None;
            for step in steps {
                match step {
                    Step::First => { merge.seek_first().unwrap(); model = (!union.is_empty()).then_some(0); }
                    Step::Last => { merge.seek_last().unwrap(); model = union.len().checked_sub(1); }
                    Step::Seek(k) => {
                        merge.seek(KeyRef::new(CfId(0), &[k])).unwrap();
                        model = union.iter().position(|u| *u >= k);
                    }
                    Step::SeekForPrev(k) => {
                        merge.seek_for_prev(KeyRef::new(CfId(0), &[k])).unwrap();
                        model = union.iter().rposition(|u| *u <= k);
                    }
                    Step::Next if model.is_some() => {
                        merge.next_key().unwrap();
                        model = model.map(|i| i + 1).filter(|i| *i < union.len());
                    }
                    Step::Prev if model.is_some() => {
                        merge.prev_key().unwrap();
                        model = model.and_then(|i| i.checked_sub(1));
                    }
                    _ => {}
                }
                prop_assert_eq!(merge.valid(), model.is_some());
                if let Some(i) = model {
                    prop_assert_eq!(merge.key().user_key, &[union[i]][..]);
                    let holders: Vec<usize> = (0..merge.width()).map(|i| merge.source(i).0).collect();
                    let want: Vec<usize> = (0..sets.len()).filter(|n| sets[*n].contains(&union[i])).collect();
                    prop_assert_eq!(holders, want);
                }
            }
        }
    }
}
