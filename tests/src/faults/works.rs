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

/// Keys that the works write are below this.
pub(super) const KEYS: usize = 17;

/// The key with this number.
pub(super) fn key(n: usize) -> Vec<u8> {
    format!("key{n:02}").into_bytes()
}

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
    batch: fn(usize) -> Vec<Op>,
    logged: fn(usize) -> bool,
    then: fn(usize) -> Then,
    /// It starts with a database whose process died.
    recovers: bool,
}

/// A put or delete of one of few keys, with values on both sides of the threshold; a third of them in another family.
pub(super) fn op(i: usize) -> Op {
    let len = [30, 700, 4000, 0, 2500][i % 5];
    let cf = u32::from(i % 3 == 2);
    let key = key(i % 11);
    if i % 13 == 12 { Op::Delete(cf, key) } else { Op::Put(cf, key, vec![i as u8; len].into()) }
}

fn large(i: usize) -> Vec<Op> {
    vec![Op::Put(0, key(i % 5), vec![i as u8; 4000 + 700 * (i % 9)].into())]
}

fn ranges(i: usize) -> Vec<Op> {
    if i % 6 == 5 { vec![Op::DeleteRange(0, key(i % 11), key((i + 3) % 11))] } else { vec![op(i)] }
}

/// Values that stay in the log, so many that it starts segment after segment, and memtables are full between flushes.
fn wide(i: usize) -> Vec<Op> {
    let put = |n: usize| Op::Put(n as u32 % 3, key((i * 3 + n) % KEYS), vec![i as u8; 2900 - n].into());
    (0..9).map(put).collect()
}

/// Two keys of two families, of which one is in the value log.
fn pairs(i: usize) -> Vec<Op> {
    let small = Op::Put(1, key(i % 7), vec![i as u8; 20 + i].into());
    if i % 9 == 8 {
        vec![small]
    } else {
        vec![small, Op::Put(0, key((i + 3) % 7), vec![i as u8; 3500].into())]
    }
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

/// Nothing seals a memtable but a flush, and tables are few.
fn roomy() -> EngineOptions<()> {
    EngineOptions { memtable_bytes: 1 << 20, table_bytes: 256 << 10, ..tiny(()) }
}

const MIXED: Work = Work {
    name: "mixed",
    capabilities: USUAL,
    options: || tiny(()),
    batch: |i| vec![op(i)],
    logged: |_| true,
    then: usual,
    recovers: false,
};

const WITHOUT_MAPS: Capabilities = Capabilities { maps: false, ..USUAL };

pub(super) static WORKS: [Work; 11] = [
    MIXED,
    Work { name: "without-maps", capabilities: WITHOUT_MAPS, ..MIXED },
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
        batch: large,
        then: |i| match i % 8 {
            2 => Then::Sync,
            5 => Then::Everything,
            _ => Then::Nothing,
        },
        ..MIXED
    },
    Work { name: "lazy-manifest", options: lazy, batch: ranges, ..MIXED },
    Work { name: "unlogged", logged: |i| i % 3 != 1, ..MIXED },
    Work {
        name: "names",
        batch: ranges,
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
    // The log starts new segments.
    Work { name: "rotation", options: roomy, batch: wide, then: rarely, ..MIXED },
    Work {
        name: "rotation-without-maps",
        capabilities: WITHOUT_MAPS,
        options: roomy,
        batch: wide,
        then: rarely,
        ..MIXED
    },
    // Batches of two families with log records and without, edits of the manifest that nobody syncs, and reopening.
    Work {
        name: "lazy-unlogged",
        options: lazy,
        batch: pairs,
        logged: |i| i % 3 == 1,
        then: |i| match i % 14 {
            4 => Then::Sync,
            6 => Then::Flush,
            9 => Then::Everything,
            12 => Then::Reopen,
            _ => Then::Nothing,
        },
        recovers: true,
        ..MIXED
    },
];

fn rarely(i: usize) -> Then {
    match i % 20 {
        6 => Then::Sync,
        // The log is in its second segment.
        11 => Then::Flush,
        _ => Then::Nothing,
    }
}

/// The works with this name: one, or all of them without.
///
/// # Panics
/// When there is none.
pub(super) fn wanted(name: Option<&str>) -> Vec<&'static Work> {
    let works: Vec<_> = WORKS.iter().filter(|work| name.is_none_or(|name| name == work.name)).collect();
    assert!(!works.is_empty(), "no work {name:?}");
    works
}

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
            let ops = vec![op(i + 100)];
            write(&engine, &ops, true).expect("nothing fails yet");
            told.writes.push((ops, Fate::Logged));
            match i {
                6 => engine.flush_all().expect("nothing fails yet"),
                18 => drop(engine.sync().expect("nothing fails yet")),
                _ => continue,
            }
            told.flushed();
        }
        (fs.kill_clone(), told)
    }

    /// Does it all; gives the database as it is at the end, unless it could not be opened again. `look` is called behind
    /// each write and each thing that follows one, with what only the log holds still in the log alone.
    pub(super) fn run<V: Vfs>(
        &self,
        fs: &V,
        engine: Db<V>,
        told: &mut Told,
        look: &mut dyn FnMut(&Db<V>, &Told),
    ) -> Option<Db<V>> {
        let mut engine = engine;
        for i in 0..WRITES {
            let (ops, logged) = ((self.batch)(i), (self.logged)(i));
            let result = write(&engine, &ops, logged);
            if !matches!(result, Err(Error::ReadOnly(_) | Error::Closed)) {
                let fate = match result {
                    Err(_) => Fate::Failed,
                    Ok(_) if logged => Fate::Logged,
                    Ok(_) => Fate::Unlogged,
                };
                told.writes.push((ops, fate));
            }
            look(&engine, told);
            let then = (self.then)(i);
            if let Then::Reopen = then {
                engine = self.reopen(fs, engine, i, told)?;
                look(&engine, told);
                continue;
            }
            match result.and_then(|_| follow(&engine, then, i, told)) {
                Ok(()) => {}
                Err(error) => drop(told.error.get_or_insert((i, error))),
            }
            look(&engine, told);
        }
        Some(engine)
    }

    /// Closes, also after errors, and opens; `None` if it cannot be opened or must not be.
    fn reopen<V: Vfs>(&self, fs: &V, engine: Db<V>, i: usize, told: &mut Told) -> Option<Db<V>> {
        told.reopened = Some(i);
        match engine.close() {
            Ok(()) => told.flushed(),
            Err(error) => drop(told.error.get_or_insert((i, error))),
        }
        drop(engine);
        if told.ends_with_error && told.error.is_some() {
            return None;
        }
        let engine = match open(fs, self) {
            Ok(engine) => engine,
            Err(error) => {
                told.error.get_or_insert((i, error));
                return None;
            }
        };
        if told.error.is_some() {
            match content(&engine) {
                Ok(found) => told.starts_again(found),
                Err(_) => told.is_vague = true,
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
