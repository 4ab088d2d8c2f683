//! The works: forty writes each, with everything that a database does between them. They go on after errors.

use nokv_core::engine::{EngineOptions, GcStep};
use nokv_core::error::{Error, Result};
use nokv_core::formats::CfId;
use nokv_core::vfs::{Capabilities, Vfs};
use nokv_vfs_mem::MemFs;

use super::told::{Fate, Told, content};
use super::{Db, open};
use crate::crash::USUAL;
use crate::crash::drive::{tiny, write};
use crate::crash::track::Op;

/// Writes of a work.
const WRITES: usize = 40;

/// What follows a write.
#[derive(Clone, Copy)]
pub(super) enum Then {
    Nothing,
    Sync,
    Flush,
    /// Flush, background work, a full merge, a collection.
    Everything,
    Checkpoint,
    /// Makes a family, or drops it.
    Family,
    /// Closes and opens again.
    Reopen,
}

/// One of the works.
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) capabilities: Capabilities,
    pub(super) options: fn() -> EngineOptions<()>,
    op: fn(usize) -> (Op, bool),
    then: fn(usize) -> Then,
    /// It starts with a database whose process died.
    recovers: bool,
}

/// A put or delete of one of few keys, with values on both sides of the threshold.
pub(super) fn op(i: usize) -> Op {
    let len = [30, 700, 4000, 0, 2500][i % 5];
    let key = format!("key{:02}", i % 11).into_bytes();
    if i % 13 == 12 { Op::Delete(0, key) } else { Op::Put(0, key, vec![i as u8; len].into()) }
}

fn large(i: usize) -> (Op, bool) {
    let key = format!("key{:02}", i % 5).into_bytes();
    (Op::Put(0, key, vec![i as u8; 4000 + 700 * (i % 9)].into()), true)
}

fn ranges(i: usize) -> (Op, bool) {
    let name = |n: usize| format!("key{:02}", n % 11).into_bytes();
    if i % 6 == 5 { (Op::DeleteRange(0, name(i), name(i + 3)), true) } else { (op(i), true) }
}

fn usual(i: usize) -> Then {
    match i % 12 {
        3 | 8 => Then::Sync,
        5 => Then::Flush,
        10 => Then::Everything,
        _ => Then::Nothing,
    }
}

fn lazy() -> EngineOptions<()> {
    EngineOptions { manifest_sync: false, manifest_rewrite_bytes: 600, ..tiny(()) }
}

/// Other sizes than those of the first open.
fn changed() -> EngineOptions<()> {
    EngineOptions { wal_segment_bytes: 512 << 10, value_threshold_bytes: 500, ..tiny(()) }
}

const MIXED: Work = Work {
    name: "mixed",
    capabilities: USUAL,
    options: || tiny(()),
    op: |i| (op(i), true),
    then: usual,
    recovers: false,
};

pub(super) const WORKS: [Work; 8] = [
    MIXED,
    Work { name: "without-maps", capabilities: Capabilities { maps: false, ..USUAL }, ..MIXED },
    Work {
        name: "plain-disk",
        capabilities: Capabilities {
            maps: false,
            atomic_rename: false,
            directory_sync: true,
            hard_links: false,
        },
        ..MIXED
    },
    Work {
        name: "values",
        op: large,
        then: |i| match i % 8 {
            2 => Then::Sync,
            5 => Then::Everything,
            _ => Then::Nothing,
        },
        ..MIXED
    },
    Work { name: "lazy-manifest", options: lazy, op: ranges, ..MIXED },
    Work { name: "unlogged", op: |i| (op(i), i % 3 != 1), ..MIXED },
    Work {
        name: "names",
        op: ranges,
        then: |i| match i % 10 {
            2 | 7 => Then::Family,
            4 => Then::Checkpoint,
            5 => Then::Sync,
            9 => Then::Flush,
            _ => Then::Nothing,
        },
        ..MIXED
    },
    Work {
        name: "recovery",
        options: changed,
        then: |i| match i % 12 {
            3 => Then::Sync,
            7 => Then::Reopen,
            9 => Then::Everything,
            _ => Then::Nothing,
        },
        recovers: true,
        ..MIXED
    },
];

impl Work {
    /// The disk that it starts with, and what the writer of that was told.
    pub(super) fn disk(&self) -> (MemFs, Told) {
        let fs = MemFs::with_capabilities(self.capabilities);
        let mut told = Told::default();
        if !self.recovers {
            return (fs, told);
        }
        let before = Work { recovers: false, ..MIXED };
        let engine = open(&fs, &before).expect("nothing fails yet");
        for i in 0..25 {
            write(&engine, &[op(i + 3)], true).expect("nothing fails yet");
            told.writes.push((op(i + 3), Fate::Logged));
            match i {
                6 => engine.flush_all().expect("nothing fails yet"),
                18 => drop(engine.sync().expect("nothing fails yet")),
                _ => continue,
            }
            told.flushed();
        }
        (fs.kill_clone(), told)
    }

    /// Does it all; gives the database as it is at the end, unless it could not be opened again.
    pub(super) fn run<V: Vfs>(&self, fs: &V, engine: Db<V>, told: &mut Told) -> Option<Db<V>> {
        let mut engine = engine;
        for i in 0..WRITES {
            let (op, logged) = (self.op)(i);
            let result = write(&engine, std::slice::from_ref(&op), logged);
            if !matches!(result, Err(Error::ReadOnly(_) | Error::Closed)) {
                let fate = match result {
                    Err(_) => Fate::Failed,
                    Ok(_) if logged => Fate::Logged,
                    Ok(_) => Fate::Unlogged,
                };
                told.writes.push((op, fate));
            }
            let then = (self.then)(i);
            if let Then::Reopen = then {
                told.reopened = Some(i);
                match engine.close() {
                    Ok(()) => told.flushed(),
                    Err(error) => drop(told.error.get_or_insert((i, error))),
                }
                drop(engine);
                if told.ends_with_error && told.error.is_some() {
                    return None;
                }
                engine = match open(fs, self) {
                    Ok(engine) => engine,
                    Err(error) => {
                        told.error.get_or_insert((i, error));
                        return None;
                    }
                };
                if told.error.is_some() {
                    match content(&engine) {
                        Ok(found) => told.starts_again(found),
                        Err(_) => return Some(engine),
                    }
                }
                continue;
            }
            match result.and_then(|_| follow(&engine, then, i, told)) {
                Ok(()) => {}
                Err(error) => drop(told.error.get_or_insert((i, error))),
            }
        }
        Some(engine)
    }
}

fn follow<V: Vfs>(engine: &Db<V>, then: Then, i: usize, told: &mut Told) -> Result<()> {
    match then {
        Then::Nothing | Then::Reopen => {}
        Then::Sync => {
            engine.sync()?;
            told.synced = told.writes.len();
        }
        Then::Flush => {
            engine.flush_all()?;
            told.flushed();
        }
        Then::Everything => {
            engine.flush_all()?;
            told.flushed();
            engine.run_all_work()?;
            while !engine.compact_range_step(CfId(0), None, None)? {}
            collect(engine)?;
            engine.run_all_work()?;
        }
        Then::Checkpoint => drop(engine.checkpoint(&format!("copy{i}"))?),
        Then::Family if engine.families().get("extra").is_some() => engine.drop_family("extra")?,
        Then::Family => drop(engine.create_family("extra")?),
    }
    Ok(())
}

fn collect<V: Vfs>(engine: &Db<V>) -> Result<()> {
    let mut collection = match engine.gc_start(0.2) {
        Err(Error::NothingToCollect) => return Ok(()),
        other => other?,
    };
    for _ in 0..100 {
        match engine.gc_step(&mut collection)? {
            GcStep::Wait => engine.flush_all()?,
            GcStep::Again => {}
            GcStep::Done(_) => return Ok(()),
        }
    }
    panic!("the collection does not end");
}
