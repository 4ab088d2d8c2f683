//! Effects of the options of levels, threads and background writes.

use std::time::{Duration, Instant};

use nokv::{CfId, Db, Error, Options, WriteBatch, WriteOptions};
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::{fill, open, small};

pub const CASES: &[Case] = &[
    ("num_compactors", num_compactors),
    ("level0_compaction_tables", level0_compaction_tables),
    ("level0_stop_tables", level0_stop_tables),
    ("level_base_bytes", level_base_bytes),
    ("level_multiplier", level_multiplier),
    ("background_bytes_per_second", background_bytes_per_second),
];

/// Names of the threads of this process.
#[cfg(target_os = "linux")]
fn thread_names() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).map(|name| name.trim().to_string()).collect()
}

fn num_compactors() {
    // So many that no other database of this process has as many.
    let (_, db) = open(Options { num_compactors: 19, ..small() });
    db.set(b"k", b"v").unwrap();
    #[cfg(target_os = "linux")]
    {
        // A thread takes its name itself, once it runs.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut names = thread_names();
        while !names.iter().any(|name| name == "nokv-compact-19") {
            assert!(std::time::Instant::now() < until, "{names:?}");
            names = thread_names();
        }
        assert!(!names.iter().any(|name| name == "nokv-compact-20"), "{names:?}");
    }
    db.close().unwrap();
    #[cfg(target_os = "linux")]
    assert!(!thread_names().iter().any(|name| name == "nokv-compact-19"));
}

/// Flushes `count` tables with the same keys.
fn flush(db: &Db<MemFs>, count: u8) {
    for round in 0..count {
        for k in 0..20u8 {
            db.set(&[k], &[round; 50]).unwrap();
        }
        db.flush().unwrap();
    }
}

fn level0_compaction_tables() {
    let left = |tables| {
        let (_, db) = open(Options { level0_compaction_tables: tables, ..small() });
        flush(&db, 5);
        db.wait_idle().unwrap();
        db.engine().stats().levels[0].tables
    };
    assert_eq!(left(6), 5);
    assert!(left(2) < 2);
}

fn level0_stop_tables() {
    for stop in [3, 5] {
        let (_, db) = open(Options {
            level0_stop_tables: stop,
            num_level_zero_tables: stop,
            level0_compaction_tables: stop,
            ..small()
        });
        // Flushes go on, merges do not.
        db.engine().stop_merges();
        let write = || {
            let mut batch = WriteBatch::new();
            batch.put(CfId::DEFAULT, b"k", b"v").unwrap();
            let deadline = Some(Instant::now() + Duration::from_millis(20));
            db.write(batch, &WriteOptions { deadline, ..Default::default() })
        };
        for _ in 0..stop {
            db.set(b"k", b"v").unwrap();
            db.flush().unwrap();
        }
        assert_eq!(db.engine().stats().levels[0].tables, stop as u64);
        assert_eq!(write(), Err(Error::DeadlineExceeded));
    }
}

/// Level that level 0 merges into, with about 300 KiB in the tree.
fn base_level(options: Options) -> u8 {
    let (_, db) = open(options);
    fill(&db, 3000, 100);
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    db.wait_idle().unwrap();
    db.engine().scores().base_level
}

fn level_base_bytes() {
    let none = nokv::Compression::None;
    let wide = base_level(Options { level_base_bytes: 64 << 20, compression: none, ..small() });
    let narrow = base_level(Options { level_base_bytes: 8 << 10, compression: none, ..small() });
    assert!(narrow < wide, "{narrow} and {wide}");
}

fn level_multiplier() {
    let base = Options { level_base_bytes: 8 << 10, compression: nokv::Compression::None, ..small() };
    let steep = base_level(Options { level_multiplier: 100, ..base.clone() });
    let flat = base_level(Options { level_multiplier: 2, ..base });
    assert!(flat < steep, "{flat} and {steep}");
}

fn background_bytes_per_second() {
    let waits = |limit| {
        let (_, db) = open(Options { background_bytes_per_second: limit, ..small() });
        flush(&db, 1);
        db.background_limit_waits()
    };
    assert_eq!(waits(0), 0);
    assert!(waits(1 << 20) >= 1);
    // The limit does not hold a close up: this flush would take a minute.
    let options = Options { background_bytes_per_second: 64 << 10, mem_table_bytes: 16 << 20, ..small() };
    let (_, db) = open(Options { compression: nokv::Compression::None, ..options });
    fill(&db, 4000, 1000);
    db.close().unwrap();
}
