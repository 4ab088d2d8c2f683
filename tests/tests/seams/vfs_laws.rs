//! Every file system of the project keeps to the law of `Vfs`.

use std::sync::Mutex;

use nokv_core::vfs::{Capabilities, Vfs};
use nokv_tests::laws::vfs::check_vfs;
use nokv_vfs_mem::{FaultFs, MemFs};
use nokv_vfs_std::StdFs;
use tempfile::TempDir;

fn check_std(fs: StdFs) {
    let dirs: Mutex<Vec<TempDir>> = Mutex::new(Vec::new());
    check_vfs(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        dirs.lock().unwrap().push(dir);
        (fs, path)
    });
}

fn check_mem<V: Vfs>(make: impl Fn() -> V) {
    check_vfs(|| {
        let fs = make();
        fs.create_dir_all("some/dir").unwrap();
        (fs, "some/dir".to_owned())
    });
}

#[test]
fn files() {
    check_std(StdFs::new());
    assert_eq!(StdFs::new().capabilities().maps, cfg!(feature = "mmap") && cfg!(target_os = "linux"));
}

#[test]
fn files_without_maps() {
    check_std(StdFs::without_maps());
    assert!(!StdFs::without_maps().capabilities().maps);
}

#[test]
fn memory() {
    check_mem(MemFs::new);
    check_vfs(|| (MemFs::new(), String::new()));
    check_vfs(|| (MemFs::new(), "/".to_owned()));
}

#[test]
fn memory_of_a_plain_host() {
    for n in 0..16 {
        let caps = Capabilities {
            maps: n & 1 != 0,
            atomic_rename: n & 2 != 0,
            directory_sync: n & 4 != 0,
            hard_links: n & 8 != 0,
        };
        check_mem(|| MemFs::with_capabilities(caps));
    }
}

#[test]
fn memory_with_a_limit() {
    check_mem(|| {
        let fs = MemFs::new();
        fs.set_capacity(16 << 20);
        fs
    });
}

#[test]
fn images_of_memory() {
    check_mem(|| {
        use nokv_vfs_mem::{CrashImage, CrashMode};
        MemFs::new().crash_clone(3, CrashMode::Hostile, CrashImage::Random)
    });
    check_mem(|| MemFs::new().kill_clone());
}

#[test]
fn faults_without_rules() {
    check_mem(|| FaultFs::new(MemFs::new()));
    check_mem(|| FaultFs::new(FaultFs::new(MemFs::new())));
}
