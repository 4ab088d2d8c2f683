//! What the server asks of a database, without its types.

use std::time::Instant;

use nokv_core::{MemIndex, Vfs};
use serde_json::{Value as Json, json};

use crate::Db;

/// The key of the statistics in `/debug/vars`.
pub const STATS_KEY: &str = "NoKV.Stats";
/// The key of the health in `/debug/vars`.
pub const HEALTH_KEY: &str = "NoKV.Health";
/// The key of what is known of the process in `/debug/vars`.
pub const PROCESS_KEY: &str = "NoKV.Process";

/// The health as the server shows it.
pub(super) struct Condition {
    /// Is it well? A database that was opened read-only is.
    pub(super) is_well: bool,
    /// The whole of it.
    pub(super) health: Json,
}

/// Where the answers come from.
pub(super) trait Source: Send + Sync {
    /// The statistics; `None` once the database is closed.
    fn stats(&self) -> Option<Json>;
    /// The health.
    fn condition(&self) -> Condition;
    /// Process id, version, directory, time served.
    fn process(&self) -> Json;
}

/// A database.
pub(super) struct Handle<V: Vfs, I: MemIndex> {
    db: Db<V, I>,
    since: Instant,
}

impl<V: Vfs, I: MemIndex> Handle<V, I> {
    pub(super) fn new(db: Db<V, I>) -> Self {
        Self { db, since: Instant::now() }
    }
}

impl<V: Vfs, I: MemIndex> Source for Handle<V, I> {
    fn stats(&self) -> Option<Json> {
        if self.db.is_closed() {
            return None;
        }
        serde_json::to_value(self.db.stats()).ok()
    }

    fn condition(&self) -> Condition {
        let health = self.db.health();
        let is_well = health.cause.is_none() && !self.db.is_closed();
        let mut shown = serde_json::to_value(health).unwrap_or_else(|_| json!({}));
        shown["closed"] = self.db.is_closed().into();
        shown["read_only"] = self.db.options().read_only.into();
        Condition { is_well, health: shown }
    }

    fn process(&self) -> Json {
        json!({
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "work_dir": self.db.engine().dir(),
            "served_ms": u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}
