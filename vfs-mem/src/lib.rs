//! A file system in memory that can crash like a disk, and a wrapper that makes any file system fail on demand.
//!
//! For tests of the engine, tests of programs that embed it, and hosts that keep a database in RAM.
//!
//! [`MemFs`] remembers what a real disk would still be free to lose. [`MemFs::crash_clone`] gives an
//! independent file system as a power cut could leave it, [`MemFs::kill_clone`] one as the death of the process
//!
//! ```
//! use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
//! use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};
//!
//! let fs = MemFs::new();
//! let file = fs.create("log")?;
//! file.write_at(b"hello", 0)?;
//! file.sync()?;
//! fs.sync_dir("")?;
//! file.write_at(b"lost!", 0)?;
//!
//! let after = fs.crash_clone(1, CrashMode::Posix, CrashImage::None);
//! let mut buf = [0; 5];
//! after.open("log", OpenMode::Read)?.read_exact_at(&mut buf, 0)?;
//! assert_eq!(&buf, b"hello");
//! # Ok::<(), nokv_core::vfs::IoError>(())
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod content;
mod crash;
mod disk;
mod file;
mod fs;
mod handle;
mod ranges;
mod rng;

pub use crash::{CrashImage, CrashMode};
pub use disk::{SyncFailure, SyncFault};
pub use fs::{CallHook, MemFs};
pub use handle::{MemFile, MemLock, MemMap};
