//! Suites that cross the crates of NoKV.

#[cfg(feature = "skiplist")]
pub mod crash;
pub mod foreign;
#[cfg(feature = "skiplist")]
pub mod hostile;
pub mod laws;
#[cfg(feature = "skiplist")]
pub mod layers;
pub mod model;
pub mod net;
pub mod other_options;
pub mod small_db;
