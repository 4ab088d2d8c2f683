//! Repair: what can be saved of a damaged database, as a plan that is shown before anything is done.
//!
//! Who may call it: tools, on a database that nobody has open. [`plan_repair`] reads everything and writes nothing;
//! [`apply_repair`] does what a plan lists. Opening never repairs.
//!
//! 1. What cannot be read is left out, and each step says what that loses. Nothing is deleted: a file that is
//!    replaced or left out gets the ending `.damaged`.
//! 2. Of a damaged table every entry in a whole block is kept, in a new table at the same place. An entry whose value
//!    cannot be read becomes a purge, so that an older value of it does not show again. Where blocks are lost it is
//!    not known which keys they held: older values of those may show, and deletes may be undone; the step says so.
//! 3. A log that cannot be replayed is replaced by a table of what its whole prefix holds.
//! 4. Where edits of the manifest are lost, tables that it does not know are taken in. Unless all of them are newer
//!    than everything else, all tables go into one ingest set: there the highest seq wins, whatever the order.
//!
//! | step of applying | crash after it leaves |
//! |---|---|
//! | a. new tables, durable | unnamed tables; planning again gives the same plan |
//! | b. headers of value-log segments rewritten, each by a rename | the same plan without that step |
//! | c. damaged files linked (or copied) to their new names, durable | the same plan |
//! | d. a new manifest, then `CURRENT`, durable | the repaired database, old names beside the new ones |
//! | e. the old names unlinked | nothing to do |

mod apply;
mod log;
mod survey;
mod values;

use alloc::string::String;
use alloc::vec::Vec;

pub use apply::apply_repair;
pub use survey::plan_repair;

use crate::manifest::{CleanClose, ManifestState};
use crate::sync::Arc;
use crate::wal::Cut;
use nokv_formats::TableMeta;

/// One step of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairStep {
    /// The file that it is about.
    pub file: String,
    /// What is done about it, and why.
    pub what: String,
    /// What is lost by it; empty if nothing.
    pub lost: String,
}

/// What it takes to make a damaged database open again.
#[derive(Debug, Clone)]
pub struct RepairPlan {
    /// What is done; empty for a healthy database.
    pub steps: Vec<RepairStep>,
    /// The end of the log behind the last synced write that is not whole, if any: it goes too. The next open cuts it
    /// by itself, so it is no step.
    pub cut: Option<Cut>,
    work: Work,
}

impl RepairPlan {
    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// A table that is written anew, without what is lost.
#[derive(Debug, Clone)]
struct Rewrite {
    level: u8,
    ingest: bool,
    meta: Arc<TableMeta>,
}

/// What the steps come to.
#[derive(Debug, Clone)]
struct Work {
    /// What the database is, with the tables that stay as they are, and without the log if it is folded.
    state: ManifestState,
    rewrites: Vec<Rewrite>,
    /// The log as it was, when it is replaced by a table.
    fold: Option<LogPlace>,
    /// Value-log segments whose header is written anew.
    headers: Vec<(u16, u32)>,
    /// Files that get another name; they are unlinked at the end.
    aside: Vec<String>,
    /// Files that are kept under another name too, because they are replaced.
    copied: Vec<String>,
}

/// Where a log starts, and what is known about its end.
#[derive(Debug, Clone)]
struct LogPlace {
    floor: u32,
    clean: Option<CleanClose>,
}
