//! Reads the batch log up to one moment while it grows and is released.
//!
//! Who may call it: the engine, which takes a [`LogSnapshot`] by [`super::BatchLog::snapshot`]. It holds the files
//! open, so a segment that is released meanwhile is read to its end. What was appended before the moment is whole: any
//! damage is an error, never an end.

use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::envelope::Envelope;
use nokv_formats::walfs::{Found, HEADER_BYTES, Position, Scanner, segment_file_name};

use super::{BatchLogRecord, SEGMENT_EXT};
use crate::error::{Error, IoContext, Result};
use crate::vfs::{OpenMode, Vfs, VfsFile, join};
use crate::wal::survey::SegmentInfo;

/// See the module.
pub struct LogSnapshot<V: Vfs> {
    db_id: u64,
    segments: Vec<Open<V>>,
}

struct Open<V: Vfs> {
    number: u32,
    /// Where its records ended at the moment.
    end: u64,
    path: String,
    file: V::File,
}

/// A batch of which some parts were seen.
struct Partial {
    first: Envelope,
    next_part: u32,
    body: Vec<u8>,
}

impl<V: Vfs> LogSnapshot<V> {
    pub(super) fn open(fs: &V, dir: &str, db_id: u64, infos: Vec<SegmentInfo>) -> Result<Self> {
        let mut segments = Vec::with_capacity(infos.len());
        for info in infos {
            let path = join(dir, &segment_file_name(info.number, SEGMENT_EXT));
            let file = fs.open(&path, OpenMode::Read).at("open", &path)?;
            segments.push(Open { number: info.number, end: info.end, path, file });
        }
        Ok(Self { db_id, segments })
    }

    /// Gives all whole batches that start at `from` or behind it, in order.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damage; what `visit` gives; I/O errors.
    pub fn visit(
        &self,
        from: Position,
        visit: &mut dyn FnMut(&BatchLogRecord<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        let mut partial: Option<Partial> = None;
        let mut seen_any = false;
        for segment in &self.segments {
            if segment.number < from.segment || segment.end <= HEADER_BYTES as u64 {
                continue;
            }
            segment.read(&mut bytes)?;
            let start = if segment.number == from.segment { from.offset } else { 0 };
            let start = usize::try_from(start).unwrap_or(usize::MAX).max(HEADER_BYTES);
            let mut scanner = Scanner::starting_at(&bytes, start);
            while (scanner.offset() as u64) < segment.end {
                let at = Position { segment: segment.number, offset: scanner.offset() as u64 };
                let damage = |what: &'static str| Error::corrupt(&segment.path, at.offset, what);
                let frame = match scanner.step() {
                    Found::Record(frame) => frame,
                    Found::End => return Err(damage("expected records up to the end of the log")),
                    Found::Damage(m) => return Err(Error::malformed(&segment.path, 0, m)),
                };
                let (envelope, chunk) = Envelope::decode(frame.payload)
                    .map_err(|m| Error::malformed(&segment.path, at.offset, m))?;
                if envelope.db_id != self.db_id || envelope.at != at {
                    return Err(damage("expected a record of this database in its own place"));
                }
                let end = Position { segment: segment.number, offset: frame.end };
                // The rest of a batch that starts before `from`.
                if partial.is_none() && envelope.part != 0 && !seen_any {
                    continue;
                }
                seen_any = true;
                let expected = partial.as_ref().map_or(0, |p| p.next_part);
                if envelope.part != expected {
                    return Err(damage("expected the next part of a batch"));
                }
                if envelope.part == 0 && envelope.last_part {
                    visit(&record(&envelope, &envelope, end, chunk))?;
                    continue;
                }
                let mut whole = partial.take().unwrap_or_else(|| Partial {
                    first: envelope,
                    next_part: 0,
                    body: Vec::new(),
                });
                whole.body.extend_from_slice(chunk);
                whole.next_part = whole.next_part.saturating_add(1);
                if envelope.last_part {
                    visit(&record(&whole.first, &envelope, end, &whole.body))?;
                } else {
                    partial = Some(whole);
                }
            }
        }
        Ok(())
    }
}

fn record<'b>(first: &Envelope, last: &Envelope, end: Position, body: &'b [u8]) -> BatchLogRecord<'b> {
    BatchLogRecord { first_seq: first.first_seq, start: first.at, end, record_no: last.record_no, body }
}

impl<V: Vfs> Open<V> {
    /// Reads the records that were there at the moment.
    fn read(&self, buf: &mut Vec<u8>) -> Result<()> {
        let len = usize::try_from(self.end)
            .map_err(|_| Error::InvalidArgument(alloc::format!("{} does not fit in memory", self.path)))?;
        buf.clear();
        buf.resize(len, 0);
        self.file.read_exact_at(buf, 0).at("read", &self.path)
    }
}
