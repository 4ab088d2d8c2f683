//! The operation journal: what comes back, what a stop may take, and what is refused.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nokv_core::Error;
use nokv_core::vfs::{Capabilities, OpenMode, Vfs, VfsFile};
use nokv_core::wal::journal::{Entry, Op, ReplayReport};
use nokv_core::wal::{Journal, LogOptions, SyncMode};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

const IMAGES: [CrashImage; 5] =
    [CrashImage::None, CrashImage::All, CrashImage::AllButOne, CrashImage::OneOnly, CrashImage::Random];

/// An entry as a test keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    op: Op,
    entity: String,
    key: String,
    data: Option<Vec<u8>>,
    timestamp_ns: i64,
}

impl Kept {
    fn new(i: u64) -> Self {
        let deletes = i % 5 == 4;
        Self {
            op: if deletes { Op::Delete } else { Op::Put },
            entity: ["processes", "executors", ""][i as usize % 3].to_owned(),
            key: format!("key-{i}"),
            data: (!deletes).then(|| (0..i * 29 % 700).map(|b| (b * 3 + i) as u8).collect()),
            timestamp_ns: i as i64 - 3,
        }
    }

    fn entry(&self) -> Entry<'_> {
        Entry {
            op: self.op,
            entity: &self.entity,
            key: &self.key,
            data: self.data.as_deref(),
            timestamp_ns: self.timestamp_ns,
        }
    }

    fn of(e: Entry<'_>) -> Self {
        Self {
            op: e.op,
            entity: e.entity.to_owned(),
            key: e.key.to_owned(),
            data: e.data.map(<[u8]>::to_vec),
            timestamp_ns: e.timestamp_ns,
        }
    }
}

fn kept(numbers: std::ops::Range<u64>) -> Vec<Kept> {
    numbers.map(Kept::new).collect()
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 4096, ..LogOptions::default() }
}

fn open(fs: &MemFs, sync: SyncMode) -> Result<Journal<MemFs>, Error> {
    Journal::open_with(fs.clone(), "j", sync, options())
}

fn append(journal: &Journal<impl Vfs>, numbers: std::ops::Range<u64>) {
    for i in numbers {
        journal.append(&Kept::new(i).entry()).unwrap();
    }
}

fn try_replay(journal: &Journal<impl Vfs>) -> Result<(Vec<Kept>, ReplayReport), Error> {
    let mut seen = vec![];
    let report = journal.replay(|e| {
        seen.push(Kept::of(e));
        Ok::<_, Error>(())
    })?;
    assert_eq!(report.entries, seen.len() as u64);
    Ok((seen, report))
}

fn replay(journal: &Journal<impl Vfs>) -> Vec<Kept> {
    try_replay(journal).unwrap().0
}

fn flip(fs: &MemFs, path: &str, at: u64) {
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn entries_come_back_in_order_after_a_reopen() {
    for sync in [SyncMode::Always, SyncMode::None] {
        let fs = MemFs::new();
        let journal = open(&fs, sync).unwrap();
        append(&journal, 0..40);
        assert_eq!(replay(&journal), kept(0..40));
        journal.close().unwrap();
        assert!(matches!(journal.append(&Kept::new(0).entry()), Err(Error::Closed)));
        drop(journal);
        let journal = open(&fs, sync).unwrap();
        append(&journal, 40..60);
        let (seen, report) = try_replay(&journal).unwrap();
        assert_eq!(seen, kept(0..60));
        assert_eq!(report, ReplayReport { entries: 60, torn: None });
        assert!(journal.log().segments().len() > 3, "the entries span segments");
    }
}

#[test]
fn one_process_at_a_time() {
    let fs = MemFs::new();
    let _journal = open(&fs, SyncMode::None).unwrap();
    assert!(matches!(open(&fs, SyncMode::None), Err(Error::Locked { .. })));
}

#[test]
fn an_error_of_the_callback_stops_the_replay_and_is_returned() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        Enough,
        Theirs(Error),
    }
    impl From<Error> for Mine {
        fn from(e: Error) -> Self {
            Self::Theirs(e)
        }
    }
    let journal = open(&MemFs::new(), SyncMode::None).unwrap();
    append(&journal, 0..9);
    let mut calls = 0;
    let result = journal.replay(|_| {
        calls += 1;
        if calls == 4 { Err(Mine::Enough) } else { Ok(()) }
    });
    assert_eq!((result, calls), (Err(Mine::Enough), 4));
    assert_eq!(replay(&journal), kept(0..9), "nothing is left of it");
}

#[test]
fn a_callback_may_append_and_does_not_see_it() {
    let journal = open(&MemFs::new(), SyncMode::None).unwrap();
    append(&journal, 0..3);
    let report = journal
        .replay(|e| {
            let next = (e.timestamp_ns + 3) as u64 + 3;
            journal.append(&Kept::new(next).entry()).map(|_| ())
        })
        .unwrap();
    assert_eq!(report.entries, 3);
    assert_eq!(replay(&journal), kept(0..6));
}

#[test]
fn a_truncation_during_a_replay_is_told() {
    let journal = open(&MemFs::new(), SyncMode::None).unwrap();
    append(&journal, 0..30);
    let mut seen = 0;
    let result = journal.replay(|_| {
        seen += 1;
        if seen == 2 { journal.truncate() } else { Ok(()) }
    });
    assert!(matches!(result, Err(Error::Busy(_))), "{result:?}");
    assert_eq!(seen, 2);
}

#[test]
fn a_torn_tail_is_skipped_and_reported() {
    for sync in [SyncMode::Always, SyncMode::None] {
        let fs = MemFs::new();
        let journal = open(&fs, sync).unwrap();
        append(&journal, 0..4);
        let torn = journal.append(&Kept::new(5).entry()).unwrap();
        let image = fs.kill_clone();
        flip(&image, "j/000000001.wal", torn.offset + 30);
        let journal = open(&image, sync).unwrap();
        let (seen, report) = try_replay(&journal).unwrap();
        assert_eq!(seen, kept(0..4));
        let tail = report.torn.unwrap();
        assert_eq!((tail.at, tail.what, tail.whole_entries_behind), (torn, "the checksum of a record", 0));
        append(&journal, 4..6);
        journal.close().unwrap();
        drop(journal);
        let (seen, report) = try_replay(&open(&image, sync).unwrap()).unwrap();
        assert_eq!((seen, report.torn), (kept(0..6), None), "it went on behind the cut");
    }
}

#[test]
fn damage_before_whole_entries_is_corrupt() {
    // (close first?, mode): a close, or a sync that covers the entry, is what proves that it was whole.
    for (close, sync) in [(true, SyncMode::None), (true, SyncMode::Always), (false, SyncMode::Always)] {
        let fs = MemFs::new();
        let journal = open(&fs, sync).unwrap();
        append(&journal, 0..2);
        let damaged = journal.append(&Kept::new(2).entry()).unwrap();
        append(&journal, 3..6);
        if close {
            journal.close().unwrap();
        }
        let image = fs.kill_clone();
        flip(&image, "j/000000001.wal", damaged.offset + 30);
        let before = image.contents("j/000000001.wal").unwrap();
        match open(&image, sync) {
            Err(Error::Corrupt { file, offset, .. }) => {
                assert_eq!((file.as_str(), offset), ("j/000000001.wal", damaged.offset));
            }
            other => panic!("{close} {sync:?}: {:?}", other.map(|_| ())),
        }
        assert_eq!(image.contents("j/000000001.wal").unwrap(), before, "refusing wrote");
    }
}

#[test]
fn any_flipped_bit_of_a_closed_journal_gives_the_same_entries_or_corrupt() {
    let fs = MemFs::new();
    let journal = open(&fs, SyncMode::None).unwrap();
    append(&journal, 0..30);
    journal.close().unwrap();
    drop(journal);
    let mut refused = 0;
    for entry in fs.list("j").unwrap().into_iter().filter(|e| e.name.ends_with(".wal")) {
        let path = format!("j/{}", entry.name);
        let bytes = fs.contents(&path).unwrap();
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        for at in (0..used as u64).step_by(5) {
            let image = fs.kill_clone();
            flip(&image, &path, at);
            match open(&image, SyncMode::None).and_then(|j| try_replay(&j)) {
                Ok((seen, report)) => {
                    let whole = seen == kept(0..30) && report.torn.is_none();
                    // The last entry of all cannot be told from a torn one.
                    let last = seen == kept(0..29) && report.torn.is_some();
                    assert!(whole && at < 64 || last, "{path} {at}: {} entries", seen.len());
                }
                Err(Error::Corrupt { file, .. }) => {
                    assert_eq!(file, path);
                    refused += 1;
                }
                Err(e) => panic!("{path} {at}: {e}"),
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn a_record_of_something_else_is_corrupt() {
    let fs = MemFs::new();
    let journal = open(&fs, SyncMode::None).unwrap();
    append(&journal, 0..1);
    let at = journal.log().append(b"\x09 not an entry", 0).unwrap();
    drop(journal);
    let e = open(&fs, SyncMode::None).map(|_| ()).unwrap_err();
    assert!(matches!(e, Error::Corrupt { offset, .. } if offset == at.offset + 8), "{e}");
}

#[test]
fn appends_of_many_threads_are_all_there_each_threads_in_order() {
    let journal = open(&MemFs::new(), SyncMode::Always).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let journal = &journal;
            scope.spawn(move || append(journal, thread * 1000..thread * 1000 + 50));
        }
    });
    let seen = replay(&journal);
    assert_eq!(seen.len(), 200);
    for thread in 0..4u64 {
        let own = |e: &&Kept| e.key[4..].parse::<u64>().unwrap() / 1000 == thread;
        let own: Vec<_> = seen.iter().filter(own).cloned().collect();
        assert_eq!(own, kept(thread * 1000..thread * 1000 + 50));
    }
}

#[test]
fn truncate_removes_everything_and_gives_the_space_back() {
    let fs = MemFs::new();
    let journal = open(&fs, SyncMode::None).unwrap();
    for round in 0..5 {
        append(&journal, round * 50..round * 50 + 50);
        assert_eq!(replay(&journal), kept(round * 50..round * 50 + 50));
        journal.truncate().unwrap();
        assert_eq!(replay(&journal), []);
        assert_eq!(journal.log().segments().len(), 1);
        let segment = journal.log().segments()[0].number;
        journal.truncate().unwrap();
        assert_eq!(journal.log().segments()[0].number, segment, "nothing to remove");
    }
    drop(journal);
    let journal = open(&fs, SyncMode::None).unwrap();
    assert_eq!(replay(&journal), []);
    append(&journal, 7..9);
    journal.close().unwrap();
    drop(journal);
    assert_eq!(replay(&open(&fs, SyncMode::None).unwrap()), kept(7..9));
}

#[test]
fn truncate_works_on_a_full_disk() {
    let fs = MemFs::new();
    let journal = open(&fs, SyncMode::None).unwrap();
    append(&journal, 0..30);
    fs.set_capacity(0);
    journal.truncate().unwrap();
    assert_eq!(replay(&journal), []);
    append(&journal, 30..31);
    drop(journal);
    fs.set_capacity(u64::MAX);
    assert_eq!(replay(&open(&fs, SyncMode::None).unwrap()), kept(30..31));
}

type Image = (MemFs, usize, String);

/// Images before every changing call of `run`, each with `progress` at that moment.
fn images_of(fs: &MemFs, progress: &Arc<AtomicUsize>, run: impl FnOnce()) -> Vec<Image> {
    let images = Arc::new(Mutex::new(vec![]));
    let hook = {
        let (fs, images, progress) = (fs.clone(), Arc::clone(&images), Arc::clone(progress));
        move |call: u64, op: &str, path: &str| {
            let at = progress.load(Ordering::SeqCst);
            let mut images = images.lock().unwrap();
            images.push((fs.kill_clone(), at, format!("kill before call {call} {op} {path}")));
            for (i, image) in IMAGES.into_iter().enumerate() {
                let mode = if i % 2 == 0 { CrashMode::Posix } else { CrashMode::Hostile };
                let what = format!("{mode:?} {image:?} before call {call} {op} {path}");
                images.push((fs.crash_clone(call * 7 + i as u64, mode, image), at, what));
            }
        }
    };
    fs.set_call_hook(Box::new(hook));
    run();
    fs.clear_call_hook();
    std::mem::take(&mut *images.lock().unwrap())
}

fn memory(maps: bool) -> MemFs {
    MemFs::with_capabilities(Capabilities { maps, ..MemFs::new().capabilities() })
}

#[test]
fn a_crash_at_any_call_keeps_what_append_acknowledged_and_a_prefix() {
    for maps in [true, false] {
        let fs = memory(maps);
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let journal = open(&fs, SyncMode::Always).unwrap();
        let images = images_of(&fs, &acknowledged, || {
            for i in 0..25 {
                append(&journal, i..i + 1);
                acknowledged.store(i as usize + 1, Ordering::SeqCst);
            }
        });
        assert!(images.len() > 100);
        for (image, acknowledged, what) in &images {
            let journal = open(image, SyncMode::Always).unwrap_or_else(|e| panic!("{what}: {e}"));
            let seen = replay(&journal);
            assert_eq!(seen, kept(0..seen.len() as u64), "{what}");
            assert!(seen.len() >= *acknowledged, "{what}: {} of {acknowledged}", seen.len());
        }
    }
}

#[test]
fn a_crash_in_truncate_leaves_all_or_none() {
    for (maps, sync) in
        [(true, SyncMode::Always), (true, SyncMode::None), (false, SyncMode::Always), (false, SyncMode::None)]
    {
        let fs = memory(maps);
        let done = Arc::new(AtomicUsize::new(0));
        let journal = open(&fs, sync).unwrap();
        append(&journal, 0..25);
        journal.sync().unwrap();
        let images = images_of(&fs, &done, || {
            journal.truncate().unwrap();
            done.store(1, Ordering::SeqCst);
            append(&journal, 25..26);
        });
        let (mut all, mut none) = (0, 0);
        for (image, done, what) in &images {
            let seen = replay(&open(image, sync).unwrap_or_else(|e| panic!("{what}: {e}")));
            match seen.len() {
                25 if *done == 0 && seen == kept(0..25) => all += 1,
                0 => none += 1,
                1 if *done == 1 && seen == kept(25..26) => none += 1,
                n => panic!("{what}: {n} entries"),
            }
            // Opening finished the removal: another crash brings nothing back.
            let again = image.crash_clone(5, CrashMode::Hostile, CrashImage::None);
            let later = replay(&open(&again, sync).unwrap_or_else(|e| panic!("{what}, again: {e}")));
            assert_eq!(later, seen, "{what}, again");
        }
        assert!(all > 10 && none > 10, "maps {maps}, {sync:?}: {all} {none}");
    }
}
