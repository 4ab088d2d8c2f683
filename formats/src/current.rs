//! `CURRENT`: names the live manifest, and says whether the database was closed cleanly.
//!
//! Who may call it: `core::manifest`, which writes it; tools that print one.
//!
//! ```text
//! current := magic "NOKVCURR", format u16, flags u16, zero u32, generation u64, db_id u64, manifest u64,
//!            [clean], crc u32
//! flags   := bit 0: clean
//! clean   := manifest_bytes u64, manifest_crc u32, wal_segment u32, wal_offset u64, last_seq u64, count u32,
//!            (bucket u16, zero u16, segment u32, bytes u64)*          ascending by (bucket, segment)
//! ```
//! The CRC covers everything before it.
//!
//! 1. Where a rename is atomic there is one file, `CURRENT`, replaced as a whole.
//! 2. Elsewhere there are two slots, [`SLOTS`], written in place one after the other, each synced before the other
//!    is touched; both hold the same state but for `generation`. A crash tears at most one of them, so the newer
//!    valid slot is right, and the older one is if the newer is torn: nothing that it names is removed before
//!    both were written. See [`newest`].

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};
use crate::crc;
use crate::entry::Seq;
use crate::versions;

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"NOKVCURR";
/// Name of the file where renames are atomic.
pub const NAME: &str = "CURRENT";
/// Names of the two slots where they are not.
pub const SLOTS: [&str; 2] = ["CURRENT-A", "CURRENT-B"];
/// No file is longer, in bytes: a head for each of 65,536 buckets, and the rest.
pub const BYTES_MAX: u64 = (1 << 16) * HEAD_BYTES as u64 + 4096;
/// What [`Current::decode`] says of a later format.
pub const UNKNOWN_FORMAT: &str = "CURRENT format 1";

const HEAD_BYTES: usize = 16;
const CLEAN: u16 = 1;

/// What `CURRENT` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// Counts the times it was written.
    pub generation: u64,
    /// The database.
    pub db_id: u64,
    /// Number of the live manifest.
    pub manifest: u64,
    /// Present from a clean close until the next open for writing.
    pub clean: Option<CleanClose>,
}

/// What a clean close left behind, everything synced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CleanClose {
    /// Length of the manifest.
    pub manifest_bytes: u64,
    /// CRC-32C of the manifest.
    pub manifest_crc: u32,
    /// The log segment that took appends.
    pub wal_segment: u32,
    /// Where the log ended there.
    pub wal_offset: u64,
    /// The highest seq given.
    pub last_seq: Seq,
    /// The value-log segments that took appends, ascending by (bucket, segment).
    pub vlog_heads: Vec<HeadEnd>,
}

/// Where a value-log head ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadEnd {
    /// Bucket.
    pub bucket: u16,
    /// Segment in the bucket.
    pub segment: u32,
    /// Length of the file.
    pub bytes: u64,
}

impl Current {
    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&versions::CURRENT.to_le_bytes());
        out.extend_from_slice(&if self.clean.is_some() { CLEAN } else { 0 }.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        for field in [self.generation, self.db_id, self.manifest] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        if let Some(clean) = &self.clean {
            let heads = &clean.vlog_heads;
            assert!(heads.is_sorted_by(|a, b| (a.bucket, a.segment) < (b.bucket, b.segment)));
            out.extend_from_slice(&clean.manifest_bytes.to_le_bytes());
            out.extend_from_slice(&clean.manifest_crc.to_le_bytes());
            out.extend_from_slice(&clean.wal_segment.to_le_bytes());
            out.extend_from_slice(&clean.wal_offset.to_le_bytes());
            out.extend_from_slice(&clean.last_seq.0.to_le_bytes());
            out.extend_from_slice(&(heads.len() as u32).to_le_bytes());
            for head in heads {
                out.extend_from_slice(&head.bucket.to_le_bytes());
                out.extend_from_slice(&0u16.to_le_bytes());
                out.extend_from_slice(&head.segment.to_le_bytes());
                out.extend_from_slice(&head.bytes.to_le_bytes());
            }
        }
        let crc = crc::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the stored form; `bytes` is the whole file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(Malformed::new(0, "CURRENT of at least 44 bytes"));
        };
        let mut r = Reader::new(body);
        if r.array("magic of CURRENT")? != MAGIC {
            return Err(Malformed::new(0, "magic of CURRENT"));
        }
        if crc::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(Malformed::new(body.len(), "checksum of CURRENT"));
        }
        if r.u16("format of CURRENT")? != versions::CURRENT {
            return Err(Malformed::new(8, UNKNOWN_FORMAT));
        }
        let flags = r.u16("flags of CURRENT")?;
        if flags & !CLEAN != 0 || r.u32("zero in CURRENT")? != 0 {
            return Err(Malformed::new(10, "flags of CURRENT"));
        }
        let mut current = Self {
            generation: r.u64("generation")?,
            db_id: r.u64("database id")?,
            manifest: r.u64("manifest number")?,
            clean: None,
        };
        if flags & CLEAN != 0 {
            current.clean = Some(CleanClose::decode(&mut r)?);
        }
        r.finish("end of CURRENT")?;
        Ok(current)
    }
}

impl CleanClose {
    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut clean = Self {
            manifest_bytes: r.u64("length of the manifest")?,
            manifest_crc: r.u32("checksum of the manifest")?,
            wal_segment: r.u32("log segment")?,
            wal_offset: r.u64("end of the log")?,
            last_seq: Seq(r.u64("last seq")?),
            vlog_heads: Vec::new(),
        };
        if clean.last_seq > Seq::MAX {
            return Err(r.malformed("last seq"));
        }
        let count = r.u32("count of value-log heads")? as usize;
        if count > r.remaining() / HEAD_BYTES {
            return Err(r.malformed("count of value-log heads"));
        }
        for _ in 0..count {
            let bucket = r.u16("bucket")?;
            if r.u16("zero in a value-log head")? != 0 {
                return Err(r.malformed("zero in a value-log head"));
            }
            let head = HeadEnd {
                bucket,
                segment: r.u32("value-log segment")?,
                bytes: r.u64("length of a value-log head")?,
            };
            let in_order = clean
                .vlog_heads
                .last()
                .is_none_or(|last| (last.bucket, last.segment) < (head.bucket, head.segment));
            if !in_order {
                return Err(r.malformed("value-log heads in order"));
            }
            clean.vlog_heads.push(head);
        }
        Ok(clean)
    }
}

/// Which of the two slots is right: the valid one with the higher generation; gives its index too. The error is
/// that of the first slot if neither is valid.
pub fn newest(a: &[u8], b: &[u8]) -> Result<(usize, Current), Malformed> {
    match (Current::decode(a), Current::decode(b)) {
        (Ok(a), Ok(b)) if b.generation > a.generation => Ok((1, b)),
        (Ok(a), _) => Ok((0, a)),
        (Err(_), Ok(b)) => Ok((1, b)),
        (Err(error), Err(_)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vlog::tests::assert_golden;
    use proptest::prelude::*;

    fn currents() -> impl Strategy<Value = Current> {
        let clean = (
            any::<(u64, u32, u32, u64)>(),
            0u64..1 << 56,
            any::<std::collections::BTreeMap<(u16, u32), u64>>(),
        )
            .prop_map(|((manifest_bytes, manifest_crc, wal_segment, wal_offset), seq, heads)| CleanClose {
                manifest_bytes,
                manifest_crc,
                wal_segment,
                wal_offset,
                last_seq: Seq(seq),
                vlog_heads: heads
                    .into_iter()
                    .map(|((bucket, segment), bytes)| HeadEnd { bucket, segment, bytes })
                    .collect(),
            });
        (any::<(u64, u64, u64)>(), prop::option::of(clean))
            .prop_map(|((generation, db_id, manifest), clean)| Current { generation, db_id, manifest, clean })
    }

    proptest! {
        #[test]
        fn round_trip(current in currents()) {
            prop_assert_eq!(Current::decode(&current.to_bytes()), Ok(current));
        }

        #[test]
        fn every_flipped_bit_and_every_cut_is_noticed(current in currents(), at: prop::sample::Index) {
            let mut bytes = current.to_bytes();
            prop_assert!(Current::decode(&bytes[..at.index(bytes.len())]).is_err());
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Current::decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes(mut bytes: Vec<u8>, clean: bool) {
            let _ = Current::decode(&bytes);
            let mut body = MAGIC.to_vec();
            body.extend_from_slice(&[1, 0, u8::from(clean), 0, 0, 0, 0, 0]);
            body.append(&mut bytes);
            let crc = crc::crc32c(&body);
            body.extend_from_slice(&crc.to_le_bytes());
            if let Ok(current) = Current::decode(&body) {
                prop_assert_eq!(current.to_bytes(), body);
            }
        }
    }

    #[test]
    fn golden_current() {
        let current = Current {
            generation: 6,
            db_id: 0x11,
            manifest: 4,
            clean: Some(CleanClose {
                manifest_bytes: 88,
                manifest_crc: 0x0403_0201,
                wal_segment: 9,
                wal_offset: 64,
                last_seq: Seq(1000),
                vlog_heads: alloc::vec![HeadEnd { bucket: 2, segment: 3, bytes: 32 }],
            }),
        };
        assert_golden(
            &current.to_bytes(),
            "0-8     4e4f4b5643555252  magic
             8-10    0100              format 1
             10-12   0100              clean
             12-16   00000000          zero
             16-24   0600000000000000  generation
             24-32   1100000000000000  database id
             32-40   0400000000000000  manifest number
             40-48   5800000000000000  length of the manifest
             48-52   01020304          checksum of the manifest
             52-56   09000000          log segment
             56-64   4000000000000000  end of the log
             64-72   e803000000000000  last seq
             72-76   01000000          one head
             76-78   0200              bucket
             78-80   0000              zero
             80-84   03000000          segment
             84-92   2000000000000000  its length
             92-96   b819fbda          crc of 0-92",
        );
    }

    #[test]
    fn a_torn_newer_slot_falls_back_to_the_older() {
        let older = Current { generation: 4, db_id: 1, manifest: 7, clean: None };
        let newer = Current { generation: 5, manifest: 8, ..older.clone() };
        let (old_bytes, mut new_bytes) = (older.to_bytes(), newer.to_bytes());
        assert_eq!(newest(&old_bytes, &new_bytes), Ok((1, newer.clone())));
        assert_eq!(newest(&new_bytes, &old_bytes), Ok((0, newer)));
        new_bytes[20] ^= 1;
        assert_eq!(newest(&old_bytes, &new_bytes), Ok((0, older.clone())));
        assert_eq!(newest(&new_bytes[..3], &old_bytes), Ok((1, older)));
        assert!(newest(&new_bytes, b"").is_err());
    }
}
