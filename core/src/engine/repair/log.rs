//! The log, as far as it can be replayed.

use alloc::vec::Vec;

use nokv_formats::batch::{Op, Ops};
use nokv_formats::envelope::SECTION_BATCH;
use nokv_formats::walfs::Position;
use nokv_formats::{CfId, Seq};

use super::LogPlace;
use crate::engine::{RecordKind, WAL_DIR};
use crate::error::{Error, Result};
use crate::vfs::{IoErrorKind, Vfs, join};
use crate::wal::{BatchLogConfig, BatchLogRecord, Cut, RecoverFrom, replay_read_only};

/// How a log ends.
#[derive(Debug, Clone, Default)]
pub(super) struct LogEnd {
    /// Behind the last batch that was delivered.
    pub end: Option<Position>,
    /// How far it is proved to have been durable; only known if it can be replayed.
    pub durable_mark: Position,
    /// What the next open cuts behind that.
    pub cut: Option<Cut>,
    /// Why it cannot be replayed further, if opening would refuse it.
    pub rot: Option<Error>,
    /// Batches delivered.
    pub batches: u64,
    /// Records of raft groups and of others in them.
    pub typed: u64,
    /// The first seq in it.
    pub first_seq: Option<Seq>,
}

/// Delivers the operations of all whole batches, with seq and where the batch starts.
///
/// # Errors
/// What `take` gives; I/O errors. Damage is a [`LogEnd`].
pub(super) fn read_log<V: Vfs>(
    fs: &V,
    dir: &str,
    db_id: u64,
    place: &LogPlace,
    take: &mut dyn FnMut(Position, &Op<'_>, Seq) -> Result<()>,
) -> Result<LogEnd> {
    let wal_dir = join(dir, WAL_DIR);
    // The size of new segments plays no part in reading.
    let config = BatchLogConfig { segment_bytes: 512, db_id };
    let clean_end = place.clean.as_ref().map(|c| Position { segment: c.wal_segment, offset: c.wal_offset });
    let from = RecoverFrom { floor_segment: place.floor, clean_end, end_before: None };
    let mut log = LogEnd::default();
    let mut taken: Result<()> = Ok(());
    let mut visit = |record: BatchLogRecord<'_>| {
        let (ops, typed) = decode(&record)?;
        log.typed += typed;
        log.first_seq.get_or_insert(record.first_seq);
        for (seq, op) in (record.first_seq.0..).zip(&ops) {
            if let Err(error) = take(record.start, op, Seq(seq)) {
                taken = Err(error.clone());
                return Err(error);
            }
        }
        log.batches += 1;
        log.end = Some(record.end);
        Ok(())
    };
    let report = replay_read_only(fs, &wal_dir, config, from, &mut visit);
    taken?;
    match report {
        Ok(report) => (log.durable_mark, log.cut) = (report.durable_mark, report.cut),
        Err(error @ Error::Corrupt { .. }) => log.rot = Some(error),
        Err(Error::Io { source, file, .. }) if source.kind == IoErrorKind::NotFound => {
            log.rot = Some(Error::corrupt(file, 0, "the log is missing"));
        }
        Err(error) => return Err(error),
    }
    Ok(log)
}

/// All operations of a batch, or none, and how many typed records it has.
fn decode<'a>(record: &BatchLogRecord<'a>) -> Result<(Vec<Op<'a>>, u64)> {
    let malformed = |m| Error::malformed(alloc::format!("log record {}", record.start), 0, m);
    let (mut ops, mut typed) = (Vec::new(), 0);
    for section in record.sections() {
        let section = section.map_err(malformed)?;
        if section.kind == SECTION_BATCH {
            for op in Ops::new(section.bytes) {
                ops.push(op.map_err(malformed)?);
            }
        } else if RecordKind::of(section.kind).is_some() {
            typed += 1;
        }
    }
    Ok((ops, typed))
}

/// The families that the log names.
pub(super) fn note_family(families: &mut alloc::collections::BTreeSet<CfId>, op: &Op<'_>) {
    families.insert(op.key.cf);
}
