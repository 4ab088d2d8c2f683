//! What a failed sync leaves, in each of the three models.

use alloc::string::String;

use nokv_core::vfs::{IoErrorKind, Vfs, VfsFile};

use crate::{CrashImage, CrashMode, MemFile, MemFs, SyncFailure, SyncFault};

fn failing(model: SyncFailure) -> (MemFs, MemFile) {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    file.write_at(&[1; 1_024], 0).unwrap();
    file.sync().unwrap();
    fs.sync_dir("").unwrap();
    file.write_at(&[2; 512], 0).unwrap();
    fs.set_sync_fault(Some(SyncFault { path: String::from("a"), skip: 0, sticky: false, model }));
    let error = file.sync().unwrap_err();
    assert_eq!((error.kind, error.code), (IoErrorKind::Other, 5));
    (fs, file)
}

/// First byte now, and in the images with nothing and with all of what is not durable.
fn bytes(fs: &MemFs) -> (u8, u8, u8) {
    let at = |image| fs.crash_clone(0, CrashMode::Posix, image).contents("a").unwrap()[0];
    (fs.contents("a").unwrap()[0], at(CrashImage::None), at(CrashImage::All))
}

#[test]
fn clean_and_kept() {
    let (fs, file) = failing(SyncFailure::CleanAndKept);
    assert_eq!(bytes(&fs), (2, 1, 2));
    file.sync().unwrap();
    assert_eq!(bytes(&fs), (2, 1, 2), "a second sync succeeds and writes nothing");
    file.write_at(&[3; 512], 512).unwrap();
    file.sync().unwrap();
    assert_eq!(bytes(&fs), (2, 1, 2), "other sectors are written, the lost one is not");
    assert_eq!(fs.crash_clone(0, CrashMode::Posix, CrashImage::None).contents("a").unwrap()[512], 3);
    file.write_at(&[4], 1).unwrap();
    file.sync().unwrap();
    assert_eq!(bytes(&fs), (2, 2, 2), "a new write takes the whole sector along");
}

#[test]
fn clean_and_kept_loses_the_length_too() {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    fs.sync_dir("").unwrap();
    file.write_at(&[2; 512], 0).unwrap();
    fs.set_sync_fault(Some(SyncFault {
        path: String::new(),
        skip: 0,
        sticky: false,
        model: SyncFailure::CleanAndKept,
    }));
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(fs.contents("a").unwrap().len(), 512);
    assert!(fs.crash_clone(0, CrashMode::Posix, CrashImage::None).contents("a").unwrap().is_empty());
}

#[test]
fn reverted() {
    let (fs, file) = failing(SyncFailure::Reverted);
    assert_eq!(bytes(&fs), (1, 1, 1));
    file.sync().unwrap();
    assert_eq!(bytes(&fs), (1, 1, 1));
}

#[test]
fn error_but_persisted() {
    let (fs, _file) = failing(SyncFailure::ErrorButPersisted);
    assert_eq!(bytes(&fs), (2, 2, 2));
}

#[test]
fn map_flushes_and_directories_fail_too() {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    file.allocate(0, 4_096).unwrap();
    file.sync().unwrap();
    fs.sync_dir("").unwrap();
    let map = file.map(4_096).unwrap();
    map.store(0, b"x");
    let fault = SyncFault { path: String::new(), skip: 1, sticky: true, model: SyncFailure::CleanAndKept };
    fs.set_sync_fault(Some(fault));
    map.flush(0, 1).unwrap();
    map.store(0, b"y");
    assert!(map.flush(0, 1).is_err());
    fs.create("b").unwrap();
    assert!(fs.sync_dir("").is_err(), "sticky");
    fs.set_sync_fault(None);
    map.flush(0, 4_096).unwrap();
    fs.sync_dir("").unwrap();
    let image = fs.crash_clone(0, CrashMode::Posix, CrashImage::None);
    assert_eq!(image.contents("a").unwrap()[0], b'x');
    assert!(image.contents("b").is_err(), "a retried directory sync does not bring the name back");
}
