//! Base-128 integers: seven bits a byte, least significant group first, high bit set on all but the last.
//!
//! ```text
//! varint := (0x80 | group)* group        at most 10 bytes for a u64; the tenth is 0 or 1
//! ```
//! Only the shortest form is valid, so that equal values have equal bytes.

use alloc::vec::Vec;

/// The longest encoding of a `u64`, in bytes.
pub const LEN_MAX: usize = 10;

/// Appends `value` to `out`.
#[inline]
pub fn encode(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`encode`] appends for `value`.
#[inline]
pub const fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// The value at the start of `bytes` and how many bytes it took; `None` if it is cut off, too large, or not
/// in its shortest form.
#[inline]
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    decode_long(bytes)
}

fn decode_long(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(LEN_MAX).enumerate() {
        let group = u64::from(byte & 0x7f);
        if i == LEN_MAX - 1 && group > 1 {
            return None;
        }
        value |= group << (7 * i);
        if byte < 0x80 {
            return if byte == 0 && i > 0 { None } else { Some((value, i + 1)) };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            encode(value, &mut out);
            prop_assert_eq!(out.len(), len(value));
            out.push(0xff);
            prop_assert_eq!(decode(&out), Some((value, out.len() - 1)));
        }

        #[test]
        fn any_bytes_decode_or_not(bytes: Vec<u8>) {
            if let Some((value, used)) = decode(&bytes) {
                let mut again = Vec::new();
                encode(value, &mut again);
                prop_assert_eq!(&again[..], &bytes[..used]);
            }
        }
    }

    #[test]
    fn edges() {
        assert_eq!(decode(&[0x80, 0x00]), None);
        assert_eq!(decode(&[0x80]), None);
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0xff; 10]), None);
        assert_eq!(len(0), 1);
        assert_eq!(len(u64::MAX), LEN_MAX);
    }
}
