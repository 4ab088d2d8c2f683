//! Every call fails, every sync fails, the disk is full at every call: a slice of each.
#![cfg(feature = "skiplist")]

use nokv_tests::faults::{calls, space, syncs};
use nokv_tests::net::Scale;

#[test]
fn any_call_fails() {
    assert!(calls::run_all(Scale::Slice) > 500);
}

#[test]
fn a_full_disk_is_clean_and_passes() {
    assert!(space::run_all(Scale::Slice) > 100);
}

#[test]
fn a_failed_sync_is_for_good() {
    assert!(syncs::run_all(Scale::Slice) > 100);
}

/// The header of a value-log segment went with a failed sync when the first value in it had no log record: the next
/// process wrote the named values again and not the header, and a power cut took what it had synced.
#[test]
fn a_header_before_unlogged_values_is_written_again() {
    assert!(syncs::run_named("lazy-unlogged", Scale::Full) > 500);
}
