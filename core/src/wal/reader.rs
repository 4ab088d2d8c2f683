//! Reads a log in order, also while it grows. Every record's checksum is checked on every read.
//!
//! A reader keeps the file it is in open, so a segment released meanwhile is read to its end. Its place is known to
//! the log (`readers.rs`): truncation leaves alone what a reader stands behind.

use alloc::vec::Vec;
use core::ops::Range;

use nokv_formats::walfs::{Position, frame_len};

use super::decoder::RecordDecoder;
use super::log::{Log, Mode};
use super::read::read_frame;
use super::readers::Slot;
use super::survey::{SegmentInfo, log_index_of};
use crate::error::{Error, IoContext, Result};
use crate::sync::Arc;
use crate::vfs::{OpenMode, Vfs, VfsFile};

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
    slot: Slot,
    /// The log's epoch for which `file` and `known` hold.
    epoch: u64,
    at: Option<Position>,
    /// Records before `at` in its segment; `None` until counted.
    ordinal: Option<u64>,
    file: Option<(u32, V::File)>,
    buf: Vec<u8>,
    last: Option<Position>,
    /// Does it read from the first record on, whichever that is?
    from_start: bool,
    /// What is known of the segment at `at`: asked for again only at its end.
    known: Option<SegmentInfo>,
    decoder: Option<Arc<dyn RecordDecoder>>,
    scratch: Vec<u8>,
}

enum Place {
    In(SegmentInfo),
    Past,
    Wait,
}

/// What one look at the log gave.
enum Look {
    Found(Step),
    Nothing,
    /// The log changed meanwhile, or the place moved on to the next segment.
    Again,
}

/// A record in the reader's buffer.
struct Step {
    at: Position,
    log_index: u64,
    payload: Range<usize>,
}

impl<V: Vfs> Drop for LogReader<'_, V> {
    fn drop(&mut self) {
        self.log.readers.leave(&self.slot);
    }
}

impl<'l, V: Vfs> LogReader<'l, V> {
    pub(crate) fn new(log: &'l Log<V>, at: Option<Position>) -> Self {
        let ordinal = if at.is_none() { Some(0) } else { None };
        let slot = log.readers.enter(at.unwrap_or(Position::NIL));
        let epoch = log.readers.epoch();
        Self {
            log,
            slot,
            epoch,
            at,
            ordinal,
            file: None,
            buf: Vec::new(),
            last: None,
            from_start: at.is_none(),
            known: None,
            decoder: None,
            scratch: Vec::new(),
        }
    }

    /// Hands out what `decoder` makes of the records.
    #[must_use]
    pub fn with_decoder(mut self, decoder: Arc<dyn RecordDecoder>) -> Self {
        self.decoder = Some(decoder);
        self
    }

    /// Position of the record read last.
    pub const fn last_position(&self) -> Option<Position> {
        self.last
    }

    /// The next record, or why there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at damage, what the file system says, and what the decoder says: the reader stays there.
    #[expect(clippy::should_implement_trait, reason = "lends its buffer and can fail")]
    pub fn next(&mut self) -> Result<Next<'_>> {
        let before = (self.at, self.ordinal, self.last);
        let (step, is_over) = self.step_or_end(|log| !log.takes_records())?;
        let Some(step) = step else { return Ok(if is_over { Next::End } else { Next::NoNewData }) };
        let payload = self.buf.get(step.payload).unwrap_or_default();
        let payload = match &self.decoder {
            None => payload,
            Some(decoder) => {
                self.scratch.clear();
                match decoder.decode(payload, &mut self.scratch) {
                    Ok(decoded) => decoded,
                    Err(e) => {
                        // One step back never stands behind a truncation that allowed the step.
                        self.slot.step_back(before.0.unwrap_or(step.at));
                        (self.at, self.ordinal, self.last) = before;
                        return Err(e);
                    }
                }
            }
        };
        Ok(Next::Record(Record { position: step.at, log_index: step.log_index, payload }))
    }

    /// Passes the next record without decoding it; gives its position, or `None` where [`LogReader::next`] would
    /// say that there is none.
    ///
    /// # Errors
    /// As [`LogReader::next`], but for the decoder.
    pub fn seek_next(&mut self) -> Result<Option<Position>> {
        Ok(self.step()?.map(|step| step.at))
    }

    /// The next record, or whether there will be none.
    fn step_or_end(&mut self, is_over: impl FnOnce(&Log<V>) -> bool) -> Result<(Option<Step>, bool)> {
        if let Some(step) = self.step()? {
            return Ok((Some(step), false));
        }
        if !is_over(self.log) {
            return Ok((None, false));
        }
        // ORDER: what was appended between that look and the end of the log is seen by this one.
        Ok((self.step()?, true))
    }

    fn step(&mut self) -> Result<Option<Step>> {
        loop {
            let epoch = self.log.readers.epoch();
            if epoch != self.epoch {
                (self.epoch, self.known, self.file) = (epoch, None, None);
            }
            match self.look() {
                Ok(Look::Found(step)) => return Ok(Some(step)),
                Ok(Look::Nothing) => return Ok(None),
                Ok(Look::Again) => {}
                // A truncation that began meanwhile may be why.
                Err(e) if self.log.readers.epoch() == epoch && !self.starts_again() => return Err(e),
                Err(_) => {}
            }
        }
    }

    fn look(&mut self) -> Result<Look> {
        let at = match self.at {
            Some(at) => at,
            None => {
                let Some((first, _)) = self.log.bounds() else { return Ok(Look::Nothing) };
                let start = self.slot.start(&self.log.readers, self.epoch, first);
                let Some(start) = start else { return Ok(Look::Again) };
                self.at = Some(start);
                start
            }
        };
        if self.log.options.commit_check && at > self.log.committed() && !self.log.is_read_only() {
            return Ok(Look::Nothing);
        }
        let known = self.known.take().filter(|known| known.number == at.segment && at.offset < known.end);
        let place = match known {
            Some(known) => Place::In(known),
            None => self.place(at)?,
        };
        match place {
            Place::In(info) => {
                let look = self.read(at, &info);
                self.known = Some(info);
                look
            }
            Place::Past => {
                if self.stand(Position::start_of(at.segment.saturating_add(1))) {
                    self.ordinal = Some(0);
                }
                Ok(Look::Again)
            }
            Place::Wait => Ok(Look::Nothing),
        }
    }

    /// Moves, unless a truncation began since this reader looked at the log.
    fn stand(&mut self, to: Position) -> bool {
        let stands = self.slot.stand(&self.log.readers, self.epoch, to);
        if stands {
            self.at = Some(to);
        }
        stands
    }

    /// Goes back to before the first segment, if that was removed before anything was read from it.
    fn starts_again(&mut self) -> bool {
        let is_gone = |at: Position| at.segment < self.log.readers.floor();
        let again = self.from_start && self.last.is_none() && self.at.is_some_and(is_gone);
        if again {
            (self.at, self.ordinal, self.known, self.file) = (None, Some(0), None, None);
            self.slot.step_back(Position::NIL);
        }
        again
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
            return Err(damage.error(&self.log.segment_path(*segment), *behind));
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
            Some(info) if at.offset > info.end => {
                Err(Error::InvalidArgument(alloc::format!("the log ends before {at}")))
            }
            _ => Ok(Place::Wait),
        }
    }

    fn read(&mut self, at: Position, info: &SegmentInfo) -> Result<Look> {
        let path = self.log.segment_path(at.segment);
        if self.file.as_ref().is_none_or(|(segment, _)| *segment != at.segment) {
            let file = self.log.fs.open(&path, OpenMode::Read).at("open", &path)?;
            self.file = Some((at.segment, file));
        }
        let Some((_, file)) = &self.file else { return Ok(Look::Again) };
        let ordinal = match self.ordinal {
            Some(ordinal) => ordinal,
            None => count_before(file, &path, at, info.end, &mut self.buf)?,
        };
        // More records than a sealed segment's header says: that header lies.
        let log_index = log_index_of(info.first_log_index, ordinal)
            .ok_or_else(|| Error::corrupt(&path, at.offset, "a log index that another can follow"))?;
        let payload = read_frame(file, &path, at.offset, info.end, &mut self.buf)?;
        let len = frame_len(payload.len()).unwrap_or(8) as u64;
        if !self.stand(Position { offset: at.offset + len, ..at }) {
            return Ok(Look::Again);
        }
        self.ordinal = Some(ordinal + 1);
        self.last = Some(at);
        Ok(Look::Found(Step { at, log_index, payload }))
    }
}

/// How many records lie before `at` in its segment.
fn count_before<F: VfsFile>(file: &F, path: &str, at: Position, end: u64, buf: &mut Vec<u8>) -> Result<u64> {
    let mut ordinal = 0;
    let mut offset = Position::start_of(at.segment).offset;
    while offset < at.offset {
        let payload = read_frame(file, path, offset, end, buf)?;
        offset += frame_len(payload.len()).unwrap_or(8) as u64;
        ordinal += 1;
    }
    if offset != at.offset {
        return Err(Error::InvalidArgument(alloc::format!("no record starts at {at}")));
    }
    Ok(ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::testfs::TestFs;
    use crate::wal::LogOptions;

    #[test]
    fn a_record_appended_between_the_look_and_the_close_comes_before_the_end() {
        let options = LogOptions { segment_bytes: 1024, ..LogOptions::default() };
        let log = Log::open(TestFs::new(true), "log", options).unwrap();
        log.append(b"one", 1).unwrap();
        let mut reader = log.reader();
        assert!(matches!(reader.next(), Ok(Next::Record(_))));
        let (step, _) = reader
            .step_or_end(|log| {
                log.append(b"two", 2).unwrap();
                log.close().unwrap();
                !log.takes_records()
            })
            .unwrap();
        assert_eq!(step.map(|step| step.log_index), Some(2));
        assert_eq!(reader.next(), Ok(Next::End));
    }
}
