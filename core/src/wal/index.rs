//! Where the record of a log index is: a map from index to position for many threads, made for indexes that lie
//! close together.
//!
//! Who may call it: anyone. [`Log`](super::Log) keeps one of its own records. Invariants
//! 1. A page holds the 64 indexes with the same upper 58 bits; pages are spread over shards by number. An entry costs
//!    12 bytes, a page with one entry 800.
//! 2. No page is empty, so removing a range takes time for the pages that are there, never for the numbers in it.
//! 3. A call that looks at all shards sees each as it is at that moment, not all at one moment.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use nokv_formats::walfs::Position;

use crate::sync::{AtomicU64, Ordering, RwLock};

const SHARDS: usize = 16;
const PAGE_ENTRIES: u64 = 64;

#[derive(Clone)]
struct Page {
    /// Bit i: is there an entry for the page's i-th index?
    used: u64,
    segments: [u32; PAGE_ENTRIES as usize],
    offsets: [u64; PAGE_ENTRIES as usize],
}

const _: () = assert!(PAGE_ENTRIES == u64::BITS as u64);

type Shard = BTreeMap<u64, Box<Page>>;

/// See the module.
///
/// ```
/// use nokv_core::wal::{Position, ShardedIndex};
/// let index = ShardedIndex::new();
/// index.set(7, Position { segment: 1, offset: 64 });
/// assert_eq!(index.get(7), Some(Position { segment: 1, offset: 64 }));
/// assert_eq!(index.delete_range(0, u64::MAX), 1);
/// ```
#[derive(Default)]
pub struct ShardedIndex {
    shards: [RwLock<Shard>; SHARDS],
    len: AtomicU64,
}

const fn page_of(index: u64) -> u64 {
    index / PAGE_ENTRIES
}

const fn place_in(index: u64) -> usize {
    (index % PAGE_ENTRIES) as usize
}

impl Page {
    const EMPTY: Self =
        Self { used: 0, segments: [0; PAGE_ENTRIES as usize], offsets: [0; PAGE_ENTRIES as usize] };

    fn get(&self, place: usize) -> Option<Position> {
        if self.used >> place & 1 == 0 {
            return None;
        }
        Some(Position { segment: *self.segments.get(place)?, offset: *self.offsets.get(place)? })
    }

    /// Gives 1 if the entry is new.
    fn set(&mut self, place: usize, position: Position) -> u64 {
        let is_new = self.used >> place & 1 == 0;
        self.used |= 1 << place;
        self.segments[place] = position.segment;
        self.offsets[place] = position.offset;
        u64::from(is_new)
    }
}

impl ShardedIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    fn shard(&self, page: u64) -> &RwLock<Shard> {
        &self.shards[(page % SHARDS as u64) as usize]
    }

    /// The position of `index`.
    pub fn get(&self, index: u64) -> Option<Position> {
        let page = page_of(index);
        self.shard(page).read().get(&page)?.get(place_in(index))
    }

    /// Is `position` what the index has for `index`?
    pub fn is_current_entry(&self, index: u64, position: Position) -> bool {
        self.get(index) == Some(position)
    }

    /// Sets the position of `index`.
    pub fn set(&self, index: u64, position: Position) {
        let page = page_of(index);
        let mut shard = self.shard(page).write();
        let page = shard.entry(page).or_insert_with(|| Box::new(Page::EMPTY));
        let added = page.set(place_in(index), position);
        self.len.fetch_add(added, Ordering::Relaxed);
    }

    /// Sets several; runs of neighbours cost one look for their page.
    pub fn set_batch(&self, entries: &[(u64, Position)]) {
        for run in entries.chunk_by(|a, b| page_of(a.0) == page_of(b.0)) {
            let Some(number) = run.first().map(|entry| page_of(entry.0)) else { continue };
            let mut shard = self.shard(number).write();
            let page = shard.entry(number).or_insert_with(|| Box::new(Page::EMPTY));
            let added = run.iter().map(|(index, position)| page.set(place_in(*index), *position)).sum();
            self.len.fetch_add(added, Ordering::Relaxed);
        }
    }

    /// Removes one; was it there?
    pub fn delete(&self, index: u64) -> bool {
        self.delete_range(index, index) == 1
    }

    /// Removes the indexes `min..=max`; gives how many there were.
    pub fn delete_range(&self, min: u64, max: u64) -> u64 {
        if min > max {
            return 0;
        }
        let removed = self.shards.iter().map(|shard| delete_in(&mut shard.write(), min, max)).sum();
        self.len.fetch_sub(removed, Ordering::Relaxed);
        removed
    }

    /// Removes all.
    pub fn clear(&self) {
        self.delete_range(0, u64::MAX);
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lowest and the highest index.
    pub fn first_last(&self) -> Option<(u64, u64)> {
        let mut bounds: Option<(u64, u64)> = None;
        for shard in &self.shards {
            let shard = shard.read();
            let (Some((low, first)), Some((high, last))) = (shard.first_key_value(), shard.last_key_value())
            else {
                continue;
            };
            let first = low * PAGE_ENTRIES + u64::from(first.used.trailing_zeros());
            let last = high * PAGE_ENTRIES + u64::from(63 - last.used.leading_zeros());
            bounds = Some(bounds.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
        }
        bounds
    }

    /// Calls `visit` with every entry, lowest index first, until it gives false. No lock is held meanwhile: it may
    /// change the index, and sees such changes from the next 64 indexes on.
    pub fn range(&self, mut visit: impl FnMut(u64, Position) -> bool) {
        let mut from = Some(0);
        while let Some((number, page)) = from.and_then(|from| self.next_page(from)) {
            for place in 0..PAGE_ENTRIES {
                let Some(position) = page.get(place as usize) else { continue };
                if !visit(number * PAGE_ENTRIES + place, position) {
                    return;
                }
            }
            from = number.checked_add(1);
        }
    }

    /// The first page from number `from` on.
    fn next_page(&self, from: u64) -> Option<(u64, Page)> {
        let lowest = |shard: &RwLock<Shard>| shard.read().range(from..).next().map(|(number, _)| *number);
        loop {
            let number = self.shards.iter().filter_map(lowest).min()?;
            // Removed between the two looks: look again.
            if let Some(page) = self.shard(number).read().get(&number) {
                return Some((number, Page::clone(page)));
            }
        }
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> u64 {
        const PAGE_BYTES: u64 = (size_of::<Page>() + 2 * size_of::<u64>()) as u64;
        let pages: u64 = self.shards.iter().map(|shard| shard.read().len() as u64).sum();
        pages * PAGE_BYTES + size_of::<Self>() as u64
    }
}

/// Bits of the indexes `min..=max` in page `number`.
fn mask(number: u64, min: u64, max: u64) -> u64 {
    let from = if page_of(min) < number { 0 } else { place_in(min) };
    let to = if page_of(max) > number { 63 } else { place_in(max) };
    (u64::MAX << from) & (u64::MAX >> (63 - to))
}

fn delete_in(shard: &mut Shard, min: u64, max: u64) -> u64 {
    let pages = page_of(min)..=page_of(max);
    let count = |page: &Page| u64::from(page.used.count_ones());
    let all = shard.first_key_value().is_none_or(|(n, _)| *n * PAGE_ENTRIES >= min)
        && shard.last_key_value().is_none_or(|(n, _)| *n < page_of(max));
    if all || (min == 0 && max == u64::MAX) {
        let removed = shard.values().map(|page| count(page)).sum();
        shard.clear();
        return removed;
    }
    let mut removed = 0;
    let mut from = *pages.start();
    while let Some((number, page)) = shard.range_mut(from..=*pages.end()).next() {
        let number = *number;
        let gone = page.used & mask(number, min, max);
        removed += u64::from(gone.count_ones());
        page.used &= !gone;
        if page.used == 0 {
            shard.remove(&number);
        }
        // Page numbers are below 2^58.
        from = number + 1;
        if from > *pages.end() {
            break;
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn at(offset: u64) -> Position {
        Position { segment: (offset % 7) as u32 + 1, offset }
    }

    fn entries(index: &ShardedIndex) -> Vec<(u64, Position)> {
        let mut seen = Vec::new();
        index.range(|i, position| {
            seen.push((i, position));
            true
        });
        seen
    }

    #[derive(Debug, Clone)]
    enum Op {
        Set(u64, u64),
        Batch(u64, u64),
        Delete(u64),
        DeleteRange(u64, u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let index = prop_oneof![0..2000u64, (u64::MAX - 300)..=u64::MAX];
        let op = prop_oneof![
            (index.clone(), any::<u64>()).prop_map(|(i, o)| Op::Set(i, o)),
            (index.clone(), 0..300u64).prop_map(|(i, n)| Op::Batch(i, n)),
            index.clone().prop_map(Op::Delete),
            (index.clone(), index).prop_map(|(a, b)| Op::DeleteRange(a, b)),
        ];
        proptest::collection::vec(op, 1..60)
    }

    proptest! {
        #[test]
        fn answers_like_an_ordered_map(ops in ops()) {
            let index = ShardedIndex::new();
            let mut model = BTreeMap::new();
            for op in ops {
                match op {
                    Op::Set(i, o) => {
                        index.set(i, at(o));
                        model.insert(i, at(o));
                    }
                    Op::Batch(i, n) => {
                        let batch: Vec<_> =
                            (0..n).filter_map(|k| Some((i.checked_add(k)?, at(k * 8)))).collect();
                        index.set_batch(&batch);
                        model.extend(batch);
                    }
                    Op::Delete(i) => prop_assert_eq!(index.delete(i), model.remove(&i).is_some()),
                    Op::DeleteRange(a, b) => {
                        let before = model.len();
                        model.retain(|i, _| !(a..=b.max(a)).contains(i) || a > b);
                        prop_assert_eq!(index.delete_range(a, b), (before - model.len()) as u64);
                    }
                }
                prop_assert_eq!(index.len(), model.len() as u64);
            }
            prop_assert_eq!(entries(&index), model.clone().into_iter().collect::<Vec<_>>());
            let bounds = model.first_key_value().zip(model.last_key_value()).map(|(a, b)| (*a.0, *b.0));
            prop_assert_eq!(index.first_last(), bounds);
            for i in 0..2100 {
                prop_assert_eq!(index.get(i), model.get(&i).copied());
            }
        }
    }

    #[test]
    fn deleting_everything_takes_no_time_for_the_numbers_between() {
        let index = ShardedIndex::new();
        index.set_batch(&[(1, at(64)), (1 << 40, at(72)), (u64::MAX, at(80))]);
        assert_eq!(index.delete_range(0, u64::MAX), 3);
        assert_eq!((index.len(), index.first_last()), (0, None));
        index.set_batch(&[(1, at(64)), (1 << 40, at(72)), (u64::MAX, at(80))]);
        assert_eq!(index.delete_range(2, u64::MAX - 1), 1);
        assert_eq!(entries(&index), [(1, at(64)), (u64::MAX, at(80))]);
    }

    #[test]
    fn the_current_entry_is_the_one_set_last() {
        let index = ShardedIndex::new();
        index.set(9, at(64));
        index.set(9, at(128));
        assert!(index.is_current_entry(9, at(128)) && !index.is_current_entry(9, at(64)));
        assert!(!index.is_current_entry(10, at(128)));
        assert_eq!(index.len(), 1);
        index.clear();
        assert!(index.is_empty() && !index.is_current_entry(9, at(128)));
    }

    #[test]
    fn range_stops_when_told_and_the_callback_may_change_the_index() {
        let index = ShardedIndex::new();
        index.set_batch(&(1..=500).map(|i| (i, at(i * 8))).collect::<Vec<_>>());
        let mut seen = 0;
        index.range(|i, _| {
            seen += 1;
            index.delete(i);
            i < 100
        });
        assert_eq!((seen, index.len()), (100, 400));
    }

    #[test]
    fn memory_is_about_twelve_bytes_an_entry() {
        let index = ShardedIndex::new();
        let empty = index.memory_bytes();
        index.set_batch(&(0..64_000).map(|i| (i, at(i))).collect::<Vec<_>>());
        let bytes = index.memory_bytes() - empty;
        assert!((12 * 64_000..13 * 64_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn threads_set_and_read_at_once() {
        let index = ShardedIndex::new();
        std::thread::scope(|scope| {
            for t in 0..4u64 {
                let index = &index;
                scope.spawn(move || {
                    for i in (t..4000).step_by(4) {
                        index.set(i, at(i));
                        assert_eq!(index.get(i), Some(at(i)));
                    }
                });
            }
        });
        assert_eq!((index.len(), index.first_last()), (4000, Some((0, 3999))));
    }
}
