//! A whole database directory: opened, read, written to, repaired.

use std::collections::BTreeMap;
use std::sync::Arc;

use nokv_core::Result;
use nokv_core::engine::{Engine, EngineOptions, apply_repair, plan_repair};
use nokv_core::error::Error;
use nokv_core::formats::{CfId, KeyRef, Version};
use nokv_core::table::CursorOptions;
use nokv_core::vfs::Vfs;
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::MemFs;

use super::image;
pub(super) use crate::crash::drive::environment;
use crate::crash::drive::{DIR, tiny, write};
use crate::crash::track::Op;

/// Steps of background work after which it counts as endless.
const WORK_MAX: usize = 2000;
/// Keys that are read of a database; hostile files may hold many in few bytes.
const KEYS_MAX: usize = 4000;

/// What scans show: family and key to value.
pub type All = BTreeMap<(u32, Vec<u8>), Vec<u8>>;
type Db = Arc<Engine<MemFs, Skiplist>>;

/// Options for small directories.
pub fn options() -> EngineOptions<()> {
    EngineOptions { value_threshold_bytes: 300, io_buffer_bytes: 4 << 10, ..tiny(()) }
}

fn open_as(fs: &MemFs, read_only: bool) -> Result<Db> {
    let options = EngineOptions { read_only, create_if_missing: false, ..options() };
    Engine::open(fs.clone(), DIR, options, environment())
}

/// Runs background work to its end.
///
/// # Errors
/// The first of a step.
///
/// # Panics
/// If it does not end.
pub fn work<V: Vfs>(engine: &Engine<V, Skiplist>) -> Result<()> {
    for _ in 0..WORK_MAX {
        match engine.next_work(false).or_else(|| engine.next_collection()) {
            Some(work) => engine.run_work(work)?,
            None => return Ok(()),
        }
    }
    panic!("background work does not end");
}

/// Everything that scans show, compared with scans backwards and point reads.
///
/// # Errors
/// What any of the reads gives.
///
/// # Panics
/// If a scan does not end.
pub fn all_of<V: Vfs>(engine: &Engine<V, Skiplist>) -> Result<All> {
    let mut all = All::new();
    let families: Vec<CfId> = engine.families().iter().map(|(_, cf)| cf).collect();
    for cf in families {
        let mut scan = engine.scan(cf, &[], None, None, CursorOptions::SCAN)?;
        scan.seek_first()?;
        let mut count = 0;
        while let (Some(key), Some(entry)) = (scan.key(), scan.entry()) {
            let value = engine.value_of(key, &entry)?;
            if key.user_key.len() < 4000 {
                all.insert((cf.0, key.user_key.to_vec()), value.to_vec());
            }
            engine.get(key, Version::MAX)?;
            count += 1;
            if count == KEYS_MAX {
                break;
            }
            scan.next()?;
        }
        scan.seek_last()?;
        let mut back = 0;
        while scan.key().is_some() {
            back += 1;
            if back == KEYS_MAX {
                break;
            }
            scan.prev()?;
        }
    }
    Ok(all)
}

/// Reads that need no order: any error is an answer.
fn look(engine: &Db) -> Result<All> {
    let absent = KeyRef::new(CfId(0), b"a key that nobody wrote");
    let _ = engine.get(absent, Version(7));
    let _ = engine.touched_since(absent, engine.published());
    let _ = engine.approximate_size(CfId(0), b"a", Some(b"z"));
    let _ = engine.stats();
    let _ = engine.changes_since(nokv_core::formats::Seq::ZERO);
    let _ = engine.wal_status();
    let mut scan = engine.internal_scan(CursorOptions::SCAN)?;
    if scan.seek_first().is_ok() {
        for _ in 0..KEYS_MAX {
            if scan.entry().is_none() || scan.next().is_err() {
                break;
            }
        }
    }
    all_of(engine)
}

/// A directory that is opened for reading, then for writing.
pub fn open(bytes: &[u8]) {
    image::both(bytes, DIR, |fs| {
        let shown = open_as(fs, true).map(|engine| {
            let all = look(&engine);
            let is_clean = engine.check(&mut |_| {}).is_ok_and(|report| report.is_clean());
            for pointer in engine.raft_pointers() {
                let _ = engine.replay_group(pointer.group, &mut |_, _, _| Ok(()));
            }
            (all, is_clean)
        });
        let before = image::take(fs, DIR);
        let Ok(engine) = open_as(fs, false) else {
            assert!(image::take(fs, DIR) == before, "a refused open changed something");
            return;
        };
        let (all, was_clean) = shown.expect("what opens for writing opens for reading");
        let again = look(&engine);
        if let (Ok(all), Ok(again)) = (&all, &again) {
            assert_eq!(all, again, "reading only and writing show different content");
        }
        use_it(&engine, again.ok().filter(|_| was_clean), fs);
    });
}

/// Writes, flushes, merges, collects, closes, opens again. If the database checked clean, nothing of this may fail, but
/// for seqs and numbers that are used up.
fn use_it(engine: &Db, all: Option<All>, fs: &MemFs) {
    let ops = [
        Op::Put(0, b"new".to_vec(), Arc::from([7; 40])),
        Op::Put(0, b"new large".to_vec(), Arc::from([8; 900])),
    ];
    let result = write(engine, &ops, true)
        .and_then(|_| engine.flush_all())
        .and_then(|()| work(engine))
        .and_then(|()| {
            for _ in 0..WORK_MAX {
                if engine.compact_range_step(CfId(0), None, None)? {
                    return Ok(());
                }
            }
            panic!("a compaction does not end");
        })
        .and_then(|()| collect(engine))
        .and_then(|()| engine.close());
    let Some(mut all) = all else { return };
    if let Err(error) = result {
        assert!(is_damage(&error) || matches!(error, Error::InvalidArgument(_)), "{error:?}");
        return;
    }
    all.insert((0, b"new".to_vec()), vec![7; 40]);
    all.insert((0, b"new large".to_vec()), vec![8; 900]);
    let engine = open_as(fs, false).expect("closed a moment ago");
    let mut found = all_of(&engine).expect("closed a moment ago");
    if all.len() < KEYS_MAX {
        // A family that was dropped in the manifest may have been swept; expired entries too.
        found.retain(|key, _| all.contains_key(key));
        assert_eq!(found, all, "closing and opening again changed the content");
    }
}

fn collect(engine: &Db) -> Result<()> {
    let mut collection = match engine.gc_start(0.01) {
        Ok(collection) => collection,
        Err(Error::NothingToCollect) => return Ok(()),
        Err(error) => return Err(error),
    };
    for _ in 0..WORK_MAX {
        match engine.gc_step(&mut collection)? {
            nokv_core::engine::GcStep::Wait => engine.flush_all()?,
            nokv_core::engine::GcStep::Again => {}
            nokv_core::engine::GcStep::Done(_) => return Ok(()),
        }
    }
    panic!("a collection does not end");
}

/// Is it an error that damage may give?
pub fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Io { .. } | Error::Unsupported { .. } | Error::ReadOnly(_))
}

/// A directory that is repaired.
pub fn repair(bytes: &[u8]) {
    image::both(bytes, DIR, |fs| {
        let before = image::take(fs, DIR);
        let Ok(plan) = plan_repair(fs, DIR) else { return };
        assert!(image::take(fs, DIR) == before, "planning wrote something");
        if plan.is_empty() {
            return;
        }
        if let Err(error) = apply_repair(fs, DIR, &plan) {
            // What is there can be saved by hand; nothing is lost.
            assert!(is_damage(&error) || matches!(error, Error::InvalidArgument(_)), "{error:?}");
            return;
        }
        let steps = || plan.steps.iter().map(|s| format!("{}: {}", s.file, s.what)).collect::<Vec<_>>();
        let again = plan_repair(fs, DIR).unwrap_or_else(|error| panic!("{error} after {:?}", steps()));
        assert!(again.is_empty(), "repaired, and yet {:?} after {:?}", again.steps, steps());
        let engine = open_as(fs, false)
            .unwrap_or_else(|error| panic!("a repaired database does not open: {error}; {:?}", steps()));
        let report = engine.check(&mut |_| {}).expect("check");
        assert!(report.is_clean(), "{:?} after {:?}", report.problems, steps());
        let all = look(&engine).unwrap_or_else(|error| panic!("a repaired database: {error}; {:?}", steps()));
        use_it(&engine, Some(all), fs);
    });
}
