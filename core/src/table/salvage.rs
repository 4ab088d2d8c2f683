//! Reads what can be read of a damaged table.
//!
//! Who may call it: repair. A data block checks by itself (its checksum covers the table's uid and its place) and
//! starts with a whole key, so each one can be read without the others. Where the index cannot be read, the end of
//! a block is where its checksum comes out right.
//!
//! Nothing that is delivered is a guess: entries come from blocks whose checksum is right, in ascending order and
//! within the ranges that the manifest states.

use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::block::{HEADER_BYTES, TRAILER_BYTES, split_raw_len};
use nokv_formats::entry::stamp_order;
use nokv_formats::key::KEY_BYTES_MAX;
use nokv_formats::table::{FOOTER_BYTES, Footer, Index, decode_range_deletes};
use nokv_formats::{
    EntryRef, KeyBuf, KeyRef, Kind, Malformed, RangeDelete, Seq, TableMeta, Version, crc, varint,
};

use super::block::{Block, Place};
use crate::error::{Error, IoContext, Result};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};

/// A file is read in pieces of this size, so that an unreadable sector costs no more than that.
const PIECE_BYTES: usize = 4096;
/// How far the end of a block is looked for from a start that may not be one.
const BLOCK_SEARCH_BYTES: usize = 64 << 10;

/// What was found in a damaged table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Salvaged {
    /// Data blocks that were read.
    pub blocks: u64,
    /// Data blocks that were not; at least this many where the index is damaged too.
    pub bad_blocks: u64,
    /// Entries delivered.
    pub entries: u64,
    /// The range deletes; `None` if there are some that cannot be read.
    pub ranges: Option<Vec<RangeDelete>>,
}

/// Takes an entry.
pub(crate) type Take<'t> = &'t mut dyn FnMut(KeyRef<'_>, &EntryRef<'_>) -> Result<()>;

/// Delivers to `take` every entry of the table at `path` that is in a whole block.
///
/// # Errors
/// What `take` gives; an I/O error that is not about the bytes of this file.
pub(crate) fn salvage<V: Vfs>(fs: &V, path: &str, meta: &TableMeta, take: Take<'_>) -> Result<Salvaged> {
    let bytes = read_what_can_be_read(fs, path)?;
    let mut walk =
        Walk { path, meta, take, last: KeyBuf::default(), stamp: None, found: Salvaged::default() };
    let footer = footer_of(&bytes).filter(|footer| footer.uid == meta.props.uid);
    let index = footer.as_ref().and_then(|footer| index_of(&bytes, footer));
    let blocks_end = match (&footer, index) {
        (Some(footer), Some(index)) => {
            walk.by_index(&bytes, &index)?;
            Some(footer.blocks_end)
        }
        _ => {
            walk.by_checksum(&bytes)?;
            None
        }
    };
    let mut found = walk.found;
    found.ranges = ranges_of(&bytes, meta, footer.as_ref(), blocks_end);
    Ok(found)
}

/// Bytes that cannot be read are zeros.
fn read_what_can_be_read<V: Vfs>(fs: &V, path: &str) -> Result<Vec<u8>> {
    let file = fs.open(path, OpenMode::Read).at("open", path)?;
    let size = file.size().at("size", path)?;
    let size = usize::try_from(size).map_err(|_| Error::InvalidArgument(too_large(path)))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| Error::InvalidArgument(too_large(path)))?;
    bytes.resize(size, 0);
    let mut at = 0u64;
    for piece in bytes.chunks_mut(PIECE_BYTES) {
        match file.read_exact_at(piece, at) {
            Ok(()) => {}
            Err(e) if matches!(e.kind, IoErrorKind::Other | IoErrorKind::UnexpectedEof) => piece.fill(0),
            Err(e) => return Err(Error::io("read", path, e)),
        }
        at += piece.len() as u64;
    }
    Ok(bytes)
}

fn too_large(path: &str) -> String {
    alloc::format!("{path} does not fit in memory")
}

fn footer_of(bytes: &[u8]) -> Option<Footer> {
    let at = bytes.len().checked_sub(FOOTER_BYTES)?;
    Footer::decode(bytes.get(at..)?, bytes.len() as u64).ok()
}

/// The body of a section that checks.
fn section(bytes: &[u8], uid: u128, range: core::ops::Range<u64>) -> Option<&[u8]> {
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    let (codec, body) = nokv_formats::block::unseal(bytes.get(start..end)?, uid, range.start).ok()?;
    (codec == 0).then_some(body)
}

fn index_of(bytes: &[u8], footer: &Footer) -> Option<Index> {
    Index::decode(section(bytes, footer.uid, footer.index())?, footer.blocks_end).ok()
}

/// The range deletes, where they can be read; an empty list if the table has none.
fn ranges_of(
    bytes: &[u8],
    meta: &TableMeta,
    footer: Option<&Footer>,
    blocks_end: Option<u64>,
) -> Option<Vec<RangeDelete>> {
    let count = meta.props.range_deletes;
    if count == 0 {
        return Some(Vec::new());
    }
    let fits = |ranges: &Vec<RangeDelete>| ranges.len() as u64 == count;
    let stamped = |mut ranges: Vec<RangeDelete>| {
        if let Some(seq) = meta.global_seq {
            ranges.iter_mut().for_each(|range| range.seq = seq);
        }
        ranges
    };
    if let Some(footer) = footer {
        let body = section(bytes, footer.uid, footer.ranges())?;
        return decode_range_deletes(body).ok().filter(fits).map(stamped);
    }
    // Without a footer: the section that checks and holds as many.
    let mut at = blocks_end.and_then(|end| usize::try_from(end).ok()).unwrap_or(0);
    let mut head = Vec::new();
    varint::encode(count, &mut head);
    while at < bytes.len() {
        // It starts with its count.
        let may_be = bytes.get(at..).is_some_and(|rest| rest.starts_with(&head));
        match may_be.then(|| sealed_end(bytes, at, meta.props.uid)).flatten() {
            Some(end) => {
                let body = section(bytes, meta.props.uid, at as u64..end as u64);
                if let Some(ranges) = body.and_then(|body| decode_range_deletes(body).ok()).filter(fits) {
                    return Some(stamped(ranges));
                }
                at = end;
            }
            None => at += 1,
        }
    }
    None
}

/// May a data block start here? Looked at before its end is searched for: else every byte of a damaged file would cost a
/// search, and a long run of zeros hours.
fn may_be_block(rest: &[u8]) -> bool {
    let Some((header, first)) = rest.split_first_chunk::<HEADER_BYTES>() else { return false };
    // Width of seqs, and the flag of a whole key; or the length that a compressed block will have.
    let is_plain = header[HEADER_BYTES - 1] <= 7 && first.first().is_some_and(|flags| flags & 0x80 != 0);
    is_plain || split_raw_len(rest).is_ok_and(|(raw_len, _)| raw_len > HEADER_BYTES)
}

/// Where the block or section that starts at `at` ends: where its checksum is right.
fn sealed_end(bytes: &[u8], at: usize, uid: u128) -> Option<usize> {
    let mut place = [0; 24];
    place[..16].copy_from_slice(&uid.to_le_bytes());
    place[16..].copy_from_slice(&(at as u64).to_le_bytes());
    let mut sum = crc::crc32c(&place);
    let until = bytes.len().min(at.saturating_add(BLOCK_SEARCH_BYTES));
    for (i, byte) in bytes.get(at..until)?.iter().enumerate() {
        sum = crc::extend(sum, core::slice::from_ref(byte));
        let behind = at + i + 1;
        if i + 5 > TRAILER_BYTES
            && bytes.get(behind..).and_then(|rest| rest.first_chunk::<4>()) == Some(&sum.to_le_bytes())
        {
            return Some(behind + 4);
        }
    }
    None
}

struct Walk<'a> {
    path: &'a str,
    meta: &'a TableMeta,
    take: Take<'a>,
    last: KeyBuf,
    stamp: Option<(Version, Seq)>,
    found: Salvaged,
}

impl Walk<'_> {
    fn by_index(&mut self, bytes: &[u8], index: &Index) -> Result<()> {
        for i in 0..index.blocks() {
            let Some((offset, len)) = index.block(i) else { continue };
            let range = usize::try_from(offset).ok().zip(usize::try_from(offset.saturating_add(len)).ok());
            let stored = range.and_then(|(start, end)| bytes.get(start..end)).unwrap_or(&[]);
            let taken = match self.load(stored, offset) {
                Some(block) => self.entries(&block)?,
                None => false,
            };
            if taken { self.found.blocks += 1 } else { self.found.bad_blocks += 1 }
        }
        Ok(())
    }

    fn by_checksum(&mut self, bytes: &[u8]) -> Result<()> {
        let (mut at, mut lost_from) = (0, None);
        // Behind the last entry come sections that hold no entries.
        while at < bytes.len() && self.found.entries < self.meta.props.entries() {
            let rest = bytes.get(at..).unwrap_or_default();
            let end = if may_be_block(rest) { sealed_end(bytes, at, self.meta.props.uid) } else { None };
            let block = end.and_then(|end| self.load(bytes.get(at..end)?, at as u64));
            match (end, block) {
                (Some(end), Some(block)) => {
                    if lost_from.take().is_some() {
                        self.found.bad_blocks += 1;
                    }
                    if self.entries(&block)? {
                        self.found.blocks += 1
                    } else {
                        self.found.bad_blocks += 1
                    }
                    at = end;
                }
                (Some(end), None) => at = end,
                (None, _) => {
                    lost_from.get_or_insert(at);
                    at += 1;
                }
            }
        }
        if lost_from.is_some() || self.found.entries < self.meta.props.entries() {
            self.found.bad_blocks += 1;
        }
        Ok(())
    }

    fn load(&self, stored: &[u8], offset: u64) -> Option<Block> {
        let place = Place { file: self.path, uid: self.meta.props.uid, offset };
        Block::copy(stored, Vec::new(), place).ok()
    }

    /// Delivers the entries of a block; false if one does not decode or is out of place.
    fn entries(&mut self, block: &Block) -> Result<bool> {
        let mut key = KeyBuf::default();
        let (view, end) = (block.view(), block.layout().entries_end());
        let mut at = HEADER_BYTES;
        let mut whole = true;
        while at < end {
            let next = match next_key(block, at, &mut key) {
                Ok(next) => next,
                Err(_) => return Ok(false),
            };
            let Ok(entry) = view.entry(at) else { return Ok(false) };
            let mut entry = view.view(&entry);
            if let Some(seq) = self.meta.global_seq {
                entry.seq = seq;
            }
            if self.fits(key.as_ref(), &entry) {
                (self.take)(key.as_ref(), &entry)?;
                self.last.set(key.as_ref());
                self.stamp = Some((entry.version, entry.seq));
                self.found.entries += 1;
            } else {
                whole = false;
            }
            at = next;
        }
        Ok(whole)
    }

    fn fits(&self, key: KeyRef<'_>, entry: &EntryRef<'_>) -> bool {
        let props = &self.meta.props;
        let ascends = match self.stamp {
            None => true,
            Some(stamp) if self.last.as_ref() == key => {
                stamp_order(stamp, (entry.version, entry.seq)).is_lt()
            }
            Some(_) => self.last.as_ref() < key,
        };
        ascends
            && entry.kind != Kind::RangeDelete
            && (entry.kind.has_value() || entry.value.is_empty())
            && props.smallest.as_ref() <= key
            && key <= props.largest.as_ref()
            && (props.seq_min..=props.seq_max).contains(&entry.seq)
    }
}

/// Brings the key of the entry at `at` into `key`, which holds the key before it; gives where the next entry starts.
fn next_key(block: &Block, at: usize, key: &mut KeyBuf) -> core::result::Result<usize, Malformed> {
    let view = block.view();
    let entry = view.entry(at)?;
    if entry.is_older() {
        return Ok(entry.next());
    }
    if entry.is_restart() {
        key.cf = entry.cf();
        key.user_key.clear();
    } else if entry.shared() <= key.user_key.len() {
        key.user_key.truncate(entry.shared());
    } else {
        return Err(Malformed::new(at, "key that begins like the one before it"));
    }
    let bytes = view.key_bytes(&entry);
    if key.user_key.len() + bytes.len() > KEY_BYTES_MAX {
        return Err(Malformed::new(at, "key of at most 65535 bytes"));
    }
    key.user_key.extend_from_slice(bytes);
    Ok(entry.next())
}
