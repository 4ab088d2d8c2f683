//! A file system that is one map from path to bytes behind one lock: no maps, no atomic rename, no directory
//! syncs, no hard links.
//!
//! Any thread may call it. Every write is there at once, so a copy of the map is what the death of the process
//! leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nokv_core::vfs::{
    Capabilities, DirEntry, IoError, IoErrorKind, IoResult, OpenMode, Vfs, VfsFile, VfsMap,
};

/// Bytes of a file; from the end of `bytes` to `len` it reads as zeros.
#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    len: u64,
}

type Shared = Arc<Mutex<Content>>;

#[derive(Default)]
struct State {
    files: BTreeMap<String, Shared>,
    dirs: BTreeSet<String>,
    locked: BTreeSet<String>,
}

/// See the module.
#[derive(Clone, Default)]
pub struct MapFs(Arc<Mutex<State>>);

/// An open file.
pub struct MapFile {
    content: Shared,
    writable: bool,
}

/// A lock that is held.
pub struct MapLock {
    fs: MapFs,
    path: String,
}

impl Drop for MapLock {
    fn drop(&mut self) {
        held(&self.fs.0).locked.remove(&self.path);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn refuse<T>(kind: IoErrorKind) -> IoResult<T> {
    Err(IoError::new(kind))
}

fn clean(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl State {
    /// Is there a directory `dir`? A file in its place makes no sense.
    fn need_dir(&self, dir: &str) -> IoResult<()> {
        if dir.is_empty() || self.dirs.contains(dir) {
            return Ok(());
        }
        let mut at = dir;
        while !at.is_empty() {
            if self.files.contains_key(at) {
                return refuse(IoErrorKind::InvalidInput);
            }
            at = parent(at);
        }
        refuse(IoErrorKind::NotFound)
    }

    fn file(&self, path: &str) -> IoResult<&Shared> {
        if self.dirs.contains(path) || path.is_empty() {
            return refuse(IoErrorKind::InvalidInput);
        }
        match self.files.get(path) {
            Some(file) => Ok(file),
            None => Err(self.need_dir(parent(path)).err().unwrap_or(IoError::new(IoErrorKind::NotFound))),
        }
    }
}

impl MapFs {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the death of the process leaves: all bytes, no locks.
    pub fn kill_clone(&self) -> Self {
        let state = held(&self.0);
        let copy =
            |(path, file): (&String, &Shared)| (path.clone(), Arc::new(Mutex::new(held(file).clone())));
        let files = state.files.iter().map(copy).collect();
        Self(Arc::new(Mutex::new(State { files, dirs: state.dirs.clone(), locked: BTreeSet::new() })))
    }
}

impl Vfs for MapFs {
    type File = MapFile;
    type Lock = MapLock;

    fn capabilities(&self) -> Capabilities {
        Capabilities { maps: false, atomic_rename: false, directory_sync: false, hard_links: false }
    }

    fn create(&self, path: &str) -> IoResult<MapFile> {
        let (path, mut state) = (clean(path), held(&self.0));
        state.need_dir(parent(&path))?;
        if state.files.contains_key(&path) || state.dirs.contains(&path) {
            return refuse(IoErrorKind::AlreadyExists);
        }
        let content = Shared::default();
        state.files.insert(path, content.clone());
        Ok(MapFile { content, writable: true })
    }

    fn open(&self, path: &str, mode: OpenMode) -> IoResult<MapFile> {
        let content = held(&self.0).file(&clean(path))?.clone();
        Ok(MapFile { content, writable: mode == OpenMode::ReadWrite })
    }

    fn create_dir_all(&self, path: &str) -> IoResult<()> {
        let (path, mut state) = (clean(path), held(&self.0));
        if state.files.contains_key(&path) {
            return refuse(IoErrorKind::AlreadyExists);
        }
        if let Err(error) = state.need_dir(&path)
            && error.kind != IoErrorKind::NotFound
        {
            return Err(error);
        }
        let mut at = path.as_str();
        while !at.is_empty() {
            state.dirs.insert(at.to_owned());
            at = parent(at);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let (from, to) = (clean(from), clean(to));
        let file = {
            let mut state = held(&self.0);
            let file = state.file(&from)?.clone();
            state.need_dir(parent(&to))?;
            if state.dirs.contains(&to) {
                return refuse(IoErrorKind::InvalidInput);
            }
            if from == to {
                return Ok(());
            }
            // Not atomic: for a moment there is neither.
            state.files.remove(&to);
            state.files.remove(&from);
            file
        };
        held(&self.0).files.insert(to, file);
        Ok(())
    }

    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()> {
        let (from, to, mut state) = (clean(from), clean(to), held(&self.0));
        let file = state.file(&from)?.clone();
        state.need_dir(parent(&to))?;
        if state.files.contains_key(&to) || state.dirs.contains(&to) {
            return refuse(IoErrorKind::AlreadyExists);
        }
        state.files.remove(&from);
        state.files.insert(to, file);
        Ok(())
    }

    fn link(&self, _from: &str, _to: &str) -> IoResult<()> {
        refuse(IoErrorKind::Unsupported)
    }

    fn unlink(&self, path: &str) -> IoResult<()> {
        let (path, mut state) = (clean(path), held(&self.0));
        state.file(&path)?;
        state.files.remove(&path);
        Ok(())
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let (dir, state) = (clean(dir), held(&self.0));
        state.need_dir(&dir)?;
        let name = |path: &str| path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned();
        let mut entries: Vec<DirEntry> = Vec::new();
        for (path, file) in state.files.iter().filter(|(path, _)| parent(path) == dir) {
            entries.push(DirEntry { name: name(path), size: held(file).len, is_dir: false, links: 1 });
        }
        for path in state.dirs.iter().filter(|path| parent(path) == dir) {
            entries.push(DirEntry { name: name(path), size: 0, is_dir: true, links: 1 });
        }
        Ok(entries)
    }

    fn size(&self, path: &str) -> IoResult<u64> {
        Ok(held(held(&self.0).file(&clean(path))?).len)
    }

    fn sync_dir(&self, dir: &str) -> IoResult<()> {
        held(&self.0).need_dir(&clean(dir))
    }

    fn lock(&self, path: &str) -> IoResult<MapLock> {
        let (path, mut state) = (clean(path), held(&self.0));
        state.need_dir(parent(&path))?;
        if !state.locked.insert(path.clone()) {
            return refuse(IoErrorKind::WouldBlock);
        }
        state.files.entry(path.clone()).or_default();
        Ok(MapLock { fs: self.clone(), path })
    }

    fn free_space(&self, _dir: &str) -> IoResult<u64> {
        Ok(u64::MAX)
    }
}

impl MapFile {
    fn grow(&self, end: Option<u64>) -> IoResult<MutexGuard<'_, Content>> {
        if !self.writable {
            return refuse(IoErrorKind::PermissionDenied);
        }
        let Some(end) = end.filter(|end| *end < 1 << 40) else { return refuse(IoErrorKind::InvalidInput) };
        let mut content = held(&self.content);
        content.len = content.len.max(end);
        Ok(content)
    }
}

impl VfsFile for MapFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        let content = held(&self.content);
        let count = buf.len().min(usize::try_from(content.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        let stored = usize::try_from(offset).ok().and_then(|at| content.bytes.get(at..)).unwrap_or(&[]);
        let copied = stored.len().min(count);
        buf[..copied].copy_from_slice(&stored[..copied]);
        buf[copied..count].fill(0);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()> {
        if bytes.is_empty() {
            return self.grow(Some(0)).map(drop);
        }
        let mut content = self.grow(offset.checked_add(bytes.len() as u64))?;
        let at = offset as usize;
        if content.bytes.len() < at + bytes.len() {
            content.bytes.resize(at + bytes.len(), 0);
        }
        content.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        let mut content = self.grow(Some(len))?;
        content.len = len;
        if let Ok(len) = usize::try_from(len) {
            content.bytes.truncate(len);
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> IoResult<()> {
        let end = offset.checked_add(len);
        self.grow(if len == 0 { Some(0) } else { end }).map(drop)
    }

    fn sync(&self) -> IoResult<()> {
        Ok(())
    }

    fn size(&self) -> IoResult<u64> {
        Ok(held(&self.content).len)
    }

    fn map(&self, _len: u64) -> IoResult<Box<dyn VfsMap>> {
        refuse(IoErrorKind::Unsupported)
    }
}
