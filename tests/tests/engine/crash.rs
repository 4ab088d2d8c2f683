//! Crash at every call of every workload, on one disk after another.
#![cfg(feature = "skiplist")]

use nokv_core::engine::EngineOptions;
use nokv_core::vfs::Capabilities;
use nokv_index_skiplist::Skiplist;
use nokv_tests::crash::drive::{Drive, tiny};
use nokv_tests::crash::{USUAL, Workload, run, workloads};
use nokv_vfs_mem::{CrashMode, MemFs};

/// How a host without maps, links and atomic renames looks.
const PLAIN: Capabilities =
    Capabilities { maps: false, atomic_rename: false, directory_sync: true, hard_links: false };
const WITHOUT_MAPS: Capabilities = Capabilities { maps: false, ..USUAL };

fn usual(name: &'static str, f: fn(Drive<MemFs, Skiplist>)) -> Workload<Skiplist> {
    Workload { name, capabilities: USUAL, mode: CrashMode::Posix, options: tiny(()), run: f }
}

fn hostile(name: &'static str, f: fn(Drive<MemFs, Skiplist>)) -> Workload<Skiplist> {
    Workload { capabilities: PLAIN, mode: CrashMode::Hostile, ..usual(name, f) }
}

#[test]
fn writes() {
    run(&usual("writes", workloads::writes));
}

#[test]
fn writes_on_a_plain_hostile_disk() {
    run(&hostile("writes-hostile", workloads::writes));
}

#[test]
fn writes_without_maps() {
    run(&Workload { capabilities: WITHOUT_MAPS, ..usual("writes-without-maps", workloads::writes) });
}

#[test]
fn levels() {
    run(&usual("levels", workloads::levels));
}

#[test]
fn collection() {
    run(&usual("collection", workloads::collection));
}

#[test]
fn collection_on_a_plain_hostile_disk() {
    run(&hostile("collection-hostile", workloads::collection));
}

#[test]
fn families() {
    run(&usual("families", workloads::families));
}

#[test]
fn log() {
    let options = EngineOptions { manifest_rewrite_bytes: 600, ..tiny(()) };
    run(&Workload { options, ..usual("log", workloads::log) });
}

#[test]
fn log_with_a_lazy_manifest() {
    let options = EngineOptions { manifest_sync: false, ..tiny(()) };
    run(&Workload { options, ..usual("log-lazy", workloads::log) });
}

#[test]
fn checkpoint() {
    run(&usual("checkpoint", workloads::checkpoint));
}

#[test]
fn checkpoint_on_a_plain_hostile_disk() {
    run(&hostile("checkpoint-hostile", workloads::checkpoint));
}

#[test]
fn ingest() {
    run(&usual("ingest", workloads::ingest));
}

#[test]
fn unlogged() {
    run(&usual("unlogged", workloads::unlogged));
}
