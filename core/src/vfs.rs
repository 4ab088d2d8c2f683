//! The seam for file systems.
//!
//! Paths are strings with `/` between parts, relative or absolute as the host likes; the engine only joins
//! names of its own to the directory it was given. What is durable when:
//! - file bytes and length: after [`VfsFile::sync`] (or [`VfsMap::flush`] for bytes stored through a map)
//!   returned `Ok`;
//! - the existence of a name: after [`Vfs::sync_dir`] of its directory returned `Ok`;
//! - a rename is atomic where [`Capabilities::atomic_rename`] says so.
//!
//! After a failed write or sync the caller treats the file as dead; no implementation retries a sync.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoErrorKind {
    /// No such file or directory.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// No space, or over quota: clean, may pass.
    NoSpace,
    /// Not allowed.
    PermissionDenied,
    /// Too many open files: may pass.
    TooManyFiles,
    /// Another process holds the lock; `code` is its process id, 0 if unknown.
    WouldBlock,
    /// The file ends before the bytes asked for.
    UnexpectedEof,
    /// The file system cannot do this.
    Unsupported,
    /// The arguments make no sense.
    InvalidInput,
    /// Anything else.
    Other,
}

/// A failed call, without its file: the caller adds that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IoError {
    /// What kind of failure.
    pub kind: IoErrorKind,
    /// The system's own number, 0 if there is none.
    pub code: i32,
}

impl IoError {
    /// A failure without a number.
    pub const fn new(kind: IoErrorKind) -> Self {
        Self { kind, code: 0 }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            IoErrorKind::NotFound => "no such file or directory",
            IoErrorKind::AlreadyExists => "the name is taken",
            IoErrorKind::NoSpace => "no space left",
            IoErrorKind::PermissionDenied => "permission denied",
            IoErrorKind::TooManyFiles => "too many open files",
            IoErrorKind::WouldBlock => "held by another process",
            IoErrorKind::UnexpectedEof => "the file ends too early",
            IoErrorKind::Unsupported => "not supported by this file system",
            IoErrorKind::InvalidInput => "invalid input",
            IoErrorKind::Other => "input/output error",
        };
        f.write_str(text)?;
        if self.code != 0 { write!(f, " (code {})", self.code) } else { Ok(()) }
    }
}

impl core::error::Error for IoError {}

/// Result of file-system calls.
pub type IoResult<T> = core::result::Result<T, IoError>;

/// What a file system can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// [`VfsFile::map`] works, and stores to a map over allocated blocks are safe.
    pub maps: bool,
    /// A rename over an existing name leaves the old or the new file after a crash, never neither.
    pub atomic_rename: bool,
    /// [`Vfs::sync_dir`] makes names durable. Where it is false, names are durable at once.
    pub directory_sync: bool,
    /// [`Vfs::link`] works.
    pub hard_links: bool,
}

/// How to open an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading only; write calls fail.
    Read,
    /// For reading and writing.
    ReadWrite,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without its directory.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Is it a directory?
    pub is_dir: bool,
    /// How many names the file has (1 where the system has no links).
    pub links: u32,
}

/// One read of [`VfsFile::read_many`].
#[derive(Debug)]
pub struct ReadRequest<'a> {
    /// Where to start, in bytes.
    pub offset: u64,
    /// Filled whole, or it is an error.
    pub buf: &'a mut [u8],
}

/// A file system. Cheap to clone; clones are the same file system.
pub trait Vfs: Clone + Send + Sync + 'static {
    /// An open file.
    type File: VfsFile;
    /// Holds a lock file; dropping it lets go.
    type Lock: Send + Sync + 'static;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes a new, empty file for reading and writing; [`IoErrorKind::AlreadyExists`] if the name is taken.
    fn create(&self, path: &str) -> IoResult<Self::File>;

    /// Opens an existing file.
    fn open(&self, path: &str, mode: OpenMode) -> IoResult<Self::File>;

    /// Makes a directory and its parents; fine if it is there.
    fn create_dir_all(&self, path: &str) -> IoResult<()>;

    /// Renames a file, replacing `to`.
    fn rename(&self, from: &str, to: &str) -> IoResult<()>;

    /// Renames a file; [`IoErrorKind::AlreadyExists`] if `to` is taken.
    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()>;

    /// Gives the file `from` a second name `to`.
    fn link(&self, from: &str, to: &str) -> IoResult<()>;

    /// Removes a name. An open file stays readable until it is closed.
    fn unlink(&self, path: &str) -> IoResult<()>;

    /// The names in a directory, in no particular order.
    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>>;

    /// The length of a file by name, in bytes.
    fn size(&self, path: &str) -> IoResult<u64>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &str) -> IoResult<()>;

    /// Takes the lock file `path`, made if it is missing; [`IoErrorKind::WouldBlock`] if it is held.
    fn lock(&self, path: &str) -> IoResult<Self::Lock>;

    /// Bytes that can still be written below `dir`; `u64::MAX` if unknown.
    fn free_space(&self, dir: &str) -> IoResult<u64>;
}

/// An open file. All offsets are absolute; there is no position.
pub trait VfsFile: Send + Sync + 'static {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file. A read wholly behind the
    /// end gives 0.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize>;

    /// Fills `buf`, or [`IoErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> IoResult<()> {
        match self.read_at(buf, offset)? {
            n if n == buf.len() => Ok(()),
            _ => Err(IoError::new(IoErrorKind::UnexpectedEof)),
        }
    }

    /// Several reads at once; all are filled, or it is an error.
    fn read_many(&self, requests: &mut [ReadRequest<'_>]) -> IoResult<()> {
        requests.iter_mut().try_for_each(|r| self.read_exact_at(r.buf, r.offset))
    }

    /// Writes all of `bytes` at `offset`; the file grows as needed, a gap reads as zeros. After an error any
    /// part may have been written, except for [`IoErrorKind::NoSpace`], where the length is as before or
    /// bytes behind the old end were added.
    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()>;

    /// Sets the length; bytes that are added read as zeros.
    fn set_len(&self, len: u64) -> IoResult<()>;

    /// Reserves blocks for `len` bytes at `offset` and grows the length to cover them, so that writes and map
    /// stores there cannot run out of space. Bytes that are added read as zeros.
    fn allocate(&self, offset: u64, len: u64) -> IoResult<()>;

    /// Makes bytes and length durable.
    fn sync(&self) -> IoResult<()>;

    /// Length in bytes.
    fn size(&self) -> IoResult<u64>;

    /// Maps the first `len` bytes for writing; they must be allocated. `Unsupported` without
    /// [`Capabilities::maps`].
    fn map(&self, len: u64) -> IoResult<Box<dyn VfsMap>>;
}

/// A writable map of a file. Stores reach the kernel at once and survive the death of the process; they are
/// durable after [`VfsMap::flush`]. Reads of the file see them.
pub trait VfsMap: Send + Sync + 'static {
    /// Copies `bytes` to `offset`. Must lie within the map. Callers never store overlapping ranges at once.
    fn store(&self, offset: u64, bytes: &[u8]);

    /// Copies from `offset` into `buf`. Must lie within the map.
    fn load(&self, offset: u64, buf: &mut [u8]);

    /// Makes `len` bytes at `offset` durable, file metadata included.
    fn flush(&self, offset: u64, len: u64) -> IoResult<()>;

    /// Length of the map in bytes.
    fn len(&self) -> u64;

    /// True for an empty map.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `dir/name`.
pub fn join(dir: &str, name: &str) -> String {
    let mut path = String::with_capacity(dir.len() + 1 + name.len());
    path.push_str(dir);
    if !dir.is_empty() && !dir.ends_with('/') {
        path.push('/');
    }
    path.push_str(name);
    path
}
