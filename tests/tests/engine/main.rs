//! Suites of the engine and the handle. One program: the engine is compiled once for all of them.
#![allow(missing_docs)]

mod concurrent;
mod crash;
mod crash_found;
mod damage;
mod fault;
mod fault_found;
mod glimpse;
mod golden;
mod handle;
mod hostile_found;
mod hot_keys;
mod model;
mod model_found;
mod options_bounds;
mod options_effect;
mod options_manifest_sync;
mod options_reopen;
mod options_toml;
mod options_writes;
mod reference_api;
mod repair;
mod smoke;
mod stats_causes;
mod stats_names;
mod stats_reference;
mod typed_crash;
mod typed_golden;
mod typed_records;
mod value_log_gc;
mod value_log_shrink;
mod watchdog_log;
