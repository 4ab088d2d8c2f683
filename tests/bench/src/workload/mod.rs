//! The core workloads of YCSB, as its paper and its reference code define them, and G: only inserts.
//!
//! | | operations | requests |
//! |---|---|---|
//! | A | 50 % read, 50 % update | scrambled zipfian |
//! | B | 95 % read, 5 % update | scrambled zipfian |
//! | C | 100 % read | scrambled zipfian |
//! | D | 95 % read, 5 % insert | latest |
//! | E | 95 % scan of 1 to 100 keys, 5 % insert | scrambled zipfian |
//! | F | 50 % read, 50 % read-modify-write | scrambled zipfian |
//! | G | 100 % insert | |
//! | LOAD | inserts all records | |
//!
//! Source: Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC 2010; YCSB 0.17, `CoreWorkload`.

pub mod dist;
pub mod keys;
pub mod record;

use dist::{Latest, Scrambled};
use keys::Inserts;
use record::Rng;

/// Longest scan of E, in keys.
pub const SCAN_KEYS_MAX: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Workload {
    Load,
    A,
    B,
    C,
    D,
    E,
    F,
    G,
}

/// What to do next. Numbers are those of records: [`record::Key::of`] makes the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Read(u64),
    Update(u64),
    Insert(u64),
    Scan(u64, u64),
    ReadModifyWrite(u64),
}

impl Workload {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "LOAD",
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
            Self::F => "F",
            Self::G => "G",
        }
    }

    /// Share of operations that insert a record.
    pub const fn insert_share(self) -> f64 {
        match self {
            Self::D | Self::E => 0.05,
            Self::Load | Self::G => 1.0,
            _ => 0.0,
        }
    }
}

/// The operations of one thread.
pub struct Source<'a> {
    workload: Workload,
    inserts: &'a Inserts,
    scrambled: Scrambled,
    latest: Latest,
}

impl<'a> Source<'a> {
    pub const fn new(workload: Workload, inserts: &'a Inserts, scrambled: Scrambled, latest: Latest) -> Self {
        Self { workload, inserts, scrambled, latest }
    }

    #[inline]
    pub fn next(&mut self, rng: &mut Rng) -> Op {
        match self.workload {
            Workload::A if rng.percent() < 50 => Op::Update(self.request(rng)),
            Workload::B if rng.percent() < 5 => Op::Update(self.request(rng)),
            Workload::A | Workload::B | Workload::C => Op::Read(self.request(rng)),
            Workload::D | Workload::E if rng.percent() < 5 => Op::Insert(self.inserts.next()),
            Workload::D => Op::Read(self.latest.next(rng, self.inserts.readable())),
            Workload::E => Op::Scan(self.request(rng), 1 + rng.below(SCAN_KEYS_MAX)),
            Workload::F if rng.percent() < 50 => Op::ReadModifyWrite(self.request(rng)),
            Workload::F => Op::Read(self.request(rng)),
            Workload::Load | Workload::G => Op::Insert(self.inserts.next()),
        }
    }

    /// A record that is there: what is not yet inserted is drawn again.
    #[inline]
    fn request(&self, rng: &mut Rng) -> u64 {
        loop {
            let n = self.scrambled.next(rng);
            if n < self.inserts.readable() {
                return n;
            }
        }
    }
}

#[cfg(test)]
mod tests;
