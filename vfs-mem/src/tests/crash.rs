//! What a power cut keeps and loses.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use nokv_core::sync::{Arc, Mutex};
use nokv_core::vfs::{Capabilities, IoErrorKind, OpenMode, Vfs, VfsFile};

use crate::{CrashImage, CrashMode, MemFs};

const MODES: [CrashMode; 2] = [CrashMode::Posix, CrashMode::Hostile];
const IMAGES: [CrashImage; 5] =
    [CrashImage::None, CrashImage::All, CrashImage::AllButOne, CrashImage::OneOnly, CrashImage::Random];

/// Every mode and image with several seeds.
fn all_images(fs: &MemFs, seeds: u64, mut check: impl FnMut(CrashMode, CrashImage, &MemFs)) {
    for mode in MODES {
        for image in IMAGES {
            for seed in 0..seeds {
                check(mode, image, &fs.crash_clone(seed, mode, image));
            }
        }
    }
}

/// All outcomes of `look` over many random images of `mode`.
fn outcomes<T: Ord>(fs: &MemFs, mode: CrashMode, look: impl Fn(&MemFs) -> T) -> BTreeSet<T> {
    (0..1_000).map(|seed| look(&fs.crash_clone(seed, mode, CrashImage::Random))).collect()
}

fn names(fs: &MemFs) -> Vec<String> {
    fs.list("").unwrap().into_iter().map(|e| e.name).collect()
}

fn durable(fs: &MemFs, path: &str, bytes: &[u8]) -> crate::MemFile {
    let file = fs.create(path).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
    fs.sync_dir("").unwrap();
    file
}

#[test]
fn synced_bytes_survive_every_image() {
    let fs = MemFs::new();
    let file = durable(&fs, "a", &[1; 5_000]);
    file.write_at(&[2; 700], 4_800).unwrap();
    file.sync().unwrap();
    // Unsynced work elsewhere, also in the same file.
    file.write_at(&[3; 5_000], 8_192).unwrap();
    fs.create("b").unwrap().write_at(&[4; 3_000], 0).unwrap();
    fs.create_dir_all("d/e").unwrap();
    all_images(&fs, 40, |_, _, image| {
        let bytes = image.contents("a").unwrap();
        assert!(bytes.len() >= 5_500);
        assert_eq!(bytes[..4_800], [1; 4_800]);
        assert_eq!(bytes[4_800..5_500], [2; 700]);
        if let Ok(bytes) = image.contents("b") {
            assert!(bytes.len() <= 3_000);
        }
    });
}

#[test]
fn the_corner_images_are_what_they_say() {
    let fs = MemFs::new();
    let file = durable(&fs, "a", &[1; 2_048]);
    file.write_at(&[2; 4_096], 0).unwrap();
    fs.create("b").unwrap();
    for mode in MODES {
        let none = fs.crash_clone(1, mode, CrashImage::None);
        assert_eq!((names(&none), none.contents("a").unwrap()), (vec!["a".into()], vec![1; 2_048]));
        let all = fs.crash_clone(1, mode, CrashImage::All);
        assert_eq!((names(&all), all.contents("a").unwrap()), (vec!["a".into(), "b".into()], vec![2; 4_096]));
    }
    // Eight sectors, a length, a file, a name: each is the one that is missing, or the only one, at times.
    let (mut missing, mut only) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..400 {
        let image = fs.crash_clone(seed, CrashMode::Posix, CrashImage::AllButOne);
        let bytes = image.contents("a").unwrap();
        let old = bytes.chunks(512).filter(|s| s[0] != 2).count();
        let name = names(&image).len() == 2;
        assert!(matches!(
            (bytes.len(), old, name),
            (4_096, 0 | 1, true) | (2_048, 0 | 4, true) | (4_096, 0, false)
        ));
        missing.insert((bytes.len(), old, name));
        let image = fs.crash_clone(seed, CrashMode::Posix, CrashImage::OneOnly);
        let bytes = image.contents("a").unwrap();
        let new = bytes.chunks(512).filter(|s| s[0] == 2).count();
        only.insert((bytes.len(), new, names(&image).len() == 2));
    }
    let expected = [(2_048, 0, true), (2_048, 4, true), (4_096, 0, false), (4_096, 1, true)];
    assert_eq!(missing, BTreeSet::from(expected));
    let expected =
        [(2_048, 0, false), (2_048, 0, true), (2_048, 1, false), (4_096, 0, false), (4_096, 8, false)];
    assert_eq!(only, BTreeSet::from(expected));
}

#[test]
fn each_sector_takes_a_point_of_its_own_history() {
    let fs = MemFs::new();
    let file = durable(&fs, "a", &[0; 1_024]);
    for value in 1..=3u8 {
        file.write_at(&[value; 1_024], 0).unwrap();
    }
    let seen = outcomes(&fs, CrashMode::Posix, |image| {
        let bytes = image.contents("a").unwrap();
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|b| *b == sector[0]), "a sector is never torn");
        }
        (bytes[0], bytes[512])
    });
    assert_eq!(seen.len(), 16, "every pair of points occurs: {seen:?}");
}

#[test]
fn length_and_data_go_their_own_ways() {
    let fs = MemFs::new();
    let file = durable(&fs, "a", b"");
    file.write_at(&[1; 512], 0).unwrap();
    file.write_at(&[1; 512], 512).unwrap();
    let seen = outcomes(&fs, CrashMode::Posix, |image| {
        let bytes = image.contents("a").unwrap();
        (bytes.len(), bytes.iter().map(|b| usize::from(*b)).sum::<usize>())
    });
    for expected in [(0, 0), (512, 0), (512, 512), (1_024, 0), (1_024, 512), (1_024, 1_024)] {
        assert!(seen.contains(&expected), "{expected:?} of {seen:?}");
    }
    assert_eq!(seen.len(), 6);
}

#[test]
fn an_unsynced_cut_may_come_back() {
    let fs = MemFs::new();
    let file = durable(&fs, "a", &[1; 1_024]);
    file.set_len(100).unwrap();
    file.set_len(1_024).unwrap();
    let seen = outcomes(&fs, CrashMode::Posix, |image| {
        let bytes = image.contents("a").unwrap();
        assert_eq!(bytes[..100], [1; 100]);
        (bytes.len(), bytes.iter().skip(100).filter(|b| **b == 1).count())
    });
    assert!(
        seen.contains(&(1_024, 924)) && seen.contains(&(1_024, 0)) && seen.contains(&(100, 0)),
        "{seen:?}"
    );
    file.sync().unwrap();
    all_images(&fs, 20, |_, _, image| {
        assert!(image.contents("a").unwrap()[100..].iter().all(|b| *b == 0), "a synced cut is final");
    });
}

#[test]
fn a_name_that_was_not_synced_may_vanish_with_its_synced_bytes() {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    file.write_at(b"synced", 0).unwrap();
    file.sync().unwrap();
    let seen = outcomes(&fs, CrashMode::Posix, |image| image.contents("a").ok());
    assert_eq!(seen, BTreeSet::from([None, Some(b"synced".to_vec())]));
    fs.sync_dir("").unwrap();
    assert_eq!(outcomes(&fs, CrashMode::Posix, |image| image.contents("a").ok()).len(), 1);
}

#[test]
fn a_name_may_be_there_without_its_bytes() {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    file.write_at(b"unsynced", 0).unwrap();
    fs.sync_dir("").unwrap();
    let seen = outcomes(&fs, CrashMode::Posix, |image| image.contents("a").unwrap());
    assert_eq!(seen, BTreeSet::from([vec![], vec![0; 8], b"unsynced".to_vec()]));
}

#[test]
fn an_unsynced_unlink_may_come_back_or_stay_gone() {
    let fs = MemFs::new();
    drop(durable(&fs, "a", b"old"));
    fs.unlink("a").unwrap();
    let seen = outcomes(&fs, CrashMode::Posix, |image| image.contents("a").ok());
    assert_eq!(seen, BTreeSet::from([None, Some(b"old".to_vec())]));
    // A new file of the name does not hide the old one.
    durable_without_dir(&fs, "a", b"new");
    let seen = outcomes(&fs, CrashMode::Posix, |image| image.contents("a").ok());
    assert_eq!(seen, BTreeSet::from([None, Some(b"old".to_vec()), Some(b"new".to_vec())]));
    fs.sync_dir("").unwrap();
    let seen = outcomes(&fs, CrashMode::Hostile, |image| image.contents("a").ok());
    assert_eq!(seen, BTreeSet::from([Some(b"new".to_vec())]));
    assert_eq!(fs.shared.disk.read().files.len(), 1, "the old file is forgotten");
}

fn durable_without_dir(fs: &MemFs, path: &str, bytes: &[u8]) {
    let file = fs.create(path).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
}

#[test]
fn directory_operations_persist_independently() {
    let fs = MemFs::new();
    for name in ["a", "b", "c"] {
        fs.create(name).unwrap();
    }
    assert_eq!(outcomes(&fs, CrashMode::Posix, names).len(), 8);
    fs.create_dir_all("d").unwrap();
    fs.sync_dir("").unwrap();
    durable_without_dir(&fs, "d/x", b"1");
    let seen = outcomes(&fs, CrashMode::Posix, |image| image.contents("d/x").is_ok());
    assert_eq!(seen.len(), 2, "syncing the parent does not sync the child's names");
}

#[test]
fn a_rename_is_atomic_in_posix_mode_only() {
    let fs = MemFs::new();
    drop(durable(&fs, "CURRENT", b"old"));
    drop(durable(&fs, "tmp", b"new"));
    fs.rename("tmp", "CURRENT").unwrap();
    let look = |image: &MemFs| (image.contents("CURRENT").ok(), image.contents("tmp").ok());
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    let atomic = BTreeSet::from([(old.clone(), new.clone()), (new.clone(), None)]);
    assert_eq!(outcomes(&fs, CrashMode::Posix, look), atomic);
    let seen = outcomes(&fs, CrashMode::Hostile, look);
    for torn in [(None, None), (new.clone(), new.clone()), (old, None), (None, new.clone())] {
        assert!(seen.contains(&torn), "{torn:?} of {seen:?}");
    }
    let both = fs.crash_clone(0, CrashMode::Posix, CrashImage::All);
    assert_eq!(look(&both), (new.clone(), None));
    fs.sync_dir("").unwrap();
    assert_eq!(outcomes(&fs, CrashMode::Hostile, look), BTreeSet::from([(new, None)]));

    let caps = Capabilities { atomic_rename: false, ..MemFs::new().capabilities() };
    let fs = MemFs::with_capabilities(caps);
    drop(durable(&fs, "tmp", b"new"));
    fs.rename("tmp", "CURRENT").unwrap();
    assert_eq!(outcomes(&fs, CrashMode::Posix, look).len(), 4, "a host without atomic renames");
}

#[test]
fn names_are_durable_at_once_without_directory_sync() {
    let caps = Capabilities { directory_sync: false, ..MemFs::new().capabilities() };
    let fs = MemFs::with_capabilities(caps);
    durable_without_dir(&fs, "a", b"1");
    durable_without_dir(&fs, "b", b"2");
    fs.unlink("b").unwrap();
    fs.rename("a", "c").unwrap();
    all_images(&fs, 10, |_, _, image| assert_eq!(names(image), ["c"]));
    assert_eq!(fs.shared.disk.read().files.len(), 1);
}

#[test]
fn a_rename_between_directories_is_settled_by_either_sync() {
    for dir in ["x", "y"] {
        let fs = MemFs::new();
        fs.create_dir_all("x").unwrap();
        fs.create_dir_all("y").unwrap();
        fs.sync_all();
        durable_without_dir(&fs, "x/a", b"1");
        fs.rename("x/a", "y/b").unwrap();
        fs.sync_dir(dir).unwrap();
        all_images(&fs, 20, |_, _, image| {
            assert_eq!(image.contents("y/b").unwrap(), b"1");
            assert!(image.list("x").unwrap().is_empty(), "the settled name does not come back");
        });
    }
}

#[test]
fn links_are_counted_from_the_names_that_survive() {
    let fs = MemFs::new();
    drop(durable(&fs, "a", b"1"));
    fs.link("a", "b").unwrap();
    let seen = outcomes(&fs, CrashMode::Posix, |image| {
        image.list("").unwrap().into_iter().map(|e| (e.name, e.links)).collect::<Vec<_>>()
    });
    let one = vec![("a".to_string(), 1)];
    assert_eq!(seen, BTreeSet::from([one, vec![("a".to_string(), 2), ("b".to_string(), 2)]]));
}

#[test]
fn stale_bytes_show_up_in_hostile_mode_only() {
    let fs = MemFs::new();
    let secret = durable(&fs, "secret", &[0x5e; 4_096]);
    drop(secret);
    fs.unlink("secret").unwrap();
    let file = durable(&fs, "log", &[1; 512]);
    file.allocate(0, 8_192).unwrap();
    let look = |image: &MemFs| {
        let bytes = image.contents("log").unwrap();
        assert_eq!(bytes[..512], [1; 512]);
        (bytes[512..].iter().any(|b| *b != 0), bytes[512..].contains(&0x5e))
    };
    assert_eq!(outcomes(&fs, CrashMode::Posix, look), BTreeSet::from([(false, false)]));
    let seen = outcomes(&fs, CrashMode::Hostile, look);
    assert!(seen.contains(&(true, true)) && seen.contains(&(false, false)), "{seen:?}");
    file.sync().unwrap();
    assert_eq!(outcomes(&fs, CrashMode::Hostile, look), BTreeSet::from([(false, false)]));
}

#[test]
fn map_stores_are_durable_after_their_flush() {
    let fs = MemFs::new();
    let file = fs.create("a").unwrap();
    file.allocate(0, 8_192).unwrap();
    fs.sync_dir("").unwrap();
    let map = file.map(8_192).unwrap();
    map.store(0, &[1; 512]);
    map.store(4_096, &[2; 512]);
    map.flush(0, 512).unwrap();
    let seen = outcomes(&fs, CrashMode::Hostile, |image| {
        let bytes = image.contents("a").unwrap();
        assert_eq!(bytes.len(), 8_192, "a flush covers the length");
        assert_eq!(bytes[..512], [1; 512]);
        bytes[4_096]
    });
    assert_eq!(seen, BTreeSet::from([0, 2]), "what was not flushed may be written back or not");
    map.flush(4_096, 512).unwrap();
    assert!(fs.shared.disk.read().files.values().all(|f| !f.is_dirty()), "no history is left");
}

#[test]
fn an_image_is_independent_and_at_rest() {
    let fs = MemFs::new();
    let file = durable(&fs, "a", b"one");
    let _lock = fs.lock("LOCK").unwrap();
    file.write_at(b"two", 0).unwrap();
    let image = fs.crash_clone(9, CrashMode::Posix, CrashImage::All);
    image.open("a", OpenMode::ReadWrite).unwrap().write_at(b"img", 0).unwrap();
    file.write_at(b"six", 0).unwrap();
    assert_eq!((fs.contents("a").unwrap(), image.contents("a").unwrap()), (b"six".to_vec(), b"img".to_vec()));
    let lock = image.lock("LOCK").unwrap();
    assert!(image.lock("LOCK").is_err());
    drop(lock);
    // What an image shows is durable in it: a second crash takes only what was done since.
    let again = image.crash_clone(1, CrashMode::Posix, CrashImage::None);
    assert_eq!(again.contents("a").unwrap(), b"two");
    assert_eq!(again.calls(), 0);
}

#[test]
fn a_kill_loses_nothing_but_a_power_cut_after_it_may() {
    let fs = MemFs::new();
    let file = durable(&fs, "a", b"one");
    let _lock = fs.lock("LOCK").unwrap();
    file.write_at(b"two", 0).unwrap();
    let unnamed = fs.create("gone").unwrap();
    unnamed.write_at(&[1; 10_000], 0).unwrap();
    fs.unlink("gone").unwrap();
    let killed = fs.kill_clone();
    assert_eq!(killed.contents("a").unwrap(), b"two");
    assert!(killed.lock("LOCK").is_ok());
    assert_eq!(killed.used(), 4_096, "an open file without a name goes with its process");
    assert_eq!(fs.used(), 4_096 + 12_288);
    let seen = outcomes(&killed, CrashMode::Posix, |image| image.contents("a").unwrap());
    assert_eq!(seen, BTreeSet::from([b"one".to_vec(), b"two".to_vec()]));
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let fs = MemFs::new();
    let file = durable(&fs, "a", &[1; 20_000]);
    file.write_at(&[2; 30_000], 1_000).unwrap();
    fs.create("b").unwrap();
    all_images(&fs, 5, |mode, image, _| {
        let look = |fs: &MemFs| (names(fs), fs.contents("a").unwrap());
        let (one, two) = (fs.crash_clone(77, mode, image), fs.crash_clone(77, mode, image));
        assert_eq!(look(&one), look(&two));
    });
}

#[test]
fn the_hook_sees_each_changing_call_and_may_take_images() {
    let fs = MemFs::new();
    /// Number, operation, and how many names there were.
    type Seen = (u64, String, usize);
    let log: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (seen, disk) = (Arc::clone(&log), fs.clone());
    fs.set_call_hook(alloc::boxed::Box::new(move |number, op, path| {
        let image = disk.crash_clone(number, CrashMode::Posix, CrashImage::All);
        assert!(op == "sync_dir" || !path.is_empty());
        seen.lock().push((number, op.to_string(), names(&image).len()));
    }));
    let file = fs.create("a").unwrap();
    file.allocate(0, 4_096).unwrap();
    file.write_at(b"x", 0).unwrap();
    let map = file.map(4_096).unwrap();
    map.store(0, b"y");
    map.flush(0, 1).unwrap();
    file.set_len(10).unwrap();
    file.sync().unwrap();
    fs.link("a", "b").unwrap();
    fs.rename("b", "c").unwrap();
    fs.unlink("c").unwrap();
    fs.create_dir_all("d").unwrap();
    fs.sync_dir("").unwrap();
    fs.contents("a").unwrap();
    fs.list("").unwrap();
    fs.clear_call_hook();
    let log = log.lock();
    let ops: Vec<&str> = log.iter().map(|(_, op, ..)| op.as_str()).collect();
    let expected = [
        "create",
        "allocate",
        "write_at",
        "store",
        "flush",
        "set_len",
        "sync",
        "link",
        "rename",
        "unlink",
        "create_dir",
        "sync_dir",
    ];
    assert_eq!(ops, expected);
    assert!(log.iter().enumerate().all(|(i, (number, ..))| *number == i as u64));
    assert_eq!(fs.calls(), expected.len() as u64);
    assert_eq!((log[0].2, log[1].2), (0, 1), "the hook runs before its call");
    assert_eq!(fs.create("a").err().unwrap().kind, IoErrorKind::AlreadyExists);
}

/// Random work on a few files: the image with everything is what the process sees, also after flushes of parts,
/// and the image with nothing is what was there at the last full sync.
#[test]
fn random_work_keeps_the_books() {
    let mut rng = crate::rng::Rng::new(42);
    for _ in 0..150 {
        let fs = MemFs::new();
        let mut last = state(&fs);
        for _ in 0..60 {
            let name = ["a", "b", "c"][rng.below(3) as usize];
            let other = ["a", "b", "c"][rng.below(3) as usize];
            let file = fs.open(name, OpenMode::ReadWrite).or_else(|_| fs.create(name)).unwrap();
            let (offset, len) = (rng.below(12_000), rng.below(3_000));
            match rng.below(10) {
                0 => file.set_len(offset).unwrap(),
                1 => file.allocate(offset, len).unwrap(),
                2 => fs.rename(name, other).unwrap(),
                3 => fs.unlink(name).unwrap(),
                4 => drop(fs.link(name, other)),
                5 if rng.below(3) == 0 => {
                    fs.sync_all();
                    last = state(&fs);
                }
                _ => file.write_at(&vec![rng.next() as u8; len as usize], offset).unwrap(),
            }
            let none = fs.crash_clone(rng.next(), CrashMode::Posix, CrashImage::None);
            assert_eq!(state(&none), last);
            let all = fs.crash_clone(rng.next(), CrashMode::Posix, CrashImage::All);
            assert_eq!(state(&all), state(&fs));
            let all = fs.crash_clone(rng.next(), CrashMode::Hostile, CrashImage::All);
            assert!(stale_only(&state(&all), &state(&fs)));
            let random = fs.crash_clone(rng.next(), CrashMode::Hostile, CrashImage::Random);
            state(&random);
        }
        drop(fs.create("end"));
        for name in names(&fs) {
            fs.unlink(&name).unwrap();
        }
        fs.sync_all();
        let disk = fs.shared.disk.read();
        assert_eq!((disk.used, disk.files.len(), disk.names.len()), (0, 0, 0), "nothing is left behind");
    }
}

/// Name, bytes, links.
type Entry = (String, Vec<u8>, u32);

fn state(fs: &MemFs) -> Vec<Entry> {
    let entries = fs.list("").unwrap();
    entries.into_iter().map(|e| (e.name.clone(), fs.contents(&e.name).unwrap(), e.links)).collect()
}

/// Do the files differ only where nothing was written?
fn stale_only(now: &[Entry], seen: &[Entry]) -> bool {
    now.len() == seen.len()
        && now.iter().zip(seen).all(|((name, bytes, links), (old_name, old_bytes, old_links))| {
            let mut sectors = bytes.chunks(512).zip(old_bytes.chunks(512));
            let same = sectors.all(|(a, b)| a == b || b.iter().all(|x| *x == 0));
            (name, bytes.len(), links) == (old_name, old_bytes.len(), old_links) && same
        })
}
