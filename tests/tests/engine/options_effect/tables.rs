//! Effects of the options of tables and caches.

use nokv::{CfId, Compression, Db, Options};
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::{counted, fill, open, small};

pub const CASES: &[Case] = &[
    ("table_bytes", table_bytes),
    ("block_bytes", block_bytes),
    ("bloom_bits_per_key", bloom_bits_per_key),
    ("compression", compression),
    ("block_cache_bytes", block_cache_bytes),
    ("bloom_cache_bytes", bloom_cache_bytes),
    ("open_files_max", open_files_max),
];

/// A database of 2000 keys with values of 100 bytes, all in tables of one level.
fn compacted(options: Options) -> Db<MemFs> {
    let (_, db) = open(Options { mem_table_bytes: 4 << 20, ..options });
    // Two tables that overlap: they are merged, not moved.
    for _ in 0..2 {
        fill(&db, 2000, 100);
        db.flush().unwrap();
    }
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    db
}

/// Tables and their bytes.
fn tables(db: &Db<MemFs>) -> (u64, u64) {
    let levels = db.engine().stats().levels;
    (
        levels.iter().map(|l| l.tables + l.ingest_tables).sum(),
        levels.iter().map(|l| l.bytes + l.ingest_bytes).sum(),
    )
}

fn misses(db: &Db<MemFs>) -> u64 {
    let cache = db.engine().stats().cache;
    cache.level_0.misses + cache.deeper.misses
}

/// Blocks that the cache was asked for.
fn blocks_asked(db: &Db<MemFs>) -> u64 {
    let cache = db.engine().stats().cache;
    cache.level_0.hits + cache.deeper.hits + misses(db)
}

fn table_bytes() {
    let none = Compression::None;
    assert_eq!(tables(&compacted(Options { table_bytes: 4 << 20, compression: none, ..small() })).0, 1);
    assert!(tables(&compacted(Options { table_bytes: 16 << 10, compression: none, ..small() })).0 > 8);
}

fn block_bytes() {
    let blocks = |bytes| {
        let db = compacted(Options { block_bytes: bytes, ..small() });
        for k in 0..2000u32 {
            db.get(&k.to_be_bytes()).unwrap().unwrap();
        }
        misses(&db)
    };
    let (small, large) = (blocks(512), blocks(16 << 10));
    assert!(small > 300 && large < 30, "{small} and {large} blocks were read");
}

fn bloom_bits_per_key() {
    let blocks = |bits| {
        let db = compacted(Options { bloom_bits_per_key: bits, ..small() });
        let before = blocks_asked(&db);
        for k in 0..1000u32 {
            assert_eq!(db.get(&(k * 2).to_be_bytes().map(|b| b ^ 0x55)[..3]).unwrap(), None);
            let mut key = k.to_be_bytes().to_vec();
            key.push(1);
            assert_eq!(db.get(&key).unwrap(), None);
        }
        blocks_asked(&db) - before
    };
    let (with, without) = (blocks(10), blocks(0));
    assert!(with < 50 && without >= 999, "{with} with and {without} without filters");
}

fn compression() {
    let bytes = |compression| tables(&compacted(Options { compression, ..small() })).1;
    let (none, lz4) = (bytes(Compression::None), bytes(Compression::Lz4));
    assert!(lz4 < none / 2, "{lz4} and {none} bytes");
}

fn block_cache_bytes() {
    let reads = |bytes| {
        let (fs, db) = counted(Options { block_cache_bytes: bytes, ..small() });
        fill(&db, 100, 100);
        db.flush().unwrap();
        db.wait_idle().unwrap();
        db.get(&7u32.to_be_bytes()).unwrap().unwrap();
        let before = fs.calls();
        for _ in 0..50 {
            db.get(&7u32.to_be_bytes()).unwrap().unwrap();
        }
        fs.calls() - before
    };
    assert!(reads(0) >= 50);
    assert!(reads(1 << 20) < 50);
}

fn bloom_cache_bytes() {
    let filters = |bound| {
        let (_, db) = open(Options { bloom_cache_bytes: bound, level0_compaction_tables: 20, ..small() });
        for round in 0..10u32 {
            for k in 0..500u32 {
                db.set(&(k * 10 + round).to_be_bytes(), b"v").unwrap();
            }
            db.flush().unwrap();
        }
        for round in 0..3 {
            for k in 0..5000u32 {
                assert!(db.get(&k.to_be_bytes()).unwrap().is_some(), "round {round}");
                let stats = db.engine().filter_stats();
                assert!(bound == 0 || stats.bytes <= bound, "{stats:?}");
            }
        }
        db.engine().filter_stats()
    };
    let (all, some) = (filters(0), filters(3000));
    assert!(all.bytes > 5000 && all.evictions == 0, "{all:?}");
    assert!(some.evictions > 0 && some.reloads > 0, "{some:?}");
}

fn open_files_max() {
    for most in [1, 6] {
        let options =
            Options { open_files_max: most, level0_compaction_tables: 20, block_cache_bytes: 0, ..small() };
        let (_, db) = open(options);
        for k in 0..10u32 {
            db.set(&k.to_be_bytes(), b"v").unwrap();
            db.set(b"all", b"v").unwrap();
            db.flush().unwrap();
        }
        db.wait_idle().unwrap();
        for k in 0..10u32 {
            assert!(db.get(&k.to_be_bytes()).unwrap().is_some());
        }
        assert_eq!(db.engine().open_table_files(), most);
    }
}
