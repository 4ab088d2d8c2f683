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

/// What a frame's head says, before anything behind it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// A zero head: the records end here.
    End,
    /// No record starts so.
    Damage(&'static str),
    /// Perhaps a record.
    Frame(FrameHead),
}

/// The head of a frame that would fit. Nothing of the rest was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    crc: u32,
    /// Bytes of the payload.
    pub payload_len: usize,
    /// Bytes of the frame, padding included.
    pub frame_len: usize,
}

impl Ahead {
    /// Reads a head that has `room` bytes from its start to the end of the file.
    #[inline]
    pub fn read(head: [u8; FRAME_HEAD_BYTES], room: u64) -> Self {
        let Head { crc, len } = zerocopy::transmute!(head);
        let (crc, payload_len) = (crc.get(), len.get() as usize);
        if crc == 0 && payload_len == 0 {
            return Self::End;
        }
        match frame_len(payload_len).filter(|len| *len as u64 <= room) {
            Some(frame_len) => Self::Frame(FrameHead { crc, payload_len, frame_len }),
            None => Self::Damage("a record that fits its segment"),
        }
    }
}

impl FrameHead {
    /// Checks what stands behind the payload: trailer and padding, which are the last of the `frame_len` bytes.
    ///
    /// # Errors
    /// What was expected.
    #[inline]
    pub fn check_tail(&self, tail: &[u8]) -> Result<(), &'static str> {
        let padding = tail.strip_prefix(&TRAILER).ok_or("the trailer of a record")?;
        if padding.iter().any(|b| *b != 0) { Err("zero padding behind a record") } else { Ok(()) }
    }

    /// Checks the checksum, given that of length and payload.
    ///
    /// # Errors
    /// What was expected.
    #[inline]
    pub fn check_crc(&self, crc: u32) -> Result<(), &'static str> {
        let is_right = crc == self.crc || planted::ignores(Checksum::LogRecord);
        if is_right { Ok(()) } else { Err("the checksum of a record") }
    }
}

/// What lies at offset `at` of the segment `bytes`.
#[inline]
pub fn frame_at(bytes: &[u8], at: usize) -> Found<'_> {
    let damage = |what| Found::Damage(Malformed::new(at, what));
    let Some(rest) = bytes.get(at..) else { return Found::End };
    let Some(head) = rest.first_chunk() else {
        return if rest.iter().all(|b| *b == 0) { Found::End } else { damage(SHORT_HEAD) };
    };
    let head = match Ahead::read(*head, rest.len() as u64) {
        Ahead::End => return Found::End,
        Ahead::Damage(what) => return damage(what),
        Ahead::Frame(head) => head,
    };
    let tail_at = FRAME_HEAD_BYTES + head.payload_len;
    // Both are within `frame_len`, which is within `rest`.
    let (Some(checked), Some(tail)) = (rest.get(4..tail_at), rest.get(tail_at..head.frame_len)) else {
        return damage("a record that fits its segment");
    };
    if let Err(what) = head.check_tail(tail).and_then(|()| head.check_crc(crc32c(checked))) {
        return damage(what);
    }
    let payload = checked.get(4..).unwrap_or_default();
    Found::Record(Frame { offset: at as u64, end: (at + head.frame_len) as u64, payload })
}

/// What is expected where fewer bytes than a head are left, and not all of them are zero.
pub const SHORT_HEAD: &str = "a frame head";

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
