//! Suites that cross the crates of NoKV.

pub mod foreign;
pub mod laws;
pub mod model;
