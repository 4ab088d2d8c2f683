//! Files of the walfs log, byte for byte as the original writes them.
//!
//! ```text
//! segment  := header (64), frame*, zeros up to the file's size         file NNNNNNNNN.wal, first number 1
//! header   := magic u32 = 0x5557414C, version u32 = 1, created_ns u64, modified_ns u64, write_offset u64,
//!             entry_count u64, flags u32 (active 8 | sealed 2), first_log_index u64, marker u32,
//!             crc u32 of the 56 bytes before, zero u32
//! frame    := crc u32 of [len, payload], len u32, payload, DE AD BE EF FE ED FA CE, zeros to 8 bytes
//! index    := { offset u64, len u32, zero u32 }*                       file NNNNNNNNN.wal.idx
//! position := segment u32, offset u64                                  12 bytes
//! ```
//! Invariants
//! 1. A frame starts at a multiple of 8 from the start of the file, the first at 64.
//! 2. A frame head of zero crc and zero length is the clean end: no record has that head, since the checksum
//!    of four zero bytes is not zero.
//! 3. The log index of the i-th record is `first_log_index + i`; a first index of 0 means "no log indexes". The highest
//!    number is the index of no record: none could follow.

mod frame;
#[cfg(test)]
mod tests;
mod truncation;

pub use frame::{
    Ahead, FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES, Found, Frame, FrameHead, SHORT_HEAD, Scanner, TRAILER,
    begin_frame, count_whole_records, encode_frame, find_whole_record, finish_frame, frame_at, frame_len,
    payload_len_max,
};

pub use truncation::{TRUNCATION_BYTES, TRUNCATION_FILE_NAME, Truncation};

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::Malformed;
use crate::crc::crc32c;
use crate::versions::WALFS_HEADER;

/// Stored size of a segment header; the first frame starts here.
pub const HEADER_BYTES: usize = 64;
/// First word of a segment.
pub const MAGIC: u32 = 0x5557_414C;
/// Header flag: the segment takes records.
pub const FLAG_ACTIVE: u32 = 8;
/// Header flag: the segment is whole and never written again.
pub const FLAG_SEALED: u32 = 2;
/// Stored size of an index entry.
pub const INDEX_ENTRY_BYTES: usize = 16;
/// Stored size of a position.
pub const POSITION_BYTES: usize = 12;

const CRC_AT: usize = 56;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StoredHeader {
    magic: U32,
    version: U32,
    created_ns: U64,
    modified_ns: U64,
    write_offset: U64,
    entry_count: U64,
    flags: U32,
    first_log_index: U64,
    marker: U32,
    crc: U32,
    zero: U32,
}

const _: () = assert!(size_of::<StoredHeader>() == HEADER_BYTES);
const _: () = assert!(core::mem::offset_of!(StoredHeader, first_log_index) == 44);
const _: () = assert!(core::mem::offset_of!(StoredHeader, marker) == 52);
const _: () = assert!(core::mem::offset_of!(StoredHeader, crc) == CRC_AT);

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// When the segment was made, in nanoseconds since the Unix epoch.
    pub created_ns: u64,
    /// When the header was last written, in nanoseconds since the Unix epoch.
    pub modified_ns: u64,
    /// Where the next frame goes. True at sync, seal and close only: openers of an active segment scan.
    pub write_offset: u64,
    /// How many records lie before `write_offset`.
    pub entry_count: u64,
    /// [`FLAG_ACTIVE`] or [`FLAG_SEALED`].
    pub flags: u32,
    /// Log index of the first record, 0 for none.
    pub first_log_index: u64,
    /// The owner's own word.
    pub marker: u32,
}

impl SegmentHeader {
    /// The header of a new segment.
    pub const fn new(now_ns: u64, first_log_index: u64, marker: u32) -> Self {
        Self {
            created_ns: now_ns,
            modified_ns: now_ns,
            write_offset: HEADER_BYTES as u64,
            entry_count: 0,
            flags: FLAG_ACTIVE,
            first_log_index,
            marker,
        }
    }

    /// Does the segment take records?
    pub const fn is_active(&self) -> bool {
        self.flags & FLAG_ACTIVE != 0
    }

    /// Is the segment whole and never written again?
    pub const fn is_sealed(&self) -> bool {
        self.flags & FLAG_SEALED != 0
    }

    /// The stored form.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut stored = StoredHeader {
            magic: MAGIC.into(),
            version: WALFS_HEADER.into(),
            created_ns: self.created_ns.into(),
            modified_ns: self.modified_ns.into(),
            write_offset: self.write_offset.into(),
            entry_count: self.entry_count.into(),
            flags: self.flags.into(),
            first_log_index: self.first_log_index.into(),
            marker: self.marker.into(),
            crc: 0.into(),
            zero: 0.into(),
        };
        stored.crc = crc32c(&stored.as_bytes()[..CRC_AT]).into();
        zerocopy::transmute!(stored)
    }

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// Anything but a whole header of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (stored, _) = StoredHeader::ref_from_prefix(bytes)
            .map_err(|_| Malformed::new(bytes.len(), "a segment header of 64 bytes"))?;
        if stored.magic.get() != MAGIC {
            return Err(Malformed::new(0, "the magic number of a segment"));
        }
        if stored.crc.get() != crc32c(&stored.as_bytes()[..CRC_AT]) {
            return Err(Malformed::new(CRC_AT, "the checksum of a segment header"));
        }
        if stored.version.get() != WALFS_HEADER {
            return Err(Malformed::new(4, "segment header version 1"));
        }
        let write_offset = stored.write_offset.get();
        if write_offset < HEADER_BYTES as u64 || !write_offset.is_multiple_of(8) {
            return Err(Malformed::new(24, "a write offset of whole frames"));
        }
        Ok(Self {
            created_ns: stored.created_ns.get(),
            modified_ns: stored.modified_ns.get(),
            write_offset,
            entry_count: stored.entry_count.get(),
            flags: stored.flags.get(),
            first_log_index: stored.first_log_index.get(),
            marker: stored.marker.get(),
        })
    }
}

/// Place of a record: its segment and the offset of its frame. The order is that of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// Offset in the segment's file, in bytes.
    pub offset: u64,
}

impl Position {
    /// No position: before every record.
    pub const NIL: Self = Self { segment: 0, offset: 0 };

    /// Is it [`Position::NIL`]?
    pub const fn is_zero(&self) -> bool {
        self.segment == 0 && self.offset == 0
    }

    /// The start of a segment's records.
    pub const fn start_of(segment: u32) -> Self {
        Self { segment, offset: HEADER_BYTES as u64 }
    }

    /// The stored form.
    pub fn to_bytes(self) -> [u8; POSITION_BYTES] {
        let mut out = [0; POSITION_BYTES];
        out[..4].copy_from_slice(&self.segment.to_le_bytes());
        out[4..].copy_from_slice(&self.offset.to_le_bytes());
        out
    }

    /// Stores the position at the start of `out` and gives that part; `None` if it is shorter than 12 bytes.
    pub fn encode_to(self, out: &mut [u8]) -> Option<&[u8]> {
        let out = out.first_chunk_mut::<POSITION_BYTES>()?;
        *out = self.to_bytes();
        Some(out)
    }

    /// Reads the stored form; `bytes` must be exactly that long.
    ///
    /// # Errors
    /// Any other length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = crate::bytes::Reader::new(bytes);
        let position = Self {
            segment: reader.u32("a position of 12 bytes")?,
            offset: reader.u64("a position of 12 bytes")?,
        };
        reader.finish("a position of 12 bytes")?;
        Ok(position)
    }
}

impl core::fmt::Display for Position {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// One record in an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Offset of the frame in the segment's file.
    pub offset: u64,
    /// Length of the payload.
    pub len: u32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StoredIndexEntry {
    offset: U64,
    len: U32,
    zero: U32,
}

const _: () = assert!(size_of::<StoredIndexEntry>() == INDEX_ENTRY_BYTES);

/// Appends the stored form of `entries`.
pub fn encode_index(entries: impl IntoIterator<Item = IndexEntry>, out: &mut Vec<u8>) {
    for entry in entries {
        let stored = StoredIndexEntry { offset: entry.offset.into(), len: entry.len.into(), zero: 0.into() };
        out.extend_from_slice(stored.as_bytes());
    }
}

/// Reads an index file and believes it only if it agrees with the header of its sealed segment: the first
/// frame at 64, each next where the one before ends, the end at the write offset, as many as the header says.
///
/// # Errors
/// Any disagreement: the caller rebuilds the index from the segment.
pub fn decode_index(bytes: &[u8], header: &SegmentHeader) -> Result<Vec<IndexEntry>, Malformed> {
    let stored = <[StoredIndexEntry]>::ref_from_bytes(bytes)
        .map_err(|_| Malformed::new(bytes.len(), "index entries of 16 bytes"))?;
    if stored.len() as u64 != header.entry_count {
        return Err(Malformed::new(bytes.len(), "as many index entries as the segment has records"));
    }
    let mut at = HEADER_BYTES as u64;
    let mut entries = Vec::with_capacity(stored.len());
    for (i, entry) in stored.iter().enumerate() {
        if entry.offset.get() != at || entry.zero.get() != 0 {
            return Err(Malformed::new(i * INDEX_ENTRY_BYTES, "an index entry where the last one ends"));
        }
        entries.push(IndexEntry { offset: at, len: entry.len.get() });
        at = frame_len(entry.len.get() as usize)
            .and_then(|len| at.checked_add(len as u64))
            .ok_or(Malformed::new(i * INDEX_ENTRY_BYTES, "an index entry within its segment"))?;
    }
    if at != header.write_offset {
        return Err(Malformed::new(bytes.len(), "an index that ends at the write offset"));
    }
    Ok(entries)
}

/// `NNNNNNNNN` + `ext`, where `ext` has its dot.
pub fn segment_file_name(segment: u32, ext: &str) -> String {
    format!("{segment:09}{ext}")
}

/// `NNNNNNNNN` + `ext` + `.idx`.
pub fn index_file_name(segment: u32, ext: &str) -> String {
    format!("{segment:09}{ext}.idx")
}

/// The number of a segment file by its name; `None` for other names.
pub fn parse_segment_file_name(name: &str, ext: &str) -> Option<u32> {
    let digits = name.strip_suffix(ext)?;
    if digits.len() < 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let segment = digits.parse().ok().filter(|n| *n > 0)?;
    // More than nine digits are fine only where nine do not suffice.
    (segment_file_name(segment, "").len() == digits.len()).then_some(segment)
}
