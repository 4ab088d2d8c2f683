//! Open files, maps and locks of [`MemFs`].
//!
//! A handle keeps its file, also when its last name is gone. A map only takes stores into allocated blocks, as the
//! real thing would answer others with a signal when the disk is full.

use alloc::boxed::Box;
use nokv_core::sync::Arc;
use nokv_core::vfs::{IoError, IoErrorKind, IoResult, VfsFile, VfsMap};

use crate::disk::{Disk, MAX_LEN, SyncFailure, fail};
use crate::fs::{EIO, MemFs};

/// Keeps a file open.
pub(crate) struct Handle {
    fs: MemFs,
    id: u64,
    path: Arc<str>,
}

impl Handle {
    /// Opens file `id` of `disk`, which is the locked disk of `fs`.
    pub(crate) fn open(fs: &MemFs, disk: &mut Disk, id: u64, path: &str) -> Arc<Self> {
        disk.file_mut(id).open += 1;
        Arc::new(Self { fs: fs.clone(), id, path: path.into() })
    }

    fn sync(&self, start: u64, end: u64) -> IoResult<()> {
        let mut disk = self.fs.shared.disk.write();
        let failure = disk.take_sync_fault(&self.path);
        disk.change_file(self.id, |file| match failure {
            None | Some(SyncFailure::ErrorButPersisted) => file.persist(start, end),
            Some(SyncFailure::CleanAndKept) => file.lose(start, end),
            Some(SyncFailure::Reverted) => file.revert(start, end),
        });
        if failure.is_some() { Err(EIO) } else { Ok(()) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut disk = self.fs.shared.disk.write();
        disk.file_mut(self.id).open -= 1;
        disk.release(self.id);
    }
}

/// An open file of [`MemFs`].
pub struct MemFile {
    handle: Arc<Handle>,
    writable: bool,
}

impl MemFile {
    pub(crate) fn new(handle: Arc<Handle>, writable: bool) -> Self {
        Self { handle, writable }
    }

    /// Announces a call that changes the file.
    fn changing(&self, op: &str) -> IoResult<()> {
        if !self.writable {
            return fail(IoErrorKind::PermissionDenied);
        }
        self.handle.fs.before(op, &self.handle.path);
        Ok(())
    }
}

fn end_of(offset: u64, len: u64) -> IoResult<u64> {
    offset.checked_add(len).ok_or(IoError::new(IoErrorKind::InvalidInput))
}

impl VfsFile for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        Ok(self.handle.fs.shared.disk.read().file(self.handle.id).current.read(buf, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()> {
        self.changing("write_at")?;
        let end = end_of(offset, bytes.len() as u64)?;
        let mut disk = self.handle.fs.shared.disk.write();
        disk.grow(self.handle.id, offset, end, |file| file.write(bytes, offset))
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        self.changing("set_len")?;
        if len > MAX_LEN {
            return fail(IoErrorKind::InvalidInput);
        }
        self.handle.fs.shared.disk.write().change_file(self.handle.id, |file| file.set_len(len));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> IoResult<()> {
        self.changing("allocate")?;
        let end = end_of(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let mut disk = self.handle.fs.shared.disk.write();
        disk.grow(self.handle.id, offset, end, |file| file.allocate(offset, end))
    }

    fn sync(&self) -> IoResult<()> {
        self.handle.fs.before("sync", &self.handle.path);
        self.handle.sync(0, u64::MAX)
    }

    fn size(&self) -> IoResult<u64> {
        Ok(self.handle.fs.shared.disk.read().file(self.handle.id).current.len())
    }

    fn map(&self, len: u64) -> IoResult<Box<dyn VfsMap>> {
        let disk = self.handle.fs.shared.disk.read();
        if !disk.caps.maps {
            return fail(IoErrorKind::Unsupported);
        }
        if !self.writable {
            return fail(IoErrorKind::PermissionDenied);
        }
        let file = disk.file(self.handle.id);
        if len == 0 || len > file.current.len() || !file.is_allocated(len) {
            return fail(IoErrorKind::InvalidInput);
        }
        drop(disk);
        Ok(Box::new(MemMap { handle: Arc::clone(&self.handle), len }))
    }
}

/// A map of a file of [`MemFs`].
pub struct MemMap {
    handle: Arc<Handle>,
    len: u64,
}

impl MemMap {
    fn check(&self, offset: u64, len: usize, file_len: u64) {
        let end = offset.checked_add(len as u64);
        assert!(end.is_some_and(|end| end <= self.len), "{offset}+{len} is outside of a map of {}", self.len);
        assert!(end.is_some_and(|end| end <= file_len), "the file was cut below its map: a bus error");
    }
}

impl VfsMap for MemMap {
    fn store(&self, offset: u64, bytes: &[u8]) {
        self.handle.fs.before("store", &self.handle.path);
        let mut disk = self.handle.fs.shared.disk.write();
        let file = disk.file(self.handle.id);
        self.check(offset, bytes.len(), file.current.len());
        let end = offset + bytes.len() as u64;
        assert_eq!(file.pages_needed(offset, end), 0, "a store into blocks that are not allocated");
        disk.change_file(self.handle.id, |file| file.write(bytes, offset));
    }

    fn load(&self, offset: u64, buf: &mut [u8]) {
        let disk = self.handle.fs.shared.disk.read();
        let file = disk.file(self.handle.id);
        self.check(offset, buf.len(), file.current.len());
        file.current.copy_out(buf, offset);
    }

    fn flush(&self, offset: u64, len: u64) -> IoResult<()> {
        self.handle.fs.before("flush", &self.handle.path);
        match offset.checked_add(len) {
            Some(end) if end <= self.len => self.handle.sync(offset, end),
            _ => fail(IoErrorKind::InvalidInput),
        }
    }

    fn len(&self) -> u64 {
        self.len
    }
}

/// Holds a lock file of [`MemFs`].
pub struct MemLock {
    handle: Arc<Handle>,
}

impl MemLock {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.handle.fs.shared.disk.write().locks.remove(&self.handle.id);
    }
}
