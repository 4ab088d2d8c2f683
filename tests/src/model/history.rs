//! The model: for each key the list of all operations, and reads that judge every one of them.
//!
//! An entry is visible at (seq S, time T) when it is a put with seq <= S, not expired at T, and no operation with a
//! higher seq, up to S, hides it: one of the same version; a delete, or a put that has expired at T, of the same or
//! a higher version; a range delete over its key. A read gives the visible entry with the highest version up to a
//! bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use nokv::{CfId, Seq, Version};

/// What an operation on one key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Put,
    Delete,
    Purge,
}

/// An operation on one key.
#[derive(Clone)]
pub struct Put {
    what: What,
    /// Commit order.
    pub seq: Seq,
    /// Version.
    pub version: Version,
    /// The caller's byte.
    pub meta: u8,
    /// Unix milliseconds, 0 = never.
    pub expires_at: u64,
    /// The value.
    pub value: Arc<[u8]>,
}

impl std::fmt::Debug for Put {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, seq, version, meta, expires_at, value } = self;
        write!(f, "{what:?} seq {seq} version {version} meta {meta} expires {expires_at} {}B", value.len())
    }
}

impl Put {
    const fn expired(&self, now_ms: u64) -> bool {
        matches!(self.what, What::Put) && self.expires_at != 0 && self.expires_at <= now_ms
    }

    fn deletes(&self, now_ms: u64) -> bool {
        self.what == What::Delete || self.expired(now_ms)
    }
}

/// Where a read stands.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// It sees operations up to here.
    pub seq: Seq,
    /// It judges expiry at this time.
    pub now_ms: u64,
}

#[derive(Debug, Clone)]
struct RangeDelete {
    start: Vec<u8>,
    end: Vec<u8>,
    seq: Seq,
}

impl RangeDelete {
    fn covers(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }
}

#[derive(Default, Clone)]
struct Family {
    keys: BTreeMap<Vec<u8>, Vec<Put>>,
    ranges: Vec<RangeDelete>,
}

/// All families with all that was done to them.
#[derive(Default, Clone)]
pub struct History {
    families: BTreeMap<CfId, Family>,
    seq: Seq,
}

impl History {
    /// The seq of the last operation.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Adds a family.
    pub fn create(&mut self, cf: CfId) {
        assert!(self.families.insert(cf, Family::default()).is_none(), "family {cf} exists");
    }

    /// Removes a family.
    pub fn drop_family(&mut self, cf: CfId) {
        self.families.remove(&cf).expect("the family exists");
    }

    /// The families.
    pub fn families(&self) -> Vec<CfId> {
        self.families.keys().copied().collect()
    }

    fn family(&mut self, cf: CfId) -> &mut Family {
        self.families.get_mut(&cf).expect("the family exists")
    }

    fn push(&mut self, cf: CfId, key: &[u8], what: What, version: Version) -> &mut Put {
        self.seq = Seq(self.seq.0 + 1);
        let op = Put { what, seq: self.seq, version, meta: 0, expires_at: 0, value: Arc::new([]) };
        let ops = self.family(cf).keys.entry(key.to_vec()).or_default();
        ops.push(op);
        ops.last_mut().expect("just pushed")
    }

    /// Sets a version.
    pub fn put(
        &mut self,
        cf: CfId,
        key: &[u8],
        version: Version,
        meta: u8,
        expires_at: u64,
        value: Arc<[u8]>,
    ) {
        let op = self.push(cf, key, What::Put, version);
        (op.meta, op.expires_at, op.value) = (meta, expires_at, value);
    }

    /// Deletes the versions up to `version`.
    pub fn delete(&mut self, cf: CfId, key: &[u8], version: Version) {
        self.push(cf, key, What::Delete, version);
    }

    /// Removes exactly one version.
    pub fn purge(&mut self, cf: CfId, key: &[u8], version: Version) {
        self.push(cf, key, What::Purge, version);
    }

    /// Deletes `start..end`. An empty range is an operation too: it takes a seq.
    pub fn delete_range(&mut self, cf: CfId, start: &[u8], end: &[u8]) {
        self.seq = Seq(self.seq.0 + 1);
        let seq = self.seq;
        if start < end {
            self.family(cf).ranges.push(RangeDelete { start: start.to_vec(), end: end.to_vec(), seq });
        }
    }

    /// What a read of `key` gives, up to version `bound`.
    pub fn get(&self, cf: CfId, key: &[u8], read: Read, bound: Version) -> Option<&Put> {
        let family = &self.families[&cf];
        visible(family.keys.get(key)?, family.newest_range(key, read.seq), read, bound)
    }

    /// The visible entries of a family from `lower` on, up to `upper` (not included), in key order.
    pub fn scan<'a>(
        &'a self,
        cf: CfId,
        lower: &[u8],
        upper: Option<&'a [u8]>,
        read: Read,
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a Put)> + 'a {
        let family = &self.families[&cf];
        let none = upper.is_some_and(|upper| upper <= lower);
        let lower = if none { upper.expect("there is one") } else { lower };
        let start = std::ops::Bound::Included(lower);
        let end = upper.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
        family
            .keys
            .range::<[u8], _>((start, end))
            .filter(move |(key, _)| upper.is_none_or(|u| key.as_slice() < u))
            .filter_map(move |(key, ops)| {
                let put = visible(ops, family.newest_range(key, read.seq), read, Version::MAX)?;
                Some((key.as_slice(), put))
            })
    }

    /// The newest operation that touched `key`, and whether it is a put that is visible at `now_ms`.
    pub fn touched(&self, cf: CfId, key: &[u8], now_ms: u64) -> (Seq, bool) {
        let family = &self.families[&cf];
        let range = family.newest_range(key, self.seq);
        match family.keys.get(key).and_then(|ops| ops.last()) {
            Some(op) if op.seq > range => (op.seq, op.what == What::Put && !op.expired(now_ms)),
            _ => (range, false),
        }
    }

    /// Forgets what no read at or behind `oldest` can tell from not being there. The newest operation on a key
    /// stays.
    pub fn prune(&mut self, oldest: Read) {
        for family in self.families.values_mut() {
            let ranges = std::mem::take(&mut family.ranges);
            for (key, ops) in &mut family.keys {
                let range =
                    ranges.iter().filter(|r| r.seq <= oldest.seq && r.covers(key)).map(|r| r.seq).max();
                prune_key(ops, range.unwrap_or_default(), oldest);
            }
            // A range delete is needed while it covers anything older, or is the last that touched a key: never
            // known here, so the newest of equal ranges stay.
            let mut kept: Vec<RangeDelete> = Vec::new();
            for r in ranges.into_iter().rev() {
                let beaten = |k: &RangeDelete| k.seq <= oldest.seq && k.start <= r.start && r.end <= k.end;
                if !kept.iter().any(beaten) {
                    kept.push(r);
                }
            }
            kept.reverse();
            family.ranges = kept;
        }
    }

    /// Everything about a key, for a report.
    pub fn describe(&self, cf: CfId, key: &[u8]) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let Some(family) = self.families.get(&cf) else { return "no such family".to_owned() };
        for op in family.keys.get(key).into_iter().flatten() {
            let _ = writeln!(text, "  {op:?}");
        }
        for r in family.ranges.iter().filter(|r| r.covers(key)) {
            let _ = writeln!(text, "  range delete seq {}", r.seq);
        }
        text
    }
}

impl Family {
    fn newest_range(&self, key: &[u8], seq: Seq) -> Seq {
        self.ranges.iter().rev().find(|r| r.seq <= seq && r.covers(key)).map(|r| r.seq).unwrap_or_default()
    }
}

fn visible(ops: &[Put], range: Seq, read: Read, bound: Version) -> Option<&Put> {
    let seen = &ops[..ops.partition_point(|op| op.seq <= read.seq)];
    let mut best: Option<&Put> = None;
    for (i, put) in seen.iter().enumerate() {
        let candidate = put.what == What::Put
            && put.version <= bound
            && put.seq > range
            && !put.expired(read.now_ms)
            && best.is_none_or(|best| put.version > best.version);
        let hides =
            |by: &Put| by.version == put.version || (by.version > put.version && by.deletes(read.now_ms));
        if candidate && !seen[i + 1..].iter().any(hides) {
            best = Some(put);
        }
    }
    best
}

fn prune_key(ops: &mut Vec<Put>, range: Seq, oldest: Read) {
    let mut gone = vec![false; ops.len()];
    for i in 0..ops.len().saturating_sub(1) {
        let op = &ops[i];
        gone[i] = op.seq < range
            || ops[i + 1..].iter().take_while(|by| by.seq <= oldest.seq).any(|by| {
                let hides_itself_only =
                    op.what == What::Purge || (op.what == What::Put && op.expires_at == 0);
                (by.version >= op.version && by.deletes(oldest.now_ms))
                    || (by.version == op.version && hides_itself_only)
            });
    }
    let mut i = 0;
    ops.retain(|_| {
        i += 1;
        !gone[i - 1]
    });
}
