//! Law suites: one for each trait of the core, run by every implementation.

pub mod vfs;
