//! Opening a batch log: torn tail or rot?
//!
//! The *chain* is the run of records, from the floor on, that are whole, in their own place, of this database,
//! and numbered without a hole. The *mark* is the highest position that anything found proves to have been durable:
//! a durable position in a record (also in whole records behind the chain), the write offset of a header that
//! moved, the end that a clean close recorded. The chain ends before the mark: *rot*, an error, nothing is
//! changed. Else what lies behind the last complete batch is a *torn tail*: appends that no sync covered, some
//! sectors of which may have reached the disk.
//!
//! ```text
//! crash after                                        the next recovery finds
//! a. segments behind the cut zeroed, last first      a shorter tail behind the same cut; the mark is no higher
//! b. ... and their names removed                     the same, without gaps: each removal is durable
//! c. the rest of the last segment zeroed, what the
//!    mark does not cover written again, synced       the chain and zeros
//! d. earlier open segments synced                    the same
//! e. ... and sealed, oldest first                    the same; their write offsets are true
//! f. the last header's write offset stored           the same
//! ```

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cmp::Ordering;

use nokv_formats::Seq;
use nokv_formats::envelope::Envelope;
use nokv_formats::walfs::{FLAG_ACTIVE, HEADER_BYTES, Position, SegmentHeader, segment_file_name};

use super::{BatchLog, BatchLogConfig, BatchLogRecord, SEGMENT_EXT, Tally};
use crate::error::{Error, IoContext, Result};
use crate::frames::{Frames, Look};
use crate::planted::{self, Bug};
use crate::sync::{Arc, AtomicU64};
use crate::vfs::{IoErrorKind, Vfs, VfsFile, join};
use crate::wal::open::{fresh, remove_behind};
use crate::wal::segment::{Segment, copy_before_write};
use crate::wal::survey::{SegmentFile, SegmentInfo, Surveyed, list_segments};
use crate::wal::tail::{Config, Rotated, Tail};

/// No segment is longer: the options allow none.
const SEGMENT_BYTES_MAX: u64 = 1 << 32;

/// Where recovery starts, and what is known from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoverFrom {
    /// The first segment that is needed; it must be there. Earlier ones are left alone.
    pub floor_segment: u32,
    /// What [`BatchLog::seal_for_close`] gave, if the database was closed cleanly and not opened since.
    pub clean_end: Option<Position>,
    /// A record from which on nothing counts, though it is whole: the prefix ends before it. Only behind the last
    /// durable mark; before it, it is rot.
    pub end_before: Option<Position>,
}

/// What recovery removed behind the last durable mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// From here on.
    pub at: Position,
    /// Where the chain of records ended.
    pub broken_at: Position,
    /// What was expected there.
    pub what: &'static str,
    /// Bytes that were not zero.
    pub bytes: u64,
    /// Whole records of this batch log.
    pub records: u64,
}

/// What recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Batches delivered.
    pub batches: u64,
    /// Their records.
    pub records: u64,
    /// Segments that hold records.
    pub segments: u64,
    /// Bytes of the records in them.
    pub bytes: u64,
    /// Behind the last complete batch.
    pub end: Position,
    /// How far the log is proved to have been durable.
    pub durable_mark: Position,
    /// What was removed (or would be, by a recovery that may write).
    pub cut: Option<Cut>,
    /// Segments with a damaged header; rebuilt from the records.
    pub headers_rebuilt: Vec<u32>,
    /// What the batches hold, by segment and group.
    pub tally: Tally,
}

struct Partial {
    first_seq: Seq,
    start: Position,
    next_part: u32,
    records: u64,
    body: Vec<u8>,
}

struct Broken {
    at: Position,
    what: &'static str,
}

/// The walk over all segments.
struct Walk {
    db_id: u64,
    /// Number of the next record; `None` until one was seen.
    expected: Option<u64>,
    /// No record was seen, and a segment that is neither sealed nor says what its first record's number is may have lost
    /// some.
    is_open_start: bool,
    partial: Option<Partial>,
    end_before: Option<Position>,
    /// Where the chain is.
    at: Position,
    broken: Option<Broken>,
    mark: Position,
    /// Behind the last complete batch, with the records of its segment before it, and the next number.
    good: Position,
    good_entries: u64,
    good_next: Option<u64>,
    /// Whole records behind `good`.
    behind: u64,
    report: RecoveryReport,
}

type Visit<'v> = &'v mut dyn FnMut(BatchLogRecord<'_>) -> Result<()>;

impl Walk {
    fn break_at(&mut self, at: Position, what: &'static str) {
        self.broken.get_or_insert(Broken { at, what });
    }

    /// A record that counts, though not for the chain: whole, in its own place, of this database.
    fn own(&self, payload: &[u8], at: Position) -> core::result::Result<Envelope, &'static str> {
        let (envelope, _) = Envelope::decode(payload).map_err(|m| m.what)?;
        if envelope.db_id != self.db_id {
            return Err("a record of this database");
        }
        if envelope.at != at {
            return Err("a record in its own place");
        }
        Ok(envelope)
    }

    /// Takes the next record of the chain, or says why it is none.
    fn link(
        &mut self,
        payload: &[u8],
        at: Position,
        end: Position,
        entries: u64,
        visit: Visit<'_>,
    ) -> Result<core::result::Result<(), &'static str>> {
        let envelope = match self.own(payload, at) {
            Ok(envelope) => envelope,
            Err(what) => return Ok(Err(what)),
        };
        if self.expected.is_some_and(|n| n != envelope.record_no) {
            return Ok(Err("the next record number"));
        }
        let Some(next) = envelope.record_no.checked_add(1) else {
            return Ok(Err("a record number below the largest"));
        };
        let chunk = payload.get(nokv_formats::envelope::ENVELOPE_BYTES..).unwrap_or_default();
        // The floor may start inside a batch that is not needed any more.
        let is_rest = self.partial.is_none() && envelope.part != 0;
        if is_rest && self.good_next.is_some() {
            return Ok(Err("the first part of a batch"));
        }
        if let Some(partial) = &self.partial
            && (envelope.part != partial.next_part || envelope.first_seq != partial.first_seq)
        {
            return Ok(Err("the next part of a batch"));
        }
        self.expected = Some(next);
        self.mark = self.mark.max(envelope.durable);
        self.behind += 1;
        if is_rest {
            if envelope.last_part {
                self.complete(end, entries, next);
            }
            return Ok(Ok(()));
        }
        let mut partial = self.partial.take().unwrap_or_else(|| Partial {
            first_seq: envelope.first_seq,
            start: at,
            next_part: 0,
            records: 0,
            body: Vec::new(),
        });
        partial.records += 1;
        if !envelope.last_part {
            partial.body.extend_from_slice(chunk);
            partial.next_part = partial.next_part.saturating_add(1);
            self.partial = Some(partial);
            return Ok(Ok(()));
        }
        let body = if partial.body.is_empty() {
            chunk
        } else {
            partial.body.extend_from_slice(chunk);
            &partial.body
        };
        let record_no = envelope.record_no;
        let batch =
            BatchLogRecord { first_seq: partial.first_seq, start: partial.start, end, record_no, body };
        // A section that cannot be read is for `visit` to complain of.
        for section in batch.sections().map_while(core::result::Result::ok) {
            self.report.tally.add(batch.start, section.kind, section.group);
        }
        visit(batch)?;
        self.report.batches += 1;
        self.report.records += partial.records;
        self.complete(end, entries, next);
        Ok(Ok(()))
    }

    fn complete(&mut self, end: Position, entries: u64, next: u64) {
        self.good = end;
        self.good_entries = entries;
        self.good_next = Some(next);
        self.behind = 0;
    }

    /// Walks one segment.
    fn segment<F: VfsFile>(
        &mut self,
        s: &mut Surveyed,
        frames: &mut Frames<F>,
        visit: Visit<'_>,
    ) -> Result<()> {
        let number = s.number;
        let header = s.header.as_ref().ok().copied();
        if let Some(claim) = s.durable_claim() {
            self.mark = self.mark.max(claim);
        }
        if self.broken.is_none() {
            self.enter(number, header, frames)?;
        }
        let mut behind_from = HEADER_BYTES as u64;
        if self.broken.is_none() {
            behind_from = self.records(s, frames, visit)?;
            let sealed_elsewhere = header
                .filter(SegmentHeader::is_sealed)
                .is_some_and(|h| h.write_offset != s.end || h.entry_count != s.entries);
            if sealed_elsewhere {
                self.break_at(self.at, "records up to the write offset of a sealed segment");
            }
        }
        self.is_open_start |= self.expected.is_none() && !s.is_sealed();
        // What lies behind the write offset of a whole sealed segment is nothing to anybody.
        if self.broken.is_none() && s.is_sealed() {
            return Ok(());
        }
        let mut budget = frames.len().saturating_mul(8);
        while let Some(place) = frames.find(behind_from, &mut budget)? {
            behind_from = place.end;
            let at = Position { segment: number, offset: place.at };
            let Some(Ok(envelope)) = frames.payload(&place)?.map(|payload| self.own(payload, at)) else {
                continue;
            };
            if self.broken.is_none() {
                // Beside a writer, which has gone on since the zeros before this record were read, it is the chain's.
                frames.refresh();
                if matches!(frames.look(s.end)?, Look::Record(_)) {
                    behind_from = self.records(s, frames, visit)?;
                    continue;
                }
                self.break_at(self.at, "a record, not zeros");
            }
            self.mark = self.mark.max(envelope.durable);
            self.behind += 1;
        }
        Ok(())
    }

    /// Follows the chain through a segment; gives from where on there may be records that are not of it.
    fn records<F: VfsFile>(
        &mut self,
        s: &mut Surveyed,
        frames: &mut Frames<F>,
        visit: Visit<'_>,
    ) -> Result<u64> {
        loop {
            let at = Position { segment: s.number, offset: s.end };
            let place = match frames.look(s.end)? {
                Look::Record(_) if self.end_before == Some(at) => {
                    self.break_at(at, "the value that a pointer of this record names");
                    return Ok(s.end);
                }
                Look::Record(place) => place,
                Look::Damage(what) => {
                    self.break_at(at, what);
                    return Ok(s.end.saturating_add(8));
                }
                Look::End => return Ok(s.end),
            };
            let end = Position { segment: s.number, offset: place.end };
            let Some(payload) = frames.payload(&place)? else {
                self.break_at(at, "the checksum of a record");
                return Ok(s.end.saturating_add(8));
            };
            if let Err(what) = self.link(payload, at, end, s.entries + 1, visit)? {
                self.break_at(at, what);
                return Ok(place.end);
            }
            s.entries += 1;
            s.end = place.end;
            self.at = end;
        }
    }

    /// Steps from the end of one segment to the next.
    fn enter<F: VfsFile>(
        &mut self,
        number: u32,
        header: Option<SegmentHeader>,
        frames: &mut Frames<F>,
    ) -> Result<()> {
        let first = header.map_or(0, |h| h.first_log_index);
        match self.expected {
            // The header says what the first record's number is: a check on the end of the segment before.
            Some(expected) if first != 0 && first != expected => {
                self.break_at(self.at, "records up to the start of the next segment");
                return Ok(());
            }
            Some(_) => {}
            None if number > self.good.segment && (first == 0 || self.is_open_start) => {
                // Nothing was seen so far: what should have come first cannot be known to be there. That this segment
                // says what its own first record is proves nothing: the header before may be lost with its records.
                if matches!(frames.look(HEADER_BYTES as u64)?, Look::Record(_)) {
                    self.break_at(self.at, "records in the first segment");
                    return Ok(());
                }
            }
            None if first != 0 => self.expected = Some(first),
            None => {}
        }
        if number > self.at.segment {
            self.at = Position::start_of(number);
        }
        Ok(())
    }
}

/// Reads the segments from the floor on; gives them and what the walk found. Writes nothing.
fn walk<V: Vfs>(
    fs: &V,
    dir: &str,
    config: BatchLogConfig,
    from: RecoverFrom,
    visit: Visit<'_>,
) -> Result<(Walk, Vec<Surveyed>, Vec<SegmentFile>, u64)> {
    let listed = match list_segments(fs, dir, SEGMENT_EXT) {
        // Who recovers a log knows that there was one.
        Err(Error::Io { source, .. }) if source.kind == IoErrorKind::NotFound => {
            return Err(Error::corrupt(dir, 0, "the directory of the log is missing"));
        }
        listed => listed?,
    };
    let (stale, live): (Vec<_>, Vec<_>) = listed.into_iter().partition(|f| f.number < from.floor_segment);
    let floor = Position::start_of(from.floor_segment);
    let mut walk = Walk {
        db_id: config.db_id,
        end_before: from.end_before,
        expected: None,
        is_open_start: false,
        partial: None,
        at: floor,
        broken: None,
        mark: from.clean_end.unwrap_or_default(),
        good: floor,
        good_entries: 0,
        good_next: None,
        behind: 0,
        report: RecoveryReport::default(),
    };
    let path_of = |number| join(dir, &segment_file_name(number, SEGMENT_EXT));
    if live.first().is_none_or(|f| f.number != from.floor_segment) {
        return Err(Error::corrupt(
            path_of(from.floor_segment),
            0,
            "the first segment of the log is missing",
        ));
    }
    let (mut segments, mut cut_bytes) = (Vec::new(), 0u64);
    let mut last_number = None;
    for found in live {
        if found.file_bytes < HEADER_BYTES as u64 {
            // A segment gets its name when it is whole, and no crash makes it shorter than its header.
            return Err(Error::corrupt(&found.path, found.file_bytes, "a segment header of 64 bytes"));
        }
        if found.file_bytes > SEGMENT_BYTES_MAX {
            return Err(Error::corrupt(&found.path, SEGMENT_BYTES_MAX, "a segment of at most 4 GiB"));
        }
        let mut frames = Frames::open(fs, &found.path)?;
        let header = SegmentHeader::decode(frames.bytes(0, HEADER_BYTES)?);
        if last_number.is_some_and(|n: u32| n.checked_add(1) != Some(found.number)) {
            walk.break_at(walk.at, "the next segment: its file is missing");
        }
        last_number = Some(found.number);
        if header.is_err() {
            walk.report.headers_rebuilt.push(found.number);
        }
        let mut s = Surveyed {
            number: found.number,
            path: found.path.to_string(),
            file_bytes: found.file_bytes,
            links: found.links,
            header,
            header_rebuilt: false,
            raw_first_index: 0,
            end: HEADER_BYTES as u64,
            entries: 0,
            damage: None,
        };
        walk.segment(&mut s, &mut frames, visit)?;
        // How much lies behind the chain, for the report.
        if !s.is_sealed() || walk.broken.is_some() {
            cut_bytes = cut_bytes.saturating_add(frames.used_from(s.end)? - s.end);
        }
        walk.report.segments += u64::from(s.entries > 0);
        walk.report.bytes += s.end.saturating_sub(HEADER_BYTES as u64);
        segments.push(s);
    }
    // Bytes of an incomplete batch at the end of the chain.
    let incomplete: u64 = segments
        .iter()
        .filter(|s| s.number >= walk.good.segment)
        .map(|s| {
            if s.number == walk.good.segment {
                s.end - walk.good.offset.min(s.end)
            } else {
                s.end - HEADER_BYTES as u64
            }
        })
        .sum();
    cut_bytes = cut_bytes.saturating_add(incomplete);
    let chain_end = walk.broken.as_ref().map_or(walk.at, |b| b.at);
    // No sync ends inside a batch, so one that began before the mark is all before it.
    if chain_end < walk.mark || (walk.partial.is_some() && walk.good < walk.mark) {
        let what = walk.broken.as_ref().map_or("records up to the last durable position", |b| b.what);
        let text = alloc::format!(
            "expected {what}; the log was durable up to {}, with {} whole records behind",
            walk.mark,
            walk.behind
        );
        return Err(Error::corrupt(path_of(chain_end.segment), chain_end.offset, text));
    }
    let torn = walk.broken.take();
    if torn.is_some() || walk.partial.is_some() || cut_bytes > 0 {
        let what = torn.map_or(
            if walk.partial.is_some() { "the last part of a batch" } else { "zeros behind the last record" },
            |b| b.what,
        );
        walk.report.cut =
            Some(Cut { at: walk.good, broken_at: chain_end, what, bytes: cut_bytes, records: walk.behind });
    }
    walk.report.end = walk.good;
    walk.report.durable_mark = walk.mark;
    Ok((walk, segments, stale, cut_bytes))
}

/// Recovery without write access: delivers the same batches and changes nothing.
///
/// # Errors
/// As [`BatchLog::recover`].
pub fn replay_read_only<V: Vfs>(
    fs: &V,
    dir: &str,
    config: BatchLogConfig,
    from: RecoverFrom,
    visit: &mut dyn FnMut(BatchLogRecord<'_>) -> Result<()>,
) -> Result<RecoveryReport> {
    walk(fs, dir, config, from, visit).map(|(walk, ..)| walk.report)
}

impl<V: Vfs> BatchLog<V> {
    /// Opens the batch log in `dir`: delivers every complete batch in order to `visit`, removes a torn tail, and takes
    /// batches behind it. See the module for the order of writes. `before_writing` is called once, when every batch was
    /// delivered and nothing was changed yet: what batches refer to becomes durable there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for rot, before anything was changed; what the callbacks return; what the file system says.
    /// After an error batches may have been delivered: drop what was made of them.
    pub fn recover(
        fs: &V,
        dir: &str,
        config: BatchLogConfig,
        from: RecoverFrom,
        visit: &mut dyn FnMut(BatchLogRecord<'_>) -> Result<()>,
        before_writing: &mut dyn FnMut() -> Result<()>,
    ) -> Result<(Self, RecoveryReport)> {
        config.check()?;
        let (walk, mut segments, stale, _) = walk(fs, dir, config, from, visit)?;
        before_writing()?;
        let tail_config = config.tail_config(dir);
        // ORDER: a name that the stopped process had not made durable yet is, before anything depends on it.
        fs.sync_dir(dir).at("sync_dir", dir)?;
        // Segments behind the cut, or empty ones behind the first empty one.
        let is_cut = walk.report.cut.is_some();
        let keep = if is_cut {
            walk.good.segment
        } else {
            segments
                .iter()
                .find(|s| s.number > walk.good.segment && s.entries == 0 && !s.is_sealed())
                .map_or(u32::MAX, |s| s.number)
        };
        remove_behind(fs, dir, SEGMENT_EXT, &mut segments, keep)?;
        if let Some(last) = segments.iter_mut().find(|s| is_cut && s.number == walk.good.segment) {
            last.end = walk.good.offset;
            last.entries = walk.good_entries;
        }
        let record_no = walk.good_next.or(walk.expected).unwrap_or(1);
        let mut settled: VecDeque<SegmentInfo> = stale.iter().map(stale_info).collect();
        let active = settle(fs, &tail_config, segments, record_no, walk.mark, &mut settled)?;
        let tail = Tail::new(fs.clone(), tail_config, active, settled);
        {
            let mut state = tail.state();
            state.record_no = record_no;
            state.tally = walk.report.tally.clone();
        }
        let log = Self { tail, db_id: config.db_id, segments_removed: AtomicU64::new(0) };
        Ok((log, walk.report))
    }
}

/// Zeros behind the kept records, last segment first, all durable; then seals, first segment first; gives the
/// segment that takes records.
fn settle<V: Vfs>(
    fs: &V,
    config: &Config,
    segments: Vec<Surveyed>,
    record_no: u64,
    mark: Position,
    settled: &mut VecDeque<SegmentInfo>,
) -> Result<Rotated<V>> {
    let mut open = Vec::new();
    // Number of the first record of the segment looked at: a header that is made anew states it.
    let mut first = record_no;
    for s in segments.into_iter().rev() {
        first = first.saturating_sub(s.entries);
        if s.is_sealed() {
            open.push((s, None));
            continue;
        }
        if s.links > 1 {
            copy_before_write(fs, &config.dir, &s.path)?;
        }
        let header = s.header.as_ref().map_or_else(|_| config.header(first), |h| *h);
        let capacity = (s.file_bytes / 8 * 8).max(s.end);
        let capacity = if capacity <= HEADER_BYTES as u64 { config.segment_bytes } else { capacity };
        let segment = Segment::open(
            fs,
            s.path.clone(),
            s.number,
            capacity,
            SegmentHeader { flags: FLAG_ACTIVE, ..header },
        )?;
        let durable = match mark.segment.cmp(&s.number) {
            Ordering::Less => 0,
            Ordering::Equal => mark.offset.min(s.end),
            Ordering::Greater => s.end,
        };
        segment.write_again(durable, s.end)?;
        if !planted::is(Bug::TornTailStays) {
            segment.zero_from(s.end)?;
        }
        segment.sync_all(s.end)?;
        open.push((s, Some(segment)));
    }
    let last =
        if open.first().is_some_and(|(_, segment)| segment.is_some()) { Some(open.remove(0)) } else { None };
    let mut number = 0;
    for (s, segment) in open.into_iter().rev() {
        if let Some(segment) = segment {
            segment.seal(s.end, s.entries, config.now_ns())?;
        }
        number = s.number;
        settled.push_back(SegmentInfo { sealed: true, ..s.info() });
    }
    let Some((s, Some(segment))) = last else {
        let number = number
            .checked_add(1)
            .ok_or_else(|| Error::InvalidArgument("the log is out of segment numbers".to_string()))?;
        return Ok(fresh(config.create_segment(fs, number, record_no)?));
    };
    // A write offset that did not move proves nothing, and an empty segment has nothing to prove.
    segment.update_header(|h| {
        h.write_offset = s.end;
        h.entry_count = s.entries;
        if s.entries == 0 {
            h.first_log_index = record_no;
        }
    })?;
    segment.flush_header()?;
    Ok(Rotated { segment: Arc::new(segment), end: s.end, entries: s.entries })
}

/// A segment before the floor: nothing is read of it.
fn stale_info(file: &SegmentFile) -> SegmentInfo {
    SegmentInfo {
        number: file.number,
        file_bytes: file.file_bytes,
        end: 0,
        entries: 0,
        first_log_index: 0,
        created_ns: 0,
        modified_ns: 0,
        sealed: true,
        marker: 0,
    }
}
