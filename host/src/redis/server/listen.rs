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

use super::client::{Client, ClientRef, Close};
use super::connection::{self, Shared};
use super::exec::{Clock, Server, now_ms};
use super::state::State;
use super::syncer::Syncer;
use super::tls::Tls;
use crate::redis::acl::Acl;
use crate::redis::config::{Config, TlsClients};
use crate::redis::fail::Fail;
use crate::redis::store::backend::{Backend, Table};
use crate::redis::store::keyspace::Keyspace;
use nokv_core::formats::redis::SYSTEM_COUNTS;

/// How often the server looks at its clients and keys.
const TICK: Duration = Duration::from_millis(100);
/// How much of that may go into taking expired keys out, and how many of them are taken at once.
const EXPIRE_TIME: Duration = Duration::from_millis(25);
const EXPIRE_AT_ONCE: usize = 128;
/// How long accepting pauses after it failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client may take until its connection is encrypted.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long clients may take to read their last replies when the server ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// A server that listens.
pub struct Bound {
    listeners: Vec<std::net::TcpListener>,
    /// Those for encrypted connections.
    encrypted: Vec<std::net::TcpListener>,
    tls: Option<Tls>,
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
    /// Other machines could come in without a password or a certificate; a user's rule makes no sense; the files for TLS do
    /// not do, or the program was built without it.
    pub fn check(config: &Config) -> io::Result<()> {
        Self::checked(config).map(drop)
    }

    fn checked(config: &Config) -> io::Result<Option<Tls>> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let acl = Acl::new(config).map_err(wrong)?;
        let tls = Tls::load(&config.tls)?;
        let has_plain = config.port != 0 || tls.is_none();
        let is_known = tls.is_some() && config.tls.clients == TlsClients::Yes;
        for host in &config.bind {
            // Every address that the name has must be one of this machine.
            let is_open = (host.as_str(), config.port).to_socket_addrs()?.any(|at| !at.ip().is_loopback());
            if is_open && config.is_protected && !acl.is_closed() && (has_plain || !is_known) {
                return Err(wrong(format!(
                    "{host} lets other machines in, and there is no password: set requirepass, or ask for clients' \
                     certificates (tls-port, tls-auth-clients yes, and port 0), or say --insecure"
                )));
            }
        }
        Ok(tls)
    }

    /// Listens at the addresses of `config`.
    ///
    /// # Errors
    /// As [`Bound::check`]; what the system says.
    pub fn bind(backend: Arc<dyn Backend>, config: Config) -> io::Result<Self> {
        let tls = Self::checked(&config)?;
        let listen = |port: u16| {
            let bind = |host: &String| {
                let listener = std::net::TcpListener::bind((host.as_str(), port))?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            };
            config.bind.iter().map(bind).collect::<io::Result<Vec<_>>>()
        };
        let listeners = if config.port != 0 || tls.is_none() { listen(config.port)? } else { Vec::new() };
        let encrypted = if tls.is_some() { listen(config.tls.port)? } else { Vec::new() };
        Ok(Self { listeners, encrypted, tls, config, backend })
    }

    /// Where it listens; where it expects encryption comes last.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let all = self.listeners.iter().chain(&self.encrypted);
        all.filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Does it listen for encrypted connections alone?
    pub const fn is_encrypted(&self) -> bool {
        self.listeners.is_empty()
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
        let plain = self.listeners.into_iter().map(|listener| (listener, None));
        let encrypted = self.encrypted.into_iter().map(|listener| (listener, self.tls.clone()));
        for (listener, tls) in plain.chain(encrypted) {
            let listener = TcpListener::from_std(listener)?;
            accepting.push(tokio::task::spawn_local(accept(shared.clone(), listener, tls)));
        }
        let mut stop = stop;
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = &mut stop => break,
                _ = ticks.tick() => {
                    shared.server.borrow_mut().tick();
                    expire(&shared).await;
                }
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

/// Takes keys out whose time has come, and lets others in between.
async fn expire(shared: &Shared) {
    let (started, mut spent) = (Instant::now(), Duration::ZERO);
    while spent < EXPIRE_TIME && started.elapsed() < TICK {
        let turn = Instant::now();
        if shared.server.borrow_mut().expire_some() {
            return;
        }
        spent += turn.elapsed();
        tokio::task::yield_now().await;
    }
}

async fn accept(shared: Rc<Shared>, listener: TcpListener, tls: Option<Tls>) {
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
                // The socket's buffer is empty: it takes the line, or the client never knows. One that expects encryption
                // could not read it.
                let _ = tls.is_none().then(|| stream.try_write(b"-ERR max number of clients reached\r\n"));
                continue;
            }
            let is_known = tls.is_some() && state.config.tls.clients == TlsClients::Yes;
            if let Some(refusal) = state.refusal(peer.ip(), is_known) {
                state.counters.refused += 1;
                // As above.
                let _ = tls.is_none().then(|| stream.try_write(refusal));
                continue;
            }
            state.counters.connections += 1;
            let id = state.next_client();
            let mut client = Client::new(id, peer.to_string(), local, state.common.clone());
            client.user = state.acl.at_start();
            client.fd = number_of(&stream);
            client.is_tls = tls.is_some();
            let client = Rc::new(RefCell::new(client));
            state.clients.insert(id, client.clone());
            client
        };
        match &tls {
            None => tokio::task::spawn_local(connection::serve(shared.clone(), client, stream)),
            Some(tls) => tokio::task::spawn_local(encrypt(tls.clone(), shared.clone(), client, stream)),
        };
    }
}

/// Serves a client as soon as its connection is encrypted.
async fn encrypt(tls: Tls, shared: Rc<Shared>, client: ClientRef, stream: TcpStream) {
    let stream = tokio::select! {
        done = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => done.unwrap_or_else(|late| Err(late.into())),
        () = connection::told_to_end(&client) => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    match stream {
        Ok(stream) => connection::serve(shared, client, stream).await,
        Err(error) => {
            tracing::warn!(client = client.borrow().id, %error, "a connection is not encrypted; it ends");
            shared.server.borrow_mut().forget(&client);
        }
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
        self.serve_waiting();
        self.serve_counted();
        self.state.look_at_clients();
        self.state.publish_counters();
    }

    /// Takes some keys out whose time has come; true if there are no more, or if it cannot be done now.
    fn expire_some(&mut self) -> bool {
        self.clock = Clock::now();
        let is_done = self.expire_due(EXPIRE_AT_ONCE).unwrap_or_else(|fail| {
            tracing::warn!(error = %fail.line(), "keys do not expire");
            true
        });
        self.serve_waiting();
        is_done
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
        backend.keep_expired_from(u64::MAX);
    }
}
