//! Finding a key's node in its bucket, and giving it one.
//!
//! Who may call it: `ring`. All of it may run on any number of threads at once.
//!
//! **Places fill in order.** A bucket's places are a fixed sequence. A new key takes the first free one by a
//! compare-and-swap of its tag; who loses looks at what was put there and goes on. A place that is taken never
//! becomes free again (but by [`Bucket::clear`]), so all threads meet at the same first free place, and one key cannot
//! come to stand in two.
//!
//! **Then the coldest gives way** (only with a cap: without, the sequence goes on for ever). A touch of a key without
//! a node takes the place of the bucket's coldest, of rank `m`, with a probability of `1 / (m + 1)`, and starts with a
//! rank of `m + 1`, like the counters of Space-Saving, but seldom enough that passing keys do not push each other
//! out (randomized admission: Ben Basat et al., INFOCOM 2017). A key that is touched often is
//! drawn soon; a long tail of cold keys hardly moves anything. The draw is a mix of the bucket's own
//! count of draws and the tag: the same touches in the same order give the same ring. One thread at a time changes
//! hands in a bucket; the others do not wait, their touch counts as dropped.

use alloc::boxed::Box;

use nokv_formats::KeyRef;

use super::node::{At, BUSY, Block, GROUP, Group, Head, Print, encoded};
use super::once::OnceBox;
use super::window;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// A bucket but for its nodes. On a line of its own: only touches of keys without a node write it.
#[repr(align(64))]
#[derive(Default)]
pub(super) struct Door {
    /// Held while a place changes hands, and while a key is marked as removed or the mark is taken off.
    pub(super) claim: Mutex<()>,
    /// Rank of the coldest node when it was last looked for (a window word).
    coldest: AtomicU64,
    /// Touches that found no place.
    pub(super) drops: AtomicU64,
    /// Touches of keys that left.
    pub(super) retired: AtomicU64,
}

/// One bucket of a ring.
#[derive(Clone, Copy)]
pub(super) struct Bucket<'r> {
    pub(super) head: &'r OnceBox<Head>,
    pub(super) door: &'r Door,
    /// Places that it may have.
    pub(super) ways: usize,
    pub(super) window_slots: u32,
    pub(super) sample_mask: u64,
}

/// What a search found.
enum Place<'r> {
    Here(At<'r>),
    Free(At<'r>),
    /// There are no places yet.
    NoHead,
    /// So many groups of places end here, and there may be more.
    End(&'r OnceBox<Block>, usize),
    Full,
}

/// How a key came to its node.
pub(super) enum Entered<'r> {
    Was(At<'r>),
    /// Took a free place.
    New(At<'r>),
    /// Took the place of another key.
    Instead(At<'r>),
    Dropped,
}

impl<'r> Bucket<'r> {
    /// The node of `print`, if it is among the first: those that came early, so most of the hot ones.
    #[inline]
    pub(super) fn find_first(self, print: Print) -> Option<At<'r>> {
        self.head.get()?.group.find(print)
    }

    /// The node of `print`.
    #[inline]
    pub(super) fn find(self, print: Print) -> Option<At<'r>> {
        self.find_first(print).or_else(|| self.find_any(print))
    }

    #[inline(never)]
    fn find_any(self, print: Print) -> Option<At<'r>> {
        match self.locate(print) {
            Place::Here(at) => Some(at),
            _ => None,
        }
    }

    fn locate(self, print: Print) -> Place<'r> {
        let Some(head) = self.head.get() else { return Place::NoHead };
        if let Some(place) = scan(&head.group, self.ways, print) {
            return place;
        }
        let (mut link, mut groups) = (&head.next, 1);
        loop {
            if groups * GROUP >= self.ways {
                return Place::Full;
            }
            let Some(block) = link.get() else { return Place::End(link, groups) };
            for group in &block.groups {
                if let Some(place) = scan(group, self.ways - groups * GROUP, print) {
                    return place;
                }
                groups += 1;
            }
            link = &block.next;
        }
    }

    /// The node of `print`, which takes a place if it has none. For keys that [`Bucket::find_first`] does not find.
    #[inline(never)]
    pub(super) fn enter(self, print: Print, key: KeyRef<'_>, tick: u32) -> Entered<'r> {
        let mut place = self.locate(print);
        loop {
            match place {
                Place::Here(at) => return Entered::Was(at),
                Place::Free(at) => {
                    let swap = at.tag().compare_exchange(0, print.tag, Ordering::AcqRel, Ordering::Acquire);
                    if swap.is_ok() {
                        at.keep_key(key);
                        at.node().check.store(print.check, Ordering::Release);
                        return Entered::New(at);
                    }
                }
                Place::NoHead => {
                    let group = Group::new(self.window_slots);
                    self.head.get_or_fill(Box::new(Head { group, next: OnceBox::new() }));
                }
                Place::End(link, groups) => {
                    // As many again as there are; the last block ends where the places do.
                    let left = self.ways.div_ceil(GROUP) - groups;
                    link.get_or_fill(Block::new(groups.min(left), self.window_slots));
                }
                Place::Full => return self.compete(print, key, tick),
            }
            place = self.locate(print);
        }
    }

    fn compete(self, print: Print, key: KeyRef<'_>, tick: u32) -> Entered<'r> {
        let draws = self.door.drops.fetch_add(1, Ordering::Relaxed);
        if print.tag & self.sample_mask != 0 {
            return Entered::Dropped;
        }
        let draw = mix(draws ^ print.tag);
        let is_drawn = |rank: u64| u128::from(draw) * (u128::from(rank) + 1) < 1 << 64;
        let known = window::counted(self.door.coldest.load(Ordering::Relaxed), tick, 1);
        if !is_drawn(u64::from(known)) {
            return Entered::Dropped;
        }
        let Some(claim) = self.door.claim.try_lock() else { return Entered::Dropped };
        if let Some(at) = self.find(print) {
            self.door.drops.fetch_sub(1, Ordering::Relaxed);
            return Entered::Was(at);
        }
        let Some((rank, at)) = self.coldest(tick) else { return Entered::Dropped };
        let word = window::word(tick, u32::try_from(rank).unwrap_or(window::COUNT_MAX));
        self.door.coldest.store(word, Ordering::Relaxed);
        if !is_drawn(rank) {
            return Entered::Dropped;
        }
        // A report that is just copying the key out is not worth waiting for.
        let Some(mut held) = at.node().key.try_lock() else { return Entered::Dropped };
        let was_removed = at.is_removed();
        at.tag().store(BUSY, Ordering::Release);
        self.door.retired.fetch_add(at.reset(word), Ordering::Relaxed);
        *held = encoded(key);
        at.node().check.store(print.check, Ordering::Release);
        at.tag().store(print.tag, Ordering::Release);
        drop(held);
        drop(claim);
        self.door.drops.fetch_sub(1, Ordering::Relaxed);
        if was_removed { Entered::New(at) } else { Entered::Instead(at) }
    }

    /// The node of the lowest rank, the first of equals.
    fn coldest(self, tick: u32) -> Option<(u64, At<'r>)> {
        let mut coldest: Option<(u64, At<'r>)> = None;
        self.each(|at| {
            let rank = at.rank(tick);
            if coldest.is_none_or(|(lowest, _)| rank < lowest) {
                coldest = Some((rank, at));
            }
        });
        coldest
    }

    fn groups(self) -> impl Iterator<Item = &'r Group> {
        let head = self.head.get();
        let blocks = core::iter::successors(head.and_then(|head| head.next.get()), |block| block.next.get());
        head.map(|head| &head.group).into_iter().chain(blocks.flat_map(|block| block.groups.iter()))
    }

    /// Shows every place that is taken.
    pub(super) fn each(self, mut visit: impl FnMut(At<'r>)) {
        for group in self.groups() {
            for at in (0..GROUP).map(|way| group.at(way)) {
                if at.tag().load(Ordering::Acquire) == 0 {
                    return;
                }
                visit(at);
            }
        }
    }

    /// The coldest must be looked for again.
    pub(super) fn forget_coldest(self) {
        self.door.coldest.store(0, Ordering::Relaxed);
    }

    /// Shifts every count.
    pub(super) fn decay(self, shift: u32) {
        // No place changes hands meanwhile: what is cut is the count of one key.
        let _claim = self.door.claim.lock();
        self.each(|at| at.decay(shift));
        self.forget_coldest();
    }

    /// Frees every place; gives how many held a key. Touches that run meanwhile may be lost.
    pub(super) fn clear(self) -> u64 {
        let _claim = self.door.claim.lock();
        self.forget_coldest();
        let mut gone = 0;
        self.each(|at| {
            gone += u64::from(!at.is_removed());
            self.door.retired.fetch_add(at.reset(0), Ordering::Relaxed);
            *at.node().key.lock() = Default::default();
            at.node().check.store(0, Ordering::Release);
            at.tag().store(0, Ordering::Release);
        });
        gone
    }

    /// Bytes of blocks and keys.
    pub(super) fn memory_bytes(self) -> usize {
        let links = size_of::<Head>() - size_of::<Group>() + 3 * size_of::<Block>();
        let mut bytes: usize = self.groups().map(Group::memory_bytes).sum();
        self.each(|at| bytes += at.node().key.lock().len());
        if bytes == 0 { 0 } else { bytes + links }
    }
}

/// Looks for `print` in the first `ways` places of `group`. `None`: these are taken by others.
#[inline]
fn scan<'r>(group: &'r Group, ways: usize, print: Print) -> Option<Place<'r>> {
    for (way, tag) in group.tags.iter().enumerate() {
        let tag = tag.load(Ordering::Acquire);
        if tag != print.tag && tag != 0 {
            continue;
        }
        if way >= ways {
            return None;
        }
        let at = group.at(way);
        if tag == 0 {
            return Some(Place::Free(at));
        }
        let check = at.node().check.load(Ordering::Acquire);
        // 0: being written; another key with the same tag is not worth waiting for.
        if check == print.check || check == 0 {
            return Some(Place::Here(at));
        }
    }
    None
}

/// Spreads `n` over 64 bits (the finalizer of SplitMix64).
const fn mix(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}
