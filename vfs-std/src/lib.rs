//! Real files for the engine: positional I/O, preallocation, maps, directory sync, locks.
//!
//! For POSIX systems; preallocation, maps and the atomic no-replace rename use Linux calls and fall back
//! elsewhere. Maps need the feature `mmap`.
//!
//! Names are only ever joined by the engine. The last part of a path is never followed as a symbolic link.
#![deny(unsafe_code)]
#![cfg(unix)]

mod error;
mod file;
mod fs;
mod lock;
#[cfg(all(feature = "mmap", target_os = "linux"))]
mod map;
#[cfg(test)]
mod tests;

pub use file::StdFile;
pub use fs::StdFs;
pub use lock::StdLock;
