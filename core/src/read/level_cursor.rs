//! A cursor over the sorted, disjoint tables of a level: at most one of them is open at a time.

use alloc::vec::Vec;

use nokv_formats::{EntryRef, KeyRef};

use crate::cursor::Cursor;
use crate::error::Result;
use crate::sync::Arc;
use crate::table::{CursorOptions, Table, TableCursor};
use crate::vfs::Vfs;

/// Walks tables that are sorted by key and share none.
pub struct LevelCursor<V: Vfs> {
    tables: Vec<Arc<Table<V>>>,
    options: CursorOptions,
    /// The open table and its cursor; the cursor is valid unless the whole cursor is not.
    open: Option<(usize, TableCursor<V>)>,
}

impl<V: Vfs> LevelCursor<V> {
    /// Over `tables`, sorted and disjoint. Not yet on a key.
    pub const fn new(tables: Vec<Arc<Table<V>>>, options: CursorOptions) -> Self {
        Self { tables, options, open: None }
    }

    fn enter(&mut self, n: usize) -> Result<&mut TableCursor<V>> {
        let cursor = match self.open.take() {
            Some((at, cursor)) if at == n => cursor,
            _ => self.tables[n].cursor(self.options),
        };
        Ok(&mut self.open.insert((n, cursor)).1)
    }

    /// Goes on to the next tables until one has a key.
    fn skip_forward(&mut self) -> Result<()> {
        while let Some((n, cursor)) = &self.open {
            if cursor.valid() {
                return Ok(());
            }
            let next = n + 1;
            if next == self.tables.len() {
                self.open = None;
                return Ok(());
            }
            self.enter(next)?.seek_first()?;
        }
        Ok(())
    }

    fn skip_backward(&mut self) -> Result<()> {
        while let Some((n, cursor)) = &self.open {
            if cursor.valid() {
                return Ok(());
            }
            let Some(previous) = n.checked_sub(1) else {
                self.open = None;
                return Ok(());
            };
            self.enter(previous)?.seek_last()?;
        }
        Ok(())
    }

    fn moved(&mut self, result: Result<()>, forward: bool) -> Result<()> {
        let result = result.and_then(|()| if forward { self.skip_forward() } else { self.skip_backward() });
        if result.is_err() {
            self.open = None;
        }
        result
    }
}

impl<V: Vfs> Cursor for LevelCursor<V> {
    #[inline]
    fn valid(&self) -> bool {
        matches!(&self.open, Some((_, cursor)) if cursor.valid())
    }

    fn seek_first(&mut self) -> Result<()> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let result = self.enter(0).and_then(|c| c.seek_first());
        self.moved(result, true)
    }

    fn seek_last(&mut self) -> Result<()> {
        let Some(last) = self.tables.len().checked_sub(1) else { return Ok(()) };
        let result = self.enter(last).and_then(|c| c.seek_last());
        self.moved(result, false)
    }

    fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        let n = self.tables.partition_point(|t| t.meta().props.largest.as_ref() < key);
        if n == self.tables.len() {
            self.open = None;
            return Ok(());
        }
        let result = self.enter(n).and_then(|c| c.seek(key));
        self.moved(result, true)
    }

    fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        let n = self.tables.partition_point(|t| t.meta().props.smallest.as_ref() <= key);
        let Some(n) = n.checked_sub(1) else {
            self.open = None;
            return Ok(());
        };
        let result = self.enter(n).and_then(|c| c.seek_for_prev(key));
        self.moved(result, false)
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        let Some((_, cursor)) = &mut self.open else { return Ok(()) };
        let result = cursor.next_key();
        if result.is_ok() && cursor.valid() {
            return Ok(());
        }
        self.moved(result, true)
    }

    fn prev_key(&mut self) -> Result<()> {
        let Some((_, cursor)) = &mut self.open else { return Ok(()) };
        let result = cursor.prev_key();
        if result.is_ok() && cursor.valid() {
            return Ok(());
        }
        self.moved(result, false)
    }

    #[inline]
    fn key(&self) -> KeyRef<'_> {
        match &self.open {
            Some((_, cursor)) => cursor.key(),
            None => unreachable!("key of a cursor that is not valid"),
        }
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        self.open.as_ref().and_then(|(_, cursor)| cursor.entry())
    }

    #[inline]
    fn next_entry(&mut self) -> Result<()> {
        match &mut self.open {
            Some((_, cursor)) => cursor.next_entry(),
            None => Ok(()),
        }
    }
}
