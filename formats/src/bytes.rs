//! The one way to read untrusted bytes: a cursor that cannot run past its end.

use core::fmt;

use crate::varint;

/// Bytes that are not what their format says. `offset` counts from the start of the decoded buffer;
/// the caller, who knows the file, turns it into `Corrupt {file, offset, what}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the decoded buffer the trouble starts, in bytes.
    pub offset: u64,
    /// What was expected there.
    pub what: &'static str,
}

impl Malformed {
    /// Trouble `what` at `offset` bytes into the buffer.
    pub const fn new(offset: usize, what: &'static str) -> Self {
        Self { offset: offset as u64, what }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl core::error::Error for Malformed {}

/// A cursor over untrusted bytes. Every read checks what remains.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `whole`.
    pub const fn new(whole: &'a [u8]) -> Self {
        Self { whole, at: 0 }
    }

    /// How many bytes were taken so far.
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.whole.len() - self.at
    }

    /// True when nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// A [`Malformed`] at the current offset.
    pub const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed::new(self.at, what)
    }

    /// Takes `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        match self.whole.get(self.at..).and_then(|rest| rest.get(..len)) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(self.malformed(what)),
        }
    }

    /// Takes a fixed number of bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        match self.whole.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.malformed(what)),
        }
    }

    /// Takes one byte.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(what)?[0])
    }

    /// Takes a little-endian `u16`.
    #[inline]
    pub fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    /// Takes a little-endian `u32`.
    #[inline]
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// Takes a little-endian `u64`.
    #[inline]
    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Takes a little-endian `u128`.
    pub fn u128(&mut self, what: &'static str) -> Result<u128, Malformed> {
        Ok(u128::from_le_bytes(self.array(what)?))
    }

    /// Takes a varint of at most 64 bits.
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        match varint::decode(&self.whole[self.at..]) {
            Some((value, used)) => {
                self.at += used;
                Ok(value)
            }
            None => Err(self.malformed(what)),
        }
    }

    /// Takes a varint that must fit 32 bits.
    #[inline]
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        let start = self.at;
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| Malformed::new(start, what))
    }

    /// Takes a length varint and then that many bytes; the length is checked against what remains.
    #[inline]
    pub fn prefixed(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        let len = self.varint(what)?;
        match usize::try_from(len) {
            Ok(len) if len <= self.remaining() => self.take(len, what),
            _ => Err(Malformed::new(start, what)),
        }
    }

    /// An error unless everything was taken.
    pub fn finish(&self, what: &'static str) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(self.malformed(what)) }
    }
}
