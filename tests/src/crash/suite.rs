//! Every workload, on one disk after another.

use nokv_core::engine::EngineOptions;
use nokv_core::vfs::Capabilities;
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::{CrashMode, MemFs};

use super::drive::{Drive, tiny};
use super::{USUAL, Workload, run, workloads};
use crate::net::Scale;

/// How a host without maps, links and atomic renames looks.
pub(super) const PLAIN: Capabilities =
    Capabilities { maps: false, atomic_rename: false, directory_sync: true, hard_links: false };
/// A usual host that maps nothing.
pub(super) const WITHOUT_MAPS: Capabilities = Capabilities { maps: false, ..USUAL };
/// A host that maps files, and can do nothing else.
pub(super) const HOSTILE_WITH_MAPS: Capabilities = Capabilities { maps: true, ..PLAIN };

fn usual(name: &'static str, f: fn(Drive<MemFs, Skiplist>)) -> Workload<Skiplist> {
    Workload { name, capabilities: USUAL, mode: CrashMode::Posix, options: tiny(()), run: f }
}

fn hostile(name: &'static str, f: fn(Drive<MemFs, Skiplist>)) -> Workload<Skiplist> {
    Workload { capabilities: PLAIN, mode: CrashMode::Hostile, ..usual(name, f) }
}

fn hostile_with_maps(name: &'static str, f: fn(Drive<MemFs, Skiplist>)) -> Workload<Skiplist> {
    Workload { capabilities: HOSTILE_WITH_MAPS, ..hostile(name, f) }
}

/// The workloads with their disks.
pub fn all() -> Vec<Workload<Skiplist>> {
    vec![
        usual("writes", workloads::writes),
        hostile("writes-hostile", workloads::writes),
        hostile_with_maps("writes-hostile-maps", workloads::writes),
        Workload { capabilities: WITHOUT_MAPS, ..usual("writes-without-maps", workloads::writes) },
        usual("levels", workloads::levels),
        usual("collection", workloads::collection),
        hostile("collection-hostile", workloads::collection),
        usual("numbers", workloads::numbers),
        usual("families", workloads::families),
        Workload {
            options: EngineOptions { manifest_rewrite_bytes: 600, ..tiny(()) },
            ..usual("log", workloads::log)
        },
        Workload {
            options: EngineOptions { manifest_sync: false, ..tiny(()) },
            ..usual("log-lazy", workloads::log)
        },
        hostile_with_maps("log-hostile-maps", workloads::log),
        usual("checkpoint", workloads::checkpoint),
        hostile("checkpoint-hostile", workloads::checkpoint),
        usual("ingest", workloads::ingest),
        usual("unlogged", workloads::unlogged),
        hostile_with_maps("unlogged-hostile-maps", workloads::unlogged),
    ]
}

/// Runs one by its name; gives the number of images.
///
/// # Panics
/// When a rule does not hold of an image, or there is no such workload.
pub fn run_named(name: &str, scale: Scale) -> u64 {
    let all = all();
    let workload = all.iter().find(|w| w.name == name).unwrap_or_else(|| panic!("no workload {name}"));
    run(workload, scale)
}

/// Runs all; gives the number of images.
///
/// # Panics
/// When a rule does not hold of an image.
pub fn run_all(scale: Scale) -> u64 {
    all().iter().map(|workload| run(workload, scale)).sum()
}
