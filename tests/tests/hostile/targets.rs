//! One test for each target, so that they run side by side.

use nokv_tests::hostile::{TARGETS, suite, target};
use nokv_tests::net::Scale;

use crate::meter::meter;

macro_rules! targets {
    ($($(#[$if:meta])* $name:ident),* $(,)?) => {
        $($(#[$if])* #[test]
        fn $name() {
            suite::run_target(target(stringify!($name)), Scale::Slice, meter);
        })*

        #[test]
        fn every_target_has_a_test() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$($(#[$if])* stringify!($name)),*]);
        }
    };
}

targets! {
    varint, names, batch, value_ptr, value_log, current, manifest, journal_record, envelope, walfs_segment,
    walfs_index, walfs_truncation, filter, table_props, table_index, range_deletes, table_footer, stored_block, block,
    table_file, ingest, log, segment_file, record_log, journal, batch_log, manifest_files, open, repair, options,
    #[cfg(feature = "cli")] deb822,
    #[cfg(feature = "cli")] tsv,
    #[cfg(feature = "cli")] jsonl,
    #[cfg(feature = "cli")] arguments,
    ops,
}
