//! What compactions did, per level, and what they have yet to do.

use crate::compact::{Choice, Place, Reason, density_of, suggested_weight};
use crate::engine::Engine;
use crate::index::MemIndex;
use crate::limits::LEVELS;
use crate::sync::{AtomicU64, Ordering};
use crate::vfs::Vfs;

#[derive(Default)]
struct LevelCounters {
    ingest_runs: AtomicU64,
    ingest_ns: AtomicU64,
    ingest_tables: AtomicU64,
    merge_runs: AtomicU64,
    merge_ns: AtomicU64,
    merge_tables: AtomicU64,
    moved_tables: AtomicU64,
}

/// Counters of compactions since the open.
#[derive(Default)]
pub(crate) struct CompactionCounters {
    levels: [LevelCounters; LEVELS],
    runs: AtomicU64,
    failed: AtomicU64,
    total_ns: AtomicU64,
    last_ns: AtomicU64,
    max_ns: AtomicU64,
    reasons: [AtomicU64; REASONS],
}

const REASONS: usize = 7;

const fn slot(reason: Reason) -> usize {
    match reason {
        Reason::LevelZero => 0,
        Reason::LevelFull => 1,
        Reason::IngestFull => 2,
        Reason::IngestMerge => 3,
        Reason::Expired => 4,
        Reason::Dead => 5,
        Reason::Manual => 6,
    }
}

impl CompactionCounters {
    /// A compaction ended after `ns`.
    pub(crate) fn ended(&self, choice: &Choice, ns: u64, succeeded: bool) {
        let add = |a: &AtomicU64, n: u64| a.fetch_add(n, Ordering::Relaxed);
        if !succeeded {
            add(&self.failed, 1);
            return;
        }
        add(&self.runs, 1);
        add(&self.total_ns, ns);
        self.last_ns.store(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
        match choice {
            Choice::Idle => {}
            Choice::Move { tables, to, .. } => {
                if let Some(level) = self.levels.get(usize::from(to.level)) {
                    add(&level.moved_tables, tables.len() as u64);
                }
            }
            Choice::Merge { inputs, to, reason } => {
                if let Some(count) = self.reasons.get(slot(*reason)) {
                    add(count, 1);
                }
                let ingested = |n: u8| inputs.iter().filter(|i| i.ingest && i.level == n).count() as u64;
                for (level, n) in self.levels.iter().zip(0u8..) {
                    let tables = ingested(n);
                    if tables == 0 {
                        continue;
                    }
                    let within = *to == Place { level: n, ingest: true };
                    let (runs, time, count) = if within {
                        (&level.merge_runs, &level.merge_ns, &level.merge_tables)
                    } else {
                        (&level.ingest_runs, &level.ingest_ns, &level.ingest_tables)
                    };
                    add(runs, 1);
                    add(time, ns);
                    add(count, tables);
                }
            }
        }
    }
}

/// Compactions that took tables of one level's ingest set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IngestStats {
    /// Compactions that drained some of the set.
    pub ingest_runs: u64,
    /// Their time, in nanoseconds.
    pub ingest_ns: u64,
    /// Tables that they took out of the set.
    pub ingest_tables_compacted: u64,
    /// Merges within the set.
    pub ingest_merge_runs: u64,
    /// Their time, in nanoseconds.
    pub merge_ns: u64,
    /// Tables that they took.
    pub merge_tables: u64,
    /// Tables that moved into the level or its set as they were.
    pub moved_tables: u64,
}

impl IngestStats {
    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            ingest_runs: self.ingest_runs + other.ingest_runs,
            ingest_ns: self.ingest_ns + other.ingest_ns,
            ingest_tables_compacted: self.ingest_tables_compacted + other.ingest_tables_compacted,
            ingest_merge_runs: self.ingest_merge_runs + other.ingest_merge_runs,
            merge_ns: self.merge_ns + other.merge_ns,
            merge_tables: self.merge_tables + other.merge_tables,
            moved_tables: self.moved_tables + other.moved_tables,
        }
    }
}

/// Merges by why they were chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeReasons {
    /// Level 0 had too many tables or bytes.
    pub level_zero: u64,
    /// A level was above its target.
    pub level_full: u64,
    /// An ingest set had too many tables.
    pub ingest_full: u64,
    /// An ingest set could not drain.
    pub ingest_merge: u64,
    /// A table had expired entries.
    pub expired: u64,
    /// A table had many deletes.
    pub dead: u64,
    /// A caller asked.
    pub manual: u64,
}

/// One level as compactions see it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LevelPressure {
    /// Score of the level; at 1 it wants compaction.
    pub score: f64,
    /// Score of its ingest set.
    pub ingest_score: f64,
    /// Value-log bytes that it names.
    pub value_bytes: u64,
    /// Share of them among its bytes, 0 to 1.
    pub value_density: f64,
    /// Bytes that it should hold at most; 0 for level 0 and those above the base level.
    pub target_bytes: u64,
}

/// Compactions at one moment; counters start at 0 with each open.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompactionStats {
    /// Counters of each level's ingest set.
    pub ingest: [IngestStats; LEVELS],
    /// Scores of each level.
    pub levels: [LevelPressure; LEVELS],
    /// Compactions that ended well, moves included.
    pub runs: u64,
    /// Those that failed, or were given up for a close.
    pub failed: u64,
    /// Time in compactions, in nanoseconds.
    pub total_ns: u64,
    /// Time of the last one.
    pub last_ns: u64,
    /// Time of the longest one.
    pub max_ns: u64,
    /// Merges by why they were chosen.
    pub reasons: MergeReasons,
    /// Levels and ingest sets that want compaction now.
    pub backlog: u64,
    /// Compactions that run now; 0 while a manifest edit is being made durable.
    pub running: u64,
    /// The highest score.
    pub max_score: f64,
    /// Bytes that compactions must move until no score is above 1. An estimate.
    pub debt_bytes: u64,
    /// Weight of value-log bytes in scores.
    pub value_weight: f64,
    /// A weight that would bring the densest level above the last down sooner; 0 while no density is above the
    /// threshold that was asked for.
    pub value_weight_suggested: f64,
}

impl CompactionStats {
    /// The counters of all levels together.
    pub fn total(&self) -> IngestStats {
        self.ingest.iter().fold(IngestStats::default(), |sum, level| sum.plus(level))
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Compactions at this moment. `alert_density` (0 to 1; 0 = never) is the share of value-log bytes among a
    /// level's bytes above which a weight is suggested.
    pub fn compaction_stats(&self, alert_density: f64) -> CompactionStats {
        let c = &self.compaction_counters;
        let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
        // Without waiting for a manifest edit that is being made durable.
        let scores = self.scores_now();
        let running = self.install.try_lock().map_or(0, |install| install.busy.running() as u64);
        let unit = |mille: u64| mille as f64 / 1000.0;
        let density: [u64; LEVELS] =
            core::array::from_fn(|n| density_of(scores.value_bytes[n], scores.level_bytes[n]));
        let densest = density.iter().take(LEVELS - 1).max().copied().unwrap_or(0);
        let alert = (alert_density.clamp(0.0, 1.0) * 1000.0) as u64;
        CompactionStats {
            ingest: core::array::from_fn(|n| {
                let l = &c.levels[n];
                IngestStats {
                    ingest_runs: load(&l.ingest_runs),
                    ingest_ns: load(&l.ingest_ns),
                    ingest_tables_compacted: load(&l.ingest_tables),
                    ingest_merge_runs: load(&l.merge_runs),
                    merge_ns: load(&l.merge_ns),
                    merge_tables: load(&l.merge_tables),
                    moved_tables: load(&l.moved_tables),
                }
            }),
            levels: core::array::from_fn(|n| LevelPressure {
                score: unit(scores.level[n]),
                ingest_score: unit(scores.ingest[n]),
                value_bytes: scores.value_bytes[n],
                value_density: unit(density[n]),
                target_bytes: scores.target_bytes[n],
            }),
            runs: load(&c.runs),
            failed: load(&c.failed),
            total_ns: load(&c.total_ns),
            last_ns: load(&c.last_ns),
            max_ns: load(&c.max_ns),
            reasons: MergeReasons {
                level_zero: load(&c.reasons[slot(Reason::LevelZero)]),
                level_full: load(&c.reasons[slot(Reason::LevelFull)]),
                ingest_full: load(&c.reasons[slot(Reason::IngestFull)]),
                ingest_merge: load(&c.reasons[slot(Reason::IngestMerge)]),
                expired: load(&c.reasons[slot(Reason::Expired)]),
                dead: load(&c.reasons[slot(Reason::Dead)]),
                manual: load(&c.reasons[slot(Reason::Manual)]),
            },
            backlog: scores.due() as u64,
            running,
            max_score: unit(scores.max()),
            debt_bytes: scores.debt_bytes,
            value_weight: unit(self.options.pick.value_weight),
            value_weight_suggested: unit(suggested_weight(densest, alert)),
        }
    }
}
