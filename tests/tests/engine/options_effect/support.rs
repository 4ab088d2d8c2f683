//! What the cases share: small databases in memory, and counts of calls to the file system.

#![allow(dead_code, reason = "cases use it as they come")]

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nokv::{Db, Options};
use nokv_vfs_mem::{FaultFs, MemFs};

/// Options under which little data shows much, and nothing happens by time alone.
pub fn small() -> Options {
    Options {
        mem_table_bytes: 64 << 10,
        wal_segment_bytes: 256 << 10,
        table_bytes: 64 << 10,
        value_log_segment_bytes: 64 << 10,
        value_log_gc_interval: Duration::ZERO,
        num_compactors: 1,
        ..Options::new("db")
    }
}

/// A file system of which every call that changes something is noted, as (name of the call, path).
#[derive(Clone)]
pub struct Noted {
    pub fs: MemFs,
    calls: Arc<Mutex<Vec<(String, String)>>>,
}

impl Noted {
    pub fn new() -> Self {
        let fs = MemFs::new();
        let calls: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let notes = calls.clone();
        fs.set_call_hook(Box::new(move |_, call, path| {
            notes.lock().unwrap().push((call.to_string(), path.to_string()));
        }));
        Self { fs, calls }
    }

    /// How often `call` was made on a path that contains `part`.
    pub fn count(&self, call: &str, part: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|(name, path)| name == call && path.contains(part)).count()
    }

    /// How many calls changed something.
    pub fn count_all(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    pub fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }
}

/// A file system that holds up the calls of one kind on some paths until it is opened.
pub struct Gate {
    pub fs: MemFs,
    state: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Default)]
struct GateState {
    is_shut: bool,
    waiting: usize,
}

impl Gate {
    /// Holds up `call` on paths that contain `part`, once it is shut.
    pub fn new(calls: &'static [&'static str], part: &'static str) -> Self {
        let fs = MemFs::new();
        let state: Arc<(Mutex<GateState>, Condvar)> = Arc::default();
        let shared = state.clone();
        fs.set_call_hook(Box::new(move |_, call, path| {
            if !calls.contains(&call) || !path.contains(part) {
                return;
            }
            let (state, changed) = &*shared;
            let mut state = state.lock().unwrap();
            state.waiting += 1;
            changed.notify_all();
            while state.is_shut {
                state = changed.wait(state).unwrap();
            }
            state.waiting -= 1;
        }));
        Self { fs, state }
    }

    pub fn shut(&self) {
        self.state.0.lock().unwrap().is_shut = true;
    }

    pub fn open(&self) {
        self.state.0.lock().unwrap().is_shut = false;
        self.state.1.notify_all();
    }

    /// Waits until a call is held up.
    pub fn wait_for_one(&self) {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        while state.waiting == 0 {
            state = changed.wait(state).unwrap();
        }
    }
}

/// Lets other threads run until `holds`.
pub fn wait_until(holds: impl Fn() -> bool) {
    while !holds() {
        std::thread::yield_now();
    }
}

/// A database on a file system whose calls, reads included, are counted.
pub fn counted(options: Options) -> (FaultFs<MemFs>, Db<FaultFs<MemFs>>) {
    let fs = FaultFs::new(MemFs::new());
    let db = Db::open_on(fs.clone(), options).unwrap();
    (fs, db)
}

/// A database in memory.
pub fn open(options: Options) -> (MemFs, Db<MemFs>) {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), options).unwrap();
    (fs, db)
}

/// Sets `count` keys, the numbers from 0, to values of `bytes` bytes.
pub fn fill<V: nokv::Vfs>(db: &Db<V>, count: u32, bytes: usize) {
    for k in 0..count {
        db.set(&k.to_be_bytes(), &vec![k as u8; bytes]).unwrap();
    }
}
