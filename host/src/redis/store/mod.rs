//! The store of the Redis front: tables, transactions, keys with types and expiry.
//!
//! ```text
//! keyspace   keys with types, expiry, counts; what a command or a transaction changes
//!   txn      reads see own writes; commits if nothing changed meanwhile
//!     backend  ordered tables with one atomic write: the embedded database
//! ```

pub mod backend;
pub mod build;
pub mod changes;
pub mod counts;
pub mod effects;
pub mod embedded;
pub mod keyspace;
pub mod ranks;
mod rebuild;
pub mod txn;
pub mod writes;
