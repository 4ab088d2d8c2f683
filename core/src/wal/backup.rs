//! Copies of sealed segments in another directory.
//!
//! Who may call it: anyone, through [`Log`], also while the log is written. Rules
//! 1. A segment is copied only when it is sealed, and only after all of its records were checked.
//! 2. A copy has its name only when it is whole and durable: temporary file, sync, rename; index file first. At the
//!    end the directory is synced.
//! 3. Cleaning and truncation leave alone what is being copied.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::walfs::{Position, encode_index, index_file_name, segment_file_name};

use super::log::{Log, Mode};
use super::readers::{Readers, Slot};
use super::segment::make_dir;
use super::survey::{SegmentFile, SegmentInfo, survey_segment};
use super::tail::{index_of, write_whole};
use crate::error::{Error, IoContext, Result};
use crate::vfs::{Vfs, join};

struct Pin<'r> {
    readers: &'r Readers,
    slot: Slot,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.readers.leave(&self.slot);
    }
}

impl<V: Vfs> Log<V> {
    /// Copies the newest sealed segment and its index into `dir`, which is made; gives its number and the path of
    /// the copy, `None` if no segment is sealed.
    ///
    /// # Errors
    /// As [`Log::backup_segments_after`].
    pub fn backup_last_sealed(&self, dir: &str) -> Result<Option<(u32, String)>> {
        let newest = self.sealed_segments()?.pop();
        let Some(info) = newest else { return Ok(None) };
        let mut copies = self.backup(&[info], dir)?;
        Ok(copies.pop_last())
    }

    /// Copies every sealed segment with a number above `after`, and their indexes, into `dir`, which is made; gives
    /// the paths of the copies. The active segment is never among them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a segment is damaged: it is not copied, those before it are. A `dir` that is the log's
    /// own; what the file system says.
    pub fn backup_segments_after(&self, after: u32, dir: &str) -> Result<BTreeMap<u32, String>> {
        let mut segments = self.sealed_segments()?;
        segments.retain(|info| info.number > after);
        self.backup(&segments, dir)
    }

    fn sealed_segments(&self) -> Result<Vec<SegmentInfo>> {
        if let Mode::Writing { tail, .. } = &self.mode {
            // What was rotated away is complete: it only lacks its seal.
            if !tail.state().is_closed() {
                tail.seal_rotated()?;
            }
        }
        let mut segments = self.segments();
        segments.retain(|info| info.sealed);
        Ok(segments)
    }

    fn backup(&self, segments: &[SegmentInfo], dir: &str) -> Result<BTreeMap<u32, String>> {
        if dir.trim_end_matches('/') == self.dir.trim_end_matches('/') {
            return Err(Error::InvalidArgument(format!("{dir} is the directory of the log itself")));
        }
        make_dir(&self.fs, dir)?;
        let mut copies = BTreeMap::new();
        let Some(first) = segments.first() else { return Ok(copies) };
        let slot = self.readers.enter(Position::start_of(first.number));
        let pin = Pin { readers: &self.readers, slot };
        let mut bytes = Vec::new();
        let mut copied = Ok(());
        for info in segments {
            copied = self.backup_one(info, dir, &mut bytes).map(|path| _ = copies.insert(info.number, path));
            if copied.is_err() {
                break;
            }
        }
        drop(pin);
        self.fs.sync_dir(dir).at("sync_dir", dir)?;
        copied.map(|()| copies)
    }

    fn backup_one(&self, info: &SegmentInfo, dir: &str, bytes: &mut Vec<u8>) -> Result<String> {
        let path = self.segment_path(info.number);
        let file = SegmentFile { number: info.number, path, file_bytes: info.file_bytes, links: 1 };
        let found = survey_segment(&self.fs, &file, false, bytes)?;
        if let Some(damage) = &found.damage {
            return Err(damage.error(&file.path, damage.behind));
        }
        if !found.is_sealed() || found.end != info.end {
            return Err(Error::corrupt(file.path, 0, "the header of a sealed segment"));
        }
        let mut index = Vec::new();
        encode_index(index_of(bytes), &mut index);
        write_whole(&self.fs, &join(dir, &index_file_name(info.number, &self.ext)), &index)?;
        let to = join(dir, &segment_file_name(info.number, &self.ext));
        write_whole(&self.fs, &to, bytes)?;
        Ok(to)
    }
}
