//! Crash at every call of the record log: appends, both cuts, and starting again from nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::vfs::Capabilities;
use nokv_core::wal::record_log::{MAX_RECORD_DATA_LEN, Record};
use nokv_core::wal::{LogOptions, RecordLog};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

use crate::net::Scale;

/// Bytes of a record; five of them fill a segment.
const BYTES: usize = 200_000;

/// What a crash image may hold: pairs of first and last id, 0 for none.
type Allowed = Vec<(u64, u64)>;

fn open(fs: &MemFs) -> nokv_core::Result<RecordLog<MemFs>> {
    // Room for one record of the largest size.
    let segment_bytes = MAX_RECORD_DATA_LEN as u64 + 64 + 16;
    RecordLog::open(fs.clone(), "r", LogOptions { segment_bytes, ..LogOptions::default() })
}

fn data(id: u64) -> Vec<u8> {
    (0..BYTES).map(|i| (i as u64 * 7).wrapping_add(id.wrapping_mul(13)) as u8).collect()
}

fn verify(image: &MemFs, allowed: &Allowed, what: &str) {
    let log = open(image).unwrap_or_else(|e| panic!("{what}: {e}"));
    let found = (log.first_id().unwrap_or(0), log.last_id().unwrap_or(0));
    assert!(allowed.contains(&found), "{what}: ids {found:?}, not one of {allowed:?}");
    let mut iter = log.iter(0);
    let mut seen = 0;
    while let Some(record) = iter.next().unwrap_or_else(|e| panic!("{what}: {e}")) {
        assert!(record.data == data(record.id), "{what}: record {} has other bytes", record.id);
        seen += 1;
    }
    let expected = if found.0 == 0 { 0 } else { found.1 - found.0 + 1 };
    assert!(seen == expected, "{what}: {seen} of {expected} records");
}

/// The workload on a disk with maps or without; `seeds` random images of each moment. Gives the number of images.
fn crash_everywhere(maps: bool, seeds: u64) -> u64 {
    let fs = MemFs::with_capabilities(Capabilities { maps, ..crate::crash::USUAL });
    let log = open(&fs).expect("open");
    let allowed: Arc<Mutex<Allowed>> = Arc::default();
    let images = Arc::new(AtomicU64::new(0));
    let hook = {
        let (fs, images, allowed) = (fs.clone(), Arc::clone(&images), Arc::clone(&allowed));
        move |call: u64, op: &str, path: &str| {
            let allowed = allowed.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let what = format!("maps {maps}, before call {call} ({op} {path})");
            verify(&fs.kill_clone(), &allowed, &format!("kill, {what}"));
            let kinds = [CrashImage::None, CrashImage::All, CrashImage::OneOnly, CrashImage::AllButOne];
            let random = (0..seeds).map(|_| CrashImage::Random);
            for (n, image) in kinds.into_iter().chain(random).enumerate() {
                let mode = if n % 2 == 0 { CrashMode::Posix } else { CrashMode::Hostile };
                let left = fs.crash_clone(call * 64 + n as u64, mode, image);
                verify(&left, &allowed, &format!("{mode:?} {image:?} {n}, {what}"));
                images.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    fs.set_call_hook(Box::new(hook));
    let expect = |states: Allowed| *allowed.lock().unwrap_or_else(PoisonError::into_inner) = states;
    expect(vec![(0, 0)]);
    let (mut first, mut last) = (0u64, 0u64);
    for step in 0..14u64 {
        let from = (first, last);
        match step {
            // In the middle of a segment, with another behind it.
            4 => {
                expect(vec![from, (first, 4)]);
                log.truncate(4).expect("truncate");
            }
            9 => {
                expect((first..=last).map(|f| (f, last)).collect());
                log.trim(last - 2).expect("trim");
            }
            12 => {
                expect(vec![from, (0, 0)]);
                log.truncate(0).expect("truncate");
            }
            _ => {
                let batch: Vec<_> = (last + 1..=last + 2).map(|id| (id, data(id))).collect();
                let records: Vec<_> = batch.iter().map(|(id, data)| Record { id: *id, data }).collect();
                // A prefix of the batch may be there, the records before it are.
                let start = if first == 0 { last + 1 } else { first };
                expect(vec![from, (start, last + 1), (start, last + 2)]);
                log.append(&records).expect("append");
            }
        }
        (first, last) = (log.first_id().unwrap_or(0), log.last_id().unwrap_or(0));
        expect(vec![(first, last)]);
    }
    fs.clear_call_hook();
    let images = images.load(Ordering::Relaxed);
    assert!(images > 240, "{images}");
    images
}

/// With maps and without; gives the number of images.
///
/// # Panics
/// When a record that was durable is lost, or a cut was half done.
pub fn run_all(scale: Scale) -> u64 {
    let seeds = scale.pick(2, 40);
    crash_everywhere(true, seeds) + crash_everywhere(false, seeds)
}
