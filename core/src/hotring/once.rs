//! A place that is filled once, by whoever comes first, and never waits.
//!
//! Who may call it: the blocks of a ring.
//! 1. The pointer is null, or came from `Box::into_raw` and is owned by the cell.
//! 2. It changes once, from null, by a compare-and-swap; so a reference to what it points to is good for as long
//!    as the cell is borrowed.
//! 3. It is written with release and read with acquire: who sees the pointer sees what it points to, whole.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::marker::PhantomData;
use core::ptr;

use crate::sync::{AtomicPtr, Ordering};

/// See the module.
pub(super) struct OnceBox<T> {
    filled: AtomicPtr<T>,
    // Owns a `Box<T>`: as shareable as one that is handed out by reference.
    owns: PhantomData<Box<T>>,
}

// SAFETY: the cell hands out `&T` to all threads that share it, and may be filled by one and dropped by another.
unsafe impl<T: Send + Sync> Sync for OnceBox<T> {}
// SAFETY: it moves as the box that it owns does.
unsafe impl<T: Send> Send for OnceBox<T> {}

impl<T> OnceBox<T> {
    pub(super) fn new() -> Self {
        Self { filled: AtomicPtr::new(ptr::null_mut()), owns: PhantomData }
    }

    /// What it was filled with.
    #[inline]
    pub(super) fn get(&self) -> Option<&T> {
        let at = self.filled.load(Ordering::Acquire);
        // SAFETY: null, or a box that this cell owns and that nobody changes or frees while it is borrowed (rule 2);
        // its writes are seen (rule 3).
        unsafe { at.as_ref() }
    }

    /// Fills it, unless another thread was first; gives what is in it.
    pub(super) fn get_or_fill(&self, value: Box<T>) -> &T {
        let new = Box::into_raw(value);
        let swapped = self.filled.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire);
        match swapped {
            // SAFETY: `new` is now owned by the cell (rule 2).
            Ok(_) => unsafe { &*new },
            Err(theirs) => {
                // SAFETY: `new` came from `Box::into_raw` above and was shown to nobody.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: not null, since the swap failed, so owned by the cell (rules 1 and 2).
                unsafe { &*theirs }
            }
        }
    }
}

impl<T> Drop for OnceBox<T> {
    fn drop(&mut self) {
        // Relaxed: nobody else has the cell any more.
        let at = self.filled.load(Ordering::Relaxed);
        if !at.is_null() {
            // SAFETY: rule 1, and nothing borrows the cell any more.
            drop(unsafe { Box::from_raw(at) });
        }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    #[test]
    fn one_of_many_fills_it_all_see_that_one_and_the_others_are_freed() {
        for _ in 0..if cfg!(miri) { 3 } else { 200 } {
            let cell = OnceBox::new();
            assert!(cell.get().is_none());
            let values: Vec<Arc<usize>> = (0..3).map(Arc::new).collect();
            let told: Vec<usize> = std::thread::scope(|scope| {
                let fill = |value: &Arc<usize>| {
                    let (cell, value) = (&cell, value.clone());
                    scope.spawn(move || (**cell.get_or_fill(Box::new(value)), cell.get().map(|v| **v)))
                };
                let threads: Vec<_> = values.iter().map(fill).collect();
                threads
                    .into_iter()
                    .map(|thread| {
                        let (filled, seen) = thread.join().unwrap();
                        assert_eq!(Some(filled), seen);
                        filled
                    })
                    .collect()
            });
            assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
            let owners = || values.iter().map(Arc::strong_count).sum::<usize>();
            assert_eq!(owners(), 4);
            drop(cell);
            assert_eq!(owners(), 3);
        }
    }
}
