//! Without `manifest_sync` a power cut loses no edit on which a deletion or a release of the log depended.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nokv::{Db, Options};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

fn options() -> Options {
    Options {
        mem_table_bytes: 64 << 10,
        wal_segment_bytes: 256 << 10,
        table_bytes: 8 << 10,
        level0_compaction_tables: 2,
        level_base_bytes: 16 << 10,
        value_threshold_bytes: 600,
        value_log_segment_bytes: 64 << 10,
        value_log_gc_interval: Duration::ZERO,
        num_compactors: 1,
        manifest_sync: false,
        ..Options::new("db")
    }
}

/// Key `k` is written in the order of `k`, with a value that tells it.
fn value(k: u32) -> Vec<u8> {
    vec![(k % 251) as u8; if k.is_multiple_of(10) { 900 } else { 300 }]
}

#[test]
fn a_power_cut_at_any_deletion_keeps_what_was_synced() {
    let fs = MemFs::new();
    let synced = Arc::new(AtomicU32::new(0));
    let images: Arc<Mutex<Vec<(u32, MemFs)>>> = Arc::default();
    let db = Db::open_on(fs.clone(), options()).unwrap();
    let (of, keep, promised) = (fs.clone(), images.clone(), synced.clone());
    fs.set_call_hook(Box::new(move |number, call, path| {
        // Before and behind each deletion, and at other calls now and then.
        if call != "unlink" && !path.contains("MANIFEST") && number % 97 != 0 {
            return;
        }
        let mut images = keep.lock().unwrap();
        let floor = promised.load(Ordering::SeqCst);
        for image in [CrashImage::None, CrashImage::All] {
            if images.len() < 3000 {
                images.push((floor, of.crash_clone(number, CrashMode::Posix, image)));
            }
        }
    }));
    for k in 0..1500u32 {
        db.set(&k.to_be_bytes(), &value(k)).unwrap();
        if k % 25 == 24 {
            db.sync().unwrap();
            synced.store(k + 1, Ordering::SeqCst);
        }
        if k % 100 == 99 {
            db.flush().unwrap();
            db.wait_idle().unwrap();
        }
    }
    fs.clear_call_hook();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 100, "{} images", images.len());
    for (n, (floor, image)) in images.iter().enumerate() {
        let db = Db::open_on(image.clone(), options()).unwrap_or_else(|e| panic!("image {n}: {e}"));
        for k in 0..*floor {
            let found = db.get(&k.to_be_bytes()).unwrap();
            assert!(found.is_some_and(|found| found == value(k)), "image {n}: key {k} of {floor}");
        }
    }
}
