//! Accepts connections and runs the server until it is told to end.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::client::{Client, Close};
use super::connection::{self, Shared};
use super::exec::{Clock, Server, now_ms};
use super::state::State;
use super::syncer::Syncer;
use crate::redis::acl::Acl;
use crate::redis::config::{Config, TlsConfig};
use crate::redis::fail::Fail;
use crate::redis::store::backend::{Backend, Table};
use crate::redis::store::keyspace::Keyspace;
use nokv_core::formats::redis::SYSTEM_COUNTS;

/// How often the server looks at its clients and keys.
const TICK: Duration = Duration::from_millis(100);
/// How long accepting pauses after it failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long clients may take to read their last replies when the server ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// A server that listens.
pub struct Bound {
    listeners: Vec<std::net::TcpListener>,
    config: Config,
    backend: Arc<dyn Backend>,
}

/// Why a server does not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The system refuses.
    Io(io::Error),
    /// The store, or what stands in it, does not do.
    Store(String),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Store(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fail> for ServeError {
    fn from(fail: Fail) -> Self {
        Self::Store(fail.line().into_owned())
    }
}

impl Bound {
    /// Whether a server may run with these settings, before anything is opened.
    ///
    /// # Errors
    /// Other machines could come in without a password; a user's rule makes no sense; TLS is asked for.
    pub fn check(config: &Config) -> io::Result<()> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let acl = Acl::new(config).map_err(wrong)?;
        if config.tls != TlsConfig::default() {
            return Err(wrong("this program was built without TLS".to_owned()));
        }
        for host in &config.bind {
            // Every address that the name has must be one of this machine.
            let is_open = (host.as_str(), config.port).to_socket_addrs()?.any(|at| !at.ip().is_loopback());
            if is_open && config.is_protected && !acl.is_closed() {
                return Err(wrong(format!(
                    "{host} lets other machines in, and there is no password: set requirepass, or say --insecure"
                )));
            }
        }
        Ok(())
    }

    /// Listens at the addresses of `config`.
    ///
    /// # Errors
    /// As [`Bound::check`]; what the system says.
    pub fn bind(backend: Arc<dyn Backend>, config: Config) -> io::Result<Self> {
        Self::check(&config)?;
        let mut listeners = Vec::new();
        for host in &config.bind {
            let listener = std::net::TcpListener::bind((host.as_str(), config.port))?;
            listener.set_nonblocking(true)?;
            listeners.push(listener);
        }
        Ok(Self { listeners, config, backend })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `stop` is told, or dropped, or a client shuts it down. Takes the thread.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn run(self, stop: oneshot::Receiver<()>) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        LocalSet::new().block_on(&runtime, self.serve(stop))
    }

    async fn serve(self, stop: oneshot::Receiver<()>) -> Result<(), ServeError> {
        let keys = Keyspace::open(self.backend.clone(), now_ms())?;
        let syncer = Syncer::start(self.backend.clone(), self.config.sync)?;
        let mut state = State::new(self.config).map_err(ServeError::Store)?;
        state.sync = Some(syncer.handle());
        state.tcp_port = self.listeners.first().and_then(|l| l.local_addr().ok()).map_or(0, |at| at.port());
        self.backend.attach(state.shared.clone());
        let server = Server { keys, state, clock: Clock::now() };
        let shared = Rc::new(Shared { server: RefCell::new(server), sync: syncer.handle() });
        let mut accepting = Vec::new();
        for listener in self.listeners {
            let listener = TcpListener::from_std(listener)?;
            accepting.push(tokio::task::spawn_local(accept(shared.clone(), listener)));
        }
        let mut stop = stop;
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = &mut stop => break,
                _ = ticks.tick() => shared.server.borrow_mut().tick(),
            }
            if shared.server.borrow().state.shutdown {
                break;
            }
        }
        accepting.iter().for_each(tokio::task::JoinHandle::abort);
        let clients: Vec<_> = shared.server.borrow().state.clients.values().cloned().collect();
        clients.iter().for_each(|client| client.borrow_mut().end(Close::AfterReplies));
        // Replies that are written leave, where their reader takes them.
        let until = Instant::now() + GOODBYE;
        while Instant::now() < until && !shared.server.borrow().state.clients.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shared.server.borrow_mut().finish(&*self.backend);
        Ok(())
    }
}

async fn accept(shared: Rc<Shared>, listener: TcpListener) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Replies are small and awaited.
        let _ = stream.set_nodelay(true);
        let keepalive = shared.server.borrow().state.config.tcp_keepalive;
        if keepalive != 0 {
            let probes = TcpKeepalive::new().with_time(Duration::from_secs(keepalive));
            // A socket that takes no probes serves all the same.
            let _ = SockRef::from(&stream).set_tcp_keepalive(&probes);
        }
        let local = stream.local_addr().map_or_else(|_| String::new(), |at| at.to_string());
        let client = {
            let state = &mut shared.server.borrow_mut().state;
            if state.clients.len() >= state.config.clients_max {
                state.counters.refused += 1;
                // The socket's buffer is empty: it takes the line, or the client never knows.
                let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
                continue;
            }
            state.counters.connections += 1;
            let id = state.next_client();
            let mut client = Client::new(id, peer.to_string(), local, state.output.clone());
            client.user = state.acl.at_start();
            client.fd = number_of(&stream);
            let client = Rc::new(RefCell::new(client));
            state.clients.insert(id, client.clone());
            client
        };
        tokio::task::spawn_local(connection::serve(shared.clone(), client, stream));
    }
}

#[cfg(unix)]
fn number_of(stream: &TcpStream) -> i64 {
    i64::from(std::os::fd::AsRawFd::as_raw_fd(stream))
}

#[cfg(not(unix))]
const fn number_of(_: &TcpStream) -> i64 {
    -1
}

impl Server {
    /// What is due.
    fn tick(&mut self) {
        self.clock = Clock::now();
        if let Err(fail) = self.expire_due() {
            tracing::warn!(error = %fail.line(), "keys do not expire");
        }
        self.serve_waiting();
        self.state.look_at_clients();
        self.state.publish_counters();
    }

    /// Notes the counts of keys, for the next start.
    fn finish(&mut self, backend: &dyn Backend) {
        let seq = backend.seq();
        if let Some(counts) = self.keys.counts().to_store(seq) {
            self.keys.begin(now_ms());
            self.keys.txn().set(Table::System, SYSTEM_COUNTS, counts);
            if self.keys.commit().is_err() {
                tracing::warn!("the numbers of keys were not stored: the next start counts them");
            }
        }
    }
}
