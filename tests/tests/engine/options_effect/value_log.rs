//! Effects of the options of the value log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nokv::{Db, Options};
use nokv_core::engine::{GcStats, GcTick};
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::{fill, small};

pub const CASES: &[Case] = &[
    ("value_threshold_bytes", value_threshold),
    ("value_log_segment_bytes", segment_bytes),
    ("value_log_max_entries", max_entries),
    ("value_log_bucket_count", bucket_count),
    ("value_log_gc_interval", gc_interval),
    ("value_log_gc_discard_ratio", gc_discard_ratio),
    ("value_log_gc_parallelism", gc_parallelism),
    ("value_log_gc_reduce_score", || reduced(|o| o.value_log_gc_reduce_score = 0.001)),
    ("value_log_gc_skip_score", || skipped(|o| o.value_log_gc_skip_score = 0.001)),
    ("value_log_gc_reduce_backlog", || reduced(|o| o.value_log_gc_reduce_backlog = 1)),
    ("value_log_gc_skip_backlog", || skipped(|o| o.value_log_gc_skip_backlog = 1)),
    ("value_log_gc_sample_size_ratio", sample_size_ratio),
    ("value_log_gc_sample_count_ratio", sample_count_ratio),
    ("value_log_gc_sample_from_head", sample_from_head),
    ("value_log_verbose", verbose),
];

fn values() -> Options {
    Options {
        value_threshold_bytes: 500,
        value_log_bucket_count: 4,
        value_log_hot_bucket_count: 0,
        compaction_value_weight: 0.0,
        ..small()
    }
}

fn open(options: Options) -> Db<MemFs> {
    Db::open_on(MemFs::new(), options).unwrap()
}

/// A database of which most values died; one table in level 0, which gives a score, on top.
fn mostly_dead(options: Options) -> Db<MemFs> {
    let db = open(options);
    for _ in 0..3 {
        fill(&db, 400, 1000);
    }
    db.compact_range(nokv::CfId::DEFAULT, None, None).unwrap();
    db.set(b"small", b"one").unwrap();
    db.flush().unwrap();
    db
}

/// Runs one pass, if one starts.
fn pass(db: &Db<MemFs>) -> (GcTick, GcStats) {
    let tick = db.engine().gc_tick().unwrap();
    while db.engine().has_collections() {
        match db.engine().next_collection() {
            Some(step) => db.engine().run_work(step).unwrap(),
            None => db.flush().unwrap(),
        }
    }
    (tick, db.engine().gc_stats())
}

fn value_threshold() {
    for (threshold, in_log) in [(100, true), (0, false)] {
        let db = open(Options { value_threshold_bytes: threshold, ..values() });
        fill(&db, 10, 200);
        assert_eq!(!db.engine().value_log().segments().is_empty(), in_log, "{threshold}");
    }
}

fn segments(options: Options) -> u64 {
    let db = open(options);
    fill(&db, 200, 1000);
    db.engine().value_log().segments().len() as u64
}

fn segment_bytes() {
    let of =
        |bytes| segments(Options { value_log_segment_bytes: bytes, value_log_bucket_count: 1, ..values() });
    assert_eq!((of(64 << 10), of(1 << 20)), (4, 1));
}

fn max_entries() {
    let of = |most| {
        segments(Options {
            value_log_max_entries: most,
            value_log_segment_bytes: 1 << 20,
            value_log_bucket_count: 1,
            ..values()
        })
    };
    assert_eq!((of(0), of(50), of(199), of(200)), (1, 4, 2, 1));
}

fn bucket_count() {
    for (count, expected) in [(0, 1), (1, 1), (5, 5)] {
        let db = open(Options { value_log_bucket_count: count, ..values() });
        fill(&db, 200, 1000);
        assert_eq!(db.engine().gc_stats().heads.len(), expected);
    }
}

fn gc_interval() {
    // Zero: never. As much is dead here as below, and it stays so until somebody asks.
    let never = mostly_dead(Options { value_log_gc_interval: Duration::ZERO, ..values() });
    let db = mostly_dead(Options { value_log_gc_interval: Duration::from_millis(50), ..values() });
    // Well below the default, half a minute.
    let until = Instant::now() + Duration::from_secs(15);
    while db.engine().gc_stats().segments_removed == 0 {
        assert!(Instant::now() < until, "nothing is collected");
        std::thread::yield_now();
    }
    // Looks come again and again: what dies later is collected too.
    let before = db.engine().gc_stats().gc_runs;
    for _ in 0..3 {
        fill(&db, 400, 1000);
    }
    db.compact_range(nokv::CfId::DEFAULT, None, None).unwrap();
    let until = Instant::now() + Duration::from_secs(15);
    while db.engine().gc_stats().gc_runs == before {
        assert!(Instant::now() < until, "only one look");
        std::thread::yield_now();
    }
    never.wait_idle().unwrap();
    let stats = never.engine().gc_stats();
    assert_eq!((stats.gc_runs, stats.gc_scheduled, stats.segments_removed), (0, 0, 0));
    let (tick, stats) = pass(&never);
    assert!(matches!(tick, GcTick::Started(_)) && stats.segments_removed > 0, "{tick:?} {stats:?}");
}

fn gc_discard_ratio() {
    // Two thirds are dead.
    let (tick, stats) = pass(&mostly_dead(Options { value_log_gc_discard_ratio: 0.5, ..values() }));
    assert!(matches!(tick, GcTick::Started(_)) && stats.segments_removed > 0);
    let db = open(Options { value_log_gc_discard_ratio: 0.99, ..values() });
    fill(&db, 400, 1000);
    fill(&db, 120, 1000);
    db.compact_range(nokv::CfId::DEFAULT, None, None).unwrap();
    assert_eq!(pass(&db).0, GcTick::Nothing, "a fifth is dead");
}

fn gc_parallelism() {
    for (jobs, at_once) in [(0, 1), (1, 1), (3, 3), (9, 4)] {
        let db = mostly_dead(Options { value_log_gc_parallelism: jobs, ..values() });
        assert_eq!(db.engine().gc_tick().unwrap(), GcTick::Started(4));
        let out: Vec<_> = std::iter::from_fn(|| db.engine().next_collection()).collect();
        assert_eq!(out.len(), at_once, "{jobs}");
        out.into_iter().for_each(|step| db.engine().run_work(step).unwrap());
    }
}

/// Level 0 wants no compaction by itself in these.
fn loaded(change: impl Fn(&mut Options)) -> Db<MemFs> {
    let mut options = Options { value_log_gc_parallelism: 4, level0_compaction_tables: 4, ..values() };
    change(&mut options);
    let db = mostly_dead(options);
    db.wait_idle().unwrap();
    db
}

fn reduced(change: impl Fn(&mut Options)) {
    assert_eq!(pass(&loaded(|_| {})).1.gc_throttled, 0);
    let db = loaded(change);
    with_backlog(&db);
    assert!(matches!(db.engine().gc_tick().unwrap(), GcTick::Started(_)));
    let stats = db.engine().gc_stats();
    assert_eq!((stats.gc_throttled, stats.gc_parallelism), (1, 2));
}

fn skipped(change: impl Fn(&mut Options)) {
    let db = loaded(change);
    with_backlog(&db);
    assert_eq!(db.engine().gc_tick().unwrap(), GcTick::Skipped);
    assert_eq!((db.engine().gc_stats().gc_skipped, db.engine().gc_stats().segments_removed), (1, 0));
}

/// A sealed memtable that cannot be flushed yet: a prepared write below it is not applied.
fn with_backlog(db: &Db<MemFs>) {
    use nokv_core::engine::Member;
    let mut batch = nokv::WriteBatch::new();
    batch.put(nokv::CfId::DEFAULT, b"waits", b"x").unwrap();
    let (batch, guard) = db.engine().prepare(&batch).unwrap();
    let mut member = Member { batch: &batch, disable_wal: false, outcome: None };
    db.engine().log(core::slice::from_mut(&mut member));
    // Never applied: its seq stays unpublished, and so does the memtable unflushed. The database is thrown away.
    drop(guard);
    db.engine().rotate_memtable().unwrap();
    assert!(db.engine().gc_load().backlog >= 1);
    std::mem::forget(db.clone());
}

fn sampled(change: impl Fn(&mut Options)) -> GcStats {
    let mut options = Options { value_log_bucket_count: 1, value_log_max_entries: 50, ..values() };
    change(&mut options);
    let stats = pass(&mostly_dead(options)).1;
    assert!(stats.sampled_records > 0 && stats.gc_refused == 0);
    stats
}

fn sample_size_ratio() {
    let of = |ratio| {
        sampled(|o| {
            o.value_log_gc_sample_size_ratio = ratio;
            o.value_log_gc_sample_count_ratio = 1.0;
            o.value_log_gc_sample_from_head = true;
        })
        .sampled_bytes
    };
    let (few, half, all) = (of(0.01), of(0.5), of(1.0));
    assert!(few * 10 < half && half < all && all < half * 3, "{few} {half} {all}");
}

fn sample_count_ratio() {
    let of = |ratio| {
        sampled(|o| {
            o.value_log_gc_sample_size_ratio = 1.0;
            o.value_log_gc_sample_count_ratio = ratio;
            o.value_log_gc_sample_from_head = true;
        })
        .last_sample
        .unwrap()
        .1
        .records
    };
    assert_eq!((of(0.02), of(0.2), of(1.0)), (1, 10, 50));
}

fn sample_from_head() {
    let of = |from_head| sampled(|o| o.value_log_gc_sample_from_head = from_head).last_sample.unwrap().1.from;
    assert_eq!(of(true), 32);
    assert!(of(false) > 32);
}

/// Counts what is logged at `info`.
struct Infos(Arc<AtomicUsize>);

impl tracing::Subscriber for Infos {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::INFO
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

fn verbose() {
    let logged = |verbose| {
        let db = mostly_dead(Options { value_log_verbose: verbose, ..values() });
        let count = Arc::new(AtomicUsize::new(0));
        tracing::subscriber::with_default(Infos(count.clone()), || pass(&db));
        count.load(Ordering::Relaxed)
    };
    assert_eq!(logged(false), 0);
    assert!(logged(true) > 3, "start, tables and end of a collection at least");
}
