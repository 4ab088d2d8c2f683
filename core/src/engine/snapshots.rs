//! Snapshots: a seq and a time that reads go back to. They pin no files, only entries: a compaction keeps what
//! a snapshot sees.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nokv_formats::Seq;

use crate::engine::Engine;
use crate::index::MemIndex;
use crate::planted::{self, Bug};
use crate::sync::{Arc, Ordering};
use crate::vfs::Vfs;

/// The open snapshots.
#[derive(Default)]
pub(crate) struct SnapshotList {
    next: u64,
    open: BTreeMap<u64, Held>,
}

#[derive(Clone, Copy)]
struct Held {
    seq: Seq,
    time_ms: u64,
}

impl SnapshotList {
    /// Seq and time of the oldest; the maximum of both if there is none.
    pub(crate) fn oldest(&self) -> (Seq, u64) {
        let seq = self.open.values().map(|h| h.seq).min().unwrap_or(Seq::MAX);
        (seq, self.open.values().map(|h| h.time_ms).min().unwrap_or(u64::MAX))
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}

/// One seq and one time. Dropping it lets go.
pub struct Snapshot<V: Vfs, I: MemIndex> {
    engine: Arc<Engine<V, I>>,
    id: u64,
    seq: Seq,
    time_ms: u64,
}

impl<V: Vfs, I: MemIndex> Snapshot<V, I> {
    /// What it sees.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// When it was made, in Unix milliseconds; expiry is judged at this time.
    pub const fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

impl<V: Vfs, I: MemIndex> Drop for Snapshot<V, I> {
    fn drop(&mut self) {
        self.engine.snapshots.lock().open.remove(&self.id);
    }
}

/// What a compaction must keep apart.
#[derive(Debug, Clone)]
pub struct Horizon {
    /// Seqs that reads may stand at, ascending; the last is what was published.
    pub seqs: Vec<Seq>,
    /// Entries that expired up to here are gone for every read, now and later.
    pub cut_ms: u64,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// A snapshot of what is published now.
    pub fn snapshot(self: &Arc<Self>) -> Snapshot<V, I> {
        let mut list = self.snapshots.lock();
        // Under the lock: a horizon taken later sees this snapshot, one taken earlier is below its seq.
        let seq = self.publisher.published();
        let time_ms = self.now_ms();
        let id = list.next;
        list.next += 1;
        list.open.insert(id, Held { seq, time_ms });
        Snapshot { engine: self.clone(), id, seq, time_ms }
    }

    /// Seqs and times of the open snapshots, oldest first.
    pub fn open_snapshots(&self) -> Vec<(Seq, u64)> {
        self.snapshots.lock().open.values().map(|h| (h.seq, h.time_ms)).collect()
    }

    /// Entries that expire at `unix_ms` or later are not taken out by merges, even when their time has come, until another
    /// time is given (`u64::MAX`, as at the start: all may go). For a host that takes them out itself, and reads them with
    /// [`Engine::get_with_expired`] before it does. What a merge under way has decided stays decided.
    pub fn keep_expired_from(&self, unix_ms: u64) {
        self.expired_kept_from.store(unix_ms, Ordering::Release);
    }

    /// Up to when entries may have expired for a merge to take them out, while the oldest snapshot is of `oldest_ms`.
    pub(crate) fn cut_ms(&self, oldest_ms: u64) -> u64 {
        let kept_from = self.expired_kept_from.load(Ordering::Acquire);
        // `u64::MAX - 1` is as good as no bound.
        self.now_ms().min(oldest_ms).min(kept_from.saturating_sub(1))
    }

    pub(crate) fn horizon(&self) -> Horizon {
        let list = self.snapshots.lock();
        let mut seqs: Vec<Seq> = list.open.values().map(|h| h.seq).collect();
        if planted::is(Bug::SnapshotsForgotten) {
            seqs.clear();
        }
        seqs.push(self.publisher.published());
        seqs.sort_unstable();
        seqs.dedup();
        let oldest = list.open.values().map(|h| h.time_ms).min().unwrap_or(u64::MAX);
        let cut_ms = self.cut_ms(oldest);
        // Under the lock: no snapshot that is made from now on has an earlier time.
        self.expiry_cut.fetch_max(cut_ms, Ordering::AcqRel);
        drop(list);
        Horizon { seqs, cut_ms }
    }
}
