//! [`MemFs`]: the simulated disk behind the [`Vfs`] seam.
//!
//! One lock covers the disk; the hook and the caller's code run outside it. Calls that change something are
//! numbered from 0, and the hook sees each before it starts: an image taken in it is a crash between two calls.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use nokv_core::sync::{Arc, AtomicU64, Mutex, Ordering, RwLock};
use nokv_core::vfs::{Capabilities, DirEntry, IoError, IoErrorKind, IoResult, OpenMode, Vfs};

use crate::crash::{CrashImage, CrashMode, crash};
use crate::disk::{Disk, Node, SyncFailure, SyncFault};
use crate::handle::{Handle, MemFile, MemLock};

/// Called before each changing call with its number (from 0), its name and its path.
///
/// It may look at the file system and take images, but must not change it: that would call it again.
pub type CallHook = Box<dyn Fn(u64, &str, &str) + Send + Sync>;

/// A file system in memory. Clones are the same file system.
///
/// Paths start at one root whether they begin with `/` or not; the root directory is there from the start.
#[derive(Clone)]
pub struct MemFs {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) disk: RwLock<Disk>,
    calls: AtomicU64,
    hook: Mutex<Option<Arc<CallHook>>>,
}

impl fmt::Debug for MemFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFs").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl Default for MemFs {
    fn default() -> Self {
        Self::new()
    }
}

impl MemFs {
    /// An empty file system that can do everything, without a limit of space.
    pub fn new() -> Self {
        Self::with_capabilities(Capabilities {
            maps: true,
            atomic_rename: true,
            directory_sync: true,
            hard_links: true,
        })
    }

    /// An empty file system of a host that can do less.
    ///
    /// Without `atomic_rename` a power cut may leave part of a rename in every [`CrashMode`]; without
    /// `directory_sync` names are durable at once.
    pub fn with_capabilities(capabilities: Capabilities) -> Self {
        Self::from_disk(Disk::new(capabilities))
    }

    fn from_disk(disk: Disk) -> Self {
        let shared = Shared { disk: RwLock::new(disk), calls: AtomicU64::new(0), hook: Mutex::new(None) };
        Self { shared: Arc::new(shared) }
    }

    /// A file system as a power cut at this moment could leave it. The same seed gives the same image. The
    /// image shares nothing with this one but its capabilities and capacity: no handle, lock, hook, or fault.
    pub fn crash_clone(&self, seed: u64, mode: CrashMode, image: CrashImage) -> Self {
        Self::from_disk(crash(&self.shared.disk.read(), seed, mode, image))
    }

    /// A file system as the death of the process leaves it: all that was written is there, synced or not, and
    /// what was not synced can still be lost in a power cut. Locks are free.
    pub fn kill_clone(&self) -> Self {
        Self::from_disk(self.shared.disk.read().without_process())
    }

    /// Limits the space to `bytes`, counted in pages of 4 KiB that are written or allocated. May be below what is
    /// used: then nothing can grow until something is removed. `u64::MAX` is no limit.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.disk.write().capacity = bytes;
    }

    /// Space in use, in bytes.
    pub fn used(&self) -> u64 {
        self.shared.disk.read().used
    }

    /// Calls so far that found no space.
    pub fn refusals(&self) -> u64 {
        self.shared.disk.read().refusals
    }

    /// Makes a later sync, map flush or directory sync fail; `None` takes the order back.
    pub fn set_sync_fault(&self, fault: Option<SyncFault>) {
        self.shared.disk.write().sync_fault = fault;
    }

    /// Changing calls (create, write, set_len, allocate, sync, map store and flush, names, directories, lock) so far.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// Calls `hook` before each changing call. No lock is held meanwhile.
    ///
    /// A hook that owns a clone of this file system keeps it alive until [`MemFs::clear_call_hook`].
    pub fn set_call_hook(&self, hook: CallHook) {
        *self.shared.hook.lock() = Some(Arc::new(hook));
    }

    /// Removes the hook.
    pub fn clear_call_hook(&self) {
        *self.shared.hook.lock() = None;
    }

    /// Makes all bytes and names durable, as `sync(2)` does.
    pub fn sync_all(&self) {
        let mut disk = self.shared.disk.write();
        disk.files.values_mut().for_each(crate::file::FileNode::sync);
        let dirs: Vec<u64> = disk.dirs.keys().copied().collect();
        dirs.into_iter().for_each(|dir| disk.sync_dir(dir));
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`IoErrorKind::NotFound`] or [`IoErrorKind::InvalidInput`] if there is no such file.
    pub fn contents(&self, path: &str) -> IoResult<Vec<u8>> {
        let disk = self.shared.disk.read();
        let file = disk.file(disk.file_id(path)?);
        let len = usize::try_from(file.current.len()).map_err(|_| IoError::new(IoErrorKind::InvalidInput))?;
        let mut bytes = vec![0; len];
        file.current.copy_out(&mut bytes, 0);
        Ok(bytes)
    }

    /// Announces a changing call.
    pub(crate) fn before(&self, op: &str, path: &str) {
        let number = self.shared.calls.fetch_add(1, Ordering::SeqCst);
        let hook = self.shared.hook.lock().clone();
        if let Some(hook) = hook {
            hook(number, op, path);
        }
    }
}

impl Vfs for MemFs {
    type File = MemFile;
    type Lock = MemLock;

    fn capabilities(&self) -> Capabilities {
        self.shared.disk.read().caps
    }

    fn create(&self, path: &str) -> IoResult<MemFile> {
        self.before("create", path);
        let mut disk = self.shared.disk.write();
        let id = disk.create(path)?;
        Ok(MemFile::new(Handle::open(self, &mut disk, id, path), true))
    }

    fn open(&self, path: &str, mode: OpenMode) -> IoResult<MemFile> {
        let mut disk = self.shared.disk.write();
        let id = disk.file_id(path)?;
        Ok(MemFile::new(Handle::open(self, &mut disk, id, path), mode == OpenMode::ReadWrite))
    }

    fn create_dir_all(&self, path: &str) -> IoResult<()> {
        self.before("create_dir", path);
        self.shared.disk.write().create_dir_all(path)
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.before("rename", from);
        self.shared.disk.write().rename(from, to, true)
    }

    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()> {
        self.before("rename", from);
        self.shared.disk.write().rename(from, to, false)
    }

    fn link(&self, from: &str, to: &str) -> IoResult<()> {
        self.before("link", to);
        self.shared.disk.write().link(from, to)
    }

    fn unlink(&self, path: &str) -> IoResult<()> {
        self.before("unlink", path);
        self.shared.disk.write().unlink(path)
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let disk = self.shared.disk.read();
        let id = disk.dir(dir)?;
        let Some(dir) = disk.dirs.get(&id) else { return Err(IoError::new(IoErrorKind::NotFound)) };
        let entry = |(name, node): (&Arc<str>, &Node)| {
            let (size, links, is_dir) = match *node {
                Node::File(id) => (disk.file(id).current.len(), disk.file(id).links, false),
                Node::Dir(_) => (0, 1, true),
            };
            DirEntry { name: String::from(&**name), size, is_dir, links }
        };
        Ok(dir.current.iter().map(entry).collect())
    }

    fn size(&self, path: &str) -> IoResult<u64> {
        let disk = self.shared.disk.read();
        Ok(disk.file(disk.file_id(path)?).current.len())
    }

    fn sync_dir(&self, dir: &str) -> IoResult<()> {
        self.before("sync_dir", dir);
        let mut disk = self.shared.disk.write();
        let id = disk.dir(dir)?;
        match disk.take_sync_fault(dir) {
            None => {
                disk.sync_dir(id);
                return Ok(());
            }
            Some(SyncFailure::ErrorButPersisted) => disk.sync_dir(id),
            Some(SyncFailure::CleanAndKept | SyncFailure::Reverted) => disk.lose_names(id),
        }
        Err(EIO)
    }

    fn lock(&self, path: &str) -> IoResult<MemLock> {
        self.before("lock", path);
        let mut disk = self.shared.disk.write();
        let id = match disk.file_id(path) {
            Err(IoError { kind: IoErrorKind::NotFound, .. }) => disk.create(path)?,
            other => other?,
        };
        if !disk.locks.insert(id) {
            return Err(IoError::new(IoErrorKind::WouldBlock));
        }
        Ok(MemLock::new(Handle::open(self, &mut disk, id, path)))
    }

    fn free_space(&self, dir: &str) -> IoResult<u64> {
        let disk = self.shared.disk.read();
        disk.dir(dir)?;
        Ok(if disk.capacity == u64::MAX { u64::MAX } else { disk.capacity.saturating_sub(disk.used) })
    }
}

/// The error of a failed sync.
pub(crate) const EIO: IoError = IoError { kind: IoErrorKind::Other, code: 5 };
