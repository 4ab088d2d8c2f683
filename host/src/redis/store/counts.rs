//! Exact numbers of keys.
//!
//! A clean stop stores them with the seq of the write before; they hold if no write came after it. Otherwise the keys
//! are counted by a thread, as of the start, while changes since then are added up here. A key without an expiry counts by
//! its entry, any other by its row in `redis.expiries`: the store may drop an entry that expired at any time, and then the row
//! still says that the key has not been counted out.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nokv_core::Error;
use nokv_core::formats::redis::{self, SPACES, SYSTEM_COUNTS};

use super::backend::{Backend, Cursor, Table};
use super::effects::CountChanges;
use super::txn::Txn;
use crate::redis::fail::{Answer, Fail};

/// How long a start waits for the count, at most.
const BEFORE_SERVING: Duration = Duration::from_millis(100);

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    /// Keys by space.
    keys: [i64; SPACES],
    /// Keys of space 0 have an expiry and no row: another program wrote them.
    has_strays: bool,
}

/// Numbers of keys by space.
pub struct Counts {
    /// Keys, or how many more there are than when the count began.
    keys: [i64; SPACES],
    /// Counts that began at the start, for spaces that were not emptied since.
    counting: Option<Receiver<Answer<Counted>>>,
    adds_count: [bool; SPACES],
    has_strays: bool,
    failed: Option<Fail>,
}

impl Counts {
    /// The stored counts, or a thread that counts.
    ///
    /// # Errors
    /// What the store met.
    pub fn open(txn: &mut Txn) -> Answer<Self> {
        let stored = txn.get(Table::System, SYSTEM_COUNTS)?;
        if let Some(stored) = stored {
            let counts = redis::Counts::decode(&stored.value)?;
            // The counts themselves are the write after the one that they name.
            if counts.seq + 1 == txn.backend().seq() {
                let keys = counts.keys.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
                return Ok(Self {
                    keys,
                    counting: None,
                    adds_count: [false; SPACES],
                    has_strays: false,
                    failed: None,
                });
            }
        }
        let backend = txn.backend();
        let mut keys = Vec::with_capacity(SPACES);
        for space in 0..SPACES as u8 {
            keys.push(backend.scan(Table::Keys(space), &[], None, false)?);
        }
        let rows = backend.scan(Table::Expiries, &[], None, false)?;
        // Not the store itself: it may be closed before the count ends.
        let backend = Arc::downgrade(backend);
        let (sender, counting) = channel();
        let count = move || {
            // Whoever asked may be gone.
            let _ = sender.send(count(keys, rows, &backend));
        };
        std::thread::Builder::new()
            .name("nokv-redis-count".to_owned())
            .spawn(count)
            .map_err(|error| Fail::text(format!("ERR the keys cannot be counted: {error}")))?;
        let mut counts = Self::counting(counting);
        // Few keys are counted before anybody asks.
        counts.wait(BEFORE_SERVING);
        Ok(counts)
    }

    /// Waits for the count, but not for long. An error is told to those who ask.
    fn wait(&mut self, most: Duration) {
        let counted = self.counting.as_ref().and_then(|counting| counting.recv_timeout(most).ok());
        if let Some(counted) = counted {
            let _ = self.count_is(counted);
        }
    }

    const fn counting(counting: Receiver<Answer<Counted>>) -> Self {
        Self {
            keys: [0; SPACES],
            counting: Some(counting),
            adds_count: [true; SPACES],
            has_strays: false,
            failed: None,
        }
    }

    /// Counts that are known when the test says so.
    #[cfg(test)]
    pub fn known_later() -> (Self, std::sync::mpsc::Sender<Answer<Counted>>) {
        let (sender, counting) = channel();
        (Self::counting(counting), sender)
    }

    /// What a commit changed.
    pub fn apply(&mut self, changes: &CountChanges) {
        for space in 0..SPACES {
            if changes.zeroed[space] {
                self.keys[space] = 0;
                self.adds_count[space] = false;
            }
            self.keys[space] += changes.by[space];
        }
    }

    /// Keys of a space; `None` while the count goes on.
    ///
    /// # Errors
    /// What the store met while it was counted.
    pub fn of(&mut self, space: u8) -> Answer<Option<i64>> {
        Ok(self.are_known()?.then(|| self.keys[usize::from(space) % SPACES]))
    }

    /// May keys of space 0 have an expiry and no row?
    pub fn may_have_strays(&mut self) -> bool {
        self.has_strays || !matches!(self.are_known(), Ok(true))
    }

    /// Are they known by now?
    ///
    /// # Errors
    /// As [`Counts::of`].
    pub fn are_known(&mut self) -> Answer<bool> {
        let Some(counting) = &self.counting else {
            return self.failed.clone().map_or(Ok(true), Err);
        };
        let counted = match counting.try_recv() {
            Ok(counted) => counted,
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => Err(Fail::of("ERR the count of keys ended early")),
        };
        self.count_is(counted)
    }

    fn count_is(&mut self, counted: Answer<Counted>) -> Answer<bool> {
        self.counting = None;
        match counted {
            Ok(counted) => {
                for ((keys, counted), adds) in self.keys.iter_mut().zip(counted.keys).zip(self.adds_count) {
                    if adds {
                        *keys += counted;
                    }
                }
                self.has_strays = counted.has_strays;
                Ok(true)
            }
            Err(fail) => {
                self.failed = Some(fail.clone());
                Err(fail)
            }
        }
    }

    /// What a clean stop stores, if the counts are known. Those beside keys of other programs are counted again.
    pub fn to_store(&mut self, seq: u64) -> Option<Vec<u8>> {
        if self.has_strays || !matches!(self.are_known(), Ok(true)) {
            return None;
        }
        let mut keys = [0; SPACES];
        for (to, from) in keys.iter_mut().zip(self.keys) {
            // One that is wrong is not handed on.
            *to = u64::try_from(from).ok()?;
        }
        Some(redis::Counts { seq, keys }.to_bytes())
    }
}

fn count(
    keys: Vec<Box<dyn Cursor>>,
    mut rows: Box<dyn Cursor>,
    backend: &Weak<dyn Backend>,
) -> Answer<Counted> {
    let mut counted = Counted::default();
    for (space, mut cursor) in keys.into_iter().enumerate() {
        while cursor.advance()? {
            let expires_at = cursor.expires_at()?;
            if expires_at == 0 {
                counted.keys[space] += 1;
            } else if space == 0 && !counted.has_strays {
                let row = redis::expiry_key(0, expires_at, cursor.key());
                let backend = backend.upgrade().ok_or(Fail::Store(Error::Closed))?;
                // A row that was deleted since the start looks the same: that costs time, and is no harm.
                counted.has_strays = backend.expiry_of(Table::Expiries, &row)?.is_none();
            }
        }
    }
    while rows.advance()? {
        let space = rows.key().first().copied().unwrap_or_default();
        counted.keys[usize::from(space) % SPACES] += 1;
    }
    Ok(counted)
}
