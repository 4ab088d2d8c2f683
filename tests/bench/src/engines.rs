//! The engines under test, behind one small trait.

use std::path::Path;

pub trait Engine: Send + Sync {
    fn set(&self, key: &[u8], value: &[u8]);
    /// Length of the value; the value is touched.
    fn get(&self, key: &[u8]) -> Option<usize>;
    fn settle(&self) {}
    fn report(&self) {}
}

/// Does nothing: what the harness alone costs.
pub struct Nothing;

impl Engine for Nothing {
    fn set(&self, key: &[u8], value: &[u8]) {
        std::hint::black_box((key, value));
    }

    fn get(&self, key: &[u8]) -> Option<usize> {
        std::hint::black_box(key);
        Some(0)
    }
}

#[cfg(feature = "nokv")]
pub struct Nokv(nokv::Db);

#[cfg(feature = "nokv")]
impl Nokv {
    pub fn open(dir: &Path, engine: nokv::MemTableEngine, hot_rings: bool, cache_bytes: usize) -> Self {
        let mut options = nokv::Options::new(dir);
        options.hot_ring_enabled = hot_rings;
        options.mem_table_engine = engine;
        options.block_cache_bytes = cache_bytes;
        options.value_log_gc_interval = std::time::Duration::ZERO;
        Self(nokv::Db::open(options).expect("open"))
    }
}

#[cfg(feature = "nokv")]
impl Engine for Nokv {
    fn set(&self, key: &[u8], value: &[u8]) {
        self.0.set(key, value).expect("set");
    }

    fn get(&self, key: &[u8]) -> Option<usize> {
        self.0.get(key).expect("get").map(|v| v.len())
    }

    fn settle(&self) {
        self.0.wait_idle().expect("idle");
    }

    fn report(&self) {
        if std::env::var_os("NOKV_BENCH_STATS").is_some() {
            eprintln!("{:#?}", self.0.stats());
        }
    }
}

#[cfg(feature = "rocksdb")]
pub struct Rocks(rocksdb::DB);

#[cfg(feature = "rocksdb")]
impl Rocks {
    pub fn open(dir: &Path, cache_bytes: usize) -> Self {
        let mut table = rocksdb::BlockBasedOptions::default();
        table.set_bloom_filter(10.0, false);
        table.set_block_cache(&rocksdb::Cache::new_lru_cache(cache_bytes));
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        options.set_write_buffer_size(64 << 20);
        options.set_max_background_jobs(2);
        options.set_block_based_table_factory(&table);
        Self(rocksdb::DB::open(&options, dir).expect("open"))
    }
}

#[cfg(feature = "rocksdb")]
impl Engine for Rocks {
    fn set(&self, key: &[u8], value: &[u8]) {
        self.0.put(key, value).expect("set");
    }

    fn get(&self, key: &[u8]) -> Option<usize> {
        self.0.get_pinned(key).expect("get").map(|v| v.len())
    }

    fn settle(&self) {
        let mut wait = rocksdb::WaitForCompactOptions::default();
        wait.set_flush(false);
        self.0.wait_for_compact(&wait).expect("idle");
    }
}
