//! Counters of a sliding window: one word per slot, stamped with the slot's number in time.
//!
//! ```text
//! word = tick << 32 | count        tick = now / slot duration, cut to 32 bits
//! ```
//! Pure arithmetic on words, and the loops that apply it.
//! 1. A word whose tick lies outside of the window counts nothing; nobody has to clear it.
//! 2. A touch adds one to the word of its tick, or starts that word anew. No touch is lost, also when two threads
//!    start the word at once. A count stops at [`COUNT_MAX`].
//! 3. Ticks are compared by their distance, so that their turning over does no harm. A word that nobody touched
//!    for exactly 2^32 ticks would count again: with slots of a millisecond after 49 days, for one window.

use crate::sync::{AtomicU64, Ordering};

/// Where a slot stops counting.
pub(super) const COUNT_MAX: u32 = u32::MAX;

/// Packs a word.
#[inline]
pub(super) const fn word(tick: u32, count: u32) -> u64 {
    (tick as u64) << 32 | count as u64
}

/// What `word` counts in a window of `slots` that ends with `tick`.
#[inline]
pub(super) const fn counted(word: u64, tick: u32, slots: u32) -> u32 {
    let age = tick.wrapping_sub((word >> 32) as u32);
    if age < slots { word as u32 } else { 0 }
}

/// The slot of `tick`.
#[inline]
fn slot_of(slots: &[AtomicU64], tick: u32) -> Option<&AtomicU64> {
    slots.get(tick.checked_rem(slots.len() as u32)? as usize)
}

/// The sum over the window that ends with `tick`.
#[inline]
pub(super) fn sum(slots: &[AtomicU64], tick: u32) -> u64 {
    let len = slots.len() as u32;
    slots.iter().map(|slot| u64::from(counted(slot.load(Ordering::Relaxed), tick, len))).sum()
}

/// The word after one touch at `tick`. A thread that comes late, with an older tick than the word's, counts for
/// the word's.
#[inline]
const fn touched(old: u64, tick: u32) -> u64 {
    let behind = ((old >> 32) as u32).wrapping_sub(tick);
    let is_newer = behind != 0 && behind < u32::MAX / 2;
    if (old >> 32) as u32 == tick || (is_newer && old as u32 != 0) {
        if old as u32 == COUNT_MAX { old } else { old + 1 }
    } else {
        word(tick, 1)
    }
}

/// Counts one touch at `tick`.
#[inline]
pub(super) fn add(slots: &[AtomicU64], tick: u32) {
    let Some(slot) = slot_of(slots, tick) else { return };
    let mut old = slot.load(Ordering::Relaxed);
    loop {
        match slot.compare_exchange_weak(old, touched(old, tick), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => old = now,
        }
    }
}

/// Counts one touch unless the window holds `limit`. Gives the sum, and whether it did not count.
#[inline]
pub(super) fn add_below(slots: &[AtomicU64], tick: u32, limit: u64) -> (u64, bool) {
    let Some(slot) = slot_of(slots, tick) else { return (0, false) };
    loop {
        let old = slot.load(Ordering::Relaxed);
        let held = sum(slots, tick);
        if held >= limit {
            return (held, true);
        }
        // The other slots of the window take no touches any more.
        let new = touched(old, tick);
        if slot.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return (held + 1, false);
        }
    }
}

/// Takes one touch at `tick` back.
pub(super) fn take_back(slots: &[AtomicU64], tick: u32) {
    let Some(slot) = slot_of(slots, tick) else { return };
    let less = |old: u64| ((old >> 32) as u32 == tick && old as u32 > 0).then(|| old - 1);
    let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
}

/// Halves every count `shift` times.
pub(super) fn decay(slots: &[AtomicU64], shift: u32) {
    for slot in slots {
        let less = |old: u64| Some(word((old >> 32) as u32, (old as u32).checked_shr(shift).unwrap_or(0)));
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// Forgets everything.
pub(super) fn clear(slots: &[AtomicU64]) {
    for slot in slots {
        slot.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(n: usize) -> alloc::vec::Vec<AtomicU64> {
        (0..n).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_touch_counts_until_its_slot_leaves_the_window() {
        let slots = slots(4);
        add(&slots, 10);
        add(&slots, 10);
        add(&slots, 12);
        assert_eq!([10, 12, 13, 14, 15, 16].map(|tick| sum(&slots, tick)), [2, 3, 3, 1, 1, 0]);
        // The slot of tick 10 is used again.
        add(&slots, 14);
        assert_eq!(sum(&slots, 14), 2);
    }

    #[test]
    fn ticks_turn_over() {
        let slots = slots(4);
        add(&slots, u32::MAX);
        add(&slots, 1);
        assert_eq!([u32::MAX, 1, 2, 3, 4].map(|tick| sum(&slots, tick)), [1, 2, 2, 1, 1]);
    }

    #[test]
    fn a_full_slot_stays_full() {
        let slots = slots(2);
        slots[1].store(word(7, COUNT_MAX), Ordering::Relaxed);
        add(&slots, 7);
        assert_eq!(sum(&slots, 7), u64::from(COUNT_MAX));
    }

    #[test]
    fn a_late_thread_counts_for_the_slot_as_it_is_now() {
        let slots = slots(2);
        add(&slots, 9);
        add(&slots, 7);
        assert_eq!(sum(&slots, 9), 2);
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let slots = slots(3);
        add(&slots, 5);
        take_back(&slots, 5);
        take_back(&slots, 5);
        take_back(&slots, 8);
        assert_eq!(sum(&slots, 5), 0);
        assert_eq!(add_below(&slots, 5, 1), (1, false));
        assert_eq!(add_below(&slots, 5, 1), (1, true));
    }
}
