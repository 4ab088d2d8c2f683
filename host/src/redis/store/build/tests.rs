use super::*;
use crate::redis::store::backend::Cursor;
use crate::redis::testing::{database, keyspace};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};
use std::sync::{Arc, Mutex};

const MEMBERS: u64 = 400;

fn member(i: u64) -> Vec<u8> {
    format!("member-{i:06}").into_bytes()
}

fn entries(keys: &mut Keyspace, table: Table) -> usize {
    let mut cursor: Box<dyn Cursor> = keys.txn().backend().scan(table, &[], None, false).expect("a scan");
    let mut count = 0;
    while cursor.advance().expect("an entry") {
        count += 1;
    }
    count
}

fn records(keys: &mut Keyspace) -> usize {
    let mut cursor =
        keys.txn().backend().scan(Table::System, redis::SYSTEM_BUILDING, None, false).expect("a scan");
    let mut count = 0;
    while cursor.advance().expect("an entry") && cursor.key().starts_with(redis::SYSTEM_BUILDING) {
        count += 1;
    }
    count
}

/// Elements, scores and records: all that a build can leave.
fn stored(keys: &mut Keyspace) -> (usize, usize, usize) {
    (entries(keys, Table::Elements), entries(keys, Table::Scores), records(keys))
}

const NOTHING: (usize, usize, usize) = (0, 0, 0);
const WHOLE: (usize, usize, usize) = (MEMBERS as usize, MEMBERS as usize, 0);

fn small_pieces(fs: &MemFs) -> Keyspace {
    let mut keys = keyspace(fs);
    keys.builds().piece_bytes = 4 << 10;
    keys.begin(1_000);
    keys
}

fn fill(keys: &mut Keyspace, build: &mut Build<'_>, members: std::ops::Range<u64>) {
    for i in members {
        build.scored(keys, &member(i), i as f64).expect("a member");
    }
}

fn count_of(keys: &mut Keyspace, key: &[u8]) -> Option<u64> {
    keys.collection(0, key, Kind::SortedSet).expect("a lookup").map(|found| found.head.count)
}

/// What is there after the process died now, opened again.
fn after_kill(fs: &MemFs) -> (Option<u64>, (usize, usize, usize)) {
    let mut keys = keyspace(&fs.kill_clone());
    let found = count_of(&mut keys, b"k");
    // The number is taken: nothing that still lies there can be read as part of another collection.
    (found, stored(&mut keys))
}

#[test]
fn each_row_of_the_crash_table() {
    let fs = MemFs::new();
    let mut keys = small_pieces(&fs);
    let mut build = keys.build(0, b"k", Kind::SortedSet);
    build.scored(&mut keys, &member(0), 0.0).expect("a member");
    assert_eq!(stored(&mut keys), NOTHING);
    assert_eq!(after_kill(&fs), (None, NOTHING), "before a");

    fill(&mut keys, &mut build, 1..100);
    let (elements, scores, records) = stored(&mut keys);
    assert!(elements > 0 && elements < 100 && elements == scores && records == 1, "{elements} {scores}");
    assert_eq!(after_kill(&fs), (None, NOTHING), "between a and c");

    fill(&mut keys, &mut build, 100..MEMBERS);
    build.finish(&mut keys).expect("a head");
    assert_eq!(after_kill(&fs), (None, NOTHING), "all but the commit");
    keys.commit().expect("a commit");
    assert_eq!(stored(&mut keys), WHOLE);
    assert_eq!(after_kill(&fs), (Some(MEMBERS), WHOLE), "after c");
}

#[test]
fn what_is_dropped_goes_with_the_next_transaction() {
    let fs = MemFs::new();
    let mut keys = small_pieces(&fs);
    let mut build = keys.build(0, b"k", Kind::SortedSet);
    fill(&mut keys, &mut build, 0..MEMBERS);
    drop(build);
    // The rest of its transaction may commit.
    let slot = keys.slot(0, b"other").expect("a slot");
    keys.put(slot, b"v".to_vec(), 0).expect("a put");
    keys.commit().expect("a commit");
    assert_eq!(after_kill(&fs), (None, NOTHING), "before d");
    assert_ne!(stored(&mut keys), NOTHING);
    keys.begin(2_000);
    assert_eq!(stored(&mut keys), NOTHING);
    assert_eq!(after_kill(&fs), (None, NOTHING), "after d");
    assert!(keys.find(0, b"other").expect("a lookup").is_some());
}

#[test]
fn a_finished_one_goes_if_the_transaction_does_not_commit() {
    let fs = MemFs::new();
    let mut keys = small_pieces(&fs);
    let mut build = keys.build(0, b"k", Kind::SortedSet);
    fill(&mut keys, &mut build, 0..MEMBERS);
    build.finish(&mut keys).expect("a head");
    keys.begin(2_000);
    assert_eq!((count_of(&mut keys, b"k"), stored(&mut keys)), (None, NOTHING));
}

#[test]
fn a_conflict_leaves_nothing_and_the_second_run_is_whole() {
    let fs = MemFs::new();
    let db = database(&fs);
    let backend = crate::redis::store::embedded::Embedded::new(db.clone()).expect("the families");
    let mut keys = Keyspace::open(Arc::new(backend), 1_000).expect("the keys");
    keys.builds().piece_bytes = 4 << 10;
    for run in 0..2 {
        keys.begin(1_000);
        assert!(count_of(&mut keys, b"k").is_none());
        let mut build = keys.build(0, b"k", Kind::SortedSet);
        fill(&mut keys, &mut build, 0..MEMBERS);
        if run == 0 {
            db.set(b"k", b"someone else was here").expect("a write");
            db.del(b"k").expect("a write");
        }
        build.finish(&mut keys).expect("a head");
        match keys.commit() {
            Err(CommitError::Conflict) => assert_eq!(run, 0),
            Ok(_) => assert_eq!(run, 1),
            Err(CommitError::Store(error)) => panic!("{error}"),
        }
    }
    assert_eq!(stored(&mut keys), WHOLE);
}

#[test]
fn small_ones_are_one_commit() {
    let fs = MemFs::new();
    let mut keys = keyspace(&fs);
    keys.begin(1_000);
    let before = keys.txn().backend().seq();
    let mut build = keys.build(0, b"k", Kind::SortedSet);
    fill(&mut keys, &mut build, 0..MEMBERS);
    build.finish(&mut keys).expect("a head");
    assert_eq!(keys.txn().backend().seq(), before);
    keys.commit().expect("a commit");
    assert_eq!((count_of(&mut keys, b"k"), stored(&mut keys)), (Some(MEMBERS), WHOLE));
}

#[test]
fn nothing_is_written_ahead_under_a_flush() {
    let fs = MemFs::new();
    let mut keys = small_pieces(&fs);
    keys.flush_all();
    let mut build = keys.build(0, b"k", Kind::SortedSet);
    fill(&mut keys, &mut build, 0..MEMBERS);
    assert_eq!(stored(&mut keys), NOTHING);
    build.finish(&mut keys).expect("a head");
    keys.commit().expect("a commit");
    assert_eq!(stored(&mut keys), WHOLE);
}

#[test]
fn any_moment_of_a_crash_leaves_all_or_nothing() {
    let fs = MemFs::new();
    let images = Arc::new(Mutex::new(Vec::new()));
    {
        let mut keys = small_pieces(&fs);
        let (seen, disk) = (images.clone(), fs.clone());
        fs.set_call_hook(Box::new(move |call, _, _| {
            if call % 2 != 0 {
                return;
            }
            let image = if call % 4 == 0 { CrashImage::Random } else { CrashImage::None };
            let mut images = seen.lock().expect("no panic");
            images.push(disk.crash_clone(call, CrashMode::Posix, image));
            images.push(disk.kill_clone());
        }));
        for key in [b"j", b"k"] {
            keys.begin(1_000);
            let mut build = keys.build(0, key, Kind::SortedSet);
            fill(&mut keys, &mut build, 0..MEMBERS);
            build.finish(&mut keys).expect("a head");
            let seq = keys.commit().expect("a commit");
            assert!(keys.txn().backend().sync().expect("a sync") >= seq);
        }
        fs.clear_call_hook();
    }
    let images = std::mem::take(&mut *images.lock().expect("no panic"));
    assert!(images.len() > 4, "{}", images.len());
    for fs in images {
        let mut keys = keyspace(&fs);
        let whole = [b"j", b"k"].iter().filter_map(|key| count_of(&mut keys, *key)).collect::<Vec<_>>();
        assert!(whole.iter().all(|count| *count == MEMBERS), "{whole:?}");
        let all = whole.len() * MEMBERS as usize;
        assert_eq!(stored(&mut keys), (all, all, 0));
    }
}
