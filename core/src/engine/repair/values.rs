//! Can the value that a pointer names be read?

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::vlog::{Place, Record, SEGMENT_HEADER_BYTES, SegmentHeader, record_len};
use nokv_formats::{EntryRef, KeyRef, Kind, ValuePtr, Version};

use crate::error::{Error, IoContext, Result};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};
use crate::vlog::segment_path;

/// A segment as it is found; `None` if it is missing.
type Opened<F> = Option<(F, u64)>;

/// Reads values without trusting the headers of their segments: a record's checksum covers its place.
pub(super) struct Values<'a, V: Vfs> {
    fs: &'a V,
    dir: &'a str,
    open: BTreeMap<(u16, u32), Opened<V::File>>,
    /// Values that cannot be read, by segment.
    pub lost: BTreeMap<(u16, u32), u64>,
    /// Segments of which a value was read.
    pub used: BTreeMap<(u16, u32), u64>,
    buf: Vec<u8>,
}

impl<'a, V: Vfs> Values<'a, V> {
    pub fn new(fs: &'a V, dir: &'a str) -> Self {
        Self { fs, dir, open: BTreeMap::new(), lost: BTreeMap::new(), used: BTreeMap::new(), buf: Vec::new() }
    }

    /// Is this a pointer whose value cannot be read?
    pub fn is_lost(&mut self, key: KeyRef<'_>, entry: &EntryRef<'_>) -> Result<bool> {
        if entry.kind != Kind::Pointer {
            return Ok(false);
        }
        let Ok(ptr) = ValuePtr::decode(entry.value) else { return Ok(true) };
        let found = self.read(&ptr, key, entry.version)?;
        let counts = if found { &mut self.used } else { &mut self.lost };
        *counts.entry((ptr.bucket, ptr.segment)).or_default() += 1;
        Ok(!found)
    }

    fn read(&mut self, ptr: &ValuePtr, key: KeyRef<'_>, version: Version) -> Result<bool> {
        let place = (ptr.bucket, ptr.segment);
        if !self.open.contains_key(&place) {
            let opened = self.open_segment(place)?;
            self.open.insert(place, opened);
        }
        let Some(Some((file, size))) = self.open.get(&place) else { return Ok(false) };
        let len = record_len(key.user_key.len(), ptr.value_len);
        let end = ptr.offset.checked_add(len);
        if ptr.offset < SEGMENT_HEADER_BYTES || end.is_none_or(|end| end > *size) {
            return Ok(false);
        }
        let Ok(len) = usize::try_from(len) else { return Ok(false) };
        self.buf.clear();
        self.buf.resize(len, 0);
        match file.read_exact_at(&mut self.buf, ptr.offset) {
            Ok(()) => {}
            // A sector that cannot be read.
            Err(e) if matches!(e.kind, IoErrorKind::Other | IoErrorKind::UnexpectedEof) => return Ok(false),
            Err(e) => return Err(Error::io("read", self.path(place), e)),
        }
        let place = Place { bucket: ptr.bucket, segment: ptr.segment, offset: ptr.offset };
        Ok(Record::decode(&self.buf, place).is_ok_and(|record| {
            record.key == key && record.version == version && record.value.len() == ptr.value_len as usize
        }))
    }

    fn open_segment(&self, place: (u16, u32)) -> Result<Opened<V::File>> {
        let path = self.path(place);
        match self.fs.open(&path, OpenMode::Read) {
            Ok(file) => {
                let size = file.size().at("get size of", &path)?;
                Ok(Some((file, size)))
            }
            Err(e) if e.kind == IoErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("open", path, e)),
        }
    }

    pub fn path(&self, (bucket, segment): (u16, u32)) -> String {
        segment_path(self.dir, bucket, segment)
    }

    /// Is the header of this segment, which is there, as it must be?
    pub fn header_is_whole(&self, place: (u16, u32), db_id: u64) -> Result<bool> {
        let Some((file, _)) = self.open_segment(place)? else { return Ok(true) };
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let read = match file.read_at(&mut bytes, 0) {
            Ok(read) => read,
            Err(e) if e.kind == IoErrorKind::Other => 0,
            Err(e) => return Err(Error::io("read", self.path(place), e)),
        };
        let expected = SegmentHeader { db_id, bucket: place.0, segment: place.1 };
        Ok(SegmentHeader::decode(bytes.get(..read).unwrap_or(&[])) == Ok(expected))
    }
}
