//! The write-ahead log: a public, general log over walfs files ([`Log`]), and the engine's own log on the same
//! segments ([`BatchLog`]).
//!
//! Who may call it: [`Log`] anyone; [`BatchLog`] the engine. Both are `Sync`.
//!
//! Lock order: `Tail::flush`, then `Tail::state`, then `Tail::next`, then a segment's header. Only `flush` is
//! held across a sync, and only syncers and sealers take it; `next` is held while a segment is made. A truncation
//! holds the first three to its end. Locks of readers, log indexes, commit position and deletion queue are taken
//! behind these, none while another is held, but for the readers' places behind the list of readers.

mod append;
mod backup;
pub mod batch_log;
mod decoder;
pub mod dump;
mod index;
pub mod journal;
pub mod log;
mod lookup;
mod open;
mod options;
mod owner;
mod read;
pub mod reader;
mod readers;
pub mod record_log;
mod retention;
pub(crate) mod segment;
mod segment_cut;
mod segment_file;
mod segment_reader;
pub(crate) mod survey;
pub(crate) mod tail;
mod truncate;
pub mod verify;

pub use batch_log::{
    Appended, BatchLog, BatchLogConfig, BatchLogRecord, Cut, GroupSpan, LogSnapshot, RecordCounts,
    RecoverFrom, RecoveryReport, Section, Tally, replay_read_only,
};
pub use decoder::{NoopDecoder, RecordDecoder};
pub use dump::{Dump, DumpRecord, DumpSection, EndState, OwnRecord, dump, own_record};
pub use index::ShardedIndex;
pub use journal::{Journal, SyncMode};
pub use log::{Log, OpenReport};
pub use nokv_formats::walfs::IndexEntry;
pub use nokv_formats::walfs::Position;
pub(crate) use open::{is_own_file_name, remove_temporaries};
pub use options::{ChangeHook, LogOptions, MarkerValidator, OnDamage, RotationHook};
pub use reader::{LogReader, Next, Record};
pub use record_log::RecordLog;
pub use retention::{Cleaned, Retention};
pub use segment_file::SegmentFile;
pub use segment_reader::SegmentReader;
pub use survey::SegmentInfo;
pub use verify::{IndexState, SegmentCheck, Verified, verify};
