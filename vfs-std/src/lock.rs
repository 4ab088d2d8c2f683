//! [`StdLock`]: a lock file, held through `flock` and let go by the system when the process dies.
//!
//! The lock belongs to the open file, so it also keeps a second open in the same process out. The holder writes its
//! process id into the file and removes it when it lets go; a holder that died leaves its id, which means
//! nothing, as the lock is free then.
//!
//! [`probe`] asks whether the lock is held, and by whom, without writing anything: it shares the lock for an instant.
//! Who takes the lock tells such an instant from a holder, which shares with nobody, and tries again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use nokv_core::vfs::{IoError, IoErrorKind, IoResult};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{from_errno, from_io};
use crate::fs::NO_FOLLOW;

/// How often a lock file that is being replaced, or looked at by others, is tried again.
const ATTEMPTS: u32 = 64;

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
            match try_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    probe_open(&file)?;
                    // Somebody only looked. The lock that the look took goes with the file.
                    drop(file);
                    std::thread::yield_now();
                    continue;
                }
                Err(other) => return Err(from_errno(other)),
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

/// Says who holds the lock at `path`: [`IoErrorKind::WouldBlock`] with the process id; fine if nobody does, or if
/// there is no such file.
pub(crate) fn probe(path: &str) -> IoResult<()> {
    match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path).map_err(from_io) {
        Ok(file) => probe_open(&file),
        Err(error) if error.kind == IoErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The shared lock that this takes ends with `file`.
fn probe_open(file: &File) -> IoResult<()> {
    match try_lock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(IoError { kind: IoErrorKind::WouldBlock, code: holder(file) }),
        Err(other) => Err(from_errno(other)),
    }
}

fn try_lock(file: &File, operation: FlockOperation) -> Result<(), Errno> {
    loop {
        match flock(file, operation) {
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
        // Closing is not enough: a process that is just being started from another thread has a copy of the open
        // file, and with it the lock, until it runs its program.
        let _ = try_lock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_let_go_is_free_although_a_new_process_has_a_copy_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let path = path.to_str().unwrap();
        let lock = StdLock::take(path).unwrap();
        let inherited = lock.file.try_clone().unwrap();
        drop(lock);
        StdLock::take(path).unwrap();
        drop(inherited);
    }
}
