//! The log watchdog: how much of the log raft records make up, which segments can go, and which groups lag.
//!
//! Who may call it: the host, [`Engine::watchdog_step`] now and then and the status calls for statistics. [`decide`] and
//! [`raft_status`] are pure.
//!
//! Who removes what: without raft groups a flush releases at once the segments that it made unneeded, and the
//! watchdog finds nothing. With groups, flushes and pointers only move the floor in the manifest; the watchdog removes
//! what is below it, some segments a pass. A watchdog that is off leaves everything to flushes. A clean close and an
//! open remove all that is below the floor.
//!
//! | step of a pass | crash after it leaves |
//! |---|---|
//! | a. manifest edit {log floor}, where it can rise | segments below the floor, which the open removes |
//! | b. segments unlinked, oldest first, each durably | fewer of them |

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::manifest::{Edit, RaftPointer};

use crate::engine::{Engine, WalSegment};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::sync::{AtomicU64, Ordering};
use crate::vfs::Vfs;
use crate::wal::RecordCounts;

/// Most segments that a pass removes, where the options say 0.
const MAX_BATCH: usize = 4;

/// How the watchdog watches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WatchdogOptions {
    /// Does it? If not, flushes release the log, and nothing warns.
    pub enabled: bool,
    /// Removable segments from which a pass removes any; 0 = 1.
    pub min_removable: usize,
    /// Most segments that a pass removes; 0 = 4.
    pub max_batch: usize,
    /// Share of raft records among all from which it warns; 0 = never.
    pub warn_ratio: f64,
    /// Segments with raft records above which it warns; 0 = never.
    pub warn_segments: u64,
    /// Segments that a group may lag behind the active one without a warning; 0 = never warns. Counts also when the
    /// watchdog is off.
    pub lag_warn_segments: u64,
}

impl Default for WatchdogOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            min_removable: 1,
            max_batch: MAX_BATCH,
            warn_ratio: 0.35,
            warn_segments: 6,
            lag_warn_segments: 8,
        }
    }
}

/// What [`decide`] decides from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The segments, oldest first: number, and what they hold.
    pub segments: &'a [(u32, RecordCounts)],
    /// The one that takes records; it always stays.
    pub active: u32,
    /// Segments below this one are not needed by any memtable or raft pointer.
    pub floor: u32,
}

/// What a pass is to do, and what is to be said of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Remove the segments below this one.
    pub remove_below: Option<u32>,
    /// Segments that could go.
    pub removable: usize,
    /// Segments with raft records.
    pub segments_with_raft_records: usize,
    /// Those of them that could go.
    pub removable_raft_segments: usize,
    /// Share of raft records among all, from 0 to 1; 0 of an empty log.
    pub typed_record_ratio: f64,
    /// Is there more of them than there should be?
    pub warn: bool,
    /// Why; empty if not.
    pub reason: String,
}

/// Looks at a log. Pure.
pub fn decide(inputs: &Inputs<'_>, options: &WatchdogOptions) -> Decision {
    let floor = inputs.floor.min(inputs.active);
    let mut decision = Decision::default();
    let mut total = RecordCounts::default();
    for (number, counts) in inputs.segments {
        let has_raft = counts.raft() > 0;
        let can_go = *number < floor;
        total += *counts;
        decision.segments_with_raft_records += usize::from(has_raft);
        decision.removable += usize::from(can_go);
        decision.removable_raft_segments += usize::from(has_raft && can_go);
    }
    if total.total() > 0 {
        decision.typed_record_ratio = total.raft() as f64 / total.total() as f64;
    }
    if !options.enabled {
        return decision;
    }
    if decision.removable >= options.min_removable.max(1) {
        let batch = if options.max_batch == 0 { MAX_BATCH } else { options.max_batch };
        // Behind the last one that goes comes one that stays, if only the active one.
        let first_kept = inputs.segments.get(decision.removable.min(batch)).map(|(number, _)| *number);
        decision.remove_below = Some(first_kept.map_or(floor, |number| number.min(floor)));
    }
    let mut reasons: Vec<String> = Vec::new();
    if options.warn_ratio > 0.0 && total.total() > 0 && decision.typed_record_ratio >= options.warn_ratio {
        reasons.push(format!(
            "raft records are {:.2} of all log records, from {:.2} on that is too many",
            decision.typed_record_ratio, options.warn_ratio
        ));
    }
    if options.warn_segments > 0 && decision.segments_with_raft_records as u64 > options.warn_segments {
        reasons.push(format!(
            "{} log segments hold raft records, more than {}",
            decision.segments_with_raft_records, options.warn_segments
        ));
    }
    decision.warn = !reasons.is_empty();
    decision.reason = reasons.join("; ");
    decision
}

/// How far raft groups lag behind the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// Groups.
    pub group_count: u64,
    /// Those that lag further than they may.
    pub lagging_groups: u64,
    /// The lowest segment that a group needs; 0 without groups.
    pub min_log_segment: u32,
    /// The highest segment in which a group's needed records start; 0 without groups.
    pub max_log_segment: u32,
    /// The most segments that a group lies behind the active one.
    pub max_lag_segments: u64,
    /// The most that it may; 0 = any.
    pub lag_warn_threshold: u64,
    /// Does any lag further?
    pub lag_warning: bool,
}

/// Looks at where groups stand: `segments` has the first segment that each needs. Pure.
pub fn raft_status(
    segments: impl IntoIterator<Item = u32>,
    active: u32,
    lag_warn_segments: u64,
) -> RaftStatus {
    let mut status = RaftStatus { lag_warn_threshold: lag_warn_segments, ..RaftStatus::default() };
    for segment in segments {
        let lag = u64::from(active.saturating_sub(segment));
        let first = status.group_count == 0;
        status.group_count += 1;
        status.min_log_segment = if first { segment } else { status.min_log_segment.min(segment) };
        status.max_log_segment = status.max_log_segment.max(segment);
        status.max_lag_segments = status.max_lag_segments.max(lag);
        status.lagging_groups += u64::from(lag_warn_segments > 0 && lag > lag_warn_segments);
    }
    status.lag_warning = status.lagging_groups > 0;
    status
}

/// The log at one moment. Counters start at 0 with each open.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WalStatus {
    /// The segment that takes records; the last one when read-only, 0 without any.
    pub active_segment: u32,
    /// Segments.
    pub segment_count: u64,
    /// Bytes of the active segment's header and records.
    pub active_bytes: u64,
    /// Segments that were removed.
    pub segments_removed: u64,
    /// What the log holds.
    pub record_counts: RecordCounts,
    /// Segments with raft records.
    pub segments_with_raft_records: u64,
    /// Those of them that can go.
    pub removable_raft_segments: u64,
    /// Share of raft records among all.
    pub typed_record_ratio: f64,
    /// Is there more of them than there should be?
    pub typed_record_warning: bool,
    /// Why; empty if not.
    pub typed_record_reason: String,
    /// Watchdog passes that removed segments.
    pub auto_gc_runs: u64,
    /// Segments that they removed.
    pub auto_gc_removed: u64,
    /// When the last one did, in seconds since the Unix epoch; 0 if none.
    pub auto_gc_last_unix: u64,
}

/// What passes did since the open.
#[derive(Default)]
pub(crate) struct Counters {
    runs: AtomicU64,
    removed: AtomicU64,
    last_unix: AtomicU64,
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// One pass of the watchdog: looks, and removes what it may. Gives what it decided.
    ///
    /// # Errors
    /// What the manifest and the file system give; the rest goes in another pass.
    pub fn watchdog_step(&self) -> Result<Decision> {
        self.check_writable()?;
        let Some(batch_log) = &self.batch_log else { return Err(Error::Closed) };
        let mut install = self.install.lock();
        let state = install.manifest.state();
        let (recorded, floor) = (state.wal_floor, self.log_floor(state, self.flush_floor(None)));
        let decision = self.decide_for(floor);
        let Some(below) = decision.remove_below else { return Ok(decision) };
        // ORDER: segments go after the edit that says they are not needed.
        if below > recorded {
            self.record(&mut install, &[Edit::WalFloor { segment: below }], true)?;
        }
        let before = batch_log.segments_removed();
        let released = batch_log.release_below(below);
        let removed = batch_log.segments_removed().saturating_sub(before);
        if removed > 0 {
            let counters = &self.watchdog;
            counters.runs.fetch_add(1, Ordering::Relaxed);
            counters.removed.fetch_add(removed, Ordering::Relaxed);
            counters.last_unix.store(self.clock.unix_ms() / 1000, Ordering::Relaxed);
        }
        released.inspect_err(|error| self.poison_unless_passing(error))?;
        Ok(decision)
    }

    fn decide_for(&self, floor: u32) -> Decision {
        let segments: Vec<_> = match &self.batch_log {
            Some(batch_log) => {
                let tally = batch_log.tally();
                batch_log.segments().iter().map(|s| (s.number, tally.of_segment(s.number))).collect()
            }
            None => self.wal_segments().iter().map(|s| (s.number, s.counts)).collect(),
        };
        let active = segments.last().map_or(0, |(number, _)| *number);
        decide(&Inputs { segments: &segments, active, floor }, &self.options.watchdog)
    }

    /// The log at this moment. Takes no lock that is held across I/O.
    pub fn wal_status(&self) -> WalStatus {
        let decision = self.decide_for(self.recorded_floor());
        let segments: Vec<WalSegment> = self.wal_segments();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WalStatus {
            active_segment: segments.last().map_or(0, |s| s.number),
            segment_count: segments.len() as u64,
            active_bytes: segments.last().map_or(0, |s| s.bytes),
            segments_removed: self.batch_log.as_ref().map_or(0, crate::wal::BatchLog::segments_removed),
            record_counts: self.record_counts(),
            segments_with_raft_records: decision.segments_with_raft_records as u64,
            removable_raft_segments: decision.removable_raft_segments as u64,
            typed_record_ratio: decision.typed_record_ratio,
            typed_record_warning: decision.warn,
            typed_record_reason: decision.reason,
            auto_gc_runs: load(&self.watchdog.runs),
            auto_gc_removed: load(&self.watchdog.removed),
            auto_gc_last_unix: load(&self.watchdog.last_unix),
        }
    }

    /// How far raft groups lag. Takes no lock that is held across I/O.
    pub fn raft_status(&self) -> RaftStatus {
        let (tally, active) = match &self.batch_log {
            Some(batch_log) => (batch_log.tally(), batch_log.end().segment),
            None => (self.replayed.0.clone(), self.replayed.1.segment),
        };
        let pointers = self.raft.lock().clone();
        let place = |group: &u64| pointers.get(group).and_then(RaftPointer::position).map(|at| at.segment);
        let unpointed = tally.groups().iter().filter(|(group, _)| place(group).is_none());
        let segments: Vec<u32> =
            pointers.keys().filter_map(place).chain(unpointed.map(|(_, span)| span.first.segment)).collect();
        raft_status(segments, active, self.options.watchdog.lag_warn_segments)
    }
}

#[cfg(test)]
mod tests;
