//! Collection as the engine hands it out: jobs a bucket, load, samples that contradict, refusals.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use nokv::{Db, Error, Options, Version, Vfs, WriteBatch};
use nokv_core::engine::{Contradiction, Engine, Environment, GcReport, GcStep, GcTick, Member};
use nokv_core::formats::KeyRef;
use nokv_core::formats::vlog::record_len;
use nokv_core::heat::Signals;
use nokv_core::table::TableOptions;
use nokv_core::vfs::{OpenMode, VfsFile};
use nokv_index_skiplist::Skiplist;
use nokv_tests::crash::drive::{environment, tiny};
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

/// Bytes of the value log, when the thread of compactions reads no segment any more that is to go.
fn log_bytes(db: &Db<MemFs>) -> u64 {
    db.wait_idle().unwrap();
    // Work removes what nobody reads.
    db.set(b"work", b"").unwrap();
    db.flush().unwrap();
    db.wait_idle().unwrap();
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

/// An engine whose tables count values of 2001 bytes as `wrong` says. Segment 1 holds only such, all alive; most of
/// what the later segments hold is dead.
fn with_a_wrong_account(wrong: fn(usize, u32) -> u64) -> Arc<Engine<MemFs, Skiplist>> {
    with_an_account(wrong, environment())
}

fn with_an_account(account: fn(usize, u32) -> u64, environment: Environment) -> Arc<Engine<MemFs, Skiplist>> {
    let mut options = tiny(());
    options.table = TableOptions::new(account);
    options.value_threshold_bytes = 1000;
    options.value_log_buckets = 1;
    options.gc.sample_size_ratio = 1.0;
    options.gc.sample_from_head = true;
    let engine = Engine::open(MemFs::new(), "db", options, environment).unwrap();
    for round in 0..4u8 {
        for k in 0..40u32 {
            let (k, len) = if round == 0 { (k, 2001) } else { (1000 + k, 2000) };
            let mut batch = WriteBatch::new();
            batch.put(nokv::CfId::DEFAULT, &k.to_be_bytes(), &vec![round; len]).unwrap();
            write(&engine, &batch);
        }
    }
    engine.flush_all().unwrap();
    while !engine.compact_range_step(nokv::CfId::DEFAULT, None, None).unwrap() {}
    engine
}

fn write(engine: &Engine<MemFs, Skiplist>, batch: &WriteBatch) {
    let (batch, _guard) = engine.prepare(batch).unwrap();
    let mut member = Member { batch: &batch, disable_wal: false, outcome: None };
    engine.log(core::slice::from_mut(&mut member));
    engine.apply(&batch, &member.outcome.unwrap().unwrap());
}

/// Collects all that a manual collection finds.
fn collect(engine: &Engine<MemFs, Skiplist>) -> GcReport {
    let mut collection = engine.gc_start(0.3).unwrap();
    loop {
        match engine.gc_step(&mut collection).unwrap() {
            GcStep::Done(report) => break report,
            GcStep::Wait => engine.flush_all().unwrap(),
            GcStep::Again => {}
        }
    }
}

/// A whole manual collection runs where a pass, which has chosen its segments, says that a memtable was sealed.
#[derive(Default)]
struct Between {
    engine: OnceLock<Weak<Engine<MemFs, Skiplist>>>,
    is_armed: AtomicBool,
    freed: OnceLock<GcReport>,
}

impl Signals for Between {
    fn work_ready(&self) {
        if self.is_armed.swap(false, Ordering::Relaxed) {
            let engine = self.engine.get().unwrap().upgrade().unwrap();
            engine.flush_all().unwrap();
            self.freed.set(collect(&engine)).unwrap();
        }
    }
}

/// What another collection freed since the segments were chosen was sampled, found missing, and left alone for ever as
/// damaged: health named segments that were not there, and a collection reported nothing but refusals.
#[test]
fn segments_that_another_collection_freed_meanwhile_are_not_refused() {
    let between = Arc::new(Between::default());
    let engine = with_an_account(record_len, Environment { signals: between.clone(), ..environment() });
    between.engine.set(Arc::downgrade(&engine)).unwrap();
    // Of a range delete nobody knows what it hides: the pass seals the memtable.
    let mut batch = WriteBatch::new();
    batch.delete_range(nokv::CfId::DEFAULT, b"x", b"y").unwrap();
    write(&engine, &batch);
    between.is_armed.store(true, Ordering::Relaxed);
    let tick = engine.gc_tick().unwrap();
    let freed = between.freed.get().expect("it ran between choosing and starting");
    assert!(freed.segments > 1 && freed.refused == 0, "{freed:?}");
    assert_eq!((tick, engine.has_collections()), (GcTick::Nothing, false));
    assert_eq!((engine.gc_stats().gc_refused, engine.gc_refusals()), (0, Vec::new()));
    // Its buckets are free again.
    assert!(matches!(engine.gc_start(0.3), Err(Error::NothingToCollect)));
}

#[test]
fn a_segment_whose_account_is_contradicted_is_left_alone_and_others_are_collected() {
    let too_low = |key: usize, len: u32| if len == 2001 { 0 } else { record_len(key, len) };
    let engine = with_a_wrong_account(too_low);
    let report = collect(&engine);
    assert!(report.refused >= 1 && report.segments >= 1, "{report:?}");
    let refusals = engine.gc_refusals();
    assert_eq!((refusals[0].bucket, refusals[0].segment, refusals[0].expected_live), (0, 1, 0));
    assert_eq!(refusals[0].what, Contradiction::MoreLive);
    assert_eq!(refusals[0].measured_live, refusals[0].bytes, "all of it lives");
    assert!(refusals[0].to_string().contains("0 of"), "{}", refusals[0]);
    assert_eq!(engine.gc_stats().gc_refused, report.refused);
    // It is not tried again, and nothing is lost.
    assert!(matches!(engine.gc_start(0.9), Err(Error::NothingToCollect)));
    for k in 0..40u32 {
        let key = k.to_be_bytes();
        let hit = engine.get(KeyRef::new(nokv::CfId::DEFAULT, &key), Version::MAX).unwrap();
        assert_eq!(hit.unwrap().value.to_vec(), vec![0; 2001], "{k}");
    }
}

#[test]
fn a_segment_that_has_less_than_its_account_says_is_left_alone() {
    let too_high = |key: usize, len: u32| record_len(key, len) + if len == 2001 { 1 } else { 0 };
    let engine = with_a_wrong_account(too_high);
    let _ = engine.gc_start(0.3).map(|gc| engine.gc_abandon(gc));
    let refusals = engine.gc_refusals();
    assert_eq!((refusals[0].bucket, refusals[0].segment), (0, 1));
    assert!(refusals[0].expected_live > refusals[0].bytes && refusals[0].what == Contradiction::MoreDead);
}

#[test]
fn a_value_that_cannot_be_read_leaves_its_segment_alone_and_health_names_it() {
    let fs = MemFs::new();
    let sampled = Options { value_log_gc_sample_from_head: true, ..options() };
    mostly_dead(&fs, sampled.clone()).close().unwrap();
    // The last byte of the first live value: key 0 was written first in its bucket.
    let key = KeyRef::new(nokv::CfId::DEFAULT, &[0; 4]);
    let bucket = (nokv_core::formats::key::key_hash(key) % 4) as u16;
    let path = format!("db/vlog/bucket-{bucket:03}/00001.vlog");
    let bytes = fs.contents(&path).unwrap();
    let at = (0..KEYS)
        .filter(|k| k % 4 == 0)
        .filter_map(|k| bytes.windows(2000).position(|w| w == &value(k, 0)[..]))
        .max()
        .expect("a live value");
    fs.open(&path, OpenMode::ReadWrite).unwrap().write_at(&[9], at as u64 + 1999).unwrap();
    let db = Db::open_on(fs.clone(), sampled).unwrap();
    assert!(db.health().value_log_refusals.is_empty());
    let report = db.run_value_log_gc(0.05).unwrap();
    assert!(report.refused == 1 && report.segments > 2, "{report:?}");
    let health = db.health();
    let named = format!("segment 1 of bucket {bucket} is not collected");
    assert!(health.writable && health.value_log_refusals[0].contains(&named), "{health:?}");
    assert!(fs.contents(&path).is_ok());
    let unreadable = (0..KEYS).filter(|k| db.get(&k.to_be_bytes()).is_err()).count();
    assert_eq!(unreadable, 1, "nothing but that value is lost");
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
