//! Filter of a table: a blocked Bloom filter over the hashes of its user keys.
//!
//! ```text
//! filter := line (64 bytes) *, probes u8 (1..=7), lines u32
//! ```
//! A key has one line, `(high half of its hash * lines) >> 32`, and there the bits named by consecutive groups
//! of nine bits of `hash * 0x9e37_79b9_7f4a_7c15`, from the top. A test reads one cache line. The hash is
//! [`crate::key::key_hash`].

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};

const LINE_BYTES: usize = 64;
const PROBES_MAX: u8 = 7;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// One cache line of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
struct Line([u64; 8]);

const _: () = assert!(size_of::<Line>() == LINE_BYTES && PROBES_MAX as u32 * 9 <= 64);

/// A filter in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    lines: Vec<Line>,
    probes: u8,
}

impl Filter {
    /// A filter over `hashes` with about `bits_per_key` bits for each.
    pub fn build(hashes: &[u64], bits_per_key: u32) -> Self {
        let bits = hashes.len() as u64 * u64::from(bits_per_key);
        let lines = bits.div_ceil(8 * LINE_BYTES as u64).clamp(1, u64::from(u32::MAX)) as usize;
        // About 0.6 probes a bit: ln 2 is best for a plain filter, uneven lines move it down.
        let probes = (bits_per_key * 3 / 5).clamp(1, u32::from(PROBES_MAX)) as u8;
        let mut filter = Self { lines: alloc::vec![Line([0; 8]); lines], probes };
        for hash in hashes {
            let line = filter.line_of(*hash);
            if let Some(Line(words)) = filter.lines.get_mut(line) {
                let mut bits = hash.wrapping_mul(MIX);
                for _ in 0..probes {
                    words[(bits >> 61) as usize] |= 1 << (bits >> 55 & 63);
                    bits <<= 9;
                }
            }
        }
        filter
    }

    #[inline]
    fn line_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    /// False if no key with this hash was added.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let Some(Line(words)) = self.lines.get(self.line_of(hash)) else { return true };
        let mut bits = hash.wrapping_mul(MIX);
        for _ in 0..self.probes {
            if words[(bits >> 61) as usize] & 1 << (bits >> 55 & 63) == 0 {
                return false;
            }
            bits <<= 9;
        }
        true
    }

    /// Bytes of memory it holds.
    pub fn memory_bytes(&self) -> usize {
        self.lines.len() * LINE_BYTES
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.lines.len() * LINE_BYTES + 5);
        for Line(words) in &self.lines {
            out.extend_from_slice(bytemuck::bytes_of(&words.map(u64::to_le)));
        }
        out.push(self.probes);
        out.extend_from_slice(&(self.lines.len() as u32).to_le_bytes());
    }

    /// Reads the stored form; `bytes` must be exactly that long.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (body, tail) = bytes.split_last_chunk::<5>().ok_or(Malformed::new(0, "filter"))?;
        let mut r = Reader::new(tail);
        let (probes, lines) = (r.u8("probes of a filter")?, r.u32("lines of a filter")?);
        let wrong = |what| Malformed::new(body.len(), what);
        if probes == 0 || probes > PROBES_MAX {
            return Err(wrong("1 to 7 probes of a filter"));
        }
        if lines == 0 || body.len() as u64 != u64::from(lines) * LINE_BYTES as u64 {
            return Err(wrong("lines of a filter"));
        }
        let (lines, _) = body.as_chunks::<LINE_BYTES>();
        let words = |line: &[u8; LINE_BYTES]| Line(bytemuck::cast::<_, [u64; 8]>(*line).map(u64::from_le));
        Ok(Self { lines: lines.iter().map(words).collect(), probes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{CfId, KeyRef, key_hash};
    use proptest::prelude::*;

    fn hash(i: u64) -> u64 {
        key_hash(KeyRef::new(CfId(0), &i.to_be_bytes()))
    }

    #[test]
    fn below_two_percent_false_positives_at_ten_bits() {
        for keys in [1_000, 100_000] {
            let hashes: Vec<u64> = (0..keys).map(hash).collect();
            let filter = Filter::build(&hashes, 10);
            assert!(hashes.iter().all(|h| filter.may_contain(*h)));
            let wrong = (keys..keys + 200_000).filter(|i| filter.may_contain(hash(*i))).count();
            assert!(wrong < 4_000, "{wrong} of 200,000 with {keys} keys");
        }
    }

    proptest! {
        #[test]
        fn round_trip(hashes: Vec<u64>, bits in 0u32..32) {
            let filter = Filter::build(&hashes, bits);
            let mut out = Vec::new();
            filter.encode(&mut out);
            let back = Filter::decode(&out).unwrap();
            prop_assert_eq!(&back, &filter);
            prop_assert!(hashes.iter().all(|h| back.may_contain(*h)));
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, tail in 0u32..4) {
            let mut bytes = bytes;
            bytes.resize(64 * tail as usize, 0);
            bytes.push(3);
            bytes.extend_from_slice(&tail.to_le_bytes());
            prop_assert_eq!(Filter::decode(&bytes).is_ok(), tail > 0);
            bytes.pop();
            prop_assert!(Filter::decode(&bytes).is_err());
        }
    }
}
