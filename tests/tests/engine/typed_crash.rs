//! Crash at every call while typed records are appended, pointers move, groups are rewritten forward and the watchdog
//! removes segments: what was synced is there, what is there is a prefix, and a group has what its pointer names.
#![cfg(feature = "skiplist")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nokv_core::engine::{Engine, EngineOptions, RecordKind, TypedSection, WatchdogOptions};
use nokv_core::formats::{CfId, KeyRef, Version};
use nokv_core::manifest::RaftPointer;
use nokv_core::vfs::Capabilities;
use nokv_core::wal::Position;
use nokv_core::write::WriteBatch;
use nokv_index_skiplist::Skiplist;
use nokv_tests::crash::USUAL;
use nokv_tests::crash::drive::{DIR, environment, tiny};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

type Store = Arc<Engine<MemFs, Skiplist>>;

const IMAGES: [CrashImage; 6] = [
    CrashImage::None,
    CrashImage::All,
    CrashImage::AllButOne,
    CrashImage::OneOnly,
    CrashImage::Random,
    CrashImage::Random,
];

/// What a group must have.
#[derive(Debug, Clone, Default)]
struct Expected {
    /// Records appended, or begun.
    appended: u32,
    /// Records that a sync covered.
    synced: u32,
    /// First record that the acknowledged pointer needs.
    needed_from: u32,
    /// First record that a pointer on its way needs.
    may_start_at: u32,
}

/// What the database must have.
#[derive(Debug, Clone, Default)]
struct Books {
    groups: BTreeMap<u64, Expected>,
    /// Batches written, or begun, each with a record of group 1.
    batches: u32,
    created: bool,
}

struct Drive {
    engine: Store,
    books: Arc<Mutex<Books>>,
    /// Where each record of a group starts.
    places: BTreeMap<u64, Vec<Position>>,
}

fn options(watchdog: bool) -> EngineOptions<()> {
    let watchdog = WatchdogOptions { enabled: watchdog, max_batch: 1, ..WatchdogOptions::default() };
    EngineOptions { watchdog, ..tiny(()) }
}

fn payload(group: u64, i: u32) -> Vec<u8> {
    let mut bytes = format!("{group} {i} ").into_bytes();
    // Some are longer than half a segment.
    bytes.resize(if i % 4 == 1 { 60_000 } else { 100 }, b'r');
    bytes
}

fn key(i: u32) -> Vec<u8> {
    format!("batch {i}").into_bytes()
}

impl Drive {
    fn update(&self, change: impl FnOnce(&mut Books)) {
        change(&mut self.books.lock().unwrap());
    }

    fn begin(&self, group: u64) -> u32 {
        let mut books = self.books.lock().unwrap();
        let expected = books.groups.entry(group).or_default();
        expected.appended += 1;
        expected.appended - 1
    }

    fn append(&mut self, group: u64) {
        let i = self.begin(group);
        let bytes = payload(group, i);
        let section = TypedSection { kind: RecordKind::RaftEntries, group, bytes: &bytes };
        let at = self.engine.append_typed(&[section]).unwrap().start;
        self.places.entry(group).or_default().push(at);
    }

    /// A batch and a record of group 1, in one log record.
    fn write(&mut self) {
        let i = self.begin(1);
        let mut batch = WriteBatch::new();
        batch.put(CfId::DEFAULT, &key(i), &payload(1, i)).unwrap();
        self.update(|books| books.batches = i + 1);
        let bytes = payload(1, i);
        let section = TypedSection { kind: RecordKind::RaftEntries, group: 1, bytes: &bytes };
        let (prepared, _guard) = self.engine.prepare(&batch).unwrap();
        let (ticket, at) = self.engine.log_with_sections(&prepared, &[section]).unwrap();
        self.engine.apply(&prepared, &ticket);
        self.places.entry(1).or_default().push(at);
    }

    fn all_synced(&self) {
        self.update(|books| books.groups.values_mut().for_each(|g| g.synced = g.appended));
    }

    fn sync(&self) {
        self.engine.sync().unwrap();
        self.all_synced();
    }

    /// The pointer of `group` goes to its record `i`.
    fn point(&self, group: u64, i: u32) {
        let at = self.places[&group][i as usize];
        self.update(|books| books.groups.get_mut(&group).unwrap().may_start_at = i);
        let pointer = RaftPointer { group, segment: at.segment, offset: at.offset, ..RaftPointer::default() };
        self.engine.set_raft_pointer(pointer).unwrap();
        self.all_synced();
        self.update(|books| books.groups.get_mut(&group).unwrap().needed_from = i);
    }

    fn rewrite(&self, group: u64) {
        self.engine.rewrite_forward(group).unwrap();
        self.all_synced();
    }
}

fn workload(drive: &mut Drive) {
    for _ in 0..3 {
        drive.append(1);
        drive.append(2);
        drive.write();
    }
    drive.sync();
    drive.append(2);
    drive.engine.flush_all().unwrap();
    drive.point(1, 2);
    for _ in 0..6 {
        drive.write();
        drive.append(2);
    }
    drive.engine.flush_all().unwrap();
    drive.rewrite(2);
    drive.append(2);
    drive.write();
    drive.engine.watchdog_step().unwrap();
    drive.engine.watchdog_step().unwrap();
    drive.point(1, 9);
    drive.append(2);
    drive.rewrite(1);
    drive.rewrite(2);
    drive.write();
    drive.engine.flush_all().unwrap();
    drive.engine.watchdog_step().unwrap();
    drive.append(1);
    drive.sync();
}

fn replay(engine: &Store, group: u64) -> Vec<u32> {
    let mut found = Vec::new();
    let mut visit = |kind, _, bytes: &[u8]| {
        assert_eq!(kind, RecordKind::RaftEntries);
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).into_owned();
        let i: u32 = text.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(bytes == payload(group, i), "record {i} of group {group}");
        found.push(i);
        Ok(())
    };
    engine.replay_group(group, &mut visit).unwrap();
    found
}

fn verify(image: &MemFs, books: &Books, watchdog: bool, what: &str) {
    let engine = match Engine::open(image.clone(), DIR, options(watchdog), environment()) {
        Ok(engine) => engine,
        Err(error) => panic!("{what}: {error}"),
    };
    let check = |engine: &Store, what: &str| {
        for (group, expected) in &books.groups {
            let found = replay(engine, *group);
            let start = found.first().copied().unwrap_or(expected.may_start_at);
            let end = start + found.len() as u32;
            assert!(found.iter().copied().eq(start..end), "{what}: group {group}: {found:?}");
            let starts = [expected.needed_from, expected.may_start_at];
            assert!(found.is_empty() || starts.contains(&start), "{what}: {group}: {found:?}: {expected:?}");
            assert!(
                !found.is_empty() || expected.synced <= expected.needed_from,
                "{what}: {group}: {expected:?}"
            );
            assert!(
                expected.synced <= end && end <= expected.appended,
                "{what}: {group}: {end}: {expected:?}"
            );
        }
    };
    check(&engine, what);
    // A batch and its record are there together.
    let records = replay(&engine, 1);
    for i in 0..books.batches {
        let hit = engine.get(KeyRef::new(CfId::DEFAULT, &key(i)), Version::MAX).unwrap();
        if let Some(hit) = &hit {
            assert_eq!(&hit.value[..], payload(1, i), "{what}: batch {i}");
            assert!(
                records.first().is_some_and(|first| i < *first) || records.contains(&i),
                "{what}: batch {i} is there and its record is not: {records:?} of {books:?}"
            );
        }
    }
    // The log goes on behind it.
    let bytes = b"more";
    let section = TypedSection { kind: RecordKind::RaftState, group: 99, bytes };
    engine.append_typed(&[section]).unwrap();
    engine.sync().unwrap();
    for group in books.groups.keys() {
        let before = replay(&engine, *group);
        engine.rewrite_forward(*group).unwrap();
        assert_eq!(replay(&engine, *group), before, "{what}: rewritten after recovery");
    }
    let after = image.crash_clone(3, CrashMode::Hostile, CrashImage::None);
    let again: Store = Engine::open(after, DIR, options(watchdog), environment()).unwrap();
    check(&again, &format!("{what}, went on"));
    let mut more = 0;
    again
        .replay_group(99, &mut |_, _, _| {
            more += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(more, 1, "{what}, went on");
}

fn crash_everywhere(watchdog: bool, maps: bool) {
    let fs = MemFs::with_capabilities(Capabilities { maps, ..USUAL });
    let books = Arc::new(Mutex::new(Books::default()));
    let images = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let (fs, books, images) = (fs.clone(), Arc::clone(&books), Arc::clone(&images));
        move |call: u64, op: &str, path: &str| {
            let now = books.lock().unwrap().clone();
            if !now.created {
                return;
            }
            let what = format!("before call {call} {op} {path}");
            let mut images = images.lock().unwrap();
            images.push((fs.kill_clone(), now.clone(), format!("killed {what}")));
            for (i, image) in IMAGES.into_iter().enumerate() {
                let mode = if i % 2 == 0 { CrashMode::Posix } else { CrashMode::Hostile };
                let image = fs.crash_clone(call * 7 + i as u64, mode, image);
                images.push((image, now.clone(), format!("{mode:?} {:?} {what}", IMAGES[i])));
            }
        }
    };
    fs.set_call_hook(Box::new(hook));
    let engine = Engine::open(fs.clone(), DIR, options(watchdog), environment()).unwrap();
    books.lock().unwrap().created = true;
    let mut drive = Drive { engine, books: Arc::clone(&books), places: BTreeMap::new() };
    workload(&mut drive);
    fs.clear_call_hook();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 700, "{}", images.len());
    for (image, books, what) in &images {
        verify(image, books, watchdog, what);
    }
}

#[test]
fn with_the_watchdog() {
    crash_everywhere(true, true);
}

#[test]
fn without_the_watchdog() {
    crash_everywhere(false, false);
}

#[test]
fn a_flushed_batch_was_there_after_a_power_cut_and_its_raft_record_was_not() {
    let fs = MemFs::new();
    let engine: Store = Engine::open(fs.clone(), DIR, options(true), environment()).unwrap();
    let books = Arc::new(Mutex::new(Books::default()));
    let mut drive = Drive { engine, books, places: BTreeMap::new() };
    drive.append(2);
    drive.write();
    drive.engine.flush_all().unwrap();
    let image = fs.crash_clone(1, CrashMode::Posix, CrashImage::None);
    let again: Store = Engine::open(image, DIR, options(true), environment()).unwrap();
    assert!(again.get(KeyRef::new(CfId::DEFAULT, &key(0)), Version::MAX).unwrap().is_some());
    assert_eq!((replay(&again, 1), replay(&again, 2)), (vec![0], vec![0]));
}
