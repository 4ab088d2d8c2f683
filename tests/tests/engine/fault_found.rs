//! Faults that once did harm, by their symptom.
#![cfg(feature = "skiplist")]

use std::collections::BTreeSet;
use std::sync::Arc;

use nokv_core::engine::Engine;
use nokv_core::vfs::{Capabilities, IoErrorKind};
use nokv_index_skiplist::Skiplist;
use nokv_tests::crash::USUAL;
use nokv_tests::crash::drive::{DIR, environment, tiny, write};
use nokv_tests::crash::track::Op;
use nokv_tests::crash::verify::content_of;
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, Op as Call, Rule};

type Db = Arc<Engine<FaultFs<MemFs>, Skiplist>>;

fn put(engine: &Db, n: usize, len: usize) {
    let op = Op::Put(0, format!("key{n:03}").into_bytes(), vec![n as u8; len].into());
    write(engine, &[op], true).unwrap_or_else(|e| panic!("write {n}: {e}"));
}

/// Where overwriting takes space, a full disk refuses headers of the log. That closed the database to writes, though
/// every byte of the log was durable.
#[test]
fn a_log_header_that_finds_no_space_closes_nothing() {
    // Headers of the active segment alone, or also of one that is full and to be sealed.
    for (writes, len) in [(3, 100), (140, 2000)] {
        for refused in 0..3 {
            let memory = MemFs::with_capabilities(Capabilities { maps: false, ..USUAL });
            let fs = FaultFs::new(memory.clone());
            let engine: Db = Engine::open(fs.clone(), DIR, tiny(()), environment()).expect("open");
            (0..writes).for_each(|n| put(&engine, n, len));
            for _ in 0..=refused {
                fs.add_rule(Rule::new(Call::Write, IoErrorKind::NoSpace).path("wal"));
                engine.sync().expect("the bytes are durable without the header");
                assert!(fs.failures() > 0, "nothing was refused");
                put(&engine, 500, len);
            }
            fs.clear();
            assert!(engine.failure().is_none(), "{:?}", engine.failure());
            engine.sync().expect("sync");
            let after = memory.crash_clone(1, CrashMode::Posix, CrashImage::None);
            let again: Arc<Engine<MemFs, Skiplist>> =
                Engine::open(after, DIR, tiny(()), environment()).expect("open");
            let found = content_of(&again, &BTreeSet::from([0])).expect("all is readable");
            assert_eq!(found.len(), writes + 1);
            put(&engine, 501, len);
            engine.close().expect("close");
        }
    }
}
