//! How large each level should be, and how far each is from that.
//!
//! Who may call it: the picker, back-pressure, statistics. Pure.
//!
//! The last level holds what it holds, and each level above it may hold a tenth (`multiplier`) of the one below,
//! up to the *base level*, the first whose target is at most `base_bytes`. Level 0 merges into the base level; the levels
//! between are empty. With a multiplier of 10 the levels above the last hold at most 1/10 + 1/100 + ... < 1/8 of
//! it, so that old versions of the same keys take at most that much more space.

use super::busy::BusySet;
use super::choice::PickOptions;
use crate::level::{TableInfo, Version};
use crate::limits::LEVELS;

const LAST: usize = LEVELS - 1;

/// State of the tree as the picker sees it. Scores are in thousandths: at 1000 a level wants compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scores {
    /// Level that level 0 merges into.
    pub base_level: u8,
    /// Bytes that a level may hold; 0 for level 0 and those above the base level.
    pub target_bytes: [u64; LEVELS],
    /// Bytes that it holds, ingest included, without inputs of running compactions.
    pub level_bytes: [u64; LEVELS],
    /// Score of each level; 0 for the last one, which cannot be too large.
    pub level: [u64; LEVELS],
    /// Value-log bytes that it names, without inputs of running compactions.
    pub value_bytes: [u64; LEVELS],
    /// Score of each level's ingest set.
    pub ingest: [u64; LEVELS],
    /// Bytes that compactions must read and write until no score is above 1000. An estimate.
    pub debt_bytes: u64,
}

impl Scores {
    /// The highest score of a level or ingest set.
    pub fn max(&self) -> u64 {
        self.level.iter().chain(&self.ingest).max().copied().unwrap_or(0)
    }

    /// Levels and ingest sets that want compaction.
    pub fn due(&self) -> usize {
        self.level.iter().chain(&self.ingest).filter(|score| **score >= 1000).count()
    }
}

/// Computes all scores.
pub fn scores<T: TableInfo>(version: &Version<T>, busy: &BusySet, opts: &PickOptions) -> Scores {
    let free = |table: &&T| !busy.holds(table.meta().id);
    let levels = version.levels();
    let whole: [u64; LEVELS] = core::array::from_fn(|n| levels[n].file_bytes());
    let (base, target_bytes) = targets(&whole, opts);
    let mut scores = Scores {
        base_level: base as u8,
        target_bytes,
        level_bytes: [0; LEVELS],
        level: [0; LEVELS],
        ingest: [0; LEVELS],
        value_bytes: [0; LEVELS],
        debt_bytes: 0,
    };
    let values: [u64; LEVELS] = core::array::from_fn(|n| levels[n].value_bytes());
    let all_values = values.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
    let deepest = (0..LEVELS).rev().find(|n| values[*n] > 0).unwrap_or(0);
    for (n, level) in levels.iter().enumerate() {
        let ingest = || level.ingest.iter().filter(free);
        let tables = || level.tables.iter().filter(free);
        let bytes: u64 = ingest().chain(tables()).map(|t| t.meta().file_bytes).sum();
        let in_ingest = ingest().map(TableInfo::value_bytes).fold(0, u64::saturating_add);
        let in_level = tables().map(TableInfo::value_bytes).fold(0, u64::saturating_add);
        scores.level_bytes[n] = bytes;
        scores.value_bytes[n] = in_ingest.saturating_add(in_level);
        scores.ingest[n] = per_mille(ingest().count() as u64, opts.ingest_tables as u64);
        scores.level[n] = match n {
            0 => per_mille(tables().count() as u64, opts.l0_tables as u64)
                .max(per_mille(bytes, opts.base_bytes)),
            LAST => 0,
            _ => per_mille(bytes, target_bytes[n]),
        };
        let value = |here| value_score(here, bytes, all_values, opts.value_weight);
        scores.ingest[n] = scores.ingest[n].saturating_add(value(in_ingest));
        // The deepest level that names values hides none.
        if n < LAST && (n < deepest || n == 0) {
            scores.level[n] = scores.level[n].saturating_add(value(in_level));
        }
    }
    scores.debt_bytes = debt(&scores);
    scores
}

/// What the value-log bytes that a level names add to its score. Tables of pointers are small beside what they name:
/// by their own size alone they would stay above the tables whose values they hide for long, and those values with them.
/// `weight` (in thousandths) x share of values among the level's bytes x tenths of all named values, of which two
/// count at most: a level that names a fifth of all values and little else gets twice the weight.
pub fn value_score(value_bytes: u64, table_bytes: u64, all_value_bytes: u64, weight: u64) -> u64 {
    let density = density_of(value_bytes, table_bytes);
    let tenths = u128::from(per_mille(value_bytes, all_value_bytes)).min(200);
    (u128::from(weight) * u128::from(density) * tenths / 100_000) as u64
}

/// Share of value-log bytes among all bytes of a level, in thousandths.
pub fn density_of(value_bytes: u64, table_bytes: u64) -> u64 {
    let all = u128::from(value_bytes) + u128::from(table_bytes);
    (u128::from(value_bytes) * 1000).checked_div(all).unwrap_or(0) as u64
}

/// The weight, in thousandths, at which a level of this density that names a fifth of all values is due by that alone;
/// 0 while its density is not above `alert` (in thousandths; 0 = never).
pub fn suggested_weight(density: u64, alert: u64) -> u64 {
    if alert == 0 || density <= alert { 0 } else { 500_000_u64.div_ceil(density) }
}

fn per_mille(part: u64, of: u64) -> u64 {
    if part == 0 { 0 } else { part.saturating_mul(1000) / of.max(1) }
}

/// The base level and the target of each level.
fn targets(bytes: &[u64; LEVELS], opts: &PickOptions) -> (usize, [u64; LEVELS]) {
    let mut target = [0; LEVELS];
    let multiplier = opts.multiplier.max(2);
    // A shallower level may be the largest after a reopening with other options.
    let largest = bytes[1..].iter().copied().max().unwrap_or(0);
    let first = (1..LEVELS).find(|n| bytes[*n] > 0).unwrap_or(LAST);
    let mut wanted = largest;
    for n in (1..LEVELS).rev() {
        target[n] = wanted.max(1);
        // A level that is in use stays in use until it is drained: data from level 0 must not pass below it.
        if n <= first && wanted <= opts.base_bytes.max(1) {
            // A small base level would be merged over and over for a few tables from level 0.
            target[n] = wanted.max(opts.base_bytes / multiplier).max(1);
            return (n, target);
        }
        wanted /= multiplier;
    }
    (1, target)
}

/// What is above its target moves down, and takes about as much along from the next level as that one is larger.
fn debt(scores: &Scores) -> u64 {
    let mut debt = 0u64;
    let mut carry = if scores.level[0] >= 1000 { scores.level_bytes[0] } else { 0 };
    debt = debt.saturating_add(carry);
    for n in usize::from(scores.base_level)..LAST {
        let bytes = scores.level_bytes[n].saturating_add(carry);
        let over = bytes.saturating_sub(scores.target_bytes[n]);
        let below = scores.level_bytes[n + 1];
        let along = u128::from(over) * u128::from(below) / u128::from(bytes.max(1));
        debt = debt.saturating_add(over).saturating_add(u64::try_from(along).unwrap_or(u64::MAX));
        carry = over;
    }
    debt
}
