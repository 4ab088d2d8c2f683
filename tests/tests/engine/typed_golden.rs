//! A database of format 1 with raft groups and regions, as it was written when their format was settled, opens and
//! answers for ever.
//!
//! `NOKV_GOLDEN=write cargo test -p nokv-tests --test engine typed_golden` writes the files anew. That is for a new format number,
//! in a new directory, only: a test that fails here says that released files cannot be read any more.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nokv::{
    CfId, Db, ManualClock, Options, Position, RaftPointer, RecordCounts, RecordKind, RegionEpoch, RegionMeta,
    RegionPeer, RegionState, StdFs, TypedSection, Vfs, WriteBatch, WriteOptions,
};
use nokv_core::vfs::{OpenMode, VfsFile};
use nokv_vfs_mem::MemFs;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1/store")
}

fn options(dir: &str) -> Options {
    Options {
        wal_segment_bytes: 256 << 10,
        value_log_gc_interval: Duration::ZERO,
        wal_auto_gc_interval: Duration::ZERO,
        clock: Some(Arc::new(ManualClock::new(1_000_000))),
        ..Options::new(dir)
    }
}

fn regions() -> Vec<RegionMeta> {
    let region = RegionMeta {
        id: 7,
        start_key: b"a".to_vec(),
        end_key: b"m".to_vec(),
        epoch: RegionEpoch { version: 2, conf_version: 5 },
        peers: vec![RegionPeer { store_id: 1, peer_id: 70 }, RegionPeer { store_id: 2, peer_id: 71 }],
        state: RegionState::Running,
    };
    let other =
        RegionMeta { id: 300, start_key: b"m".to_vec(), state: RegionState::Tombstone, ..region.clone() };
    vec![region, RegionMeta { end_key: Vec::new(), ..other }]
}

fn pointer(group: u64, at: Position) -> RaftPointer {
    RaftPointer {
        group,
        segment: at.segment,
        offset: at.offset,
        applied_index: 3,
        applied_term: 2,
        committed: 4,
        snapshot_index: 1,
        snapshot_term: 1,
        truncated_index: 2,
        truncated_term: 1,
    }
}

fn fill<V: Vfs>(db: &Db<V>) {
    let wal = db.wal();
    for region in regions() {
        db.set_region(&region).unwrap();
    }
    wal.append_typed(RecordKind::RaftEntries, 7, b"before the pointer", false).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, b"key", b"value").unwrap();
    let sections = [
        TypedSection { kind: RecordKind::RaftEntries, group: 7, bytes: b"entry" },
        TypedSection { kind: RecordKind::RaftState, group: (1 << 56) - 1, bytes: b"state" },
    ];
    let (_, at) = wal.write_with_sections(&batch, &sections, &WriteOptions::default()).unwrap();
    wal.set_raft_pointer(pointer(7, at)).unwrap();
    wal.append_typed(RecordKind::RaftSnapshot, 9, b"copied", false).unwrap();
    wal.rewrite_forward(9).unwrap();
    wal.append_typed(RecordKind::Other(200), 5, b"removed", false).unwrap();
    wal.remove_raft_group(5).unwrap();
    db.set(b"last", b"write").unwrap();
}

/// Writes the files that a killed process leaves.
fn write_golden() {
    let mem = MemFs::new();
    let db = Db::open_on(mem.clone(), options("db")).unwrap();
    fill(&db);
    db.sync().unwrap();
    let files = mem.kill_clone();
    let _ = fs::remove_dir_all(golden());
    for path in nokv_tests::small_db::files(&files, "db") {
        if path.ends_with("LOCK") {
            continue;
        }
        let mut bytes = files.contents(&path).unwrap();
        // Zeros at the end of log segments are not stored: preallocated space.
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        if path.ends_with(".wal") {
            bytes.truncate(used.next_multiple_of(4096).min(bytes.len()));
        }
        let to = golden().join(path.strip_prefix("db/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn replay<V: Vfs>(db: &Db<V>, group: u64) -> Vec<(RecordKind, Vec<u8>)> {
    let mut found = Vec::new();
    db.wal()
        .replay_group(group, |kind, _, bytes| {
            found.push((kind, bytes.to_vec()));
            Ok(())
        })
        .unwrap();
    found
}

fn check<V: Vfs>(db: &Db<V>) {
    assert_eq!(db.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(db.get(b"last").unwrap().as_deref(), Some(&b"write"[..]));
    assert_eq!(db.regions(), regions());
    assert_eq!(replay(db, 7), [(RecordKind::RaftEntries, b"entry".to_vec())]);
    assert_eq!(replay(db, (1 << 56) - 1), [(RecordKind::RaftState, b"state".to_vec())]);
    assert_eq!(replay(db, 9), [(RecordKind::RaftSnapshot, b"copied".to_vec())]);
    assert_eq!(replay(db, 5), []);
    let pointers = db.wal().raft_pointers();
    assert_eq!(pointers.iter().map(|p| p.group).collect::<Vec<_>>(), [7, 9]);
    assert_eq!(pointers[0], pointer(7, pointers[0].position().unwrap()));
}

#[test]
fn a_database_of_format_1_with_raft_groups_opens() {
    if std::env::var("NOKV_GOLDEN").is_ok_and(|value| value == "write") {
        write_golden();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    copy(&golden(), &path);
    let path = path.to_str().unwrap();
    assert!(nokv::repair::plan(&StdFs::new(), path).unwrap().is_empty());
    check(&Db::open_on(StdFs::new(), Options { read_only: true, ..options(path) }).unwrap());
    let db = Db::open_on(StdFs::new(), options(path)).unwrap();
    check(&db);
    let counts = RecordCounts { entries: 2, raft_entries: 2, raft_states: 1, raft_snapshots: 2, other: 1 };
    assert_eq!(db.wal().record_counts(), counts);
    // Taken on. The copy has no directory of tables: it was empty, and such are not kept.
    db.wal().rewrite_forward(7).unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    check(&Db::open_on(StdFs::new(), options(path)).unwrap());
}

/// Every byte of the log and the manifest, flipped: the right answers, or an error that names file and offset.
#[test]
fn damage_of_a_database_with_raft_groups_is_noticed() {
    let mem = MemFs::new();
    let db = Db::open_on(mem.clone(), options("db")).unwrap();
    fill(&db);
    db.close().unwrap();
    let files = nokv_tests::small_db::files(&mem, "db");
    let mut refused = 0;
    for path in files.iter().filter(|p| p.ends_with(".wal") || p.contains("MANIFEST")) {
        let bytes = mem.contents(path).unwrap();
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        for at in (0..used).step_by(3) {
            let image = mem.kill_clone();
            let file = image.open(path, OpenMode::ReadWrite).unwrap();
            file.write_at(&[bytes[at] ^ (1 << (at % 8))], at as u64).unwrap();
            drop(file);
            match Db::open_on(image, options("db")) {
                Ok(db) => check(&db),
                Err(error) => {
                    assert!(error.is_corrupt(), "{path} {at}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
