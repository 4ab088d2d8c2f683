//! Every byte that NoKV stores, and nothing else: no I/O, no clock, no allocation sized by input.
//!
//! Who may call it: every other crate; this one depends on none of them.
//!
//! Rules of the crate
//! 1. Decoders are total: any byte string gives a value or [`Malformed`], never a panic.
//! 2. A stored integer is little-endian; a stored CRC is CRC-32C (Castagnoli).
//! 3. Each format is described once, as a grammar at the top of its file, and has a number in
//!    [`versions`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod batch;
pub mod block;
pub mod bytes;
pub mod crc;
pub mod current;
pub mod entry;
pub mod envelope;
pub mod filter;
pub mod journal;
pub mod key;
pub mod manifest;
pub mod names;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
pub mod redis;
pub mod table;
pub mod table_props;
pub mod value_ptr;
pub mod varint;
pub mod versions;
pub mod vlog;
pub mod walfs;

pub use bytes::{Malformed, Reader};
pub use entry::{EntryRef, Kind, NEVER, RangeDelete, Seq, Version};
pub use key::{CfId, KeyBuf, KeyRef};
pub use table_props::{TableId, TableMeta, TableProps, VlogLive};
pub use value_ptr::ValuePtr;
