//! What a walk remembers of a small node.

/// The bytes of a small node in order: a walk over its children sorts them once. They are those of now as long as the node
/// has as many, since it only ever gets more.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    count: u16,
    bits: [u64; 4],
}

impl Seen {
    /// Nothing was looked at.
    pub const NOTHING: Self = Self { count: 0, bits: [0; 4] };

    /// Nothing yet of a node with so many bytes.
    #[inline]
    pub const fn of(count: u16) -> Self {
        Self { count, ..Self::NOTHING }
    }

    /// How many the node had.
    #[inline]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// It has this byte.
    #[inline]
    pub const fn add(&mut self, byte: u8) {
        self.bits[byte as usize / 64] |= 1 << (byte % 64);
    }

    /// The least byte from `first` on.
    #[inline]
    pub fn next(&self, first: u8) -> Option<u8> {
        let mut wanted = u64::MAX << (first % 64);
        for word in first / 64..4 {
            let bits = self.bits[word as usize] & wanted;
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as u8);
            }
            wanted = u64::MAX;
        }
        None
    }

    /// The greatest byte up to `last`.
    #[inline]
    pub fn prev(&self, last: u8) -> Option<u8> {
        let mut wanted = u64::MAX >> (63 - last % 64);
        for word in (0..=last / 64).rev() {
            let bits = self.bits[word as usize] & wanted;
            if bits != 0 {
                return Some(word * 64 + 63 - bits.leading_zeros() as u8);
            }
            wanted = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seen_bytes_are_in_order_both_ways() {
        for step in [1, 3, 7, 63, 64, 65, 255] {
            let mut seen = Seen::NOTHING;
            let there: alloc::vec::Vec<u8> = (0..=u8::MAX).step_by(step).skip(step / 3).collect();
            there.iter().for_each(|byte| seen.add(*byte));
            for byte in 0..=u8::MAX {
                assert_eq!(seen.next(byte), there.iter().copied().find(|b| *b >= byte));
                assert_eq!(seen.prev(byte), there.iter().rev().copied().find(|b| *b <= byte));
            }
        }
        assert_eq!((Seen::NOTHING.next(0), Seen::NOTHING.prev(255)), (None, None));
    }
}
