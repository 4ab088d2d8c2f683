//! How much of each value-log segment is dead, and which segments are worth collecting.
//!
//! Who may call it: the engine, tools. Pure. Dead bytes are the size of a segment minus what the tables say they name in
//! it, so the count cannot drift. Pointers in memtables are not counted: their segments look deader than they are, which
//! is why the engine flushes memtables that name a victim first.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nokv_formats::TableMeta;
use nokv_formats::vlog::SEGMENT_HEADER_BYTES;

/// How much of a segment is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentUse {
    /// Bucket.
    pub bucket: u16,
    /// Segment in the bucket.
    pub segment: u32,
    /// Bytes of records, the segment's header not counted.
    pub bytes: u64,
    /// Bytes of records that are named.
    pub live: u64,
    /// Does it take appends?
    pub head: bool,
}

impl SegmentUse {
    /// Bytes that no table names.
    pub fn dead(&self) -> u64 {
        self.bytes.saturating_sub(self.live)
    }

    /// Share of dead bytes, in thousandths; an empty segment is wholly dead.
    pub fn dead_per_mille(&self) -> u64 {
        match self.bytes {
            0 => 1000,
            bytes => (u128::from(self.dead()) * 1000 / u128::from(bytes)) as u64,
        }
    }
}

/// The use of each segment, in the order of `segments`, which are (bucket, segment, length of the file).
pub fn discard_stats<'a>(
    segments: impl IntoIterator<Item = (u16, u32, u64)>,
    tables: impl IntoIterator<Item = &'a TableMeta>,
) -> Vec<SegmentUse> {
    let mut live: BTreeMap<(u16, u32), u64> = BTreeMap::new();
    for table in tables {
        for part in &table.props.live {
            let sum = live.entry((part.bucket, part.segment)).or_default();
            *sum = sum.saturating_add(part.bytes);
        }
    }
    let use_of = |(bucket, segment, size): (u16, u32, u64)| SegmentUse {
        bucket,
        segment,
        bytes: size.saturating_sub(SEGMENT_HEADER_BYTES),
        live: live.get(&(bucket, segment)).copied().unwrap_or(0),
        head: false,
    };
    segments.into_iter().map(use_of).collect()
}

/// The segments of which at least `discard_ratio` (0 to 1) is dead, the deadest first.
pub fn pick_victims(stats: &[SegmentUse], discard_ratio: f64) -> Vec<SegmentUse> {
    let at_least = (discard_ratio.clamp(0.0, 1.0) * 1000.0) as u64;
    let worth = |s: &&SegmentUse| s.dead_per_mille() >= at_least.max(1);
    let mut victims: Vec<_> = stats.iter().filter(worth).copied().collect();
    victims.sort_by_key(dead_order);
    victims
}

/// The deadest first; of equals the longer.
pub(super) fn dead_order(s: &SegmentUse) -> impl Ord + use<> {
    (core::cmp::Reverse(s.dead_per_mille()), core::cmp::Reverse(s.bytes), s.bucket, s.segment)
}
