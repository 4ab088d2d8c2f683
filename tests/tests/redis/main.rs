//! The Redis server.
//!
//! Comparing with a real Redis needs the program `redis-server` (Debian: `apt-get install redis-server`); without it
//! those tests say that they did not run. `REQUIRE_REDIS=1` makes that a failure.

mod crate_client;
mod differential;
