//! The value log: large values, outside of the tables.
//!
//! Who may call it: any number of threads append, read and sync at once. Garbage collection is a compaction that the
//! engine runs; what to collect is worked out in [`discard_stats`] and [`pick_victims`].
//!
//! Files: `vlog/bucket-XXX/NNNNN.vlog` below the database directory (see `formats::vlog`), numbered from 1 in each
//! bucket. A bucket's directory is made when the bucket is first used.
//!
//! 1. A segment that takes appends is a *head*; each bucket has one at most. Offsets are given out under the bucket's
//!    lock, and the write runs outside of it.
//! 2. After a full disk a segment takes no more appends, so that a hole in it is never reused; the next append of the
//!    bucket starts a new one. What was written before stays readable, and [`ValueLog::sync`] still syncs it.
//! 3. After any other failed write and after a failed sync nothing more is synced or appended until the database is reopened.
//! 4. When [`ValueLog::sync`] returned, every record whose append had returned before is durable: its bytes, its
//!    segment's header, the names of segment, bucket and `vlog` directory.
//! 5. Opening writes nothing. The first append of each bucket starts a new segment, above every number found.
//!
//! # Sync
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. segments synced | bytes behind names that may be missing |
//! | b. bucket directories, then `vlog`, then the database directory synced, if names are new | everything |
//!
//! Nothing points to a record before b: log records and tables that hold pointers are synced afterwards.

mod bucket;
mod discard;
mod files;
mod log;
mod plan;
mod sample;
mod sync;
#[cfg(test)]
mod tests;

pub use discard::{SegmentUse, discard_stats, pick_victims};
pub(crate) use files::list_segments;
pub use files::{bucket_dir, segment_path};
pub use log::{Rotation, SegmentInfo, ValueLog, ValueLogOptions};
pub use plan::{GcLoad, GcOptions, GcPlan, flush_first, goal_of, jobs_of, pick_automatic};
pub use sample::{SampleLimit, Sampled};
