//! Suites that cross the crates of NoKV.

pub mod laws;
