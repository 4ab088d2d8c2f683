//! Suites that cross the crates of NoKV.

pub mod laws;
pub mod small_db;
