//! A process that is stopped, continued and killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says which program runs as the child: `net`, where this is another one. The first call counts.
pub fn set_program(path: impl Into<PathBuf>) {
    let _ = PROGRAM.set(path.into());
}

/// The program that runs as the child.
pub fn program() -> PathBuf {
    PROGRAM.get().cloned().unwrap_or_else(|| std::env::current_exe().expect("the system knows who we are"))
}

/// A child. It dies with its owner.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    /// Not waited for through this: that could not tell a stop from an end.
    _child: Child,
    errors: PathBuf,
    over: bool,
}

impl Process {
    /// Starts the child `net --child ARGS`; what it says on standard error goes into the file `errors`.
    ///
    /// # Panics
    /// When the system does not let it.
    pub fn start(args: &[String], errors: &Path) -> Self {
        let file = std::fs::File::create(errors).expect("a file for errors");
        let mut command = Command::new(program());
        command.arg("--child").args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program().display()));
        Self { pid: Pid::from_child(&child), _child: child, errors: errors.to_owned(), over: false }
    }

    /// Its number.
    pub const fn id(&self) -> Pid {
        self.pid
    }

    /// What it said on standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    fn wait(&mut self, options: WaitOptions) -> Option<WaitStatus> {
        loop {
            match waitpid(Some(self.pid), options) {
                Ok(None) => return None,
                Ok(Some((_, status))) => {
                    self.over = status.exited() || status.signaled();
                    return Some(status);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("wait: {error}"),
            }
        }
    }

    fn end_of(&self, status: WaitStatus) -> String {
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("ended with {code}"),
            (_, Some(signal)) => format!("was ended by signal {signal}"),
            _ => "changed its state".to_owned(),
        };
        format!("the process {how} and said: {}", self.said())
    }

    /// Stops all its threads; returns when they stand.
    ///
    /// # Errors
    /// It ended instead.
    pub fn stop(&mut self) -> Result<(), String> {
        kill_process(self.pid, Signal::STOP).map_err(|e| e.to_string())?;
        // Told when the last thread has stopped.
        match self.wait(WaitOptions::UNTRACED) {
            Some(status) if status.stopped() => Ok(()),
            Some(status) => Err(self.end_of(status)),
            None => Err("nothing to wait for".to_owned()),
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// What the system gives.
    pub fn go_on(&self) -> Result<(), String> {
        kill_process(self.pid, Signal::CONT).map_err(|e| e.to_string())
    }

    /// Kills it with `SIGKILL`; returns when it is gone.
    ///
    /// # Errors
    /// It had ended by itself, or was ended by something else.
    pub fn kill(&mut self) -> Result<(), String> {
        kill_process(self.pid, Signal::KILL).map_err(|e| e.to_string())?;
        match self.wait(WaitOptions::empty()) {
            Some(status) if status.terminating_signal() == Some(Signal::KILL.as_raw()) => Ok(()),
            Some(status) => Err(self.end_of(status)),
            None => Err("nothing to wait for".to_owned()),
        }
    }

    /// Waits until it kills itself with `SIGKILL`.
    ///
    /// # Errors
    /// It ended otherwise, or went on for longer than `patience`.
    pub fn wait_killed(&mut self, patience: Duration) -> Result<(), String> {
        let started = Instant::now();
        loop {
            match self.wait(WaitOptions::NOHANG) {
                Some(status) if status.terminating_signal() == Some(Signal::KILL.as_raw()) => return Ok(()),
                Some(status) => return Err(self.end_of(status)),
                None if started.elapsed() > patience => return Err("the process hangs".to_owned()),
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.over {
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.wait(WaitOptions::empty());
        }
    }
}
