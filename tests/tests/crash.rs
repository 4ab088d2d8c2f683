//! Crash at every call of every workload, on one disk after another.
#![cfg(feature = "skiplist")]

use nokv_index_skiplist::Skiplist;
use nokv_tests::crash::drive::{Drive, tiny};
use nokv_tests::crash::{USUAL, Workload, run, workloads};
use nokv_vfs_mem::{CrashMode, MemFs};

fn usual(name: &'static str, f: fn(Drive<MemFs, Skiplist>)) -> Workload<Skiplist> {
    Workload { name, capabilities: USUAL, mode: CrashMode::Posix, options: tiny(()), run: f }
}

#[test]
fn writes() {
    run(&usual("writes", workloads::writes));
}
