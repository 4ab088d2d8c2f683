//! This database: `nokv-art`, `nokv-skiplist`, and `nokv-art-hot` with hot rings. Its defaults, but for cache, sync
//! and what `--nokv` says.

use nokv::{Db, IterOptions, MemTableEngine, Options};

use super::{Config, Engine};

pub struct Nokv(Db);

impl Nokv {
    pub fn open(name: &str, config: &Config) -> Result<Self, String> {
        let options = Options::from_toml_str(&config.nokv_toml, "--nokv").map_err(|e| e.to_string())?;
        let options = Options {
            work_dir: config.dir.clone(),
            block_cache_bytes: config.cache_bytes,
            sync_writes: config.sync,
            hot_ring_enabled: name.ends_with("-hot") || options.hot_ring_enabled,
            mem_table_engine: if name == "nokv-skiplist" {
                MemTableEngine::Skiplist
            } else {
                MemTableEngine::Art
            },
            ..options
        };
        Db::open(options).map(Self).map_err(|e| e.to_string())
    }
}

impl Engine for Nokv {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.set(key, value).expect("nokv set");
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool {
        let value = self.0.get(key).expect("nokv get");
        value.inspect(|value| look(value)).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, look: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let mut iter = self.0.iter(IterOptions::default()).expect("nokv iter");
        iter.seek(from, nokv::CfId::DEFAULT).expect("nokv seek");
        let mut seen = 0;
        while seen < count {
            let Some(key) = iter.key() else { break };
            let is_there = iter.with_value(&mut |value| look(key, value)).expect("nokv value");
            assert!(is_there, "the iterator stands on a key without a value");
            seen += 1;
            if seen < count {
                iter.next_entry().expect("nokv next");
            }
        }
        seen
    }

    fn settle(&self) {
        self.0.wait_idle().expect("nokv idle");
    }

    fn stats(&self) -> String {
        format!("{:#?}", self.0.stats())
    }
}
