//! What running compactions hold: their input tables, and the key ranges that their outputs will take.
//!
//! Who may call it: the engine under its version lock; pickers read it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use nokv_formats::{KeyBuf, KeyRef, TableId};

use super::choice::{Choice, Place};
use crate::level::{TableInfo, Version};

/// Names a claim, to release it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a claim that is not released blocks its tables for ever"]
pub struct Ticket(u64);

/// What running compactions hold.
#[derive(Debug, Default)]
pub struct BusySet {
    tables: BTreeSet<TableId>,
    claims: Vec<Claim>,
    next: u64,
}

#[derive(Debug)]
struct Claim {
    ticket: u64,
    tables: Vec<TableId>,
    to: Place,
    smallest: KeyBuf,
    largest: KeyBuf,
}

impl BusySet {
    /// Nothing runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Claims the tables and the output range of `choice`; `None` for [`Choice::Idle`].
    pub fn claim<T: TableInfo>(&mut self, version: &Version<T>, choice: &Choice) -> Option<Ticket> {
        let (tables, to) = match choice {
            Choice::Idle => return None,
            Choice::Move { tables, to, .. } => (tables.clone(), *to),
            Choice::Merge { inputs, to, .. } => (inputs.iter().map(|input| input.id).collect(), *to),
        };
        let metas = || tables.iter().filter_map(|id| version.find(*id)).map(|source| source.table.meta());
        let smallest = metas().map(|meta| &meta.props.smallest).min()?.clone();
        let largest = metas().map(|meta| &meta.props.largest).max()?.clone();
        let ticket = self.next;
        self.next += 1;
        self.tables.extend(&tables);
        self.claims.push(Claim { ticket, tables, to, smallest, largest });
        Some(Ticket(ticket))
    }

    /// The compaction of `ticket` was installed, or given up.
    pub fn release(&mut self, ticket: Ticket) {
        if let Some(at) = self.claims.iter().position(|claim| claim.ticket == ticket.0) {
            for id in self.claims.swap_remove(at).tables {
                self.tables.remove(&id);
            }
        }
    }

    /// Is the table an input of a running compaction?
    pub fn holds(&self, id: TableId) -> bool {
        self.tables.contains(&id)
    }

    /// How many compactions run.
    pub fn running(&self) -> usize {
        self.claims.len()
    }

    /// How many of them take tables of `place`, which is an ingest set.
    pub(super) fn running_in<T: TableInfo>(&self, version: &Version<T>, place: Place) -> usize {
        if self.claims.is_empty() {
            return 0;
        }
        let Some(level) = version.levels().get(usize::from(place.level)) else { return 0 };
        let takes = |claim: &&Claim| level.ingest.iter().any(|t| claim.tables.contains(&t.meta().id));
        self.claims.iter().filter(takes).count()
    }

    /// May data of `smallest..=largest` go from `from` to `to` beside the running compactions? Not if one of them
    /// will put data of that range between the two places, which would then stand above newer data, nor if both
    /// write into the same sorted level there.
    pub(super) fn leaves_free(
        &self,
        from: Place,
        to: Place,
        smallest: KeyRef<'_>,
        largest: KeyRef<'_>,
    ) -> bool {
        self.claims.iter().all(|claim| {
            let overlaps = claim.smallest.as_ref() <= largest && smallest <= claim.largest.as_ref();
            let between = claim.to > from && claim.to < to;
            !overlaps || !(between || (claim.to == to && !to.ingest))
        })
    }
}
