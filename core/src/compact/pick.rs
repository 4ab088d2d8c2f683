//! Which compaction to run next.
//!
//! Who may call it: anyone. Pure: one version, one busy set, one time and one set of options give one choice.
//!
//! # Why the source invariant survives
//! For one key, seqs fall from each source to the next: level 0 (by seq), ingest 1, level 1, ingest 2, ... A choice takes
//! data of key range R from place `from` to a deeper place `to`. It keeps the invariant if no source between the two, and
//! none at `to`, is left with data of R older than what moves:
//! - *Within the set that is drained* (level 0 or an ingest set), a table leaves only with every table of the set that
//!   overlaps it and may hold a lower seq: `seq_min` of the one below `seq_max` of the other ([`close`]).
//! - *Between*: a target below another level is taken only if the levels between hold nothing of R
//!   ([`Picker::target_of_zero`]); from level n it is level n + 1, and between them stands ingest n + 1, whose
//!   overlapping tables come along, closed as above.
//! - *At the target*: every table of the level that overlaps the hull of all inputs is an input.
//! - *In flight*: an input of a running compaction is never an input, and [`BusySet::leaves_free`] refuses a choice when
//!   a running one will put data of R between `from` and `to`, or into the same sorted level.
//!
//! What was newer and stays (newer tables of the set, ingest n above level n) stands above `to` before and after.
//! Hulls grow only by tables at `to`; what lies above them in the grown part is newer and stays above.
//!
//! # Why it comes to an end
//! Each choice moves data to a deeper place, or merges several tables of an ingest set into one, or rewrites a table
//! of which something goes: expired or dead, with nothing below it and no snapshot that still sees it.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use nokv_formats::{KeyRef, Seq, TableMeta};

use super::busy::BusySet;
use super::choice::{Choice, Input, PickOptions, Place, Reason};
use super::heat::LevelHeat;
use super::score::{Scores, scores};
use crate::level::{TableInfo, Version};
use crate::limits::LEVELS;

const LAST: u8 = LEVELS as u8 - 1;

/// What the picker is told beside the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// The time at which expiry is judged, in Unix milliseconds: the engine's, or that of the oldest snapshot.
    pub now_ms: u64,
    /// Seq of the oldest snapshot; [`Seq::MAX`] if there is none. Newer deletes cannot go yet.
    pub oldest_snapshot: Seq,
    /// Writers wait for level 0: tables leave it by a move where a merge is not possible at once.
    pub writers_wait: bool,
    /// Where the keys lie that are read most.
    pub heat: LevelHeat,
}

/// Chooses the next compaction.
pub fn pick<T: TableInfo>(
    version: &Version<T>,
    busy: &BusySet,
    pressure: &Pressure,
    opts: &PickOptions,
) -> Choice {
    let scores = scores(version, busy, opts).heated(&pressure.heat);
    let picker = Picker { version, busy, opts, scores };
    let mut wants: Vec<(u64, Place)> = Vec::new();
    for n in 0..=LAST {
        let at = usize::from(n);
        wants.push((picker.scores.level[at], Place { level: n, ingest: false }));
        wants.push((picker.scores.ingest[at], Place { level: n, ingest: true }));
    }
    wants.retain(|(score, _)| *score >= 1000);
    // The worst first; of equals the upper one, which holds up writers.
    wants.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    wants
        .iter()
        .find_map(|(score, place)| picker.relieve(*place, *score, pressure))
        .or_else(|| picker.reclaim(pressure))
        .unwrap_or(Choice::Idle)
}

/// Chooses the next step of a compaction of all data of `range` down to the deepest level that is in use. Call it
/// until it is [`Choice::Idle`]; with running compactions in the way it is that too. Tables that hold nothing up to seq
/// `up_to` stay where they are unless they must come along: beside steady writers it comes to an end.
pub fn pick_range<T: TableInfo>(
    version: &Version<T>,
    busy: &BusySet,
    range: &RangeInclusive<KeyRef<'_>>,
    up_to: Seq,
    opts: &PickOptions,
) -> Choice {
    let picker = Picker { version, busy, opts, scores: scores(version, busy, opts) };
    let in_use = |n: &u8| version.levels()[usize::from(*n)].file_bytes() > 0;
    let bottom = (1..=LAST).rev().find(in_use).unwrap_or(picker.scores.base_level);
    let hits = |meta: &TableMeta| meta.props.seq_min <= up_to && overlap(meta, *range.start(), *range.end());
    for n in 0..=bottom {
        let level = &version.levels()[usize::from(n)];
        for ingest in [true, false] {
            let place = Place { level: n, ingest };
            let set = if ingest { &level.ingest } else { &level.tables };
            if !set.iter().any(|table| hits(table.meta())) || (n == bottom && !ingest) {
                continue;
            }
            let choice = match (n, ingest) {
                (0, _) | (_, true) => picker.drain(place, Reason::Manual, hits),
                _ => set
                    .iter()
                    .filter(|table| hits(table.meta()))
                    .find_map(|table| picker.push_down(n, table.meta(), Reason::Manual)),
            };
            // Upper data first, or it would have to come down again.
            return choice.unwrap_or(Choice::Idle);
        }
    }
    Choice::Idle
}

struct Picker<'a, T> {
    version: &'a Version<T>,
    busy: &'a BusySet,
    opts: &'a PickOptions,
    scores: Scores,
}

fn overlap(meta: &TableMeta, smallest: KeyRef<'_>, largest: KeyRef<'_>) -> bool {
    meta.props.smallest.as_ref() <= largest && smallest <= meta.props.largest.as_ref()
}

fn meet(a: &TableMeta, b: &TableMeta) -> bool {
    overlap(a, b.props.smallest.as_ref(), b.props.largest.as_ref())
}

/// The smallest range that holds the ranges of all tables; there is at least one.
fn hull<'a>(tables: &[&'a TableMeta]) -> Option<(KeyRef<'a>, KeyRef<'a>)> {
    let smallest = tables.iter().map(|meta| meta.props.smallest.as_ref()).min()?;
    let largest = tables.iter().map(|meta| meta.props.largest.as_ref()).max()?;
    Some((smallest, largest))
}

/// Adds to `taken` every table of `set` that overlaps one of them and may hold a lower seq, until there is none.
fn close<'a>(set: &[&'a TableMeta], taken: &mut Vec<&'a TableMeta>) {
    let mut at = 0;
    while let Some(table) = taken.get(at).copied() {
        for other in set {
            let older = other.props.seq_min < table.props.seq_max;
            if older && meet(other, table) && !taken.iter().any(|meta| meta.id == other.id) {
                taken.push(other);
            }
        }
        at += 1;
    }
}

impl<'a, T: TableInfo> Picker<'a, T> {
    fn set(&self, place: Place) -> Vec<&'a TableMeta> {
        let level = &self.version.levels()[usize::from(place.level)];
        let set = if place.ingest { &level.ingest } else { &level.tables };
        set.iter().map(TableInfo::meta).collect()
    }

    /// What makes the score of `place` smaller.
    fn relieve(&self, place: Place, score: u64, pressure: &Pressure) -> Option<Choice> {
        match place {
            Place { level: 0, .. } => {
                let merge = || self.drain(place, Reason::LevelZero, |_| true);
                // A move costs nothing, so it comes first when writers wait.
                if pressure.writers_wait {
                    self.move_to_ingest().or_else(merge)
                } else {
                    merge().or_else(|| self.move_to_ingest())
                }
            }
            Place { ingest: true, .. } => self.drain(place, Reason::IngestFull, |_| true).or_else(|| {
                if score >= self.opts.ingest_merge_score { self.merge_ingest(place) } else { None }
            }),
            Place { level, .. } => {
                let mut seeds = self.set(place);
                seeds.retain(|meta| !self.busy.holds(meta.id));
                seeds.sort_by_key(|meta| (self.overlap_per_mille(level + 1, meta), meta.id));
                let push = seeds.iter().find_map(|meta| self.push_down(level, meta, Reason::LevelFull));
                // All that is too much may still be in the ingest set.
                push.or_else(|| self.drain(Place { level, ingest: true }, Reason::LevelFull, |_| true))
            }
        }
    }

    /// Bytes of level `n` that a merge of `meta` into it rewrites, in thousandths of its own.
    fn overlap_per_mille(&self, n: u8, meta: &TableMeta) -> u64 {
        let Some(level) = self.version.levels().get(usize::from(n)) else { return u64::MAX };
        let range = meta.props.smallest.as_ref()..=meta.props.largest.as_ref();
        let below = level.overlapping(n, &range).chain(level.overlapping_ingest(&range));
        let bytes: u64 = below.map(|table| table.meta().file_bytes).sum();
        bytes.saturating_mul(1000) / meta.file_bytes.max(1)
    }

    /// The level that data of this range goes to from level 0: the base level, or one above it that holds some of
    /// the range.
    fn target_of_zero(&self, smallest: KeyRef<'_>, largest: KeyRef<'_>) -> u8 {
        let holds = |n: &u8| {
            let level = &self.version.levels()[usize::from(*n)];
            level.ingest.iter().chain(&level.tables).any(|t| overlap(t.meta(), smallest, largest))
        };
        (1..self.scores.base_level).find(holds).unwrap_or(self.scores.base_level)
    }

    /// Tables of level 0 or of an ingest set that `wanted` accepts go down, the oldest first.
    fn drain(&self, from: Place, reason: Reason, wanted: impl Fn(&TableMeta) -> bool) -> Option<Choice> {
        // A set is drained by so many compactions at once; level 0 by as many as its ranges allow.
        if from.ingest && self.busy.running_in(self.version, from) >= self.opts.ingest_parallel.max(1) {
            return None;
        }
        let set = self.set(from);
        (0..set.len()).rev().find_map(|seed| {
            let meta = set.get(seed)?;
            if !wanted(meta) {
                return None;
            }
            let taken = self.take(&set, seed)?;
            let (smallest, largest) = hull(&taken)?;
            let level = if from.level == 0 { self.target_of_zero(smallest, largest) } else { from.level };
            self.merge_into(from, taken, level, reason)
        })
    }

    /// The table `seed` of a set that is ordered newest first, closed, and newer ones that overlap it, up to
    /// `input_bytes`. `None` if one of those that must come along is busy.
    fn take(&self, set: &[&'a TableMeta], seed: usize) -> Option<Vec<&'a TableMeta>> {
        let mut taken = Vec::from([*set.get(seed)?]);
        close(set, &mut taken);
        if taken.iter().any(|meta| self.busy.holds(meta.id)) {
            return None;
        }
        // Older first, so that one which cannot come keeps back those above it.
        for meta in set.iter().take(seed).rev() {
            let bytes: u64 = taken.iter().map(|t| t.file_bytes).sum();
            let (smallest, largest) = hull(&taken)?;
            if bytes >= self.opts.input_bytes {
                break;
            }
            if !overlap(meta, smallest, largest) || taken.iter().any(|t| t.id == meta.id) {
                continue;
            }
            let mut more = taken.clone();
            more.push(meta);
            close(set, &mut more);
            if !more.iter().any(|t| self.busy.holds(t.id)) {
                taken = more;
            }
        }
        Some(taken)
    }

    /// A table of level `n` >= 1 goes into level `n + 1`.
    fn push_down(&self, n: u8, meta: &'a TableMeta, reason: Reason) -> Option<Choice> {
        if n >= LAST || self.busy.holds(meta.id) {
            return None;
        }
        self.merge_into(Place { level: n, ingest: false }, Vec::from([meta]), n + 1, reason)
    }

    /// `taken`, which may leave the set `from`, goes into level `to`, with what must come along.
    fn merge_into(&self, from: Place, taken: Vec<&'a TableMeta>, to: u8, reason: Reason) -> Option<Choice> {
        let to_place = Place { level: to, ingest: false };
        let mut inputs: Vec<(Place, &TableMeta)> = taken.iter().map(|meta| (from, *meta)).collect();
        let mut all = taken;
        let ingest_place = Place { level: to, ingest: true };
        if from != ingest_place {
            let set = self.set(ingest_place);
            let (smallest, largest) = hull(&all)?;
            let mut along: Vec<_> = set.iter().copied().filter(|m| overlap(m, smallest, largest)).collect();
            close(&set, &mut along);
            inputs.extend(along.iter().map(|meta| (ingest_place, *meta)));
            all.extend(along);
        }
        let (smallest, largest) = hull(&all)?;
        let level = &self.version.levels()[usize::from(to)];
        let below: Vec<_> = level.overlapping(to, &(smallest..=largest)).map(TableInfo::meta).collect();
        inputs.extend(below.iter().map(|meta| (to_place, *meta)));
        all.extend(below);
        let (smallest, largest) = hull(&all)?;
        if all.iter().any(|meta| self.busy.holds(meta.id))
            || !self.busy.leaves_free(from, to_place, smallest, largest)
        {
            return None;
        }
        Some(match inputs.as_slice() {
            [(_, only)] => Choice::Move { tables: Vec::from([only.id]), from, to: to_place },
            _ => merge(inputs, to_place, reason),
        })
    }

    /// The oldest tables of level 0 go into an ingest set, as they are.
    fn move_to_ingest(&self) -> Option<Choice> {
        if !self.opts.use_ingest {
            return None;
        }
        let from = Place { level: 0, ingest: false };
        let set = self.set(from);
        let seed = set.iter().rposition(|meta| !self.busy.holds(meta.id))?;
        let mut taken = Vec::from([*set.get(seed)?]);
        close(&set, &mut taken);
        let to = self.ingest_target(from, &taken)?;
        // More of them, the oldest first, as long as they go to the same place.
        for meta in set.iter().take(seed).rev() {
            if taken.len() >= self.opts.ingest_batch {
                break;
            }
            if taken.iter().any(|t| t.id == meta.id) {
                continue;
            }
            let mut more = taken.clone();
            more.push(meta);
            close(&set, &mut more);
            if more.len() > self.opts.ingest_batch || self.ingest_target(from, &more) != Some(to) {
                break;
            }
            taken = more;
        }
        Some(Choice::Move { tables: taken.iter().map(|meta| meta.id).collect(), from, to })
    }

    /// The ingest set that `taken`, a closed part of level 0, may move into now.
    fn ingest_target(&self, from: Place, taken: &[&TableMeta]) -> Option<Place> {
        let (smallest, largest) = hull(taken)?;
        let to = Place { level: self.target_of_zero(smallest, largest), ingest: true };
        // Twice that and they are as many to look through as in level 0.
        let set = self.set(to);
        let waiting = set.iter().filter(|meta| !self.busy.holds(meta.id)).count();
        let full = waiting >= self.opts.ingest_tables.max(1).saturating_mul(4);
        let free = !full
            && !taken.iter().any(|meta| self.busy.holds(meta.id))
            && self.busy.leaves_free(from, to, smallest, largest);
        free.then_some(to)
    }

    /// Neighbours in an ingest set become one, the oldest first. Only a run without a busy table in between: what is
    /// merged must not come to stand on both sides, in seq, of a table that overlaps it.
    fn merge_ingest(&self, place: Place) -> Option<Choice> {
        if self.busy.running_in(self.version, place) >= self.opts.ingest_parallel.max(1) {
            return None;
        }
        let set = self.set(place);
        let mut bytes = 0u64;
        let free = set.iter().rev().skip_while(|meta| self.busy.holds(meta.id));
        let within = free.take_while(|meta| {
            bytes = bytes.saturating_add(meta.file_bytes);
            bytes <= self.opts.input_bytes && !self.busy.holds(meta.id)
        });
        let inputs: Vec<_> = within.map(|meta| (place, *meta)).collect();
        if inputs.len() < 2 {
            return None;
        }
        Some(merge(inputs, place, Reason::IngestMerge))
    }

    /// Space that expired and deleted entries hold comes back, also of tables that nothing else touches.
    fn reclaim(&self, pressure: &Pressure) -> Option<Choice> {
        for source in self.version.sources() {
            let meta = source.table.meta();
            let Some(reason) = self.why_reclaim(meta, pressure) else { continue };
            let place = Place { level: source.level, ingest: source.ingest };
            let choice = if source.level == 0 || source.ingest {
                self.drain(place, reason, |other| meet(other, meta))
            } else if self.is_lowest(source.level, meta) {
                self.rewrite(place, meta, reason)
            } else {
                self.push_down(source.level, meta, reason)
            };
            if choice.is_some() {
                return choice;
            }
        }
        None
    }

    fn why_reclaim(&self, meta: &TableMeta, pressure: &Pressure) -> Option<Reason> {
        let props = &meta.props;
        // What a snapshot still sees would be written out again, and chosen again.
        if self.busy.holds(meta.id) || props.seq_max > pressure.oldest_snapshot {
            return None;
        }
        // Half of the span has passed, so at a steady rate about half of what expires has. What is left has a span of
        // its own: a table is rewritten a bounded number of times.
        let half = props.expiry_min + (props.expiry_max.saturating_sub(props.expiry_min)) / 2;
        if props.expiry_min != 0 && half <= pressure.now_ms {
            return Some(Reason::Expired);
        }
        // Purges do not count: one stays as long as a value that will expire needs it, and would be chosen for ever.
        let dead = props.deletes + props.range_deletes;
        let all = props.entries().saturating_add(props.range_deletes).max(1);
        let share = dead.saturating_mul(100) / all;
        (dead > 0 && share >= self.opts.dead_percent).then_some(Reason::Dead)
    }

    /// Holds no place below `level` anything in the range of the table?
    fn is_lowest(&self, level: u8, meta: &TableMeta) -> bool {
        let below = self.version.levels().iter().skip(usize::from(level) + 1);
        below.flat_map(|l| l.ingest.iter().chain(&l.tables)).all(|other| !meet(other.meta(), meta))
    }

    fn rewrite(&self, place: Place, meta: &TableMeta, reason: Reason) -> Option<Choice> {
        let (smallest, largest) = (meta.props.smallest.as_ref(), meta.props.largest.as_ref());
        if !self.busy.leaves_free(place, place, smallest, largest) {
            return None;
        }
        Some(merge(Vec::from([(place, meta)]), place, reason))
    }
}

fn merge(mut inputs: Vec<(Place, &TableMeta)>, to: Place, reason: Reason) -> Choice {
    inputs.sort_by(|(a, x), (b, y)| {
        let sorted = a.level > 0 && !a.ingest;
        let newest = (y.props.seq_max, y.id).cmp(&(x.props.seq_max, x.id));
        a.cmp(b).then(if sorted { x.props.smallest.cmp(&y.props.smallest) } else { newest })
    });
    let inputs =
        inputs.iter().map(|(p, meta)| Input { level: p.level, ingest: p.ingest, id: meta.id }).collect();
    Choice::Merge { inputs, to, reason }
}
