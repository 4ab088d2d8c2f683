//! Is the database well?

use nokv_core::{MemIndex, Vfs};
use serde::Serialize;

use super::PinSnapshot;
use super::section::pin;
use crate::db::Db;

/// Is the database well?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Takes writes.
    pub writable: bool,
    /// Why it does not.
    pub cause: Option<String>,
    /// What keeps background work from going on just now, and may pass, such as a full disk.
    pub hindrance: Option<String>,
    /// Value-log segments that are not collected, because their account of live bytes is not what a sample shows:
    /// which, and both figures.
    pub value_log_refusals: Vec<String>,
    /// Open snapshots: (seq, age in milliseconds).
    pub snapshots: Vec<(u64, u64)>,
    /// Open iterators.
    pub iterators: u64,
    /// Iterators and snapshots with age and bytes, oldest first.
    pub pins: Vec<PinSnapshot>,
    /// Log bytes behind the last durable mark that the open cut; 0 if it cut nothing.
    pub cut_bytes: u64,
}

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// Is the database well?
    pub fn health(&self) -> Health {
        let engine = self.engine();
        let cause = engine.failure().map(|e| e.to_string());
        let now = engine.now_ms();
        let pins: Vec<PinSnapshot> = engine.pins().iter().map(pin).collect();
        Health {
            writable: cause.is_none() && !self.options().read_only && !self.is_closed(),
            cause,
            hindrance: engine.hindrance().map(|e| e.to_string()),
            value_log_refusals: engine.gc_refusals().iter().map(ToString::to_string).collect(),
            snapshots: engine
                .open_snapshots()
                .into_iter()
                .map(|(seq, at)| (seq.0, now.saturating_sub(at)))
                .collect(),
            iterators: pins.iter().filter(|p| p.owner != "snapshot").count() as u64,
            pins,
            cut_bytes: engine.open_report().cut.as_ref().map_or(0, |cut| cut.bytes),
        }
    }
}
