//! Suites that cross the crates of NoKV.

#[cfg(feature = "skiplist")]
pub mod crash;
pub mod damage;
#[cfg(feature = "skiplist")]
pub mod faults;
pub mod foreign;
#[cfg(feature = "skiplist")]
pub mod glimpse;
#[cfg(feature = "skiplist")]
pub mod hostile;
pub mod laws;
#[cfg(feature = "skiplist")]
pub mod layers;
pub mod model;
pub mod net;
pub mod other_options;
#[cfg(all(feature = "planted", feature = "skiplist"))]
pub mod planted;
#[cfg(feature = "skiplist")]
pub mod real;
#[cfg(feature = "skiplist")]
pub mod record_log;
pub mod small_db;
