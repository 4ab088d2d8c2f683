//! NoKV: an embedded key-value database.
#![forbid(unsafe_code)]

#[cfg(feature = "cli")]
pub mod cli;
