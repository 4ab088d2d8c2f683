//! Crash at every call of the record log: appends, both cuts, and starting again from nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::vfs::Capabilities;
use nokv_core::wal::record_log::{MAX_RECORD_DATA_LEN, Record};
use nokv_core::wal::{LogOptions, RecordLog};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

use crate::net::{Scale, picked_of, replay, text_of};

/// Its name on the command line.
const LAYER: &str = "record-log";
/// Bytes of a record.
const BYTES: usize = 200_000;
/// Bytes of a segment: room for one record of the largest size.
const SEGMENT_BYTES: u64 = MAX_RECORD_DATA_LEN as u64 + 64 + 16;
/// So many records fill a segment.
const PER_SEGMENT: usize = 5;
const _: () = assert!(PER_SEGMENT * (BYTES + 64) < SEGMENT_BYTES as usize);
const _: () = assert!((PER_SEGMENT + 1) * BYTES > SEGMENT_BYTES as usize);

/// What a crash image may hold: pairs of first and last id, 0 for none.
type Allowed = Vec<(u64, u64)>;

fn open(fs: &MemFs) -> nokv_core::Result<RecordLog<MemFs>> {
    let options = LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() };
    RecordLog::open(fs.clone(), "r", options)
}

fn data(id: u64) -> Vec<u8> {
    (0..BYTES).map(|i| (i as u64 * 7).wrapping_add(id.wrapping_mul(13)) as u8).collect()
}

fn verify(image: &MemFs, allowed: &Allowed) {
    let log = open(image).unwrap_or_else(|e| panic!("{e}"));
    let found = (log.first_id().unwrap_or(0), log.last_id().unwrap_or(0));
    assert!(allowed.contains(&found), "ids {found:?}, not one of {allowed:?}");
    let mut iter = log.iter(0);
    let mut seen = 0;
    while let Some(record) = iter.next().unwrap_or_else(|e| panic!("{e}")) {
        assert!(record.data == data(record.id), "record {} has other bytes", record.id);
        seen += 1;
    }
    let expected = if found.0 == 0 { 0 } else { found.1 - found.0 + 1 };
    assert!(seen == expected, "{seen} of {expected} records");
}

/// What each step of the workload does.
#[derive(Debug, Clone, Copy)]
enum Do {
    /// Appends two records.
    Append,
    /// Removes the records behind this id.
    Truncate(u64),
    /// Says that the records up to this id are not needed.
    Trim(u64),
}

/// The ids of records, segment by segment: what the log must have, worked out without asking it.
#[derive(Debug, Clone, Default)]
struct Ids(Vec<Vec<u64>>);

impl Ids {
    fn ends(&self) -> (u64, u64) {
        let ids = || self.0.iter().flatten().copied();
        (ids().next().unwrap_or(0), ids().next_back().unwrap_or(0))
    }

    fn append(&mut self, id: u64) {
        match self.0.last_mut() {
            Some(segment) if segment.len() < PER_SEGMENT => segment.push(id),
            _ => self.0.push(vec![id]),
        }
    }

    /// Goes on, and gives what may be there at each moment until it is done, the last one being what is there then.
    fn go_on(&mut self, what: Do) -> Allowed {
        let mut allowed = vec![self.ends()];
        match what {
            // A prefix of the batch may be there, the records before it are.
            Do::Append => {
                let last = self.ends().1;
                for id in [last + 1, last + 2] {
                    self.append(id);
                    allowed.push(self.ends());
                }
            }
            // All or nothing.
            Do::Truncate(last) => {
                self.0.iter_mut().for_each(|segment| segment.retain(|id| *id <= last));
                self.0.retain(|segment| !segment.is_empty());
                allowed.push(self.ends());
            }
            // Whole segments, oldest first, never the newest.
            Do::Trim(up_to) => {
                while self.0.len() > 1 && self.0[0].iter().all(|id| *id <= up_to) {
                    self.0.remove(0);
                    allowed.push(self.ends());
                }
            }
        }
        allowed
    }
}

/// The steps: a cut in the middle of a segment with another one behind it, segments that go, and a new start.
fn workload() -> impl Iterator<Item = Do> {
    (0..14).map(|step| match step {
        4 => Do::Truncate(4),
        9 => Do::Trim(10),
        12 => Do::Truncate(0),
        _ => Do::Append,
    })
}

/// An image: the disk has maps, the call before which it was taken, and which one of that moment.
type Case = (bool, u64, String);

fn name_of((maps, call, image): &Case) -> String {
    format!("{}/{call}.{image}", if *maps { "maps" } else { "no-maps" })
}

fn case_of(name: &str) -> Option<Case> {
    let (maps, rest) = name.split_once('/')?;
    let (call, image) = rest.split_once('.')?;
    let maps = match maps {
        "maps" => true,
        "no-maps" => false,
        _ => return None,
    };
    Some((maps, call.parse().ok()?, image.to_owned()))
}

/// The images of one moment: their names, and what they are.
fn images_of(fs: &MemFs, call: u64, seeds: u64) -> impl Iterator<Item = (String, MemFs)> {
    let kinds = [CrashImage::None, CrashImage::All, CrashImage::OneOnly, CrashImage::AllButOne];
    let random = (0..seeds).map(|_| CrashImage::Random);
    let cuts = kinds.into_iter().chain(random).enumerate().map(move |(n, image)| {
        let mode = if n % 2 == 0 { CrashMode::Posix } else { CrashMode::Hostile };
        (format!("cut{n}"), fs.crash_clone(call * 64 + n as u64, mode, image))
    });
    std::iter::once(("kill".to_owned(), fs.kill_clone())).chain(cuts)
}

/// The workload on a disk with maps or without; `seeds` random images of each moment. Gives the number of images.
fn crash_everywhere(maps: bool, seeds: u64, only: Option<&Case>) -> u64 {
    let fs = MemFs::with_capabilities(Capabilities { maps, ..crate::crash::USUAL });
    let log = open(&fs).expect("open");
    let allowed: Arc<Mutex<Allowed>> = Arc::default();
    let images = Arc::new(AtomicU64::new(0));
    let hook = {
        let (fs, images, allowed) = (fs.clone(), Arc::clone(&images), Arc::clone(&allowed));
        let only = only.cloned();
        move |call: u64, op: &str, path: &str| {
            if only.as_ref().is_some_and(|(_, at, _)| *at != call) {
                return;
            }
            let allowed = allowed.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for (image, left) in images_of(&fs, call, seeds) {
                let case = (maps, call, image);
                if only.as_ref().is_some_and(|only| *only != case) {
                    continue;
                }
                let name = name_of(&case);
                let verified = catch_unwind(AssertUnwindSafe(|| verify(&left, &allowed)));
                images.fetch_add(1, Ordering::Relaxed);
                if let Err(panic) = verified {
                    let said = text_of(panic);
                    panic!("{name}, before {op} {path}: {said}\n    {}", replay(LAYER, &name));
                }
            }
        }
    };
    fs.set_call_hook(Box::new(hook));
    let end = End(fs);
    let mut ids = Ids::default();
    for (step, what) in workload().enumerate() {
        let last = ids.ends().1;
        let states = ids.go_on(what);
        allowed.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&states);
        match what {
            Do::Truncate(last_to_keep) => log.truncate(last_to_keep).expect("truncate"),
            Do::Trim(up_to) => log.trim(up_to).expect("trim"),
            Do::Append => {
                let batch: Vec<_> = (last + 1..=last + 2).map(|id| (id, data(id))).collect();
                let records: Vec<_> = batch.iter().map(|(id, data)| Record { id: *id, data }).collect();
                log.append(&records).expect("append");
            }
        }
        let found = (log.first_id().unwrap_or(0), log.last_id().unwrap_or(0));
        assert_eq!(found, ids.ends(), "ids after step {step}, {what:?}, maps {maps}");
        *allowed.lock().unwrap_or_else(PoisonError::into_inner) = vec![ids.ends()];
    }
    drop(end);
    images.load(Ordering::Relaxed)
}

/// Also after a panic: the hook owns the file system that owns the hook.
struct End(MemFs);

impl Drop for End {
    fn drop(&mut self) {
        self.0.clear_call_hook();
    }
}

/// With maps and without; gives the number of images.
///
/// # Panics
/// When a record that was durable is lost, or a cut was half done, with the command that looks at that image again.
pub fn run_all(scale: Scale) -> u64 {
    match picked_of(LAYER) {
        None => {
            let seeds = scale.pick(2, 40);
            [true, false].map(|maps| crash_everywhere(maps, seeds, None)).iter().sum()
        }
        // Those of both scales are among these.
        Some(name) => case_of(&name).map_or(0, |case| crash_everywhere(case.0, 40, Some(&case))),
    }
}
