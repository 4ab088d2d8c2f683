//! Data blocks of a table: sorted entries with shared key prefixes, restart points and a hash index.
//!
//! Who may call it: the table builder ([`BlockBuilder`]) and the table reader ([`Layout`], [`BlockRef`]).
//!
//! ```text
//! stored   := payload, trailer                                    (codec none)
//!           | raw_len u32, compressed payload, trailer            (any other codec)
//! trailer  := codec u8, crc u32      crc of: table uid u128, file offset of the block u64, all before it
//!
//! payload  := seq_base u56, seq_width u8 (0..=7), entry+, restart u32 *, bucket u8 *, tail
//! tail     := restarts u32 (>= 1), buckets u32 (0 = no hash index)
//! entry    := flags u8, [a varint, b varint], value_len varint, seq (seq_width bytes), [version u64],
//!             [meta u8], [expires_at u64], key bytes, value bytes
//! flags    := kind (bits 0..3) | has_version << 3 | has_meta << 4 | has_expiry << 5 | same_key << 6
//!             | restart << 7
//! ```
//! - A *restart* entry holds its whole key: a = family, b = key length. Any other entry with a new key shares
//!   the first a bytes of the key before it and adds b bytes; its family is that of the restart before it. A
//!   *same_key* entry that is no restart has no a, b and key bytes: older versions of a key cost no key.
//! - The first entry is a restart. There, *same_key* says that the key continues from the block before.
//! - An absent version is `MAX`, an absent meta 0, an absent expiry never: those values are never stored.
//! - seq = seq_base + the stored bytes. The i-th restart is the offset in the payload of its entry; the first
//!   is 8.
//! - Bucket of a key = (low 32 bits of its hash * buckets) >> 32. It holds the index of the restart whose run
//!   the key is in, 255 if no key of the block falls there, 254 if keys of several runs do.
//!
//! At least 12 bytes follow the last entry, so a fixed-size load at its fields stays inside the payload.

mod build;
mod read;
#[cfg(test)]
mod tests;

pub use build::BlockBuilder;
pub use read::{BlockRef, Entry, Layout};

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};
use crate::crc;
use crate::planted::{self, Checksum};

/// Bytes of the trailer behind each stored block: codec and CRC.
pub const TRAILER_BYTES: usize = 5;
/// Blocks with a longer payload are stored as they are, and no compressed block may claim more.
pub const COMPRESSED_RAW_BYTES_MAX: usize = 64 << 20;
/// Bytes before the first entry.
pub const HEADER_BYTES: usize = 8;
/// Bytes behind the last bucket.
pub const TAIL_BYTES: usize = 8;

pub(crate) const HAS_VERSION: u8 = 1 << 3;
pub(crate) const HAS_META: u8 = 1 << 4;
pub(crate) const HAS_EXPIRY: u8 = 1 << 5;
pub(crate) const SAME_KEY: u8 = 1 << 6;
pub(crate) const RESTART: u8 = 1 << 7;
pub(crate) const KIND_MASK: u8 = 0x07;

/// Bucket that no key of the block falls in.
pub(crate) const BUCKET_NONE: u8 = 255;
/// Bucket that keys of several restart runs fall in.
pub(crate) const BUCKET_MANY: u8 = 254;

#[inline]
pub(crate) fn bucket_of(hash: u64, buckets: u32) -> usize {
    ((u64::from(hash as u32) * u64::from(buckets)) >> 32) as usize
}

/// How a stored block is compressed. The numbers are stored and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// LZ4 block format.
    Lz4 = 1,
    /// One Zstandard frame.
    Zstd = 2,
}

impl Codec {
    /// The codec with this stored number.
    pub const fn from_u8(tag: u8) -> Option<Self> {
        Some(match tag {
            0 => Self::None,
            1 => Self::Lz4,
            2 => Self::Zstd,
            _ => return None,
        })
    }
}

/// The checksum that a block's trailer holds: `body` is everything before the trailer's CRC.
fn checksum(uid: u128, offset: u64, body: &[u8]) -> u32 {
    let mut place = [0; 24];
    place[..16].copy_from_slice(&uid.to_le_bytes());
    place[16..].copy_from_slice(&offset.to_le_bytes());
    crc::extend(crc::crc32c(&place), body)
}

/// Appends the trailer to the block that starts at `out[start]` and will lie at `offset` of the file.
pub fn seal(out: &mut Vec<u8>, start: usize, codec: Codec, uid: u128, offset: u64) {
    out.push(codec as u8);
    let crc = checksum(uid, offset, &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Checks the trailer of a stored block that was read from `offset` of the file. Gives the codec's number, for
/// [`Codec::from_u8`], and the bytes before the trailer.
pub fn unseal(stored: &[u8], uid: u128, offset: u64) -> Result<(u8, &[u8]), Malformed> {
    let Some((body, crc)) = stored.split_last_chunk::<4>() else {
        return Err(Malformed::new(0, "block trailer"));
    };
    if checksum(uid, offset, body) != u32::from_le_bytes(*crc) && !planted::ignores(Checksum::Block) {
        return Err(Malformed::new(0, "block checksum"));
    }
    let Some((codec, payload)) = body.split_last() else {
        return Err(Malformed::new(0, "block trailer"));
    };
    Ok((*codec, payload))
}

/// Splits the bytes of a compressed block into the length of its payload, which is capped, and the rest.
pub fn split_raw_len(compressed: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let mut r = Reader::new(compressed);
    let raw_len = r.u32("length of a compressed block")? as usize;
    if raw_len > COMPRESSED_RAW_BYTES_MAX {
        return Err(Malformed::new(0, "length of a compressed block of at most 64 MiB"));
    }
    let rest = r.take(r.remaining(), "compressed block")?;
    Ok((raw_len, rest))
}

/// Length of the common prefix.
#[inline]
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut at = 0;
    while let (Some(x), Some(y)) = (a[at..].first_chunk::<8>(), b[at..].first_chunk::<8>()) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return at + differ.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < len && a[at] == b[at] {
        at += 1;
    }
    at
}
