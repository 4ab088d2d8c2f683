//! A general log over walfs files: what the original writes opens here, what this writes opens there.
//!
//! Who may call it: anyone, from any thread. One process at a time may have a log open for writing: a lock file
//! sees to that. Rules
//! 1. A record's log index is its segment's first index plus its place; an index that does not follow the one
//!    before starts a new segment. 0 means "no index".
//! 2. Opening for reading writes nothing. Opening for writing changes nothing when it refuses.
//! 3. Opening for writing durably zeros what lies behind the last record before it takes new ones.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::walfs::{
    FRAME_OVERHEAD_BYTES, Found, HEADER_BYTES, IndexEntry, Position, SegmentHeader, decode_index,
    encode_frame, frame_at, frame_len, index_file_name, segment_file_name,
};

use super::reader::LogReader;
use super::segment::{Segment, copy_before_write, make_dir, zero_file};
use super::survey::{
    Damage, SegmentInfo, Surveyed, Verdict, judge, list_segments, read_segment, survey_segment,
};
use super::tail::{Config, Rotated, State, Tail, index_of, remove_segment};
use crate::clock::Clock;
use crate::error::{Error, IoContext, Result};
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile, join};

/// Name of the lock file in a log's directory.
pub const LOCK_FILE_NAME: &str = "walfs.lock";

/// What to do with damage that is more than an interrupted append, when a log is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Give [`Error::Corrupt`] and change nothing.
    #[default]
    Refuse,
    /// Remove it and every record behind it.
    Cut,
}

/// How to open a [`Log`].
#[derive(Clone)]
pub struct LogOptions {
    /// Ending of the segment files, with its dot.
    pub ext: String,
    /// Size of new segments, in bytes; those that exist keep theirs.
    pub segment_bytes: u64,
    /// Word for the headers of new segments.
    pub marker: u32,
    /// What to do with damage.
    pub on_damage: OnDamage,
    /// Make the directory and the first segment if there is none?
    pub create: bool,
    /// Open for reading only?
    pub read_only: bool,
    /// Dates the headers; without one they say 0.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            ext: ".wal".into(),
            segment_bytes: 16 << 20,
            marker: 0,
            on_damage: OnDamage::Refuse,
            create: true,
            read_only: false,
            clock: None,
        }
    }
}

/// What opening found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// Where the log was cut, if it was.
    pub cut_at: Option<Position>,
    /// What was expected there.
    pub cut_what: Option<&'static str>,
    /// Whole records that were removed with it.
    pub records_cut: u64,
    /// Segments whose header was damaged; it is rebuilt from the records.
    pub headers_rebuilt: Vec<u32>,
}

pub(crate) enum Mode<V: Vfs> {
    Writing { tail: Box<Tail<V>>, _lock: V::Lock },
    Reading { segments: Vec<SegmentInfo>, damage: Option<(u32, Damage, u64)> },
}

/// A log. See the module.
pub struct Log<V: Vfs> {
    pub(crate) fs: V,
    pub(crate) dir: String,
    pub(crate) ext: String,
    pub(crate) mode: Mode<V>,
    report: OpenReport,
    /// The file that [`Log::read`] used last.
    last_read: Mutex<Option<(u32, Arc<V::File>)>>,
}

impl<V: Vfs> Log<V> {
    /// Opens the log in `dir`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damage (see [`OnDamage`]), [`Error::Locked`] if another writer has it open, and
    /// what the file system says.
    pub fn open(fs: V, dir: &str, options: LogOptions) -> Result<Self> {
        if options.read_only {
            Self::open_read_only(fs, dir, options)
        } else {
            Self::open_writing(fs, dir, options)
        }
    }

    fn open_read_only(fs: V, dir: &str, options: LogOptions) -> Result<Self> {
        let mut surveyed = survey(&fs, dir, &options.ext)?;
        let report = rebuild_headers(&mut surveyed, options.marker);
        let damage = match judge(&surveyed) {
            Verdict::Rot { segment, damage, behind } => Some((segment, damage, behind)),
            // Readers stop where recovery would cut.
            Verdict::Torn { segment, .. } => {
                surveyed.retain(|s| s.number <= segment);
                None
            }
            Verdict::Clean => None,
        };
        let segments = surveyed.iter().map(Surveyed::info).collect();
        let mode = Mode::Reading { segments, damage };
        Ok(Self { fs, dir: dir.to_string(), ext: options.ext, mode, report, last_read: Mutex::new(None) })
    }

    fn open_writing(fs: V, dir: &str, options: LogOptions) -> Result<Self> {
        let minimum = (HEADER_BYTES + FRAME_OVERHEAD_BYTES) as u64;
        if options.segment_bytes < minimum || !options.segment_bytes.is_multiple_of(8) {
            return Err(Error::InvalidArgument(
                "a segment size must be a multiple of 8 of at least 80 bytes".into(),
            ));
        }
        if options.create {
            make_dir(&fs, dir)?;
        }
        let lock_path = join(dir, LOCK_FILE_NAME);
        let lock = fs.lock(&lock_path).map_err(|e| match e.kind {
            IoErrorKind::WouldBlock => Error::Locked {
                file: lock_path.clone(),
                pid: u32::try_from(e.code).ok().filter(|pid| *pid != 0),
            },
            _ => Error::io("lock", &lock_path, e),
        })?;
        let mut surveyed = survey(&fs, dir, &options.ext)?;
        let mut report = rebuild_headers(&mut surveyed, options.marker);
        let (segment, damage, behind) = match judge(&surveyed) {
            Verdict::Clean => (0, None, 0),
            Verdict::Rot { segment, damage, behind } if options.on_damage == OnDamage::Refuse => {
                return Err(damage.error(&join(dir, &segment_file_name(segment, &options.ext)), behind));
            }
            Verdict::Torn { segment, damage, behind } | Verdict::Rot { segment, damage, behind } => {
                (segment, Some(damage), behind)
            }
        };
        // ORDER: a name that a stopped process had not made durable yet is, before anything depends on it.
        fs.sync_dir(dir).at("sync_dir", dir)?;
        if let Some(damage) = damage {
            report.cut_at = Some(Position { segment, offset: damage.offset });
            report.cut_what = Some(damage.what);
            report.records_cut = behind;
            remove_behind(&fs, dir, &options.ext, &mut surveyed, segment)?;
        }
        let config = Config {
            dir: dir.to_string(),
            ext: options.ext.clone(),
            segment_bytes: options.segment_bytes,
            marker: options.marker,
            write_index: true,
            strict_first_index: true,
            clock: options.clock,
        };
        let (active, settled) = resume(&fs, &config, surveyed, options.create)?;
        let tail = Box::new(Tail::new(fs.clone(), config, active, settled));
        let mode = Mode::Writing { tail, _lock: lock };
        Ok(Self { fs, dir: dir.to_string(), ext: options.ext, mode, report, last_read: Mutex::new(None) })
    }

    /// What opening found and did.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    pub(crate) fn tail(&self) -> Result<&Tail<V>> {
        match &self.mode {
            Mode::Writing { tail, .. } => Ok(tail),
            Mode::Reading { .. } => Err(Error::ReadOnly("the log was opened for reading".into())),
        }
    }

    /// Appends a record with log index `log_index`, 0 for none. It survives the death of the process when this
    /// returns, and a power cut after the next [`Log::sync`].
    ///
    /// # Errors
    /// A payload larger than a segment; a full disk (clean); or a failed write, after which the log is dead.
    pub fn append(&self, payload: &[u8], log_index: u64) -> Result<Position> {
        let tail = self.tail()?;
        place(tail, tail.state(), payload, log_index).map(|(_, position)| position)
    }

    /// Appends records in order, over as many segments as it takes; `first_log_index` is that of the first.
    /// After an error a prefix may have been appended.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_batch(&self, payloads: &[&[u8]], first_log_index: u64) -> Result<Vec<Position>> {
        let tail = self.tail()?;
        let mut state = tail.state();
        let mut positions = Vec::with_capacity(payloads.len());
        for (i, payload) in payloads.iter().enumerate() {
            let index = if first_log_index == 0 { 0 } else { first_log_index.saturating_add(i as u64) };
            let (next, position) = place(tail, state, payload, index)?;
            state = next;
            positions.push(position);
        }
        Ok(positions)
    }

    /// Goes on in a new segment, unless the active one is empty.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn rotate(&self) -> Result<()> {
        let tail = self.tail()?;
        let mut state = tail.state();
        state.alive()?;
        let follows = following_index(&state);
        tail.rotate(&mut state, follows)
    }

    /// Makes everything appended before the call durable; gives the position up to which it is.
    ///
    /// # Errors
    /// A failed flush, after which the log is dead.
    pub fn sync(&self) -> Result<Position> {
        self.tail()?.sync()
    }

    /// Seals the segments that were rotated away: data durable, header, header durable, index file. The next sync
    /// does it otherwise.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn seal(&self) -> Result<()> {
        self.tail()?.seal_rotated()
    }

    /// Makes the next segment ahead of time, so that an append need not. For a background step.
    ///
    /// # Errors
    /// A full disk is clean.
    pub fn prepare_next(&self) -> Result<bool> {
        self.tail()?.prepare_next()
    }

    /// Syncs and takes no more records; readers then reach the end.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn close(&self) -> Result<Position> {
        self.tail()?.close(false)
    }

    /// Up to where the log is durable.
    pub fn durable(&self) -> Option<Position> {
        self.tail().ok().map(|tail| tail.durable())
    }

    /// Removes the segments before `segment`, never the active one; gives the bytes of their files.
    ///
    /// # Errors
    /// What the file system says.
    pub fn release_below(&self, segment: u32) -> Result<u64> {
        self.tail()?.release_below(segment)
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        match &self.mode {
            Mode::Writing { tail, .. } => tail.state().infos().collect(),
            Mode::Reading { segments, .. } => segments.clone(),
        }
    }

    /// Places of a sealed segment's records: from its index file if that can be trusted, else from its records.
    ///
    /// # Errors
    /// No such segment, or it is not sealed; or [`Error::Corrupt`].
    pub fn index(&self, segment: u32) -> Result<Vec<IndexEntry>> {
        let path = join(&self.dir, &segment_file_name(segment, &self.ext));
        let file = self.fs.open(&path, OpenMode::Read).at("open", &path)?;
        let mut head = [0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0).at("read", &path)?;
        let header = SegmentHeader::decode(&head).map_err(|m| Error::malformed(&path, 0, m))?;
        if !header.is_sealed() {
            return Err(Error::InvalidArgument(alloc::format!("segment {segment} is not sealed")));
        }
        let mut bytes = Vec::new();
        let index_path = join(&self.dir, &index_file_name(segment, &self.ext));
        if read_segment(&self.fs, &index_path, &mut bytes).is_ok()
            && let Ok(entries) = decode_index(&bytes, &header)
        {
            return Ok(entries);
        }
        read_segment(&self.fs, &path, &mut bytes)?;
        let entries = index_of(&bytes);
        if entries.len() as u64 != header.entry_count {
            return Err(Error::corrupt(path, HEADER_BYTES as u64, "fewer records than the header says"));
        }
        Ok(entries)
    }

    /// The record at `position`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where no record was appended, [`Error::Corrupt`] where one was and is damaged.
    pub fn read(&self, position: Position) -> Result<Vec<u8>> {
        let Some(extent) = self.extent(position.segment) else {
            return Err(Error::InvalidArgument(alloc::format!("no segment {} in the log", position.segment)));
        };
        if position.offset < HEADER_BYTES as u64
            || position.offset >= extent.end
            || !position.offset.is_multiple_of(8)
        {
            return Err(Error::InvalidArgument(alloc::format!("no record at {position}")));
        }
        let path = join(&self.dir, &segment_file_name(position.segment, &self.ext));
        let cached = self
            .last_read
            .lock()
            .as_ref()
            .filter(|(n, _)| *n == position.segment)
            .map(|(_, f)| Arc::clone(f));
        let file = match cached {
            Some(file) => file,
            None => {
                let file = Arc::new(self.fs.open(&path, OpenMode::Read).at("open", &path)?);
                *self.last_read.lock() = Some((position.segment, Arc::clone(&file)));
                file
            }
        };
        let mut buf = Vec::new();
        let payload = read_frame(&*file, &path, position.offset, extent.end, &mut buf)?;
        Ok(buf.get(payload).unwrap_or_default().to_vec())
    }

    /// Reads from the first record on.
    pub fn reader(&self) -> LogReader<'_, V> {
        LogReader::new(self, None)
    }

    /// Reads from the record at `position` on.
    pub fn reader_from(&self, position: Position) -> LogReader<'_, V> {
        LogReader::new(self, Some(position))
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

    /// Numbers of the oldest and the newest segment.
    pub(crate) fn bounds(&self) -> Option<(u32, u32)> {
        match &self.mode {
            Mode::Writing { tail, .. } => {
                let state = tail.state();
                Some((state.first_number(), state.end().segment))
            }
            Mode::Reading { segments, .. } => Some((segments.first()?.number, segments.last()?.number)),
        }
    }

    pub(crate) fn extent(&self, segment: u32) -> Option<SegmentInfo> {
        match &self.mode {
            Mode::Writing { tail, .. } => tail.state().info_of(segment),
            Mode::Reading { segments, .. } => segments.iter().find(|i| i.number == segment).cloned(),
        }
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

fn survey<V: Vfs>(fs: &V, dir: &str, ext: &str) -> Result<Vec<Surveyed>> {
    let mut buf = Vec::new();
    list_segments(fs, dir, ext)?.iter().map(|f| survey_segment(fs, f, true, &mut buf)).collect()
}

/// A torn header costs nothing: its records say where they end. Its first log index follows from the segment
/// before, or is taken as it stands (a torn header store does not change it).
pub(crate) fn rebuild_headers(surveyed: &mut [Surveyed], marker: u32) -> OpenReport {
    let mut report = OpenReport::default();
    let mut follows = None;
    for s in surveyed {
        if s.header.is_err() {
            report.headers_rebuilt.push(s.number);
            let index = follows.unwrap_or(s.raw_first_index);
            s.header = Ok(SegmentHeader::new(0, index, marker));
            s.header_rebuilt = true;
        }
        follows = s.header.as_ref().ok().map(|h| match h.first_log_index {
            0 => 0,
            first => first.saturating_add(s.entries),
        });
    }
    report
}

/// Zeros, then removes, the segments behind `segment`, last first: a crash in the middle leaves a shorter log
/// with the same end.
pub(crate) fn remove_behind<V: Vfs>(
    fs: &V,
    dir: &str,
    ext: &str,
    surveyed: &mut Vec<Surveyed>,
    segment: u32,
) -> Result<()> {
    while let Some(last) = surveyed.pop_if(|s| s.number > segment) {
        if last.links > 1 {
            copy_before_write(fs, dir, &last.path)?;
        }
        let file = fs.open(&last.path, OpenMode::ReadWrite).at("open", &last.path)?;
        zero_file(&file, &last.path, 0, last.file_bytes)?;
        remove_segment(fs, dir, ext, last.number)?;
    }
    Ok(())
}

fn resume<V: Vfs>(
    fs: &V,
    config: &Config,
    mut surveyed: Vec<Surveyed>,
    create: bool,
) -> Result<(Rotated<V>, VecDeque<SegmentInfo>)> {
    let last = surveyed.pop();
    let mut settled: VecDeque<_> = VecDeque::new();
    // Segments before the last that were not sealed: a stop came first.
    for s in surveyed {
        if !s.is_sealed() {
            open_surveyed(fs, config, &s)?.segment.seal(s.end, s.entries, config.now_ns())?;
            super::tail::write_index(fs, config, s.number)?;
        }
        settled.push_back(SegmentInfo { sealed: true, ..s.info() });
    }
    match last {
        None if !create => Err(Error::InvalidArgument(alloc::format!("no log in {}", config.dir))),
        None => Ok((fresh(config.create_segment(fs, 1, 0)?), settled)),
        Some(last) if last.is_sealed() && last.damage.is_none() => {
            let follows = match last.info().first_log_index {
                0 => 0,
                first => first.saturating_add(last.entries),
            };
            let number = last.number.saturating_add(1);
            settled.push_back(last.info());
            Ok((fresh(config.create_segment(fs, number, follows)?), settled))
        }
        Some(last) => Ok((open_surveyed(fs, config, &last)?, settled)),
    }
}

pub(crate) fn fresh<V: Vfs>(segment: Segment<V>) -> Rotated<V> {
    Rotated { segment: Arc::new(segment), end: HEADER_BYTES as u64, entries: 0 }
}

/// Opens a segment that is not sealed (any more), zeroed behind its end, all of it durable.
fn open_surveyed<V: Vfs>(fs: &V, config: &Config, s: &Surveyed) -> Result<Rotated<V>> {
    if s.links > 1 {
        copy_before_write(fs, &config.dir, &s.path)?;
    }
    let old = s.header.as_ref().map_or_else(|_| config.header(s.raw_first_index), |h| *h);
    let header = SegmentHeader {
        write_offset: s.end,
        entry_count: s.entries,
        flags: nokv_formats::walfs::FLAG_ACTIVE,
        ..old
    };
    // A file cut short by a failing disk gets its full size back; a larger one keeps its own.
    let capacity =
        if s.file_bytes < HEADER_BYTES as u64 { config.segment_bytes } else { s.file_bytes / 8 * 8 };
    let segment = Segment::open(fs, s.path.clone(), s.number, capacity, header)?;
    segment.zero_from(s.end)?;
    segment.sync_all(s.end)?;
    segment.update_header(|_| {})?;
    segment.flush_header()?;
    Ok(Rotated { segment: Arc::new(segment), end: s.end, entries: s.entries })
}

fn following_index<V: Vfs>(state: &State<V>) -> u64 {
    match state.active.segment.header().first_log_index {
        0 => 0,
        first => first.saturating_add(state.active.entries),
    }
}

/// Stores one record, in a new segment where its index or length asks for one.
///
/// A power cut may take the end of a segment that is not sealed yet and leave the next one. Where the log indexes go
/// on, the next header shows that; where they do not (or there are none) the old segment is sealed first.
fn place<'t, V: Vfs>(
    tail: &'t Tail<V>,
    mut state: MutexGuard<'t, State<V>>,
    payload: &[u8],
    log_index: u64,
) -> Result<(MutexGuard<'t, State<V>>, Position)> {
    loop {
        state.alive()?;
        let largest = tail.config.segment_bytes.max(state.active.segment.capacity) - HEADER_BYTES as u64;
        let too_large = |limit| Error::BatchTooLarge { bytes: payload.len() as u64, count: 1, limit };
        let len = frame_len(payload.len()).map_or(u64::MAX, |n| n as u64);
        if len > largest {
            return Err(too_large(largest));
        }
        let follows = following_index(&state);
        let goes_on = log_index != 0 && follows == log_index;
        if state.active.entries == 0 && !goes_on && !state.rotated.is_empty() {
            drop(state);
            tail.seal_rotated()?;
            state = tail.state();
            continue;
        }
        if follows != log_index || len > state.room() {
            if state.active.entries != 0 && !goes_on {
                tail.rotate(&mut state, follows)?;
                continue;
            }
            tail.rotate(&mut state, log_index)?;
            if len > state.room() {
                return Err(too_large(state.room()));
            }
        }
        state.frame.clear();
        encode_frame(payload, &mut state.frame);
        let position = state.store_frame()?;
        return Ok((state, position));
    }
}
