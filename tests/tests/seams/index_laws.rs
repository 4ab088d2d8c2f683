//! Every memtable index keeps the laws of `MemIndex`, on fixed seeds and on generated operations.

use nokv_core::MemIndex;
use nokv_tests::laws::index::{Op, check_index, check_ops};
use proptest::prelude::*;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let byte = prop_oneof![0..3u8, any::<u8>()];
    let version = prop_oneof![Just(u64::MAX), 0..4u64];
    let op = (0..3u32, prop::collection::vec(byte, 0..12), version, any::<Vec<u8>>());
    let op = op.prop_map(|(cf, user_key, version, value)| Op { cf, user_key, version, value });
    prop::collection::vec(op, 0..80)
}

fn compare<I: MemIndex<Config: Default>>(ops: &[Op]) {
    check_ops(I::new(&Default::default(), 1 << 16), ops);
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 2 } else { 256 };
    ProptestConfig { failure_persistence: None, cases, ..Default::default() }
}

#[cfg(feature = "skiplist")]
#[test]
fn skiplist_keeps_the_laws() {
    check_index(|| nokv_index_skiplist::Skiplist::new(&(), 1 << 20));
}

#[cfg(feature = "art")]
#[test]
fn art_keeps_the_laws() {
    check_index(|| nokv_index_art::Art::new(&(), 1 << 20));
}

proptest! {
    #![proptest_config(config())]

    #[cfg(feature = "skiplist")]
    #[test]
    fn skiplist_equals_the_model(ops in ops()) {
        compare::<nokv_index_skiplist::Skiplist>(&ops);
    }

    #[cfg(feature = "art")]
    #[test]
    fn art_equals_the_model(ops in ops()) {
        compare::<nokv_index_art::Art>(&ops);
    }
}
