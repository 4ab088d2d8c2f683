//! A truncation that was decided and may not be finished: a small file in the log's directory. See
//! `core::wal::truncate` for the order of the steps.
//!
//! ```text
//! truncation := magic u32 = "WTRC", version u32 = 1, kind u32 (1 cut | 2 reset), segment u32, offset u64,
//!               entries u64, crc u32 of the 32 bytes before, zero u32      40 bytes
//! ```
//! A reset has segment 0, offset 0 and no entries.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{HEADER_BYTES, Position};
use crate::bytes::Malformed;
use crate::crc::crc32c;
use crate::versions::WALFS_TRUNCATION;

/// Name of the file.
pub const TRUNCATION_FILE_NAME: &str = "walfs.truncate";
/// Stored size of a truncation.
pub const TRUNCATION_BYTES: usize = 40;

const MAGIC: u32 = u32::from_le_bytes(*b"WTRC");
const KIND_CUT: u32 = 1;
const KIND_RESET: u32 = 2;
const CRC_AT: usize = 32;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Stored {
    magic: U32,
    version: U32,
    kind: U32,
    segment: U32,
    offset: U64,
    entries: U64,
    crc: U32,
    zero: U32,
}

const _: () = assert!(size_of::<Stored>() == TRUNCATION_BYTES);
const _: () = assert!(core::mem::offset_of!(Stored, crc) == CRC_AT);

/// What is to remain of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// Nothing: the log starts again with segment 1.
    Reset,
    /// Everything before `end`, whose segment has `entries` records before it and takes the next ones.
    Cut {
        /// Where the log is to end.
        end: Position,
        /// Records of that segment that remain.
        entries: u64,
    },
}

impl Truncation {
    /// The stored form.
    pub fn to_bytes(self) -> [u8; TRUNCATION_BYTES] {
        let (kind, end, entries) = match self {
            Self::Reset => (KIND_RESET, Position::NIL, 0),
            Self::Cut { end, entries } => (KIND_CUT, end, entries),
        };
        let mut stored = Stored {
            magic: MAGIC.into(),
            version: WALFS_TRUNCATION.into(),
            kind: kind.into(),
            segment: end.segment.into(),
            offset: end.offset.into(),
            entries: entries.into(),
            crc: 0.into(),
            zero: 0.into(),
        };
        stored.crc = crc32c(&stored.as_bytes()[..CRC_AT]).into();
        zerocopy::transmute!(stored)
    }

    /// Reads the stored form; `bytes` must be exactly that long.
    ///
    /// # Errors
    /// Anything but a whole truncation of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let stored = Stored::ref_from_bytes(bytes)
            .map_err(|_| Malformed::new(bytes.len(), "a truncation of 40 bytes"))?;
        if stored.magic.get() != MAGIC {
            return Err(Malformed::new(0, "the magic number of a truncation"));
        }
        if stored.crc.get() != crc32c(&stored.as_bytes()[..CRC_AT]) {
            return Err(Malformed::new(CRC_AT, "the checksum of a truncation"));
        }
        if stored.version.get() != WALFS_TRUNCATION || stored.zero.get() != 0 {
            return Err(Malformed::new(4, "truncation version 1"));
        }
        let end = Position { segment: stored.segment.get(), offset: stored.offset.get() };
        let entries = stored.entries.get();
        match stored.kind.get() {
            KIND_RESET if end == Position::NIL && entries == 0 => Ok(Self::Reset),
            KIND_CUT
                if end.segment > 0
                    && end.offset >= HEADER_BYTES as u64
                    && end.offset.is_multiple_of(8)
                    && (entries == 0) == (end.offset == HEADER_BYTES as u64) =>
            {
                Ok(Self::Cut { end, entries })
            }
            _ => Err(Malformed::new(8, "a place where a log can end")),
        }
    }
}
