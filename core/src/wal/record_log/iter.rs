//! Reads a record log in order, while it grows and while it is cut.
//!
//! Invariants
//! 1. Every cut of the log is followed by a new epoch. What an iterator remembers of places is good for one epoch.
//! 2. An iterator commits a move only if the epoch is still the one in which it found the record. So it gives either
//!    a record as it was before a cut, or looks again.
//! 3. The ids of live iterators are known to the log: a truncation marks those whose place it took.

use alloc::vec::Vec;

use nokv_formats::walfs::{Position, frame_len};

use super::{Record, RecordLog};
use crate::error::{Error, Result};
use crate::vfs::Vfs;

/// What iterators and cuts know of each other.
#[derive(Default)]
pub(super) struct Shared {
    epoch: u64,
    next_slot: u64,
    slots: Vec<Slot>,
}

struct Slot {
    slot: u64,
    /// Id of the next record; `None` while the iterator waits for its first one.
    next_id: Option<u64>,
    is_lost: bool,
}

impl Shared {
    /// The records behind `kept` were removed, of which the last was `old_last`.
    pub(super) fn truncated(&mut self, kept: u64, old_last: u64) {
        self.epoch += 1;
        for slot in &mut self.slots {
            // One that gives the first removed id next stands before the cut, and goes on with what is appended.
            let after_cut = |id: u64| id > kept.saturating_add(1) && id <= old_last.saturating_add(1);
            slot.is_lost |= slot.next_id.is_some_and(after_cut);
        }
    }

    /// Records at the start were removed.
    pub(super) fn trimmed(&mut self) {
        self.epoch += 1;
    }

    fn slot(&mut self, slot: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|s| s.slot == slot)
    }
}

/// Where a record is.
#[derive(Clone, Copy)]
struct Place {
    position: Position,
    /// Where its segment's records ended when that was looked at.
    segment_end: u64,
    epoch: u64,
}

/// See the module.
pub struct RecordIter<'l, V: Vfs> {
    log: &'l RecordLog<V>,
    slot: u64,
    next_id: u64,
    /// Is the next record known to be `next_id`? If not, it is the first one from there on.
    is_placed: bool,
    place: Option<Place>,
    buf: Vec<u8>,
}

impl<V: Vfs> Drop for RecordIter<'_, V> {
    fn drop(&mut self) {
        self.log.shared.lock().slots.retain(|s| s.slot != self.slot);
    }
}

impl<'l, V: Vfs> RecordIter<'l, V> {
    pub(super) fn new(log: &'l RecordLog<V>, start: u64) -> Self {
        // A cut between the look and the entry would not be told: nothing is cut meanwhile.
        let _no_cut = log.cutting.lock();
        let bounds = log.log.index_bounds();
        let next_id = bounds.map_or(start, |(first, _)| start.max(first));
        let is_placed = bounds.is_some_and(|(_, last)| next_id <= last);
        let mut shared = log.shared.lock();
        let slot = shared.next_slot;
        shared.next_slot += 1;
        shared.slots.push(Slot { slot, next_id: is_placed.then_some(next_id), is_lost: false });
        Self { log, slot, next_id, is_placed, place: None, buf: Vec::new() }
    }

    /// The next record; `None` where there is none yet.
    ///
    /// # Errors
    /// [`Error::RemovedUnderIterator`] if the log was cut where the iterator stands: it stays so. [`Error::Corrupt`] at
    /// damage: it does not move on. What the file system says.
    #[expect(clippy::should_implement_trait, reason = "lends its buffer and can fail")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>> {
        let id = loop {
            let epoch = self.look()?;
            let Some(place) = self.find(epoch)? else { return Ok(None) };
            match self.log.log.read_into(place.position, &mut self.buf) {
                Ok(()) => {}
                Err(e) => {
                    // A cut under way took it: wait for its end and look again.
                    drop(self.log.cutting.lock());
                    if self.log.shared.lock().epoch != epoch {
                        continue;
                    }
                    return Err(e);
                }
            }
            if let Some(id) = self.commit(place) {
                break id;
            }
        };
        Ok(Some(Record { id, data: &self.buf }))
    }

    /// The epoch, unless the iterator's place is gone.
    fn look(&mut self) -> Result<u64> {
        let mut shared = self.log.shared.lock();
        let epoch = shared.epoch;
        match shared.slot(self.slot) {
            Some(slot) if slot.is_lost => Err(Error::RemovedUnderIterator { id: self.next_id }),
            _ => Ok(epoch),
        }
    }

    /// Where the next record is.
    fn find(&mut self, epoch: u64) -> Result<Option<Place>> {
        if let Some(place) = self.place
            && place.epoch == epoch
            && place.position.offset < place.segment_end
        {
            return Ok(Some(place));
        }
        let Some((first, last)) = self.log.log.index_bounds() else { return Ok(None) };
        if self.next_id < first {
            if self.is_placed {
                // It stays so, also when the log is empty later.
                if let Some(slot) = self.log.shared.lock().slot(self.slot) {
                    slot.is_lost = true;
                }
                return Err(Error::RemovedUnderIterator { id: self.next_id });
            }
            self.next_id = first;
        }
        if self.next_id > last {
            return Ok(None);
        }
        let log = &self.log.log;
        // The segment may have got more since.
        let grown = self.place.filter(|p| {
            let end = log.extent(p.position.segment).map_or(0, |info| info.end);
            p.epoch == epoch && p.position.offset < end
        });
        let position = match grown {
            Some(place) => place.position,
            None => match log.position_for_index(self.next_id) {
                Ok(position) => position,
                // Cut between the two looks, or while the files were looked at: any error may come of that.
                Err(e) => return self.find_again(epoch, e),
            },
        };
        let segment_end = log.extent(position.segment).map_or(0, |info| info.end);
        let place = Place { position, segment_end, epoch };
        self.place = Some(place);
        Ok(Some(place))
    }

    /// After a cut that was under way; `failed` stands if there was none.
    fn find_again(&mut self, epoch: u64, failed: Error) -> Result<Option<Place>> {
        drop(self.log.cutting.lock());
        let now = self.look()?;
        if now == epoch { Err(failed) } else { self.find(now) }
    }

    /// Moves behind the record at `place`, if nothing was cut since it was found; gives its id.
    fn commit(&mut self, place: Place) -> Option<u64> {
        let id = self.next_id;
        let mut shared = self.log.shared.lock();
        if shared.epoch != place.epoch {
            return None;
        }
        if let Some(slot) = shared.slot(self.slot) {
            slot.next_id = Some(id.saturating_add(1));
        }
        drop(shared);
        self.next_id = id.saturating_add(1);
        self.is_placed = true;
        let len = frame_len(self.buf.len()).unwrap_or(0) as u64;
        let position = Position { offset: place.position.offset.saturating_add(len), ..place.position };
        self.place = Some(Place { position, ..place });
        Some(id)
    }
}
