//! Lookup and insert. The rules are on the crate's page.

use alloc::sync::Arc;
use core::ptr;

use nokv_core::MemIndex;
use nokv_core::arena::Arena;
use nokv_core::arena::entries::{Entries, NewEntry};
use nokv_core::each_new;
use nokv_core::formats::{EntryRef, KeyRef};
use nokv_core::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};

use crate::cursor::ArtCursor;
use crate::key::{Branch, TreeKey};
use crate::node::{self, InnerRef, LeafRef, Node, NodeRef, Slot};

/// How many node locks there are.
const LOCKS: usize = 16;

/// Keeps what writers write away from what every read loads.
#[repr(align(64))]
struct Apart<T>(T);

/// The adaptive radix tree. See the crate's page.
pub struct Art {
    root: Slot,
    /// Inner nodes lie apart from the rest: a search touches several of them, then one leaf and its entry.
    inners: Arena,
    /// Leaves and entries, a new leaf beside its entry.
    leaves: Arena,
    locks: [Apart<Mutex<()>>; LOCKS],
    inserts: Apart<AtomicUsize>,
}

/// A slot and the node it is in; the root's is in none.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Option<InnerRef<'a>>,
    slot: &'a Slot,
}

/// What an insert is to do, found without a lock.
enum Plan<'a> {
    /// The tree is empty.
    First,
    /// The key has a leaf.
    Found(LeafRef<'a>),
    /// The key belongs below `inner`, which lies at the place, at a branch without a child.
    Add(Place<'a>, InnerRef<'a>, Branch),
    /// The key parts at `depth` from the keys of `below`, which lies at the place.
    Fork { place: Place<'a>, below: NodeRef<'a>, depth: usize },
}

/// Another writer got ahead.
struct Outdated;

impl Art {
    /// What the root slot leads to.
    #[inline]
    pub(crate) fn root(&self) -> Option<NodeRef<'_>> {
        node::load(&self.root)
    }

    #[inline]
    fn find(&self, key: TreeKey<'_>) -> Option<LeafRef<'_>> {
        let mut at = self.root()?;
        loop {
            match at.get() {
                Node::Leaf(leaf) => return (leaf.key() == key).then_some(leaf),
                Node::Inner(inner) => at = inner.child(key.branch(inner.depth())?)?.1,
            }
        }
    }

    fn plan(&self, key: TreeKey<'_>) -> Result<Plan<'_>, Outdated> {
        let mut place = Place { parent: None, slot: &self.root };
        let Some(mut at) = self.root() else { return Ok(Plan::First) };
        let depth = loop {
            match at.get() {
                Node::Leaf(leaf) => match leaf.key().common(key) {
                    None => return Ok(Plan::Found(leaf)),
                    Some(common) => break common,
                },
                Node::Inner(inner) => {
                    let branch = key.branch(inner.depth());
                    if let Some((slot, child)) = branch.and_then(|branch| inner.child(branch)) {
                        place = Place { parent: Some(inner), slot };
                        at = child;
                        continue;
                    }
                    // The bytes on the way here were skipped. A leaf below has them; it is not the key's own,
                    // or there would have been a child.
                    let common = inner.leaf().key().common(key).ok_or(Outdated)?;
                    match branch {
                        Some(branch) if common >= inner.depth() => {
                            return Ok(Plan::Add(place, inner, branch));
                        }
                        _ => break common,
                    }
                }
            }
        };
        // All that `at` and the key went through together has other depths than the one where they part.
        if place.parent.is_none_or(|parent| parent.depth() < depth) {
            return Ok(Plan::Fork { place, below: at, depth });
        }
        self.plan_fork_above(key, depth)
    }

    /// The way from the root again, to the first node behind `depth`.
    #[cold]
    fn plan_fork_above(&self, key: TreeKey<'_>, depth: usize) -> Result<Plan<'_>, Outdated> {
        let mut place = Place { parent: None, slot: &self.root };
        let mut at = self.root().ok_or(Outdated)?;
        while let Node::Inner(inner) = at.get()
            && inner.depth() < depth
        {
            let branch = key.branch(inner.depth()).ok_or(Outdated)?;
            let (slot, child) = inner.child(branch).ok_or(Outdated)?;
            place = Place { parent: Some(inner), slot };
            at = child;
        }
        let parts_there = at.any_leaf().key().common(key) == Some(depth);
        let lies_behind = match at.get() {
            Node::Leaf(_) => true,
            Node::Inner(inner) => inner.depth() > depth,
        };
        if parts_there && lies_behind { Ok(Plan::Fork { place, below: at, depth }) } else { Err(Outdated) }
    }

    /// Puts a leaf where `plan` says, if that is still right. `leaf` makes it, once.
    fn carry_out<'a>(
        &'a self,
        plan: Plan<'a>,
        key: TreeKey<'_>,
        leaf: &mut impl FnMut() -> LeafRef<'a>,
    ) -> Result<(), Outdated> {
        match plan {
            Plan::Found(_) => unreachable!("an entry of a known key needs no leaf"),
            Plan::First => {
                let leaf = leaf();
                let _lock = self.lock(None);
                if self.root().is_some() {
                    return Err(Outdated);
                }
                node::store(&self.root, leaf.node());
            }
            Plan::Fork { place, below, depth } => {
                let leaf = leaf();
                let old = below.any_leaf().key().branch(depth).ok_or(Outdated)?;
                let new = key.branch(depth).ok_or(Outdated)?;
                let fork = InnerRef::fork(&self.inners, depth, (old, below), (new, leaf));
                let _lock = self.lock(place.parent);
                Self::check(place, below)?;
                node::store(place.slot, fork.node());
            }
            Plan::Add(place, inner, branch) => {
                let leaf = leaf();
                if branch == Branch::END || !inner.is_full() {
                    let _lock = self.lock(Some(inner));
                    if inner.is_replaced() || inner.child(branch).is_some() {
                        return Err(Outdated);
                    }
                    return if inner.add(branch, leaf.node()) { Ok(()) } else { Err(Outdated) };
                }
                let _locks = self.lock_both(place.parent, inner);
                Self::check(place, inner.node())?;
                // The place leads to `inner`, so it is not replaced.
                if inner.child(branch).is_some() {
                    return Err(Outdated);
                }
                let grown = inner.grown(&self.inners);
                let added = grown.add(branch, leaf.node());
                assert!(added, "a grown node has room");
                node::store(place.slot, grown.node());
                inner.set_replaced();
            }
        }
        Ok(())
    }

    /// Does the place still lead to `node`, and is it in the tree? Under its lock.
    fn check(place: Place<'_>, node: NodeRef<'_>) -> Result<(), Outdated> {
        let in_tree = place.parent.is_none_or(|parent| !parent.is_replaced());
        if in_tree && node::load(place.slot) == Some(node) { Ok(()) } else { Err(Outdated) }
    }

    /// The number of the lock that `node` has, or the root slot.
    fn lock_number(node: Option<InnerRef<'_>>) -> usize {
        // A schedule that runs again must meet the same locks, wherever its nodes lie.
        if cfg!(any(loom, shuttle)) {
            return node.map_or(0, |inner| 1 + inner.depth()) % LOCKS;
        }
        // Nodes are at least 64 bytes apart.
        node.map_or(0, |inner| (inner.node().raw().addr().get() >> 6).wrapping_mul(0x9e37_79b1) >> 7) % LOCKS
    }

    fn lock(&self, node: Option<InnerRef<'_>>) -> MutexGuard<'_, ()> {
        self.locks[Self::lock_number(node)].0.lock()
    }

    /// The locks of both, in their order; they may be one.
    fn lock_both(
        &self,
        parent: Option<InnerRef<'_>>,
        child: InnerRef<'_>,
    ) -> (MutexGuard<'_, ()>, Option<MutexGuard<'_, ()>>) {
        let (a, b) = (Self::lock_number(parent), Self::lock_number(Some(child)));
        let first = self.locks[a.min(b)].0.lock();
        (first, (a != b).then(|| self.locks[a.max(b)].0.lock()))
    }
}

impl MemIndex for Art {
    type Config = ();
    type Entries<'a> = Entries<'a>;
    type Cursor = ArtCursor;

    fn new((): &(), bytes: usize) -> Self {
        Self {
            root: Slot::new(ptr::null_mut()),
            inners: Arena::new(bytes / 4),
            leaves: Arena::new(bytes),
            locks: each_new!(Apart(Mutex::new(())); LOCKS),
            inserts: Apart(AtomicUsize::new(0)),
        }
    }

    fn insert(&self, key: KeyRef<'_>, entry: &EntryRef<'_>) {
        self.inserts.0.fetch_add(1, Ordering::Relaxed);
        let key = TreeKey::new(key);
        let mut made = None;
        let mut leaf = || {
            *made.get_or_insert_with(|| LeafRef::new(&self.leaves, key, NewEntry::new(&self.leaves, entry)))
        };
        loop {
            match self.plan(key) {
                // If we made a leaf for a key that another writer was faster to add, it stays unused.
                Ok(Plan::Found(found)) => return found.add_entry(NewEntry::new(&self.leaves, entry)),
                Ok(plan) => {
                    if self.carry_out(plan, key, &mut leaf).is_ok() {
                        return;
                    }
                }
                Err(Outdated) => {}
            }
        }
    }

    fn entries(&self, key: KeyRef<'_>) -> Entries<'_> {
        self.find(TreeKey::new(key)).map(|leaf| leaf.entries().iter()).unwrap_or_default()
    }

    fn cursor(self: &Arc<Self>) -> ArtCursor {
        ArtCursor::new(self.clone())
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.inners.memory_bytes() + self.leaves.memory_bytes()
    }

    fn len(&self) -> usize {
        self.inserts.0.load(Ordering::Relaxed)
    }
}
