//! Drives an engine on one thread, step by step, and keeps the oracle's books.

use std::sync::Arc;

use nokv_core::MemIndex;
use nokv_core::clock::ManualClock;
use nokv_core::compact::PickOptions;
use nokv_core::engine::{
    Engine, EngineOptions, Environment, GcReport, GcStep, Member, ReplacedRange, TypedSection,
};
use nokv_core::error::{Error, Result};
use nokv_core::formats::vlog::record_len;
use nokv_core::heat::{NoHeat, NoSignals};
use nokv_core::table::{Compression, TableBuilder, TableOptions};
use nokv_core::vfs::Vfs;

use super::track::{Content, Copy, Op, Track, batch_of};

/// The directory of the database.
pub const DIR: &str = "db";

/// Options that make everything happen with little data.
pub fn tiny<C>(index: C) -> EngineOptions<C> {
    EngineOptions {
        memtable_bytes: 64 << 10,
        sealed_memtables_max: 2,
        wal_segment_bytes: 256 << 10,
        value_threshold_bytes: 3000,
        value_log_segment_bytes: 64 << 10,
        value_log_max_entries: 0,
        value_log_buckets: 2,
        value_log_hot_buckets: 0,
        gc: nokv_core::vlog::GcOptions::default(),
        table: TableOptions { block_bytes: 1024, ..TableOptions::new(record_len) },
        compression: Compression::None,
        table_bytes: 8 << 10,
        block_cache_bytes: 64 << 10,
        open_files_max: 8,
        pick: PickOptions {
            l0_tables: 2,
            base_bytes: 16 << 10,
            multiplier: 2,
            ingest_tables: 2,
            ..PickOptions::default()
        },
        level0_slowdown_tables: 6,
        level0_stop_tables: 12,
        ..EngineOptions::new(index, 0x1dea)
    }
}

/// Clock, no heat, no signals.
pub fn environment() -> Environment {
    Environment {
        clock: Arc::new(ManualClock::new(1_000_000)),
        heat: Arc::new(NoHeat),
        signals: Arc::new(NoSignals),
    }
}

/// Writes one batch; gives its ticket's last seq.
///
/// # Errors
/// What any part of the write gives.
pub fn write<V: Vfs, I: MemIndex>(engine: &Engine<V, I>, ops: &[Op], logged: bool) -> Result<u64> {
    let batch = batch_of(ops);
    loop {
        let (prepared, _guard) = engine.prepare(&batch)?;
        let mut group = [Member { batch: &prepared, disable_wal: !logged, outcome: None }];
        engine.log(&mut group);
        let [member] = group;
        match member.outcome {
            Some(Ok(ticket)) => {
                engine.apply(&prepared, &ticket);
                return Ok(ticket.last_seq().0);
            }
            Some(Err(Error::Busy(_))) => engine.run_all_work()?,
            Some(Err(error)) => return Err(error),
            None => return Err(Error::Busy("no outcome")),
        }
    }
}

/// The options of the open with this number: others than before, each time.
fn changed<C>(options: EngineOptions<C>, opens: u32) -> EngineOptions<C> {
    match opens % 3 {
        0 => options,
        1 => EngineOptions {
            value_threshold_bytes: 2950,
            value_log_buckets: 1,
            compression: Compression::Lz4,
            manifest_sync: !options.manifest_sync,
            ..options
        },
        _ => EngineOptions {
            memtable_bytes: 96 << 10,
            wal_segment_bytes: 512 << 10,
            value_threshold_bytes: 5000,
            value_log_segment_bytes: 128 << 10,
            table_bytes: 16 << 10,
            ..options
        },
    }
}

/// An engine under a workload. Every call panics on an error: no workload here meets one.
pub struct Drive<V: Vfs, I: MemIndex> {
    fs: V,
    options: EngineOptions<I::Config>,
    track: Track,
    engine: Option<Arc<Engine<V, I>>>,
    /// For values.
    counter: u64,
    opens: u32,
}

impl<V: Vfs, I: MemIndex> Drive<V, I> {
    /// Opens the database.
    pub fn new(fs: V, options: EngineOptions<I::Config>, track: Track) -> Self {
        let mut drive = Self { fs, options, track, engine: None, counter: 0, opens: 0 };
        drive.open();
        drive.track.update(|mark| mark.created = true);
        drive
    }

    fn open(&mut self) {
        let options = changed(self.options.clone(), self.opens);
        self.opens += 1;
        let engine = Engine::open(self.fs.clone(), DIR, options, environment())
            .unwrap_or_else(|e| panic!("the workload's own open: {e}"));
        // What recovery delivered is durable; steps without a log record may be gone.
        self.track.cut(engine.published().0, engine.flushed_seq().0);
        self.engine = Some(engine);
    }

    /// The engine.
    ///
    /// # Panics
    /// While it is closed.
    pub fn engine(&self) -> &Arc<Engine<V, I>> {
        self.engine.as_ref().expect("open")
    }

    /// The file system.
    pub const fn fs(&self) -> &V {
        &self.fs
    }

    /// A value of `len` bytes that no other write has.
    pub fn value(&mut self, len: usize) -> Arc<[u8]> {
        self.counter += 1;
        let mut x = self.counter.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            })
            .collect()
    }

    /// A put of a new value.
    pub fn put(&mut self, cf: u32, key: &str, len: usize) -> Op {
        Op::Put(cf, key.as_bytes().to_vec(), self.value(len))
    }

    /// Writes a batch, not synced.
    pub fn write(&mut self, ops: Vec<Op>) {
        self.write_as(ops, true);
    }

    /// Writes a batch without a log record.
    pub fn write_unlogged(&mut self, ops: Vec<Op>) {
        self.write_as(ops, false);
    }

    fn write_as(&mut self, ops: Vec<Op>, logged: bool) {
        let engine = Arc::clone(self.engine());
        let last = engine.published().0 + ops.len() as u64;
        self.track.register(last, ops.clone(), logged);
        let seq = write(&engine, &ops, logged).unwrap_or_else(|e| panic!("the workload's own write: {e}"));
        assert_eq!(seq, last, "the oracle knows the seqs");
        self.track.acknowledge();
    }

    /// Writes a batch with typed records, in one log record.
    pub fn write_with(&mut self, ops: Vec<Op>, sections: &[TypedSection<'_>]) {
        let engine = Arc::clone(self.engine());
        let last = engine.published().0 + ops.len() as u64;
        self.track.register(last, ops.clone(), true);
        let batch = batch_of(&ops);
        let (prepared, _guard) = engine.prepare(&batch).expect("prepare");
        let ticket = loop {
            match engine.log_with_sections(&prepared, sections) {
                Ok((ticket, _)) => break ticket,
                Err(Error::Busy(_)) => engine.run_all_work().expect("background work"),
                Err(error) => panic!("the workload's own write: {error}"),
            }
        };
        engine.apply(&prepared, &ticket);
        assert_eq!(engine.published().0, last, "the oracle knows the seqs");
        self.track.acknowledge();
    }

    /// Several batches in one log record.
    pub fn write_group(&mut self, batches: Vec<Vec<Op>>) {
        let engine = Arc::clone(self.engine());
        let mut last = engine.published().0;
        for ops in &batches {
            last += ops.len() as u64;
            self.track.register(last, ops.clone(), true);
        }
        let batches: Vec<_> = batches.iter().map(|ops| batch_of(ops)).collect();
        let prepared: Vec<_> = batches.iter().map(|b| engine.prepare(b).expect("prepare")).collect();
        let mut group: Vec<_>;
        loop {
            group = prepared
                .iter()
                .map(|(batch, _)| Member { batch, disable_wal: false, outcome: None })
                .collect();
            engine.log(&mut group);
            if group.iter().any(|member| !matches!(member.outcome, Some(Err(Error::Busy(_))))) {
                break;
            }
            engine.run_all_work().expect("background work");
        }
        for member in group {
            let ticket = member.outcome.expect("an outcome").expect("logged");
            engine.apply(member.batch, &ticket);
        }
        assert_eq!(engine.published().0, last);
        self.track.acknowledge();
    }

    /// Makes everything so far durable.
    pub fn sync(&mut self) {
        self.engine().sync().expect("sync");
        self.track.synced();
    }

    /// Flushes everything, and nothing more.
    pub fn flush(&mut self) {
        let last = self.engine().published().0;
        self.track.update(|mark| mark.flushed[1] = last);
        self.engine().flush_all().expect("flush");
        self.track.flushed();
    }

    /// Runs all background work.
    pub fn work(&mut self) {
        let last = self.engine().published().0;
        self.track.update(|mark| mark.flushed[1] = last);
        self.engine().run_all_work().expect("background work");
        let flushed = self.engine().flushed_seq().0;
        let (steps, _) = self.track.steps_up_to(self.track.mark().epoch, flushed);
        self.track.update(|mark| {
            mark.flushed[0] = flushed;
            mark.synced = mark.synced.max(steps);
        });
    }

    /// Merges a family down as far as it goes.
    pub fn compact(&mut self, cf: u32) {
        while !self.engine().compact_range_step(nokv_core::formats::CfId(cf), None, None).expect("compact") {}
    }

    /// Collects the value log.
    pub fn collect(&mut self, ratio: f64) -> Option<GcReport> {
        let engine = Arc::clone(self.engine());
        let mut collection = match engine.gc_start(ratio) {
            Ok(collection) => collection,
            Err(Error::NothingToCollect) => return None,
            Err(e) => panic!("collection: {e}"),
        };
        for _ in 0..1000 {
            match engine.gc_step(&mut collection).expect("a step of the collection") {
                GcStep::Wait => self.flush(),
                GcStep::Again => {}
                GcStep::Done(report) => return Some(report),
            }
        }
        panic!("the collection does not end");
    }

    /// Makes a family.
    pub fn create_family(&mut self, name: &str) -> u32 {
        let next = self.engine().manifest_state().next_family().0;
        self.track.update(|mark| {
            mark.families[1].insert(next);
        });
        let id = self.engine().create_family(name).expect("create family").0;
        assert_eq!(id, next);
        self.track.update(|mark| mark.families[0] = mark.families[1].clone());
        id
    }

    /// Drops a family.
    pub fn drop_family(&mut self, name: &str) {
        let id = self.engine().families().get(name).expect("there").0;
        self.track.update(|mark| {
            mark.families[1].remove(&id);
        });
        self.engine().drop_family(name).expect("drop family");
        self.track.update(|mark| mark.families[0] = mark.families[1].clone());
    }

    /// Makes a checkpoint of what is flushed.
    pub fn checkpoint(&mut self, dir: &str) {
        let seq = self.engine().flushed_seq().0;
        self.track.update(|mark| mark.copies.push(Copy { dir: dir.to_owned(), seq, done: false }));
        let told = self.engine().checkpoint(dir).expect("checkpoint");
        assert_eq!(told.0, seq);
        self.track.update(|mark| {
            if let Some(copy) = mark.copies.last_mut() {
                copy.done = true;
            }
        });
    }

    /// Ingests one table of these keys, in place of a range if told so.
    pub fn ingest(&mut self, path: &str, keys: &[String], replace: Option<(&str, &str)>) {
        let content: Content =
            keys.iter().map(|key| ((0, key.as_bytes().to_vec()), self.value(200))).collect();
        build_table(&self.fs, path, &content);
        let engine = Arc::clone(self.engine());
        let mut ops = Vec::new();
        let mut last = engine.published().0 + 1;
        if let Some((start, end)) = replace {
            ops.push(Op::DeleteRange(0, start.as_bytes().to_vec(), end.as_bytes().to_vec()));
            last += 1;
        }
        ops.extend(content.iter().map(|((cf, key), value)| Op::Put(*cf, key.clone(), Arc::clone(value))));
        let before = engine.published().0;
        self.track.update(|mark| mark.flushed[1] = before);
        self.track.register(last, ops, true);
        let range = replace.map(|(start, end)| ReplacedRange {
            cf: nokv_core::formats::CfId(0),
            start: start.as_bytes().to_vec(),
            end: end.as_bytes().to_vec(),
        });
        engine.ingest(&[path], range.as_ref()).expect("ingest");
        assert_eq!(engine.published().0, last, "the oracle knows the seqs of an ingest");
        self.track.acknowledge();
        self.track.flushed();
    }

    /// Closes cleanly and opens again.
    pub fn reopen(&mut self) {
        let last = self.engine().published().0;
        self.track.update(|mark| mark.flushed[1] = last);
        self.engine().close().expect("close");
        self.track.flushed();
        self.engine = None;
        self.open();
    }

    /// The process dies and another one opens the database.
    pub fn die_and_reopen(&mut self) {
        self.engine = None;
        self.open();
    }

    /// Closes cleanly.
    pub fn close(mut self) {
        let last = self.engine().published().0;
        self.track.update(|mark| mark.flushed[1] = last);
        self.engine().close().expect("close");
        self.track.flushed();
        self.engine = None;
    }
}

/// A foreign table.
fn build_table<V: Vfs>(fs: &V, path: &str, content: &Content) {
    use nokv_core::formats::{CfId, EntryRef, KeyRef, Kind, NEVER, Seq, Version};
    let file = fs.create(path).expect("create table");
    let mut builder = TableBuilder::new(file, path, TableOptions::new(record_len), 99).expect("builder");
    for ((cf, key), value) in content {
        let entry = EntryRef {
            version: Version::MAX,
            seq: Seq(1),
            kind: Kind::Put,
            meta: 0,
            expires_at: NEVER,
            value,
        };
        builder.add(KeyRef { cf: CfId(*cf), user_key: key }, &entry).expect("add");
    }
    builder.finish().expect("finish");
}
