//! Reading a part of a sealed segment record by record, without pointers: to verify what is believed of it.
//!
//! Who may call it: value-log collection, tools. Any thread; the segment must not take appends.
//!
//! Records stand side by side, so a scan can only start where one starts: at the first, at a mark that was noted when
//! the segment was written, or some records behind the first. It ends at bytes that are no record: an append that failed
//! or was cut off leaves such, and no pointer names them.

use alloc::vec::Vec;

use nokv_formats::vlog::{Place, RECORD_HEADER_BYTES, Record, SEGMENT_HEADER_BYTES};

use super::log::ValueLog;
use crate::error::{IoContext, Result};
use crate::vfs::{Vfs, VfsFile};

/// Read at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Records that a scan without marks steps over at most, to start at a changing place.
const STEP_OVER_MAX: u64 = 1024;

/// How much is read, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleLimit {
    /// The sample ends behind the record that reaches so many bytes. At least one record is read.
    pub bytes: u64,
    /// It ends after so many records; at least 1.
    pub records: u64,
    /// A place that differs with the number; `None`: the first record.
    pub turn: Option<u64>,
}

/// What a sample covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sampled {
    /// Offset of its first record.
    pub from: u64,
    /// Offset behind its last one.
    pub to: u64,
    /// Records.
    pub records: u64,
    /// Length of the segment, header included.
    pub segment_bytes: u64,
}

impl<V: Vfs> ValueLog<V> {
    /// Visits whole records of a sealed segment with their offsets and lengths, from a record on and one after the
    /// other.
    ///
    /// # Errors
    /// `Corrupt` if the segment is missing or its header is another one's; `Io`; what `visit` gives.
    pub fn sample(
        &self,
        bucket: u16,
        segment: u32,
        limit: SampleLimit,
        visit: &mut dyn FnMut(u64, u64, &Record<'_>) -> Result<()>,
    ) -> Result<Sampled> {
        let source = self.reader(bucket, segment)?;
        let (file, path, segment_bytes) = source.parts();
        let mut scan = Scan { file, path, size: segment_bytes, bucket, segment, at: 0, buf: Vec::new() };
        let from = match limit.turn {
            None => SEGMENT_HEADER_BYTES,
            Some(turn) => match self.mark(bucket, segment, turn) {
                Some(mark) => mark,
                None => scan.step_over(turn % STEP_OVER_MAX)?,
            },
        };
        let mut sampled = Sampled { from, to: from, records: 0, segment_bytes };
        while sampled.records < limit.records.max(1) {
            let Some(record) = scan.record(sampled.to)? else { break };
            let len = nokv_formats::vlog::record_len(record.key.user_key.len(), record.value.len() as u32);
            visit(sampled.to, len, &record)?;
            sampled.to += len;
            sampled.records += 1;
            if sampled.to - from >= limit.bytes {
                break;
            }
        }
        Ok(sampled)
    }
}

/// A buffer over a part of a segment.
struct Scan<'a, F> {
    file: &'a F,
    path: &'a str,
    size: u64,
    bucket: u16,
    segment: u32,
    /// Offset of the first byte of `buf`.
    at: u64,
    buf: Vec<u8>,
}

impl<F: VfsFile> Scan<'_, F> {
    /// Bytes at `offset`: `len` of them, or fewer where the segment ends.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let within = |at: u64, have: usize| {
            offset >= at && (offset - at).checked_add(len as u64).is_some_and(|end| end <= have as u64)
        };
        if !within(self.at, self.buf.len()) {
            let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.buf.resize(len.max(CHUNK_BYTES).min(left), 0);
            self.at = offset;
            let mut have = 0;
            while let Some(rest) = self.buf.get_mut(have..).filter(|rest| !rest.is_empty()) {
                match self.file.read_at(rest, offset + have as u64).at("read", self.path)? {
                    0 => break,
                    read => have += read,
                }
            }
            self.buf.truncate(have);
        }
        let from = (offset - self.at) as usize;
        let to = from.saturating_add(len).min(self.buf.len());
        Ok(self.buf.get(from..to).unwrap_or(&[]))
    }

    /// The length that the record at `offset` claims, if the segment has that much.
    fn claimed_len(&mut self, offset: u64) -> Result<Option<u64>> {
        let size = self.size;
        let Some(header) = self.bytes(offset, RECORD_HEADER_BYTES)?.first_chunk() else { return Ok(None) };
        let Ok(len) = Record::claimed_len(header) else { return Ok(None) };
        Ok(offset.checked_add(len).filter(|end| *end <= size).map(|_| len))
    }

    /// The record at `offset`; `None` where there is none.
    fn record(&mut self, offset: u64) -> Result<Option<Record<'_>>> {
        let place = Place { bucket: self.bucket, segment: self.segment, offset };
        let Some(len) = self.claimed_len(offset)? else { return Ok(None) };
        let Ok(len) = usize::try_from(len) else { return Ok(None) };
        Ok(Record::decode(self.bytes(offset, len)?, place).ok())
    }

    /// Where the record `count` behind the first starts; the first if there are not so many.
    fn step_over(&mut self, count: u64) -> Result<u64> {
        let mut at = SEGMENT_HEADER_BYTES;
        for _ in 0..count {
            match self.claimed_len(at)? {
                Some(len) => at += len,
                None => return Ok(SEGMENT_HEADER_BYTES),
            }
        }
        // What stands there may be no record: lengths that were stepped over were not verified.
        Ok(if self.record(at)?.is_some() { at } else { SEGMENT_HEADER_BYTES })
    }
}
