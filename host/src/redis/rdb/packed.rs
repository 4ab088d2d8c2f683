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
use crate::redis::resp::reply::push_integer;

const END: u8 = 0xff;
const MANY: u16 = u16::MAX;

/// How elements are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Numbers of one width.
    Intset,
    /// Each with the length of the one before.
    Ziplist,
    /// Each with its own length behind it.
    Listpack,
}

/// An element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'p> {
    Bytes(&'p [u8]),
    Number(i64),
}

impl<'p> Item<'p> {
    /// As bytes; `text` holds a number's.
    pub(super) fn text<'t>(self, text: &'t mut Vec<u8>) -> &'t [u8]
    where
        'p: 't,
    {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => {
                text.clear();
                push_integer(text, number);
                text
            }
        }
    }
}

/// The lowest `bits` of a number, with their sign.
const fn signed(number: i64, bits: u32) -> i64 {
    number << (64 - bits) >> (64 - bits)
}

fn i24(bytes: [u8; 3]) -> i64 {
    let [low, middle, high] = bytes;
    signed(i64::from(u32::from_le_bytes([low, middle, high, 0])), 24)
}

/// Gives the elements of a packed string, one after another.
#[derive(Debug)]
pub(super) struct Packed<'p> {
    reader: Reader<'p>,
    form: Form,
    /// Bytes of a number in an intset.
    width: u32,
    /// How many are still to come, if it says so.
    left: Option<u32>,
}

impl<'p> Packed<'p> {
    /// `None` if the header is damaged.
    pub(super) fn new(packed: &'p [u8], form: Form) -> Option<Self> {
        let mut reader = Reader::new(packed);
        let first = u32::from_le_bytes(reader.array()?);
        if form == Form::Intset {
            let left = Some(u32::from_le_bytes(reader.array()?));
            return matches!(first, 2 | 4 | 8).then_some(Self { reader, form, width: first, left });
        }
        if form == Form::Ziplist {
            let _tail = reader.array::<4>()?;
        }
        let count = u16::from_le_bytes(reader.array()?);
        let left = (count != MANY).then_some(u32::from(count));
        (u64::from(first) == packed.len() as u64).then_some(Self { reader, form, width: 0, left })
    }

    /// The next element, or that there is no other; `None` if what is there is damaged.
    pub(super) fn next(&mut self) -> Option<Option<Item<'p>>> {
        let first = match self.form {
            Form::Intset if self.left == Some(0) => END,
            Form::Intset => 0,
            Form::Ziplist | Form::Listpack => self.reader.byte()?,
        };
        if first == END {
            return (self.left.unwrap_or(0) == 0 && self.reader.is_at_end()).then_some(None);
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        let reader = &mut self.reader;
        match self.form {
            Form::Intset => number(reader, self.width),
            Form::Ziplist => ziplist_entry(reader, first),
            Form::Listpack => listpack_entry(reader, first),
        }
        .map(Some)
    }
}

fn number<'p>(reader: &mut Reader<'p>, width: u32) -> Option<Item<'p>> {
    Some(Item::Number(match width {
        2 => i16::from_le_bytes(reader.array()?).into(),
        4 => i32::from_le_bytes(reader.array()?).into(),
        _ => i64::from_le_bytes(reader.array()?),
    }))
}

fn ziplist_entry<'p>(reader: &mut Reader<'p>, previous: u8) -> Option<Item<'p>> {
    if previous == 0xfe {
        reader.array::<4>()?;
    }
    let what = reader.byte()?;
    let len = match what {
        0x00..=0x3f => u64::from(what),
        0x40..=0x7f => u64::from(what & 0x3f) << 8 | u64::from(reader.byte()?),
        0x80 => u64::from(u32::from_be_bytes(reader.array()?)),
        0xc0 => return number(reader, 2),
        0xd0 => return number(reader, 4),
        0xe0 => return number(reader, 8),
        0xf0 => return Some(Item::Number(i24(reader.array()?))),
        0xfe => return Some(Item::Number(i8::from_le_bytes(reader.array()?).into())),
        0xf1..=0xfd => return Some(Item::Number(i64::from(what & 0x0f) - 1)),
        _ => return None,
    };
    reader.bytes(len).map(Item::Bytes)
}

fn listpack_entry<'p>(reader: &mut Reader<'p>, what: u8) -> Option<Item<'p>> {
    let string = |reader: &mut Reader<'p>, header: u64, len: u64| {
        Some((Item::Bytes(reader.bytes(len)?), header + len))
    };
    let (element, len) = match what {
        0x00..=0x7f => (Item::Number(what.into()), 1),
        0x80..=0xbf => string(reader, 1, u64::from(what & 0x3f))?,
        0xc0..=0xdf => {
            let number = i64::from(what & 0x1f) << 8 | i64::from(reader.byte()?);
            (Item::Number(signed(number, 13)), 2)
        }
        0xe0..=0xef => {
            let len = u64::from(what & 0x0f) << 8 | u64::from(reader.byte()?);
            string(reader, 2, len)?
        }
        0xf0 => {
            let len = u64::from(u32::from_le_bytes(reader.array()?));
            string(reader, 5, len)?
        }
        0xf1 => (number(reader, 2)?, 3),
        0xf2 => (Item::Number(i24(reader.array()?)), 4),
        0xf3 => (number(reader, 4)?, 5),
        0xf4 => (number(reader, 8)?, 9),
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
