//! What a read looks at: one set of memtables and tables, fixed for the life of the view.
//!
//! Sources, newest first: the active memtable, the sealed ones, level 0 by seq, then for each level its ingest
//! set by seq and its sorted tables.

use alloc::vec::Vec;

use nokv_formats::{KeyRef, Seq, TableMeta};

use crate::error::Result;
use crate::index::MemIndex;
use crate::level::{TableInfo, Version as TableVersion};
use crate::memtable::Memtable;
use crate::read::range_set::RangeSet;
use crate::sync::Arc;
use crate::table::Table;
use crate::vfs::Vfs;

impl<V: Vfs> TableInfo for Arc<Table<V>> {
    #[inline]
    fn meta(&self) -> &TableMeta {
        Table::meta(self)
    }

    #[inline]
    fn value_bytes(&self) -> u64 {
        Table::value_bytes(self)
    }
}

/// The tables of the tree.
pub type Tables<V> = TableVersion<Arc<Table<V>>>;

/// One consistent set of sources.
pub struct View<V: Vfs, I> {
    /// Number of the view; a later view has a higher one.
    pub id: u64,
    /// Takes the writes.
    pub active: Arc<Memtable<I>>,
    /// Full memtables on their way to tables, newest first.
    pub sealed: Vec<Arc<Memtable<I>>>,
    /// The tables.
    pub tables: Arc<Tables<V>>,
}

impl<V: Vfs, I: MemIndex> View<V, I> {
    /// The memtables, newest first.
    pub fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable<I>>> {
        core::iter::once(&self.active).chain(&self.sealed)
    }

    /// The range deletes of all sources together; `None` if there are none. Entries are judged by seq alone,
    /// so they need not be kept apart.
    pub fn ranges(&self) -> Result<Option<RangeSet>> {
        let mut all: Option<RangeSet> = None;
        let mut add = |set: &RangeSet| {
            let all = all.get_or_insert_with(RangeSet::new);
            for f in set.fragments() {
                for seq in &f.seqs {
                    all.insert(f.cf, &f.start, &f.end, *seq);
                }
            }
        };
        for memtable in self.memtables() {
            if let Some(set) = memtable.ranges() {
                add(&set);
            }
        }
        for table in self.tables.tables() {
            if table.meta().props.range_deletes > 0 {
                add(&*table.range_set()?);
            }
        }
        Ok(all)
    }

    /// Visits the tables that may hold `key`, newest source first, until `visit` says stop.
    #[inline]
    pub fn tables_for<'v>(
        &'v self,
        key: KeyRef<'_>,
        mut visit: impl FnMut(&'v Arc<Table<V>>) -> Result<bool>,
    ) -> Result<()> {
        for (n, level) in self.tables.levels().iter().enumerate() {
            if n == 0 {
                for table in &level.tables {
                    if covers(table, key) && !visit(table)? {
                        return Ok(());
                    }
                }
                continue;
            }
            for table in &level.ingest {
                if covers(table, key) && !visit(table)? {
                    return Ok(());
                }
            }
            let at = level.tables.partition_point(|t| t.meta().props.largest.as_ref() < key);
            // Two where a range delete of the one ends at the first key of the other.
            for table in level.tables.iter().skip(at).take_while(|t| covers(t, key)) {
                if !visit(table)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The newest seq of any write that touched `key` after `since`; `None` if none did.
    pub fn touched_since(&self, key: KeyRef<'_>, hash: u64, since: Seq) -> Result<Option<Seq>> {
        for memtable in self.memtables() {
            let entry = memtable.index().entries(key).map(|e| e.seq).max();
            let newest = entry.max(memtable.range_delete(key, Seq::MAX));
            if newest.is_some_and(|seq| seq > since) {
                return Ok(newest);
            }
        }
        let mut newest = None;
        self.tables_for(key, |table| {
            // Tables of level 0 come newest first, but a foreign table may stand anywhere: ask all that are
            // newer than `since`.
            if table.meta().props.seq_max <= since {
                return Ok(true);
            }
            table.find(key, hash, &mut |entry, _| {
                newest = newest.max(Some(entry.seq));
                core::ops::ControlFlow::Continue(())
            })?;
            if table.meta().props.range_deletes > 0 {
                newest = newest.max(table.range_set()?.newest_covering(key, Seq::MAX));
            }
            Ok(true)
        })?;
        Ok(newest.filter(|seq| *seq > since))
    }
}

#[inline]
fn covers<V: Vfs>(table: &Table<V>, key: KeyRef<'_>) -> bool {
    let props = &table.meta().props;
    props.smallest.as_ref() <= key && key <= props.largest.as_ref()
}
