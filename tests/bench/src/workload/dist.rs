//! Which record is asked for: zipfian, scrambled zipfian, latest. The constant is 0.99.
//!
//! The generator is that of Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994, as
//! YCSB uses it.

use super::record::{Rng, fnv};

/// YCSB draws ranks of the scrambled distribution from so many items, however few records there are.
pub const YCSB_ITEMS: u64 = 10_000_000_000;
/// The sum over `1 / i^0.99` for [`YCSB_ITEMS`], as it stands in YCSB.
const YCSB_ZETA: f64 = 26.469_028_201_783_02;
const THETA: f64 = 0.99;

fn zeta(from: u64, to: u64, sum: f64) -> f64 {
    (from + 1..=to).fold(sum, |sum, i| sum + (i as f64).powf(-THETA))
}

/// Ranks `0..items`, 0 most often.
#[derive(Debug, Clone)]
pub struct Zipf {
    items: u64,
    zeta: f64,
    eta: f64,
    alpha: f64,
    half: f64,
}

impl Zipf {
    pub fn new(items: u64) -> Self {
        let zeta = if items == YCSB_ITEMS { YCSB_ZETA } else { zeta(0, items, 0.0) };
        let mut zipf = Self { items, zeta, eta: 0.0, alpha: 1.0 / (1.0 - THETA), half: 0.5f64.powf(THETA) };
        zipf.set_eta();
        zipf
    }

    fn set_eta(&mut self) {
        self.eta =
            (1.0 - (2.0 / self.items as f64).powf(1.0 - THETA)) / (1.0 - (1.0 + self.half) / self.zeta);
    }

    /// There are more items now.
    pub fn grow(&mut self, items: u64) {
        if items > self.items {
            self.zeta = zeta(self.items, items, self.zeta);
            self.items = items;
            self.set_eta();
        }
    }

    #[inline]
    pub fn next(&self, rng: &mut Rng) -> u64 {
        let u = rng.unit();
        let uz = u * self.zeta;
        if uz < 1.0 {
            return 0;
        }
        if uz < 1.0 + self.half {
            return 1;
        }
        let rank = self.items as f64 * (self.eta * u - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.items - 1)
    }
}

/// Zipfian, the popular ones spread over the whole space: hash of the rank, modulo the space.
#[derive(Debug, Clone)]
pub struct Scrambled {
    zipf: Zipf,
    space: u64,
}

impl Scrambled {
    /// `space` is the number of records that requests are spread over: those there are, and those to come.
    pub fn new(items: u64, space: u64) -> Self {
        Self { zipf: Zipf::new(items), space }
    }

    #[inline]
    pub fn next(&self, rng: &mut Rng) -> u64 {
        fnv(self.zipf.next(rng)) % self.space
    }
}

/// The newest records most often.
#[derive(Debug, Clone)]
pub struct Latest {
    zipf: Zipf,
}

impl Latest {
    pub fn new(records: u64) -> Self {
        Self { zipf: Zipf::new(records) }
    }

    /// One of the first `count` records.
    #[inline]
    pub fn next(&mut self, rng: &mut Rng, count: u64) -> u64 {
        self.zipf.grow(count);
        loop {
            let rank = self.zipf.next(rng);
            if rank < count {
                return count - 1 - rank;
            }
        }
    }
}
