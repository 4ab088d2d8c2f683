//! What a database is: the fold of its manifest's edits, each checked against the rules.
//!
//! Who may call it: anyone; it is plain data.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::envelope::GROUP_MAX;
use nokv_formats::manifest::{Edit, RaftPointer, RegionMeta};
use nokv_formats::walfs::Position;
use nokv_formats::{CfId, Seq, TableId, TableMeta};

use crate::error::{Error, Result};
use crate::limits::LEVELS;
use crate::sync::Arc;

/// A column family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its name. The name of a dropped family may be taken by a new one.
    pub name: String,
    /// The last seq given before it was dropped; `None` while it lives.
    pub dropped_at: Option<Seq>,
}

/// The live tables of one level, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LevelTables {
    /// Tables of the ingest set. Always empty for level 0.
    pub ingest: BTreeMap<TableId, Arc<TableMeta>>,
    /// Tables of the level.
    pub tables: BTreeMap<TableId, Arc<TableMeta>>,
}

impl LevelTables {
    fn set(&mut self, ingest: bool) -> &mut BTreeMap<TableId, Arc<TableMeta>> {
        if ingest { &mut self.ingest } else { &mut self.tables }
    }
}

/// A value-log segment that the manifest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlogSegmentState {
    /// Takes no more appends; `size` is final.
    pub sealed: bool,
    /// Length of the file in bytes; at least this much if it is not sealed.
    pub size: u64,
}

/// What a database is.
///
/// A value-log segment above its bucket's head may exist without being named here: it was started after the last
/// edit. Its number is then higher than the head's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestState {
    /// The database; 0 before the first edit.
    pub db_id: u64,
    /// All families that ever were, dropped ones included: their numbers are not used again.
    pub families: BTreeMap<CfId, Family>,
    /// The live tables.
    pub levels: [LevelTables; LEVELS],
    /// First log segment that is still needed.
    pub wal_floor: u32,
    /// Tables hold every write up to this seq.
    pub flushed_seq: Seq,
    /// No seq up to this one is given again. Never below `flushed_seq` or a table's highest seq.
    pub last_seq: Seq,
    /// The engine's time never goes below this, in Unix milliseconds.
    pub expiry_cut: u64,
    /// File numbers below this were given out. Always above every table's number.
    pub next_file_id: u64,
    /// The segment of each value-log bucket that took appends when the head was last recorded. It may be sealed since:
    /// the next append starts a new one.
    pub vlog_heads: BTreeMap<u16, u32>,
    /// The value-log segments, by (bucket, segment).
    pub vlog_segments: BTreeMap<(u16, u32), VlogSegmentState>,
    /// Where the logs of raft groups stand.
    pub raft: BTreeMap<u64, RaftPointer>,
    /// Groups that were removed: what the log holds of them before this place is not needed. Forgotten once the log
    /// floor is past it.
    pub raft_removed: BTreeMap<u64, Position>,
    /// The regions of this store.
    pub regions: BTreeMap<u64, RegionMeta>,
    /// Tables removed since the state was last written whole: their numbers must not come back.
    pub(super) retired: BTreeSet<TableId>,
}

/// Why an edit cannot be: its place in the group and the rule.
type Broken = (usize, &'static str);

impl ManifestState {
    /// Applies a group of edits; all or none.
    ///
    /// # Errors
    /// `InvalidArgument` names the edit that breaks a rule; the state is unchanged then.
    pub fn apply(&mut self, edits: &[Edit]) -> Result<()> {
        let mut next = self.clone();
        next.fold(edits).map_err(|(at, what)| {
            let edit = edits.get(at).map_or_else(String::new, |edit| format!("{edit:?}"));
            Error::InvalidArgument(format!("manifest edit {at}: {what}: {edit:.200}"))
        })?;
        *self = next;
        Ok(())
    }

    /// The live table with this number, its level, and whether it is in the ingest set.
    pub fn table(&self, id: TableId) -> Option<(u8, bool, &Arc<TableMeta>)> {
        self.tables().find(|(_, _, meta)| meta.id == id)
    }

    /// All live tables with level and ingest flag.
    pub fn tables(&self) -> impl Iterator<Item = (u8, bool, &Arc<TableMeta>)> {
        self.levels.iter().zip(0u8..).flat_map(|(level, n)| {
            let ingest = level.ingest.values().map(move |meta| (n, true, meta));
            ingest.chain(level.tables.values().map(move |meta| (n, false, meta)))
        })
    }

    /// The live family of this name.
    pub fn family(&self, name: &str) -> Option<CfId> {
        self.families.iter().find(|(_, f)| f.dropped_at.is_none() && f.name == name).map(|(id, _)| *id)
    }

    /// The number for the next new family.
    pub fn next_family(&self) -> CfId {
        CfId(self.families.last_key_value().map_or(0, |(id, _)| id.0.saturating_add(1)))
    }

    /// The edits that make this state out of the empty one.
    pub fn to_edits(&self) -> Vec<Edit> {
        let mut edits = Vec::new();
        edits.push(Edit::Database { id: self.db_id });
        for (id, family) in &self.families {
            edits.push(Edit::CreateFamily { id: *id, name: family.name.clone() });
            // At once, so that a later family may have taken the name.
            if let Some(at_seq) = family.dropped_at {
                edits.push(Edit::DropFamily { id: *id, at_seq });
            }
        }
        edits.push(Edit::NextFileId { id: self.next_file_id });
        edits.push(Edit::WalFloor { segment: self.wal_floor });
        edits.push(Edit::FlushedSeq { seq: self.flushed_seq });
        edits.push(Edit::LastSeq { seq: self.last_seq });
        edits.push(Edit::ExpiryCut { unix_ms: self.expiry_cut });
        for ((bucket, segment), s) in &self.vlog_segments {
            edits.push(Edit::VlogSegment {
                bucket: *bucket,
                segment: *segment,
                sealed: s.sealed,
                size: s.size,
            });
        }
        for (bucket, segment) in &self.vlog_heads {
            edits.push(Edit::VlogHead { bucket: *bucket, segment: *segment });
        }
        for (level, ingest, meta) in self.tables() {
            edits.push(Edit::AddTable { level, ingest, meta: meta.clone() });
        }
        edits.extend(self.raft.values().map(|pointer| Edit::RaftPointer(*pointer)));
        let removed = self.raft_removed.iter();
        edits.extend(removed.map(|(group, before)| Edit::RaftRemove { group: *group, before: *before }));
        edits.extend(self.regions.values().map(|region| Edit::Region(region.clone())));
        edits
    }

    /// Was this table removed since the state was last written whole?
    pub(crate) fn is_retired(&self, id: TableId) -> bool {
        self.retired.contains(&id)
    }

    /// After the state was written whole: earlier numbers are all below `next_file_id`.
    pub(super) fn forget_retired(&mut self) {
        self.retired.clear();
    }

    /// Applies a group in place; after an error the state is part old, part new.
    pub(super) fn fold(&mut self, edits: &[Edit]) -> core::result::Result<(), Broken> {
        let mut group = GroupScope { heads_before: self.vlog_heads.clone(), ..GroupScope::default() };
        for (at, edit) in edits.iter().enumerate() {
            self.fold_one(edit, &mut group).map_err(|what| (at, what))?;
        }
        // What must hold once the whole group is in, whatever the order of its edits.
        self.check_group(&group).map_err(|what| (edits.len(), what))
    }

    fn fold_one(&mut self, edit: &Edit, group: &mut GroupScope) -> core::result::Result<(), &'static str> {
        if self.db_id == 0 && !matches!(edit, Edit::Database { .. }) {
            return Err("the first edit names the database");
        }
        match edit {
            Edit::Database { id } => {
                must(*id != 0, "a database id is not 0")?;
                must(self.db_id == 0 || self.db_id == *id, "a database keeps its id")?;
                self.db_id = *id;
            }
            Edit::AddTable { level, ingest, meta } => self.add_table(*level, *ingest, meta, group)?,
            Edit::RemoveTable { id, level, ingest } => {
                let tables = self.levels.get_mut(usize::from(*level)).ok_or("a level below 7")?.set(*ingest);
                let meta = tables.remove(id).ok_or("a removed table is live at that level")?;
                group.removed.insert(*id, meta);
                self.retired.insert(*id);
            }
            Edit::WalFloor { segment } => {
                rise(&mut self.wal_floor, *segment, "the log floor never moves back")?;
                self.raft_removed.retain(|_, before| before.segment >= *segment);
            }
            Edit::FlushedSeq { seq } => {
                rise(&mut self.flushed_seq, *seq, "the flushed seq never moves back")?;
                self.last_seq = self.last_seq.max(*seq);
            }
            // A flush may have raised it already, by the seqs of its table.
            Edit::LastSeq { seq } => self.last_seq = self.last_seq.max(*seq),
            Edit::ExpiryCut { unix_ms } => {
                rise(&mut self.expiry_cut, *unix_ms, "the expiry cut never moves back")?;
            }
            Edit::NextFileId { id } => self.next_file_id = self.next_file_id.max(*id),
            Edit::CreateFamily { id, name } => {
                must(!name.is_empty(), "a family has a name")?;
                must(self.family(name).is_none(), "no two families have the same name")?;
                must(!self.families.contains_key(id), "a family's number is never used again")?;
                self.families.insert(*id, Family { name: name.clone(), dropped_at: None });
            }
            Edit::DropFamily { id, at_seq } => {
                let family = self.families.get_mut(id).ok_or("a dropped family exists")?;
                must(family.dropped_at.is_none(), "a family is dropped once")?;
                family.dropped_at = Some(*at_seq);
            }
            Edit::VlogHead { bucket, segment } => {
                let head = self.vlog_heads.entry(*bucket).or_insert(*segment);
                rise(head, *segment, "a value-log head never moves back")?;
            }
            Edit::VlogSegment { bucket, segment, sealed, size } => {
                let new = VlogSegmentState { sealed: *sealed, size: *size };
                match self.vlog_segments.get_mut(&(*bucket, *segment)) {
                    Some(old) => {
                        must(!old.sealed || *old == new, "a sealed value-log segment keeps its size")?;
                        must(new.size >= old.size, "a value-log segment does not shrink")?;
                        *old = new;
                    }
                    None => {
                        let known = group.heads_before.get(bucket).is_none_or(|head| segment >= head);
                        must(known, "a value-log segment's number is never used again")?;
                        self.vlog_segments.insert((*bucket, *segment), new);
                    }
                }
            }
            Edit::VlogRemove { bucket, segment } => {
                let old = self.vlog_segments.remove(&(*bucket, *segment));
                must(old.is_some(), "a removed value-log segment exists")?;
                group.vlog_removed = true;
            }
            Edit::RaftPointer(pointer) => self.move_raft_pointer(pointer)?,
            Edit::RaftRemove { group, before } => {
                must(*group <= GROUP_MAX, "a raft group's number is below 2^56")?;
                self.raft.remove(group);
                self.raft_removed.insert(*group, *before);
            }
            Edit::Region(region) => self.set_region(region)?,
            Edit::RegionRemove { id } => {
                must(self.regions.remove(id).is_some(), "a removed region exists")?;
            }
        }
        Ok(())
    }

    fn move_raft_pointer(&mut self, pointer: &RaftPointer) -> core::result::Result<(), &'static str> {
        must(pointer.group <= GROUP_MAX, "a raft group's number is below 2^56")?;
        must(pointer.applied_index <= pointer.committed, "a raft group applies what is committed")?;
        if let Some(old) = self.raft.get(&pointer.group) {
            let (from, to) = (old.position().unwrap_or_default(), pointer.position().unwrap_or_default());
            must(from <= to, "a raft group's place in the log never moves back")?;
            must(old.truncated_index <= pointer.truncated_index, "a raft log's truncation never moves back")?;
        }
        self.raft.insert(pointer.group, *pointer);
        Ok(())
    }

    fn set_region(&mut self, region: &RegionMeta) -> core::result::Result<(), &'static str> {
        must(region.id != 0, "a region's number is not 0")?;
        let in_order = region.end_key.is_empty() || region.start_key < region.end_key;
        must(in_order, "a region's keys are in order")?;
        if let Some(old) = self.regions.get(&region.id) {
            let (was, is) = (old.epoch, region.epoch);
            let grows = was.version <= is.version && was.conf_version <= is.conf_version;
            must(grows, "a region's epoch never moves back")?;
            must(old.state <= region.state, "a region's state never moves back")?;
        }
        self.regions.insert(region.id, region.clone());
        Ok(())
    }

    fn add_table(
        &mut self,
        level: u8,
        ingest: bool,
        meta: &Arc<TableMeta>,
        group: &mut GroupScope,
    ) -> core::result::Result<(), &'static str> {
        must(level != 0 || !ingest, "level 0 has no ingest set")?;
        match group.removed.remove(&meta.id) {
            Some(old) => {
                must(old == *meta, "a table that moves stays the same")?;
                self.retired.remove(&meta.id);
            }
            None => {
                must(!self.retired.contains(&meta.id), "a table's number is never used again")?;
                must(self.table(meta.id).is_none(), "a table's number is never used again")?;
            }
        }
        let tables = self.levels.get_mut(usize::from(level)).ok_or("a level below 7")?.set(ingest);
        tables.insert(meta.id, meta.clone());
        self.next_file_id = self.next_file_id.max(meta.id.0.saturating_add(1));
        self.last_seq = self.last_seq.max(meta.props.seq_max);
        group.added.push(meta.clone());
        Ok(())
    }

    fn check_group(&self, group: &GroupScope) -> core::result::Result<(), &'static str> {
        let resolves = |meta: &Arc<TableMeta>| {
            meta.props.live.iter().all(|live| {
                self.vlog_segments.contains_key(&(live.bucket, live.segment))
                    || self.vlog_heads.get(&live.bucket).is_none_or(|head| live.segment >= *head)
            })
        };
        let named = if group.vlog_removed {
            self.tables().all(|(_, _, meta)| resolves(meta))
        } else {
            group.added.iter().all(resolves)
        };
        must(named, "every value-log segment that a table names exists")
    }
}

/// What the rules need to know of a group while it is applied.
#[derive(Default)]
struct GroupScope {
    heads_before: BTreeMap<u16, u32>,
    removed: BTreeMap<TableId, Arc<TableMeta>>,
    added: Vec<Arc<TableMeta>>,
    vlog_removed: bool,
}

fn must(holds: bool, what: &'static str) -> core::result::Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

fn rise<T: PartialOrd>(field: &mut T, to: T, what: &'static str) -> core::result::Result<(), &'static str> {
    must(to >= *field, what)?;
    *field = to;
    Ok(())
}
