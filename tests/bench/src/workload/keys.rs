//! Numbers of inserted records, and up to which one all are there.
//!
//! Who may call it: any thread. A number is readable when it and all before it are acknowledged.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// So far may acknowledged numbers be ahead of the oldest one that is not.
const WINDOW: u64 = 1 << 16;

pub struct Inserts {
    next: AtomicU64,
    readable: AtomicU64,
    acknowledged: Box<[AtomicBool]>,
    moving: Mutex<()>,
}

impl Inserts {
    /// The first `loaded` records are there.
    pub fn new(loaded: u64) -> Self {
        Self {
            next: AtomicU64::new(loaded),
            readable: AtomicU64::new(loaded),
            acknowledged: (0..WINDOW).map(|_| AtomicBool::new(false)).collect(),
            moving: Mutex::new(()),
        }
    }

    /// The number of a record to insert.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The records below this one are there.
    #[inline]
    pub fn readable(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    /// Record `n` is there now.
    pub fn acknowledge(&self, n: u64) {
        while n >= self.readable() + WINDOW {
            std::thread::yield_now();
        }
        self.place(n).store(true, Ordering::SeqCst);
        // Whoever holds the lock looks again after it gave it back, so no number is left behind.
        while self.place(self.readable()).load(Ordering::SeqCst) {
            let Ok(guard) = self.moving.try_lock() else { return };
            let mut at = self.readable();
            while self.place(at).swap(false, Ordering::SeqCst) {
                at += 1;
            }
            self.readable.store(at, Ordering::SeqCst);
            drop(guard);
        }
    }

    fn place(&self, n: u64) -> &AtomicBool {
        &self.acknowledged[(n % WINDOW) as usize]
    }
}
