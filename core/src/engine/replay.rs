//! The log at an open: replay into memtables, and where the prefix ends.

use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::batch::Ops;
use nokv_formats::envelope::SECTION_BATCH;
use nokv_formats::manifest::Edit;
use nokv_formats::walfs::{Position, parse_segment_file_name};
use nokv_formats::{CfId, Kind, Seq, ValuePtr};

use crate::engine::open::list_or_empty;
use crate::engine::{EngineOptions, OpenReport, TABLE_DIR, WAL_DIR};
use crate::error::{Error, IoContext, Result};
use crate::index::MemIndex;
use crate::manifest::{CleanClose, Manifest, ManifestState};
use crate::memtable::Memtable;
use crate::planted::{self, Bug};
use crate::sync::Arc;
use crate::vfs::{DirEntry, Vfs, join};
use crate::vlog::ValueLog;
use crate::wal::batch_log::SEGMENT_EXT;
use crate::wal::survey::read_segment;
use crate::wal::{
    BatchLog, BatchLogConfig, BatchLogRecord, RecoverFrom, RecoveryReport, Tally, is_own_file_name,
    replay_read_only,
};

/// Memtables in the making, oldest first.
pub(super) struct Replay<'o, I: MemIndex> {
    pub(super) options: &'o EngineOptions<I::Config>,
    pub(super) flushed: Seq,
    /// The first number that no family has had.
    pub(super) next_family: CfId,
    /// Path of the manifest.
    pub(super) manifest: String,
    /// Seq before the first record.
    pub(super) before: Seq,
    pub(super) last: Seq,
    pub(super) done: Vec<Arc<Memtable<I>>>,
    pub(super) filling: Option<Memtable<I>>,
    pub(super) batches: u64,
    pub(super) ops: u64,
    /// What the log holds.
    pub(super) tally: Tally,
    /// Where it ends.
    pub(super) end: Position,
}

impl<I: MemIndex> Replay<'_, I> {
    fn take(&mut self, record: &BatchLogRecord<'_>) -> Result<()> {
        let file = "log record";
        let mut seq = record.first_seq;
        let mut has_ops = false;
        for section in record.sections() {
            let section = section.map_err(|m| Error::malformed(file, record.start.offset, m))?;
            if section.kind != SECTION_BATCH {
                continue;
            }
            has_ops = true;
            for op in Ops::new(section.bytes) {
                let op = op.map_err(|m| Error::malformed(file, record.start.offset, m))?;
                if op.key.cf >= self.next_family {
                    let what = "the family of a log record: the end of the manifest is lost";
                    return Err(Error::corrupt(&self.manifest, 0, what));
                }
                // What tables hold already is not replayed.
                if seq > self.flushed || planted::is(Bug::ReplaysFlushed) {
                    self.memtable(record.start.segment, seq).apply(&op, seq);
                    self.ops += 1;
                }
                self.last = self.last.max(seq);
                seq = Seq(seq.0 + 1);
            }
        }
        self.batches += u64::from(has_ops);
        // Between batches only: no batch spans two memtables.
        if self.filling.as_ref().is_some_and(|m| m.memory_bytes() >= self.options.memtable_bytes)
            && let Some(full) = self.filling.take()
        {
            full.seal(self.last);
            self.done.push(Arc::new(full));
        }
        Ok(())
    }

    /// Starts again.
    fn forget(&mut self) {
        self.done.clear();
        self.filling = None;
        (self.last, self.batches, self.ops) = (self.before, 0, 0);
    }

    fn memtable(&mut self, segment: u32, seq: Seq) -> &Memtable<I> {
        let options = self.options;
        self.filling
            .get_or_insert_with(|| Memtable::new(&options.index, options.memtable_bytes, segment, seq))
    }
}

#[expect(clippy::too_many_arguments, reason = "one step of open, called once")]
pub(super) fn recover_log<V: Vfs, I: MemIndex>(
    fs: &V,
    dir: &str,
    options: &EngineOptions<I::Config>,
    manifest: &mut Manifest<V>,
    state: &ManifestState,
    clean: Option<&CleanClose>,
    vlog: &ValueLog<V>,
    replay: &mut Replay<'_, I>,
    report: &mut OpenReport,
) -> Result<Option<BatchLog<V>>> {
    let wal_dir = join(dir, WAL_DIR);
    let config = BatchLogConfig { segment_bytes: options.wal_segment_bytes / 8 * 8, db_id: state.db_id };
    if state.wal_floor == 0 {
        if unknown_log(fs, &wal_dir, state.db_id)?.is_some() {
            let what = "where the log starts, though there is one: the end of the manifest is lost";
            return Err(Error::corrupt(&replay.manifest, 0, what));
        }
        if options.read_only {
            return Ok(None);
        }
        vlog.sync()?;
        return make_log(fs, dir, &wal_dir, config, manifest).map(Some);
    }
    let mut from = RecoverFrom {
        floor_segment: state.wal_floor,
        clean_end: clean.map(|c| Position { segment: c.wal_segment, offset: c.wal_offset }),
        end_before: None,
    };
    let recover = |from: RecoverFrom, visit: &mut dyn FnMut(BatchLogRecord<'_>) -> Result<()>| {
        if options.read_only {
            return replay_read_only(fs, &wal_dir, config, from, visit).map(|report| (None, report));
        }
        // ORDER: values that the last process left in the kernel's cache, before the records that name them.
        let (batch_log, report) = BatchLog::recover(fs, &wal_dir, config, from, visit, &mut || vlog.sync())?;
        Ok((Some(batch_log), report))
    };
    let mut value_lost = false;
    // Nothing is written before the whole log was visited: an error in between leaves it as it is.
    let first = recover(from, &mut |record| {
        if clean.is_none() && !is_resolvable(&record, state.flushed_seq, vlog)? {
            value_lost = true;
            return Err(Error::corrupt(&wal_dir, record.start.offset, "a record whose value is there"));
        }
        replay.take(&record)
    });
    let (batch_log, recovery): (Option<BatchLog<V>>, RecoveryReport) = if value_lost {
        replay.forget();
        from.end_before = first_unresolvable(fs, &wal_dir, config, from, state.flushed_seq, vlog)?;
        recover(from, &mut |record| replay.take(&record))?
    } else {
        first?
    };
    report.cut = recovery.cut;
    report.replayed_records = recovery.records;
    report.replayed_segments = recovery.segments;
    report.replayed_bytes = recovery.bytes;
    report.log_end = recovery.end;
    replay.tally = recovery.tally;
    replay.end = recovery.end;
    // Groups that were removed: what they left counts for nobody.
    for (group, before) in &state.raft_removed {
        replay.tally.forget_group(*group, *before);
        if let Some(batch_log) = &batch_log {
            batch_log.forget_group(*group, *before);
        }
    }
    Ok(batch_log)
}

/// The first segment of a log with batches of this database. A manifest that knows no log beside it has lost its end, and
/// nothing of it may be removed. Segments do not count that a repair has set aside under another name, and had no time
/// to remove.
pub(super) fn unknown_log<V: Vfs>(fs: &V, wal_dir: &str, db_id: u64) -> Result<Option<u32>> {
    let entries = list_or_empty(fs, wal_dir)?;
    let mut first: Option<u32> = None;
    for entry in &entries {
        let Some(number) = parse_segment_file_name(&entry.name, SEGMENT_EXT) else { continue };
        if !is_set_aside(fs, wal_dir, &entries, &entry.name)? {
            first = Some(first.map_or(number, |n| n.min(number)));
        }
    }
    let Some(first) = first else { return Ok(None) };
    let from = RecoverFrom { floor_segment: first, clean_end: None, end_before: None };
    let config = BatchLogConfig { segment_bytes: 0, db_id };
    match replay_read_only(fs, wal_dir, config, from, &mut |_| Ok(())) {
        Ok(found) => Ok((found.batches > 0).then_some(first)),
        // Damage within a log is no reason to throw it away.
        Err(Error::Corrupt { .. }) => Ok(Some(first)),
        Err(error) => Err(error),
    }
}

/// Has the file a second one with the same bytes, under a name that a repair gives?
fn is_set_aside<V: Vfs>(fs: &V, dir: &str, entries: &[DirEntry], name: &str) -> Result<bool> {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    read_segment(fs, &join(dir, name), &mut own)?;
    for entry in entries {
        if entry.name.strip_prefix(name).is_some_and(|rest| rest.starts_with(".damaged")) {
            read_segment(fs, &join(dir, &entry.name), &mut other)?;
            if own == other {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A database whose log was never made: no write was ever acknowledged.
fn make_log<V: Vfs>(
    fs: &V,
    dir: &str,
    wal_dir: &str,
    config: BatchLogConfig,
    manifest: &mut Manifest<V>,
) -> Result<BatchLog<V>> {
    manifest.begin_writes()?;
    fs.create_dir_all(wal_dir).at("create directory", wal_dir)?;
    let table_dir = join(dir, TABLE_DIR);
    fs.create_dir_all(&table_dir).at("create directory", &table_dir)?;
    // Only what an unfinished run of this function, or a checkpoint's original, left: our own names.
    for entry in list_or_empty(fs, wal_dir)? {
        if entry.is_dir || !is_own_file_name(&entry.name, SEGMENT_EXT) {
            continue;
        }
        let path = join(wal_dir, &entry.name);
        fs.unlink(&path).at("unlink", &path)?;
    }
    fs.sync_dir(dir).at("sync", dir)?;
    let batch_log = BatchLog::create(fs, wal_dir, config, 1)?;
    // ORDER: the log is durable before the floor says that it must be there.
    manifest.append(&[Edit::WalFloor { segment: 1 }])?;
    Ok(batch_log)
}

/// The first record behind the durable mark with a pointer that names nothing readable: after a power cut the
/// value may be lost while the pointer was not. It ends the prefix.
fn first_unresolvable<V: Vfs>(
    fs: &V,
    wal_dir: &str,
    config: BatchLogConfig,
    from: RecoverFrom,
    flushed: Seq,
    vlog: &ValueLog<V>,
) -> Result<Option<Position>> {
    let mut broken: Vec<Position> = Vec::new();
    let mut visit = |record: BatchLogRecord<'_>| {
        if !is_resolvable(&record, flushed, vlog)? {
            broken.push(record.start);
        }
        Ok(())
    };
    let report = replay_read_only(fs, wal_dir, config, from, &mut visit)?;
    // Before the mark a lost value is damage, and is reported when it is read.
    Ok(broken.into_iter().find(|at| *at >= report.durable_mark))
}

/// Does every pointer of the record that is not in tables yet name its value?
fn is_resolvable<V: Vfs>(record: &BatchLogRecord<'_>, flushed: Seq, vlog: &ValueLog<V>) -> Result<bool> {
    let mut seq = record.first_seq;
    for section in record.sections() {
        let Ok(section) = section else { break };
        if section.kind != SECTION_BATCH {
            continue;
        }
        for op in Ops::new(section.bytes).map_while(core::result::Result::ok) {
            if op.kind == Kind::Pointer
                && seq > flushed
                && let Ok(ptr) = ValuePtr::decode(op.value)
            {
                match vlog.read(&ptr, op.key, op.version) {
                    Ok(_) => vlog.found_in_log(&ptr),
                    // Also when the segment's file is gone: its name was not durable.
                    Err(Error::Corrupt { .. }) => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            seq = Seq(seq.0 + 1);
        }
    }
    Ok(true)
}
