//! The engine's own part of a log record: what the payload of each walfs frame of the engine starts with.
//!
//! ```text
//! payload  := envelope (56), chunk
//! envelope := format u16 = 1, flags u16 (last part = 1), part u32, db_id u64, segment u32,
//!             durable_segment u32, offset u64, record_no u64, first_seq u64, durable_offset u64
//! body     := the chunks of a batch's parts one after another := section*
//! section  := kind u8, group_high u24, group_low u32, len u64, bytes (len)
//! ```
//! A group's number is `group_high` * 2^32 + `group_low`: below 2^56. It is 0 for the engine's own sections.
//! A batch is one record, or several where it does not fit a segment: parts 0, 1, ... of which the last has
//! the flag. The parts cut the body anywhere. Section bytes are not padded.
//!
//! Invariants
//! 1. `segment` and `offset` are those of the frame itself, `db_id` that of its database: a stale or foreign
//!    frame in the right place is noticed.
//! 2. `record_no` grows by one from record to record, across segments: a lost record is noticed.
//! 3. All of the log before `durable_segment`, `durable_offset` was durable when the record was written.

use alloc::vec::Vec;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::{Malformed, Reader};
use crate::entry::Seq;
use crate::versions::ENVELOPE;
use crate::walfs::Position;

/// Stored size of an envelope.
pub const ENVELOPE_BYTES: usize = 56;
/// Stored size of a section's head.
pub const SECTION_HEAD_BYTES: usize = 16;

/// Operations of a batch: [`crate::batch`].
pub const SECTION_BATCH: u8 = 1;
/// Entries of a raft group; the bytes are the group's own.
pub const SECTION_RAFT_ENTRIES: u8 = 2;
/// Hard state of a raft group; the bytes are the group's own.
pub const SECTION_RAFT_STATE: u8 = 3;
/// Snapshot mark of a raft group; the bytes are the group's own.
pub const SECTION_RAFT_SNAPSHOT: u8 = 4;
/// First section of a batch that holds copies of a group's earlier records; no bytes. The copies count only if the
/// group's pointer names this batch: else the earlier records do.
pub const SECTION_COPIES: u8 = 5;
/// Kinds from here on are for users of the log.
pub const SECTION_USER: u8 = 128;

/// Numbers of groups are at most this.
pub const GROUP_MAX: u64 = (1 << 56) - 1;

const LAST_PART: u16 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Stored {
    format: U16,
    flags: U16,
    part: U32,
    db_id: U64,
    segment: U32,
    durable_segment: U32,
    offset: U64,
    record_no: U64,
    first_seq: U64,
    durable_offset: U64,
}

const _: () = assert!(size_of::<Stored>() == ENVELOPE_BYTES && ENVELOPE_BYTES.is_multiple_of(8));

/// What stands in front of a record's chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Part of the batch, from 0.
    pub part: u32,
    /// Is it the batch's last part?
    pub last_part: bool,
    /// Which database wrote it.
    pub db_id: u64,
    /// Where its frame starts.
    pub at: Position,
    /// Number of the record, +1 from one to the next.
    pub record_no: u64,
    /// Seq of the batch's first operation.
    pub first_seq: Seq,
    /// How far the log was durable when the record was written. Always <= `at`.
    pub durable: Position,
}

impl Envelope {
    /// The stored form.
    #[inline]
    pub fn to_bytes(&self) -> [u8; ENVELOPE_BYTES] {
        let stored = Stored {
            format: ENVELOPE.into(),
            flags: if self.last_part { LAST_PART } else { 0 }.into(),
            part: self.part.into(),
            db_id: self.db_id.into(),
            segment: self.at.segment.into(),
            durable_segment: self.durable.segment.into(),
            offset: self.at.offset.into(),
            record_no: self.record_no.into(),
            first_seq: self.first_seq.0.into(),
            durable_offset: self.durable.offset.into(),
        };
        zerocopy::transmute!(stored)
    }

    /// Splits a record's payload into envelope and chunk.
    ///
    /// # Errors
    /// A payload that is shorter than an envelope, another format, unknown flags, a durable position
    /// behind the record's own, or a first seq above [`Seq::BATCH_START_MAX`].
    pub fn decode(payload: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (stored, chunk) =
            Stored::ref_from_prefix(payload).map_err(|_| Malformed::new(payload.len(), "a log envelope"))?;
        if stored.format.get() != ENVELOPE {
            return Err(Malformed::new(0, "log envelope format 1"));
        }
        if stored.flags.get() & !LAST_PART != 0 {
            return Err(Malformed::new(2, "known flags in a log envelope"));
        }
        let envelope = Self {
            part: stored.part.get(),
            last_part: stored.flags.get() & LAST_PART != 0,
            db_id: stored.db_id.get(),
            at: Position { segment: stored.segment.get(), offset: stored.offset.get() },
            record_no: stored.record_no.get(),
            first_seq: Seq(stored.first_seq.get()),
            durable: Position { segment: stored.durable_segment.get(), offset: stored.durable_offset.get() },
        };
        if envelope.durable > envelope.at {
            return Err(Malformed::new(20, "a durable position before the record"));
        }
        if envelope.first_seq > Seq::BATCH_START_MAX {
            return Err(Malformed::new(40, "a first seq that leaves room for a batch"));
        }
        Ok((envelope, chunk))
    }
}

/// The head of a section of `len` bytes. `group` is at most [`GROUP_MAX`].
#[inline]
pub fn section_head(kind: u8, group: u64, len: u64) -> [u8; SECTION_HEAD_BYTES] {
    debug_assert!(group <= GROUP_MAX);
    let [a, b, c, d, e, f, g, _] = group.to_le_bytes();
    let mut head = [0; SECTION_HEAD_BYTES];
    head[..8].copy_from_slice(&[kind, e, f, g, a, b, c, d]);
    head[8..].copy_from_slice(&len.to_le_bytes());
    head
}

/// Appends a section.
pub fn encode_section(kind: u8, group: u64, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&section_head(kind, group, bytes.len() as u64));
    out.extend_from_slice(bytes);
}

/// A section of a batch's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionRef<'a> {
    /// What it holds: [`SECTION_BATCH`] or another number of this table.
    pub kind: u8,
    /// Whose it is; 0 for the engine itself.
    pub group: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The sections of a batch's whole body, in order. After an error the iterator ends.
#[derive(Debug, Clone)]
pub struct Sections<'a> {
    reader: Reader<'a>,
    failed: bool,
}

impl<'a> Sections<'a> {
    /// Reads `body`.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { reader: Reader::new(body), failed: false }
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<SectionRef<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.is_empty() {
            return None;
        }
        let section = decode_section(&mut self.reader);
        self.failed = section.is_err();
        Some(section)
    }
}

/// What the head of a section says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionHead {
    /// What the section holds.
    pub kind: u8,
    /// Whose it is.
    pub group: u64,
    /// Length of its bytes, which may be more than there is.
    pub len: u64,
}

fn decode_section<'a>(reader: &mut Reader<'a>) -> Result<SectionRef<'a>, Malformed> {
    let start = reader.offset();
    let SectionHead { kind, group, len } = decode_section_head(reader)?;
    let len = usize::try_from(len).map_err(|_| Malformed::new(start + 8, "a section within its batch"))?;
    Ok(SectionRef { kind, group, bytes: reader.take(len, "a section within its batch")? })
}

/// Takes the head of a section.
///
/// # Errors
/// Too few bytes, or a group that the engine's own sections do not have.
pub fn decode_section_head(reader: &mut Reader<'_>) -> Result<SectionHead, Malformed> {
    let start = reader.offset();
    let kind = reader.u8("a section head")?;
    let [e, f, g] = reader.array::<3>("a section head")?;
    let [a, b, c, d] = reader.array::<4>("a section head")?;
    let group = u64::from_le_bytes([a, b, c, d, e, f, g, 0]);
    if kind == SECTION_BATCH && group > u64::from(u32::MAX) {
        return Err(Malformed::new(start + 1, "zeros in a section head"));
    }
    Ok(SectionHead { kind, group, len: reader.u64("a section head")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn sample() -> Envelope {
        Envelope {
            part: 2,
            last_part: true,
            db_id: 0x1122_3344_5566_7788,
            at: Position { segment: 3, offset: 640 },
            record_no: 77,
            first_seq: Seq(1000),
            durable: Position { segment: 2, offset: 4096 },
        }
    }

    #[test]
    fn golden() {
        let mut bytes = sample().to_bytes().to_vec();
        encode_section(SECTION_BATCH, 9, b"ops", &mut bytes);
        let fields = [
            (2, "0100", "format"),
            (2, "0100", "flags: last part"),
            (4, "02000000", "part 2"),
            (8, "8877665544332211", "database id"),
            (4, "03000000", "segment 3"),
            (4, "02000000", "durable segment 2"),
            (8, "8002000000000000", "offset 640"),
            (8, "4d00000000000000", "record 77"),
            (8, "e803000000000000", "first seq 1000"),
            (8, "0010000000000000", "durable offset 4096"),
            (1, "01", "section: batch"),
            (3, "000000", "zero"),
            (4, "09000000", "group 9"),
            (8, "0300000000000000", "length 3"),
            (3, "6f7073", "bytes"),
        ];
        let mut at = 0;
        for (len, hex, name) in fields {
            let found: alloc::string::String =
                bytes[at..at + len].iter().map(|b| alloc::format!("{b:02x}")).collect();
            assert_eq!(found, hex, "{name} at {at}");
            at += len;
        }
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn golden_typed_section() {
        let mut bytes = vec![];
        encode_section(SECTION_RAFT_ENTRIES, 0x00aa_bbcc_0102_0304, b"e", &mut bytes);
        let expected = [2, 0xcc, 0xbb, 0xaa, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, b'e'];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_durable_position_behind_the_record_is_refused() {
        let mut envelope = sample();
        envelope.durable = Position { segment: 3, offset: 648 };
        assert!(Envelope::decode(&envelope.to_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(part: u32, last_part: bool, db_id: u64, segment: u32, offset: u64, record_no: u64,
                      seq in 0..=Seq::BATCH_START_MAX.0, chunk: Vec<u8>) {
            let at = Position { segment, offset };
            let envelope = Envelope { part, last_part, db_id, at, record_no, first_seq: Seq(seq), durable: at };
            let mut payload = envelope.to_bytes().to_vec();
            payload.extend_from_slice(&chunk);
            prop_assert_eq!(Envelope::decode(&payload), Ok((envelope, &chunk[..])));
        }

        #[test]
        fn sections_round_trip(sections: Vec<(u8, u64, Vec<u8>)>) {
            let mut body = vec![];
            let sections: Vec<_> = sections
                .into_iter()
                .map(|(kind, group, bytes)| {
                    (kind, group & if kind == SECTION_BATCH { 0xffff_ffff } else { GROUP_MAX }, bytes)
                })
                .collect();
            for (kind, group, bytes) in &sections {
                encode_section(*kind, *group, bytes, &mut body);
            }
            let read: Vec<_> = Sections::new(&body).map(|s| s.unwrap()).collect();
            prop_assert_eq!(read.len(), sections.len());
            for (read, (kind, group, bytes)) in read.iter().zip(&sections) {
                prop_assert_eq!((read.kind, read.group, read.bytes), (*kind, *group, &bytes[..]));
            }
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            if let Ok((envelope, chunk)) = Envelope::decode(&bytes) {
                let mut again = envelope.to_bytes().to_vec();
                again.extend_from_slice(chunk);
                prop_assert_eq!(&again, &bytes);
            }
            for section in Sections::new(&bytes) {
                let _ = section;
            }
        }
    }
}
