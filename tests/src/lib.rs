//! Suites that cross the crates of NoKV.

pub mod crash;
pub mod foreign;
pub mod laws;
pub mod model;
pub mod other_options;
pub mod small_db;
