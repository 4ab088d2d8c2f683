//! Memory that only grows and goes as a whole: what the memtable indexes put their nodes, keys and values in.
//!
//! Any number of threads allocate at once. A block is never moved and never freed before the arena, so a
//! reader that keeps the arena alive cannot dangle; that is the whole reclamation scheme of the indexes.
//!
//! 1. Blocks are disjoint, aligned to [`ALIGN`] and uninitialised; each belongs to the caller that got it.
//! 2. `used` of a chunk may pass its end (the claim that did not fit); it never decreases, so no two claims
//!    overlap. A thread passes the end of a chunk at most once before it goes through the lock, where it
//!    finds or makes a new chunk; so `used` cannot wrap.
//! 3. A chunk's header is written before the release store that makes it current; claims load it with acquire.
#![allow(unsafe_code)]

pub mod entries;

use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use core::ptr::{self, NonNull};

use crate::sync::{AtomicPtr, AtomicUsize, Mutex, Ordering};

/// Alignment of every block, in bytes.
pub const ALIGN: usize = 8;

const CHUNK_BYTES_FIRST: usize = 4 << 10;
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Room for the chunk header, a cache line: the line that claims write holds no data that readers want.
// Atomics of the checkers are larger.
const HEADER_BYTES: usize = if cfg!(any(loom, shuttle)) { 1024 } else { 64 };
const CHUNK_ALIGN: usize = 64;
const _: () = assert!(size_of::<Chunk>() <= HEADER_BYTES && CHUNK_ALIGN.is_multiple_of(align_of::<Chunk>()));
const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGN) && CHUNK_ALIGN.is_multiple_of(ALIGN));

/// The start of each chunk; the data follows at `HEADER_BYTES`.
#[repr(C)]
struct Chunk {
    /// Bytes claimed of the data.
    used: AtomicUsize,
    /// Bytes of data.
    bytes: usize,
    /// The chunk allocated before this one.
    prev: *mut Chunk,
}

/// The chunks, and how large the next one will be.
struct Chunks {
    last: *mut Chunk,
    next_bytes: usize,
}

/// A chunked bump allocator. See the module's rules.
pub struct Arena {
    current: AtomicPtr<Chunk>,
    /// Larger items get a chunk of their own, so that they do not waste the rest of the current one.
    item_bytes_max: usize,
    chunk_bytes_max: usize,
    memory_bytes: AtomicUsize,
    chunks: Mutex<Chunks>,
}

// SAFETY: the raw pointers are to chunks that the arena owns; they are reached through atomics or the mutex,
// and freed only by `drop`, which has the arena to itself.
unsafe impl Send for Arena {}
// SAFETY: as above; every method takes `&self` and synchronises as the module's rules say.
unsafe impl Sync for Arena {}

impl Arena {
    /// An empty arena that will hold about `bytes`. It allocates nothing yet; chunks start at 4 KiB and
    /// double up to a sixteenth of `bytes`, at most 1 MiB.
    pub fn new(bytes: usize) -> Self {
        let chunk_bytes_max = (bytes / 16).next_power_of_two().clamp(CHUNK_BYTES_FIRST, CHUNK_BYTES_MAX);
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            item_bytes_max: chunk_bytes_max / 4,
            chunk_bytes_max,
            memory_bytes: AtomicUsize::new(0),
            chunks: Mutex::new(Chunks { last: ptr::null_mut(), next_bytes: CHUNK_BYTES_FIRST }),
        }
    }

    /// A block of `bytes`, uninitialised, that stays where it is until the arena is dropped.
    #[inline]
    pub fn alloc(&self, bytes: usize) -> NonNull<u8> {
        // isize::MAX bounds every layout; the first comparison also keeps the rounding from wrapping.
        assert!(bytes <= isize::MAX as usize - HEADER_BYTES - CHUNK_ALIGN, "arena item of {bytes} bytes");
        let bytes = bytes.next_multiple_of(ALIGN);
        if bytes <= self.item_bytes_max
            && let Some(block) = self.claim(self.current.load(Ordering::Acquire), bytes)
        {
            return block;
        }
        self.alloc_slow(bytes)
    }

    /// Bytes that the arena holds, headers and unused rest included.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Takes `bytes` of `chunk`, which is null or one of this arena's.
    #[inline]
    fn claim(&self, chunk: *mut Chunk, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: a chunk that was reached through `current` or the list was fully written before (rule 3)
        // and lives as long as the arena.
        let header = unsafe { chunk.as_ref() }?;
        // Relaxed: the number alone keeps claims apart; what callers write is published by their own stores.
        let at = header.used.fetch_add(bytes, Ordering::Relaxed);
        if at.checked_add(bytes)? > header.bytes {
            return None;
        }
        // SAFETY: `at + bytes <= header.bytes`, so the block is inside the chunk's allocation, whose
        // provenance `chunk` carries (it came from `alloc`, not from a reference to the header).
        Some(unsafe { NonNull::new_unchecked(chunk.cast::<u8>().add(HEADER_BYTES + at)) })
    }

    #[cold]
    fn alloc_slow(&self, bytes: usize) -> NonNull<u8> {
        let mut chunks = self.chunks.lock();
        if bytes > self.item_bytes_max {
            let chunk = self.add_chunk(&mut chunks, bytes);
            return self.claim(chunk, bytes).expect("a new chunk holds the item it was made for");
        }
        loop {
            // Another thread may have made a chunk while this one waited.
            if let Some(block) = self.claim(self.current.load(Ordering::Acquire), bytes) {
                return block;
            }
            let data_bytes = (chunks.next_bytes - HEADER_BYTES).max(bytes);
            let chunk = self.add_chunk(&mut chunks, data_bytes);
            chunks.next_bytes = (chunks.next_bytes * 2).min(self.chunk_bytes_max);
            self.current.store(chunk, Ordering::Release);
        }
    }

    fn layout(data_bytes: usize) -> Layout {
        Layout::from_size_align(HEADER_BYTES + data_bytes, CHUNK_ALIGN).expect("bounded by Arena::alloc")
    }

    fn add_chunk(&self, chunks: &mut Chunks, data_bytes: usize) -> *mut Chunk {
        let layout = Self::layout(data_bytes);
        // SAFETY: the layout is not empty.
        let chunk = unsafe { alloc(layout) }.cast::<Chunk>();
        if chunk.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: the block is large and aligned enough for a `Chunk`, and nobody else knows it.
        unsafe { chunk.write(Chunk { used: AtomicUsize::new(0), bytes: data_bytes, prev: chunks.last }) };
        chunks.last = chunk;
        self.memory_bytes.fetch_add(layout.size(), Ordering::Relaxed);
        chunk
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let mut chunk = self.chunks.lock().last;
        while !chunk.is_null() {
            // SAFETY: `add_chunk` made it with this layout; `&mut self` says that no block is in use.
            unsafe {
                let Chunk { bytes, prev, .. } = chunk.read();
                dealloc(chunk.cast(), Self::layout(bytes));
                chunk = prev;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn blocks_are_aligned_and_disjoint() {
        let arena = Arena::new(64 << 10);
        let mut blocks = Vec::new();
        for i in 0..if cfg!(miri) { 100 } else { 2000 } {
            let bytes = (i * 37) % 300 + if i % 50 == 0 { 5000 } else { 0 };
            let block = arena.alloc(bytes);
            assert_eq!(block.addr().get() % ALIGN, 0);
            // SAFETY: the block is ours and `bytes` long.
            unsafe { block.write_bytes(i as u8, bytes) };
            blocks.push((block, bytes, i as u8));
        }
        let sum: usize = blocks.iter().map(|b| b.1).sum();
        assert!(arena.memory_bytes() >= sum);
        for (block, bytes, fill) in blocks {
            // SAFETY: written above, never moved.
            let stored = unsafe { core::slice::from_raw_parts(block.as_ptr(), bytes) };
            assert!(stored.iter().all(|b| *b == fill));
        }
    }

    #[test]
    fn an_empty_arena_holds_nothing() {
        assert_eq!(Arena::new(usize::MAX).memory_bytes(), 0);
        assert_eq!(Arena::new(0).memory_bytes(), 0);
    }

    #[cfg(feature = "std")]
    #[test]
    fn threads_get_disjoint_blocks() {
        let arena = Arena::new(1 << 20);
        let rounds = if cfg!(miri) { 40 } else { 5000 };
        std::thread::scope(|scope| {
            for t in 0..4u8 {
                let arena = &arena;
                scope.spawn(move || {
                    let mut blocks = Vec::new();
                    for i in 0..rounds {
                        let bytes = 1 + (i * 13 + t as usize) % 200;
                        let block = arena.alloc(bytes);
                        // SAFETY: the block is ours and `bytes` long.
                        unsafe { block.write_bytes(t, bytes) };
                        blocks.push((block, bytes));
                    }
                    for (block, bytes) in blocks {
                        // SAFETY: written above, never moved.
                        let stored = unsafe { core::slice::from_raw_parts(block.as_ptr(), bytes) };
                        assert!(stored.iter().all(|b| *b == t));
                    }
                });
            }
        });
    }
}
