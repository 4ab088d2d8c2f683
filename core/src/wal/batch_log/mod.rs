//! The engine's own log: batches, each whole or absent, on walfs segments.
//!
//! Who may call it: the engine, from any thread. A batch is one record, or several parts where it does not fit
//! a segment; each record starts with an envelope (see [`nokv_formats::envelope`]). Rules
//! 1. Records are numbered without holes, in the order of the log; the number is the walfs log index too.
//! 2. No sync ends inside a batch: a batch is stored under one hold of the append lock, and its segments are
//!    made before its first part is stored.
//! 3. What is durable can be told from the log alone: see `recover.rs`.

mod recover;
mod snapshot;
mod tally;

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::Seq;
use nokv_formats::envelope::{ENVELOPE_BYTES, Envelope, SECTION_HEAD_BYTES, Sections, section_head};
use nokv_formats::walfs::{
    FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES, HEADER_BYTES, Position, begin_frame, finish_frame, frame_len,
    payload_len_max, segment_file_name,
};

pub use recover::{Cut, RecoverFrom, RecoveryReport, replay_read_only};
pub use snapshot::LogSnapshot;
pub use tally::{GroupSpan, RecordCounts, Tally};

use super::open::fresh;
use super::segment::make_dir;
use super::survey::SegmentInfo;
use super::tail::{Config, State, Tail};
use crate::error::{Error, IoContext, Result};
use crate::sync::{AtomicU64, Ordering};
use crate::vfs::{OpenMode, Vfs, VfsFile, join};

/// Ending of the batch log's segment files.
pub const SEGMENT_EXT: &str = ".wal";
/// The rest of a segment is worth a part of a large batch from this size on.
const PART_ROOM_MIN: u64 = 4096;
/// The smallest segment: a frame of an envelope and some bytes.
const SEGMENT_BYTES_MIN: u64 = 512;

const _: () =
    assert!(SEGMENT_BYTES_MIN as usize >= HEADER_BYTES + FRAME_OVERHEAD_BYTES + ENVELOPE_BYTES + 64);

/// What a batch log must know of its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLogConfig {
    /// Size of new segments, in bytes, a multiple of 8.
    pub segment_bytes: u64,
    /// Number of the database, in every record.
    pub db_id: u64,
}

impl BatchLogConfig {
    fn check(&self) -> Result<()> {
        if self.segment_bytes < SEGMENT_BYTES_MIN || !self.segment_bytes.is_multiple_of(8) {
            let text = "a log segment must be a multiple of 8 bytes and at least 512";
            return Err(Error::InvalidArgument(text.to_string()));
        }
        Ok(())
    }

    fn tail_config(&self, dir: &str) -> Config {
        Config {
            dir: dir.to_string(),
            ext: SEGMENT_EXT.to_string(),
            segment_bytes: self.segment_bytes,
            marker: 0,
            write_index: false,
            // Records carry their own numbers.
            strict_first_index: false,
            // ... and how far the log was durable.
            only_headers_prove: false,
            clock: None,
        }
    }
}

/// A section of a batch to append.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// What it holds: a number of [`nokv_formats::envelope`].
    pub kind: u8,
    /// Whose it is, at most [`nokv_formats::envelope::GROUP_MAX`]; 0 for the engine itself.
    pub group: u64,
    /// Its bytes, in pieces.
    pub parts: &'a [&'a [u8]],
}

impl Section<'_> {
    fn len(&self) -> u64 {
        self.parts.iter().map(|p| p.len() as u64).sum()
    }

    fn head(&self) -> [u8; SECTION_HEAD_BYTES] {
        section_head(self.kind, self.group, self.len())
    }
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its first frame.
    pub start: Position,
    /// Behind its last frame: durable once [`BatchLog::durable`] is at least this.
    pub end: Position,
    /// Segment of its first frame: must not be released while the batch is needed.
    pub segment: u32,
}

impl Appended {
    /// Bytes of its frames; of the last segment's alone, where it lies in several.
    pub fn bytes(&self) -> u64 {
        let from =
            if self.start.segment == self.end.segment { self.start.offset } else { HEADER_BYTES as u64 };
        self.end.offset.saturating_sub(from)
    }
}

/// A batch, as recovery gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLogRecord<'a> {
    /// Seq of its first operation.
    pub first_seq: Seq,
    /// Its first frame.
    pub start: Position,
    /// Behind its last frame.
    pub end: Position,
    /// Number of its last record.
    pub record_no: u64,
    /// All its sections' bytes.
    pub body: &'a [u8],
}

impl<'a> BatchLogRecord<'a> {
    /// Its sections, in order.
    pub fn sections(&self) -> Sections<'a> {
        Sections::new(self.body)
    }
}

/// See the module.
pub struct BatchLog<V: Vfs> {
    tail: Tail<V>,
    db_id: u64,
    segments_removed: AtomicU64,
}

impl<V: Vfs> BatchLog<V> {
    /// Starts an empty batch log in `dir` with segment number `first_segment`.
    ///
    /// # Errors
    /// A segment of that number exists, or what the file system says.
    pub fn create(fs: &V, dir: &str, config: BatchLogConfig, first_segment: u32) -> Result<Self> {
        config.check()?;
        make_dir(fs, dir)?;
        let tail_config = config.tail_config(dir);
        let segment = tail_config.create_segment(fs, first_segment.max(1), 1)?;
        let tail = Tail::new(fs.clone(), tail_config, fresh(segment), Default::default());
        Ok(Self { tail, db_id: config.db_id, segments_removed: AtomicU64::new(0) })
    }

    /// Appends a batch whose first operation has `first_seq`. It survives the death of the process when this
    /// returns, and a power cut once [`BatchLog::durable`] reached its end.
    ///
    /// # Errors
    /// A full disk is clean: nothing was appended. After any other failure the batch log is dead.
    pub fn append(&self, first_seq: Seq, sections: &[Section<'_>]) -> Result<Appended> {
        let body_len = body_len(sections);
        let mut guard = self.tail.state();
        let state = &mut *guard;
        state.alive()?;
        let durable = self.tail.durable();
        let whole = frame_of(body_len);
        let fits = |room: u64| whole.is_some_and(|len| len <= room);
        if !fits(state.room()) && fits(self.tail.config.segment_bytes - HEADER_BYTES as u64) {
            let record_no = state.record_no;
            self.tail.rotate(state, record_no)?;
        }
        if !fits(state.room()) {
            return self.append_parts(state, first_seq, sections, body_len, durable);
        }
        self.set_first_record(state)?;
        let start = state.end();
        state.frame.clear();
        begin_frame(&mut state.frame);
        let envelope = self.envelope(state, 0, true, first_seq, durable);
        state.frame.extend_from_slice(&envelope.to_bytes());
        for section in sections {
            state.frame.extend_from_slice(&section.head());
            for part in section.parts {
                state.frame.extend_from_slice(part);
            }
        }
        finish_frame(&mut state.frame, 0);
        state.store_frame()?;
        state.record_no += 1;
        count(state, start, sections);
        Ok(Appended { start, end: state.end(), segment: start.segment })
    }

    /// A batch that does not fit a segment.
    #[cold]
    fn append_parts(
        &self,
        state: &mut State<V>,
        first_seq: Seq,
        sections: &[Section<'_>],
        body_len: u64,
        durable: Position,
    ) -> Result<Appended> {
        let fresh_room = self.tail.config.segment_bytes - HEADER_BYTES as u64;
        let fresh_body = part_body(fresh_room);
        let first_body = if state.room() >= PART_ROOM_MIN { part_body(state.room()) } else { 0 };
        let segments = body_len.saturating_sub(first_body).div_ceil(fresh_body.max(1));
        let segments = usize::try_from(segments).unwrap_or(usize::MAX).saturating_add(1);
        // ORDER: all space is there before the first part is stored, so a full disk leaves no half batch.
        self.tail.reserve(state, segments, 0)?;
        if first_body == 0 {
            let record_no = state.record_no;
            self.tail.rotate(state, record_no)?;
        }
        let heads: Vec<_> = sections.iter().map(Section::head).collect();
        let mut pieces = sections
            .iter()
            .zip(&heads)
            .flat_map(|(section, head)| core::iter::once(&head[..]).chain(section.parts.iter().copied()));
        let mut piece: &[u8] = &[];
        let (mut left, mut part) = (body_len, 0);
        let mut start = None;
        loop {
            let mut room = usize::try_from(part_body(state.room()).min(left)).unwrap_or(usize::MAX);
            left -= room as u64;
            let stored = self.set_first_record(state).and_then(|()| {
                state.frame.clear();
                begin_frame(&mut state.frame);
                let envelope = self.envelope(state, part, left == 0, first_seq, durable);
                state.frame.extend_from_slice(&envelope.to_bytes());
                while room > 0 {
                    if piece.is_empty() {
                        let Some(next) = pieces.next() else { break };
                        piece = next;
                    }
                    let (now, later) = piece.split_at(piece.len().min(room));
                    state.frame.extend_from_slice(now);
                    room -= now.len();
                    piece = later;
                }
                finish_frame(&mut state.frame, 0);
                state.store_frame()
            });
            // A batch that stops half way must be the last thing in the log.
            let at = stored.inspect_err(|e| state.kill(e))?;
            start.get_or_insert(at);
            state.record_no += 1;
            part += 1;
            if left == 0 {
                let start = start.unwrap_or(at);
                count(state, start, sections);
                return Ok(Appended { start, end: state.end(), segment: start.segment });
            }
            let record_no = state.record_no;
            self.tail.rotate(state, record_no).inspect_err(|e| state.kill(e))?;
        }
    }

    fn envelope(
        &self,
        state: &State<V>,
        part: u32,
        last_part: bool,
        first_seq: Seq,
        durable: Position,
    ) -> Envelope {
        Envelope {
            part,
            last_part,
            db_id: self.db_id,
            at: state.end(),
            record_no: state.record_no,
            first_seq,
            durable,
        }
    }

    fn set_first_record(&self, state: &mut State<V>) -> Result<()> {
        if state.active.entries == 0 {
            let record_no = state.record_no;
            return self.tail.set_first_index(state, record_no);
        }
        Ok(())
    }

    /// Makes every batch appended before the call durable; gives the position up to which the log is. Callers
    /// at the same time share flushes; appends go on meanwhile.
    ///
    /// # Errors
    /// A failed flush: whether the batches survive is unknown, and the batch log is dead.
    pub fn sync(&self) -> Result<Position> {
        self.tail.sync()
    }

    /// [`BatchLog::sync`], where `before` makes durable what batches point to, before they are. What is appended
    /// while it runs is not claimed.
    ///
    /// # Errors
    /// As [`BatchLog::sync`], and what `before` gives.
    pub fn sync_after(&self, before: impl FnOnce() -> Result<()>) -> Result<Position> {
        self.tail.sync_after(before)
    }

    /// Up to where the log is durable.
    pub fn durable(&self) -> Position {
        self.tail.durable()
    }

    /// Where the next batch goes.
    pub fn end(&self) -> Position {
        self.tail.state().end()
    }

    /// Background step: seals segments that were rotated away, so that the next sync need not.
    ///
    /// # Errors
    /// As [`BatchLog::sync`].
    pub fn maintain(&self) -> Result<()> {
        self.tail.seal_rotated()
    }

    /// Is it time for [`BatchLog::prepare_next`]: is the active segment half full, and no next one there?
    pub fn wants_next(&self) -> bool {
        self.tail.wants_next()
    }

    /// Background step: makes the next segment ahead of time, so that an append need not. False if it is there.
    ///
    /// # Errors
    /// A full disk is clean.
    pub fn prepare_next(&self) -> Result<bool> {
        self.tail.prepare_next()
    }

    /// Removes the segments before `segment`, never the active one; gives the bytes of their files.
    ///
    /// # Errors
    /// What the file system says; the rest can be released by another call.
    pub fn release_below(&self, segment: u32) -> Result<u64> {
        let first = self.tail.state().first_number();
        let removed = self.tail.release_below(segment);
        // Also after an error: some may be gone. Segments are numbered without a hole.
        let mut state = self.tail.state();
        let now_first = state.first_number();
        state.tally.forget_below(now_first);
        drop(state);
        self.segments_removed.fetch_add(u64::from(now_first.saturating_sub(first)), Ordering::Relaxed);
        removed
    }

    /// Segments that were removed since the log was opened.
    pub fn segments_removed(&self) -> u64 {
        self.segments_removed.load(Ordering::Relaxed)
    }

    /// What kinds of sections the log holds, by segment and group.
    pub fn tally(&self) -> Tally {
        self.tail.state().tally.clone()
    }

    /// Does it hold records of any group?
    pub fn has_groups(&self) -> bool {
        !self.tail.state().tally.groups().is_empty()
    }

    /// The records of one group.
    pub fn group_span(&self, group: u64) -> Option<GroupSpan> {
        self.tail.state().tally.groups().get(&group).copied()
    }

    /// What the log holds of `group` before `before` does not count any more.
    pub(crate) fn forget_group(&self, group: u64, before: Position) {
        self.tail.state().tally.forget_group(group, before);
    }

    /// Does a batch start at `at`, or do records end there? The caller sees to it that nothing is released meanwhile.
    ///
    /// # Errors
    /// What the file system says.
    pub fn is_place(&self, at: Position) -> Result<bool> {
        let Some(info) = self.tail.state().info_of(at.segment) else { return Ok(false) };
        if at.offset == info.end || at.offset == HEADER_BYTES as u64 {
            return Ok(true);
        }
        if at.offset > info.end || !at.offset.is_multiple_of(8) {
            return Ok(false);
        }
        let path = join(&self.tail.config.dir, &segment_file_name(at.segment, SEGMENT_EXT));
        let file = self.tail.fs.open(&path, OpenMode::Read).at("open", &path)?;
        let mut bytes = [0; FRAME_HEAD_BYTES + ENVELOPE_BYTES];
        let read = file.read_at(&mut bytes, at.offset).at("read", &path)?;
        let payload = bytes.get(FRAME_HEAD_BYTES..read).unwrap_or_default();
        // A record names its own place, so bytes within one do not pass for a start.
        Ok(Envelope::decode(payload).is_ok_and(|(envelope, _)| {
            envelope.at == at && envelope.part == 0 && envelope.db_id == self.db_id
        }))
    }

    /// The log as it is now, from segment `from` on, to be read while it grows. The caller sees to it that nothing is
    /// released during this call; later it may.
    ///
    /// # Errors
    /// What the file system says.
    pub fn snapshot(&self, from: u32) -> Result<LogSnapshot<V>> {
        let infos: Vec<_> = self.tail.state().infos().filter(|info| info.number >= from).collect();
        LogSnapshot::open(&self.tail.fs, &self.tail.config.dir, self.db_id, infos)
    }

    /// Bytes of headers and records in all segments.
    pub fn live_bytes(&self) -> u64 {
        self.tail.state().infos().map(|i| i.end).sum()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.tail.state().infos().collect()
    }

    /// Syncs and seals everything and takes no more batches; gives the end, for [`RecoverFrom::clean_end`].
    ///
    /// # Errors
    /// As [`BatchLog::sync`].
    pub fn seal_for_close(&self) -> Result<Position> {
        self.tail.close(true)
    }
}

fn count<V: Vfs>(state: &mut State<V>, start: Position, sections: &[Section<'_>]) {
    sections.iter().for_each(|s| state.tally.add(start, s.kind, s.group));
}

fn body_len(sections: &[Section<'_>]) -> u64 {
    sections.iter().map(|s| SECTION_HEAD_BYTES as u64 + s.len()).sum()
}

/// Bytes of the frame of a whole batch.
fn frame_of(body_len: u64) -> Option<u64> {
    let payload = usize::try_from(body_len).ok()?.checked_add(ENVELOPE_BYTES)?;
    frame_len(payload).map(|len| len as u64)
}

/// The longest chunk whose frame fits `room`.
fn part_body(room: u64) -> u64 {
    let payload = payload_len_max(usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(0);
    payload.saturating_sub(ENVELOPE_BYTES) as u64
}
