//! sled 0.34, high throughput, without compression. Unsynced means its flush each 500 ms: a write before it does not
//! survive the death of the process, which is less than the others promise.

use super::{Config, Engine};

pub struct Sled {
    db: sled::Db,
    sync: bool,
}

impl Sled {
    pub fn open(config: &Config) -> Self {
        let options = sled::Config::new()
            .path(config.dir.join("sled"))
            .cache_capacity(config.cache_bytes as u64)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(Some(500));
        Self { db: options.open().expect("sled open"), sync: config.sync }
    }
}

impl Engine for Sled {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.db.insert(key, value).expect("sled insert");
        if self.sync {
            self.db.flush().expect("sled flush");
        }
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool {
        let value = self.db.get(key).expect("sled get");
        value.inspect(|value| look(value)).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, look: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let mut seen = 0;
        for item in self.db.range(from..).take(count) {
            let (key, value) = item.expect("sled scan");
            look(&key, &value);
            seen += 1;
        }
        seen
    }

    fn settle(&self) {
        self.db.flush().expect("sled flush");
    }
}
