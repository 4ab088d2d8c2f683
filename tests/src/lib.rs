//! Suites that cross the crates of NoKV.

pub mod laws;

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
