//! What each thread of a workload does: step `n` of thread `t` is a pure function of the seed, so that the process that
//! checks knows what the process that died had written without being told.
//!
//! There are three kinds of keys:
//! - *shared* ones, which every thread writes, only in batches whose last operation is the thread's own marker. The
//!   marker says whether the batch is there, and which seq it has; the seqs say who came last.
//! - *private* ones, written by one thread with single calls. Their order is the thread's.
//! - *unlogged* ones, written by one more thread without a log record. What is there of them is a prefix of its steps.

use nokv::{CfId, WriteBatch};

use super::dice::{Dice, mix};

/// Families that a workload writes: the built-in ones and one that it makes.
pub const FAMILIES: u32 = 4;
/// The name of the family that it makes.
pub const EXTRA: &str = "extra";
/// Its number.
pub const EXTRA_ID: u32 = 3;
/// Keys without a log record.
pub const UNLOGGED_KEYS: u64 = 16;
/// Private keys of a thread.
const PRIVATE_KEYS: u64 = 24;

/// How much a workload does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What everything is drawn from.
    pub seed: u64,
    /// Threads that log what they write.
    pub threads: u64,
    /// Shared keys in each family.
    pub keys: u64,
    /// Length of the largest values.
    pub large: u64,
    /// One value in so many is large.
    pub large_one_in: u64,
}

/// Family and user key.
pub type Key = (u32, String);

/// Names a value; its bytes follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueId {
    /// Who wrote it.
    pub thread: u64,
    /// In which step.
    pub step: u64,
    /// As which operation; [`MARKER`] for a marker.
    pub index: u64,
    /// How long it is.
    pub len: u64,
}

/// The index of a marker's value, which is the number of its step.
pub const MARKER: u64 = 255;

impl ValueId {
    /// Its bytes.
    pub fn bytes(&self, seed: u64) -> Vec<u8> {
        if self.index == MARKER {
            return self.step.to_le_bytes().to_vec();
        }
        let mut x = mix(mix(seed, self.thread), mix(self.step, self.index)) | 1;
        let mut bytes = Vec::with_capacity(self.len as usize + 8);
        while bytes.len() < self.len as usize {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes.extend_from_slice(&x.to_le_bytes());
        }
        bytes.truncate(self.len as usize);
        bytes
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put(Key, ValueId),
    /// Deletes a key.
    Delete(Key),
    /// Deletes the keys of this family and prefix whose numbers are in a range.
    DeleteRange(u32, char, std::ops::Range<u64>),
}

/// What a thread does at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A batch that ends with the thread's marker, and whether it is synced.
    Batch(Vec<Op>, bool),
    /// One call on a private key.
    Single(Op),
}

impl Step {
    /// Its operations.
    pub fn ops(&self) -> &[Op] {
        match self {
            Self::Batch(ops, _) => ops,
            Self::Single(op) => std::slice::from_ref(op),
        }
    }
}

/// Key number `n` of a kind. Kinds are `k`: shared, `u`: unlogged, and `A`, `B`, ...: private to a thread.
pub fn key(cf: u32, kind: char, n: u64) -> Key {
    (cf, format!("{kind}{n:05}"))
}

/// The kind of a thread's private keys.
pub fn private(thread: u64) -> char {
    char::from(b'A' + (thread % 26) as u8)
}

/// The key that says how far a thread is.
pub fn marker(thread: u64) -> Key {
    (0, format!("marker {thread}"))
}

fn mark(thread: u64, step: u64) -> Op {
    Op::Put(marker(thread), ValueId { thread, step, index: MARKER, len: 8 })
}

impl Shape {
    fn value(&self, dice: &mut Dice, thread: u64, step: u64, index: u64, large: bool) -> ValueId {
        let len = if large { 500 + dice.below(self.large) } else { dice.pick(&[0, 10, 60, 150, 300]) };
        ValueId { thread, step, index, len }
    }

    fn range(dice: &mut Dice, keys: u64) -> std::ops::Range<u64> {
        let start = dice.below(keys);
        start..(start + 1 + dice.below(keys / 8 + 1))
    }

    /// Step `n` of a thread that logs, from 1 on.
    pub fn step(&self, thread: u64, n: u64) -> Step {
        let mut dice = Dice::new(mix(mix(self.seed, 77 + thread), n));
        let cf = dice.below(u64::from(FAMILIES)) as u32;
        if dice.one_in(3) {
            let kind = private(thread);
            let at = key(cf, kind, dice.below(PRIVATE_KEYS));
            let large = dice.one_in(self.large_one_in);
            return Step::Single(match dice.below(10) {
                0..2 => Op::Delete(at),
                2 => Op::DeleteRange(cf, kind, Self::range(&mut dice, PRIVATE_KEYS)),
                _ => Op::Put(at, self.value(&mut dice, thread, n, 0, large)),
            });
        }
        let count = 1 + dice.below(4);
        // A batch is never larger than the smallest memtable: one large value at most.
        let mut large = dice.one_in(self.large_one_in);
        let mut ops: Vec<Op> = (0..count)
            .map(|index| {
                let cf = dice.below(u64::from(FAMILIES)) as u32;
                let at = key(cf, 'k', dice.below(self.keys));
                match dice.below(24) {
                    0..4 => Op::Delete(at),
                    4 => Op::DeleteRange(cf, 'k', Self::range(&mut dice, self.keys)),
                    _ => Op::Put(at, self.value(&mut dice, thread, n, index, std::mem::take(&mut large))),
                }
            })
            .collect();
        ops.push(mark(thread, n));
        Step::Batch(ops, dice.one_in(12))
    }

    /// Step `n` of the thread that logs nothing, from 1 on: it sets two of its keys and deletes one.
    pub fn unlogged_step(&self, n: u64) -> Vec<Op> {
        let thread = self.threads;
        let put = |index: u64, at: u64| {
            let mut dice = Dice::new(mix(mix(self.seed, 33), n * 2 + index));
            let large = dice.one_in(self.large_one_in);
            Op::Put(key(1, 'u', at % UNLOGGED_KEYS), self.value(&mut dice, thread, n, index, large))
        };
        vec![put(0, n), Op::Delete(key(1, 'u', (n + 9) % UNLOGGED_KEYS)), put(1, n + 5), mark(thread, n)]
    }
}

/// The batch of these operations.
///
/// # Errors
/// One that is above a limit.
pub fn batch_of(ops: &[Op], seed: u64) -> nokv::Result<WriteBatch> {
    let mut batch = WriteBatch::new();
    for op in ops {
        match op {
            Op::Put((cf, key), value) => batch.put(CfId(*cf), key.as_bytes(), &value.bytes(seed))?,
            Op::Delete((cf, key)) => batch.delete(CfId(*cf), key.as_bytes())?,
            Op::DeleteRange(cf, kind, range) => {
                let (start, end) = (key(*cf, *kind, range.start), key(*cf, *kind, range.end));
                batch.delete_range(CfId(*cf), start.1.as_bytes(), end.1.as_bytes())?;
            }
        }
    }
    Ok(batch)
}
