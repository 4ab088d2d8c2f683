//! Exact numbers of keys.
//!
//! A clean stop stores them with the seq of the write before; they hold if no write came after it. Otherwise the keys
//! are counted by a thread, as of the start, while changes since then are added up here.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

use nokv_core::formats::redis::{self, SPACES, SYSTEM_COUNTS};

use super::backend::{Cursor, Table};
use super::effects::CountChanges;
use super::txn::Txn;
use crate::redis::fail::{Answer, Fail};

/// Numbers of keys by space.
pub struct Counts {
    /// Keys, or how many more there are than when the count began.
    keys: [i64; SPACES],
    /// Counts that began at the start, for spaces that were not emptied since.
    counting: Option<Receiver<Answer<[i64; SPACES]>>>,
    adds_count: [bool; SPACES],
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
                return Ok(Self { keys, counting: None, adds_count: [false; SPACES], failed: None });
            }
        }
        let mut cursors = Vec::with_capacity(SPACES);
        for space in 0..SPACES as u8 {
            cursors.push(txn.backend().scan(Table::Keys(space), &[], None, false)?);
        }
        let (sender, counting) = channel();
        let count = move || {
            // Whoever asked may be gone.
            let _ = sender.send(count(cursors));
        };
        std::thread::Builder::new()
            .name("nokv-redis-count".to_owned())
            .spawn(count)
            .map_err(|error| Fail::text(format!("ERR the keys cannot be counted: {error}")))?;
        Ok(Self { keys: [0; SPACES], counting: Some(counting), adds_count: [true; SPACES], failed: None })
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

    /// Keys of a space; waits for the count, if it still goes on.
    ///
    /// # Errors
    /// What the store met while it was counted.
    pub fn of(&mut self, space: u8) -> Answer<u64> {
        self.finish(true)?;
        Ok(u64::try_from(self.keys[usize::from(space) % SPACES]).unwrap_or(0))
    }

    /// Are they known by now?
    ///
    /// # Errors
    /// As [`Counts::of`].
    pub fn finish(&mut self, wait: bool) -> Answer<bool> {
        let Some(counting) = &self.counting else {
            return self.failed.clone().map_or(Ok(true), Err);
        };
        let counted = if wait {
            counting.recv().unwrap_or_else(|_| Err(Fail::of("ERR the count of keys ended early")))
        } else {
            match counting.try_recv() {
                Ok(counted) => counted,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => Err(Fail::of("ERR the count of keys ended early")),
            }
        };
        self.counting = None;
        match counted {
            Ok(counted) => {
                for ((keys, counted), adds) in self.keys.iter_mut().zip(counted).zip(self.adds_count) {
                    if adds {
                        *keys += counted;
                    }
                }
                Ok(true)
            }
            Err(fail) => {
                self.failed = Some(fail.clone());
                Err(fail)
            }
        }
    }

    /// What a clean stop stores, if the counts are known.
    pub fn to_store(&mut self, seq: u64) -> Option<Vec<u8>> {
        if !matches!(self.finish(false), Ok(true)) {
            return None;
        }
        let keys = self.keys.map(|n| u64::try_from(n).unwrap_or(0));
        Some(redis::Counts { seq, keys }.to_bytes())
    }
}

fn count(cursors: Vec<Box<dyn Cursor>>) -> Answer<[i64; SPACES]> {
    let mut counted = [0; SPACES];
    for (space, mut cursor) in cursors.into_iter().enumerate() {
        while cursor.advance()? {
            counted[space] += 1;
        }
    }
    Ok(counted)
}
