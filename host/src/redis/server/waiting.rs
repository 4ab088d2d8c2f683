//! Who waits for which key: in the order in which they came. All clients share it, so that whoever ends one takes it out;
//! borrows are brief.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use super::client::Blocked;

type Key = (u8, Vec<u8>);

/// Clients that wait, by database and key.
#[derive(Debug, Default)]
pub struct Waiting {
    by_key: RefCell<HashMap<Key, VecDeque<u64>>>,
    /// Keys that were written since: those who wait for them are to be tried again.
    ready: RefCell<VecDeque<Key>>,
    /// Clients that wait until the keys are counted.
    for_count: RefCell<Vec<u64>>,
}

impl Waiting {
    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.by_key.borrow().is_empty()
    }

    /// A client waits from now on.
    pub fn add(&self, client: u64, blocked: &Blocked) {
        let mut by_key = self.by_key.borrow_mut();
        for key in &blocked.keys {
            let clients = by_key.entry((blocked.db, key.clone())).or_default();
            if !clients.contains(&client) {
                clients.push_back(client);
            }
        }
    }

    /// It does not wait any more.
    pub fn remove(&self, client: u64, blocked: &Blocked) {
        self.for_count.borrow_mut().retain(|waiting| *waiting != client);
        let mut by_key = self.by_key.borrow_mut();
        for key in &blocked.keys {
            let at = (blocked.db, key.clone());
            if let Some(clients) = by_key.get_mut(&at) {
                clients.retain(|waiting| *waiting != client);
                if clients.is_empty() {
                    by_key.remove(&at);
                }
            }
        }
    }

    /// A client waits until the keys are counted.
    pub fn add_for_count(&self, client: u64) {
        self.for_count.borrow_mut().push(client);
    }

    /// Does one wait until the keys are counted?
    pub fn is_for_count(&self) -> bool {
        !self.for_count.borrow().is_empty()
    }

    /// Who waits until the keys are counted, and does not any more.
    pub fn take_for_count(&self) -> Vec<u64> {
        self.for_count.take()
    }

    /// Keys were written, in this order.
    pub fn note_ready(&self, keys: impl IntoIterator<Item = Key>) {
        self.ready.borrow_mut().extend(keys);
    }

    /// The key that was written first of those not yet looked at.
    pub fn next_ready(&self) -> Option<Key> {
        self.ready.borrow_mut().pop_front()
    }

    /// Who waits for a key, first come first.
    pub fn of(&self, db: u8, key: &[u8]) -> Vec<u64> {
        let by_key = self.by_key.borrow();
        by_key.get(&(db, key.to_vec())).map(|clients| clients.iter().copied().collect()).unwrap_or_default()
    }

    /// Keys of a database that somebody waits for.
    pub fn keys_of(&self, db: u8) -> Vec<Vec<u8>> {
        self.by_key.borrow().keys().filter(|(of, _)| *of == db).map(|(_, key)| key.clone()).collect()
    }

    /// Keys that somebody waits for.
    pub fn keys(&self) -> usize {
        self.by_key.borrow().len()
    }
}
