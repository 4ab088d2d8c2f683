//! The log watchdog over a database: what it removes, what it counts, what it warns of.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use nokv::{
    Db, Event, EventListener, ManualClock, Options, Position, RaftPointer, RaftStatus, RecordKind, WalStatus,
};
use nokv_core::vfs::Vfs;
use nokv_vfs_mem::MemFs;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

fn options() -> Options {
    Options {
        mem_table_bytes: 1 << 20,
        wal_segment_bytes: 256 << 10,
        value_log_gc_interval: Duration::ZERO,
        // By hand.
        wal_auto_gc_interval: Duration::ZERO,
        clock: Some(Arc::new(ManualClock::new(7_000_000))),
        ..Options::new("db")
    }
}

fn open_with(fs: &MemFs, options: Options) -> Db<MemFs> {
    Db::open_on(fs.clone(), options).unwrap()
}

fn append(db: &Db<MemFs>, group: u64) -> Position {
    db.wal().append_typed(RecordKind::RaftEntries, group, b"entry", false).unwrap()
}

fn point(db: &Db<MemFs>, group: u64, at: Position) {
    let pointer = RaftPointer { group, segment: at.segment, offset: at.offset, ..RaftPointer::default() };
    db.wal().set_raft_pointer(pointer).unwrap();
}

/// Fills segments, a raft record of group 1 in each, until `segment` is the active one; then all is in tables.
fn fill_to(db: &Db<MemFs>, segment: u32) {
    append(db, 1);
    let mut i = 0u32;
    let mut active = db.wal().active_segment();
    while active < segment {
        db.set(format!("fill {i}").as_bytes(), &[7; 3000]).unwrap();
        i += 1;
        if db.wal().active_segment() > active {
            active = db.wal().active_segment();
            append(db, 1);
        }
    }
    db.flush().unwrap();
}

/// Numbers of the segment files.
fn files(fs: &MemFs) -> Vec<u32> {
    let names = fs.list("db/wal").unwrap().into_iter().map(|e| e.name);
    let mut numbers: Vec<_> = names.filter_map(|n| n.strip_suffix(".wal")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn first(db: &Db<MemFs>) -> u32 {
    db.wal().segments()[0].number
}

#[test]
fn without_groups_a_flush_releases_the_log_and_the_watchdog_finds_nothing() {
    let db = open_with(&MemFs::new(), options());
    for i in 0..400u32 {
        db.set(format!("key {i}").as_bytes(), &[7; 3000]).unwrap();
    }
    db.flush().unwrap();
    assert_eq!(first(&db), db.wal().active_segment());
    let decision = db.wal_watchdog_step().unwrap();
    assert_eq!((decision.remove_below, decision.removable), (None, 0));
    let status = db.wal_status();
    assert!(status.segments_removed >= 4, "{status:?}");
    assert_eq!((status.auto_gc_runs, status.auto_gc_removed, status.auto_gc_last_unix), (0, 0, 0));
    assert!(!status.typed_record_warning);
}

#[test]
fn with_groups_passes_remove_a_batch_each_and_count() {
    let fs = MemFs::new();
    let db = open_with(&fs, Options { wal_auto_gc_min_removable: 2, wal_auto_gc_max_batch: 3, ..options() });
    fill_to(&db, 9);
    // Group 1 needs all it has.
    assert_eq!(db.wal_watchdog_step().unwrap().removable, 0);
    point(&db, 1, Position { segment: 6, offset: 64 });
    assert_eq!(first(&db), 1, "a pointer moves the floor; the watchdog removes");
    assert_eq!(db.wal_status().removable_raft_segments, 5);
    assert_eq!(db.wal_watchdog_step().unwrap().remove_below, Some(4));
    let status = db.wal_status();
    assert_eq!((status.auto_gc_runs, status.auto_gc_removed, status.segments_removed), (1, 3, 3));
    assert_eq!(status.auto_gc_last_unix, 7000);
    assert_eq!((files(&fs)[0], first(&db)), (4, 4));
    assert_eq!(db.wal_watchdog_step().unwrap().remove_below, Some(6));
    // Never above the pointer.
    point(&db, 1, Position { segment: 7, offset: 64 });
    let decision = db.wal_watchdog_step().unwrap();
    assert_eq!((decision.removable, decision.remove_below), (1, None), "below the minimum");
    assert_eq!(first(&db), 6);
    let status = db.wal_status();
    assert_eq!((status.auto_gc_runs, status.auto_gc_removed), (2, 5));
}

#[test]
fn never_above_the_flush_floor() {
    let fs = MemFs::new();
    let db = open_with(&fs, options());
    db.set(b"unflushed", b"value").unwrap();
    fill_to(&db, 2);
    db.set(b"in the active memtable", b"value").unwrap();
    let needed = db.wal().active_segment();
    let mut at = append(&db, 1);
    // One more, and the memtable would be sealed for its sake.
    while db.wal().active_segment() < needed + 3 {
        at = db.wal().append_typed(RecordKind::RaftEntries, 1, &[1; 50_000], false).unwrap();
    }
    point(&db, 1, at);
    while db.wal_watchdog_step().unwrap().remove_below.is_some() {}
    assert_eq!(first(&db), needed);
    let db = open_with(&fs.kill_clone(), options());
    assert_eq!(db.get(b"in the active memtable").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn an_empty_memtable_does_not_pin_a_log_of_raft_records() {
    let fs = MemFs::new();
    let db = open_with(&fs, options());
    let mut at = append(&db, 1);
    while db.wal().active_segment() < 4 {
        at = db.wal().append_typed(RecordKind::RaftEntries, 1, &[1; 50_000], false).unwrap();
    }
    point(&db, 1, at);
    db.wal_watchdog_step().unwrap();
    assert_eq!(first(&db), at.segment);
    db.set(b"key", b"value").unwrap();
    let db = open_with(&fs.kill_clone(), options());
    assert_eq!(db.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn what_was_left_below_the_floor_goes_with_a_close_or_an_open() {
    let fs = MemFs::new();
    let db = open_with(&fs, options());
    fill_to(&db, 5);
    point(&db, 1, Position { segment: 4, offset: 64 });
    assert_eq!(files(&fs)[0], 1);
    let killed = fs.kill_clone();
    db.close().unwrap();
    assert_eq!(files(&fs)[0], 4);
    let db = open_with(&killed, options());
    assert_eq!((files(&killed)[0], first(&db)), (4, 4));
}

#[test]
fn status_says_what_the_log_holds_also_after_a_reopen() {
    let fs = MemFs::new();
    let db = open_with(&fs, Options { wal_typed_record_warn_ratio: 0.5, ..options() });
    let wal = db.wal();
    for kind in [RecordKind::RaftEntries, RecordKind::RaftEntries, RecordKind::RaftState] {
        wal.append_typed(kind, 3, b"x", false).unwrap();
    }
    wal.append_typed(RecordKind::RaftSnapshot, 4, b"x", false).unwrap();
    wal.append_typed(RecordKind::Other(128), 4, b"x", false).unwrap();
    db.set(b"key", b"value").unwrap();
    let check = |status: WalStatus| {
        let counts = status.record_counts;
        assert_eq!((counts.entries, counts.raft_entries), (1, 2));
        assert_eq!((counts.raft_states, counts.raft_snapshots, counts.other), (1, 1, 1));
        assert_eq!(status.typed_record_ratio, 4.0 / 6.0);
        assert!(status.typed_record_warning);
        assert!(status.typed_record_reason.contains("0.67"), "{}", status.typed_record_reason);
        assert_eq!((status.segments_with_raft_records, status.removable_raft_segments), (1, 0));
        status
    };
    let status = check(db.wal_status());
    assert_eq!((status.active_segment, status.segment_count), (1, 1));
    assert_eq!(status.active_bytes, wal.end().unwrap().offset);
    let again = Options { wal_typed_record_warn_ratio: 0.5, ..options() };
    check(open_with(&fs.kill_clone(), again.clone()).wal_status());
    drop((db, wal));
    let status = check(open_with(&fs, Options { read_only: true, ..again }).wal_status());
    assert_eq!((status.active_segment, status.segment_count), (1, 1));
    assert!(status.active_bytes > 64);
}

#[test]
fn groups_that_lag_are_counted_and_warned_of() {
    let fs = MemFs::new();
    let db = open_with(&fs, Options { raft_lag_warn_segments: 3, ..options() });
    let none = RaftStatus { lag_warn_threshold: 3, ..RaftStatus::default() };
    assert_eq!(db.raft_status(), none);
    append(&db, 7);
    fill_to(&db, 4);
    point(&db, 1, append(&db, 1));
    let status =
        RaftStatus { group_count: 2, min_log_segment: 1, max_log_segment: 4, max_lag_segments: 3, ..none };
    assert_eq!(db.raft_status(), status, "as far as it may");
    fill_to(&db, 5);
    let lagging = RaftStatus { lagging_groups: 1, max_lag_segments: 4, lag_warning: true, ..status };
    assert_eq!(db.raft_status(), lagging);
    assert_eq!(
        open_with(&fs.kill_clone(), Options { raft_lag_warn_segments: 3, ..options() }).raft_status(),
        lagging
    );
    db.wal().rewrite_forward(7).unwrap();
    let status = db.raft_status();
    assert_eq!((status.lagging_groups, status.min_log_segment, status.lag_warning), (0, 4, false));
    db.wal().remove_raft_group(7).unwrap();
    assert_eq!(db.raft_status().group_count, 1);
}

struct Passes(Mutex<Sender<()>>);

impl EventListener for Passes {
    fn on_event(&self, event: &Event) {
        if matches!(event, Event::StepDone { what, .. } if what == "log watchdog") {
            let _ = self.0.lock().unwrap().send(());
        }
    }
}

#[test]
fn the_thread_removes_by_itself() {
    let fs = MemFs::new();
    let (sender, passes) = channel();
    let listener = Some(Arc::new(Passes(Mutex::new(sender))) as Arc<dyn EventListener>);
    let options = Options { wal_auto_gc_interval: Duration::from_millis(1), listener, ..options() };
    let db = open_with(&fs, options);
    fill_to(&db, 4);
    point(&db, 1, db.wal().end().unwrap());
    passes.recv_timeout(Duration::from_secs(60)).expect("a pass that removes");
    assert!(db.wal_status().auto_gc_runs > 0);
    assert!(first(&db) > 1);
    db.close().unwrap();
}

#[test]
fn a_memtable_of_few_batches_does_not_keep_the_log_of_many_raft_records() {
    let db = open_with(&MemFs::new(), options());
    db.set(b"k", b"v").unwrap();
    let mut last = append(&db, 1);
    let wal = db.wal();
    while wal.active_segment() < 12 {
        last = wal.append_typed(RecordKind::RaftEntries, 1, &[7; 60_000], false).unwrap();
    }
    point(&db, 1, last);
    db.wait_idle().unwrap();
    while db.wal_watchdog_step().unwrap().remove_below.is_some() {}
    let kept = wal.active_segment() - first(&db);
    assert!(kept <= 6, "{kept} segments before the active one");
    assert_eq!(db.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
}
