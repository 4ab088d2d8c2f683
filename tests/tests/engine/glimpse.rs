//! A reader, and a kill, in the middle of writes.
#![cfg(feature = "skiplist")]

use nokv_tests::glimpse::run_all;
use nokv_tests::net::Scale;

#[test]
fn a_reader_sees_whole_batches_at_any_moment() {
    let looks = run_all(Scale::Slice);
    assert!(looks > 500, "{looks}");
}
