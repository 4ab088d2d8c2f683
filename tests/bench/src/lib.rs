//! Benchmarks of NoKV beside its rivals: YCSB, the log, and what it takes to judge a change.
//!
//! Who may call it: the programs of this package. Only ratios within one run mean anything.

pub mod args;
pub mod chart;
pub mod check;
pub mod client;
pub mod engines;
pub mod histogram;
pub mod process;
pub mod regress;
pub mod report;
pub mod run;
pub mod workload;
