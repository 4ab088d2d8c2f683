//! Suites that cross the crates of NoKV.

#[cfg(feature = "skiplist")]
pub mod crash;
pub mod laws;

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
