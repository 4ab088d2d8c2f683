//! What is known of the value log's segments: live bytes, what the manifest must learn, files that may go.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nokv_formats::manifest::Edit;
use nokv_formats::vlog::SEGMENT_HEADER_BYTES;

use super::{SegmentId, ValueLogStep};
use crate::engine::{Engine, Install};
use crate::error::Result;
use crate::index::MemIndex;
use crate::planted::{self, Bug};
use crate::vfs::Vfs;
use crate::vlog::{SegmentInfo, SegmentUse};

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Live bytes of each segment, as tables and memtables say.
    pub fn value_log_live(&self) -> BTreeMap<SegmentId, u64> {
        let view = self.view();
        let mut live = BTreeMap::new();
        for table in view.tables.tables() {
            for l in &table.meta().props.live {
                *live.entry((l.bucket, l.segment)).or_default() += l.bytes;
            }
        }
        for memtable in view.memtables() {
            for (id, bytes) in memtable.live() {
                *live.entry(id).or_default() += bytes;
            }
        }
        live
    }

    /// The segments that may be collected, with what is live in them: not those on their way out, those that are left
    /// alone, nor empty heads.
    pub(super) fn collectable_segments(&self) -> Vec<SegmentUse> {
        let mut uses = self.segment_uses();
        uses.retain(|s| {
            let overdrawn = s.live > s.bytes;
            if overdrawn {
                self.gc_refuse_overdrawn(s);
            }
            !overdrawn
        });
        uses
    }

    /// [`Engine::collectable_segments`] with those that have more live bytes than they hold. Changes nothing.
    pub(super) fn segment_uses(&self) -> Vec<SegmentUse> {
        // In this order: what is named in the view is in the segments listed later.
        let live = self.value_log_live();
        let mut segments = self.segments_there();
        let refused: Vec<SegmentId> = self.gc.lock().refused.keys().copied().collect();
        segments.retain(|s| {
            let is_empty_head = s.head && s.size <= SEGMENT_HEADER_BYTES;
            !refused.contains(&s.id()) && !is_empty_head
        });
        segments
            .iter()
            .map(|s| SegmentUse {
                bucket: s.bucket,
                segment: s.segment,
                bytes: s.size.saturating_sub(SEGMENT_HEADER_BYTES),
                live: live.get(&(s.bucket, s.segment)).copied().unwrap_or(0),
                head: s.head,
            })
            .collect()
    }

    /// The segments of the value log but for those on their way out. One that a collection takes out during the call may
    /// be among them, none that left before.
    pub(super) fn segments_there(&self) -> Vec<SegmentInfo> {
        // In this order: a segment leaves the value log before it leaves this list.
        let gone = self.retired.lock().segments.clone();
        let mut segments = self.vlog.segments();
        segments.retain(|s| !gone.contains(&s.id()));
        segments
    }

    /// Unlinks value-log segments that retired, once no retired table or memtable that names them is read.
    pub(crate) fn remove_dead_segments(&self) -> Result<()> {
        let free: Vec<SegmentId> = {
            let retired = self.retired.lock();
            let by_tables = |id: &SegmentId| {
                retired
                    .tables
                    .iter()
                    .any(|t| t.meta().props.live.iter().any(|l| (l.bucket, l.segment) == *id))
            };
            let by_memtables = |id: &SegmentId| retired.memtables.iter().any(|m| m.names_segment(id.0, id.1));
            let is_read = |id: &&SegmentId| by_tables(id) || by_memtables(id);
            let is_free = |id: &&SegmentId| planted::is(Bug::SegmentRemovedUnderReader) || !is_read(id);
            retired.segments.iter().filter(is_free).copied().collect()
        };
        for id in free {
            self.vlog.remove_segment(id.0, id.1)?;
            self.signals.value_log(&ValueLogStep::Removed { bucket: id.0, segment: id.1 });
            self.retired.lock().segments.retain(|s| *s != id);
        }
        Ok(())
    }

    /// Makes the value log durable; gives the segments whose names and bytes, up to the call, are durable now.
    pub(crate) fn sync_values(&self) -> Result<Vec<SegmentInfo>> {
        let mut segments = self.vlog.segments();
        if !planted::is(Bug::TableBeforeValues) {
            self.vlog.sync()?;
        }
        let after = self.vlog.segments();
        for s in &mut segments {
            // A segment that was left meanwhile may have bytes that the sync did not cover.
            let now = after.iter().find(|now| (now.bucket, now.segment) == (s.bucket, s.segment));
            s.settled = now.is_some_and(|now| now.settled);
            s.size = now.map_or(s.size, |now| now.size);
        }
        Ok(segments)
    }

    /// Those of `segments` that no collection took out of the manifest since they were listed. None leaves while
    /// `_install` is held.
    pub(crate) fn without_removed(
        &self,
        _install: &Install<V>,
        segments: &[SegmentInfo],
    ) -> Vec<SegmentInfo> {
        let there: Vec<SegmentId> = self.segments_there().iter().map(SegmentInfo::id).collect();
        let stays = |s: &&SegmentInfo| there.binary_search(&s.id()).is_ok();
        segments.iter().filter(stays).copied().collect()
    }

    /// Adds edits for what the manifest does not know yet of `durable` segments.
    pub(crate) fn push_value_log_edits(
        &self,
        install: &Install<V>,
        durable: &[SegmentInfo],
        edits: &mut Vec<Edit>,
    ) {
        let state = install.manifest.state();
        for s in self.without_removed(install, durable) {
            let (bucket, segment) = (s.bucket, s.segment);
            let known = state.vlog_segments.get(&(bucket, segment));
            // Collected before a crash, and not swept by an open that cut something: the next one does.
            if known.is_none() && state.vlog_heads.get(&bucket).is_some_and(|head| segment <= *head) {
                continue;
            }
            if s.settled && known.is_none_or(|k| !k.sealed) {
                edits.push(Edit::VlogSegment { bucket, segment, sealed: true, size: s.size });
            } else if known.is_none() {
                // How long it is durable is not known while appends go on.
                edits.push(Edit::VlogSegment { bucket, segment, sealed: false, size: 0 });
            }
            if s.head && state.vlog_heads.get(&bucket).is_none_or(|head| *head < segment) {
                edits.push(Edit::VlogHead { bucket, segment });
            }
        }
    }
}
