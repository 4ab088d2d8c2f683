//! When values are collected, how much at once, and which segments.
//!
//! Who may call it: the engine, tools. Pure: the same numbers give the same plan.
//!
//! # Which segments
//! A segment that is dead by `discard_ratio` is collected. That alone bounds little: with 0.5, every segment may stay
//! just below half dead, and the log at twice what lives. So the dead share of the *whole log* has a goal too,
//! [`goal_of`] = 0.4 x the ratio (0.2 by default: 1.25 times what lives). While the log is above it the deadest segments are taken, whatever
//! their share. The deadest is at least as dead as the average, so above the goal g a freed byte costs at most
//! (1 - g) / g moved ones (4 by default); where overwrites are skewed, far fewer.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::discard::{SegmentUse, dead_order};

/// The goal of the whole log as a share of the discard ratio.
const GOAL_OF_RATIO: f64 = 0.4;
/// A head is left for a collection only if it has at least this share of a segment's bytes.
const HEAD_SHARE: u64 = 16;
/// Memtables that name at least this share of a segment's bytes may be worth a flush.
const FLUSH_SHARE: u64 = 4;
/// A job moves about so many segments' worth of live bytes at most.
const MOVE_SEGMENTS: u64 = 2;

/// Options of collection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GcOptions {
    /// Dead share of a segment, between 0 and 1, from which automatic collection takes it.
    pub discard_ratio: f64,
    /// Jobs at once, each in a bucket of its own; at least 1.
    pub parallelism: usize,
    /// From this compaction score on, in thousandths, half as many jobs run.
    pub reduce_score: u64,
    /// From this compaction score on, in thousandths, none does.
    pub skip_score: u64,
    /// From so many waiting flushes and due compactions on, half as many jobs run.
    pub reduce_backlog: usize,
    /// From so many on, none does.
    pub skip_backlog: usize,
    /// Share of a segment's bytes that is verified before it is collected, between 0 and 1.
    pub sample_size_ratio: f64,
    /// Share of the values that a segment may have, between 0 and 1, at which that also ends; without effect where
    /// their number has no limit.
    pub sample_count_ratio: f64,
    /// Verify from the first record on, not from a place that changes.
    pub sample_from_head: bool,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            discard_ratio: 0.5,
            parallelism: 1,
            reduce_score: 2000,
            skip_score: 4000,
            reduce_backlog: 4,
            skip_backlog: 8,
            sample_size_ratio: 0.01,
            sample_count_ratio: 0.01,
            sample_from_head: false,
        }
    }
}

/// What else the engine has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcLoad {
    /// The highest compaction score, in thousandths.
    pub score: u64,
    /// Waiting flushes and due compactions.
    pub backlog: usize,
}

/// How much collection goes on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcPlan {
    /// None: flushes and compactions need the disk.
    Skip,
    /// So many jobs at once, at least 1.
    Run {
        /// Jobs.
        parallelism: usize,
        /// Fewer than the options allow, because of the load?
        reduced: bool,
    },
}

impl GcPlan {
    /// The plan for this load.
    pub fn new(options: &GcOptions, load: GcLoad) -> Self {
        if load.score >= options.skip_score || load.backlog >= options.skip_backlog {
            return Self::Skip;
        }
        let all = options.parallelism.max(1);
        if load.score >= options.reduce_score || load.backlog >= options.reduce_backlog {
            return Self::Run { parallelism: (all / 2).max(1), reduced: true };
        }
        Self::Run { parallelism: all, reduced: false }
    }

    /// Jobs at once; 0 for none.
    pub const fn parallelism(&self) -> usize {
        match self {
            Self::Skip => 0,
            Self::Run { parallelism, .. } => *parallelism,
        }
    }
}

/// Dead share of the whole log, in thousandths, above which automatic collection goes on.
pub fn goal_of(discard_ratio: f64) -> u64 {
    (discard_ratio.clamp(0.0, 1.0) * GOAL_OF_RATIO * 1000.0) as u64
}

/// The segments that automatic collection takes, the deadest first; see the module. A head is taken from a sixteenth
/// of `segment_bytes` on: the caller leaves it for a new one first.
pub fn pick_automatic(stats: &[SegmentUse], discard_ratio: f64, segment_bytes: u64) -> Vec<SegmentUse> {
    let at_least = ((discard_ratio.clamp(0.0, 1.0) * 1000.0) as u64).max(1);
    let goal = goal_of(discard_ratio);
    let mut bytes: u64 = stats.iter().map(|s| s.bytes).sum();
    let mut dead: u64 = stats.iter().map(SegmentUse::dead).sum();
    let mut order: Vec<SegmentUse> = stats.to_vec();
    order.retain(|s| s.dead() > 0 || s.bytes == 0);
    order.retain(|s| !s.head || s.bytes >= segment_bytes / HEAD_SHARE);
    order.sort_by_key(dead_order);
    let mut taken = Vec::new();
    for s in order {
        let above_goal = u128::from(dead) * 1000 > u128::from(bytes) * u128::from(goal);
        if s.dead_per_mille() < at_least && !above_goal {
            break;
        }
        bytes = bytes.saturating_sub(s.dead());
        dead = dead.saturating_sub(s.dead());
        taken.push(s);
    }
    taken
}

/// The segments of each bucket's job, in the order of `picked`: as many as have about two segments of live bytes
/// together, and at least one. What is left comes with the next jobs, when their dead share is known better.
pub fn jobs_of(picked: &[SegmentUse], segment_bytes: u64) -> BTreeMap<u16, Vec<SegmentUse>> {
    let mut jobs: BTreeMap<u16, Vec<SegmentUse>> = BTreeMap::new();
    for s in picked {
        let job = jobs.entry(s.bucket).or_default();
        let moves: u64 = job.iter().map(|s| s.live).sum();
        if job.is_empty() || moves.saturating_add(s.live) <= segment_bytes.saturating_mul(MOVE_SEGMENTS) {
            job.push(*s);
        }
    }
    jobs
}

/// Is a memtable that may hide `memtable_bytes` worth a flush before the dead bytes are counted? Values that it names may
/// be overwritten by others that it names, or take the place of some in tables; nothing of that is seen before the flush.
pub fn flush_first(memtable_bytes: u64, log_bytes: u64, discard_ratio: f64, segment_bytes: u64) -> bool {
    let share = u128::from(memtable_bytes) * 2000;
    memtable_bytes >= segment_bytes / FLUSH_SHARE
        && share > u128::from(log_bytes) * u128::from(goal_of(discard_ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_halves_collection_and_stops_it() {
        let options = GcOptions { parallelism: 4, ..GcOptions::default() };
        let run = |parallelism, reduced| GcPlan::Run { parallelism, reduced };
        let table = [
            (0, 0, run(4, false)),
            (1999, 3, run(4, false)),
            (2000, 0, run(2, true)),
            (3999, 0, run(2, true)),
            (0, 4, run(2, true)),
            (0, 7, run(2, true)),
            (4000, 0, GcPlan::Skip),
            (0, 8, GcPlan::Skip),
            (u64::MAX, usize::MAX, GcPlan::Skip),
        ];
        for (score, backlog, expected) in table {
            assert_eq!(GcPlan::new(&options, GcLoad { score, backlog }), expected, "{score} {backlog}");
        }
        let one = GcOptions { parallelism: 0, ..options };
        assert_eq!(GcPlan::new(&one, GcLoad { score: 2000, backlog: 0 }), run(1, true), "never below one");
        assert_eq!((run(3, true).parallelism(), GcPlan::Skip.parallelism()), (3, 0));
    }

    const fn segment(bucket: u16, segment: u32, bytes: u64, live: u64) -> SegmentUse {
        SegmentUse { bucket, segment, bytes, live, head: false }
    }

    fn numbers(picked: &[SegmentUse]) -> Vec<u32> {
        picked.iter().map(|s| s.segment).collect()
    }

    #[test]
    fn above_the_goal_the_deadest_go_even_below_the_ratio() {
        // 1: 60 % dead, 2: 40 %, 3: 30 %, 4: 10 %. Whole: 35 %; without 1: 24 %; without 2 as well: 16 %.
        let stats =
            [segment(0, 1, 100, 40), segment(0, 2, 100, 60), segment(0, 3, 100, 70), segment(0, 4, 100, 90)];
        assert_eq!(numbers(&pick_automatic(&stats, 0.5, 100)), [1, 2]);
        // A higher ratio has a higher goal (0.36): the whole log is below it.
        assert_eq!(numbers(&pick_automatic(&stats, 0.9, 100)), [0u32; 0]);
        // All that has the ratio goes, also below the goal.
        let calm = [segment(0, 1, 100, 40), segment(0, 2, 10_000, 10_000)];
        assert_eq!(numbers(&pick_automatic(&calm, 0.5, 100)), [1]);
    }

    #[test]
    fn what_is_left_is_below_the_goal_and_a_wholly_live_segment_stays() {
        for live in 0..=100u64 {
            let stats: Vec<_> = (0..50).map(|n| segment(0, n, 100, (live + u64::from(n)).min(100))).collect();
            let picked = pick_automatic(&stats, 0.5, 100);
            assert!(picked.iter().all(|s| s.dead() > 0));
            let rest = stats.iter().filter(|s| !picked.contains(s));
            let (dead, moved): (u64, u64) =
                (rest.map(SegmentUse::dead).sum(), stats.iter().map(|s| s.live).sum());
            assert!(dead * 1000 <= 200 * (moved + dead), "{live}: {dead} of {moved}");
        }
    }

    #[test]
    fn a_small_head_is_left_alone() {
        let head = |bytes| SegmentUse { head: true, ..segment(0, 1, bytes, 0) };
        assert_eq!(numbers(&pick_automatic(&[head(99)], 0.5, 1600)), [0u32; 0]);
        assert_eq!(numbers(&pick_automatic(&[head(100)], 0.5, 1600)), [1]);
    }

    #[test]
    fn a_job_is_of_one_bucket_and_moves_a_bounded_amount() {
        let picked = [
            segment(0, 1, 100, 90),
            segment(1, 1, 100, 500),
            segment(0, 2, 100, 90),
            segment(0, 3, 100, 90),
            segment(0, 4, 100, 20),
        ];
        let jobs = jobs_of(&picked, 100);
        assert_eq!(numbers(&jobs[&0]), [1, 2, 4]);
        assert_eq!(numbers(&jobs[&1]), [1], "at least one");
    }

    #[test]
    fn memtables_are_flushed_when_they_may_hide_enough() {
        assert!(flush_first(101, 1000, 0.5, 400));
        assert!(!flush_first(100, 1000, 0.5, 400), "a tenth is not above half the goal");
        assert!(!flush_first(99, 100, 0.5, 400), "too little in bytes");
        assert!(!flush_first(0, 0, 0.5, 0));
    }
}
