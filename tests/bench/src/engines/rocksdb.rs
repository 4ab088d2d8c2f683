//! RocksDB: `rocksdb`, `rocksdb-tuned` (memtable filter, pipelined writes), `rocksdb-blob` (BlobDB).
//!
//! All: full filter of 10 bits, LZ4, memtables of 64 MiB, two background jobs, log on.

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Options, ReadOptions, WaitForCompactOptions,
    WriteOptions,
};

use super::{Config, Engine};

/// As `value_threshold_bytes` of nokv.
const BLOB_BYTES_MIN: u64 = 4 << 10;

pub struct Rocks {
    db: DB,
    write: WriteOptions,
}

impl Rocks {
    pub fn open(name: &str, config: &Config) -> Self {
        let mut table = BlockBasedOptions::default();
        table.set_bloom_filter(10.0, false);
        table.set_block_cache(&Cache::new_lru_cache(config.cache_bytes));
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(64 << 20);
        options.set_max_background_jobs(2);
        options.set_block_based_table_factory(&table);
        if name != "rocksdb" {
            options.set_memtable_prefix_bloom_ratio(0.1);
            options.set_memtable_whole_key_filtering(true);
            options.set_enable_pipelined_write(true);
        }
        if name == "rocksdb-blob" {
            options.set_enable_blob_files(true);
            options.set_min_blob_size(BLOB_BYTES_MIN);
            options.set_enable_blob_gc(true);
        }
        let mut write = WriteOptions::default();
        write.set_sync(config.sync);
        Self { db: DB::open(&options, &config.dir).expect("rocksdb open"), write }
    }
}

impl Engine for Rocks {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.db.put_opt(key, value, &self.write).expect("rocksdb put");
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool {
        let value = self.db.get_pinned(key).expect("rocksdb get");
        value.inspect(|value| look(value)).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, look: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let mut iter = self.db.raw_iterator_opt(ReadOptions::default());
        iter.seek(from);
        let mut seen = 0;
        while seen < count {
            let Some((key, value)) = iter.item() else { break };
            look(key, value);
            seen += 1;
            if seen < count {
                iter.next();
            }
        }
        iter.status().expect("rocksdb scan");
        seen
    }

    fn settle(&self) {
        let mut wait = WaitForCompactOptions::default();
        wait.set_flush(false);
        self.db.wait_for_compact(&wait).expect("rocksdb idle");
    }

    fn stats(&self) -> String {
        self.db.property_value("rocksdb.stats").expect("rocksdb property").unwrap_or_default()
    }
}
