//! Planning: reads everything, writes nothing.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::envelope::Envelope;
use nokv_formats::walfs::{HEADER_BYTES, parse_segment_file_name, segment_file_name};
use nokv_formats::{CfId, EntryRef, KeyBuf, Kind, Seq, TableId, TableMeta, TableProps};

use super::log::{note_family, read_log};
use super::values::Values;
use super::{LogPlace, RepairPlan, RepairStep, Rewrite, Work};
use crate::cursor::Cursor;
use crate::engine::compaction::table_name;
use crate::engine::open::list_or_empty;
use crate::engine::replay::unknown_log;
use crate::engine::{TABLE_DIR, WAL_DIR};
use crate::error::{Error, Result};
use crate::frames::{Frames, Look};
use crate::manifest::{Family, ManifestState, VlogSegmentState, find_state, probe};
use crate::sync::Arc;
use crate::table::{CursorOptions, Salvaged, Table, TableShared, salvage};
use crate::vfs::{IoError, IoErrorKind, Vfs, join};
use crate::vlog::list_segments;
use crate::wal::batch_log::SEGMENT_EXT;
use nokv_formats::names::parse_table as parse_table_name;

/// Plans what it takes to make the database in `dir` open again with everything that can be saved. Nobody has it
/// open. Writes nothing.
///
/// # Errors
/// No database is there; [`Error::Unsupported`] for files of a later format; I/O errors; [`Error::Corrupt`] if nothing
/// is left that says which database it is.
pub fn plan_repair<V: Vfs>(fs: &V, dir: &str) -> Result<RepairPlan> {
    if matches!(probe(fs, dir), Ok(false)) {
        return Err(Error::io("open", dir, IoError::new(IoErrorKind::NotFound)));
    }
    let found = find_state(fs, dir)?;
    let mut plan = RepairPlan {
        steps: Vec::new(),
        cut: None,
        work: Work {
            state: ManifestState::default(),
            rewrites: Vec::new(),
            fold: None,
            headers: Vec::new(),
            aside: Vec::new(),
            copied: Vec::new(),
        },
    };
    for problem in found.problems {
        if problem.keep {
            plan.work.copied.push(problem.file.clone());
        }
        plan.steps.push(RepairStep { file: problem.file, what: problem.what, lost: problem.lost });
    }
    let rebuilt = found.state.is_none();
    plan.work.state = match found.state {
        Some(state) => state,
        None => start_anew(fs, dir, found.db_id)?,
    };
    let mut survey = Survey {
        fs,
        dir,
        plan,
        values: Values::new(fs, dir),
        shared: Arc::new(TableShared::new(0, 8)),
        families: BTreeSet::new(),
        rebuilt,
    };
    // A torn end that took more than the last, unfinished edit.
    let cut = found.cut || (found.torn && survey.misses_tables()?);
    if cut {
        survey.adopt_tables()?;
        survey.raise_floor()?;
    }
    survey.find_lost_log()?;
    survey.check_tables()?;
    survey.check_log(LogPlace { floor: survey.plan.work.state.wal_floor, clean: found.clean })?;
    survey.check_value_log()?;
    survey.name_families();
    Ok(survey.plan)
}

/// The state of a database of which every manifest is lost.
fn start_anew<V: Vfs>(fs: &V, dir: &str, db_id: Option<u64>) -> Result<ManifestState> {
    let db_id = match db_id {
        Some(id) => Some(id),
        None => id_of_log(fs, dir)?.or(id_of_tables(fs, dir)?),
    };
    let nothing = "no manifest, log record or table is left that names the database";
    let db_id = db_id.ok_or_else(|| Error::corrupt(dir, 0, nothing))?;
    let names = [(CfId::DEFAULT, "default"), (CfId::LOCK, "lock"), (CfId::WRITE, "write")];
    let families = names.map(|(id, name)| (id, Family { name: name.to_string(), dropped_at: None }));
    let wal_floor = segments_of(fs, dir)?.first().copied().unwrap_or(0);
    let families = families.into_iter().collect();
    let mut state = ManifestState::default();
    state.db_id = db_id;
    state.families = families;
    state.wal_floor = wal_floor;
    state.next_file_id = 1;
    Ok(state)
}

fn id_of_log<V: Vfs>(fs: &V, dir: &str) -> Result<Option<u64>> {
    for number in segments_of(fs, dir)? {
        let path = join(&join(dir, WAL_DIR), &segment_file_name(number, SEGMENT_EXT));
        let mut frames = Frames::open(fs, &path)?;
        if let Look::Record(place) = frames.look(HEADER_BYTES as u64)?
            && let Some(payload) = frames.payload(&place)?
            && let Ok((envelope, _)) = Envelope::decode(payload)
        {
            return Ok(Some(envelope.db_id));
        }
    }
    Ok(None)
}

/// The engine's own tables have the database's number in their uid.
fn id_of_tables<V: Vfs>(fs: &V, dir: &str) -> Result<Option<u64>> {
    for (id, _) in tables_of(fs, dir)? {
        if let Ok(meta) = Table::<V>::read_meta(fs, &table_path(dir, id)) {
            let (high, low) = ((meta.props.uid >> 64) as u64, meta.props.uid as u64);
            if low == id.0 && high != 0 {
                return Ok(Some(high));
            }
        }
    }
    Ok(None)
}

pub(super) fn table_path(dir: &str, id: TableId) -> String {
    join(&join(dir, TABLE_DIR), &table_name(id))
}

/// The table files, ascending, with their lengths.
pub(super) fn tables_of<V: Vfs>(fs: &V, dir: &str) -> Result<Vec<(TableId, u64)>> {
    let entries = list_or_empty(fs, &join(dir, TABLE_DIR))?;
    let mut found: Vec<_> =
        entries.iter().filter_map(|e| Some((parse_table_name(&e.name)?, e.size))).collect();
    found.sort_unstable();
    Ok(found)
}

/// The numbers of the log's segments, ascending.
pub(super) fn segments_of<V: Vfs>(fs: &V, dir: &str) -> Result<Vec<u32>> {
    let entries = list_or_empty(fs, &join(dir, WAL_DIR))?;
    let mut found: Vec<_> =
        entries.iter().filter_map(|e| parse_segment_file_name(&e.name, SEGMENT_EXT)).collect();
    found.sort_unstable();
    Ok(found)
}

/// The number in the upper half of the uid of a table that a repair wrote: not the database's own, so that the rest of
/// a repair that was interrupted is known as such.
pub(super) const fn repair_mark(db_id: u64) -> u64 {
    !db_id
}

/// Damage of bytes, as opposed to a call that failed for other reasons.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } => true,
        Error::Io { source, .. } => {
            matches!(source.kind, IoErrorKind::NotFound | IoErrorKind::UnexpectedEof | IoErrorKind::Other)
        }
        _ => false,
    }
}

struct Survey<'a, V: Vfs> {
    fs: &'a V,
    dir: &'a str,
    plan: RepairPlan,
    values: Values<'a, V>,
    shared: Arc<TableShared>,
    /// Families that tables or log name; only filled where the manifest is cut.
    families: BTreeSet<CfId>,
    /// No manifest is left at all.
    rebuilt: bool,
}

impl<V: Vfs> Survey<'_, V> {
    fn step(&mut self, file: String, what: impl Into<String>, lost: impl Into<String>) {
        self.plan.steps.push(RepairStep { file, what: what.into(), lost: lost.into() });
    }

    fn misses_tables(&self) -> Result<bool> {
        let found = tables_of(self.fs, self.dir)?;
        let is_there = |id| found.binary_search_by_key(&id, |(id, _)| *id).is_ok();
        Ok(self.plan.work.state.tables().any(|(_, _, meta)| !is_there(meta.id)))
    }

    fn table(&self, meta: &TableMeta) -> Arc<Table<V>> {
        let path = table_path(self.dir, meta.id);
        Arc::new(Table::new(self.fs.clone(), &path, meta.clone(), self.shared.clone()))
    }

    /// Takes in tables that were made after the last edit that can be read.
    fn adopt_tables(&mut self) -> Result<()> {
        let state = &self.plan.work.state;
        let newest = state.tables().map(|(_, _, meta)| meta.props.seq_max).max().unwrap_or_default();
        let (flushed, next_id, mark) = (state.flushed_seq, state.next_file_id, repair_mark(state.db_id));
        let mut adopted: Vec<Arc<TableMeta>> = Vec::new();
        for (id, _) in tables_of(self.fs, self.dir)? {
            if self.plan.work.state.table(id).is_some() || self.plan.work.state.is_retired(id) {
                continue;
            }
            let path = table_path(self.dir, id);
            let read = Table::<V>::read_meta(self.fs, &path).map(|meta| TableMeta { id, ..meta });
            let read = read.and_then(|meta| self.table(&meta).verify().map(|()| meta));
            match read {
                Ok(meta) if (meta.props.uid >> 64) as u64 == mark && !self.rebuilt => {}
                Ok(meta) if id.0 >= next_id || meta.props.seq_min > flushed => {
                    self.note_families(&meta)?;
                    let what = "take it in: a lost edit of the manifest may have named it";
                    let lost = "if it was merged into others: what was deleted there may show again";
                    self.step(path, what, lost);
                    adopted.push(Arc::new(meta));
                }
                Ok(_) => {}
                Err(error) if is_damage(&error) => {
                    let lost = "its entries, if a lost edit of the manifest named it";
                    self.step(path.clone(), format!("leave it out: {error}"), lost);
                    self.plan.work.aside.push(path);
                }
                Err(error) => return Err(error),
            }
        }
        adopted.sort_by_key(|meta| meta.props.seq_min);
        let in_order = adopted.windows(2).all(|pair| match pair {
            [a, b] => a.props.seq_max < b.props.seq_min,
            _ => true,
        });
        let newer = in_order && adopted.first().is_none_or(|first| first.props.seq_min > newest);
        let state = &mut self.plan.work.state;
        if !newer {
            let mut all = core::mem::take(&mut state.levels);
            let mut ingest = core::mem::take(&mut state.levels[1].ingest);
            for level in &mut all {
                ingest.append(&mut level.ingest);
                ingest.append(&mut level.tables);
            }
            state.levels[1].ingest = ingest;
        }
        for meta in adopted {
            state.flushed_seq = state.flushed_seq.max(meta.props.seq_max);
            state.last_seq = state.last_seq.max(meta.props.seq_max);
            state.next_file_id = state.next_file_id.max(meta.id.0.saturating_add(1));
            let set = if newer { &mut state.levels[0].tables } else { &mut state.levels[1].ingest };
            set.insert(meta.id, meta);
        }
        Ok(())
    }

    fn note_families(&mut self, meta: &TableMeta) -> Result<()> {
        self.families.extend([meta.props.smallest.cf, meta.props.largest.cf]);
        let mut cursor = self.table(meta).cursor(CursorOptions::COMPACTION);
        cursor.seek_first()?;
        while cursor.valid() {
            self.families.insert(cursor.key().cf);
            cursor.next_key()?;
        }
        Ok(())
    }

    /// Families that only lost edits named get a name that says so.
    fn name_families(&mut self) {
        for id in core::mem::take(&mut self.families) {
            if self.plan.work.state.families.contains_key(&id) {
                continue;
            }
            let name = format!("recovered-{}", id.0);
            let path = join(self.dir, "CURRENT");
            self.step(path, format!("name column family {} {name}", id.0), "its name");
            self.plan.work.state.families.insert(id, Family { name, dropped_at: None });
        }
    }

    /// Segments that a lost edit released are not missing.
    fn raise_floor(&mut self) -> Result<()> {
        let state = &mut self.plan.work.state;
        if let Some(first) = segments_of(self.fs, self.dir)?.first()
            && state.wal_floor != 0
        {
            state.wal_floor = state.wal_floor.max(*first);
        }
        Ok(())
    }

    /// A state that names no log, beside one that nobody set aside, has lost the edit that named it.
    fn find_lost_log(&mut self) -> Result<()> {
        if self.plan.work.state.wal_floor != 0 {
            return Ok(());
        }
        let wal_dir = join(self.dir, WAL_DIR);
        if let Some(first) = unknown_log(self.fs, &wal_dir, self.plan.work.state.db_id)? {
            self.plan.work.state.wal_floor = first;
            self.step(wal_dir, format!("read the log from segment {first} on"), "where the log starts");
        }
        Ok(())
    }

    fn check_tables(&mut self) -> Result<()> {
        let named: Vec<(u8, bool, Arc<TableMeta>)> = self
            .plan
            .work
            .state
            .tables()
            .map(|(level, ingest, meta)| (level, ingest, meta.clone()))
            .collect();
        for (level, ingest, meta) in named {
            if !self.check_table(level, ingest, &meta)? {
                let levels = self.plan.work.state.levels.get_mut(usize::from(level));
                let Some(levels) = levels else { continue };
                if ingest { &mut levels.ingest } else { &mut levels.tables }.remove(&meta.id);
            }
        }
        Ok(())
    }

    /// Does the table stay as it is?
    fn check_table(&mut self, level: u8, ingest: bool, meta: &Arc<TableMeta>) -> Result<bool> {
        let path = table_path(self.dir, meta.id);
        match self.table(meta).verify() {
            Ok(()) if meta.props.pointers == 0 => return Ok(true),
            Ok(()) => {}
            Err(Error::Corrupt { .. })
                if self.fs.size(&path).is_err_and(|e| e.kind == IoErrorKind::NotFound) =>
            {
                self.drop_missing(path, meta);
                return Ok(false);
            }
            Err(Error::Io { source, .. }) if source.kind == IoErrorKind::NotFound => {
                self.drop_missing(path, meta);
                return Ok(false);
            }
            Err(error) if is_damage(&error) => {
                self.save_what_is_left(path, level, ingest, meta, &error)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let mut lost = LostKeys::default();
        let mut cursor = self.table(meta).cursor(CursorOptions::COMPACTION);
        cursor.seek_first()?;
        while cursor.valid() {
            while let Some(entry) = cursor.entry() {
                if self.values.is_lost(cursor.key(), &entry)? {
                    lost.add(cursor.key());
                }
                cursor.next_entry()?;
            }
            cursor.next_key()?;
        }
        if lost.count == 0 {
            return Ok(true);
        }
        let what = format!("write it anew without {} entries whose values cannot be read", lost.count);
        self.step(path.clone(), what, lost.text());
        self.plan.work.aside.push(path);
        self.plan.work.rewrites.push(Rewrite { level, ingest, meta: meta.clone() });
        Ok(false)
    }

    fn drop_missing(&mut self, path: String, meta: &TableMeta) {
        let lost = format!("all of its {}", content(&meta.props));
        self.step(path, "leave it out: it is missing", lost);
    }

    fn save_what_is_left(
        &mut self,
        path: String,
        level: u8,
        ingest: bool,
        meta: &Arc<TableMeta>,
        cause: &Error,
    ) -> Result<()> {
        let mut lost = LostKeys::default();
        let values = &mut self.values;
        let salvaged = salvage(self.fs, &path, meta, &mut |key, entry: &EntryRef<'_>| {
            if values.is_lost(key, entry)? {
                lost.add(key);
            }
            Ok(())
        })?;
        let Salvaged { blocks, bad_blocks, entries, ranges } = salvaged;
        self.plan.work.aside.push(path.clone());
        let has_ranges = ranges.as_ref().is_some_and(|ranges| !ranges.is_empty());
        if entries == 0 && !has_ranges {
            let what = format!("leave it out, nothing in it can be read: {cause}");
            self.step(path, what, format!("all of its {}", content(&meta.props)));
            return Ok(());
        }
        let gone = meta.props.entries().saturating_sub(entries);
        let mut parts = Vec::new();
        if gone > 0 {
            parts.push(format!("{gone} of its {}", content(&meta.props)));
        }
        if ranges.is_none() {
            parts.push(format!("its {} range deletes", meta.props.range_deletes));
        }
        if gone > 0 || ranges.is_none() {
            parts.push("older values of those keys may show again".to_string());
        }
        if lost.count > 0 {
            parts.push(lost.text());
        }
        let what = format!(
            "write a new table with its {entries} readable entries; {bad_blocks} of {} blocks are damaged: {cause}",
            blocks + bad_blocks
        );
        self.step(path, what, parts.join("; "));
        self.plan.work.rewrites.push(Rewrite { level, ingest, meta: meta.clone() });
        Ok(())
    }

    fn check_log(&mut self, place: LogPlace) -> Result<()> {
        if place.floor == 0 {
            return Ok(());
        }
        let state = &self.plan.work.state;
        let (db_id, flushed, mut last) = (state.db_id, state.flushed_seq, state.last_seq);
        let (values, families) = (&mut self.values, &mut self.families);
        let mut lost = LostKeys::default();
        let mut first_lost = None;
        let log = read_log(self.fs, self.dir, db_id, &place, &mut |start, op, seq| {
            last = last.max(seq);
            note_family(families, op);
            let entry = EntryRef {
                version: op.version,
                seq,
                kind: op.kind,
                meta: op.meta,
                expires_at: op.expires_at,
                value: op.value,
            };
            if op.kind == Kind::Pointer && seq > flushed && values.is_lost(op.key, &entry)? {
                lost.add(op.key);
                first_lost.get_or_insert(start);
            }
            Ok(())
        })?;
        self.plan.cut = log.cut;
        let wal_dir = join(self.dir, WAL_DIR);
        let gap = log.first_seq.filter(|first| *first > Seq(flushed.0.saturating_add(1)));
        // A log that becomes a table has no place for them.
        let groups = state.raft.len();
        let typed = (log.typed > 0 || groups > 0).then(|| {
            let records = log.typed;
            format!("{records} records of raft groups, and where {groups} groups stand: this store must leave its groups")
        });
        let mut parts = Vec::new();
        if let (Some(first), false) = (gap, self.plan.steps.is_empty()) {
            parts.push(format!("writes {} to {} that were before it", flushed.0 + 1, first.0 - 1));
        }
        let what = match log.rot {
            Some(Error::Corrupt { file, offset, what }) => {
                let (done, gone) = match (log.end, log.batches) {
                    (Some(end), 1) => {
                        (format!("keep the log up to {end} (1 batch) as a table"), "behind that")
                    }
                    (Some(end), n) => {
                        (format!("keep the log up to {end} ({n} batches) as a table"), "behind that")
                    }
                    (None, _) => ("start a new, empty log".to_string(), "that are in no table"),
                };
                let is_gone = segments_of(self.fs, self.dir)?.is_empty();
                parts.push(match is_gone {
                    true => format!("all writes {gone}"),
                    false => format!("all writes {gone}: {what}"),
                });
                parts.extend(typed);
                let what = match is_gone {
                    true => format!("{done}: {what}"),
                    false => format!("{done}; it is damaged at byte {offset}"),
                };
                self.step(file, what, parts.join("; "));
                true
            }
            // Behind the mark of a log that was not closed, opening cuts there by itself.
            _ if lost.count > 0
                && (place.clean.is_some()
                    || first_lost.is_none_or(|at| at < log.durable_mark)
                    || list_segments(self.fs, self.dir)?.is_empty()) =>
            {
                parts.push(lost.text());
                parts.extend(typed);
                let what =
                    format!("keep it as a table without {} entries whose values cannot be read", lost.count);
                self.step(wal_dir.clone(), what, parts.join("; "));
                true
            }
            _ => false,
        };
        if !what {
            if !parts.is_empty() {
                self.step(wal_dir, "replay it although writes before it are lost", parts.join("; "));
            }
            return Ok(());
        }
        // Those below the floor too: beside a state without a log they would be an unknown one.
        for number in segments_of(self.fs, self.dir)? {
            self.plan.work.aside.push(join(&wal_dir, &segment_file_name(number, SEGMENT_EXT)));
        }
        let state = &mut self.plan.work.state;
        state.last_seq = last;
        // Without a floor the next open makes a new log.
        state.wal_floor = 0;
        state.raft.clear();
        state.raft_removed.clear();
        self.plan.work.fold = Some(place);
        Ok(())
    }

    fn check_value_log(&mut self) -> Result<()> {
        let found = list_segments(self.fs, self.dir)?;
        let size_of = |place: (u16, u32)| found.iter().find(|(b, s, _)| (*b, *s) == place).map(|f| f.2);
        let named: Vec<_> = self.plan.work.state.vlog_segments.iter().map(|(at, s)| (*at, *s)).collect();
        for (at, segment) in named {
            let path = self.values.path(at);
            let lost = match self.values.lost.get(&at) {
                Some(n) => format!("{n} values that entries point to there"),
                None => String::new(),
            };
            match size_of(at) {
                None => {
                    self.step(path, "do without it: it is missing", lost);
                    self.plan.work.state.vlog_segments.remove(&at);
                }
                Some(size) if size < segment.size || (segment.sealed && size > segment.size) => {
                    let what = format!("accept its length of {size} bytes instead of {}", segment.size);
                    self.step(path, what, lost);
                    let fixed = VlogSegmentState { size, ..segment };
                    self.plan.work.state.vlog_segments.insert(at, fixed);
                }
                Some(_) => {}
            }
        }
        let state = &self.plan.work.state;
        let places: BTreeSet<_> =
            state.vlog_segments.keys().chain(self.values.used.keys()).copied().collect();
        let db_id = state.db_id;
        for at in places {
            if !self.values.header_is_whole(at, db_id)? {
                let path = self.values.path(at);
                self.step(path.clone(), "write its header anew: it is damaged", "");
                self.plan.work.copied.push(path);
                self.plan.work.headers.push(at);
            }
        }
        Ok(())
    }
}

/// Entries, counted, with the first keys as text.
#[derive(Default)]
struct LostKeys {
    count: u64,
    first: Vec<KeyBuf>,
}

impl LostKeys {
    fn add(&mut self, key: nokv_formats::KeyRef<'_>) {
        self.count += 1;
        if self.first.len() < 3 {
            self.first.push(key.to_buf());
        }
    }

    fn text(&self) -> String {
        let keys: Vec<String> = self.first.iter().map(key_text).collect();
        let more = if self.count > self.first.len() as u64 { ", ..." } else { "" };
        format!("the values of {} entries: {}{more}", self.count, keys.join(", "))
    }
}

fn content(props: &TableProps) -> String {
    let ranges = match props.range_deletes {
        0 => String::new(),
        n => format!(" and {n} range deletes"),
    };
    let (from, to) = (key_text(&props.smallest), key_text(&props.largest));
    format!("{} entries{ranges}, keys {from} to {to}", props.entries())
}

/// A key as text, with its family where that is not the default one.
fn key_text(key: &KeyBuf) -> String {
    let shown = key.user_key.get(..64).unwrap_or(&key.user_key);
    let text = shown.escape_ascii();
    let more = if shown.len() < key.user_key.len() { "..." } else { "" };
    if key.cf == CfId::DEFAULT {
        format!("\"{text}\"{more}")
    } else {
        format!("{}:\"{text}\"{more}", key.cf.0)
    }
}
