//! A server of the Redis protocol on the embedded database.
//!
//! ```text
//! server     sockets, clients, limits: bytes in, bytes out
//!   commands   what each command means: arguments in, a reply out
//!     types      lists, sets, sorted sets, hashes
//!       store      keys with types and expiry, transactions, the database
//! resp       the protocol's bytes
//! ```
//!
//! 1. One thread runs all commands, one after another: each is atomic, and so is a transaction. Sockets are served by
//!    the same thread, as far as the system lets it, between commands.
//! 2. What a command writes is one batch of the database. A reply leaves when it is as durable as `appendfsync` says.

pub mod acl;
pub mod commands;
pub mod conf_file;
pub mod config;
pub mod fail;
pub mod glob;
pub mod long_double;
pub mod notify;
pub mod rdb;
pub mod resp;
pub mod server;
pub mod settings;
pub mod store;
#[cfg(test)]
mod testing;
pub mod types;

pub use config::{Config, SyncPolicy, TlsClients, TlsConfig};
pub use server::listen::{Bound, ServeError};
