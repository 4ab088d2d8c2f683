//! Our server as a process of its own, which can be killed and whose memory can be measured: the program `net` as
//! `net --child redis DIR ADDRESS SEED OPEN CONF`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nokv::redis::store::embedded::Embedded;
use nokv::redis::{Bound, Config, conf_file};
use nokv::{Db, Options};

use crate::real::options::{file_system, options};
use crate::real::process::Process;

/// How long a start may take, with the replay of a log.
const START: Duration = Duration::from_secs(60);

/// Options of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The usual ones.
    Usual,
    /// Small ones, drawn from a seed, for this number of an open.
    Drawn(u64, u64),
}

/// The process. It dies with its owner.
pub struct ServerProcess {
    process: Process,
    at: SocketAddr,
}

impl ServerProcess {
    /// Starts one on the database `db` below `place`, with these lines of `redis.conf`.
    ///
    /// # Errors
    /// It does not start; with what it said.
    pub fn start(place: &Path, conf: &str, shape: Shape) -> Result<Self, String> {
        let address = place.join("address");
        let _ = std::fs::remove_file(&address);
        let (seed, open) = match shape {
            Shape::Usual => ("-".to_owned(), "-".to_owned()),
            Shape::Drawn(seed, open) => (seed.to_string(), open.to_string()),
        };
        let path = |path: &Path| path.display().to_string();
        let args = ["redis".to_owned(), path(&place.join("db")), path(&address), seed, open, conf.to_owned()];
        let process = Process::start(&args, &place.join("errors"));
        let started = Instant::now();
        loop {
            let at = std::fs::read_to_string(&address).ok().and_then(|text| text.parse().ok());
            if let Some(at) = at {
                return Ok(Self { process, at });
            }
            if started.elapsed() > START || !process.said().is_empty() {
                return Err(format!("the server does not start: {}", process.said()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Where it listens.
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Kills it with `SIGKILL`; returns when it is gone.
    ///
    /// # Errors
    /// It had ended by itself; with what it said.
    pub fn kill(&mut self) -> Result<(), String> {
        self.process.kill()
    }

    /// Bytes of memory that it holds.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system tells");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
    }
}

/// The process, from the arguments behind `redis`; ends when it is killed, or by SHUTDOWN.
pub fn serve(args: &[String]) -> ExitCode {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    match served(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn served(args: &[String]) -> Result<(), String> {
    let [dir, address, seed, open, conf] = args else { return Err("five arguments".to_owned()) };
    let told = |what: &'static str| move |error: nokv::Error| format!("{what}: {error}");
    let db = match (seed.parse(), open.parse()) {
        (Ok(seed), Ok(open)) => Db::open_on(file_system(seed, open), options(Path::new(dir), seed, open)),
        _ => Db::open(Options::new(dir)),
    };
    let db = db.map_err(told("open"))?;
    let mut config = Config { port: 0, ..Config::default() };
    conf_file::read(conf, &mut config).map_err(|error| error.what)?;
    let backend = Arc::new(Embedded::new(db.clone()).map_err(told("families"))?);
    let bound = Bound::bind(backend, config).map_err(|error| error.to_string())?;
    let at = bound.local_addrs().first().map(ToString::to_string).ok_or("no address")?;
    // Whole, or not there.
    let new = format!("{address}.new");
    std::fs::write(&new, at)
        .and_then(|()| std::fs::rename(&new, address))
        .map_err(|error| error.to_string())?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let served = bound.run(stopped).map_err(|error| error.to_string());
    drop(stop);
    served.and(db.close().map_err(told("close")))
}
