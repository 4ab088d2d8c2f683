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

/// The words of one key.
#[derive(Clone, Copy)]
pub(super) struct Window<'r> {
    /// A power of two of them, at least `slots`; none without a window.
    pub(super) words: &'r [AtomicU64],
    /// Length of the window; 0: there is none.
    pub(super) slots: u32,
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

impl<'r> Window<'r> {
    #[inline]
    pub(super) const fn is_none(self) -> bool {
        self.words.is_empty()
    }

    #[inline]
    fn word_of(self, tick: u32) -> Option<&'r AtomicU64> {
        self.words.get(tick as usize & self.words.len().wrapping_sub(1))
    }

    /// The sum at `tick`.
    #[inline]
    pub(super) fn sum(self, tick: u32) -> u64 {
        let counted = |word: &AtomicU64| counted(word.load(Ordering::Relaxed), tick, self.slots);
        self.words.iter().map(|word| u64::from(counted(word))).sum()
    }

    /// Counts one touch at `tick`. Gives what the word counted for a slot that has passed.
    #[inline]
    pub(super) fn add(self, tick: u32) -> u32 {
        let Some(word) = self.word_of(tick) else { return 0 };
        let mut old = word.load(Ordering::Relaxed);
        loop {
            let new = touched(old, tick);
            match word.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return passed(old, new),
                Err(now) => old = now,
            }
        }
    }

    /// Counts one touch unless the window holds `limit`. Gives the sum, whether it did not count, and as `add`.
    #[inline]
    pub(super) fn add_below(self, tick: u32, limit: u64) -> (u64, bool, u32) {
        let Some(word) = self.word_of(tick) else { return (0, false, 0) };
        loop {
            let old = word.load(Ordering::Relaxed);
            let held = self.sum(tick);
            if held >= limit {
                return (held, true, 0);
            }
            // The other slots of the window take no touches any more.
            let new = touched(old, tick);
            if word.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return (held + 1, false, passed(old, new));
            }
        }
    }

    /// Takes one touch at `tick` back.
    pub(super) fn take_back(self, tick: u32) {
        let Some(word) = self.word_of(tick) else { return };
        let less = |old: u64| ((old >> 32) as u32 == tick && old as u32 > 0).then(|| old - 1);
        let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Halves every count `shift` times; gives what is gone.
    pub(super) fn decay(self, shift: u32) -> u64 {
        let mut gone = 0;
        for word in self.words {
            let less =
                |old: u64| Some(self::word((old >> 32) as u32, (old as u32).checked_shr(shift).unwrap_or(0)));
            if let Ok(old) = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
                gone += u64::from(old as u32) - u64::from((old as u32).checked_shr(shift).unwrap_or(0));
            }
        }
        gone
    }

    /// All that the words count, of whatever time.
    pub(super) fn all(self) -> u64 {
        self.words.iter().map(|word| u64::from(word.load(Ordering::Relaxed) as u32)).sum()
    }

    /// Forgets everything; gives all that was counted.
    pub(super) fn clear(self) -> u64 {
        self.words.iter().map(|word| u64::from(word.swap(0, Ordering::Relaxed) as u32)).sum()
    }
}

/// What a word counted that was started anew.
#[inline]
const fn passed(old: u64, new: u64) -> u32 {
    if old >> 32 == new >> 32 { 0 } else { old as u32 }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn words(n: usize) -> Vec<AtomicU64> {
        (0..n).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_touch_counts_until_its_slot_leaves_the_window() {
        for (n, slots) in [(4, 4), (8, 4), (8, 5)] {
            let words = words(n);
            let window = Window { words: &words, slots };
            window.add(10);
            window.add(10);
            window.add(12);
            let late = u64::from(slots) - 4;
            assert_eq!([10, 12, 13, 14].map(|tick| window.sum(tick)), [2, 3, 3, 1 + 2 * late]);
            assert_eq!([15 + slots - 4, 16 + slots - 4].map(|tick| window.sum(tick)), [1, 0]);
            // A word is used again; what it counted is handed out, and nothing else.
            assert_eq!([window.add(10 + n as u32), window.add(10 + n as u32)], [2, 0]);
            assert_eq!(window.sum(10 + n as u32), 2 + u64::from(12 + slots > 10 + n as u32));
            assert_eq!(window.all(), 3);
        }
    }

    #[test]
    fn ticks_turn_over() {
        let words = words(4);
        let window = Window { words: &words, slots: 4 };
        window.add(u32::MAX);
        window.add(1);
        assert_eq!([u32::MAX, 1, 2, 3, 4].map(|tick| window.sum(tick)), [1, 2, 2, 1, 1]);
    }

    #[test]
    fn a_full_slot_stays_full() {
        let words = words(2);
        words[1].store(word(7, COUNT_MAX), Ordering::Relaxed);
        let window = Window { words: &words, slots: 2 };
        window.add(7);
        assert_eq!(window.sum(7), u64::from(COUNT_MAX));
    }

    #[test]
    fn a_late_thread_counts_for_the_slot_as_it_is_now() {
        let words = words(2);
        let window = Window { words: &words, slots: 2 };
        window.add(9);
        window.add(7);
        assert_eq!(window.sum(9), 2);
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let words = words(4);
        let window = Window { words: &words, slots: 3 };
        window.add(5);
        window.take_back(5);
        window.take_back(5);
        window.take_back(8);
        assert_eq!(window.sum(5), 0);
        assert_eq!(window.add_below(5, 1), (1, false, 0));
        assert_eq!(window.add_below(5, 1), (1, true, 0));
    }

    #[test]
    fn without_words_there_is_no_window() {
        let window = Window { words: &[], slots: 0 };
        window.take_back(5);
        assert_eq!((window.add(5), window.sum(5), window.clear()), (0, 0, 0));
    }
}
