//! Typed records in the engine's log: what is kept, for how long, and what it does to batches.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nokv::{
    CfId, Db, Error, ManualClock, Options, Position, RaftPointer, RecordCounts, RecordKind, RegionEpoch,
    RegionMeta, RegionPeer, RegionState, TypedSection, WriteBatch, WriteOptions,
};
use nokv_core::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, Op, Rule};

const ENTRIES: RecordKind = RecordKind::RaftEntries;
const STATE: RecordKind = RecordKind::RaftState;
const SNAPSHOT: RecordKind = RecordKind::RaftSnapshot;

fn options(dir: &str) -> Options {
    Options {
        mem_table_bytes: 1 << 20,
        wal_segment_bytes: 256 << 10,
        // Flushes release the log, so that each test sees what its own calls did.
        enable_wal_watchdog: false,
        value_log_gc_interval: Duration::ZERO,
        clock: Some(Arc::new(ManualClock::new(1_000_000))),
        ..Options::new(dir)
    }
}

fn open(fs: &MemFs) -> Db<MemFs> {
    Db::open_on(fs.clone(), options("db")).unwrap()
}

/// Record `i` of a group: some are long.
fn payload(group: u64, i: u32) -> Vec<u8> {
    let mut bytes = format!("{group} {i} ").into_bytes();
    bytes.resize(if i.is_multiple_of(5) { 30_000 } else { 20 + i as usize }, b'x');
    bytes
}

fn append(db: &Db<MemFs>, group: u64, i: u32) -> Position {
    db.wal().append_typed(ENTRIES, group, &payload(group, i), false).unwrap()
}

/// The numbers of a group's records, as replay gives them; each must be whole.
fn replay(db: &Db<MemFs>, group: u64) -> Vec<u32> {
    let mut found = Vec::new();
    db.wal()
        .replay_group(group, |kind, _, bytes| {
            assert_eq!(kind, ENTRIES);
            let text = std::str::from_utf8(bytes).unwrap();
            let i: u32 = text.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(bytes == payload(group, i), "record {i} of group {group}");
            found.push(i);
            Ok(())
        })
        .unwrap();
    found
}

fn pointer(group: u64, at: Position) -> RaftPointer {
    RaftPointer { group, segment: at.segment, offset: at.offset, ..RaftPointer::default() }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

fn segment_numbers(db: &Db<MemFs>) -> Vec<u32> {
    db.wal().segments().iter().map(|s| s.number).collect()
}

/// Fills log segments with batches until the active one is `segment`.
fn fill_to(db: &Db<MemFs>, segment: u32) {
    let mut i = 0u32;
    while db.wal().active_segment() < segment {
        db.set(format!("fill {i}").as_bytes(), &[7; 2000]).unwrap();
        i += 1;
    }
}

#[test]
fn records_of_groups_are_replayed_in_order_over_rotation_flush_and_reopen() {
    let fs = MemFs::new();
    let db = open(&fs);
    for i in 0..60 {
        append(&db, 1, i);
        if i % 2 == 0 {
            append(&db, 1 << 50, i / 2);
        }
        db.set(format!("key {i}").as_bytes(), &payload(9, i)).unwrap();
        if i % 20 == 10 {
            db.flush().unwrap();
        }
    }
    assert!(db.wal().active_segment() >= 3);
    let check = |db: &Db<MemFs>| {
        assert_eq!(replay(db, 1), numbers(0..60));
        assert_eq!(replay(db, 1 << 50), numbers(0..30));
        assert!(replay(db, 2).is_empty());
        assert_eq!(db.get(b"key 59").unwrap().as_deref(), Some(&payload(9, 59)[..]));
    };
    check(&db);
    let counts = db.wal().record_counts();
    assert_eq!((counts.raft_entries, counts.entries), (90, 60));
    db.close().unwrap();
    let read_only = Options { read_only: true, ..options("db") };
    let db = Db::open_on(fs.clone(), read_only).unwrap();
    check(&db);
    assert_eq!(db.wal().record_counts(), counts, "of a read-only open");
    drop(db);
    let db = open(&fs);
    check(&db);
    assert_eq!(db.wal().record_counts(), counts, "kinds are counted again from the log");
    // Killed, not closed.
    append(&db, 1, 60);
    let db = open(&fs.kill_clone());
    assert_eq!(replay(&db, 1), numbers(0..61));
}

#[test]
fn synced_records_survive_power_loss_with_all_that_was_before_them() {
    let fs = MemFs::new();
    let db = open(&fs);
    append(&db, 1, 0);
    db.set(b"before", b"v").unwrap();
    db.wal().append_typed(STATE, 2, b"state", true).unwrap();
    append(&db, 1, 1);
    let db = open(&fs.crash_clone(1, CrashMode::Posix, CrashImage::None));
    assert_eq!(replay(&db, 1), [0]);
    assert_eq!(db.get(b"before").unwrap().as_deref(), Some(&b"v"[..]));
    let mut states = Vec::new();
    db.wal()
        .replay_group(2, |kind, _, bytes| {
            states.push((kind, bytes.to_vec()));
            Ok(())
        })
        .unwrap();
    assert_eq!(states, [(STATE, b"state".to_vec())]);
}

#[test]
fn a_record_longer_than_a_segment_is_whole() {
    let fs = MemFs::new();
    let db = open(&fs);
    let long: Vec<u8> = (0..900_000u32).map(|i| i as u8).collect();
    db.wal().append_typed(SNAPSHOT, 3, &long, true).unwrap();
    let long_of = |db: &Db<MemFs>| {
        let mut found = Vec::new();
        db.wal()
            .replay_group(3, |_, _, bytes| {
                found.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
        found
    };
    assert!(long_of(&db) == long);
    assert!(long_of(&open(&fs.crash_clone(1, CrashMode::Posix, CrashImage::None))) == long);
}

#[test]
fn records_take_no_seq_and_followers_do_not_see_them() {
    let fs = MemFs::new();
    let db = open(&fs);
    append(&db, 1, 0);
    db.set(b"a", b"1").unwrap();
    let seq = db.published_seq();
    append(&db, 1, 1);
    assert_eq!(db.published_seq(), seq);
    db.set(b"b", b"2").unwrap();
    append(&db, 1, 2);
    let check = |db: &Db<MemFs>| {
        let changes = db.changes_since(nokv::Seq(0)).unwrap();
        let keys: Vec<_> =
            changes.iter().flat_map(|(_, batch)| batch.iter().map(|op| op.key.user_key.to_vec())).collect();
        assert_eq!(keys, [b"a", b"b"]);
        assert!(db.check_all().unwrap().is_clean());
        assert_eq!(db.published_seq().0, seq.0 + 1);
    };
    check(&db);
    let again = open(&fs.kill_clone());
    assert_eq!(again.open_report().replayed_batches, 2, "batches with operations");
    check(&again);
    again.set(b"c", b"3").unwrap();
    assert_eq!(again.published_seq().0, seq.0 + 2, "no seq is given twice or left out");
}

#[test]
fn a_batch_and_records_are_one_log_record() {
    let fs = MemFs::new();
    let db = open(&fs);
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, b"key", b"value").unwrap();
    // Large enough for the value log.
    batch.put(CfId::DEFAULT, b"large", &[8; 100_000]).unwrap();
    let sections = [
        TypedSection { kind: ENTRIES, group: 1, bytes: &payload(1, 0) },
        TypedSection { kind: STATE, group: 2, bytes: b"state" },
    ];
    let before = db.wal().end().unwrap();
    let sync = WriteOptions { sync: Some(true), ..WriteOptions::default() };
    let (seq, at) = db.wal().write_with_sections(&batch, &sections, &sync).unwrap();
    assert_eq!((at, db.published_seq()), (before, seq));
    let one = RecordCounts { entries: 1, raft_entries: 1, raft_states: 1, ..RecordCounts::default() };
    assert_eq!(db.wal().record_counts(), one);
    let again = open(&fs.crash_clone(1, CrashMode::Posix, CrashImage::None));
    assert_eq!(again.get(b"large").unwrap().as_deref(), Some(&[8; 100_000][..]));
    assert_eq!((again.get(b"key").unwrap().as_deref(), replay(&again, 1)), (Some(&b"value"[..]), vec![0]));
    let disabled = WriteOptions { disable_wal: true, ..WriteOptions::default() };
    let error = db.wal().write_with_sections(&batch, &sections, &disabled).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
}

#[test]
fn a_refused_batch_leaves_no_records() {
    let db = open(&MemFs::new());
    db.set(b"key", b"1").unwrap();
    let since = nokv::Seq(0);
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, b"key", b"2").unwrap();
    batch.require_unchanged(CfId::DEFAULT, b"key", since);
    let section = TypedSection { kind: ENTRIES, group: 1, bytes: b"e" };
    let error = db.wal().write_with_sections(&batch, &[section], &WriteOptions::default()).unwrap_err();
    assert_eq!(error, Error::Conflict);
    assert_eq!(db.wal().record_counts().raft(), 0);
}

#[test]
fn kinds_groups_and_sizes_that_cannot_be_are_refused_and_nothing_is_written() {
    let db = open(&MemFs::new());
    let end = db.wal().end();
    for kind in [0, 1, 2, 5, 127].map(RecordKind::Other) {
        let result = db.wal().append_typed(kind, 1, b"x", false);
        // 2 to 4 have names, under which they may come.
        assert_eq!(result.is_ok(), kind.tag() == 2, "{kind:?}: {result:?}");
    }
    assert!(db.wal().end() > end);
    let end = db.wal().end();
    let error = db.wal().append_typed(ENTRIES, 1 << 56, b"x", false).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    let error = db.wal().append_typed(ENTRIES, 1, &vec![0; (1 << 20) + 1], false).unwrap_err();
    assert!(matches!(error, Error::BatchTooLarge { limit: 1_048_576, .. }), "{error}");
    assert!(db.wal().append_sections(&[], false).is_err());
    assert_eq!(db.wal().end(), end);
    db.wal().append_typed(RecordKind::Other(200), (1 << 56) - 1, b"mine", false).unwrap();
    assert_eq!(db.wal().record_counts().other, 1);
}

#[test]
fn a_full_disk_is_told_and_passes() {
    let fs = MemFs::new();
    let db = open(&fs);
    append(&db, 1, 1);
    db.wait_idle().unwrap();
    fs.set_capacity(fs.used());
    let mut i = 2;
    let error = loop {
        match db.wal().append_typed(ENTRIES, 1, &payload(1, i), false) {
            Ok(_) => i += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_no_space(), "{error}");
    assert_eq!(replay(&db, 1), numbers(1..i));
    fs.set_capacity(u64::MAX);
    append(&db, 1, i);
    assert_eq!(replay(&db, 1), numbers(1..i + 1));
}

#[test]
fn the_log_is_kept_from_a_pointer_on_and_released_when_it_moves() {
    let fs = MemFs::new();
    let db = open(&fs);
    append(&db, 1, 0);
    fill_to(&db, 3);
    let third = append(&db, 1, 1);
    fill_to(&db, 5);
    db.flush().unwrap();
    assert_eq!(segment_numbers(&db)[0], 1, "a group without a pointer keeps all it has");
    db.wal().set_raft_pointer(pointer(1, third)).unwrap();
    assert_eq!(segment_numbers(&db)[0], 3);
    assert_eq!(replay(&db, 1), [1]);
    assert_eq!(db.wal().raft_pointers(), [pointer(1, third)]);
    db.close().unwrap();
    let db = open(&fs);
    assert_eq!((segment_numbers(&db)[0], replay(&db, 1)), (3, vec![1]), "also over a clean close");
    assert_eq!(db.wal().raft_pointers(), [pointer(1, third)]);
    let last = append(&db, 1, 2);
    db.wal().set_raft_pointer(pointer(1, last)).unwrap();
    assert_eq!(segment_numbers(&db)[0], last.segment);
    assert_eq!(replay(&db, 1), [2]);
}

#[test]
fn a_pointer_without_a_place_keeps_all_records_of_its_group() {
    let fs = MemFs::new();
    let db = open(&fs);
    db.wal().set_raft_pointer(RaftPointer { group: 1, committed: 3, ..RaftPointer::default() }).unwrap();
    append(&db, 1, 0);
    fill_to(&db, 3);
    db.flush().unwrap();
    assert_eq!((segment_numbers(&db)[0], replay(&db, 1)), (1, vec![0]));
}

#[test]
fn a_pointer_at_the_end_of_the_log_needs_nothing() {
    let fs = MemFs::new();
    let db = open(&fs);
    append(&db, 1, 0);
    fill_to(&db, 3);
    db.flush().unwrap();
    db.wal().set_raft_pointer(pointer(1, db.wal().end().unwrap())).unwrap();
    assert_eq!(segment_numbers(&db).len(), 1);
    assert!(replay(&db, 1).is_empty());
    append(&db, 1, 1);
    assert_eq!(replay(&open(&fs.kill_clone()), 1), [1]);
}

#[test]
fn a_pointer_that_cannot_be_is_refused_and_the_database_goes_on() {
    let db = open(&MemFs::new());
    let first = append(&db, 1, 0);
    let second = append(&db, 1, 1);
    db.wal().set_raft_pointer(pointer(1, second)).unwrap();
    let end = db.wal().end().unwrap();
    let cases = [
        ("back", pointer(1, first)),
        ("behind the end", pointer(1, Position { offset: end.offset + 8, ..end })),
        ("within a record", pointer(1, Position { offset: second.offset + 8, ..second })),
        ("between words", pointer(1, Position { offset: second.offset + 1, ..second })),
        ("in a later segment", pointer(1, Position { segment: 9, offset: 64 })),
        ("group", pointer(1 << 56, second)),
        ("applied", RaftPointer { applied_index: 2, committed: 1, ..pointer(1, second) }),
    ];
    for (what, pointer) in cases {
        let error = db.wal().set_raft_pointer(pointer).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{what}: {error}");
    }
    db.set(b"key", b"value").unwrap();
    assert_eq!(db.wal().raft_pointers(), [pointer(1, second)]);
}

#[test]
fn a_group_that_is_removed_frees_the_log_and_may_start_anew() {
    let fs = MemFs::new();
    let db = open(&fs);
    let at = append(&db, 1, 0);
    db.wal().set_raft_pointer(pointer(1, at)).unwrap();
    append(&db, 2, 0);
    fill_to(&db, 3);
    append(&db, 1, 1);
    append(&db, 2, 1);
    db.flush().unwrap();
    db.wal().remove_raft_group(1).unwrap();
    assert_eq!((db.wal().raft_pointers(), replay(&db, 1)), (vec![], vec![]));
    assert_eq!(segment_numbers(&db)[0], 1, "the other group is still there");
    append(&db, 1, 7);
    let check = |db: &Db<MemFs>| {
        assert_eq!((replay(db, 1), replay(db, 2)), (vec![7], vec![0, 1]));
    };
    check(&db);
    let db = open(&fs.kill_clone());
    check(&db);
    db.wal().remove_raft_group(2).unwrap();
    fill_to(&db, 6);
    db.flush().unwrap();
    assert_eq!(segment_numbers(&db)[0], 3, "the new group 1 keeps what it has");
    assert_eq!((replay(&db, 1), replay(&db, 2)), (vec![7], vec![]));
}

#[test]
fn rewriting_forward_frees_old_segments_and_keeps_the_records() {
    let fs = MemFs::new();
    let db = open(&fs);
    for i in 0..20 {
        append(&db, 1, i);
        append(&db, 2, i);
    }
    let from = append(&db, 1, 20);
    append(&db, 1, 21);
    db.wal().set_raft_pointer(RaftPointer { committed: 9, ..pointer(1, from) }).unwrap();
    fill_to(&db, 8);
    db.flush().unwrap();
    assert_eq!(db.wal().rewrite_forward(1).unwrap(), 2);
    append(&db, 1, 22);
    let check = |db: &Db<MemFs>| {
        assert_eq!((replay(db, 1), replay(db, 2)), (numbers(20..23), numbers(0..20)));
    };
    check(&db);
    let moved = db.wal().raft_pointers()[0];
    assert!(moved.position() > Some(from));
    assert_eq!(moved.committed, 9, "what else the pointer says stays");
    assert_eq!(segment_numbers(&db)[0], 1, "group 2 pins the log still");
    assert_eq!(db.wal().rewrite_forward(2).unwrap(), 20);
    assert!(segment_numbers(&db)[0] >= 8, "{:?}", segment_numbers(&db));
    check(&db);
    check(&open(&fs.kill_clone()));
    // Again, from copies.
    assert_eq!(db.wal().rewrite_forward(1).unwrap(), 3);
    check(&db);
    db.close().unwrap();
    check(&open(&fs));
}

#[test]
fn rewriting_a_group_without_records_moves_its_pointer_to_the_end() {
    let db = open(&MemFs::new());
    let at = append(&db, 2, 0);
    db.wal().set_raft_pointer(pointer(1, at)).unwrap();
    fill_to(&db, 3);
    assert_eq!(db.wal().rewrite_forward(3).unwrap(), 0);
    assert_eq!(db.wal().raft_pointers().len(), 1, "a group that is not there is not made");
    assert_eq!(db.wal().rewrite_forward(1).unwrap(), 0);
    assert_eq!(db.wal().raft_pointers()[0].position(), db.wal().end());
}

#[test]
fn rewriting_while_the_group_is_written_to_loses_and_doubles_nothing() {
    let fs = MemFs::new();
    let db = open(&fs);
    let stop = AtomicBool::new(false);
    let appended = std::thread::scope(|s| {
        let writer = s.spawn(|| {
            let mut i = 0;
            // An end of its own: a writer that is faster than every rewriting would fill the memory.
            while i < 50 || (!stop.load(Ordering::Acquire) && i < 2000) {
                append(&db, 1, i);
                i += 1;
            }
            i
        });
        let mut moved = 0;
        while moved < 10 && !writer.is_finished() {
            match db.wal().rewrite_forward(1) {
                Ok(_) => moved += 1,
                Err(Error::Busy(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Release);
        writer.join().unwrap()
    });
    db.wal().rewrite_forward(1).expect("nobody writes now");
    assert_eq!(replay(&db, 1), numbers(0..appended));
    assert_eq!(replay(&open(&fs.kill_clone()), 1), numbers(0..appended));
}

#[test]
fn a_visitor_may_write_and_its_error_ends_the_replay() {
    let db = open(&MemFs::new());
    for i in 0..3 {
        append(&db, 1, i);
    }
    let mut seen = 0;
    db.wal()
        .replay_group(1, |_, at, _| {
            // Nothing is locked: it may append, set a pointer and flush.
            append(&db, 1, 10 + seen);
            db.wal().set_raft_pointer(pointer(1, at))?;
            db.flush()?;
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, 3, "what is appended meanwhile is not among them");
    let error = db.wal().replay_group(1, |_, _, _| Err(Error::Busy("enough"))).unwrap_err();
    assert_eq!(error, Error::Busy("enough"));
}

#[test]
fn damage_in_the_log_is_an_error_of_replay() {
    let fs = MemFs::new();
    let db = open(&fs);
    let at = append(&db, 1, 0);
    append(&db, 1, 1);
    let file = fs.open(&format!("db/wal/{:09}.wal", at.segment), OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at.offset + 100).unwrap();
    file.write_at(&[byte[0] ^ 4], at.offset + 100).unwrap();
    let error = db.wal().replay_group(1, |_, _, _| Ok(())).unwrap_err();
    match error {
        Error::Corrupt { file, offset, .. } => {
            assert!(file.ends_with(".wal") && offset == at.offset, "{file} {offset}");
        }
        other => panic!("{other}"),
    }
    assert!(matches!(db.wal().rewrite_forward(1), Err(Error::Corrupt { .. })));
}

#[test]
fn a_dump_shows_kind_and_group_of_each_section() {
    let fs = MemFs::new();
    let db = open(&fs);
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, b"key", b"value").unwrap();
    let section = TypedSection { kind: SNAPSHOT, group: 7, bytes: b"mark" };
    db.wal().write_with_sections(&batch, &[section], &WriteOptions::default()).unwrap();
    db.wal().append_typed(STATE, 1 << 40, &[1; 600_000], false).unwrap();
    db.sync().unwrap();
    let mut dump = nokv_core::wal::dump(fs, "db/wal", ".wal").unwrap();
    let mut seen = Vec::new();
    while let Some(record) = dump.next().unwrap() {
        let own = record.own().unwrap();
        let sections = own.sections.iter().map(|s| (s.kind_name(), s.group, s.bytes));
        seen.push((own.first_seq.0, own.part, own.last_part, sections.collect::<Vec<_>>()));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    let (kind, group, bytes) = seen[0].3[0];
    assert_eq!((seen[0].0, kind, group, bytes), (1, "raft_snapshot", 7, 4));
    assert_eq!(seen[0].3[1].0, "batch");
    assert_eq!(seen[1], (2, 0, false, vec![("raft_state", 1 << 40, 600_000)]));
    assert_eq!(seen[2], (2, 1, false, vec![]), "the rest of it");
    assert_eq!((seen[3].1, seen[3].2), (2, true));
}

#[test]
fn a_checkpoint_is_in_no_group_and_a_repaired_log_neither() {
    let fs = MemFs::new();
    let db = open(&fs);
    let at = append(&db, 1, 0);
    db.wal().set_raft_pointer(pointer(1, at)).unwrap();
    db.set_region(&RegionMeta { id: 1, ..RegionMeta::default() }).unwrap();
    db.set(b"key", b"value").unwrap();
    db.checkpoint("copy").unwrap();
    let copy = Db::open_on(fs.clone(), options("copy")).unwrap();
    assert_eq!(copy.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!((copy.wal().raft_pointers(), copy.regions(), replay(&copy, 1)), (vec![], vec![], vec![]));
    drop(copy);

    db.set(b"later", b"value").unwrap();
    append(&db, 1, 1);
    db.set(b"last", b"value").unwrap();
    db.close().unwrap();
    // Rot in the last records.
    let wal = fs.list("db/wal").unwrap();
    let name = wal.iter().map(|e| e.name.clone()).filter(|n| n.ends_with(".wal")).min().unwrap();
    let path = format!("db/wal/{name}");
    let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
    let bytes = fs.contents(&path).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).unwrap();
    file.write_at(&[bytes[used - 30] ^ 1], used as u64 - 30).unwrap();
    assert!(Db::open_on(fs.clone(), options("db")).err().unwrap().is_corrupt());
    let plan = nokv::repair::plan(&fs, "db").unwrap();
    let lost: Vec<_> = plan.steps.iter().map(|s| s.lost.clone()).collect();
    assert!(lost.iter().any(|l| l.contains("raft")), "{lost:?}");
    nokv::repair::apply(&fs, "db", &plan).unwrap();
    let db = open(&fs);
    assert_eq!(db.get(b"later").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!((db.wal().raft_pointers(), replay(&db, 1)), (vec![], vec![]));
    assert_eq!(db.regions().len(), 1);
}

#[test]
fn regions_are_kept_and_only_go_on() {
    let fs = MemFs::new();
    let db = open(&fs);
    assert_eq!(db.regions(), []);
    let region = RegionMeta {
        id: 5,
        start_key: b"a".to_vec(),
        end_key: b"m".to_vec(),
        epoch: RegionEpoch { version: 1, conf_version: 1 },
        peers: vec![RegionPeer { store_id: 1, peer_id: 10 }, RegionPeer { store_id: 2, peer_id: 11 }],
        state: RegionState::Running,
    };
    db.set_region(&region).unwrap();
    let other = RegionMeta { id: 4, start_key: b"m".to_vec(), ..RegionMeta::default() };
    db.set_region(&other).unwrap();
    let back = RegionMeta { state: RegionState::New, ..region.clone() };
    assert!(matches!(db.set_region(&back), Err(Error::InvalidArgument(_))));
    assert_eq!(db.regions(), [other.clone(), region.clone()]);
    // Durable on return.
    let image = fs.crash_clone(1, CrashMode::Posix, CrashImage::None);
    assert_eq!(open(&image).regions(), [other.clone(), region.clone()]);
    db.remove_region(4).unwrap();
    assert!(matches!(db.remove_region(4), Err(Error::InvalidArgument(_))));
    db.set(b"key", b"a caller's mistake does not close the database").unwrap();
    db.close().unwrap();
    assert_eq!(open(&fs).regions(), [region]);
}

#[test]
fn a_removal_of_a_group_that_failed_keeps_its_records() {
    let fs = FaultFs::new(MemFs::new());
    let db = Db::open_on(fs.clone(), options("db")).unwrap();
    for i in 0..40u32 {
        db.wal().append_typed(RecordKind::RaftEntries, 7, &[i as u8; 60_000], false).unwrap();
        db.set(&i.to_be_bytes(), &[7; 3000]).unwrap();
    }
    db.wal().sync().unwrap();
    db.wait_idle().unwrap();
    fs.add_rule(Rule::new(Op::Write, IoErrorKind::NoSpace).path("MANIFEST"));
    assert!(db.wal().remove_raft_group(7).unwrap_err().is_no_space());
    fs.clear();
    db.flush().unwrap();
    let mut records = 0;
    db.wal()
        .replay_group(7, |_, _, _| {
            records += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(records, 40);
}

#[test]
fn changes_whose_values_were_collected_are_too_old_and_not_corrupt() {
    let db = Db::open_on(
        MemFs::new(),
        Options { value_threshold_bytes: 1000, value_log_segment_bytes: 64 << 10, ..options("db") },
    )
    .unwrap();
    // A raft record keeps the log.
    append(&db, 1, 1);
    let large = [7; 20_000];
    for _ in 0..3 {
        for k in 0..20u32 {
            db.set(&k.to_be_bytes(), &large).unwrap();
        }
    }
    db.flush().unwrap();
    db.compact_range(CfId::DEFAULT, None, None).unwrap();
    let before = db.published_seq();
    assert!(db.run_value_log_gc(0.5).unwrap().segments > 0);
    db.wait_idle().unwrap();
    db.set(b"new", &large).unwrap();
    let text = db.changes_since(nokv::Seq(0)).unwrap_err().to_string();
    assert!(text.contains("the log does not go back to seq 0"), "{text}");
    assert_eq!(db.changes_since(before).unwrap().len(), 1);
}
