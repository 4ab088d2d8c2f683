//! The engine alone, on a host without an operating system: an array of bytes for a disk, a clock of its own, one
//! thread, and at most 1 MiB of heap (the array, which stands for flash, not counted).
//!
//! 10,000 sets, flushes and compactions as they fall due, a stop without a close, and everything is there again.
//! `flash.rs` is all that a port has to write.
#![allow(missing_docs)]

extern crate alloc;

mod counting;
mod flash;

use alloc::sync::Arc;
use alloc::vec::Vec;

use flash::Flash;
use nokv_core::clock::ManualClock;
use nokv_core::engine::{Engine, EngineOptions, Environment, Member};
use nokv_core::formats::{CfId, KeyRef, Version, vlog};
use nokv_core::heat::{NoHeat, NoSignals};
use nokv_core::table::{Compression, TableOptions};
use nokv_core::write::WriteBatch;
use nokv_core::{Error, Result};
use nokv_index_skiplist::Skiplist;

const SETS: u32 = 10_000;
const FLASH_BYTES: usize = 8 << 20;
const HEAP_BYTES_MAX: usize = 1 << 20;

type Small = Engine<Flash, Skiplist>;

fn open(flash: &Flash) -> Result<Arc<Small>> {
    let options = EngineOptions {
        memtable_bytes: 64 << 10,
        sealed_memtables_max: 1,
        wal_segment_bytes: 256 << 10,
        value_log_segment_bytes: 64 << 10,
        value_log_buckets: 1,
        value_log_hot_buckets: 0,
        table_bytes: 64 << 10,
        block_cache_bytes: 64 << 10,
        open_files_max: 16,
        io_buffer_bytes: 16 << 10,
        manifest_rewrite_bytes: 16 << 10,
        compression: Compression::None,
        table: TableOptions::new(vlog::record_len),
        ..EngineOptions::new((), 1)
    };
    let clock = Arc::new(ManualClock::new(1));
    let environment = Environment { clock, heat: Arc::new(NoHeat), signals: Arc::new(NoSignals) };
    Engine::open(flash.clone(), "db", options, environment)
}

/// Runs background work until there is none.
fn work(engine: &Small) -> Result<()> {
    while let Some(step) = engine.next_work(false) {
        engine.run_work(step)?;
    }
    Ok(())
}

fn set(engine: &Small, batch: &mut WriteBatch, key: &[u8], value: &[u8]) -> Result<()> {
    batch.clear();
    batch.put(CfId::DEFAULT, key, value)?;
    loop {
        let (prepared, _values) = engine.prepare(batch)?;
        let mut group = [Member { batch: &prepared, disable_wal: false, outcome: None }];
        engine.log(&mut group);
        match group[0].outcome.take() {
            Some(Ok(ticket)) => {
                engine.apply(&prepared, &ticket);
                return work(engine);
            }
            Some(Err(Error::Busy(_))) => work(engine)?,
            Some(Err(error)) => return Err(error),
            None => return Err(Error::Closed),
        }
    }
}

/// Key and value number `i`, into buffers that stay.
fn pair(i: u32, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(&(i.wrapping_mul(7919) % SETS).to_be_bytes());
    value.clear();
    (0..6).for_each(|n| value.extend_from_slice(&(i + n).to_le_bytes()));
}

fn read_back(engine: &Small) -> Result<()> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for i in 0..SETS {
        pair(i, &mut key, &mut value);
        let hit = engine.get(KeyRef::new(CfId::DEFAULT, &key), Version::MAX)?;
        assert_eq!(hit.as_ref().map(|hit| &hit.value[..]), Some(&value[..]), "key {i}");
    }
    Ok(())
}

/// The whole story; gives the peak of the heap in bytes.
pub fn run() -> Result<usize> {
    let bytes: &'static mut [u8] = Box::leak(vec![0; FLASH_BYTES].into_boxed_slice());
    let before = counting::restart();
    let flash = Flash::new(bytes);
    let engine = open(&flash)?;
    let (mut batch, mut key, mut value) = (WriteBatch::new(), Vec::new(), Vec::new());
    for i in 0..SETS {
        pair(i, &mut key, &mut value);
        set(&engine, &mut batch, &key, &value)?;
    }
    let stats = engine.manifest_state();
    assert!(stats.levels[1..].iter().any(|level| !level.tables.is_empty()), "nothing was merged down");
    read_back(&engine)?;
    // No close: the next open replays the log.
    drop(engine);
    let engine = open(&flash)?;
    assert!(engine.open_report().replayed_ops > 0 && !engine.open_report().clean);
    read_back(&engine)?;
    work(&engine)?;
    engine.close()?;
    drop(engine);
    let engine = open(&flash)?;
    assert!(engine.open_report().clean);
    read_back(&engine)?;
    let peak = counting::peak() - before;
    assert!(peak <= HEAP_BYTES_MAX, "{peak} bytes of heap");
    Ok(peak)
}

#[cfg_attr(test, allow(dead_code))]
fn main() {
    match run() {
        Ok(peak) => {
            println!("{SETS} sets, a stop, and all of them again; at most {} KiB of heap", peak >> 10)
        }
        Err(error) => panic!("{error}"),
    }
}
