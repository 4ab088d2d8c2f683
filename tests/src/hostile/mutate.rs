//! Changes bytes the way damage and malice do: bits, lengths that lie, cuts, splices.
//!
//! The same seed gives the same bytes on every machine.

/// Mutants are at most this long.
pub const LEN_MAX: usize = 96 << 10;

/// Numbers from a seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// One below `n`; 0 if `n` is 0.
    pub const fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }
}

/// Numbers at which arithmetic breaks.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x0001_0000,
    0x3fff_ffff,
    0x7fff_ffff,
    0xffff_ffff,
    (1 << 56) - 1,
    1 << 56,
    u64::MAX / 2,
    u64::MAX,
];

/// A number that a length or place could be taken for.
fn edge(random: &mut Random, len: usize) -> u64 {
    match random.below(4) {
        0 => (len as u64).wrapping_add(random.below(5) as u64).wrapping_sub(2),
        1 => random.below(len + 1) as u64,
        _ => EDGES[random.below(EDGES.len())],
    }
}

/// One to four changes of `bytes`, perhaps with a part of `other`.
pub fn mutate(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        change(&mut out, other, random);
        out.truncate(LEN_MAX);
    }
    out
}

fn change(out: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(out.len());
    match random.below(12) {
        0..3 => {
            if let Some(byte) = out.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        3 => {
            if let Some(byte) = out.get_mut(at) {
                *byte = edge(random, bytes_behind(at)) as u8;
            }
        }
        // A length, count or place that lies.
        4 | 5 => {
            let width = [2, 4, 8][random.below(3)];
            let field = edge(random, out.len()).to_le_bytes();
            super::fixup::put(out, at, &field[..width]);
        }
        6 => {
            let mut number = Vec::new();
            nokv_core::formats::varint::encode(edge(random, out.len()), &mut number);
            let end = (at + 1).min(out.len());
            out.splice(at..end, number);
        }
        7 => out.truncate(at),
        8 => {
            let end = at + random.below((out.len() - at).min(64) + 1);
            out.drain(at..end);
        }
        9 => {
            let end = at + random.below((out.len() - at).min(512) + 1);
            let part = out[at..end].to_vec();
            let to = random.below(out.len() + 1);
            out.splice(to..to, part);
        }
        10 => {
            let from = random.below(other.len());
            let end = from + random.below((other.len() - from).min(2048) + 1);
            let replaced = at + random.below(out.len() - at + 1).min(end - from);
            out.splice(at..replaced, other[from..end].iter().copied());
        }
        _ => {
            let end = at + random.below((out.len() - at).min(64) + 1);
            let byte = [0, 0xff, b'0', b'\n'][random.below(4)];
            out[at..end].fill(byte);
        }
    }
}

const fn bytes_behind(at: usize) -> usize {
    at & 0xff
}
