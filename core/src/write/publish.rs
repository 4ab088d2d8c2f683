//! Publishing in commit order: a ring of tickets, without a lock.
//!
//! Each committed batch has a ticket, numbered densely in commit order. Its writer inserts the batch into the
//! memtable and then marks the ticket done; whoever finds the next ticket done moves `published` on. So
//! `published` passes a seq only when every batch up to it is in the memtable.
//!
//! 1. Tickets are handed out under the commit lock; at most [`RING`] are in flight, so a slot is free again
//!    before it is used again.
//! 2. A slot holds 0, or the last seq of the ticket that is done in it.
//! 3. Advancing is done by whoever holds `advancing`; one that finds it taken leaves, because the holder
//!    looks again after letting go.

use crate::sync::{AtomicBool, AtomicU64, Ordering};
use alloc::boxed::Box;
use alloc::vec::Vec;

use nokv_formats::Seq;

/// Tickets that may be in flight at once.
pub const RING: u64 = if cfg!(loom) { 4 } else { 1024 };

/// The order in which batches become visible.
pub struct Publisher {
    done: Box<[AtomicU64]>,
    /// Number of the next ticket to publish.
    next: AtomicU64,
    published: AtomicU64,
    advancing: AtomicBool,
}

impl Publisher {
    /// Everything up to `published` is visible; the next ticket is 0.
    pub fn new(published: Seq) -> Self {
        Self {
            done: (0..RING).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().into_boxed_slice(),
            next: AtomicU64::new(0),
            published: AtomicU64::new(published.0),
            advancing: AtomicBool::new(false),
        }
    }

    /// The highest seq that reads may see.
    #[inline]
    pub fn published(&self) -> Seq {
        Seq(self.published.load(Ordering::SeqCst))
    }

    /// May ticket `ticket` be handed out?
    #[inline]
    pub fn has_room(&self, ticket: u64) -> bool {
        ticket - self.next.load(Ordering::Acquire) < RING
    }

    /// Were all tickets below `ticket` published?
    #[inline]
    pub fn is_drained(&self, ticket: u64) -> bool {
        self.next.load(Ordering::Acquire) == ticket
    }

    /// The batch of `ticket`, which ends at `last`, is in the memtable. True if `published` moved.
    #[inline]
    pub fn done(&self, ticket: u64, last: Seq) -> bool {
        // Release: the memtable inserts before it are seen by whoever advances past it.
        self.done[(ticket % RING) as usize].store(last.0, Ordering::SeqCst);
        self.advance()
    }

    fn advance(&self) -> bool {
        let mut moved = false;
        loop {
            if self.advancing.swap(true, Ordering::SeqCst) {
                return moved;
            }
            let mut next = self.next.load(Ordering::Relaxed);
            loop {
                let slot = &self.done[(next % RING) as usize];
                let last = slot.load(Ordering::SeqCst);
                if last == 0 {
                    break;
                }
                slot.store(0, Ordering::Relaxed);
                next += 1;
                self.published.store(last, Ordering::SeqCst);
                self.next.store(next, Ordering::Release);
                moved = true;
            }
            // A swap and not a store: it reads what the last one to find it taken wrote, and so sees that one's slot.
            // That is weaker to ask of a machine than one order of all these accesses, and what `loom` can check.
            self.advancing.swap(false, Ordering::SeqCst);
            // Someone may have marked this slot and left because `advancing` was taken.
            if self.done[(next % RING) as usize].load(Ordering::SeqCst) == 0 {
                return moved;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_in_order_whatever_the_order_of_done() {
        let p = Publisher::new(Seq(10));
        assert!(!p.done(2, Seq(14)));
        assert!(!p.done(1, Seq(12)));
        assert_eq!(p.published(), Seq(10));
        assert!(p.done(0, Seq(11)));
        assert_eq!(p.published(), Seq(14));
        assert!(p.is_drained(3));
        assert!(p.has_room(3 + RING - 1));
        assert!(!p.has_room(3 + RING));
    }

    #[test]
    fn many_rounds_by_many_threads_end_published() {
        let p = Publisher::new(Seq::ZERO);
        let tickets = AtomicU64::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    loop {
                        let t = tickets.fetch_add(1, Ordering::SeqCst);
                        if t >= 20_000 {
                            break;
                        }
                        while !p.has_room(t) {
                            std::thread::yield_now();
                        }
                        p.done(t, Seq(t + 1));
                    }
                });
            }
        });
        assert_eq!(p.published(), Seq(20_000));
    }
}
