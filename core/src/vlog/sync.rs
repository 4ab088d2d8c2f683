//! Making the value log durable; the order is in [`super`].
//!
//! Who may call it: any thread, while others append.

use alloc::vec::Vec;

use nokv_formats::vlog::SEGMENT_HEADER_BYTES;

use super::bucket::{Bucket, Segment};
use super::files::{bucket_dir, root_dir, segment_path};
use super::log::ValueLog;
use crate::error::{Error, IoContext, Result};
use crate::rewrite::write_again;
use crate::sync::{Arc, Ordering};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};

impl<V: Vfs> ValueLog<V> {
    /// Makes every record durable whose append returned before.
    ///
    /// # Errors
    /// After an error nothing is appended or synced until the database is reopened.
    pub fn sync(&self) -> Result<()> {
        self.check_alive()?;
        let _turn = self.sync_turn.lock();
        self.check_alive()?;
        let result = self.sync_all();
        if result.is_err() {
            self.dead.store(true, Ordering::Release);
        }
        result
    }

    fn sync_all(&self) -> Result<()> {
        let mut new_names = Vec::new();
        for ((bucket, segment), from) in core::mem::take(&mut *self.not_settled.lock()) {
            let path = segment_path(&self.dir, bucket, segment);
            match self.fs.open(&path, OpenMode::ReadWrite) {
                Ok(file) => {
                    if from != u64::MAX {
                        // Values without a log record may lie between the header and the first that is named.
                        write_again(&file, &path, 0, SEGMENT_HEADER_BYTES)?;
                        write_again(&file, &path, from, u64::MAX)?;
                    }
                    file.sync().at("sync", &path)?;
                }
                // Collected since.
                Err(error) if error.kind == IoErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", path, error)),
            }
            if new_names.last() != Some(&bucket) {
                new_names.push(bucket);
            }
        }
        for (state, bucket) in self.buckets.iter().zip(0u16..) {
            let dirty: Vec<Arc<Segment<V>>> = {
                let mut state = state.lock();
                if core::mem::take(&mut state.new_names) {
                    new_names.push(bucket);
                }
                state.head.iter().chain(&state.unsynced).cloned().collect()
            };
            for segment in &dirty {
                let written = segment.written.load(Ordering::Acquire);
                if written == segment.synced.load(Ordering::Acquire) {
                    continue;
                }
                segment.file.sync().at("sync", &segment.path)?;
                segment.synced.store(written, Ordering::Release);
            }
            // A segment that took its last append may still have one under way; it stays until that is synced.
            let mut state = state.lock();
            let Bucket { unsynced, sealed, .. } = &mut *state;
            let mut failed = None;
            unsynced.retain(|segment| {
                let synced = segment.synced.load(Ordering::Acquire);
                if Arc::strong_count(segment) > 2 || segment.written.load(Ordering::Acquire) != synced {
                    return true;
                }
                // Less than what was given out, if the last write failed.
                match segment.file.size().at("get size of", &segment.path) {
                    Ok(size) => drop(sealed.insert(segment.number, size)),
                    Err(error) => failed = Some(error),
                }
                false
            });
            if let Some(error) = failed {
                return Err(error);
            }
        }
        // ORDER: names after bytes; a name without bytes is a segment without records.
        if self.fs.capabilities().directory_sync && !new_names.is_empty() {
            for bucket in new_names {
                let dir = bucket_dir(&self.dir, bucket);
                self.fs.sync_dir(&dir).at("sync directory", &dir)?;
            }
            let root = root_dir(&self.dir);
            self.fs.sync_dir(&root).at("sync directory", &root)?;
            self.fs.sync_dir(&self.dir).at("sync directory", &self.dir)?;
        }
        Ok(())
    }
}
