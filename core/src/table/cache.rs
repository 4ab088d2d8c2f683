//! Block cache: bounded in bytes, in shards, resistant to scans.
//!
//! Each shard is an S3-FIFO (Yang et al., SOSP 2023): a new block enters a small queue of a tenth of the
//! bytes; only one that is hit there moves to the main queue, the others leave and their names stay in a ghost
//! queue for a while; a block that comes back while its name is there goes to the main queue at once. So a
//! scan pushes out at most the small queue. A hit sets a counter and moves nothing.
//!
//! 1. The sum of `memory_bytes` of a shard's blocks is at most its share of the capacity after each insert.
//! 2. Nothing iterates the hash table, and its hash is fixed: the same calls give the same content.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::block::Block;
use crate::sync::Mutex;

const SHARDS_MAX: usize = 64;
const SHARD_BYTES_MIN: usize = 512 << 10;
const SLOT_BYTES: usize = 64;
const FREQUENCY_MAX: u8 = 3;

/// Hits and misses of one class of reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HitCount {
    /// Blocks found.
    pub hits: u64,
    /// Blocks that had to be read.
    pub misses: u64,
}

/// Counters of a [`BlockCache`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads of level-0 tables.
    pub level_0: HitCount,
    /// Reads of all other tables.
    pub deeper: HitCount,
    /// Blocks in the cache.
    pub blocks: usize,
    /// Bytes they hold.
    pub bytes: usize,
    /// Blocks that had to leave.
    pub evictions: u64,
}

struct Slot {
    table: u64,
    offset: u64,
    frequency: u8,
    in_main: bool,
    bytes: usize,
    block: Option<Arc<Block>>,
}

#[derive(Default)]
struct Shard {
    capacity: usize,
    by_key: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    small_bytes: usize,
    main_bytes: usize,
    /// Hashes of blocks that left the small queue, oldest first, and how often each is in the queue.
    ghosts: VecDeque<u64>,
    ghost_set: HashTable<u64>,
    counts: [HitCount; 2],
    evictions: u64,
}

#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// The cache. All methods may be called from any thread.
pub struct BlockCache {
    shards: Box<[Padded]>,
    capacity: usize,
}

#[inline]
fn hash(table: u64, offset: u64) -> u64 {
    let mixed = (table.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ offset).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

impl BlockCache {
    /// Holds up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let shards = (capacity / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shards = if shards.is_power_of_two() { shards } else { shards.next_power_of_two() / 2 };
        let shard = || Shard { capacity: capacity / shards, ..Shard::default() };
        Self { shards: (0..shards).map(|_| Padded(Mutex::new(shard()))).collect(), capacity }
    }

    /// The bound, in bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // The number of shards is a power of two and at least one.
        &self.shards[(hash >> 16) as usize & (self.shards.len() - 1)].0
    }

    /// The block of `table` at `offset`; counted for level 0 or the others.
    #[inline]
    pub(super) fn get(&self, table: u64, offset: u64, level_0: bool) -> Option<Arc<Block>> {
        let hash = hash(table, offset);
        let mut shard = self.shard(hash).lock();
        let shard = &mut *shard;
        let count = &mut shard.counts[usize::from(!level_0)];
        let slots = &mut shard.slots;
        let found = shard.by_key.find(hash, |i| {
            slots.get(*i as usize).is_some_and(|slot| slot.offset == offset && slot.table == table)
        });
        let slot = found.and_then(|i| slots.get_mut(*i as usize));
        if let Some(slot) = slot
            && let Some(block) = &slot.block
        {
            count.hits += 1;
            if slot.frequency < FREQUENCY_MAX {
                slot.frequency += 1;
            }
            return Some(block.clone());
        }
        count.misses += 1;
        None
    }

    /// Adds a block and gives it back, or the one that another thread added in the meantime.
    pub(super) fn insert(&self, table: u64, offset: u64, block: Arc<Block>) -> Arc<Block> {
        let hash = hash(table, offset);
        let bytes = block.memory_bytes() + SLOT_BYTES;
        let mut evicted = Vec::new();
        let mut guard = self.shard(hash).lock();
        let shard = &mut *guard;
        if bytes > shard.capacity {
            return block;
        }
        let held = shard.by_key.find(hash, |i| shard.is(*i, table, offset)).copied();
        if let Some(theirs) = held.and_then(|i| shard.slots.get(i as usize)?.block.clone()) {
            return theirs;
        }
        let in_main = shard.forget_ghost(hash);
        let slot = Slot { table, offset, frequency: 0, in_main, bytes, block: Some(block.clone()) };
        let i = match shard.free.pop() {
            Some(i) => {
                shard.slots[i as usize] = slot;
                i
            }
            None => {
                shard.slots.push(slot);
                shard.slots.len() as u32 - 1
            }
        };
        shard.enqueue(i, in_main, bytes);
        let Shard { by_key, slots, .. } = shard;
        by_key
            .insert_unique(hash, i, |i| slots.get(*i as usize).map_or(0, |s| self::hash(s.table, s.offset)));
        while shard.small_bytes + shard.main_bytes > shard.capacity {
            match shard.evict() {
                Some(gone) => evicted.extend(gone),
                None => break,
            }
        }
        drop(guard);
        // Freed outside the lock.
        drop(evicted);
        block
    }

    /// All counters, summed over the shards.
    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        for Padded(shard) in &self.shards {
            let shard = shard.lock();
            for (sum, count) in [&mut stats.level_0, &mut stats.deeper].into_iter().zip(&shard.counts) {
                sum.hits += count.hits;
                sum.misses += count.misses;
            }
            stats.blocks += shard.by_key.len();
            stats.bytes += shard.small_bytes + shard.main_bytes;
            stats.evictions += shard.evictions;
        }
        stats
    }
}

impl Shard {
    fn is(&self, i: u32, table: u64, offset: u64) -> bool {
        self.slots.get(i as usize).is_some_and(|slot| slot.offset == offset && slot.table == table)
    }

    fn enqueue(&mut self, i: u32, in_main: bool, bytes: usize) {
        if in_main {
            self.main.push_back(i);
            self.main_bytes += bytes;
        } else {
            self.small.push_back(i);
            self.small_bytes += bytes;
        }
    }

    /// Takes one block out, or moves one on; `None` when there is none. A block that is moved on has its
    /// counter lowered or comes to the main queue, so repeated calls end.
    fn evict(&mut self) -> Option<Option<Arc<Block>>> {
        if self.small_bytes > self.capacity / 10 || self.main.is_empty() {
            let i = self.small.pop_front()?;
            let slot = self.slots.get_mut(i as usize)?;
            self.small_bytes -= slot.bytes;
            if slot.frequency > 0 {
                slot.frequency = 0;
                slot.in_main = true;
                let bytes = slot.bytes;
                self.enqueue(i, true, bytes);
                return Some(None);
            }
            let ghost = hash(slot.table, slot.offset);
            self.remember_ghost(ghost);
            return Some(self.remove(i));
        }
        let i = self.main.pop_front()?;
        let slot = self.slots.get_mut(i as usize)?;
        if slot.frequency > 0 {
            slot.frequency -= 1;
            self.main.push_back(i);
            return Some(None);
        }
        self.main_bytes -= slot.bytes;
        Some(self.remove(i))
    }

    fn remove(&mut self, i: u32) -> Option<Arc<Block>> {
        let slot = self.slots.get_mut(i as usize)?;
        let block = slot.block.take();
        let hash = hash(slot.table, slot.offset);
        if let Ok(entry) = self.by_key.find_entry(hash, |j| *j == i) {
            entry.remove();
        }
        self.free.push(i);
        self.evictions += 1;
        block
    }

    fn remember_ghost(&mut self, hash: u64) {
        // As many names as there are blocks.
        while self.ghosts.len() > self.by_key.len() {
            if let Some(oldest) = self.ghosts.pop_front() {
                self.take_ghost(oldest);
            }
        }
        if self.ghost_set.find(hash, |h| *h == hash).is_none() {
            self.ghost_set.insert_unique(hash, hash, |h| *h);
            self.ghosts.push_back(hash);
        }
    }

    fn take_ghost(&mut self, hash: u64) -> bool {
        match self.ghost_set.find_entry(hash, |h| *h == hash) {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// Was this name in the ghost queue? It is forgotten; its place in the queue runs out by itself.
    fn forget_ghost(&mut self, hash: u64) -> bool {
        self.take_ghost(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::small_block;

    fn fill(cache: &BlockCache, table: u64, offsets: core::ops::Range<u64>) {
        for offset in offsets {
            if cache.get(table, offset, true).is_none() {
                cache.insert(table, offset, small_block());
            }
        }
    }

    #[test]
    fn bytes_stay_below_the_capacity() {
        let one = small_block().memory_bytes() + SLOT_BYTES;
        for capacity in [0, one - 1, one, 10 * one, 100 * one, 3 << 20] {
            let cache = BlockCache::new(capacity);
            fill(&cache, 1, 0..1000);
            fill(&cache, 2, 0..1000);
            fill(&cache, 1, 0..50);
            let stats = cache.stats();
            assert!(stats.bytes <= capacity, "{stats:?}");
            assert_eq!(stats.bytes, stats.blocks * one);
            assert_eq!(stats.blocks == 0, capacity < one);
        }
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_used() {
        let one = small_block().memory_bytes() + SLOT_BYTES;
        let cache = BlockCache::new(100 * one);
        for _ in 0..3 {
            fill(&cache, 1, 0..50);
        }
        for offset in 0..10_000 {
            cache.insert(2, offset, small_block());
        }
        let kept = (0..50).filter(|offset| cache.get(1, *offset, false).is_some()).count();
        assert_eq!(kept, 50);
    }

    #[test]
    fn counts_by_class() {
        let cache = BlockCache::new(1 << 20);
        assert!(cache.get(1, 0, true).is_none());
        let block = small_block();
        cache.insert(1, 0, block.clone());
        assert!(Arc::ptr_eq(&cache.insert(1, 0, small_block()), &block));
        assert!(Arc::ptr_eq(&cache.get(1, 0, false).unwrap(), &block));
        assert!(cache.get(1, 1, false).is_none() && cache.get(2, 0, false).is_none());
        let stats = cache.stats();
        assert_eq!(stats.level_0, HitCount { hits: 0, misses: 1 });
        assert_eq!(stats.deeper, HitCount { hits: 1, misses: 2 });
        assert_eq!(stats.blocks, 1);
    }
}
