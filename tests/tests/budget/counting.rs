//! An allocator that counts: what is on the heap, the most that was, and what one thread asked for.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Calls and bytes of this thread.
    static MINE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept beside it. The cell needs neither
// allocation nor destructor, so looking at it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        let _ = MINE.try_with(|mine| mine.set((mine.get().0 + 1, mine.get().1 + layout.size())));
        // SAFETY: the caller's promise is that of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        let _ = MINE.try_with(|mine| mine.set((mine.get().0 + 1, mine.get().1 + layout.size())));
        // SAFETY: the caller's promise is that of this function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is that of this function.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were on the heap while `run` ran, above those that were there before.
pub fn peak_of<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = run();
    (PEAK.load(Ordering::Relaxed).saturating_sub(before), result)
}

/// Calls and bytes that this thread asked for while `run` ran.
pub fn asked_by<T>(run: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = MINE.get();
    let result = run();
    let after = MINE.get();
    (after.0 - before.0, after.1 - before.1, result)
}
