//! Keys and values.
//!
//! - Key: `user` and 20 decimal digits, the FNV hash of the record's number, so that neighbours in time are none in
//!   the order of keys.
//! - Value: the first half random, the second half zero. The first 8 bytes are the key's hash and the next 8 a
//!   nonce, from which the rest follows: a reader can tell whether a value is one of this key, and which.

/// Bytes of a key.
pub const KEY_BYTES: usize = 24;
/// The least length of a value: hash and nonce.
pub const VALUE_BYTES_MIN: usize = 32;

/// Splitmix64: a bench must not measure its own randomness.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0.0..1.0`.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    #[inline]
    pub fn percent(&mut self) -> u64 {
        self.below(100)
    }
}

/// FNV-1a over the eight bytes of `n`, as YCSB has it: without its sign.
#[inline]
pub const fn fnv(mut n: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut i = 0;
    while i < 8 {
        hash ^= n & 0xff;
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        n >>= 8;
        i += 1;
    }
    hash.cast_signed().unsigned_abs()
}

/// A key, and the hash in it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub hash: u64,
    pub bytes: [u8; KEY_BYTES],
}

impl Key {
    /// The key of record `n`.
    #[inline]
    pub fn of(n: u64) -> Self {
        let hash = fnv(n);
        let mut bytes = *b"user00000000000000000000";
        let mut digits = hash;
        for byte in bytes[4..].iter_mut().rev() {
            *byte = b'0' + (digits % 10) as u8;
            digits /= 10;
        }
        Self { hash, bytes }
    }
}

/// The hash in a key; `None` for what is no key of ours.
pub fn hash_in(key: &[u8]) -> Option<u64> {
    if key.len() != KEY_BYTES {
        return None;
    }
    std::str::from_utf8(key.strip_prefix(b"user")?).ok()?.parse().ok()
}

/// Writes the value of (`hash`, `nonce`); the second half of `value` must be zero already.
#[inline]
pub fn fill_value(hash: u64, nonce: u64, value: &mut [u8]) {
    let half = value.len() / 2;
    value[..8].copy_from_slice(&hash.to_le_bytes());
    value[8..16].copy_from_slice(&nonce.to_le_bytes());
    let mut rng = Rng(hash ^ nonce);
    let (whole, rest) = value[16..half].as_chunks_mut::<8>();
    for chunk in whole {
        *chunk = rng.next_u64().to_le_bytes();
    }
    let bytes = rng.next_u64().to_le_bytes();
    rest.copy_from_slice(&bytes[..rest.len()]);
}

/// The nonce of `value`, if it is a whole value of `hash` with `len` bytes.
pub fn nonce_in(hash: u64, value: &[u8], len: usize) -> Option<u64> {
    if value.len() != len || len < VALUE_BYTES_MIN {
        return None;
    }
    let nonce = u64::from_le_bytes(value[8..16].try_into().ok()?);
    let mut expected = vec![0; len];
    fill_value(hash, nonce, &mut expected);
    (value == expected).then_some(nonce)
}

/// Looks at each cache line of a value, as whoever asked for it would: an engine that lends a map has not read it yet.
#[inline]
pub fn touch(value: &[u8]) -> u64 {
    let mut sum = value.last().copied().map_or(0, u64::from);
    let mut at = 0;
    while at < value.len() {
        sum = sum.wrapping_add(u64::from(value[at]));
        at += 64;
    }
    sum
}
