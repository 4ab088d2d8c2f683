//! `--check`: is what the engine gives right?
//!
//! - With any number of threads: each value is a whole value of its key; a scan is in order, starts where it was told
//!   to, and what is loaded is there.
//! - With one thread also: it is the newest value, and a scan leaves out no key.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::workload::record::{Key, hash_in, nonce_in};

pub struct Check {
    value_bytes: usize,
    /// Newest nonce by hash: numbers of 20 digits are in the order of their keys. Only with one thread.
    model: Option<Mutex<BTreeMap<u64, u64>>>,
}

impl Check {
    pub fn new(value_bytes: usize, threads: usize) -> Self {
        Self { value_bytes, model: (threads == 1).then(Mutex::default) }
    }

    fn model<T>(&self, use_it: impl FnOnce(&mut BTreeMap<u64, u64>) -> T) -> Option<T> {
        let model = self.model.as_ref()?;
        Some(use_it(&mut model.lock().expect("a check that failed ends the run")))
    }

    pub fn wrote(&self, key: &Key, nonce: u64) {
        self.model(|model| model.insert(key.hash, nonce));
    }

    pub fn read(&self, key: &Key, value: &[u8]) {
        let nonce = nonce_in(key.hash, value, self.value_bytes);
        let nonce =
            nonce.unwrap_or_else(|| panic!("the value of user{:020} is not one of its own", key.hash));
        if let Some(newest) = self.model(|model| model.get(&key.hash).copied()) {
            assert_eq!(Some(nonce), newest, "user{:020} has an old value", key.hash);
        }
    }

    /// `found` is what a scan of `count` keys gave.
    pub fn scanned(&self, from: &Key, count: usize, found: &[(Vec<u8>, Vec<u8>)]) {
        assert!(found.len() <= count, "more than was asked for");
        let mut hashes = Vec::with_capacity(found.len());
        for (key, value) in found {
            let hash = hash_in(key).unwrap_or_else(|| panic!("{key:?} is no key of ours"));
            self.read(
                &Key { hash, bytes: key.as_slice().try_into().expect("hash_in knows the length") },
                value,
            );
            hashes.push(hash);
        }
        assert!(hashes.is_sorted_by(|a, b| a < b), "a scan is not in order");
        assert_eq!(hashes.first(), Some(&from.hash), "a scan does not start with a key that is there");
        let expected = self.model(|model| model.range(from.hash..).take(count).map(|(h, _)| *h).collect());
        if let Some(expected) = expected {
            let expected: Vec<u64> = expected;
            assert_eq!(hashes, expected, "a scan leaves out keys");
        }
    }
}
