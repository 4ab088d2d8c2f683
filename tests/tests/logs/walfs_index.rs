//! Log indexes of the general log: bounds, lookups, and what opening reads for them.

use std::sync::{Arc, Mutex};

use nokv_core::Error;
use nokv_core::vfs::{Capabilities, DirEntry, IoResult, OpenMode, Vfs, VfsFile, VfsMap};
use nokv_core::wal::{Log, LogOptions, Position};
use nokv_vfs_mem::MemFs;

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1024, ..LogOptions::default() }
}

fn payload(i: u64) -> Vec<u8> {
    vec![i as u8; 100 + (i % 5) as usize * 10]
}

fn check<V: Vfs>(log: &Log<V>, indexes: impl Iterator<Item = u64>) {
    for i in indexes {
        let position = log.position_for_index(i).unwrap_or_else(|e| panic!("index {i}: {e}"));
        assert_eq!(log.read(position).unwrap(), payload(i), "index {i}");
    }
}

#[test]
fn every_index_is_found_in_memory_in_index_files_and_after_a_reopen() {
    for log_index in [true, false] {
        let fs = MemFs::new();
        let options = LogOptions { log_index, ..options() };
        let log = Log::open(fs.clone(), "log", options.clone()).unwrap();
        for i in 10..=60 {
            log.append(&payload(i), i).unwrap();
            if i == 40 {
                log.sync().unwrap();
            }
        }
        assert_eq!(log.log_index().len(), if log_index { 51 } else { 0 });
        check(&log, 10..=60);
        log.close().unwrap();
        drop(log);
        let log = Log::open(fs.clone(), "log", options.clone()).unwrap();
        assert_eq!(log.index_bounds(), Some((10, 60)));
        check(&log, 10..=60);
        drop(log);
        let log = Log::open(fs, "log", LogOptions { read_only: true, ..options }).unwrap();
        check(&log, 10..=60);
    }
}

#[test]
fn not_yet_truncated_and_missing_are_told_apart() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    assert_eq!(log.index_bounds(), None);
    assert_eq!(log.position_for_index(1), Err(Error::IndexNotYet { index: 1, last: 0 }));
    for i in [5, 6, 9, 10] {
        log.append(&payload(i), i).unwrap();
    }
    assert_eq!(log.position_for_index(11), Err(Error::IndexNotYet { index: 11, last: 10 }));
    assert_eq!(log.position_for_index(4), Err(Error::IndexTruncated { index: 4, first: 5 }));
    assert_eq!(log.position_for_index(7), Err(Error::IndexMissing { index: 7 }));
    check(&log, [5, 6, 9, 10].into_iter());
}

#[test]
fn released_segments_take_their_indexes_along() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    for i in 1..=40 {
        log.append(&payload(i), i).unwrap();
    }
    log.release_below(4).unwrap();
    let (first, last) = log.index_bounds().unwrap();
    assert!(first > 10 && last == 40);
    assert_eq!(log.log_index().first_last(), Some((first, last)));
    assert_eq!(log.log_index().len(), last - first + 1);
    assert_eq!(log.position_for_index(1), Err(Error::IndexTruncated { index: 1, first }));
    check(&log, first..=last);
}

#[test]
fn a_gap_in_the_indexes_starts_a_segment_and_stays_right_after_a_reopen() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    let indexes = [3, 4, 90, 91, 92, 1000];
    let payloads: Vec<_> = indexes.iter().map(|i| payload(*i)).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let positions = log.append_indexed(&payloads, &indexes).unwrap();
    assert_eq!(positions.iter().map(|p| p.segment).collect::<Vec<_>>(), [1, 1, 2, 2, 2, 3]);
    drop(log);
    let log = Log::open(fs, "log", options()).unwrap();
    for (i, position) in indexes.iter().zip(&positions) {
        assert_eq!(log.position_for_index(*i).unwrap(), *position);
    }
    check(&log, indexes.into_iter());
}

#[test]
fn a_list_of_indexes_of_another_length_changes_nothing() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    assert!(matches!(log.append_indexed(&[b"a", b"b"], &[1]), Err(Error::InvalidArgument(_))));
    assert_eq!(log.segments()[0].entries, 0);
}

#[test]
fn after_an_error_in_a_batch_the_positions_of_what_was_written_are_there() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    let large = vec![0; 2000];
    let mut positions = vec![];
    let records: [(&[u8], u64); 3] = [(b"one", 1), (b"two", 2), (&large, 3)];
    let e = log.append_into(records, &mut positions).unwrap_err();
    assert!(matches!(e, Error::BatchTooLarge { .. }));
    assert_eq!(positions.len(), 2);
    assert_eq!(log.read(positions[1]).unwrap(), b"two");
    assert_eq!(log.index_bounds(), Some((1, 2)));
}

#[test]
fn a_lower_index_replaces_what_is_at_and_above_it_also_after_a_reopen() {
    let fs = MemFs::new();
    for log_index in [true, false] {
        let dir = format!("log-{log_index}");
        let options = LogOptions { log_index, ..options() };
        let log = Log::open(fs.clone(), &dir, options.clone()).unwrap();
        for i in 1..=20 {
            log.append(b"old", i).unwrap();
        }
        for i in 8..=9 {
            log.append(&payload(i), i).unwrap();
        }
        assert_eq!(log.index_bounds(), Some((1, 9)));
        assert_eq!(log.position_for_index(10), Err(Error::IndexNotYet { index: 10, last: 9 }));
        check(&log, 8..=9);
        drop(log);
        let log = Log::open(fs.clone(), &dir, options).unwrap();
        assert_eq!(log.index_bounds(), Some((1, 9)));
        assert_eq!(log.position_for_index(10), Err(Error::IndexNotYet { index: 10, last: 9 }));
        check(&log, 8..=9);
    }
}

#[test]
fn clearing_on_flush_leaves_memory_for_the_active_segment_only_and_every_index_is_found() {
    let fs = MemFs::new();
    let options = LogOptions { clear_index_on_flush: true, ..options() };
    let log = Log::open(fs.clone(), "log", options.clone()).unwrap();
    for i in 1..=100 {
        log.append(&payload(i), i).unwrap();
    }
    let unsealed = log.segments().iter().filter(|s| !s.sealed).map(|s| s.entries).sum::<u64>();
    assert!(log.log_index().len() == unsealed && unsealed > log.current().unwrap().entries);
    log.sync().unwrap();
    let active = log.current().unwrap();
    assert_eq!(log.log_index().len(), active.entries);
    assert_eq!(log.log_index().first_last(), Some((active.first_log_index, 100)));
    check(&log, 1..=100);
    log.close().unwrap();
    drop(log);
    let log = Log::open(fs, "log", options).unwrap();
    assert_eq!(log.log_index().len(), log.current().unwrap().entries);
    check(&log, 1..=100);
    log.truncate_after(30).unwrap();
    check(&log, 1..=30);
    for i in 31..=60 {
        log.append(&payload(i), i).unwrap();
    }
    log.sync().unwrap();
    assert_eq!(log.log_index().len(), log.current().unwrap().entries);
    check(&log, 1..=60);
}

#[test]
fn one_sealed_segment_is_cleared_by_hand_and_the_active_one_is_not() {
    let log = Log::open(MemFs::new(), "log", options()).unwrap();
    for i in 1..=30 {
        log.append(&payload(i), i).unwrap();
    }
    log.sync().unwrap();
    let (before, bytes) = (log.log_index().len(), log.index_memory_bytes());
    let active = log.current().unwrap().number;
    assert!(!log.clear_index(active) && !log.clear_index(99));
    assert_eq!(log.log_index().len(), before);
    assert!(log.clear_index(1));
    assert_eq!(log.log_index().len(), before - log.segments()[0].entries);
    assert!(log.index_memory_bytes() <= bytes);
    check(&log, 1..=30);
}

type Reads = Arc<Mutex<Vec<(String, u64)>>>;

/// Notes path and offset of every read.
#[derive(Clone)]
struct Watching {
    fs: MemFs,
    reads: Reads,
}

struct WatchedFile {
    file: <MemFs as Vfs>::File,
    path: String,
    reads: Reads,
}

impl Watching {
    fn file(&self, path: &str, file: IoResult<<MemFs as Vfs>::File>) -> IoResult<WatchedFile> {
        Ok(WatchedFile { file: file?, path: path.into(), reads: Arc::clone(&self.reads) })
    }
}

impl Vfs for Watching {
    type File = WatchedFile;
    type Lock = <MemFs as Vfs>::Lock;
    fn capabilities(&self) -> Capabilities {
        self.fs.capabilities()
    }
    fn create(&self, path: &str) -> IoResult<WatchedFile> {
        self.file(path, self.fs.create(path))
    }
    fn open(&self, path: &str, mode: OpenMode) -> IoResult<WatchedFile> {
        self.file(path, self.fs.open(path, mode))
    }
    fn create_dir_all(&self, path: &str) -> IoResult<()> {
        self.fs.create_dir_all(path)
    }
    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.fs.rename(from, to)
    }
    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()> {
        self.fs.rename_noreplace(from, to)
    }
    fn link(&self, from: &str, to: &str) -> IoResult<()> {
        self.fs.link(from, to)
    }
    fn unlink(&self, path: &str) -> IoResult<()> {
        self.fs.unlink(path)
    }
    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.fs.list(dir)
    }
    fn size(&self, path: &str) -> IoResult<u64> {
        self.fs.size(path)
    }
    fn sync_dir(&self, dir: &str) -> IoResult<()> {
        self.fs.sync_dir(dir)
    }
    fn lock(&self, path: &str) -> IoResult<Self::Lock> {
        self.fs.lock(path)
    }
    fn free_space(&self, dir: &str) -> IoResult<u64> {
        self.fs.free_space(dir)
    }
}

impl VfsFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        self.reads.lock().unwrap().push((self.path.clone(), offset.max(offset + buf.len() as u64)));
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()> {
        self.file.write_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> IoResult<()> {
        self.file.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> IoResult<()> {
        self.file.allocate(offset, len)
    }
    fn sync(&self) -> IoResult<()> {
        self.file.sync()
    }
    fn size(&self) -> IoResult<u64> {
        self.file.size()
    }
    fn map(&self, len: u64) -> IoResult<Box<dyn VfsMap>> {
        self.file.map(len)
    }
}

/// Segment files that were read behind the header and the start of the first record, which tells whose log it is.
fn read_behind_headers(reads: &Reads) -> Vec<String> {
    let mut paths: Vec<_> = reads
        .lock()
        .unwrap()
        .iter()
        .filter(|(p, end)| p.ends_with(".wal") && *end > 64 + 8 + 56)
        .map(|(p, _)| p.clone())
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[test]
fn sealed_segments_with_a_good_index_file_are_not_read_at_open() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    for i in 1..=60 {
        log.append(&payload(i), i).unwrap();
    }
    log.close().unwrap();
    drop(log);
    for read_only in [false, true] {
        let watching = Watching { fs: fs.clone(), reads: Reads::default() };
        let log = Log::open(watching.clone(), "log", LogOptions { read_only, ..options() }).unwrap();
        assert_eq!(log.log_index().len(), 60);
        let active = format!("log/{:09}.wal", log.current().unwrap().number);
        assert_eq!(read_behind_headers(&watching.reads), [active]);
        check(&log, 1..=60);
    }
}

#[test]
fn an_index_file_that_lies_is_not_believed_and_is_made_again() {
    for damage in ["missing", "short", "wrong"] {
        let fs = MemFs::new();
        let log = Log::open(fs.clone(), "log", options()).unwrap();
        for i in 1..=60 {
            log.append(&payload(i), i).unwrap();
        }
        log.close().unwrap();
        drop(log);
        let good = fs.contents("log/000000002.wal.idx").unwrap();
        match damage {
            "missing" => fs.unlink("log/000000002.wal.idx").unwrap(),
            "short" => fs.open("log/000000002.wal.idx", OpenMode::ReadWrite).unwrap().set_len(32).unwrap(),
            _ => {
                let file = fs.open("log/000000002.wal.idx", OpenMode::ReadWrite).unwrap();
                file.write_at(&[7], 16).unwrap();
            }
        }
        let watching = Watching { fs: fs.clone(), reads: Reads::default() };
        let log = Log::open(watching.clone(), "log", options()).unwrap();
        check(&log, 1..=60);
        let scanned = read_behind_headers(&watching.reads);
        assert!(scanned.contains(&"log/000000002.wal".to_string()) && scanned.len() >= 2, "{scanned:?}");
        assert_eq!(fs.contents("log/000000002.wal.idx").unwrap(), good, "{damage}");
    }
}

#[test]
fn a_damaged_sealed_segment_without_index_file_opens_and_the_lookup_tells() {
    let fs = MemFs::new();
    let log = Log::open(fs.clone(), "log", options()).unwrap();
    for i in 1..=30 {
        log.append(&payload(i), i).unwrap();
    }
    log.close().unwrap();
    drop(log);
    fs.unlink("log/000000001.wal.idx").unwrap();
    fs.open("log/000000001.wal", OpenMode::ReadWrite).unwrap().write_at(&[1, 2, 3], 90).unwrap();
    let log = Log::open(fs, "log", options()).unwrap();
    assert!(log.position_for_index(3).is_err_and(|e| e.is_corrupt()));
    assert_eq!(log.position_for_index(30).unwrap().segment, log.current().unwrap().number);
    assert!(log.read(Position::start_of(1)).is_err_and(|e| e.is_corrupt()));
}
