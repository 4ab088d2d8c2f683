//! A histogram of times in nanoseconds: 32 steps to each doubling, so a percentile is at most 3.2 % too high. The
//! largest and the count are exact.

const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// Times up to 2^40 ns, 18 minutes; longer ones count as that.
const DOUBLINGS: usize = 40 - STEP_BITS as usize;

#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (DOUBLINGS + 1) * STEPS].into_boxed_slice(), count: 0, max: 0 }
    }
}

/// Place of a time. Below [`STEPS`] each has its own; then the top bits choose.
const fn place(ns: u64) -> usize {
    if ns < STEPS as u64 {
        return ns as usize;
    }
    let shift = 63 - ns.leading_zeros() - STEP_BITS;
    (shift as usize + 1) * STEPS + (ns >> shift) as usize - STEPS
}

/// The longest time of a place.
const fn upper(place: usize) -> u64 {
    if place < STEPS {
        return place as u64;
    }
    let shift = (place / STEPS - 1) as u32;
    (((place % STEPS + STEPS) as u64 + 1) << shift) - 1
}

impl Histogram {
    #[inline]
    pub fn add(&mut self, ns: u64) {
        let at = place(ns).min(self.counts.len() - 1);
        self.counts[at] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
    }

    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub const fn count(&self) -> u64 {
        self.count
    }

    pub const fn max_ns(&self) -> u64 {
        self.max
    }

    /// The time that this share (0 to 1) of all did not exceed, in ns; 0 if there is none.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let wanted = (share * self.count as f64).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return upper(at).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_at_most_three_percent_below_its_place() {
        for ns in (0..4096).chain((12..40).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 12_345])) {
            let up = upper(place(ns));
            assert!(up >= ns && up as f64 <= ns as f64 * 1.032 + 1.0, "{ns} {up}");
        }
    }

    #[test]
    fn quantiles_of_an_even_spread() {
        let mut h = Histogram::default();
        (1..=10_000).for_each(|ns| h.add(ns));
        for (share, exact) in [(0.5, 5000.0), (0.95, 9500.0), (0.99, 9900.0), (0.999, 9990.0)] {
            let seen = h.quantile_ns(share) as f64;
            assert!((seen / exact - 1.0).abs() < 0.032, "{share}: {seen}");
        }
        assert_eq!((h.quantile_ns(1.0), h.max_ns(), h.count()), (10_000, 10_000, 10_000));
        assert_eq!(Histogram::default().quantile_ns(0.5), 0);
    }
}
