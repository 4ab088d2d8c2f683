//! Elements that Redis packs into one string.
//!
//! ```text
//! intset   := width u32 (2, 4 or 8), count u32, numbers
//! ziplist  := bytes u32, tail u32, count u16, { entry }, 0xff
//!   entry  := previous (u8 < 254 | 0xfe u32), what
//!   what   := 00nnnnnn bytes | 01nnnnnn u8 bytes | 0x80 u32 bytes                     lengths big-endian
//!           | 0xc0 i16 | 0xd0 i32 | 0xe0 i64 | 0xf0 i24 | 0xfe i8 | 1111nnnn          n - 1, n from 1 to 13
//! listpack := bytes u32, count u16, { entry }, 0xff
//!   entry  := what, its length backwards: 1 to 5 bytes
//!   what   := 0nnnnnnn | 10nnnnnn bytes | 110nnnnn u8 (13 bits) | 1110nnnn u8 bytes
//!           | 0xf0 u32 bytes | 0xf1 i16 | 0xf2 i24 | 0xf3 i32 | 0xf4 i64              two's complement
//! ```
//! A count of 65535 stands for any that large.

use super::reader::Reader;

const END: u8 = 0xff;
const MANY: u16 = u16::MAX;

fn text(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// The lowest `bits` of a number, with their sign.
const fn signed(number: i64, bits: u32) -> i64 {
    number << (64 - bits) >> (64 - bits)
}

fn i24(bytes: [u8; 3]) -> i64 {
    let [low, middle, high] = bytes;
    signed(i64::from(u32::from_le_bytes([low, middle, high, 0])), 24)
}

/// Numbers in ascending order.
pub(super) fn intset(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader::new(packed);
    let width = u32::from_le_bytes(reader.array()?);
    let count = u32::from_le_bytes(reader.array()?);
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(match width {
            2 => text(i16::from_le_bytes(reader.array()?)),
            4 => text(i32::from_le_bytes(reader.array()?)),
            8 => text(i64::from_le_bytes(reader.array()?)),
            _ => return None,
        });
    }
    reader.is_at_end().then_some(numbers)
}

/// Elements, each by `entry`, up to the end, as many as `count` says.
fn elements<'p>(
    mut reader: Reader<'p>,
    count: u16,
    entry: fn(&mut Reader<'p>, u8) -> Option<Vec<u8>>,
) -> Option<Vec<Vec<u8>>> {
    let mut elements = Vec::new();
    loop {
        match reader.byte()? {
            END => break,
            first => elements.push(entry(&mut reader, first)?),
        }
    }
    let is_right = count == MANY || elements.len() == usize::from(count);
    (is_right && reader.is_at_end()).then_some(elements)
}

pub(super) fn ziplist(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader::new(packed);
    let bytes = u32::from_le_bytes(reader.array()?);
    let _tail = reader.array::<4>()?;
    let count = u16::from_le_bytes(reader.array()?);
    if u64::from(bytes) != packed.len() as u64 {
        return None;
    }
    elements(reader, count, ziplist_entry)
}

fn ziplist_entry(reader: &mut Reader<'_>, previous: u8) -> Option<Vec<u8>> {
    if previous == 0xfe {
        reader.array::<4>()?;
    }
    let what = reader.byte()?;
    let len = match what {
        0x00..=0x3f => u64::from(what),
        0x40..=0x7f => u64::from(what & 0x3f) << 8 | u64::from(reader.byte()?),
        0x80 => u64::from(u32::from_be_bytes(reader.array()?)),
        0xc0 => return Some(text(i16::from_le_bytes(reader.array()?))),
        0xd0 => return Some(text(i32::from_le_bytes(reader.array()?))),
        0xe0 => return Some(text(i64::from_le_bytes(reader.array()?))),
        0xf0 => return Some(text(i24(reader.array()?))),
        0xfe => return Some(text(i8::from_le_bytes(reader.array()?))),
        0xf1..=0xfd => return Some(text((what & 0x0f) - 1)),
        _ => return None,
    };
    reader.bytes(len).map(<[u8]>::to_vec)
}

pub(super) fn listpack(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader::new(packed);
    let bytes = u32::from_le_bytes(reader.array()?);
    let count = u16::from_le_bytes(reader.array()?);
    if u64::from(bytes) != packed.len() as u64 {
        return None;
    }
    elements(reader, count, listpack_entry)
}

fn listpack_entry(reader: &mut Reader<'_>, what: u8) -> Option<Vec<u8>> {
    let string =
        |reader: &mut Reader<'_>, header: u64, len: u64| Some((reader.bytes(len)?.to_vec(), header + len));
    let (element, len) = match what {
        0x00..=0x7f => (text(what), 1),
        0x80..=0xbf => string(reader, 1, u64::from(what & 0x3f))?,
        0xc0..=0xdf => {
            let number = i64::from(what & 0x1f) << 8 | i64::from(reader.byte()?);
            (text(signed(number, 13)), 2)
        }
        0xe0..=0xef => {
            let len = u64::from(what & 0x0f) << 8 | u64::from(reader.byte()?);
            string(reader, 2, len)?
        }
        0xf0 => {
            let len = u64::from(u32::from_le_bytes(reader.array()?));
            string(reader, 5, len)?
        }
        0xf1 => (text(i16::from_le_bytes(reader.array()?)), 3),
        0xf2 => (text(i24(reader.array()?)), 4),
        0xf3 => (text(i32::from_le_bytes(reader.array()?)), 5),
        0xf4 => (text(i64::from_le_bytes(reader.array()?)), 9),
        _ => return None,
    };
    let backwards = match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    };
    reader.bytes(backwards)?;
    Some(element)
}
