//! `nokv redis`: the database as a Redis server.

use std::path::Path;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Session;
use super::service::ServiceArgs;
use super::store::{Access, Backend, Failure, Result, Store};
use crate::redis::{Bound, Config, SyncPolicy};

/// `nokv redis`.
#[derive(Debug, Args)]
pub struct RedisArgs {
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6380")]
    pub addr: String,

    /// When writes become durable: before each reply, once a second, or when the system likes.
    #[arg(long, value_enum, default_value = "everysec")]
    pub sync: Sync,

    /// Metrics and log.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// `--sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sync {
    /// A reply leaves when what it tells of survives power loss
    Always,
    /// A power loss takes at most the writes of about the last second
    Everysec,
    /// A power loss takes what the system had not written yet
    No,
}

impl From<Sync> for SyncPolicy {
    fn from(sync: Sync) -> Self {
        match sync {
            Sync::Always => Self::Always,
            Sync::Everysec => Self::EverySecond,
            Sync::No => Self::No,
        }
    }
}

impl<B: Backend> Session<'_, B> {
    pub(super) fn redis(&mut self, dir: &Path, args: &RedisArgs) -> Result<()> {
        let wrong = |what: String| Failure::new(what, "--addr", "use HOST:PORT, such as 127.0.0.1:6380");
        let (host, port) = args.addr.rsplit_once(':').ok_or_else(|| wrong("no port is named".to_owned()))?;
        let config = Config {
            bind: vec![host.to_owned()],
            port: port.parse().map_err(|_| wrong(format!("{port:?} is no port")))?,
            dir: dir.to_owned(),
            sync: args.sync.into(),
            ..Config::default()
        };
        args.service.start_log()?;
        let store = self.open(dir, Access::Create)?;
        let metrics = self.serve(&store, &args.service)?;
        let bound = Bound::bind(store.redis()?, config).map_err(|error| wrong(error.to_string()))?;
        let at = bound.local_addrs().first().map_or_else(|| args.addr.clone(), ToString::to_string);
        let (host, port) = at.rsplit_once(':').unwrap_or((&at, ""));
        let version = env!("CARGO_PKG_VERSION");
        writeln!(self.out, "nokv {version} serves {} at {at}: redis-cli -h {host} -p {port}", dir.display())
            .and_then(|()| self.out.flush())
            .map_err(|error| Failure::output(&error))?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let mut signals = Signals::new([SIGINT, SIGTERM])
            .map_err(|error| Failure::new(error.to_string(), "signals", "try again"))?;
        let handle = signals.handle();
        let waiter = std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                // The server may have ended by itself.
                let _ = stop.send(());
            }
        });
        let served = bound.run(stopped);
        handle.close();
        let _ = waiter.join();
        drop(metrics);
        store.close()?;
        served.map_err(|error| Failure::new(error.to_string(), dir.display().to_string(), "see the log"))
    }
}
