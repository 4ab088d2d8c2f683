//! Pointer of an entry into the value log.
//!
//! ```text
//! value_ptr := bucket u16, zero u16, segment u32, offset u64, value_len u32      20 bytes
//! ```
//! `offset` is that of the record's first byte in the segment file; `value_len` lets a size be answered
//! without a read. The record repeats key and version, so that a pointer to a wrong place is noticed.

use alloc::vec::Vec;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::Malformed;
use crate::key::VALUE_BYTES_MAX;

/// Stored size of a pointer.
pub const VALUE_PTR_BYTES: usize = 20;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Stored {
    bucket: U16,
    zero: U16,
    segment: U32,
    offset: U64,
    value_len: U32,
}

const _: () = assert!(size_of::<Stored>() == VALUE_PTR_BYTES);

/// Where in the value log a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValuePtr {
    /// Bucket of the value log.
    pub bucket: u16,
    /// Segment number within the bucket.
    pub segment: u32,
    /// Offset of the record in the segment file, in bytes.
    pub offset: u64,
    /// Length of the value, in bytes.
    pub value_len: u32,
}

impl ValuePtr {
    /// The stored form.
    pub fn to_bytes(&self) -> [u8; VALUE_PTR_BYTES] {
        let stored = Stored {
            bucket: self.bucket.into(),
            zero: 0.into(),
            segment: self.segment.into(),
            offset: self.offset.into(),
            value_len: self.value_len.into(),
        };
        zerocopy::transmute!(stored)
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    /// Reads the stored form; `bytes` must be exactly that long.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let stored =
            Stored::ref_from_bytes(bytes).map_err(|_| Malformed::new(0, "value pointer of 20 bytes"))?;
        if stored.zero.get() != 0 {
            return Err(Malformed::new(2, "zero in a value pointer"));
        }
        if stored.value_len.get() as usize > VALUE_BYTES_MAX {
            return Err(Malformed::new(16, "value length of at most 1 GiB"));
        }
        Ok(Self {
            bucket: stored.bucket.get(),
            segment: stored.segment.get(),
            offset: stored.offset.get(),
            value_len: stored.value_len.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(bucket: u16, segment: u32, offset: u64, value_len in 0u32..=1 << 30) {
            let ptr = ValuePtr { bucket, segment, offset, value_len };
            prop_assert_eq!(ValuePtr::decode(&ptr.to_bytes()), Ok(ptr));
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            if let Ok(ptr) = ValuePtr::decode(&bytes) {
                prop_assert_eq!(&ptr.to_bytes()[..], &bytes[..]);
            }
        }
    }
}
