//! The end of a log that takes records: append, rotate, sync, seal. Shared by [`super::Log`] and
//! [`super::BatchLog`]; each puts its own rules on top.
//!
//! Invariants
//! 1. Frames are stored in order under the `state` lock; a frame is one store.
//! 2. `durable` moves only after a flush returned, and covers every earlier segment. Earlier segments are sealed,
//!    durably, before it moves past them: so an unsealed segment before a durable position is damage.
//! 3. The active header's write offset is stored only after the flush that covers it.
//! 4. After a failed write or flush the tail is dead: every later call gives that error. A full disk while a
//!    segment is made is clean: nothing was half done.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::walfs::{
    Found, HEADER_BYTES, IndexEntry, Position, Scanner, SegmentHeader, encode_index, index_file_name,
    segment_file_name,
};

use super::batch_log::Tally;
use super::segment::{Segment, Shape};
use super::survey::{SegmentInfo, read_segment};
use crate::clock::Clock;
use crate::error::{Error, IoContext, Result};
use crate::planted::{self, Bug};
use crate::sync::{Arc, AtomicU32, Mutex, MutexGuard, Ordering};
use crate::vfs::{IoErrorKind, Vfs, VfsFile, join};

pub(crate) struct Config {
    pub dir: String,
    pub ext: String,
    pub segment_bytes: u64,
    pub marker: u32,
    /// Write an `.idx` beside each sealed segment?
    pub write_index: bool,
    /// Make a changed first log index durable before a record depends on it?
    pub strict_first_index: bool,
    /// Are headers the only proof of what was durable? Then a sync that no header claims is none.
    pub only_headers_prove: bool,
    pub clock: Option<Arc<dyn Clock>>,
}

impl Config {
    pub fn now_ns(&self) -> u64 {
        self.clock.as_ref().map_or(0, |c| c.unix_ms().saturating_mul(1_000_000))
    }

    pub fn header(&self, first_log_index: u64) -> SegmentHeader {
        SegmentHeader::new(self.now_ns(), first_log_index, self.marker)
    }

    pub fn create_segment<V: Vfs>(&self, fs: &V, number: u32, first_log_index: u64) -> Result<Segment<V>> {
        let header = self.header(first_log_index);
        let shape = Shape { dir: &self.dir, ext: &self.ext, bytes: self.segment_bytes, header };
        Segment::create(fs, &shape, number)
    }
}

/// A segment that takes no more records and is not sealed yet.
pub(crate) struct Rotated<V: Vfs> {
    pub segment: Arc<Segment<V>>,
    pub end: u64,
    pub entries: u64,
}

impl<V: Vfs> Clone for Rotated<V> {
    fn clone(&self) -> Self {
        Self { segment: Arc::clone(&self.segment), ..*self }
    }
}

impl<V: Vfs> Rotated<V> {
    pub fn info(&self) -> SegmentInfo {
        let header = self.segment.header();
        SegmentInfo {
            number: self.segment.number,
            file_bytes: self.segment.capacity,
            end: self.end,
            entries: self.entries,
            first_log_index: header.first_log_index,
            created_ns: header.created_ns,
            modified_ns: header.modified_ns,
            sealed: header.is_sealed(),
            marker: header.marker,
        }
    }
}

pub(crate) struct State<V: Vfs> {
    pub active: Rotated<V>,
    /// Oldest first.
    pub rotated: VecDeque<Rotated<V>>,
    /// Sealed, oldest first.
    pub settled: VecDeque<SegmentInfo>,
    /// The frame being built; kept for its space.
    pub frame: Vec<u8>,
    /// Number of the next record, for a log that numbers its records.
    pub record_no: u64,
    /// What its records hold, for a log that counts that.
    pub tally: Tally,
    dead: Option<Error>,
    closed: bool,
}

impl<V: Vfs> State<V> {
    pub fn end(&self) -> Position {
        Position { segment: self.active.segment.number, offset: self.active.end }
    }

    /// Bytes left in the active segment.
    pub fn room(&self) -> u64 {
        self.active.segment.capacity.saturating_sub(self.active.end)
    }

    pub fn alive(&self) -> Result<()> {
        match &self.dead {
            Some(e) => Err(e.clone()),
            None if self.closed => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// No more calls succeed: `e` left something half done.
    pub fn kill(&mut self, e: &Error) {
        self.dead.get_or_insert_with(|| e.clone());
    }

    pub fn is_closed(&self) -> bool {
        self.closed || self.dead.is_some()
    }

    /// One segment, without looking at the others.
    pub fn info_of(&self, number: u32) -> Option<SegmentInfo> {
        if number == self.active.segment.number {
            return Some(self.active.info());
        }
        if let Some(rotated) = self.rotated.iter().find(|r| r.segment.number == number) {
            return Some(rotated.info());
        }
        self.settled
            .binary_search_by_key(&number, |i| i.number)
            .ok()
            .and_then(|i| self.settled.get(i).cloned())
    }

    /// Number of the oldest segment.
    pub fn first_number(&self) -> u32 {
        let rotated = self.rotated.front().unwrap_or(&self.active).segment.number;
        self.settled.front().map_or(rotated, |i| i.number)
    }

    pub fn infos(&self) -> impl DoubleEndedIterator<Item = SegmentInfo> {
        self.settled
            .iter()
            .cloned()
            .chain(self.rotated.iter().map(Rotated::info))
            .chain(core::iter::once(self.active.info()))
    }

    /// Stores `frame` at the end.
    #[inline]
    pub fn store_frame(&mut self) -> Result<Position> {
        let at = self.end();
        if let Err(e) = self.active.segment.store(at.offset, &self.frame) {
            // What a short write left must not stand behind the end: a later segment would be cut with it.
            if !e.is_no_space() || self.active.segment.cut_to(at.offset).is_err() {
                self.dead = Some(e.clone());
            }
            return Err(e);
        }
        self.active.end += self.frame.len() as u64;
        self.active.entries += 1;
        Ok(at)
    }
}

/// The log up to one moment.
struct Snapshot<V: Vfs> {
    rotated: VecDeque<Rotated<V>>,
    active: Rotated<V>,
    end: Position,
}

/// What a flush did.
struct Flushed<V: Vfs> {
    /// Everything before is durable.
    end: Position,
    active: Rotated<V>,
    /// An error is a header that found no space: its segment waits for a later flush to seal it.
    sealed: Result<()>,
}

pub(crate) struct Tail<V: Vfs> {
    pub fs: V,
    pub config: Config,
    pub(super) state: Mutex<State<V>>,
    pub(super) flush: Mutex<()>,
    /// Segments made ahead of time, in order.
    pub(super) next: Mutex<VecDeque<Segment<V>>>,
    /// Number of the active segment; changes only under `next`.
    pub(super) active_number: AtomicU32,
    pub(super) durable: Mutex<Position>,
}

impl<V: Vfs> Tail<V> {
    /// Takes records at the end of `active`; everything before is durable.
    pub fn new(fs: V, config: Config, active: Rotated<V>, settled: VecDeque<SegmentInfo>) -> Self {
        let number = active.segment.number;
        let durable = Position { segment: number, offset: active.end };
        Self {
            fs,
            config,
            state: Mutex::new(State {
                active,
                rotated: VecDeque::new(),
                settled,
                frame: Vec::new(),
                record_no: 1,
                tally: Tally::default(),
                dead: None,
                closed: false,
            }),
            flush: Mutex::new(()),
            next: Mutex::new(VecDeque::new()),
            active_number: AtomicU32::new(number),
            durable: Mutex::new(durable),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock()
    }

    pub fn durable(&self) -> Position {
        *self.durable.lock()
    }

    fn advance_durable(&self, to: Position) {
        let mut durable = self.durable.lock();
        *durable = to.max(*durable);
    }

    /// Declares the tail dead if `result` is a failure of a write or sync.
    fn poison<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(e) = &result {
            self.state.lock().dead.get_or_insert_with(|| e.clone());
        }
        result
    }

    /// Goes on in the next segment, whose first record will have `first_log_index`. An empty active segment of
    /// full size is that segment already.
    pub fn rotate(&self, state: &mut State<V>, first_log_index: u64) -> Result<()> {
        if state.active.entries == 0 {
            self.set_first_index(state, first_log_index)?;
            if state.active.segment.capacity >= self.config.segment_bytes {
                return Ok(());
            }
        }
        self.reserve(state, 1, first_log_index)?;
        let segment = {
            let mut next = self.next.lock();
            let Some(segment) = next.pop_front() else {
                return Err(Error::Busy("the next segment was taken"));
            };
            self.active_number.store(segment.number, Ordering::Release);
            segment
        };
        let active = Rotated { segment: Arc::new(segment), end: HEADER_BYTES as u64, entries: 0 };
        let old = core::mem::replace(&mut state.active, active);
        state.rotated.push_back(old);
        self.set_first_index(state, first_log_index)
    }

    /// Sees to it that the next `count` rotations cannot fail for want of space. `first_log_index` is a guess for
    /// the first segment made.
    pub fn reserve(&self, state: &mut State<V>, count: usize, first_log_index: u64) -> Result<()> {
        let mut next = self.next.lock();
        while next.len() < count {
            let made = next_number(next.back().map_or(state.active.segment.number, |s| s.number))
                .and_then(|number| self.config.create_segment(&self.fs, number, first_log_index));
            next.push_back(made.inspect_err(|e| poison_unless_clean(state, e))?);
        }
        Ok(())
    }

    pub fn set_first_index(&self, state: &mut State<V>, first_log_index: u64) -> Result<()> {
        let segment = &state.active.segment;
        if segment.header().first_log_index == first_log_index {
            return Ok(());
        }
        let mut set = segment.update_header(|h| h.first_log_index = first_log_index);
        if self.config.strict_first_index {
            // ORDER: the index is durable before a record that takes its own from it.
            set = set.and_then(|()| segment.flush_header());
        }
        set.inspect_err(|e| {
            // A header that found no space is as it was: the next append tries again.
            if !is_refused(e) {
                state.dead = Some(e.clone());
            }
        })
    }

    /// Is the active segment half full, and no next one there?
    pub fn wants_next(&self) -> bool {
        let half_full = {
            let state = self.state.lock();
            state.dead.is_none() && !state.closed && state.room() < state.active.segment.capacity / 2
        };
        half_full && self.next.try_lock().is_some_and(|next| next.is_empty())
    }

    /// Makes the next segment ahead of time. Does nothing if it is there.
    pub fn prepare_next(&self) -> Result<bool> {
        self.state.lock().alive()?;
        let mut next = self.next.lock();
        if !next.is_empty() {
            return Ok(false);
        }
        // Stable while `next` is held.
        let number = next_number(self.active_number.load(Ordering::Acquire))?;
        match self.config.create_segment(&self.fs, number, 0) {
            Ok(segment) => {
                next.push_back(segment);
                Ok(true)
            }
            Err(e) => {
                drop(next);
                poison_unless_clean(&mut self.state.lock(), &e);
                Err(e)
            }
        }
    }

    /// Makes everything appended before the call durable, after `before` did its part. Callers share flushes.
    ///
    /// `before` makes durable what records point to. It runs behind the look at the end of the log, and nothing
    /// behind that end is claimed: a record that is appended meanwhile may point to what `before` did not see.
    pub fn sync_after(&self, before: impl FnOnce() -> Result<()>) -> Result<Position> {
        let wanted = {
            let state = self.state.lock();
            state.alive()?;
            state.end()
        };
        let durable = self.durable();
        if durable >= wanted {
            return Ok(durable);
        }
        let _one_at_a_time = self.flush.lock();
        let durable = self.durable();
        if durable >= wanted {
            return Ok(durable);
        }
        let snapshot = self.snapshot(false)?;
        before()?;
        // Seals that found no space are left to a later flush: the bytes are durable.
        self.flush_snapshot(snapshot).map(|flushed| flushed.end)
    }

    /// Makes everything appended before the call durable. Callers share flushes. A full disk may leave no space for the
    /// proof, where headers are the only one; the log goes on then.
    pub fn sync(&self) -> Result<Position> {
        self.sync_after(|| Ok(()))
    }

    /// Seals what was rotated, so that the next sync need not. Data up to the end is flushed with it: a seal claims
    /// durability, and a claim may not end inside a batch that goes on in the next segment.
    pub fn seal_rotated(&self) -> Result<()> {
        let _one_at_a_time = self.flush.lock();
        let nothing_to_do = {
            let state = self.state.lock();
            state.alive()?;
            state.rotated.is_empty()
        };
        if nothing_to_do { Ok(()) } else { self.flush_to_end(false).map(|_| ()) }
    }

    /// Syncs, seals the active segment too if `seal` says so and it has records, and takes no more records.
    pub fn close(&self, seal: bool) -> Result<Position> {
        let _one_at_a_time = self.flush.lock();
        {
            let mut state = self.state.lock();
            state.alive()?;
            state.closed = true;
        }
        let (end, active) = self.flush_to_end(true)?;
        if seal && active.entries > 0 {
            self.seal_one(&active)?;
        } else {
            self.poison(active.segment.flush_header())?;
        }
        Ok(end)
    }

    /// Holder of `flush` only. With `closing`, the closed flag is not an error.
    pub(super) fn flush_to_end(&self, closing: bool) -> Result<(Position, Rotated<V>)> {
        let snapshot = self.snapshot(closing)?;
        let Flushed { end, active, sealed } = self.flush_snapshot(snapshot)?;
        sealed.map(|()| (end, active))
    }

    /// What a flush will cover.
    fn snapshot(&self, closing: bool) -> Result<Snapshot<V>> {
        let state = self.state.lock();
        if !closing || state.dead.is_some() {
            state.alive()?;
        }
        Ok(Snapshot { rotated: state.rotated.clone(), active: state.active.clone(), end: state.end() })
    }

    /// Holder of `flush` only.
    fn flush_snapshot(&self, snapshot: Snapshot<V>) -> Result<Flushed<V>> {
        let Snapshot { rotated, active, end } = snapshot;
        if planted::is(Bug::EndBeforeBytes) {
            self.poison(active.segment.update_header(|h| h.write_offset = active.end))?;
        }
        // ORDER: all data, then the seals, then the durable position; so no claim ends inside a batch.
        for old in rotated.iter().chain([&active]) {
            self.poison(old.segment.flush(old.end))?;
        }
        let sealed = match self.seal_all(rotated) {
            Err(e) if !is_refused(&e) => return Err(e),
            sealed => sealed,
        };
        if !self.config.only_headers_prove {
            self.advance_durable(end);
        }
        // ORDER: the write offset is a proof of durability, so it comes after the flush.
        let mut claimed = sealed.clone();
        if active.entries > 0 {
            let now = self.config.now_ns();
            // It claims the segments before it too, sealed or not.
            claimed = active.segment.update_header(|h| {
                h.write_offset = active.end;
                h.entry_count = active.entries;
                h.modified_ns = now.max(h.modified_ns);
            });
            if matches!(&claimed, Err(e) if !is_refused(e)) {
                self.poison(claimed.clone())?;
            }
        }
        if self.config.only_headers_prove {
            // Durable or not: later damage to what no header claims would pass for an append that a stop interrupted. The
            // next sync tries again.
            claimed?;
            self.advance_durable(end);
        }
        Ok(Flushed { end, active, sealed })
    }

    fn seal_all(&self, rotated: VecDeque<Rotated<V>>) -> Result<()> {
        for old in rotated {
            self.seal_one(&old)?;
            let info = old.info();
            let mut state = self.state.lock();
            state.rotated.pop_front();
            state.settled.push_back(info);
        }
        Ok(())
    }

    fn seal_one(&self, old: &Rotated<V>) -> Result<()> {
        let sealed = old.segment.seal(old.end, old.entries, self.config.now_ns());
        if matches!(&sealed, Err(e) if is_refused(e)) {
            return sealed;
        }
        self.poison(sealed)?;
        if self.config.write_index {
            // The index can be rebuilt from the records at any time: failing to write it loses nothing, and no
            // reader believes one that is wrong.
            let _ = write_index(&self.fs, &self.config, old.segment.number);
        }
        Ok(())
    }

    /// Removes the segments before `segment`, oldest first, never the active one.
    pub fn release_below(&self, segment: u32) -> Result<u64> {
        // A sealer may be at work on one of them.
        let _one_at_a_time = self.flush.lock();
        let mut removed = 0;
        loop {
            let (number, bytes, is_settled) = {
                let state = self.state.lock();
                let oldest = state.settled.front().cloned().map(|i| (i, true));
                let Some((info, is_settled)) =
                    oldest.or_else(|| state.rotated.front().map(|r| (r.info(), false)))
                else {
                    return Ok(removed);
                };
                if info.number >= segment {
                    return Ok(removed);
                }
                (info.number, info.file_bytes, is_settled)
            };
            // ORDER: oldest first and each removal durable, so that no crash leaves a gap in the numbers.
            remove_segment(&self.fs, &self.config.dir, &self.config.ext, number)?;
            let mut state = self.state.lock();
            if is_settled {
                state.settled.pop_front();
            } else {
                state.rotated.pop_front();
            }
            removed += bytes;
        }
    }
}

fn next_number(number: u32) -> Result<u32> {
    number.checked_add(1).ok_or_else(|| Error::InvalidArgument("the log is out of segment numbers".into()))
}

/// Did a write find no space? A header is then as it was: only bytes behind the end of a file are ever written in part.
fn is_refused(e: &Error) -> bool {
    matches!(e, Error::Io { op: "write", source, .. } if source.kind == IoErrorKind::NoSpace)
}

/// Making a segment may fail cleanly (no space, no handles); a failed sync may not.
fn poison_unless_clean<V: Vfs>(state: &mut State<V>, e: &Error) {
    if let Error::Io { op: "sync" | "sync_dir" | "write" | "rename", source, .. } = e
        && source.kind != IoErrorKind::NoSpace
    {
        state.dead.get_or_insert_with(|| e.clone());
    }
}

/// Removes a segment and its index, durably.
pub(crate) fn remove_segment<V: Vfs>(fs: &V, dir: &str, ext: &str, number: u32) -> Result<()> {
    for name in [index_file_name(number, ext), segment_file_name(number, ext)] {
        let path = join(dir, &name);
        match fs.unlink(&path) {
            Ok(()) => {}
            Err(e) if e.kind == IoErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("unlink", path, e)),
        }
    }
    fs.sync_dir(dir).at("sync_dir", dir)
}

/// Index entries of a segment, from its records.
pub(crate) fn index_of(bytes: &[u8]) -> Vec<IndexEntry> {
    let mut scanner = Scanner::new(bytes);
    let mut entries = Vec::new();
    while let Found::Record(frame) = scanner.step() {
        entries.push(IndexEntry { offset: frame.offset, len: frame.payload.len() as u32 });
    }
    entries
}

/// Writes the index of a sealed segment beside it: temporary file, sync, rename. It can be rebuilt at any time,
/// so its name need not be durable.
pub(crate) fn write_index<V: Vfs>(fs: &V, config: &Config, number: u32) -> Result<()> {
    let mut bytes = Vec::new();
    read_segment(fs, &join(&config.dir, &segment_file_name(number, &config.ext)), &mut bytes)?;
    let mut index = Vec::new();
    encode_index(index_of(&bytes), &mut index);
    write_whole(fs, &join(&config.dir, &index_file_name(number, &config.ext)), &index)
}

/// Gives `path` the content `bytes`: temporary file, sync, rename. The name is not made durable.
pub(crate) fn write_whole<V: Vfs>(fs: &V, path: &str, bytes: &[u8]) -> Result<()> {
    let temporary = write_temporary(fs, path, bytes)?;
    fs.rename(&temporary, path).at("rename", path)
}

/// Makes a file of the content `bytes`, durable but for its name, to be renamed to `path`; gives its own path. After an
/// error there is none that counts.
pub(crate) fn write_temporary<V: Vfs>(fs: &V, path: &str, bytes: &[u8]) -> Result<String> {
    let temporary = alloc::format!("{path}.tmp");
    let file = match fs.create(&temporary) {
        Err(e) if e.kind == IoErrorKind::AlreadyExists => {
            fs.unlink(&temporary).at("unlink", &temporary)?;
            fs.create(&temporary)
        }
        other => other,
    }
    .at("create", &temporary)?;
    let written =
        file.write_at(bytes, 0).at("write", &temporary).and_then(|()| file.sync().at("sync", &temporary));
    if let Err(e) = written {
        // Best effort: the next attempt removes it otherwise.
        let _ = fs.unlink(&temporary);
        return Err(e);
    }
    Ok(temporary)
}
