//! `nokv redis`: the database as a Redis server.
//!
//! Settings come from the defaults, then the file of `--config`, then the flags.

use std::path::{Path, PathBuf};

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Session;
use super::service::ServiceArgs;
use super::store::{Access, Backend, Failure, Result, Store};
use crate::redis::{Bound, Config, SyncPolicy, TlsClients, conf_file};

/// `nokv redis`.
#[derive(Debug, Args)]
pub struct RedisArgs {
    /// Where to listen [default: 127.0.0.1:6380].
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: Option<String>,

    /// When writes become durable: before each reply, once a second, or when the system likes [default: everysec].
    #[arg(long, value_enum, value_name = "WHEN")]
    pub sync: Option<Sync>,

    /// Let other machines in without password or TLS.
    #[arg(long)]
    pub insecure: bool,

    /// Port for encrypted connections, at the host of --addr; with port 0 there the only one.
    #[arg(long, value_name = "PORT")]
    pub tls_port: Option<u16>,

    /// The server's certificate chain, PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,

    /// Its key, PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// Who signs the clients' certificates, PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_ca_cert_file: Option<PathBuf>,

    /// Must clients of --tls-port show a certificate [default: yes].
    #[arg(long, value_enum, value_name = "WHO")]
    pub tls_auth_clients: Option<AuthClients>,

    /// Serve a cluster: not there yet.
    #[arg(long, value_name = "FILE")]
    pub raft_config: Option<PathBuf>,

    /// Serve a cluster: not there yet.
    #[arg(long, value_name = "ADDR")]
    pub pd_addr: Option<String>,

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

/// `--tls-auth-clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AuthClients {
    /// None comes in without one
    Yes,
    /// One that is shown must be good
    Optional,
    /// None is asked for
    No,
}

impl From<AuthClients> for TlsClients {
    fn from(clients: AuthClients) -> Self {
        match clients {
            AuthClients::Yes => Self::Yes,
            AuthClients::Optional => Self::Optional,
            AuthClients::No => Self::No,
        }
    }
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

/// Is this file one with options of the database, and not a `redis.conf`?
pub(super) fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

/// The settings of a `redis.conf`.
///
/// # Errors
/// What is wrong, with file and line.
pub(super) fn load(path: &Path) -> Result<Config> {
    let mut config = Config::default();
    conf_file::load(path, &mut config).map_err(|error| {
        let name = path.display();
        let place = if error.line == 0 { name.to_string() } else { format!("{name} line {}", error.line) };
        Failure::new(
            error.what,
            place,
            "docs/redis.md lists the settings; a file of database options ends in .toml",
        )
    })?;
    Ok(config)
}

impl RedisArgs {
    fn apply(&self, config: &mut Config) -> Result<()> {
        let cluster = [("--raft-config", self.raft_config.is_some()), ("--pd-addr", self.pd_addr.is_some())];
        if let Some((flag, _)) = cluster.into_iter().find(|(_, is_there)| *is_there) {
            let next = "leave it out: nokv redis serves the database in --workdir";
            return Err(Failure::new("the cluster backend is not there yet", flag, next));
        }
        if let Some(addr) = &self.addr {
            let wrong = |what: &str| Failure::new(what, "--addr", "use HOST:PORT, such as 127.0.0.1:6380");
            let (host, port) = addr.rsplit_once(':').ok_or_else(|| wrong("no port is named"))?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            config.bind = vec![host.to_owned()];
            config.port = port.parse().map_err(|_| wrong("the port is no number up to 65535"))?;
        }
        if let Some(sync) = self.sync {
            config.sync = sync.into();
        }
        if self.insecure {
            config.is_protected = false;
        }
        let tls = &mut config.tls;
        tls.port = self.tls_port.unwrap_or(tls.port);
        for (file, given) in [
            (&mut tls.cert, &self.tls_cert_file),
            (&mut tls.key, &self.tls_key_file),
            (&mut tls.ca_cert, &self.tls_ca_cert_file),
        ] {
            if given.is_some() {
                file.clone_from(given);
            }
        }
        if let Some(clients) = self.tls_auth_clients {
            tls.clients = clients.into();
        }
        Ok(())
    }
}

/// What to do when the server cannot listen.
fn listen_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program has the port: choose another one with --addr HOST:PORT"
        }
        std::io::ErrorKind::InvalidInput => "docs/redis.md has the settings",
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need rights: choose another one with --addr"
        }
        _ => "use HOST:PORT of this machine, such as 127.0.0.1:6380",
    }
}

impl<B: Backend> Session<'_, B> {
    pub(super) fn redis(&mut self, dir: &Path, args: &RedisArgs) -> Result<()> {
        let mut config = self.redis_config.take().unwrap_or_default();
        args.apply(&mut config)?;
        config.dir = dir.to_owned();
        let wanted = format!("{}:{}", config.bind.join(","), config.port);
        let refused =
            |error: &std::io::Error| Failure::new(error.to_string(), wanted.clone(), listen_hint(error));
        Bound::check(&config).map_err(|error| refused(&error))?;
        args.service.start_log()?;
        let store = self.open(dir, Access::Create)?;
        let metrics = self.serve(&store, &args.service)?;
        let bound = Bound::bind(store.redis()?, config).map_err(|error| refused(&error))?;
        let at = bound.local_addrs().first().map_or_else(|| wanted.clone(), ToString::to_string);
        let (host, port) = at.rsplit_once(':').unwrap_or((&at, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let version = env!("CARGO_PKG_VERSION");
        // Before the line that says that it serves: whoever reads it may stop it at once.
        let mut signals = Signals::new([SIGINT, SIGTERM])
            .map_err(|error| Failure::new(error.to_string(), "signals", "try again"))?;
        let tls = if bound.is_encrypted() { " --tls" } else { "" };
        writeln!(
            self.out,
            "nokv {version} serves {} at {at}: redis-cli -h {host} -p {port}{tls}",
            dir.display()
        )
        .and_then(|()| self.out.flush())
        .map_err(|error| Failure::output(&error))?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
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
        served.map_err(|error| {
            let next = "nokv check tells whether the database is damaged; --log info shows more";
            Failure::new(error.to_string(), dir.display().to_string(), next)
        })
    }
}
