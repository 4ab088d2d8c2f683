//! A file system on an array of bytes, as a microcontroller has it: pages of 4 KiB, no maps, no links, no rename that
//! is atomic, no threads. Uses `core` and `alloc` only.
//!
//! The array is the flash. It is given for ever and is not heap; the table of files is.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use nokv_core::sync::Mutex;
use nokv_core::vfs::{
    Capabilities, DirEntry, IoError, IoErrorKind, IoResult, OpenMode, Vfs, VfsFile, VfsMap,
};

const PAGE: usize = 4096;

struct Node {
    path: String,
    pages: Vec<u16>,
    len: usize,
}

struct Chip {
    bytes: &'static mut [u8],
    free: Vec<u16>,
    files: Vec<Arc<Mutex<Node>>>,
}

/// The file system; clones are the same one.
#[derive(Clone)]
pub struct Flash(Arc<Mutex<Chip>>);

/// An open file.
pub struct FlashFile(Flash, Arc<Mutex<Node>>);

fn fail<T>(kind: IoErrorKind) -> IoResult<T> {
    Err(IoError::new(kind))
}

impl Flash {
    /// An empty file system on `bytes`.
    pub fn new(bytes: &'static mut [u8]) -> Self {
        let free = (0..(bytes.len() / PAGE) as u16).rev().collect();
        Self(Arc::new(Mutex::new(Chip { bytes, free, files: Vec::new() })))
    }

    fn find(&self, path: &str) -> IoResult<Arc<Mutex<Node>>> {
        let chip = self.0.lock();
        let found = chip.files.iter().find(|node| node.lock().path == path);
        found.cloned().ok_or(IoError::new(IoErrorKind::NotFound))
    }
}

impl Chip {
    /// Grows or cuts a file; new bytes are zeros.
    fn resize(&mut self, node: &mut Node, len: usize) -> IoResult<()> {
        let pages = len.div_ceil(PAGE);
        if pages > node.pages.len() + self.free.len() {
            return fail(IoErrorKind::NoSpace);
        }
        while node.pages.len() > pages {
            self.free.extend(node.pages.pop());
        }
        while node.pages.len() < pages
            && let Some(page) = self.free.pop()
        {
            self.bytes[page as usize * PAGE..][..PAGE].fill(0);
            node.pages.push(page);
        }
        let old = core::mem::replace(&mut node.len, len);
        if let Some(last) = node.pages.last().filter(|_| len < old && !len.is_multiple_of(PAGE)) {
            self.bytes[*last as usize * PAGE..][len % PAGE..PAGE].fill(0);
        }
        Ok(())
    }
}

impl Vfs for Flash {
    type File = FlashFile;
    type Lock = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities { maps: false, atomic_rename: false, directory_sync: false, hard_links: false }
    }

    fn create(&self, path: &str) -> IoResult<FlashFile> {
        if self.find(path).is_ok() {
            return fail(IoErrorKind::AlreadyExists);
        }
        let node = Node { path: path.to_string(), pages: Vec::new(), len: 0 };
        let node = Arc::new(Mutex::new(node));
        self.0.lock().files.push(node.clone());
        Ok(FlashFile(self.clone(), node))
    }

    fn open(&self, path: &str, _: OpenMode) -> IoResult<FlashFile> {
        Ok(FlashFile(self.clone(), self.find(path)?))
    }

    fn create_dir_all(&self, _: &str) -> IoResult<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let node = self.find(from)?;
        if from != to && self.find(to).is_ok() {
            self.unlink(to)?;
        }
        node.lock().path = to.to_string();
        Ok(())
    }

    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()> {
        if self.find(to).is_ok() { fail(IoErrorKind::AlreadyExists) } else { self.rename(from, to) }
    }

    fn link(&self, _: &str, _: &str) -> IoResult<()> {
        fail(IoErrorKind::Unsupported)
    }

    fn unlink(&self, path: &str) -> IoResult<()> {
        let node = self.find(path)?;
        self.0.lock().files.retain(|other| !Arc::ptr_eq(other, &node));
        Ok(())
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let chip = self.0.lock();
        let mut entries: Vec<DirEntry> = Vec::new();
        for node in &chip.files {
            let node = node.lock();
            let Some(rest) = node.path.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/')) else {
                continue;
            };
            let (name, is_dir) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            if !entries.iter().any(|entry| entry.name == name) {
                let size = if is_dir { 0 } else { node.len as u64 };
                entries.push(DirEntry { name: name.to_string(), size, is_dir, links: 1 });
            }
        }
        Ok(entries)
    }

    fn size(&self, path: &str) -> IoResult<u64> {
        Ok(self.find(path)?.lock().len as u64)
    }

    fn sync_dir(&self, _: &str) -> IoResult<()> {
        Ok(())
    }

    fn lock(&self, _: &str) -> IoResult<()> {
        Ok(())
    }

    fn free_space(&self, _: &str) -> IoResult<u64> {
        Ok((self.0.lock().free.len() * PAGE) as u64)
    }
}

impl FlashFile {
    /// Runs `each` over the parts of `offset..offset + len` that lie in one page each.
    fn parts(&self, offset: usize, len: usize, mut each: impl FnMut(&mut [u8], usize)) {
        let (mut chip, node) = (self.0.0.lock(), self.1.lock());
        let mut at = 0;
        while at < len {
            let within = (offset + at) % PAGE;
            let part = (PAGE - within).min(len - at);
            let page = node.pages[(offset + at) / PAGE] as usize * PAGE;
            each(&mut chip.bytes[page + within..][..part], at);
            at += part;
        }
    }
}

impl Drop for FlashFile {
    fn drop(&mut self) {
        // Unlinked, and this was the last handle: its pages are free again.
        let mut chip = self.0.0.lock();
        if Arc::strong_count(&self.1) == 1 {
            chip.free.append(&mut self.1.lock().pages);
        }
    }
}

impl VfsFile for FlashFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        let len = buf.len().min(self.1.lock().len.saturating_sub(offset as usize));
        self.parts(offset as usize, len, |bytes, at| buf[at..at + bytes.len()].copy_from_slice(bytes));
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()> {
        let end = offset as usize + bytes.len();
        if end > self.1.lock().len {
            self.set_len(end as u64)?;
        }
        self.parts(offset as usize, bytes.len(), |to, at| to.copy_from_slice(&bytes[at..at + to.len()]));
        Ok(())
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        self.0.0.lock().resize(&mut self.1.lock(), len as usize)
    }

    fn allocate(&self, offset: u64, len: u64) -> IoResult<()> {
        let end = offset + len;
        if end > self.size()? { self.set_len(end) } else { Ok(()) }
    }

    fn sync(&self) -> IoResult<()> {
        Ok(())
    }

    fn size(&self) -> IoResult<u64> {
        Ok(self.1.lock().len as u64)
    }

    fn map(&self, _: u64) -> IoResult<Box<dyn VfsMap>> {
        fail(IoErrorKind::Unsupported)
    }
}
