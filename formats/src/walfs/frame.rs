//! Record frames: building one in place, and walking a segment's bytes. See [`super`] for the grammar.

use alloc::vec::Vec;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::HEADER_BYTES;
use crate::bytes::Malformed;
use crate::crc::crc32c;
use crate::planted::{self, Checksum};

/// Checksum and length in front of a payload.
pub const FRAME_HEAD_BYTES: usize = 8;
/// Head and trailer.
pub const FRAME_OVERHEAD_BYTES: usize = FRAME_HEAD_BYTES + TRAILER.len();
/// What stands behind a payload.
pub const TRAILER: [u8; 8] = [0xDE, 0xAD, 0xBE, 0xEF, 0xFE, 0xED, 0xFA, 0xCE];

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    crc: U32,
    len: U32,
}

const _: () = assert!(size_of::<Head>() == FRAME_HEAD_BYTES);

/// Bytes of the frame of a payload of `payload_len` bytes; `None` if that cannot be.
#[inline]
pub const fn frame_len(payload_len: usize) -> Option<usize> {
    if payload_len > u32::MAX as usize {
        return None;
    }
    match payload_len.checked_add(FRAME_OVERHEAD_BYTES) {
        Some(len) => len.checked_next_multiple_of(8),
        None => None,
    }
}

/// The longest payload whose frame fits `room` bytes; `None` if not even an empty one does.
pub const fn payload_len_max(room: usize) -> Option<usize> {
    let whole = room / 8 * 8;
    match whole.checked_sub(FRAME_OVERHEAD_BYTES) {
        Some(len) if len > u32::MAX as usize - 7 => Some(u32::MAX as usize - 7),
        other => other,
    }
}

/// Starts a frame at the end of `out`: append the payload, then call [`finish_frame`] with the same `start`,
/// which is `out.len()` before this call.
#[inline]
pub fn begin_frame(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
}

/// Ends the frame that starts at `start` of `out`: length, checksum in one pass, trailer, padding.
///
/// # Panics
/// If no frame was begun there or its payload is 4 GiB or longer.
#[inline]
pub fn finish_frame(out: &mut Vec<u8>, start: usize) {
    let payload_len = out.len() - start - FRAME_HEAD_BYTES;
    let len = u32::try_from(payload_len).expect("a payload below 4 GiB");
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let crc = crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&TRAILER);
    let padding = (out.len() - start).next_multiple_of(8) - (out.len() - start);
    out.extend_from_slice(&[0; 8][..padding]);
}

/// Appends the frame of `payload`.
///
/// # Panics
/// If the payload is 4 GiB or longer.
pub fn encode_frame(payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    begin_frame(out);
    out.extend_from_slice(payload);
    finish_frame(out, start);
}

/// A whole record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where its frame starts in the segment.
    pub offset: u64,
    /// Where its frame ends.
    pub end: u64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// What lies at a place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole record.
    Record(Frame<'a>),
    /// A zero head, or no room for one more frame: the records end here.
    End,
    /// Neither; `offset` is that of the frame.
    Damage(Malformed),
}

/// What lies at offset `at` of the segment `bytes`.
#[inline]
pub fn frame_at(bytes: &[u8], at: usize) -> Found<'_> {
    let damage = |what| Found::Damage(Malformed::new(at, what));
    let Some(rest) = bytes.get(at..) else { return Found::End };
    let Ok((head, body)) = Head::ref_from_prefix(rest) else {
        return if rest.iter().all(|b| *b == 0) { Found::End } else { damage("a frame head") };
    };
    let len = head.len.get() as usize;
    if head.crc.get() == 0 && len == 0 {
        return Found::End;
    }
    let Some(frame_len) = frame_len(len).filter(|n| *n <= rest.len()) else {
        return damage("a record that fits its segment");
    };
    // Both are within `frame_len`, which is within `rest`.
    let (Some(payload), Some(tail)) = (body.get(..len), body.get(len..frame_len - FRAME_HEAD_BYTES)) else {
        return damage("a record that fits its segment");
    };
    let Some(padding) = tail.strip_prefix(&TRAILER) else {
        return damage("the trailer of a record");
    };
    if padding.iter().any(|b| *b != 0) {
        return damage("zero padding behind a record");
    }
    if head.crc.get() != crc32c(&rest[4..FRAME_HEAD_BYTES + len]) && !planted::ignores(Checksum::LogRecord) {
        return damage("the checksum of a record");
    }
    Found::Record(Frame { offset: at as u64, end: (at + frame_len) as u64, payload })
}

/// Walks the records of a segment's bytes, header included. Stays at the first place that holds no record.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Starts behind the header.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: HEADER_BYTES }
    }

    /// Starts at `offset`, which must be that of a frame.
    pub const fn starting_at(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, at: offset }
    }

    /// Where the next frame starts.
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// The next record, or why there is none.
    #[inline]
    pub fn step(&mut self) -> Found<'a> {
        let found = frame_at(self.bytes, self.at);
        if let Found::Record(frame) = &found {
            self.at += frame_len(frame.payload.len()).unwrap_or(0);
        }
        found
    }
}

/// The first whole record that starts at `from` or behind it, at any multiple of 8. Looking stops when
/// `budget` bytes were checksummed, so that bytes made to look like many long records cost no more than that.
pub fn find_whole_record<'a>(bytes: &'a [u8], from: usize, budget: &mut usize) -> Option<Frame<'a>> {
    let mut at = from.checked_next_multiple_of(8)?;
    while let Some(rest) = bytes.get(at..) {
        let (head, _) = Head::ref_from_prefix(rest).ok()?;
        let len = head.len.get() as usize;
        // The trailer is looked at before the checksum is worked out.
        if (len != 0 || head.crc.get() != 0) && frame_len(len).is_some_and(|n| n <= rest.len()) {
            let tail = FRAME_HEAD_BYTES + len;
            if rest.get(tail..tail + TRAILER.len()) == Some(&TRAILER[..]) {
                *budget = budget.checked_sub(len + FRAME_OVERHEAD_BYTES)?;
                if let Found::Record(frame) = frame_at(bytes, at) {
                    return Some(frame);
                }
            }
        }
        at += 8;
    }
    None
}

/// How many whole records lie at `from` or behind it. Records inside a record are not counted.
pub fn count_whole_records(bytes: &[u8], from: usize) -> u64 {
    let mut budget = bytes.len().saturating_mul(8);
    let (mut count, mut at) = (0, from);
    while let Some(frame) = find_whole_record(bytes, at, &mut budget) {
        count += 1;
        at = frame.end as usize;
    }
    count
}
