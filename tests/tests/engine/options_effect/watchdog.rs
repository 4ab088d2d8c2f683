//! Effects of the options of the log's watchdog.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nokv::{Db, Event, EventListener, Options, Position, RaftPointer, RecordKind};
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::small;

pub const CASES: &[Case] = &[
    ("enable_wal_watchdog", enable_wal_watchdog),
    ("wal_auto_gc_interval", wal_auto_gc_interval),
    ("wal_auto_gc_min_removable", wal_auto_gc_min_removable),
    ("wal_auto_gc_max_batch", wal_auto_gc_max_batch),
    ("wal_typed_record_warn_ratio", wal_typed_record_warn_ratio),
    ("wal_typed_record_warn_segments", wal_typed_record_warn_segments),
    ("raft_lag_warn_segments", raft_lag_warn_segments),
];

/// A watchdog that looks only when it is told to.
fn by_hand() -> Options {
    Options { wal_auto_gc_interval: Duration::ZERO, ..small() }
}

fn append(db: &Db<MemFs>, bytes: usize) -> Position {
    db.wal().append_typed(RecordKind::RaftEntries, 1, &vec![7; bytes], false).unwrap()
}

fn point(db: &Db<MemFs>, at: Position) {
    let pointer = RaftPointer { group: 1, segment: at.segment, offset: at.offset, ..RaftPointer::default() };
    db.wal().set_raft_pointer(pointer).unwrap();
}

/// A database whose log has `segments` segments with records of a raft group that needs the last one only.
fn with_segments(options: Options, segments: u32) -> Db<MemFs> {
    let db = Db::open_on(MemFs::new(), options).unwrap();
    while db.wal().active_segment() < segments {
        append(&db, 50_000);
    }
    point(&db, append(&db, 10));
    db
}

fn count(db: &Db<MemFs>) -> usize {
    db.wal().segments().len()
}

fn enable_wal_watchdog() {
    let on = with_segments(by_hand(), 4);
    assert_eq!(count(&on), 4, "segments are left to the watchdog");
    assert!(on.wal_status().typed_record_warning);
    let off = with_segments(Options { enable_wal_watchdog: false, ..by_hand() }, 4);
    assert_eq!(count(&off), 1, "what moves the pointer releases the log");
    assert!(!off.wal_status().typed_record_warning);
}

struct Passes(Mutex<Sender<()>>);

impl EventListener for Passes {
    fn on_event(&self, event: &Event) {
        if matches!(event, Event::StepDone { what, .. } if what == "log watchdog") {
            let _ = self.0.lock().unwrap().send(());
        }
    }
}

fn wal_auto_gc_interval() {
    // Zero: only by hand.
    let db = with_segments(by_hand(), 4);
    db.wait_idle().unwrap();
    assert_eq!((count(&db), db.wal_status().auto_gc_runs), (4, 0));
    db.wal_watchdog_step().unwrap();
    assert_eq!((count(&db), db.wal_status().auto_gc_runs), (1, 1));
    // Else by itself.
    let (sender, passes) = channel();
    let listener = Some(Arc::new(Passes(Mutex::new(sender))) as Arc<dyn EventListener>);
    let options = Options { wal_auto_gc_interval: Duration::from_millis(2), listener, ..small() };
    let db = with_segments(options, 4);
    passes.recv_timeout(Duration::from_secs(60)).expect("a pass");
    assert!(db.wal_status().auto_gc_runs > 0);
}

fn wal_auto_gc_min_removable() {
    for (min, removed) in [(0, 3), (3, 3), (4, 0)] {
        let db = with_segments(Options { wal_auto_gc_min_removable: min, ..by_hand() }, 4);
        db.wal_watchdog_step().unwrap();
        assert_eq!(db.wal_status().auto_gc_removed, removed, "from {min} on");
    }
}

fn wal_auto_gc_max_batch() {
    for (most, removed) in [(0, 4), (1, 1), (2, 2), (100, 6)] {
        let db = with_segments(Options { wal_auto_gc_max_batch: most, ..by_hand() }, 7);
        db.wal_watchdog_step().unwrap();
        assert_eq!(db.wal_status().auto_gc_removed, removed, "at most {most}");
    }
}

fn wal_typed_record_warn_ratio() {
    for (ratio, warns) in [(0.0, false), (0.5, true), (0.51, false)] {
        let options =
            Options { wal_typed_record_warn_ratio: ratio, wal_typed_record_warn_segments: 0, ..by_hand() };
        let db = Db::open_on(MemFs::new(), options).unwrap();
        append(&db, 1);
        db.set(b"key", b"value").unwrap();
        let status = db.wal_status();
        assert_eq!((status.typed_record_ratio, status.typed_record_warning), (0.5, warns), "{ratio}");
        assert_eq!(status.typed_record_reason.is_empty(), !warns);
    }
}

fn wal_typed_record_warn_segments() {
    for (most, warns) in [(0, false), (2, true), (3, false)] {
        let options =
            Options { wal_typed_record_warn_ratio: 0.0, wal_typed_record_warn_segments: most, ..by_hand() };
        let status = with_segments(options, 3).wal_status();
        assert_eq!((status.segments_with_raft_records, status.typed_record_warning), (3, warns), "{most}");
    }
}

fn raft_lag_warn_segments() {
    for (most, warns) in [(0, false), (2, true), (3, false)] {
        let db = Db::open_on(MemFs::new(), Options { raft_lag_warn_segments: most, ..by_hand() }).unwrap();
        while db.wal().active_segment() < 4 {
            append(&db, 50_000);
        }
        let status = db.raft_status();
        assert_eq!((status.max_lag_segments, status.lag_warning), (3, warns), "{most}");
        assert_eq!(status.lag_warn_threshold, most);
    }
}
