//! A set of page numbers as disjoint, non-touching ranges: the blocks that `allocate` reserved.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Start to end (exclusive).
#[derive(Clone, Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `start..end`.
    pub(crate) fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let touching: Vec<(u64, u64)> =
            self.0.range(..=end).rev().take_while(|&(_, &e)| e >= start).map(|(&s, &e)| (s, e)).collect();
        let (mut low, mut high) = (start, end);
        for (s, e) in touching {
            self.0.remove(&s);
            low = low.min(s);
            high = high.max(e);
        }
        self.0.insert(low, high);
    }

    /// Is `page` in it?
    pub(crate) fn contains(&self, page: u64) -> bool {
        self.0.range(..=page).next_back().is_some_and(|(_, &end)| page < end)
    }

    /// Removes everything from `page` on.
    pub(crate) fn clip(&mut self, page: u64) {
        self.0.split_off(&page);
        if let Some((_, end)) = self.0.range_mut(..page).next_back() {
            *end = page.min(*end);
        }
    }

    /// How many pages of `start..end` are in it.
    pub(crate) fn covered(&self, start: u64, end: u64) -> u64 {
        self.0.iter().map(|(&s, &e)| e.min(end).saturating_sub(s.max(start))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;

    #[test]
    fn agrees_with_a_plain_set() {
        let mut rng = crate::rng::Rng::new(7);
        for _ in 0..200 {
            let mut ranges = Ranges::default();
            let mut plain = [false; 64];
            for _ in 0..12 {
                let (a, b) = (rng.below(64), rng.below(64));
                if rng.below(4) == 0 {
                    ranges.clip(a);
                    plain[a as usize..].fill(false);
                } else {
                    ranges.insert(a, b);
                    if a < b {
                        plain[a as usize..b as usize].fill(true);
                    }
                }
                for page in 0..64u64 {
                    assert_eq!(ranges.contains(page), plain[page as usize]);
                }
                assert_eq!(ranges.covered(5, 60), plain[5..60].iter().filter(|p| **p).count() as u64);
            }
        }
    }
}
