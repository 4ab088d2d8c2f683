//! Law suites: one per trait, run by every implementation of it.

pub mod index;
