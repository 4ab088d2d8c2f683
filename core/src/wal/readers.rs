//! Who reads a log, and where: what truncation and retention ask before they take something away.
//!
//! Who may call it: [`super::reader`] for its own slot; [`super::truncate`], [`super::retention`] and
//! [`super::backup`] for all. Invariants
//! 1. A reader moves to a new place only under its slot's lock, and only if no truncation began since it looked
//!    at the log ([`Slot::stand`]). So a truncation that begins first, and then looks at the slots, sees every
//!    reader at its last place.
//! 2. No reader starts before the floor, and none enters unseen while it rises: both are under the lock of the list.
//!    Who moves the floor holds the log's state, so it is never above the active segment.
//! 3. The epoch only grows. What a reader remembers of the log is good for one epoch.

use alloc::collections::BTreeMap;

use nokv_formats::walfs::Position;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

#[derive(Default)]
pub(crate) struct Readers {
    epoch: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    slots: BTreeMap<u64, Arc<Mutex<Position>>>,
    /// Segments before this one are gone, or go now.
    floor: u32,
}

/// One reader's place. Leaves with [`Readers::leave`].
pub(crate) struct Slot {
    id: u64,
    at: Arc<Mutex<Position>>,
}

impl Readers {
    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// What readers remember is no longer true, or may not be.
    pub fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// A reader at `at`; [`Position::NIL`] for one that did not start.
    pub fn enter(&self, at: Position) -> Slot {
        let at = Arc::new(Mutex::new(at));
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.slots.insert(id, Arc::clone(&at));
        Slot { id, at }
    }

    pub fn leave(&self, slot: &Slot) {
        self.state.lock().slots.remove(&slot.id);
    }

    /// How many readers stand behind `end`, and the newest segment that one stands in.
    pub fn behind(&self, end: Position) -> Option<(u32, usize)> {
        let state = self.state.lock();
        let places = state.slots.values().map(|slot| *slot.lock()).filter(|at| *at > end);
        places.fold(None, |seen, at| {
            let (segment, count) = seen.unwrap_or((0, 0));
            Some((at.segment.max(segment), count + 1))
        })
    }

    /// The oldest segment that a reader stands in.
    pub fn oldest(&self) -> Option<u32> {
        let state = self.state.lock();
        state.slots.values().map(|slot| slot.lock().segment).filter(|n| *n != 0).min()
    }

    /// Segments before this one are gone, or go now.
    pub fn floor(&self) -> u32 {
        self.state.lock().floor
    }

    /// The segments before `floor` go now.
    pub fn raise_floor(&self, floor: u32) {
        let mut state = self.state.lock();
        state.floor = state.floor.max(floor);
    }

    /// As [`Readers::raise_floor`], unless a reader stands before `floor`: then it gives false.
    pub fn claim_below(&self, floor: u32) -> bool {
        let mut state = self.state.lock();
        let is_read = state.slots.values().any(|slot| (1..floor).contains(&slot.lock().segment));
        if !is_read {
            state.floor = state.floor.max(floor);
        }
        !is_read
    }

    /// Segment `first` is there again, or still.
    pub fn lower_floor(&self, first: u32) {
        let mut state = self.state.lock();
        state.floor = state.floor.min(first);
    }

    /// How many readers there are.
    pub fn count(&self) -> usize {
        self.state.lock().slots.len()
    }
}

impl Slot {
    /// Moves the reader to a place that it was at before.
    pub fn step_back(&self, to: Position) {
        *self.at.lock() = to;
    }

    /// Stands at the start of a log whose first segment is `first`, as far as known, unless `epoch` is over.
    pub fn start(&self, readers: &Readers, epoch: u64, first: u32) -> Option<Position> {
        let state = readers.state.lock();
        let start = Position::start_of(first.max(state.floor));
        self.stand(readers, epoch, start).then_some(start)
    }

    /// Moves the reader, unless `epoch` is over: then it must look again.
    pub fn stand(&self, readers: &Readers, epoch: u64, to: Position) -> bool {
        let mut at = self.at.lock();
        let is_current = readers.epoch() == epoch;
        if is_current {
            *at = to;
        }
        is_current
    }
}
