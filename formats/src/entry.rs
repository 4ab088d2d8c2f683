//! What an entry is, apart from its key.
//!
//! An entry is `(cf, user_key, version, seq, kind, meta, expires_at) -> value | pointer`. Of two entries with
//! the same `(cf, user_key, version)` the one with the higher [`Seq`] is newer; nothing else decides that.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use crate::key::CfId;

/// `expires_at` of an entry that never expires.
pub const NEVER: u64 = 0;

/// MVCC version of an entry. A plain write has [`Version::MAX`], which no caller may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

impl Version {
    /// The version of a plain write.
    pub const MAX: Self = Self(u64::MAX);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MAX { f.write_str("plain") } else { self.0.fmt(f) }
    }
}

/// Commit-order number of a write: unique, monotonic, 56 bits. The first write of a database has 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before every write.
    pub const ZERO: Self = Self(0);
    /// The highest number that fits 56 bits.
    pub const MAX: Self = Self((1 << 56) - 1);
    /// No batch starts above this: one of 2^32 operations still ends within 56 bits.
    pub const BATCH_START_MAX: Self = Self(Self::MAX.0 - u32::MAX as u64);
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an entry does. The numbers are stored and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A value, inline.
    Put = 1,
    /// A value in the value log; the entry's value is a [`crate::ValuePtr`].
    Pointer = 2,
    /// Hides entries of its key with version <= its own and lower seq.
    Delete = 3,
    /// Hides every version of the keys of a range with lower seq. Never in an index or a block: it lives in
    /// a structure of its own.
    RangeDelete = 4,
    /// Hides entries with exactly its key and version and lower seq.
    Purge = 5,
}

impl Kind {
    /// The kind with this stored number.
    pub const fn from_u8(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::Put,
            2 => Self::Pointer,
            3 => Self::Delete,
            4 => Self::RangeDelete,
            5 => Self::Purge,
            _ => return None,
        })
    }

    /// True for [`Kind::Put`] and [`Kind::Pointer`].
    #[inline]
    pub const fn has_value(self) -> bool {
        matches!(self, Self::Put | Self::Pointer)
    }
}

/// One entry of a key, borrowed from where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// MVCC version.
    pub version: Version,
    /// Commit order.
    pub seq: Seq,
    /// What the entry does.
    pub kind: Kind,
    /// A byte of the caller's own; all 256 values survive.
    pub meta: u8,
    /// When it expires, in milliseconds since the Unix epoch; [`NEVER`] if it does not.
    pub expires_at: u64,
    /// The value, or an encoded [`crate::ValuePtr`] for [`Kind::Pointer`]; empty for the other kinds.
    pub value: &'a [u8],
}

impl EntryRef<'_> {
    /// Has it expired at `now` (milliseconds since the Unix epoch)? An expired entry counts as a delete of
    /// its version.
    #[inline]
    pub const fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at != NEVER && self.expires_at <= now_ms
    }

    /// Order of the entries of one key: version descending, then seq descending.
    #[inline]
    pub fn order(&self, other: &EntryRef<'_>) -> Ordering {
        stamp_order((self.version, self.seq), (other.version, other.seq))
    }
}

/// Order of the entries of one key: version descending, then seq descending.
#[inline]
pub fn stamp_order(a: (Version, Seq), b: (Version, Seq)) -> Ordering {
    b.cmp(&a)
}

/// A range delete: hides every entry of the keys in `start..end` of the family, whatever its version, that
/// has a lower seq.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangeDelete {
    /// Family.
    pub cf: CfId,
    /// First key covered.
    pub start: Vec<u8>,
    /// First key behind the range, not covered.
    pub end: Vec<u8>,
    /// Commit order.
    pub seq: Seq,
}
