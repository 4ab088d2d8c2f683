//! The manifest: which files the database consists of, and how that changes atomically.
//!
//! Who may call it: the engine, under its install lock (one writer); tools open it read-only.
//!
//! Files in the database directory: `MANIFEST-NNNNNN` (see `formats::manifest`), and `CURRENT`, or the slots
//! `CURRENT-A` and `CURRENT-B` where the file system cannot rename atomically (see `formats::current`).
//!
//! 1. [`Manifest::open`] and [`probe`] write nothing. [`Manifest::begin_writes`] is the first write of an open, and
//!    the caller makes it after it has checked that every named file is there.
//! 2. [`ManifestState`] is the fold of the edits. [`ManifestState::apply`] checks each against the rules; an edit that breaks
//!    one is refused before it is written, and is damage when it is read.
//! 3. After a failed write or sync the manifest is dead until the database is reopened. A full disk is different: the
//!    part that was written is cut off again, durably, and the next append may succeed.
//!
//! # Append
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. the group's frame is written behind the end | a torn or whole group; not acknowledged, so either is right |
//! | b. the file is synced | the group, always |
//!
//! # Rewrite, when the file grew past the threshold, and at the first write after an unclean stop
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. a new file with the whole state as group 0, synced | an unnamed file, removed by [`Manifest::sweep`] |
//! | b. the directory is synced | the same |
//! | c. `CURRENT` names the new file, durably | the new state; the old file is unnamed |
//! | d. the old file is unlinked | nothing to do |
//!
//! After an unclean stop the bytes that were read may live in the page cache only, even if a sync of them failed.
//! They are therefore not trusted to be on the disk: they are written anew, into a new file.
//!
//! # `CURRENT`, with atomic rename
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. `CURRENT.tmp` written and synced | the old `CURRENT` |
//! | b. renamed over `CURRENT` | the old or the new |
//! | c. the directory is synced | the new |
//!
//! # `CURRENT`, without
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. the older slot is written and synced | the other slot, with the old state, or this one with the new |
//! | b. the other slot is written and synced | the new state, at least once |
//!
//! # Clean close
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. the engine has synced log, value log and manifest | an unclean stop |
//! | b. `CURRENT` with the clean block replaces the one without | a clean database |
//! | c. the next open replaces it by one without, before it writes anything else | an unclean stop |

mod current_file;
mod replay;
mod salvage;
mod state;
mod store;
#[cfg(test)]
pub(crate) mod testfs;
#[cfg(test)]
mod tests;

pub use current_file::probe;
pub use nokv_formats::current::{CleanClose, HeadEnd};
pub use nokv_formats::manifest::{Edit, RaftPointer, RegionEpoch, RegionMeta, RegionPeer, RegionState};
pub(crate) use salvage::find_state;
pub use state::{Family, LevelTables, ManifestState, VlogSegmentState};
pub use store::{MANIFEST_REWRITE_BYTES, Manifest, Opened, manifest_name};
