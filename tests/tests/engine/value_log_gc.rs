//! Collection as the engine hands it out: jobs a bucket, load, samples that contradict, refusals.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use nokv::{Db, Error, Options, Vfs};
use nokv_core::engine::{GcStep, GcTick};
use nokv_core::formats::{TableId, TableMeta};
use nokv_core::manifest::{Edit, Manifest};
use nokv_core::vfs::{OpenMode, VfsFile};
use nokv_vfs_mem::MemFs;

const KEYS: u32 = 400;

fn options() -> Options {
    Options {
        mem_table_bytes: 64 << 10,
        wal_segment_bytes: 256 << 10,
        value_threshold_bytes: 1000,
        value_log_segment_bytes: 64 << 10,
        value_log_bucket_count: 4,
        value_log_hot_bucket_count: 0,
        value_log_gc_interval: Duration::ZERO,
        value_log_gc_parallelism: 2,
        num_compactors: 1,
        ..Options::new("db")
    }
}

fn value(k: u32, round: u8) -> Vec<u8> {
    let mut value = vec![round; 2000];
    value[..4].copy_from_slice(&k.to_be_bytes());
    value
}

/// A database of which most values died, all of it in tables.
fn mostly_dead(fs: &MemFs, options: Options) -> Db<MemFs> {
    let db = Db::open_on(fs.clone(), options).unwrap();
    for round in 0..3 {
        for k in 0..KEYS {
            if round == 0 || k % 4 != 0 {
                db.set(&k.to_be_bytes(), &value(k, round)).unwrap();
            }
        }
    }
    db.flush().unwrap();
    db.compact_range(nokv::CfId::DEFAULT, None, None).unwrap();
    db
}

fn log_bytes(db: &Db<MemFs>) -> u64 {
    db.engine().value_log().segments().iter().map(|s| s.size).sum()
}

fn verify(db: &Db<MemFs>) {
    for k in 0..KEYS {
        let round = if k % 4 == 0 { 0 } else { 2 };
        assert!(db.get(&k.to_be_bytes()).unwrap().as_deref() == Some(&value(k, round)[..]), "{k}");
    }
}

#[test]
fn a_pass_has_one_job_a_bucket_and_so_many_at_once_and_keeps_every_value() {
    let fs = MemFs::new();
    let db = mostly_dead(&fs, options());
    let engine = db.engine();
    let before = log_bytes(&db);
    let GcTick::Started(jobs) = engine.gc_tick().unwrap() else { panic!("nothing started") };
    assert_eq!(jobs, 4);
    assert_eq!(engine.gc_stats().gc_scheduled, 4);
    assert_eq!(engine.gc_tick().unwrap(), GcTick::Running);
    // Two steps of two jobs are out at once; a third job is not started beside them.
    let (first, second) = (engine.next_collection().unwrap(), engine.next_collection().unwrap());
    assert!(engine.next_collection().is_none());
    let stats = engine.gc_stats();
    assert_eq!((stats.gc_active, stats.gc_scheduled, stats.gc_parallelism), (2, 2, 2));
    engine.run_work(first).unwrap();
    engine.run_work(second).unwrap();
    while engine.has_collections() {
        match engine.next_collection() {
            Some(step) => engine.run_work(step).unwrap(),
            None => db.flush().unwrap(),
        }
    }
    let stats = engine.gc_stats();
    assert_eq!((stats.gc_runs, stats.gc_active, stats.gc_scheduled, stats.gc_refused), (4, 0, 0, 0));
    assert!(stats.segments_removed > 4 && stats.moved_bytes > 0 && stats.sampled_records > 0, "{stats:?}");
    assert!(stats.head_updates > 4 && stats.heads.values().all(|h| h.offset == h.len + 32), "{stats:?}");
    assert!(log_bytes(&db) < before);
    verify(&db);
    db.close().unwrap();
    let db = Db::open_on(fs, options()).unwrap();
    verify(&db);
    assert!(db.check_all().unwrap().is_clean());
}

#[test]
fn collections_end_near_what_lives_without_any_threads() {
    let fs = MemFs::new();
    let db = mostly_dead(&fs, options());
    let engine = db.engine();
    for _ in 0..100 {
        match engine.gc_tick().unwrap() {
            GcTick::Nothing => break,
            GcTick::Skipped => db.wait_idle().unwrap(),
            GcTick::Running | GcTick::Started(_) => {}
        }
        while engine.has_collections() {
            match engine.next_collection() {
                Some(step) => engine.run_work(step).unwrap(),
                None => db.flush().unwrap(),
            }
        }
    }
    let live: u64 = engine.value_log_live().values().sum();
    assert!(log_bytes(&db) * 10 < live * 13, "{} of {live}", log_bytes(&db));
    verify(&db);
}

#[test]
fn a_manual_collection_is_refused_while_all_its_buckets_are_collected() {
    let db = mostly_dead(&MemFs::new(), options());
    let mut first = db.engine().gc_start(0.3).unwrap();
    assert!(matches!(db.run_value_log_gc(0.3), Err(Error::GcRejected)));
    assert_eq!((db.engine().gc_stats().gc_rejected, db.engine().gc_stats().gc_active), (1, 1));
    loop {
        match db.engine().gc_step(&mut first).unwrap() {
            GcStep::Done(report) => break assert!(report.segments > 4, "{report:?}"),
            GcStep::Wait => db.flush().unwrap(),
            GcStep::Again => {}
        }
    }
    assert_eq!(db.engine().gc_stats().gc_active, 0);
    verify(&db);
}

/// States a number of live bytes of a segment that is not true, in the manifest of a closed database. Gives the segment.
fn forge(fs: &MemFs, change: impl Fn(u64) -> u64) -> (u16, u32) {
    let mut manifest = Manifest::open(fs.clone(), "db", false).unwrap().manifest;
    manifest.begin_writes().unwrap();
    let tables: Vec<(u8, bool, TableMeta)> =
        manifest.state().tables().map(|(level, ingest, meta)| (level, ingest, (**meta).clone())).collect();
    let worst = tables.iter().flat_map(|(_, _, meta)| &meta.props.live).min_by_key(|l| l.bytes).unwrap();
    let id = (worst.bucket, worst.segment);
    // The manifest takes no table back, nor a changed one: its file gets a new number.
    let mut next = manifest.state().next_file_id;
    let mut edits = Vec::new();
    for (level, ingest, mut meta) in tables {
        for live in meta.props.live.iter_mut().filter(|l| (l.bucket, l.segment) == id) {
            live.bytes = change(live.bytes);
        }
        let path = |id| format!("db/tables/{}", nokv_core::engine::table_name(id));
        let old = std::mem::replace(&mut meta.id, TableId(next));
        next += 1;
        fs.rename(&path(old), &path(meta.id)).unwrap();
        edits.push(Edit::RemoveTable { id: old, level, ingest });
        edits.push(Edit::AddTable { level, ingest, meta: Arc::new(meta) });
    }
    edits.push(Edit::NextFileId { id: next });
    manifest.append(&edits).unwrap();
    id
}

#[test]
fn a_segment_whose_account_is_contradicted_is_left_alone_and_health_says_so() {
    let whole = Options { value_log_gc_sample_size_ratio: 1.0, ..options() };
    for change in [|_: u64| 0, |live: u64| live + 2031] {
        let fs = MemFs::new();
        mostly_dead(&fs, whole.clone()).close().unwrap();
        let (bucket, segment) = forge(&fs, change);
        let db = Db::open_on(fs.clone(), whole.clone()).unwrap();
        assert!(db.health().value_log_refusals.is_empty());
        let report = db.run_value_log_gc(0.05).unwrap();
        assert_eq!(report.refused, 1, "{report:?}");
        assert!(report.segments > 2, "the others are collected: {report:?}");
        let refusals = db.engine().gc_refusals();
        assert_eq!((refusals[0].bucket, refusals[0].segment), (bucket, segment));
        assert_ne!(refusals[0].expected_live, refusals[0].measured_live);
        let health = db.health();
        assert!(health.writable && health.value_log_refusals[0].contains("live by account"), "{health:?}");
        assert_eq!(db.engine().gc_stats().gc_refused, 1);
        // It is not tried again, and nothing is lost.
        let _ = db.run_value_log_gc(0.05);
        assert_eq!(db.engine().gc_stats().gc_refused, 1);
        assert!(fs.contents(&format!("db/vlog/bucket-{bucket:03}/{segment:05}.vlog")).is_ok());
        verify(&db);
    }
}

#[test]
fn load_makes_automatic_collection_wait() {
    // Any score is too high from 0.001 on: the level-0 table that the last flush made is enough.
    let busy = Options {
        value_log_gc_skip_score: 0.001,
        level0_compaction_tables: 12,
        compaction_value_weight: 0.0,
        ..options()
    };
    let db = mostly_dead(&MemFs::new(), busy);
    db.set(b"one more", &value(0, 9)).unwrap();
    db.flush().unwrap();
    db.wait_idle().unwrap();
    assert!(db.engine().gc_load().score > 0);
    assert_eq!(db.engine().gc_tick().unwrap(), GcTick::Skipped);
    assert_eq!((db.engine().gc_stats().gc_skipped, db.engine().gc_stats().gc_parallelism), (1, 0));
    assert!(db.run_value_log_gc(0.3).unwrap().segments > 0, "a manual one does not wait");
}

#[test]
fn a_damaged_value_ends_the_collection_of_its_segment_and_no_other() {
    let fs = MemFs::new();
    let options = Options { value_log_gc_sample_from_head: true, ..options() };
    let db = mostly_dead(&fs, options);
    // The first segments hold what lives; samples look at their start, damage is in their middle.
    for bucket in 0..2 {
        let path = format!("db/vlog/bucket-{bucket:03}/00001.vlog");
        let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
        for at in (20_000..60_000).step_by(2000) {
            file.write_at(b"damage", at).unwrap();
        }
    }
    let engine = db.engine();
    let mut steps = 0;
    while let GcTick::Started(_) | GcTick::Running = engine.gc_tick().unwrap() {
        match engine.next_collection() {
            Some(step) => engine.run_work(step).unwrap(),
            None => db.flush().unwrap(),
        }
        steps += 1;
        assert!(steps < 2000, "collection goes on for ever: {:?}", engine.gc_stats());
    }
    let refused: Vec<_> = engine.gc_refusals().iter().map(|r| (r.bucket, r.segment)).collect();
    assert_eq!(refused, [(0, 1), (1, 1)]);
    assert!(engine.gc_stats().segments_removed > 4);
    for k in 0..KEYS {
        let round = if k % 4 == 0 { 0 } else { 2 };
        match db.get(&k.to_be_bytes()) {
            Ok(read) => assert!(read.as_deref() == Some(&value(k, round)[..]), "{k}"),
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
        }
    }
}
