//! LMDB by way of heed: `lmdb`, which writes pages with `pwrite`, and `lmdb-map`, which stores to its map
//! (`MDB_WRITEMAP`). One transaction a write; unsynced means `MDB_NOSYNC`.
//!
//! It has no cache of its own: the kernel's is not bounded by the flag.
#![allow(unsafe_code)]

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};

use super::{Config, Engine};

pub struct Lmdb {
    env: Env,
    db: Database<Bytes, Bytes>,
}

impl Lmdb {
    pub fn open(name: &str, config: &Config) -> Self {
        let mut options = EnvOpenOptions::new();
        // Half-full pages, pages that wait to be free, and a floor.
        let map_bytes = config.data_bytes_max * 4 + (1 << 30);
        options.map_size(map_bytes.next_multiple_of(1 << 20) as usize).max_readers(512);
        let mut flags = EnvFlags::empty();
        flags.set(EnvFlags::WRITE_MAP, name == "lmdb-map");
        flags.set(EnvFlags::NO_SYNC, !config.sync);
        // SAFETY: the directory is new and this process's own, and it is opened once.
        let env = unsafe { options.flags(flags).open(&config.dir) }.expect("lmdb open");
        let mut txn = env.write_txn().expect("lmdb transaction");
        let db = env.create_database(&mut txn, None).expect("lmdb database");
        txn.commit().expect("lmdb commit");
        Self { env, db }
    }
}

impl Engine for Lmdb {
    fn put(&self, key: &[u8], value: &[u8]) {
        let mut txn = self.env.write_txn().expect("lmdb transaction");
        self.db.put(&mut txn, key, value).expect("lmdb put");
        txn.commit().expect("lmdb commit");
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool {
        let txn = self.env.read_txn().expect("lmdb transaction");
        let value = self.db.get(&txn, key).expect("lmdb get");
        value.inspect(|value| look(value)).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, look: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let txn = self.env.read_txn().expect("lmdb transaction");
        let range = (std::ops::Bound::Included(from), std::ops::Bound::Unbounded);
        let mut seen = 0;
        for item in self.db.range(&txn, &range).expect("lmdb range").take(count) {
            let (key, value) = item.expect("lmdb scan");
            look(key, value);
            seen += 1;
        }
        seen
    }
}
