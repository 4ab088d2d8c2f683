//! Files in memory, with a counter of opens; nothing can fail but reads of missing names.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::vfs::{Capabilities, DirEntry, IoError, IoErrorKind, IoResult, OpenMode, Vfs, VfsFile, VfsMap};

type Bytes = Arc<Mutex<Vec<u8>>>;

#[derive(Clone, Default)]
pub(super) struct Disk {
    files: Arc<Mutex<BTreeMap<String, Bytes>>>,
    opens: Arc<AtomicUsize>,
    open_now: Arc<AtomicUsize>,
}

pub(super) struct File {
    bytes: Bytes,
    open_now: Arc<AtomicUsize>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.open_now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Disk {
    pub(super) fn bytes(&self, path: &str) -> Vec<u8> {
        self.files.lock()[path].lock().clone()
    }

    pub(super) fn set(&self, path: &str, bytes: &[u8]) {
        self.files.lock().insert(path.to_string(), Arc::new(Mutex::new(bytes.to_vec())));
    }

    pub(super) fn opens(&self) -> usize {
        self.opens.load(Ordering::SeqCst)
    }

    pub(super) fn open_now(&self) -> usize {
        self.open_now.load(Ordering::SeqCst)
    }

    fn file(&self, bytes: &Bytes) -> File {
        self.open_now.fetch_add(1, Ordering::SeqCst);
        File { bytes: bytes.clone(), open_now: self.open_now.clone() }
    }
}

impl Vfs for Disk {
    type File = File;
    type Lock = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities { maps: false, atomic_rename: false, directory_sync: false, hard_links: false }
    }

    fn create(&self, path: &str) -> IoResult<File> {
        self.set(path, &[]);
        Ok(self.file(&self.files.lock()[path]))
    }

    fn open(&self, path: &str, _: OpenMode) -> IoResult<File> {
        self.opens.fetch_add(1, Ordering::SeqCst);
        let files = self.files.lock();
        files.get(path).map(|bytes| self.file(bytes)).ok_or(IoError::new(IoErrorKind::NotFound))
    }

    fn create_dir_all(&self, _: &str) -> IoResult<()> {
        Ok(())
    }

    fn rename(&self, _: &str, _: &str) -> IoResult<()> {
        Err(IoError::new(IoErrorKind::Unsupported))
    }

    fn rename_noreplace(&self, _: &str, _: &str) -> IoResult<()> {
        Err(IoError::new(IoErrorKind::Unsupported))
    }

    fn link(&self, _: &str, _: &str) -> IoResult<()> {
        Err(IoError::new(IoErrorKind::Unsupported))
    }

    fn unlink(&self, _: &str) -> IoResult<()> {
        Err(IoError::new(IoErrorKind::Unsupported))
    }

    fn list(&self, _: &str) -> IoResult<Vec<DirEntry>> {
        Err(IoError::new(IoErrorKind::Unsupported))
    }

    fn size(&self, path: &str) -> IoResult<u64> {
        Ok(self.bytes(path).len() as u64)
    }

    fn sync_dir(&self, _: &str) -> IoResult<()> {
        Ok(())
    }

    fn lock(&self, _: &str) -> IoResult<()> {
        Ok(())
    }

    fn free_space(&self, _: &str) -> IoResult<u64> {
        Ok(u64::MAX)
    }
}

impl VfsFile for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        let bytes = self.bytes.lock();
        let rest = bytes.get(offset as usize..).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, new: &[u8], offset: u64) -> IoResult<()> {
        let mut bytes = self.bytes.lock();
        let end = offset as usize + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(new);
        Ok(())
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        self.bytes.lock().resize(len as usize, 0);
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> IoResult<()> {
        Ok(())
    }

    fn sync(&self) -> IoResult<()> {
        Ok(())
    }

    fn size(&self) -> IoResult<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn map(&self, _: u64) -> IoResult<Box<dyn VfsMap>> {
        Err(IoError::new(IoErrorKind::Unsupported))
    }
}
