//! Running a flush or a compaction: merge, filter, write tables. It installs nothing.
//!
//! Outputs are cut between user keys, so a key never straddles two tables. A range delete is cut where an output
//! ends: each output holds the part of it between its own first key and the next output's first key.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nokv_formats::{CfId, EntryRef, KeyBuf, KeyRef, Kind, RangeDelete, Seq, TableMeta, ValuePtr, Version};

use super::filter::{Fate, Filter, Older};
use crate::cursor::Cursor;
use crate::engine::Entries;
use crate::error::{Error, Result};
use crate::planted::{self, Bug};
use crate::read::merge::MergeCursor;
use crate::read::range_set::RangeSet;
use crate::sync::Arc;
use crate::table::{Table, TableBuilder};
use crate::vfs::{Vfs, VfsFile};

/// Entries between two looks at whether to go on.
const CANCEL_LOOK: u64 = 4096;

/// What a run must respect.
pub struct Job<'a> {
    /// Seqs that reads stand at, ascending.
    pub horizon: &'a [Seq],
    /// Entries that expired up to here are deletes.
    pub cut_ms: u64,
    /// The lowest version in any input.
    pub version_min: Version,
    /// Dropped families: their entries go.
    pub dropped: &'a BTreeMap<CfId, Seq>,
    /// An output is closed at this size, in bytes.
    pub split_bytes: u64,
    /// Asked now and then: is the run to be given up?
    pub is_cancelled: &'a dyn Fn() -> bool,
}

/// Moves values that a pointer names; `None` leaves the pointer as it is.
pub trait Relocate {
    /// The new place of the value.
    fn relocate(&mut self, key: KeyRef<'_>, version: Version, ptr: &ValuePtr) -> Result<Option<ValuePtr>>;
}

/// Moves nothing.
pub struct Stay;

impl Relocate for Stay {
    fn relocate(&mut self, _: KeyRef<'_>, _: Version, _: &ValuePtr) -> Result<Option<ValuePtr>> {
        Ok(None)
    }
}

/// Makes output files.
pub trait Outputs {
    /// Its files.
    type File: VfsFile;
    /// A builder for the next output.
    fn create(&mut self) -> Result<TableBuilder<Self::File>>;
    /// So many more bytes of the output were written.
    fn wrote(&mut self, bytes: u64) {
        let _ = bytes;
    }
    /// A finished output; the number and file are those of the last `create`.
    fn finished(&mut self, meta: TableMeta) -> Result<()>;
}

/// Tables that are not inputs and may be older than them.
pub struct OlderTables<V: Vfs> {
    tables: Vec<Arc<Table<V>>>,
}

impl<V: Vfs> OlderTables<V> {
    /// Of `tables`.
    pub const fn new(tables: Vec<Arc<Table<V>>>) -> Self {
        Self { tables }
    }

    /// May anything with a seq below `seq` lie in `start..end`?
    fn may_hold_range(&self, cf: CfId, start: &[u8], end: &[u8], seq: Seq) -> bool {
        let (start, end) = (KeyRef::new(cf, start), KeyRef::new(cf, end));
        self.tables.iter().any(|t| {
            let props = &t.meta().props;
            props.seq_min < seq && props.smallest.as_ref() < end && start <= props.largest.as_ref()
        })
    }
}

impl<V: Vfs> Older for OlderTables<V> {
    fn may_hold(&mut self, key: KeyRef<'_>, version: Version, seq: Seq) -> bool {
        self.tables.iter().any(|t| {
            let props = &t.meta().props;
            props.seq_min < seq
                && props.version_min <= version
                && props.smallest.as_ref() <= key
                && key <= props.largest.as_ref()
        })
    }
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Entries read.
    pub entries_in: u64,
    /// Entries written.
    pub entries_out: u64,
    /// The highest seq of a delete, purge, range delete or expired entry that was dropped because it was done.
    pub dropped: Seq,
}

/// Merges `sources` (newest first) and the range deletes `ranges` into tables.
pub fn run<C: Cursor, V: Vfs<File = F>, F: VfsFile>(
    job: &Job<'_>,
    sources: Vec<C>,
    ranges: &RangeSet,
    older: &mut OlderTables<V>,
    relocate: &mut impl Relocate,
    outputs: &mut impl Outputs<File = F>,
) -> Result<RunStats> {
    let ranges = &surviving_ranges(job, ranges, older);
    let mut stats = RunStats::default();
    let mut filter = Filter::new(job.horizon, job.cut_ms, job.version_min);
    let mut entries = Entries::new(MergeCursor::new(sources));
    let mut out =
        Writer { outputs, builder: None, told: 0, ranges: &ranges.kept, lower: None, split: job.split_bytes };
    entries.seek_first()?;
    let mut new_key = true;
    let mut covering: &[Seq] = &[];
    let mut held: Option<(Version, Seq)> = None;
    while let Some((entry, _)) = entries.entry() {
        let key = entries.key();
        if new_key {
            filter.begin_key();
            held = None;
            covering = ranges.all.covering(key);
        }
        stats.entries_in += 1;
        if stats.entries_in % CANCEL_LOOK == 0 && (job.is_cancelled)() {
            return Err(Error::Busy("the database closes"));
        }
        let fate = if job.dropped.contains_key(&key.cf) {
            Fate::Drop
        } else {
            filter.judge(key, &entry, covering, older)
        };
        if fate == Fate::Keep
            && entry.kind.has_value()
            && let Some((version, seq)) = held.take()
            && version == entry.version
        {
            out.add(key, &without_value(Kind::Purge, version, seq))?;
            stats.entries_out += 1;
        }
        match fate {
            Fate::Drop => {}
            Fate::KeepWithNext => held = Some((entry.version, entry.seq)),
            Fate::Keep if entry.kind == Kind::Pointer => {
                let ptr = ValuePtr::decode(entry.value)
                    .map_err(|m| Error::malformed("value pointer of a table", 0, m))?;
                match relocate.relocate(key, entry.version, &ptr)? {
                    Some(moved) => out.add(key, &EntryRef { value: &moved.to_bytes(), ..entry })?,
                    None => out.add(key, &entry)?,
                }
            }
            Fate::Keep => out.add(key, &entry)?,
            Fate::KeepAsDelete => out.add(key, &without_value(Kind::Delete, entry.version, entry.seq))?,
        }
        stats.entries_out += u64::from(matches!(fate, Fate::Keep | Fate::KeepAsDelete));
        new_key = entries.next()?;
    }
    out.finish()?;
    stats.dropped = filter.dropped().max(ranges.dropped);
    Ok(stats)
}

const fn without_value(kind: Kind, version: Version, seq: Seq) -> EntryRef<'static> {
    EntryRef { version, seq, kind, meta: 0, expires_at: 0, value: &[] }
}

/// The range deletes of the inputs: all of them, to judge entries by, and those that go on.
struct Ranges<'a> {
    all: &'a RangeSet,
    kept: RangeSet,
    /// The highest seq of one that was dropped because it was done.
    dropped: Seq,
}

fn surviving_ranges<'a, V: Vfs>(job: &Job<'_>, all: &'a RangeSet, older: &OlderTables<V>) -> Ranges<'a> {
    let (mut kept, mut dropped) = (RangeSet::new(), Seq::ZERO);
    for f in all.fragments() {
        if job.dropped.contains_key(&f.cf) {
            continue;
        }
        let mut previous_stripe = None;
        for seq in &f.seqs {
            let stripe = job.horizon.partition_point(|s| s < seq);
            // The newest of a stripe hides all that the others of it hide.
            let covered = previous_stripe == Some(stripe);
            previous_stripe = Some(stripe);
            let is_early = planted::is(Bug::RangeDeleteDroppedEarly);
            let done = stripe == 0 && (is_early || !older.may_hold_range(f.cf, &f.start, &f.end, *seq));
            if !covered && !done {
                kept.insert(f.cf, &f.start, &f.end, *seq);
            } else if done {
                dropped = dropped.max(*seq);
            }
        }
    }
    Ranges { all, kept, dropped }
}

/// Writes entries into outputs and deals the range deletes out to them.
struct Writer<'a, O: Outputs> {
    outputs: &'a mut O,
    builder: Option<TableBuilder<O::File>>,
    /// Bytes of the open output that `outputs` was told of.
    told: u64,
    ranges: &'a RangeSet,
    /// Where the open output starts; `None`: at the very beginning.
    lower: Option<KeyBuf>,
    split: u64,
}

impl<O: Outputs> Writer<'_, O> {
    fn add(&mut self, key: KeyRef<'_>, entry: &EntryRef<'_>) -> Result<()> {
        if let Some(builder) = &self.builder
            && builder.estimated_bytes() >= self.split
            && builder.last_key().is_some_and(|last| last < key)
        {
            self.close(Some(key))?;
            self.lower = Some(key.to_buf());
        }
        let builder = match &mut self.builder {
            Some(builder) => builder,
            none => none.insert(self.outputs.create()?),
        };
        builder.add(key, entry)?;
        let written = builder.written_bytes();
        if written > self.told {
            self.outputs.wrote(written - self.told);
            self.told = written;
        }
        Ok(())
    }

    /// Ends the open output; the next one starts at `upper`.
    fn close(&mut self, upper: Option<KeyRef<'_>>) -> Result<()> {
        let lower = self.lower.as_ref().map(KeyBuf::as_ref);
        let clipped = clip(self.ranges, lower, upper);
        if self.builder.is_none() && !clipped.is_empty() {
            self.builder = Some(self.outputs.create()?);
        }
        let Some(mut builder) = self.builder.take() else { return Ok(()) };
        for delete in &clipped {
            builder.add_range_delete(delete);
        }
        let meta = builder.finish()?;
        self.outputs.wrote(meta.file_bytes.saturating_sub(core::mem::take(&mut self.told)));
        self.outputs.finished(meta)
    }

    fn finish(mut self) -> Result<()> {
        self.close(None)
    }
}

/// The parts of `ranges` in `lower..upper`.
fn clip(ranges: &RangeSet, lower: Option<KeyRef<'_>>, upper: Option<KeyRef<'_>>) -> Vec<RangeDelete> {
    let mut clipped = Vec::new();
    for f in ranges.fragments() {
        let start = KeyRef::new(f.cf, &f.start);
        let end = KeyRef::new(f.cf, &f.end);
        let start = lower.map_or(start, |lower| lower.max(start));
        let end = upper.map_or(end, |upper| upper.min(end));
        if start >= end || start.cf != f.cf {
            continue;
        }
        // `end` may be the start of a later family: then the fragment goes on to its own end.
        let end = if end.cf == f.cf { end.user_key } else { &f.end };
        for seq in &f.seqs {
            clipped.push(RangeDelete {
                cf: f.cf,
                start: start.user_key.to_vec(),
                end: end.to_vec(),
                seq: *seq,
            });
        }
    }
    clipped
}
