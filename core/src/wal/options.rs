//! How a log is opened.
//!
//! Who may call it: anyone who opens a [`Log`](super::Log). Directory entries are made durable by the file system
//! that the log is given ([`Vfs::sync_dir`](crate::Vfs::sync_dir)): there is no option for it.

use alloc::string::String;
use core::fmt;

use super::retention::Retention;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sync::Arc;

/// What to do with damage that is more than an interrupted append, when a log is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Give [`Error::Corrupt`] and change nothing.
    #[default]
    Refuse,
    /// Remove it and every record behind it.
    Cut,
}

/// Judges the marker in the header of a segment that is opened; the text says what is wrong with it.
pub type MarkerValidator = Arc<dyn Fn(u32) -> core::result::Result<(), String> + Send + Sync>;

/// Hears that a segment became the active one. No lock is held: it may call back into the log.
pub type RotationHook = Arc<dyn Fn(u32) + Send + Sync>;

/// Hears that readers may find something new: records, a commit, the end. No lock is held: it may call back into the
/// log, but an append calls it again.
pub type ChangeHook = Arc<dyn Fn() + Send + Sync>;

/// How to open a [`Log`](super::Log). Name what you want and take the rest from [`LogOptions::default`].
///
/// ```
/// use nokv_core::wal::{LogOptions, OnDamage};
/// let options = LogOptions { segment_bytes: 1 << 20, on_damage: OnDamage::Cut, ..LogOptions::default() };
/// assert_eq!(options.ext, ".wal");
/// ```
#[derive(Clone)]
pub struct LogOptions {
    /// Ending of the segment files, with its dot.
    pub ext: String,
    /// Size of new segments, in bytes; those that exist keep theirs.
    pub segment_bytes: u64,
    /// Word for the headers of new segments.
    pub marker: u32,
    /// Judges the markers of the segments that are there; a refusal is [`Error::MarkerRefused`].
    pub marker_validator: Option<MarkerValidator>,
    /// What to do with damage.
    pub on_damage: OnDamage,
    /// Make the directory and the first segment if there is none?
    pub create: bool,
    /// Open for reading only?
    pub read_only: bool,
    /// Dates the headers; without one they say 0.
    pub clock: Option<Arc<dyn Clock>>,
    /// Sync before an append returns? A batch is synced once.
    pub sync_every_write: bool,
    /// Sync when this many bytes were appended since the last time; 0 never does. Counts frames as stored.
    pub bytes_per_sync: u64,
    /// Keep the position of every log index in memory, at 12 bytes a record? Without, looking one up reads the
    /// segment's index file, or the segment if it has none yet.
    pub log_index: bool,
    /// Forget the positions of a segment once it is sealed and its index file is written?
    pub clear_index_on_flush: bool,
    /// Let readers of this handle pass no record behind the one given to [`Log::commit`](super::Log::commit)?
    pub commit_check: bool,
    /// Hears of new active segments.
    pub on_rotate: Option<RotationHook>,
    /// Hears of every append, commit and close, after it, so that a reader can wait for them.
    pub on_change: Option<ChangeHook>,
    /// Which old segments [`Log::clean_step`](super::Log::clean_step) may remove.
    pub retention: Retention,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            ext: ".wal".into(),
            segment_bytes: 16 << 20,
            marker: 0,
            marker_validator: None,
            on_damage: OnDamage::Refuse,
            create: true,
            read_only: false,
            clock: None,
            sync_every_write: false,
            bytes_per_sync: 0,
            log_index: true,
            clear_index_on_flush: false,
            commit_check: false,
            on_rotate: None,
            on_change: None,
            retention: Retention::default(),
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions")
            .field("ext", &self.ext)
            .field("segment_bytes", &self.segment_bytes)
            .field("marker", &self.marker)
            .field("read_only", &self.read_only)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// Asks `validator` about the marker of `file`.
pub(crate) fn check_marker(validator: Option<&MarkerValidator>, file: &str, marker: u32) -> Result<()> {
    let Some(validator) = validator else { return Ok(()) };
    validator(marker).map_err(|reason| Error::MarkerRefused { file: file.into(), marker, reason })
}
