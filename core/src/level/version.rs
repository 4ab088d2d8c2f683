//! One state of the tree, and who may hold a key in it.
//!
//! Who may call it: anyone; a version is immutable and cheap to share behind an `Arc`.
//!
//! Order of sources, newest first: level 0 by seq, then for each level its ingest set, then the level.
//! 1. `Level::tables` of level 0 and every `Level::ingest` are ordered by highest seq, descending, then by number,
//!    descending. Their key ranges may overlap.
//! 2. `Level::tables` of the other levels are ordered by smallest key and disjoint: no user key is in two of them. The
//!    end of a range delete, which it does not cover, may be the first key of the next table.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use nokv_formats::{KeyRef, TableId, TableMeta};

use crate::limits::LEVELS;
use crate::planted::{self, Bug};
use crate::sync::Arc;

/// Something that stands for a table: its metadata alone, or an open table.
pub trait TableInfo: Clone {
    /// What the manifest says of it.
    fn meta(&self) -> &TableMeta;

    /// Value-log bytes that it names.
    fn value_bytes(&self) -> u64 {
        self.meta().props.live.iter().fold(0, |sum, l| sum.saturating_add(l.bytes))
    }
}

impl TableInfo for Arc<TableMeta> {
    fn meta(&self) -> &TableMeta {
        self
    }
}

/// The tables of one level.
#[derive(Debug, Clone)]
pub struct Level<T> {
    /// Tables that came from above and are not sorted in yet. Empty for level 0.
    pub ingest: Vec<T>,
    /// The level's own tables.
    pub tables: Vec<T>,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { ingest: Vec::new(), tables: Vec::new() }
    }
}

/// A table and where it stands.
#[derive(Debug)]
pub struct Source<'a, T> {
    /// Its level.
    pub level: u8,
    /// In the level's ingest set?
    pub ingest: bool,
    /// The table.
    pub table: &'a T,
}

/// One state of the tree.
#[derive(Debug, Clone)]
pub struct Version<T> {
    levels: [Level<T>; LEVELS],
}

impl<T: TableInfo> Default for Version<T> {
    fn default() -> Self {
        Self { levels: core::array::from_fn(|_| Level::default()) }
    }
}

impl<T: TableInfo> Version<T> {
    /// The version with these tables: (level, ingest, table). Whether it keeps the rules is for [`super::check`] to say.
    ///
    /// # Panics
    /// If a level is not below [`LEVELS`]: the manifest has checked that.
    pub fn new(tables: impl IntoIterator<Item = (u8, bool, T)>) -> Self {
        Self::default().apply(&[], tables)
    }

    /// This version without the tables `removed` and with the tables `added`. A table that moves is in both.
    ///
    /// # Panics
    /// If a level is not below [`LEVELS`]: the manifest has checked that.
    pub fn apply(&self, removed: &[TableId], added: impl IntoIterator<Item = (u8, bool, T)>) -> Self {
        let mut levels = self.levels.clone();
        if !removed.is_empty() {
            let mut removed = removed.to_vec();
            removed.sort_unstable();
            for level in &mut levels {
                for set in [&mut level.ingest, &mut level.tables] {
                    set.retain(|table| removed.binary_search(&table.meta().id).is_err());
                }
            }
        }
        for (level, ingest, table) in added {
            let level = &mut levels[usize::from(level)];
            if ingest { &mut level.ingest } else { &mut level.tables }.push(table);
        }
        for (n, level) in levels.iter_mut().enumerate() {
            sort_newest_first(&mut level.ingest);
            match n {
                0 => sort_newest_first(&mut level.tables),
                _ => level.tables.sort_by(|a, b| a.meta().props.smallest.cmp(&b.meta().props.smallest)),
            }
        }
        Self { levels }
    }

    /// The levels, from 0.
    #[inline]
    pub fn levels(&self) -> &[Level<T>; LEVELS] {
        &self.levels
    }

    /// All tables, newest source first.
    pub fn sources(&self) -> impl Iterator<Item = Source<'_, T>> {
        self.levels.iter().zip(0u8..).flat_map(|(level, n)| {
            let ingest = level.ingest.iter().map(move |table| Source { level: n, ingest: true, table });
            ingest.chain(level.tables.iter().map(move |table| Source { level: n, ingest: false, table }))
        })
    }

    /// The tables whose key range holds `key`, newest source first. Within one ingest set their order says
    /// nothing of a single key: the highest seq there wins.
    #[inline]
    pub fn sources_for_key<'a>(&'a self, key: KeyRef<'a>) -> impl Iterator<Item = Source<'a, T>> {
        self.levels.iter().zip(0u8..).flat_map(move |(level, n)| {
            let ingest = level.ingest.iter().filter(move |table| holds(table.meta(), key));
            let ingest = ingest.map(move |table| Source { level: n, ingest: true, table });
            ingest.chain(level.at_key(n, key).map(move |table| Source { level: n, ingest: false, table }))
        })
    }

    /// The table with this number.
    pub fn find(&self, id: TableId) -> Option<Source<'_, T>> {
        self.sources().find(|source| source.table.meta().id == id)
    }

    /// All tables, newest source first.
    pub fn tables(&self) -> impl Iterator<Item = &T> {
        self.sources().map(|source| source.table)
    }

    /// How many tables there are.
    pub fn table_count(&self) -> usize {
        self.levels.iter().map(|level| level.ingest.len() + level.tables.len()).sum()
    }

    /// Bytes of all table files.
    pub fn file_bytes(&self) -> u64 {
        self.levels.iter().map(Level::file_bytes).sum()
    }
}

impl<T: TableInfo> Level<T> {
    /// The tables of the set of level `n` that may hold `key`: all that do in level 0, else one, or two where a
    /// range delete of the one ends at the first key of the other.
    #[inline]
    fn at_key<'a>(&'a self, n: u8, key: KeyRef<'a>) -> impl Iterator<Item = &'a T> {
        let from = match n {
            0 => 0,
            _ => self.tables.partition_point(|t| t.meta().props.largest.as_ref() < key),
        };
        let candidates = self.tables.get(from..).unwrap_or(&[]).iter();
        candidates
            .take_while(move |t| n == 0 || t.meta().props.smallest.as_ref() <= key)
            .filter(move |table| holds(table.meta(), key))
    }

    /// The tables of the set of level `n`, not of its ingest, that overlap `range` (both ends belong to it).
    pub fn overlapping<'a>(
        &'a self,
        n: u8,
        range: &RangeInclusive<KeyRef<'a>>,
    ) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let (start, end) = (*range.start(), *range.end());
        let candidates = match n {
            0 => self.tables.as_slice(),
            _ => {
                let from = self.tables.partition_point(|t| t.meta().props.largest.as_ref() < start);
                let to = self.tables.partition_point(|t| t.meta().props.smallest.as_ref() <= end);
                self.tables.get(from..to).unwrap_or(&[])
            }
        };
        candidates.iter().filter(move |table| overlaps(table.meta(), start, end))
    }

    /// The tables of the ingest set that overlap `range`.
    pub fn overlapping_ingest<'a>(
        &'a self,
        range: &RangeInclusive<KeyRef<'a>>,
    ) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let (start, end) = (*range.start(), *range.end());
        self.ingest.iter().filter(move |table| overlaps(table.meta(), start, end))
    }

    /// Value-log bytes that the level's tables name, ingest included.
    pub fn value_bytes(&self) -> u64 {
        self.ingest.iter().chain(&self.tables).map(T::value_bytes).fold(0, u64::saturating_add)
    }

    /// Bytes of the level's table files, ingest included.
    pub fn file_bytes(&self) -> u64 {
        self.ingest.iter().chain(&self.tables).map(|table| table.meta().file_bytes).sum()
    }
}

/// Does the key range of the table hold `key`?
#[inline]
pub(crate) fn holds(meta: &TableMeta, key: KeyRef<'_>) -> bool {
    meta.props.smallest.as_ref() <= key && key <= meta.props.largest.as_ref()
}

/// Does the key range of the table overlap `start..=end`?
#[inline]
pub(crate) fn overlaps(meta: &TableMeta, start: KeyRef<'_>, end: KeyRef<'_>) -> bool {
    meta.props.smallest.as_ref() <= end && start <= meta.props.largest.as_ref()
}

fn sort_newest_first<T: TableInfo>(tables: &mut [T]) {
    tables.sort_by(|a, b| {
        let (a, b) = (a.meta(), b.meta());
        if planted::is(Bug::OrderedByNumber) {
            return b.id.cmp(&a.id);
        }
        (b.props.seq_max, b.id).cmp(&(a.props.seq_max, a.id))
    });
}
