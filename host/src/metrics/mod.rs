//! Metrics over HTTP: what monitors, `nokv stats --expvar` and `nokv top` read of a running process.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus text, see [`prometheus`] |
//! | `/debug/vars` | a JSON object: `NoKV.Stats` (the statistics), `NoKV.Health`, `NoKV.Process` |
//! | `/health` | the health as JSON; status 503 when a cause keeps the database from taking writes, else 200 |
//!
//! 1. On loopback unless [`MetricsOptions::allow_remote`] is set: statistics name hot keys, and there is no password.
//! 2. One thread, one request a connection, with bounds for their number, size and time: a slow or hostile peer
//!    costs the database nothing.
//! 3. The server holds a handle: the database closes by [`Db::close`], or when the last handle and the server are
//!    gone. After a close the answers are 503.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let db = nokv::Db::open(nokv::Options::new(dir.path()))?;
//! let server = nokv::metrics::serve(&db, "127.0.0.1:0")?;
//! println!("http://{}/metrics", server.local_addr());
//! # Ok(())
//! # }
//! ```

mod address;
pub mod prometheus;
mod server;
mod source;
mod table;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use nokv_core::{MemIndex, Vfs};

pub use server::MetricsServer;
pub use source::{HEALTH_KEY, PROCESS_KEY, STATS_KEY};
pub use table::{COUNTER_MAPS, From, Kind, METRICS, Metric, NOT_METRICS};

use crate::Db;

/// How metrics are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MetricsOptions {
    /// Lets other machines in: allows addresses that are not loopback, and requests that name any host.
    pub allow_remote: bool,
}

/// Why metrics are not served.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address makes no sense.
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        what: String,
    },
    /// The address can be reached from other machines, which was not allowed.
    NotLoopback(SocketAddr),
    /// The system refuses to listen there, or to start a thread.
    Listen {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, what } => write!(f, "metrics address {address}: {what}"),
            Self::NotLoopback(at) => {
                write!(f, "metrics address {at} can be reached from other machines, which is not allowed")
            }
            Self::Listen { address, source } => write!(f, "metrics address {address}: {source}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Serves the metrics of `db` at `addr` until the guard that it gives is dropped. `addr` is `HOST:PORT`, or `PORT` or
/// `:PORT` for 127.0.0.1; port 0 takes a free one.
///
/// # Errors
/// [`ServeError`]; above all [`ServeError::NotLoopback`], for which see [`serve_with`].
pub fn serve<V: Vfs, I: MemIndex>(db: &Db<V, I>, addr: &str) -> Result<MetricsServer, ServeError> {
    serve_with(db, addr, MetricsOptions::default())
}

/// [`serve`] with options.
///
/// # Errors
/// As [`serve`].
pub fn serve_with<V: Vfs, I: MemIndex>(
    db: &Db<V, I>,
    addr: &str,
    options: MetricsOptions,
) -> Result<MetricsServer, ServeError> {
    MetricsServer::start(addr, options, Box::new(source::Handle::new(db.clone())))
}
