//! Value-log segments: `vlog/bucket-XXX/NNNNN.vlog`.
//!
//! Who may call it: the value log, which writes and reads segments, and table builders, which count live bytes
//! with [`record_len`].
//!
//! ```text
//! segment := header record*
//! header  := magic "NOKVVLOG", format u32, bucket u16, zero u16, db_id u64, segment u32, crc u32     32 bytes
//! record  := crc u32, value_len u32, version u64, cf u32, key_len u16, zero u16, key, value     24 bytes + both
//! ```
//! The header's CRC covers the bytes before it. The record's CRC covers, in this order, bucket u16, segment u32
//! and the record's own offset u64 (none of them stored), then everything behind the CRC field: a whole record
//! in a wrong place does not check. There is no seq: garbage collection and recovery go by pointers.
//!
//! Records stand side by side from offset 32 with no padding, so the length of a record follows from the lengths
//! of its key and value alone. An append that failed or was cut off leaves bytes that no pointer names; a scan
//! ends there, a read by pointer never sees them.

use alloc::vec::Vec;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::{Malformed, Reader};
use crate::crc;
use crate::entry::Version;
use crate::key::{CfId, KEY_BYTES_MAX, KeyRef, VALUE_BYTES_MAX};
use crate::planted::{self, Checksum};
use crate::versions;

/// First bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"NOKVVLOG";
/// Length of a segment header; the first record starts here.
pub const SEGMENT_HEADER_BYTES: u64 = 32;
/// Length of a record before its key.
pub const RECORD_HEADER_BYTES: usize = 24;

/// Length in bytes of the record of a key of `user_key_len` and a value of `value_len` bytes.
#[inline]
pub const fn record_len(user_key_len: usize, value_len: u32) -> u64 {
    RECORD_HEADER_BYTES as u64 + user_key_len as u64 + value_len as u64
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StoredSegment {
    magic: [u8; 8],
    format: U32,
    bucket: U16,
    zero: U16,
    db_id: U64,
    segment: U32,
    crc: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StoredRecord {
    crc: U32,
    value_len: U32,
    version: U64,
    cf: U32,
    key_len: U16,
    zero: U16,
}

const _: () = assert!(size_of::<StoredSegment>() as u64 == SEGMENT_HEADER_BYTES);
const _: () = assert!(size_of::<StoredRecord>() == RECORD_HEADER_BYTES);
const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize && VALUE_BYTES_MAX <= u32::MAX as usize);

/// What the first bytes of a segment say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The database that wrote it.
    pub db_id: u64,
    /// Its bucket.
    pub bucket: u16,
    /// Its number within the bucket.
    pub segment: u32,
}

impl SegmentHeader {
    /// The stored form.
    pub fn to_bytes(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut stored = StoredSegment {
            magic: SEGMENT_MAGIC,
            format: versions::VALUE_LOG.into(),
            bucket: self.bucket.into(),
            zero: 0.into(),
            db_id: self.db_id.into(),
            segment: self.segment.into(),
            crc: 0.into(),
        };
        let bytes = stored.as_bytes();
        let crc = crc::crc32c(&bytes[..bytes.len() - 4]);
        stored.crc = crc.into();
        zerocopy::transmute!(stored)
    }

    /// Reads the header at the start of a segment file; bytes behind it are not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (stored, _) = StoredSegment::ref_from_prefix(bytes)
            .map_err(|_| Malformed::new(0, "value-log segment header of 32 bytes"))?;
        if stored.magic != SEGMENT_MAGIC {
            return Err(Malformed::new(0, "value-log magic"));
        }
        let whole = stored.as_bytes();
        if crc::crc32c(&whole[..whole.len() - 4]) != stored.crc.get() {
            return Err(Malformed::new(28, "checksum of a value-log segment header"));
        }
        if stored.format.get() != versions::VALUE_LOG {
            return Err(Malformed::new(8, "known value-log format"));
        }
        if stored.zero.get() != 0 {
            return Err(Malformed::new(14, "zero in a value-log segment header"));
        }
        Ok(Self { db_id: stored.db_id.get(), bucket: stored.bucket.get(), segment: stored.segment.get() })
    }
}

/// Where a record stands; part of its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bucket of the value log.
    pub bucket: u16,
    /// Segment number within the bucket.
    pub segment: u32,
    /// Offset of the record's first byte in the segment file.
    pub offset: u64,
}

impl Place {
    fn seed(&self) -> u32 {
        let crc = crc::crc32c(&self.bucket.to_le_bytes());
        let crc = crc::extend(crc, &self.segment.to_le_bytes());
        crc::extend(crc, &self.offset.to_le_bytes())
    }
}

/// A record, borrowed from where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Key of the entry.
    pub key: KeyRef<'a>,
    /// Version of the entry.
    pub version: Version,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends the stored form of a record that will stand at `place`. The caller has checked the limits of key
    /// and value.
    pub fn encode(&self, place: Place, out: &mut Vec<u8>) {
        assert!(self.key.user_key.len() <= KEY_BYTES_MAX && self.value.len() <= VALUE_BYTES_MAX);
        let mut stored = StoredRecord {
            crc: 0.into(),
            value_len: (self.value.len() as u32).into(),
            version: self.version.0.into(),
            cf: self.key.cf.0.into(),
            key_len: (self.key.user_key.len() as u16).into(),
            zero: 0.into(),
        };
        let crc = crc::extend(place.seed(), &stored.as_bytes()[4..]);
        let crc = crc::extend(crc, self.key.user_key);
        stored.crc = crc::extend(crc, self.value).into();
        out.extend_from_slice(stored.as_bytes());
        out.extend_from_slice(self.key.user_key);
        out.extend_from_slice(self.value);
    }

    /// Reads the record at the start of `bytes`, which stands at `place`; bytes behind it are not looked at.
    pub fn decode(bytes: &'a [u8], place: Place) -> Result<Self, Malformed> {
        let (stored, _) = StoredRecord::ref_from_prefix(bytes)
            .map_err(|_| Malformed::new(0, "value-log record header of 24 bytes"))?;
        let mut r = Reader::new(bytes);
        r.take(RECORD_HEADER_BYTES, "value-log record header of 24 bytes")?;
        let user_key = r.take(usize::from(stored.key_len.get()), "key of a value-log record")?;
        let value_len = stored.value_len.get() as usize;
        if value_len > VALUE_BYTES_MAX {
            return Err(Malformed::new(4, "value length of at most 1 GiB"));
        }
        let value = r.take(value_len, "value of a value-log record")?;
        let crc = crc::extend(place.seed(), &stored.as_bytes()[4..]);
        let crc = crc::extend(crc::extend(crc, user_key), value);
        if crc != stored.crc.get() && !planted::ignores(Checksum::Value) {
            return Err(Malformed::new(0, "checksum of a value-log record"));
        }
        if stored.zero.get() != 0 {
            return Err(Malformed::new(22, "zero in a value-log record"));
        }
        let key = KeyRef::new(CfId(stored.cf.get()), user_key);
        Ok(Self { key, version: Version(stored.version.get()), value })
    }

    /// Length of the whole record whose first [`RECORD_HEADER_BYTES`] are `header`, as they claim it: nothing is
    /// checked but the limit of the value. For scans, which read this much and then call [`Record::decode`].
    pub fn claimed_len(header: &[u8; RECORD_HEADER_BYTES]) -> Result<u64, Malformed> {
        let (stored, _) = StoredRecord::ref_from_prefix(header)
            .map_err(|_| Malformed::new(0, "value-log record header of 24 bytes"))?;
        if stored.value_len.get() as usize > VALUE_BYTES_MAX {
            return Err(Malformed::new(4, "value length of at most 1 GiB"));
        }
        Ok(record_len(usize::from(stored.key_len.get()), stored.value_len.get()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    /// Asserts that `bytes` are exactly the annotated dump `golden`: lines of `from-to  hex  what`.
    pub(crate) fn assert_golden(bytes: &[u8], golden: &str) {
        let mut at = 0;
        let (mut found, mut expected) = (String::new(), String::new());
        for line in golden.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (range, rest) = line.split_once(' ').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
            assert_eq!(from, at, "ranges follow each other: {line}");
            let hex: String =
                bytes.get(from..to).unwrap_or(&[]).iter().map(|b| alloc::format!("{b:02x}")).collect();
            let (hex_expected, what) = rest.trim_start().split_once(' ').unwrap();
            found.push_str(&alloc::format!("{range} {hex} {}\n", what.trim_start()));
            expected.push_str(&alloc::format!("{range} {hex_expected} {}\n", what.trim_start()));
            at = to;
        }
        assert!(found == expected, "expected\n{expected}\nfound\n{found}");
        assert_eq!(at, bytes.len(), "the dump covers everything");
    }

    const PLACE: Place = Place { bucket: 3, segment: 7, offset: 32 };

    #[test]
    fn golden_segment() {
        let mut out =
            SegmentHeader { db_id: 0x1122_3344_5566_7788, bucket: 3, segment: 7 }.to_bytes().to_vec();
        let key = KeyRef::new(CfId(1), b"key");
        Record { key, version: Version(9), value: b"value" }.encode(PLACE, &mut out);
        assert_golden(
            &out,
            "0-8    4e4f4b56564c4f47  magic
             8-12   01000000          format 1
             12-14  0300              bucket
             14-16  0000              zero
             16-24  8877665544332211  database id
             24-28  07000000          segment
             28-32  1e268193          crc of 0-28
             32-36  b98e209c          crc of bucket, segment, offset 32, 36-64
             36-40  05000000          value length
             40-48  0900000000000000  version
             48-52  01000000          family
             52-54  0300              key length
             54-56  0000              zero
             56-59  6b6579            key
             59-64  76616c7565        value",
        );
    }

    proptest! {
        #[test]
        fn segment_round_trip(db_id: u64, bucket: u16, segment: u32) {
            let header = SegmentHeader { db_id, bucket, segment };
            prop_assert_eq!(SegmentHeader::decode(&header.to_bytes()), Ok(header));
        }

        #[test]
        fn record_round_trip(
            cf: u32, key: Vec<u8>, version: u64, value: Vec<u8>, bucket: u16, segment: u32, offset: u64,
            tail: Vec<u8>,
        ) {
            let place = Place { bucket, segment, offset };
            let record = Record { key: KeyRef::new(CfId(cf), &key), version: Version(version), value: &value };
            let mut out = Vec::new();
            record.encode(place, &mut out);
            prop_assert_eq!(out.len() as u64, record_len(key.len(), value.len() as u32));
            prop_assert_eq!(Record::claimed_len(out.first_chunk().unwrap()), Ok(out.len() as u64));
            for wrong in [
                Place { bucket: bucket ^ 1, ..place },
                Place { segment: segment ^ 1, ..place },
                Place { offset: offset ^ 1, ..place },
            ] {
                prop_assert!(Record::decode(&out, wrong).is_err());
            }
            out.extend_from_slice(&tail);
            prop_assert_eq!(Record::decode(&out, place), Ok(record));
        }

        #[test]
        fn every_flipped_bit_is_noticed(key: Vec<u8>, value: Vec<u8>, bit: prop::sample::Index) {
            let mut out = Vec::new();
            Record { key: KeyRef::new(CfId(0), &key), version: Version::MAX, value: &value }
                .encode(PLACE, &mut out);
            let bit = bit.index(out.len() * 8);
            out[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Record::decode(&out, PLACE).is_err());
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = SegmentHeader::decode(&bytes);
            let _ = Record::decode(&bytes, PLACE);
        }
    }

    #[test]
    fn a_segment_of_a_later_format_is_named_as_such() {
        let mut bytes = SegmentHeader { db_id: 1, bucket: 0, segment: 1 }.to_bytes();
        bytes[8] = 2;
        let crc = crc::crc32c(&bytes[..28]).to_le_bytes();
        bytes[28..].copy_from_slice(&crc);
        assert_eq!(SegmentHeader::decode(&bytes), Err(Malformed::new(8, "known value-log format")));
    }
}
