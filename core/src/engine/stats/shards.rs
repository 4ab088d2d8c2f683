//! Which of several places a thread counts in.

use crate::sync::thread_number;

/// Threads count on lines of their own: shared counters would be the busiest lines of the engine.
pub(super) const SHARDS: usize = if cfg!(feature = "std") { 16 } else { 1 };

/// Which shard the calling thread counts in.
#[inline]
pub(crate) fn shard_of_thread() -> usize {
    thread_number() % SHARDS
}
