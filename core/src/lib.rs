//! The NoKV storage engine as a library of explicit steps.
//!
//! It starts no thread, reads no clock, draws no random number and opens no file by itself: the host passes a
//! [`Vfs`], a [`Clock`] and a [`MemIndex`], calls the steps, and runs the background work that the engine
//! hands out as values.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod arena;
pub mod clock;
pub mod compact;
pub mod cursor;
pub mod engine;
pub mod error;
mod frames;
pub mod heat;
pub mod hotring;
pub mod index;
pub mod level;
pub mod limits;
pub mod manifest;
pub mod memtable;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
pub mod read;
mod rewrite;
pub mod sync;
pub mod table;
pub mod vfs;
pub mod vlog;
pub mod wal;
pub mod write;

pub use clock::Clock;
pub use cursor::Cursor;
pub use error::{Error, Result};
pub use index::MemIndex;
pub use nokv_formats as formats;
pub use vfs::{Vfs, VfsFile};
