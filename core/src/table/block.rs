//! A data block in memory: verified, decompressed, and where its parts lie.

use alloc::vec::Vec;
use core::ops::{Deref, Range};

use nokv_formats::Malformed;
use nokv_formats::block::{BlockRef, Layout, TRAILER_BYTES, split_raw_len, unseal};

use super::compress::{self, Compression};
use crate::error::{Error, Result};

/// The payload of a data block. Derefs to its bytes, which never change, so that a reader can keep the block
/// and a range in it instead of a copy of a value.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    layout: Layout,
}

/// Where a stored block comes from.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) uid: u128,
    pub(super) offset: u64,
}

impl Place<'_> {
    #[cold]
    pub(super) fn malformed(&self, malformed: Malformed) -> Error {
        Error::malformed(self.file, self.offset, malformed)
    }

    /// The codec of a block whose checksum was right.
    pub(super) fn codec(&self, tag: u8) -> Result<Compression> {
        let codec = Compression::from_u8(tag).filter(|codec| compress::is_available(*codec));
        codec.ok_or_else(|| {
            let what = match Compression::from_u8(tag) {
                Some(codec) => compress::name(codec).into(),
                None => alloc::format!("codec number {tag}"),
            };
            Error::Unsupported { what, file: self.file.into() }
        })
    }
}

impl Block {
    /// Verifies a stored block, trailer included, and takes its bytes over.
    pub(super) fn load(mut stored: Vec<u8>, place: Place<'_>) -> Result<Self> {
        let (tag, _) = unseal(&stored, place.uid, place.offset).map_err(|m| place.malformed(m))?;
        if place.codec(tag)? == Compression::None {
            stored.truncate(stored.len().saturating_sub(TRAILER_BYTES));
            let layout = Layout::parse(&stored).map_err(|m| place.malformed(m))?;
            return Ok(Self { bytes: stored, layout });
        }
        Self::copy(&stored, Vec::new(), place)
    }

    /// Verifies a stored block and copies or decompresses it into `bytes`, whose old content goes.
    pub(super) fn copy(stored: &[u8], mut bytes: Vec<u8>, place: Place<'_>) -> Result<Self> {
        let (tag, body) = unseal(stored, place.uid, place.offset).map_err(|m| place.malformed(m))?;
        match place.codec(tag)? {
            Compression::None => {
                bytes.clear();
                bytes.extend_from_slice(body);
            }
            codec => {
                let (raw_len, rest) = split_raw_len(body).map_err(|m| place.malformed(m))?;
                if !compress::decompress(codec, rest, raw_len, &mut bytes) {
                    return Err(place.malformed(Malformed::new(0, "compressed block")));
                }
            }
        }
        let layout = Layout::parse(&bytes).map_err(|m| place.malformed(m))?;
        Ok(Self { bytes, layout })
    }

    /// Gives the buffer back, to be filled again.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    #[inline]
    pub(super) fn view(&self) -> BlockRef<'_> {
        BlockRef::new(&self.bytes, &self.layout)
    }

    #[inline]
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where in the block `part` lies, if it is a part of it (for instance the value of an entry that a read
    /// showed with this block).
    pub fn range_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = (part.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        let end = start.checked_add(part.len())?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    /// Bytes of memory it holds.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>() + 2 * size_of::<usize>()
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
