//! Compaction: what to merge next, and what is being merged.
//!
//! Who may call it: the engine. [`pick::pick`] is pure: a version, a busy set, a time and options give one choice. The
//! caller claims it in the [`BusySet`] under the same lock, does the work elsewhere, installs, and releases the claim.

mod busy;
mod choice;
mod filter;
mod heat;
mod pick;
pub mod run;
mod score;
#[cfg(test)]
mod tests;

pub use busy::{BusySet, Ticket};
pub use choice::{Choice, Input, PickOptions, Place, Reason};
pub use filter::{Fate, Filter, Older};
pub use heat::LevelHeat;
pub use pick::{Pressure, pick, pick_range};
pub use score::{Scores, density_of, scores, suggested_weight, value_score};
