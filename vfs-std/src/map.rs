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

    fn memory(&self) -> Memory {
        Memory { start: self.map.as_mut_ptr(), len: self.map.len() }
    }
}

/// Memory that bytes are copied into and out of. Apart from the mapping, so that Miri, which has no maps of files, can
/// look at the copies.
#[derive(Clone, Copy)]
struct Memory {
    start: *mut u8,
    len: usize,
}

impl Memory {
    /// Where `len` bytes at `offset` are, which must lie within.
    fn place(self, offset: u64, len: usize) -> *mut u8 {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "{len} bytes at {offset} are outside of a map of {} bytes",
            self.len
        );
        self.start.wrapping_add(start)
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Safety
    /// The memory is alive and writable, no slice of it exists, and nobody else copies to or from these bytes meanwhile.
    unsafe fn store(self, offset: u64, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: `place` checked that the range lies within; `bytes` cannot overlap memory that no slice of exists.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) }
    }

    /// Copies what is at `offset` to `buf`.
    ///
    /// # Safety
    /// As [`Memory::store`]; others may load the same bytes.
    unsafe fn load(self, offset: u64, buf: &mut [u8]) {
        let place = self.place(offset, buf.len());
        // SAFETY: as in `store`, with source and target exchanged; `buf` is exclusively ours.
        unsafe { core::ptr::copy_nonoverlapping(place.cast_const(), buf.as_mut_ptr(), buf.len()) }
    }
}

impl VfsMap for StdMap {
    fn store(&self, offset: u64, bytes: &[u8]) {
        // SAFETY: `self` keeps the mapping, which is writable, and hands out no slice of it. Callers store no overlapping
        // ranges at once (contract of `VfsMap`), so no other copy touches these bytes.
        unsafe { self.memory().store(offset, bytes) }
    }

    fn load(&self, offset: u64, buf: &mut [u8]) {
        // SAFETY: as in `store`. Callers load bytes that nobody stores at the same time: they read behind a published
        // position.
        unsafe { self.memory().load(offset, buf) }
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Shared(Memory);

    // SAFETY: the threads of the test copy disjoint ranges.
    unsafe impl Sync for Shared {}

    #[test]
    fn copies_of_threads_that_are_apart_meet_nobody() {
        let mut bytes = vec![0u8; 64];
        let memory = Shared(Memory { start: bytes.as_mut_ptr(), len: 64 });
        std::thread::scope(|scope| {
            for t in 0..4u8 {
                let memory = &memory;
                scope.spawn(move || {
                    let (at, mut back) = (u64::from(t) * 16, [0; 15]);
                    // SAFETY: each thread has 16 bytes of its own, and the vector is not touched meanwhile.
                    unsafe {
                        memory.0.store(at + 1, &[t + 1; 15]);
                        memory.0.load(at + 1, &mut back);
                    }
                    assert_eq!(back, [t + 1; 15]);
                });
            }
        });
        let want: Vec<u8> = (0..64).map(|i| if i % 16 == 0 { 0 } else { i / 16 + 1 }).collect();
        assert_eq!(bytes, want);
    }

    #[test]
    fn nothing_outside_is_touched() {
        let mut bytes = [7u8; 8];
        let memory = Memory { start: bytes.as_mut_ptr(), len: 8 };
        for (offset, len) in [(8, 1), (0, 9), (7, 2), (u64::MAX, 1), (u64::MAX, 0), (usize::MAX as u64, 2)] {
            let place = std::panic::catch_unwind(|| memory.place(offset, len));
            assert!(place.is_err(), "{len} bytes at {offset}");
        }
        // SAFETY: no byte is copied.
        unsafe { memory.store(8, &[]) };
        assert_eq!(bytes, [7; 8]);
    }
}
