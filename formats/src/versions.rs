//! The table of format numbers. A released number stays readable for ever; a retired one stays listed.

/// `walfs` segment header, as the original writes it.
pub const WALFS_HEADER: u32 = 1;
/// A truncation of a `walfs` log that may not be finished; ours alone.
pub const WALFS_TRUNCATION: u32 = 1;
/// Log envelope of the engine's own records.
pub const ENVELOPE: u16 = 1;
/// Batch of operations inside a log record.
pub const BATCH: u8 = 1;
/// Table file.
pub const TABLE: u32 = 1;
/// Manifest record.
pub const MANIFEST: u16 = 1;
/// `CURRENT` file.
pub const CURRENT: u16 = 1;
/// Value-log segment.
pub const VALUE_LOG: u32 = 1;
/// Record of the operation journal.
pub const JOURNAL: u8 = 1;
/// Head of a collection of the Redis front.
pub const REDIS_HEAD: u8 = 1;
