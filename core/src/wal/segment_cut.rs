//! How records leave a segment that is used directly, and how it goes itself.
//!
//! Who may call it: anyone, through [`SegmentFile`]. Rules: those of [`super::segment_file`].
//!
//! Truncation: header (active, write offset at the cut), durable; a zero head at the cut, durable: from here on
//! opening finds the new end, and clears the rest as the torn tail that it is; zeros behind it, durable.

use nokv_formats::walfs::{FLAG_ACTIVE, FRAME_HEAD_BYTES, Position, index_file_name};

use super::open::open_surveyed;
use super::segment_file::{SegmentFile, State, lock_path};
use super::survey::{SegmentInfo, list_segments, survey_segment};
use super::tail::{Rotated, remove_segment};
use crate::error::{Error, IoContext, Result};
use crate::vfs::{IoErrorKind, Vfs, join};

impl<V: Vfs> SegmentFile<V> {
    /// Keeps the records up to `log_index` and removes the rest for good. A sealed segment takes records again.
    ///
    /// # Errors
    /// [`Error::IndexTruncated`] and [`Error::IndexNotYet`] if the segment has no such record,
    /// [`Error::ReadersBehind`]: these change nothing. A failed write or sync.
    pub fn truncate_to(&self, log_index: u64) -> Result<()> {
        let _one_at_a_time = self.flush.lock();
        let mut state = self.state.lock();
        state.alive()?;
        self.writable()?;
        let (first, entries) = (state.info.first_log_index, state.info.entries);
        let last = if first == 0 { 0 } else { first.saturating_add(entries).saturating_sub(1) };
        if first == 0 || entries == 0 || log_index > last {
            return Err(Error::IndexNotYet { index: log_index, last });
        }
        if log_index < first {
            return Err(Error::IndexTruncated { index: log_index, first });
        }
        let keep = log_index - first + 1;
        if keep == entries {
            return Ok(());
        }
        let index = if state.index.is_empty() { self.read_index(&state.info)? } else { state.index.clone() };
        let cut = usize::try_from(keep).ok().and_then(|keep| index.get(keep)).map(|e| e.offset);
        let Some(cut) = cut else { return Err(Error::IndexMissing { index: log_index }) };
        self.readers.begin_epoch();
        if let Some((segment, readers)) = self.readers.behind(Position { segment: self.number, offset: cut })
        {
            return Err(Error::ReadersBehind { segment, readers });
        }
        let done = self.cut(&mut state, cut, keep);
        if let Err(e) = &done {
            state.dead = Some(e.clone());
            return done;
        }
        state.index = index;
        state.index.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        Ok(())
    }

    fn cut(&self, state: &mut State<V>, cut: u64, keep: u64) -> Result<()> {
        let mut open = match state.open.take() {
            Some(open) => open,
            None => self.reopen(&state.info)?,
        };
        let segment = &open.segment;
        segment.update_header(|h| (h.flags, h.write_offset, h.entry_count) = (FLAG_ACTIVE, cut, keep))?;
        segment.flush_header()?;
        // ORDER: see the module.
        segment.store(cut, &[0; FRAME_HEAD_BYTES])?;
        segment.sync_all(cut)?;
        segment.zero_from(cut)?;
        (open.end, open.entries) = (cut, keep);
        (state.info, state.header) = (open.info(), open.segment.header());
        (state.open, state.sealed_in_memory) = (Some(open), false);
        Ok(())
    }

    /// A sealed segment, to be written again.
    fn reopen(&self, info: &SegmentInfo) -> Result<Rotated<V>> {
        let index = join(&self.config.dir, &index_file_name(self.number, &self.config.ext));
        match self.fs.unlink(&index) {
            Err(e) if e.kind != IoErrorKind::NotFound => return Err(Error::io("unlink", index, e)),
            _ => {}
        }
        self.fs.sync_dir(&self.config.dir).at("sync_dir", &self.config.dir)?;
        let files = list_segments(&self.fs, &self.config.dir, &self.config.ext)?;
        let file = files.into_iter().find(|f| f.number == self.number);
        let file = file.ok_or_else(|| Error::corrupt(&self.path, 0, "the file of a segment is missing"))?;
        let surveyed = survey_segment(&self.fs, &file, false)?;
        if surveyed.end != info.end || surveyed.damage.is_some() {
            return Err(Error::corrupt(&self.path, surveyed.end, "records up to the header's write offset"));
        }
        open_surveyed(&self.fs, &self.config, &surveyed)
    }

    /// Removes the files once the last reader has left: now, if there is none. Gives whether they are gone.
    ///
    /// # Errors
    /// What the file system says.
    pub fn mark_for_deletion(&self) -> Result<bool> {
        self.writable()?;
        self.state.lock().doomed = true;
        self.remove_if_doomed()
    }

    /// Removes the segment and its index, durably. Its readers keep their file.
    ///
    /// # Errors
    /// [`Error::ReadersBehind`] while somebody reads it; what the file system says.
    pub fn remove(&self) -> Result<()> {
        match self.readers.count() {
            0 => self.mark_for_deletion().map(|_| ()),
            readers => Err(Error::ReadersBehind { segment: self.number, readers }),
        }
    }

    pub(super) fn remove_if_doomed(&self) -> Result<bool> {
        {
            let mut state = self.state.lock();
            if !state.doomed || state.removed || self.readers.count() != 0 {
                return Ok(state.removed);
            }
            state.removed = true;
            state.open = None;
        }
        let removed = remove_segment(&self.fs, &self.config.dir, &self.config.ext, self.number);
        if let Err(e) = removed {
            self.state.lock().removed = false;
            return Err(e);
        }
        if self.lock.lock().take().is_some() {
            // The name of a lock means nothing: it may stay.
            let _ = self.fs.unlink(&lock_path(&self.path));
        }
        Ok(true)
    }
}
