//! Appends, reads, syncs and failures of the value log; the dead-byte account.

use alloc::format;
use alloc::vec::Vec;

use nokv_formats::table_props::VlogLive;
use nokv_formats::vlog::SEGMENT_HEADER_BYTES;
use nokv_formats::{CfId, KeyRef, TableMeta, ValuePtr, Version};

use super::*;
use crate::error::{Error, Result};
use crate::manifest::testfs::TestFs;
use crate::manifest::{Edit, ManifestState};
use crate::sync::Arc;
use crate::vfs::{IoErrorKind, Vfs};

const OPTS: ValueLogOptions =
    ValueLogOptions { segment_bytes: 300, max_entries: 0, buckets: 4, hot_buckets: 1, open_files: 2 };
const CF: CfId = CfId(0);

fn state() -> ManifestState {
    let mut state = ManifestState::default();
    state.apply(&[Edit::Database { id: 5 }]).unwrap();
    state
}

fn open(fs: &TestFs) -> ValueLog<TestFs> {
    ValueLog::open(fs.clone(), "db", OPTS, false, &state(), false).unwrap()
}

fn value(n: usize) -> Vec<u8> {
    alloc::vec![n as u8; n * 7 % 120]
}

fn key(n: usize) -> Vec<u8> {
    format!("key{n}").into_bytes()
}

fn put(log: &ValueLog<TestFs>, n: usize) -> Result<ValuePtr> {
    log.append(CF, &key(n), Version(n as u64), &value(n), false)
}

fn get(log: &ValueLog<TestFs>, n: usize, ptr: &ValuePtr) -> Result<Vec<u8>> {
    log.read(ptr, KeyRef::new(CF, &key(n)), Version(n as u64))
}

#[test]
fn values_come_back_before_and_after_reopening_and_segments_rotate() {
    let fs = TestFs::new(true);
    let log = open(&fs);
    let ptrs: Vec<_> = (0..100).map(|n| put(&log, n).unwrap()).collect();
    let check = |log: &ValueLog<TestFs>| {
        for (n, ptr) in ptrs.iter().enumerate() {
            assert_eq!(get(log, n, ptr), Ok(value(n)));
        }
    };
    check(&log);
    assert!(ptrs.iter().all(|ptr| ptr.bucket >= 1), "bucket 0 is for hot keys");
    assert_eq!(log.append(CF, b"hot", Version::MAX, b"v", true).unwrap().bucket, 0);
    log.sync().unwrap();
    let segments = log.segments();
    assert!(segments.len() > 12);
    for s in &segments {
        assert!(s.head != s.settled);
        assert_eq!(fs.size(&segment_path("db", s.bucket, s.segment)), Ok(s.size));
    }
    let fs = fs.crash(false);
    let log = open(&fs);
    assert_eq!(fs.calls(), 0, "opening writes nothing");
    check(&log);
    // New appends go to new segments.
    let old: Vec<_> = log.segments().iter().map(|s| (s.bucket, s.segment)).collect();
    assert!(log.segments().iter().all(|s| !s.settled), "the process before may not have synced them");
    for n in 0..20 {
        let ptr = put(&log, n).unwrap();
        assert!(!old.contains(&(ptr.bucket, ptr.segment)));
    }
    log.sync().unwrap();
    assert!(log.segments().iter().all(|s| s.settled != s.head));
}

#[test]
fn a_synced_value_survives_a_crash_at_any_later_call_and_names_are_durable() {
    for stop in 0.. {
        let fs = TestFs::new(true);
        let log = open(&fs);
        fs.stop_at_call(stop);
        let mut synced = Vec::new();
        let mut pending = Vec::new();
        let mut run = || -> Result<()> {
            for n in 0..30 {
                pending.push((n, put(&log, n)?));
                if n % 4 == 3 {
                    log.sync()?;
                    synced.append(&mut pending);
                }
            }
            Ok(())
        };
        let result = run();
        let reopened = open(&fs.crash(false));
        for (n, ptr) in &synced {
            assert_eq!(get(&reopened, *n, ptr), Ok(value(*n)), "call {stop}");
        }
        if result.is_ok() {
            break;
        }
    }
}

#[test]
fn what_the_process_before_did_not_sync_is_synced_first() {
    let fs = TestFs::new(true);
    let ptr = put(&open(&fs), 9).unwrap();
    // Killed: the bytes are in the kernel. The next process syncs, then the power goes.
    let log = open(&fs);
    log.sync().unwrap();
    assert_eq!(get(&open(&fs.crash(false)), 9, &ptr), Ok(value(9)));
}

#[test]
fn a_full_disk_passes_and_its_hole_is_never_used_again() {
    let fs = TestFs::new(true);
    let log = open(&fs);
    let first = put(&log, 8).unwrap();
    fs.fail_call(fs.calls(), IoErrorKind::NoSpace);
    assert!(put(&log, 8).unwrap_err().is_no_space());
    let second = put(&log, 8).unwrap();
    assert_eq!((first.bucket, first.segment + 1), (second.bucket, second.segment));
    log.sync().unwrap();
    for s in log.segments() {
        assert_eq!(fs.size(&segment_path("db", s.bucket, s.segment)), Ok(s.size));
    }
    for log in [&log, &open(&fs.crash(false))] {
        assert_eq!(get(log, 8, &first), Ok(value(8)));
        assert_eq!(get(log, 8, &second), Ok(value(8)));
    }
    // At every call of the first append: directory, file, header, record.
    for fail in 0..4 {
        let fs = TestFs::new(true);
        let log = open(&fs);
        fs.fail_call(fail, IoErrorKind::NoSpace);
        assert!(put(&log, 1).unwrap_err().is_no_space(), "{fail}");
        let ptr = put(&log, 1).unwrap();
        log.sync().unwrap();
        assert_eq!(get(&open(&fs.crash(false)), 1, &ptr), Ok(value(1)));
    }
}

#[test]
fn after_a_failed_sync_or_write_nothing_more_is_taken() {
    for fail_the_write in [true, false] {
        let fs = TestFs::new(true);
        let log = open(&fs);
        let ptr = put(&log, 3).unwrap();
        fs.fail_call(fs.calls(), IoErrorKind::Other);
        let result = if fail_the_write { put(&log, 3).map(drop) } else { log.sync() };
        assert!(matches!(result, Err(Error::Io { .. })));
        assert!(matches!(put(&log, 4), Err(Error::ReadOnly(_))));
        assert!(matches!(log.sync(), Err(Error::ReadOnly(_))));
        assert_eq!(get(&log, 3, &ptr), Ok(value(3)), "reads go on");
    }
}

#[test]
fn damage_and_wrong_pointers_are_corrupt() {
    let fs = TestFs::new(true);
    let log = open(&fs);
    let ptr = put(&log, 13).unwrap();
    log.sync().unwrap();
    let path = segment_path("db", ptr.bucket, ptr.segment);
    let whole = fs.bytes(&path);
    let corrupt =
        |result: Result<Vec<u8>>| assert!(matches!(&result, Err(Error::Corrupt { .. })), "{result:?}");
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs.set_bytes(&path, bytes);
        corrupt(get(&open(&fs), 13, &ptr));
    }
    for cut in 0..whole.len() {
        fs.set_bytes(&path, whole[..cut].to_vec());
        corrupt(get(&open(&fs), 13, &ptr));
    }
    fs.set_bytes(&path, whole);
    let log = open(&fs);
    assert_eq!(get(&log, 13, &ptr), Ok(value(13)));
    corrupt(get(&log, 14, &ptr));
    corrupt(log.read(&ptr, KeyRef::new(CF, &key(13)), Version(14)));
    corrupt(log.read(&ptr, KeyRef::new(CfId(1), &key(13)), Version(13)));
    for wrong in [
        ValuePtr { offset: ptr.offset + 1, ..ptr },
        ValuePtr { offset: u64::MAX, ..ptr },
        ValuePtr { offset: 0, ..ptr },
        ValuePtr { value_len: 1 << 30, ..ptr },
        ValuePtr { value_len: ptr.value_len - 1, ..ptr },
        ValuePtr { segment: 77, ..ptr },
        ValuePtr { bucket: 900, ..ptr },
    ] {
        corrupt(get(&log, 13, &wrong));
    }
}

#[test]
fn a_named_segment_must_be_there_with_its_length() {
    let fs = TestFs::new(true);
    let log = open(&fs);
    let ptr = put(&log, 13).unwrap();
    log.seal_heads();
    log.sync().unwrap();
    let size = log.segments()[0].size;
    let open_with = |sealed, size, segment| {
        let mut state = state();
        state.apply(&[Edit::VlogSegment { bucket: ptr.bucket, segment, sealed, size }]).unwrap();
        ValueLog::open(fs.clone(), "db", OPTS, true, &state, false).map(drop)
    };
    assert_eq!(open_with(true, size, 1), Ok(()));
    assert_eq!(open_with(false, size - 1, 1), Ok(()));
    for (sealed, size, segment) in
        [(true, size - 1, 1), (true, size + 1, 1), (false, size + 1, 1), (true, size, 2)]
    {
        assert!(matches!(open_with(sealed, size, segment), Err(Error::Corrupt { .. })));
    }
}

#[test]
fn a_removed_segment_is_gone_and_its_number_stays_used() {
    let fs = TestFs::new(true);
    let log = open(&fs);
    let ptr = put(&log, 2).unwrap();
    assert!(matches!(log.remove_segment(ptr.bucket, ptr.segment), Err(Error::InvalidArgument(_))));
    log.seal_heads();
    log.sync().unwrap();
    log.remove_segment(ptr.bucket, ptr.segment).unwrap();
    log.remove_segment(ptr.bucket, ptr.segment).unwrap();
    assert!(fs.names().is_empty());
    assert!(matches!(get(&log, 2, &ptr), Err(Error::Corrupt { .. })));
    let mut state = state();
    state.apply(&[Edit::VlogHead { bucket: ptr.bucket, segment: 1 }]).unwrap();
    let log = ValueLog::open(fs, "db", OPTS, false, &state, true).unwrap();
    assert_eq!(put(&log, 2).unwrap().segment, 2);
}

#[test]
fn fewer_buckets_later_keep_the_old_values() {
    let fs = TestFs::new(true);
    let log = open(&fs);
    let ptrs: Vec<_> = (0..40).map(|n| put(&log, n).unwrap()).collect();
    let opts = ValueLogOptions { buckets: 1, hot_buckets: 0, ..OPTS };
    let log = ValueLog::open(fs, "db", opts, false, &state(), false).unwrap();
    for (n, ptr) in ptrs.iter().enumerate() {
        assert_eq!(get(&log, n, ptr), Ok(value(n)));
    }
    assert_eq!(put(&log, 1).unwrap().bucket, 0);
    log.sync().unwrap();
}

#[test]
fn dead_bytes_are_what_no_table_names() {
    let table = |live: &[(u16, u32, u64)]| {
        let mut meta = TableMeta::default();
        meta.props.live = live
            .iter()
            .map(|(bucket, segment, bytes)| VlogLive { bucket: *bucket, segment: *segment, bytes: *bytes })
            .collect();
        Arc::new(meta)
    };
    let tables = [table(&[(0, 1, 50), (1, 1, 30)]), table(&[(0, 1, 25)])];
    let segments = [(0, 1, 132), (0, 2, 132), (1, 1, 62), (2, 1, 32)];
    let stats = discard_stats(segments, tables.iter().map(|t| &**t));
    let dead: Vec<_> = stats.iter().map(|s| (s.dead(), s.dead_per_mille())).collect();
    assert_eq!(dead, [(25, 250), (100, 1000), (0, 0), (0, 1000)]);
    let victims =
        |ratio| -> Vec<_> { pick_victims(&stats, ratio).iter().map(|s| (s.bucket, s.segment)).collect() };
    assert_eq!(victims(0.5), [(0, 2), (2, 1)]);
    assert_eq!(victims(0.25), [(0, 2), (2, 1), (0, 1)]);
    assert_eq!(victims(0.0), [(0, 2), (2, 1), (0, 1)], "a wholly live segment is never worth it");
}

#[test]
fn a_segment_is_left_after_so_many_values() {
    let fs = TestFs::new(true);
    let opts =
        ValueLogOptions { segment_bytes: 1 << 20, max_entries: 3, buckets: 1, hot_buckets: 0, open_files: 2 };
    let open = || ValueLog::open(fs.clone(), "db", opts, false, &state(), false).unwrap();
    let log = open();
    let segments = |log: &ValueLog<TestFs>| (0..7).map(|n| put(log, n).unwrap().segment).collect::<Vec<_>>();
    assert_eq!(segments(&log), [1, 1, 1, 2, 2, 2, 3]);
    let rotations = log.take_rotations();
    assert_eq!(
        rotations.iter().map(|r| (r.segment, r.entries)).collect::<Vec<_>>(),
        [(1, 0), (2, 3), (3, 3)]
    );
    assert_eq!((log.take_rotations().len(), log.head_updates()), (0, 3));
    // A reopened log starts a new segment, so it never has to count.
    assert_eq!(segments(&open()), [4, 4, 4, 5, 5, 5, 6]);
}

#[test]
fn a_sample_covers_a_share_from_the_head_or_from_a_place_that_changes() {
    let fs = TestFs::new(true);
    let opts = ValueLogOptions { segment_bytes: 4000, buckets: 1, hot_buckets: 0, ..OPTS };
    let open = || ValueLog::open(fs.clone(), "db", opts, false, &state(), false).unwrap();
    let log = open();
    let ptrs: Vec<_> = (0..60).map(|n| put(&log, n).unwrap()).collect();
    log.seal_heads();
    let offsets: Vec<u64> = ptrs.iter().filter(|p| p.segment == 1).map(|p| p.offset).collect();
    let sample = |log: &ValueLog<TestFs>, bytes, records, turn| {
        let mut seen = Vec::new();
        let limit = SampleLimit { bytes, records, turn };
        let sampled = log
            .sample(0, 1, limit, &mut |offset, len, record| {
                let n = ptrs.iter().position(|p| (p.segment, p.offset) == (1, offset)).unwrap();
                assert_eq!((record.key.user_key, record.value), (&*key(n), &*value(n)));
                seen.push((offset, len));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen.len() as u64, sampled.records);
        assert_eq!(seen.iter().map(|s| s.1).sum::<u64>(), sampled.to - sampled.from);
        sampled
    };
    assert_eq!(sample(&log, 1, u64::MAX, None).records, 1, "at least one record");
    let some = sample(&log, 500, u64::MAX, None);
    assert!(some.from == SEGMENT_HEADER_BYTES && (500..700).contains(&(some.to - some.from)), "{some:?}");
    assert_eq!(sample(&log, 500, 2, None).records, 2);
    let whole = sample(&log, u64::MAX, u64::MAX, None);
    assert_eq!((whole.records, whole.to), (offsets.len() as u64, whole.segment_bytes));
    for log in [log, open()] {
        let starts: alloc::collections::BTreeSet<u64> =
            (0..20).map(|turn| sample(&log, 1, 1, Some(turn)).from).collect();
        assert!(starts.len() > 10 && starts.iter().all(|at| offsets.contains(at)), "{starts:?}");
    }
}

#[cfg(feature = "std")]
#[test]
#[allow(clippy::disallowed_methods, reason = "the test is about threads")]
fn appends_reads_and_syncs_run_beside_each_other() {
    let fs = TestFs::new(true);
    let log = Arc::new(open(&fs));
    let threads: Vec<_> = (0..4)
        .map(|t| {
            let log = log.clone();
            std::thread::spawn(move || {
                (0..200)
                    .map(|n| {
                        let n = t * 1000 + n;
                        let ptr = put(&log, n).unwrap();
                        assert_eq!(get(&log, n, &ptr), Ok(value(n)));
                        if n % 16 == 0 {
                            log.sync().unwrap();
                        }
                        (n, ptr)
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let all: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    log.sync().unwrap();
    let reopened = open(&fs.crash(false));
    for (n, ptr) in &all {
        assert_eq!(get(&reopened, *n, ptr), Ok(value(*n)));
    }
}
