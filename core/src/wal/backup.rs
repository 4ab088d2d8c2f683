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
use super::survey::{SegmentFile, SegmentInfo, read_segment, survey_segment};
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
        let newest = |segments: &mut Vec<SegmentInfo>| _ = segments.drain(..segments.len().saturating_sub(1));
        Ok(self.backup(newest, dir)?.pop_last())
    }

    /// Copies every sealed segment with a number above `after`, and their indexes, into `dir`, which is made; gives
    /// the paths of the copies. The active segment is never among them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a segment is damaged: it is not copied, those before it are. A `dir` that is the log's
    /// own; what the file system says.
    pub fn backup_segments_after(&self, after: u32, dir: &str) -> Result<BTreeMap<u32, String>> {
        self.backup(|segments| segments.retain(|info| info.number > after), dir)
    }

    /// The sealed segments that `choose` leaves. None of them goes or is cut while the pins are there.
    fn pinned(
        &self,
        choose: impl FnOnce(&mut Vec<SegmentInfo>),
    ) -> Result<(Vec<SegmentInfo>, Option<[Pin<'_>; 2]>)> {
        let state = match &self.mode {
            Mode::Writing { tail, .. } => {
                // What was rotated away is complete: it only lacks its seal.
                if !tail.state().is_closed() {
                    tail.seal_rotated()?;
                }
                // ORDER: held until the pins are in: who cuts or removes decides under this lock.
                Some(tail.state())
            }
            Mode::Reading { .. } => None,
        };
        let mut segments: Vec<_> = match (&state, &self.mode) {
            (Some(state), _) => state.infos().collect(),
            (None, Mode::Reading { segments, .. }) => segments.clone(),
            (None, Mode::Writing { .. }) => Vec::new(),
        };
        let floor = self.readers.floor();
        segments.retain(|info| info.sealed && info.number >= floor);
        choose(&mut segments);
        let pin = |at| Pin { readers: &self.readers, slot: self.readers.enter(at) };
        let pins = segments.first().zip(segments.last()).map(|(first, last)| {
            // Behind the end: a cut there would open the last segment again.
            let behind = Position { segment: last.number, offset: last.end.saturating_add(1) };
            [pin(Position::start_of(first.number)), pin(behind)]
        });
        Ok((segments, pins))
    }

    fn backup(&self, choose: impl FnOnce(&mut Vec<SegmentInfo>), dir: &str) -> Result<BTreeMap<u32, String>> {
        if dir.trim_end_matches('/') == self.dir.trim_end_matches('/') {
            return Err(Error::InvalidArgument(format!("{dir} is the directory of the log itself")));
        }
        make_dir(&self.fs, dir)?;
        let mut copies = BTreeMap::new();
        let (segments, pins) = self.pinned(choose)?;
        if segments.is_empty() {
            return Ok(copies);
        }
        let mut bytes = Vec::new();
        let mut copied = Ok(());
        for info in &segments {
            copied = self.backup_one(info, dir, &mut bytes).map(|path| _ = copies.insert(info.number, path));
            if copied.is_err() {
                break;
            }
        }
        drop(pins);
        self.fs.sync_dir(dir).at("sync_dir", dir)?;
        copied.map(|()| copies)
    }

    fn backup_one(&self, info: &SegmentInfo, dir: &str, bytes: &mut Vec<u8>) -> Result<String> {
        let path = self.segment_path(info.number);
        let file = SegmentFile { number: info.number, path, file_bytes: info.file_bytes, links: 1 };
        let found = survey_segment(&self.fs, &file, false)?;
        if let Some(damage) = &found.damage {
            return Err(damage.error(&file.path, damage.behind));
        }
        if !found.is_sealed() || found.end != info.end {
            return Err(Error::corrupt(file.path, 0, "the header of a sealed segment"));
        }
        read_segment(&self.fs, &file.path, bytes)?;
        let entries = index_of(bytes);
        // What is copied was checked itself, not only what was read before.
        if entries.len() as u64 != found.entries {
            return Err(Error::corrupt(file.path, found.end, "the records that were there a moment ago"));
        }
        let mut index = Vec::new();
        encode_index(entries, &mut index);
        write_whole(&self.fs, &join(dir, &index_file_name(info.number, &self.ext)), &index)?;
        let to = join(dir, &segment_file_name(info.number, &self.ext));
        write_whole(&self.fs, &to, bytes)?;
        Ok(to)
    }
}
