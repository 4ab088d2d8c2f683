#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nokv_tests::hostile::run("table_file", bytes));
