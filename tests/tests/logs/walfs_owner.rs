//! A database's own log is not opened for writing by anybody else, whatever its path is called.
#![allow(missing_docs)]

use nokv::{Db, Error, Vfs};
use nokv_core::wal::{BatchLog, BatchLogConfig, Log, LogOptions, RecordLog, Section, SegmentFile};
use nokv_core::wal::{Next, dump};
use nokv_tests::small_db::{files, options};
use nokv_vfs_mem::MemFs;

fn image(fs: &MemFs) -> Vec<(String, Vec<u8>)> {
    let content = |path: String| (path.clone(), fs.contents(&path).unwrap());
    files(fs, "db").into_iter().map(content).collect()
}

fn refused<T>(opened: Result<T, Error>, what: &str) {
    match opened.map(|_| ()) {
        Err(Error::InvalidArgument(text)) => assert!(text.contains("a database"), "{what}: {text}"),
        other => panic!("{what}: {other:?}"),
    }
}

/// The log of an engine, without the database around it.
fn engines_log(fs: &MemFs, records: u64) {
    let config = BatchLogConfig { segment_bytes: 8192, db_id: 77 };
    let log = BatchLog::create(fs, "copy", config, 1).unwrap();
    for i in 1..=records {
        let section =
            Section { kind: nokv_core::formats::envelope::SECTION_BATCH, group: 0, parts: &[b"op"] };
        log.append(nokv_core::formats::Seq(i), &[section]).unwrap();
    }
    log.sync().unwrap();
}

#[test]
fn the_log_of_an_open_database_is_refused_and_stays_as_it_is() {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), options("db")).unwrap();
    let before = image(&fs);
    // Also before its first record: the database would find a foreign one there.
    refused(Log::open(fs.clone(), "db/wal", LogOptions::default()), "without a record");
    assert_eq!(image(&fs), before);
    db.set(b"key", b"value").unwrap();
    let before = image(&fs);
    for dir in ["db/wal", "db/wal/"] {
        refused(Log::open(fs.clone(), dir, LogOptions::default()), dir);
        refused(RecordLog::open(fs.clone(), dir, LogOptions::default()), dir);
        refused(SegmentFile::open(fs.clone(), dir, 1, &LogOptions::default()), dir);
        refused(SegmentFile::open(fs.clone(), dir, 2, &LogOptions::default()), dir);
    }
    // Its own directory too, where a log would lie beside CURRENT and the manifests.
    for dir in ["db", "db/"] {
        refused(Log::open(fs.clone(), dir, LogOptions::default()), dir);
        refused(SegmentFile::open(fs.clone(), dir, 1, &LogOptions::default()), dir);
    }
    assert_eq!(image(&fs), before);
    db.set(b"more", b"value").unwrap();
    db.close().unwrap();
    let db = Db::open_on(fs, options("db")).unwrap();
    assert!(db.get(b"key").unwrap().is_some() && db.get(b"more").unwrap().is_some());
}

#[test]
fn the_engines_records_are_known_without_a_database_around_them() {
    let fs = MemFs::new();
    engines_log(&fs, 3);
    refused(Log::open(fs.clone(), "copy", LogOptions::default()), "whole");
    refused(SegmentFile::open(fs.clone(), "copy", 2, &LogOptions::default()), "a segment behind");
    // A first record with a damaged end is the engine's all the same.
    use nokv_core::vfs::{OpenMode, VfsFile};
    fs.open("copy/000000001.wal", OpenMode::ReadWrite).unwrap().write_at(b"!", 64 + 8 + 64 + 17).unwrap();
    refused(Log::open(fs.clone(), "copy", LogOptions::default()), "damaged");
    assert!(!fs.list("copy").unwrap().iter().any(|e| e.name == "walfs.lock"));
}

#[test]
fn the_engines_log_is_still_there_to_be_read() {
    let fs = MemFs::new();
    engines_log(&fs, 3);
    let reading = LogOptions { read_only: true, ..LogOptions::default() };
    let log = Log::open(fs.clone(), "copy", reading.clone()).unwrap();
    let mut reader = log.reader();
    let mut records = 0;
    while let Next::Record(_) = reader.next().unwrap() {
        records += 1;
    }
    assert_eq!(records, 3);
    assert!(SegmentFile::open(fs.clone(), "copy", 1, &reading).is_ok());
    assert!(dump(fs, "copy", ".wal").unwrap().next().unwrap().is_some());
}

#[test]
fn the_log_of_a_database_without_atomic_rename_is_refused() {
    let all = MemFs::new().capabilities();
    let fs = MemFs::with_capabilities(nokv_core::vfs::Capabilities { atomic_rename: false, ..all });
    let db = Db::open_on(fs.clone(), options("db")).unwrap();
    refused(Log::open(fs, "db/wal", LogOptions::default()), "without a record");
    db.close().unwrap();
}

#[test]
#[cfg(unix)]
fn a_link_or_a_relative_path_to_a_database_s_log_is_no_way_around() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let db = Db::open(nokv::Options::new(path("db"))).unwrap();
    std::os::unix::fs::symlink(path("db/wal"), path("link")).unwrap();
    for name in ["link", "link/", "db/wal/.", "db/tables/../wal", "db/wal/../wal"] {
        refused(Log::open(nokv::StdFs::new(), &path(name), LogOptions::default()), name);
    }
    db.close().unwrap();
}

#[test]
fn a_log_of_one_s_own_that_holds_other_records_opens() {
    let fs = MemFs::new();
    for payload in [&b""[..], &[1, 0, 0, 0, 0, 0, 0, 0], &[0; 200], &[1; 200]] {
        let log = Log::open(fs.clone(), "log", LogOptions::default()).unwrap();
        log.append(payload, 0).unwrap();
        log.close().unwrap();
    }
}
