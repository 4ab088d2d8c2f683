//! fjall 3: `fjall`, and `fjall-blob` with key-value separation. Its defaults (memtables of 64 MiB, LZ4 from level 2
//! on, filters of 10 bits and better ones in level 0), two worker threads.

use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::{Config, Engine};

pub struct Fjall {
    db: Database,
    keys: Keyspace,
    sync: bool,
}

impl Fjall {
    pub fn open(name: &str, config: &Config) -> Self {
        let cache = config.cache_bytes as u64;
        let db =
            Database::builder(&config.dir).cache_size(cache).worker_threads(2).open().expect("fjall open");
        let separation = (name == "fjall-blob").then(KvSeparationOptions::default);
        let options = || KeyspaceCreateOptions::default().with_kv_separation(separation);
        let keys = db.keyspace("bench", options).expect("fjall keyspace");
        Self { db, keys, sync: config.sync }
    }
}

impl Engine for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.keys.insert(key, value).expect("fjall insert");
        if self.sync {
            self.db.persist(PersistMode::SyncData).expect("fjall persist");
        }
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool {
        let value = self.keys.get(key).expect("fjall get");
        value.inspect(|value| look(value)).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, look: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let mut seen = 0;
        for item in self.keys.range(from..).take(count) {
            let (key, value) = item.into_inner().expect("fjall scan");
            look(&key, &value);
            seen += 1;
        }
        seen
    }

    /// It has no call for that: idle is nothing in work for ten looks in a row.
    fn settle(&self) {
        let mut idle = 0;
        while idle < 10 {
            let busy = self.db.outstanding_flushes() > 0 || self.db.active_compactions() > 0;
            idle = if busy { 0 } else { idle + 1 };
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
