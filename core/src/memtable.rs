//! A memtable: an index of entries, the range deletes beside it, and what a flush must know.

use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, RwLock};
use alloc::collections::BTreeMap;

use nokv_formats::batch::Op;
use nokv_formats::vlog::record_len;
use nokv_formats::{EntryRef, KeyRef, Kind, Seq, ValuePtr, Version};

use crate::index::MemIndex;
use crate::read::range_set::RangeSet;

/// Entries not yet in a table. Shared: writers insert, readers read, both at once.
pub struct Memtable<I> {
    index: Arc<I>,
    ranges: RwLock<RangeSet>,
    has_ranges: AtomicBool,
    range_bytes: AtomicUsize,
    /// Highest version of an entry; range deletes do not count.
    version_max: AtomicU64,
    /// Deletes of keys.
    deletes: AtomicU64,
    /// First log segment that may hold its records.
    wal_segment: u32,
    /// The first seq it may hold.
    first_seq: Seq,
    /// The last seq it holds; set when it is sealed.
    last_seq: AtomicU64,
    /// When it was sealed, on the monotonic clock.
    sealed_at_ns: AtomicU64,
    /// Bytes of value-log records that its pointers name.
    live: Mutex<BTreeMap<(u16, u32), u64>>,
}

impl<I: MemIndex> Memtable<I> {
    /// An empty memtable of about `bytes`, whose records start in `wal_segment` and whose seqs start at
    /// `first_seq`.
    pub fn new(config: &I::Config, bytes: usize, wal_segment: u32, first_seq: Seq) -> Self {
        Self {
            index: Arc::new(I::new(config, bytes)),
            ranges: RwLock::new(RangeSet::new()),
            has_ranges: AtomicBool::new(false),
            range_bytes: AtomicUsize::new(0),
            version_max: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            wal_segment,
            first_seq,
            last_seq: AtomicU64::new(0),
            sealed_at_ns: AtomicU64::new(0),
            live: Mutex::new(BTreeMap::new()),
        }
    }

    /// Inserts operation `op` with seq `seq`.
    #[inline]
    pub fn apply(&self, op: &Op<'_>, seq: Seq) {
        if op.kind == Kind::RangeDelete {
            let mut ranges = self.ranges.write();
            ranges.insert(op.key.cf, op.key.user_key, op.value, seq);
            self.range_bytes.store(ranges.memory_bytes(), Ordering::Relaxed);
            self.has_ranges.store(true, Ordering::Release);
            return;
        }
        if op.version.0 > self.version_max.load(Ordering::Relaxed) {
            self.version_max.fetch_max(op.version.0, Ordering::Release);
        }
        if op.kind == Kind::Delete {
            self.deletes.fetch_add(1, Ordering::Relaxed);
        }
        if op.kind == Kind::Pointer
            && let Ok(ptr) = ValuePtr::decode(op.value)
        {
            let bytes = record_len(op.key.user_key.len(), ptr.value_len);
            *self.live.lock().entry((ptr.bucket, ptr.segment)).or_default() += bytes;
        }
        let entry = EntryRef {
            version: op.version,
            seq,
            kind: op.kind,
            meta: op.meta,
            expires_at: op.expires_at,
            value: op.value,
        };
        self.index.insert(op.key, &entry);
    }

    /// The index.
    #[inline]
    pub const fn index(&self) -> &Arc<I> {
        &self.index
    }

    /// The newest range delete up to `seq` that covers `key`.
    #[inline]
    pub fn range_delete(&self, key: KeyRef<'_>, seq: Seq) -> Option<Seq> {
        if !self.has_ranges.load(Ordering::Acquire) {
            return None;
        }
        self.ranges.read().newest_covering(key, seq)
    }

    /// Deletes of keys in it.
    pub fn deletes(&self) -> u64 {
        self.deletes.load(Ordering::Relaxed)
    }

    /// Does it hold range deletes?
    pub fn has_range_deletes(&self) -> bool {
        self.has_ranges.load(Ordering::Acquire)
    }

    /// A copy of its range deletes; `None` if there are none.
    pub fn ranges(&self) -> Option<RangeSet> {
        self.has_ranges.load(Ordering::Acquire).then(|| self.ranges.read().clone())
    }

    /// Highest version of an entry.
    #[inline]
    pub fn version_max(&self) -> Version {
        Version(self.version_max.load(Ordering::Acquire))
    }

    /// Bytes of memory it holds.
    pub fn memory_bytes(&self) -> usize {
        self.index.memory_bytes() + self.range_bytes.load(Ordering::Relaxed)
    }

    /// Holds neither entries nor range deletes.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty() && !self.has_ranges.load(Ordering::Acquire)
    }

    /// First log segment that may hold its records.
    pub const fn wal_segment(&self) -> u32 {
        self.wal_segment
    }

    /// The first seq it may hold.
    pub const fn first_seq(&self) -> Seq {
        self.first_seq
    }

    /// The last seq it holds, once sealed.
    pub fn last_seq(&self) -> Seq {
        Seq(self.last_seq.load(Ordering::Acquire))
    }

    /// No seq above `last` will come.
    pub fn seal(&self, last: Seq) {
        self.last_seq.store(last.0, Ordering::Release);
    }

    /// For statistics: it was sealed at `ns` of the monotonic clock.
    pub(crate) fn note_sealed_at(&self, ns: u64) {
        self.sealed_at_ns.store(ns, Ordering::Relaxed);
    }

    pub(crate) fn sealed_at_ns(&self) -> u64 {
        self.sealed_at_ns.load(Ordering::Relaxed)
    }

    /// Does an entry point into this value-log segment?
    pub fn names_segment(&self, bucket: u16, segment: u32) -> bool {
        self.live.lock().contains_key(&(bucket, segment))
    }

    /// Bytes of value-log records per (bucket, segment).
    pub fn live(&self) -> BTreeMap<(u16, u32), u64> {
        self.live.lock().clone()
    }
}
