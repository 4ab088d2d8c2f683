//! The log: appends, reads by position, reads in order.

use std::path::Path;

use nokv::core::wal::{Log, LogOptions, Next};
use nokv::{Position, StdFs};

use crate::floor::frame_bytes;
use crate::measure::{Sample, sample};

pub type StdLog = Log<StdFs>;

/// A new log in `dir`, all of whose `ops` records fit one segment, as the floor's fit one file.
pub fn open(dir: &Path, size: usize, ops: usize, is_indexed: bool) -> StdLog {
    let room = (frame_bytes(size) * (ops + 1) + 4096).max(256 << 10) as u64;
    let options = LogOptions { segment_bytes: room, log_index: is_indexed, ..LogOptions::default() };
    let name = dir.join("log");
    Log::open(StdFs::new(), name.to_str().expect("the directory was given as text"), options)
        .expect("open a log")
}

/// Appends one by one; `sync` after each.
pub fn append(dir: &Path, payload: &[u8], ops: usize, is_indexed: bool, is_synced: bool) -> Sample {
    let log = open(dir, payload.len(), ops, is_indexed);
    sample(ops, || {
        for n in 1..=ops as u64 {
            log.append(payload, if is_indexed { n } else { 0 }).expect("append");
            if is_synced {
                log.sync().expect("sync");
            }
        }
    })
}

/// Appends in batches; `sync` after each.
pub fn append_batch(dir: &Path, payload: &[u8], ops: usize, batch: usize, is_synced: bool) -> Sample {
    let log = open(dir, payload.len(), ops, false);
    let mut positions = Vec::with_capacity(batch);
    sample(ops, || {
        let mut left = ops;
        while left > 0 {
            let count = batch.min(left);
            positions.clear();
            log.append_into(std::iter::repeat_n((payload, 0), count), &mut positions).expect("append");
            if is_synced {
                log.sync().expect("sync");
            }
            left -= count;
        }
    })
}

/// A log with `ops` records.
pub fn filled(dir: &Path, payload: &[u8], ops: usize) -> (StdLog, Vec<Position>) {
    let log = open(dir, payload.len(), ops, false);
    let mut positions = Vec::with_capacity(ops);
    log.append_into(std::iter::repeat_n((payload, 0), ops), &mut positions).expect("append");
    (log, positions)
}

/// Reads the records of `order` by position.
pub fn read(dir: &Path, payload: &[u8], ops: usize, order: &[usize]) -> Sample {
    let (log, positions) = filled(dir, payload, ops);
    let mut buf = Vec::with_capacity(frame_bytes(payload.len()) + 8192);
    sample(order.len(), || {
        for n in order {
            log.read_into(positions[*n], &mut buf).expect("read");
            assert_eq!(buf.len(), payload.len());
        }
    })
}

/// Reads all in order.
pub fn read_all(dir: &Path, payload: &[u8], ops: usize) -> Sample {
    let (log, _) = filled(dir, payload, ops);
    let mut reader = log.reader();
    sample(ops, || {
        let mut seen = 0;
        while let Next::Record(record) = reader.next().expect("read") {
            assert_eq!(record.payload.len(), payload.len());
            seen += 1;
        }
        assert_eq!(seen, ops);
    })
}
