//! Reads a log in order, also while it grows. Every record's checksum is checked on every read.
//!
//! A reader keeps the file it is in open, so a segment released meanwhile is read to its end.

use alloc::vec::Vec;

use nokv_formats::walfs::{Position, frame_len, segment_file_name};

use super::log::{Log, Mode, read_frame};
use super::survey::SegmentInfo;
use crate::error::{Error, IoContext, Result};
use crate::vfs::{OpenMode, Vfs, join};

/// A record of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it is.
    pub position: Position,
    /// Its log index, 0 for none.
    pub log_index: u64,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// What [`LogReader::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A record.
    Record(Record<'a>),
    /// Nothing yet: ask again after the next append.
    NoNewData,
    /// The end of a log that is closed or was opened for reading.
    End,
}

/// See the module.
pub struct LogReader<'l, V: Vfs> {
    log: &'l Log<V>,
    at: Option<Position>,
    /// Records before `at` in its segment; `None` until counted.
    ordinal: Option<u64>,
    file: Option<(u32, V::File)>,
    buf: Vec<u8>,
    last: Option<Position>,
    /// What is known of the segment at `at`: asked for again only at its end.
    known: Option<SegmentInfo>,
}

enum Place {
    In(SegmentInfo),
    Past,
    Wait,
}

impl<'l, V: Vfs> LogReader<'l, V> {
    pub(crate) fn new(log: &'l Log<V>, at: Option<Position>) -> Self {
        let ordinal = if at.is_none() { Some(0) } else { None };
        Self { log, at, ordinal, file: None, buf: Vec::new(), last: None, known: None }
    }

    /// Position of the record read last.
    pub const fn last_position(&self) -> Option<Position> {
        self.last
    }

    /// The next record, or why there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at damage: the reader stays there. What the file system says.
    #[expect(clippy::should_implement_trait, reason = "lends its buffer and can fail")]
    pub fn next(&mut self) -> Result<Next<'_>> {
        loop {
            let at = match self.at {
                Some(at) => at,
                None => match self.log.bounds() {
                    Some((first, _)) => Position::start_of(first),
                    None => return Ok(self.nothing()),
                },
            };
            self.at = Some(at);
            if let Some(known) = &self.known
                && known.number == at.segment
                && at.offset < known.end
            {
                let known = known.clone();
                return self.read(at, &known);
            }
            match self.place(at)? {
                Place::In(info) => {
                    self.known = Some(info.clone());
                    return self.read(at, &info);
                }
                Place::Past => {
                    self.at = Some(Position::start_of(at.segment.saturating_add(1)));
                    self.ordinal = Some(0);
                }
                Place::Wait => return Ok(self.nothing()),
            }
        }
    }

    fn nothing(&self) -> Next<'_> {
        match &self.log.mode {
            Mode::Writing { tail, .. } if !tail.state().is_closed() => Next::NoNewData,
            _ => Next::End,
        }
    }

    fn place(&self, at: Position) -> Result<Place> {
        let Some((first, last)) = self.log.bounds() else { return Ok(Place::Wait) };
        let info = self.log.extent(at.segment);
        if let Some(info) = &info
            && at.offset < info.end
        {
            return Ok(Place::In(info.clone()));
        }
        if let Mode::Reading { damage: Some((segment, damage, behind)), .. } = &self.log.mode
            && at.segment >= *segment
        {
            return Err(damage.error(&self.path(*segment), *behind));
        }
        match info {
            None if at.segment < first => {
                Err(Error::InvalidArgument(alloc::format!("segment {} was released", at.segment)))
            }
            // Rotated between the two looks: there may be more in it.
            Some(_)
                if at.segment < last && self.log.extent(at.segment).is_some_and(|i| at.offset < i.end) =>
            {
                self.place(at)
            }
            Some(_) if at.segment < last => Ok(Place::Past),
            _ => Ok(Place::Wait),
        }
    }

    fn path(&self, segment: u32) -> alloc::string::String {
        join(&self.log.dir, &segment_file_name(segment, &self.log.ext))
    }

    fn read(&mut self, at: Position, info: &SegmentInfo) -> Result<Next<'_>> {
        let path = self.path(at.segment);
        if self.file.as_ref().is_none_or(|(segment, _)| *segment != at.segment) {
            let file = self.log.fs.open(&path, OpenMode::Read).at("open", &path)?;
            self.file = Some((at.segment, file));
        }
        let Some((_, file)) = &self.file else { return Ok(Next::NoNewData) };
        let ordinal = match self.ordinal {
            Some(ordinal) => ordinal,
            None => {
                let mut ordinal = 0;
                let mut offset = Position::start_of(at.segment).offset;
                while offset < at.offset {
                    let payload = read_frame(file, &path, offset, info.end, &mut self.buf)?;
                    offset += frame_len(payload.len()).unwrap_or(8) as u64;
                    ordinal += 1;
                }
                if offset != at.offset {
                    return Err(Error::InvalidArgument(alloc::format!("no record starts at {at}")));
                }
                ordinal
            }
        };
        let payload = read_frame(file, &path, at.offset, info.end, &mut self.buf)?;
        let len = frame_len(payload.len()).unwrap_or(8) as u64;
        self.at = Some(Position { offset: at.offset + len, ..at });
        self.ordinal = Some(ordinal + 1);
        self.last = Some(at);
        let log_index = match info.first_log_index {
            0 => 0,
            first => first.saturating_add(ordinal),
        };
        let payload = self.buf.get(payload).unwrap_or_default();
        Ok(Next::Record(Record { position: at, log_index, payload }))
    }
}
