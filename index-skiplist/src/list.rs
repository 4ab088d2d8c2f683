//! Search and insert.
//!
//! 1. At each level the nodes are in strictly ascending key order, and a level holds a subset of the one below.
//! 2. A key has at most one node: level 0 is linked first, and of two writers of one key the one whose CAS at
//!    level 0 comes second finds the other's node and adds its entry there.
//! 3. A splice found before stays usable: its left node is never unlinked and stays less than the key, so a
//!    writer whose CAS failed walks on from there.

use alloc::sync::Arc;
use core::cmp::Ordering as Order;

use nokv_core::MemIndex;
use nokv_core::arena::entries::Entries;
use nokv_core::formats::{EntryRef, KeyRef};
use nokv_core::sync::{AtomicUsize, Ordering};

use crate::cursor::SkiplistCursor;
use crate::node::{HEIGHT_MAX, NodeRef, Nodes, Target};

/// Keeps what every insert writes away from what every read loads.
#[repr(align(128))]
struct Apart<T>(T);

/// The skiplist. See the crate's page.
pub struct Skiplist {
    nodes: Nodes,
    /// Levels that may hold a node. A reader that sees an old value only starts lower.
    height: AtomicUsize,
    inserts: Apart<AtomicUsize>,
}

/// At one level: the last node before a key, and the one behind it.
type Gap<'a> = (NodeRef<'a>, Option<NodeRef<'a>>);

/// A branching of 4: each two zero bits at the end of the hash are one level more.
fn tower_height(ordinal: usize) -> usize {
    let mut hash = (ordinal as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (1 + (hash ^ (hash >> 31)).trailing_zeros() as usize / 2).min(HEIGHT_MAX)
}

impl Skiplist {
    /// From `left` on at `level`, the gap where `key` belongs; `Err` with its node if there is one.
    #[inline]
    fn gap<'a>(
        mut left: NodeRef<'a>,
        level: usize,
        key: &Target<'_>,
        known_greater: Option<NodeRef<'a>>,
    ) -> Result<Gap<'a>, NodeRef<'a>> {
        loop {
            let next = left.next(level);
            // A node that was greater one level up is not compared again.
            let Some(node) = next else { return Ok((left, None)) };
            if next == known_greater {
                return Ok((left, next));
            }
            // The way goes on either to the right or down: have both underway before the comparison waits.
            if level > 0 {
                left.prefetch_next(level - 1);
            }
            match node.order(key) {
                Order::Less => left = node,
                Order::Equal => return Err(node),
                Order::Greater => return Ok((left, next)),
            }
        }
    }

    /// The gap of `key` at level 0, or its node.
    #[inline]
    fn locate(&self, key: &Target<'_>) -> Result<Gap<'_>, NodeRef<'_>> {
        let mut gap = (self.nodes.head(), None);
        for level in (0..self.height.load(Ordering::Relaxed)).rev() {
            gap = Self::gap(gap.0, level, key, gap.1)?;
        }
        Ok(gap)
    }

    /// The node of `key`.
    #[inline]
    pub(crate) fn find(&self, key: KeyRef<'_>) -> Option<NodeRef<'_>> {
        self.locate(&Target::new(key)).err()
    }

    /// The first node at or after `key`.
    pub(crate) fn at_or_after(&self, key: KeyRef<'_>) -> Option<NodeRef<'_>> {
        self.locate(&Target::new(key)).map_or_else(Some, |gap| gap.1)
    }

    /// The last node at or before `key`.
    pub(crate) fn at_or_before(&self, key: KeyRef<'_>) -> Option<NodeRef<'_>> {
        self.locate(&Target::new(key)).map_or_else(Some, |gap| self.not_head(gap.0))
    }

    /// The first node.
    pub(crate) fn first(&self) -> Option<NodeRef<'_>> {
        self.nodes.head().next(0)
    }

    /// The last node.
    pub(crate) fn last(&self) -> Option<NodeRef<'_>> {
        self.last_where(|_| true)
    }

    /// The last node before `node`.
    pub(crate) fn before<'a>(&'a self, node: NodeRef<'a>) -> Option<NodeRef<'a>> {
        let key = node.target();
        self.last_where(|node| node.order(&key) == Order::Less)
    }

    /// The last node of those that `is_before` holds for: a prefix of the list.
    fn last_where<'a>(&'a self, is_before: impl Fn(NodeRef<'a>) -> bool) -> Option<NodeRef<'a>> {
        let mut left = self.nodes.head();
        for level in (0..self.height.load(Ordering::Relaxed)).rev() {
            while let Some(next) = left.next(level)
                && is_before(next)
            {
                left = next;
            }
        }
        self.not_head(left)
    }

    fn not_head<'a>(&'a self, node: NodeRef<'a>) -> Option<NodeRef<'a>> {
        (node != self.nodes.head()).then_some(node)
    }

    /// Puts the entry at the node of `key`, which is made if there is none.
    fn add(&self, key: &Target<'_>, entry: &EntryRef<'_>, ordinal: usize) {
        let mut gaps = [(self.nodes.head(), None); HEIGHT_MAX];
        let mut gap = gaps[0];
        for level in (0..self.height.load(Ordering::Relaxed)).rev() {
            match Self::gap(gap.0, level, key, gap.1) {
                Ok(found) => gap = found,
                Err(node) => return self.nodes.add_entry(node, entry),
            }
            gaps[level] = gap;
        }

        let height = tower_height(ordinal);
        // Relaxed: a search from too low a level is slower, not wrong.
        self.height.fetch_max(height, Ordering::Relaxed);
        let new = self.nodes.node(*key, height, entry);
        for (level, gap) in gaps.iter_mut().enumerate().take(height) {
            loop {
                let (left, right) = *gap;
                new.set_next(level, right);
                if left.link_next(level, right, new) {
                    break;
                }
                match Self::gap(left, level, key, None) {
                    Ok(found) => *gap = found,
                    // Another writer linked this key between our search and our CAS. Our node is in no
                    // level yet and stays unused. Above level 0 there is no other node of the key (rule 2).
                    Err(node) => {
                        assert_eq!(level, 0, "a second node of one key");
                        return self.nodes.add_entry(node, entry);
                    }
                }
            }
        }
    }
}

impl MemIndex for Skiplist {
    type Config = ();
    type Entries<'a> = Entries<'a>;
    type Cursor = SkiplistCursor;

    fn new((): &(), bytes: usize) -> Self {
        Self { nodes: Nodes::new(bytes), height: AtomicUsize::new(1), inserts: Apart(AtomicUsize::new(0)) }
    }

    fn insert(&self, key: KeyRef<'_>, entry: &EntryRef<'_>) {
        let ordinal = self.inserts.0.fetch_add(1, Ordering::Relaxed);
        self.add(&Target::new(key), entry, ordinal);
    }

    fn entries(&self, key: KeyRef<'_>) -> Entries<'_> {
        self.find(key).map(|node| node.entries().iter()).unwrap_or_default()
    }

    fn cursor(self: &Arc<Self>) -> SkiplistCursor {
        SkiplistCursor::new(self.clone())
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.nodes.memory_bytes()
    }

    fn len(&self) -> usize {
        self.inserts.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn towers_have_a_branching_of_four() {
        let mut of_height = [0; HEIGHT_MAX + 1];
        for ordinal in 0..1 << 16 {
            of_height[tower_height(ordinal)] += 1;
        }
        assert_eq!(of_height[0], 0);
        for height in 1..5 {
            let rest: i32 = of_height[height..].iter().sum();
            let above = rest - of_height[height];
            assert!((rest / 5..=rest / 3).contains(&above), "{of_height:?}");
        }
    }
}
