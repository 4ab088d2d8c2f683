//! Appending to a log: one record, several, with log indexes or without.

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::walfs::{HEADER_BYTES, Position, encode_frame, frame_len};

use super::log::Log;
use super::survey::check_log_index;
use super::tail::{State, Tail};
use crate::error::{Error, Result};
use crate::sync::{MutexGuard, Ordering};
use crate::vfs::Vfs;

/// So many segments may be rotated away and not sealed: each is an open file, and stays for good.
pub(super) const UNSEALED_MAX: usize = 4;

impl<V: Vfs> Log<V> {
    /// Appends a record with log index `log_index`, 0 for none. It survives the death of the process when this
    /// returns, and a power cut after the next [`Log::sync`].
    ///
    /// A record replaces, for every look by log index, the earlier ones with the same index or a higher one.
    ///
    /// # Errors
    /// A payload larger than a segment; the highest number as log index, which none could follow; a full disk (clean);
    /// or a failed write, after which the log is dead.
    pub fn append(&self, payload: &[u8], log_index: u64) -> Result<Position> {
        let tail = self.tail()?;
        let placed = self.place(tail, tail.state(), payload, log_index);
        let (state, position) = placed.inspect_err(|_| self.changed())?;
        drop(state);
        self.appended(tail, frame_len(payload.len()).unwrap_or(0) as u64)?;
        Ok(position)
    }

    /// Appends records in order, over as many segments as it takes; `first_log_index` is that of the first.
    /// After an error a prefix may have been appended: [`Log::append_into`] tells which.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_batch(&self, payloads: &[&[u8]], first_log_index: u64) -> Result<Vec<Position>> {
        let index_of =
            |i: usize| if first_log_index == 0 { 0 } else { first_log_index.saturating_add(i as u64) };
        let mut positions = Vec::with_capacity(payloads.len());
        let records = payloads.iter().enumerate().map(|(i, payload)| (*payload, index_of(i)));
        self.append_into(records, &mut positions)?;
        Ok(positions)
    }

    /// As [`Log::append_batch`], each record with a log index of its own; one that does not follow the index before
    /// starts a new segment.
    ///
    /// # Errors
    /// As [`Log::append`], and lists of different length, which change nothing.
    pub fn append_indexed(&self, payloads: &[&[u8]], log_indexes: &[u64]) -> Result<Vec<Position>> {
        if payloads.len() != log_indexes.len() {
            let text = alloc::format!("{} records with {} log indexes", payloads.len(), log_indexes.len());
            return Err(Error::InvalidArgument(text));
        }
        let mut positions = Vec::with_capacity(payloads.len());
        self.append_into(payloads.iter().copied().zip(log_indexes.iter().copied()), &mut positions)?;
        Ok(positions)
    }

    /// Appends records with their log indexes and adds their positions to `positions`: also after an error those of
    /// the records that were appended.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_into<'a>(
        &self,
        records: impl IntoIterator<Item = (&'a [u8], u64)>,
        positions: &mut Vec<Position>,
    ) -> Result<()> {
        let tail = self.tail()?;
        let mut bytes = 0;
        let placed = self.place_all(tail, records, positions, &mut bytes);
        // No lock is held here: the hook may call back.
        self.appended(tail, bytes)?;
        placed
    }

    fn place_all<'a>(
        &self,
        tail: &Tail<V>,
        records: impl IntoIterator<Item = (&'a [u8], u64)>,
        positions: &mut Vec<Position>,
        bytes: &mut u64,
    ) -> Result<()> {
        let mut state = tail.state();
        for (payload, index) in records {
            let (next, position) = self.place(tail, state, payload, index)?;
            state = next;
            positions.push(position);
            *bytes += frame_len(payload.len()).unwrap_or(0) as u64;
        }
        Ok(())
    }

    /// What follows an append, with no lock held: the hooks, and a sync where the options ask for one.
    fn appended(&self, tail: &Tail<V>, bytes: u64) -> Result<()> {
        self.changed();
        self.announce(tail);
        let per_sync = self.options.bytes_per_sync;
        if self.options.sync_every_write {
            self.sync_appended(tail)?;
        } else if per_sync != 0 && bytes != 0 {
            let unsynced = self.unsynced.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
            if unsynced >= per_sync {
                let taken = self.unsynced.swap(0, Ordering::Relaxed);
                self.sync_appended(tail).inspect_err(|_| {
                    // The next append asks again.
                    self.unsynced.fetch_add(taken, Ordering::Relaxed);
                })?;
                self.counted_syncs.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.forget_sealed();
        Ok(())
    }

    /// A sync for records that are in the log already: appending them again because of a full disk would double them.
    fn sync_appended(&self, tail: &Tail<V>) -> Result<()> {
        match tail.sync() {
            Err(e) if e.is_no_space() => Err(Error::OutcomeUnknown(e.to_string())),
            synced => synced.map(drop),
        }
    }

    /// Tells the hook that readers may find something new. Call with no lock held.
    #[inline]
    pub(super) fn changed(&self) {
        if let Some(hook) = &self.options.on_change {
            hook();
        }
    }

    /// Tells the hook of each new active segment, once. Call with no lock held.
    pub(super) fn announce(&self, tail: &Tail<V>) {
        loop {
            let announced = self.announced.load(Ordering::Acquire);
            let active = tail.active_number.load(Ordering::Acquire);
            if active <= announced {
                return;
            }
            let next = announced + 1;
            if self.announced.compare_exchange(announced, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                self.rotations.fetch_add(1, Ordering::Relaxed);
                self.counted_syncs.store(0, Ordering::Relaxed);
                if let Some(hook) = &self.options.on_rotate {
                    hook(next);
                }
            }
        }
    }

    /// Stores one record, in a new segment where its index or length asks for one.
    ///
    /// A power cut may take the end of a segment that is not sealed yet and leave the next one. Where the log indexes go
    /// on, the next header shows that; where they do not (or there are none) the old segment is sealed first. A log that
    /// nobody syncs is sealed too, some segments late.
    fn place<'t>(
        &self,
        tail: &'t Tail<V>,
        mut state: MutexGuard<'t, State<V>>,
        payload: &[u8],
        log_index: u64,
    ) -> Result<(MutexGuard<'t, State<V>>, Position)> {
        check_log_index(log_index)?;
        loop {
            state.alive()?;
            let largest = tail.config.segment_bytes.max(state.active.segment.capacity) - HEADER_BYTES as u64;
            let too_large = |limit| Error::BatchTooLarge { bytes: payload.len() as u64, count: 1, limit };
            let len = frame_len(payload.len()).map_or(u64::MAX, |n| n as u64);
            if len > largest {
                return Err(too_large(largest));
            }
            let follows = following_index(&state);
            let goes_on = log_index != 0 && follows == log_index;
            if state.active.entries == 0 && !goes_on && !state.rotated.is_empty() {
                drop(state);
                tail.seal_rotated()?;
                state = tail.state();
                continue;
            }
            if follows != log_index || len > state.room() {
                if state.active.entries != 0 && !goes_on {
                    tail.rotate(&mut state, follows)?;
                    continue;
                }
                if state.rotated.len() >= UNSEALED_MAX {
                    drop(state);
                    tail.seal_rotated()?;
                    state = tail.state();
                    continue;
                }
                tail.rotate(&mut state, log_index)?;
                if len > state.room() {
                    return Err(too_large(state.room()));
                }
            }
            state.frame.clear();
            encode_frame(payload, &mut state.frame);
            let position = state.store_frame()?;
            self.note(log_index, goes_on, position);
            return Ok((state, position));
        }
    }

    /// Remembers where a record is, under the appenders' lock.
    fn note(&self, log_index: u64, goes_on: bool, position: Position) {
        if log_index == 0 || !self.options.log_index {
            return;
        }
        if !goes_on {
            self.places.delete_range(log_index, u64::MAX);
        }
        self.places.set(log_index, position);
    }
}

/// Log index of the next record if it follows the one before; 0 for none.
pub(super) fn following_index<V: Vfs>(state: &State<V>) -> u64 {
    match state.active.segment.header().first_log_index {
        0 => 0,
        first => first.saturating_add(state.active.entries),
    }
}
