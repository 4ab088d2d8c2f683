//! [`MemIndex`] as an adaptive radix tree in an arena: nodes of 4, 16, 48 and 256 children, path compression,
//! and at each inner node a terminal slot for the key that ends there. A leaf is one `(cf, user_key)` with
//! its entries; the bytes that the tree branches on are the family, big-endian, and then the user key.
//!
//! An inner node does not keep its compressed path but the *depth* at which it branches and one leaf below
//! it, whose key has the path. A lookup skips compressed bytes and compares the whole key at the leaf; a
//! lookup that finds no child is a miss without a look at any key. And since a depth counts from the root, a
//! node that is put between two others leaves both unchanged.
//!
//! # Why it is sound
//!
//! Readers take no lock, wait for nobody and write nothing; writers lock the one or two nodes they change.
//!
//! 1. Nothing is freed or unlinked-and-reused before the whole arena: a pointer, once seen, stays good.
//! 2. Of a published node only these change: a child slot (from null to a child once, later from one child to
//!    another that covers the same keys), the bytes and count of keys of a small node (append only), the index
//!    of a 48-node (each byte once), the mark `replaced` (once). A leaf changes only in its entry list.
//! 3. What a slot leads to is written before the release store into the slot; readers load slots with
//!    acquire. A small node's key byte and slot are written before the release store of its count, which
//!    readers load with acquire; a 48-node's slot before the release store of its index byte. So a reader sees
//!    a child whole or not at all.
//! 4. A node's slots, count and index change only under its lock, and never after it was marked `replaced`:
//!    a writer checks the mark under the lock. A full node is replaced by a larger copy under the locks of
//!    itself and its parent: no child can be added meanwhile, so the copy misses none. A new node goes between
//!    a parent and a child under the parent's lock, after the check that the parent's slot still leads there.
//! 5. Hence a node without the mark is in the tree, and the keys below it are exactly those that share the
//!    first `depth` bytes with its leaf; a writer that came to it by an outdated way may still add to it.
//!    A writer whose check fails starts again from the root: another writer got ahead.
//! 6. A reader that starts after an insert returned loads every slot after it, so it comes by the new way. One
//!    that runs beside it may still be in a replaced node: it sees that part of the tree as it was, which is
//!    within what [`MemIndex`] promises. A cursor that kept its way checks it (see `cursor.rs`).
//! 7. Node locks are a fixed set of mutexes that nodes share by address; two are taken in the order of the
//!    set, and under them only the arena's own lock is taken, so no cycle is possible.
#![no_std]

extern crate alloc;

mod cursor;
mod key;
mod node;
mod seen;
mod tree;

pub use cursor::ArtCursor;
pub use nokv_core::MemIndex;
pub use tree::Art;
