//! The embedded database as a [`Backend`].
//!
//! Keys of space 0 are the plain keys of the family `default`: what other programs stored there are strings to the
//! front, and its strings are plain values to them.

use std::sync::Arc;

use nokv_core::formats::batch::Op;
use nokv_core::formats::{CfId, KeyRef, Kind, Seq, Version, redis};
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};
use parking_lot::Mutex;

use super::backend::{Backend, BatchLimit, CommitError, Conditions, Cursor, Space, Stored, Table, Unchanged};
use super::changes::Changes;
use crate::db::{Db, Iter, IterOptions, RedisMetrics, WriteOptions};

/// A batch of more bytes leaves no memory for the next one.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// A database with the front's families.
pub struct Embedded<V: Vfs, I: MemIndex> {
    db: Db<V, I>,
    keys: CfId,
    elements: CfId,
    scores: CfId,
    expiries: CfId,
    system: CfId,
    /// Memory for the next commit.
    batch: Mutex<WriteBatch>,
}

/// A family, and the byte before its keys if it is shared.
#[derive(Clone, Copy)]
struct Place {
    cf: CfId,
    prefix: Option<u8>,
}

impl Place {
    /// `key` as it is stored; `scratch` holds it where it is not stored as it is.
    fn key<'a>(&self, key: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        match self.prefix {
            None => key,
            Some(byte) => {
                scratch.clear();
                scratch.push(byte);
                scratch.extend_from_slice(key);
                scratch
            }
        }
    }

    /// The end of its keys, if they are not the family's last.
    fn end(&self) -> Option<Vec<u8>> {
        self.prefix.map(|byte| vec![byte + 1])
    }
}

impl<V: Vfs, I: MemIndex> Embedded<V, I> {
    /// Makes the families that are missing.
    ///
    /// # Errors
    /// What the database met.
    pub fn new(db: Db<V, I>) -> Result<Self> {
        let family = |name: &str| db.cf(name).map_or_else(|| db.create_cf(name), Ok);
        let [keys, elements, scores, expiries, system] = [
            family(redis::FAMILY_KEYS)?,
            family(redis::FAMILY_ELEMENTS)?,
            family(redis::FAMILY_SCORES)?,
            family(redis::FAMILY_EXPIRIES)?,
            family(redis::FAMILY_SYSTEM)?,
        ];
        Ok(Self { db, keys, elements, scores, expiries, system, batch: Mutex::default() })
    }

    const fn place(&self, table: Table) -> Place {
        let (cf, prefix) = match table {
            Table::Keys(0) => (CfId::DEFAULT, None),
            Table::Keys(space) => (self.keys, Some(space)),
            Table::Elements => (self.elements, None),
            Table::Scores => (self.scores, None),
            Table::Expiries => (self.expiries, None),
            Table::System => (self.system, None),
        };
        Place { cf, prefix }
    }

    fn fill(&self, batch: &mut WriteBatch, changes: &Changes) -> Result<()> {
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for range in changes.ranges() {
            let place = self.place(range.table);
            let lower = place.key(&range.lower, &mut low);
            let end = place.end();
            match (&range.upper, &end) {
                (Some(upper), _) => batch.delete_range(place.cf, lower, place.key(upper, &mut high))?,
                (None, Some(end)) => batch.delete_range(place.cf, lower, end)?,
                // No key of the front is as long as this one.
                (None, None) => batch.delete_range(place.cf, lower, &[0xff; redis::NAME_BYTES_MAX + 1])?,
            }
        }
        for (table, writes) in changes.tables() {
            let place = self.place(table);
            for (key, put) in writes.iter() {
                let key = KeyRef::new(place.cf, place.key(key, &mut low));
                let op = match put {
                    Some(put) => Op {
                        kind: Kind::Put,
                        key,
                        version: Version::MAX,
                        meta: put.kind,
                        expires_at: put.expires_at,
                        value: &put.value,
                    },
                    None => Op {
                        kind: Kind::Delete,
                        key,
                        version: Version::MAX,
                        meta: 0,
                        expires_at: 0,
                        value: &[],
                    },
                };
                batch.push(&op)?;
            }
        }
        Ok(())
    }
}

impl<V: Vfs, I: MemIndex> Backend for Embedded<V, I> {
    fn seq(&self) -> u64 {
        self.db.published_seq().0
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Stored>> {
        let place = self.place(table);
        let entry = self.db.get_stored(place.cf, place.key(key, &mut Vec::new()))?;
        Ok(entry.map(|entry| Stored {
            value: entry.value,
            kind: entry.meta,
            expires_at: entry.expires_at.unwrap_or(0),
        }))
    }

    fn expiry_of(&self, table: Table, key: &[u8]) -> Result<Option<u64>> {
        let place = self.place(table);
        self.db.expiry_of(place.cf, place.key(key, &mut Vec::new()))
    }

    fn scan(
        &self,
        table: Table,
        lower: &[u8],
        upper: Option<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Cursor>> {
        let place = self.place(table);
        let options = IterOptions {
            cf: place.cf,
            lower: Some(place.key(lower, &mut Vec::new()).to_vec()),
            upper: upper.map(|upper| place.key(upper, &mut Vec::new()).to_vec()).or_else(|| place.end()),
            reverse,
            ..IterOptions::default()
        };
        let iter = self.db.iter_stored(options)?;
        Ok(Box::new(Walk { iter, reverse, is_fresh: true, skip: usize::from(place.prefix.is_some()) }))
    }

    fn commit(&self, changes: &Changes, unchanged: &Conditions) -> std::result::Result<u64, CommitError> {
        let mut batch = std::mem::take(&mut *self.batch.lock());
        self.fill(&mut batch, changes).map_err(CommitError::Store)?;
        let mut scratch = Vec::new();
        for (table, key, since) in unchanged.iter() {
            let place = self.place(table);
            batch.require_unchanged(place.cf, place.key(key, &mut scratch), Seq(since));
        }
        let options = WriteOptions { sync: Some(false), ..WriteOptions::default() };
        match self.db.write_for_more(batch, &options) {
            Ok((seq, batch)) => {
                if changes.bytes() <= KEPT_BYTES_MAX {
                    *self.batch.lock() = batch;
                }
                Ok(seq.0)
            }
            Err(Error::Conflict) => Err(CommitError::Conflict),
            Err(error) => Err(CommitError::Store(error)),
        }
    }

    fn is_unchanged(&self, condition: &Unchanged) -> Result<bool> {
        let place = self.place(condition.table);
        let mut scratch = Vec::new();
        let key = place.key(&condition.key, &mut scratch);
        self.db.changed_since(place.cf, key, Seq(condition.since)).map(|changed| !changed)
    }

    fn sync(&self) -> Result<u64> {
        self.db.sync().map(|seq| seq.0)
    }

    fn keep_expired_from(&self, unix_ms: u64) {
        self.db.keep_expired_from(unix_ms);
    }

    fn failure(&self) -> Option<String> {
        self.db.engine().failure().map(|error| error.to_string())
    }

    fn batch_limit(&self) -> BatchLimit {
        let options = self.db.options();
        let or_none = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        let bytes = or_none(options.max_batch_bytes).min(options.mem_table_bytes as u64);
        BatchLimit { bytes, writes: or_none(options.max_batch_count) }
    }

    fn attach(&self, metrics: Arc<dyn RedisMetrics>) {
        self.db.info().set_redis_metrics(metrics);
    }

    fn space(&self) -> Space {
        let stats = self.db.stats();
        let engine = &stats.engine;
        let disk = engine.space.table_bytes + engine.space.value_log_bytes + engine.space.wal_bytes;
        Space { memory: Some(engine.memory.used_bytes), disk: Some(disk) }
    }
}

struct Walk<V: Vfs, I: MemIndex> {
    iter: Iter<V, I>,
    reverse: bool,
    is_fresh: bool,
    /// Bytes of each stored key that are not the front's.
    skip: usize,
}

impl<V: Vfs, I: MemIndex> Cursor for Walk<V, I> {
    fn advance(&mut self) -> Result<bool> {
        match (std::mem::take(&mut self.is_fresh), self.reverse) {
            (true, _) => self.iter.rewind()?,
            (false, false) => self.iter.next_entry()?,
            (false, true) => self.iter.prev_entry()?,
        }
        Ok(self.iter.valid())
    }

    fn key(&self) -> &[u8] {
        self.iter.key().and_then(|key| key.get(self.skip..)).unwrap_or_default()
    }

    fn entry(&self) -> Result<Stored> {
        match self.iter.entry()? {
            Some(entry) => {
                Ok(Stored { value: entry.value, kind: entry.meta, expires_at: entry.expires_at.unwrap_or(0) })
            }
            None => Err(on_nothing()),
        }
    }

    fn expires_at(&self) -> Result<u64> {
        Ok(self.iter.expires_at())
    }

    fn with_value(&self, look: &mut dyn FnMut(&[u8])) -> Result<()> {
        if self.iter.with_value(look)? { Ok(()) } else { Err(on_nothing()) }
    }
}

fn on_nothing() -> Error {
    Error::InvalidArgument("a cursor that stands on nothing".to_owned())
}
