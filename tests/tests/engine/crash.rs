//! Crash at every call of every workload, on one disk after another.
#![cfg(feature = "skiplist")]

use nokv_tests::crash::suite::{all, run_named};
use nokv_tests::net::Scale;

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
    writes_without_maps "writes-without-maps",
    levels "levels",
    collection "collection",
    collection_on_a_plain_hostile_disk "collection-hostile",
    numbers "numbers",
    families "families",
    log "log",
    log_with_a_lazy_manifest "log-lazy",
    checkpoint "checkpoint",
    checkpoint_on_a_plain_hostile_disk "checkpoint-hostile",
    ingest "ingest",
    unlogged "unlogged",
}
