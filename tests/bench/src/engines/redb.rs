//! redb: one transaction a write. Unsynced means `Durability::None`, and once a second a durable commit: without it
//! no page would ever be free again. Such a write does not survive the death of the process: less than the others
//! promise.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{Config, Engine};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");
const DURABLE_EVERY: Duration = Duration::from_secs(1);

pub struct Redb {
    db: Database,
    sync: bool,
    /// When the last durable commit was.
    durable_at: Mutex<Instant>,
}

impl Redb {
    pub fn open(config: &Config) -> Self {
        let file = config.dir.join("redb");
        let db = Database::builder().set_cache_size(config.cache_bytes).create(file).expect("redb create");
        let txn = db.begin_write().expect("redb transaction");
        txn.open_table(TABLE).expect("redb table");
        txn.commit().expect("redb commit");
        Self { db, sync: config.sync, durable_at: Mutex::new(Instant::now()) }
    }

    fn is_durable_due(&self) -> bool {
        let mut at = self.durable_at.lock().expect("no thread panics with it");
        let is_due = self.sync || at.elapsed() >= DURABLE_EVERY;
        if is_due {
            *at = Instant::now();
        }
        is_due
    }
}

impl Engine for Redb {
    fn put(&self, key: &[u8], value: &[u8]) {
        let mut txn = self.db.begin_write().expect("redb transaction");
        let durability = if self.is_durable_due() { Durability::Immediate } else { Durability::None };
        txn.set_durability(durability).expect("redb durability");
        txn.open_table(TABLE).expect("redb table").insert(key, value).expect("redb insert");
        txn.commit().expect("redb commit");
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool {
        let txn = self.db.begin_read().expect("redb transaction");
        let table = txn.open_table(TABLE).expect("redb table");
        let value = table.get(key).expect("redb get");
        value.inspect(|value| look(value.value())).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, look: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let txn = self.db.begin_read().expect("redb transaction");
        let table = txn.open_table(TABLE).expect("redb table");
        let mut seen = 0;
        for item in table.range(from..).expect("redb range").take(count) {
            let (key, value) = item.expect("redb scan");
            look(key.value(), value.value());
            seen += 1;
        }
        seen
    }

    /// Brings what was not yet durable to the disk.
    fn settle(&self) {
        let mut txn = self.db.begin_write().expect("redb transaction");
        txn.set_durability(Durability::Immediate).expect("redb durability");
        txn.commit().expect("redb commit");
    }
}
