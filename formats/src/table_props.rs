//! What a table says of itself: stored in its properties block and repeated in the manifest.
//!
//! ```text
//! props      := uid u128, smallest key, largest key, counts, seqs, versions, expiries, sizes, live
//! key        := cf varint, len varint, bytes
//! counts     := puts, pointers, deletes, purges, range_deletes            varint each
//! seqs       := min, max                                                  varint each
//! versions   := min, max                                                  u64 each
//! expiries   := earliest, latest (0 = no entry expires)                   varint each
//! sizes      := raw key bytes, raw value bytes                            varint each
//! live       := count varint, (bucket varint, segment varint, bytes varint)*    ascending
//! ```

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};
use crate::entry::{Seq, Version};
use crate::key::{CfId, KEY_BYTES_MAX, KeyBuf};
use crate::varint;

/// Number of a table file. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TableId(pub u64);

impl core::fmt::Display for TableId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes of value-log records that the pointers of a table name in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlogLive {
    /// Bucket of the value log.
    pub bucket: u16,
    /// Segment in the bucket.
    pub segment: u32,
    /// Record bytes, frames included.
    pub bytes: u64,
}

/// Properties of a table's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableProps {
    /// Chosen when the table was built; every block's checksum covers it.
    pub uid: u128,
    /// The smallest key of an entry or start of a range delete.
    pub smallest: KeyBuf,
    /// The largest key of an entry or end of a range delete (that end is not covered, but counts here).
    pub largest: KeyBuf,
    /// Entries of kind put.
    pub puts: u64,
    /// Entries of kind pointer.
    pub pointers: u64,
    /// Entries of kind delete.
    pub deletes: u64,
    /// Entries of kind purge.
    pub purges: u64,
    /// Range deletes.
    pub range_deletes: u64,
    /// The lowest seq of an entry or range delete.
    pub seq_min: Seq,
    /// The highest seq of an entry or range delete.
    pub seq_max: Seq,
    /// The lowest version of an entry; a table of range deletes only has `MAX`.
    pub version_min: Version,
    /// The highest version of an entry; a table of range deletes only has 0.
    pub version_max: Version,
    /// The earliest expiry of an entry that expires, in Unix milliseconds; 0 if none does.
    pub expiry_min: u64,
    /// The latest expiry of an entry that expires, in Unix milliseconds; 0 if none does.
    pub expiry_max: u64,
    /// User-key bytes of all entries.
    pub raw_key_bytes: u64,
    /// Inline value bytes of all entries.
    pub raw_value_bytes: u64,
    /// Live bytes per value-log segment, ascending by (bucket, segment).
    pub live: Vec<VlogLive>,
}

impl TableProps {
    /// Entries of all kinds, range deletes not counted.
    pub fn entries(&self) -> u64 {
        self.puts + self.pointers + self.deletes + self.purges
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.live.is_sorted());
        out.extend_from_slice(&self.uid.to_le_bytes());
        for key in [&self.smallest, &self.largest] {
            varint::encode(u64::from(key.cf.0), out);
            varint::encode(key.user_key.len() as u64, out);
            out.extend_from_slice(&key.user_key);
        }
        for n in [self.puts, self.pointers, self.deletes, self.purges, self.range_deletes] {
            varint::encode(n, out);
        }
        varint::encode(self.seq_min.0, out);
        varint::encode(self.seq_max.0, out);
        out.extend_from_slice(&self.version_min.0.to_le_bytes());
        out.extend_from_slice(&self.version_max.0.to_le_bytes());
        for n in [self.expiry_min, self.expiry_max, self.raw_key_bytes, self.raw_value_bytes] {
            varint::encode(n, out);
        }
        varint::encode(self.live.len() as u64, out);
        for live in &self.live {
            varint::encode(u64::from(live.bucket), out);
            varint::encode(u64::from(live.segment), out);
            varint::encode(live.bytes, out);
        }
    }

    /// Takes the stored form.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let uid = r.u128("table uid")?;
        let smallest = decode_key(r)?;
        let largest = decode_key(r)?;
        let mut props = Self { uid, smallest, largest, ..Self::default() };
        props.puts = r.varint("count of puts")?;
        props.pointers = r.varint("count of pointers")?;
        props.deletes = r.varint("count of deletes")?;
        props.purges = r.varint("count of purges")?;
        props.range_deletes = r.varint("count of range deletes")?;
        props.seq_min = Seq(r.varint("lowest seq")?);
        props.seq_max = Seq(r.varint("highest seq")?);
        props.version_min = Version(r.u64("lowest version")?);
        props.version_max = Version(r.u64("highest version")?);
        props.expiry_min = r.varint("earliest expiry")?;
        props.expiry_max = r.varint("latest expiry")?;
        props.raw_key_bytes = r.varint("raw key bytes")?;
        props.raw_value_bytes = r.varint("raw value bytes")?;
        let count = r.varint("count of value-log segments")?;
        if count > r.remaining() as u64 / 3 {
            return Err(r.malformed("count of value-log segments"));
        }
        for _ in 0..count {
            let bucket = u16::try_from(r.varint("bucket")?).map_err(|_| r.malformed("bucket"))?;
            let live = VlogLive { bucket, segment: r.varint_u32("segment")?, bytes: r.varint("live bytes")? };
            if props.live.last().is_some_and(|last| (last.bucket, last.segment) >= (bucket, live.segment)) {
                return Err(r.malformed("value-log segments in order"));
            }
            props.live.push(live);
        }
        let counts = [props.puts, props.pointers, props.deletes, props.purges, props.range_deletes];
        if counts.iter().any(|n| *n > 1 << 56) {
            return Err(r.malformed("counts below 2^56"));
        }
        if props.smallest > props.largest || props.seq_min > props.seq_max || props.seq_max > Seq::MAX {
            return Err(r.malformed("ranges in order"));
        }
        Ok(props)
    }
}

/// Takes a key: family, length, bytes.
fn decode_key(r: &mut Reader<'_>) -> Result<KeyBuf, Malformed> {
    let cf = CfId(r.varint_u32("family of a key")?);
    let user_key = r.prefixed("key")?;
    if user_key.len() > KEY_BYTES_MAX {
        return Err(r.malformed("key of at most 65535 bytes"));
    }
    Ok(KeyBuf { cf, user_key: user_key.to_vec() })
}

/// A table as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableMeta {
    /// Its number; names its file.
    pub id: TableId,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// CRC-32C of the whole file.
    pub checksum: u32,
    /// For a foreign table: the one seq that all its entries have. Its own seqs are then ignored, and
    /// `props.seq_min` and `seq_max` here are this seq.
    pub global_seq: Option<Seq>,
    /// Its content.
    pub props: TableProps,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(
            uid: u128, mut keys: [(u32, Vec<u8>); 2], counts: [u32; 5], mut seqs: [u32; 2], versions: [u64; 2],
            rest: [u64; 4], live: std::collections::BTreeMap<(u16, u32), u64>,
        ) {
            keys.sort();
            seqs.sort();
            let [smallest, largest] = keys.map(|(cf, user_key)| KeyBuf { cf: CfId(cf), user_key });
            let props = TableProps {
                uid, smallest, largest,
                puts: counts[0].into(), pointers: counts[1].into(), deletes: counts[2].into(),
                purges: counts[3].into(), range_deletes: counts[4].into(),
                seq_min: Seq(seqs[0].into()), seq_max: Seq(seqs[1].into()),
                version_min: Version(versions[0]), version_max: Version(versions[1]),
                expiry_min: rest[0], expiry_max: rest[1], raw_key_bytes: rest[2], raw_value_bytes: rest[3],
                live: live.into_iter().map(|((bucket, segment), bytes)| VlogLive { bucket, segment, bytes }).collect(),
            };
            let mut out = Vec::new();
            props.encode(&mut out);
            let mut r = Reader::new(&out);
            prop_assert_eq!(TableProps::decode(&mut r), Ok(props));
            prop_assert!(r.is_empty());
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = TableProps::decode(&mut Reader::new(&bytes));
        }
    }
}
