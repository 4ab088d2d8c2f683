//! A file system that hashes every call made on it, with arguments, bytes and answers: two runs with the same hash did
//! the same, call by call.
//!
//! Who may call it: the test that a workload's seed alone decides its calls.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::vfs::{Capabilities, DirEntry, IoResult, OpenMode, Vfs, VfsFile, VfsMap};

/// The hash so far, and of how many calls.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<(u64, u64)>>);

impl Trace {
    fn note(&self, call: impl Hash) {
        let mut trace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hasher = DefaultHasher::new();
        (trace.0, call).hash(&mut hasher);
        *trace = (hasher.finish(), trace.1 + 1);
    }
}

/// See the module. Clones are the same file system.
#[derive(Clone)]
pub struct TracedFs<V> {
    fs: V,
    trace: Trace,
}

impl<V> TracedFs<V> {
    /// Traces what is done on `fs`.
    pub fn new(fs: V) -> Self {
        Self { fs, trace: Trace::default() }
    }

    /// The hash of all calls so far in their order, and their number.
    pub fn trace(&self) -> (u64, u64) {
        *self.trace.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open file of [`TracedFs`].
pub struct TracedFile<F> {
    file: F,
    path: String,
    trace: Trace,
}

struct TracedMap {
    map: Box<dyn VfsMap>,
    path: String,
    trace: Trace,
}

impl<V: Vfs> TracedFs<V> {
    fn file(&self, file: V::File, path: &str) -> TracedFile<V::File> {
        TracedFile { file, path: path.to_owned(), trace: self.trace.clone() }
    }
}

impl<V: Vfs> Vfs for TracedFs<V> {
    type File = TracedFile<V::File>;
    type Lock = V::Lock;

    fn capabilities(&self) -> Capabilities {
        self.fs.capabilities()
    }

    fn create(&self, path: &str) -> IoResult<Self::File> {
        let file = self.fs.create(path);
        self.trace.note(("create", path, file.as_ref().err()));
        Ok(self.file(file?, path))
    }

    fn open(&self, path: &str, mode: OpenMode) -> IoResult<Self::File> {
        let file = self.fs.open(path, mode);
        self.trace.note(("open", path, mode == OpenMode::Read, file.as_ref().err()));
        Ok(self.file(file?, path))
    }

    fn create_dir_all(&self, path: &str) -> IoResult<()> {
        let done = self.fs.create_dir_all(path);
        self.trace.note(("create_dir_all", path, &done));
        done
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let done = self.fs.rename(from, to);
        self.trace.note(("rename", from, to, &done));
        done
    }

    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()> {
        let done = self.fs.rename_noreplace(from, to);
        self.trace.note(("rename_noreplace", from, to, &done));
        done
    }

    fn link(&self, from: &str, to: &str) -> IoResult<()> {
        let done = self.fs.link(from, to);
        self.trace.note(("link", from, to, &done));
        done
    }

    fn unlink(&self, path: &str) -> IoResult<()> {
        let done = self.fs.unlink(path);
        self.trace.note(("unlink", path, &done));
        done
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let entries = self.fs.list(dir);
        let names: Option<Vec<_>> =
            entries.as_ref().ok().map(|e| e.iter().map(|e| (&e.name, e.size)).collect());
        self.trace.note(("list", dir, names));
        entries
    }

    fn size(&self, path: &str) -> IoResult<u64> {
        let size = self.fs.size(path);
        self.trace.note(("size", path, &size));
        size
    }

    fn sync_dir(&self, dir: &str) -> IoResult<()> {
        let done = self.fs.sync_dir(dir);
        self.trace.note(("sync_dir", dir, &done));
        done
    }

    fn lock(&self, path: &str) -> IoResult<V::Lock> {
        let lock = self.fs.lock(path);
        self.trace.note(("lock", path, lock.as_ref().err()));
        lock
    }

    fn free_space(&self, dir: &str) -> IoResult<u64> {
        let space = self.fs.free_space(dir);
        self.trace.note(("free_space", dir, &space));
        space
    }
}

impl<F: VfsFile> VfsFile for TracedFile<F> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        let read = self.file.read_at(buf, offset);
        self.trace.note(("read_at", &self.path, offset, buf.len(), &read));
        read
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()> {
        let done = self.file.write_at(bytes, offset);
        self.trace.note(("write_at", &self.path, offset, bytes, &done));
        done
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        let done = self.file.set_len(len);
        self.trace.note(("set_len", &self.path, len, &done));
        done
    }

    fn allocate(&self, offset: u64, len: u64) -> IoResult<()> {
        let done = self.file.allocate(offset, len);
        self.trace.note(("allocate", &self.path, offset, len, &done));
        done
    }

    fn sync(&self) -> IoResult<()> {
        let done = self.file.sync();
        self.trace.note(("sync", &self.path, &done));
        done
    }

    fn size(&self) -> IoResult<u64> {
        let size = self.file.size();
        self.trace.note(("file size", &self.path, &size));
        size
    }

    fn map(&self, len: u64) -> IoResult<Box<dyn VfsMap>> {
        let map = self.file.map(len);
        self.trace.note(("map", &self.path, len, map.as_ref().err()));
        Ok(Box::new(TracedMap { map: map?, path: self.path.clone(), trace: self.trace.clone() }))
    }
}

impl VfsMap for TracedMap {
    fn store(&self, offset: u64, bytes: &[u8]) {
        self.trace.note(("store", &self.path, offset, bytes));
        self.map.store(offset, bytes);
    }

    fn load(&self, offset: u64, buf: &mut [u8]) {
        self.trace.note(("load", &self.path, offset, buf.len()));
        self.map.load(offset, buf);
    }

    fn flush(&self, offset: u64, len: u64) -> IoResult<()> {
        let done = self.map.flush(offset, len);
        self.trace.note(("flush", &self.path, offset, len, &done));
        done
    }

    fn len(&self) -> u64 {
        self.map.len()
    }
}
