//! Faults that once did harm, by their symptom.
#![cfg(feature = "skiplist")]

use std::collections::BTreeSet;
use std::sync::Arc;

use nokv_core::Error;
use nokv_core::engine::{Engine, Member};
use nokv_core::formats::CfId;
use nokv_core::vfs::{Capabilities, IoErrorKind};
use nokv_core::write::WriteBatch;
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

/// A batch to a family that was never made was acknowledged, and the next open took its record for the sign of a lost
/// manifest. It is refused before it is logged, logged or not; its neighbours in the group are not.
#[test]
fn a_batch_to_a_family_that_was_never_made_is_refused_and_the_database_opens_again() {
    let memory = MemFs::with_capabilities(USUAL);
    let engine: Db = Engine::open(FaultFs::new(memory.clone()), DIR, tiny(()), environment()).expect("open");
    let made = engine.create_family("made").expect("a new name").0;
    let batch = |families: &[u32]| {
        let mut batch = WriteBatch::new();
        families.iter().for_each(|cf| batch.put(CfId(*cf), b"key", &cf.to_le_bytes()).expect("short"));
        batch
    };
    for unlogged in [false, true] {
        // Alone, and hidden behind one that exists.
        let batches = [batch(&[0]), batch(&[made + 1]), batch(&[made, u32::MAX, 1]), batch(&[made, 2])];
        let mut group: Vec<_> =
            batches.iter().map(|batch| Member { batch, disable_wal: unlogged, outcome: None }).collect();
        let before = engine.published();
        engine.log(&mut group);
        let answers: Vec<_> =
            group.iter().map(|member| member.outcome.as_ref().expect("an answer")).collect();
        assert!(matches!(answers[1], Err(Error::UnknownFamily(_))), "unlogged: {unlogged}");
        assert!(matches!(answers[2], Err(Error::UnknownFamily(_))), "unlogged: {unlogged}");
        for (batch, answer) in [(&batches[0], answers[0]), (&batches[3], answers[3])] {
            engine.apply(batch, answer.as_ref().unwrap_or_else(|error| panic!("refused too: {error}")));
        }
        assert_eq!(engine.published().0, before.0 + 3);
    }
    // A batch that is used again counts its families anew.
    let mut again = batch(&[made + 1]);
    again.clear();
    again.put(CfId(0), b"again", b"").expect("short");
    assert_eq!(again.family_max(), CfId(0));
    engine.sync().expect("sync");
    drop(engine);
    let engine: Arc<Engine<MemFs, Skiplist>> =
        Engine::open(memory.kill_clone(), DIR, tiny(()), environment()).expect("nothing is lost");
    let found = content_of(&engine, &BTreeSet::from([0, 2, made])).expect("all is readable");
    assert_eq!(found.len(), 3);
    engine.close().expect("close");
}
