//! Crash at every call of every workload, on one disk after another.
#![cfg(feature = "skiplist")]

use nokv_index_skiplist::Skiplist;
use nokv_tests::crash::drive::{Drive, tiny};
use nokv_tests::crash::suite::{all, run_named};
use nokv_tests::crash::trace::TracedFs;
use nokv_tests::crash::track::Track;
use nokv_tests::crash::{points, workloads};
use nokv_tests::net::Scale;
use nokv_vfs_mem::MemFs;

/// One test for each workload, so that they run side by side.
macro_rules! workloads {
    ($($test:ident $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            run_named($name, Scale::Slice);
        })*

        #[test]
        fn every_workload_has_a_test() {
            let names: Vec<_> = all().iter().map(|workload| workload.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

workloads! {
    writes "writes",
    writes_on_a_plain_hostile_disk "writes-hostile",
    writes_on_a_hostile_disk_with_maps "writes-hostile-maps",
    writes_without_maps "writes-without-maps",
    levels "levels",
    collection "collection",
    collection_on_a_plain_hostile_disk "collection-hostile",
    numbers "numbers",
    families "families",
    log "log",
    log_with_a_lazy_manifest "log-lazy",
    log_on_a_hostile_disk_with_maps "log-hostile-maps",
    checkpoint "checkpoint",
    checkpoint_on_a_plain_hostile_disk "checkpoint-hostile",
    ingest "ingest",
    unlogged "unlogged",
    unlogged_on_a_hostile_disk_with_maps "unlogged-hostile-maps",
}

#[test]
fn a_death_before_any_call_of_a_history_of_the_log_loses_nothing() {
    let points = points::run_all(Scale::Slice);
    assert!(points > 1_000, "{points}");
}

/// Every call with its arguments, of a history of this seed.
fn trace_of(seed: u64) -> (u64, u64) {
    let fs = TracedFs::new(MemFs::with_capabilities(points::capabilities(seed)));
    points::history(fs.clone(), seed, 60, Track::new(), points::Book::default());
    fs.trace()
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    let mut traces = Vec::new();
    for seed in 0..8 {
        let (hash, calls) = trace_of(seed);
        assert_eq!((hash, calls), trace_of(seed), "seed {seed}");
        assert!(calls > 150, "seed {seed}: {calls} calls");
        assert!(!traces.contains(&hash), "seed {seed} did what another one did");
        traces.push(hash);
    }
}

#[test]
fn the_same_workload_makes_the_same_calls() {
    for run in [workloads::writes, workloads::log, workloads::collection] {
        let trace = || {
            let fs = TracedFs::new(MemFs::new());
            run(Drive::<_, Skiplist>::new(fs.clone(), tiny(()), Track::new()));
            fs.trace()
        };
        assert_eq!(trace(), trace());
    }
}
