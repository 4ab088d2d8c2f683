//! Every memtable index keeps the laws of `MemIndex`, each law in a test of its own, and equals a map on generated
//! operations.
//!
//! Miri runs the laws too (`.ci/miri`). What proptest generates is left out there: generating takes longer than running,
//! and the law `random_operations` does the same with a generator of its own.

use nokv_core::MemIndex;
use nokv_tests::each_index_law;

/// An empty index. Under Miri its chunks stay small: large allocations are slow there.
fn make<I: MemIndex<Config = ()>>() -> I {
    I::new(&(), if cfg!(miri) { 0 } else { 1 << 20 })
}

macro_rules! tests {
    ($($law:ident)*) => {
        $(#[test]
        fn $law() {
            nokv_tests::laws::index::$law(&super::make::<Index>);
        })*
    };
}

#[cfg(feature = "skiplist")]
mod skiplist {
    use nokv_index_skiplist::Skiplist as Index;
    super::each_index_law!(tests);
}

#[cfg(feature = "art")]
mod art {
    use nokv_index_art::Art as Index;
    super::each_index_law!(tests);
}

#[cfg(not(miri))]
mod generated {
    use nokv_core::MemIndex;
    use nokv_tests::laws::index::{Op, check_ops};
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

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

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
}
