//! What is kept of one key, and the blocks that nodes lie in.
//!
//! ```text
//! bucket -> head: one group -> block: one group -> block: two -> block: four -> ...
//!           group: 8 tags | 8 nodes | 8 windows      tag = half of the key's print; 0: the place is free
//! ```
//! Who may call it: `bucket`, `report`.
//! 1. A node is never freed before its ring, so a reader that stands on one cannot dangle; what it holds may
//!    change to another key under the reader, which then counts one touch for the wrong key and harms nothing else.
//! 2. A touch is one addition. Without a window it is to `touches`, which only rises while a key holds the node: the
//!    count is `touches - base`, and decay and removal write only `base`. With a window it is to a word of that, and
//!    `touches` takes up what leaves the words, for the ring's total.
//! 3. `base == REMOVED`: the key was removed. Its tag stays, so that it cannot come to stand in two places. The mark is
//!    set and taken off under the bucket's claim: a place that just changes hands is never marked for its old key.
//! 4. The key's bytes are for reports; touches compare prints (128 bits). Nobody waits for `key` while touching.

use alloc::boxed::Box;
use alloc::vec::Vec;

use nokv_formats::key::key_print;
use nokv_formats::{CfId, KeyBuf, KeyRef};

use super::once::OnceBox;
use super::window::{self, Window};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Nodes of a group.
pub(super) const GROUP: usize = 8;
/// Tag of a place whose node is being given to another key.
pub(super) const BUSY: u64 = u64::MAX;
/// `base` of a key that was removed.
pub(super) const REMOVED: u64 = u64::MAX;
/// Longer keys are counted, but reports leave them out: their bytes are not kept.
pub const REPORTED_KEY_BYTES_MAX: usize = 1024;

/// What stands for a key: 128 bits of hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Print {
    /// The tag: neither 0 nor [`BUSY`]. Its low bits decide sampling, those from bit 32 on choose the bucket.
    pub(super) tag: u64,
    /// The other half, not 0.
    pub(super) check: u64,
}

impl Print {
    #[inline(always)]
    pub(super) fn of(key: KeyRef<'_>, seed: u64) -> Self {
        let (tag, check) = key_print(key, seed);
        Self { tag: if tag == 0 || tag == BUSY { 1 } else { tag }, check: check.max(1) }
    }
}

/// The state of one key.
pub(super) struct Node {
    /// Second half of the print; 0 while the key that took a free place is still being written.
    pub(super) check: AtomicU64,
    pub(super) touches: AtomicU64,
    pub(super) base: AtomicU64,
    /// What the key was credited with when it took another key's place (a window word; tick 0 without a window).
    /// Counts for its rank among the coldest only.
    pub(super) head_start: AtomicU64,
    /// Family and user key; empty when too long.
    pub(super) key: Mutex<Box<[u8]>>,
}

/// Nodes with their tags in front: finding one reads one line.
#[repr(C, align(64))]
pub(super) struct Group {
    pub(super) tags: [AtomicU64; GROUP],
    nodes: [Node; GROUP],
    /// Window words, `words_each` for each node.
    words: Box<[AtomicU64]>,
    words_each: usize,
    window_slots: u32,
}
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<[AtomicU64; GROUP]>() == 64);

/// The first group of a bucket, and the block behind it.
pub(super) struct Head {
    pub(super) group: Group,
    pub(super) next: OnceBox<Block>,
}

/// More groups, and the block behind it.
pub(super) struct Block {
    pub(super) groups: Box<[Group]>,
    pub(super) next: OnceBox<Block>,
}

/// A node in its place. Two words: searches hand it on in registers.
#[derive(Clone, Copy)]
pub(super) struct At<'r> {
    group: &'r Group,
    way: usize,
}

/// Words that hold a window of so many slots.
const fn words_for(window_slots: u32) -> usize {
    if window_slots == 0 { 0 } else { window_slots.next_power_of_two() as usize }
}

impl Group {
    pub(super) fn new(window_slots: u32) -> Self {
        let node = |_| Node {
            check: AtomicU64::new(0),
            touches: AtomicU64::new(0),
            base: AtomicU64::new(0),
            head_start: AtomicU64::new(0),
            key: Mutex::new(Box::default()),
        };
        Self {
            tags: core::array::from_fn(|_| AtomicU64::new(0)),
            nodes: core::array::from_fn(node),
            words: (0..GROUP * words_for(window_slots)).map(|_| AtomicU64::new(0)).collect(),
            words_each: words_for(window_slots),
            window_slots,
        }
    }

    /// The place `way`, which is below [`GROUP`].
    #[inline]
    pub(super) const fn at(&self, way: usize) -> At<'_> {
        At { group: self, way }
    }

    /// The place of `print`, if it is one of these and written whole.
    #[inline]
    pub(super) fn find(&self, print: Print) -> Option<At<'_>> {
        for (way, tag) in self.tags.iter().enumerate() {
            if tag.load(Ordering::Acquire) == print.tag {
                let at = self.at(way);
                return (at.node().check.load(Ordering::Acquire) == print.check).then_some(at);
            }
        }
        None
    }

    /// Its memory, without keys.
    pub(super) const fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.words.len() * 8
    }
}

impl Block {
    pub(super) fn new(groups: usize, window_slots: u32) -> Box<Self> {
        let groups = (0..groups).map(|_| Group::new(window_slots)).collect();
        Box::new(Self { groups, next: OnceBox::new() })
    }
}

impl<'r> At<'r> {
    #[inline]
    pub(super) fn tag(self) -> &'r AtomicU64 {
        &self.group.tags[self.way % GROUP]
    }

    #[inline]
    pub(super) fn node(self) -> &'r Node {
        &self.group.nodes[self.way % GROUP]
    }

    #[inline]
    pub(super) fn window(self) -> Window<'r> {
        let first = self.way % GROUP * self.group.words_each;
        let words = self.group.words.get(first..first + self.group.words_each);
        Window { words: words.unwrap_or_default(), slots: self.group.window_slots }
    }

    /// Is the key still the one of `print`?
    pub(super) fn is(self, print: Print) -> bool {
        self.tag().load(Ordering::Acquire) == print.tag
            && self.node().check.load(Ordering::Acquire) == print.check
    }

    /// The key's print; `None` for a free place, and while the place changes hands.
    pub(super) fn print(self) -> Option<Print> {
        let tag = self.tag().load(Ordering::Acquire);
        let check = self.node().check.load(Ordering::Acquire);
        (tag != 0 && tag != BUSY && check != 0).then_some(Print { tag, check })
    }

    pub(super) fn is_removed(self) -> bool {
        self.node().base.load(Ordering::Relaxed) == REMOVED
    }

    /// The key's count at `tick`.
    #[inline]
    pub(super) fn count(self, tick: u32) -> u64 {
        let base = self.node().base.load(Ordering::Relaxed);
        if base == REMOVED {
            0
        } else if self.window().is_none() {
            self.node().touches.load(Ordering::Relaxed).saturating_sub(base)
        } else {
            self.window().sum(tick)
        }
    }

    /// By what the coldest is chosen: the count and the head start, while that is in the window.
    pub(super) fn rank(self, tick: u32) -> u64 {
        let word = self.node().head_start.load(Ordering::Relaxed);
        self.count(tick) + u64::from(window::counted(word, tick, self.window().slots.max(1)))
    }

    /// Stores the bytes for reports.
    pub(super) fn keep_key(self, key: KeyRef<'_>) {
        *self.node().key.lock() = encoded(key);
    }

    /// Shows `visit` the key of `print`, unless the place has another one by now or the key is too long.
    pub(super) fn with_key<T>(
        &self,
        print: Print,
        seed: u64,
        visit: impl FnOnce(KeyRef<'_>) -> T,
    ) -> Option<T> {
        let held = self.node().key.lock();
        let (cf, user_key) = held.split_first_chunk::<4>()?;
        let key = KeyRef::new(CfId(u32::from_le_bytes(*cf)), user_key);
        (Print::of(key, seed) == print).then(|| visit(key))
    }

    /// Shifts the counts.
    pub(super) fn decay(self, shift: u32) {
        let node = self.node();
        if self.window().is_none() {
            let touches = node.touches.load(Ordering::Relaxed);
            let _ = node.base.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |base| {
                let count = touches.saturating_sub(base);
                (base != REMOVED).then(|| touches - count.checked_shr(shift).unwrap_or(0).min(touches))
            });
        }
        node.touches.fetch_add(self.window().decay(shift), Ordering::Relaxed);
        Window { words: core::slice::from_ref(&node.head_start), slots: 1 }.decay(shift);
    }

    /// All touches since the key came.
    pub(super) fn touches(self) -> u64 {
        self.node().touches.load(Ordering::Relaxed) + self.window().all()
    }

    /// Forgets counts and touches; gives the touches.
    pub(super) fn reset(self, head_start: u64) -> u64 {
        let touches = self.node().touches.swap(0, Ordering::Relaxed);
        self.node().base.store(0, Ordering::Relaxed);
        self.node().head_start.store(head_start, Ordering::Relaxed);
        touches + self.window().clear()
    }
}

/// The stored form: family, user key; nothing for a key that reports leave out.
pub(super) fn encoded(key: KeyRef<'_>) -> Box<[u8]> {
    if key.user_key.len() > REPORTED_KEY_BYTES_MAX {
        return Box::default();
    }
    let mut bytes = Vec::with_capacity(4 + key.user_key.len());
    bytes.extend_from_slice(&key.cf.0.to_le_bytes());
    bytes.extend_from_slice(key.user_key);
    bytes.into_boxed_slice()
}

/// A key with its count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotKey {
    /// The key, with its family.
    pub key: KeyBuf,
    /// Its count.
    pub count: u64,
}
