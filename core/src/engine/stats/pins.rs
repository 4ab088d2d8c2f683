//! What keeps files and entries from going: open iterators, open snapshots.
//!
//! Who may call it: a host registers the views that its iterators hold; statistics read the list. Registering takes one
//! lock of a shard, which another thread takes only by chance.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nokv_formats::Seq;

use super::shards::{SHARDS, shard_of_thread};
use crate::engine::Engine;
use crate::index::MemIndex;
use crate::read::view::View;
use crate::sync::{Arc, Mutex};
use crate::vfs::Vfs;

/// What kind of reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinOwner {
    /// A snapshot.
    Snapshot,
    /// An iterator over visible entries.
    Iterator,
    /// An iterator over all entries.
    InternalIterator,
}

/// One reader at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinStats {
    /// What kind.
    pub owner: PinOwner,
    /// The last write that it sees.
    pub seq: Seq,
    /// How long it has been open, in milliseconds.
    pub age_ms: u64,
    /// Iterators: bytes of files and memtables that left the tree and that this one, maybe among others, holds.
    /// Snapshots: at most so many bytes of hidden entries are kept for it.
    pub bytes: u64,
    /// Memory of its own: about a block for each source that it reads.
    pub memory_bytes: u64,
}

struct Held<V: Vfs, I> {
    owner: PinOwner,
    seq: Seq,
    since_ns: u64,
    view: Arc<View<V, I>>,
}

struct Shard<V: Vfs, I> {
    next: u64,
    held: BTreeMap<u64, Held<V, I>>,
}

/// The registered readers.
pub(crate) struct PinList<V: Vfs, I>([Mutex<Shard<V, I>>; SHARDS]);

impl<V: Vfs, I> Default for PinList<V, I> {
    fn default() -> Self {
        Self(core::array::from_fn(|_| Mutex::new(Shard { next: 0, held: BTreeMap::new() })))
    }
}

/// A registered reader; dropping it takes it off the list.
pub struct Pin<V: Vfs, I: MemIndex> {
    engine: Arc<Engine<V, I>>,
    shard: usize,
    id: u64,
}

impl<V: Vfs, I: MemIndex> Drop for Pin<V, I> {
    fn drop(&mut self) {
        let gone = self.engine.pins.0.get(self.shard).and_then(|s| s.lock().held.remove(&self.id));
        // Outside the lock: it may be the last hold on files.
        drop(gone);
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Lists a reader that holds `view` at `seq` for as long as the pin lives.
    pub fn pin_view(self: &Arc<Self>, owner: PinOwner, view: Arc<View<V, I>>, seq: Seq) -> Pin<V, I> {
        let shard = shard_of_thread();
        let held = Held { owner, seq, since_ns: self.clock.monotonic_ns(), view };
        let mut list = self.pins.0[shard].lock();
        let id = list.next;
        list.next += 1;
        list.held.insert(id, held);
        drop(list);
        Pin { engine: self.clone(), shard, id }
    }

    /// Open iterators and snapshots, oldest first.
    pub fn pins(&self) -> Vec<PinStats> {
        let current = self.view();
        let mut all = self.snapshot_pins(&current);
        let now = self.clock.monotonic_ns();
        for shard in &self.pins.0 {
            let held: Vec<_> = {
                let shard = shard.lock();
                shard.held.values().map(|h| (h.owner, h.seq, h.since_ns, h.view.clone())).collect()
            };
            all.extend(held.into_iter().map(|(owner, seq, since_ns, view)| PinStats {
                owner,
                seq,
                age_ms: now.saturating_sub(since_ns) / 1_000_000,
                bytes: self.held_bytes(&view, &current),
                memory_bytes: self.iterator_memory(&view),
            }));
        }
        all.sort_by(|a, b| b.age_ms.cmp(&a.age_ms).then(a.seq.cmp(&b.seq)));
        all
    }

    /// Bytes of what `view` holds and `current` does not.
    fn held_bytes(&self, view: &View<V, I>, current: &View<V, I>) -> u64 {
        if view.id == current.id {
            return 0;
        }
        let mut bytes = 0;
        let left: Vec<_> =
            view.tables.tables().filter(|t| current.tables.find(t.meta().id).is_none()).collect();
        let memtables: Vec<_> =
            view.memtables().filter(|m| !current.memtables().any(|c| Arc::ptr_eq(m, c))).collect();
        bytes += left.iter().map(|t| t.meta().file_bytes).sum::<u64>();
        bytes += memtables.iter().map(|m| m.memory_bytes() as u64).sum::<u64>();
        let segments = self.retired.lock().segments.clone();
        for info in self.vlog.segments() {
            let id = (info.bucket, info.segment);
            let names = || {
                left.iter().any(|t| t.meta().props.live.iter().any(|l| (l.bucket, l.segment) == id))
                    || memtables.iter().any(|m| m.names_segment(id.0, id.1))
            };
            if segments.contains(&id) && names() {
                bytes += info.size;
            }
        }
        bytes
    }

    fn iterator_memory(&self, view: &View<V, I>) -> u64 {
        let levels = view.tables.levels().iter().enumerate();
        let sources: usize = levels
            .map(|(n, level)| match n {
                0 => level.tables.len(),
                _ => level.ingest.len() + usize::from(!level.tables.is_empty()),
            })
            .sum();
        (sources * self.options.table.block_bytes) as u64
    }

    /// Each write since a snapshot hides at most one entry that is kept for it.
    fn snapshot_pins(&self, current: &View<V, I>) -> Vec<PinStats> {
        let (mut entries, mut bytes) = (0u64, 0u64);
        for table in current.tables.tables() {
            let props = &table.meta().props;
            entries += props.entries();
            bytes += table.meta().file_bytes + props.live.iter().map(|l| l.bytes).sum::<u64>();
        }
        let now = self.now_ms();
        let published = self.published();
        let pin = |(seq, at): (Seq, u64)| {
            let hidden = published.0.saturating_sub(seq.0).min(entries);
            let share = hidden as f64 / entries.max(1) as f64;
            PinStats {
                owner: PinOwner::Snapshot,
                seq,
                age_ms: now.saturating_sub(at),
                bytes: (bytes as f64 * share) as u64,
                memory_bytes: 0,
            }
        };
        self.open_snapshots().into_iter().map(pin).collect()
    }
}
