//! A disk that runs full, and what space is counted for.

use nokv_core::vfs::{IoErrorKind, Vfs, VfsFile};

use crate::{CrashImage, CrashMode, MemFs};

fn no_space<T>(result: Result<T, nokv_core::vfs::IoError>) {
    assert_eq!(result.err().map(|e| e.kind), Some(IoErrorKind::NoSpace));
}

#[test]
fn a_full_disk_refuses_cleanly_and_recovers() {
    let fs = MemFs::new();
    fs.set_capacity(16_384);
    let file = fs.create("a").unwrap();
    file.write_at(&[1; 10_000], 0).unwrap();
    assert_eq!((fs.used(), fs.free_space("").unwrap()), (12_288, 4_096));
    no_space(file.write_at(&[2; 8_192], 10_000));
    no_space(file.allocate(0, 20_000));
    assert_eq!((file.size().unwrap(), fs.used()), (10_000, 12_288), "nothing was half done");
    file.write_at(&[3; 12_288], 0).unwrap();
    let other = fs.create("b").unwrap();
    other.allocate(0, 4_096).unwrap();
    no_space(file.write_at(&[1], 12_288));
    other.write_at(&[4; 4_096], 0).unwrap();
    other.map(4_096).unwrap().store(0, &[5; 4_096]);
    fs.unlink("b").unwrap();
    no_space(file.write_at(&[1], 12_288));
    drop(other);
    file.write_at(&[1], 12_288).unwrap();
    fs.set_capacity(0);
    assert_eq!(fs.free_space("").unwrap(), 0);
    file.write_at(&[6; 10], 0).unwrap();
    no_space(fs.create("c").unwrap().write_at(&[1], 0));
    fs.set_capacity(u64::MAX);
    file.write_at(&[1; 100_000], 0).unwrap();
}

#[test]
fn cutting_and_replacing_gives_space_back() {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    file.allocate(0, 1 << 20).unwrap();
    assert_eq!(fs.used(), 1 << 20);
    file.write_at(&[1; 8_192], 4_096).unwrap();
    assert_eq!(fs.used(), 1 << 20, "reserved blocks are not counted twice");
    file.set_len(5_000).unwrap();
    assert_eq!(fs.used(), 8_192);
    file.set_len(1 << 30).unwrap();
    assert_eq!(fs.used(), 8_192, "holes take nothing");
    drop(file);
    fs.create("b").unwrap().write_at(&[1], 0).unwrap();
    fs.rename("b", "a").unwrap();
    assert_eq!(fs.used(), 4_096);
}

#[test]
fn images_count_what_they_hold() {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    file.allocate(0, 65_536).unwrap();
    file.sync().unwrap();
    fs.sync_dir("").unwrap();
    fs.unlink("a").unwrap();
    drop(file);
    assert_eq!(fs.used(), 0);
    let image = fs.crash_clone(0, CrashMode::Posix, CrashImage::None);
    assert_eq!(image.used(), 65_536, "an unlink that was undone takes its space again");
    let file = image.open("a", nokv_core::vfs::OpenMode::ReadWrite).unwrap();
    assert!(file.map(65_536).is_ok(), "synced blocks are still allocated");
}

#[test]
fn maps_take_allocated_blocks_only() {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    file.set_len(8_192).unwrap();
    assert_eq!(file.map(8_192).err().unwrap().kind, IoErrorKind::InvalidInput);
    file.allocate(0, 4_096).unwrap();
    assert!(file.map(4_096).is_ok());
    assert_eq!(file.map(8_192).err().unwrap().kind, IoErrorKind::InvalidInput);
    file.write_at(&[1], 8_191).unwrap();
    assert!(file.map(8_192).is_ok());
}
