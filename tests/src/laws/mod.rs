//! Law suites: what every implementation of a seam must do, run by each of them.

pub mod index;
pub mod vfs;
