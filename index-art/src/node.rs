//! The nodes: their bytes, the search in one, and the changes that the rules on the crate's page allow.
//!
//! ```text
//! leaf    kind - key_bytes cf | entries | key
//! inner   kind replaced count depth | leaf | terminal | then, by kind:
//!   4, 16   key bytes in words | slots          append only, in order of arrival; `count` of them hold
//!   48      index of 256 bytes | slots          0: none, else slot + 1
//!   256     slots
//! ```
//! All lie in the arenas of one tree, which go together: a reference lives as long as those are borrowed. Methods under "locked" need the node's lock.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::slice;

use nokv_core::arena::entries::{EntryList, NewEntry};
use nokv_core::arena::{ALIGN, Arena};
use nokv_core::each_new;
use nokv_core::formats::{CfId, KeyRef};
use nokv_core::sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicUsize, Fixed, Ordering};

use crate::key::{Branch, TreeKey};
use crate::seen::Seen;

/// What every node starts with.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Leaf,
    Four,
    Sixteen,
    FortyEight,
    Full,
}

/// A node of unknown kind: no more than its first byte, so that a reference to it covers no atomics.
#[repr(C)]
pub struct Any {
    kind: Kind,
}

/// A link to a child.
pub type Slot = AtomicPtr<Any>;

#[repr(C, align(8))]
struct Leaf {
    kind: Kind,
    key_bytes: Fixed<u16>,
    cf: u32,
    entries: EntryList,
}

#[repr(C, align(8))]
struct Head {
    kind: Kind,
    replaced: AtomicBool,
    count: AtomicU16,
    /// Where the keys below part; all before is the same in them.
    depth: Fixed<u32>,
    /// A leaf below.
    leaf: NonNull<Any>,
    terminal: Slot,
}

/// Key bytes of a small node, in words that are searched whole. Byte `i` is lane `i % LANES` of its word.
struct Bytes<const WORDS: usize>([AtomicUsize; WORDS]);

const LANES: usize = size_of::<usize>();
const ONES: usize = usize::MAX / 255;

#[repr(C)]
struct Small<const WORDS: usize, const N: usize> {
    head: Head,
    bytes: Bytes<WORDS>,
    slots: [Slot; N],
}

type Four = Small<{ 4usize.div_ceil(LANES) }, 4>;
type Sixteen = Small<{ 16usize.div_ceil(LANES) }, 16>;

#[repr(C)]
struct FortyEight {
    head: Head,
    index: [AtomicU8; 256],
    slots: [Slot; 48],
}

#[repr(C)]
struct Full {
    head: Head,
    slots: [Slot; 256],
}

const _: () = assert!(align_of::<Leaf>() <= ALIGN && align_of::<Head>() <= ALIGN);
const _: () = assert!(align_of::<Full>() <= ALIGN && align_of::<Four>() <= ALIGN);

impl<const WORDS: usize> Bytes<WORDS> {
    /// Where `byte` is among the first `count`.
    #[inline]
    fn find(&self, byte: u8, count: usize) -> Option<usize> {
        for (i, word) in self.0.iter().enumerate() {
            let difference = word.load(Ordering::Relaxed) ^ (ONES * byte as usize);
            // The lowest set bit is in the first lane that is zero; lanes above it may be set wrongly.
            let zeros = difference.wrapping_sub(ONES) & !difference & (ONES << 7);
            if zeros != 0 {
                let at = i * LANES + zeros.trailing_zeros() as usize / 8;
                return (at < count).then_some(at);
            }
        }
        None
    }

    #[inline]
    fn get(&self, at: usize) -> u8 {
        (self.0[at / LANES].load(Ordering::Relaxed) >> (at % LANES * 8)) as u8
    }

    /// Sets byte `at`, which is still zero. Locked.
    fn set(&self, at: usize, byte: u8) {
        let word = &self.0[at / LANES];
        word.store(word.load(Ordering::Relaxed) | (byte as usize) << (at % LANES * 8), Ordering::Relaxed);
    }
}

impl<const WORDS: usize, const N: usize> Small<WORDS, N> {
    const HOLDS: () = assert!(WORDS * LANES >= N);

    #[inline]
    fn slot(&self, byte: u8) -> Option<&Slot> {
        let count = self.head.count.load(Ordering::Acquire) as usize;
        self.bytes.find(byte, count).map(|at| &self.slots[at])
    }

    /// The least byte from `first` on, and its slot.
    #[inline]
    fn next(&self, first: u8, seen: &mut Seen) -> Option<(u8, &Slot)> {
        self.look(seen);
        let byte = seen.next(first)?;
        Some((byte, self.slot(byte)?))
    }

    /// The greatest byte up to `last`, and its slot.
    #[inline]
    fn prev(&self, last: u8, seen: &mut Seen) -> Option<(u8, &Slot)> {
        self.look(seen);
        let byte = seen.prev(last)?;
        Some((byte, self.slot(byte)?))
    }

    /// Makes `seen` what there is now.
    #[inline]
    fn look(&self, seen: &mut Seen) {
        let count = self.head.count.load(Ordering::Acquire);
        if count != seen.count() {
            *seen = Seen::of(count);
            (0..count as usize).for_each(|at| seen.add(self.bytes.get(at)));
        }
    }

    /// Locked.
    fn add(&self, byte: u8, child: *mut Any) -> bool {
        let count = self.head.count.load(Ordering::Relaxed);
        let Some(slot) = self.slots.get(count as usize) else { return false };
        self.bytes.set(count as usize, byte);
        slot.store(child, Ordering::Release);
        self.head.count.store(count + 1, Ordering::Release);
        true
    }
}

impl FortyEight {
    #[inline]
    fn slot(&self, byte: u8) -> Option<&Slot> {
        let at = self.index[byte as usize].load(Ordering::Acquire);
        self.slots.get((at as usize).wrapping_sub(1))
    }

    /// Locked.
    fn add(&self, byte: u8, child: *mut Any) -> bool {
        let count = self.head.count.load(Ordering::Relaxed);
        let Some(slot) = self.slots.get(count as usize) else { return false };
        slot.store(child, Ordering::Release);
        self.index[byte as usize].store(count as u8 + 1, Ordering::Release);
        self.head.count.store(count + 1, Ordering::Relaxed);
        true
    }
}

/// A node of the tree whose arena is borrowed for `'a`.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    node: NonNull<Any>,
    arena: PhantomData<&'a Arena>,
}

impl PartialEq for NodeRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

/// A leaf.
#[derive(Clone, Copy)]
pub struct LeafRef<'a>(NodeRef<'a>);

/// An inner node.
#[derive(Clone, Copy)]
pub struct InnerRef<'a>(NodeRef<'a>);

/// A node by what it is.
pub enum Node<'a> {
    /// A leaf.
    Leaf(LeafRef<'a>),
    /// An inner node.
    Inner(InnerRef<'a>),
}

/// An inner node by its kind.
enum Body<'a> {
    Four(&'a Four),
    Sixteen(&'a Sixteen),
    FortyEight(&'a FortyEight),
    Full(&'a Full),
}

/// The node that a slot of a tree leads to, whose arena is borrowed for `'a` with the slot.
#[inline]
pub fn load(slot: &Slot) -> Option<NodeRef<'_>> {
    NonNull::new(slot.load(Ordering::Acquire)).map(|node| NodeRef { node, arena: PhantomData })
}

/// Makes `slot` lead to `node`. Under the lock of the node that the slot is in.
pub fn store(slot: &Slot, node: NodeRef<'_>) {
    slot.store(node.node.as_ptr(), Ordering::Release);
}

impl<'a> NodeRef<'a> {
    /// The node that `raw` was made from.
    ///
    /// # Safety
    /// The arena of the node lives at least as long as `'a`.
    #[inline]
    pub const unsafe fn from_raw(raw: NonNull<Any>) -> Self {
        Self { node: raw, arena: PhantomData }
    }

    /// Without a lifetime.
    #[inline]
    pub const fn raw(self) -> NonNull<Any> {
        self.node
    }

    #[inline]
    fn kind(self) -> Kind {
        // SAFETY: every node starts with its kind, which is written once, before the node is published.
        unsafe { self.node.as_ref() }.kind
    }

    /// By what it is.
    #[inline]
    pub fn get(self) -> Node<'a> {
        if self.kind() == Kind::Leaf { Node::Leaf(LeafRef(self)) } else { Node::Inner(InnerRef(self)) }
    }

    /// A leaf at or below it.
    pub fn any_leaf(self) -> LeafRef<'a> {
        match self.get() {
            Node::Leaf(leaf) => leaf,
            Node::Inner(inner) => inner.leaf(),
        }
    }
}

impl<'a> LeafRef<'a> {
    /// A leaf that is in no tree yet. `first` lies in an arena that goes together with `arena`.
    pub fn new(arena: &'a Arena, key: TreeKey<'_>, first: NewEntry) -> Self {
        let KeyRef { cf, user_key } = key.to_ref();
        let key_bytes = u16::try_from(user_key.len()).expect("keys end at KEY_BYTES_MAX");
        let leaf = arena.alloc(size_of::<Leaf>() + user_key.len()).cast::<Leaf>();
        // SAFETY: the block is ours, aligned, and long enough for the head and the key. The arenas of
        // leaf and entry go together, after every reference into them.
        unsafe {
            leaf.write(Leaf {
                kind: Kind::Leaf,
                key_bytes: Fixed::new(key_bytes),
                cf: cf.0,
                entries: EntryList::new(first),
            });
            ptr::copy_nonoverlapping(user_key.as_ptr(), leaf.add(1).cast().as_ptr(), user_key.len());
        }
        Self(NodeRef { node: leaf.cast(), arena: PhantomData })
    }

    #[inline]
    fn head(self) -> &'a Leaf {
        // SAFETY: `self` was made only of a node that is a leaf, in a living arena.
        unsafe { self.0.node.cast().as_ref() }
    }

    /// As a node.
    #[inline]
    pub const fn node(self) -> NodeRef<'a> {
        self.0
    }

    /// The key.
    #[inline]
    pub fn key(self) -> TreeKey<'a> {
        let head = self.head();
        // SAFETY: the key lies behind the head in the same block, whose provenance node pointers keep.
        let user_key = unsafe {
            slice::from_raw_parts(
                self.0.node.cast::<Leaf>().add(1).cast().as_ptr(),
                head.key_bytes.get() as usize,
            )
        };
        TreeKey::new(KeyRef::new(CfId(head.cf), user_key))
    }

    /// The entries.
    #[inline]
    pub fn entries(self) -> &'a EntryList {
        &self.head().entries
    }

    /// Adds `new`, which lies in an arena that goes together with this leaf's.
    pub fn add_entry(self, new: NewEntry) {
        // SAFETY: the arenas of both outlive every reference into them.
        unsafe { self.head().entries.link(new) };
    }
}

impl<'a> InnerRef<'a> {
    /// A node where two keys part at `depth`.
    pub fn fork(
        arena: &'a Arena,
        depth: usize,
        old: (Branch, NodeRef<'a>),
        new: (Branch, LeafRef<'a>),
    ) -> Self {
        let inner = Self::alloc(arena, Kind::Four, depth as u32, new.1.0.node, ptr::null_mut());
        let added = inner.add(old.0, old.1) && inner.add(new.0, new.1.0);
        assert!(added, "four slots hold two children");
        inner
    }

    fn alloc(arena: &'a Arena, kind: Kind, depth: u32, leaf: NonNull<Any>, terminal: *mut Any) -> Self {
        let head = Head {
            kind,
            replaced: AtomicBool::new(false),
            count: AtomicU16::new(0),
            depth: Fixed::new(depth),
            leaf,
            terminal: Slot::new(terminal),
        };
        fn put<T>(arena: &Arena, node: T) -> NonNull<Any> {
            const { assert!(align_of::<T>() <= ALIGN) };
            let block = arena.alloc(size_of::<T>()).cast::<T>();
            // SAFETY: the block is ours, aligned and large enough.
            unsafe { block.write(node) };
            block.cast()
        }
        fn small<const WORDS: usize, const N: usize>(head: Head) -> Small<WORDS, N> {
            let () = Small::<WORDS, N>::HOLDS;
            Small {
                head,
                bytes: Bytes(each_new!(AtomicUsize::new(0); WORDS)),
                slots: each_new!(Slot::new(ptr::null_mut()); N),
            }
        }
        let node = match kind {
            Kind::Leaf | Kind::Four => put::<Four>(arena, small(head)),
            Kind::Sixteen => put::<Sixteen>(arena, small(head)),
            Kind::FortyEight => put(
                arena,
                FortyEight {
                    head,
                    index: each_new!(AtomicU8::new(0); 256),
                    slots: each_new!(Slot::new(ptr::null_mut()); 48),
                },
            ),
            Kind::Full => put(arena, Full { head, slots: each_new!(Slot::new(ptr::null_mut()); 256) }),
        };
        Self(NodeRef { node, arena: PhantomData })
    }

    #[inline]
    fn head(self) -> &'a Head {
        // SAFETY: `self` was made only of a node that is not a leaf, and those start with a `Head`.
        unsafe { self.0.node.cast().as_ref() }
    }

    #[inline]
    fn body(self) -> Body<'a> {
        let node = self.0.node;
        // SAFETY: the kind says which type was written there; all that changes later is atomic.
        unsafe {
            match self.0.kind() {
                Kind::Leaf | Kind::Four => Body::Four(node.cast().as_ref()),
                Kind::Sixteen => Body::Sixteen(node.cast().as_ref()),
                Kind::FortyEight => Body::FortyEight(node.cast().as_ref()),
                Kind::Full => Body::Full(node.cast().as_ref()),
            }
        }
    }

    /// As a node.
    #[inline]
    pub const fn node(self) -> NodeRef<'a> {
        self.0
    }

    /// How many first bytes the keys below share.
    #[inline]
    pub fn depth(self) -> usize {
        self.head().depth.get() as usize
    }

    /// A leaf below.
    pub fn leaf(self) -> LeafRef<'a> {
        LeafRef(NodeRef { node: self.head().leaf, arena: PhantomData })
    }

    /// Has a larger copy taken its place?
    #[inline]
    pub fn is_replaced(self) -> bool {
        self.head().replaced.load(Ordering::Acquire)
    }

    /// Marks it as replaced. Locked, after its copy is in its place.
    pub fn set_replaced(self) {
        self.head().replaced.store(true, Ordering::Release);
    }

    /// The slot of `branch`, if it was ever filled, and its child.
    #[inline]
    pub fn child(self, branch: Branch) -> Option<(&'a Slot, NodeRef<'a>)> {
        let slot = match branch.to_byte() {
            None => Some(&self.head().terminal),
            Some(byte) => match self.body() {
                Body::Four(node) => node.slot(byte),
                Body::Sixteen(node) => node.slot(byte),
                Body::FortyEight(node) => node.slot(byte),
                Body::Full(node) => Some(&node.slots[byte as usize]),
            },
        }?;
        Some((slot, load(slot)?))
    }

    /// The first child, behind `branch` if one is given. `seen` is of this node, or new.
    #[inline]
    pub fn next(self, branch: Option<Branch>, seen: &mut Seen) -> Option<(Branch, NodeRef<'a>)> {
        let first = match branch {
            None => {
                if let Some(child) = load(&self.head().terminal) {
                    return Some((Branch::END, child));
                }
                0
            }
            Some(branch) => branch.to_byte().map_or(Some(0), |byte| byte.checked_add(1))?,
        };
        let (byte, slot) = match self.body() {
            Body::Four(node) => node.next(first, seen)?,
            Body::Sixteen(node) => node.next(first, seen)?,
            Body::FortyEight(node) => (first..=u8::MAX).find_map(|byte| Some((byte, node.slot(byte)?)))?,
            Body::Full(node) => (first..=u8::MAX)
                .map(|byte| (byte, &node.slots[byte as usize]))
                .find(|(_, slot)| !slot.load(Ordering::Relaxed).is_null())?,
        };
        Some((Branch::byte(byte), load(slot)?))
    }

    /// The last child, before `branch` if one is given. `seen` is of this node, or new.
    pub fn prev(self, branch: Option<Branch>, seen: &mut Seen) -> Option<(Branch, NodeRef<'a>)> {
        let last = match branch {
            None => Some(u8::MAX),
            Some(branch) => branch.to_byte()?.checked_sub(1),
        };
        let found = last.and_then(|last| match self.body() {
            Body::Four(node) => node.prev(last, seen),
            Body::Sixteen(node) => node.prev(last, seen),
            Body::FortyEight(node) => (0..=last).rev().find_map(|byte| Some((byte, node.slot(byte)?))),
            Body::Full(node) => (0..=last)
                .rev()
                .map(|byte| (byte, &node.slots[byte as usize]))
                .find(|(_, slot)| !slot.load(Ordering::Relaxed).is_null()),
        });
        match found {
            Some((byte, slot)) => Some((Branch::byte(byte), load(slot)?)),
            None => Some((Branch::END, load(&self.head().terminal)?)),
        }
    }

    /// No slot is left for another byte. Only grows true.
    pub fn is_full(self) -> bool {
        let count = self.head().count.load(Ordering::Relaxed);
        match self.0.kind() {
            Kind::Leaf | Kind::Four => count >= 4,
            Kind::Sixteen => count >= 16,
            Kind::FortyEight => count >= 48,
            Kind::Full => false,
        }
    }

    /// Adds a child where none is; false if there is no room. Locked.
    pub fn add(self, branch: Branch, child: NodeRef<'a>) -> bool {
        let child = child.node.as_ptr();
        let Some(byte) = branch.to_byte() else {
            self.head().terminal.store(child, Ordering::Release);
            return true;
        };
        match self.body() {
            Body::Four(node) => node.add(byte, child),
            Body::Sixteen(node) => node.add(byte, child),
            Body::FortyEight(node) => node.add(byte, child),
            Body::Full(node) => {
                node.slots[byte as usize].store(child, Ordering::Release);
                true
            }
        }
    }

    /// A copy of the next larger kind. Locked until it took this node's place.
    pub fn grown(self, arena: &'a Arena) -> Self {
        let head = self.head();
        let kind = match self.0.kind() {
            Kind::Leaf | Kind::Four => Kind::Sixteen,
            Kind::Sixteen => Kind::FortyEight,
            Kind::FortyEight | Kind::Full => Kind::Full,
        };
        let terminal = head.terminal.load(Ordering::Acquire);
        let copy = Self::alloc(arena, kind, head.depth.get(), head.leaf, terminal);
        let (mut last, mut seen) = (Some(Branch::END), Seen::NOTHING);
        while let Some((branch, child)) = self.next(last, &mut seen) {
            let added = copy.add(branch, child);
            assert!(added, "the larger kind holds all");
            last = Some(branch);
        }
        copy
    }
}
