//! The counts of an index: runs of entries between fences, in blocks. Nothing here reads the store but [`runs_of`], from
//! a cursor that it is given.

use nokv_core::Result;

use crate::redis::store::backend::Cursor;
use crate::redis::store::keyspace::part_of;

/// How large things are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Entries of a run when it is made. One with more than twice as many is cut when it is read; two with less than
    /// half of it become one.
    pub(super) run: u64,
    /// Runs of a block when it is made. It is cut at twice as many.
    pub(super) block: usize,
    /// Collections with fewer entries are walked.
    pub(super) entries_min: u64,
    /// An entry that is not further from an end is walked to.
    pub(super) walk_max: u64,
    /// Bytes of all indexes.
    pub(super) bytes_max: usize,
}

pub(super) const SIZES: Sizes =
    Sizes { run: 128, block: 32, entries_min: 1024, walk_max: 256, bytes_max: 64 << 20 };

/// Bytes of a run beside its fence.
const RUN_BYTES: usize = std::mem::size_of::<Run>();

/// Entries from a fence to the next.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) fence: Box<[u8]>,
    pub(super) entries: u64,
}

#[derive(Debug, Clone, Default)]
struct Block {
    runs: Vec<Run>,
    entries: u64,
}

/// Where a key or a rank is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    block: usize,
    run: usize,
    /// Entries before the run.
    pub(super) before: u64,
}

/// Counts of runs, without a store.
#[derive(Debug, Clone)]
pub(super) struct Fences {
    /// Never empty, no block is empty, the first fence is empty.
    blocks: Vec<Block>,
    pub(super) entries: u64,
    pub(super) bytes: usize,
    sizes: Sizes,
}

impl Fences {
    pub(super) fn new(runs: Vec<Run>, sizes: Sizes) -> Self {
        let mut fences = Self { blocks: Vec::new(), entries: 0, bytes: 0, sizes };
        for run in runs {
            fences.bytes += RUN_BYTES + run.fence.len();
            fences.entries += run.entries;
            if fences.blocks.last().is_none_or(|block| block.runs.len() == sizes.block) {
                fences.blocks.push(Block::default());
            }
            if let Some(block) = fences.blocks.last_mut() {
                block.entries += run.entries;
                block.runs.push(run);
            }
        }
        if fences.blocks.is_empty() {
            let run = Run { fence: Box::default(), entries: 0 };
            fences.bytes = RUN_BYTES;
            fences.blocks.push(Block { runs: vec![run], entries: 0 });
        }
        fences
    }

    pub(super) fn run(&self, at: Place) -> &Run {
        &self.blocks[at.block].runs[at.run]
    }

    /// The fence behind a run.
    pub(super) fn end(&self, at: Place) -> Option<&[u8]> {
        let next = self.blocks[at.block].runs.get(at.run + 1);
        let next = next.or_else(|| self.blocks.get(at.block + 1).and_then(|block| block.runs.first()));
        next.map(|run| &*run.fence)
    }

    /// The run that `part` belongs to.
    pub(super) fn of_key(&self, part: &[u8]) -> Place {
        let starts = |block: &Block| block.runs.first().is_some_and(|run| *run.fence <= *part);
        let block = self.blocks.partition_point(starts).saturating_sub(1);
        let runs = &self.blocks[block].runs;
        let run = runs.partition_point(|run| *run.fence <= *part).saturating_sub(1);
        let before = self.blocks[..block].iter().map(|block| block.entries).sum::<u64>()
            + runs[..run].iter().map(|run| run.entries).sum::<u64>();
        Place { block, run, before }
    }

    /// The run of the entry at `rank`, which is below the total.
    pub(super) fn of_rank(&self, rank: u64) -> Place {
        let mut at = Place { block: 0, run: 0, before: 0 };
        while at.block + 1 < self.blocks.len() && at.before + self.blocks[at.block].entries <= rank {
            at.before += self.blocks[at.block].entries;
            at.block += 1;
        }
        let runs = &self.blocks[at.block].runs;
        while at.run + 1 < runs.len() && at.before + runs[at.run].entries <= rank {
            at.before += runs[at.run].entries;
            at.run += 1;
        }
        at
    }

    /// An entry came or went; false if there cannot have been one.
    pub(super) fn change(&mut self, part: &[u8], comes: bool) -> bool {
        let at = self.of_key(part);
        let block = &mut self.blocks[at.block];
        let run = &mut block.runs[at.run];
        if comes {
            run.entries += 1;
            block.entries += 1;
            self.entries += 1;
            return true;
        }
        if run.entries == 0 {
            return false;
        }
        run.entries -= 1;
        block.entries -= 1;
        self.entries -= 1;
        self.merge(at);
        true
    }

    /// A small run becomes one with its neighbour in the block; an empty block goes.
    fn merge(&mut self, at: Place) {
        let block = &mut self.blocks[at.block];
        // The later of the two; its fence goes.
        let second = at.run.max(1);
        if let Some([first, later]) = block.runs.get_mut(second - 1..=second) {
            if first.entries + later.entries < self.sizes.run / 2 {
                first.entries += later.entries;
                self.bytes -= RUN_BYTES + later.fence.len();
                block.runs.remove(second);
            }
        } else if block.entries == 0 && self.blocks.len() > 1 {
            let block = self.blocks.remove(at.block);
            self.bytes -= block.runs.iter().map(|run| RUN_BYTES + run.fence.len()).sum::<usize>();
            if at.block == 0 {
                // What stands before the next fence belongs to it now.
                let first = &mut self.blocks[0].runs[0];
                self.bytes -= first.fence.len();
                first.fence = Box::default();
            }
        }
    }

    /// Puts runs in the place of one; they begin at its fence and have its entries.
    pub(super) fn replace(&mut self, at: Place, runs: Vec<Run>) {
        let added: u64 = runs.iter().map(|run| run.entries).sum();
        self.bytes += runs.iter().map(|run| RUN_BYTES + run.fence.len()).sum::<usize>();
        let block = &mut self.blocks[at.block];
        let old = block.runs.splice(at.run..=at.run, runs).collect::<Vec<_>>();
        let removed: u64 = old.iter().map(|run| run.entries).sum();
        self.bytes -= old.iter().map(|run| RUN_BYTES + run.fence.len()).sum::<usize>();
        block.entries = block.entries + added - removed;
        self.entries = self.entries + added - removed;
        if block.runs.len() >= 2 * self.sizes.block {
            let runs = std::mem::take(&mut block.runs);
            let blocks = runs
                .chunks(self.sizes.block)
                .map(|runs| Block { runs: runs.to_vec(), entries: runs.iter().map(|run| run.entries).sum() });
            let blocks: Vec<_> = blocks.collect();
            self.blocks.splice(at.block..=at.block, blocks);
        }
    }
}

/// The shortest key above `low` that is not above `high`.
fn fence_between(low: &[u8], high: &[u8]) -> Box<[u8]> {
    let same = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    high[..(same + 1).min(high.len())].into()
}

/// Cuts what a cursor walks into runs; the first begins at `fence`. `None` if it has more than `bytes_max`.
pub(super) fn runs_of(
    cursor: &mut dyn Cursor,
    fence: Box<[u8]>,
    run: u64,
    bytes_max: usize,
) -> Result<Option<Vec<Run>>> {
    let mut runs = vec![Run { fence, entries: 0 }];
    let mut entries = 0;
    let mut bytes = 0;
    let mut last = Vec::new();
    while cursor.advance()? {
        if entries == run {
            let fence = fence_between(&last, part_of(cursor.key()));
            bytes += RUN_BYTES + fence.len();
            if bytes > bytes_max {
                return Ok(None);
            }
            runs.push(Run { fence, entries: 0 });
            entries = 0;
        }
        entries += 1;
        if entries == run {
            last.clear();
            last.extend_from_slice(part_of(cursor.key()));
        }
        if let Some(last) = runs.last_mut() {
            last.entries = entries;
        }
    }
    Ok(Some(runs))
}
