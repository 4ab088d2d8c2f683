//! [`StdFs`]: the [`Vfs`] of the operating system.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nokv_core::vfs::{Capabilities, DirEntry, IoError, IoErrorKind, IoResult, OpenMode, Vfs};

use crate::error::{from_errno, from_io};
use crate::file::StdFile;
use crate::lock::{self, StdLock};

/// The file system of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct StdFs {
    maps: bool,
}

impl Default for StdFs {
    fn default() -> Self {
        Self::new()
    }
}

impl StdFs {
    /// With maps where the feature `mmap` and the system allow them.
    ///
    /// Whether they work in a given directory depends on its file system: [`nokv_core::VfsFile::map`] answers
    /// [`IoErrorKind::Unsupported`] where stores to allocated blocks could still run out of space.
    pub const fn new() -> Self {
        Self { maps: cfg!(all(feature = "mmap", target_os = "linux")) }
    }

    /// Without maps: everything goes through positional writes.
    pub const fn without_maps() -> Self {
        Self { maps: false }
    }

    /// Says who holds the lock file `path`, without taking the lock and without writing: an answer for tools that
    /// only look. Fine if nobody holds it, or if there is no such file.
    ///
    /// # Errors
    /// [`IoErrorKind::WouldBlock`] if it is held, with the process id as its code, as [`Vfs::lock`] gives it;
    /// [`IoErrorKind::PermissionDenied`] and others if the file cannot be read.
    pub fn probe_lock(&self, path: &str) -> IoResult<()> {
        lock::probe(path)
    }
}

/// Open flags that never follow a symbolic link in the last part of a path.
pub(crate) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// The empty path is the working directory.
fn dir_path(dir: &str) -> &str {
    if dir.is_empty() { "." } else { dir }
}

impl Vfs for StdFs {
    type File = StdFile;
    type Lock = StdLock;

    fn capabilities(&self) -> Capabilities {
        Capabilities { maps: self.maps, atomic_rename: true, directory_sync: true, hard_links: true }
    }

    fn create(&self, path: &str) -> IoResult<StdFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).custom_flags(NO_FOLLOW);
        Ok(StdFile::new(options.open(path).map_err(from_io)?, true, self.maps))
    }

    fn open(&self, path: &str, mode: OpenMode) -> IoResult<StdFile> {
        let writable = mode == OpenMode::ReadWrite;
        let mut options = OpenOptions::new();
        options.read(true).write(writable).custom_flags(NO_FOLLOW);
        let file = options.open(path).map_err(from_io)?;
        // A directory opens for reading; it is no file all the same.
        if !file.metadata().map_err(from_io)?.is_file() {
            return Err(IoError::new(IoErrorKind::InvalidInput));
        }
        Ok(StdFile::new(file, writable, self.maps))
    }

    fn create_dir_all(&self, path: &str) -> IoResult<()> {
        fs::create_dir_all(dir_path(path)).map_err(from_io)
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        fs::rename(from, to).map_err(from_io)
    }

    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            use rustix::io::Errno;
            match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                // The file system does not know the flag.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                other => return other.map_err(from_errno),
            }
        }
        // A crash in between leaves both names of one file, which the caller's rules for names cover.
        fs::hard_link(from, to).map_err(from_io)?;
        fs::remove_file(from).map_err(from_io)
    }

    fn link(&self, from: &str, to: &str) -> IoResult<()> {
        fs::hard_link(from, to).map_err(from_io)
    }

    fn unlink(&self, path: &str) -> IoResult<()> {
        fs::remove_file(path).map_err(from_io)
    }

    /// Names that are not UTF-8 cannot be the engine's and are left out.
    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir_path(dir)).map_err(from_io)? {
            let entry = entry.map_err(from_io)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Removed since the name was read.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(from_io(error)),
            };
            let is_dir = meta.is_dir();
            let size = if is_dir { 0 } else { meta.len() };
            let links = if is_dir { 1 } else { u32::try_from(meta.nlink()).unwrap_or(u32::MAX) };
            entries.push(DirEntry { name, size, is_dir, links });
        }
        Ok(entries)
    }

    fn size(&self, path: &str) -> IoResult<u64> {
        let meta = fs::symlink_metadata(path).map_err(from_io)?;
        if meta.is_file() { Ok(meta.len()) } else { Err(IoError::new(IoErrorKind::InvalidInput)) }
    }

    fn sync_dir(&self, dir: &str) -> IoResult<()> {
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::DIRECTORY.bits() as i32)
            .open(dir_path(dir))
            .map_err(from_io)?;
        sync_all(&dir)
    }

    fn lock(&self, path: &str) -> IoResult<StdLock> {
        StdLock::take(path)
    }

    fn free_space(&self, dir: &str) -> IoResult<u64> {
        let stat = rustix::fs::statvfs(dir_path(dir)).map_err(from_errno)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Syncs bytes and all metadata, once: a second try after a failure could succeed without having written.
fn sync_all(file: &File) -> IoResult<()> {
    #[cfg(target_os = "linux")]
    return rustix::fs::fsync(file).map_err(from_errno);
    #[cfg(not(target_os = "linux"))]
    return file.sync_all().map_err(from_io);
}

/// Syncs bytes and the metadata that reading them back needs, the length included; tried once.
pub(crate) fn sync_data(file: &File) -> IoResult<()> {
    #[cfg(target_os = "linux")]
    return rustix::fs::fdatasync(file).map_err(from_errno);
    // Elsewhere a plain fdatasync may stop at the drive's cache; the standard library knows the right call.
    #[cfg(not(target_os = "linux"))]
    return file.sync_all().map_err(from_io);
}
