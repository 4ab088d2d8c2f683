//! What crashing at every call has found, each by its symptom.
#![cfg(feature = "skiplist")]

use std::sync::{Arc, Mutex};

use nokv_core::engine::{Engine, EngineOptions, GcStep};
use nokv_core::formats::{CfId, KeyRef, Version};
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_index_skiplist::Skiplist;
use nokv_tests::crash::drive::{DIR, environment, tiny, write};
use nokv_tests::crash::track::Op;
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

fn open(fs: &MemFs, dir: &str) -> Arc<Engine<MemFs, Skiplist>> {
    Engine::open(fs.clone(), dir, tiny(()), environment()).unwrap()
}

fn put(key: &str, len: usize) -> Op {
    Op::Put(0, key.as_bytes().to_vec(), vec![7; len].into())
}

fn len_of(engine: &Engine<MemFs, Skiplist>, key: &str) -> Option<usize> {
    let hit = engine.get(KeyRef::new(CfId(0), key.as_bytes()), Version::MAX).unwrap();
    hit.map(|hit| hit.value.len())
}

fn power_cut(fs: &MemFs) -> MemFs {
    fs.crash_clone(1, CrashMode::Posix, CrashImage::None)
}

#[test]
fn a_synced_write_was_lost_when_the_maker_of_the_directory_had_died() {
    let fs = MemFs::new();
    fs.create_dir_all(DIR).unwrap();
    let engine = open(&fs, DIR);
    write(&engine, &[put("a", 1)], true).unwrap();
    engine.sync().unwrap();
    assert_eq!(len_of(&open(&power_cut(&fs), DIR), "a"), Some(1));
}

#[test]
fn a_pointer_was_replayed_when_the_whole_value_log_was_lost() {
    let fs = MemFs::new();
    let engine = open(&fs, DIR);
    for (key, len) in [("a", 10), ("b", 5000), ("c", 10)] {
        write(&engine, &[put(key, len)], true).unwrap();
    }
    let image = fs.kill_clone();
    for bucket in image.list("db/vlog").unwrap() {
        image.unlink(&format!("db/vlog/{}/00001.vlog", bucket.name)).unwrap();
    }
    let options = EngineOptions { read_only: true, ..tiny(()) };
    let calls = image.calls();
    let looked: Arc<Engine<MemFs, Skiplist>> =
        Engine::open(image.clone(), DIR, options, environment()).unwrap();
    assert_eq!(looked.published().0, 1);
    assert_eq!(image.calls(), calls);
    let again = open(&image, DIR);
    assert_eq!(again.published().0, 1, "the record whose value is lost ends the prefix");
    assert_eq!((len_of(&again, "a"), len_of(&again, "b"), len_of(&again, "c")), (Some(10), None, None));
}

#[test]
fn a_checkpoint_was_lost_with_its_directory() {
    let fs = MemFs::new();
    let engine = open(&fs, DIR);
    write(&engine, &[put("a", 1), put("b", 5000)], true).unwrap();
    engine.flush_all().unwrap();
    engine.checkpoint("some/where/copy").unwrap();
    let copy = open(&power_cut(&fs), "some/where/copy");
    assert_eq!((len_of(&copy, "a"), len_of(&copy, "b")), (Some(1), Some(5000)));
}

#[test]
fn a_collected_segment_came_back_when_an_open_that_cut_did_not_sweep_it() {
    let fs = MemFs::new();
    let engine = open(&fs, DIR);
    for _ in 0..3 {
        write(&engine, &[put("a", 5000)], true).unwrap();
    }
    engine.flush_all().unwrap();
    // As if the process died before it unlinked the segment.
    let killed = Arc::new(Mutex::new(None));
    let hook = {
        let (fs, killed) = (fs.clone(), Arc::clone(&killed));
        move |_: u64, op: &str, path: &str| {
            if op == "unlink" && path.ends_with(".vlog") {
                killed.lock().unwrap().get_or_insert_with(|| fs.kill_clone());
            }
        }
    };
    fs.set_call_hook(Box::new(hook));
    let mut collection = engine.gc_start(0.1).unwrap();
    while !matches!(engine.gc_step(&mut collection).unwrap(), GcStep::Done(_)) {}
    engine.run_all_work().unwrap();
    fs.clear_call_hook();
    let image = killed.lock().unwrap().take().expect("a segment was unlinked");
    // A torn tail.
    let wal = image.list("db/wal").unwrap().into_iter().map(|e| e.name).max().unwrap();
    let path = format!("db/wal/{wal}");
    let end = image.contents(&path).unwrap().iter().rposition(|b| *b != 0).unwrap() as u64;
    let file = image.open(&path, OpenMode::ReadWrite).unwrap();
    file.write_at(&[0xff; 100], end / 8 * 8 + 64).unwrap();
    drop(file);
    let again = open(&image, DIR);
    assert!(again.open_report().cut.is_some());
    write(&again, &[put("b", 5000)], true).unwrap();
    again.flush_all().unwrap();
    again.close().unwrap();
    drop(again);
    let swept = open(&image, DIR);
    assert_eq!((len_of(&swept, "a"), len_of(&swept, "b")), (Some(5000), Some(5000)));
    assert_eq!(swept.open_report().swept_files, 1);
}

#[test]
fn a_segment_that_a_recovery_was_copying_stayed_for_ever() {
    let fs = MemFs::new();
    open(&fs, DIR).close().unwrap();
    for name in ["000000001.wal.tmp", "000000007.wal.tmp", "000000001.wal.idx.tmp", "notes.tmp"] {
        fs.create(&format!("db/wal/{name}")).unwrap();
    }
    open(&fs, DIR).close().unwrap();
    let left = fs.list("db/wal").unwrap().into_iter().map(|entry| entry.name);
    assert_eq!(left.filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>(), ["notes.tmp"]);
}

#[test]
fn a_log_segment_that_a_kill_left_unfinished_stayed_until_its_number_came() {
    let fs = MemFs::new();
    let engine = open(&fs, DIR);
    write(&engine, &[put("a", 1)], true).unwrap();
    let image = fs.kill_clone();
    let unfinished = "db/wal/000000009.wal.tmp";
    image.create(unfinished).unwrap().set_len(256 << 10).unwrap();
    let again = open(&image, DIR);
    assert_eq!(again.open_report().swept_files, 1);
    assert!(image.size(unfinished).is_err());
    assert_eq!(len_of(&again, "a"), Some(1));
}
