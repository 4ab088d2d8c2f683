//! Appending, reading and syncing.
//!
//! Who may call it: any thread; see [`super`].
//!
//! Locks: the turn to sync, then a bucket's state, then the others; none that an append or a read takes is held while a
//! file is read, written or synced. Starting a segment creates its file under the bucket's lock, once per `segment_bytes`.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::key::{KEY_BYTES_MAX, VALUE_BYTES_MAX, key_hash};
use nokv_formats::vlog::{Place, Record, SEGMENT_HEADER_BYTES, SegmentHeader, record_len};
use nokv_formats::{CfId, KeyRef, ValuePtr, Version};

use super::bucket::{Bucket, Segment};
use super::files::{bucket_dir, list_segments, segment_path};
use crate::error::{Error, IoContext, Result};
use crate::manifest::ManifestState;
use crate::planted::{self, Bug};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};

/// Encoding buffers that are kept for the next append, and how large they may be.
const SPARE_BUFFERS: usize = 8;
const SPARE_BUFFER_BYTES: usize = 1 << 20;
/// Rotations that are kept for a report.
const ROTATIONS_KEPT: usize = 64;

/// Options of the value log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueLogOptions {
    /// A segment that is at least this long takes no more appends, in bytes.
    pub segment_bytes: u64,
    /// A segment that has so many values takes no more appends; 0 = no limit. Each opening starts new segments, so
    /// the number is always known.
    pub max_entries: u32,
    /// How many buckets values are spread over.
    pub buckets: u16,
    /// The first of them are for hot keys; less than `buckets`, or 0.
    pub hot_buckets: u16,
    /// At most how many sealed segments are kept open for reading.
    pub open_files: usize,
}

impl Default for ValueLogOptions {
    fn default() -> Self {
        Self { segment_bytes: 256 << 20, max_entries: 0, buckets: 8, hot_buckets: 2, open_files: 64 }
    }
}

/// A segment and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentInfo {
    /// Bucket.
    pub bucket: u16,
    /// Segment in the bucket.
    pub segment: u32,
    /// Length of the file in bytes, appends under way included.
    pub size: u64,
    /// Does it take appends?
    pub head: bool,
    /// Takes no appends and was synced since the last: `size` is final, and may be recorded as such.
    pub settled: bool,
}

impl SegmentInfo {
    /// Bucket and number.
    pub const fn id(&self) -> (u16, u32) {
        (self.bucket, self.segment)
    }
}

/// A bucket got a new head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The bucket.
    pub bucket: u16,
    /// Its new head.
    pub segment: u32,
    /// The head before, if appends left one for it: number and length.
    pub left: Option<(u32, u64)>,
    /// Values that it took.
    pub entries: u32,
}

/// The value log of an open database.
pub struct ValueLog<V: Vfs> {
    pub(super) fs: V,
    pub(super) dir: String,
    db_id: u64,
    opts: ValueLogOptions,
    read_only: bool,
    pub(super) buckets: Vec<Mutex<Bucket<V>>>,
    /// Segments of buckets that the options do not have any more: readable, never appended to.
    retired: Mutex<BTreeMap<(u16, u32), u64>>,
    readers: Mutex<Readers<V>>,
    buffers: Mutex<heapless::Vec<Vec<u8>, SPARE_BUFFERS>>,
    /// Segments of the process before that it may not have synced, and from where on they are written again first.
    pub(super) not_settled: Mutex<BTreeMap<(u16, u32), u64>>,
    pub(super) dead: AtomicBool,
    /// Segments started since they were last asked for, and whether there are any.
    rotations: Mutex<Vec<Rotation>>,
    has_rotations: AtomicBool,
    head_updates: AtomicU64,
    /// Serialises syncs: the second finds most of the work done. Appends and reads never take it.
    pub(super) sync_turn: Mutex<()>,
}

struct Readers<V: Vfs> {
    /// With the tick of its last use.
    open: BTreeMap<(u16, u32), Used<V>>,
    /// Counts uses, to close the one that was not used for longest.
    tick: u64,
}

type Used<V> = (u64, Arc<Reader<V>>);

pub(super) struct Reader<V: Vfs> {
    file: V::File,
    path: String,
    /// Final: a segment is read through this only after its last append.
    size: u64,
}

impl<V: Vfs> ValueLog<V> {
    /// Opens the value log of the database in `dir`, of which the manifest says `state`. Writes nothing.
    /// Unless the database was closed cleanly (`clean`), the first [`ValueLog::sync`] also syncs every segment found that
    /// the manifest does not name as sealed: the process before may have died before it did.
    ///
    /// # Errors
    /// `InvalidArgument` for options that cannot be; `Corrupt` if a segment that the manifest names is missing or has
    /// the wrong length; `Io`.
    pub fn open(
        fs: V,
        dir: &str,
        opts: ValueLogOptions,
        read_only: bool,
        state: &ManifestState,
        clean: bool,
    ) -> Result<Self> {
        if opts.buckets == 0 || (opts.hot_buckets != 0 && opts.hot_buckets >= opts.buckets) {
            return Err(Error::InvalidArgument("value log: 0 < buckets, hot buckets < buckets".to_string()));
        }
        let mut buckets: Vec<Bucket<V>> = (0..opts.buckets).map(|_| Bucket::new()).collect();
        let mut retired = BTreeMap::new();
        let found = list_segments(&fs, dir)?;
        check_named(dir, state, &found)?;
        let mut not_settled = BTreeMap::new();
        for (bucket, segment, size) in found {
            if !clean && !state.vlog_segments.get(&(bucket, segment)).is_some_and(|s| s.sealed) {
                not_settled.insert((bucket, segment), u64::MAX);
            }
            match buckets.get_mut(usize::from(bucket)) {
                Some(state) => {
                    state.sealed.insert(segment, size);
                    state.next_segment = state.next_segment.max(segment.saturating_add(1));
                }
                None => {
                    retired.insert((bucket, segment), size);
                }
            }
        }
        // No number is given twice, even if the file is gone.
        for (bucket, segment) in &state.vlog_heads {
            if let Some(state) = buckets.get_mut(usize::from(*bucket))
                && !planted::is(Bug::SegmentNumberReused)
            {
                state.next_segment = state.next_segment.max(segment.saturating_add(1));
            }
        }
        Ok(Self {
            fs,
            dir: dir.to_string(),
            db_id: state.db_id,
            opts,
            read_only,
            buckets: buckets.into_iter().map(Mutex::new).collect(),
            retired: Mutex::new(retired),
            readers: Mutex::new(Readers { open: BTreeMap::new(), tick: 0 }),
            buffers: Mutex::new(heapless::Vec::new()),
            not_settled: Mutex::new(not_settled),
            dead: AtomicBool::new(false),
            rotations: Mutex::new(Vec::new()),
            has_rotations: AtomicBool::new(false),
            head_updates: AtomicU64::new(0),
            sync_turn: Mutex::new(()),
        })
    }

    /// A record of the log that no table holds yet names this value: that it can be read does not say that it is
    /// durable.
    pub fn found_in_log(&self, ptr: &ValuePtr) {
        if let Some(from) = self.not_settled.lock().get_mut(&(ptr.bucket, ptr.segment)) {
            *from = ptr.offset.min(*from);
        }
    }

    /// The bucket that takes the values of `key`.
    pub fn bucket_of(&self, key: KeyRef<'_>, hot: bool) -> u16 {
        let (first, count) = if hot && self.opts.hot_buckets > 0 {
            (0, self.opts.hot_buckets)
        } else {
            (self.opts.hot_buckets, self.opts.buckets - self.opts.hot_buckets)
        };
        first + (key_hash(key) % u64::from(count.max(1))) as u16
    }

    /// Appends a value. When it returned the record is in the kernel; it is durable after the next [`ValueLog::sync`].
    ///
    /// # Errors
    /// `KeyTooLarge`, `ValueTooLarge`; a full disk is clean and may pass; `ReadOnly` after a failed sync.
    pub fn append(
        &self,
        cf: CfId,
        key: &[u8],
        version: Version,
        value: &[u8],
        hot: bool,
    ) -> Result<ValuePtr> {
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::KeyTooLarge(key.len()));
        }
        let value_len = match u32::try_from(value.len()) {
            Ok(len) if value.len() <= VALUE_BYTES_MAX => len,
            _ => return Err(Error::ValueTooLarge(value.len())),
        };
        self.check_alive()?;
        let key = KeyRef::new(cf, key);
        let bucket = self.bucket_of(key, hot);
        let Some(state) = self.buckets.get(usize::from(bucket)) else { return Err(Error::Closed) };
        let len = record_len(key.user_key.len(), value_len);
        let (segment, offset) = self.reserve(bucket, &mut state.lock(), len)?;
        let mut buffer = self.buffers.lock().pop().unwrap_or_default();
        buffer.clear();
        let place = Place { bucket, segment: segment.number, offset };
        Record { key, version, value }.encode(place, &mut buffer);
        let written = segment.file.write_at(&buffer, offset).at("write", &segment.path);
        segment.written.fetch_add(1, Ordering::Release);
        if buffer.capacity() <= SPARE_BUFFER_BYTES {
            // Dropped where enough are kept.
            let _ = self.buffers.lock().push(buffer);
        }
        if let Err(error) = written {
            if !error.is_no_space() {
                self.dead.store(true, Ordering::Release);
            }
            let mut state = state.lock();
            if state.head.as_ref().is_some_and(|head| head.number == segment.number) {
                state.seal();
            }
            return Err(error);
        }
        Ok(ValuePtr { bucket, segment: segment.number, offset, value_len })
    }

    /// Room for `len` bytes in the head of the bucket, or in a new one.
    fn reserve(&self, bucket: u16, state: &mut Bucket<V>, len: u64) -> Result<(Arc<Segment<V>>, u64)> {
        let counted_out = self.opts.max_entries != 0 && state.entries >= self.opts.max_entries;
        let full = |head: &Arc<Segment<V>>| {
            counted_out || head.end.load(Ordering::Relaxed) >= self.opts.segment_bytes
        };
        if state.head.as_ref().is_none_or(full) {
            let left = state.head.as_ref().map(|head| (head.number, head.end.load(Ordering::Relaxed)));
            let entries = state.entries;
            state.seal();
            let head = self.start_segment(bucket, state)?;
            self.note_rotation(Rotation { bucket, segment: head.number, left, entries });
            state.head = Some(head);
        }
        let Some(head) = state.head.clone() else { return Err(Error::Closed) };
        let offset = head.end.fetch_add(len, Ordering::Relaxed);
        state.appended(offset, self.opts.segment_bytes);
        Ok((head, offset))
    }

    fn start_segment(&self, bucket: u16, state: &mut Bucket<V>) -> Result<Arc<Segment<V>>> {
        let dir = bucket_dir(&self.dir, bucket);
        if state.next_segment == 1 {
            self.fs.create_dir_all(&dir).at("create directory", &dir)?;
        }
        let number = state.next_segment;
        let path = segment_path(&self.dir, bucket, number);
        let file = match self.fs.create(&path) {
            // The manifest's head is known, but its directory went with its files.
            Err(error) if error.kind == IoErrorKind::NotFound => {
                self.fs.create_dir_all(&dir).at("create directory", &dir)?;
                self.fs.create(&path).at("create", &path)?
            }
            other => other.at("create", &path)?,
        };
        // Whatever comes of it, the number is used up.
        state.next_segment = number
            .checked_add(1)
            .ok_or_else(|| Error::corrupt(&path, 0, "a segment number below 2^32 - 1"))?;
        state.new_names = true;
        let header = SegmentHeader { db_id: self.db_id, bucket, segment: number };
        if let Err(error) = file.write_at(&header.to_bytes(), 0).at("write", &path) {
            drop(file);
            // No pointer can name it; if it cannot be removed it is a segment without records.
            let _ = self.fs.unlink(&path);
            return Err(error);
        }
        Ok(Arc::new(Segment {
            number,
            path,
            file,
            end: AtomicU64::new(SEGMENT_HEADER_BYTES),
            written: AtomicU64::new(1),
            synced: AtomicU64::new(0),
        }))
    }

    /// The value that `ptr` names, which must be that of `key` at `version`.
    ///
    /// # Errors
    /// `Corrupt` if the record there is damaged or another one, or not there; `Io`.
    pub fn read(&self, ptr: &ValuePtr, key: KeyRef<'_>, version: Version) -> Result<Vec<u8>> {
        let mut buf = Vec::new();
        let value_at = self.read_into(ptr, key, version, &mut buf)?;
        buf.drain(..value_at);
        Ok(buf)
    }

    /// [`ValueLog::read`] without a copy: fills `buf` with the whole record, and gives where the value starts in it. The
    /// value reaches to the end of `buf`.
    ///
    /// # Errors
    /// As [`ValueLog::read`].
    pub fn read_into(
        &self,
        ptr: &ValuePtr,
        key: KeyRef<'_>,
        version: Version,
        buf: &mut Vec<u8>,
    ) -> Result<usize> {
        let reader = self.reader(ptr.bucket, ptr.segment)?;
        let (file, path, size) = reader.parts();
        let len = record_len(key.user_key.len(), ptr.value_len);
        let corrupt = |what: &'static str| Error::corrupt(path, ptr.offset, what);
        // Checked before anything of that length is allocated.
        let end = ptr.offset.checked_add(len).ok_or_else(|| corrupt("a record within its segment"))?;
        if ptr.offset < SEGMENT_HEADER_BYTES || end > size {
            return Err(corrupt("a record within its segment"));
        }
        buf.clear();
        buf.resize(usize::try_from(len).map_err(|_| corrupt("a record that fits memory"))?, 0);
        file.read_exact_at(buf, ptr.offset).at("read", path)?;
        let place = Place { bucket: ptr.bucket, segment: ptr.segment, offset: ptr.offset };
        let record = Record::decode(buf, place).map_err(|m| Error::malformed(path, ptr.offset, m))?;
        if record.key != key || record.version != version || record.value.len() != ptr.value_len as usize {
            return Err(corrupt("the record of another entry"));
        }
        Ok(buf.len() - record.value.len())
    }

    pub(super) fn reader(&self, bucket: u16, segment: u32) -> Result<Source<V>> {
        if let Some(state) = self.buckets.get(usize::from(bucket)) {
            let state = state.lock();
            let live = state.head.iter().chain(&state.unsynced).find(|s| s.number == segment);
            if let Some(live) = live {
                return Ok(Source::Live(live.clone()));
            }
        }
        {
            let mut readers = self.readers.lock();
            readers.tick += 1;
            let tick = readers.tick;
            if let Some((used, reader)) = readers.open.get_mut(&(bucket, segment)) {
                *used = tick;
                return Ok(Source::Sealed(reader.clone()));
            }
        }
        let path = segment_path(&self.dir, bucket, segment);
        let file = match self.fs.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind == IoErrorKind::NotFound => {
                return Err(Error::corrupt(path, 0, "a value-log segment that a pointer names is missing"));
            }
            Err(error) => return Err(Error::io("open", path, error)),
        };
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let len = file.read_at(&mut bytes, 0).at("read", &path)?;
        let header = SegmentHeader::decode(bytes.get(..len).unwrap_or(&[]))
            .map_err(|m| Error::malformed(&path, 0, m))?;
        if header != (SegmentHeader { db_id: self.db_id, bucket, segment }) {
            return Err(Error::corrupt(path, 0, "the header of another segment"));
        }
        let size = file.size().at("get size of", &path)?;
        let reader = Arc::new(Reader { file, path, size });
        let mut readers = self.readers.lock();
        readers.tick += 1;
        let tick = readers.tick;
        if readers.open.len() >= self.opts.open_files.max(1)
            && let Some(coldest) = readers.open.iter().min_by_key(|(_, (used, _))| *used).map(|(at, _)| *at)
        {
            readers.open.remove(&coldest);
        }
        readers.open.insert((bucket, segment), (tick, reader.clone()));
        Ok(Source::Sealed(reader))
    }

    /// The next append of every bucket starts a new segment. For a checkpoint and before collecting a head.
    pub fn seal_heads(&self) {
        self.buckets.iter().for_each(|state| state.lock().seal());
    }

    /// The next append of the bucket starts a new segment; false if `segment` is not its head.
    pub fn seal_head(&self, bucket: u16, segment: u32) -> bool {
        let Some(state) = self.buckets.get(usize::from(bucket)) else { return false };
        let mut state = state.lock();
        let is_head = state.head.as_ref().is_some_and(|head| head.number == segment);
        if is_head {
            state.seal();
        }
        is_head
    }

    fn note_rotation(&self, rotation: Rotation) {
        self.head_updates.fetch_add(1, Ordering::Relaxed);
        let mut rotations = self.rotations.lock();
        if rotations.len() < ROTATIONS_KEPT {
            rotations.push(rotation);
        }
        self.has_rotations.store(true, Ordering::Release);
    }

    /// Segments started since the last call, for reports; those that nobody asks for in time are left out.
    #[inline]
    pub fn take_rotations(&self) -> Vec<Rotation> {
        if !self.has_rotations.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.has_rotations.store(false, Ordering::Release);
        core::mem::take(&mut *self.rotations.lock())
    }

    /// How often a bucket got a new head since the open.
    pub fn head_updates(&self) -> u64 {
        self.head_updates.load(Ordering::Relaxed)
    }

    /// A record of a sealed segment starts here; `None` if this process did not write it.
    pub(super) fn mark(&self, bucket: u16, segment: u32, turn: u64) -> Option<u64> {
        self.buckets.get(usize::from(bucket))?.lock().mark(segment, turn)
    }

    /// All segments, ascending.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let mut all = Vec::new();
        for (state, bucket) in self.buckets.iter().zip(0u16..) {
            let state = state.lock();
            let sealed = state.sealed.iter();
            all.extend(sealed.map(|(n, size)| SegmentInfo {
                bucket,
                segment: *n,
                size: *size,
                head: false,
                settled: !state.unsynced.iter().any(|s| s.number == *n),
            }));
            all.extend(state.head.iter().map(|head| SegmentInfo {
                bucket,
                segment: head.number,
                size: head.end.load(Ordering::Relaxed),
                head: true,
                settled: false,
            }));
        }
        let retired = self.retired.lock();
        let retired = retired.iter();
        all.extend(retired.map(|((b, n), size)| SegmentInfo {
            bucket: *b,
            segment: *n,
            size: *size,
            head: false,
            settled: true,
        }));
        let not_settled = self.not_settled.lock();
        all.iter_mut().for_each(|s| s.settled &= !not_settled.contains_key(&(s.bucket, s.segment)));
        all.sort_unstable();
        all
    }

    /// Unlinks a segment that nothing names any more, by an edit of the manifest that is durable.
    ///
    /// # Errors
    /// `InvalidArgument` for a head, `Io`; a file that is gone already is fine.
    pub fn remove_segment(&self, bucket: u16, segment: u32) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly("it was opened for reading".to_string()));
        }
        match self.buckets.get(usize::from(bucket)) {
            Some(state) => {
                let mut state = state.lock();
                if state.head.as_ref().is_some_and(|head| head.number == segment) {
                    return Err(Error::InvalidArgument("a value-log head cannot be removed".to_string()));
                }
                state.forget(segment);
            }
            None => {
                self.retired.lock().remove(&(bucket, segment));
            }
        }
        self.readers.lock().open.remove(&(bucket, segment));
        let path = segment_path(&self.dir, bucket, segment);
        match self.fs.unlink(&path) {
            Err(error) if error.kind != IoErrorKind::NotFound => Err(Error::io("unlink", path, error)),
            _ => Ok(()),
        }
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly("it was opened for reading".to_string()));
        }
        if self.dead.load(Ordering::Acquire) {
            return Err(Error::ReadOnly("a sync of the value log failed".to_string()));
        }
        Ok(())
    }
}

/// Where a segment is read from.
pub(super) enum Source<V: Vfs> {
    Live(Arc<Segment<V>>),
    Sealed(Arc<Reader<V>>),
}

impl<V: Vfs> Source<V> {
    /// The file, its path, and a length that every record lies within.
    pub(super) fn parts(&self) -> (&V::File, &str, u64) {
        match self {
            Self::Live(segment) => (&segment.file, &segment.path, segment.end.load(Ordering::Relaxed)),
            Self::Sealed(reader) => (&reader.file, &reader.path, reader.size),
        }
    }
}

/// Every segment that the manifest names is there with its length.
fn check_named(dir: &str, state: &ManifestState, found: &[(u16, u32, u64)]) -> Result<()> {
    for ((bucket, segment), named) in &state.vlog_segments {
        let corrupt = |at, what: &'static str| Error::corrupt(segment_path(dir, *bucket, *segment), at, what);
        let at = found
            .binary_search_by_key(&(*bucket, *segment), |(b, s, _)| (*b, *s))
            .map_err(|_| corrupt(0, "a value-log segment that the manifest names is missing"))?;
        let size = found.get(at).map_or(0, |(_, _, size)| *size);
        if size < named.size || (named.sealed && size > named.size) {
            return Err(corrupt(size, "the length that the manifest states"));
        }
    }
    Ok(())
}
