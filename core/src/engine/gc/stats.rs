//! What value-log collection did since the open, and how the value log stands.

use alloc::collections::BTreeMap;

use nokv_formats::vlog::SEGMENT_HEADER_BYTES;

use super::SegmentId;
use crate::engine::Engine;
use crate::index::MemIndex;
use crate::sync::{AtomicU64, Ordering};
use crate::vfs::Vfs;
use crate::vlog::{GcPlan, Sampled, pick_victims};

/// Counters since the open.
#[derive(Default)]
pub(crate) struct GcCounters {
    throttled: AtomicU64,
    skipped: AtomicU64,
    rejected: AtomicU64,
    refused: AtomicU64,
    moved_bytes: AtomicU64,
    sampled_records: AtomicU64,
    sampled_bytes: AtomicU64,
}

impl GcCounters {
    pub(super) fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn moved(&self, bytes: u64) {
        self.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sampled(&self, records: u64, bytes: u64) {
        self.sampled_records.fetch_add(records, Ordering::Relaxed);
        self.sampled_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The head of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadInfo {
    /// Bytes of records in it.
    pub len: u64,
    /// Where the next record goes.
    pub offset: u64,
    /// Its segment number.
    pub fid: u32,
}

/// Collection and the value log at one moment; counters start at 0 with each open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcStats {
    /// Jobs that came to their end; a manual collection is one.
    pub gc_runs: u64,
    /// Segments that they freed.
    pub segments_removed: u64,
    /// How often a bucket got a new head.
    pub head_updates: u64,
    /// Jobs that were started and go on.
    pub gc_active: u64,
    /// Jobs that wait to be started.
    pub gc_scheduled: u64,
    /// Passes that started with fewer jobs at once because of the load.
    pub gc_throttled: u64,
    /// Passes that did not start because of the load.
    pub gc_skipped: u64,
    /// Manual collections that were refused because one ran.
    pub gc_rejected: u64,
    /// Automatic jobs that may run at once now, by options and load.
    pub gc_parallelism: u64,
    /// Segments that are not collected because a sample contradicts their account.
    pub gc_refused: u64,
    /// Bytes of values that were moved.
    pub moved_bytes: u64,
    /// Records that were read to verify segments.
    pub sampled_records: u64,
    /// Their bytes.
    pub sampled_bytes: u64,
    /// The last sample.
    pub last_sample: Option<(SegmentId, Sampled)>,
    /// Segments whose dead share has the discard ratio, and that are not collected yet.
    pub discard_queue: u64,
    /// Segments and tables that left the database but are still read.
    pub pending_deletes: u64,
    /// Heads, by bucket.
    pub heads: BTreeMap<u16, HeadInfo>,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Value-log collection at this moment.
    pub fn gc_stats(&self) -> GcStats {
        let c = &self.gc_counters;
        let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
        let counters = self.counters.shared.values();
        let mut uses = self.segment_uses();
        uses.retain(|s| s.live <= s.bytes);
        let queued = pick_victims(&uses, self.options.gc.discard_ratio);
        let heads = self.vlog.segments().into_iter().filter(|s| s.head);
        let pending = {
            let retired = self.retired.lock();
            retired.segments.len() + retired.tables.len()
        };
        let plan = GcPlan::new(&self.options.gc, self.gc_load_of(&self.scores_now()));
        let gc = self.gc.lock();
        GcStats {
            gc_runs: counters.gc_runs,
            segments_removed: counters.gc_segments,
            head_updates: self.vlog.head_updates(),
            gc_active: (gc.started + gc.manual) as u64,
            gc_scheduled: gc.automatic.saturating_sub(gc.started) as u64,
            gc_throttled: load(&c.throttled),
            gc_skipped: load(&c.skipped),
            gc_rejected: load(&c.rejected),
            gc_parallelism: plan.parallelism() as u64,
            gc_refused: load(&c.refused),
            moved_bytes: load(&c.moved_bytes),
            sampled_records: load(&c.sampled_records),
            sampled_bytes: load(&c.sampled_bytes),
            last_sample: gc.last_sample,
            discard_queue: queued.len() as u64,
            pending_deletes: pending as u64,
            heads: heads
                .map(|s| {
                    let len = s.size.saturating_sub(SEGMENT_HEADER_BYTES);
                    (s.bucket, HeadInfo { len, offset: s.size, fid: s.segment })
                })
                .collect(),
        }
    }
}
