//! Keys with types, expiry and counts, on a transaction.
//!
//! 1. Every change of a key goes through [`Keyspace::put`], [`Keyspace::save`], [`Keyspace::remove`] or the flushes:
//!    they keep `redis.expiries`, the counts and the effects right.
//! 2. Whoever changes a collection saves its head, also when the head stays the same.
//! 3. Effects hold what is to be told once the transaction has committed; a transaction that fails has none.
//! 4. What a transaction reads is of one time, [`Keyspace::now`]: a key that expired by then is not there. What becomes of
//!    it is in `keyspace/expiry.rs`.

use std::sync::Arc;

use nokv_core::formats::redis::{self, Head, Kind, NAME_BYTES_MAX, SPACES};
use nokv_core::read::point::Value;
use nokv_core::{Error, Result};

use self::expiry::Due;
use self::held::collection_end;
use super::backend::{Backend, CommitError, Cursor, Stored, Table};
use super::build::Builds;
use super::changes::Put;
use super::counts::Counts;
use super::effects::{Class, Effects};
use super::ranks::Ranks;
use super::txn::Txn;
use crate::redis::fail::{Answer, Fail};

mod expiry;
mod held;

pub use held::{Collection, Found, Slot, part_of};

/// Elements that are deleted one by one when their collection goes; more are a range.
const SINGLE_DELETES_MAX: usize = 32;

/// The keys of all databases, and the transaction on them that is under way.
pub struct Keyspace {
    txn: Txn,
    now: u64,
    effects: Effects,
    /// Which space each database has, as committed and in the transaction.
    spaces: [u8; SPACES],
    spaces_now: [u8; SPACES],
    /// The first collection number that was not taken.
    next: u64,
    counts: Counts,
    /// Which rows of `redis.expiries` are next.
    due: Due,
    /// A write command runs: keys that expired and that it looks up are taken out.
    takes_expired: bool,
    /// A key that was removed to be stored anew: it is no new one then.
    replaced: Option<(u8, Vec<u8>)>,
    /// What was written ahead of a head.
    builds: Builds,
    /// Ranks in large collections.
    ranks: Ranks,
}

impl Keyspace {
    /// Reads what the front noted for itself and starts to count the keys, if it has to.
    ///
    /// # Errors
    /// What the store met; what is noted makes no sense.
    pub fn open(backend: Arc<dyn Backend>, now: u64) -> Answer<Self> {
        // ORDER: before anything is looked at. What expires from now on stays until it is taken out.
        backend.keep_expired_from(0);
        let mut txn = Txn::new(backend);
        let spaces = match txn.get(Table::System, redis::SYSTEM_SPACES)? {
            Some(stored) => redis::decode_spaces(&stored.value)?,
            None => std::array::from_fn(|i| i as u8),
        };
        let next = match txn.get(Table::System, redis::SYSTEM_NEXT)? {
            Some(stored) => redis::decode_next(&stored.value)?,
            None => 1,
        };
        let counts = Counts::open(&mut txn)?;
        let builds = Builds::new(txn.backend().batch_limit());
        let mut keyspace = Self {
            txn,
            now,
            effects: Effects::default(),
            spaces,
            spaces_now: spaces,
            next,
            counts,
            due: Due::new(),
            takes_expired: false,
            replaced: None,
            builds,
            ranks: Ranks::new(),
        };
        keyspace.remove_unfinished()?;
        Ok(keyspace)
    }

    /// The time of this transaction, in Unix milliseconds.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// The transaction.
    pub const fn txn(&mut self) -> &mut Txn {
        &mut self.txn
    }

    /// What is to be told.
    pub const fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Collections that are written ahead.
    pub(super) const fn builds(&mut self) -> &mut Builds {
        &mut self.builds
    }

    /// Ranks in large collections, and the transaction.
    pub(super) const fn ranks_and_txn(&mut self) -> (&mut Ranks, &mut Txn) {
        (&mut self.ranks, &mut self.txn)
    }

    /// The first collection number that was not taken.
    pub(super) const fn next_number(&self) -> u64 {
        self.next
    }

    /// Exact numbers of keys, and who waits for them.
    pub const fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// The space of a database.
    pub fn space(&self, db: u8) -> u8 {
        self.spaces_now[usize::from(db) % SPACES]
    }

    /// The database that has a space.
    pub(super) fn db_of(&self, space: u8) -> u8 {
        self.spaces_now.iter().position(|s| *s == space).unwrap_or(0) as u8
    }

    /// Starts a transaction at `now`. What another one left uncommitted is forgotten.
    pub fn begin(&mut self, now: u64) {
        self.now = now;
        self.effects.clear();
        self.spaces_now = self.spaces;
        self.starts(false);
        self.due.not_committed();
        self.builds.abandoned();
        // What cannot be removed now is tried again by the next transaction.
        let _ = self.builds.sweep(self.txn.backend().as_ref());
        self.ranks.begin();
        self.txn.begin();
    }

    /// A command starts within the transaction.
    pub fn starts(&mut self, writes: bool) {
        self.takes_expired = writes;
        self.replaced = None;
    }

    /// Commits. The effects are to be told then.
    ///
    /// # Errors
    /// [`CommitError`]: nothing was written, and nothing is to be told.
    pub fn commit(&mut self) -> std::result::Result<u64, CommitError> {
        let ranked = self.ranks.prepare(&mut self.txn);
        match self.commit_rebuilt() {
            Ok(seq) => {
                self.ranks.committed(&ranked, self.txn.changes(), seq);
                self.spaces = self.spaces_now;
                self.counts.apply(&self.effects.counts);
                self.builds.committed();
                if let Some(unix_ms) = self.due.committed() {
                    self.txn.backend().keep_expired_from(unix_ms);
                }
                Ok(seq)
            }
            Err(error) => {
                self.builds.abandoned();
                self.ranks.not_committed(&ranked);
                self.effects.clear();
                self.spaces_now = self.spaces;
                self.due.not_committed();
                Err(error)
            }
        }
    }

    /// Looks a key up.
    ///
    /// # Errors
    /// What the store met; a key that is too long.
    pub fn slot<'k>(&mut self, db: u8, key: &'k [u8]) -> Answer<Slot<'k>> {
        Ok(Slot { db, key, found: self.find(db, key)? })
    }

    /// What a key holds.
    ///
    /// # Errors
    /// As [`Keyspace::slot`].
    pub fn find(&mut self, db: u8, key: &[u8]) -> Answer<Option<Found>> {
        if key.len() > NAME_BYTES_MAX {
            return Err(Error::KeyTooLarge(key.len()).into());
        }
        let table = Table::Keys(self.space(db));
        let Some(stored) = self.txn.get(table, key)? else { return Ok(None) };
        if self.is_over(stored.expires_at) {
            if self.takes_expired {
                self.take_expired(self.space(db), key, stored.expires_at)?;
            }
            return Ok(None);
        }
        let kind = Kind::from_byte(stored.kind)
            .ok_or_else(|| Fail::text(format!("ERR storage: a key of unknown type {}", stored.kind)))?;
        Ok(Some(Found { kind, expires_at: stored.expires_at, value: stored.value }))
    }

    /// Has this time come? 0 never does.
    const fn is_over(&self, expires_at: u64) -> bool {
        expires_at != 0 && expires_at <= self.now
    }

    /// Does a key hold anything? Looks at no value, and takes nothing out.
    ///
    /// # Errors
    /// What the store met.
    pub fn holds(&mut self, db: u8, key: &[u8]) -> Answer<bool> {
        let table = Table::Keys(self.space(db));
        Ok(self.txn.expiry_of(table, key)?.is_some_and(|expires_at| !self.is_over(expires_at)))
    }

    /// Takes a key out if its time has come.
    ///
    /// # Errors
    /// What the store met.
    pub fn expire_key(&mut self, db: u8, key: &[u8]) -> Answer<()> {
        let space = self.space(db);
        match self.txn.expiry_of(Table::Keys(space), key)? {
            Some(time) if self.is_over(time) => self.take_expired(space, key, time),
            _ => Ok(()),
        }
    }

    /// A key that holds a string, or nothing.
    ///
    /// # Errors
    /// As [`Keyspace::slot`]; [`Fail::WRONG_TYPE`].
    pub fn string<'k>(&mut self, db: u8, key: &'k [u8]) -> Answer<Slot<'k>> {
        let slot = self.slot(db, key)?;
        match &slot.found {
            Some(found) if found.kind != Kind::String => Err(Fail::WRONG_TYPE),
            _ => Ok(slot),
        }
    }

    /// Sets a key to a string. `expires_at` is in Unix milliseconds, 0 for never.
    ///
    /// # Errors
    /// What the store met.
    pub fn put(&mut self, slot: Slot<'_>, value: Vec<u8>, expires_at: u64) -> Answer<()> {
        let space = self.space(slot.db);
        if let Some(found) = &slot.found {
            self.leave(space, slot.key, found, true)?;
        } else {
            self.added(slot.db, slot.key);
        }
        self.write(slot.db, slot.key, (Kind::String, 0), value, expires_at);
        Ok(())
    }

    /// The collection of a key; `None` if the key holds nothing.
    ///
    /// # Errors
    /// As [`Keyspace::slot`]; [`Fail::WRONG_TYPE`].
    pub fn collection<'k>(&mut self, db: u8, key: &'k [u8], kind: Kind) -> Answer<Option<Collection<'k>>> {
        let Some(found) = self.find(db, key)? else { return Ok(None) };
        if found.kind != kind {
            return Err(Fail::WRONG_TYPE);
        }
        self.collection_of(db, key, &found).map(Some)
    }

    /// The collection that was found under a key.
    ///
    /// # Errors
    /// The stored head is damaged.
    pub fn collection_of<'k>(&self, db: u8, key: &'k [u8], found: &Found) -> Answer<Collection<'k>> {
        Ok(Collection {
            db,
            key,
            kind: found.kind,
            expires_at: found.expires_at,
            head: Head::decode(&found.value)?,
            exists: true,
            space: self.space(db),
        })
    }

    /// The collection of a key, a new one if the key holds nothing.
    ///
    /// # Errors
    /// As [`Keyspace::collection`].
    pub fn collection_or_new<'k>(&mut self, db: u8, key: &'k [u8], kind: Kind) -> Answer<Collection<'k>> {
        match self.collection(db, key, kind)? {
            Some(collection) => Ok(collection),
            None => Ok(self.new_collection(db, key, kind)),
        }
    }

    /// A collection that is not there yet. What the key holds is replaced when it is saved, if whoever asks has
    /// removed it; see [`Keyspace::remove`].
    pub fn new_collection<'k>(&mut self, db: u8, key: &'k [u8], kind: Kind) -> Collection<'k> {
        let head = Head { collection: self.take_number(), count: 0, longest: 0, flags: 0, ends: None };
        Collection { db, key, kind, expires_at: 0, head, exists: false, space: self.space(db) }
    }

    /// Stores the head; an empty collection goes away with its key.
    ///
    /// # Errors
    /// What the store met.
    pub fn save(&mut self, collection: &Collection<'_>) -> Answer<()> {
        let Collection { db, key, kind, expires_at, head, exists, space } = collection;
        if head.count == 0 {
            if *exists {
                let mut value = Vec::new();
                head.encode(&mut value);
                let found = Found { kind: *kind, expires_at: *expires_at, value: Value::owned(value) };
                self.remove_found(*db, key, &found)?;
            }
            return Ok(());
        }
        if !*exists {
            self.added(*db, key);
        }
        let mut value = Vec::with_capacity(40);
        head.encode(&mut value);
        let table = Table::Keys(*space);
        if !*exists && *expires_at != 0 {
            self.add_row(*space, key, (*kind, head.collection), *expires_at);
        }
        self.txn.put(table, key, Put { value, kind: *kind as u8, expires_at: *expires_at });
        self.effects.touch(*db, key);
        Ok(())
    }

    /// Removes a key with all that it holds; false if it holds nothing.
    ///
    /// # Errors
    /// What the store met.
    pub fn remove(&mut self, slot: &Slot<'_>) -> Answer<bool> {
        let Some(found) = &slot.found else { return Ok(false) };
        self.remove_found(slot.db, slot.key, found)?;
        Ok(true)
    }

    /// As [`Keyspace::remove`], of a key that is stored anew by the same command.
    ///
    /// # Errors
    /// What the store met.
    pub fn replace(&mut self, slot: &Slot<'_>) -> Answer<bool> {
        let was_there = self.remove(slot)?;
        self.replaced = was_there.then(|| (slot.db, slot.key.to_vec()));
        Ok(was_there)
    }

    /// A key is there that was not.
    fn added(&mut self, db: u8, key: &[u8]) {
        let space = self.space(db);
        self.effects.counts[usize::from(space)] += 1;
        if self.replaced.take().is_none_or(|(of, name)| (of, &name[..]) != (db, key)) {
            self.effects.event(Class::NEW, "new", db, key);
        }
    }

    fn remove_found(&mut self, db: u8, key: &[u8], found: &Found) -> Answer<()> {
        let space = self.space(db);
        self.leave(space, key, found, true)?;
        self.effects.counts[usize::from(space)] -= 1;
        self.txn.delete(Table::Keys(space), key);
        self.effects.touch(db, key);
        Ok(())
    }

    /// Gives a key another expiry (0: none), which is in the future.
    ///
    /// # Errors
    /// What the store met.
    pub fn set_expiry(&mut self, slot: Slot<'_>, expires_at: u64) -> Answer<()> {
        let Some(found) = slot.found else { return Ok(()) };
        let space = self.space(slot.db);
        self.leave(space, slot.key, &found, false)?;
        let collection = collection_number(&found)?;
        self.write(slot.db, slot.key, (found.kind, collection), found.value.into_vec(), expires_at);
        Ok(())
    }

    /// Moves what `from` holds to the key `to` of the same database, which holds nothing (any more).
    ///
    /// # Errors
    /// What the store met.
    pub fn rename(&mut self, from: Slot<'_>, to: &[u8]) -> Answer<()> {
        let Some(found) = from.found else { return Ok(()) };
        let space = self.space(from.db);
        self.leave(space, from.key, &found, false)?;
        self.txn.delete(Table::Keys(space), from.key);
        self.effects.touch(from.db, from.key);
        self.effects.event(Class::NEW, "new", from.db, to);
        let collection = collection_number(&found)?;
        self.write(from.db, to, (found.kind, collection), found.value.into_vec(), found.expires_at);
        Ok(())
    }

    /// Writes the entry of a key and that of its expiry.
    fn write(&mut self, db: u8, key: &[u8], of: (Kind, u64), value: Vec<u8>, expires_at: u64) {
        let space = self.space(db);
        if expires_at != 0 {
            self.add_row(space, key, of, expires_at);
        }
        self.txn.put(Table::Keys(space), key, Put { value, kind: of.0 as u8, expires_at });
        self.effects.touch(db, key);
    }

    /// What a key held goes: its expiry, and its elements if `with_elements`.
    fn leave(&mut self, space: u8, key: &[u8], found: &Found, with_elements: bool) -> Answer<()> {
        if found.expires_at != 0 {
            self.delete_row(space, key, found.expires_at)?;
        }
        if with_elements && found.kind != Kind::String {
            self.drop_elements(space, found.kind, collection_number(found)?)?;
        }
        Ok(())
    }

    /// Removes all elements of a collection.
    fn drop_elements(&mut self, space: u8, kind: Kind, collection: u64) -> Result<()> {
        let lower = redis::collection_prefix(space, collection);
        let upper = collection_end(space, collection);
        let tables: &[Table] =
            if kind == Kind::SortedSet { &[Table::Elements, Table::Scores] } else { &[Table::Elements] };
        for table in tables {
            let mut cursor = self.txn.scan(*table, &lower, Some(&upper), false)?;
            let mut keys = Vec::new();
            while keys.len() <= SINGLE_DELETES_MAX && cursor.advance()? {
                keys.push(cursor.key().to_vec());
            }
            drop(cursor);
            if keys.len() > SINGLE_DELETES_MAX {
                self.txn.delete_range(*table, &lower, Some(&upper));
            } else {
                keys.iter().for_each(|key| self.txn.delete(*table, key));
            }
        }
        Ok(())
    }

    /// A number that no collection has had. It is stored with whatever uses it.
    pub(super) fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.txn.set(Table::System, redis::SYSTEM_NEXT, self.next.to_le_bytes().to_vec());
        number
    }

    /// Removes all keys of a database.
    ///
    /// # Errors
    /// What the store met.
    pub fn flush(&mut self, db: u8) -> Answer<()> {
        let space = self.space(db);
        self.txn.delete_range(Table::Keys(space), &[], None);
        for table in [Table::Elements, Table::Scores, Table::Expiries] {
            self.txn.delete_range(table, &[space], Some(&[space + 1]));
        }
        self.effects.counts.zero(space);
        Ok(())
    }

    /// Removes all keys of all databases.
    pub fn flush_all(&mut self) {
        for space in 0..SPACES as u8 {
            self.txn.delete_range(Table::Keys(space), &[], None);
            self.effects.counts.zero(space);
        }
        for table in [Table::Elements, Table::Scores, Table::Expiries] {
            self.txn.delete_range(table, &[], None);
        }
    }

    /// Two databases change places.
    pub fn swap(&mut self, a: u8, b: u8) {
        self.spaces_now.swap(usize::from(a), usize::from(b));
        self.txn.set(Table::System, redis::SYSTEM_SPACES, self.spaces_now.to_vec());
        self.effects.swapped.push((a, b));
    }

    /// Removes elements that a process which ended left without a head.
    fn remove_unfinished(&mut self) -> Answer<()> {
        let mut cursor = self.txn.scan(Table::System, redis::SYSTEM_BUILDING, None, false)?;
        let mut left = Vec::new();
        while cursor.advance()? && cursor.key().starts_with(redis::SYSTEM_BUILDING) {
            left.push((cursor.key().to_vec(), cursor.entry()?.value));
        }
        drop(cursor);
        for (name, value) in left {
            let (space, collection) = redis::split_building(&name, &value)?;
            self.drop_elements(space, Kind::SortedSet, collection)?;
            self.txn.delete(Table::System, &name);
        }
        match self.txn.commit() {
            Ok(_) => self.txn.begin(),
            Err(CommitError::Store(error)) => return Err(error.into()),
            Err(CommitError::Conflict) => return Err(Error::Conflict.into()),
        }
        Ok(())
    }

    /// A cursor over the keys of a database from `from` on.
    ///
    /// # Errors
    /// What the store met.
    pub fn keys(&self, db: u8, from: &[u8]) -> Result<Box<dyn Cursor>> {
        let all = self.txn.scan(Table::Keys(self.space(db)), from, None, false)?;
        Ok(Box::new(Live { all, now: self.now }))
    }

    /// Notes an event for those who listen.
    pub fn event(&mut self, class: Class, event: &'static str, db: u8, key: &[u8]) {
        self.effects.event(class, event, db, key);
    }
}

fn collection_number(found: &Found) -> Answer<u64> {
    if found.kind == Kind::String {
        return Ok(0);
    }
    Ok(Head::decode(&found.value)?.collection)
}

/// Keys that have not expired.
struct Live {
    all: Box<dyn Cursor>,
    now: u64,
}

impl Cursor for Live {
    fn advance(&mut self) -> Result<bool> {
        while self.all.advance()? {
            let expires_at = self.all.expires_at()?;
            if expires_at == 0 || expires_at > self.now {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn key(&self) -> &[u8] {
        self.all.key()
    }

    fn entry(&self) -> Result<Stored> {
        self.all.entry()
    }

    fn expires_at(&self) -> Result<u64> {
        self.all.expires_at()
    }
}

#[cfg(test)]
mod tests;
