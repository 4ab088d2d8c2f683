//! What meets in the general log: a look at it, while somebody truncates, releases, cleans or backs it up. The other
//! side acts inside a call of the file system, so each meeting is the same in every run.
#![allow(missing_docs)]

use std::cell::RefCell;
use std::sync::{Arc, Mutex, OnceLock};

use nokv_core::Error;
use nokv_core::vfs::IoErrorKind;
use nokv_core::wal::record_log::Record;
use nokv_core::wal::{Log, LogOptions, LogReader, Next, Position, RecordLog, Retention};
use nokv_vfs_mem::{FaultFs, MemFs, Op, Rule};

type Fs = FaultFs<MemFs>;

fn options() -> LogOptions {
    let retention = Retention { enabled: true, max_segments: 1, ..Retention::default() };
    LogOptions { segment_bytes: 1024, retention, ..LogOptions::default() }
}

fn payload(i: u64) -> Vec<u8> {
    vec![i as u8; 100 + (i % 5) as usize * 10]
}

/// Records 1 to `records`, one segment each, all but the last sealed.
fn one_a_segment(records: u64) -> (Fs, Arc<Log<Fs>>) {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    for i in 1..=records {
        log.rotate().unwrap();
        log.append(&payload(i), i).unwrap();
    }
    log.sync().unwrap();
    (fs, Arc::new(log))
}

/// Runs `act` once, before the first call of kind `op` on a path that ends in `path`.
fn before(fs: &Fs, op: Op, path: &'static str, act: impl FnOnce() + Send + 'static) {
    let act = Mutex::new(Some(act));
    fs.observe(move |called, at| {
        if called == op && at.ends_with(path) {
            let act = act.lock().unwrap().take();
            if let Some(act) = act {
                act();
            }
        }
    });
}

fn next_index(reader: &mut LogReader<'_, Fs>) -> Result<Option<u64>, Error> {
    Ok(match reader.next()? {
        Next::Record(record) => Some(record.log_index),
        Next::NoNewData | Next::End => None,
    })
}

#[test]
fn a_log_that_is_never_synced_seals_all_but_a_few_segments() {
    let fs = MemFs::new();
    let log = Log::open(fs, "log", options()).unwrap();
    (1..=300).for_each(|i| _ = log.append(&payload(i), i).unwrap());
    let open = || log.segments().iter().filter(|info| !info.sealed).count();
    assert!(log.segments().len() > 30 && open() <= 8, "{} open", open());
    for i in 301..=330 {
        log.append(&payload(i), i).unwrap();
        log.rotate().unwrap();
    }
    assert!(open() <= 8, "{} open", open());
}

#[test]
fn cleaning_removes_segments_of_a_log_that_was_never_synced() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    (1..=20).for_each(|i| _ = log.append(&payload(i), i).unwrap());
    assert!((2..=4).contains(&log.segments().len()));
    assert_eq!(log.clean_step(0, &|_| true).unwrap().removed.first(), Some(&1));
    assert_eq!(log.segments().len(), 1);
}

#[test]
fn a_closed_log_is_cleaned_too() {
    let (_, log) = one_a_segment(3);
    log.close().unwrap();
    assert_eq!(log.clean_step(0, &|_| true).unwrap().removed, [1, 2]);
}

#[test]
fn a_truncation_waits_for_the_backup_of_what_it_would_take() {
    for keep in [1, 2, 3] {
        let (fs, log) = one_a_segment(4);
        let answer = Arc::new(OnceLock::new());
        let (other, told) = (Arc::clone(&log), Arc::clone(&answer));
        before(&fs, Op::Create, "backup/000000001.wal.tmp", move || {
            told.set(other.truncate_after(keep)).unwrap();
        });
        let copies = log.backup_segments_after(0, "backup").unwrap();
        assert_eq!(copies.len(), 3, "keep {keep}");
        let told = answer.get().unwrap();
        assert!(
            matches!(told, Err(Error::ReadersBehind { segment: 3, readers: 1 })),
            "keep {keep}: {told:?}"
        );
        log.truncate_after(keep).unwrap();
        assert_eq!(log.index_bounds(), Some((1, keep)));
    }
}

#[test]
fn a_truncation_behind_what_is_backed_up_does_not_wait() {
    let (fs, log) = one_a_segment(4);
    log.append(&payload(5), 5).unwrap();
    let other = Arc::clone(&log);
    before(&fs, Op::Create, "backup/000000001.wal.tmp", move || _ = other.truncate_after(4).unwrap());
    assert_eq!(log.backup_segments_after(0, "backup").unwrap().len(), 3);
    assert_eq!(log.index_bounds(), Some((1, 4)));
}

#[test]
fn a_backup_that_comes_after_a_cleaning_copies_what_is_left() {
    let (fs, log) = one_a_segment(4);
    let other = Arc::clone(&log);
    before(&fs, Op::CreateDir, "backup", move || _ = other.release_below(3).unwrap());
    let copies = log.backup_segments_after(0, "backup").unwrap();
    assert_eq!(copies.into_keys().collect::<Vec<_>>(), [3]);
}

#[test]
fn a_reader_that_had_read_nothing_starts_at_the_new_first_segment() {
    for op in [Op::Open, Op::Read] {
        let (fs, log) = one_a_segment(4);
        let mut reader = log.reader();
        let other = Arc::clone(&log);
        before(&fs, op, "log/000000001.wal", move || _ = other.release_below(3).unwrap());
        let first = next_index(&mut reader).unwrap();
        // A file that was open already is read to its end.
        assert_eq!(first, Some(if op == Op::Open { 3 } else { 1 }));
        assert_eq!(next_index(&mut reader).unwrap_or(Some(3)), Some(if op == Op::Open { 4 } else { 3 }));
    }
}

#[test]
fn a_reader_that_starts_while_a_segment_goes_does_not_look_for_it() {
    for (op, path) in [(Op::Unlink, "log/000000001.wal"), (Op::SyncDir, "log")] {
        let (fs, log) = one_a_segment(4);
        let seen = Arc::new(OnceLock::new());
        let (other, told) = (Arc::clone(&log), Arc::clone(&seen));
        before(&fs, op, path, move || {
            let mut reader = other.reader();
            told.set((next_index(&mut reader), next_index(&mut reader))).unwrap();
        });
        log.clean_step(0, &|_| true).unwrap();
        assert_eq!(seen.get(), Some(&(Ok(Some(2)), Ok(Some(3)))), "{op:?}");
    }
}

#[test]
fn a_reader_that_comes_before_the_cleaning_decided_keeps_its_segment() {
    let (_, log) = one_a_segment(4);
    let held = RefCell::new(None);
    let cleaned = log.clean_step(0, &|segment| {
        *held.borrow_mut() = Some(log.reader_from(Position::start_of(segment)));
        true
    });
    assert_eq!(cleaned.unwrap().removed, [0; 0]);
    let mut reader = held.into_inner().unwrap();
    assert_eq!((next_index(&mut reader), next_index(&mut reader)), (Ok(Some(1)), Ok(Some(2))));
}

#[test]
fn a_failed_removal_hides_no_segment_from_later_readers() {
    let (fs, log) = one_a_segment(4);
    fs.add_rule(Rule::new(Op::Unlink, IoErrorKind::PermissionDenied).path("000000001.wal"));
    log.clean_step(0, &|_| true).unwrap_err();
    assert_eq!(next_index(&mut log.reader()), Ok(Some(1)));
}

#[test]
fn a_log_that_starts_again_after_a_cleaning_is_read_from_its_first_record() {
    let (_, log) = one_a_segment(4);
    log.clean_step(0, &|_| true).unwrap();
    log.truncate_after(0).unwrap();
    log.append(&payload(9), 9).unwrap();
    assert_eq!(next_index(&mut log.reader()), Ok(Some(9)));
}

#[test]
fn a_lookup_during_a_truncation_answers_for_the_log_before_or_behind_it() {
    let fs = FaultFs::new(MemFs::new());
    let options = LogOptions { log_index: false, ..options() };
    let log = Arc::new(Log::open(fs.clone(), "log", options).unwrap());
    (1..=30).for_each(|i| _ = log.append(&payload(i), i).unwrap());
    log.sync().unwrap();
    let other = Arc::clone(&log);
    before(&fs, Op::Open, "log/000000001.wal.idx", move || {
        other.truncate_after(2).unwrap();
        // Larger ones: the segment has fewer records than before.
        (3..=9).for_each(|i| _ = other.append(&[i as u8; 500], i).unwrap());
        other.sync().unwrap();
    });
    for i in (1..=9).rev() {
        let at = log.position_for_index(if i == 9 { 5 } else { i }).unwrap();
        let expected = if i < 3 { payload(i) } else { vec![if i == 9 { 5 } else { i as u8 }; 500] };
        assert_eq!(log.read(at).unwrap(), expected, "index {i}");
    }
    assert_eq!(log.position_for_index(10), Err(Error::IndexNotYet { index: 10, last: 9 }));
}

#[test]
fn an_iterator_that_looks_while_the_log_is_trimmed_says_so() {
    let fs = FaultFs::new(MemFs::new());
    let options = LogOptions { segment_bytes: 2 << 20, log_index: false, ..LogOptions::default() };
    let log = Arc::new(RecordLog::open(fs.clone(), "r", options).unwrap());
    let data = vec![7; 900_000];
    (1..=6).for_each(|id| log.append(&[Record { id, data: &data }]).unwrap());
    for (id, op, path) in [(1, Op::Open, "r/000000001.wal.idx"), (3, Op::Read, "r/000000002.wal.idx")] {
        let mut iter = log.iter(id);
        let other = Arc::clone(&log);
        before(&fs, op, path, move || other.trim(id + 1).unwrap());
        let next = iter.next();
        assert!(matches!(&next, Err(Error::RemovedUnderIterator { id: at }) if *at == id), "{id}: {next:?}");
    }
}

#[test]
fn a_truncation_that_may_have_been_decided_leaves_no_living_log_whatever_the_directory_is_called() {
    for dir in ["log", "log.tmp"] {
        let fs = FaultFs::new(MemFs::new());
        let log = Log::open(fs.clone(), dir, options()).unwrap();
        (1..=30).for_each(|i| _ = log.append(&payload(i), i).unwrap());
        log.sync().unwrap();
        fs.add_rule(Rule::new(Op::SyncDir, IoErrorKind::Other).path(dir));
        log.truncate_after(4).unwrap_err();
        // Else the next open would remove a record that was acknowledged.
        assert!(log.append(&payload(31), 31).is_err(), "{dir}");
        drop(log);
        let log = Log::open(fs.inner().clone(), dir, options()).unwrap();
        assert_eq!(log.index_bounds(), Some((1, 4)), "{dir}");
    }
}
