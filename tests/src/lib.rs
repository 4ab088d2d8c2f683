//! Suites that cross the crates of NoKV.

#[cfg(feature = "skiplist")]
pub mod crash;
pub mod damage;
#[cfg(feature = "skiplist")]
pub mod faults;
pub mod foreign;
pub mod laws;
#[cfg(feature = "skiplist")]
pub mod layers;
pub mod model;
pub mod net;
pub mod other_options;
#[cfg(feature = "skiplist")]
pub mod real;
pub mod small_db;
