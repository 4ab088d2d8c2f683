//! Iterators over what is visible: both ways, bounded, at one seq and one time for their whole life.
//!
//! A scan owns its view, so what it reads stays; it holds up nobody.

use alloc::vec::Vec;

use nokv_formats::{EntryRef, KeyBuf, KeyRef, Seq, Version};

use crate::cursor::Cursor;
use crate::error::Result;
use crate::index::MemIndex;
use crate::planted::{self, Bug};
use crate::read::level_cursor::LevelCursor;
use crate::read::merge::{MergeCursor, Room};
use crate::read::range_set::RangeSet;
use crate::read::resolve::{Bounds, Next, Resolver};
use crate::read::view::View;
use crate::sync::Arc;
use crate::table::{CursorOptions, TableCursor};
use crate::vfs::Vfs;

/// A cursor over any source of a view.
pub enum SourceCursor<V: Vfs, I: MemIndex> {
    /// A memtable.
    Mem(I::Cursor),
    /// A table of level 0 or of an ingest set.
    Table(TableCursor<V>),
    /// The sorted tables of a level.
    Level(LevelCursor<V>),
}

macro_rules! each {
    ($self:expr, $c:ident => $e:expr) => {
        match $self {
            SourceCursor::Mem($c) => $e,
            SourceCursor::Table($c) => $e,
            SourceCursor::Level($c) => $e,
        }
    };
}

impl<V: Vfs, I: MemIndex> Cursor for SourceCursor<V, I> {
    #[inline]
    fn valid(&self) -> bool {
        each!(self, c => c.valid())
    }
    fn seek_first(&mut self) -> Result<()> {
        each!(self, c => c.seek_first())
    }
    fn seek_last(&mut self) -> Result<()> {
        each!(self, c => c.seek_last())
    }
    fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        each!(self, c => c.seek(key))
    }
    fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        each!(self, c => c.seek_for_prev(key))
    }
    #[inline]
    fn next_key(&mut self) -> Result<()> {
        each!(self, c => c.next_key())
    }
    fn prev_key(&mut self) -> Result<()> {
        each!(self, c => c.prev_key())
    }
    #[inline]
    fn key(&self) -> KeyRef<'_> {
        each!(self, c => c.key())
    }
    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        each!(self, c => c.entry())
    }
    #[inline]
    fn next_entry(&mut self) -> Result<()> {
        each!(self, c => c.next_entry())
    }
}

/// Cursors over all sources of `view`, newest first.
pub fn sources<V: Vfs, I: MemIndex>(view: &View<V, I>, options: CursorOptions) -> Vec<SourceCursor<V, I>> {
    let mut sources: Vec<SourceCursor<V, I>> =
        view.memtables().map(|m| SourceCursor::Mem(m.index().cursor())).collect();
    if planted::is(Bug::IteratorSkipsSealed) {
        sources.truncate(1);
    }
    for (n, level) in view.tables.levels().iter().enumerate() {
        let single = if n == 0 { &level.tables } else { &level.ingest };
        sources.extend(single.iter().map(|t| SourceCursor::Table(t.cursor(options))));
        if n > 0 && !level.tables.is_empty() {
            sources.push(SourceCursor::Level(LevelCursor::new(level.tables.clone(), options)));
        }
    }
    sources
}

/// What a scan covers.
#[derive(Debug, Clone)]
pub struct ScanRange {
    /// Families and keys from here on (included).
    pub lower: KeyBuf,
    /// Up to here (not included); `None`: to the end.
    pub upper: Option<KeyBuf>,
}

/// An iterator over the visible entries of a view.
pub struct Scan<V: Vfs, I: MemIndex> {
    merge: MergeCursor<SourceCursor<V, I>>,
    ranges: Option<RangeSet>,
    range: ScanRange,
    bounds: Bounds,
    now_ms: u64,
    resolver: Resolver,
    /// Which of the sources that hold the merge's key stands on the entry that is seen; none: it stands on nothing.
    stands: Option<usize>,
    view: Arc<View<V, I>>,
}

impl<V: Vfs, I: MemIndex> Scan<V, I> {
    /// Over `range` of `view` as it was at `seq` and `now_ms`. Not yet on a key.
    ///
    /// # Errors
    /// What reading the range deletes of tables gives.
    pub fn new(
        view: Arc<View<V, I>>,
        range: ScanRange,
        seq: Seq,
        now_ms: u64,
        options: CursorOptions,
    ) -> Result<Self> {
        let bounds = Bounds { version: Version::MAX, seq };
        Ok(Self {
            merge: MergeCursor::new(sources(&view, options)),
            ranges: view.ranges()?,
            range,
            bounds,
            now_ms,
            resolver: Resolver::new(bounds),
            stands: None,
            view,
        })
    }

    /// Sees entries as if no time had come: those that expired are there as long as no merge took them out.
    pub const fn see_expired(&mut self) {
        self.now_ms = 0;
    }

    /// Works in the room of an earlier scan. Stands on nothing afterwards.
    #[must_use]
    pub fn with_room(mut self, room: Room) -> Self {
        self.stands = None;
        self.merge.use_room(room);
        self
    }

    /// Gives its room away; it stands on nothing afterwards.
    pub fn take_room(&mut self) -> Room {
        self.stands = None;
        self.merge.take_room()
    }

    /// The view it holds.
    pub const fn view(&self) -> &Arc<View<V, I>> {
        &self.view
    }

    /// The seq it reads at.
    pub const fn seq(&self) -> Seq {
        self.bounds.seq
    }

    /// Stands on an entry?
    pub const fn valid(&self) -> bool {
        self.stands.is_some()
    }

    /// The key it stands on.
    pub fn key(&self) -> Option<KeyRef<'_>> {
        self.stands.map(|_| self.merge.key())
    }

    /// The entry it stands on; for a [`Kind::Pointer`](nokv_formats::Kind::Pointer) the value is the encoded pointer.
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        self.merge.source(self.stands?).1.entry()
    }

    /// To the first entry.
    pub fn seek_first(&mut self) -> Result<()> {
        self.clear();
        self.merge.seek(self.range.lower.as_ref())?;
        self.find_forward()
    }

    /// To the last entry.
    pub fn seek_last(&mut self) -> Result<()> {
        self.clear();
        match &self.range.upper {
            None => self.merge.seek_last()?,
            Some(upper) => {
                self.merge.seek_for_prev(upper.as_ref())?;
                if self.merge.valid() && self.merge.key() == upper.as_ref() {
                    self.merge.prev_key()?;
                }
            }
        }
        self.find_backward()
    }

    /// To the first entry at or after `key`.
    pub fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.clear();
        self.merge.seek(key.max(self.range.lower.as_ref()))?;
        self.find_forward()
    }

    /// To the last entry at or before `key`.
    pub fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        if self.range.upper.as_ref().is_some_and(|upper| key >= upper.as_ref()) {
            return self.seek_last();
        }
        self.clear();
        self.merge.seek_for_prev(key)?;
        self.find_backward()
    }

    /// To the next entry; ends behind the last one. Does nothing when it stands on none.
    #[expect(clippy::should_implement_trait, reason = "a cursor: moves, and can fail")]
    pub fn next(&mut self) -> Result<()> {
        if self.stands.is_none() {
            return Ok(());
        }
        self.clear();
        self.merge.next_key()?;
        self.find_forward()
    }

    /// To the previous entry.
    pub fn prev(&mut self) -> Result<()> {
        if self.stands.is_none() {
            return Ok(());
        }
        self.clear();
        self.merge.prev_key()?;
        self.find_backward()
    }

    const fn clear(&mut self) {
        self.stands = None;
    }

    fn find_forward(&mut self) -> Result<()> {
        while self.merge.valid() {
            if self.range.upper.as_ref().is_some_and(|upper| self.merge.key() >= upper.as_ref()) {
                return Ok(());
            }
            if self.resolve()? {
                return Ok(());
            }
            self.merge.next_key()?;
        }
        Ok(())
    }

    fn find_backward(&mut self) -> Result<()> {
        while self.merge.valid() {
            if self.merge.key() < self.range.lower.as_ref() {
                return Ok(());
            }
            if self.resolve()? {
                return Ok(());
            }
            self.merge.prev_key()?;
        }
        Ok(())
    }

    /// Is there a visible entry at the merge's key? Takes it if so.
    fn resolve(&mut self) -> Result<bool> {
        self.resolver.reset();
        let mut range_delete =
            self.ranges.as_ref().and_then(|ranges| ranges.newest_covering(self.merge.key(), self.bounds.seq));
        let mut best = None;
        let now_ms = self.now_ms;
        'sources: for i in 0..self.merge.width() {
            self.resolver.begin_source(range_delete.take());
            let source = self.merge.source_mut(i);
            while let Some(entry) = source.entry() {
                let mut is_best = false;
                let next = self.resolver.push(&entry, || now_ms, &mut is_best);
                if is_best {
                    // It stays on it: nothing that follows in this source is asked for.
                    debug_assert!(next != Next::Entry, "an older entry of the best one's source");
                    best = Some(i);
                }
                match next {
                    Next::Entry => source.next_entry()?,
                    Next::Source => break,
                    Next::Done => break 'sources,
                }
            }
            if self.resolver.end_hidden() {
                break;
            }
        }
        self.stands = best;
        Ok(best.is_some())
    }
}
