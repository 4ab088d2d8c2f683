//! The entries of one key as a linked list in an arena, newest first: what hangs at a leaf of an index.
//!
//! Any number of threads insert and read at once, without a lock; nothing is ever removed.
//!
//! 1. An entry is written whole before the release CAS that links it; readers follow links with acquire. So a
//!    reader sees all of an entry or nothing of it. The link an entry starts with was itself loaded with
//!    acquire by its writer, so the rest of the list is visible too.
//! 2. Links only ever get a new entry in between. So after a failed CAS the place to go on from is the same
//!    link: everything before it still sorts before the new entry.
//! 3. The usual write is the newest of its key and costs one CAS at the head. An older one walks past those
//!    that are newer.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::slice;

use nokv_formats::{EntryRef, Kind, Seq, Version};

use super::{ALIGN, Arena};
use crate::sync::{AtomicPtr, Fixed, Ordering};

/// An entry's head; the value follows it.
#[repr(C)]
struct Entry {
    next: AtomicPtr<Entry>,
    version: Version,
    seq: Seq,
    expires_at: u64,
    value_bytes: Fixed<u32>,
    kind: Kind,
    meta: u8,
}
const _: () = assert!(align_of::<Entry>() <= ALIGN);

/// An entry that was copied into an arena and is in no list yet.
pub struct NewEntry(NonNull<Entry>);

impl NewEntry {
    /// Copies `entry` into `arena`.
    pub fn new(arena: &Arena, entry: &EntryRef<'_>) -> Self {
        let value = entry.value;
        let value_bytes = u32::try_from(value.len()).expect("values end at VALUE_BYTES_MAX");
        let at = arena.alloc(size_of::<Entry>() + value.len()).cast::<Entry>();
        // SAFETY: the block is ours, aligned and long enough for the head and the value behind it.
        unsafe {
            at.write(Entry {
                next: AtomicPtr::new(ptr::null_mut()),
                version: entry.version,
                seq: entry.seq,
                expires_at: entry.expires_at,
                value_bytes: Fixed::new(value_bytes),
                kind: entry.kind,
                meta: entry.meta,
            });
            ptr::copy_nonoverlapping(value.as_ptr(), at.add(1).cast::<u8>().as_ptr(), value.len());
        }
        Self(at)
    }
}

/// The entries of one key, newest first; never empty.
#[repr(transparent)]
pub struct EntryList {
    head: AtomicPtr<Entry>,
}

impl EntryList {
    /// A list of one entry.
    ///
    /// # Safety
    /// The arena that `first` lies in outlives every reference to the list.
    pub unsafe fn new(first: NewEntry) -> Self {
        Self { head: AtomicPtr::new(first.0.as_ptr()) }
    }

    /// Links `new` at its place.
    ///
    /// # Safety
    /// The arena that `new` lies in outlives every reference to the list.
    pub unsafe fn link(&self, new: NewEntry) {
        // SAFETY: entries of this list, `new` too, live as long as `self` may be used, and their plain
        // fields are never written again.
        unsafe {
            let node = new.0.as_ref();
            let mut link = &self.head;
            let mut older = link.load(Ordering::Acquire);
            loop {
                while let Some(entry) = older.as_ref()
                    && (entry.version, entry.seq) > (node.version, node.seq)
                {
                    link = &entry.next;
                    older = link.load(Ordering::Acquire);
                }
                node.next.store(older, Ordering::Relaxed);
                match link.compare_exchange_weak(older, new.0.as_ptr(), Ordering::Release, Ordering::Acquire)
                {
                    Ok(_) => return,
                    Err(now) => older = now,
                }
            }
        }
    }

    /// The entries, newest first.
    #[inline]
    pub fn iter(&self) -> Entries<'_> {
        Entries { at: self.first(), list: PhantomData }
    }

    /// The newest entry's place.
    #[inline]
    pub fn first(&self) -> EntryPlace {
        EntryPlace(self.head.load(Ordering::Acquire))
    }
}

/// A place in an [`EntryList`] without a lifetime, for cursors that own the arena.
#[derive(Clone, Copy)]
pub struct EntryPlace(*const Entry);

// SAFETY: what it points to is only read, except for `next`, which is atomic.
unsafe impl Send for EntryPlace {}
// SAFETY: as above.
unsafe impl Sync for EntryPlace {}

impl EntryPlace {
    /// Behind the last entry.
    pub const END: Self = Self(ptr::null());

    /// The entry here, `None` behind the last.
    ///
    /// # Safety
    /// The arena of the list lives at least as long as `'a`.
    #[inline]
    pub unsafe fn get<'a>(self) -> Option<EntryRef<'a>> {
        // SAFETY: a place is null or points to a linked entry of the list, which is in the arena.
        let entry = unsafe { self.0.as_ref() }?;
        // SAFETY: the value lies behind the head in the same block; `self.0` has the block's provenance, as
        // it was made from the arena's pointer. It was written before the entry was linked.
        let value =
            unsafe { slice::from_raw_parts(self.0.add(1).cast::<u8>(), entry.value_bytes.get() as usize) };
        Some(EntryRef {
            version: entry.version,
            seq: entry.seq,
            kind: entry.kind,
            meta: entry.meta,
            expires_at: entry.expires_at,
            value,
        })
    }

    /// The place of the next older entry; the end stays the end.
    ///
    /// # Safety
    /// The arena of the list is alive.
    #[inline]
    pub unsafe fn next(self) -> Self {
        // SAFETY: as in `get`.
        unsafe { self.0.as_ref() }.map_or(Self::END, |entry| Self(entry.next.load(Ordering::Acquire)))
    }
}

/// The entries of one key, newest first. The default is empty.
pub struct Entries<'a> {
    at: EntryPlace,
    list: PhantomData<&'a EntryList>,
}

impl Default for Entries<'_> {
    fn default() -> Self {
        Self { at: EntryPlace::END, list: PhantomData }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = EntryRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<EntryRef<'a>> {
        // SAFETY: the list is borrowed for `'a`, so its arena lives that long (contract of `EntryList::new`).
        unsafe {
            let entry = self.at.get()?;
            self.at = self.at.next();
            Some(entry)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn entry(version: u64, seq: u64, value: &[u8]) -> EntryRef<'_> {
        EntryRef {
            version: Version(version),
            seq: Seq(seq),
            kind: Kind::Put,
            meta: seq as u8,
            expires_at: seq * 3,
            value,
        }
    }

    #[test]
    fn any_order_of_links_gives_newest_first() {
        let stamps = [(5, 1), (5, 9), (u64::MAX, 2), (1, 7), (u64::MAX, 8), (3, 3), (5, 4)];
        for turn in 0..stamps.len() {
            let arena = Arena::new(0);
            let mut turned = stamps;
            turned.rotate_left(turn);
            let value = [7u8; 33];
            let of = |i: usize| entry(turned[i].0, turned[i].1, &value[..i * 5]);
            // SAFETY: `arena` outlives `list`.
            let list = unsafe { EntryList::new(NewEntry::new(&arena, &of(0))) };
            for i in 1..turned.len() {
                // SAFETY: the same arena.
                unsafe { list.link(NewEntry::new(&arena, &of(i))) };
            }
            let mut want: Vec<_> = (0..turned.len()).map(of).collect();
            want.sort_by(|a, b| a.order(b));
            assert_eq!(list.iter().collect::<Vec<_>>(), want);
        }
    }

    #[test]
    fn the_default_is_empty() {
        assert!(Entries::default().next().is_none());
    }
}
