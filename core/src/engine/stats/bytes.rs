//! What the bytes of tables and of the value log are: live, dead, expired, pinned.
//!
//! Who may call it: statistics. Pure in what it is given; nothing is read from files.
//!
//! Exact: sizes, value-log bytes that are named, dead and pinned ones. Estimates: the share of a table's bytes that
//! belongs to deletes (their share of its entries), and what has expired (as if every entry of a table with
//! expiries had one, spread evenly between the earliest and the latest: never too low for such a spread).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nokv_formats::TableMeta;
use nokv_formats::vlog::SEGMENT_HEADER_BYTES;

use crate::engine::Engine;
use crate::engine::gc::SegmentId;
use crate::index::MemIndex;
use crate::read::view::{Tables, View};
use crate::sync::Arc;
use crate::vfs::Vfs;

/// One level of the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Sorted tables (level 0: all tables).
    pub tables: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Value-log bytes that they name.
    pub value_bytes: u64,
    /// Tables of the ingest set.
    pub ingest_tables: u64,
    /// Their bytes.
    pub ingest_bytes: u64,
    /// Value-log bytes that they name.
    pub ingest_value_bytes: u64,
    /// Entries of all its tables.
    pub entries: u64,
    /// Bytes of deletes and purges, about.
    pub dead_bytes: u64,
    /// Bytes that have expired, about.
    pub expired_bytes: u64,
    /// Bytes of tables that left the level and are still read.
    pub pinned_bytes: u64,
}

/// One segment of the value log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SegmentStats {
    /// Bucket.
    pub bucket: u16,
    /// Segment in the bucket.
    pub segment: u32,
    /// Does it take appends?
    pub head: bool,
    /// Bytes of its file.
    pub size: u64,
    /// Bytes of records that tables or memtables name and that have not expired.
    pub live_bytes: u64,
    /// Bytes of records that tables or memtables name and that have expired, about.
    pub expired_bytes: u64,
    /// Bytes of records that only tables and memtables name that are still read.
    pub pinned_bytes: u64,
    /// The rest.
    pub dead_bytes: u64,
}

/// Which share of a table has expired at `now_ms`.
fn expired_share(meta: &TableMeta, now_ms: u64) -> f64 {
    let (first, last) = (meta.props.expiry_min, meta.props.expiry_max);
    if last == 0 || first > now_ms {
        0.0
    } else if last <= now_ms {
        1.0
    } else {
        (now_ms - first) as f64 / (last - first).max(1) as f64
    }
}

fn value_bytes(meta: &TableMeta) -> u64 {
    meta.props.live.iter().map(|l| l.bytes).sum()
}

impl LevelStats {
    fn add(&mut self, meta: &TableMeta, now_ms: u64) {
        self.entries += meta.props.entries();
        let gone = meta.props.deletes + meta.props.purges;
        let dead = (meta.file_bytes as f64 * gone as f64 / meta.props.entries().max(1) as f64) as u64;
        let dead = dead.min(meta.file_bytes);
        self.dead_bytes += dead;
        self.expired_bytes += ((meta.file_bytes - dead) as f64 * expired_share(meta, now_ms)) as u64;
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    pub(super) fn level_stats(&self, view: &View<V, I>) -> Vec<LevelStats> {
        let now = self.now_ms();
        let mut levels: Vec<LevelStats> = Vec::new();
        for level in view.tables.levels() {
            let mut s = LevelStats::default();
            for table in &level.tables {
                s.tables += 1;
                s.bytes += table.meta().file_bytes;
                s.value_bytes += value_bytes(table.meta());
                s.add(table.meta(), now);
            }
            for table in &level.ingest {
                s.ingest_tables += 1;
                s.ingest_bytes += table.meta().file_bytes;
                s.ingest_value_bytes += value_bytes(table.meta());
                s.add(table.meta(), now);
            }
            levels.push(s);
        }
        for table in self.retired.lock().tables.iter().filter(|t| Arc::strong_count(t) > 1) {
            if let Some(level) = levels.get_mut(table.level() as usize) {
                level.pinned_bytes += table.meta().file_bytes;
            }
        }
        levels
    }

    pub(super) fn segment_stats(&self, view: &View<V, I>) -> Vec<SegmentStats> {
        let now = self.now_ms();
        let live = self.value_log_live();
        let mut expired: BTreeMap<SegmentId, u64> = BTreeMap::new();
        for table in view.tables.tables() {
            let share = expired_share(table.meta(), now);
            for l in table.meta().props.live.iter().filter(|_| share > 0.0) {
                *expired.entry((l.bucket, l.segment)).or_default() += (l.bytes as f64 * share) as u64;
            }
        }
        let mut pinned: BTreeMap<SegmentId, u64> = BTreeMap::new();
        {
            let retired = self.retired.lock();
            for table in retired.tables.iter().filter(|t| Arc::strong_count(t) > 1) {
                for l in &table.meta().props.live {
                    *pinned.entry((l.bucket, l.segment)).or_default() += l.bytes;
                }
            }
            for memtable in retired.memtables.iter().filter(|m| Arc::strong_count(m) > 1) {
                for (id, bytes) in memtable.live() {
                    *pinned.entry(id).or_default() += bytes;
                }
            }
        }
        let of = |map: &BTreeMap<SegmentId, u64>, id| map.get(&id).copied().unwrap_or(0);
        let all = self.vlog.segments().into_iter().map(|s| {
            let id = (s.bucket, s.segment);
            let records = s.size.saturating_sub(SEGMENT_HEADER_BYTES);
            let named = of(&live, id).min(records);
            let expired_bytes = of(&expired, id).min(named);
            // What a reader holds is mostly named by the tree too: only the rest is there for readers alone.
            let pinned_bytes = of(&pinned, id).saturating_sub(named).min(records - named);
            SegmentStats {
                bucket: s.bucket,
                segment: s.segment,
                head: s.head,
                size: s.size,
                live_bytes: named - expired_bytes,
                expired_bytes,
                pinned_bytes,
                dead_bytes: records - named - pinned_bytes,
            }
        });
        all.collect()
    }

    /// About how much of tables and value log a database with nothing hidden would take: tables that nothing
    /// deeper overlaps, without their deletes and expired entries, and the values that they name.
    pub(super) fn live_estimate(&self, tables: &Tables<V>) -> u64 {
        let now = self.now_ms();
        let levels = tables.levels();
        let mut live = 0;
        for (n, level) in levels.iter().enumerate() {
            let set = |ingest: bool| if ingest { &level.ingest } else { &level.tables };
            for ingest in [false, true] {
                // The sorted tables of a level are older than its ingest set.
                let deeper = levels.iter().skip(if ingest { n } else { n + 1 });
                for table in set(ingest) {
                    let props = &table.meta().props;
                    let is_hiding = deeper.clone().any(|below| {
                        let at = below.tables.partition_point(|t| t.meta().props.largest < props.smallest);
                        below.tables.get(at).is_some_and(|t| t.meta().props.smallest <= props.largest)
                    });
                    if is_hiding {
                        continue;
                    }
                    let mut s = LevelStats::default();
                    s.add(table.meta(), now);
                    live += table.meta().file_bytes.saturating_sub(s.dead_bytes + s.expired_bytes);
                    live +=
                        (value_bytes(table.meta()) as f64 * (1.0 - expired_share(table.meta(), now))) as u64;
                }
            }
        }
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiring(first: u64, last: u64) -> TableMeta {
        let mut meta = TableMeta::default();
        (meta.props.expiry_min, meta.props.expiry_max) = (first, last);
        meta
    }

    #[test]
    fn a_table_expires_evenly_between_its_earliest_and_latest_expiry() {
        assert_eq!(expired_share(&expiring(0, 0), 1_000), 0.0);
        assert_eq!(expired_share(&expiring(100, 200), 99), 0.0);
        assert_eq!(expired_share(&expiring(100, 200), 150), 0.5);
        assert_eq!(expired_share(&expiring(100, 200), 200), 1.0);
        assert_eq!(expired_share(&expiring(100, 100), 100), 1.0);
    }

    #[test]
    fn dead_bytes_are_the_share_of_deletes() {
        let mut meta = TableMeta { file_bytes: 1000, ..expiring(1, 1) };
        (meta.props.puts, meta.props.deletes) = (3, 1);
        let mut level = LevelStats::default();
        level.add(&meta, 0);
        assert_eq!((level.dead_bytes, level.expired_bytes, level.entries), (250, 0, 4));
        level.add(&meta, 1);
        assert_eq!((level.dead_bytes, level.expired_bytes), (500, 750));
    }
}
