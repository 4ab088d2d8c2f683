//! What kinds of sections a log holds, by segment and by group: kept while it is appended to, made again by replay.
//!
//! Who may call it: `batch_log`, under its append lock. A segment before the floor is not replayed, so after an
//! open it counts nothing; it holds nothing that is needed, and the open removes it.
//!
//! A batch counts in the segment of its first record, where a release must stop for its sake.

use alloc::collections::BTreeMap;
use core::ops::AddAssign;

use nokv_formats::envelope::{
    SECTION_BATCH, SECTION_COPIES, SECTION_RAFT_ENTRIES, SECTION_RAFT_SNAPSHOT, SECTION_RAFT_STATE,
};
use nokv_formats::walfs::Position;

/// How many sections of each kind a log holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Batches of operations (a group of batches that were committed together is one).
    pub entries: u64,
    /// Entries of raft groups.
    pub raft_entries: u64,
    /// Hard states of raft groups.
    pub raft_states: u64,
    /// Snapshot marks of raft groups.
    pub raft_snapshots: u64,
    /// Others.
    pub other: u64,
}

impl RecordCounts {
    /// Sections of raft groups.
    pub const fn raft(&self) -> u64 {
        self.raft_entries.saturating_add(self.raft_states).saturating_add(self.raft_snapshots)
    }

    /// All sections.
    pub const fn total(&self) -> u64 {
        self.raft().saturating_add(self.entries).saturating_add(self.other)
    }

    const fn add(&mut self, kind: u8) {
        let count = match kind {
            SECTION_BATCH => &mut self.entries,
            SECTION_RAFT_ENTRIES => &mut self.raft_entries,
            SECTION_RAFT_STATE => &mut self.raft_states,
            SECTION_RAFT_SNAPSHOT => &mut self.raft_snapshots,
            // Says how to read what follows; holds nothing.
            SECTION_COPIES => return,
            _ => &mut self.other,
        };
        *count = count.saturating_add(1);
    }
}

impl AddAssign for RecordCounts {
    fn add_assign(&mut self, other: Self) {
        let add = |to: &mut u64, n: u64| *to = to.saturating_add(n);
        add(&mut self.entries, other.entries);
        add(&mut self.raft_entries, other.raft_entries);
        add(&mut self.raft_states, other.raft_states);
        add(&mut self.raft_snapshots, other.raft_snapshots);
        add(&mut self.other, other.other);
    }
}

/// The records of one group in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSpan {
    /// Start of the first batch with one.
    pub first: Position,
    /// Start of the last batch with one.
    pub last: Position,
    /// How many there are.
    pub records: u64,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    segments: BTreeMap<u32, RecordCounts>,
    groups: BTreeMap<u64, GroupSpan>,
}

impl Tally {
    /// A batch at `at` has a section.
    #[inline]
    pub(crate) fn add(&mut self, at: Position, kind: u8, group: u64) {
        match self.segments.last_entry() {
            Some(mut last) if *last.key() == at.segment => last.get_mut().add(kind),
            _ => self.segments.entry(at.segment).or_default().add(kind),
        }
        if kind != SECTION_BATCH && kind != SECTION_COPIES {
            let new = GroupSpan { first: at, last: at, records: 0 };
            let span = self.groups.entry(group).or_insert(new);
            span.last = at;
            span.records = span.records.saturating_add(1);
        }
    }

    /// Segments before `segment` are gone.
    pub(crate) fn forget_below(&mut self, segment: u32) {
        self.segments = self.segments.split_off(&segment);
        self.groups.retain(|_, span| span.last.segment >= segment);
        for span in self.groups.values_mut() {
            span.first = span.first.max(Position::start_of(segment));
        }
    }

    /// What the log holds of `group` before `before` does not count any more.
    pub(crate) fn forget_group(&mut self, group: u64, before: Position) {
        if let Some(span) = self.groups.get_mut(&group) {
            if span.last < before {
                self.groups.remove(&group);
            } else {
                span.first = span.first.max(before);
            }
        }
    }

    /// What one segment holds.
    pub fn of_segment(&self, segment: u32) -> RecordCounts {
        self.segments.get(&segment).copied().unwrap_or_default()
    }

    /// What the log holds.
    pub fn total(&self) -> RecordCounts {
        self.segments.values().fold(RecordCounts::default(), |mut sum, counts| {
            sum += *counts;
            sum
        })
    }

    /// The groups that have records.
    pub const fn groups(&self) -> &BTreeMap<u64, GroupSpan> {
        &self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, offset: u64) -> Position {
        Position { segment, offset }
    }

    #[test]
    fn counts_by_kind_and_segment_and_forgets_what_was_released() {
        let mut tally = Tally::default();
        tally.add(at(1, 64), SECTION_BATCH, 0);
        tally.add(at(1, 200), SECTION_RAFT_ENTRIES, 7);
        tally.add(at(2, 64), SECTION_RAFT_STATE, 7);
        tally.add(at(2, 64), SECTION_RAFT_SNAPSHOT, 8);
        tally.add(at(3, 64), 200, 8);
        tally.add(at(3, 64), SECTION_COPIES, 8);
        assert_eq!(tally.of_segment(1), RecordCounts { entries: 1, raft_entries: 1, ..Default::default() });
        let total = tally.total();
        assert_eq!((total.raft(), total.total()), (3, 5));
        assert_eq!(tally.groups()[&7], GroupSpan { first: at(1, 200), last: at(2, 64), records: 2 });
        tally.forget_below(3);
        assert_eq!(tally.total(), RecordCounts { other: 1, ..Default::default() });
        assert_eq!(tally.groups().keys().copied().collect::<alloc::vec::Vec<_>>(), [8]);
        assert_eq!(tally.groups()[&8].first, at(3, 64));
    }

    #[test]
    fn a_removed_group_counts_from_its_place_on() {
        let mut tally = Tally::default();
        tally.add(at(1, 64), SECTION_RAFT_ENTRIES, 7);
        tally.add(at(1, 64), SECTION_RAFT_ENTRIES, 8);
        tally.add(at(4, 64), SECTION_RAFT_ENTRIES, 8);
        tally.forget_group(7, at(2, 0));
        tally.forget_group(8, at(2, 0));
        assert!(!tally.groups().contains_key(&7));
        assert_eq!(tally.groups()[&8].first, at(2, 0));
    }
}
