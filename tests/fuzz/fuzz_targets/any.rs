//! `NOKV_HOSTILE_TARGET=NAME cargo +nightly fuzz run any corpus/NAME`: any target with one build.
#![no_main]

use std::sync::LazyLock;

use nokv_tests::hostile::{Target, target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    target(&std::env::var("NOKV_HOSTILE_TARGET").expect("NOKV_HOSTILE_TARGET names a target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
