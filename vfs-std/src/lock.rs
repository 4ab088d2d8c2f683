//! [`StdLock`]: a lock file, held through `flock` and let go by the system when the process dies.
//!
//! The lock belongs to the open file, so it also keeps a second open in the same process out. The holder writes its
//! process id into the file and removes it when it lets go; a holder that died leaves its id, which means
//! nothing, as the lock is free then.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use nokv_core::vfs::{IoError, IoErrorKind, IoResult};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{from_errno, from_io};
use crate::fs::NO_FOLLOW;

/// How often a lock file that is being replaced is looked at again.
const ATTEMPTS: u32 = 16;

/// A held lock file.
#[derive(Debug)]
pub struct StdLock {
    file: File,
}

impl StdLock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(path: &str) -> IoResult<Self> {
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(NO_FOLLOW)
                .open(path)
                .map_err(from_io)?;
            if let Err(errno) = take_exclusive(&file) {
                return Err(match errno {
                    Errno::WOULDBLOCK => IoError { kind: IoErrorKind::WouldBlock, code: holder(&file) },
                    other => from_errno(other),
                });
            }
            // The name may have been removed, or made anew, between opening and locking.
            let ours = file.metadata().map_err(from_io)?;
            match std::fs::symlink_metadata(path) {
                Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                    // On a full disk the id stays unknown; the lock holds all the same.
                    let _ = file
                        .set_len(0)
                        .and_then(|()| file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0));
                    return Ok(Self { file });
                }
                _ => {}
            }
        }
        Err(IoError::new(IoErrorKind::WouldBlock))
    }
}

fn take_exclusive(file: &File) -> Result<(), Errno> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The process id in a lock file; 0 if there is none.
fn holder(file: &File) -> i32 {
    let mut buf = [0; 16];
    let n = file.read_at(&mut buf, 0).unwrap_or(0);
    let text = core::str::from_utf8(&buf[..n]).unwrap_or("");
    text.trim().parse().unwrap_or(0)
}

impl Drop for StdLock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}
