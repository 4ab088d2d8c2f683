//! Reads a data block in place: nothing is decoded before it is asked for.

use core::cmp::Ordering;

use super::{
    BUCKET_MANY, BUCKET_NONE, HAS_EXPIRY, HAS_META, HAS_VERSION, HEADER_BYTES, KIND_MASK, RESTART, SAME_KEY,
    TAIL_BYTES, bucket_of, common_prefix,
};
use crate::bytes::Malformed;
use crate::entry::{EntryRef, Kind, NEVER, Seq, Version};
use crate::key::{CfId, KEY_BYTES_MAX, KeyRef};
use crate::value_ptr::VALUE_PTR_BYTES;
use crate::varint;

/// Where the parts of a payload lie; kept beside the bytes, so that they are parsed once.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    entries_end: u32,
    restarts: u32,
    buckets: u32,
    seq_width: u8,
    continues: bool,
    seq_base: u64,
}

impl Layout {
    /// Checks header, tail and the flags of the first entry.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let end = payload.len();
        if u32::try_from(end).is_err() {
            return Err(Malformed::new(0, "block below 4 GiB"));
        }
        let header = *payload.first_chunk::<8>().ok_or(Malformed::new(0, "block header"))?;
        let header = u64::from_le_bytes(header);
        let (seq_base, seq_width) = (header & Seq::MAX.0, (header >> 56) as u8);
        if seq_width > 7 {
            return Err(Malformed::new(7, "width of a seq of at most 7 bytes"));
        }
        let tail = *payload.last_chunk::<TAIL_BYTES>().ok_or(Malformed::new(end, "block tail"))?;
        let tail = u64::from_le_bytes(tail);
        let (restarts, buckets) = (tail as u32, (tail >> 32) as u32);
        let behind = u64::from(restarts) * 4 + u64::from(buckets) + TAIL_BYTES as u64;
        let entries_end = (end as u64).checked_sub(behind).filter(|at| *at > HEADER_BYTES as u64);
        let entries_end =
            entries_end.ok_or(Malformed::new(end - TAIL_BYTES, "block tail within the block"))?;
        let first = payload.get(HEADER_BYTES).copied().unwrap_or(0);
        if restarts == 0 || first & RESTART == 0 {
            return Err(Malformed::new(HEADER_BYTES, "restart at the first entry"));
        }
        let continues = first & SAME_KEY != 0;
        Ok(Self { entries_end: entries_end as u32, restarts, buckets, seq_width, continues, seq_base })
    }

    /// Does the first key continue from the block before?
    #[inline]
    pub const fn continues(&self) -> bool {
        self.continues
    }

    /// How many restarts there are; at least one.
    #[inline]
    pub const fn restarts(&self) -> usize {
        self.restarts as usize
    }

    /// Where the entries end, from the start of the payload.
    #[inline]
    pub const fn entries_end(&self) -> usize {
        self.entries_end as usize
    }
}

/// A decoded entry: offsets are from the start of the payload.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    flags: u8,
    kind: Kind,
    meta: u8,
    a: u32,
    key_at: u32,
    value_at: u32,
    next: u32,
    version: Version,
    seq: Seq,
    expires_at: u64,
}

impl Entry {
    /// Where the entry behind it starts.
    #[inline]
    pub const fn next(&self) -> usize {
        self.next as usize
    }

    /// Holds a whole key?
    #[inline]
    pub const fn is_restart(&self) -> bool {
        self.flags & RESTART != 0
    }

    /// Has the key of the entry before it, which may be in the block before?
    #[inline]
    pub const fn is_same_key(&self) -> bool {
        self.flags & SAME_KEY != 0
    }

    /// Has the key of the entry before it in this block?
    #[inline]
    pub const fn is_older(&self) -> bool {
        self.flags & (SAME_KEY | RESTART) == SAME_KEY
    }

    /// Family of a restart.
    #[inline]
    pub const fn cf(&self) -> CfId {
        CfId(self.a)
    }

    /// How many bytes of the key before it its key begins with; for entries that are no restart and have a
    /// key.
    #[inline]
    pub const fn shared(&self) -> usize {
        self.a as usize
    }

    /// Commit order, as stored.
    #[inline]
    pub const fn seq(&self) -> Seq {
        self.seq
    }
}

/// What an entry's lengths say, before its fields are read.
#[derive(Clone, Copy)]
struct Head {
    flags: u8,
    a: u32,
    fields_at: u32,
    key_at: u32,
    value_at: u32,
    next: u32,
}

/// A payload with its layout.
#[derive(Debug, Clone, Copy)]
pub struct BlockRef<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
}

#[inline]
fn varint_u32(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((u32::from(first), at + 1));
    }
    let second = *bytes.get(at + 1)?;
    if second < 0x80 && second != 0 {
        return Some((u32::from(first & 0x7f) | u32::from(second) << 7, at + 2));
    }
    let (value, used) = varint::decode(bytes.get(at..)?)?;
    Some((u32::try_from(value).ok()?, at + used))
}

impl<'a> BlockRef<'a> {
    /// `layout` was parsed from `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8], layout: &'a Layout) -> Self {
        Self { bytes, layout }
    }

    #[inline]
    fn head(&self, at: usize) -> Result<Head, Malformed> {
        self.head_at(at).ok_or(Malformed::new(at, "entry within its block"))
    }

    #[inline]
    fn head_at(&self, at: usize) -> Option<Head> {
        let bytes = self.bytes;
        let end = self.layout.entries_end();
        if at >= end {
            return None;
        }
        let flags = *bytes.get(at)?;
        let mut p = at + 1;
        let (mut a, mut b) = (0, 0);
        if flags & (SAME_KEY | RESTART) != SAME_KEY {
            (a, p) = varint_u32(bytes, p)?;
            (b, p) = varint_u32(bytes, p)?;
        }
        let (value_len, p) = varint_u32(bytes, p)?;
        let fields = usize::from(self.layout.seq_width)
            + usize::from(flags & HAS_VERSION)
            + usize::from(flags & HAS_META) / 16
            + usize::from(flags & HAS_EXPIRY) / 4;
        let key_at = p + fields;
        let value_at = key_at.checked_add(b as usize)?;
        let next = value_at.checked_add(value_len as usize)?;
        if next > end {
            return None;
        }
        // All are at most `end`, which fits.
        Some(Head {
            flags,
            a,
            fields_at: p as u32,
            key_at: key_at as u32,
            value_at: value_at as u32,
            next: next as u32,
        })
    }

    #[inline]
    fn fields(&self, at: usize, head: &Head) -> Result<Entry, Malformed> {
        let bad = |what| Malformed::new(at, what);
        let kind = match head.flags & KIND_MASK {
            1 => Kind::Put,
            2 => Kind::Pointer,
            3 => Kind::Delete,
            5 => Kind::Purge,
            _ => return Err(bad("kind of an entry")),
        };
        let value_len = (head.next - head.value_at) as usize;
        if kind != Kind::Put && value_len != if kind == Kind::Pointer { VALUE_PTR_BYTES } else { 0 } {
            return Err(bad("length of a value for its kind"));
        }
        let word = |p: usize| {
            let rest = self.bytes.get(p..).and_then(|rest| rest.first_chunk::<8>());
            rest.map(|word| u64::from_le_bytes(*word)).ok_or(bad("fields of an entry"))
        };
        let mut p = head.fields_at as usize;
        let width = u32::from(self.layout.seq_width);
        let seq = self.layout.seq_base + (word(p)? & ((1 << (8 * width)) - 1));
        if seq > Seq::MAX.0 {
            return Err(bad("seq of 56 bits"));
        }
        p += width as usize;
        let (mut version, mut meta, mut expires_at) = (Version::MAX, 0, NEVER);
        if head.flags & (HAS_VERSION | HAS_META | HAS_EXPIRY) != 0 {
            if head.flags & HAS_VERSION != 0 {
                version = Version(word(p)?);
                p += 8;
                if version == Version::MAX {
                    return Err(bad("version below the maximum"));
                }
            }
            if head.flags & HAS_META != 0 {
                meta = self.bytes.get(p).copied().unwrap_or(0);
                p += 1;
                if meta == 0 {
                    return Err(bad("meta other than 0"));
                }
            }
            if head.flags & HAS_EXPIRY != 0 {
                expires_at = word(p)?;
                if expires_at == NEVER {
                    return Err(bad("expiry other than 0"));
                }
            }
        }
        Ok(Entry {
            flags: head.flags,
            kind,
            meta,
            a: head.a,
            key_at: head.key_at,
            value_at: head.value_at,
            next: head.next,
            version,
            seq: Seq(seq),
            expires_at,
        })
    }

    /// The entry at offset `at`, which is 8, a restart, or another entry's `next`.
    #[inline]
    pub fn entry(&self, at: usize) -> Result<Entry, Malformed> {
        let head = self.head(at)?;
        self.fields(at, &head)
    }

    /// Is the entry at `at` another one of the key before it? False at the end.
    #[inline]
    pub fn is_older(&self, at: usize) -> bool {
        at < self.layout.entries_end()
            && self.bytes.get(at).is_some_and(|flags| flags & (SAME_KEY | RESTART) == SAME_KEY)
    }

    /// The first offset at or after `at` where a new key starts, or the end.
    #[inline]
    pub fn skip_older(&self, mut at: usize) -> Result<usize, Malformed> {
        while self.is_older(at) {
            at = self.head(at)?.next as usize;
        }
        Ok(at)
    }

    /// The key bytes that `entry` stores.
    #[inline]
    pub fn key_bytes(&self, entry: &Entry) -> &'a [u8] {
        self.bytes.get(entry.key_at as usize..entry.value_at as usize).unwrap_or(&[])
    }

    /// The entry as the engine sees it.
    #[inline]
    pub fn view(&self, entry: &Entry) -> EntryRef<'a> {
        EntryRef {
            version: entry.version,
            seq: entry.seq,
            kind: entry.kind,
            meta: entry.meta,
            expires_at: entry.expires_at,
            value: self.bytes.get(entry.value_at as usize..entry.next as usize).unwrap_or(&[]),
        }
    }

    /// Offset of the entry of restart `i`.
    pub fn restart(&self, i: usize) -> Result<usize, Malformed> {
        let at = self.layout.entries_end() + 4 * i;
        let stored = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        match stored.map(|stored| u32::from_le_bytes(*stored) as usize) {
            Some(offset) if i < self.layout.restarts() && offset < self.layout.entries_end() => Ok(offset),
            _ => Err(Malformed::new(at, "restart within its block")),
        }
    }

    #[inline]
    fn restart_head(&self, i: usize) -> Result<Head, Malformed> {
        let at = self.restart(i)?;
        let head = self.head(at)?;
        if head.flags & RESTART == 0 || (head.value_at - head.key_at) as usize > KEY_BYTES_MAX {
            return Err(Malformed::new(at, "restart entry"));
        }
        Ok(head)
    }

    #[inline]
    fn head_key(&self, head: &Head) -> &'a [u8] {
        self.bytes.get(head.key_at as usize..head.value_at as usize).unwrap_or(&[])
    }

    /// The last restart whose key is at most `key`; 0 if there is none.
    pub fn seek_restart(&self, key: KeyRef<'_>) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.layout.restarts());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let head = self.restart_head(middle)?;
            if KeyRef::new(CfId(head.a), self.head_key(&head)) <= key {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The last restart that lies before offset `at`; 0 if there is none.
    pub fn restart_before(&self, at: usize) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.layout.restarts());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.restart(middle)? < at { low = middle } else { high = middle }
        }
        Ok(low)
    }

    /// The first entry of exactly `key`, whose hash is `hash`.
    pub fn find(&self, key: KeyRef<'_>, hash: u64) -> Result<Option<Entry>, Malformed> {
        let run = match self.bucket(hash)? {
            Some(BUCKET_NONE) => return Ok(None),
            Some(BUCKET_MANY) | None => self.seek_restart(key)?,
            Some(run) => usize::from(run),
        };
        let mut at = self.restart(run)?;
        let mut head = self.restart_head(run)?;
        let target = key.user_key;
        let first = self.head_key(&head);
        match KeyRef::new(CfId(head.a), first).cmp(&key) {
            Ordering::Equal => return self.fields(at, &head).map(Some),
            Ordering::Greater => return Ok(None),
            Ordering::Less => {}
        }
        if head.a != key.cf.0 {
            return Ok(None);
        }
        // Each key of the run is compared where it leaves the one before it. `matched` bytes of that one
        // equal the target's, and it is below the target. A key that shares more with it is below too; one
        // that shares less is above.
        let mut matched = common_prefix(first, target);
        loop {
            at = head.next as usize;
            if at == self.layout.entries_end() {
                return Ok(None);
            }
            head = self.head(at)?;
            if head.flags & RESTART != 0 {
                return Ok(None);
            }
            if head.flags & SAME_KEY != 0 || head.a as usize > matched {
                continue;
            }
            if (head.a as usize) < matched {
                return Ok(None);
            }
            let suffix = self.head_key(&head);
            let rest = target.get(matched..).unwrap_or(&[]);
            let same = common_prefix(suffix, rest);
            match (suffix.get(same), rest.get(same)) {
                (None, None) => return self.fields(at, &head).map(Some),
                (Some(s), Some(t)) if s > t => return Ok(None),
                (Some(_), None) => return Ok(None),
                _ => matched += same,
            }
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> Result<Option<u8>, Malformed> {
        if self.layout.buckets == 0 {
            return Ok(None);
        }
        let at =
            self.layout.entries_end() + 4 * self.layout.restarts() + bucket_of(hash, self.layout.buckets);
        self.bytes.get(at).copied().map(Some).ok_or(Malformed::new(at, "bucket within its block"))
    }
}
