//! Sockets, clients, and the one thread that runs their commands.
//!
//! ```text
//! listen      accepts connections, the clock's ticks, the end
//!   connection  one client: bytes in, requests to `exec`, bytes out
//!     exec        one request: may it run, run it, commit, tell the others
//! ```

pub mod client;
mod connection;
pub mod cursors;
pub mod diagnosis;
pub mod exec;
pub mod held;
pub mod listen;
pub mod monitor;
pub mod pubsub;
pub mod state;
pub mod syncer;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
pub mod waiting;
pub mod watching;

#[cfg(test)]
mod tests;
