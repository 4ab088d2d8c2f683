//! One segment file that takes records, through a map where the file system has maps, else by positional
//! writes.
//!
//! Who may call it: [`super::tail`] and recovery. Invariants
//! 1. The file has its full size, allocated, from the moment it has its name; so a store through the map
//!    cannot run out of space.
//! 2. The header is written whole, under its lock, in one 64-byte store.
//! 3. Ranges stored at once by different threads never overlap: frames are stored under the append lock,
//!    headers under the header's.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;

use nokv_formats::walfs::{FLAG_SEALED, HEADER_BYTES, SegmentHeader, segment_file_name};

use crate::error::{Error, IoContext, Result};
use crate::planted::{self, Bug};
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile, VfsMap, join};

/// Zeros are written in pieces of this size.
const ZERO_PIECE_BYTES: usize = 64 << 10;

/// What a new segment is made of.
pub(crate) struct Shape<'a> {
    pub dir: &'a str,
    pub ext: &'a str,
    pub bytes: u64,
    pub header: SegmentHeader,
}

pub(crate) struct Segment<V: Vfs> {
    pub number: u32,
    /// Bytes of the file: records never go behind it.
    pub capacity: u64,
    pub path: String,
    file: V::File,
    map: Option<Box<dyn VfsMap>>,
    header: Mutex<SegmentHeader>,
    /// Everything before this is durable. Written by the holder of the flush lock only.
    flushed: AtomicU64,
}

impl<V: Vfs> Segment<V> {
    /// Makes segment `number`: under a temporary name first, so that a segment that has its name is whole.
    ///
    /// ORDER: space, header, sync of the file; the name; sync of the directory. Nothing may be acknowledged
    /// that depends on the segment before this returned.
    pub fn create(fs: &V, shape: &Shape<'_>, number: u32) -> Result<Self> {
        let path = join(shape.dir, &segment_file_name(number, shape.ext));
        let temporary = format!("{path}.tmp");
        let file = match fs.create(&temporary) {
            Err(e) if e.kind == IoErrorKind::AlreadyExists => {
                // Left behind by a stop in the middle of this function.
                fs.unlink(&temporary).at("unlink", &temporary)?;
                fs.create(&temporary)
            }
            other => other,
        }
        .at("create", &temporary)?;
        let made = Self::fill_new(fs, &file, shape, &temporary, &path);
        if let Err(e) = made {
            // Best effort: the name is removed by the next attempt otherwise.
            let _ = fs.unlink(&temporary);
            return Err(e);
        }
        if !planted::is(Bug::LogNameNotSynced) {
            fs.sync_dir(shape.dir).at("sync_dir", shape.dir)?;
        }
        let map = map_of(fs, &file, shape.bytes);
        Ok(Self {
            number,
            capacity: shape.bytes,
            path,
            file,
            map,
            header: Mutex::new(shape.header),
            flushed: AtomicU64::new(HEADER_BYTES as u64),
        })
    }

    fn fill_new(fs: &V, file: &V::File, shape: &Shape<'_>, temporary: &str, path: &str) -> Result<()> {
        match file.allocate(0, shape.bytes) {
            Err(e) if e.kind == IoErrorKind::Unsupported => file.set_len(shape.bytes),
            other => other,
        }
        .at("allocate", temporary)?;
        file.write_at(&shape.header.to_bytes(), 0).at("write", temporary)?;
        file.sync().at("sync", temporary)?;
        match fs.rename_noreplace(temporary, path) {
            Err(e) if e.kind == IoErrorKind::Unsupported => fs.rename(temporary, path),
            other => other,
        }
        .at("rename", path)
    }

    /// Opens a segment for more records. A file that is shorter than its allocated size should be grown first.
    pub fn open(fs: &V, path: String, number: u32, capacity: u64, header: SegmentHeader) -> Result<Self> {
        let file = fs.open(&path, OpenMode::ReadWrite).at("open", &path)?;
        // Blocks must be there before a map stores to them; without that ability the file stays unmapped.
        let map = if fs.capabilities().maps {
            match file.allocate(0, capacity) {
                Ok(()) => map_of(fs, &file, capacity),
                Err(e) if e.kind == IoErrorKind::Unsupported => None,
                Err(e) => return Err(Error::io("allocate", &path, e)),
            }
        } else {
            None
        };
        Ok(Self {
            number,
            capacity,
            path,
            file,
            map,
            header: Mutex::new(header),
            flushed: AtomicU64::new(HEADER_BYTES as u64),
        })
    }

    /// Stores a whole frame at `offset`, which lies within the file.
    #[inline]
    pub fn store(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        assert!(offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.capacity));
        match &self.map {
            Some(map) => {
                map.store(offset, bytes);
                Ok(())
            }
            None => self.file.write_at(bytes, offset).at("write", &self.path),
        }
    }

    /// Removes what a failed positional write left at and behind `end`. A map is never written in part.
    pub fn cut_to(&self, end: u64) -> Result<()> {
        match &self.map {
            Some(_) => Ok(()),
            None => self.file.set_len(end).at("set length", &self.path),
        }
    }

    /// Makes everything before `end` durable, the header too if nothing was flushed yet.
    pub fn flush(&self, end: u64) -> Result<()> {
        let from = self.flushed.load(Ordering::Acquire);
        if end <= from {
            return Ok(());
        }
        let from = if from == HEADER_BYTES as u64 { 0 } else { from };
        let flush = || match &self.map {
            Some(map) => map.flush(from, end - from).at("flush", &self.path),
            None => self.file.sync().at("sync", &self.path),
        };
        flush().or_else(|e| if planted::is(Bug::SyncTriedAgain) { flush() } else { Err(e) })?;
        self.flushed.store(end, Ordering::Release);
        Ok(())
    }

    /// Makes the header durable.
    pub fn flush_header(&self) -> Result<()> {
        match &self.map {
            Some(map) => map.flush(0, HEADER_BYTES as u64).at("flush", &self.path),
            None => self.file.sync().at("sync", &self.path),
        }
    }

    /// Makes all of the file durable.
    pub fn sync_all(&self, end: u64) -> Result<()> {
        if let Some(map) = &self.map {
            map.flush(0, self.capacity).at("flush", &self.path)?;
        }
        self.file.sync().at("sync", &self.path)?;
        self.flushed.store(end, Ordering::Release);
        Ok(())
    }

    /// Changes the header and stores it, without making it durable.
    pub fn update_header(&self, change: impl FnOnce(&mut SegmentHeader)) -> Result<()> {
        let mut header = self.header.lock();
        let mut changed = *header;
        change(&mut changed);
        self.store(0, &changed.to_bytes())?;
        *header = changed;
        Ok(())
    }

    /// Seals: data durable, then a header that says so, then the header durable.
    pub fn seal(&self, end: u64, entries: u64, now_ns: u64) -> Result<()> {
        // ORDER: the header may say "sealed" only about bytes that are durable.
        self.flush(end)?;
        self.update_header(|h| {
            h.flags = FLAG_SEALED;
            h.write_offset = end;
            h.entry_count = entries;
            h.modified_ns = now_ns.max(h.modified_ns);
        })?;
        self.flush_header()
    }

    pub fn header(&self) -> SegmentHeader {
        *self.header.lock()
    }

    /// Writes `from..to` again: it may only look durable.
    pub fn write_again(&self, from: u64, to: u64) -> Result<()> {
        crate::rewrite::write_again(&self.file, &self.path, from, to)
    }

    /// Zeros everything from `from` to the end of the file that is not zero, and makes that durable.
    pub fn zero_from(&self, from: u64) -> Result<()> {
        zero_file(&self.file, &self.path, from, self.capacity)
    }
}

fn map_of<V: Vfs>(fs: &V, file: &V::File, len: u64) -> Option<Box<dyn VfsMap>> {
    // Any failure to map is answered by positional writes: same bytes, same order.
    if fs.capabilities().maps { file.map(len).ok().filter(|map| map.len() >= len) } else { None }
}

/// Makes a directory and its name durable. Names of directories further up are the host's.
pub(crate) fn make_dir<V: Vfs>(fs: &V, dir: &str) -> Result<()> {
    fs.create_dir_all(dir).at("create_dir_all", dir)?;
    let parent = match dir.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
        // Not ".", which a file system that is a map of paths has no name for.
        None => "",
    };
    fs.sync_dir(parent).at("sync_dir", parent)
}

/// Gives `path` an inode of its own, durably: another name of the file must not see what is written next.
pub(crate) fn copy_before_write<V: Vfs>(fs: &V, dir: &str, path: &str) -> Result<()> {
    let temporary = format!("{path}.tmp");
    match fs.unlink(&temporary) {
        Err(e) if e.kind != IoErrorKind::NotFound => return Err(Error::io("unlink", &temporary, e)),
        _ => {}
    }
    let from = fs.open(path, OpenMode::Read).at("open", path)?;
    let to = fs.create(&temporary).at("create", &temporary)?;
    let mut piece = vec![0u8; ZERO_PIECE_BYTES];
    let mut at = 0;
    loop {
        let read = from.read_at(&mut piece, at).at("read", path)?;
        if read == 0 {
            break;
        }
        to.write_at(&piece[..read], at).at("write", &temporary)?;
        at += read as u64;
    }
    to.sync().at("sync", &temporary)?;
    fs.rename(&temporary, path).at("rename", path)?;
    fs.sync_dir(dir).at("sync_dir", dir)
}

/// Zeros what is not zero in `from..to` of a file and makes that durable.
pub(crate) fn zero_file<F: VfsFile>(file: &F, path: &str, from: u64, to: u64) -> Result<()> {
    let zeros = vec![0u8; ZERO_PIECE_BYTES];
    let mut piece = vec![0u8; ZERO_PIECE_BYTES];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZERO_PIECE_BYTES);
        let read = file.read_at(&mut piece[..len], at).at("read", path)?;
        if read == 0 {
            break;
        }
        // Pieces of a preallocated tail are zero already: reading is cheaper than writing them.
        if piece[..read].iter().any(|b| *b != 0) {
            file.write_at(&zeros[..read], at).at("write", path)?;
        }
        at += read as u64;
    }
    file.sync().at("sync", path)
}
