//! The record log: ids, sizes, both cuts, iterators over them, crashes at every call, and a model.

use nokv_core::Error;
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_core::wal::record_log::{MAX_RECORD_DATA_LEN, Record, RecordIter};
use nokv_core::wal::{Log, LogOptions, RecordLog};
use nokv_vfs_mem::MemFs;
use nokv_vfs_std::StdFs;
use proptest::prelude::*;

/// Room for one record of the largest size.
const SEGMENT_BYTES: u64 = 64 + 1_048_576 + 16;
/// Four of them fill a segment.
const QUARTER: usize = 262_000;

fn options() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() }
}

fn open(fs: &MemFs) -> Result<RecordLog<MemFs>, Error> {
    RecordLog::open(fs.clone(), "r", options())
}

fn data(id: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u64 * 7).wrapping_add(id.wrapping_mul(13)) as u8).collect()
}

fn append(log: &RecordLog<impl Vfs>, ids: std::ops::RangeInclusive<u64>, len: usize) {
    for id in ids {
        log.append(&[Record { id, data: &data(id, len) }]).unwrap();
    }
}

fn drain(iter: &mut RecordIter<'_, impl Vfs>) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let mut seen = vec![];
    while let Some(record) = iter.next()? {
        seen.push((record.id, record.data.to_vec()));
    }
    Ok(seen)
}

fn ids(log: &RecordLog<impl Vfs>, start: u64) -> Vec<u64> {
    drain(&mut log.iter(start)).unwrap().into_iter().map(|(id, _)| id).collect()
}

fn is_removed(result: Result<Option<Record<'_>>, Error>, expected: u64) -> bool {
    matches!(result, Err(Error::RemovedUnderIterator { id }) if id == expected)
}

#[test]
fn an_empty_log_has_no_ids_and_its_first_record_any_id_from_1_on() {
    for first in [1, 7, u64::MAX - 1] {
        let log = open(&MemFs::new()).unwrap();
        assert_eq!((log.first_id(), log.last_id()), (None, None));
        assert!(ids(&log, 0).is_empty());
        log.append(&[]).unwrap();
        append(&log, first..=first, 3);
        assert_eq!((log.first_id(), log.last_id()), (Some(first), Some(first)));
    }
    let log = open(&MemFs::new()).unwrap();
    let result = log.append(&[Record { id: 0, data: b"x" }]);
    assert_eq!(result, Err(Error::NotSequential { expected: 1, found: 0 }));
    let result = log.append(&[Record { id: u64::MAX, data: b"x" }]);
    assert!(matches!(result, Err(Error::InvalidArgument(_))), "no id could follow: {result:?}");
    assert_eq!(log.last_id(), None);
}

#[test]
fn ids_that_do_not_follow_are_refused_and_nothing_is_written() {
    let fs = MemFs::new();
    let log = open(&fs).unwrap();
    append(&log, 5..=9, 10);
    let before = fs.calls();
    let record = |id| Record { id, data: b"x" };
    for (records, expected, found) in [
        (vec![record(9)], 10, 9),
        (vec![record(11)], 10, 11),
        (vec![record(0)], 10, 0),
        (vec![record(10), record(12)], 11, 12),
        (vec![record(10), record(11), record(11)], 12, 11),
        (vec![record(10), record(9)], 11, 9),
    ] {
        let result = log.append(&records);
        assert_eq!(result, Err(Error::NotSequential { expected, found }));
    }
    assert_eq!(fs.calls(), before, "something was written");
    assert_eq!(ids(&log, 0), [5, 6, 7, 8, 9]);
    log.append(&[record(10), record(11)]).unwrap();
    assert_eq!(log.last_id(), Some(11));
}

#[test]
fn a_record_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    assert_eq!(MAX_RECORD_DATA_LEN, 1_048_576);
    let fs = MemFs::new();
    let log = open(&fs).unwrap();
    let largest = data(1, MAX_RECORD_DATA_LEN);
    log.append(&[Record { id: 1, data: &largest }]).unwrap();
    let more = data(2, MAX_RECORD_DATA_LEN + 1);
    let before = fs.calls();
    // The good one in front of it is not written either.
    let result = log.append(&[Record { id: 2, data: b"good" }, Record { id: 3, data: &more }]);
    assert_eq!(result, Err(Error::RecordTooBig { bytes: 1_048_577, limit: 1_048_576 }));
    assert_eq!(fs.calls(), before, "something was written");
    log.append(&[Record { id: 2, data: b"" }]).unwrap();
    drop(log);
    let seen = drain(&mut open(&fs).unwrap().iter(0)).unwrap();
    assert!(seen == [(1, largest), (2, vec![])]);
}

#[test]
fn segments_too_small_for_the_largest_record_are_refused() {
    let small = LogOptions { segment_bytes: SEGMENT_BYTES - 8, ..LogOptions::default() };
    let result = RecordLog::open(MemFs::new(), "r", small).map(|_| ());
    assert!(matches!(result, Err(Error::InvalidArgument(_))), "{result:?}");
    let read_only = LogOptions { read_only: true, ..options() };
    assert!(RecordLog::open(MemFs::new(), "r", read_only).is_err());
}

#[test]
fn iterating_from_a_missing_id_starts_at_the_next_one() {
    let log = open(&MemFs::new()).unwrap();
    append(&log, 10..=20, QUARTER);
    assert_eq!(ids(&log, 0), (10..=20).collect::<Vec<_>>());
    assert_eq!(ids(&log, 3), (10..=20).collect::<Vec<_>>());
    assert_eq!(ids(&log, 17), [17, 18, 19, 20]);
    let mut later = log.iter(23);
    assert_eq!(later.next(), Ok(None));
    append(&log, 21..=22, 5);
    assert_eq!(later.next(), Ok(None));
    append(&log, 23..=24, 5);
    let seen: Vec<u64> = drain(&mut later).unwrap().into_iter().map(|r| r.0).collect();
    assert_eq!(seen, [23, 24]);
}

#[test]
fn appending_while_iterating_is_safe_and_seen() {
    let log = open(&MemFs::new()).unwrap();
    let mut iter = log.iter(0);
    assert_eq!(iter.next(), Ok(None));
    for id in 1..=15 {
        append(&log, id..=id, QUARTER);
        let record = iter.next().unwrap().unwrap();
        assert!((record.id, record.data) == (id, &data(id, QUARTER)[..]));
        assert_eq!(iter.next(), Ok(None));
    }
    assert!(log.log().segments().len() > 3, "it went over segments");
    // From another thread: what is seen is whole and in order, whenever the reader comes.
    std::thread::scope(|scope| {
        scope.spawn(|| append(&log, 16..=60, 30_000));
        let mut next = 16;
        while next <= 60 {
            match iter.next().unwrap() {
                Some(record) => {
                    assert!((record.id, record.data) == (next, &data(next, 30_000)[..]));
                    next += 1;
                }
                None => std::thread::yield_now(),
            }
        }
    });
}

#[test]
fn appends_of_many_threads_that_race_for_an_id_give_it_to_one() {
    let log = open(&MemFs::new()).unwrap();
    let won: Vec<u64> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let ids = 1..=40u64;
                    ids.filter(|id| log.append(&[Record { id: *id, data: b"x" }]).is_ok()).count() as u64
                })
            })
            .collect();
        racers.into_iter().map(|r| r.join().unwrap()).collect()
    });
    let last = log.last_id().unwrap_or(0);
    assert_eq!(won.iter().sum::<u64>(), last, "an id was given twice, or lost");
    assert_eq!(ids(&log, 0), (1..=last).collect::<Vec<_>>());
}

#[test]
fn truncate_removes_what_is_behind_and_the_ids_go_on_from_there() {
    let fs = MemFs::new();
    let log = open(&fs).unwrap();
    append(&log, 1..=12, QUARTER);
    log.truncate(20).unwrap();
    log.truncate(12).unwrap();
    assert_eq!(log.last_id(), Some(12));
    log.truncate(6).unwrap();
    assert_eq!(log.last_id(), Some(6));
    let result = log.append(&[Record { id: 13, data: b"x" }]);
    assert_eq!(result, Err(Error::NotSequential { expected: 7, found: 13 }));
    append(&log, 7..=8, 5);
    drop(log);
    let log = open(&fs).unwrap();
    let mut iter = log.iter(6);
    let seen = drain(&mut iter).unwrap();
    assert!(seen == [(6, data(6, QUARTER)), (7, data(7, 5)), (8, data(8, 5))], "old records came back");
}

#[test]
fn a_log_truncated_to_nothing_takes_any_id() {
    for keep in [0, 3] {
        let fs = MemFs::new();
        let log = open(&fs).unwrap();
        append(&log, 4..=12, QUARTER);
        log.truncate(keep).unwrap();
        assert_eq!((log.first_id(), log.last_id()), (None, None));
        append(&log, 100..=101, 5);
        drop(log);
        assert_eq!(ids(&open(&fs).unwrap(), 0), [100, 101]);
    }
}

#[test]
fn truncate_under_an_iterator_is_told_when_it_moves() {
    let log = open(&MemFs::new()).unwrap();
    append(&log, 1..=12, QUARTER);
    let walk = |steps: u64| {
        let mut iter = log.iter(1);
        for id in 1..=steps {
            assert_eq!(iter.next().unwrap().unwrap().id, id);
        }
        iter
    };
    let (mut before, mut at, mut behind, mut end) = (walk(2), walk(5), walk(7), walk(12));
    let mut ahead = log.iter(14);
    log.truncate(5).unwrap();
    for (iter, next) in [(&mut behind, 8), (&mut end, 13)] {
        assert!(is_removed(iter.next(), next), "{next}");
        append(&log, log.last_id().unwrap() + 1..=log.last_id().unwrap() + 1, 9);
        assert!(is_removed(iter.next(), next), "{next} stays removed");
    }
    let seen: Vec<u64> = drain(&mut before).unwrap().into_iter().map(|r| r.0).collect();
    assert_eq!(seen, [3, 4, 5, 6, 7]);
    let seen = drain(&mut at).unwrap();
    assert!(seen == [(6, data(6, 9)), (7, data(7, 9))], "the new records, not the old ones");
    assert_eq!(ahead.next(), Ok(None));
    append(&log, 8..=14, 9);
    assert_eq!(ahead.next().unwrap().unwrap().id, 14);
}

#[test]
fn trim_removes_whole_segments_and_never_what_is_needed() {
    let fs = MemFs::new();
    let log = open(&fs).unwrap();
    append(&log, 1..=12, QUARTER);
    for (discard, allowed) in [(0, 1..=1), (3, 1..=4), (9, 5..=10), (u64::MAX, 5..=12)] {
        log.trim(discard).unwrap();
        let first = log.first_id().unwrap();
        assert!(allowed.contains(&first), "trim({discard}) left {first}");
        assert_eq!(ids(&log, 0), (first..=12).collect::<Vec<_>>());
    }
    append(&log, 13..=13, 5);
    drop(log);
    let log = open(&fs).unwrap();
    assert_eq!(log.last_id(), Some(13));
    assert!(log.first_id() > Some(4), "trimmed records came back");
}

#[test]
fn trim_under_an_iterator_is_told_when_it_moves() {
    let log = open(&MemFs::new()).unwrap();
    append(&log, 1..=12, QUARTER);
    let (mut lost, mut fine) = (log.iter(2), log.iter(1));
    assert_eq!(lost.next().unwrap().unwrap().id, 2);
    for id in 1..=11 {
        assert_eq!(fine.next().unwrap().unwrap().id, id);
    }
    log.trim(11).unwrap();
    assert!(log.first_id() > Some(3));
    assert!(is_removed(lost.next(), 3));
    assert!(is_removed(lost.next(), 3));
    assert_eq!(fine.next().unwrap().unwrap().id, 12);
}

#[test]
fn cuts_while_another_thread_iterates_give_whole_records_or_the_error() {
    let log = open(&MemFs::new()).unwrap();
    append(&log, 1..=8, QUARTER);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..30u64 {
                let last = log.last_id().unwrap_or(0);
                log.truncate(last.saturating_sub(2 + round % 3)).unwrap();
                let from = log.last_id().unwrap_or(0) + 1;
                append(&log, from..=from + 3, 50_000 + round as usize);
                log.trim(from.saturating_sub(12)).unwrap();
            }
        });
        let mut steps = 0u64;
        while !writer.is_finished() || steps == 0 {
            let mut iter = log.iter(0);
            let mut previous = None;
            loop {
                match iter.next() {
                    Ok(Some(record)) => {
                        assert!(previous.is_none_or(|p| p + 1 == record.id), "{previous:?} {}", record.id);
                        assert!(record.data == data(record.id, record.data.len()), "record {}", record.id);
                        previous = Some(record.id);
                        steps += 1;
                    }
                    Ok(None) | Err(Error::RemovedUnderIterator { .. }) => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
    });
}

#[test]
fn damage_is_corrupt_where_it_is_read() {
    let fs = MemFs::new();
    let log = open(&fs).unwrap();
    append(&log, 1..=6, QUARTER);
    log.close().unwrap();
    assert!(matches!(log.append(&[Record { id: 7, data: b"" }]), Err(Error::Closed)));
    drop(log);
    let file = fs.open("r/000000001.wal", OpenMode::ReadWrite).unwrap();
    file.write_at(&[0xaa], 64 + 16 + QUARTER as u64 + 5000).unwrap();
    let log = open(&fs).unwrap();
    let mut iter = log.iter(1);
    assert_eq!(iter.next().unwrap().unwrap().id, 1);
    for _ in 0..2 {
        let found = iter.next();
        assert!(matches!(&found, Err(Error::Corrupt { file, .. }) if file == "r/000000001.wal"), "{found:?}");
    }
    assert_eq!(ids(&log, 3), [3, 4, 5, 6]);
}

#[test]
fn a_log_whose_ids_do_not_go_on_is_refused() {
    for second in [0, 9] {
        let fs = MemFs::new();
        let log = Log::open(fs.clone(), "r", options()).unwrap();
        log.append(b"a", 5).unwrap();
        log.append(b"b", second).unwrap();
        log.close().unwrap();
        drop(log);
        let result = open(&fs).map(|_| ());
        assert!(
            matches!(&result, Err(Error::Corrupt { file, offset: 44, .. }) if file == "r/000000002.wal"),
            "{result:?}"
        );
    }
}

#[test]
fn a_log_of_the_original_opens_and_goes_on() {
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/walfs/rotated");
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let log = RecordLog::open(StdFs::new(), dir.path().to_str().unwrap(), options()).unwrap();
    assert_eq!(log.first_id(), Some(100));
    let last = log.last_id().unwrap();
    append(&log, last + 1..=last + 1, MAX_RECORD_DATA_LEN);
    assert_eq!(ids(&log, 0), (100..=last + 1).collect::<Vec<_>>());
}

#[test]
fn a_crash_at_any_call_keeps_appends_cuts_whole_and_a_batch_a_prefix() {
    assert!(nokv_tests::record_log::run_all(nokv_tests::net::Scale::Slice) > 500);
}

#[test]
fn a_full_disk_leaves_earlier_records_and_the_log_usable() {
    let fs = MemFs::new();
    let log = open(&fs).unwrap();
    append(&log, 1..=3, QUARTER);
    fs.set_capacity(fs.used());
    let big = data(0, QUARTER);
    let records: Vec<_> = (4..=8).map(|id| Record { id, data: &big }).collect();
    let e = log.append(&records).unwrap_err();
    assert!(e.is_no_space(), "{e}");
    let last = log.last_id().unwrap();
    assert!((3..8).contains(&last), "{last}");
    fs.set_capacity(u64::MAX);
    append(&log, last + 1..=last + 2, 10);
    assert_eq!(ids(&log, 0), (1..=last + 2).collect::<Vec<_>>());
}

#[test]
fn an_iterator_that_was_trimmed_away_stays_so_when_the_log_is_emptied() {
    let log = open(&MemFs::new()).unwrap();
    append(&log, 1..=8, QUARTER);
    let mut iter = log.iter(1);
    assert!(iter.next().unwrap().is_some());
    log.trim(7).unwrap();
    assert!(is_removed(iter.next(), 2));
    log.truncate(1).unwrap();
    assert_eq!(log.first_id(), None);
    assert!(is_removed(iter.next(), 2));
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    AppendWrong(u64),
    Truncate(u64),
    Trim(u64),
    Iterate(u64),
    Walk,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![3 => 0usize..100, 2 => 200_000usize..400_000];
    let step = prop_oneof![
        6 => prop::collection::vec(len, 0..4).prop_map(Step::Append),
        1 => (0u64..40).prop_map(Step::AppendWrong),
        2 => (0u64..40).prop_map(Step::Truncate),
        2 => (0u64..40).prop_map(Step::Trim),
        2 => (0u64..40).prop_map(Step::Iterate),
        3 => Just(Step::Walk),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

/// Runs `steps` of one life of the log: up to a reopen or the end. Gives how many it took.
fn live(fs: &MemFs, model: &mut Vec<(u64, usize)>, steps: &[Step]) -> usize {
    let log = open(fs).unwrap();
    // An iterator that lives through everything, and what it gives next.
    let mut walker = log.iter(0);
    let mut walker_next: Option<u64> = model.first().map(|r| r.0);
    let mut walker_lost = false;
    for (at, step) in steps.iter().enumerate() {
        let last = model.last().map(|r| r.0);
        match step {
            Step::Append(lens) => {
                let first = last.unwrap_or(at as u64 % 5) + 1;
                let new: Vec<_> = (first..).zip(lens.iter().copied()).collect();
                let bytes: Vec<_> = new.iter().map(|(id, len)| data(*id, *len)).collect();
                let records: Vec<_> =
                    new.iter().zip(&bytes).map(|((id, _), data)| Record { id: *id, data }).collect();
                log.append(&records).unwrap();
                model.extend(new);
            }
            Step::AppendWrong(id) => {
                if last.is_some_and(|last| last + 1 != *id) {
                    let result = log.append(&[Record { id: *id, data: b"x" }]);
                    assert!(matches!(result, Err(Error::NotSequential { .. })), "{result:?}");
                }
            }
            Step::Truncate(keep) => {
                log.truncate(*keep).unwrap();
                if let (Some(next), Some(last)) = (walker_next, last) {
                    walker_lost |= next > keep + 1 && next <= last + 1;
                }
                model.retain(|r| r.0 <= *keep);
            }
            Step::Trim(discard) => {
                log.trim(*discard).unwrap();
                let (first, now) = (model.first().map(|r| r.0), log.first_id());
                assert!(now >= first && now <= first.map(|f| f.max(discard + 1)), "{first:?} {now:?}");
                model.retain(|r| Some(r.0) >= now);
            }
            Step::Iterate(start) => {
                let seen = drain(&mut log.iter(*start)).unwrap();
                let expected: Vec<_> =
                    model.iter().filter(|r| r.0 >= *start).map(|(id, len)| (*id, data(*id, *len))).collect();
                assert!(seen == expected, "from {start}: {} of {}", seen.len(), expected.len());
            }
            Step::Walk => {
                let first = model.first().map(|r| r.0);
                walker_lost |= walker_next.is_some_and(|next| first.is_some_and(|first| next < first));
                let next = walker_next.or(first).filter(|n| model.iter().any(|r| r.0 == *n));
                match (walker.next(), walker_lost) {
                    (Err(Error::RemovedUnderIterator { .. }), true) => {}
                    (Ok(record), false) => {
                        assert_eq!(record.map(|r| r.id), next);
                        walker_next = next.map(|n| n + 1).or(walker_next);
                    }
                    (other, lost) => panic!("{other:?}, lost {lost}, expected {next:?}"),
                }
            }
            Step::Reopen => {
                return at + 1;
            }
        }
        assert_eq!(log.first_id(), model.first().map(|r| r.0));
        assert_eq!(log.last_id(), model.last().map(|r| r.0));
    }
    steps.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_history_gives_what_a_list_gives(steps in steps()) {
        let fs = MemFs::new();
        let mut model = vec![];
        let mut rest = &steps[..];
        while !rest.is_empty() {
            rest = &rest[live(&fs, &mut model, rest)..];
        }
    }
}
