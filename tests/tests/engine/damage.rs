//! Any damage to any file: a slice.

#[test]
fn damage_is_harmless_or_noticed() {
    assert!(nokv_tests::damage::run_all(nokv_tests::net::Scale::Slice) > 10_000);
}
