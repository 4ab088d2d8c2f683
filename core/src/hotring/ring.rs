//! One generation of a hot ring.
//!
//! Who may call it: any thread; nothing waits. Time is nanoseconds of a clock that never runs back; a thread that is
//! a little late does no harm.

use alloc::boxed::Box;
use alloc::vec::Vec;

use nokv_formats::KeyRef;

use super::bucket::{Bucket, Door, Entered};
use super::node::{At, Head, HotKey, Print, REMOVED};
use super::once::OnceBox;
use super::{BITS_MAX, DEFAULT_BITS, RingOptions, RingStats, report};
use crate::sync::{AtomicU64, Ordering};

/// With a cap there are no more buckets than leave each so many nodes: the coldest is one of these.
const WAYS_MIN: u64 = 16;

/// What keys that come and go write: not on a line that every touch reads.
#[repr(align(128))]
#[derive(Default)]
struct Counters {
    nodes: AtomicU64,
    inserts: AtomicU64,
    removes: AtomicU64,
    clamps: AtomicU64,
}

/// Counts touches of keys. See [`crate::hotring`].
pub struct HotRing {
    options: RingOptions,
    heads: Box<[OnceBox<Head>]>,
    doors: Box<[Door]>,
    /// Nodes that a bucket may have.
    ways: usize,
    sample_mask: u64,
    /// The number of the window slot that was last asked for.
    tick: AtomicU64,
    counters: Counters,
    /// When the next decay is due.
    decay_at_ns: AtomicU64,
    decay_runs: AtomicU64,
    last_decay_unix: AtomicU64,
}

impl HotRing {
    /// An empty ring.
    pub fn new(options: RingOptions, now_ns: u64) -> Self {
        let mut options = options;
        if options.window_slots == 0 || options.window_slot_ns == 0 {
            (options.window_slots, options.window_slot_ns) = (0, 0);
        }
        options.decay_shift = options.decay_shift.max(1);
        let bits = if options.bits == 0 { DEFAULT_BITS } else { options.bits.min(BITS_MAX) };
        let mut buckets = 1u64 << bits;
        let mut ways = usize::MAX;
        if options.node_cap > 0 {
            let fair = (options.node_cap / WAYS_MIN).max(1);
            buckets = buckets.min(1 << fair.ilog2());
            ways = usize::try_from(options.node_cap / buckets).unwrap_or(usize::MAX);
        }
        Self {
            heads: (0..buckets).map(|_| OnceBox::new()).collect(),
            doors: (0..buckets).map(|_| Door::default()).collect(),
            ways,
            sample_mask: 1u64.checked_shl(u32::from(options.node_sample_bits)).unwrap_or(0).wrapping_sub(1),
            tick: AtomicU64::new(0),
            counters: Counters::default(),
            decay_at_ns: AtomicU64::new(now_ns.saturating_add(options.decay_interval_ns)),
            decay_runs: AtomicU64::new(0),
            last_decay_unix: AtomicU64::new(0),
            options,
        }
    }

    /// Does it look at the time it is given?
    pub const fn needs_time(&self) -> bool {
        self.options.window_slots > 0
    }

    /// Counts a touch; gives the key's count with it, 0 if the key is not tracked.
    #[inline(always)] // A call would store the key and registers, and the addition waits for all stores.
    pub fn touch(&self, key: KeyRef<'_>, now_ns: u64) -> u64 {
        self.touch_print(self.print(key), key, now_ns)
    }

    #[inline(always)]
    pub(super) fn touch_print(&self, print: Print, key: KeyRef<'_>, now_ns: u64) -> u64 {
        let tick = self.tick(now_ns);
        match self.enter(print, key, tick) {
            Some(at) => self.hit(at, key, tick),
            None => 0,
        }
    }

    /// Counts a touch and asks for nothing: cheaper than [`HotRing::touch`] with a window.
    #[inline]
    pub fn record(&self, key: KeyRef<'_>, now_ns: u64) {
        let tick = self.tick(now_ns);
        if let Some(at) = self.enter(self.print(key), key, tick) {
            self.add(at, key, tick);
        }
    }

    /// Counts a touch unless the key is at `limit` (0 = no limit). Gives the count, and true if it was not counted for
    /// the limit. Threads that touch the key at once never pass the limit together. A key that is not tracked is
    /// not limited.
    #[inline]
    pub fn touch_and_clamp(&self, key: KeyRef<'_>, limit: u64, now_ns: u64) -> (u64, bool) {
        self.clamp_print(self.print(key), key, limit, now_ns)
    }

    #[inline]
    pub(super) fn clamp_print(&self, print: Print, key: KeyRef<'_>, limit: u64, now_ns: u64) -> (u64, bool) {
        if limit == 0 {
            return (self.touch_print(print, key, now_ns), false);
        }
        let tick = self.tick(now_ns);
        let Some(at) = self.enter(print, key, tick) else { return (0, false) };
        if at.is_removed() {
            return (self.hit(at, key, tick), false);
        }
        let (count, limited) = if at.window().is_none() {
            let base = at.node().base.load(Ordering::Relaxed);
            let below = |touches: u64| (touches.saturating_sub(base) < limit).then(|| touches + 1);
            match at.node().touches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below) {
                Ok(before) => ((before + 1).saturating_sub(base), false),
                Err(at_limit) => (at_limit.saturating_sub(base), true),
            }
        } else {
            let (count, limited, passed) = at.window().add_below(tick, limit);
            keep_passed(at, passed);
            (count, limited)
        };
        if limited {
            self.count_clamp();
        }
        (count, limited)
    }

    #[cold]
    pub(super) fn count_clamp(&self) {
        self.counters.clamps.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a touch back that was counted at `now_ns`, for what came to nothing after all.
    pub fn untouch(&self, key: KeyRef<'_>, now_ns: u64) {
        let print = self.print(key);
        let Some(at) = self.bucket(print).find(print) else { return };
        if at.window().is_none() {
            let base = at.node().base.load(Ordering::Relaxed);
            let less = |touches: u64| (touches > base).then(|| touches - 1);
            let _ = at.node().touches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        } else {
            at.window().take_back(self.tick(now_ns));
        }
    }

    /// The key's count.
    pub fn frequency(&self, key: KeyRef<'_>, now_ns: u64) -> u64 {
        self.frequency_print(self.print(key), now_ns)
    }

    #[inline]
    pub(super) fn frequency_print(&self, print: Print, now_ns: u64) -> u64 {
        self.bucket(print).find(print).map_or(0, |at| at.count(self.tick(now_ns)))
    }

    /// The hottest keys, by falling count, then by key.
    pub fn top_n(&self, n: usize, now_ns: u64) -> Vec<HotKey> {
        report::top(&[self], n, now_ns)
    }

    /// All keys with a count of at least `threshold`, by falling count, then by key.
    pub fn keys_above(&self, threshold: u64, now_ns: u64) -> Vec<HotKey> {
        report::above(&[self], threshold, now_ns)
    }

    /// Forgets a key; false if it was not tracked. Its place is kept for it, or for the next key that needs one
    /// at the cap.
    pub fn remove(&self, key: KeyRef<'_>) -> bool {
        let print = self.print(key);
        let bucket = self.bucket(print);
        // The place does not change hands between the search and the mark: it would be another key's.
        let _claim = bucket.door.claim.lock();
        let Some(at) = bucket.find(print) else { return false };
        *at.node().key.lock() = Box::default();
        at.node().touches.fetch_add(at.window().clear(), Ordering::Relaxed);
        at.node().head_start.store(0, Ordering::Relaxed);
        let was_there = at.node().base.swap(REMOVED, Ordering::Relaxed) != REMOVED;
        if was_there {
            self.counters.nodes.fetch_sub(1, Ordering::Relaxed);
            self.counters.removes.fetch_add(1, Ordering::Relaxed);
            bucket.forget_coldest();
        }
        was_there
    }

    /// Runs a decay if one is due; call it now and then. `unix_s`: the time for [`RingStats::last_decay_unix`].
    /// Intervals that were missed are made up for.
    pub fn maintain(&self, now_ns: u64, unix_s: u64) {
        let interval = self.options.decay_interval_ns;
        let due = self.decay_at_ns.load(Ordering::Relaxed);
        if interval == 0 || now_ns < due {
            return;
        }
        let runs = (now_ns - due) / interval + 1;
        let next = due.saturating_add(runs.saturating_mul(interval));
        if self.decay_at_ns.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let shift = runs.saturating_mul(u64::from(self.options.decay_shift)).min(64) as u32;
        for bucket in self.buckets() {
            bucket.decay(shift);
        }
        self.decay_runs.fetch_add(runs, Ordering::Relaxed);
        self.last_decay_unix.store(unix_s, Ordering::Relaxed);
    }

    /// Forgets every key.
    pub fn clear(&self) {
        for bucket in self.buckets() {
            let gone = bucket.clear();
            self.counters.nodes.fetch_sub(gone, Ordering::Relaxed);
            self.counters.removes.fetch_add(gone, Ordering::Relaxed);
        }
    }

    /// Looks at every node: not for each operation.
    pub fn stats(&self) -> RingStats {
        let (mut touches, mut drops) = (0u64, 0u64);
        for bucket in self.buckets() {
            bucket.each(|at| touches += at.touches());
            touches += bucket.door.retired.load(Ordering::Relaxed);
            drops += bucket.door.drops.load(Ordering::Relaxed);
        }
        // A key may be counted off before whoever brought it counted it.
        let nodes = (self.counters.nodes.load(Ordering::Relaxed) as i64).max(0) as u64;
        let interval = self.options.decay_interval_ns;
        RingStats {
            buckets: self.heads.len() as u64,
            nodes,
            load_factor: nodes as f64 / self.heads.len().max(1) as f64,
            window_slots: self.options.window_slots,
            window_slot_duration: self.options.window_slot_ns,
            decay_interval: interval,
            decay_shift: self.options.decay_shift,
            node_cap: self.options.node_cap,
            sample_mask: self.sample_mask,
            touches: touches + drops,
            inserts: self.counters.inserts.load(Ordering::Relaxed),
            removes: self.counters.removes.load(Ordering::Relaxed),
            clamps: self.counters.clamps.load(Ordering::Relaxed),
            sample_drops: drops,
            decay_runs: self.decay_runs.load(Ordering::Relaxed),
            last_decay_unix: self.last_decay_unix.load(Ordering::Relaxed),
        }
    }

    /// Memory that it holds now, in bytes. Looks at every node.
    pub fn memory_bytes(&self) -> usize {
        let fixed = self.heads.len() * size_of::<OnceBox<Head>>() + self.doors.len() * size_of::<Door>();
        size_of::<Self>() + fixed + self.buckets().map(Bucket::memory_bytes).sum::<usize>()
    }

    pub(super) const fn seed(&self) -> u64 {
        self.options.seed
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = Bucket<'_>> {
        self.heads.iter().zip(&self.doors).map(|(head, door)| self.bucket_of(head, door))
    }

    #[inline]
    pub(super) fn print(&self, key: KeyRef<'_>) -> Print {
        Print::of(key, self.options.seed)
    }

    #[inline]
    fn bucket(&self, print: Print) -> Bucket<'_> {
        // The number of buckets is a power of two and at least one.
        let i = (print.tag >> 32) as usize & (self.heads.len() - 1);
        self.bucket_of(&self.heads[i], &self.doors[i])
    }

    #[inline]
    const fn bucket_of<'r>(&'r self, head: &'r OnceBox<Head>, door: &'r Door) -> Bucket<'r> {
        Bucket {
            head,
            door,
            ways: self.ways,
            window_slots: self.options.window_slots,
            sample_mask: self.sample_mask,
        }
    }

    /// The window slot of `now_ns`; 0 without a window.
    #[inline]
    pub(super) fn tick(&self, now_ns: u64) -> u32 {
        let slot_ns = self.options.window_slot_ns;
        if slot_ns == 0 {
            return 0;
        }
        // Most calls fall into the slot of the last one: no division.
        let last = self.tick.load(Ordering::Relaxed);
        if now_ns.wrapping_sub(last.wrapping_mul(slot_ns)) < slot_ns {
            return last as u32;
        }
        let tick = now_ns / slot_ns;
        self.tick.store(tick, Ordering::Relaxed);
        tick as u32
    }

    #[inline]
    fn enter(&self, print: Print, key: KeyRef<'_>, tick: u32) -> Option<At<'_>> {
        let bucket = self.bucket(print);
        bucket.find_first(print).or_else(|| self.enter_bucket(bucket, print, key, tick))
    }

    #[inline(never)]
    fn enter_bucket<'r>(
        &'r self,
        bucket: Bucket<'r>,
        print: Print,
        key: KeyRef<'_>,
        tick: u32,
    ) -> Option<At<'r>> {
        let (at, is_instead) = match bucket.enter(print, key, tick) {
            Entered::Was(at) => return Some(at),
            Entered::New(at) => (at, false),
            Entered::Instead(at) => (at, true),
            Entered::Dropped => return None,
        };
        if is_instead {
            self.counters.removes.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counters.nodes.fetch_add(1, Ordering::Relaxed);
        }
        self.counters.inserts.fetch_add(1, Ordering::Relaxed);
        Some(at)
    }

    /// Counts a touch of the node.
    #[inline]
    fn add(&self, at: At<'_>, key: KeyRef<'_>, tick: u32) {
        if at.is_removed() {
            self.revive(at, key);
        }
        if at.window().is_none() {
            at.node().touches.fetch_add(1, Ordering::Relaxed);
        } else {
            keep_passed(at, at.window().add(tick));
        }
    }

    #[inline(always)]
    fn hit(&self, at: At<'_>, key: KeyRef<'_>, tick: u32) -> u64 {
        if at.window().is_none() && !at.is_removed() {
            let touches = at.node().touches.fetch_add(1, Ordering::Relaxed) + 1;
            return touches.saturating_sub(at.node().base.load(Ordering::Relaxed));
        }
        self.add(at, key, tick);
        at.count(tick)
    }

    /// A key that was removed is touched again. It stays removed for this touch if the bucket is just being changed.
    #[cold]
    fn revive(&self, at: At<'_>, key: KeyRef<'_>) {
        let print = self.print(key);
        // Whoever takes the place for another key first looks whether the mark is there, and counts accordingly.
        let Some(_claim) = self.bucket(print).door.claim.try_lock() else { return };
        if !at.is(print) {
            return;
        }
        let base = if at.window().is_none() { at.node().touches.load(Ordering::Relaxed) } else { 0 };
        if at.node().base.compare_exchange(REMOVED, base, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            at.keep_key(key);
            self.counters.nodes.fetch_add(1, Ordering::Relaxed);
            self.counters.inserts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What left the window words counts on in the ring's total.
#[inline]
fn keep_passed(at: At<'_>, passed: u32) {
    if passed > 0 {
        at.node().touches.fetch_add(u64::from(passed), Ordering::Relaxed);
    }
}

impl core::fmt::Debug for HotRing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HotRing").field("options", &self.options).finish_non_exhaustive()
    }
}
