//! Reads one segment file in order, also while it is written. Every record's checksum is checked.
//!
//! Who may call it: who holds a [`SegmentFile`]; each reader by one thread. It keeps the file open and is counted by
//! the segment, which is not removed or truncated under it.

use alloc::vec::Vec;

use nokv_formats::walfs::{Position, frame_len};

use super::read::read_frame;
use super::reader::{Next, Record};
use super::readers::Slot;
use super::segment_file::SegmentFile;
use crate::error::{IoContext, Result};
use crate::vfs::{OpenMode, Vfs};

/// See the module.
pub struct SegmentReader<'s, V: Vfs> {
    segment: &'s SegmentFile<V>,
    slot: Slot,
    at: Position,
    ordinal: u64,
    last: Option<Position>,
    file: Option<V::File>,
    buf: Vec<u8>,
}

impl<'s, V: Vfs> SegmentReader<'s, V> {
    pub(super) fn new(segment: &'s SegmentFile<V>) -> Self {
        let at = Position::start_of(segment.info().number);
        let slot = segment.readers.enter(at);
        Self { segment, slot, at, ordinal: 0, last: None, file: None, buf: Vec::new() }
    }

    /// Position of the record read last.
    pub const fn last_position(&self) -> Option<Position> {
        self.last
    }

    /// The next record; [`Next::End`] behind the last one of a sealed segment, [`Next::NoNewData`] of one that takes
    /// records.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) at damage: the reader stays there. What the file system says.
    #[expect(clippy::should_implement_trait, reason = "lends its buffer and can fail")]
    pub fn next(&mut self) -> Result<Next<'_>> {
        loop {
            let epoch = self.segment.readers.epoch();
            let info = self.segment.info();
            if self.at.offset >= info.end {
                return Ok(if info.sealed { Next::End } else { Next::NoNewData });
            }
            let file = match self.file.take() {
                Some(file) => file,
                None => {
                    let path = self.segment.path();
                    self.segment.fs.open(path, OpenMode::Read).at("open", path)?
                }
            };
            let read = read_frame(&file, self.segment.path(), self.at.offset, info.end, &mut self.buf);
            let len = read.as_ref().map_or(0, |payload| frame_len(payload.len()).unwrap_or(8)) as u64;
            let next = Position { offset: self.at.offset + len, ..self.at };
            if !self.slot.stand(&self.segment.readers, epoch, next) {
                // A truncation began meanwhile; the file may be another.
                continue;
            }
            self.file = Some(file);
            let payload = read?;
            let first = info.first_log_index;
            let log_index = if first == 0 { 0 } else { first.saturating_add(self.ordinal) };
            let position = core::mem::replace(&mut self.at, next);
            self.ordinal += 1;
            self.last = Some(position);
            let payload = self.buf.get(payload).unwrap_or_default();
            return Ok(Next::Record(Record { position, log_index, payload }));
        }
    }
}

impl<V: Vfs> Drop for SegmentReader<'_, V> {
    fn drop(&mut self) {
        self.segment.readers.leave(&self.slot);
        // A failure is told by the next call that asks for the removal.
        let _ = self.segment.remove_if_doomed();
    }
}
