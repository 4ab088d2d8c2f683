//! Doing what a plan lists. The order of steps is in [`super`].

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::vlog::{SegmentHeader, record_len};
use nokv_formats::{EntryRef, KeyBuf, KeyRef, Kind, RangeDelete, Seq, TableId, TableMeta, Version};

use super::log::read_log;
use super::survey::{plan_repair, repair_mark, table_path, tables_of};
use super::values::Values;
use super::{LogPlace, RepairPlan, Work};
use crate::engine::TABLE_DIR;
use crate::engine::checkpoint::copy_file;
use crate::engine::open::take_lock;
use crate::error::{Error, IoContext, Result};
use crate::manifest::{Manifest, ManifestState, VlogSegmentState};
use crate::sync::Arc;
use crate::table::{TableBuilder, TableOptions, salvage};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile, join};
use crate::vlog::list_segments;

/// Does what `plan` lists, under the database's lock. Interrupted at any point, it can be planned and applied again.
///
/// # Errors
/// [`Error::Locked`]; [`Error::InvalidArgument`] if the directory is not as it was when the plan was made: nothing was
/// changed then. I/O errors: plan again.
pub fn apply_repair<V: Vfs>(fs: &V, dir: &str, plan: &RepairPlan) -> Result<()> {
    let _lock = take_lock(fs, dir, false)?;
    let now = plan_repair(fs, dir)?;
    if now.is_empty() {
        return Ok(());
    }
    if now.steps != plan.steps {
        let text = "the database is not as it was when the repair was planned: plan it again";
        return Err(Error::InvalidArgument(text.to_string()));
    }
    Repair { fs, dir, values: Values::new(fs, dir), next_table: 0 }.run(now.work)
}

struct Repair<'a, V: Vfs> {
    fs: &'a V,
    dir: &'a str,
    values: Values<'a, V>,
    next_table: u64,
}

impl<V: Vfs> Repair<'_, V> {
    fn run(mut self, work: Work) -> Result<()> {
        let (fs, dir) = (self.fs, self.dir);
        let mut state = work.state;
        let highest = tables_of(fs, dir)?.last().map_or(0, |(id, _)| id.0);
        self.next_table = state.next_file_id.max(highest.saturating_add(1));
        let table_dir = join(dir, TABLE_DIR);
        fs.create_dir_all(&table_dir).at("create directory", &table_dir)?;
        for rewrite in &work.rewrites {
            if let Some(meta) = self.rewrite(&state, &rewrite.meta)?
                && let Some(level) = state.levels.get_mut(usize::from(rewrite.level))
            {
                let set = if rewrite.ingest { &mut level.ingest } else { &mut level.tables };
                set.insert(meta.id, Arc::new(meta));
            }
        }
        if let Some(place) = &work.fold
            && let Some(meta) = self.fold_log(&state, place)?
        {
            state.flushed_seq = state.flushed_seq.max(meta.props.seq_max);
            state.levels[0].tables.insert(meta.id, Arc::new(meta));
        }
        state.next_file_id = self.next_table;
        state.last_seq = state.last_seq.max(state.flushed_seq);
        // ORDER: every new table and its name before the manifest that names it.
        self.sync_dir(&table_dir)?;
        self.sync_dir(dir)?;
        self.settle_values(&mut state)?;
        let mut dirs = BTreeSet::new();
        let aside: Vec<_> = work.aside.iter().filter(|path| fs.size(path).is_ok()).collect();
        for path in aside.iter().copied().chain(&work.copied) {
            self.keep(path)?;
            dirs.insert(parent(path));
        }
        for at in &work.headers {
            self.write_header(state.db_id, *at)?;
        }
        // ORDER: the damaged files have their new names before the old ones may go.
        for dir in &dirs {
            self.sync_dir(dir)?;
        }
        Manifest::restore(fs, dir, state)?;
        for path in aside {
            fs.unlink(path).at("unlink", path)?;
        }
        dirs.iter().try_for_each(|dir| self.sync_dir(dir))
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        if !self.fs.capabilities().directory_sync {
            return Ok(());
        }
        self.fs.sync_dir(dir).at("sync directory", dir)
    }

    fn create(&mut self, db_id: u64, seqs: (Seq, Seq)) -> Result<(TableId, TableBuilder<V::File>)> {
        let id = TableId(self.next_table);
        self.next_table += 1;
        let path = table_path(self.dir, id);
        let file = self.fs.create(&path).at("create", &path)?;
        let uid = u128::from(repair_mark(db_id)) << 64 | u128::from(id.0);
        let options = TableOptions { seqs, ..TableOptions::new(record_len) };
        Ok((id, TableBuilder::new(file, &path, options, uid)?))
    }

    /// A new table with what can be read of an old one.
    fn rewrite(&mut self, state: &ManifestState, old: &TableMeta) -> Result<Option<TableMeta>> {
        let path = table_path(self.dir, old.id);
        let (id, mut builder) = self.create(state.db_id, (old.props.seq_min, old.props.seq_max))?;
        let values = &mut self.values;
        let salvaged = salvage(self.fs, &path, old, &mut |key, entry| {
            if values.is_lost(key, entry)? {
                builder.add(key, &purge_of(entry))
            } else {
                builder.add(key, entry)
            }
        })?;
        salvaged.ranges.iter().flatten().for_each(|range| builder.add_range_delete(range));
        self.finish(id, builder)
    }

    fn finish(&self, id: TableId, builder: TableBuilder<V::File>) -> Result<Option<TableMeta>> {
        if builder.is_empty() {
            let path = table_path(self.dir, id);
            drop(builder);
            self.fs.unlink(&path).at("unlink", &path)?;
            return Ok(None);
        }
        Ok(Some(TableMeta { id, ..builder.finish()? }))
    }

    /// A table of what the log holds that no table does.
    fn fold_log(&mut self, state: &ManifestState, place: &LogPlace) -> Result<Option<TableMeta>> {
        let mut entries: Vec<Logged> = Vec::new();
        let mut ranges: Vec<RangeDelete> = Vec::new();
        let values = &mut self.values;
        read_log(self.fs, self.dir, state.db_id, place, &mut |_, op, seq| {
            if seq <= state.flushed_seq {
                return Ok(());
            }
            if op.kind == Kind::RangeDelete {
                let (start, end) = (op.key.user_key.to_vec(), op.value.to_vec());
                if start < end {
                    ranges.push(RangeDelete { cf: op.key.cf, start, end, seq });
                }
                return Ok(());
            }
            let mut entry = EntryRef {
                version: op.version,
                seq,
                kind: op.kind,
                meta: op.meta,
                expires_at: op.expires_at,
                value: op.value,
            };
            if values.is_lost(op.key, &entry)? {
                entry = purge_of(&entry);
            }
            entries.push(Logged::of(op.key, &entry));
            Ok(())
        })?;
        entries.sort_by(|a, b| (&a.key, b.version, b.seq).cmp(&(&b.key, a.version, a.seq)));
        let seqs = entries.iter().map(|e| e.seq).chain(ranges.iter().map(|r| r.seq));
        let Some((low, high)) = seqs.fold(None, |range: Option<(Seq, Seq)>, seq| match range {
            Some((low, high)) => Some((low.min(seq), high.max(seq))),
            None => Some((seq, seq)),
        }) else {
            return Ok(None);
        };
        let (id, mut builder) = self.create(state.db_id, (low, high))?;
        for entry in &entries {
            builder.add(entry.key.as_ref(), &entry.as_ref())?;
        }
        ranges.iter().for_each(|range| builder.add_range_delete(range));
        self.finish(id, builder)
    }

    /// Makes segments durable that tables point into and that the manifest does not name, and names them.
    fn settle_values(&self, state: &mut ManifestState) -> Result<()> {
        let found = list_segments(self.fs, self.dir)?;
        let pointed: BTreeSet<(u16, u32)> = state
            .tables()
            .flat_map(|(_, _, meta)| meta.props.live.iter().map(|live| (live.bucket, live.segment)))
            .collect();
        let mut dirs = BTreeSet::new();
        for (bucket, segment, _) in found {
            let at = (bucket, segment);
            if !pointed.contains(&at) || state.vlog_segments.contains_key(&at) {
                continue;
            }
            let path = self.values.path(at);
            self.fs.open(&path, OpenMode::ReadWrite).and_then(|file| file.sync()).at("sync", &path)?;
            dirs.insert(parent(&path));
            state.vlog_segments.insert(at, VlogSegmentState { sealed: false, size: 0 });
        }
        dirs.iter().try_for_each(|dir| self.sync_dir(dir))
    }

    /// Gives a file a second name that says that it is damaged; the first one stays.
    fn keep(&self, path: &str) -> Result<()> {
        let fs = self.fs;
        let size = match fs.size(path) {
            Ok(size) => size,
            Err(e) if e.kind == IoErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("size", path, e)),
        };
        for n in 1..u32::MAX {
            let to = if n == 1 { format!("{path}.damaged") } else { format!("{path}.damaged-{n}") };
            if fs.size(&to).is_ok() {
                continue;
            }
            if fs.capabilities().hard_links && fs.link(path, &to).is_ok() {
                return Ok(());
            }
            return copy_file(fs, path, &to, size, &mut |_| {});
        }
        Ok(())
    }

    /// Replaces a segment by a copy with a right header.
    fn write_header(&self, db_id: u64, at: (u16, u32)) -> Result<()> {
        let (fs, path) = (self.fs, self.values.path(at));
        let temporary = format!("{path}.tmp");
        match fs.unlink(&temporary) {
            Err(e) if e.kind != IoErrorKind::NotFound => return Err(Error::io("unlink", &temporary, e)),
            _ => {}
        }
        let size = fs.size(&path).at("size", &path)?;
        copy_file(fs, &path, &temporary, size, &mut |_| {})?;
        let file = fs.open(&temporary, OpenMode::ReadWrite).at("open", &temporary)?;
        let header = SegmentHeader { db_id, bucket: at.0, segment: at.1 };
        file.write_at(&header.to_bytes(), 0).at("write", &temporary)?;
        file.sync().at("sync", &temporary)?;
        drop(file);
        fs.rename(&temporary, &path).at("rename", &path)
    }
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or("", |(parent, _)| parent).to_string()
}

/// Hides what the entry hid, without its value.
fn purge_of<'a>(entry: &EntryRef<'a>) -> EntryRef<'a> {
    EntryRef { kind: Kind::Purge, meta: 0, expires_at: 0, value: &[], ..*entry }
}

/// An operation of the log, owned.
struct Logged {
    key: KeyBuf,
    version: Version,
    seq: Seq,
    kind: Kind,
    meta: u8,
    expires_at: u64,
    value: Vec<u8>,
}

impl Logged {
    fn of(key: KeyRef<'_>, entry: &EntryRef<'_>) -> Self {
        Self {
            key: key.to_buf(),
            version: entry.version,
            seq: entry.seq,
            kind: entry.kind,
            meta: entry.meta,
            expires_at: entry.expires_at,
            value: entry.value.to_vec(),
        }
    }

    fn as_ref(&self) -> EntryRef<'_> {
        EntryRef {
            version: self.version,
            seq: self.seq,
            kind: self.kind,
            meta: self.meta,
            expires_at: self.expires_at,
            value: &self.value,
        }
    }
}
