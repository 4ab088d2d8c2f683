//! The cursor: owns the list, stands on a node and on one of its entries.
//!
//! Nodes and entries are never unlinked, so a place stays usable while others insert: moving on from it finds
//! all that was linked by then.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::ptr::NonNull;

use nokv_core::arena::entries::EntryPlace;
use nokv_core::formats::{EntryRef, KeyRef};
use nokv_core::{Cursor, Result};

use crate::list::Skiplist;
use crate::node::{Node, NodeRef};

/// A cursor over a [`Skiplist`].
pub struct SkiplistCursor {
    list: Arc<Skiplist>,
    /// A node of `list`.
    at: Option<NonNull<Node>>,
    /// An entry of that node.
    entry: EntryPlace,
}

// SAFETY: the pointers lead into the arena of `list`, which is `Send` and `Sync` and goes with the cursor;
// what lies there is immutable but for atomics.
unsafe impl Send for SkiplistCursor {}
// SAFETY: as above; moving takes `&mut self`.
unsafe impl Sync for SkiplistCursor {}

/// A node and its newest entry.
#[inline]
fn place(node: Option<NodeRef<'_>>) -> (Option<NonNull<Node>>, EntryPlace) {
    node.map_or((None, EntryPlace::END), |node| (Some(node.raw()), node.entries().first()))
}

impl SkiplistCursor {
    pub(crate) const fn new(list: Arc<Skiplist>) -> Self {
        Self { list, at: None, entry: EntryPlace::END }
    }

    /// Moves to where `find` says.
    #[inline]
    fn move_to(&mut self, find: impl for<'a> FnOnce(&'a Skiplist) -> Option<NodeRef<'a>>) -> Result<()> {
        (self.at, self.entry) = place(find(&self.list));
        Ok(())
    }

    fn node(&self) -> NodeRef<'_> {
        let raw = self.at.expect("the cursor is on a key");
        // SAFETY: the node is one of `list`, which owns its arena and lives as long as `self`.
        unsafe { NodeRef::from_raw(raw) }
    }
}

impl Cursor for SkiplistCursor {
    fn valid(&self) -> bool {
        self.at.is_some()
    }

    fn seek_first(&mut self) -> Result<()> {
        self.move_to(Skiplist::first)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.move_to(Skiplist::last)
    }

    fn seek(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.move_to(|list| list.at_or_after(key))
    }

    fn seek_for_prev(&mut self, key: KeyRef<'_>) -> Result<()> {
        self.move_to(|list| list.at_or_before(key))
    }

    fn next_key(&mut self) -> Result<()> {
        (self.at, self.entry) = place(self.node().next(0));
        Ok(())
    }

    fn prev_key(&mut self) -> Result<()> {
        (self.at, self.entry) = place(self.list.before(self.node()));
        Ok(())
    }

    fn key(&self) -> KeyRef<'_> {
        self.node().key()
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        // SAFETY: the entry lies in the arena of `list`, which lives as long as `self`.
        unsafe { self.entry.get() }
    }

    fn next_entry(&mut self) -> Result<()> {
        // SAFETY: as in `entry`.
        self.entry = unsafe { self.entry.next() };
        Ok(())
    }
}
