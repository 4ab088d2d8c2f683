//! Calls that fail, disks that are full, syncs that lie: each at every place of every work, recovery included.
//!
//! What must hold: nothing that a sync acknowledged is lost, nothing panics, a full disk is clean and passes, any other
//! failed write or sync closes the database to writes, reads go on.
//!
//! - `works` are the eight works; `told` is what their writer was told, and which contents that allows;
//! - `calls` fails the Nth call, `space` takes the space away at the Nth call, `syncs` fails the Nth sync in each way
//!   that systems know.

pub mod calls;
pub mod space;
pub mod syncs;
mod told;
mod works;

use std::sync::Arc;

use nokv_core::engine::Engine;
use nokv_core::error::Result;
use nokv_core::vfs::Vfs;
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

use crate::crash::drive::{DIR, environment, write};
use told::{Told, content};
use works::{Work, op};

type Db<V> = Arc<Engine<V, Skiplist>>;

fn open<V: Vfs>(fs: &V, work: &Work) -> Result<Db<V>> {
    Engine::open(fs.clone(), DIR, (work.options)(), environment())
}

/// Reopens after a death and after power cuts: a prefix that holds what was synced, and the database works.
fn reopens(fs: &MemFs, work: &Work, told: &Told) {
    let images = [
        ("killed", fs.kill_clone()),
        ("nothing", fs.crash_clone(1, CrashMode::Posix, CrashImage::None)),
        ("random", fs.crash_clone(2, CrashMode::Posix, CrashImage::Random)),
    ];
    for (name, image) in images {
        let engine = open(&image, work).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
        let found = content(&engine).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
        let right = if name == "killed" { told.has_all(&found) } else { told.allows(&found) };
        assert!(right, "{name}: no prefix, or what must be there is lost; {told}");
        check(&engine, name, told);
        write(&engine, &[op(1)], true).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
        engine.close().unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
        drop(engine);
        let engine = open(&image, work).unwrap_or_else(|e| panic!("{name}, again: {e}; {told}"));
        check(&engine, name, told);
    }
}

fn check(engine: &Db<MemFs>, name: &str, told: &Told) {
    let report = engine.check(&mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
    assert!(report.is_clean(), "{name}: {:?}; {told}", report.problems);
}
