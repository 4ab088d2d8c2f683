//! Calls that fail, disks that are full, syncs that lie: each at every place of every work, recovery included.
//!
//! What must hold: nothing that a sync acknowledged is lost, nothing panics, a full disk is clean and passes, any other
//! failed write or sync closes the database to writes, reads go on and are right: an error perhaps, never a wrong answer.
//! It is looked at as soon as the fault was met, when what only the log holds is still in the log alone, and at the end.
//!
//! - `works` are the works; `told` is what their writer was told, and which contents that allows;
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
use crate::crash::track::Content;
use crate::crash::verify::strangers;
use told::{Told, content};
use works::{Work, op};

type Db<V> = Arc<Engine<V, Skiplist>>;

fn open<V: Vfs>(fs: &V, work: &Work) -> Result<Db<V>> {
    Engine::open(fs.clone(), DIR, (work.options)(), environment())
}

/// Opens a disk that fails no more; what it shows must be right, and the check clean.
fn opens(
    fs: &MemFs,
    work: &Work,
    told: &Told,
    name: &str,
    right: &dyn Fn(&Content) -> bool,
) -> (Db<MemFs>, Content) {
    let engine = open(fs, work).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
    let found = content(&engine).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
    assert!(
        right(&found),
        "{name}: no prefix, or what must be there is lost; {told}{}",
        told.difference(&found)
    );
    let report = engine.check(&mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
    assert!(report.is_clean(), "{name}: {:?}; {told}", report.problems);
    (engine, found)
}

/// A death and a power cut at this moment.
fn survives(fs: &MemFs, work: &Work, told: &Told) {
    opens(&fs.kill_clone(), work, told, "killed at the fault", &|found| told.has_all(found));
    let cut = fs.crash_clone(3, CrashMode::Posix, CrashImage::None);
    opens(&cut, work, told, "power cut at the fault", &|found| told.allows(found));
}

/// Reopens after a death and after power cuts: a prefix that holds what was synced, and the database works.
fn reopens(fs: &MemFs, work: &Work, told: &Told, seed: u64) {
    let images = [
        ("killed", fs.kill_clone()),
        ("nothing", fs.crash_clone(1, CrashMode::Posix, CrashImage::None)),
        ("random", fs.crash_clone(seed, CrashMode::Posix, CrashImage::Random)),
    ];
    for (name, image) in images {
        let right = |found: &Content| if name == "killed" { told.has_all(found) } else { told.allows(found) };
        let (engine, found) = opens(&image, work, told, name, &right);
        goes_on(&image, work, told, name, engine, found);
    }
}

/// Writes, closes, opens: all is there, and nothing that nobody names.
fn goes_on(fs: &MemFs, work: &Work, told: &Told, name: &str, engine: Db<MemFs>, mut found: Content) {
    write(&engine, &[op(1)], true).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
    op(1).apply(&mut found);
    engine.close().unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
    drop(engine);
    let (engine, _) = opens(fs, work, told, &format!("{name}, again"), &|again| *again == found);
    assert!(engine.open_report().clean, "{name}: a clean close is not seen as one; {told}");
    strangers(fs, DIR, &engine).unwrap_or_else(|e| panic!("{name}: {e}; {told}"));
}
