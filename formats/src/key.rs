//! Families and user keys, and the one comparator: family ascending, then bytes ascending.

use alloc::vec::Vec;
use core::fmt;

/// The longest user key, in bytes.
pub const KEY_BYTES_MAX: usize = 65_535;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 30;

/// Number of a column family. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CfId(pub u32);

impl CfId {
    /// The family `default`.
    pub const DEFAULT: Self = Self(0);
    /// The family `lock`.
    pub const LOCK: Self = Self(1);
    /// The family `write`.
    pub const WRITE: Self = Self(2);
}

impl fmt::Display for CfId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key as the engine orders it. Field order makes the derived order the stored one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef<'a> {
    /// Family.
    pub cf: CfId,
    /// The user's bytes.
    pub user_key: &'a [u8],
}

impl<'a> KeyRef<'a> {
    /// The key of `user_key` in `cf`.
    #[inline]
    pub const fn new(cf: CfId, user_key: &'a [u8]) -> Self {
        Self { cf, user_key }
    }

    /// An owned copy.
    pub fn to_buf(self) -> KeyBuf {
        KeyBuf { cf: self.cf, user_key: self.user_key.to_vec() }
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:\"{}\"", self.cf, self.user_key.escape_ascii())
    }
}

/// An owned [`KeyRef`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyBuf {
    /// Family.
    pub cf: CfId,
    /// The user's bytes.
    pub user_key: Vec<u8>,
}

impl KeyBuf {
    /// The borrowed form.
    #[inline]
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef { cf: self.cf, user_key: &self.user_key }
    }

    /// Becomes a copy of `key`, keeping its buffer.
    pub fn set(&mut self, key: KeyRef<'_>) {
        self.cf = key.cf;
        self.user_key.clear();
        self.user_key.extend_from_slice(key.user_key);
    }
}

impl fmt::Debug for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// The hash of a key, used by filters, in-block indexes and bucket choice: XXH3-64 of the user key, seeded
/// with the family. It is stored (filters), so it never changes.
#[inline]
pub fn key_hash(key: KeyRef<'_>) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key.user_key, key.cf.0 as u64)
}

/// Two independent hashes that together stand for a key in memory: XXH3-64 as in [`key_hash`] but with `seed`, and a
/// product of the key's ends and length. Never stored. The second costs nothing beside the first: neither waits for the
/// other.
#[inline(always)] // In registers: passing the key through the stack doubles the time of a touch.
pub fn key_print(key: KeyRef<'_>, seed: u64) -> (u64, u64) {
    let bytes = key.user_key;
    let (first, last) = match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
    };
    let first = first ^ 0x9e37_79b9_7f4a_7c15 ^ seed;
    let last =
        last.wrapping_add((bytes.len() as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)) ^ 0xbf58_476d_1ce4_e5b9;
    let product = u128::from(first) * u128::from(last);
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed ^ u64::from(key.cf.0));
    (hash, product as u64 ^ (product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_is_family_then_bytes(a: (u32, Vec<u8>), b: (u32, Vec<u8>)) {
            let x = KeyRef::new(CfId(a.0), &a.1);
            let y = KeyRef::new(CfId(b.0), &b.1);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.to_buf().cmp(&y.to_buf()), a.cmp(&b));
        }
    }

    #[test]
    fn the_hash_is_stored_and_must_not_move() {
        assert_eq!(key_hash(KeyRef::new(CfId(0), b"")), 0x2d06_8005_38d3_94c2);
        assert_ne!(key_hash(KeyRef::new(CfId(0), b"a")), key_hash(KeyRef::new(CfId(1), b"a")));
    }

    #[test]
    fn prints_tell_short_keys_families_and_seeds_apart() {
        let second = |key: &[u8]| key_print(KeyRef::new(CfId(0), key), 0).1;
        let keys = ["", "a", "b", "ab", "\0ab", "abcdefgh", "abcdefgha", "bbcdefgha", "abcdefghabcdefgh"];
        let seconds: std::collections::BTreeSet<u64> =
            keys.iter().map(|key| second(key.as_bytes())).collect();
        assert_eq!(seconds.len(), keys.len());
        let print = |cf, seed| key_print(KeyRef::new(CfId(cf), b"a"), seed);
        let prints = [print(0, 0), print(1, 0), print(0, 1 << 40), print(1, 1 << 40)];
        assert!((0..4).all(|i| (0..i).all(|j| prints[i] != prints[j])), "{prints:x?}");
    }
}
