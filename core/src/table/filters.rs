//! The filters of open tables, bounded.
//!
//! Who may call it: a table puts its filter here when it is loaded, asks it, and takes it back when it goes.
//!
//! A filter has one of two homes. Up to half of the bound, filters *stay* with their table for as long as it is
//! open: asking one is a plain read. The filters of all further tables stand on a *clock*: one that was not asked for
//! a round of the hand leaves when another needs its room, and is read again on demand. Without a bound all stay.
//!
//! 1. The filters of both homes together are at most the bound after each call; one that does not fit beside those
//!    that stay is not kept, and its table is searched without it.
//! 2. Asking writes to a line that threads share only if the mark `used` is clear: once a round of the hand.
//! 3. A filter that left is read again when the searches without it have cost about as much as reading it does. So a
//!    bound that is too small costs at most about twice what having no filters costs.
//! 4. The lock is a leaf. No file is read under it and no memory freed.

use alloc::vec::Vec;

use nokv_formats::filter::Filter;

use crate::sync::{Arc, ArcCell, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};

/// About what one search without a filter reads, in bytes.
const SEARCH_BYTES: u64 = 4 << 10;

/// The filters at one moment. Counts start at 0 with each open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterStats {
    /// Filters in memory.
    pub filters: usize,
    /// Bytes they hold.
    pub bytes: usize,
    /// Filters that left because others needed their room.
    pub evictions: u64,
    /// Filters that left and were read again.
    pub reloads: u64,
}

/// Where the filter of a table is.
pub(super) enum Home {
    /// The table has none, or it is too large to be kept.
    None,
    /// Stays with the table.
    Stays(Filter),
    /// On the clock.
    Clock(Arc<Slot>),
}

/// The place of one filter on the clock.
pub(super) struct Slot {
    filter: ArcCell<Option<Filter>>,
    used: AtomicBool,
    /// Bytes that searches without it have cost since it left.
    owed: AtomicU64,
    is_loading: AtomicBool,
    /// Index in the ring; `usize::MAX` when it is not there. Changed under the ring's lock only.
    at: AtomicUsize,
    /// Memory of the filter.
    pub(super) bytes: usize,
}

const AWAY: usize = usize::MAX;

impl Slot {
    /// What the filter says of a key; `None` if it is not in memory.
    #[inline]
    pub(super) fn ask(&self, key_hash: u64) -> Option<bool> {
        let held = self.filter.load();
        let filter: &Option<Filter> = &held;
        let filter = filter.as_ref()?;
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        Some(filter.may_contain(key_hash))
    }

    /// Is it worth reading again now? Counts one more search without it. At most one caller at a time is told yes, and
    /// then calls [`Slot::loaded`].
    pub(super) fn is_due(&self) -> bool {
        let owed = self.owed.fetch_add(SEARCH_BYTES, Ordering::Relaxed).saturating_add(SEARCH_BYTES);
        owed >= self.bytes as u64 && !self.is_loading.swap(true, Ordering::Acquire)
    }

    /// The reading that [`Slot::is_due`] asked for is over, however it went.
    pub(super) fn loaded(&self) {
        self.owed.store(0, Ordering::Relaxed);
        self.is_loading.store(false, Ordering::Release);
    }

    /// Is the filter in memory?
    pub(super) fn is_here(&self) -> bool {
        self.filter.load().is_some()
    }
}

#[derive(Default)]
struct Ring {
    slots: Vec<Arc<Slot>>,
    hand: usize,
    /// Bytes of the filters on the clock.
    bytes: usize,
    /// Filters that stay, and their bytes.
    staying: usize,
    staying_bytes: usize,
}

/// The filters of a database. All methods may be called from any thread.
pub struct FilterCache {
    bound: usize,
    ring: Mutex<Ring>,
    nothing: Arc<Option<Filter>>,
    evictions: AtomicU64,
    reloads: AtomicU64,
}

impl Ring {
    /// Takes the slot at `at` out.
    fn take(&mut self, at: usize) -> Option<Arc<Slot>> {
        if at >= self.slots.len() {
            return None;
        }
        let slot = self.slots.swap_remove(at);
        slot.at.store(AWAY, Ordering::Relaxed);
        if let Some(moved) = self.slots.get(at) {
            moved.at.store(at, Ordering::Relaxed);
        }
        self.bytes -= slot.bytes;
        Some(slot)
    }

    /// Takes out the first filter that was not asked since the hand last passed it.
    fn evict(&mut self) -> Option<Arc<Slot>> {
        // After one round all marks are clear, unless readers set them again meanwhile.
        for _ in 0..=2 * self.slots.len() {
            self.hand = if self.hand < self.slots.len() { self.hand } else { 0 };
            if !self.slots.get(self.hand)?.used.swap(false, Ordering::Relaxed) {
                return self.take(self.hand);
            }
            self.hand += 1;
        }
        self.take(self.hand.min(self.slots.len().checked_sub(1)?))
    }
}

impl FilterCache {
    /// Keeps at most `bound` bytes of filters; 0 = no bound.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            ring: Mutex::new(Ring::default()),
            nothing: Arc::new(None),
            evictions: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
        }
    }

    /// The bound, in bytes; 0 = none.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Gives a filter that was just read a home.
    pub(super) fn place(&self, filter: Option<Filter>) -> Home {
        let Some(filter) = filter else { return Home::None };
        let bytes = filter.memory_bytes();
        let mut ring = self.ring.lock();
        let staying = ring.staying_bytes.saturating_add(bytes);
        if self.bound == 0 || staying <= self.bound / 2 {
            ring.staying += 1;
            ring.staying_bytes = staying;
            let evicted = self.make_room(&mut ring, 0);
            drop(ring);
            drop(evicted);
            return Home::Stays(filter);
        }
        drop(ring);
        if bytes > self.bound {
            return Home::None;
        }
        let slot = Arc::new(Slot {
            filter: ArcCell::new(self.nothing.clone()),
            used: AtomicBool::new(true),
            owed: AtomicU64::new(0),
            is_loading: AtomicBool::new(false),
            at: AtomicUsize::new(AWAY),
            bytes,
        });
        self.insert(&slot, filter);
        Home::Clock(slot)
    }

    /// Puts a filter that was read again back.
    pub(super) fn put_back(&self, slot: &Arc<Slot>, filter: Filter) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        self.insert(slot, filter);
    }

    fn insert(&self, slot: &Arc<Slot>, filter: Filter) {
        let filter = Arc::new(Some(filter));
        let mut ring = self.ring.lock();
        if slot.at.load(Ordering::Relaxed) != AWAY {
            return;
        }
        let evicted = self.make_room(&mut ring, slot.bytes);
        if ring.staying_bytes + ring.bytes + slot.bytes > self.bound {
            // Those that stay leave too little room.
            return;
        }
        slot.at.store(ring.slots.len(), Ordering::Relaxed);
        slot.used.store(true, Ordering::Relaxed);
        ring.slots.push(slot.clone());
        ring.bytes += slot.bytes;
        // Under the lock: who takes it out again empties it behind us.
        slot.filter.store(filter);
        drop(ring);
        drop(evicted);
    }

    /// Evicts until `more` bytes fit. The caller drops what it gets outside the lock.
    fn make_room(&self, ring: &mut Ring, more: usize) -> Vec<Arc<Option<Filter>>> {
        let mut evicted = Vec::new();
        while self.bound != 0 && ring.staying_bytes + ring.bytes + more > self.bound {
            let Some(slot) = ring.evict() else { break };
            evicted.push(slot.filter.load_full());
            slot.filter.store(self.nothing.clone());
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        evicted
    }

    /// The table of a filter goes.
    pub(super) fn remove(&self, home: &Home) {
        let mut ring = self.ring.lock();
        let gone = match home {
            Home::None => None,
            Home::Stays(filter) => {
                ring.staying -= 1;
                ring.staying_bytes -= filter.memory_bytes();
                None
            }
            Home::Clock(slot) => match slot.at.load(Ordering::Relaxed) {
                AWAY => None,
                at => ring.take(at),
            },
        };
        drop(ring);
        drop(gone);
    }

    /// The filters now, and the counts.
    pub fn stats(&self) -> FilterStats {
        let ring = self.ring.lock();
        FilterStats {
            filters: ring.staying + ring.slots.len(),
            bytes: ring.staying_bytes + ring.bytes,
            evictions: self.evictions.load(Ordering::Relaxed),
            reloads: self.reloads.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter of 64 bytes for each eight keys or so.
    fn filter(keys: u64) -> Filter {
        let hashes: Vec<u64> = (0..keys).map(|k| k.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        Filter::build(&hashes, 8)
    }

    fn slot(home: &Home) -> &Arc<Slot> {
        match home {
            Home::Clock(slot) => slot,
            _ => panic!("not on the clock"),
        }
    }

    #[test]
    fn without_a_bound_all_stay() {
        let cache = FilterCache::new(0);
        let homes: Vec<Home> = (0..100).map(|_| cache.place(Some(filter(1000)))).collect();
        assert!(homes.iter().all(|home| matches!(home, Home::Stays(_))));
        assert_eq!(cache.stats().filters, 100);
        homes.iter().for_each(|home| cache.remove(home));
        assert_eq!(cache.stats(), FilterStats::default());
    }

    #[test]
    fn the_bound_holds_after_every_call_and_half_of_it_stays() {
        let one = filter(1000).memory_bytes();
        for bound in [1, one - 1, one, 2 * one, 5 * one, 10 * one + 7] {
            let cache = FilterCache::new(bound);
            let mut homes = Vec::new();
            for _ in 0..30 {
                homes.push(cache.place(Some(filter(1000))));
                assert!(cache.stats().bytes <= bound, "{:?}", cache.stats());
            }
            let staying = homes.iter().filter(|home| matches!(home, Home::Stays(_))).count();
            assert_eq!(staying, bound / 2 / one);
            for home in &homes {
                cache.remove(home);
            }
            let stats = cache.stats();
            assert_eq!((stats.filters, stats.bytes), (0, 0));
        }
    }

    #[test]
    fn a_filter_that_is_asked_outlives_those_that_are_not() {
        let one = filter(1000).memory_bytes();
        let cache = FilterCache::new(10 * one);
        let homes: Vec<Home> = (0..10).map(|_| cache.place(Some(filter(1000)))).collect();
        let hot = slot(&homes[9]);
        let mut rest = Vec::new();
        for _ in 0..50 {
            assert_eq!(hot.ask(0), Some(true));
            rest.push(cache.place(Some(filter(1000))));
        }
        assert!(hot.is_here());
        assert!(rest[..40].iter().all(|home| !slot(home).is_here()));
        assert!(cache.stats().evictions >= 40);
    }

    #[test]
    fn a_filter_that_left_is_due_once_searches_have_cost_as_much() {
        let cache = FilterCache::new(1 << 20);
        let big = filter(60_000);
        let bytes = big.memory_bytes() as u64;
        let mut homes: Vec<Home> = (0..40).map(|_| cache.place(Some(big.clone()))).collect();
        let gone = homes.remove(20);
        let gone = slot(&gone);
        assert_eq!(gone.ask(7), None);
        let searches = bytes.div_ceil(SEARCH_BYTES);
        assert!((1..searches).all(|_| !gone.is_due()));
        assert!(gone.is_due());
        assert!(!gone.is_due(), "another thread reads it already");
        cache.put_back(gone, big);
        gone.loaded();
        assert_eq!(gone.ask(0), Some(true));
        assert_eq!(cache.stats().reloads, 1);
        assert!(cache.stats().bytes <= 1 << 20);
    }
}
