//! Named rules that every install must keep, as functions over the old and the new version.
//!
//! Who may call it: the engine before each install and after each open; `check`; tests.
//!
//! The *source invariant* is per key: for one (cf, user key), every seq in a source is higher than every seq in the
//! next source. Metadata knows ranges, not keys, and two tables whose ranges overlap may have no key in common, with
//! any seqs. So the invariant itself cannot be checked here. What can be:
//! - tables of level 0 were each flushed from one memtable, and no batch spans two: their seq ranges are disjoint
//!   (tables with a global seq were installed with a seq of their own, so that holds for them as well);
//! - a move changes no data: within the tables of `old`, no table may come to stand below another that overlaps it, had
//!   lower seqs throughout, and stood below it before.

use alloc::format;
use alloc::string::String;

use nokv_formats::{Seq, TableId};

use super::version::{TableInfo, Version, overlaps};

/// What an install changes, beside the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Install {
    /// First log segment needed, before.
    pub wal_floor_old: u32,
    /// And after.
    pub wal_floor_new: u32,
    /// Flushed seq before.
    pub flushed_seq_old: Seq,
    /// And after.
    pub flushed_seq_new: Seq,
    /// Table numbers below this were given out before the work of this install began; a table that is new in the
    /// version has a number at or above it. `TableId(0)` if that is not known.
    pub first_new_id: TableId,
}

/// A table without its type, so that rules are plain functions.
type View<'a> = Version<&'a dyn Meta>;

/// Object-safe [`TableInfo`].
pub trait Meta {
    /// What the manifest says of it.
    fn meta(&self) -> &nokv_formats::TableMeta;
}

impl<T: TableInfo> Meta for T {
    fn meta(&self) -> &nokv_formats::TableMeta {
        TableInfo::meta(self)
    }
}

impl TableInfo for &dyn Meta {
    fn meta(&self) -> &nokv_formats::TableMeta {
        Meta::meta(*self)
    }
}

/// A rule over (old, new): an error says what breaks it.
pub type Rule = fn(&View<'_>, &View<'_>, &Install) -> Result<(), String>;

/// All rules, by name.
pub const RULES: &[(&str, Rule)] = &[
    ("levels are sorted and disjoint, and no user key straddles two tables", levels_disjoint),
    ("level 0 has no ingest set", no_ingest_at_zero),
    ("tables of level 0 have disjoint seq ranges, newest first", level_zero_seqs),
    ("ingest sets are ordered newest first", ingest_order),
    ("no table is there twice", ids_unique),
    ("table numbers are never used again", ids_new),
    ("a newer table does not come to stand below an older one that it overlaps", moves_keep_order),
    ("the replay point never moves back", replay_monotonic),
];

/// Runs all rules.
///
/// # Errors
/// The name of the first rule that is broken, and by what.
pub fn check<T: TableInfo>(old: &Version<T>, new: &Version<T>, install: &Install) -> Result<(), String> {
    let (old, new) = (view(old), view(new));
    for (name, rule) in RULES {
        rule(&old, &new, install).map_err(|what| format!("rule broken: {name}: {what}"))?;
    }
    Ok(())
}

fn view<T: TableInfo>(version: &Version<T>) -> View<'_> {
    Version::new(version.sources().map(|s| (s.level, s.ingest, s.table as &dyn Meta)))
}

fn levels_disjoint(_: &View<'_>, new: &View<'_>, _: &Install) -> Result<(), String> {
    for (n, level) in new.levels().iter().enumerate().skip(1) {
        for pair in level.tables.windows(2) {
            let [a, b] = pair else { continue };
            let (a, b) = (Meta::meta(*a), Meta::meta(*b));
            // Equal ends are one user key in two tables, unless the one is the end of a range delete, which does
            // not cover it.
            let touch_only = a.props.largest == b.props.smallest && a.props.range_deletes > 0;
            if a.props.largest >= b.props.smallest && !touch_only {
                return Err(format!("level {n}: table {} reaches into table {}", a.id, b.id));
            }
        }
    }
    for source in new.sources() {
        let meta = Meta::meta(*source.table);
        if meta.props.smallest > meta.props.largest {
            return Err(format!("table {} ends before it starts", meta.id));
        }
    }
    Ok(())
}

fn no_ingest_at_zero(_: &View<'_>, new: &View<'_>, _: &Install) -> Result<(), String> {
    if new.levels()[0].ingest.is_empty() { Ok(()) } else { Err(String::from("it has")) }
}

fn level_zero_seqs(_: &View<'_>, new: &View<'_>, _: &Install) -> Result<(), String> {
    for pair in new.levels()[0].tables.windows(2) {
        let [a, b] = pair else { continue };
        let (a, b) = (Meta::meta(*a), Meta::meta(*b));
        // Tables that were ingested together have one seq, and no key in common.
        let apart = a.props.largest < b.props.smallest || b.props.largest < a.props.smallest;
        let together = apart && a.global_seq.is_some() && a.global_seq == b.global_seq;
        if a.props.seq_min <= b.props.seq_max && !together {
            return Err(format!("tables {} and {} share seqs", a.id, b.id));
        }
    }
    Ok(())
}

fn ingest_order(_: &View<'_>, new: &View<'_>, _: &Install) -> Result<(), String> {
    for level in new.levels() {
        if !level.ingest.is_sorted_by(|a, b| Meta::meta(*a).props.seq_max >= Meta::meta(*b).props.seq_max) {
            return Err(String::from("it is not"));
        }
    }
    Ok(())
}

fn ids_unique(_: &View<'_>, new: &View<'_>, _: &Install) -> Result<(), String> {
    let mut ids: alloc::vec::Vec<_> = new.sources().map(|s| Meta::meta(*s.table).id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("table {}", pair[0])),
        None => Ok(()),
    }
}

fn ids_new(old: &View<'_>, new: &View<'_>, install: &Install) -> Result<(), String> {
    let mut known: alloc::vec::Vec<_> = old.sources().map(|s| Meta::meta(*s.table)).collect();
    known.sort_unstable_by_key(|meta| meta.id);
    for source in new.sources() {
        let meta = Meta::meta(*source.table);
        match known.binary_search_by_key(&meta.id, |old| old.id) {
            Ok(at) if known[at] != meta => return Err(format!("table {} changed", meta.id)),
            Ok(_) => {}
            Err(_) if meta.id < install.first_new_id => {
                return Err(format!("table {} is new below {}", meta.id, install.first_new_id));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn moves_keep_order(old: &View<'_>, new: &View<'_>, _: &Install) -> Result<(), String> {
    // Depth of a source: a greater one is read later. Tables within one ingest set have the same.
    let depth = |level: u8, ingest: bool| u16::from(level) * 2 + u16::from(!ingest);
    let mut before: alloc::vec::Vec<_> = old
        .sources()
        .map(|s| (Meta::meta(*s.table).id, depth(s.level, s.ingest), Meta::meta(*s.table)))
        .collect();
    before.sort_unstable_by_key(|(id, _, _)| *id);
    let depth_before = |id: TableId| {
        let at = before.binary_search_by_key(&id, |(id, _, _)| *id).ok()?;
        Some(before[at].1)
    };
    // Level 0 and ingest sets are read by seq. Tables of a sorted level have no key in common, although their ranges
    // touch where one ends with a range delete that ends where the other starts.
    let has_order = |depth: u16| depth <= 1 || depth.is_multiple_of(2);
    for source in new.sources() {
        let meta = Meta::meta(*source.table);
        let now = depth(source.level, source.ingest);
        let Some(was) = depth_before(meta.id).filter(|was| *was != now) else { continue };
        let (start, end) = (meta.props.smallest.as_ref(), meta.props.largest.as_ref());
        for other in new.sources() {
            let older = Meta::meta(*other.table);
            // What stood above it already has no key of it, whatever their ranges.
            let stood_below = |depth: u16| depth > was || (depth == was && has_order(was));
            if depth(other.level, other.ingest) < now
                && older.id != meta.id
                && older.props.seq_max < meta.props.seq_min
                && depth_before(older.id).is_some_and(stood_below)
                && overlaps(older, start, end)
            {
                return Err(format!("table {} now stands below table {}", meta.id, older.id));
            }
        }
    }
    Ok(())
}

fn replay_monotonic(_: &View<'_>, _: &View<'_>, install: &Install) -> Result<(), String> {
    if install.wal_floor_new < install.wal_floor_old {
        return Err(format!("log floor {} after {}", install.wal_floor_new, install.wal_floor_old));
    }
    if install.flushed_seq_new < install.flushed_seq_old {
        return Err(format!("flushed seq {} after {}", install.flushed_seq_new, install.flushed_seq_old));
    }
    Ok(())
}
