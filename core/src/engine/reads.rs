//! Reads of the engine: points, scans, and the internal scan over all entries.

use alloc::vec::Vec;

use nokv_formats::key::key_hash;
use nokv_formats::{CfId, EntryRef, KeyRef, Kind, Seq, ValuePtr, Version};

use crate::cursor::Cursor;
use crate::engine::{Engine, Snapshot};
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::read::merge::MergeCursor;
use crate::read::point::{self, Hit, Value};
use crate::read::resolve::Bounds;
use crate::read::scan::{Scan, ScanRange, SourceCursor, sources};
use crate::read::view::View;
use crate::sync::{Arc, ArcGuard, Ordering, spin_loop};
use crate::table::CursorOptions;
use crate::vfs::Vfs;

/// Buffers of ended scans that are kept for the next ones, and how large one may be.
const SCAN_ROOMS_MAX: usize = 16;
const SCAN_ROOM_BYTES_MAX: usize = 64 << 10;

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// The current view and the highest seq that is whole in it.
    ///
    /// The seq is read between two looks at the view's id, so every entry up to it is in this view: entries
    /// go into a newer memtable only after the newer id was stored.
    #[inline]
    fn pin(&self) -> (ArcGuard<View<V, I>>, Seq) {
        loop {
            let view = self.view.load();
            let seq = self.publisher.published();
            if self.view_id.load(Ordering::SeqCst) == view.id {
                return (view, seq);
            }
            spin_loop();
        }
    }

    /// The newest visible entry of `key` with a version up to `version`.
    ///
    /// # Errors
    /// Damage of what had to be read; [`Error::Closed`].
    #[inline]
    pub fn get(&self, key: KeyRef<'_>, version: Version) -> Result<Option<Hit>> {
        self.get_now(key, version, &|| self.now_ms())
    }

    /// As [`Engine::get`], but as if no time had come: an entry that expired is there as long as no merge took it out. See
    /// [`Engine::keep_expired_from`].
    ///
    /// # Errors
    /// As [`Engine::get`].
    #[inline]
    pub fn get_with_expired(&self, key: KeyRef<'_>, version: Version) -> Result<Option<Hit>> {
        self.get_now(key, version, &|| 0)
    }

    /// When the entry expires that [`Engine::get_with_expired`] gives; 0 = never. Leaves the value log alone.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn expiry_of(&self, key: KeyRef<'_>, version: Version) -> Result<Option<u64>> {
        self.check_open()?;
        self.counters.read(key.cf);
        let (view, seq) = self.pin();
        let hit = point::get(&view, key, key_hash(key), Bounds { version, seq }, &|| 0)?;
        Ok(hit.map(|hit| hit.expires_at))
    }

    #[inline]
    fn get_now(&self, key: KeyRef<'_>, version: Version, now_ms: &dyn Fn() -> u64) -> Result<Option<Hit>> {
        self.check_open()?;
        if self.counters.read(key.cf) {
            return self.get_timed(key, version, now_ms);
        }
        let (view, seq) = self.pin();
        self.get_in(&view, key, Bounds { version, seq }, now_ms)
    }

    #[cold]
    fn get_timed(&self, key: KeyRef<'_>, version: Version, now_ms: &dyn Fn() -> u64) -> Result<Option<Hit>> {
        let started = self.clock.monotonic_ns();
        let (view, seq) = self.pin();
        let hit = self.get_in(&view, key, Bounds { version, seq }, now_ms);
        self.counters.get.record(self.clock.monotonic_ns().saturating_sub(started));
        hit
    }

    /// As [`Engine::get`], at a snapshot.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get_at(
        &self,
        snapshot: &Snapshot<V, I>,
        key: KeyRef<'_>,
        version: Version,
    ) -> Result<Option<Hit>> {
        self.check_open()?;
        self.counters.read(key.cf);
        let view = self.view.load();
        let bounds = Bounds { version, seq: snapshot.seq() };
        self.get_in(&view, key, bounds, &|| snapshot.time_ms())
    }

    #[inline]
    fn get_in(
        &self,
        view: &View<V, I>,
        key: KeyRef<'_>,
        bounds: Bounds,
        now_ms: &dyn Fn() -> u64,
    ) -> Result<Option<Hit>> {
        let hash = key_hash(key);
        let Some(mut hit) = point::get(view, key, hash, bounds, now_ms)? else { return Ok(None) };
        if hit.kind == Kind::Pointer {
            hit.value = self.resolve(key, hit.version, &hit.value)?;
        }
        Ok(Some(hit))
    }

    /// Brings the blocks that a read of `key` needs into the cache, where they are not there. Counts as no read, and
    /// leaves the value log alone.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn warm(&self, key: KeyRef<'_>) -> Result<()> {
        self.check_open()?;
        let (view, seq) = self.pin();
        let bounds = Bounds { version: Version::MAX, seq };
        point::get(&view, key, key_hash(key), bounds, &|| self.now_ms()).map(drop)
    }

    /// Several point reads at one seq, in the order of `keys`.
    ///
    /// # Errors
    /// As [`Engine::get`]; the first error ends it.
    pub fn multi_get(&self, keys: &[KeyRef<'_>]) -> Result<Vec<Option<Hit>>> {
        self.check_open()?;
        let (view, seq) = self.pin();
        let bounds = Bounds { version: Version::MAX, seq };
        let now = core::cell::Cell::new(None);
        let now_ms = || {
            now.get().unwrap_or_else(|| {
                let ms = self.now_ms();
                now.set(Some(ms));
                ms
            })
        };
        keys.iter()
            .map(|key| {
                self.counters.read(key.cf);
                self.get_in(&view, *key, bounds, &now_ms)
            })
            .collect()
    }

    /// Reads the value that an encoded pointer names.
    fn resolve(&self, key: KeyRef<'_>, version: Version, pointer: &[u8]) -> Result<Value> {
        let ptr = ValuePtr::decode(pointer).map_err(|m| Error::malformed("value pointer", 0, m))?;
        Ok(Value::owned(self.vlog.read(&ptr, key, version)?))
    }

    /// The value of an entry that a scan stands on.
    ///
    /// # Errors
    /// Damage of the value log.
    pub fn value_of(&self, key: KeyRef<'_>, entry: &EntryRef<'_>) -> Result<Value> {
        match entry.kind {
            Kind::Pointer => self.resolve(key, entry.version, entry.value),
            _ => Ok(Value::owned(entry.value.to_vec())),
        }
    }

    /// A scan of the keys of `cf` in `lower..upper`, now or at a snapshot.
    ///
    /// # Errors
    /// [`Error::Closed`]; damage of a range-delete block.
    pub fn scan(
        &self,
        cf: CfId,
        lower: &[u8],
        upper: Option<&[u8]>,
        snapshot: Option<&Snapshot<V, I>>,
        options: CursorOptions,
    ) -> Result<Scan<V, I>> {
        self.check_open()?;
        let range = ScanRange {
            lower: KeyRef::new(cf, lower).to_buf(),
            upper: match upper {
                Some(upper) => Some(KeyRef::new(cf, upper).to_buf()),
                None => cf.0.checked_add(1).map(|next| KeyRef::new(CfId(next), &[]).to_buf()),
            },
        };
        let (view, seq, now_ms) = match snapshot {
            Some(snapshot) => (self.view.load_full(), snapshot.seq(), snapshot.time_ms()),
            None => {
                let (view, seq) = self.pin();
                (Arc::clone(&view), seq, self.now_ms())
            }
        };
        let scan = Scan::new(view, range, seq, now_ms, options)?;
        let handed_on = self.scan_rooms.try_lock().and_then(|mut kept| kept.pop());
        Ok(match handed_on {
            None => scan,
            Some(room) => {
                self.counters.shared.iterators_reused.add(1);
                scan.with_room(room)
            }
        })
    }

    /// A scan ends: the next one may use its room.
    pub fn recycle(&self, scan: &mut Scan<V, I>) {
        let room = scan.take_room();
        let bytes = room.memory_bytes();
        if bytes > 0
            && bytes <= SCAN_ROOM_BYTES_MAX
            && let Some(mut kept) = self.scan_rooms.try_lock()
            && kept.len() < SCAN_ROOMS_MAX
        {
            kept.push(room);
        }
    }

    /// Every entry of every family as it is stored, deletes and hidden ones included, in comparator order.
    /// Range deletes are not entries: see [`View::ranges`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn internal_scan(&self, options: CursorOptions) -> Result<InternalScan<V, I>> {
        self.check_open()?;
        let (view, seq) = self.pin();
        let merge = MergeCursor::new(sources(&view, options));
        Ok(InternalScan { entries: Entries::new(merge), seq, view: Arc::clone(&view) })
    }

    /// The newest seq that touched `key` after `since`; `None` if none did.
    ///
    /// # Errors
    /// Damage of what had to be read.
    pub fn touched_since(&self, key: KeyRef<'_>, since: Seq) -> Result<Option<Seq>> {
        self.check_open()?;
        self.view.load().touched_since(key, key_hash(key), since)
    }
}

/// Walks the entries of a merge in comparator order: keys ascending, then version and seq descending.
pub struct Entries<C> {
    merge: MergeCursor<C>,
    /// Which source of the key holds the current entry.
    current: Option<usize>,
}

impl<C: Cursor> Entries<C> {
    /// Over `merge`. Not yet on an entry.
    pub const fn new(merge: MergeCursor<C>) -> Self {
        Self { merge, current: None }
    }

    /// Stands on an entry?
    #[inline]
    pub const fn valid(&self) -> bool {
        self.current.is_some()
    }

    /// The key it stands on. Must be valid.
    #[inline]
    pub fn key(&self) -> KeyRef<'_> {
        self.merge.key()
    }

    /// The entry it stands on, and the number of its source.
    #[inline]
    pub fn entry(&self) -> Option<(EntryRef<'_>, usize)> {
        let (n, source) = self.merge.source(self.current?);
        source.entry().map(|entry| (entry, n))
    }

    /// To the first entry.
    pub fn seek_first(&mut self) -> Result<()> {
        self.merge.seek_first()?;
        self.settle();
        Ok(())
    }

    /// To the first entry of the first key at or after `key`.
    pub fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.merge.seek(key)?;
        self.settle();
        Ok(())
    }

    /// To the next entry; true if it belongs to another key.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "a cursor: moves, and can fail")]
    pub fn next(&mut self) -> Result<bool> {
        let Some(current) = self.current else { return Ok(false) };
        self.merge.source_mut(current).next_entry()?;
        self.settle();
        if self.current.is_some() {
            return Ok(false);
        }
        self.merge.next_key()?;
        self.settle();
        Ok(true)
    }

    /// Picks the source whose entry comes next.
    #[inline]
    fn settle(&mut self) {
        self.current = None;
        if !self.merge.valid() {
            return;
        }
        if self.merge.width() == 1 {
            self.current = self.merge.source(0).1.entry().map(|_| 0);
            return;
        }
        let mut best: Option<(Version, Seq)> = None;
        for i in 0..self.merge.width() {
            if let Some(entry) = self.merge.source(i).1.entry()
                && best.is_none_or(|b| (entry.version, entry.seq) > b)
            {
                best = Some((entry.version, entry.seq));
                self.current = Some(i);
            }
        }
    }
}

/// A scan over all stored entries.
pub struct InternalScan<V: Vfs, I: MemIndex> {
    entries: Entries<SourceCursor<V, I>>,
    seq: Seq,
    view: Arc<View<V, I>>,
}

impl<V: Vfs, I: MemIndex> InternalScan<V, I> {
    /// The view it holds.
    pub const fn view(&self) -> &Arc<View<V, I>> {
        &self.view
    }

    /// The seq it reads at.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// To the first entry.
    ///
    /// # Errors
    /// Damage of what had to be read.
    pub fn seek_first(&mut self) -> Result<()> {
        self.entries.seek_first()?;
        self.skip_unpublished()
    }

    /// To the first entry of the first key at or after `key`.
    ///
    /// # Errors
    /// Damage of what had to be read.
    pub fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.entries.seek(key)?;
        self.skip_unpublished()
    }

    /// To the next entry.
    ///
    /// # Errors
    /// Damage of what had to be read.
    #[expect(clippy::should_implement_trait, reason = "a cursor: moves, and can fail")]
    pub fn next(&mut self) -> Result<()> {
        self.entries.next()?;
        self.skip_unpublished()
    }

    /// Key and entry; `None` behind the last.
    pub fn entry(&self) -> Option<(KeyRef<'_>, EntryRef<'_>)> {
        let (entry, _) = self.entries.entry()?;
        Some((self.entries.key(), entry))
    }

    fn skip_unpublished(&mut self) -> Result<()> {
        while self.entries.entry().is_some_and(|(e, _)| e.seq > self.seq) {
            self.entries.next()?;
        }
        Ok(())
    }
}

/// The first key behind every key that starts with `prefix`; `None` if there is none in the family.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
