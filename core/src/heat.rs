//! What the engine may ask about how hot a key is. The host knows; without one nothing is hot.

use nokv_formats::{KeyBuf, KeyRef};

use crate::sync::Arc;

use crate::engine::ValueLogStep;

/// Knowledge of hot keys.
pub trait Heat: Send + Sync + 'static {
    /// Do the values of this key go to the hot buckets of the value log?
    fn is_hot(&self, key: KeyRef<'_>) -> bool {
        let _ = key;
        false
    }

    /// The keys that are read most: compaction first clears the levels that they lie in. Asked for each choice of
    /// a compaction, under the install lock: a list that is at hand.
    fn read_most(&self) -> Arc<[KeyBuf]> {
        Arc::default()
    }
}

/// Nothing is hot.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHeat;

impl Heat for NoHeat {}

/// Calls from the engine to its host. They must be short; none is made under a lock that a reader needs.
pub trait Signals: Send + Sync + 'static {
    /// There may be background work, or a writer that was refused with `Busy` may try again.
    fn work_ready(&self) {}

    /// A background step is about to have moved this many bytes; a host that limits its rate waits here.
    fn background_io(&self, bytes: u64) {
        let _ = bytes;
    }

    /// As [`Signals::background_io`], for value-log collection, which can wait while other steps are due.
    fn collection_io(&self, bytes: u64) {
        self.background_io(bytes);
    }

    /// Something happened to the value log.
    fn value_log(&self, step: &ValueLogStep) {
        let _ = step;
    }
}

/// Ignores all calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSignals;

impl Signals for NoSignals {}
