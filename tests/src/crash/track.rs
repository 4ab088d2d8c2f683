//! What a workload did, in commit order: the oracle that images are compared with.
//!
//! A *step* is what is whole or absent: a batch, or a bulk ingest. A step is registered before the engine is told,
//! and acknowledged after; an image taken in between may hold it or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::formats::{CfId, Version};
use nokv_core::write::WriteBatch;

/// Family and user key to value.
pub type Content = BTreeMap<(u32, Vec<u8>), Arc<[u8]>>;

/// One operation of a step.
#[derive(Debug, Clone)]
pub enum Op {
    /// Sets a key.
    Put(u32, Vec<u8>, Arc<[u8]>),
    /// Sets a version of a key; versions of a key only rise, and it has no plain entry.
    PutVersion(u32, Vec<u8>, u64, Arc<[u8]>),
    /// Deletes a key with all versions.
    Delete(u32, Vec<u8>),
    /// Deletes a range of keys.
    DeleteRange(u32, Vec<u8>, Vec<u8>),
}

impl Op {
    pub(crate) fn apply(&self, content: &mut Content) {
        match self {
            Self::Put(cf, key, value) | Self::PutVersion(cf, key, _, value) => {
                content.insert((*cf, key.clone()), Arc::clone(value));
            }
            Self::Delete(cf, key) => {
                content.remove(&(*cf, key.clone()));
            }
            Self::DeleteRange(cf, start, end) => {
                content.retain(|(c, key), _| c != cf || key < start || key >= end);
            }
        }
    }

    fn push(&self, batch: &mut WriteBatch) -> nokv_core::Result<()> {
        match self {
            Self::Put(cf, key, value) => batch.put(CfId(*cf), key, value),
            Self::PutVersion(cf, key, version, value) => {
                batch.put_versioned(CfId(*cf), key, Version(*version), value, 7)
            }
            Self::Delete(cf, key) => batch.delete(CfId(*cf), key),
            Self::DeleteRange(cf, start, end) => batch.delete_range(CfId(*cf), start, end),
        }
    }
}

/// The batch of these operations.
///
/// # Panics
/// When one is above a limit.
pub fn batch_of(ops: &[Op]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    ops.iter().for_each(|op| op.push(&mut batch).expect("within limits"));
    batch
}

/// What is whole or absent.
#[derive(Debug, Clone)]
pub struct Step {
    /// Seq of its last operation.
    pub last_seq: u64,
    /// What it does.
    pub ops: Vec<Op>,
    /// Has it a log record? Without one it may vanish until it is flushed.
    pub logged: bool,
    /// Content after this and all earlier steps.
    pub state: Arc<Content>,
}

/// A second database that the workload made.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Its directory.
    pub dir: String,
    /// It holds exactly the steps up to this seq.
    pub seq: u64,
    /// It was acknowledged: it must be there.
    pub done: bool,
}

/// How far the workload was when an image was taken. Counts are numbers of steps.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    /// Which history: a death that loses steps without a log record starts another one.
    pub epoch: usize,
    /// The creation of the database was acknowledged.
    pub created: bool,
    /// Steps that power loss must keep.
    pub synced: usize,
    /// Steps that the death of the process must keep.
    pub acknowledged: usize,
    /// Steps that may be there.
    pub registered: usize,
    /// Seqs that may be the flushed one, where steps without a log record matter.
    pub flushed: [u64; 2],
    /// Families that exist, before and after a change that is under way.
    pub families: [BTreeSet<u32>; 2],
    /// Copies.
    pub copies: Vec<Copy>,
}

#[derive(Debug, Default)]
struct Inner {
    steps: Vec<Step>,
    /// The histories before.
    past: Vec<Vec<Step>>,
    mark: Mark,
}

impl Inner {
    fn history(&self, epoch: usize) -> &[Step] {
        self.past.get(epoch).unwrap_or(&self.steps)
    }
}

/// Shared by the workload, the hook that takes images, and those who check them.
#[derive(Debug, Clone, Default)]
pub struct Track(Arc<Mutex<Inner>>);

impl Track {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A database with the families that are there from the start.
    pub fn new() -> Self {
        let track = Self::default();
        track.update(|mark| mark.families = [BTreeSet::from([0, 1, 2]), BTreeSet::from([0, 1, 2])]);
        track
    }

    /// How far it is.
    pub fn mark(&self) -> Mark {
        self.with(|inner| inner.mark.clone())
    }

    /// Notes progress.
    pub fn update(&self, f: impl FnOnce(&mut Mark)) {
        self.with(|inner| f(&mut inner.mark));
    }

    /// Registers a step.
    pub fn register(&self, last_seq: u64, ops: Vec<Op>, logged: bool) {
        self.with(|inner| {
            let mut state = inner.steps.last().map(|s| Content::clone(&s.state)).unwrap_or_default();
            ops.iter().for_each(|op| op.apply(&mut state));
            inner.steps.push(Step { last_seq, ops, logged, state: Arc::new(state) });
            inner.mark.registered = inner.steps.len();
        });
    }

    /// Takes the last step back: the engine refused it and it left no trace.
    pub fn unregister(&self) {
        self.with(|inner| {
            inner.steps.pop();
            inner.mark.registered = inner.steps.len();
        });
    }

    /// Everything registered is acknowledged.
    pub fn acknowledge(&self) {
        self.with(|inner| inner.mark.acknowledged = inner.steps.len());
    }

    /// Everything registered is durable.
    pub fn synced(&self) {
        self.with(|inner| inner.mark.synced = inner.steps.len());
    }

    /// Everything registered is in tables.
    pub fn flushed(&self) {
        self.with(|inner| {
            inner.mark.synced = inner.steps.len();
            let last = inner.steps.last().map_or(0, |s| s.last_seq);
            inner.mark.flushed = [last, last];
        });
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.with(|inner| inner.steps.len())
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Content after everything.
    pub fn newest(&self) -> Arc<Content> {
        self.with(|inner| inner.steps.last().map(|s| Arc::clone(&s.state)).unwrap_or_default())
    }

    /// How many steps end at or before `seq`, and do they end exactly there?
    pub fn steps_up_to(&self, epoch: usize, seq: u64) -> (usize, bool) {
        self.with(|inner| {
            let steps = inner.history(epoch);
            let n = steps.partition_point(|s| s.last_seq <= seq);
            (n, n.checked_sub(1).map_or(seq == 0, |i| steps[i].last_seq == seq))
        })
    }

    /// Content of a database that recovered to `last`, with tables up to `flushed`.
    pub fn expected(&self, epoch: usize, last: u64, flushed: u64) -> Arc<Content> {
        self.with(|inner| {
            let steps = inner.history(epoch);
            let steps = &steps[..steps.partition_point(|s| s.last_seq <= last)];
            if steps.iter().all(|s| s.logged || s.last_seq <= flushed) {
                return steps.last().map(|s| Arc::clone(&s.state)).unwrap_or_default();
            }
            let mut content = Content::default();
            let there = steps.iter().filter(|s| s.logged || s.last_seq <= flushed);
            there.flat_map(|s| &s.ops).for_each(|op| op.apply(&mut content));
            Arc::new(content)
        })
    }

    /// The seq that a database must at least recover to when it must hold the first `steps` steps.
    pub fn seq_at_least(&self, epoch: usize, steps: usize, flushed: u64) -> u64 {
        self.with(|inner| {
            let kept = inner.history(epoch)[..steps].iter().filter(|s| s.logged || s.last_seq <= flushed);
            kept.map(|s| s.last_seq).max().unwrap_or(0)
        })
    }

    /// The last seq of the first `steps` steps.
    pub fn seq_at_most(&self, epoch: usize, steps: usize) -> u64 {
        self.with(|inner| steps.checked_sub(1).map_or(0, |i| inner.history(epoch)[i].last_seq))
    }

    /// A process died: forgets the steps behind `seq`, and those without a log record behind `flushed`.
    pub fn cut(&self, seq: u64, flushed: u64) {
        self.with(|inner| {
            let all = std::mem::take(&mut inner.steps);
            inner.past.push(all.clone());
            inner.mark.epoch = inner.past.len();
            let mut state = Arc::new(Content::new());
            for mut step in all {
                if step.last_seq > seq || !(step.logged || step.last_seq <= flushed) {
                    continue;
                }
                let mut next = Content::clone(&state);
                step.ops.iter().for_each(|op| op.apply(&mut next));
                state = Arc::new(next);
                step.state = Arc::clone(&state);
                inner.steps.push(step);
            }
            inner.mark.registered = inner.steps.len();
            inner.mark.acknowledged = inner.steps.len();
            inner.mark.synced = inner.steps.len();
        });
    }
}
