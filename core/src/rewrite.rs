//! Writing bytes again that may only look durable.
//!
//! A sync that failed may have marked pages clean that never reached the disk: the cache shows them, and a later sync
//! passes them by. After an unclean stop nobody knows whether that was so; bytes that are written again are dirty
//! again, and the next sync means what it says.
//!
//! Who may call it: whatever opens a file after an unclean stop and goes on with it, before the file's first sync.

use alloc::vec;

use crate::error::{IoContext, Result};
use crate::vfs::VfsFile;

const PIECE_BYTES: usize = 64 << 10;

/// Reads `from..to` and writes it in place, up to the end of the file.
pub(crate) fn write_again<F: VfsFile>(file: &F, path: &str, from: u64, to: u64) -> Result<()> {
    let mut piece =
        vec![0u8; usize::try_from(to.saturating_sub(from)).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let read = file.read_at(&mut piece[..len], at).at("read", path)?;
        if read == 0 {
            break;
        }
        file.write_at(&piece[..read], at).at("write", path)?;
        at += read as u64;
    }
    Ok(())
}
