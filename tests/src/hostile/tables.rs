//! Whole table files: opened, read every way, verified, ingested.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use nokv_core::cursor::Cursor;
use nokv_core::engine::Engine;
use nokv_core::formats::key::key_hash;
use nokv_core::formats::{CfId, KeyBuf, KeyRef};
use nokv_core::table::{CursorOptions, Table, TableShared};
use nokv_core::vfs::{Vfs, VfsFile};
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::MemFs;

use super::engine::{all_of, environment, options, work};
use super::fixup;
use crate::crash::drive::DIR;

const PATH: &str = "000001.sst";
/// A block of compressed bytes may hold this many entries for each of them, and more never come.
const ENTRIES_PER_BYTE: usize = 100;

fn file_system(bytes: &[u8]) -> MemFs {
    let fs = MemFs::new();
    fs.create(PATH).expect("a new file").write_at(bytes, 0).expect("room");
    fs
}

/// A table file.
pub fn table_file(bytes: &[u8]) {
    look(bytes);
    let mut fixed = bytes.to_vec();
    fixup::table(&mut fixed);
    if fixed != bytes {
        look(&fixed);
    }
}

fn look(bytes: &[u8]) {
    let fs = file_system(bytes);
    let Ok(meta) = Table::read_meta(&fs, PATH) else { return };
    let shared = Arc::new(TableShared::new(16 << 10, 2).with_filter_bytes(4 << 10));
    let table = Arc::new(Table::new(fs, PATH, meta, shared));
    let is_good = table.verify().is_ok();
    let most = ENTRIES_PER_BYTE * bytes.len() + 1000;
    let forward = forward(&table, most);
    let backward = backward(&table, most);
    for key in forward.iter().flatten().take(50) {
        let mut seen = 0;
        let found = table.find(key.as_ref(), key_hash(key.as_ref()), &mut |_, _| {
            seen += 1;
            assert!(seen <= most, "a point read that does not end");
            ControlFlow::Continue(())
        });
        assert!(!is_good || found.is_ok() && seen > 0, "{key:?} is there");
        let mut cursor = table.cursor(CursorOptions::SCAN);
        let sought = cursor.seek(key.as_ref());
        assert!(!is_good || sought.is_ok() && cursor.valid() && cursor.key() == key.as_ref());
        let sought = cursor.seek_for_prev(key.as_ref());
        assert!(!is_good || sought.is_ok() && cursor.valid() && cursor.key() == key.as_ref());
    }
    for key in bytes.chunks(9).take(20) {
        let key = KeyRef::new(CfId(u32::from(key[0] & 3)), key);
        let _ = table.find(key, key_hash(key), &mut |_, _| ControlFlow::Break(()));
        let mut cursor = table.cursor(CursorOptions::SCAN);
        let _ = cursor.seek(key);
        let _ = cursor.seek_for_prev(key);
        table.share_of(key, Some(key.user_key));
    }
    let _ = table.range_deletes();
    if let Ok(set) = table.range_set() {
        drop(set);
    }
    if is_good {
        let (forward, mut backward) = (forward.expect("a good table"), backward.expect("a good table"));
        backward.reverse();
        assert_eq!(forward, backward, "both ways show the same keys");
        assert!(forward.is_sorted_by(|a, b| a < b));
    }
}

/// All keys, ascending; `None` at an error.
fn forward(table: &Arc<Table<MemFs>>, most: usize) -> Option<Vec<KeyBuf>> {
    let mut keys = Vec::new();
    let mut steps = 0;
    let mut cursor = table.cursor(CursorOptions::COMPACTION);
    cursor.seek_first().ok()?;
    while cursor.valid() {
        keep(&mut keys, cursor.key());
        while cursor.entry().is_some() {
            steps += 1;
            assert!(steps <= most, "a scan that does not end");
            cursor.next_entry().ok()?;
        }
        cursor.next_key().ok()?;
        steps += 1;
        assert!(steps <= most, "a scan that does not end");
    }
    Some(keys)
}

/// All keys, descending.
fn backward(table: &Arc<Table<MemFs>>, most: usize) -> Option<Vec<KeyBuf>> {
    let mut keys = Vec::new();
    let mut steps = 0;
    let mut cursor = table.cursor(CursorOptions::SCAN);
    cursor.seek_last().ok()?;
    while cursor.valid() {
        keep(&mut keys, cursor.key());
        cursor.prev_key().ok()?;
        steps += 1;
        assert!(steps <= most, "a scan backwards that does not end");
    }
    Some(keys)
}

/// Keys of one table can share most of their bytes: what is kept of them is bounded.
fn keep(keys: &mut Vec<KeyBuf>, key: KeyRef<'_>) {
    if keys.len() < 2000 && key.user_key.len() < 2000 {
        keys.push(key.to_buf());
    }
}

/// A small database that tables are ingested into.
fn base() -> MemFs {
    static BASE: OnceLock<MemFs> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let fs = MemFs::new();
        let engine = Engine::<MemFs, Skiplist>::open(fs.clone(), DIR, options(), environment()).expect("new");
        for i in 0..20u8 {
            let ops = [crate::crash::track::Op::Put(0, vec![b'k', i], Arc::from([i; 40]))];
            crate::crash::drive::write(&engine, &ops, true).expect("a write");
        }
        engine.close().expect("close");
        fs
    });
    base.kill_clone()
}

/// A foreign table that is ingested into a healthy database.
pub fn ingest(bytes: &[u8]) {
    let mut fixed = bytes.to_vec();
    fixup::table(&mut fixed);
    for bytes in [bytes, &fixed] {
        let fs = base();
        fs.create(PATH).expect("a new file").write_at(bytes, 0).expect("room");
        let engine = Engine::<MemFs, Skiplist>::open(fs.clone(), DIR, options(), environment())
            .expect("a healthy database");
        let before = all_of(&engine).expect("a healthy database");
        if engine.ingest(&[PATH], None).is_err() {
            let after = all_of(&engine).expect("a healthy database");
            assert_eq!(before, after, "a refused table changed something");
            engine.close().expect("a healthy database");
            continue;
        }
        // It was verified: everything in it can be read, merged and read again.
        let after = all_of(&engine).expect("an ingested table");
        let report = engine.check(&mut |_| {}).expect("check");
        assert!(report.is_clean(), "{:?}", report.problems);
        work(&engine).expect("background work");
        for cf in 0..3 {
            while !engine.compact_range_step(CfId(cf), None, None).expect("compact") {}
        }
        assert_eq!(all_of(&engine).expect("a merged table"), after, "a merge changed an answer");
        engine.close().expect("close");
        drop(engine);
        let engine = Engine::<MemFs, Skiplist>::open(fs, DIR, options(), environment()).expect("open again");
        assert_eq!(all_of(&engine).expect("read again"), after, "opening again changed an answer");
    }
}
