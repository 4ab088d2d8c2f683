//! Reading a log at known places: one record, or the places of a segment's records.

use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::walfs::{
    FLAG_SEALED, Found, HEADER_BYTES, IndexEntry, Position, SegmentHeader, decode_index, frame_at, frame_len,
    index_file_name, segment_file_name,
};

use super::log::{LastRead, Log};
use super::reader::LogReader;
use super::survey::{SegmentInfo, read_segment};
use super::tail::index_of;
use crate::error::{Error, IoContext, Result};
use crate::sync::Arc;
use crate::vfs::{OpenMode, Vfs, VfsFile, join};

impl<V: Vfs> Log<V> {
    /// Places of a sealed segment's records: from its index file if that can be trusted, else from its records.
    ///
    /// # Errors
    /// No such segment, or it is not sealed; or [`Error::Corrupt`].
    pub fn index(&self, segment: u32) -> Result<Vec<IndexEntry>> {
        match self.extent(segment) {
            None => Err(Error::InvalidArgument(alloc::format!("no segment {segment} in the log"))),
            Some(info) if !info.sealed => {
                Err(Error::InvalidArgument(alloc::format!("segment {segment} is not sealed")))
            }
            Some(info) => self.places_in(&info),
        }
    }

    /// Places of the first `info.entries` records of a segment.
    pub(super) fn places_in(&self, info: &SegmentInfo) -> Result<Vec<IndexEntry>> {
        let mut bytes = Vec::new();
        if info.sealed
            && let Some(entries) = self.trusted_index(info, &mut bytes)
        {
            return Ok(entries);
        }
        let path = self.segment_path(info.number);
        read_segment(&self.fs, &path, &mut bytes)?;
        let mut entries = index_of(&bytes);
        let count = usize::try_from(info.entries).unwrap_or(usize::MAX);
        if entries.len() < count {
            return Err(Error::corrupt(path, HEADER_BYTES as u64, "fewer records than known of"));
        }
        entries.truncate(count);
        Ok(entries)
    }

    /// The index file of a sealed segment, if it agrees with what is known of the segment.
    pub(super) fn trusted_index(&self, info: &SegmentInfo, bytes: &mut Vec<u8>) -> Option<Vec<IndexEntry>> {
        let path = join(&self.dir, &index_file_name(info.number, &self.ext));
        read_segment(&self.fs, &path, bytes).ok()?;
        let header = SegmentHeader {
            write_offset: info.end,
            entry_count: info.entries,
            flags: FLAG_SEALED,
            ..SegmentHeader::new(info.created_ns, info.first_log_index, info.marker)
        };
        decode_index(bytes, &header).ok()
    }

    pub(super) fn segment_path(&self, segment: u32) -> String {
        join(&self.dir, &segment_file_name(segment, &self.ext))
    }

    /// The record at `position`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where no record was appended, [`Error::Corrupt`] where one was and is damaged.
    pub fn read(&self, position: Position) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.read_into(position, &mut out)?;
        Ok(out)
    }

    /// As [`Log::read`], into a buffer whose space is used again.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_into(&self, position: Position, out: &mut Vec<u8>) -> Result<()> {
        loop {
            let epoch = self.readers.epoch();
            let found = self.read_once(position, epoch, out);
            // A truncation meanwhile: look again at what is there now.
            if self.readers.epoch() == epoch {
                let payload = found?;
                out.truncate(payload.end);
                out.drain(..payload.start);
                return Ok(());
            }
        }
    }

    fn read_once(&self, at: Position, epoch: u64, out: &mut Vec<u8>) -> Result<core::ops::Range<usize>> {
        let Some(extent) = self.extent(at.segment) else {
            return Err(Error::InvalidArgument(alloc::format!("no segment {} in the log", at.segment)));
        };
        if at.offset < HEADER_BYTES as u64 || at.offset >= extent.end || !at.offset.is_multiple_of(8) {
            return Err(Error::InvalidArgument(alloc::format!("no record at {at}")));
        }
        let path = self.segment_path(at.segment);
        let known = self
            .last_read
            .lock()
            .as_ref()
            .filter(|l| l.segment == at.segment && l.epoch == epoch)
            .map(|l| Arc::clone(&l.file));
        let file = match known {
            Some(file) => file,
            None => {
                let file = Arc::new(self.fs.open(&path, OpenMode::Read).at("open", &path)?);
                let file_too = Arc::clone(&file);
                *self.last_read.lock() = Some(LastRead { segment: at.segment, epoch, file: file_too });
                file
            }
        };
        read_frame(&*file, &path, at.offset, extent.end, out)
    }

    /// Reads from the first record on.
    pub fn reader(&self) -> LogReader<'_, V> {
        LogReader::new(self, None)
    }

    /// Reads from the record at `position` on; from the first on for [`Position::NIL`].
    pub fn reader_from(&self, position: Position) -> LogReader<'_, V> {
        LogReader::new(self, Some(position).filter(|position| !position.is_zero()))
    }

    /// Reads what follows the record at `position`.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn reader_after(&self, position: Position) -> Result<LogReader<'_, V>> {
        let payload = self.read(position)?;
        let len = frame_len(payload.len()).unwrap_or(0) as u64;
        Ok(LogReader::new(self, Some(Position { offset: position.offset.saturating_add(len), ..position })))
    }
}

/// Reads one frame that must lie before `limit`; gives the payload's range in `buf`.
pub(crate) fn read_frame<F: VfsFile>(
    file: &F,
    path: &str,
    offset: u64,
    limit: u64,
    buf: &mut Vec<u8>,
) -> Result<core::ops::Range<usize>> {
    const FIRST_READ_BYTES: u64 = 4096;
    let most = limit.saturating_sub(offset);
    let mut want = most.min(FIRST_READ_BYTES) as usize;
    loop {
        buf.clear();
        buf.resize(want, 0);
        let read = file.read_at(buf, offset).at("read", path)?;
        buf.truncate(read);
        if let (Some(len), true) = (buf.get(4..8), want as u64 != most) {
            let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]);
            if let Some(whole) = frame_len(len as usize).filter(|n| *n > want && *n as u64 <= most) {
                want = whole;
                continue;
            }
        }
        return match frame_at(buf, 0) {
            Found::Record(frame) => Ok(8..8 + frame.payload.len()),
            Found::End => Err(Error::corrupt(path, offset, "expected a record, found zeros")),
            Found::Damage(m) => Err(Error::corrupt(path, offset, alloc::format!("expected {}", m.what))),
        };
    }
}
