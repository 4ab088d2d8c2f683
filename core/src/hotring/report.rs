//! Lists of hot keys over one or more rings. Looks at every node: for statistics and background steps.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use nokv_formats::KeyBuf;

use super::node::{At, HotKey, Print};
use super::ring::HotRing;

struct Found<'r> {
    print: Print,
    count: u64,
    at: At<'r>,
    seed: u64,
}

impl Found<'_> {
    fn key(&self) -> Option<KeyBuf> {
        self.at.with_key(self.print, self.seed, |key| key.to_buf())
    }
}

/// All keys that count something; a key that is in several rings once, with the sum.
fn collect<'r>(rings: &[&'r HotRing], now_ns: u64) -> Vec<Found<'r>> {
    let mut found = Vec::new();
    for ring in rings {
        let tick = ring.tick(now_ns);
        for bucket in ring.buckets() {
            bucket.each(|at| {
                let Some(print) = at.print() else { return };
                let count = at.count(tick);
                // Counted for another key if the place changed hands meanwhile.
                if count > 0 && at.is(print) {
                    found.push(Found { print, count, at, seed: ring.seed() });
                }
            });
        }
    }
    if rings.len() > 1 {
        found.sort_unstable_by_key(|f| f.print);
        found.dedup_by(|next, kept| {
            let is_same = next.print == kept.print;
            if is_same {
                kept.count = kept.count.saturating_add(next.count);
            }
            is_same
        });
    }
    found
}

fn by_heat(a: &HotKey, b: &HotKey) -> core::cmp::Ordering {
    b.count.cmp(&a.count).then_with(|| a.key.as_ref().cmp(&b.key.as_ref()))
}

/// The `n` hottest keys.
pub(super) fn top(rings: &[&HotRing], n: usize, now_ns: u64) -> Vec<HotKey> {
    let mut found = collect(rings, now_ns);
    if n == 0 || found.is_empty() {
        return Vec::new();
    }
    let last = (n - 1).min(found.len() - 1);
    let (hotter, nth, _) = found.select_nth_unstable_by_key(last, |f| core::cmp::Reverse(f.count));
    let bar = nth.count;
    let mut top = Vec::new();
    for f in hotter.iter().filter(|f| f.count > bar) {
        top.extend(f.key().map(|key| HotKey { key, count: f.count }));
    }
    // Of those that are just as hot as the last one, the first by key; the largest of them is on top of the heap.
    let room = n - top.len();
    let mut ties: BinaryHeap<KeyBuf> = BinaryHeap::new();
    for f in found.iter().filter(|f| f.count == bar) {
        let key = f.at.with_key(f.print, f.seed, |key| {
            let wanted = ties.len() < room || ties.peek().is_some_and(|largest| key < largest.as_ref());
            wanted.then(|| key.to_buf())
        });
        if let Some(key) = key.flatten() {
            ties.push(key);
            if ties.len() > room {
                ties.pop();
            }
        }
    }
    top.extend(ties.into_iter().map(|key| HotKey { key, count: bar }));
    top.sort_unstable_by(by_heat);
    top
}

/// All keys that count at least `threshold`.
pub(super) fn above(rings: &[&HotRing], threshold: u64, now_ns: u64) -> Vec<HotKey> {
    let found = collect(rings, now_ns);
    let hot = found.iter().filter(|f| f.count >= threshold);
    let mut keys: Vec<HotKey> =
        hot.filter_map(|f| f.key().map(|key| HotKey { key, count: f.count })).collect();
    keys.sort_unstable_by(by_heat);
    keys
}
