//! Statistics and health of the handle.
//!
//! Who may call it: anyone, at any time; a snapshot is computed when it is asked for. Counting costs no shared cache
//! line per operation: see `nokv_core::engine::stats`.

use std::sync::Arc;

use nokv_core::manifest::ManifestState;
use nokv_core::{MemIndex, Vfs};
use nokv_vfs_std::StdFs;

use super::Db;
use crate::index::BuiltinIndex;
use crate::sync::{Mutex, RwLock};

mod collect;
mod extra;
mod forecast;
mod health;
mod hot_key;
mod section;
mod snapshot;

pub use extra::{
    CacheDetail, EngineSnapshot, FlushStages, LatencySnapshot, LevelBytes, MemorySnapshot, MemoryUse,
    MemtableSnapshot, PinSnapshot, PinsSnapshot, RecoverySnapshot, SegmentBytes, SeqSnapshot, SpaceSnapshot,
    StallSnapshot, ValueLogHotSnapshot,
};
pub use health::Health;
pub use hot_key::HotKeyStat;
pub use snapshot::{
    CacheStatsSnapshot, ColumnFamilySnapshot, CompactionStatsSnapshot, FlushStatsSnapshot, HotStatsSnapshot,
    LsmLevelStats, LsmStatsSnapshot, RaftStatsSnapshot, RecordCounts, RedisSnapshot, RegionStatsSnapshot,
    RingSnapshot, StatsSnapshot, TransportSnapshot, ValueLogGcSnapshot, ValueLogHead, ValueLogStatsSnapshot,
    WalStatsSnapshot, WriteStatsSnapshot,
};

/// Where region counts come from: whoever keeps regions attaches it to [`StatsCollector::set_region_metrics`].
pub trait RegionMetrics: Send + Sync {
    /// Regions by state, now. Called for each snapshot of the statistics.
    fn counts(&self) -> RegionStatsSnapshot;
}

/// Where `redis.*` comes from: the front attaches it to [`StatsCollector::set_redis_metrics`].
pub trait RedisMetrics: Send + Sync {
    /// The front's counters, now. Called for each snapshot of the statistics.
    fn counts(&self) -> RedisSnapshot;
}

/// What statistics keep beside the engine's own counters.
#[derive(Default)]
pub(super) struct HostStats {
    regions: RwLock<Option<Arc<dyn RegionMetrics>>>,
    redis: RwLock<Option<Arc<dyn RedisMetrics>>>,
    loads: Mutex<forecast::Loads>,
}

/// The statistics of a database that stays open for it.
///
/// Nothing is collected in the background: a snapshot is computed when it is asked for, so there is nothing to start.
pub struct StatsCollector<V: Vfs = StdFs, I: MemIndex = BuiltinIndex> {
    db: Db<V, I>,
}

impl<V: Vfs, I: MemIndex> Clone for StatsCollector<V, I> {
    fn clone(&self) -> Self {
        Self { db: self.db.clone() }
    }
}

impl<V: Vfs, I: MemIndex> StatsCollector<V, I> {
    /// The database at this moment. Changes nothing.
    pub fn snapshot(&self) -> StatsSnapshot {
        self.db.stats()
    }

    /// Attaches the source of `region.*`; the one before is let go.
    pub fn set_region_metrics(&self, regions: Arc<dyn RegionMetrics>) {
        *self.db.inner.stats.regions.write() = Some(regions);
    }

    /// Attaches the source of `redis.*`; the one before is let go.
    pub fn set_redis_metrics(&self, redis: Arc<dyn RedisMetrics>) {
        *self.db.inner.stats.redis.write() = Some(redis);
    }
}

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// The statistics, to keep and to ask often.
    pub fn info(&self) -> StatsCollector<V, I> {
        StatsCollector { db: self.clone() }
    }

    /// What the manifest says: families, tables, floors.
    pub fn manifest(&self) -> ManifestState {
        self.engine().manifest_state()
    }
}
