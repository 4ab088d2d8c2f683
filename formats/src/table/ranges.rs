//! Range deletes of a table.
//!
//! ```text
//! ranges := count varint, (cf varint, start_len varint, start, end_len varint, end, seq varint)*
//! ```
//! Ascending by family, start, end, seq; each start is below its end.

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};
use crate::entry::{RangeDelete, Seq};
use crate::key::{CfId, KEY_BYTES_MAX};
use crate::varint;

/// Appends the stored form; `ranges` is sorted.
pub fn encode_range_deletes(ranges: &[RangeDelete], out: &mut Vec<u8>) {
    assert!(ranges.is_sorted());
    varint::encode(ranges.len() as u64, out);
    for range in ranges {
        assert!(range.start < range.end && range.seq <= Seq::MAX);
        varint::encode(u64::from(range.cf.0), out);
        for key in [&range.start, &range.end] {
            varint::encode(key.len() as u64, out);
            out.extend_from_slice(key);
        }
        varint::encode(range.seq.0, out);
    }
}

/// Reads the stored form; `bytes` must be exactly that long.
pub fn decode_range_deletes(bytes: &[u8]) -> Result<Vec<RangeDelete>, Malformed> {
    let mut r = Reader::new(bytes);
    let count = r.varint("count of range deletes")?;
    // family, two lengths, at least one byte of the end, seq
    if count > r.remaining() as u64 / 5 {
        return Err(r.malformed("count of range deletes"));
    }
    let mut ranges: Vec<RangeDelete> = Vec::new();
    for _ in 0..count {
        let at = r.offset();
        let range = RangeDelete {
            cf: CfId(r.varint_u32("family of a range delete")?),
            start: r.prefixed("start of a range delete")?.to_vec(),
            end: r.prefixed("end of a range delete")?.to_vec(),
            seq: Seq(r.varint("seq of a range delete")?),
        };
        if range.start >= range.end || range.end.len() > KEY_BYTES_MAX || range.start.len() > KEY_BYTES_MAX {
            return Err(Malformed::new(at, "range delete with its start before its end"));
        }
        if range.seq > Seq::MAX || ranges.last().is_some_and(|last| *last > range) {
            return Err(Malformed::new(at, "range deletes in order"));
        }
        ranges.push(range);
    }
    r.finish("end of the range deletes")?;
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(ranges: Vec<(u32, Vec<u8>, Vec<u8>, u32)>) {
            let mut ranges: Vec<_> = ranges
                .into_iter()
                .filter(|(_, a, b, _)| a != b)
                .map(|(cf, a, b, seq)| RangeDelete {
                    cf: CfId(cf),
                    start: a.clone().min(b.clone()),
                    end: a.max(b),
                    seq: Seq(seq.into()),
                })
                .collect();
            ranges.sort();
            let mut out = Vec::new();
            encode_range_deletes(&ranges, &mut out);
            prop_assert_eq!(decode_range_deletes(&out), Ok(ranges));
            out.push(0);
            prop_assert!(decode_range_deletes(&out).is_err());
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = decode_range_deletes(&bytes);
        }
    }
}
