//! The ring that makes batches visible in commit order, alone: its steps are few, so many schedules go deep.

use std::sync::Arc;

use nokv::Seq;
use nokv_core::sync::model::{AtomicU64, Ordering};
use nokv_core::write::publish::Publisher;

use super::{join, on_thread};

/// Writers end in any order; what is published never goes back, never passes a batch that is not in, and ends at the last.
pub(super) fn in_order() {
    const TICKETS: u64 = 6;
    let publisher = Arc::new(Publisher::new(Seq(10)));
    let inserted: Arc<Vec<AtomicU64>> = Arc::new((0..TICKETS).map(|_| AtomicU64::new(0)).collect());
    let reader = {
        let (publisher, inserted) = (publisher.clone(), inserted.clone());
        on_thread(move || {
            let mut seen = 10;
            for _ in 0..8 {
                let published = publisher.published().0;
                assert!(published >= seen, "{published} after {seen}");
                seen = published;
                let all_in =
                    (10..published).all(|seq| inserted[(seq - 10) as usize].load(Ordering::SeqCst) == 1);
                assert!(all_in, "{published} is published before all of it is in");
            }
        })
    };
    let writers: Vec<_> = (0..3)
        .map(|n| {
            let (publisher, inserted) = (publisher.clone(), inserted.clone());
            on_thread(move || {
                for ticket in [n, TICKETS - 1 - n] {
                    inserted[ticket as usize].store(1, Ordering::SeqCst);
                    publisher.done(ticket, Seq(11 + ticket));
                }
            })
        })
        .collect();
    writers.into_iter().for_each(join);
    join(reader);
    assert_eq!(publisher.published(), Seq(10 + TICKETS));
    assert!(publisher.is_drained(TICKETS));
}
