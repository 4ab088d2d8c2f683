//! A node of the skiplist: one `(cf, user_key)`, its tower of links and its entries, in one arena block.
//!
//! ```text
//! link[height-1] ... link[1] link[0] | prefix u64 | cf u32 | key_bytes u16 | height u8 | - | entries | key
//!                                    ^ a node pointer points here
//! ```
//! The tower grows downwards from the head, so that the links that most reads need (the low ones), the head
//! and the start of the key lie in the same one or two cache lines.
//!
//! 1. Everything but the links and the entry list is written once, before the node is linked.
//! 2. `link[i]` is written before the node is linked at level `i`; who reaches a node at level `i` uses only
//!    links `0..=i` of it, and links are made from level 0 up.
//! 3. Linking is a release CAS, following a link an acquire load. A writer loads the link it puts into its
//!    node with acquire too, so whoever reaches a node sees it whole, and all that lies behind it.
//! 4. All nodes and entries of a list lie in the two arenas of its [`Nodes`], which go together, so a
//!    [`NodeRef`] lives as long as those are borrowed.
#![allow(unsafe_code)]

use core::cmp::Ordering as Order;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::slice;

use nokv_core::arena::entries::{EntryList, NewEntry};
use nokv_core::arena::{ALIGN, Arena};
use nokv_core::formats::{CfId, EntryRef, KeyRef, Kind, Seq, Version};
use nokv_core::sync::{AtomicPtr, Fixed, Ordering};

/// The highest tower. With a branching of 4 the search stays logarithmic up to 16 million keys.
pub const HEIGHT_MAX: usize = 12;

/// The head of a node.
#[repr(C)]
pub struct Node {
    prefix: u64,
    cf: u32,
    key_bytes: Fixed<u16>,
    height: u8,
    entries: EntryList,
}
const _: () = assert!(align_of::<Node>() <= ALIGN && align_of::<Link>() <= ALIGN);
const _: () = assert!(HEIGHT_MAX <= u8::MAX as usize);

type Link = AtomicPtr<Node>;

/// A key as the search compares it: most comparisons end at `(cf, prefix)`.
#[derive(Clone, Copy)]
pub struct Target<'k> {
    cf: u32,
    prefix: u64,
    user_key: &'k [u8],
}

impl<'k> Target<'k> {
    /// The target `key`.
    #[inline]
    pub fn new(key: KeyRef<'k>) -> Self {
        Self { cf: key.cf.0, prefix: prefix(key.user_key), user_key: key.user_key }
    }
}

/// The first 8 bytes, big-endian, padded with zeros: orders as the keys do, where it differs.
#[inline]
fn prefix(user_key: &[u8]) -> u64 {
    if let Some(first) = user_key.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; 8];
    bytes[..user_key.len()].copy_from_slice(user_key);
    u64::from_be_bytes(bytes)
}

/// Order of two user keys with equal prefixes.
#[inline]
fn order_behind_prefix(a: &[u8], b: &[u8]) -> Order {
    match (a.get(8..), b.get(8..)) {
        (Some(a), Some(b)) => a.cmp(b),
        // One ends within the prefix and the other is it, or goes on with zeros: the shorter is less.
        _ => a.len().cmp(&b.len()),
    }
}

/// A node of the list whose arena is borrowed for `'a`.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    node: NonNull<Node>,
    arena: PhantomData<&'a Arena>,
}

impl PartialEq for NodeRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl<'a> NodeRef<'a> {
    /// A node that is in no list. `first` lies in an arena that goes together with `arena`.
    fn new(arena: &'a Arena, key: Target<'_>, height: usize, first: NewEntry) -> Self {
        assert!((1..=HEIGHT_MAX).contains(&height));
        let key_bytes = u16::try_from(key.user_key.len()).expect("keys end at KEY_BYTES_MAX");
        let tower_bytes = (height * size_of::<Link>()).next_multiple_of(ALIGN);
        let block = arena.alloc(tower_bytes + size_of::<Node>() + key.user_key.len());
        // SAFETY: the block is ours, aligned, and as long as tower, head and key together. Both
        // arenas outlive every `NodeRef` (rule 4).
        unsafe {
            let node = block.add(tower_bytes).cast::<Node>();
            for level in 0..height {
                node.cast::<Link>().sub(level + 1).write(Link::new(ptr::null_mut()));
            }
            node.write(Node {
                prefix: key.prefix,
                cf: key.cf,
                key_bytes: Fixed::new(key_bytes),
                height: height as u8,
                entries: EntryList::new(first),
            });
            ptr::copy_nonoverlapping(
                key.user_key.as_ptr(),
                node.add(1).cast::<u8>().as_ptr(),
                key.user_key.len(),
            );
            Self { node, arena: PhantomData }
        }
    }

    /// The node that `raw` was made from.
    ///
    /// # Safety
    /// The arena of the node lives at least as long as `'a`.
    #[inline]
    pub const unsafe fn from_raw(raw: NonNull<Node>) -> Self {
        Self { node: raw, arena: PhantomData }
    }

    /// Without a lifetime.
    #[inline]
    pub const fn raw(self) -> NonNull<Node> {
        self.node
    }

    #[inline]
    fn head(self) -> &'a Node {
        // SAFETY: a `NodeRef` points to a node that was written whole (rule 3), in a living arena.
        unsafe { self.node.as_ref() }
    }

    #[inline]
    fn user_key(self) -> &'a [u8] {
        // SAFETY: the key lies behind the head in the same block, whose provenance node pointers keep.
        unsafe {
            slice::from_raw_parts(self.node.add(1).cast().as_ptr(), self.head().key_bytes.get() as usize)
        }
    }

    /// The key.
    #[inline]
    pub fn key(self) -> KeyRef<'a> {
        KeyRef::new(CfId(self.head().cf), self.user_key())
    }

    /// The key as a search compares it.
    #[inline]
    pub fn target(self) -> Target<'a> {
        Target { cf: self.head().cf, prefix: self.head().prefix, user_key: self.user_key() }
    }

    /// The entries.
    #[inline]
    pub fn entries(self) -> &'a EntryList {
        &self.head().entries
    }

    /// Order of this node's key and `key`.
    #[inline]
    pub fn order(self, key: &Target<'_>) -> Order {
        let head = self.head();
        if head.prefix == key.prefix && head.cf == key.cf {
            return order_behind_prefix(self.user_key(), key.user_key);
        }
        (head.cf, head.prefix).cmp(&(key.cf, key.prefix))
    }

    #[inline]
    fn link(self, level: usize) -> &'a Link {
        assert!(level < self.head().height as usize);
        // SAFETY: `height` links lie before the head in the same block.
        unsafe { self.node.cast::<Link>().sub(level + 1).as_ref() }
    }

    /// Asks the cache for the node that is next at `level`; reads nothing of it.
    #[inline]
    pub fn prefetch_next(self, level: usize) {
        #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // Relaxed: the address is a hint.
            let next = self.link(level).load(Ordering::Relaxed);
            // SAFETY: a prefetch faults on no address, and every x86_64 has it.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(next.cast());
                // The key behind the head may reach into the next line.
                _mm_prefetch::<_MM_HINT_T0>(next.cast::<i8>().wrapping_add(40));
            }
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, loom)))))]
        let _ = level;
    }

    /// The next node at `level`.
    #[inline]
    pub fn next(self, level: usize) -> Option<Self> {
        let next = NonNull::new(self.link(level).load(Ordering::Acquire))?;
        Some(Self { node: next, arena: PhantomData })
    }

    /// Makes `next` the next node at `level`. Only before this node is linked there.
    #[inline]
    pub fn set_next(self, level: usize, next: Option<Self>) {
        // Relaxed: the CAS that links this node publishes it.
        self.link(level).store(as_pointer(next), Ordering::Relaxed);
    }

    /// Links `new` behind this node at `level`, if the next one is still `expected`.
    #[inline]
    pub fn link_next(self, level: usize, expected: Option<Self>, new: Self) -> bool {
        self.link(level)
            .compare_exchange(as_pointer(expected), new.node.as_ptr(), Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }
}

/// The arenas, and the head of the list in them: a node without a key, before all others at every level.
///
/// Nodes lie apart from entries: a search touches many nodes and no value, so the nodes are kept on few
/// pages and cache lines of their own.
pub struct Nodes {
    arena: Arena,
    entries: Arena,
    head: NonNull<Node>,
}

// SAFETY: `head` points into the arenas beside it, which are `Send` and `Sync`; nodes change through atomics only.
unsafe impl Send for Nodes {}
// SAFETY: as above.
unsafe impl Sync for Nodes {}

impl Nodes {
    /// An empty list for about `bytes`.
    pub fn new(bytes: usize) -> Self {
        let (arena, entries) = (Arena::new(bytes / 4), Arena::new(bytes));
        let nothing = EntryRef {
            version: Version(0),
            seq: Seq::ZERO,
            kind: Kind::Delete,
            meta: 0,
            expires_at: 0,
            value: &[],
        };
        let key = Target::new(KeyRef::new(CfId(0), &[]));
        let head = NodeRef::new(&arena, key, HEIGHT_MAX, NewEntry::new(&entries, &nothing)).raw();
        Self { arena, entries, head }
    }

    /// A node that is in no list: all links are null.
    #[inline]
    pub fn node(&self, key: Target<'_>, height: usize, entry: &EntryRef<'_>) -> NodeRef<'_> {
        NodeRef::new(&self.arena, key, height, NewEntry::new(&self.entries, entry))
    }

    /// Adds `entry` to `node`, which is one of these.
    #[inline]
    pub fn add_entry(&self, node: NodeRef<'_>, entry: &EntryRef<'_>) {
        // SAFETY: node and entry lie in the arenas of `self` (rule 4).
        unsafe { node.head().entries.link(NewEntry::new(&self.entries, entry)) };
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.arena.memory_bytes() + self.entries.memory_bytes()
    }

    /// The head.
    #[inline]
    pub const fn head(&self) -> NodeRef<'_> {
        // SAFETY: the node lies in the arena that `self` owns.
        unsafe { NodeRef::from_raw(self.head) }
    }
}

#[inline]
fn as_pointer(node: Option<NodeRef<'_>>) -> *mut Node {
    node.map_or(ptr::null_mut(), |node| node.node.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_and_rest_order_as_the_keys_do() {
        let keys: &[&[u8]] = &[
            b"",
            b"\0",
            b"\0\0",
            b"\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\0\0",
            b"a",
            b"a\0",
            b"abcdefg",
            b"abcdefg\0",
            b"abcdefg\0\0",
            b"abcdefgh",
            b"abcdefgh\0",
            b"abcdefghi",
            b"\xff\xff",
        ];
        for a in keys {
            for b in keys {
                let got = prefix(a).cmp(&prefix(b)).then_with(|| order_behind_prefix(a, b));
                assert_eq!(got, a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
