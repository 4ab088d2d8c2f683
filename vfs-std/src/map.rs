//! [`StdMap`]: a shared, writable map of a file, behind bounds-checked copies.
//!
//! The only file of this crate with `unsafe`.
//!
//! Invariants:
//! 1. No reference into the map is ever made: bytes go in and out by copies through raw pointers, so that
//!    concurrent stores to disjoint ranges and changes made through the file itself are no aliasing errors.
//! 2. A map exists only on file systems that are known to keep `fallocate`'s promise, over blocks that the file
//!    has. Elsewhere a store on a full disk would end the process with SIGBUS, so mapping answers
//!    [`IoErrorKind::Unsupported`] and callers write positionally.
//!
//! Which file systems: ext2, ext3, ext4, xfs, f2fs and tmpfs overwrite blocks they have without asking for new ones
//! (f2fs moves them, out of space that it sets aside). overlayfs, found in containers, passes to one of these
//! in practice, as its upper layer needs extended attributes, and a file opened for writing is in the upper layer.
//! btrfs is left out: it copies on write, so a second store to a block that was written back needs new
//! space and can fail. Network and FUSE file systems are left out, as nothing can be known of them.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use nokv_core::vfs::{IoError, IoErrorKind, IoResult, VfsMap};

use crate::error::{from_errno, from_io};
use crate::fs::sync_data;

/// `f_type` of ext2, ext3, ext4 (one number), xfs, f2fs, tmpfs, overlayfs.
const HONOURED: [u64; 5] = [0xef53, 0x5846_5342, 0xf2f5_2010, 0x0102_1994, 0x794c_7630];

/// A mapped file.
pub(crate) struct StdMap {
    map: MmapRaw,
    file: Arc<File>,
}

impl StdMap {
    /// Maps the first `len` bytes, which the file has.
    pub(crate) fn new(file: &Arc<File>, len: u64) -> IoResult<Self> {
        let stat = rustix::fs::fstatfs(&**file).map_err(from_errno)?;
        if !HONOURED.contains(&(stat.f_type as u64 & 0xffff_ffff)) {
            return Err(IoError::new(IoErrorKind::Unsupported));
        }
        // Fewer blocks than bytes: there are holes, or a compressing file system.
        let blocks = file.metadata().map_err(from_io)?.blocks();
        if blocks.saturating_mul(512) < len {
            return Err(IoError::new(IoErrorKind::Unsupported));
        }
        let len = usize::try_from(len).map_err(|_| IoError::new(IoErrorKind::InvalidInput))?;
        let map = MmapOptions::new().len(len).map_raw(&**file).map_err(from_io)?;
        Ok(Self { map, file: Arc::clone(file) })
    }

    /// Where `len` bytes at `offset` are.
    fn place(&self, offset: u64, len: usize) -> *mut u8 {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.map.len()),
            "{len} bytes at {offset} are outside of a map of {} bytes",
            self.map.len()
        );
        self.map.as_mut_ptr().wrapping_add(start)
    }
}

impl VfsMap for StdMap {
    fn store(&self, offset: u64, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: `place` checked that the range lies within the live, writable mapping, which `self` keeps. `bytes`
        // is ordinary memory of ours and cannot overlap it, as no slice of the map is ever handed out. Callers
        // store no overlapping ranges at once (contract of `VfsMap`), so no other copy touches these bytes.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) }
    }

    fn load(&self, offset: u64, buf: &mut [u8]) {
        let place = self.place(offset, buf.len());
        // SAFETY: as in `store`, with source and target exchanged; `buf` is exclusively ours. Callers load bytes
        // that nobody stores at the same time: they read behind a published position.
        unsafe { core::ptr::copy_nonoverlapping(place.cast_const(), buf.as_mut_ptr(), buf.len()) }
    }

    /// `fdatasync` of the whole file rather than `msync` of a range. On Linux both end in the same file-system
    /// call and write pages that a map made dirty together with the metadata that reading them needs. `fdatasync`
    /// also covers bytes that were written positionally, needs no page rounding, and reports write-back errors
    /// of the open file since its last sync, whichever page they hit.
    fn flush(&self, offset: u64, len: u64) -> IoResult<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len() => sync_data(&self.file),
            _ => Err(IoError::new(IoErrorKind::InvalidInput)),
        }
    }

    fn len(&self) -> u64 {
        self.map.len() as u64
    }
}
