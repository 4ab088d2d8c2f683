//! What tables share: handles, cache, counters.

use super::*;

fn tables(count: usize, max_open: usize, cache_bytes: usize) -> (Disk, Vec<Arc<Table<Disk>>>) {
    let (disk, shared) = (Disk::default(), Arc::new(TableShared::new(cache_bytes, max_open)));
    let mut model = Model::new();
    for i in 0..100 {
        add(&mut model, 0, alloc::format!("key{i:03}").as_bytes(), u64::MAX, 5, put(b"value"));
    }
    let table = |i| {
        let path = alloc::format!("t{i}");
        let meta = build(&disk, &path, &model, &[], options(256, Compression::None));
        Arc::new(Table::new(disk.clone(), &path, meta, shared.clone()))
    };
    let tables = (0..count).map(table).collect();
    (disk, tables)
}

fn read_all(table: &Table<Disk>) {
    for i in 0..100 {
        let key = alloc::format!("key{i:03}");
        assert_eq!(find(table, KeyRef::new(CfId(0), key.as_bytes())).unwrap().len(), 1);
    }
}

#[test]
fn open_files_are_bounded() {
    let (disk, tables) = tables(7, 3, 0);
    for _ in 0..3 {
        for table in &tables {
            read_all(table);
            assert!(disk.open_now() <= 3);
        }
    }
    assert_eq!(tables[0].shared.files().len(), 3);
    drop(tables);
    assert_eq!(disk.open_now(), 0);
}

#[test]
fn a_cached_block_needs_no_file() {
    let (disk, tables) = tables(1, 3, 1 << 20);
    read_all(&tables[0]);
    tables[0].shared.files().close_all();
    assert_eq!((disk.open_now(), disk.opens()), (0, 2));
    read_all(&tables[0]);
    assert_eq!(disk.opens(), 2);
    let stats = tables[0].shared.cache().stats();
    assert_eq!((stats.level_0.misses as usize, stats.evictions), (stats.blocks, 0));
    tables[0].set_level(2);
    read_all(&tables[0]);
    let after = tables[0].shared.cache().stats();
    assert_eq!((after.level_0, after.deeper.hits), (stats.level_0, 100));
}

#[test]
fn a_compaction_leaves_the_cache_alone() {
    let (_, tables) = tables(1, 3, 1 << 20);
    let mut cursor = tables[0].cursor(CursorOptions::COMPACTION);
    cursor.seek_first().unwrap();
    while cursor.valid() {
        cursor.next_key().unwrap();
    }
    assert_eq!(tables[0].shared.cache().stats(), CacheStats::default());
}

#[test]
fn indexes_and_filters_are_charged() {
    let (disk, tables) = tables(2, 3, 1 << 20);
    let shared = tables[0].shared.clone();
    assert_eq!(shared.pinned_bytes(), 0);
    tables.iter().for_each(|table| read_all(table));
    assert_eq!(shared.pinned_bytes(), tables[0].memory_bytes() + tables[1].memory_bytes());
    assert!(tables[0].memory_bytes() > 125);
    drop(tables);
    assert_eq!((shared.pinned_bytes(), disk.open_now()), (0, 0));
}

#[test]
fn nothing_is_read_before_first_use() {
    let (disk, tables) = tables(1, 3, 1 << 20);
    let before = disk.opens();
    assert!(tables[0].range_deletes().unwrap().is_empty());
    let mut cursor = tables[0].cursor(CursorOptions::SCAN);
    assert!(!cursor.valid());
    assert_eq!(disk.opens(), before);
    cursor.seek_first().unwrap();
    assert_eq!(disk.opens(), before + 1);
}
