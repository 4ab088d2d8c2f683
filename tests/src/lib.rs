//! Suites that cross the crates of NoKV.

#[cfg(feature = "skiplist")]
pub mod crash;
pub mod laws;
