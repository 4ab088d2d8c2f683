//! An open table: its index, filter and range deletes in memory, its blocks on demand.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use nokv_formats::block::{Layout, TRAILER_BYTES, unseal};
use nokv_formats::bytes::Reader;
use nokv_formats::filter::Filter;
use nokv_formats::table::{FOOTER_BYTES, Footer, FooterError, Index, decode_range_deletes};
use nokv_formats::{EntryRef, KeyRef, Malformed, RangeDelete, TableMeta, TableProps, crc};

use super::TableShared;
use super::block::{Block, Place};
use super::compress::Compression;
use super::filters::{Home, Slot};
use super::lazy::Lazy;
use super::lookups::Lookups;
use crate::error::{Error, IoContext, Result};
use crate::planted::{self, Bug};
use crate::read::range_set::RangeSet;
use crate::sync::{AtomicU32, Ordering};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};

/// Bytes of one read when a whole file is read.
pub(super) const SCAN_BYTES: usize = 256 << 10;

/// A table. Any number of threads read it at once.
pub struct Table<V: Vfs> {
    fs: V,
    path: String,
    meta: TableMeta,
    /// Value-log bytes that it names: the sum of a list that may be long.
    value_bytes: u64,
    pub(super) shared: Arc<TableShared>,
    key: u64,
    level: AtomicU32,
    loaded: Lazy<Loaded>,
}

/// What is read on first use and kept.
pub(super) struct Loaded {
    pub(super) index: Index,
    filter: Home,
    pub(super) filter_at: Range<u64>,
    pub(super) ranges: Arc<[RangeDelete]>,
    range_set: Arc<RangeSet>,
    /// Of all but the filter.
    memory_bytes: usize,
}

/// Parts of the file's end, verified.
struct Tail {
    footer: Footer,
    bytes: Vec<u8>,
}

impl Tail {
    /// The body of the section at `range` of the file.
    fn section(&self, path: &str, range: Range<u64>) -> Result<&[u8]> {
        let place = Place { file: path, uid: self.footer.uid, offset: range.start };
        let base = self.footer.blocks_end;
        // The footer's parts ascend from `blocks_end`, and `bytes` reaches to its end.
        let (start, end) = ((range.start - base) as usize, (range.end - base) as usize);
        section_body(self.bytes.get(start..end).unwrap_or(&[]), place)
    }

    fn props(&self, path: &str) -> Result<TableProps> {
        let range = self.footer.props();
        let bad = |m| Error::malformed(path, range.start, m);
        let body = self.section(path, range.clone())?;
        let mut r = Reader::new(body);
        let props = TableProps::decode(&mut r).map_err(bad)?;
        r.finish("end of the properties").map_err(bad)?;
        if props.uid != self.footer.uid {
            return Err(bad(Malformed::new(0, "uid of the table")));
        }
        Ok(props)
    }
}

/// The verified body of a section's stored bytes.
fn section_body<'a>(stored: &'a [u8], place: Place<'_>) -> Result<&'a [u8]> {
    let (codec, body) = unseal(stored, place.uid, place.offset).map_err(|m| place.malformed(m))?;
    match place.codec(codec)? {
        Compression::None => Ok(body),
        _ => Err(place.malformed(Malformed::new(body.len(), "uncompressed section"))),
    }
}

/// Reads `len` bytes at `offset`; a file that ends earlier is damaged.
pub(super) fn read(file: &dyn VfsFile, path: &str, offset: u64, buf: &mut [u8]) -> Result<()> {
    match file.read_exact_at(buf, offset) {
        Err(e) if e.kind == IoErrorKind::UnexpectedEof => {
            Err(Error::corrupt(path, offset, "the table file ends too early"))
        }
        other => other.at("read", path),
    }
}

fn read_tail(file: &dyn VfsFile, path: &str) -> Result<Tail> {
    let file_bytes = file.size().at("size", path)?;
    let Some(footer_at) = file_bytes.checked_sub(FOOTER_BYTES as u64) else {
        return Err(Error::corrupt(path, file_bytes, "the table file ends too early"));
    };
    let mut footer = [0; FOOTER_BYTES];
    read(file, path, footer_at, &mut footer)?;
    let footer = Footer::decode(&footer, file_bytes).map_err(|e| match e {
        FooterError::Malformed(m) => Error::malformed(path, footer_at, m),
        FooterError::Version(version) => {
            let what = alloc::format!("table format {version}");
            Error::Unsupported { what, file: path.to_string() }
        }
    })?;
    // At most as long as the file is.
    let len = usize::try_from(footer.index_end - footer.blocks_end)
        .map_err(|_| Error::corrupt(path, footer_at, "table index that fits memory"))?;
    let mut bytes = alloc::vec![0; len];
    read(file, path, footer.blocks_end, &mut bytes)?;
    Ok(Tail { footer, bytes })
}

impl<V: Vfs> Table<V> {
    /// A table by its file and what the manifest says of it. Touches nothing yet.
    pub fn new(fs: V, path: &str, meta: TableMeta, shared: Arc<TableShared>) -> Self {
        let key = if planted::is(Bug::CacheKeysCollide) { 0 } else { shared.new_key() };
        let path = path.to_string();
        let value_bytes = meta.props.live.iter().fold(0, |sum: u64, l| sum.saturating_add(l.bytes));
        Self { fs, path, meta, value_bytes, shared, key, level: AtomicU32::new(0), loaded: Lazy::new() }
    }

    /// Value-log bytes that it names.
    #[inline]
    pub const fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// What a table file says of itself, with its length and checksum: for ingest and repair, which have no
    /// manifest to ask. Reads the whole file; [`Table::verify`] is still needed to trust its blocks. `id` is
    /// 0.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Unsupported`] for a later format, [`Error::Io`].
    pub fn read_meta(fs: &V, path: &str) -> Result<TableMeta> {
        let file = fs.open(path, OpenMode::Read).at("open", path)?;
        let props = read_tail(&file, path)?.props(path)?;
        let file_bytes = file.size().at("size", path)?;
        let checksum = checksum(&file, path, file_bytes)?;
        Ok(TableMeta { file_bytes, checksum, props, ..TableMeta::default() })
    }

    /// What the manifest says of it.
    pub fn meta(&self) -> &TableMeta {
        &self.meta
    }

    /// Its file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its file system.
    pub fn fs(&self) -> &V {
        &self.fs
    }

    /// Tells on which level it is, for the counters of the cache. 0 until told.
    pub fn set_level(&self, level: u32) {
        self.level.store(level, Ordering::Relaxed);
    }

    /// The level it was last told to be on.
    pub fn level(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    /// False if no entry of a key with this hash is in the table. A filter that cannot be read excludes
    /// nothing and is an error.
    ///
    /// # Errors
    /// Those of the first load.
    #[inline]
    pub fn may_contain(&self, key_hash: u64) -> Result<bool> {
        let loaded = self.loaded()?;
        let mut counts = Lookups::default();
        let may = self.filter_allows(loaded, key_hash, &mut counts);
        self.shared.lookups.add(&counts);
        may
    }

    /// As [`Table::may_contain`]; adds to `counts`.
    #[inline]
    pub(super) fn filter_allows(&self, loaded: &Loaded, key_hash: u64, counts: &mut Lookups) -> Result<bool> {
        let answer = match &loaded.filter {
            Home::None => {
                // Too large to be kept, or there is none.
                let missed = u64::from(!loaded.filter_at.is_empty());
                counts.filters += missed;
                counts.filter_misses += missed;
                return Ok(true);
            }
            Home::Stays(filter) => Some(filter.may_contain(key_hash)),
            Home::Clock(slot) => slot.ask(key_hash),
        };
        counts.filters += 1;
        let may = match answer {
            Some(may) => may,
            None => {
                counts.filter_misses += 1;
                self.ask_again(loaded, key_hash)?
            }
        };
        counts.filter_excluded += u64::from(!may);
        Ok(may)
    }

    /// The filter left the memory: reads it again if that is worth it, or does without.
    #[cold]
    fn ask_again(&self, loaded: &Loaded, key_hash: u64) -> Result<bool> {
        let Home::Clock(slot) = &loaded.filter else { return Ok(true) };
        if !slot.is_due() {
            return Ok(true);
        }
        let filter = self.read_filter(slot, loaded.filter_at.clone());
        let may = filter.map(|filter| {
            let may = filter.may_contain(key_hash);
            self.shared.filters.put_back(slot, filter);
            may
        });
        slot.loaded();
        may
    }

    fn read_filter(&self, slot: &Slot, at: Range<u64>) -> Result<Filter> {
        let place = self.place(at.start);
        // The footer was checked against the length of the file.
        let len = usize::try_from(at.end - at.start)
            .map_err(|_| place.malformed(Malformed::new(0, "length of the filter")))?;
        let mut stored = alloc::vec![0; len];
        read(&*self.file()?, &self.path, at.start, &mut stored)?;
        let body = section_body(&stored, place)?;
        let filter = Filter::decode(body).map_err(|m| self.place(at.start).malformed(m))?;
        if filter.memory_bytes() != slot.bytes {
            return Err(Error::corrupt(
                &self.path,
                at.start,
                "the filter is not the one that was read before",
            ));
        }
        Ok(filter)
    }

    /// The range deletes, ascending by family, start, end, seq.
    ///
    /// # Errors
    /// Those of the first load; a table that has none is not loaded for this.
    pub fn range_deletes(&self) -> Result<Arc<[RangeDelete]>> {
        if self.meta.props.range_deletes == 0 {
            return Ok(Arc::from([]));
        }
        Ok(self.loaded()?.ranges.clone())
    }

    /// The range deletes, cut into fragments.
    ///
    /// # Errors
    /// Those of the first load.
    pub fn range_set(&self) -> Result<Arc<RangeSet>> {
        Ok(self.loaded()?.range_set.clone())
    }

    /// Which share of the table's data lies in `lower..upper`, by blocks; 1 where it cannot be told.
    pub fn share_of(&self, lower: KeyRef<'_>, upper: Option<&[u8]>) -> f64 {
        let Ok(loaded) = self.loaded() else { return 1.0 };
        let blocks = loaded.index.blocks();
        if blocks == 0 {
            return 0.0;
        }
        let from = loaded.index.find(lower);
        let to = upper.map_or(blocks, |upper| loaded.index.find(KeyRef::new(lower.cf, upper)) + 1);
        to.min(blocks).saturating_sub(from) as f64 / blocks as f64
    }

    /// Closes its file handle: the file is about to be unlinked.
    pub(crate) fn forget(&self) {
        self.shared.files.remove(self.key);
    }

    /// Bytes of memory that index, range deletes and filter hold, the filter only while it is in memory; 0 before the
    /// first use.
    pub fn memory_bytes(&self) -> usize {
        let Some(loaded) = self.loaded.get() else { return 0 };
        let filter = match &loaded.filter {
            Home::Stays(filter) => filter.memory_bytes(),
            Home::Clock(slot) if slot.is_here() => slot.bytes,
            Home::Clock(_) | Home::None => 0,
        };
        loaded.memory_bytes + filter
    }

    #[inline]
    pub(super) fn loaded(&self) -> Result<&Loaded> {
        self.loaded.get_or_try(|| {
            let (mut loaded, filter) = self.load()?;
            loaded.filter = self.shared.filters.place(filter);
            self.shared.pin(loaded.memory_bytes);
            self.shared.lookups.add(&Lookups { index_misses: 1, ..Lookups::default() });
            Ok(loaded)
        })
    }

    /// Reads and verifies everything but the data blocks. The filter has no home yet.
    pub(super) fn load(&self) -> Result<(Loaded, Option<Filter>)> {
        let path = &self.path;
        let file = self.file()?;
        let file_bytes = file.size().at("size", path)?;
        if file_bytes != self.meta.file_bytes {
            let what = "the length of the table file is not that of the manifest";
            return Err(Error::corrupt(path, file_bytes.min(self.meta.file_bytes), what));
        }
        let tail = read_tail(&*file, path)?;
        let footer = tail.footer;
        if footer.uid != self.meta.props.uid {
            return Err(Error::corrupt(path, footer.index_end, "another table than that of the manifest"));
        }
        let mut props = tail.props(path)?;
        if let Some(seq) = self.meta.global_seq {
            (props.seq_min, props.seq_max) = (seq, seq);
        }
        if props != self.meta.props {
            let what = "the properties of the table are not those of the manifest";
            return Err(Error::corrupt(path, footer.ranges_end, what));
        }
        let at = |range: Range<u64>| move |m| Error::malformed(path, range.start, m);
        let body = tail.section(path, footer.index())?;
        let index = Index::decode(body, footer.blocks_end).map_err(at(footer.index()))?;
        let mut filter = None;
        if !footer.filter().is_empty() {
            let body = tail.section(path, footer.filter())?;
            filter = Some(Filter::decode(body).map_err(at(footer.filter()))?);
        }
        let mut ranges = Vec::new();
        if !footer.ranges().is_empty() {
            let body = tail.section(path, footer.ranges())?;
            ranges = decode_range_deletes(body).map_err(at(footer.ranges()))?;
        }
        if ranges.len() as u64 != props.range_deletes || (index.blocks() == 0) != (props.entries() == 0) {
            return Err(Error::corrupt(path, footer.filter_end, "counts of the table's properties"));
        }
        if let Some(seq) = self.meta.global_seq {
            ranges.iter_mut().for_each(|range| range.seq = seq);
        }
        let ranges_bytes =
            ranges.iter().map(|r| size_of::<RangeDelete>() + r.start.len() + r.end.len()).sum::<usize>();
        let memory_bytes = index.memory_bytes() + ranges_bytes;
        let range_set = Arc::new(RangeSet::of(&ranges));
        let filter_at = footer.filter();
        let loaded =
            Loaded { index, filter: Home::None, filter_at, ranges: ranges.into(), range_set, memory_bytes };
        Ok((loaded, filter))
    }

    pub(super) fn file(&self) -> Result<Arc<dyn VfsFile>> {
        let open = || self.fs.open(&self.path, OpenMode::Read);
        self.shared.files.get(self.key, open).at("open", &self.path)
    }

    pub(super) fn place(&self, offset: u64) -> Place<'_> {
        Place { file: &self.path, uid: self.meta.props.uid, offset }
    }

    /// Where block `i` lies, and how long it is as stored.
    pub(super) fn block_place(&self, loaded: &Loaded, i: usize) -> Result<(u64, usize)> {
        let place = loaded.index.block(i).and_then(|(at, len)| Some((at, usize::try_from(len).ok()?)));
        place.ok_or_else(|| Error::corrupt(&self.path, 0, "block number within the table"))
    }

    /// A block is at least a trailer and says of its first key what the index says.
    pub(super) fn agrees(&self, loaded: &Loaded, i: usize, offset: u64, layout: &Layout) -> Result<()> {
        if layout.continues() == loaded.index.continues(i) {
            return Ok(());
        }
        Err(Error::corrupt(&self.path, offset, "block and index disagree on the first key"))
    }

    #[inline]
    pub(super) fn cached(&self, offset: u64) -> Option<Arc<Block>> {
        self.shared.cache.get(self.key, offset, self.level.load(Ordering::Relaxed) == 0)
    }

    pub(super) fn cache(&self, offset: u64, block: Arc<Block>) -> Arc<Block> {
        self.shared.cache.insert(self.key, offset, block)
    }

    /// Block `i`, from the cache or else read into it.
    #[inline]
    pub(super) fn block(&self, loaded: &Loaded, i: usize) -> Result<Arc<Block>> {
        let (offset, len) = self.block_place(loaded, i)?;
        match self.cached(offset) {
            Some(block) => Ok(block),
            None => self.read_block(loaded, i, offset, len),
        }
    }

    #[cold]
    fn read_block(&self, loaded: &Loaded, i: usize, offset: u64, len: usize) -> Result<Arc<Block>> {
        debug_assert!(len > TRAILER_BYTES);
        let file = self.file()?;
        // The index was checked against the length of the file.
        let mut stored = alloc::vec![0; len];
        read(&*file, &self.path, offset, &mut stored)?;
        let block = Block::load(stored, self.place(offset))?;
        self.agrees(loaded, i, offset, block.layout())?;
        Ok(self.cache(offset, Arc::new(block)))
    }

    /// An entry as this table means it: a foreign table's have one seq.
    #[inline]
    pub(super) fn stamped<'a>(&self, mut entry: EntryRef<'a>) -> EntryRef<'a> {
        if let Some(seq) = self.meta.global_seq {
            entry.seq = seq;
        }
        entry
    }
}

impl<V: Vfs> Drop for Table<V> {
    fn drop(&mut self) {
        self.shared.files.remove(self.key);
        if let Some(loaded) = self.loaded.get() {
            self.shared.unpin(loaded.memory_bytes);
            self.shared.filters.remove(&loaded.filter);
        }
    }
}

/// CRC-32C of the whole file.
pub(super) fn checksum(file: &dyn VfsFile, path: &str, file_bytes: u64) -> Result<u32> {
    let mut buf = alloc::vec![0; SCAN_BYTES.min(usize::try_from(file_bytes).unwrap_or(SCAN_BYTES))];
    let (mut sum, mut at) = (0, 0);
    while at < file_bytes {
        let len = usize::try_from(file_bytes - at).map_or(buf.len(), |left| left.min(buf.len()));
        let part = &mut buf[..len];
        read(file, path, at, part)?;
        sum = crc::extend(sum, part);
        at += len as u64;
    }
    Ok(sum)
}
