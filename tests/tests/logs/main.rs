//! Suites of the logs: the engine's own, the general one, record log and journal.
#![allow(missing_docs)]

mod batch_log_crash;
mod hostile_found;
mod journal;
mod journal_kill;
mod logs_foreign;
mod record_log;
mod wal_log;
mod wal_tail;
mod walfs_index;
mod walfs_options;
mod walfs_owner;
mod walfs_races;
mod walfs_retention;
mod walfs_segment;
mod walfs_truncate;
mod walfs_vectors;
