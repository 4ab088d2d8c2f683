//! Who waits for which key: in the order in which they came.

use std::collections::{HashMap, VecDeque};

use super::client::Blocked;

/// Clients that wait, by database and key.
#[derive(Debug, Default)]
pub struct Waiting {
    by_key: HashMap<(u8, Vec<u8>), VecDeque<u64>>,
    /// Keys that were written since: those who wait for them are to be tried again.
    pub ready: VecDeque<(u8, Vec<u8>)>,
    /// Clients that wait until the keys are counted.
    pub for_count: Vec<u64>,
}

impl Waiting {
    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// A client waits from now on.
    pub fn add(&mut self, client: u64, blocked: &Blocked) {
        for key in &blocked.keys {
            let clients = self.by_key.entry((blocked.db, key.clone())).or_default();
            if !clients.contains(&client) {
                clients.push_back(client);
            }
        }
    }

    /// It does not wait any more.
    pub fn remove(&mut self, client: u64, blocked: &Blocked) {
        self.for_count.retain(|waiting| *waiting != client);
        for key in &blocked.keys {
            let at = (blocked.db, key.clone());
            if let Some(clients) = self.by_key.get_mut(&at) {
                clients.retain(|waiting| *waiting != client);
                if clients.is_empty() {
                    self.by_key.remove(&at);
                }
            }
        }
    }

    /// Who waits for a key, first come first.
    pub fn of(&self, db: u8, key: &[u8]) -> Vec<u64> {
        self.by_key
            .get(&(db, key.to_vec()))
            .map(|clients| clients.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Keys of a database that somebody waits for.
    pub fn keys_of(&self, db: u8) -> Vec<Vec<u8>> {
        self.by_key.keys().filter(|(of, _)| *of == db).map(|(_, key)| key.clone()).collect()
    }

    /// Keys that somebody waits for.
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }
}
