//! The two servers: a real Redis, if this machine has one, and ours.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nokv::redis::store::embedded::Embedded;
use nokv::redis::{Bound, Config};
use nokv::{Db, Options};

use super::wire::Client;

/// A real Redis server with nothing in it; ends with the value.
pub struct RealRedis {
    child: Child,
    at: SocketAddr,
    version: String,
    _dir: tempfile::TempDir,
}

impl RealRedis {
    /// Starts one; `None` where the program `redis-server` is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--bind", "127.0.0.1", "--enable-debug-command", "yes", "--dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let started = Instant::now();
        loop {
            if let Ok(mut client) = Client::connect(at)
                && let Ok(super::wire::Wire::Bulk(info)) = client.call("INFO server")
            {
                let info = String::from_utf8_lossy(&info).into_owned();
                let version = info.lines().find_map(|l| l.strip_prefix("redis_version:")).unwrap_or("?");
                return Some(Self { child, at, version: version.to_owned(), _dir: dir });
            }
            assert!(started.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens.
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our server in this process, on a database of its own; ends with the value.
pub struct OurRedis {
    at: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    db: Db,
    dir: Option<tempfile::TempDir>,
}

impl OurRedis {
    /// Starts one on an empty directory.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(config: Config) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut server = Self::start_on(Options::new(dir.path()), config);
        server.dir = Some(dir);
        server
    }

    /// Starts one on a database.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_on(options: Options, config: Config) -> Self {
        let db = Db::open(options).expect("a database");
        let backend = Arc::new(Embedded::new(db.clone()).expect("its families"));
        let bound = Bound::bind(backend, Config { port: 0, ..config }).expect("a free port");
        let at = bound.local_addrs()[0];
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let run = move || bound.run(stopped).expect("it serves");
        let thread = std::thread::Builder::new().name("redis".to_owned()).spawn(run).expect("a thread");
        Self { at, stop: Some(stop), thread: Some(thread), db, dir: None }
    }

    /// Where it listens.
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// The database below.
    pub const fn db(&self) -> &Db {
        &self.db
    }
}

impl Drop for OurRedis {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(!failed || std::thread::panicking(), "the server panicked");
        }
    }
}
