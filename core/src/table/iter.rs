//! Cursor over a table.

use alloc::sync::Arc;
use alloc::vec::Vec;

use nokv_formats::block::{Entry, HEADER_BYTES};
use nokv_formats::key::KEY_BYTES_MAX;
use nokv_formats::{EntryRef, KeyBuf, KeyRef, Malformed};

use super::block::Block;
use super::open::{Loaded, Table, read};
use crate::cursor::Cursor;
use crate::error::Result;
use crate::vfs::Vfs;

/// How a cursor reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorOptions {
    /// Look for blocks in the cache and leave there what was read. Without it the cache is not touched.
    pub fill_cache: bool,
    /// Bytes of one read when blocks are read one behind the other; 0 reads each by itself.
    pub read_ahead: usize,
}

impl CursorOptions {
    /// For users' scans.
    pub const SCAN: Self = Self { fill_cache: true, read_ahead: 32 << 10 };
    /// For compaction and check: reads everything once and leaves the cache alone.
    pub const COMPACTION: Self = Self { fill_cache: false, read_ahead: 256 << 10 };
}

impl Default for CursorOptions {
    fn default() -> Self {
        Self::SCAN
    }
}

/// A cursor that owns its table. See [`Cursor`].
pub struct TableCursor<V: Vfs> {
    table: Arc<Table<V>>,
    options: CursorOptions,
    /// The block with the number `number`; only meaningful while there is one.
    block: Option<Arc<Block>>,
    number: usize,
    /// The entry it stands on; `None` behind the key's last.
    entry: Option<Entry>,
    /// Offset in the block behind the entry.
    next: usize,
    /// Where the first entry of the key lies.
    head_number: usize,
    head_at: usize,
    key: KeyBuf,
    valid: bool,
    /// File bytes from `ahead_at` on.
    ahead: Vec<u8>,
    ahead_at: u64,
    /// End of the block that was read last.
    read_end: u64,
}

impl<V: Vfs> Table<V> {
    /// A cursor that is not yet on a key.
    pub fn cursor(self: &Arc<Self>, options: CursorOptions) -> TableCursor<V> {
        TableCursor {
            table: self.clone(),
            options,
            block: None,
            number: 0,
            entry: None,
            next: 0,
            head_number: 0,
            head_at: 0,
            key: KeyBuf::default(),
            valid: false,
            ahead: Vec::new(),
            ahead_at: 0,
            read_end: u64::MAX,
        }
    }
}

impl<V: Vfs> TableCursor<V> {
    /// The table it reads.
    pub fn table(&self) -> &Arc<Table<V>> {
        &self.table
    }

    /// The block that the entry lies in, to pin a value. Must be valid and on an entry.
    pub fn block(&self) -> Option<&Arc<Block>> {
        self.block.as_ref()
    }

    /// Number of the block and offset in it of the key's first entry.
    pub(super) fn head(&self) -> (usize, usize) {
        (self.head_number, self.head_at)
    }

    /// Makes block `i` the current one.
    fn load(&mut self, loaded: &Loaded, i: usize) -> Result<()> {
        if self.block.is_some() && self.number == i {
            return Ok(());
        }
        let old = self.block.take();
        self.number = i;
        let (offset, len) = self.table.block_place(loaded, i)?;
        if self.options.fill_cache
            && let Some(block) = self.table.cached(offset)
        {
            self.block = Some(block);
            return Ok(());
        }
        // A block that nobody pinned and no cache holds gives its buffer to the next one.
        let bytes = old.and_then(Arc::into_inner).map_or_else(Vec::new, Block::into_bytes);
        let sequential = offset == self.read_end;
        self.read(offset, len, sequential)?;
        self.read_end = offset + len as u64;
        let start = (offset - self.ahead_at) as usize;
        let stored = self.ahead.get(start..start + len).unwrap_or(&[]);
        let block = Block::copy(stored, bytes, self.table.place(offset))?;
        self.table.agrees(loaded, i, offset, block.layout())?;
        let block = Arc::new(block);
        self.block = Some(if self.options.fill_cache { self.table.cache(offset, block) } else { block });
        Ok(())
    }

    /// Brings `len` bytes at `offset` into `ahead`.
    fn read(&mut self, offset: u64, len: usize, sequential: bool) -> Result<()> {
        let end = offset + len as u64;
        if offset >= self.ahead_at && end <= self.ahead_at + self.ahead.len() as u64 {
            return Ok(());
        }
        let mut want = len;
        if sequential {
            // Not behind the file: its length was checked when the index was loaded.
            let left = self.table.meta().file_bytes.saturating_sub(offset);
            want = want.max(self.options.read_ahead.min(usize::try_from(left).unwrap_or(usize::MAX)));
        }
        self.ahead.clear();
        self.ahead.resize(want, 0);
        self.ahead_at = offset;
        let done =
            self.table.file().and_then(|file| read(&*file, self.table.path(), offset, &mut self.ahead));
        if done.is_err() {
            self.ahead.clear();
        }
        done
    }

    #[cold]
    fn damaged(&self, loaded: &Loaded, m: Malformed) -> crate::error::Error {
        match self.table.block_place(loaded, self.number) {
            Ok((offset, _)) => self.table.place(offset).malformed(m),
            Err(e) => e,
        }
    }

    /// To the key that starts at `at` of the current block; the key buffer holds the key before it, unless a
    /// restart is there.
    #[inline]
    fn enter(&mut self, at: usize) -> core::result::Result<(), Malformed> {
        let view = self.block.as_ref().ok_or(Malformed::new(at, "block"))?.view();
        let entry = view.entry(at)?;
        let bytes = view.key_bytes(&entry);
        let key = &mut self.key.user_key;
        if entry.is_restart() {
            self.key.cf = entry.cf();
            key.clear();
        } else if entry.shared() <= key.len() && !entry.is_same_key() {
            key.truncate(entry.shared());
        } else {
            return Err(Malformed::new(at, "key that begins like the one before it"));
        }
        if key.len() + bytes.len() > KEY_BYTES_MAX {
            return Err(Malformed::new(at, "key of at most 65535 bytes"));
        }
        key.extend_from_slice(bytes);
        self.next = entry.next();
        self.entry = Some(entry);
        (self.head_number, self.head_at) = (self.number, at);
        self.valid = true;
        Ok(())
    }

    fn enter_or(&mut self, loaded: &Loaded, at: usize) -> Result<()> {
        self.enter(at).map_err(|m| self.damaged(loaded, m))
    }

    /// Where the key behind the current one starts in this block, or the end of its entries.
    #[inline]
    fn behind(&self) -> core::result::Result<(usize, usize), Malformed> {
        let block = self.block.as_ref().ok_or(Malformed::new(0, "block"))?;
        Ok((block.view().skip_older(self.next)?, block.layout().entries_end()))
    }

    /// Runs a move; after an error the cursor is invalid.
    #[inline]
    fn moved(&mut self, step: impl FnOnce(&mut Self, &Loaded) -> Result<()>) -> Result<()> {
        self.valid = false;
        let table = self.table.clone();
        let done = table.loaded().and_then(|loaded| step(self, loaded));
        if done.is_err() {
            self.valid = false;
            self.block = None;
        }
        done
    }

    fn step(&mut self, loaded: &Loaded) -> Result<()> {
        self.valid = false;
        loop {
            let (mut at, end) = self.behind().map_err(|m| self.damaged(loaded, m))?;
            if at < end {
                return self.enter_or(loaded, at);
            }
            let i = self.number + 1;
            if i >= loaded.index.blocks() {
                return Ok(());
            }
            self.load(loaded, i)?;
            at = HEADER_BYTES;
            if !loaded.index.continues(i) {
                return self.enter_or(loaded, at);
            }
            // The block begins with older versions of the key it stands on.
            let first = self.block.as_ref().map(|block| block.view().entry(at));
            match first {
                Some(Ok(first)) => self.next = first.next(),
                Some(Err(m)) => return Err(self.damaged(loaded, m)),
                None => return Ok(()),
            }
        }
    }

    /// To the last key that starts before offset `before` of the current block.
    fn last_before(&mut self, loaded: &Loaded, before: usize) -> Result<()> {
        let Some(block) = &self.block else { return Ok(()) };
        let view = block.view();
        let start = view.restart_before(before).and_then(|restart| view.restart(restart));
        let mut at = start.map_err(|m| self.damaged(loaded, m))?;
        loop {
            self.enter_or(loaded, at)?;
            let (next, end) = self.behind().map_err(|m| self.damaged(loaded, m))?;
            if next >= before.min(end) {
                return Ok(());
            }
            at = next;
        }
    }

    /// To the last key that starts in block `i` or before.
    fn last_of(&mut self, loaded: &Loaded, mut i: usize, mut before: usize) -> Result<()> {
        loop {
            self.valid = false;
            if before > HEADER_BYTES {
                self.load(loaded, i)?;
                self.last_before(loaded, before)?;
                if self.head_at > HEADER_BYTES || !loaded.index.continues(i) {
                    return Ok(());
                }
            }
            // The block's first key started in the block before.
            let Some(previous) = i.checked_sub(1) else {
                self.valid = false;
                return Ok(());
            };
            (i, before) = (previous, usize::MAX);
        }
    }
}

impl<V: Vfs> Cursor for TableCursor<V> {
    #[inline]
    fn valid(&self) -> bool {
        self.valid
    }

    fn seek_first(&mut self) -> Result<()> {
        self.moved(|this, loaded| {
            if loaded.index.blocks() == 0 {
                return Ok(());
            }
            this.load(loaded, 0)?;
            this.enter_or(loaded, HEADER_BYTES)
        })
    }

    fn seek_last(&mut self) -> Result<()> {
        self.moved(|this, loaded| match loaded.index.blocks().checked_sub(1) {
            Some(last) => this.last_of(loaded, last, usize::MAX),
            None => Ok(()),
        })
    }

    fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.moved(|this, loaded| {
            let i = loaded.index.find(key);
            if i >= loaded.index.blocks() {
                return Ok(());
            }
            this.load(loaded, i)?;
            let Some(block) = &this.block else { return Ok(()) };
            let view = block.view();
            let start = view.seek_restart(key).and_then(|restart| view.restart(restart));
            let at = start.map_err(|m| this.damaged(loaded, m))?;
            this.enter_or(loaded, at)?;
            while this.valid && this.key.as_ref() < key {
                this.step(loaded)?;
            }
            Ok(())
        })
    }

    fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.seek(key)?;
        if !self.valid {
            return self.seek_last();
        }
        if self.key.as_ref() == key { Ok(()) } else { self.prev_key() }
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        debug_assert!(self.valid);
        // The common case: the next entry stands in this block and has a new key.
        if let Some(block) = &self.block
            && self.next < block.layout().entries_end()
            && !block.view().is_older(self.next)
            && self.enter(self.next).is_ok()
        {
            return Ok(());
        }
        self.moved(|this, loaded| this.step(loaded))
    }

    fn prev_key(&mut self) -> Result<()> {
        debug_assert!(self.valid);
        self.moved(|this, loaded| this.last_of(loaded, this.head_number, this.head_at))
    }

    #[inline]
    fn key(&self) -> KeyRef<'_> {
        self.key.as_ref()
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        let (block, entry) = (self.block.as_ref()?, self.entry.as_ref()?);
        Some(self.table.stamped(block.view().view(entry)))
    }

    fn next_entry(&mut self) -> Result<()> {
        debug_assert!(self.valid && self.entry.is_some());
        // The common case: this block says what follows.
        if let Some(block) = &self.block
            && self.next < block.layout().entries_end()
        {
            if !block.view().is_older(self.next) {
                self.entry = None;
                return Ok(());
            }
            if let Ok(entry) = block.view().entry(self.next) {
                self.next = entry.next();
                self.entry = Some(entry);
                return Ok(());
            }
        }
        self.moved(|this, loaded| {
            this.entry = None;
            let Some(block) = &this.block else { return Ok(()) };
            let mut at = this.next;
            if at == block.layout().entries_end() {
                if !loaded.index.continues(this.number + 1) {
                    this.valid = true;
                    return Ok(());
                }
                this.load(loaded, this.number + 1)?;
                at = HEADER_BYTES;
            } else if !block.view().is_older(at) {
                this.valid = true;
                return Ok(());
            }
            let Some(block) = &this.block else { return Ok(()) };
            let entry = block.view().entry(at).map_err(|m| this.damaged(loaded, m))?;
            this.next = entry.next();
            this.entry = Some(entry);
            this.valid = true;
            Ok(())
        })
    }
}
