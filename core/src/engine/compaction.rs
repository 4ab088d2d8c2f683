//! Compaction: claim what the picker chose, merge, install, retire the inputs.
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. output tables and their directory entries durable | unnamed tables, swept at open |
//! | b. one manifest edit {remove inputs, add outputs} | the new tree; inputs unnamed, swept at open |
//! | c. inputs unlinked when their last reader left | nothing to do |
//!
//! A value log that outputs point into was synced before step b.

use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::manifest::Edit;
pub use nokv_formats::names::table as table_name;
use nokv_formats::{CfId, KeyRef, Seq, TableId, TableMeta};

use crate::compact::run::{self, Job, OlderTables, Outputs, Relocate, Stay};
use crate::compact::{
    Choice, Input, LevelHeat, Place, Pressure, Reason, Scores, Ticket, pick, pick_range, scores,
};
use crate::engine::{Engine, Install, TABLE_DIR};
use crate::error::{Error, IoContext, Result};
use crate::index::MemIndex;
use crate::level::{self, Install as Installing};
use crate::planted::{self, Bug};
use crate::read::level_cursor::LevelCursor;
use crate::read::range_set::RangeSet;
use crate::read::scan::SourceCursor;
use crate::read::view::{Tables, View};
use crate::sync::{Arc, Ordering};
use crate::table::{Compression, CursorOptions, Table, TableBuilder};
use crate::vfs::{Vfs, join};

/// A compaction whose tables are busy until it ran.
#[derive(Debug)]
pub struct Claim {
    pub(crate) choice: Choice,
    pub(crate) token: Ticket,
}

/// Tables in the making: files get numbers as they are made; what is not committed is unlinked.
pub(crate) struct NewTables<'e, V: Vfs, I: MemIndex> {
    engine: &'e Engine<V, I>,
    compression: Compression,
    seqs: (Seq, Seq),
    made: Vec<TableId>,
    done: Vec<TableMeta>,
}

impl<'e, V: Vfs, I: MemIndex> NewTables<'e, V, I> {
    pub(crate) const fn new(engine: &'e Engine<V, I>, compression: Compression, seqs: (Seq, Seq)) -> Self {
        Self { engine, compression, seqs, made: Vec::new(), done: Vec::new() }
    }

    /// Makes the directory entries durable and gives the tables away.
    pub(crate) fn commit(mut self) -> Result<Vec<Arc<TableMeta>>> {
        let done = core::mem::take(&mut self.done);
        if !done.is_empty() && !planted::is(Bug::TableNameNotSynced) {
            let dir = self.engine.path(TABLE_DIR);
            // ORDER: names before the manifest edit that needs them.
            self.engine.fs.sync_dir(&dir).at("sync", &dir)?;
        }
        self.made.clear();
        Ok(done.into_iter().map(Arc::new).collect())
    }
}

impl<V: Vfs, I: MemIndex> Drop for NewTables<'_, V, I> {
    fn drop(&mut self) {
        // A run that failed: nothing names these files. Opening sweeps what cannot be unlinked now.
        for id in &self.made {
            let _ = self.engine.fs.unlink(&self.engine.table_path(*id));
        }
    }
}

impl<V: Vfs, I: MemIndex> Outputs for NewTables<'_, V, I> {
    type File = V::File;

    fn create(&mut self) -> Result<TableBuilder<V::File>> {
        let id = self.engine.take_table_id();
        let path = self.engine.table_path(id);
        let file = self.engine.fs.create(&path).at("create", &path)?;
        self.made.push(id);
        let uid = u128::from(self.engine.database_id()) << 64 | u128::from(id.0);
        let options = crate::table::TableOptions {
            compression: self.compression,
            seqs: self.seqs,
            write_bytes: self.engine.options.io_buffer_bytes,
            ..self.engine.options.table.clone()
        };
        TableBuilder::new(file, &path, options, uid)
    }

    fn wrote(&mut self, bytes: u64) {
        self.engine.signals.background_io(bytes);
    }

    fn finished(&mut self, mut meta: TableMeta) -> Result<()> {
        if let Some(id) = self.made.last() {
            meta.id = *id;
        }
        self.done.push(meta);
        Ok(())
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    pub(crate) fn table_path(&self, id: TableId) -> String {
        join(&self.path(TABLE_DIR), &table_name(id))
    }

    /// How tables are read as wholes.
    pub(crate) fn bulk_cursor(&self) -> CursorOptions {
        CursorOptions { read_ahead: self.options.io_buffer_bytes, ..CursorOptions::COMPACTION }
    }

    pub(crate) fn take_table_id(&self) -> TableId {
        TableId(self.next_table.fetch_add(1, Ordering::AcqRel))
    }

    /// Unlinks tables that a full disk kept out of the manifest: nothing names them.
    pub(crate) fn give_back(&self, tables: &[Arc<TableMeta>], error: &Error) {
        if error.is_no_space() {
            for meta in tables {
                let _ = self.fs.unlink(&self.table_path(meta.id));
            }
        }
    }

    /// A handle of a table that is or will be live.
    pub(crate) fn table(&self, meta: Arc<TableMeta>) -> Arc<Table<V>> {
        let path = self.table_path(meta.id);
        Arc::new(Table::new(self.fs.clone(), &path, TableMeta::clone(&meta), self.shared.clone()))
    }

    pub(crate) fn claim_compaction(&self) -> Option<Claim> {
        let mut install = self.install.lock();
        let view = self.view.load();
        let choice = pick(&view.tables, &install.busy, &self.pressure(&view), &self.options.pick);
        if matches!(choice, Choice::Idle) {
            return None;
        }
        let token = install.busy.claim(&view.tables, &choice)?;
        Some(Claim { choice, token })
    }

    fn pressure(&self, view: &View<V, I>) -> Pressure {
        let list = self.snapshots.lock();
        let (oldest_snapshot, time) = list.oldest();
        drop(list);
        Pressure {
            now_ms: self.cut_ms(time),
            oldest_snapshot,
            writers_wait: view.tables.levels()[0].tables.len() >= self.options.level0_slowdown_tables,
            heat: LevelHeat::of(&view.tables, &self.heat.read_most()),
        }
    }

    /// Scores and debt of the tree.
    pub fn scores(&self) -> Scores {
        let heat = self.heat.read_most();
        let install = self.install.lock();
        let view = self.view.load();
        let heat = LevelHeat::of(&view.tables, &heat);
        scores(&view.tables, &install.busy, &self.options.pick).heated(&heat)
    }

    /// One step of merging a range of a family down. True when nothing is left to do.
    ///
    /// # Errors
    /// [`Error::Busy`] while running compactions are in the way; what a merge meets.
    pub fn compact_range_step(&self, cf: CfId, lower: Option<&[u8]>, upper: Option<&[u8]>) -> Result<bool> {
        self.compact_range_step_to(cf, lower, upper, Seq::MAX)
    }

    /// As [`Engine::compact_range_step`], for what was written up to `up_to` and is flushed: later writes do not keep
    /// it from coming to its end.
    ///
    /// # Errors
    /// As [`Engine::compact_range_step`].
    pub fn compact_range_step_to(
        &self,
        cf: CfId,
        lower: Option<&[u8]>,
        upper: Option<&[u8]>,
        up_to: Seq,
    ) -> Result<bool> {
        self.check_writable()?;
        let claim = {
            let mut install = self.install.lock();
            let view = self.view.load();
            let lower = KeyRef::new(cf, lower.unwrap_or_default());
            let upper = match upper {
                Some(upper) => KeyRef::new(cf, upper),
                None => KeyRef::new(CfId(cf.0.saturating_add(1)), &[]),
            };
            let range = lower..=upper;
            let choice = pick_range(&view.tables, &install.busy, &range, up_to, &self.options.pick);
            if matches!(choice, Choice::Idle) {
                if install.busy.running() > 0 {
                    return Err(Error::Busy("compactions run"));
                }
                return Ok(true);
            }
            match install.busy.claim(&view.tables, &choice) {
                Some(token) => Claim { choice, token },
                None => return Ok(true),
            }
        };
        self.run_work(crate::engine::Work::Compact(claim))?;
        Ok(false)
    }

    /// Claims one table, to be rewritten in its place; `None` while it is busy, and when it left that place
    /// since the caller looked.
    pub(crate) fn claim_rewrite(&self, input: Input) -> Option<Ticket> {
        let mut install = self.install.lock();
        // Under the lock that changes of the tree are installed under.
        let view = self.view.load();
        let source = view.tables.find(input.id)?;
        if install.busy.holds(input.id) || (source.level, source.ingest) != (input.level, input.ingest) {
            return None;
        }
        let to = Place { level: input.level, ingest: input.ingest };
        let choice = Choice::Merge { inputs: [input].to_vec(), to, reason: Reason::Manual };
        install.busy.claim(&view.tables, &choice)
    }

    /// Before the outputs are installed: a precondition that looks at them must know.
    pub(crate) fn note_dropped(&self, seq: Seq) {
        self.dropped_seq.fetch_max(seq.0, Ordering::SeqCst);
    }

    fn check_rules(&self, before: &Tables<V>, next: &Tables<V>) -> Result<()> {
        level::check(before, next, &Installing::default()).map_err(|what| {
            let error = Error::InvalidArgument(what);
            self.poison(&error);
            error
        })
    }

    pub(crate) fn run_compaction(&self, claim: Claim) -> Result<()> {
        let started = self.clock.monotonic_ns();
        let result = match &claim.choice {
            Choice::Idle => Ok(()),
            Choice::Move { tables, from, to } => self.move_tables(tables, *from, *to),
            Choice::Merge { inputs, to, .. } => self.merge_tables(inputs, *to, &mut Stay),
        };
        self.install.lock().busy.release(claim.token);
        let took = self.clock.monotonic_ns().saturating_sub(started);
        self.counters.compacted(took);
        self.compaction_counters.ended(&claim.choice, took, result.is_ok());
        self.signals.work_ready();
        result
    }

    fn move_tables(&self, tables: &[TableId], from: Place, to: Place) -> Result<()> {
        let mut install = self.install.lock();
        let view = self.view();
        let mut edits = Vec::new();
        let mut added = Vec::new();
        for id in tables {
            let table = find(&view.tables, *id)?;
            edits.push(Edit::RemoveTable { id: *id, level: from.level, ingest: from.ingest });
            let meta = Arc::new(table.meta().clone());
            edits.push(Edit::AddTable { level: to.level, ingest: to.ingest, meta });
            added.push((to.level, to.ingest, table));
        }
        self.change_tree(&mut install, &edits, tables, added, false)
    }

    /// Merges `inputs` into `to_level`; used by compactions, by value-log collection and by `compact_range`.
    pub(crate) fn merge_tables(
        &self,
        inputs: &[Input],
        to: Place,
        relocate: &mut impl Relocate,
    ) -> Result<()> {
        let horizon = self.horizon();
        let view = self.view();
        let taken = inputs.iter().map(|input| find(&view.tables, input.id)).collect::<Result<Vec<_>>>()?;
        let families = self.families();
        let job = Job {
            horizon: &horizon.seqs,
            cut_ms: horizon.cut_ms,
            version_min: taken.iter().map(|t| t.meta().props.version_min).min().unwrap_or_default(),
            dropped: families.dropped(),
            // Tables of level 0 are ordered as wholes: one output.
            split_bytes: if to.level == 0 { u64::MAX } else { self.options.table_bytes },
            is_cancelled: &|| self.stopping.load(Ordering::Relaxed),
        };
        let mut older = OlderTables::new(Self::possibly_older(&view.tables, inputs, to));
        let compression = if to.level == 0 { Compression::None } else { self.options.compression };
        let low = taken.iter().map(|t| t.meta().props.seq_min).min().unwrap_or_default();
        let high = taken.iter().map(|t| t.meta().props.seq_max).max().unwrap_or_default();
        let mut outputs = NewTables::new(self, compression, (low, high));
        let ranges = range_deletes_of(&taken)?;
        let stats = run::run::<_, V, _>(
            &job,
            self.sources_of(&view.tables, inputs)?,
            &ranges,
            &mut older,
            relocate,
            &mut outputs,
        )?;
        self.note_dropped(stats.dropped);
        let read: u64 = taken.iter().map(|t| t.meta().file_bytes).sum();
        // ORDER: moved values before the tables that point to them are named.
        let segments = self.sync_values()?;
        let tables = outputs.commit()?;
        let written: u64 = tables.iter().map(|t| t.file_bytes).sum();
        let mut install = self.install.lock();
        let mut edits = Vec::new();
        for input in inputs {
            edits.push(Edit::RemoveTable { id: input.id, level: input.level, ingest: input.ingest });
        }
        let mut added = Vec::new();
        let made = tables.clone();
        for meta in tables {
            edits.push(Edit::AddTable { level: to.level, ingest: to.ingest, meta: meta.clone() });
            added.push((to.level, to.ingest, self.table(meta)));
        }
        edits.push(Edit::NextFileId { id: self.next_table.load(Ordering::Acquire) });
        self.push_expiry_cut(&install, horizon.cut_ms, &mut edits);
        self.push_value_log_edits(&install, &segments, &mut edits);
        let ids: Vec<TableId> = inputs.iter().map(|input| input.id).collect();
        let changed = self.change_tree(&mut install, &edits, &ids, added, true);
        changed.inspect_err(|e| self.give_back(&made, e))?;
        self.counters.merged(read, written, stats.entries_in, stats.entries_out);
        Ok(())
    }

    /// Installs a change of the tree: rules, manifest, view; then the inputs retire.
    fn change_tree(
        &self,
        install: &mut Install<V>,
        edits: &[Edit],
        ids: &[TableId],
        added: Vec<(u8, bool, Arc<Table<V>>)>,
        retire: bool,
    ) -> Result<()> {
        let before = self.view();
        let next = before.tables.apply(ids, added.clone());
        self.check_rules(&before.tables, &next)?;
        // ORDER: outputs are durable before the edit; inputs go only after it is durable.
        self.record(install, edits, retire)?;
        let _view_lock = self.view_lock.lock();
        let old = self.view.load_full();
        for (level, _, table) in &added {
            table.set_level(u32::from(*level));
        }
        let tables = Arc::new(old.tables.apply(ids, added));
        self.store_view(View {
            id: old.id + 1,
            active: old.active.clone(),
            sealed: old.sealed.clone(),
            tables,
        });
        drop(_view_lock);
        if retire {
            let gone = ids.iter().filter_map(|id| before.tables.find(*id).map(|s| s.table.clone()));
            self.retired.lock().tables.extend(gone);
        }
        Ok(())
    }

    /// Live tables outside `inputs` that may hold older entries: those at and below the topmost place of an
    /// input. What lies above is newer, key by key.
    ///
    /// Not those of the sorted level `to`: such a level has each key in one table, and all of its tables that meet the
    /// inputs' keys are inputs. A neighbour that ends where an input starts, because the end of a range delete is its
    /// largest key, has nothing of that key; taking it for one would keep a delete that is chosen to go, for ever.
    fn possibly_older(tables: &Tables<V>, inputs: &[Input], to: Place) -> Vec<Arc<Table<V>>> {
        let place = |level, ingest| Place { level, ingest };
        let Some(top) = inputs.iter().map(|input| place(input.level, input.ingest)).min() else {
            return Vec::new();
        };
        let is_sorted = to.level > 0 && !to.ingest;
        tables
            .sources()
            .filter(|s| place(s.level, s.ingest) >= top)
            .filter(|s| !(is_sorted && place(s.level, s.ingest) == to))
            .filter(|s| !inputs.iter().any(|input| input.id == s.table.meta().id))
            .map(|s| s.table.clone())
            .collect()
    }

    /// Cursors over the inputs, newest source first.
    fn sources_of(&self, tables: &Tables<V>, inputs: &[Input]) -> Result<Vec<SourceCursor<V, I>>> {
        let options = self.bulk_cursor();
        let is_input = |t: &&Arc<Table<V>>| inputs.iter().any(|input| input.id == t.meta().id);
        let mut sources = Vec::new();
        for (n, level) in tables.levels().iter().enumerate() {
            let single = if n == 0 { &level.tables } else { &level.ingest };
            for table in single.iter().filter(is_input) {
                sources.push(SourceCursor::Table(table.cursor(options)));
            }
            if n > 0 {
                let sorted: Vec<_> = level.tables.iter().filter(is_input).cloned().collect();
                if !sorted.is_empty() {
                    sources.push(SourceCursor::Level(LevelCursor::new(sorted, options)));
                }
            }
        }
        Ok(sources)
    }

    /// Unlinks what retired and is read by nobody any more.
    pub(crate) fn remove_retired(&self) -> Result<()> {
        let gone = {
            let mut retired = self.retired.lock();
            retired.memtables.retain(|m| Arc::strong_count(m) > 1);
            let (gone, kept) = core::mem::take(&mut retired.tables)
                .into_iter()
                .partition::<Vec<_>, _>(|t| Arc::strong_count(t) == 1);
            retired.tables = kept;
            gone
        };
        for table in gone {
            let path = self.table_path(table.meta().id);
            table.forget();
            match self.fs.unlink(&path) {
                Ok(()) => {}
                Err(e) if e.kind == crate::vfs::IoErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("unlink", path, e)),
            }
        }
        self.remove_dead_segments()
    }

    pub(crate) fn has_removable(&self) -> bool {
        let retired = self.retired.lock();
        retired.tables.iter().any(|t| Arc::strong_count(t) == 1)
            || retired.memtables.iter().any(|m| Arc::strong_count(m) == 1)
            || (!retired.segments.is_empty() && retired.tables.is_empty() && retired.memtables.is_empty())
    }
}

fn find<V: Vfs>(tables: &Tables<V>, id: TableId) -> Result<Arc<Table<V>>> {
    tables
        .find(id)
        .map(|source| source.table.clone())
        .ok_or_else(|| Error::InvalidArgument(alloc::format!("table {id} is not live")))
}

fn range_deletes_of<V: Vfs>(tables: &[Arc<Table<V>>]) -> Result<RangeSet> {
    let mut set = RangeSet::new();
    for table in tables {
        if table.meta().props.range_deletes > 0 {
            for f in table.range_set()?.fragments() {
                for seq in &f.seqs {
                    set.insert(f.cf, &f.start, &f.end, *seq);
                }
            }
        }
    }
    Ok(set)
}
