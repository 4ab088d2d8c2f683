//! The commit queue: leaders, followers, groups and their limits, preconditions, deadlines, failures.

use std::collections::BTreeSet;
use std::time::Duration;

use nokv::{CfId, Db, Error, IterOptions, WriteBatch, WriteOptions};
use nokv_core::vfs::IoErrorKind;
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, Op, Rule};

use super::{below, join, on_thread, options};

fn key(writer: u64, n: u64) -> Vec<u8> {
    format!("{writer}-{n}").into_bytes()
}

/// Two keys that are there together or not at all.
fn pair(writer: u64, n: u64, value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(CfId::DEFAULT, &[b"a".as_slice(), &key(writer, n)].concat(), value).unwrap();
    batch.put(CfId::DEFAULT, &[b"b".as_slice(), &key(writer, n)].concat(), value).unwrap();
    batch
}

fn read_pair<V: nokv::Vfs>(db: &Db<V>, writer: u64, n: u64) -> Option<Vec<u8>> {
    let get = |side: &[u8]| db.get(&[side, &key(writer, n)].concat()).unwrap().map(|value| value.to_vec());
    let (a, b) = (get(b"a"), get(b"b"));
    assert_eq!(a, b, "half of batch {n} of writer {writer}");
    a
}

/// Writers with and without sync, in groups of two at most: each gets its own answer, no two the same seq; what one
/// wrote it reads; a counter that they raise in transactions misses none; a kill then loses none, a power cut none that
/// was synced.
pub(super) fn groups() {
    const WRITERS: u64 = 3;
    let fs = MemFs::new();
    let mut small = options();
    small.write_batch_max_count = 2;
    small.write_batch_wait = if below(2) == 0 { Duration::ZERO } else { Duration::from_millis(1) };
    let db = Db::open_on(fs.clone(), small).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let db = db.clone();
            on_thread(move || {
                let mut seqs = Vec::new();
                let mut synced = Vec::new();
                for n in 0..2 {
                    let sync = below(3) == 0;
                    // Some of the values go to the value log.
                    let value = vec![writer as u8; if below(4) == 0 { 1200 } else { 10 }];
                    let how = WriteOptions { sync: Some(sync), ..WriteOptions::default() };
                    let seq = db.write(pair(writer, n, &value), &how).unwrap();
                    assert!(db.published_seq() >= seq, "acknowledged and not to be seen");
                    assert_eq!(read_pair(&db, writer, n), Some(value));
                    seqs.push(seq);
                    if sync {
                        assert!(db.durable_seq() >= seq);
                        synced.push(n);
                    }
                }
                if writer < 2 {
                    db.transaction(|tx| {
                        let n = tx.get(CfId::DEFAULT, b"count")?.map_or(0, |value| value.len());
                        tx.set(CfId::DEFAULT, b"count", &vec![1; n + 1])
                    })
                    .unwrap();
                }
                (seqs, synced)
            })
        })
        .collect();
    let answers: Vec<_> = writers.into_iter().map(join).collect();
    let seqs: BTreeSet<_> = answers.iter().flat_map(|(seqs, _)| seqs).collect();
    assert_eq!(seqs.len() as u64, WRITERS * 2, "a seq was given twice");
    assert_eq!(db.get(b"count").unwrap().unwrap().len(), 2, "an update was lost");
    assert_eq!(db.published_seq().0, WRITERS * 4 + 2);
    assert_eq!(db.write_snapshot().queue_depth, 0);
    match below(3) {
        0 => {
            let again = Db::open_on(fs.kill_clone(), options()).unwrap();
            for writer in 0..WRITERS {
                (0..2).for_each(|n| {
                    assert!(read_pair(&again, writer, n).is_some(), "{writer} {n} after a kill")
                });
            }
        }
        1 => {
            let image = [CrashImage::None, CrashImage::Random][below(2) as usize];
            let again =
                Db::open_on(fs.crash_clone(below(1 << 32), CrashMode::Posix, image), options()).unwrap();
            for (writer, (_, synced)) in answers.iter().enumerate() {
                let is_there = |n| read_pair(&again, writer as u64, n).is_some();
                assert!(synced.iter().all(|n| is_there(*n)), "a synced batch of {writer} is gone");
            }
        }
        _ => db.close().unwrap(),
    }
}

/// A call of the file system fails while groups are written: everybody gets an answer, and what was acknowledged is there
/// after a kill, and if it was synced after a power cut.
pub(super) fn failures() {
    const WRITERS: u64 = 3;
    let fs = FaultFs::new(MemFs::new());
    let mut small = options();
    small.write_batch_max_count = 2;
    let db = Db::open_on(fs.clone(), small).unwrap();
    let kind = [IoErrorKind::Other, IoErrorKind::NoSpace][below(2) as usize];
    let ops = [Op::Write, Op::Flush, Op::Sync, Op::SyncDir, Op::Create, Op::Allocate];
    let rule = Rule::new(ops[below(ops.len() as u64) as usize], kind).skip(below(4));
    fs.add_rule(if below(2) == 0 { rule.sticky() } else { rule });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let db = db.clone();
            on_thread(move || {
                let mut kept = Vec::new();
                for n in 0..3 {
                    let sync = below(2) == 0;
                    let value = vec![writer as u8; if below(4) == 0 { 1200 } else { 10 }];
                    let how = WriteOptions { sync: Some(sync), ..WriteOptions::default() };
                    match db.write(pair(writer, n, &value), &how) {
                        Ok(_) => kept.push((n, sync)),
                        Err(Error::ReadOnly(_) | Error::OutcomeUnknown(_) | Error::Io { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
                // Reads go on, whatever happened to the log.
                assert!(kept.iter().all(|(n, _)| read_pair(&db, writer, *n).is_some()));
                kept
            })
        })
        .collect();
    let kept: Vec<Vec<(u64, bool)>> = writers.into_iter().map(join).collect();
    assert_eq!(db.write_snapshot().queue_depth, 0);
    let power = below(2) == 0;
    let image = if power {
        fs.inner().crash_clone(below(1 << 32), CrashMode::Posix, CrashImage::None)
    } else {
        fs.inner().kill_clone()
    };
    fs.clear();
    drop(db);
    let again = Db::open_on(image, options()).unwrap();
    for (writer, kept) in kept.iter().enumerate() {
        for (n, sync) in kept {
            let is_there = read_pair(&again, writer as u64, *n).is_some();
            assert!(
                is_there || (power && !sync),
                "{writer} {n} was acknowledged, sync {sync}, power {power}"
            );
        }
    }
    let pairs = again.iter(IterOptions::default()).unwrap().count();
    assert!(pairs.is_multiple_of(2), "{pairs}");
}
