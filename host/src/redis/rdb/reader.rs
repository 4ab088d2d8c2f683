//! Lengths and strings of a payload. Nothing is allocated before its bytes are seen to be there.

use std::borrow::Cow;

use super::lzf;
use crate::redis::commands::args::STRING_BYTES_MAX;

/// Bytes that all LZF strings of a payload may unpack to: as many as one string may have.
pub(super) const UNPACKED_BYTES_MAX: usize = STRING_BYTES_MAX;
/// LZF makes at most so many bytes of one: 264 of 3.
const LZF_RATIO_MAX: u64 = 88;

/// Reads a payload from its start.
#[derive(Debug)]
pub(super) struct Reader<'p> {
    rest: &'p [u8],
    unpacked_left: usize,
}

/// A length, or the form of a string that has none.
enum Length {
    Bytes(u64),
    Form(u8),
}

impl<'p> Reader<'p> {
    pub(super) const fn new(payload: &'p [u8]) -> Self {
        Self { rest: payload, unpacked_left: UNPACKED_BYTES_MAX }
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn bytes(&mut self, len: u64) -> Option<&'p [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }

    fn length_or_form(&mut self) -> Option<Length> {
        let first = self.byte()?;
        Some(match (first >> 6, first) {
            (0, _) => Length::Bytes(u64::from(first)),
            (1, _) => Length::Bytes(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            (2, 0x80) => Length::Bytes(u64::from(u32::from_be_bytes(self.array()?))),
            (2, 0x81) => Length::Bytes(u64::from_be_bytes(self.array()?)),
            (3, _) => Length::Form(first & 0x3f),
            _ => return None,
        })
    }

    pub(super) fn length(&mut self) -> Option<u64> {
        match self.length_or_form()? {
            Length::Bytes(len) => Some(len),
            Length::Form(_) => None,
        }
    }

    pub(super) fn string(&mut self) -> Option<Cow<'p, [u8]>> {
        let text = |number: i32| Some(Cow::Owned(number.to_string().into_bytes()));
        match self.length_or_form()? {
            Length::Bytes(len) => self.bytes(len).map(Cow::Borrowed),
            Length::Form(0) => text(i8::from_le_bytes(self.array()?).into()),
            Length::Form(1) => text(i16::from_le_bytes(self.array()?).into()),
            Length::Form(2) => text(i32::from_le_bytes(self.array()?)),
            Length::Form(3) => {
                let (packed, len) = (self.length()?, self.length()?);
                let packed = self.bytes(packed)?;
                if len > packed.len() as u64 * LZF_RATIO_MAX {
                    return None;
                }
                let len = usize::try_from(len).ok()?;
                self.unpacked_left = self.unpacked_left.checked_sub(len)?;
                lzf::unpack(packed, len).map(Cow::Owned)
            }
            Length::Form(_) => None,
        }
    }

    /// A score as text.
    pub(super) fn text_score(&mut self) -> Option<f64> {
        match self.byte()? {
            253 => None,
            254 => Some(f64::INFINITY),
            255 => Some(f64::NEG_INFINITY),
            len => score(self.bytes(u64::from(len))?),
        }
    }
}

/// A score as text: any number but NaN.
pub(super) fn score(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|score: &f64| !score.is_nan())
}
