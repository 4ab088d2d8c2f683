//! Follows a log that another process writes, by looking at its files.
//!
//! Who may call it: anyone; it writes nothing and takes no lock. Rules
//! 1. A record is given once its frame is whole and its checksum right. Bytes at the end that are not (yet) a record
//!    are no news: the writer may be in the middle of a store.
//! 2. A segment is done when it is sealed, or when the next one holds a record: records are stored in order. That is
//!    looked at first and the end of the segment again after it, so nothing is skipped. A segment that was only made
//!    ahead of time does not end the one before it.
//! 3. In a segment that is done, anything but records up to its end is [`Error::Corrupt`].
//!
//! There is no portable way to be told of a store into a map that another process makes (file notifications do not
//! see it), so the caller asks again after a while. Within a process [`super::TailReader`] waits without asking.

use std::ops::Range;

use nokv_core::error::IoContext;
use nokv_core::formats::walfs::{
    FRAME_HEAD_BYTES, Found, HEADER_BYTES, Position, SegmentHeader, frame_at, frame_len,
    parse_segment_file_name, segment_file_name,
};
use nokv_core::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile, join};
use nokv_core::wal::Record;
use nokv_core::{Error, Result};

/// See the module.
pub struct FileTail<V: Vfs> {
    fs: V,
    dir: String,
    ext: String,
    /// The next frame; segment 0 before the first segment was found.
    at: Position,
    /// Records before `at` in its segment.
    ordinal: u64,
    /// Log index of the first record of its segment, once one was read there.
    first_index: Option<u64>,
    open: Option<Open<V::File>>,
    buf: Vec<u8>,
}

struct Open<F> {
    segment: u32,
    path: String,
    file: F,
}

/// What lies at a place of a file that may be written to meanwhile.
enum Look {
    Record(Range<usize>),
    /// Zeros, or the end of the file.
    End,
    /// Not a record (yet).
    Other(&'static str),
}

/// How far a segment is.
enum Progress {
    /// It may still grow.
    Growing,
    /// Sealed with its end there, or followed by a segment with records.
    Done { sealed_end: Option<u64> },
}

impl<V: Vfs> FileTail<V> {
    /// Starts at the oldest record, or behind the record at `after`.
    ///
    /// # Errors
    /// The directory cannot be read; no whole record starts at `after`.
    pub fn new(fs: V, dir: &str, ext: &str, after: Option<Position>) -> Result<Self> {
        fs.list(dir).at("list", dir)?;
        let at = Position { segment: 0, offset: HEADER_BYTES as u64 };
        let (dir, ext) = (dir.into(), ext.into());
        let mut tail = Self { fs, dir, ext, at, ordinal: 0, first_index: None, open: None, buf: Vec::new() };
        if let Some(after) = after {
            tail.skip_to(after)?;
        }
        Ok(tail)
    }

    /// Where the next record is or will be.
    pub const fn position(&self) -> Position {
        self.at
    }

    fn skip_to(&mut self, after: Position) -> Result<()> {
        let none = || Error::InvalidArgument(format!("no record starts at {after}"));
        self.at = Position::start_of(after.segment);
        if after.offset < self.at.offset || !self.open_segment()? {
            return Err(none());
        }
        while self.at.offset <= after.offset {
            let at = self.at;
            match self.look()? {
                Look::Record(payload) => self.step_over(payload.len()),
                Look::End | Look::Other(_) => return Err(none()),
            }
            if self.at.offset > after.offset && at.offset != after.offset {
                return Err(none());
            }
        }
        Ok(())
    }

    /// The next record, `None` where there is none yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at damage in a segment that is done; [`Error::InvalidArgument`] if the segment was removed;
    /// what the file system says.
    pub fn poll(&mut self) -> Result<Option<Record<'_>>> {
        let (position, log_index, payload) = loop {
            if !self.open_segment()? {
                return Ok(None);
            }
            if let Look::Record(payload) = self.look()? {
                break self.take(payload)?;
            }
            let Progress::Done { sealed_end } = self.progress()? else { return Ok(None) };
            // What was stored before the segment was done is seen now.
            match self.look()? {
                Look::Record(payload) => break self.take(payload)?,
                Look::Other(what) if sealed_end.is_none_or(|end| self.at.offset < end) => {
                    return Err(self.corrupt(&format!("expected {what}")));
                }
                _ if sealed_end.is_some_and(|end| self.at.offset < end) => {
                    return Err(self.corrupt("expected records up to the header's write offset"));
                }
                _ => {
                    let Some(next) = self.at.segment.checked_add(1) else { return Ok(None) };
                    self.at = Position::start_of(next);
                    (self.ordinal, self.first_index) = (0, None);
                }
            }
        };
        let payload = self.buf.get(payload).unwrap_or_default();
        Ok(Some(Record { position, log_index, payload }))
    }

    fn take(&mut self, payload: Range<usize>) -> Result<(Position, u64, Range<usize>)> {
        let position = self.at;
        let first = match self.first_index {
            Some(first) => first,
            None => self.read_first_index()?,
        };
        self.first_index = Some(first);
        let log_index = if first == 0 { 0 } else { first.saturating_add(self.ordinal) };
        self.step_over(payload.len());
        Ok((position, log_index, payload))
    }

    fn step_over(&mut self, payload_len: usize) {
        self.at.offset = self.at.offset.saturating_add(frame_len(payload_len).unwrap_or(0) as u64);
        self.ordinal = self.ordinal.saturating_add(1);
    }

    /// Opens the segment of `at`, if it is there.
    fn open_segment(&mut self) -> Result<bool> {
        if self.at.segment == 0 {
            let Some(first) = self.numbers()?.into_iter().min() else { return Ok(false) };
            self.at = Position::start_of(first);
        }
        if self.open.as_ref().is_some_and(|o| o.segment == self.at.segment) {
            return Ok(true);
        }
        let path = join(&self.dir, &segment_file_name(self.at.segment, &self.ext));
        match self.fs.open(&path, OpenMode::Read) {
            Ok(file) => {
                self.open = Some(Open { segment: self.at.segment, path, file });
                Ok(true)
            }
            Err(e) if e.kind == IoErrorKind::NotFound => {
                if self.numbers()?.into_iter().any(|n| n > self.at.segment) {
                    let text = format!("segment {} was removed", self.at.segment);
                    return Err(Error::InvalidArgument(text));
                }
                Ok(false)
            }
            Err(e) => Err(Error::io("open", path, e)),
        }
    }

    fn numbers(&self) -> Result<Vec<u32>> {
        let entries = self.fs.list(&self.dir).at("list", &self.dir)?;
        Ok(entries.iter().filter_map(|e| parse_segment_file_name(&e.name, &self.ext)).collect())
    }

    fn opened(&self) -> Result<&Open<V::File>> {
        self.open.as_ref().ok_or_else(|| Error::InvalidArgument("no segment is open".into()))
    }

    fn corrupt(&self, what: &str) -> Error {
        let path = self.open.as_ref().map_or("", |o| o.path.as_str());
        Error::corrupt(path, self.at.offset, what.to_owned())
    }

    /// Stays as it is from the first record on, so a header that is being stored shows it too, whose checksum does not
    /// hold yet.
    fn read_first_index(&self) -> Result<u64> {
        const FIRST_INDEX_AT: u64 = 44;
        let open = self.opened()?;
        let mut bytes = [0; 8];
        open.file.read_exact_at(&mut bytes, FIRST_INDEX_AT).at("read", &open.path)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn header(&self) -> Result<Option<SegmentHeader>> {
        let open = self.opened()?;
        let mut head = [0; HEADER_BYTES];
        let read = open.file.read_at(&mut head, 0).at("read", &open.path)?;
        Ok(SegmentHeader::decode(head.get(..read).unwrap_or_default()).ok())
    }

    /// What lies at `at`; a payload is left in the buffer.
    fn look(&mut self) -> Result<Look> {
        let Some(open) = &self.open else { return Ok(Look::End) };
        look_at(&open.file, &open.path, self.at.offset, &mut self.buf)
    }

    fn progress(&mut self) -> Result<Progress> {
        if let Some(header) = self.header()?.filter(SegmentHeader::is_sealed) {
            return Ok(Progress::Done { sealed_end: Some(header.write_offset) });
        }
        let Some(next) = self.at.segment.checked_add(1) else { return Ok(Progress::Growing) };
        let path = join(&self.dir, &segment_file_name(next, &self.ext));
        let file = match self.fs.open(&path, OpenMode::Read) {
            Ok(file) => file,
            // This one and the next were removed: what is open is read to its end.
            Err(e) if e.kind == IoErrorKind::NotFound => {
                let later = self.numbers()?.into_iter().any(|n| n > next);
                return Ok(if later { Progress::Done { sealed_end: None } } else { Progress::Growing });
            }
            Err(e) => return Err(Error::io("open", path, e)),
        };
        Ok(match look_at(&file, &path, HEADER_BYTES as u64, &mut self.buf)? {
            Look::Record(_) => Progress::Done { sealed_end: None },
            Look::End | Look::Other(_) => Progress::Growing,
        })
    }
}

/// Reads the frame at `offset`. Nothing is allocated beyond what the file holds.
fn look_at<F: VfsFile>(file: &F, path: &str, offset: u64, buf: &mut Vec<u8>) -> Result<Look> {
    const FIRST_READ_BYTES: usize = 4096;
    let mut want = FIRST_READ_BYTES;
    loop {
        buf.clear();
        buf.resize(want, 0);
        let read = file.read_at(buf, offset).at("read", path)?;
        buf.truncate(read);
        if read == want
            && let Some(len) = buf.get(4..FRAME_HEAD_BYTES).and_then(|b| b.first_chunk())
            && let Some(whole) = frame_len(u32::from_le_bytes(*len) as usize).filter(|n| *n > want)
            && whole as u64 <= file.size().at("size", path)?.saturating_sub(offset)
        {
            want = whole;
            continue;
        }
        return Ok(match frame_at(buf, 0) {
            Found::Record(frame) => Look::Record(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + frame.payload.len()),
            Found::End => Look::End,
            Found::Damage(m) => Look::Other(m.what),
        });
    }
}
