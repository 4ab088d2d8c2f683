//! The write-ahead log: a public, general log over walfs files ([`Log`]), and the engine's own log on the same
//! segments ([`BatchLog`]).
//!
//! Who may call it: [`Log`] anyone; [`BatchLog`] the engine. Both are `Sync`.
//!
//! Lock order: `Tail::flush`, then `Tail::state`, then `Tail::next`, then a segment's header. Only `flush` is
//! held across a sync, and only syncers and sealers take it; `next` is held while a segment is made. A truncation
//! holds the first three to its end.

mod append;
pub mod batch_log;
pub mod dump;
pub mod journal;
pub mod log;
mod lookup;
mod open;
mod read;
pub mod reader;
mod readers;
pub mod record_log;
pub(crate) mod segment;
pub(crate) mod survey;
pub(crate) mod tail;
mod truncate;
pub mod verify;

pub use batch_log::{
    Appended, BatchLog, BatchLogConfig, BatchLogRecord, Cut, GroupSpan, LogSnapshot, RecordCounts,
    RecoverFrom, RecoveryReport, Section, Tally, replay_read_only,
};
pub use dump::{Dump, DumpRecord, EndState, dump};
pub use journal::{Journal, SyncMode};
pub use log::{Log, LogOptions, OnDamage, OpenReport};
pub use nokv_formats::walfs::Position;
pub use reader::{LogReader, Next, Record};
pub use record_log::RecordLog;
pub use survey::SegmentInfo;
pub use verify::{IndexState, SegmentCheck, Verified, verify};
