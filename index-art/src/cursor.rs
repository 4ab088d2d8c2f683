//! The cursor: owns the tree, stands on a leaf, and remembers the way to it.
//!
//! A seek goes down from the root without a look at the compressed bytes, compares the key with a leaf there,
//! and so finds the node where the key parts from the tree: all below that node lies before the key, or all
//! behind it.
//!
//! A step climbs the remembered way, and checks each part of it first: if a node is not marked `replaced` and
//! its slot still leads to the part below, then that is the way of now (rule 5 of the crate's page: what is
//! not replaced is in the tree), and a key that was inserted before the step is at or above the next part. If
//! a check fails, the cursor seeks its key again and steps from there: that way was found after the step
//! began, so it needs no check.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;

use nokv_core::arena::entries::EntryPlace;
use nokv_core::formats::{EntryRef, KeyRef};
use nokv_core::{Cursor, Result};

use crate::key::{Branch, TreeKey};
use crate::node::{Any, InnerRef, LeafRef, Node, NodeRef};
use crate::seen::Seen;
use crate::tree::Art;

/// Which way a move goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
}

impl Way {
    /// The nearest child this way, from `branch` if one is given, else the first of all.
    #[inline]
    fn child<'a>(
        self,
        inner: InnerRef<'a>,
        branch: Option<Branch>,
        seen: &mut Seen,
    ) -> Option<(Branch, NodeRef<'a>)> {
        match self {
            Self::Forward => inner.next(branch, seen),
            Self::Back => inner.prev(branch, seen),
        }
    }
}

/// An inner node on the way, and where the way goes on.
#[derive(Clone, Copy)]
struct Step {
    inner: NonNull<Any>,
    branch: Branch,
    /// What was seen of `inner`.
    seen: Seen,
}

/// A cursor over an [`Art`].
pub struct ArtCursor {
    tree: Arc<Art>,
    /// From the root to the leaf; nodes of `tree`.
    way: Vec<Step>,
    /// A leaf of `tree`.
    leaf: Option<NonNull<Any>>,
    /// An entry of that leaf.
    entry: EntryPlace,
}

// SAFETY: the pointers lead into the arena of `tree`, which is `Send` and `Sync` and goes with the cursor;
// what lies there is immutable but for atomics.
unsafe impl Send for ArtCursor {}
// SAFETY: as above; moving takes `&mut self`.
unsafe impl Sync for ArtCursor {}

/// The node of the tree whose arena is borrowed with `tree`.
#[inline]
fn resolve(_tree: &Art, raw: NonNull<Any>) -> NodeRef<'_> {
    // SAFETY: called only with nodes of the cursor's own tree (fields `way` and `leaf`).
    unsafe { NodeRef::from_raw(raw) }
}

fn inner_of(tree: &Art, step: Step) -> InnerRef<'_> {
    match resolve(tree, step.inner).get() {
        Node::Inner(inner) => inner,
        Node::Leaf(_) => unreachable!("steps are made of inner nodes"),
    }
}

impl ArtCursor {
    pub(crate) const fn new(tree: Arc<Art>) -> Self {
        Self { tree, way: Vec::new(), leaf: None, entry: EntryPlace::END }
    }

    fn leaf(&self) -> LeafRef<'_> {
        resolve(&self.tree, self.leaf.expect("the cursor is on a key")).any_leaf()
    }

    fn stand_on(&mut self, leaf: Option<(NonNull<Any>, EntryPlace)>) {
        (self.leaf, self.entry) = leaf.map_or((None, EntryPlace::END), |(leaf, entry)| (Some(leaf), entry));
    }

    /// To the first leaf, in the direction of `way`, at or below `node`.
    fn descend(&mut self, node: NonNull<Any>, way: Way) {
        let mut at = resolve(&self.tree, node);
        let found = loop {
            match at.get() {
                Node::Leaf(leaf) => break Some((leaf.node().raw(), leaf.entries().first())),
                Node::Inner(inner) => {
                    // An inner node has children from its first moment on.
                    let mut seen = Seen::NOTHING;
                    let Some((branch, child)) = way.child(inner, None, &mut seen) else { break None };
                    self.way.push(Step { inner: inner.node().raw(), branch, seen });
                    at = child;
                }
            }
        };
        self.stand_on(found);
    }

    /// To the nearest leaf behind the way, which is a way of now.
    fn ascend(&mut self, way: Way) {
        let tree = &*self.tree;
        while let Some(step) = self.way.last_mut() {
            let inner = inner_of(tree, *step);
            if let Some((branch, child)) = way.child(inner, Some(step.branch), &mut step.seen) {
                let child = child.raw();
                step.branch = branch;
                return self.descend(child, way);
            }
            self.way.pop();
        }
        self.stand_on(None);
    }

    /// To the extreme leaf of the tree.
    fn seek_end(&mut self, way: Way) {
        self.way.clear();
        match self.tree.root().map(NodeRef::raw) {
            Some(root) => self.descend(root, way),
            None => self.stand_on(None),
        }
    }

    /// To `key`, or to the nearest key this way.
    fn seek_key(&mut self, key: TreeKey<'_>, way: Way) {
        self.way.clear();
        let tree = &*self.tree;
        let Some(mut at) = tree.root() else { return self.stand_on(None) };
        let (leaf, missing) = loop {
            match at.get() {
                Node::Leaf(leaf) => break (leaf, None),
                Node::Inner(inner) => {
                    let branch = key.branch(inner.depth());
                    let Some((branch, child)) =
                        branch.and_then(|branch| Some((branch, inner.child(branch)?.1)))
                    else {
                        break (inner.leaf(), Some((inner, branch)));
                    };
                    self.way.push(Step { inner: inner.node().raw(), branch, seen: Seen::NOTHING });
                    at = child;
                }
            }
        };
        let Some(depth) = leaf.key().common(key) else {
            // The leaf of an inner node was below it before any reader came, so it is not the key's.
            let place = Some((leaf.node().raw(), leaf.entries().first()));
            return self.stand_on(place);
        };
        if let Some((inner, Some(branch))) = missing
            && depth >= inner.depth()
        {
            // The key belongs into this node, where it has no child.
            self.way.push(Step { inner: inner.node().raw(), branch, seen: Seen::NOTHING });
            return self.ascend(way);
        }
        // The key parts at `depth` from all below the first node behind that depth.
        let mut apart = at.raw();
        while let Some(step) = self.way.last()
            && inner_of(tree, *step).depth() > depth
        {
            apart = step.inner;
            self.way.pop();
        }
        let lies = if key.branch(depth) < leaf.key().branch(depth) { Way::Forward } else { Way::Back };
        if lies == way { self.descend(apart, way) } else { self.ascend(way) }
    }

    /// To the nearest key this way from the one it stands on.
    fn step(&mut self, way: Way) {
        let leaf = self.leaf.expect("the cursor is on a key");
        let tree = &*self.tree;
        let mut below = resolve(tree, leaf);
        while let Some(step) = self.way.last_mut() {
            let inner = inner_of(tree, *step);
            if inner.is_replaced() || inner.child(step.branch).map(|found| found.1) != Some(below) {
                return self.step_anew(way);
            }
            if let Some((branch, child)) = way.child(inner, Some(step.branch), &mut step.seen) {
                let child = child.raw();
                step.branch = branch;
                return self.descend(child, way);
            }
            below = inner.node();
            self.way.pop();
        }
        if tree.root() == Some(below) { self.stand_on(None) } else { self.step_anew(way) }
    }

    /// The step by a new way.
    #[cold]
    fn step_anew(&mut self, way: Way) {
        let tree = self.tree.clone();
        let key = resolve(&tree, self.leaf.expect("the cursor is on a key")).any_leaf().key();
        self.seek_key(key, way);
        self.ascend(way);
    }
}

impl Cursor for ArtCursor {
    fn valid(&self) -> bool {
        self.leaf.is_some()
    }

    fn seek_first(&mut self) -> Result<()> {
        self.seek_end(Way::Forward);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.seek_end(Way::Back);
        Ok(())
    }

    fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.seek_key(TreeKey::new(key), Way::Forward);
        Ok(())
    }

    fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.seek_key(TreeKey::new(key), Way::Back);
        Ok(())
    }

    fn next_key(&mut self) -> Result<()> {
        self.step(Way::Forward);
        Ok(())
    }

    fn prev_key(&mut self) -> Result<()> {
        self.step(Way::Back);
        Ok(())
    }

    fn key(&self) -> KeyRef<'_> {
        self.leaf().key().to_ref()
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        // SAFETY: the entry lies in the arena of `tree`, which lives as long as `self`.
        unsafe { self.entry.get() }
    }

    fn next_entry(&mut self) -> Result<()> {
        // SAFETY: as in `entry`.
        self.entry = unsafe { self.entry.next() };
        Ok(())
    }
}
