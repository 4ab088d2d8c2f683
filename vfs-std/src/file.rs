//! [`StdFile`]: positional reads and writes of one open file.
//!
//! Invariants:
//! 1. Interrupted and short transfers go on where they stopped; a sync is called once and never repeated.
//! 2. A call that ends in [`IoErrorKind::NoSpace`] leaves no length behind that it did not have before, as far as
//!    the system lets it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nokv_core::vfs::{IoError, IoErrorKind, IoResult, VfsFile, VfsMap};

use crate::error::from_io;
use crate::fs::sync_data;

/// Zeros that are written at a time where the file system cannot reserve.
const ZEROS: usize = 64 << 10;
/// The unit in which holes are looked for there.
const BLOCK: usize = 4 << 10;
/// No file is longer than this.
const MAX_LEN: u64 = i64::MAX as u64;

/// An open file.
#[derive(Debug)]
pub struct StdFile {
    file: Arc<File>,
    writable: bool,
    maps: bool,
}

const fn fail<T>(kind: IoErrorKind) -> IoResult<T> {
    Err(IoError::new(kind))
}

impl StdFile {
    pub(crate) fn new(file: File, writable: bool, maps: bool) -> Self {
        Self { file: Arc::new(file), writable, maps }
    }

    fn check_writable(&self) -> IoResult<()> {
        if self.writable { Ok(()) } else { fail(IoErrorKind::PermissionDenied) }
    }

    fn len(&self) -> IoResult<u64> {
        self.file.metadata().map(|meta| meta.len()).map_err(from_io)
    }

    fn write_all(&self, mut bytes: &[u8], mut offset: u64) -> IoResult<()> {
        while !bytes.is_empty() {
            match self.file.write_at(bytes, offset) {
                Ok(0) => return fail(IoErrorKind::Other),
                Ok(n) => {
                    bytes = &bytes[n..];
                    offset += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(from_io(error)),
            }
        }
        Ok(())
    }

    /// Asks the system to reserve; `false` if it cannot.
    #[cfg(target_os = "linux")]
    fn reserve(&self, offset: u64, len: u64) -> IoResult<bool> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        loop {
            match fallocate(&*self.file, FallocateFlags::empty(), offset, len) {
                Ok(()) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
                Err(errno) => return Err(crate::error::from_errno(errno)),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve(&self, _offset: u64, _len: u64) -> IoResult<bool> {
        Ok(false)
    }

    /// Reserves by writing zeros: behind the end, and over blocks before it that read as zeros, as those may be
    /// holes. Nobody else may write there meanwhile.
    pub(crate) fn write_zeros(&self, offset: u64, end: u64, old_len: u64) -> IoResult<()> {
        let zeros = vec![0u8; ZEROS];
        let mut block = vec![0u8; BLOCK];
        let mut at = offset;
        while at < end.min(old_len) {
            let n = (BLOCK as u64).min(end.min(old_len) - at) as usize;
            self.read_exact_at(&mut block[..n], at)?;
            if block[..n].iter().all(|b| *b == 0) {
                self.write_all(&zeros[..n], at)?;
            }
            at += n as u64;
        }
        at = at.max(old_len);
        while at < end {
            let n = (ZEROS as u64).min(end - at) as usize;
            self.write_all(&zeros[..n], at)?;
            at += n as u64;
        }
        Ok(())
    }
}

impl VfsFile for StdFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        if offset > MAX_LEN {
            return Ok(0);
        }
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(from_io(error)),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()> {
        self.check_writable()?;
        match offset.checked_add(bytes.len() as u64) {
            Some(end) if end <= MAX_LEN => self.write_all(bytes, offset),
            _ => fail(IoErrorKind::InvalidInput),
        }
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        self.check_writable()?;
        self.file.set_len(len).map_err(from_io)
    }

    fn allocate(&self, offset: u64, len: u64) -> IoResult<()> {
        self.check_writable()?;
        let end = match offset.checked_add(len) {
            Some(end) if end <= MAX_LEN => end,
            _ => return fail(IoErrorKind::InvalidInput),
        };
        if len == 0 {
            return Ok(());
        }
        let old_len = self.len()?;
        let result = match self.reserve(offset, len) {
            Ok(true) => Ok(()),
            Ok(false) => self.write_zeros(offset, end, old_len),
            Err(error) => Err(error),
        };
        // Part of it may have been added before the space ran out. If cutting that off fails too, the file
        // is longer than before but holds the same bytes and zeros.
        if result.is_err() && self.len().is_ok_and(|now| now > old_len) {
            let _ = self.file.set_len(old_len);
        }
        result
    }

    /// `fdatasync`: on Linux it covers a changed length and, as stores to a shared map mark their pages dirty,
    /// everything that was stored through maps of the file.
    fn sync(&self) -> IoResult<()> {
        sync_data(&self.file)
    }

    fn size(&self) -> IoResult<u64> {
        self.len()
    }

    fn map(&self, len: u64) -> IoResult<Box<dyn VfsMap>> {
        if !self.maps {
            return fail(IoErrorKind::Unsupported);
        }
        self.check_writable()?;
        if len == 0 || len > self.len()? {
            return fail(IoErrorKind::InvalidInput);
        }
        #[cfg(all(feature = "mmap", target_os = "linux"))]
        return Ok(Box::new(crate::map::StdMap::new(&self.file, len)?));
        #[cfg(not(all(feature = "mmap", target_os = "linux")))]
        return fail(IoErrorKind::Unsupported);
    }
}
