//! A general log over walfs files: what the original writes opens here, what this writes opens there.
//!
//! Who may call it: anyone, from any thread. One process at a time may have a log open for writing: a lock file
//! sees to that. Rules
//! 1. A record's log index is its segment's first index plus its place; an index that does not follow the one
//!    before starts a new segment. 0 means "no index".
//! 2. Opening for reading writes nothing. Opening for writing changes nothing when it refuses.
//! 3. Opening for writing durably zeros what lies behind the last record before it takes new ones.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::walfs::Position;

use super::append::following_index;
use super::readers::Readers;
use super::survey::{Damage, SegmentInfo};
use super::tail::Tail;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sync::{Arc, Mutex};
use crate::vfs::Vfs;

/// Name of the lock file in a log's directory.
pub const LOCK_FILE_NAME: &str = "walfs.lock";

/// What to do with damage that is more than an interrupted append, when a log is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Give [`Error::Corrupt`] and change nothing.
    #[default]
    Refuse,
    /// Remove it and every record behind it.
    Cut,
}

/// How to open a [`Log`].
#[derive(Clone)]
pub struct LogOptions {
    /// Ending of the segment files, with its dot.
    pub ext: String,
    /// Size of new segments, in bytes; those that exist keep theirs.
    pub segment_bytes: u64,
    /// Word for the headers of new segments.
    pub marker: u32,
    /// What to do with damage.
    pub on_damage: OnDamage,
    /// Make the directory and the first segment if there is none?
    pub create: bool,
    /// Open for reading only?
    pub read_only: bool,
    /// Dates the headers; without one they say 0.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            ext: ".wal".into(),
            segment_bytes: 16 << 20,
            marker: 0,
            on_damage: OnDamage::Refuse,
            create: true,
            read_only: false,
            clock: None,
        }
    }
}

/// What opening found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// Where the log was cut, if it was.
    pub cut_at: Option<Position>,
    /// What was expected there.
    pub cut_what: Option<&'static str>,
    /// Whole records that were removed with it.
    pub records_cut: u64,
    /// Segments whose header was damaged; it is rebuilt from the records.
    pub headers_rebuilt: Vec<u32>,
}

pub(crate) enum Mode<V: Vfs> {
    Writing { tail: Box<Tail<V>>, _lock: V::Lock },
    Reading { segments: Vec<SegmentInfo>, damage: Option<(u32, Damage, u64)> },
}

/// A log. See the module.
pub struct Log<V: Vfs> {
    pub(crate) fs: V,
    pub(crate) dir: String,
    pub(crate) ext: String,
    pub(crate) mode: Mode<V>,
    report: OpenReport,
    /// The file that [`Log::read`] used last.
    pub(super) last_read: Mutex<Option<LastRead<V>>>,
    pub(super) readers: Readers,
}

pub(super) struct LastRead<V: Vfs> {
    pub segment: u32,
    pub epoch: u64,
    pub file: Arc<V::File>,
}

impl<V: Vfs> Log<V> {
    /// Opens the log in `dir`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damage (see [`OnDamage`]), [`Error::Locked`] if another writer has it open, and
    /// what the file system says.
    pub fn open(fs: V, dir: &str, options: LogOptions) -> Result<Self> {
        if options.read_only {
            Self::open_read_only(fs, dir, options)
        } else {
            Self::open_writing(fs, dir, options)
        }
    }

    pub(super) fn assemble(fs: V, dir: &str, options: LogOptions, mode: Mode<V>, report: OpenReport) -> Self {
        Self {
            fs,
            dir: dir.to_string(),
            ext: options.ext,
            mode,
            report,
            last_read: Mutex::new(None),
            readers: Readers::default(),
        }
    }

    /// What opening found and did.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    pub(crate) fn tail(&self) -> Result<&Tail<V>> {
        match &self.mode {
            Mode::Writing { tail, .. } => Ok(tail),
            Mode::Reading { .. } => Err(Error::ReadOnly("the log was opened for reading".into())),
        }
    }
    /// Goes on in a new segment, unless the active one is empty.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn rotate(&self) -> Result<()> {
        let tail = self.tail()?;
        let mut state = tail.state();
        state.alive()?;
        let follows = following_index(&state);
        tail.rotate(&mut state, follows)
    }

    /// Makes everything appended before the call durable; gives the position up to which it is.
    ///
    /// # Errors
    /// A failed flush, after which the log is dead.
    pub fn sync(&self) -> Result<Position> {
        self.tail()?.sync()
    }

    /// Seals the segments that were rotated away: data durable, header, header durable, index file. The next sync
    /// does it otherwise.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn seal(&self) -> Result<()> {
        self.tail()?.seal_rotated()
    }

    /// Makes the next segment ahead of time, so that an append need not. For a background step.
    ///
    /// # Errors
    /// A full disk is clean.
    pub fn prepare_next(&self) -> Result<bool> {
        self.tail()?.prepare_next()
    }

    /// Syncs and takes no more records; readers then reach the end.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn close(&self) -> Result<Position> {
        self.tail()?.close(false)
    }

    /// Up to where the log is durable.
    pub fn durable(&self) -> Option<Position> {
        self.tail().ok().map(|tail| tail.durable())
    }

    /// Removes the segments before `segment`, never the active one; gives the bytes of their files.
    ///
    /// # Errors
    /// What the file system says.
    pub fn release_below(&self, segment: u32) -> Result<u64> {
        self.tail()?.release_below(segment)
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        match &self.mode {
            Mode::Writing { tail, .. } => tail.state().infos().collect(),
            Mode::Reading { segments, .. } => segments.clone(),
        }
    }

    /// Numbers of the oldest and the newest segment.
    pub(crate) fn bounds(&self) -> Option<(u32, u32)> {
        match &self.mode {
            Mode::Writing { tail, .. } => {
                let state = tail.state();
                Some((state.first_number(), state.end().segment))
            }
            Mode::Reading { segments, .. } => Some((segments.first()?.number, segments.last()?.number)),
        }
    }

    pub(crate) fn extent(&self, segment: u32) -> Option<SegmentInfo> {
        match &self.mode {
            Mode::Writing { tail, .. } => tail.state().info_of(segment),
            Mode::Reading { segments, .. } => segments.iter().find(|i| i.number == segment).cloned(),
        }
    }
}
