//! What is particular to real files; the rest is in the law suite of the `tests` crate.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use nokv_core::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile, join};
use tempfile::TempDir;

use crate::StdFs;

fn dir() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn zeros_stand_in_for_reserved_blocks() {
    let (_guard, dir) = dir();
    let path = join(&dir, "a");
    let file = StdFs::new().create(&path).unwrap();
    file.write_at(b"kept", 5_000).unwrap();
    file.set_len(300_000).unwrap();
    file.write_zeros(100, 500_000, 300_000).unwrap();
    file.sync().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 500_000);
    assert_eq!(bytes[5_000..5_004], *b"kept");
    assert_eq!(bytes.iter().filter(|b| **b != 0).count(), 4);
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 499_900, "the holes are filled");
}

#[test]
fn a_lock_names_its_holder_until_it_is_let_go() {
    let (_guard, dir) = dir();
    let path = join(&dir, "LOCK");
    fs::write(&path, "999999999999 left by one that died, and longer than a process id").unwrap();
    let held = StdFs::new().lock(&path).unwrap();
    let error = StdFs::new().lock(&path).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::WouldBlock);
    assert_eq!(error.code, i32::try_from(std::process::id()).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
    drop(held);
    assert_eq!(fs::read(&path).unwrap(), b"");
    // A removed and remade lock file is not the one that is held.
    let held = StdFs::new().lock(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let other = StdFs::new().lock(&path).unwrap();
    drop(held);
    assert!(StdFs::new().lock(&path).is_err());
    drop(other);
}

#[test]
fn a_look_at_a_lock_names_its_holder_and_writes_nothing() {
    let (_guard, dir) = dir();
    let path = join(&dir, "LOCK");
    StdFs::new().probe_lock(&path).unwrap();
    assert!(!fs::exists(&path).unwrap(), "a look makes no lock file");
    let held = StdFs::new().lock(&path).unwrap();
    let error = StdFs::new().probe_lock(&path).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::WouldBlock);
    assert_eq!(error.code, i32::try_from(std::process::id()).unwrap());
    drop(held);
    // One that died leaves its id, and holds nothing.
    fs::write(&path, "1\n").unwrap();
    StdFs::new().probe_lock(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
}

#[test]
fn looks_at_a_lock_keep_nobody_out() {
    let (_guard, dir) = dir();
    let path = join(&dir, "LOCK");
    drop(StdFs::new().lock(&path).unwrap());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = StdFs::new().probe_lock(&path);
            }
        });
        let taken = (0..2_000).find_map(|_| StdFs::new().lock(&path).err());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(taken, None);
    });
}

#[test]
fn symbolic_links_are_not_followed() {
    let (_guard, dir) = dir();
    let (target, link) = (join(&dir, "target"), join(&dir, "link"));
    fs::write(&target, "elsewhere").unwrap();
    symlink(&target, &link).unwrap();
    let fs = StdFs::new();
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        assert_eq!(fs.open(&link, mode).unwrap_err().kind, IoErrorKind::InvalidInput);
    }
    assert_eq!(fs.create(&link).unwrap_err().kind, IoErrorKind::AlreadyExists);
    assert_eq!(fs.size(&link).unwrap_err().kind, IoErrorKind::InvalidInput);
    assert_eq!(fs.lock(&link).unwrap_err().kind, IoErrorKind::InvalidInput);
    fs.unlink(&link).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"elsewhere");
}

#[test]
fn odd_paths_are_errors() {
    let fs = StdFs::new();
    assert_eq!(fs.create("a\0b").unwrap_err().kind, IoErrorKind::InvalidInput);
    assert_eq!(fs.create("").unwrap_err().kind, IoErrorKind::NotFound);
    assert_eq!(fs.create(&"x".repeat(5_000)).unwrap_err().kind, IoErrorKind::InvalidInput);
    assert!(fs.list("").unwrap().iter().any(|e| e.name == "Cargo.toml"), "empty is the working directory");
    let (_guard, dir) = dir();
    fs.create_dir_all(&dir).unwrap();
    assert!(fs.free_space(&dir).unwrap() > 0);
}

#[cfg(all(feature = "mmap", target_os = "linux"))]
#[test]
fn unknown_file_systems_are_not_mapped() {
    // proc is no place for a database, and nobody knows what its blocks are.
    let file = fs::File::open("/proc/self/stat").unwrap();
    let error = crate::map::StdMap::new(&std::sync::Arc::new(file), 1).err().unwrap();
    assert_eq!(error.kind, IoErrorKind::Unsupported);
}
