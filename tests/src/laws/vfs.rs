//! The law of [`Vfs`]: what `nokv_core::vfs` promises, as checks that any file system must pass.
//!
//! Durability itself cannot be seen without a power cut; the simulated disk has tests of its own for that.

use std::sync::Arc;

use nokv_core::vfs::{DirEntry, IoErrorKind, IoResult, OpenMode, ReadRequest, Vfs, VfsFile, join};

type Law<V> = fn(&V, &str);

/// Checks every law, each on a file system and an empty directory of its own from `make`.
///
/// # Panics
/// When a law does not hold.
pub fn check_vfs<V: Vfs>(make: impl Fn() -> (V, String)) {
    let laws: &[(&str, Law<V>)] = &[
        ("create", create),
        ("open", open),
        ("names", names),
        ("read", read),
        ("write", write),
        ("read-only", read_only),
        ("length", length),
        ("allocate", allocate),
        ("rename", rename),
        ("rename_noreplace", rename_noreplace),
        ("link", link),
        ("unlink", unlink),
        ("directories", directories),
        ("list", list),
        ("lock", lock),
        ("sync", sync),
        ("map", map),
        ("map stores from threads", map_threads),
        ("writes from threads", write_threads),
        ("clones", clones),
    ];
    for (name, law) in laws {
        println!("law: {name}");
        let (vfs, dir) = make();
        law(&vfs, &dir);
    }
}

#[track_caller]
fn refused<T>(result: IoResult<T>, kind: IoErrorKind) {
    match result {
        Ok(_) => panic!("succeeded instead of {kind:?}"),
        Err(error) => assert_eq!(error.kind, kind),
    }
}

fn put<V: Vfs>(vfs: &V, path: &str, bytes: &[u8]) -> V::File {
    let file = vfs.create(path).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn bytes_of<F: VfsFile>(file: &F) -> Vec<u8> {
    let mut bytes = vec![0xee; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn contents<V: Vfs>(vfs: &V, path: &str) -> Vec<u8> {
    bytes_of(&vfs.open(path, OpenMode::Read).unwrap())
}

fn entries<V: Vfs>(vfs: &V, dir: &str) -> Vec<DirEntry> {
    let mut entries = vfs.list(dir).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

fn create<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    let file = vfs.create(&path).unwrap();
    assert_eq!(file.size().unwrap(), 0);
    file.write_at(b"for reading and writing", 0).unwrap();
    assert_eq!(bytes_of(&file), b"for reading and writing");
    refused(vfs.create(&path), IoErrorKind::AlreadyExists);
    assert_eq!(contents(vfs, &path), b"for reading and writing");
    vfs.create_dir_all(&join(dir, "d")).unwrap();
    refused(vfs.create(&join(dir, "d")), IoErrorKind::AlreadyExists);
    refused(vfs.create(&join(dir, "missing/a")), IoErrorKind::NotFound);
}

fn open<V: Vfs>(vfs: &V, dir: &str) {
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        refused(vfs.open(&join(dir, "none"), mode), IoErrorKind::NotFound);
        refused(vfs.open(&join(dir, "none/a"), mode), IoErrorKind::NotFound);
        refused(vfs.open(dir, mode), IoErrorKind::InvalidInput);
    }
    assert!(vfs.list(dir).unwrap().is_empty(), "a failed open leaves nothing");
    let path = join(dir, "a");
    let first = put(vfs, &path, b"one");
    let second = vfs.open(&path, OpenMode::ReadWrite).unwrap();
    second.write_at(b"two", 0).unwrap();
    assert_eq!(bytes_of(&first), b"two");
}

fn names<V: Vfs>(vfs: &V, dir: &str) {
    let missing = join(dir, "missing");
    refused(vfs.size(&missing), IoErrorKind::NotFound);
    refused(vfs.unlink(&missing), IoErrorKind::NotFound);
    refused(vfs.list(&missing), IoErrorKind::NotFound);
    refused(vfs.sync_dir(&missing), IoErrorKind::NotFound);
    refused(vfs.rename(&missing, &join(dir, "b")), IoErrorKind::NotFound);
    refused(vfs.rename_noreplace(&missing, &join(dir, "b")), IoErrorKind::NotFound);
    refused(vfs.lock(&join(dir, "missing/lock")), IoErrorKind::NotFound);
    // Case matters, and names are taken whole.
    put(vfs, &join(dir, "Ab"), b"upper");
    put(vfs, &join(dir, "ab"), b"lower");
    put(vfs, &join(dir, "ab.tmp"), b"longer");
    assert_eq!(contents(vfs, &join(dir, "Ab")), b"upper");
    assert_eq!(contents(vfs, &join(dir, "ab")), b"lower");
    // A file is no directory.
    refused(vfs.open(&join(dir, "ab/c"), OpenMode::Read), IoErrorKind::InvalidInput);
    refused(vfs.list(&join(dir, "ab")), IoErrorKind::InvalidInput);
}

fn read<V: Vfs>(vfs: &V, dir: &str) {
    let data: Vec<u8> = (0..10_000u32).map(|i| (i * 7 % 251) as u8).collect();
    let file = put(vfs, &join(dir, "a"), &data);
    for (offset, len) in [(0, 10), (4090, 12), (511, 2), (0, 10_000), (9_999, 1), (10_000, 0), (3, 0)] {
        let mut buf = vec![0; len];
        assert_eq!(file.read_at(&mut buf, offset as u64).unwrap(), len);
        assert_eq!(buf, data[offset..offset + len]);
    }
    let mut buf = [0xee; 16];
    assert_eq!(file.read_at(&mut buf, 9_990).unwrap(), 10);
    assert_eq!(buf[..10], data[9_990..]);
    assert_eq!(buf[10..], [0xee; 6], "nothing behind the bytes read is touched");
    for behind in [10_000, 10_001, 1 << 40, u64::MAX] {
        assert_eq!(file.read_at(&mut buf, behind).unwrap(), 0);
        refused(file.read_exact_at(&mut buf, behind), IoErrorKind::UnexpectedEof);
    }
    refused(file.read_exact_at(&mut buf, 9_990), IoErrorKind::UnexpectedEof);

    let (mut a, mut b, mut c) = ([0; 5], [0; 4096], [0; 0]);
    let mut requests = [
        ReadRequest { offset: 5_000, buf: &mut a },
        ReadRequest { offset: 100, buf: &mut b },
        ReadRequest { offset: 0, buf: &mut c },
    ];
    file.read_many(&mut requests).unwrap();
    assert_eq!((&a[..], &b[..]), (&data[5_000..5_005], &data[100..4_196]));
    let mut requests = [ReadRequest { offset: 0, buf: &mut a }, ReadRequest { offset: 9_999, buf: &mut b }];
    refused(file.read_many(&mut requests), IoErrorKind::UnexpectedEof);
    file.read_many(&mut []).unwrap();
}

fn write<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    let file = vfs.create(&path).unwrap();
    file.write_at(b"", 100).unwrap();
    assert_eq!(file.size().unwrap(), 0, "writing nothing grows nothing");
    file.write_at(b"end", 5_000).unwrap();
    assert_eq!(file.size().unwrap(), 5_003);
    assert_eq!(vfs.size(&path).unwrap(), 5_003, "the length by name is the same without a sync");
    let mut expected = vec![0; 5_000];
    expected.extend_from_slice(b"end");
    assert_eq!(bytes_of(&file), expected, "a gap reads as zeros");
    file.write_at(b"start", 0).unwrap();
    file.write_at(b"middle", 4_094).unwrap();
    expected[..5].copy_from_slice(b"start");
    expected[4_094..4_100].copy_from_slice(b"middle");
    assert_eq!(bytes_of(&file), expected);
    refused(file.write_at(b"ab", u64::MAX), IoErrorKind::InvalidInput);
    refused(file.write_at(b"ab", u64::MAX - 2), IoErrorKind::InvalidInput);
    assert_eq!(bytes_of(&file), expected);
    let large = vec![0x5a; 3 << 20];
    file.write_at(&large, 1).unwrap();
    assert_eq!(file.size().unwrap(), (3 << 20) + 1);
    assert_eq!(bytes_of(&file)[1..], large);
}

fn read_only<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    put(vfs, &path, b"fixed");
    let file = vfs.open(&path, OpenMode::Read).unwrap();
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.set_len(1).is_err());
    assert!(file.allocate(0, 100).is_err());
    assert!(file.map(5).is_err());
    assert_eq!(bytes_of(&file), b"fixed");
    assert_eq!(file.size().unwrap(), 5);
}

fn length<V: Vfs>(vfs: &V, dir: &str) {
    let file = put(vfs, &join(dir, "a"), &[0xaa; 9_000]);
    file.set_len(5_000).unwrap();
    assert_eq!(bytes_of(&file), [0xaa; 5_000]);
    file.set_len(9_000).unwrap();
    let mut expected = vec![0xaa; 5_000];
    expected.resize(9_000, 0);
    assert_eq!(bytes_of(&file), expected, "what was cut off does not come back");
    file.set_len(5_000).unwrap();
    file.write_at(b"x", 6_000).unwrap();
    expected.truncate(6_000);
    expected.push(b'x');
    assert_eq!(bytes_of(&file), expected);
    file.set_len(0).unwrap();
    assert_eq!(file.size().unwrap(), 0);
    file.set_len(1 << 30).unwrap();
    let mut buf = [1; 64];
    file.read_exact_at(&mut buf, (1 << 30) - 64).unwrap();
    assert_eq!(buf, [0; 64]);
    assert!(file.set_len(u64::MAX).is_err());
    assert_eq!(file.size().unwrap(), 1 << 30);
}

fn allocate<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    let file = put(vfs, &path, &[0xaa; 100]);
    file.allocate(0, 10_000).unwrap();
    assert_eq!(file.size().unwrap(), 10_000, "the length covers what was reserved");
    let mut expected = vec![0xaa; 100];
    expected.resize(10_000, 0);
    assert_eq!(bytes_of(&file), expected, "bytes that were there stay, new ones are zeros");
    file.allocate(0, 50).unwrap();
    file.allocate(9_000, 1_000).unwrap();
    assert_eq!(file.size().unwrap(), 10_000, "it never shrinks");
    file.allocate(20_000, 5_000).unwrap();
    expected.resize(25_000, 0);
    assert_eq!(bytes_of(&file), expected);
    file.allocate(50_000, 0).unwrap();
    assert_eq!(file.size().unwrap(), 25_000, "reserving nothing changes nothing");
    refused(file.allocate(u64::MAX, 2), IoErrorKind::InvalidInput);
    file.write_at(b"end", 24_997).unwrap();
    expected[24_997..].copy_from_slice(b"end");
    assert_eq!(contents(vfs, &path), expected);
}

fn rename<V: Vfs>(vfs: &V, dir: &str) {
    let (a, b) = (join(dir, "a"), join(dir, "b"));
    let open = put(vfs, &a, b"new");
    vfs.rename(&a, &b).unwrap();
    refused(vfs.size(&a), IoErrorKind::NotFound);
    assert_eq!(contents(vfs, &b), b"new");
    open.write_at(b"NEW", 0).unwrap();
    assert_eq!(contents(vfs, &b), b"NEW", "an open file goes with its name");
    let old = put(vfs, &a, b"newest");
    vfs.rename(&a, &b).unwrap();
    assert_eq!(contents(vfs, &b), b"newest", "the old target is replaced");
    assert_eq!(bytes_of(&open), b"NEW", "and stays readable where it is open");
    drop((old, open));
    assert_eq!(entries(vfs, dir).len(), 1);
    vfs.rename(&b, &b).unwrap();
    assert_eq!(contents(vfs, &b), b"newest");
    vfs.create_dir_all(&join(dir, "d")).unwrap();
    refused(vfs.rename(&b, &join(dir, "d")), IoErrorKind::InvalidInput);
    vfs.rename(&b, &join(dir, "d/b")).unwrap();
    assert_eq!(contents(vfs, &join(dir, "d/b")), b"newest");
    refused(vfs.rename(&join(dir, "d/b"), &join(dir, "none/b")), IoErrorKind::NotFound);
}

fn rename_noreplace<V: Vfs>(vfs: &V, dir: &str) {
    let (a, b) = (join(dir, "a"), join(dir, "b"));
    put(vfs, &a, b"a");
    vfs.rename_noreplace(&a, &b).unwrap();
    refused(vfs.size(&a), IoErrorKind::NotFound);
    put(vfs, &a, b"other");
    refused(vfs.rename_noreplace(&a, &b), IoErrorKind::AlreadyExists);
    assert_eq!((contents(vfs, &a), contents(vfs, &b)), (b"other".to_vec(), b"a".to_vec()));
    refused(vfs.rename_noreplace(&a, &a), IoErrorKind::AlreadyExists);
    assert_eq!(entries(vfs, dir).iter().map(|e| e.links).collect::<Vec<_>>(), [1, 1]);
}

fn link<V: Vfs>(vfs: &V, dir: &str) {
    let (a, b) = (join(dir, "a"), join(dir, "b"));
    let file = put(vfs, &a, b"one");
    if !vfs.capabilities().hard_links {
        refused(vfs.link(&a, &b), IoErrorKind::Unsupported);
        return;
    }
    vfs.link(&a, &b).unwrap();
    file.write_at(b"two", 0).unwrap();
    assert_eq!(contents(vfs, &b), b"two", "both names are one file");
    assert_eq!(entries(vfs, dir).iter().map(|e| e.links).collect::<Vec<_>>(), [2, 2]);
    refused(vfs.link(&a, &b), IoErrorKind::AlreadyExists);
    refused(vfs.link(&join(dir, "none"), &join(dir, "c")), IoErrorKind::NotFound);
    vfs.rename(&a, &b).unwrap();
    assert_eq!(entries(vfs, dir).len(), 2, "renaming one name of a file over another changes nothing");
    vfs.unlink(&a).unwrap();
    assert_eq!(contents(vfs, &b), b"two");
    assert_eq!(entries(vfs, dir)[0].links, 1);
}

fn unlink<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    let file = put(vfs, &path, b"still here");
    vfs.unlink(&path).unwrap();
    refused(vfs.open(&path, OpenMode::Read), IoErrorKind::NotFound);
    assert!(vfs.list(dir).unwrap().is_empty());
    assert_eq!(bytes_of(&file), b"still here", "an open file stays readable");
    file.write_at(b"STILL", 0).unwrap();
    file.sync().unwrap();
    let other = put(vfs, &path, b"new");
    assert_eq!(bytes_of(&file), b"STILL here");
    assert_eq!(bytes_of(&other), b"new");
    vfs.create_dir_all(&join(dir, "d")).unwrap();
    assert!(vfs.unlink(&join(dir, "d")).is_err(), "a directory is no file");
}

fn directories<V: Vfs>(vfs: &V, dir: &str) {
    let deep = join(dir, "x/y/z");
    vfs.create_dir_all(&deep).unwrap();
    vfs.create_dir_all(&deep).unwrap();
    vfs.create_dir_all(dir).unwrap();
    put(vfs, &join(&deep, "file"), b"1");
    assert_eq!(entries(vfs, &deep).len(), 1);
    assert_eq!(vfs.size(&join(&deep, "file")).unwrap(), 1);
    refused(vfs.size(&deep), IoErrorKind::InvalidInput);
    refused(vfs.create_dir_all(&join(&deep, "file")), IoErrorKind::AlreadyExists);
    refused(vfs.create_dir_all(&join(&deep, "file/sub")), IoErrorKind::InvalidInput);
    for parent in [dir, &join(dir, "x"), &join(dir, "x/y"), &deep] {
        vfs.sync_dir(parent).unwrap();
    }
    assert!(vfs.free_space(dir).unwrap() > 0);
}

fn list<V: Vfs>(vfs: &V, dir: &str) {
    assert!(vfs.list(dir).unwrap().is_empty());
    for i in 0..100u64 {
        put(vfs, &join(dir, &format!("{i:03}")), &vec![1; i as usize]);
    }
    vfs.create_dir_all(&join(dir, "zz")).unwrap();
    let found = entries(vfs, dir);
    assert_eq!(found.len(), 101);
    for (i, entry) in found[..100].iter().enumerate() {
        let expected = DirEntry { name: format!("{i:03}"), size: i as u64, is_dir: false, links: 1 };
        assert_eq!(*entry, expected);
    }
    assert_eq!((found[100].name.as_str(), found[100].size, found[100].is_dir), ("zz", 0, true));
}

fn lock<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "LOCK");
    let held = vfs.lock(&path).unwrap();
    assert_eq!(entries(vfs, dir).len(), 1, "the lock file is made");
    let error = vfs.lock(&path).err().expect("a second holder");
    assert_eq!(error.kind, IoErrorKind::WouldBlock);
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(error.code == 0 || error.code == own, "names the holder or nobody: {}", error.code);
    let other = vfs.lock(&join(dir, "OTHER")).unwrap();
    drop(held);
    let again = vfs.lock(&path).unwrap();
    assert!(vfs.lock(&path).is_err());
    assert!(vfs.lock(&join(dir, "OTHER")).is_err());
    drop((again, other));
    drop(vfs.lock(&path).unwrap());
}

fn sync<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    let file = put(vfs, &path, b"synced");
    file.sync().unwrap();
    file.sync().unwrap();
    vfs.sync_dir(dir).unwrap();
    vfs.sync_dir(dir).unwrap();
    assert_eq!(contents(vfs, &path), b"synced");
    vfs.unlink(&path).unwrap();
    vfs.sync_dir(dir).unwrap();
    file.sync().unwrap();
    assert!(vfs.list(dir).unwrap().is_empty());
}

fn map<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    let file = vfs.create(&path).unwrap();
    file.allocate(0, 20_000).unwrap();
    file.write_at(b"before", 10).unwrap();
    let map = match file.map(16_384) {
        Ok(map) => map,
        Err(error) => {
            assert_eq!(error.kind, IoErrorKind::Unsupported, "maps may be missing, not broken");
            return;
        }
    };
    assert!(vfs.capabilities().maps);
    assert_eq!((map.len(), map.is_empty()), (16_384, false));
    let mut buf = [0; 6];
    map.load(10, &mut buf);
    assert_eq!(&buf, b"before", "a map shows what was written");
    map.store(4_093, b"stored");
    map.store(16_380, b"last");
    map.store(16_384, b"");
    file.read_exact_at(&mut buf, 4_093).unwrap();
    assert_eq!(&buf, b"stored", "reads see stores");
    file.write_at(b"WRITE", 4_093).unwrap();
    map.load(4_093, &mut buf);
    assert_eq!(&buf, b"WRITEd", "the map sees later writes");
    for (offset, len) in [(0, 16_384), (4_093, 6), (1, 0), (16_384, 0)] {
        map.flush(offset, len).unwrap();
    }
    assert!(map.flush(16_000, 385).is_err());
    assert!(map.flush(u64::MAX, 2).is_err());
    for (offset, len) in [(16_384, 1), (16_380, 5), (u64::MAX, 2)] {
        let outside = std::panic::AssertUnwindSafe(|| map.store(offset, &vec![0; len]));
        assert!(std::panic::catch_unwind(outside).is_err(), "a store outside of the map is caught");
    }
    drop(file);
    map.store(0, b"later");
    vfs.unlink(&path).unwrap();
    map.store(5, b"!");
    let mut buf = [0; 6];
    map.load(0, &mut buf);
    assert_eq!(&buf, b"later!", "a map outlives handle and name");

    let file = put(vfs, &path, b"short");
    refused(file.map(0).map(drop), IoErrorKind::InvalidInput);
    refused(file.map(6).map(drop), IoErrorKind::InvalidInput);
    file.set_len(1 << 20).unwrap();
    assert!(file.map(1 << 20).is_err(), "holes are not mapped");
}

fn map_threads<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    let file = vfs.create(&path).unwrap();
    file.allocate(0, 64 * 1024).unwrap();
    let Ok(map) = file.map(64 * 1024) else { return };
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let map = &map;
            scope.spawn(move || {
                for i in 0..128u64 {
                    map.store((i * 4 + u64::from(thread)) * 100, &[thread + 1; 100]);
                }
            });
        }
    });
    map.flush(0, 64 * 1024).unwrap();
    let bytes = contents(vfs, &path);
    for (i, chunk) in bytes[..51_200].chunks(100).enumerate() {
        assert!(chunk.iter().all(|b| usize::from(*b) == i % 4 + 1));
    }
    assert!(bytes[51_200..].iter().all(|b| *b == 0));
}

fn write_threads<V: Vfs>(vfs: &V, dir: &str) {
    let path = join(dir, "a");
    let file = Arc::new(vfs.create(&path).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let file = Arc::clone(&file);
            scope.spawn(move || {
                for i in (0..128u64).rev() {
                    file.write_at(&[thread + 1; 100], (i * 4 + u64::from(thread)) * 100).unwrap();
                }
                file.sync().unwrap();
            });
        }
    });
    let bytes = contents(vfs, &path);
    assert_eq!(bytes.len(), 51_200);
    for (i, chunk) in bytes.chunks(100).enumerate() {
        assert!(chunk.iter().all(|b| usize::from(*b) == i % 4 + 1));
    }
}

fn clones<V: Vfs>(vfs: &V, dir: &str) {
    let other = vfs.clone();
    assert_eq!(other.capabilities(), vfs.capabilities());
    put(&other, &join(dir, "a"), b"shared");
    assert_eq!(contents(vfs, &join(dir, "a")), b"shared");
    let _held = other.lock(&join(dir, "LOCK")).unwrap();
    refused(vfs.lock(&join(dir, "LOCK")), IoErrorKind::WouldBlock);
}
