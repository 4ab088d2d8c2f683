//! `nokv import`: records into the database, in file order.
//!
//! 1. Records are written in batches of at most [`BATCH_BYTES_MAX`], one after the other, each whole or absent:
//!    an interrupted import leaves the records up to some line, and nothing after it.
//! 2. The command syncs before it ends, also when it ends with a complaint about a line.
//! 3. The count of repeated keys is exact: it is the number of records whose key stood in an earlier record of
//!    the same input. Keys that the database held before do not count.
//!
//! For 3 a set of 64-bit key hashes rules out most keys at once. What it cannot rule out (a hash seen before, or
//! any key once the set is at its bound) is looked up: in the batch, then in the database, which knows whether
//! the key was written since the import began. Memory stays below one batch, its index and the set (about 38 MiB).

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::time::Instant;

use super::records::source::Source;
use super::records::{ReadError, Record, RecordReader, deb822, jsonl, tsv};
use super::store::{Failure, Result, Store};
use super::{args, progress::Progress};

/// A batch is written when it has this many bytes of keys and values; a larger record is a batch of its own.
pub const BATCH_BYTES_MAX: usize = 512 << 10;
/// Or this many records.
const BATCH_RECORDS_MAX: usize = 4096;

/// Key hashes kept: seven eighths of a power of two, where the table would have to grow.
const SEEN_MAX: usize = (4 << 20) / 8 * 7;

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Records read and written.
    pub records: u64,
    /// Of these, records whose key stood in an earlier record of the input.
    pub repeated: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
}

/// The reader for the format of `args`.
///
/// # Errors
/// A combination of flags that makes no sense.
pub fn reader(args: &args::Import, source: Source) -> Result<Box<dyn RecordReader>> {
    let input = source.reader;
    Ok(match (args.format, args.key.as_deref()) {
        (args::InputFormat::Jsonl, field) => Box::new(jsonl::Reader::new(input, field)),
        (args::InputFormat::Tsv, None) => Box::new(tsv::Reader::new(input)),
        (args::InputFormat::Deb822, Some(field)) => Box::new(deb822::Reader::new(input, field)),
        (args::InputFormat::Tsv, Some(_)) => {
            let next = "leave --key out: the key of TSV is what stands before the TAB";
            return Err(Failure::new("TSV has no fields", "--key", next));
        }
        (args::InputFormat::Deb822, None) => {
            let next = "name the field that is the key, for instance --key Package";
            return Err(Failure::new("deb822 needs a key", "--key", next));
        }
    })
}

/// Writes all records of `reader` and syncs. `name` is the input's, for messages; `tick` is called after each
/// batch.
///
/// # Errors
/// A record that is not of the format: all records before it are stored. Or what the store says.
pub fn run(
    store: &impl Store,
    reader: &mut dyn RecordReader,
    name: &str,
    progress: &Progress,
    tick: &mut dyn FnMut(&Progress),
) -> Result<Report> {
    let start = Instant::now();
    let mut writer = Writer::new(store, SEEN_MAX)?;
    let complaint = loop {
        match reader.next() {
            Ok(Some(record)) => {
                if writer.push(record)? {
                    tick(progress);
                }
            }
            Ok(None) => break None,
            Err(complaint) => break Some(complaint),
        }
    };
    writer.flush()?;
    store.sync()?;
    let report = Report { seconds: start.elapsed().as_secs_f64(), ..writer.report };
    match complaint {
        None => Ok(report),
        Some(ReadError { line, what, next }) => {
            let before = match report.records {
                1 => "the 1 record before it is stored".to_owned(),
                n => format!("the {n} records before it are stored"),
            };
            let next = format!("{next} ({before})");
            Err(Failure::new(what, format!("{name} line {line}"), next))
        }
    }
}

/// Collects records into batches.
struct Writer<'s, S> {
    store: &'s S,
    /// Commit order when the import began.
    mark: u64,
    seen: Seen,
    bytes: Vec<u8>,
    entries: Vec<Pending>,
    report: Report,
}

/// One record of the batch: where its bytes stand.
struct Pending {
    start: usize,
    key_end: usize,
    end: usize,
    may_repeat: bool,
}

impl<'s, S: Store> Writer<'s, S> {
    fn new(store: &'s S, seen_max: usize) -> Result<Self> {
        Ok(Self {
            store,
            mark: store.mark()?,
            seen: Seen::new(seen_max),
            bytes: Vec::new(),
            entries: Vec::new(),
            report: Report { records: 0, repeated: 0, bytes: 0, seconds: 0.0 },
        })
    }

    /// Takes a record; true if a batch was written.
    fn push(&mut self, record: Record<'_>) -> Result<bool> {
        let bytes = record.key.len() + record.value.len();
        let is_full = self.entries.len() == BATCH_RECORDS_MAX || self.bytes.len() + bytes > BATCH_BYTES_MAX;
        let flushed = is_full && !self.entries.is_empty();
        if flushed {
            self.flush()?;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.key);
        self.bytes.extend_from_slice(record.value);
        let may_repeat = self.seen.may_hold(record.key);
        let key_end = start + record.key.len();
        self.entries.push(Pending { start, key_end, end: self.bytes.len(), may_repeat });
        Ok(flushed)
    }

    /// Writes the batch.
    fn flush(&mut self) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let repeated = self.count_repeated()?;
        let bytes = &self.bytes;
        let mut pairs = self.entries.iter().map(|e| (&bytes[e.start..e.key_end], &bytes[e.key_end..e.end]));
        self.store.write(&mut pairs)?;
        self.report.records += self.entries.len() as u64;
        self.report.repeated += repeated;
        self.report.bytes += self.bytes.len() as u64;
        self.entries.clear();
        self.bytes.clear();
        self.bytes.shrink_to(2 * BATCH_BYTES_MAX);
        Ok(())
    }

    /// How many records of the batch repeat a key. Asked before the batch is written.
    fn count_repeated(&self) -> Result<u64> {
        if self.entries.iter().all(|e| !e.may_repeat) {
            return Ok(0);
        }
        let mut in_batch = HashSet::with_capacity(self.entries.len());
        let mut repeated = 0;
        for entry in &self.entries {
            let key = &self.bytes[entry.start..entry.key_end];
            let is_first_here = in_batch.insert(key);
            if entry.may_repeat && (!is_first_here || self.store.changed_since(key, self.mark)?) {
                repeated += 1;
            }
        }
        Ok(repeated)
    }
}

/// Says of a key that it is new, or that it may not be. Keyed with a random number, so that no input can be made
/// to collide.
struct Seen {
    keys: RandomState,
    hashes: HashSet<u64, BuildHasherDefault<AsIs>>,
    max: usize,
}

impl Seen {
    fn new(max: usize) -> Self {
        Self { keys: RandomState::new(), hashes: HashSet::default(), max }
    }

    /// Remembers `key`; false if it is certain that it was not asked for before.
    fn may_hold(&mut self, key: &[u8]) -> bool {
        let hash = self.keys.hash_one(key);
        // At the bound a key that is not in the set may be one that was not remembered.
        if self.hashes.len() >= self.max {
            return true;
        }
        !self.hashes.insert(hash)
    }
}

/// The hash is the key already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::MapStore;
    use super::*;

    fn repeated(keys: &[u8], seen_max: usize, before: &[u8]) -> u64 {
        let store = MapStore::default();
        for key in before {
            store.set(&[*key], b"before").unwrap();
        }
        let mut writer = Writer::new(&store, seen_max).unwrap();
        for (i, key) in keys.iter().enumerate() {
            writer.push(Record { key: &[*key], value: b"v", line: i as u64 }).unwrap();
            if i % 3 == 2 {
                writer.flush().unwrap();
            }
        }
        writer.flush().unwrap();
        writer.report.repeated
    }

    #[test]
    fn repeated_keys_are_counted_exactly_at_any_bound_of_the_set() {
        for seen_max in [0, 1, 2, 3, 100] {
            assert_eq!(repeated(b"abcdef", seen_max, b""), 0);
            assert_eq!(repeated(b"aa", seen_max, b""), 1);
            assert_eq!(repeated(b"abcabcdda", seen_max, b""), 5);
            assert_eq!(repeated(b"abcda", seen_max, b"abcd"), 1, "keys of before do not count");
        }
    }

    #[test]
    fn batches_are_bounded_and_large_records_stand_alone() {
        let store = MapStore::default();
        let mut writer = Writer::new(&store, SEEN_MAX).unwrap();
        let large = vec![b'x'; 2 * BATCH_BYTES_MAX];
        for (key, value) in [("a", &large[..10]), ("b", &large[..]), ("c", &large[..10]), ("d", &large[..10])]
        {
            writer.push(Record { key: key.as_bytes(), value, line: 1 }).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(store.batches(), [1, 1, 2]);
        for i in 0..=BATCH_RECORDS_MAX as u64 {
            writer.push(Record { key: &i.to_be_bytes(), value: b"", line: 1 }).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(store.batches()[3..], [BATCH_RECORDS_MAX, 1]);
    }
}
