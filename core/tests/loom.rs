//! All schedules, and all orders that the memory may show, of what everything else stands on: the arena, the list of
//! entries, the ring that publishes, the cell that is filled once. `RUSTFLAGS="--cfg loom" cargo test --release -p
//! nokv-core --test loom`; other builds have none of it.
#![cfg(loom)]
#![allow(missing_docs)]

// The cell is private to the rings: its file is taken as it is.
#[allow(dead_code)]
#[path = "../src/hotring/once.rs"]
mod once;

extern crate alloc;

use std::sync::Arc;

use loom::thread;
use nokv_core::arena::{ALIGN, Arena};
use nokv_core::formats::Seq;
use nokv_core::sync;
use nokv_core::sync::{AtomicU64, Fixed, Ordering};
use nokv_core::write::publish::{Publisher, RING};

/// At most so many threads are set aside while they could go on: bugs that need more are not known in practice, and the
/// schedules without this bound are too many.
fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(run);
}

#[test]
fn blocks_of_two_threads_are_apart_also_where_a_chunk_ends() {
    model(3, || {
        let arena = Arc::new(Arena::new(0));
        // Three fit into the first chunk.
        const BYTES: usize = 1000;
        let other = {
            let arena = arena.clone();
            thread::spawn(move || [arena.alloc(BYTES).addr().get(), arena.alloc(BYTES).addr().get()])
        };
        let mine = [arena.alloc(BYTES).addr().get(), arena.alloc(BYTES).addr().get()];
        let mut all = [mine, other.join().unwrap()].concat();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] + BYTES <= pair[1]), "{all:?}");
        assert!(all.iter().all(|at| at.is_multiple_of(ALIGN)), "{all:?}");
    });
}

#[test]
fn a_cell_is_filled_once_and_what_is_in_it_is_seen_whole() {
    model(3, || {
        let cell = Arc::new(once::OnceBox::new());
        let threads: Vec<_> = (1..3)
            .map(|n| {
                let cell = cell.clone();
                thread::spawn(move || cell.get_or_fill(Box::new(Fixed::new(n))).get())
            })
            .collect();
        let early = cell.get().map(Fixed::get);
        let told: Vec<u32> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(told[0], told[1], "filled twice");
        assert!(early.is_none_or(|early| early == told[0]));
    });
}

#[test]
fn what_is_published_is_in_whatever_the_order_of_done() {
    model(3, || {
        let publisher = Arc::new(Publisher::new(Seq::ZERO));
        // Relaxed: only what the publisher orders is ordered.
        let inserted = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let threads: Vec<_> = (0..2)
            .map(|ticket| {
                let (publisher, inserted) = (publisher.clone(), inserted.clone());
                thread::spawn(move || {
                    inserted[ticket as usize].store(1, Ordering::Relaxed);
                    publisher.done(ticket, Seq(ticket + 1));
                })
            })
            .collect();
        let published = publisher.published().0;
        for seq in 0..published {
            assert_eq!(inserted[seq as usize].load(Ordering::Relaxed), 1, "published and not in");
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(publisher.published(), Seq(2), "a batch was left behind");
        assert!(publisher.is_drained(2) && publisher.has_room(1 + RING));
    });
}

#[test]
fn a_slot_of_the_ring_is_free_again_before_it_is_used_again() {
    model(2, || {
        let publisher = Arc::new(Publisher::new(Seq::ZERO));
        (1..RING).for_each(|ticket| assert!(!publisher.done(ticket, Seq(ticket + 1))));
        let first = {
            let publisher = publisher.clone();
            thread::spawn(move || _ = publisher.done(0, Seq(1)))
        };
        // The next ticket shares the slot of the first.
        if publisher.has_room(RING) {
            publisher.done(RING, Seq(RING + 1));
            first.join().unwrap();
            assert_eq!(publisher.published(), Seq(RING + 1));
        } else {
            first.join().unwrap();
            assert_eq!(publisher.published(), Seq(RING));
        }
    });
}
