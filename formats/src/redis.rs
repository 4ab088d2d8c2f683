//! What the Redis front stores: keys of its families and the heads of collections.
//!
//! ```text
//! family default         key of space 0                          the value of a string, or a head
//! family redis.keys      space u8 >= 1, key                      the same for the other spaces
//! family redis.elements  space u8, collection u64, part          set: part = member, nothing
//!                                                                hash: part = field, its value
//!                                                                list: part = position u64, the element
//!                                                                sorted set: part = member, score f64
//! family redis.scores    space u8, collection u64, score u64,    nothing
//!                        member
//! family redis.expiries  space u8, unix_ms u64, key              type u8, collection u64
//! family redis.system    name                                    see below
//!
//! head   := form u8 = 1, flags u8, zero u16, longest u32, collection u64, count u64, [first u64, last u64]
//! spaces := 16 x u8            system "spaces": which space each database has
//! counts := seq u64, 16 x u64  system "counts": keys of each space, true if `seq` is the last write before it
//! next   := u64                system "next": no collection has this number or a higher one
//! building := space u8         system "building" + collection u64: elements of a collection that has no head yet
//! ```
//! Integers within keys are big-endian, so that they sort; in values they are little-endian. A stored score sorts as its
//! number does (sign bit flipped for numbers from 0, all bits for those below). The entry's own byte says the type: see
//! [`Kind`]; its expiry is that of the key. `first` and `last` are there for lists only: positions of the ends, first >
//! last when it is empty. Each key with an expiry has exactly one entry in `redis.expiries`.

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};

/// Databases that `SELECT` takes, and spaces.
pub const SPACES: usize = 16;

/// The family of keys of the spaces from 1 on.
pub const FAMILY_KEYS: &str = "redis.keys";
/// The family of elements.
pub const FAMILY_ELEMENTS: &str = "redis.elements";
/// The family of members of sorted sets in the order of their scores.
pub const FAMILY_SCORES: &str = "redis.scores";
/// The family of keys in the order of their expiry.
pub const FAMILY_EXPIRIES: &str = "redis.expiries";
/// The family of what the front notes for itself.
pub const FAMILY_SYSTEM: &str = "redis.system";

/// System entry: which space each database has.
pub const SYSTEM_SPACES: &[u8] = b"spaces";
/// System entry: keys of each space.
pub const SYSTEM_COUNTS: &[u8] = b"counts";
/// System entry: the first collection number that is free.
pub const SYSTEM_NEXT: &[u8] = b"next";
/// System entries: collections without a head.
pub const SYSTEM_BUILDING: &[u8] = b"building";

/// Longest key, member or field: every table has room for it beside its own parts.
pub const NAME_BYTES_MAX: usize = 65_500;

/// Bytes before the part in a key of elements or scores.
pub const COLLECTION_PREFIX_BYTES: usize = 9;

const FORM: u8 = crate::versions::REDIS_HEAD;
const HEAD: &str = "head of a collection";

/// What a key holds: the byte of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Bytes.
    String = 0,
    /// Elements in order of position.
    List = 1,
    /// Members.
    Set = 2,
    /// Members with scores.
    SortedSet = 3,
    /// Fields with values.
    Hash = 4,
}

impl Kind {
    /// The kind that an entry's byte says.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::String,
            1 => Self::List,
            2 => Self::Set,
            3 => Self::SortedSet,
            4 => Self::Hash,
            _ => return None,
        })
    }
}

/// The value of a key that holds a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the collection: its elements carry it.
    pub collection: u64,
    /// How many elements it has.
    pub count: u64,
    /// Bytes of the longest element that it ever had.
    pub longest: u32,
    /// Bits of [`Head::NOT_INTEGERS`], [`Head::HAS_GAPS`].
    pub flags: u8,
    /// Of a list: the positions of its first and its last element. Of a sorted set: no member has a score with bits below
    /// the first or above the second; it may have none of them itself, and `None` says nothing.
    pub ends: Option<(u64, u64)>,
}

impl Head {
    /// A member was no integer.
    pub const NOT_INTEGERS: u8 = 1;
    /// The positions of a list are not one stride apart everywhere.
    pub const HAS_GAPS: u8 = 2;

    /// Is this bit set?
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[FORM, self.flags, 0, 0]);
        out.extend_from_slice(&self.longest.to_le_bytes());
        out.extend_from_slice(&self.collection.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        if let Some((first, last)) = self.ends {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&last.to_le_bytes());
        }
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`Malformed`] for another form, a wrong length or an unknown flag.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let [form, flags, zero_low, zero_high] = reader.array::<4>(HEAD)?;
        if form != FORM {
            return Err(Malformed::new(0, "form of a collection's head"));
        }
        if flags & !(Self::NOT_INTEGERS | Self::HAS_GAPS) != 0 || zero_low != 0 || zero_high != 0 {
            return Err(Malformed::new(1, "flags of a collection's head"));
        }
        let longest = reader.u32(HEAD)?;
        let collection = reader.u64(HEAD)?;
        let count = reader.u64(HEAD)?;
        let ends = match reader.remaining() {
            0 => None,
            _ => Some((reader.u64(HEAD)?, reader.u64(HEAD)?)),
        };
        reader.finish(HEAD)?;
        Ok(Self { collection, count, longest, flags, ends })
    }
}

/// The first bytes of all keys of a collection in `redis.elements` and `redis.scores`.
pub fn collection_prefix(space: u8, collection: u64) -> [u8; COLLECTION_PREFIX_BYTES] {
    let mut prefix = [0; COLLECTION_PREFIX_BYTES];
    prefix[0] = space;
    prefix[1..].copy_from_slice(&collection.to_be_bytes());
    prefix
}

/// The bits of a score, in the order of scores; -0 is 0. Not for NaN, which no score is.
pub fn score_to_bits(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits }
}

/// The score of [`score_to_bits`].
pub fn score_from_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits })
}

/// The key in `redis.expiries` of a key that expires.
pub fn expiry_key(space: u8, unix_ms: u64, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + key.len());
    out.push(space);
    out.extend_from_slice(&unix_ms.to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// Time and key of an [`expiry_key`].
///
/// # Errors
/// [`Malformed`] if it is too short.
pub fn split_expiry_key(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    match bytes.split_first_chunk::<9>() {
        Some(([_, time @ ..], key)) => Ok((u64::from_be_bytes(*time), key)),
        None => Err(Malformed::new(0, "key of an expiry")),
    }
}

/// Space and collection of a `building` entry.
///
/// # Errors
/// [`Malformed`] for wrong lengths.
pub fn split_building(name: &[u8], value: &[u8]) -> Result<(u8, u64), Malformed> {
    let number = name.strip_prefix(SYSTEM_BUILDING).and_then(|n| n.try_into().ok());
    let number = number.ok_or(Malformed::new(0, "name of a collection that is built"))?;
    let [space] = value else { return Err(Malformed::new(0, "space of a collection that is built")) };
    Ok((*space, u64::from_be_bytes(number)))
}

/// The number in `next`.
///
/// # Errors
/// [`Malformed`] for a wrong length.
pub fn decode_next(bytes: &[u8]) -> Result<u64, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed::new(0, "next collection number"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// The value in `redis.expiries`: what goes with the key.
pub fn expiry_value(kind: Kind, collection: u64) -> [u8; 9] {
    let mut value = [0; 9];
    value[0] = kind as u8;
    value[1..].copy_from_slice(&collection.to_le_bytes());
    value
}

/// Kind and collection of an [`expiry_value`].
///
/// # Errors
/// [`Malformed`] for a wrong length or kind.
pub fn split_expiry_value(bytes: &[u8]) -> Result<(Kind, u64), Malformed> {
    let [kind, collection @ ..] = bytes else { return Err(Malformed::new(0, "value of an expiry")) };
    let kind = Kind::from_byte(*kind).ok_or(Malformed::new(0, "type of an expiry"))?;
    let collection = collection.try_into().map_err(|_| Malformed::new(1, "collection of an expiry"))?;
    Ok((kind, u64::from_le_bytes(collection)))
}

/// Key counts of the spaces, and the last write before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The last seq that they count.
    pub seq: u64,
    /// Keys of each space.
    pub keys: [u64; SPACES],
}

impl Counts {
    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 * (1 + SPACES));
        out.extend_from_slice(&self.seq.to_le_bytes());
        self.keys.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`Malformed`] for a wrong length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let seq = reader.u64("seq of key counts")?;
        let mut keys = [0; SPACES];
        for count in &mut keys {
            *count = reader.u64("key counts")?;
        }
        reader.finish("key counts")?;
        Ok(Self { seq, keys })
    }
}

/// Reads `spaces`: which space each database has.
///
/// # Errors
/// [`Malformed`] unless every space stands in it once.
pub fn decode_spaces(bytes: &[u8]) -> Result<[u8; SPACES], Malformed> {
    let spaces: [u8; SPACES] = bytes.try_into().map_err(|_| Malformed::new(0, "spaces of databases"))?;
    let mut seen = [false; SPACES];
    for (at, space) in spaces.iter().enumerate() {
        match seen.get_mut(usize::from(*space)) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(Malformed::new(at, "space of a database")),
        }
    }
    Ok(spaces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_head_reads_back(collection: u64, count: u64, longest: u32, flags in 0..4u8, ends: Option<(u64, u64)>) {
            let head = Head { collection, count, longest, flags, ends };
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            prop_assert_eq!(Head::decode(&bytes), Ok(head));
        }

        #[test]
        fn any_bytes_give_an_answer(bytes: Vec<u8>) {
            let _ = Head::decode(&bytes);
            let _ = Counts::decode(&bytes);
            let _ = decode_spaces(&bytes);
            let _ = split_expiry_key(&bytes);
            let _ = split_expiry_value(&bytes);
            let _ = split_building(&bytes, &bytes);
            let _ = decode_next(&bytes);
        }

        #[test]
        fn scores_sort_as_their_numbers(a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            let order = a.partial_cmp(&b).expect("no NaN");
            prop_assert_eq!(score_to_bits(a).cmp(&score_to_bits(b)), order);
            prop_assert_eq!(score_from_bits(score_to_bits(a)), a);
        }
    }

    #[test]
    fn the_bytes_of_a_head() {
        let mut bytes = Vec::new();
        Head { collection: 7, count: 2, longest: 5, flags: 1, ends: Some((3, 4)) }.encode(&mut bytes);
        let golden: &[&[u8]] = &[
            &[1, 1, 0, 0],             // form, flags, zero
            &[5, 0, 0, 0],             // longest
            &[7, 0, 0, 0, 0, 0, 0, 0], // collection
            &[2, 0, 0, 0, 0, 0, 0, 0], // count
            &[3, 0, 0, 0, 0, 0, 0, 0], // first
            &[4, 0, 0, 0, 0, 0, 0, 0], // last
        ];
        assert_eq!(bytes, golden.concat());
    }

    #[test]
    fn spaces_are_a_permutation() {
        let mut spaces: [u8; SPACES] = core::array::from_fn(|i| i as u8);
        spaces.swap(0, 5);
        assert_eq!(decode_spaces(&spaces), Ok(spaces));
        spaces[1] = 5;
        assert!(decode_spaces(&spaces).is_err());
        assert!(decode_spaces(&[0; 15]).is_err());
    }

    #[test]
    fn infinite_scores_stand_at_the_ends() {
        assert!(score_to_bits(f64::NEG_INFINITY) < score_to_bits(f64::MIN));
        assert!(score_to_bits(f64::INFINITY) > score_to_bits(f64::MAX));
        assert_eq!(score_to_bits(-0.0), score_to_bits(0.0));
    }
}
