//! The Redis server.
//!
//! Comparing with a real Redis needs the program `redis-server` (Debian: `apt-get install redis-server`); without it
//! those tests say that they did not run. `REQUIRE_REDIS=1` makes that a failure.

mod blocking;
mod crate_client;
mod differential;
// Processes that are killed and measured.
#[cfg(target_os = "linux")]
mod kill;
#[cfg(target_os = "linux")]
mod limits;
