//! A general log over walfs files: what the original writes opens here, what this writes opens there.
//!
//! Who may call it: anyone, from any thread. One process at a time may have a log open for writing: a lock file
//! sees to that. Rules
//! 1. A record's log index is its segment's first index plus its place; an index that does not follow the one
//!    before starts a new segment. 0 means "no index".
//! 2. Opening for reading writes nothing. Opening for writing changes nothing when it refuses.
//! 3. A database's own log is not opened for writing: see `owner.rs`.
//! 4. Opening for writing durably zeros what lies behind the last record before it takes new ones.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::walfs::{IndexEntry, Position};

use super::append::{UNSEALED_MAX, following_index};
use super::index::ShardedIndex;
use super::options::LogOptions;
use super::readers::Readers;
use super::survey::{Damage, SegmentInfo};
use super::tail::Tail;
use crate::error::{Error, Result};
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::vfs::Vfs;

/// Name of the lock file in a log's directory.
pub const LOCK_FILE_NAME: &str = "walfs.lock";

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
///
/// ```
/// use nokv_core::wal::{Log, LogOptions, Next};
/// use nokv_core::{Result, Vfs};
///
/// fn copy_behind(fs: impl Vfs, index: u64) -> Result<Vec<Vec<u8>>> {
///     let log = Log::open(fs, "wal", LogOptions::default())?;
///     log.append(b"a record", index + 1)?;
///     log.sync()?;
///     let mut reader = log.reader_from(log.position_for_index(index + 1)?);
///     let mut records = Vec::new();
///     while let Next::Record(record) = reader.next()? {
///         records.push(record.payload.to_vec());
///     }
///     Ok(records)
/// }
/// ```
pub struct Log<V: Vfs> {
    pub(crate) fs: V,
    pub(crate) dir: String,
    pub(crate) ext: String,
    pub(crate) mode: Mode<V>,
    report: OpenReport,
    /// The file that [`Log::read`] used last.
    pub(super) last_read: Mutex<Option<LastRead<V>>>,
    pub(super) readers: Readers,
    pub(super) options: LogOptions,
    /// Positions by log index; empty unless [`LogOptions::log_index`].
    pub(super) places: ShardedIndex,
    /// Segments up to this one are not in `places` any more.
    pub(super) cleared_to: AtomicU32,
    /// The index file looked into last, for lookups that `places` has no answer for.
    pub(super) last_index: Mutex<Option<LastIndex>>,
    pub(super) committed: Mutex<Position>,
    /// The newest segment that the rotation hook heard of.
    pub(super) announced: AtomicU32,
    pub(super) rotations: AtomicU64,
    /// Bytes appended since the last sync by count.
    pub(super) unsynced: AtomicU64,
    pub(super) counted_syncs: AtomicU64,
    pub(super) queue: Mutex<BTreeSet<u32>>,
}

pub(super) struct LastIndex {
    pub segment: u32,
    pub epoch: u64,
    pub entries: Arc<[IndexEntry]>,
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
    /// [`Error::Corrupt`] for damage (see [`OnDamage`](super::OnDamage)), [`Error::Locked`] if another writer has it open,
    /// [`Error::InvalidArgument`] for a database's own log to be written to, and what the file system says.
    pub fn open(fs: V, dir: &str, options: LogOptions) -> Result<Self> {
        if options.read_only {
            Self::open_read_only(fs, dir, options)
        } else {
            Self::open_writing(fs, dir, options)
        }
    }

    pub(super) fn assemble(fs: V, dir: &str, options: LogOptions, mode: Mode<V>, report: OpenReport) -> Self {
        let active = match &mode {
            Mode::Writing { tail, .. } => tail.state().end().segment,
            Mode::Reading { .. } => 0,
        };
        Self {
            fs,
            dir: dir.to_string(),
            ext: options.ext.clone(),
            mode,
            report,
            last_read: Mutex::new(None),
            readers: Readers::default(),
            options,
            places: ShardedIndex::new(),
            cleared_to: AtomicU32::new(0),
            last_index: Mutex::new(None),
            committed: Mutex::new(Position::NIL),
            announced: AtomicU32::new(active),
            rotations: AtomicU64::new(0),
            unsynced: AtomicU64::new(0),
            counted_syncs: AtomicU64::new(0),
            queue: Mutex::new(BTreeSet::new()),
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
        while state.rotated.len() >= UNSEALED_MAX {
            drop(state);
            self.seal()?;
            state = tail.state();
        }
        state.alive()?;
        let follows = following_index(&state);
        tail.rotate(&mut state, follows)?;
        drop(state);
        self.announce(tail);
        Ok(())
    }

    /// Makes everything appended before the call durable; gives the position up to which it is.
    ///
    /// # Errors
    /// A failed flush, after which the log is dead. A full disk where even overwriting a header takes space
    /// ([`Error::is_no_space`]): nothing is promised of what was appended, the log goes on, and a later sync may succeed.
    pub fn sync(&self) -> Result<Position> {
        let tail = self.tail()?;
        let was_alive = !tail.state().is_closed();
        let end = tail.sync().inspect_err(|_| {
            if was_alive {
                // Readers that wait learn that it is dead now.
                self.changed();
            }
        })?;
        self.forget_sealed();
        Ok(end)
    }

    /// Seals the segments that were rotated away: data durable, header, header durable, index file. The next sync
    /// does it otherwise.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn seal(&self) -> Result<()> {
        self.tail()?.seal_rotated().inspect_err(|_| self.changed())?;
        self.forget_sealed();
        Ok(())
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
        let closed = self.tail()?.close(false);
        self.changed();
        closed
    }

    /// Up to where the log is durable.
    pub fn durable(&self) -> Option<Position> {
        self.tail().ok().map(|tail| tail.durable())
    }

    /// Removes the segments before `segment`, never the active one; gives the bytes of their files. Readers in them
    /// read their file to its end; [`Log::clean_step`] waits for them.
    ///
    /// # Errors
    /// What the file system says.
    pub fn release_below(&self, segment: u32) -> Result<u64> {
        let tail = self.tail()?;
        {
            let state = tail.state();
            self.readers.raise_floor(segment.min(state.end().segment));
        }
        let released = tail.release_below(segment).inspect_err(|_| {
            let state = tail.state();
            self.readers.lower_floor(state.first_number());
        });
        match self.index_bounds() {
            Some((0, _)) => {}
            Some((first, _)) => _ = self.places.delete_range(0, first - 1),
            None => self.places.clear(),
        }
        released
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        match &self.mode {
            Mode::Writing { tail, .. } => tail.state().infos().collect(),
            Mode::Reading { segments, .. } => segments.clone(),
        }
    }

    /// The segment that takes records, or the newest of a log opened for reading; `None` if that one has none.
    pub fn current(&self) -> Option<SegmentInfo> {
        match &self.mode {
            Mode::Writing { tail, .. } => Some(tail.state().active.info()),
            Mode::Reading { segments, .. } => segments.last().cloned(),
        }
    }

    /// Was it opened for reading only?
    pub const fn is_read_only(&self) -> bool {
        matches!(self.mode, Mode::Reading { .. })
    }

    /// How often the log went on in a new segment since it was opened.
    pub fn segment_rotated_count(&self) -> u64 {
        self.rotations.load(Ordering::Relaxed)
    }

    /// How often [`LogOptions::bytes_per_sync`] caused a sync since the active segment became that.
    pub fn bytes_per_sync_count(&self) -> u64 {
        self.counted_syncs.load(Ordering::Relaxed)
    }

    /// Lets readers pass the records up to the one at `position`, where [`LogOptions::commit_check`] holds them. Never
    /// moves back, except that a truncation takes it back to the last record that remains.
    pub fn commit(&self, position: Position) {
        {
            let mut committed = self.committed.lock();
            *committed = position.max(*committed);
        }
        self.changed();
    }

    /// The highest position given to [`Log::commit`] since the log was opened, [`Position::NIL`] if none was.
    pub fn committed(&self) -> Position {
        *self.committed.lock()
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

    /// May there be more records than there are?
    pub(super) fn takes_records(&self) -> bool {
        matches!(&self.mode, Mode::Writing { tail, .. } if !tail.state().is_closed())
    }

    pub(crate) fn extent(&self, segment: u32) -> Option<SegmentInfo> {
        match &self.mode {
            Mode::Writing { tail, .. } => tail.state().info_of(segment),
            Mode::Reading { segments, .. } => segments.iter().find(|i| i.number == segment).cloned(),
        }
    }
}
