//! A ring of two generations.
//!
//! Each interval the active generation becomes the warm one, and the one before it starts anew, empty: keys
//! that went cold are forgotten without anything being aged, and a key that stays hot is known through the change.
//! - frequency of a key: the larger of its two counts;
//! - lists: the sum of the two, key by key.
//!
//! Who may call it: any thread. The two rings stand in fixed places, so a touch takes no reference to the active one; a
//! thread that is late by a generation touches the warm one, which still counts.

use alloc::vec::Vec;

use nokv_formats::KeyRef;

use super::{HotKey, HotRing, RingOptions, RingStats, report};
use crate::sync::{AtomicU64, Ordering};

/// See the module. Without an interval it is one ring.
#[derive(Debug)]
pub struct RotatingRing {
    even: HotRing,
    odd: Option<HotRing>,
    interval_ns: u64,
    /// How often it was rotated; its last bit says which ring is active.
    rotations: AtomicU64,
    rotate_at_ns: AtomicU64,
}

impl RotatingRing {
    /// Rotates each `interval_ns`; 0 = never.
    pub fn new(options: RingOptions, interval_ns: u64, now_ns: u64) -> Self {
        Self {
            even: HotRing::new(options, now_ns),
            odd: (interval_ns > 0).then(|| HotRing::new(options, now_ns)),
            interval_ns,
            rotations: AtomicU64::new(0),
            rotate_at_ns: AtomicU64::new(now_ns.saturating_add(interval_ns)),
        }
    }

    /// Does it look at the time that touches are given?
    #[inline]
    pub const fn needs_time(&self) -> bool {
        self.even.needs_time()
    }

    /// The active ring, and the warm one where it rotates.
    #[inline]
    fn generations(&self) -> (&HotRing, Option<&HotRing>) {
        match &self.odd {
            Some(odd) if self.rotations.load(Ordering::Acquire) & 1 == 1 => (odd, Some(&self.even)),
            odd => (&self.even, odd.as_ref()),
        }
    }

    /// Counts a touch; gives the key's frequency with it.
    #[inline]
    pub fn touch(&self, key: KeyRef<'_>, now_ns: u64) -> u64 {
        let (active, warm) = self.generations();
        // Both generations hash alike.
        let print = active.print(key);
        let count = active.touch_print(print, key, now_ns);
        warm.map_or(count, |warm| count.max(warm.frequency_print(print, now_ns)))
    }

    /// Counts a touch and asks for nothing.
    #[inline]
    pub fn record(&self, key: KeyRef<'_>, now_ns: u64) {
        self.generations().0.record(key, now_ns);
    }

    /// Counts a touch unless the key's frequency is at `limit` (0 = no limit): as [`HotRing::touch_and_clamp`].
    #[inline]
    pub fn touch_and_clamp(&self, key: KeyRef<'_>, limit: u64, now_ns: u64) -> (u64, bool) {
        let (active, warm) = self.generations();
        let print = active.print(key);
        let warm = warm.map_or(0, |warm| warm.frequency_print(print, now_ns));
        if limit > 0 && warm >= limit {
            active.count_clamp();
            return (warm, true);
        }
        let (count, limited) = active.clamp_print(print, key, limit, now_ns);
        (count.max(warm), limited)
    }

    /// Takes a touch back that was counted at `now_ns`.
    pub fn untouch(&self, key: KeyRef<'_>, now_ns: u64) {
        self.generations().0.untouch(key, now_ns);
    }

    /// The larger of the key's counts.
    pub fn frequency(&self, key: KeyRef<'_>, now_ns: u64) -> u64 {
        let (active, warm) = self.generations();
        let print = active.print(key);
        let count = active.frequency_print(print, now_ns);
        warm.map_or(count, |warm| count.max(warm.frequency_print(print, now_ns)))
    }

    /// The hottest keys by the sum of both generations, by falling count, then by key.
    pub fn top_n(&self, n: usize, now_ns: u64) -> Vec<HotKey> {
        match self.generations() {
            (active, Some(warm)) => report::top(&[active, warm], n, now_ns),
            (active, None) => active.top_n(n, now_ns),
        }
    }

    /// All keys with a sum of at least `threshold`, by falling count, then by key.
    pub fn keys_above(&self, threshold: u64, now_ns: u64) -> Vec<HotKey> {
        match self.generations() {
            (active, Some(warm)) => report::above(&[active, warm], threshold, now_ns),
            (active, None) => active.keys_above(threshold, now_ns),
        }
    }

    /// Forgets a key; false if no generation tracked it.
    pub fn remove(&self, key: KeyRef<'_>) -> bool {
        let (active, warm) = self.generations();
        let was_warm = warm.is_some_and(|warm| warm.remove(key));
        active.remove(key) || was_warm
    }

    /// Rotates and decays if due; call it now and then.
    pub fn maintain(&self, now_ns: u64, unix_s: u64) {
        self.even.maintain(now_ns, unix_s);
        let Some(odd) = &self.odd else { return };
        odd.maintain(now_ns, unix_s);
        let due = self.rotate_at_ns.load(Ordering::Relaxed);
        if now_ns < due {
            return;
        }
        let passed = (now_ns - due) / self.interval_ns.max(1) + 1;
        let next = due.saturating_add(passed.saturating_mul(self.interval_ns));
        if self.rotate_at_ns.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let (active, warm) = self.generations();
        if passed > 1 {
            // Nothing of the last whole interval is left.
            active.clear();
        }
        if let Some(warm) = warm {
            warm.clear();
        }
        self.rotations.fetch_add(1, Ordering::Release);
    }

    /// Shape and keys of the active generation, counters of both together.
    pub fn stats(&self) -> RingStats {
        let (active, warm) = self.generations();
        let (mut stats, warm) = (active.stats(), warm.map(HotRing::stats).unwrap_or_default());
        stats.touches += warm.touches;
        stats.inserts += warm.inserts;
        stats.removes += warm.removes;
        stats.clamps += warm.clamps;
        stats.sample_drops += warm.sample_drops;
        stats
    }

    /// Memory that it holds now, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.even.memory_bytes() + self.odd.as_ref().map_or(0, HotRing::memory_bytes)
    }
}
