//! What DUMP gives and RESTORE takes: a value in the serialisation of Redis' snapshot files.
//!
//! ```text
//! payload   := type u8, value, version u16, crc u64      the CRC is of all bytes before it
//! length    := 00xxxxxx | 01xxxxxx u8 | 0x80 u32 | 0x81 u64                              big-endian
//! string    := length, bytes | 0xc0 i8 | 0xc1 i16 | 0xc2 i32 | 0xc3 length (packed) length (unpacked) LZF bytes
//!
//! type   value
//!  0     string
//!  1     length, strings                                 list
//!  2     length, strings                                 set
//!  3     length, (string, score as text)                 sorted set; text: length u8, digits; 253 NaN, 254 inf, 255 -inf
//!  4     length, (string, string)                        hash
//!  5     length, (string, score f64)                     sorted set
//! 10     string: ziplist                                 list
//! 11     string: intset                                  set
//! 12     string: ziplist of members and scores           sorted set
//! 13     string: ziplist of fields and values            hash
//! 14     length, strings: ziplists                       list
//! 16     string: listpack of fields and values           hash
//! 17     string: listpack of members and scores          sorted set
//! 18     length, (length 1: element | 2: listpack, string)   list
//! 20     string: listpack                                set
//! ```
//! Written are the types 0, 1, 2, 4 and 5. Other numbers than lengths are little-endian. A payload is input: nothing is
//! allocated by what it declares, only by what is there; what LZF unpacks to is bounded. Values are never whole in memory but for
//! strings: [`check`] reads a payload, and [`each`] reads it again for whoever stores it.

mod crc;
mod lzf;
mod packed;
mod reader;
mod value;
mod writer;

pub use value::{Element, check, each};
pub use writer::Writer;

pub(crate) use crc::crc64;

/// Versions up to here are read: the one of Redis 7.2.
const VERSION_MAX: u16 = 11;
/// The version that is written: older ones do not differ in the types that are.
const VERSION: u16 = 9;
/// Version and CRC.
const FOOTER_BYTES: usize = 10;

const TYPE_STRING: u8 = 0;
const TYPE_LIST: u8 = 1;
const TYPE_SET: u8 = 2;
const TYPE_SORTED_SET_TEXT: u8 = 3;
const TYPE_HASH: u8 = 4;
const TYPE_SORTED_SET: u8 = 5;
const TYPE_LIST_ZIPLIST: u8 = 10;
const TYPE_SET_INTSET: u8 = 11;
const TYPE_SORTED_SET_ZIPLIST: u8 = 12;
const TYPE_HASH_ZIPLIST: u8 = 13;
const TYPE_LIST_QUICKLIST: u8 = 14;
const TYPE_HASH_LISTPACK: u8 = 16;
const TYPE_SORTED_SET_LISTPACK: u8 = 17;
const TYPE_LIST_QUICKLIST_2: u8 = 18;
const TYPE_SET_LISTPACK: u8 = 20;

/// Type and value of a payload whose version and CRC are right.
pub fn body(payload: &[u8]) -> Option<&[u8]> {
    let (body, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER_BYTES)?)?;
    let (version, crc) = footer.split_first_chunk::<2>()?;
    let crc: [u8; 8] = crc.try_into().ok()?;
    let covered = &payload[..payload.len() - crc.len()];
    let is_right = u16::from_le_bytes(*version) <= VERSION_MAX && u64::from_le_bytes(crc) == crc64(covered);
    is_right.then_some(body)
}

#[cfg(test)]
mod tests;
