//! A sample of each victim is read before it is collected: what the tree says of its records must agree with the
//! account of its live bytes.
//!
//! The account (live bytes by the tables' own count) says which tables are merged and when a segment may go. If it were
//! too low, live values would be lost. So a stretch of records is read, and each is looked up: a record that an entry of the
//! same view points to is live, any other is dead. The account is exact, and so is the measure of the stretch. With live
//! bytes L by account, l measured, and r bytes outside of the stretch, `l <= L <= l + r` must hold; else the segment
//! is left alone, and health says so.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::ControlFlow;

use nokv_formats::key::key_hash;
use nokv_formats::vlog::{Record, SEGMENT_HEADER_BYTES};
use nokv_formats::{KeyRef, Kind, ValuePtr};

use super::{Job, SegmentId, ValueLogStep, Victim};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::read::view::View;
use crate::sync::{Arc, Ordering};
use crate::vfs::Vfs;
use crate::vlog::{SampleLimit, Sampled, SegmentUse};

/// How account and sample contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// The sample alone has more live bytes than the account.
    MoreLive,
    /// What is not in the sample is too short for the rest of the account.
    MoreDead,
    /// A record or the segment cannot be read.
    Damaged(String),
}

/// A segment that is not collected, and why. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Bucket.
    pub bucket: u16,
    /// Segment in the bucket.
    pub segment: u32,
    /// Records of the segment.
    pub bytes: u64,
    /// Live bytes by account.
    pub expected_live: u64,
    /// Records in the sample.
    pub sampled: u64,
    /// Live ones among them.
    pub measured_live: u64,
    /// What is wrong.
    pub what: Contradiction,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "segment {} of bucket {} is not collected: ", self.segment, self.bucket)?;
        if let Contradiction::Damaged(what) = &self.what {
            return f.write_str(what);
        }
        write!(
            f,
            "{} of {} bytes are live by account, {} of {} by a sample",
            self.expected_live, self.bytes, self.measured_live, self.sampled
        )
    }
}

/// Does a sample of `sampled` bytes, `measured` of them live, agree with an account of `live` of `bytes` bytes?
pub(super) const fn judge(bytes: u64, live: u64, sampled: u64, measured: u64) -> Option<Contradiction> {
    if measured > live {
        return Some(Contradiction::MoreLive);
    }
    if live - measured > bytes.saturating_sub(sampled) {
        return Some(Contradiction::MoreDead);
    }
    None
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Verifies all victims; those that do not agree leave the job, the others may be moved from now on.
    pub(super) fn gc_verify(&self, job: &mut Job) -> Result<()> {
        let mut agreed = Vec::with_capacity(job.victims.len());
        for victim in &job.victims {
            match self.verify_segment(victim)? {
                None => agreed.push(*victim),
                Some(refusal) => {
                    job.report.refused += 1;
                    self.gc_refuse(refusal);
                }
            }
        }
        job.verified = true;
        job.victims = agreed;
        let mut gc = self.gc.lock();
        Arc::make_mut(&mut gc.moving).extend(job.victims.iter().map(|v| v.id));
        drop(gc);
        self.signals.value_log(&ValueLogStep::Started {
            buckets: job.buckets.clone(),
            segments: job.victims.len(),
            bytes: job.victims.iter().map(|v| v.bytes).sum(),
        });
        Ok(())
    }

    fn verify_segment(&self, victim: &Victim) -> Result<Option<Refusal>> {
        let (bucket, segment) = victim.id;
        // One view for both: each record is named once at most in it, and no new name can come.
        let view = self.view();
        let live = live_in(&view, victim.id);
        let mut measured = 0u64;
        let mut in_tree = None;
        let mut visit = |offset: u64, len: u64, record: &Record<'_>| -> Result<()> {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(Error::Busy("the database closes"));
            }
            let ptr = ValuePtr { bucket, segment, offset, value_len: record.value.len() as u32 };
            match is_named(&view, record.key, &ptr) {
                Ok(true) => measured += len,
                Ok(false) => {}
                Err(error) => {
                    in_tree = Some(error.clone());
                    return Err(error);
                }
            }
            Ok(())
        };
        let sampled = self.vlog.sample(bucket, segment, self.sample_limit(victim), &mut visit);
        let refuse = |sampled: u64, what| Refusal {
            bucket,
            segment,
            bytes: victim.bytes,
            expected_live: live,
            sampled,
            measured_live: measured,
            what,
        };
        match (sampled, in_tree) {
            (Ok(sampled), _) => {
                self.note_sample(victim.id, sampled);
                let bytes = sampled.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES);
                let span = sampled.to - sampled.from;
                Ok(judge(bytes, live, span, measured).map(|what| refuse(span, what)))
            }
            (Err(error), None) if matches!(error, Error::Corrupt { .. }) => {
                Ok(Some(refuse(0, Contradiction::Damaged(error.to_string()))))
            }
            (Err(error), _) => Err(error),
        }
    }

    fn sample_limit(&self, victim: &Victim) -> SampleLimit {
        let options = &self.options.gc;
        let turn = {
            let mut gc = self.gc.lock();
            gc.turn = gc.turn.wrapping_add(1);
            gc.turn
        };
        let records = match self.options.value_log_max_entries {
            0 => u64::MAX,
            most => (f64::from(most) * options.sample_count_ratio) as u64,
        };
        SampleLimit {
            bytes: (victim.bytes as f64 * options.sample_size_ratio) as u64,
            records,
            turn: (!options.sample_from_head).then_some(turn),
        }
    }

    fn note_sample(&self, id: SegmentId, sampled: Sampled) {
        self.gc_counters.sampled(sampled.records, sampled.to - sampled.from);
        self.gc.lock().last_sample = Some((id, sampled));
    }

    fn gc_refuse(&self, refusal: Refusal) {
        self.gc_counters.refused();
        self.signals.value_log(&ValueLogStep::Refused(refusal.clone()));
        self.gc.lock().refuse((refusal.bucket, refusal.segment), refusal);
    }

    /// Segments that are left alone leave the job, whichever job found them out.
    pub(super) fn gc_drop_refused(&self, job: &mut Job) {
        let gc = self.gc.lock();
        let before = job.victims.len();
        job.victims.retain(|v| !gc.refused.contains_key(&v.id));
        job.report.refused += (before - job.victims.len()) as u64;
    }

    /// A value of the segment cannot be read: the job that has it as a victim loses it.
    pub(super) fn gc_leave_damaged(&self, id: SegmentId, error: &Error) {
        let bytes = self.vlog.segments().iter().find(|s| (s.bucket, s.segment) == id).map_or(0, |s| s.size);
        self.gc_refuse(Refusal {
            bucket: id.0,
            segment: id.1,
            bytes,
            expected_live: live_in(&self.view(), id),
            sampled: 0,
            measured_live: 0,
            what: Contradiction::Damaged(error.to_string()),
        });
    }

    /// A segment of which more is live by account than it has: it is left alone.
    pub(super) fn gc_refuse_overdrawn(&self, s: &SegmentUse) {
        if self.gc.lock().refused.contains_key(&(s.bucket, s.segment)) {
            return;
        }
        self.gc_refuse(Refusal {
            bucket: s.bucket,
            segment: s.segment,
            bytes: s.bytes,
            expected_live: s.live,
            sampled: 0,
            measured_live: 0,
            what: Contradiction::MoreDead,
        });
    }
}

/// Live bytes of a segment by account.
fn live_in<V: Vfs, I: MemIndex>(view: &View<V, I>, id: SegmentId) -> u64 {
    let in_tables = view
        .tables
        .tables()
        .flat_map(|t| &t.meta().props.live)
        .filter(|l| (l.bucket, l.segment) == id)
        .map(|l| l.bytes);
    let in_memtables = view.memtables().filter_map(|m| m.live().get(&id).copied());
    in_tables.chain(in_memtables).fold(0, u64::saturating_add)
}

/// Does an entry of the view point to this record?
fn is_named<V: Vfs, I: MemIndex>(view: &View<V, I>, key: KeyRef<'_>, ptr: &ValuePtr) -> Result<bool> {
    let ptr = ptr.to_bytes();
    let names = |kind: Kind, value: &[u8]| kind == Kind::Pointer && value == ptr.as_slice();
    for memtable in view.memtables() {
        if memtable.index().entries(key).any(|e| names(e.kind, e.value)) {
            return Ok(true);
        }
    }
    let mut found = false;
    let hash = key_hash(key);
    view.tables_for(key, |table| {
        table.find(key, hash, &mut |entry, _| {
            found |= names(entry.kind, entry.value);
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(!found)
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_contradicts_only_what_cannot_be() {
        // bytes, live by account, sampled, live in the sample
        for agreeing in
            [(100, 30, 10, 0), (100, 30, 10, 10), (100, 0, 10, 0), (100, 100, 100, 100), (100, 90, 10, 0)]
        {
            assert_eq!(judge(agreeing.0, agreeing.1, agreeing.2, agreeing.3), None, "{agreeing:?}");
        }
        assert_eq!(judge(100, 0, 10, 10), Some(Contradiction::MoreLive));
        assert_eq!(judge(100, 29, 30, 30), Some(Contradiction::MoreLive));
        assert_eq!(judge(100, 91, 10, 0), Some(Contradiction::MoreDead));
        assert_eq!(judge(100, 1, 100, 0), Some(Contradiction::MoreDead));
    }
}
