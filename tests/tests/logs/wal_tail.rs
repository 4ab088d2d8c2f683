//! Readers that follow a log: in this process by waiting, in another by looking at the files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nokv::wal_tail::{FileTail, LogWatch, TailReader, Tailed};
use nokv_core::Error;
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_core::wal::{Log, LogOptions, Position, Record};
use nokv_vfs_mem::MemFs;

fn options() -> LogOptions {
    LogOptions { segment_bytes: 4096, ..LogOptions::default() }
}

fn payload(i: u64) -> Vec<u8> {
    (0..(i * 37) % 900).map(|b| (b * 7 + i) as u8).collect()
}

/// A log that tells the watch, and counts how often it does.
fn watched(fs: &MemFs, options: LogOptions) -> (Log<MemFs>, Arc<LogWatch>) {
    let watch = LogWatch::new();
    (Log::open(fs.clone(), "log", watch.told_by(options)).unwrap(), watch)
}

fn index(found: Tailed<'_>) -> u64 {
    match found {
        Tailed::Record(record) => {
            assert_eq!(record.payload, payload(record.log_index), "record {}", record.log_index);
            record.log_index
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_follower_waits_for_each_record_over_segments_and_ends_only_after_close() {
    let (log, watch) = watched(&MemFs::new(), options());
    let seen = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut tail = TailReader::new(log.reader(), &watch);
            loop {
                match tail.next(None).unwrap() {
                    Tailed::End => return,
                    found => seen.store(index(found), Ordering::SeqCst),
                }
            }
        });
        for i in 1..=200 {
            log.append(&payload(i), i).unwrap();
            // Lock step: the next is appended only when this one was seen, so each wait must end.
            while seen.load(Ordering::SeqCst) != i {
                std::thread::yield_now();
            }
        }
        assert!(!follower.is_finished(), "it ended before the close");
        log.close().unwrap();
        follower.join().unwrap();
    });
    assert!(log.segments().len() > 10);
}

#[test]
fn many_followers_see_everything_that_many_threads_append() {
    let (log, watch) = watched(&MemFs::new(), options());
    let finished = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let followers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut tail = TailReader::new(log.reader(), &watch);
                    let mut count = 0;
                    while let Tailed::Record(_) = tail.next(None).unwrap() {
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..3 {
            scope.spawn(|| {
                for i in 0..100 {
                    log.append(&payload(i), 0).unwrap();
                }
                if finished.fetch_add(1, Ordering::SeqCst) == 2 {
                    log.close().unwrap();
                }
            });
        }
        for follower in followers {
            assert_eq!(follower.join().unwrap(), 300);
        }
    });
}

#[test]
fn at_the_end_of_an_active_log_there_is_no_new_data() {
    let (log, watch) = watched(&MemFs::new(), options());
    let mut tail = TailReader::new(log.reader(), &watch);
    for wait in [Duration::ZERO, Duration::from_millis(1)] {
        assert_eq!(tail.next(Some(wait)).unwrap(), Tailed::NoNewData);
    }
    let first = log.append(&payload(1), 1).unwrap();
    log.append(&payload(2), 2).unwrap();
    assert_eq!(index(tail.next(Some(Duration::ZERO)).unwrap()), 1);
    assert_eq!(index(tail.next(Some(Duration::MAX)).unwrap()), 2);
    assert_eq!(tail.next(Some(Duration::ZERO)).unwrap(), Tailed::NoNewData);
    // From a place in the middle.
    let mut after = TailReader::new(log.reader_after(first).unwrap(), &watch);
    assert_eq!(index(after.next(None).unwrap()), 2);
    log.close().unwrap();
    assert_eq!(tail.next(None).unwrap(), Tailed::End);
    assert_eq!(after.next(None).unwrap(), Tailed::End);
}

#[test]
fn a_commit_wakes_a_follower_that_may_not_pass_it() {
    let (log, watch) = watched(&MemFs::new(), LogOptions { commit_check: true, ..options() });
    let position = log.append(&payload(1), 1).unwrap();
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| index(TailReader::new(log.reader(), &watch).next(None).unwrap()));
        let mut early = TailReader::new(log.reader(), &watch);
        assert_eq!(early.next(Some(Duration::ZERO)).unwrap(), Tailed::NoNewData);
        log.commit(position);
        assert_eq!(follower.join().unwrap(), 1);
    });
}

#[test]
fn the_hook_runs_without_a_lock_and_may_call_back() {
    let fs = MemFs::new();
    let cell: Arc<std::sync::OnceLock<Log<MemFs>>> = Arc::default();
    let (calls, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(vec![])));
    let hook = {
        let (cell, calls, ends) = (Arc::clone(&cell), Arc::clone(&calls), Arc::clone(&ends));
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
            if let Some(log) = cell.get() {
                ends.lock().unwrap().push(log.segments().last().unwrap().end);
                log.sync().ok();
            }
        }
    };
    let options = LogOptions { on_change: Some(Arc::new(hook)), ..options() };
    let log = cell.get_or_init(|| Log::open(fs, "log", options).unwrap());
    log.append(b"one", 0).unwrap();
    log.append_batch(&[b"two", b"three"], 0).unwrap();
    log.close().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 3, "an append, a batch, a close");
    assert_eq!(*ends.lock().unwrap(), [64 + 24, 64 + 72, 64 + 72], "it is told after it is done");
}

fn polled(record: Option<Record<'_>>) -> Option<u64> {
    record.map(|r| {
        assert_eq!(r.payload, payload(r.log_index), "record {}", r.log_index);
        r.log_index
    })
}

#[test]
fn a_file_tail_follows_over_segments_that_are_made_ahead_of_time() {
    let fs = MemFs::new();
    fs.create_dir_all("log").unwrap();
    let mut tail = FileTail::new(fs.clone(), "log", ".wal", None).unwrap();
    assert_eq!(polled(tail.poll().unwrap()), None, "no segment is there yet");
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    for i in 1..=120 {
        assert_eq!(polled(tail.poll().unwrap()), None);
        if i % 3 == 0 {
            log.prepare_next().unwrap();
        }
        if i % 10 == 0 {
            log.rotate().unwrap();
        }
        if i % 4 == 0 {
            log.sync().unwrap();
        }
        log.append(&payload(i), i).unwrap();
        assert_eq!(polled(tail.poll().unwrap()), Some(i));
    }
    log.close().unwrap();
    drop(log);
    assert_eq!(polled(tail.poll().unwrap()), None);
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    log.append(&payload(121), 121).unwrap();
    assert_eq!(polled(tail.poll().unwrap()), Some(121), "another process went on");
}

#[test]
fn a_file_tail_starts_behind_a_record_and_nowhere_else() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    let positions: Vec<_> = (1..=30).map(|i| log.append(&payload(i), i).unwrap()).collect();
    for (position, i) in positions.iter().zip(1u64..) {
        let mut tail = FileTail::new(fs.clone(), "log", ".wal", Some(*position)).unwrap();
        assert_eq!(polled(tail.poll().unwrap()), (i < 30).then_some(i + 1));
    }
    let inside = Position { offset: positions[5].offset + 8, ..positions[5] };
    let behind = Position { segment: 99, offset: 64 };
    let end = Position { offset: log.segments().last().unwrap().end, ..positions[29] };
    for none in [inside, behind, end, Position { segment: 1, offset: 8 }] {
        let result = FileTail::new(fs.clone(), "log", ".wal", Some(none)).map(|_| ());
        assert!(matches!(result, Err(Error::InvalidArgument(_))), "{none}: {result:?}");
    }
}

#[test]
fn a_store_under_way_is_no_news_and_damage_in_a_finished_segment_is_corrupt() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    log.append(&payload(1), 1).unwrap();
    let second = log.append(&payload(2), 2).unwrap();
    let path = "log/000000001.wal";
    let half = fs.kill_clone();
    let file = half.open(path, OpenMode::ReadWrite).unwrap();
    let mut whole = vec![0; 40];
    file.read_exact_at(&mut whole, second.offset + 30).unwrap();
    file.write_at(&[0; 40], second.offset + 30).unwrap();
    let mut tail = FileTail::new(half.clone(), "log", ".wal", None).unwrap();
    assert_eq!(polled(tail.poll().unwrap()), Some(1));
    for _ in 0..3 {
        assert_eq!(polled(tail.poll().unwrap()), None);
    }
    file.write_at(&whole, second.offset + 30).unwrap();
    assert_eq!(polled(tail.poll().unwrap()), Some(2), "the store ended");

    // The same in a segment that is followed by another: sealed, and not sealed yet.
    log.rotate().unwrap();
    log.append(&payload(3), 3).unwrap();
    let unsealed = fs.kill_clone();
    log.seal().unwrap();
    for (image, what) in [(unsealed, "unsealed"), (fs.kill_clone(), "sealed")] {
        image.open(path, OpenMode::ReadWrite).unwrap().write_at(&[0xaa; 8], second.offset + 30).unwrap();
        let mut tail = FileTail::new(image, "log", ".wal", None).unwrap();
        assert_eq!(polled(tail.poll().unwrap()), Some(1));
        let result = tail.poll().map(|_| ());
        assert!(
            matches!(&result, Err(Error::Corrupt { file, offset, .. }) if file == path && *offset == second.offset),
            "{what}: {result:?}"
        );
    }
}

#[test]
fn a_file_tail_whose_segment_was_removed_is_told() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    for i in 1..=40 {
        log.append(&payload(i), i).unwrap();
    }
    let mut tail = FileTail::new(fs, "log", ".wal", None).unwrap();
    assert_eq!(polled(tail.poll().unwrap()), Some(1));
    log.release_below(4).unwrap();
    // The file that it has open is read to its end.
    let result = loop {
        match tail.poll() {
            Ok(Some(_)) => {}
            other => break other.map(|r| r.is_some()),
        }
    };
    assert!(matches!(result, Err(Error::InvalidArgument(_))), "{result:?}");
}
