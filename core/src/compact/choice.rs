//! What a picker may choose, and the options it chooses by.

use alloc::vec::Vec;

use nokv_formats::TableId;

/// A set of tables in the tree. Ordered as reads go: the ingest set of a level comes before the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The level.
    pub level: u8,
    /// Its ingest set?
    pub ingest: bool,
}

impl Place {
    const fn depth(self) -> u16 {
        self.level as u16 * 2 + !self.ingest as u16
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.depth().cmp(&other.depth())
    }
}

/// An input of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Its level.
    pub level: u8,
    /// In the level's ingest set?
    pub ingest: bool,
    /// The table.
    pub id: TableId,
}

/// Why a merge was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Level 0 has too many tables or bytes.
    LevelZero,
    /// A level is above its target.
    LevelFull,
    /// An ingest set has too many tables.
    IngestFull,
    /// An ingest set cannot drain now and has far too many tables.
    IngestMerge,
    /// A table has expired entries.
    Expired,
    /// A table has many deletes.
    Dead,
    /// The caller asked for a range.
    Manual,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Nothing.
    Idle,
    /// Tables change their place, as they are: a manifest edit and no more.
    Move {
        /// The tables.
        tables: Vec<TableId>,
        /// Where they are.
        from: Place,
        /// Where they go.
        to: Place,
    },
    /// Tables are merged into new ones.
    Merge {
        /// The inputs, newest source first.
        inputs: Vec<Input>,
        /// Where the outputs go.
        to: Place,
        /// Why.
        reason: Reason,
    },
}

/// Options of the picker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickOptions {
    /// Tables in level 0 that start a compaction.
    pub l0_tables: usize,
    /// Bytes that the base level may hold at most.
    pub base_bytes: u64,
    /// How many times larger the target of each level is than that of the one above.
    pub multiplier: u64,
    /// Tables in an ingest set that start a drain.
    pub ingest_tables: usize,
    /// May tables of level 0 move into an ingest set?
    pub use_ingest: bool,
    /// Inputs from level 0 or an ingest set are added until they have this many bytes.
    pub input_bytes: u64,
    /// Percentage of deletes, purges and range deletes among the entries that makes a table worth rewriting.
    pub dead_percent: u64,
    /// Tables of level 0 that move into an ingest set in one step at most; at least 1.
    pub ingest_batch: usize,
    /// Score of an ingest set, in thousandths, from which its tables are merged among themselves if they cannot drain.
    pub ingest_merge_score: u64,
    /// Compactions that take tables from one ingest set at once; at least 1.
    pub ingest_parallel: usize,
    /// How much the value-log bytes that a level names add to its score, in thousandths: see
    /// [`value_score`](super::value_score).
    pub value_weight: u64,
}

impl Default for PickOptions {
    fn default() -> Self {
        Self {
            l0_tables: 4,
            base_bytes: 256 << 20,
            multiplier: 10,
            ingest_tables: 4,
            use_ingest: true,
            input_bytes: 1 << 30,
            dead_percent: 30,
            ingest_batch: 4,
            ingest_merge_score: 2000,
            ingest_parallel: 2,
            value_weight: 500,
        }
    }
}
