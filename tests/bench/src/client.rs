//! One client thread: draws operations, does them, times each.

use std::time::Instant;

use crate::check::Check;
use crate::engines::Engine;
use crate::histogram::Histogram;
use crate::workload::keys::Inserts;
use crate::workload::record::{Key, Rng, fill_value, touch};
use crate::workload::{Op, Source};

/// What a client saw, or several together.
#[derive(Default)]
pub struct Seen {
    pub reads: Histogram,
    pub writes: Histogram,
    pub sum: u64,
    /// When the first operation began and the last one ended.
    pub span: Option<(Instant, Instant)>,
}

impl Seen {
    pub fn merge(mut self, other: &Self) -> Self {
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
        self.sum = self.sum.wrapping_add(other.sum);
        self.span = match (self.span, other.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self
    }
}

pub struct Client<'a> {
    pub engine: &'a dyn Engine,
    pub source: Source<'a>,
    pub inserts: &'a Inserts,
    pub check: Option<&'a Check>,
    pub rng: Rng,
    /// Of the length of all values, the second half zero.
    pub value: Vec<u8>,
    pub seen: Seen,
}

impl Client<'_> {
    /// Each operation is timed from the end of the one before: making its key and value is in it, as in `null`.
    pub fn run(&mut self, ops: u64) {
        let started = Instant::now();
        let mut last = started;
        for _ in 0..ops {
            let op = self.source.next(&mut self.rng);
            let is_write = match op {
                Op::Read(n) => self.read(n),
                Op::Scan(n, count) => self.scan(n, count as usize),
                Op::Update(n) => self.write(n),
                Op::Insert(n) => {
                    self.write(n);
                    self.inserts.acknowledge(n);
                    true
                }
                Op::ReadModifyWrite(n) => {
                    self.read(n);
                    self.write(n)
                }
            };
            let now = Instant::now();
            let ns = now.duration_since(last).as_nanos() as u64;
            last = now;
            if is_write { self.seen.writes.add(ns) } else { self.seen.reads.add(ns) }
        }
        self.seen.span = Some((started, last));
    }

    fn read(&mut self, n: u64) -> bool {
        let key = Key::of(n);
        let (check, sum) = (self.check, &mut self.seen.sum);
        let is_there = self.engine.get(&key.bytes, &mut |value| {
            *sum = sum.wrapping_add(touch(value));
            if let Some(check) = check {
                check.read(&key, value);
            }
        });
        assert!(is_there, "record {n} was written and is not there");
        false
    }

    fn write(&mut self, n: u64) -> bool {
        let key = Key::of(n);
        let nonce = self.rng.next_u64();
        fill_value(key.hash, nonce, &mut self.value);
        self.engine.put(&key.bytes, &self.value);
        if let Some(check) = self.check {
            check.wrote(&key, nonce);
        }
        true
    }

    fn scan(&mut self, n: u64, count: usize) -> bool {
        let key = Key::of(n);
        let (check, sum) = (self.check, &mut self.seen.sum);
        let mut found = Vec::new();
        self.engine.scan(&key.bytes, count, &mut |key, value| {
            *sum = sum.wrapping_add(touch(key)).wrapping_add(touch(value));
            if check.is_some() {
                found.push((key.to_vec(), value.to_vec()));
            }
        });
        if let Some(check) = check {
            check.scanned(&key, count, &found);
        }
        false
    }
}
