//! Suites that cross the crates of NoKV.
//!
//! A build for the checker of schedules has the races alone: everything else needs threads of the system.
#![forbid(unsafe_code)]

#[cfg(all(feature = "skiplist", not(shuttle)))]
pub mod crash;
#[cfg(not(shuttle))]
pub mod damage;
#[cfg(all(feature = "skiplist", not(shuttle)))]
pub mod faults;
#[cfg(not(shuttle))]
pub mod foreign;
#[cfg(all(feature = "skiplist", not(shuttle)))]
pub mod glimpse;
#[cfg(all(feature = "skiplist", not(shuttle)))]
pub mod hostile;
#[cfg(not(shuttle))]
pub mod laws;
#[cfg(feature = "skiplist")]
pub mod layers;
#[cfg(not(shuttle))]
pub mod model;
pub mod net;
#[cfg(not(shuttle))]
pub mod other_options;
#[cfg(all(feature = "planted", feature = "skiplist", not(shuttle)))]
pub mod planted;
#[cfg(shuttle)]
pub mod races;
#[cfg(all(feature = "skiplist", not(shuttle)))]
pub mod real;
#[cfg(all(feature = "skiplist", not(shuttle)))]
pub mod record_log;
#[cfg(all(feature = "redis", not(shuttle)))]
pub mod redis;
#[cfg(not(shuttle))]
pub mod small_db;
