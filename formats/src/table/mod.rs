//! Table file: data blocks, then filter, range deletes, properties, index, and a footer.
//!
//! Who may call it: the table builder and reader of the engine.
//!
//! ```text
//! file    := data block *, [filter], [range deletes], props, index, footer     nothing between or behind
//! section := bytes, codec u8 (0), crc u32        sealed like a data block, see `block`
//! footer  := uid u128, blocks_end u64, filter_end u64, ranges_end u64, props_end u64, index_end u64,
//!            version u32, crc u32, magic "nokv.tbl"                                            72 bytes
//! ```
//! Each `_end` is where that part ends in the file, its trailer included, and the next one starts; an empty
//! filter or range-delete section takes no bytes. `index_end` is where the footer starts. The footer's CRC
//! covers all bytes of the footer before it. Magic, CRC and their places are the same in every version.

mod index;
mod ranges;

pub use index::{Index, IndexBuilder};
pub use ranges::{decode_range_deletes, encode_range_deletes};

use alloc::vec::Vec;
use core::ops::Range;

use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::Malformed;
use crate::{crc, versions};

/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 72;
/// The last eight bytes of every table.
pub const MAGIC: [u8; 8] = *b"nokv.tbl";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Stored {
    uid: U128,
    ends: [U64; 5],
    version: U32,
    crc: U32,
    magic: [u8; 8],
}

const _: () = assert!(size_of::<Stored>() == FOOTER_BYTES);
/// Bytes of the footer that its CRC covers.
const COVERED: usize = FOOTER_BYTES - 12;

/// Why a footer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FooterError {
    /// Its bytes are not a footer.
    Malformed(Malformed),
    /// It is a whole footer of this format version, which this code does not know.
    Version(u32),
}

/// Where the parts of a table lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Chosen when the table was built.
    pub uid: u128,
    /// End of the data blocks.
    pub blocks_end: u64,
    /// End of the filter.
    pub filter_end: u64,
    /// End of the range deletes.
    pub ranges_end: u64,
    /// End of the properties.
    pub props_end: u64,
    /// End of the index, start of the footer.
    pub index_end: u64,
}

impl Footer {
    /// Place of the filter.
    pub const fn filter(&self) -> Range<u64> {
        self.blocks_end..self.filter_end
    }

    /// Place of the range deletes.
    pub const fn ranges(&self) -> Range<u64> {
        self.filter_end..self.ranges_end
    }

    /// Place of the properties.
    pub const fn props(&self) -> Range<u64> {
        self.ranges_end..self.props_end
    }

    /// Place of the index.
    pub const fn index(&self) -> Range<u64> {
        self.props_end..self.index_end
    }

    fn ends(&self) -> [u64; 5] {
        [self.blocks_end, self.filter_end, self.ranges_end, self.props_end, self.index_end]
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.ends().is_sorted());
        let mut stored = Stored {
            uid: self.uid.into(),
            ends: self.ends().map(U64::from),
            version: versions::TABLE.into(),
            crc: 0.into(),
            magic: MAGIC,
        };
        stored.crc = crc::crc32c(&stored.as_bytes()[..COVERED]).into();
        out.extend_from_slice(stored.as_bytes());
    }

    /// Reads the last [`FOOTER_BYTES`] bytes of a file of `file_bytes`.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, FooterError> {
        let bad = |at, what| FooterError::Malformed(Malformed::new(at, what));
        let stored = Stored::ref_from_bytes(bytes).map_err(|_| bad(0, "table footer of 72 bytes"))?;
        if stored.magic != MAGIC {
            return Err(bad(COVERED + 4, "magic of a table"));
        }
        if bytes.get(..COVERED).map(crc::crc32c) != Some(stored.crc.get()) {
            return Err(bad(COVERED, "checksum of the table footer"));
        }
        if stored.version.get() != versions::TABLE {
            return Err(FooterError::Version(stored.version.get()));
        }
        let [blocks_end, filter_end, ranges_end, props_end, index_end] = stored.ends.map(U64::get);
        let footer = Self { uid: stored.uid.get(), blocks_end, filter_end, ranges_end, props_end, index_end };
        if !footer.ends().is_sorted() || index_end.checked_add(FOOTER_BYTES as u64) != Some(file_bytes) {
            return Err(bad(16, "parts of the table up to its footer"));
        }
        Ok(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_footer() {
        let footer = Footer {
            uid: 0x0102,
            blocks_end: 0x10,
            filter_end: 0x20,
            ranges_end: 0x30,
            props_end: 0x40,
            index_end: 0x50,
        };
        let mut out = Vec::new();
        footer.encode(&mut out);
        let hex: alloc::string::String = out.iter().map(|b| alloc::format!("{b:02x}")).collect();
        let crc = alloc::format!("{:08x}", crc::crc32c(&out[..60]).swap_bytes());
        let golden = [
            "02010000000000000000000000000000", // uid
            "1000000000000000",                 // blocks_end
            "2000000000000000",                 // filter_end
            "3000000000000000",                 // ranges_end
            "4000000000000000",                 // props_end
            "5000000000000000",                 // index_end
            "01000000",                         // version
            &crc,                               // crc of the 60 bytes before
            "6e6f6b762e74626c",                 // "nokv.tbl"
        ];
        assert_eq!(hex, golden.concat());
    }

    proptest! {
        #[test]
        fn round_trip(uid: u128, mut ends: [u32; 5]) {
            ends.sort();
            let [blocks_end, filter_end, ranges_end, props_end, index_end] = ends.map(u64::from);
            let footer = Footer { uid, blocks_end, filter_end, ranges_end, props_end, index_end };
            let mut out = Vec::new();
            footer.encode(&mut out);
            let file_bytes = index_end + FOOTER_BYTES as u64;
            prop_assert_eq!(Footer::decode(&out, file_bytes), Ok(footer));
            prop_assert!(Footer::decode(&out, file_bytes + 1).is_err());
            for bit in 0..out.len() * 8 {
                out[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(matches!(Footer::decode(&out, file_bytes), Err(FooterError::Malformed(_))));
                out[bit / 8] ^= 1 << (bit % 8);
            }
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            prop_assert!(Footer::decode(&bytes, bytes.len() as u64).is_err());
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let footer =
            Footer { uid: 1, blocks_end: 0, filter_end: 0, ranges_end: 0, props_end: 0, index_end: 0 };
        let mut out = Vec::new();
        footer.encode(&mut out);
        out[56] = 9;
        let crc = crc::crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Footer::decode(&out, 72), Err(FooterError::Version(9)));
    }
}
