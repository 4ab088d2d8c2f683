//! Operations that write.

use std::sync::Arc;
use std::time::Duration;

use nokv::core::formats::batch::Op;
use nokv::core::formats::{KeyRef, Kind};
use nokv::{CfId, Error, Expiry, MemIndex, Seq, Version, Vfs, WriteBatch, WriteOptions};

use super::choices::{self, pick};
use super::run::Run;

/// An operation of a batch.
pub(super) enum Change {
    Put { version: Version, meta: u8, expires_at: u64, value: Arc<[u8]> },
    Delete(Version),
    Purge(Version),
    Range(Vec<u8>),
}

impl<V: Vfs, I: MemIndex> Run<V, I> {
    pub(super) fn version(&mut self) -> Version {
        Version(match self.course.below(20) {
            0 => 0,
            1 => u64::MAX - 1,
            _ => self.course.below(8),
        })
    }

    fn expiry(&mut self) -> u64 {
        match self.course.below(10) {
            // In the past: a delete at once.
            0 => self.now_ms().saturating_sub(self.course.below(3)),
            1 => u64::MAX,
            _ => self.now_ms() + self.course.below(1_500),
        }
    }

    pub(super) fn set(&mut self) {
        let (cf, key, value) = (self.family(), self.key(), choices::value(&mut self.course));
        self.note(|_| format!("set {cf} {} {}B", short(&key), value.len()));
        match cf {
            CfId::DEFAULT => self.db().set(&key, &value).expect("set"),
            cf => self.db().set_cf(cf, &key, &value).expect("set_cf"),
        }
        self.model.put(cf, &key, Version::MAX, 0, 0, value);
    }

    pub(super) fn set_versioned(&mut self) {
        let (cf, key, version) = (self.family(), self.key(), self.version());
        let (value, meta) = (choices::value(&mut self.course), self.course.next() as u8);
        self.note(|_| format!("set version {version} of {cf} {} {}B", short(&key), value.len()));
        self.db().set_versioned_entry(cf, &key, version, &value, meta).expect("set_versioned_entry");
        self.model.put(cf, &key, version, meta, 0, value);
    }

    pub(super) fn set_expiring(&mut self) {
        let (key, value) = (self.key(), choices::value(&mut self.course));
        let expiry = if self.one_in(2) {
            Expiry::At(self.expiry())
        } else {
            Expiry::In(Duration::from_millis(self.course.below(1_500)))
        };
        let at = self.db().expires_at(expiry);
        self.note(|_| format!("set {} until {at} {}B", short(&key), value.len()));
        self.db().set_with_ttl(&key, &value, expiry).expect("set_with_ttl");
        self.model.put(CfId::DEFAULT, &key, Version::MAX, 0, at, value);
    }

    pub(super) fn delete(&mut self) {
        let (cf, key) = (self.family(), self.key());
        self.note(|_| format!("delete {cf} {}", short(&key)));
        match cf {
            CfId::DEFAULT => self.db().del(&key).expect("del"),
            cf => self.db().del_cf(cf, &key).expect("del_cf"),
        }
        self.model.delete(cf, &key, Version::MAX);
    }

    pub(super) fn delete_versioned(&mut self) {
        let (cf, key, version) = (self.family(), self.key(), self.version());
        self.note(|_| format!("delete up to {version} of {cf} {}", short(&key)));
        self.db().delete_versioned_entry(cf, &key, version).expect("delete_versioned_entry");
        self.model.delete(cf, &key, version);
    }

    pub(super) fn purge(&mut self) {
        let (cf, key) = (self.family(), self.key());
        let version = if self.one_in(3) { Version::MAX } else { self.version() };
        self.note(|_| format!("purge {version} of {cf} {}", short(&key)));
        self.db().purge(cf, &key, version).expect("purge");
        self.model.purge(cf, &key, version);
    }

    /// Two keys, mostly close to each other; the first is mostly the smaller one.
    pub(super) fn range(&mut self) -> (Vec<u8>, Vec<u8>) {
        let from = self.course.below(self.keys.len() as u64) as usize;
        let reach = if self.one_in(20) { self.keys.len() as u64 } else { 12 };
        let to = (from + self.course.below(reach) as usize).min(self.keys.len() - 1);
        let (mut start, mut end) = (self.keys[from].clone(), self.keys[to].clone());
        if self.one_in(4) {
            end.push(0);
        }
        if self.one_in(20) {
            std::mem::swap(&mut start, &mut end);
        }
        (start, end)
    }

    pub(super) fn delete_range(&mut self) {
        let (cf, (start, end)) = (self.family(), self.range());
        self.note(|_| format!("delete range {cf} {}..{}", short(&start), short(&end)));
        self.db().delete_range(cf, &start, &end).expect("delete_range");
        if start < end {
            self.model.delete_range(cf, &start, &end);
        }
    }

    /// Operations for a batch.
    fn changes(&mut self) -> Vec<(CfId, Vec<u8>, Change)> {
        let count = if self.one_in(20) { 60 } else { 1 + self.course.below(6) };
        let same = self.one_in(4).then(|| self.key());
        (0..count)
            .map(|_| {
                let (cf, key) = (self.family(), same.clone().unwrap_or_else(|| self.key()));
                let version = if self.one_in(2) { Version::MAX } else { self.version() };
                match self.course.below(40) {
                    0 => {
                        let (start, end) = self.range();
                        (cf, start, Change::Range(end))
                    }
                    1..8 => (cf, key, Change::Delete(version)),
                    8..12 => (cf, key, Change::Purge(version)),
                    _ => {
                        let expires_at = if self.one_in(4) { self.expiry() } else { 0 };
                        let (meta, value) = (self.course.next() as u8, choices::value(&mut self.course));
                        (cf, key, Change::Put { version, meta, expires_at, value })
                    }
                }
            })
            .collect()
    }

    fn apply(&mut self, changes: Vec<(CfId, Vec<u8>, Change)>) {
        for (cf, key, change) in changes {
            match change {
                Change::Put { version, meta, expires_at, value } => {
                    self.model.put(cf, &key, version, meta, expires_at, value);
                }
                Change::Delete(version) => self.model.delete(cf, &key, version),
                Change::Purge(version) => self.model.purge(cf, &key, version),
                Change::Range(end) => self.model.delete_range(cf, &key, &end),
            }
        }
    }

    fn write_options(&mut self) -> WriteOptions {
        let sync = pick(&mut self.course, &[None, None, None, Some(false), Some(true)]);
        // Not both: that is refused.
        let disable_wal = sync != Some(true) && self.one_in(10);
        WriteOptions { sync, disable_wal, deadline: None }
    }

    fn note_batch(&mut self, changes: &[(CfId, Vec<u8>, Change)], options: &WriteOptions) {
        self.note(|_| {
            let ops: Vec<String> = changes
                .iter()
                .map(|(cf, key, change)| match change {
                    Change::Put { version, expires_at, value, .. } => {
                        format!("put {cf} {} at {version} until {expires_at} {}B", short(key), value.len())
                    }
                    Change::Delete(version) => format!("delete {cf} {} at {version}", short(key)),
                    Change::Purge(version) => format!("purge {cf} {} at {version}", short(key)),
                    Change::Range(end) => format!("range {cf} {}..{}", short(key), short(end)),
                })
                .collect();
            format!("batch, no log {}: {}", options.disable_wal, ops.join(", "))
        });
    }

    pub(super) fn batch(&mut self) {
        let (changes, options) = (self.changes(), self.write_options());
        self.note_batch(&changes, &options);
        let count = changes.len() as u64;
        let batch = batch_of(&changes);
        if self.is_short() && batch.bytes() as u64 > ANY_LIMIT_BYTES {
            return;
        }
        match self.db().write(batch, &options) {
            Ok(last) => {
                assert_eq!(last.0, self.model.seq().0 + count, "the batch's last seq");
                self.apply(changes);
                self.unlogged |= options.disable_wal;
            }
            Err(Error::BatchTooLarge { bytes, limit, .. }) if bytes > limit => {}
            Err(error) => panic!("write: {error}"),
        }
    }

    pub(super) fn batch_with_preconditions(&mut self) {
        let (changes, options) = (self.changes(), self.write_options());
        self.note_batch(&changes, &options);
        let mut batch = batch_of(&changes);
        let (mut must, mut may) = (false, false);
        for _ in 0..1 + self.course.below(3) {
            let (cf, key) = (self.family(), self.key());
            let (touched, is_visible) = self.model.touched(cf, &key, self.now_ms());
            let since = match self.course.below(6) {
                0 => Seq(self.course.below(self.model.seq().0 + 1)),
                1 => Seq(self.model.seq().0.saturating_sub(self.course.below(100))),
                2 if !self.pasts.is_empty() => {
                    let at = self.course.below(self.pasts.len() as u64) as usize;
                    self.pasts[at].at.seq
                }
                3 => touched,
                _ => self.model.seq(),
            };
            let now = self.now();
            let plain =
                self.model.get(cf, &key, now, Version::MAX).is_some_and(|put| put.version == Version::MAX);
            if touched > since {
                may = true;
                // A purge of another version may have gone without a trace beside a plain value.
                must |= !plain || is_visible || self.pasts.iter().any(|past| past.at.seq <= since);
            }
            // A key without a plain value may have lost its last trace: then it counts as touched.
            may |= !plain && since < self.model.seq();
            batch.require_unchanged(cf, &key, since);
            self.note(|_| format!("require {cf} {} since {since}, touched {touched}", short(&key)));
        }
        let count = changes.len() as u64;
        if self.is_short() && (may != must || batch.bytes() as u64 > ANY_LIMIT_BYTES) {
            return;
        }
        match self.db().write(batch, &options) {
            Ok(last) => {
                assert!(!must, "a batch was written whose preconditions do not hold");
                assert_eq!(last.0, self.model.seq().0 + count, "the batch's last seq");
                self.apply(changes);
                self.unlogged |= options.disable_wal;
            }
            Err(Error::Conflict) => {
                assert!(may, "a batch was refused whose preconditions hold");
                self.seen.conflicts += 1;
            }
            Err(Error::BatchTooLarge { bytes, limit, .. }) if bytes > limit => {}
            Err(error) => panic!("write: {error}"),
        }
    }

    pub(super) fn transaction(&mut self) {
        let now = self.now();
        let db = self.db().clone();
        let mut tx = db.begin().expect("begin");
        assert_eq!(tx.seq(), self.model.seq());
        type Written = (CfId, Vec<u8>, Option<Arc<[u8]>>);
        let mut own: Vec<Written> = Vec::new();
        let mut read: Vec<(CfId, Vec<u8>)> = Vec::new();
        for _ in 0..1 + self.course.below(6) {
            let (cf, key) = (self.family(), self.key());
            match self.course.below(6) {
                0 => {
                    tx.del(cf, &key).expect("del");
                    own.push((cf, key, None));
                }
                1 | 2 => {
                    let value = choices::value(&mut self.course);
                    tx.set(cf, &key, &value).expect("set");
                    own.push((cf, key, Some(value)));
                }
                3 => {
                    tx.require_unchanged(cf, &key);
                    read.push((cf, key));
                }
                _ => {
                    let got = tx.get(cf, &key).expect("get").map(|v| v.to_vec());
                    let want = match own.iter().rev().find(|(c, k, _)| (*c, k) == (cf, &key)) {
                        Some((_, _, value)) => value.as_ref().map(|v| v.to_vec()),
                        None => {
                            read.push((cf, key.clone()));
                            self.model.get(cf, &key, now, Version::MAX).map(|put| put.value.to_vec())
                        }
                    };
                    assert!(got == want, "read in a transaction\n{}", self.story(cf, &key));
                }
            }
        }
        self.note(|_| format!("transaction, {} reads, {} writes", read.len(), own.len()));
        for _ in 0..self.course.below(4) {
            match self.course.below(4) {
                0 => self.delete(),
                1 => self.delete_range(),
                _ => self.set(),
            }
            if self.one_in(60) {
                self.flush();
            }
        }
        let bytes = |(_, key, value): &Written| key.len() + value.as_ref().map_or(0, |value| value.len());
        if self.is_short() && own.iter().map(bytes).sum::<usize>() as u64 > ANY_LIMIT_BYTES {
            return;
        }
        let changed = read.iter().any(|(cf, key)| self.model.touched(*cf, key, self.now_ms()).0 > now.seq);
        match tx.commit(&WriteOptions::default()) {
            Ok(seq) if own.is_empty() => assert_eq!(seq, now.seq),
            Ok(seq) => {
                assert!(!changed, "a transaction was committed although what it read was changed");
                for (cf, key, value) in own {
                    match value {
                        Some(value) => self.model.put(cf, &key, Version::MAX, 0, 0, value),
                        None => self.model.delete(cf, &key, Version::MAX),
                    }
                }
                assert_eq!(seq, self.model.seq());
                self.seen.commits += 1;
            }
            Err(Error::Conflict) => assert!(changed, "a transaction was refused although nothing changed"),
            Err(Error::BatchTooLarge { bytes, limit, .. }) if bytes > limit => {}
            Err(error) => panic!("commit: {error}"),
        }
    }
}

/// Below the largest batch of any option set, with room for what each operation takes.
const ANY_LIMIT_BYTES: u64 = 30_000;

fn batch_of(changes: &[(CfId, Vec<u8>, Change)]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (cf, key, change) in changes {
        let result = match change {
            Change::Put { version, meta, expires_at, value } => batch.push(&Op {
                kind: Kind::Put,
                key: KeyRef::new(*cf, key),
                version: *version,
                meta: *meta,
                expires_at: *expires_at,
                value,
            }),
            Change::Delete(Version::MAX) => batch.delete(*cf, key),
            Change::Delete(version) => batch.delete_versioned(*cf, key, *version),
            Change::Purge(version) => batch.purge(*cf, key, *version),
            Change::Range(end) => batch.delete_range(*cf, key, end),
        };
        result.expect("an operation within the limits");
    }
    batch
}

/// A key, for a report.
pub(super) fn short(key: &[u8]) -> String {
    format!("\"{}\"({})", key[..key.len().min(12)].escape_ascii(), key.len())
}
