//! Operations of a batch, as they stand in a log record and in memory: one encoding, no conversion.
//!
//! ```text
//! ops   := op*
//! op    := tag u8, cf varint, key_len varint, key, [version varint] [meta u8] [expires_at varint] tail
//! tag   := kind (bits 0..3) | has_version << 4 | has_meta << 5 | has_expiry << 6
//! tail  := put: value_len varint, value | pointer: value_ptr (20) | range delete: end_len varint, end
//!        | delete, purge: nothing
//! ```
//! An absent version is `MAX`, an absent meta 0, an absent expiry never. The i-th operation of a record has
//! the seq `first_seq + i`.

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};
use crate::entry::{Kind, NEVER, Version};
use crate::key::{CfId, KEY_BYTES_MAX, KeyRef, VALUE_BYTES_MAX};
use crate::value_ptr::{VALUE_PTR_BYTES, ValuePtr};
use crate::varint;

const HAS_VERSION: u8 = 1 << 4;
const HAS_META: u8 = 1 << 5;
const HAS_EXPIRY: u8 = 1 << 6;
const KIND_MASK: u8 = 0x0f;

/// One operation. For a range delete, `key` is the first key and `value` the end (not included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op<'a> {
    /// What it does.
    pub kind: Kind,
    /// To which key.
    pub key: KeyRef<'a>,
    /// At which version.
    pub version: Version,
    /// The caller's byte.
    pub meta: u8,
    /// Milliseconds since the Unix epoch, or [`NEVER`].
    pub expires_at: u64,
    /// Value, encoded pointer, or end of the range; empty otherwise.
    pub value: &'a [u8],
}

impl Op<'_> {
    /// Appends the stored form. The caller has checked the limits of key and value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut tag = self.kind as u8;
        if self.version != Version::MAX {
            tag |= HAS_VERSION;
        }
        if self.meta != 0 {
            tag |= HAS_META;
        }
        if self.expires_at != NEVER {
            tag |= HAS_EXPIRY;
        }
        out.push(tag);
        varint::encode(u64::from(self.key.cf.0), out);
        varint::encode(self.key.user_key.len() as u64, out);
        out.extend_from_slice(self.key.user_key);
        if self.version != Version::MAX {
            varint::encode(self.version.0, out);
        }
        if self.meta != 0 {
            out.push(self.meta);
        }
        if self.expires_at != NEVER {
            varint::encode(self.expires_at, out);
        }
        match self.kind {
            Kind::Put | Kind::RangeDelete => {
                varint::encode(self.value.len() as u64, out);
                out.extend_from_slice(self.value);
            }
            Kind::Pointer => {
                assert!(self.value.len() == VALUE_PTR_BYTES);
                out.extend_from_slice(self.value);
            }
            Kind::Delete | Kind::Purge => {}
        }
    }

    /// At most how many bytes [`Op::encode`] appends.
    pub const fn encoded_len_max(&self) -> usize {
        1 + 5 + 3 + self.key.user_key.len() + 10 + 1 + 10 + 5 + self.value.len()
    }
}

/// The operations of `bytes`, in order. After an error the iterator ends.
#[derive(Debug, Clone)]
pub struct Ops<'a> {
    reader: Reader<'a>,
    failed: bool,
}

impl<'a> Ops<'a> {
    /// Reads `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes), failed: false }
    }

    /// Where the next operation starts.
    pub const fn offset(&self) -> usize {
        self.reader.offset()
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.is_empty() {
            return None;
        }
        let op = decode(&mut self.reader);
        self.failed = op.is_err();
        Some(op)
    }
}

fn decode<'a>(r: &mut Reader<'a>) -> Result<Op<'a>, Malformed> {
    let start = r.offset();
    let tag = r.u8("operation tag")?;
    let kind = Kind::from_u8(tag & KIND_MASK).ok_or(Malformed::new(start, "kind of operation"))?;
    if tag & 0x80 != 0 {
        return Err(Malformed::new(start, "operation tag"));
    }
    let cf = CfId(r.varint_u32("family of an operation")?);
    let user_key = r.prefixed("key of an operation")?;
    if user_key.len() > KEY_BYTES_MAX {
        return Err(Malformed::new(start, "key of at most 65535 bytes"));
    }
    let version = match tag & HAS_VERSION {
        0 => Version::MAX,
        _ => match r.varint("version of an operation")? {
            u64::MAX => return Err(Malformed::new(start, "version below the maximum")),
            version => Version(version),
        },
    };
    let meta = match tag & HAS_META {
        0 => 0,
        _ => match r.u8("meta of an operation")? {
            0 => return Err(Malformed::new(start, "meta other than 0")),
            meta => meta,
        },
    };
    let expires_at = match tag & HAS_EXPIRY {
        0 => NEVER,
        _ => match r.varint("expiry of an operation")? {
            NEVER => return Err(Malformed::new(start, "expiry other than 0")),
            at => at,
        },
    };
    let value = match kind {
        Kind::Put => r.prefixed("value of an operation")?,
        Kind::RangeDelete => r.prefixed("end of a range delete")?,
        Kind::Pointer => {
            let bytes = r.take(VALUE_PTR_BYTES, "value pointer of an operation")?;
            ValuePtr::decode(bytes).map_err(|m| Malformed::new(start, m.what))?;
            bytes
        }
        Kind::Delete | Kind::Purge => &[],
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err(Malformed::new(start, "value of at most 1 GiB"));
    }
    Ok(Op { kind, key: KeyRef { cf, user_key }, version, meta, expires_at, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Put),
            Just(Kind::Pointer),
            Just(Kind::Delete),
            Just(Kind::RangeDelete),
            Just(Kind::Purge)
        ]
    }

    proptest! {
        #[test]
        fn round_trip(ops in prop::collection::vec(
            (kinds(), any::<u32>(), any::<Vec<u8>>(), any::<u64>(), any::<u8>(), any::<u64>(), any::<Vec<u8>>()), 0..8)
        ) {
            let ptr = ValuePtr { bucket: 3, segment: 9, offset: 77, value_len: 5 }.to_bytes();
            let mut out = Vec::new();
            let ops: Vec<_> = ops.iter().map(|(kind, cf, key, version, meta, expires_at, v)| Op {
                kind: *kind,
                key: KeyRef::new(CfId(*cf), key),
                version: Version(*version),
                meta: *meta,
                expires_at: *expires_at,
                value: match kind {
                    Kind::Put | Kind::RangeDelete => v,
                    Kind::Pointer => &ptr,
                    _ => &[],
                },
            }).collect();
            for op in &ops {
                let before = out.len();
                op.encode(&mut out);
                prop_assert!(out.len() - before <= op.encoded_len_max());
            }
            let back: Result<Vec<_>, _> = Ops::new(&out).collect();
            prop_assert_eq!(back, Ok(ops));
        }

        #[test]
        fn any_bytes_decode_to_their_own_encoding(bytes: Vec<u8>) {
            let mut again = Vec::new();
            let mut ops = Ops::new(&bytes);
            let mut whole = 0;
            while let Some(Ok(op)) = ops.next() {
                op.encode(&mut again);
                whole = ops.offset();
            }
            prop_assert_eq!(&again[..], &bytes[..whole]);
        }
    }
}
