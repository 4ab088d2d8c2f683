//! One segment file, used directly: for programs that manage segments themselves.
//!
//! Who may call it: anyone, from any thread, but not for a segment of a directory that a [`Log`](super::Log) has
//! open for writing. A lock file beside the segment keeps out a second writer. Invariants
//! 1. Frames, header, recovery and index file are those of the log.
//! 2. Records have consecutive log indexes from the first one on, or none has one.
//! 3. One thread at a time syncs, seals or truncates (`flush`, taken before `state`): headers are stored in order.
//! 4. After a failed write or sync the segment is dead until it is opened again.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::walfs::{
    HEADER_BYTES, IndexEntry, Position, SegmentHeader, encode_frame, frame_len, index_file_name,
    segment_file_name,
};

use super::open::{config_of, fresh, open_surveyed};
use super::options::{LogOptions, OnDamage, check_marker};
use super::owner::refuse_database_log;
use super::read::read_frame;
use super::readers::Readers;
use super::segment::make_dir;
use super::segment_reader::SegmentReader;
use super::survey::{
    SegmentInfo, Surveyed, Verdict, check_log_index, judge, list_segments, read_segment, survey_segment,
};
use super::tail::{Config, Rotated, index_of, write_index};
use crate::error::{Error, IoContext, Result};
use crate::sync::Mutex;
use crate::vfs::{IoErrorKind, OpenMode, Vfs, join};

/// See the module.
///
/// ```
/// use nokv_core::wal::{LogOptions, SegmentFile};
/// use nokv_core::{Error, Result, Vfs};
///
/// /// Gives how many of the records fit segment 1.
/// fn fill(fs: impl Vfs, records: &[&[u8]]) -> Result<usize> {
///     let segment = SegmentFile::open(fs, "wal", 1, &LogOptions::default())?;
///     let written = segment.write_batch(records, &vec![0; records.len()], &mut Vec::new());
///     segment.close()?;
///     match written {
///         Ok(()) => Ok(records.len()),
///         Err(Error::SegmentFull { written, .. }) => Ok(written),
///         Err(e) => Err(e),
///     }
/// }
/// ```
pub struct SegmentFile<V: Vfs> {
    pub(super) fs: V,
    pub(super) config: Config,
    pub(super) number: u32,
    pub(super) path: String,
    sync_every_write: bool,
    pub(super) read_only: bool,
    pub(super) readers: Readers,
    pub(super) flush: Mutex<()>,
    pub(super) state: Mutex<State<V>>,
    pub(super) lock: Mutex<Option<V::Lock>>,
}

pub(super) struct State<V: Vfs> {
    pub(super) info: SegmentInfo,
    pub(super) header: SegmentHeader,
    /// Where records go; `None` once sealed, or opened for reading.
    pub(super) open: Option<Rotated<V>>,
    pub(super) index: Vec<IndexEntry>,
    pub(super) frame: Vec<u8>,
    pub(super) sealed_in_memory: bool,
    pub(super) doomed: bool,
    pub(super) removed: bool,
    pub(super) dead: Option<Error>,
}

impl<V: Vfs> SegmentFile<V> {
    /// Opens segment `number` of `dir`, or makes it. A sealed one with a whole header is not read to its end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damage (see [`OnDamage`]), [`Error::Locked`], [`Error::MarkerRefused`], a database's own
    /// log to be written to; what the file system says.
    pub fn open(fs: V, dir: &str, number: u32, options: &LogOptions) -> Result<Self> {
        if number == 0 {
            return Err(Error::InvalidArgument("segments are numbered from 1".into()));
        }
        let config = config_of(dir, options)?;
        let path = join(dir, &segment_file_name(number, &options.ext));
        if !options.read_only {
            refuse_database_log(&fs, dir, &options.ext)?;
        }
        if options.create && !options.read_only {
            make_dir(&fs, dir)?;
        }
        let lock = if options.read_only { None } else { Some(take_lock(&fs, &path)?) };
        let found = list_segments(&fs, dir, &options.ext)?.into_iter().find(|f| f.number == number);
        let surveyed = found.map(|f| survey_segment(&fs, &f, true)).transpose()?;
        let (info, header, open) = match surveyed {
            None if options.read_only || !options.create => {
                return Err(Error::InvalidArgument(format!("no segment {path}")));
            }
            None => of_open(fresh(config.create_segment(&fs, number, 0)?)),
            Some(surveyed) => resume(&fs, &config, surveyed, options)?,
        };
        let state = State {
            info,
            header,
            open,
            index: Vec::new(),
            frame: Vec::new(),
            sealed_in_memory: false,
            doomed: false,
            removed: false,
            dead: None,
        };
        let segment = Self {
            fs,
            config,
            number,
            path,
            sync_every_write: options.sync_every_write,
            read_only: options.read_only,
            readers: Readers::default(),
            flush: Mutex::new(()),
            state: Mutex::new(state),
            lock: Mutex::new(lock),
        };
        let index = segment.load_index()?;
        segment.state.lock().index = index;
        Ok(segment)
    }

    fn load_index(&self) -> Result<Vec<IndexEntry>> {
        let info = self.state.lock().info.clone();
        let mut bytes = Vec::new();
        let index = join(&self.config.dir, &index_file_name(self.number, &self.config.ext));
        if info.sealed
            && read_segment(&self.fs, &index, &mut bytes).is_ok()
            && let Ok(entries) = nokv_formats::walfs::decode_index(&bytes, &self.state.lock().header)
        {
            return Ok(entries);
        }
        read_segment(&self.fs, &self.path, &mut bytes)?;
        let mut entries = index_of(&bytes);
        if (entries.len() as u64) < info.entries {
            return Err(Error::corrupt(
                &self.path,
                HEADER_BYTES as u64,
                "fewer records than the header says",
            ));
        }
        entries.truncate(usize::try_from(info.entries).unwrap_or(usize::MAX));
        Ok(entries)
    }

    /// Appends a record with log index `log_index`, 0 for none.
    ///
    /// # Errors
    /// [`Error::SegmentSealed`]; [`Error::SegmentFull`], where nothing was written; an index that does not follow
    /// the one before; a failed write.
    pub fn write(&self, payload: &[u8], log_index: u64) -> Result<Position> {
        let position = self.write_one(&mut self.state.lock(), payload, log_index, 0)?;
        if self.sync_every_write {
            self.sync()?;
        }
        Ok(position)
    }

    /// Appends records in order and adds their positions to `positions`, also those before an error.
    ///
    /// # Errors
    /// As [`SegmentFile::write`]; [`Error::SegmentFull`] says how many were written: the rest goes to the next
    /// segment.
    pub fn write_batch(
        &self,
        payloads: &[&[u8]],
        log_indexes: &[u64],
        positions: &mut Vec<Position>,
    ) -> Result<()> {
        if payloads.len() != log_indexes.len() {
            let text = format!("{} records with {} log indexes", payloads.len(), log_indexes.len());
            return Err(Error::InvalidArgument(text));
        }
        let mut state = self.state.lock();
        let mut written = Ok(());
        for (count, (payload, index)) in payloads.iter().zip(log_indexes).enumerate() {
            written = self.write_one(&mut state, payload, *index, count).map(|at| positions.push(at));
            if written.is_err() {
                break;
            }
        }
        drop(state);
        if self.sync_every_write {
            self.sync()?;
        }
        written
    }

    fn write_one(
        &self,
        state: &mut State<V>,
        payload: &[u8],
        index: u64,
        written: usize,
    ) -> Result<Position> {
        state.alive()?;
        self.writable()?;
        check_log_index(index)?;
        let State { open, frame, .. } = state;
        let open =
            open.as_mut().filter(|_| !state.sealed_in_memory).ok_or(Error::SegmentSealed(self.number))?;
        let len = frame_len(payload.len()).map_or(u64::MAX, |n| n as u64);
        if len > open.segment.capacity.saturating_sub(open.end) {
            return Err(Error::SegmentFull { segment: self.number, written });
        }
        let first = open.segment.header().first_log_index;
        let follows = if first == 0 { 0 } else { first.saturating_add(open.entries) };
        let mut stored = Ok(());
        if open.entries == 0 && index != first {
            // ORDER: the index is durable before a record takes its own from it.
            stored = open.segment.update_header(|h| h.first_log_index = index);
            stored = stored.and_then(|()| open.segment.flush_header());
        } else if index != follows {
            let text = format!("log index {index} does not follow: {follows} does");
            return Err(Error::InvalidArgument(text));
        }
        frame.clear();
        encode_frame(payload, frame);
        let at = Position { segment: self.number, offset: open.end };
        let stored = stored.and_then(|()| {
            // What a short write left must not stand behind the end.
            open.segment.store(at.offset, frame).inspect_err(|_| _ = open.segment.cut_to(at.offset))
        });
        if let Err(e) = stored {
            state.dead = Some(e.clone());
            return Err(e);
        }
        open.end += len;
        open.entries += 1;
        state.info = open.info();
        state.index.push(IndexEntry { offset: at.offset, len: payload.len() as u32 });
        Ok(at)
    }

    /// The record at `offset`, and the position behind it.
    ///
    /// # Errors
    /// An offset where no record is; [`Error::Corrupt`].
    pub fn read(&self, offset: u64) -> Result<(Vec<u8>, Position)> {
        let end = self.info().end;
        if offset < HEADER_BYTES as u64 || offset >= end || !offset.is_multiple_of(8) {
            return Err(Error::InvalidArgument(format!("no record at {}:{offset}", self.number)));
        }
        let file = self.fs.open(&self.path, OpenMode::Read).at("open", &self.path)?;
        let mut buf = Vec::new();
        let payload = read_frame(&file, &self.path, offset, end, &mut buf)?;
        let next = offset.saturating_add(frame_len(payload.len()).unwrap_or(0) as u64);
        buf.truncate(payload.end);
        buf.drain(..payload.start);
        Ok((buf, Position { segment: self.number, offset: next }))
    }

    /// Makes everything written before durable, then says so in the header.
    ///
    /// # Errors
    /// A failed flush, after which the segment is dead.
    pub fn sync(&self) -> Result<()> {
        let _one_at_a_time = self.flush.lock();
        let open = {
            let state = self.state.lock();
            state.alive()?;
            state.open.clone()
        };
        let Some(open) = open else { return Ok(()) };
        // ORDER: the write offset is a proof of durability, so it comes after the flush.
        let synced = open.segment.flush(open.end).and_then(|()| {
            let now = self.config.now_ns();
            open.segment.update_header(|h| {
                (h.write_offset, h.entry_count) = (open.end, open.entries);
                h.modified_ns = now.max(h.modified_ns);
            })
        });
        self.poison(synced)
    }

    /// Seals: data durable, header, header durable, index file. Nothing is written any more.
    ///
    /// # Errors
    /// As [`SegmentFile::sync`].
    pub fn seal(&self) -> Result<()> {
        let _one_at_a_time = self.flush.lock();
        let open = {
            let mut state = self.state.lock();
            state.alive()?;
            self.writable()?;
            // From here on writes are refused.
            state.open.take()
        };
        let Some(open) = open else { return Ok(()) };
        self.poison(open.segment.seal(open.end, open.entries, self.config.now_ns()))?;
        {
            let mut state = self.state.lock();
            (state.info, state.header) = (open.info(), open.segment.header());
        }
        // It can be made again from the records at any time: failing to write it loses nothing.
        let _ = write_index(&self.fs, &self.config, self.number);
        Ok(())
    }

    /// Would a record of `payload_len` bytes be too much for what is left of the segment?
    pub fn will_exceed(&self, payload_len: usize) -> bool {
        let info = self.info();
        frame_len(payload_len).is_none_or(|len| len as u64 > info.file_bytes.saturating_sub(info.end))
    }

    /// Places of the records: from memory, or from the files once [`SegmentFile::clear_index`] was called.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and what the file system says, after clearing.
    pub fn index_entries(&self) -> Result<Vec<IndexEntry>> {
        let (info, index) = {
            let state = self.state.lock();
            (state.info.clone(), state.index.clone())
        };
        if index.len() as u64 == info.entries { Ok(index) } else { self.read_index(&info) }
    }

    pub(super) fn read_index(&self, info: &SegmentInfo) -> Result<Vec<IndexEntry>> {
        let mut bytes = Vec::new();
        read_segment(&self.fs, &self.path, &mut bytes)?;
        let mut entries = index_of(&bytes);
        entries.truncate(usize::try_from(info.entries).unwrap_or(usize::MAX));
        Ok(entries)
    }

    /// Frees the memory of the places of a sealed segment; false for one that takes records.
    pub fn clear_index(&self) -> bool {
        let mut state = self.state.lock();
        if state.info.sealed {
            state.index = Vec::new();
        }
        state.info.sealed
    }

    /// Reads the records in order, those too that are written meanwhile.
    pub fn reader(&self) -> SegmentReader<'_, V> {
        SegmentReader::new(self)
    }

    /// Number, sizes, records, dates, marker.
    pub fn info(&self) -> SegmentInfo {
        self.state.lock().info.clone()
    }

    /// The header as it was stored last: [`SegmentFile::info`] is ahead of it between syncs.
    pub fn header(&self) -> SegmentHeader {
        let state = self.state.lock();
        state.open.as_ref().map_or(state.header, |open| open.segment.header())
    }

    /// Path of the file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Takes no more records, without saying so on disk.
    pub fn mark_sealed_in_memory(&self) {
        self.state.lock().sealed_in_memory = true;
    }

    /// Was it marked so, or sealed?
    pub fn is_sealed_in_memory(&self) -> bool {
        let state = self.state.lock();
        state.sealed_in_memory || state.info.sealed
    }

    /// Does a reader read it?
    pub fn has_active_readers(&self) -> bool {
        self.readers.count() != 0
    }

    /// Syncs, header included, and lets go. There is no reader left: they borrow the segment.
    ///
    /// # Errors
    /// As [`SegmentFile::sync`].
    pub fn close(self) -> Result<()> {
        self.sync()?;
        let open = self.state.lock().open.take();
        open.map_or(Ok(()), |open| open.segment.flush_header())
    }

    pub(super) fn writable(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly("the segment was opened for reading".into()));
        }
        Ok(())
    }

    fn poison<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|e| _ = self.state.lock().dead.get_or_insert_with(|| e.clone()))
    }
}

impl<V: Vfs> State<V> {
    pub(super) fn alive(&self) -> Result<()> {
        match &self.dead {
            Some(e) => Err(e.clone()),
            None if self.removed || self.doomed => Err(Error::Closed),
            None => Ok(()),
        }
    }
}

pub(super) fn lock_path(path: &str) -> String {
    format!("{path}.lock")
}

fn take_lock<V: Vfs>(fs: &V, path: &str) -> Result<V::Lock> {
    let path = lock_path(path);
    fs.lock(&path).map_err(|e| match e.kind {
        IoErrorKind::WouldBlock => {
            Error::Locked { file: path.clone(), pid: u32::try_from(e.code).ok().filter(|pid| *pid != 0) }
        }
        _ => Error::io("lock", &path, e),
    })
}

type Opened<V> = (SegmentInfo, SegmentHeader, Option<Rotated<V>>);

fn of_open<V: Vfs>(open: Rotated<V>) -> Opened<V> {
    (open.info(), open.segment.header(), Some(open))
}

fn resume<V: Vfs>(fs: &V, config: &Config, s: Surveyed, options: &LogOptions) -> Result<Opened<V>> {
    let mut all = [s];
    super::open::rebuild_headers(&mut all, options.marker);
    let verdict = judge(&all);
    let [s] = all;
    let header = s.header.map_err(|m| Error::malformed(&s.path, 0, m))?;
    check_marker(options.marker_validator.as_ref(), &s.path, header.marker)?;
    if let Verdict::Rot { damage, behind, .. } = &verdict
        && (options.read_only || options.on_damage == OnDamage::Refuse)
    {
        return Err(damage.error(&s.path, *behind));
    }
    if options.read_only || (header.is_sealed() && verdict == Verdict::Clean) {
        return Ok((s.info(), header, None));
    }
    fs.sync_dir(&config.dir).at("sync_dir", &config.dir)?;
    Ok(of_open(open_surveyed(fs, config, &s)?))
}
