//! Index of a table: which data block may hold a key.
//!
//! ```text
//! index     := blocks varint, common_len varint, common, block *
//! block     := stored_len << 1 | continues (varint), rest_len varint, rest
//! separator := common, rest
//! ```
//! The data blocks lie one behind the other from offset 0; `stored_len` includes the trailer. `continues` says
//! that the first key of the block is the last key of the block before.
//!
//! Separators are byte strings of the form `family (u32, big-endian), user key bytes`, cut short: the order of
//! such strings is the order of keys. The separator of a block is at or above its last key and below the first
//! key of the next block, or equal to both if that block continues the key. `common` is what all of them
//! begin with. A key's block is the first one whose separator is at or above the key.
//!
//! In memory the search compares eight big-endian bytes of each separator, those after `common`; only where
//! these are equal it looks at whole separators.

use alloc::vec::Vec;

use crate::block::{TRAILER_BYTES, common_prefix};
use crate::bytes::{Malformed, Reader};
use crate::key::{KEY_BYTES_MAX, KeyRef};
use crate::varint;

/// A family and a key as one string.
fn joined(key: KeyRef<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&key.cf.0.to_be_bytes());
    out.extend_from_slice(key.user_key);
}

/// Up to eight bytes, big-endian, padded with zeros.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(word) => u64::from_be_bytes(*word),
        None => bytes.iter().zip((0..8).rev()).fold(0, |word, (b, i)| word | u64::from(*b) << (8 * i)),
    }
}

/// Shortens `a` to a string `s` with `a <= s < b`, given `a < b`.
fn shorten(a: &mut Vec<u8>, b: &[u8]) {
    let at = common_prefix(a, b);
    let (Some(x), Some(y)) = (a.get(at).copied(), b.get(at).copied()) else { return };
    if x.checked_add(1).is_some_and(|up| up < y) {
        a.truncate(at + 1);
        a[at] = x + 1;
        return;
    }
    // x + 1 == y: anything that begins like `a` up to here stays below `b`.
    if let Some(up) = (at + 1..a.len()).find(|i| a[*i] != u8::MAX)
        && up + 1 < a.len()
    {
        a.truncate(up + 1);
        a[up] += 1;
    }
}

/// Collects what the index says, block after block.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    lens: Vec<u64>,
    ends: Vec<usize>,
    separators: Vec<u8>,
    last: Vec<u8>,
    next: Vec<u8>,
}

impl IndexBuilder {
    /// A block of `stored_len` bytes, trailer included, was written; its last key is `last`.
    pub fn block(&mut self, stored_len: u64, continues: bool, last: KeyRef<'_>) {
        debug_assert!(self.lens.len() == self.ends.len());
        self.lens.push(stored_len << 1 | u64::from(continues));
        joined(last, &mut self.last);
    }

    /// The first key of the block that follows.
    pub fn next_key(&mut self, key: KeyRef<'_>) {
        joined(key, &mut self.next);
        if self.last != self.next {
            shorten(&mut self.last, &self.next);
        }
        self.separator();
    }

    fn separator(&mut self) {
        self.separators.extend_from_slice(&self.last);
        self.ends.push(self.separators.len());
    }

    /// Bytes that the index takes up to now, about.
    pub fn bytes(&self) -> usize {
        self.separators.len() + 4 * self.lens.len()
    }

    /// Appends the stored form.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.ends.len() < self.lens.len() {
            self.separator();
        }
        assert!(self.ends.len() == self.lens.len());
        let starts = core::iter::once(0).chain(self.ends.iter().copied());
        let all: Vec<&[u8]> = starts.zip(&self.ends).map(|(a, b)| &self.separators[a..*b]).collect();
        let common = match (all.first(), all.last()) {
            (Some(first), Some(last)) => common_prefix(first, last),
            _ => 0,
        };
        varint::encode(all.len() as u64, out);
        varint::encode(common as u64, out);
        out.extend_from_slice(all.first().map_or(&[], |first| &first[..common]));
        for (len, separator) in self.lens.iter().zip(&all) {
            varint::encode(*len, out);
            varint::encode((separator.len() - common) as u64, out);
            out.extend_from_slice(&separator[common..]);
        }
    }
}

/// An index in memory.
#[derive(Debug, Clone, Default)]
pub struct Index {
    common: Vec<u8>,
    /// Eight bytes of each separator after `common`.
    words: Vec<u64>,
    /// End of each separator in `rests`.
    ends: Vec<u32>,
    /// Separators without `common`.
    rests: Vec<u8>,
    /// Start of each block in the file, and the end of the last.
    offsets: Vec<u64>,
    /// One bit a block.
    continues: Vec<u64>,
}

impl Index {
    /// Reads the stored form; `bytes` must be exactly that long, and the blocks end at `blocks_end`.
    pub fn decode(bytes: &[u8], blocks_end: u64) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let blocks = r.varint("count of blocks")?;
        let common = r.prefixed("common prefix")?.to_vec();
        if blocks > r.remaining() as u64 / 2 || bytes.len() as u64 > u64::from(u32::MAX) {
            return Err(r.malformed("count of blocks"));
        }
        let blocks = blocks as usize;
        let mut index = Self {
            common,
            words: Vec::with_capacity(blocks),
            ends: Vec::with_capacity(blocks),
            rests: Vec::with_capacity(r.remaining().saturating_sub(2 * blocks)),
            offsets: Vec::with_capacity(blocks + 1),
            continues: alloc::vec![0; blocks.div_ceil(64)],
        };
        let mut offset = 0u64;
        index.offsets.push(0);
        for i in 0..blocks {
            let at = r.offset();
            let len = r.varint("length of a block")?;
            let rest = r.prefixed("separator")?;
            offset = offset.checked_add(len >> 1).ok_or(Malformed::new(at, "length of a block"))?;
            if len >> 1 <= TRAILER_BYTES as u64 || offset > blocks_end {
                return Err(Malformed::new(at, "length of a block"));
            }
            if index.common.len() + rest.len() > 4 + KEY_BYTES_MAX {
                return Err(Malformed::new(at, "separator of at most the longest key"));
            }
            if i > 0 && index.rest(i - 1) > rest {
                return Err(Malformed::new(at, "separators in order"));
            }
            index.words.push(word(rest));
            index.rests.extend_from_slice(rest);
            index.ends.push(index.rests.len() as u32);
            index.offsets.push(offset);
            if len & 1 != 0 {
                if i == 0 {
                    return Err(Malformed::new(at, "first block without a key before it"));
                }
                index.continues[i / 64] |= 1 << (i % 64);
            }
        }
        r.finish("end of the index")?;
        if offset != blocks_end {
            return Err(r.malformed("blocks up to the filter"));
        }
        index.rests.shrink_to_fit();
        Ok(index)
    }

    #[inline]
    fn rest(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.rests[start..self.ends[i] as usize]
    }

    /// How many data blocks there are.
    #[inline]
    pub fn blocks(&self) -> usize {
        self.words.len()
    }

    /// Offset and stored length, trailer included, of block `i`.
    #[inline]
    pub fn block(&self, i: usize) -> Option<(u64, u64)> {
        let start = *self.offsets.get(i)?;
        Some((start, *self.offsets.get(i + 1)? - start))
    }

    /// Is the first key of block `i` the last one of the block before? False behind the last block.
    #[inline]
    pub fn continues(&self, i: usize) -> bool {
        self.continues.get(i / 64).is_some_and(|bits| bits >> (i % 64) & 1 != 0)
    }

    /// The first block that may hold `key` or a later one; `blocks()` if there is none.
    #[inline]
    pub fn find(&self, key: KeyRef<'_>) -> usize {
        let family = key.cf.0.to_be_bytes();
        // What is left of `common` and of the key behind the family's bytes that `common` covers.
        let (in_family, rest): (&[u8], &[u8]) = match self.common.split_at_checked(4) {
            Some((head, common)) => {
                if family != head {
                    return if &family[..] < head { 0 } else { self.blocks() };
                }
                match key.user_key.split_at_checked(common.len()) {
                    Some((head, rest)) if head == common => (&[], rest),
                    _ => return if key.user_key < common { 0 } else { self.blocks() },
                }
            }
            None => {
                let (head, tail) = family.split_at(self.common.len());
                if head != self.common {
                    return if head < &self.common[..] { 0 } else { self.blocks() };
                }
                (tail, key.user_key)
            }
        };
        let target = if in_family.is_empty() {
            word(rest)
        } else {
            let mut bytes = [0; 12];
            let len = rest.len().min(8);
            let (head, tail) = bytes.split_at_mut(in_family.len());
            head.copy_from_slice(in_family);
            tail[..len].copy_from_slice(&rest[..len]);
            word(&bytes)
        };
        let start = self.words.partition_point(|word| *word < target);
        let equal = self.words.get(start..).unwrap_or_default();
        // Zeros that pad a word say nothing, and keys may begin alike, so among equal words whole separators decide.
        let (mut from, mut to) = (start, start + equal.partition_point(|word| *word == target));
        while from < to {
            let middle = from.midpoint(to);
            let separator = self.rest(middle);
            let below = match separator.split_at_checked(in_family.len()) {
                Some((head, tail)) => (head, tail) < (in_family, rest),
                None => separator < in_family,
            };
            if below {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    /// Bytes of memory it holds.
    pub fn memory_bytes(&self) -> usize {
        self.common.capacity()
            + self.rests.capacity()
            + 8 * (self.words.capacity() + self.offsets.capacity() + self.continues.capacity())
            + 4 * self.ends.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::CfId;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = (u32, Vec<u8>)> {
        let byte = prop_oneof![Just(0u8), Just(1), Just(2), Just(0xfe), Just(0xff), any::<u8>()];
        let cf = prop_oneof![3 => Just(0u32), 1 => 0u32..3, 1 => any::<u32>()];
        (cf, prop::collection::vec(byte, 0..14))
    }

    fn as_ref(key: &(u32, Vec<u8>)) -> KeyRef<'_> {
        KeyRef::new(CfId(key.0), &key.1)
    }

    proptest! {
        #[test]
        fn a_key_is_found_in_its_block(
            keys in prop::collection::btree_set(key(), 1..60),
            prefix: Vec<u8>,
            sizes in prop::collection::vec(1usize..4, 60),
            probes in prop::collection::vec(key(), 20),
        ) {
            let with = |(cf, k): &(u32, Vec<u8>)| (*cf, [&prefix[..], k].concat());
            let keys: Vec<_> = keys.iter().map(with).collect();
            let mut blocks: Vec<&[(u32, Vec<u8>)]> = Vec::new();
            let mut left = &keys[..];
            for size in sizes {
                let (block, rest) = left.split_at(size.min(left.len()));
                if !block.is_empty() { blocks.push(block) }
                left = rest;
            }
            let mut builder = IndexBuilder::default();
            for (i, block) in blocks.iter().enumerate() {
                if i > 0 { builder.next_key(as_ref(&block[0])) }
                builder.block(100, false, as_ref(block.last().unwrap()));
            }
            let mut out = Vec::new();
            builder.finish(&mut out);
            let index = Index::decode(&out, 100 * blocks.len() as u64).unwrap();
            for (i, block) in blocks.iter().enumerate() {
                for key in *block {
                    prop_assert_eq!(index.find(as_ref(key)), i);
                }
                prop_assert_eq!(index.block(i), Some((100 * i as u64, 100)));
            }
            for probe in probes.iter().map(with).chain(probes.iter().cloned()) {
                // The block found must not be behind the first key at or above the probe, nor more than one
                // before it.
                let first = blocks.iter().position(|b| b.last().unwrap() >= &probe).unwrap_or(blocks.len());
                let found = index.find(as_ref(&probe));
                prop_assert!(found <= first && first <= found + 1, "{} {}", found, first);
            }
        }

        #[test]
        fn shortened_separators_lie_between(a: Vec<u8>, b: Vec<u8>) {
            prop_assume!(a != b);
            let (a, b) = if a < b { (a, b) } else { (b, a) };
            let mut s = a.clone();
            shorten(&mut s, &b);
            prop_assert!(a <= s && s < b && s.len() <= a.len());
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, end: u64, probe in key()) {
            if let Ok(index) = Index::decode(&bytes, end) {
                prop_assert!(index.find(as_ref(&probe)) <= index.blocks());
            }
        }
    }

    #[test]
    fn a_key_that_straddles_blocks_is_found_in_the_first() {
        let mut builder = IndexBuilder::default();
        let key = KeyRef::new(CfId(7), b"many versions");
        builder.block(10, false, key);
        builder.next_key(key);
        builder.block(10, true, key);
        builder.next_key(key);
        builder.block(10, true, KeyRef::new(CfId(7), b"z"));
        let mut out = Vec::new();
        builder.finish(&mut out);
        let index = Index::decode(&out, 30).unwrap();
        assert_eq!(index.find(key), 0);
        assert_eq!(index.find(KeyRef::new(CfId(7), b"many versionsa")), 2);
        assert_eq!(index.find(KeyRef::new(CfId(8), b"")), 3);
        assert!(!index.continues(0) && index.continues(1) && index.continues(2) && !index.continues(3));
    }
}
