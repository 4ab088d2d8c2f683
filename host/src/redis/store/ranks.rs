//! Ranks in large collections: how many entries stand before a key, and which entry stands at a rank, without a walk
//! from an end. It is a cache: everything else works without it.
//!
//! An index covers the keys of one collection in one table. It cuts them into runs by fences, and counts each run:
//!
//! ```text
//! blocks      [        37 entries         ] [      50 entries      ]    up to 64 runs each
//! runs        ""  12 | "c" 15 | "fa"  10    "h"   9 | "k"  ...          a fence is not above its run's first key
//! ```
//! A rank is a sum over blocks, one over runs, and a walk within a run.
//!
//! 1. An index is right for the store at the seq `as_of`. It is used only if nobody wrote the head's key since: whoever
//!    changes a collection writes its head.
//! 2. Whoever changes an entry says whether it stood there before the transaction ([`Ranks::note`], before the first
//!    change). At the commit the notes and the changes give by how much each run grew. The commit requires that the head
//!    was not written since `as_of`. An index goes if an entry that changed has no note, or if its total is not the
//!    count of the head then. A transaction that does not commit changes nothing.
//! 3. Reads of a transaction that changes the collection itself walk.
//! 4. All of them together take `Sizes::bytes_max`; the one that was used longest ago goes first.

mod fences;

use std::collections::{HashMap, HashSet};

use nokv_core::Result;
use nokv_core::formats::redis::{self, COLLECTION_PREFIX_BYTES, Head};

use self::fences::{Fences, Place, SIZES, Sizes, runs_of};
use super::backend::{Backend, Cursor, Table, Unchanged};
use super::changes::Changes;
use super::keyspace::{Collection, Keyspace, part_of};
use super::txn::Txn;
use super::writes::Writes;
use crate::redis::fail::Answer;

/// A space and a key in it.
type Name = (u8, Vec<u8>);

#[derive(Debug)]
struct Index {
    table: Table,
    prefix: [u8; COLLECTION_PREFIX_BYTES],
    end: Vec<u8>,
    as_of: u64,
    /// When it was used last.
    used: u64,
    fences: Fences,
}

/// The indexes, and what the transaction under way noted for them.
#[derive(Debug)]
pub struct Ranks {
    by_key: HashMap<Name, Index>,
    /// What has an index.
    covered: HashSet<(Table, [u8; COLLECTION_PREFIX_BYTES])>,
    /// Entries that the transaction changed: did they stand there before it?
    notes: HashMap<Table, HashMap<Vec<u8>, bool>>,
    uses: u64,
    bytes: usize,
    sizes: Sizes,
}

impl Ranks {
    pub(super) fn new() -> Self {
        Self {
            by_key: HashMap::new(),
            covered: HashSet::new(),
            notes: HashMap::new(),
            uses: 0,
            bytes: 0,
            sizes: SIZES,
        }
    }

    /// The transaction is about to change this entry: does it stand there now? Changes of an entry after the first one
    /// in a transaction may be noted, too. Without a note an index is only lost.
    pub fn note(&mut self, table: Table, key: &[u8], stands: bool) {
        if self.covered.is_empty() {
            return;
        }
        let Some(prefix) = key.first_chunk::<COLLECTION_PREFIX_BYTES>() else { return };
        if self.covered.contains(&(table, *prefix)) {
            self.notes.entry(table).or_default().entry(key.to_vec()).or_insert(stands);
        }
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        self.notes.values_mut().for_each(HashMap::clear);
    }

    /// Before a commit: it requires that the heads of indexes that it goes on with are as they were. Gives these.
    pub(super) fn prepare(&self, txn: &mut Txn) -> Vec<Name> {
        let mut touched = Vec::new();
        if self.by_key.is_empty() {
            return touched;
        }
        let mut required = Vec::new();
        for (table, writes) in txn.changes().tables() {
            let Table::Keys(space) = table else { continue };
            self.touched_of(space, writes, &mut touched);
        }
        let ranges = txn.changes().ranges();
        if ranges.iter().any(|range| matches!(range.table, Table::Keys(_))) {
            let hidden = |name: &&Name| ranges.iter().any(|range| range.covers(Table::Keys(name.0), &name.1));
            touched.extend(self.by_key.keys().filter(hidden).cloned());
        }
        for name in &touched {
            if let Some(index) = self.by_key.get(name) {
                required.push(Unchanged {
                    table: Table::Keys(name.0),
                    key: name.1.clone(),
                    since: index.as_of,
                });
            }
        }
        required.into_iter().for_each(|condition| txn.require(condition));
        touched
    }

    fn touched_of(&self, space: u8, writes: &Writes, touched: &mut Vec<Name>) {
        if writes.len() <= self.by_key.len() {
            let names = writes.iter().map(|(key, _)| (space, key.clone()));
            touched.extend(names.filter(|name| self.by_key.contains_key(name)));
        } else {
            let written = |name: &&Name| name.0 == space && writes.get(&name.1).is_some();
            touched.extend(self.by_key.keys().filter(written).cloned());
        }
    }

    /// The commit did not happen.
    pub(super) fn not_committed(&mut self, touched: &[Name]) {
        touched.iter().for_each(|name| self.remove(name));
    }

    /// The commit happened, and its last write was `seq`.
    pub(super) fn committed(&mut self, touched: &[Name], changes: &Changes, seq: u64) {
        for name in touched {
            let Some(index) = self.by_key.get_mut(name) else { continue };
            let before = index.fences.bytes;
            let notes = self.notes.get(&index.table);
            let goes_on = index.follow(name, notes, changes, seq);
            self.bytes = self.bytes + index.fences.bytes - before;
            if !goes_on {
                self.remove(name);
            }
        }
    }

    fn remove(&mut self, name: &Name) {
        if let Some(index) = self.by_key.remove(name) {
            self.bytes -= index.fences.bytes;
            self.covered.remove(&(index.table, index.prefix));
        }
    }

    /// The index of a collection, if it has one that is right now.
    fn valid(&mut self, backend: &dyn Backend, table: Table, of: &Collection<'_>) -> Result<Option<Name>> {
        let name = (of.space(), of.key.to_vec());
        let Some(index) = self.by_key.get(&name) else { return Ok(None) };
        let prefix = redis::collection_prefix(of.space(), of.head.collection);
        let condition = Unchanged { table: Table::Keys(name.0), key: name.1.clone(), since: index.as_of };
        let is_of_it =
            index.table == table && index.prefix == prefix && index.fences.entries == of.head.count;
        if is_of_it && backend.is_unchanged(&condition)? {
            return Ok(Some(name));
        }
        self.remove(&name);
        Ok(None)
    }

    /// Makes an index with one walk. `None` if it would take too much memory, or the collection changes meanwhile.
    fn make(&mut self, backend: &dyn Backend, table: Table, of: &Collection<'_>) -> Result<Option<Name>> {
        let prefix = redis::collection_prefix(of.space(), of.head.collection);
        let end = of.end();
        let as_of = backend.seq();
        let mut cursor = backend.scan(table, &prefix, Some(&end), false)?;
        let Sizes { run, bytes_max, .. } = self.sizes;
        let Some(runs) = runs_of(cursor.as_mut(), Box::default(), run, bytes_max / 2)? else {
            return Ok(None);
        };
        drop(cursor);
        let fences = Fences::new(runs, self.sizes);
        if fences.entries != of.head.count {
            return Ok(None);
        }
        let name = (of.space(), of.key.to_vec());
        self.remove(&name);
        self.bytes += fences.bytes;
        self.uses += 1;
        self.covered.insert((table, prefix));
        self.by_key.insert(name.clone(), Index { table, prefix, end, as_of, used: self.uses, fences });
        while self.bytes > bytes_max {
            let oldest = self.by_key.iter().filter(|(other, _)| **other != name).min_by_key(|(_, i)| i.used);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
            self.remove(&oldest);
        }
        Ok(Some(name))
    }

    /// The index of a collection; makes it if it is missing and worth it.
    fn of(&mut self, txn: &Txn, table: Table, of: &Collection<'_>) -> Result<Option<Name>> {
        if of.head.count < self.sizes.entries_min || !of.exists || changes_some(txn.changes(), table, of) {
            return Ok(None);
        }
        let backend = txn.backend().as_ref();
        match self.valid(backend, table, of)? {
            Some(name) => Ok(Some(name)),
            None => self.make(backend, table, of),
        }
    }

    /// Cuts a run that has grown; gives the place of the key or rank that `again` looks up.
    fn settle(
        &mut self,
        backend: &dyn Backend,
        name: &Name,
        find: impl Fn(&Fences) -> Place,
    ) -> Result<Option<(Place, &Index)>> {
        self.uses += 1;
        let uses = self.uses;
        let Some(index) = self.by_key.get_mut(name) else { return Ok(None) };
        index.used = uses;
        let at = find(&index.fences);
        if index.fences.run(at).entries > 2 * self.sizes.run {
            let before = index.fences.bytes;
            let (lower, upper) = index.bounds(at);
            let mut cursor = backend.scan(index.table, &lower, Some(&upper), false)?;
            let fence = index.fences.run(at).fence.clone();
            let entries = index.fences.run(at).entries;
            let runs = runs_of(cursor.as_mut(), fence, self.sizes.run, usize::MAX)?.unwrap_or_default();
            if runs.iter().map(|run| run.entries).sum::<u64>() != entries {
                // Someone else wrote since it was found valid.
                self.remove(name);
                return Ok(None);
            }
            index.fences.replace(at, runs);
            self.bytes = self.bytes + index.fences.bytes - before;
        }
        Ok(self.by_key.get(name).map(|index| (find(&index.fences), index)))
    }
}

/// Does the transaction itself change entries of the collection?
fn changes_some(changes: &Changes, table: Table, of: &Collection<'_>) -> bool {
    let lower = redis::collection_prefix(of.space(), of.head.collection);
    let end = of.end();
    changes.range(table, &lower, Some(&end)).next().is_some() || overlaps(changes, table, &lower, &end)
}

/// Does a deleted range meet `lower..end`?
fn overlaps(changes: &Changes, table: Table, lower: &[u8], end: &[u8]) -> bool {
    changes.ranges().iter().any(|range| {
        range.table == table
            && *range.lower < *end
            && range.upper.as_deref().is_none_or(|upper| upper > lower)
    })
}

impl Index {
    /// Keys of the table from a run's fence to the next.
    fn bounds(&self, at: Place) -> (Vec<u8>, Vec<u8>) {
        let lower = [&self.prefix[..], &self.fences.run(at).fence].concat();
        let upper =
            self.fences.end(at).map_or_else(|| self.end.clone(), |end| [&self.prefix[..], end].concat());
        (lower, upper)
    }

    /// Goes on to the state after a commit; false if it cannot.
    fn follow(
        &mut self,
        name: &Name,
        notes: Option<&HashMap<Vec<u8>, bool>>,
        changes: &Changes,
        seq: u64,
    ) -> bool {
        let head = match changes.get(Table::Keys(name.0), &name.1) {
            Some(Some(put)) => Head::decode(&put.value),
            _ => return false,
        };
        let Ok(head) = head else { return false };
        if redis::collection_prefix(name.0, head.collection) != self.prefix
            || overlaps(changes, self.table, &self.prefix, &self.end)
        {
            return false;
        }
        for (key, put) in changes.range(self.table, &self.prefix, Some(&self.end)) {
            let Some(stood) = notes.and_then(|notes| notes.get(key)).copied() else { return false };
            let stands = put.is_some();
            if stood != stands && !self.fences.change(part_of(key), stands) {
                return false;
            }
        }
        self.as_of = seq;
        self.fences.entries == head.count
    }
}

/// Where the entry at some rank is found: in a walk from the first or the last key of a range, so many entries further.
struct Walk {
    lower: Vec<u8>,
    upper: Vec<u8>,
    skip: u64,
}

impl Keyspace {
    /// How many entries of a collection stand before `part` in its table, be there such an entry or not.
    ///
    /// # Errors
    /// What the store met.
    pub fn rank_of(&mut self, of: &Collection<'_>, table: Table, part: &[u8]) -> Answer<u64> {
        let prefix = redis::collection_prefix(of.space(), of.head.collection);
        let key = [&prefix[..], part].concat();
        let (ranks, txn) = self.ranks_and_txn();
        let mut before = 0;
        let mut lower = prefix.to_vec();
        if let Some(name) = ranks.of(txn, table, of)?
            && let Some((at, index)) = ranks.settle(txn.backend().as_ref(), &name, |f| f.of_key(part))?
        {
            before = at.before;
            lower = index.bounds(at).0;
        }
        let mut cursor = txn.scan(table, &lower, Some(&key), false)?;
        while cursor.advance()? {
            before += 1;
        }
        Ok(before)
    }

    /// A cursor over the entries of a collection in its table that stands before the one at `rank` (0 is the first), and
    /// goes on to the last; or backwards to the first. Past the end it ends at once.
    ///
    /// # Errors
    /// What the store met.
    pub fn seek_rank(
        &mut self,
        of: &Collection<'_>,
        table: Table,
        rank: u64,
        reverse: bool,
    ) -> Answer<Box<dyn Cursor>> {
        let (lower, end) = of.bounds(table);
        let (ranks, txn) = self.ranks_and_txn();
        if rank >= of.head.count {
            return Ok(txn.scan(table, &end, Some(&end), reverse)?);
        }
        let behind = of.head.count - 1 - rank;
        let mut walk = Walk { lower, upper: end, skip: if reverse { behind } else { rank } };
        if rank.min(behind) > ranks.sizes.walk_max
            && let Some(name) = ranks.of(txn, table, of)?
            && let Some((at, index)) = ranks.settle(txn.backend().as_ref(), &name, |f| f.of_rank(rank))?
        {
            let (lower, upper) = index.bounds(at);
            let within = rank - at.before;
            if reverse {
                walk.skip = index.fences.run(at).entries - 1 - within;
                walk.upper = upper;
            } else {
                walk.skip = within;
                walk.lower = lower;
            }
        } else if walk.skip > of.head.count / 2 {
            // From the other end it is nearer: its key is where the walk begins.
            let other = of.head.count - 1 - walk.skip;
            let mut cursor = txn.scan(table, &walk.lower, Some(&walk.upper), !reverse)?;
            for _ in 0..=other {
                cursor.advance()?;
            }
            let key = cursor.key().to_vec();
            walk.skip = 0;
            if reverse {
                walk.upper = [&key[..], &[0]].concat();
            } else {
                walk.lower = key;
            }
        }
        let mut cursor = txn.scan(table, &walk.lower, Some(&walk.upper), reverse)?;
        for _ in 0..walk.skip {
            cursor.advance()?;
        }
        Ok(cursor)
    }

    /// Sets an entry of a collection, for whoever knows whether it stands there already.
    pub fn put_entry(&mut self, table: Table, key: &[u8], value: Vec<u8>, stands: bool) {
        let (ranks, txn) = self.ranks_and_txn();
        ranks.note(table, key, stands);
        txn.set(table, key, value);
    }

    /// Removes an entry of a collection that stands there.
    pub fn delete_entry(&mut self, table: Table, key: &[u8]) {
        let (ranks, txn) = self.ranks_and_txn();
        ranks.note(table, key, true);
        txn.delete(table, key);
    }
}

#[cfg(test)]
mod tests;
