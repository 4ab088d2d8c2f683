//! What tables share: handles, cache, counters.

use super::*;

fn tables(count: usize, max_open: usize, cache_bytes: usize) -> (Disk, Vec<Arc<Table<Disk>>>) {
    tables_with(count, max_open, cache_bytes, 0)
}

fn tables_with(
    count: usize,
    max_open: usize,
    cache_bytes: usize,
    filter_bytes: usize,
) -> (Disk, Vec<Arc<Table<Disk>>>) {
    let shared = TableShared::new(cache_bytes, max_open).with_filter_bytes(filter_bytes);
    let (disk, shared) = (Disk::default(), Arc::new(shared));
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
    assert_eq!((shared.pinned_bytes(), shared.filters().stats().bytes), (0, 0));
    tables.iter().for_each(|table| read_all(table));
    let charged = shared.pinned_bytes() + shared.filters().stats().bytes;
    assert_eq!(charged, tables[0].memory_bytes() + tables[1].memory_bytes());
    assert!(shared.pinned_bytes() > 0 && shared.filters().stats().bytes > 250);
    drop(tables);
    assert_eq!((shared.pinned_bytes(), shared.filters().stats().bytes, disk.open_now()), (0, 0, 0));
}

fn absent(i: u32) -> alloc::string::String {
    alloc::format!("key{:03}x{i}", i % 100)
}

#[test]
fn filters_stay_below_their_bound_and_answers_are_right() {
    let (_, unbounded) = tables(1, 3, 0);
    read_all(&unbounded[0]);
    let one = unbounded[0].shared.filters().stats().bytes;
    for bound in [1, one, 2 * one, 6 * one] {
        let (_, tables) = tables_with(30, 3, 0, bound);
        let shared = tables[0].shared.clone();
        for _ in 0..3 {
            for table in &tables {
                read_all(table);
                for i in 0..200 {
                    assert_eq!(find(table, KeyRef::new(CfId(0), absent(i).as_bytes())).unwrap(), []);
                }
                assert!(shared.filters().stats().bytes <= bound);
            }
        }
        let (stats, lookups) = (shared.filters().stats(), shared.lookups());
        assert_eq!(lookups.filters, 30 * 3 * 300);
        assert_eq!(lookups.index_misses, 30);
        assert_eq!(stats.filters, bound / 2 / one + (bound - bound / 2 / one * one) / one);
        if bound >= 2 * one {
            assert!(stats.evictions > 0 && stats.reloads > 0, "{stats:?}");
            assert!(lookups.filter_hit_rate() > 0.5, "{lookups:?}");
        }
        drop(tables);
        assert_eq!(shared.filters().stats().bytes, 0);
    }
}

#[test]
fn look_ups_in_filter_and_index_are_counted() {
    let (_, tables) = tables(1, 3, 1 << 20);
    let shared = tables[0].shared.clone();
    read_all(&tables[0]);
    let counted = Lookups { filters: 100, indexes: 100, index_misses: 1, ..Lookups::default() };
    assert_eq!(shared.lookups(), counted);
    for i in 0..1000 {
        find(&tables[0], KeyRef::new(CfId(0), absent(i).as_bytes())).unwrap();
    }
    let lookups = shared.lookups();
    assert_eq!((lookups.filters, lookups.filter_misses), (1100, 0));
    assert_eq!(lookups.indexes + lookups.filter_excluded, 1100);
    assert!(lookups.filter_excluded > 950, "{lookups:?}");
    assert_eq!((lookups.filter_hit_rate(), Lookups::default().filter_hit_rate()), (1.0, 0.0));
}

#[test]
fn a_filter_that_is_damaged_when_it_is_read_again_is_an_error() {
    let (_, unbounded) = tables(1, 3, 0);
    read_all(&unbounded[0]);
    let one = unbounded[0].shared.filters().stats().bytes;
    let (disk, tables) = tables_with(20, 3, 0, 2 * one);
    tables.iter().for_each(|table| read_all(table));
    // The first stays, the last is on the clock, the second was there and left.
    let at = tables[1].loaded().unwrap().filter_at.start;
    let mut bytes = disk.bytes(tables[1].path());
    bytes[at as usize] ^= 1;
    disk.set(tables[1].path(), &bytes);
    tables[1].shared.files().close_all();
    let found = find(&tables[1], KeyRef::new(CfId(0), b"key000"));
    assert!(matches!(found, Err(Error::Corrupt { offset, .. }) if offset == at), "{found:?}");
    // Without the filter the block tells.
    assert_eq!(find(&tables[0], KeyRef::new(CfId(0), b"key000")).unwrap().len(), 1);
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
