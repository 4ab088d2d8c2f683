//! What a database must answer after its process died, and how that is written down beside an image that fails.
//!
//! Shared keys have the last writer by seq; private ones the last by step. Either order may be applied in any sequence,
//! so that the steps of several threads need not be sorted.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::record::{Reach, Record, STEPS_MAX};
use super::script::{Key, Op, Shape, Step, UNLOGGED_KEYS, ValueId, key, private};

/// The newest write of a key: its place in the order, and the value unless it is a delete.
type Cell = (u64, Option<ValueId>);

/// What is acknowledged, and what may be there besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The workload.
    pub shape: Shape,
    /// Keys that were ever written with a log record.
    cells: BTreeMap<Key, Cell>,
    /// Threads that log.
    pub threads: Vec<Reach>,
    /// Unlogged steps that a finished flush covers, and the last that may be there.
    pub unlogged: (u64, u64),
    /// The database was open once: it must be there.
    pub created: bool,
}

/// What a database turned out to hold of what was pending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Per thread: the seq of its pending step, if that is there.
    pub pending: Vec<Option<u64>>,
    /// The last unlogged step that is there.
    pub unlogged: u64,
}

impl Model {
    /// Before the first step.
    pub fn new(shape: Shape) -> Self {
        let threads = vec![Reach::default(); shape.threads as usize];
        Self { shape, cells: BTreeMap::new(), threads, unlogged: (0, 0), created: false }
    }

    /// Step `n` of `thread` happened, with this seq.
    pub fn apply(&mut self, thread: u64, n: u64, seq: u64) {
        let step = self.shape.step(thread, n);
        let ops = step.ops();
        for (i, op) in ops.iter().enumerate() {
            let order = match step {
                Step::Batch(..) => (seq + 1 + i as u64).saturating_sub(ops.len() as u64),
                Step::Single(_) => n,
            };
            self.apply_op(op, order);
        }
    }

    fn apply_op(&mut self, op: &Op, order: u64) {
        let mut write = |at: Key, value: Option<ValueId>| {
            let cell = self.cells.entry(at).or_insert((order, value));
            if order >= cell.0 {
                *cell = (order, value);
            }
        };
        match op {
            Op::Put(at, value) => write(at.clone(), Some(*value)),
            Op::Delete(at) => write(at.clone(), None),
            Op::DeleteRange(cf, kind, range) => range.clone().for_each(|n| write(key(*cf, *kind, n), None)),
        }
    }

    /// Reads what a process has done since the last look. Its first steps were `first`, the unlogged one last. Gives the
    /// number of steps that were acknowledged since.
    ///
    /// # Errors
    /// What reading the record gives.
    ///
    /// # Panics
    /// When the record is full.
    pub fn follow(&mut self, record: &Record, first: &[u64]) -> std::io::Result<u64> {
        self.created |= record.is_open()?;
        let mut steps = 0;
        for thread in 0..self.shape.threads {
            let (index, first) = (thread as usize, first[thread as usize]);
            let from = self.threads[index].acked + 1;
            let (seqs, reach) = record.since(thread, first, from)?;
            seqs.iter().zip(from..).for_each(|(seq, n)| self.apply(thread, n, *seq));
            assert!(reach.acked + 1 - first < STEPS_MAX, "the record is full");
            steps += seqs.len() as u64;
            self.threads[index] = reach;
        }
        let thread = self.shape.threads;
        let first = first[thread as usize];
        let (_, Reach { pending, .. }) = record.since(thread, first, first)?;
        let (low, high) = self.unlogged;
        self.unlogged = (low.max(record.flushed()?), high.max(pending));
        Ok(steps)
    }

    /// Takes over what a database turned out to hold: the next process goes on from there.
    pub fn resolve(&mut self, resolved: &Resolved) {
        for (thread, seq) in resolved.pending.iter().enumerate() {
            let reach = self.threads[thread];
            if let Some(seq) = seq {
                self.apply(thread as u64, reach.pending, *seq);
            }
            let at = if seq.is_some() { reach.pending } else { reach.acked };
            self.threads[thread] = Reach { acked: at, pending: at };
        }
        self.unlogged = (resolved.unlogged, resolved.unlogged);
    }

    /// The keys that must be there with a log record, and their values.
    pub fn content(&self) -> impl Iterator<Item = (&Key, ValueId)> {
        self.cells.iter().filter_map(|(key, (_, value))| value.map(|value| (key, value)))
    }

    /// The private keys of a thread that must be there; with its pending step if `after`.
    pub fn private(&self, thread: u64, after: bool) -> BTreeMap<Key, ValueId> {
        let kind = private(thread);
        let mut own = Self { cells: BTreeMap::new(), threads: Vec::new(), ..self.clone_frame() };
        own.cells.extend(
            self.cells.iter().filter(|((_, key), _)| key.starts_with(kind)).map(|(k, c)| (k.clone(), *c)),
        );
        if after {
            own.apply(thread, self.threads[thread as usize].pending, 0);
        }
        own.content().map(|(key, value)| (key.clone(), value)).collect()
    }

    fn clone_frame(&self) -> Self {
        Self { cells: BTreeMap::new(), threads: Vec::new(), ..*self }
    }

    /// The unlogged keys after `m` steps, the marker left out.
    pub fn unlogged_content(&self, m: u64) -> BTreeMap<Key, ValueId> {
        let mut cells = Self { ..self.clone_frame() };
        // Every key is touched within so many steps.
        for n in (m + 1).saturating_sub(2 * UNLOGGED_KEYS).max(1)..=m {
            let ops = self.shape.unlogged_step(n);
            ops[..3].iter().zip(n * 3..).for_each(|(op, order)| cells.apply_op(op, order));
        }
        cells.content().map(|(key, value)| (key.clone(), value)).collect()
    }

    /// As text, one fact a line.
    pub fn to_text(&self) -> String {
        let Shape { seed, threads, keys, large, large_one_in } = self.shape;
        let mut text = format!("shape {seed} {threads} {keys} {large} {large_one_in}\n");
        let _ = writeln!(text, "created {}", u8::from(self.created));
        let _ = writeln!(text, "unlogged {} {}", self.unlogged.0, self.unlogged.1);
        for reach in &self.threads {
            let _ = writeln!(text, "thread {} {}", reach.acked, reach.pending);
        }
        for ((cf, key), (order, value)) in &self.cells {
            let _ = match value {
                Some(v) => {
                    writeln!(text, "put {cf} {order} {} {} {} {} {key}", v.thread, v.step, v.index, v.len)
                }
                None => writeln!(text, "delete {cf} {order} {key}"),
            };
        }
        text
    }

    /// From that text.
    ///
    /// # Panics
    /// When it is another one.
    pub fn from_text(text: &str) -> Self {
        let shape = Shape { seed: 0, threads: 0, keys: 0, large: 0, large_one_in: 1 };
        let mut model = Self::new(shape);
        for line in text.lines() {
            let mut words = line.splitn(8, ' ');
            let word = words.next().unwrap_or_default();
            let mut number = || words.next().and_then(|w| w.parse::<u64>().ok()).expect("a number");
            match word {
                "shape" => {
                    let (seed, threads, keys) = (number(), number(), number());
                    model.shape = Shape { seed, threads, keys, large: number(), large_one_in: number() };
                }
                "created" => model.created = number() == 1,
                "unlogged" => model.unlogged = (number(), number()),
                "thread" => model.threads.push(Reach { acked: number(), pending: number() }),
                "put" => {
                    let (cf, order) = (number() as u32, number());
                    let (thread, step) = (number(), number());
                    let value = ValueId { thread, step, index: number(), len: number() };
                    let key = words.next().expect("a key").to_owned();
                    model.cells.insert((cf, key), (order, Some(value)));
                }
                "delete" => {
                    let (cf, order) = (number() as u32, number());
                    let key = words.collect::<Vec<_>>().join(" ");
                    model.cells.insert((cf, key), (order, None));
                }
                other => panic!("{other} stands in no such text"),
            }
        }
        model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { seed: 5, threads: 2, keys: 20, large: 100, large_one_in: 4 };

    #[test]
    fn the_order_of_application_does_not_matter_and_text_holds_all() {
        let steps: Vec<(u64, u64, u64)> =
            (1..200u64).flat_map(|n| [(0, n, n * 20), (1, n, n * 20 + 10)]).collect();
        let (mut forward, mut backward) = (Model::new(SHAPE), Model::new(SHAPE));
        for (thread, n, seq) in &steps {
            forward.apply(*thread, *n, *seq);
        }
        for (thread, n, seq) in steps.iter().rev() {
            backward.apply(*thread, *n, *seq);
        }
        assert_eq!(forward, backward);
        assert!(forward.content().count() > 30);
        forward.threads[1] = Reach { acked: 4, pending: 5 };
        forward.created = true;
        assert_eq!(Model::from_text(&forward.to_text()), forward);
    }

    #[test]
    fn unlogged_content_is_that_of_all_steps() {
        let model = Model::new(SHAPE);
        let mut whole = Model::new(SHAPE);
        for m in 1..100 {
            let ops = SHAPE.unlogged_step(m);
            ops[..3].iter().zip(m * 3..).for_each(|(op, order)| whole.apply_op(op, order));
            let all: BTreeMap<Key, ValueId> = whole.content().map(|(k, v)| (k.clone(), v)).collect();
            assert_eq!(model.unlogged_content(m), all, "{m}");
        }
    }
}
