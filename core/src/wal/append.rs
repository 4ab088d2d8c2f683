//! Appending to a log: one record, several, with log indexes or without.

use alloc::vec::Vec;

use nokv_formats::walfs::{HEADER_BYTES, Position, encode_frame, frame_len};

use super::log::Log;
use super::tail::{State, Tail};
use crate::error::{Error, Result};
use crate::sync::MutexGuard;
use crate::vfs::Vfs;

impl<V: Vfs> Log<V> {
    /// Appends a record with log index `log_index`, 0 for none. It survives the death of the process when this
    /// returns, and a power cut after the next [`Log::sync`].
    ///
    /// # Errors
    /// A payload larger than a segment; a full disk (clean); or a failed write, after which the log is dead.
    pub fn append(&self, payload: &[u8], log_index: u64) -> Result<Position> {
        let tail = self.tail()?;
        place(tail, tail.state(), payload, log_index).map(|(_, position)| position)
    }

    /// Appends records in order, over as many segments as it takes; `first_log_index` is that of the first.
    /// After an error a prefix may have been appended.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_batch(&self, payloads: &[&[u8]], first_log_index: u64) -> Result<Vec<Position>> {
        let tail = self.tail()?;
        let mut state = tail.state();
        let mut positions = Vec::with_capacity(payloads.len());
        for (i, payload) in payloads.iter().enumerate() {
            let index = if first_log_index == 0 { 0 } else { first_log_index.saturating_add(i as u64) };
            let (next, position) = place(tail, state, payload, index)?;
            state = next;
            positions.push(position);
        }
        Ok(positions)
    }
}

/// Log index of the next record if it follows the one before; 0 for none.
pub(super) fn following_index<V: Vfs>(state: &State<V>) -> u64 {
    match state.active.segment.header().first_log_index {
        0 => 0,
        first => first.saturating_add(state.active.entries),
    }
}

/// Stores one record, in a new segment where its index or length asks for one.
///
/// A power cut may take the end of a segment that is not sealed yet and leave the next one. Where the log indexes go
/// on, the next header shows that; where they do not (or there are none) the old segment is sealed first.
fn place<'t, V: Vfs>(
    tail: &'t Tail<V>,
    mut state: MutexGuard<'t, State<V>>,
    payload: &[u8],
    log_index: u64,
) -> Result<(MutexGuard<'t, State<V>>, Position)> {
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
            tail.rotate(&mut state, log_index)?;
            if len > state.room() {
                return Err(too_large(state.room()));
            }
        }
        state.frame.clear();
        encode_frame(payload, &mut state.frame);
        let position = state.store_frame()?;
        return Ok((state, position));
    }
}
