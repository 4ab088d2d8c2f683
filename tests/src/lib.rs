//! Suites that cross the crates of NoKV.
#![forbid(unsafe_code)]

#[cfg(feature = "skiplist")]
pub mod crash;
pub mod foreign;
pub mod laws;
#[cfg(feature = "skiplist")]
pub mod layers;
pub mod model;
pub mod net;
pub mod other_options;
#[cfg(shuttle)]
pub mod races;
pub mod small_db;
