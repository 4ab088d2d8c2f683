//! Operations from bytes, on an engine and on a map: both must give the same answers.
//!
//! ```text
//! input := op*
//! op    := code u8, arguments                  what is missing at the end counts as 0
//! key   := u8: 24 short keys, 8 long ones      value := u8: its length class      family := u8
//! ```
//! Everything runs on one thread and one disk in memory; a kill drops the engine without closing it, a power cut comes
//! after a sync and keeps nothing else.

use std::sync::Arc;

use nokv_core::engine::{Engine, EngineOptions, GcStep, Snapshot};
use nokv_core::error::Error;
use nokv_core::formats::{CfId, KeyRef, Version};
use nokv_core::read::scan::Scan;
use nokv_core::table::CursorOptions;
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

use super::engine::{environment, work};
use crate::crash::drive::{DIR, tiny, write};
use crate::crash::track::{Content, Op};

/// Operations of one input.
const OPS_MAX: usize = 250;
/// Lengths of values: none, inline, just inline, in the value log.
const LENGTHS: [usize; 8] = [0, 1, 30, 200, 299, 300, 900, 3100];

type Db = Arc<Engine<MemFs, Skiplist>>;

/// Bytes that are used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn family(&mut self) -> u32 {
        u32::from(self.byte() % 3)
    }

    fn key(&mut self) -> Vec<u8> {
        let n = self.byte() % 32;
        match n {
            0 => Vec::new(),
            1..24 => format!("key{:02}", n).into_bytes(),
            _ => [&[b'k'; 300][..], &[n]].concat(),
        }
    }
}

/// An open scan and what it must show.
struct Open {
    scan: Scan<MemFs, Skiplist>,
    expected: Vec<(Vec<u8>, Arc<[u8]>)>,
    at: Option<usize>,
}

struct Run {
    fs: MemFs,
    options: EngineOptions<()>,
    engine: Option<Db>,
    content: Content,
    snapshots: Vec<(Snapshot<MemFs, Skiplist>, Content)>,
    scans: Vec<Open>,
    counter: u64,
}

/// Runs what `bytes` say.
pub fn ops(bytes: &[u8]) {
    let mut input = Input(bytes);
    let options = EngineOptions { value_threshold_bytes: 300, io_buffer_bytes: 4 << 10, ..tiny(()) };
    let mut run = Run {
        fs: MemFs::new(),
        options,
        engine: None,
        content: Content::new(),
        snapshots: Vec::new(),
        scans: Vec::new(),
        counter: 0,
    };
    run.open();
    for _ in 0..OPS_MAX {
        if input.0.is_empty() {
            break;
        }
        run.step(&mut input);
    }
    run.compare_all();
    run.reopen(Stop::Close);
    run.compare_all();
    let report = run.engine().check(&mut |_| {}).expect("check");
    assert!(report.is_clean(), "{:?}", report.problems);
}

#[derive(Clone, Copy)]
enum Stop {
    Close,
    Kill,
    PowerCut,
}

impl Run {
    fn open(&mut self) {
        let opened = Engine::open(self.fs.clone(), DIR, self.options.clone(), environment());
        self.engine = Some(opened.unwrap_or_else(|error| panic!("open: {error}")));
    }

    fn engine(&self) -> Db {
        Arc::clone(self.engine.as_ref().expect("open"))
    }

    fn value(&mut self, class: u8) -> Arc<[u8]> {
        self.counter += 1;
        let len = LENGTHS[usize::from(class) % LENGTHS.len()];
        let mut x = self.counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..len)
            .map(|_| {
                x = x.rotate_left(7).wrapping_mul(5).wrapping_add(1);
                x as u8
            })
            .collect()
    }

    fn op(&mut self, input: &mut Input<'_>, code: u8) -> Op {
        let family = input.family();
        match code % 8 {
            0..4 => {
                let key = input.key();
                let class = input.byte();
                Op::Put(family, key, self.value(class))
            }
            4 | 5 => Op::Delete(family, input.key()),
            6 => Op::DeleteRange(family, input.key(), input.key()),
            _ => {
                // Versions only rise, on keys that have no plain entry.
                let key = [b"versioned", &input.key()[..]].concat();
                let class = input.byte();
                let value = self.value(class);
                Op::PutVersion(family, key, self.counter, value)
            }
        }
    }

    fn write(&mut self, ops: &[Op]) {
        write(&self.engine(), ops, true).unwrap_or_else(|error| panic!("write: {error}"));
        ops.iter().for_each(|op| op.apply(&mut self.content));
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let code = input.byte();
        match code % 32 {
            0..12 => {
                let op = self.op(input, code);
                self.write(&[op]);
            }
            12..14 => {
                let count = input.byte() % 6;
                let ops: Vec<Op> = (0..count)
                    .map(|_| {
                        let code = input.byte();
                        self.op(input, code)
                    })
                    .collect();
                if !ops.is_empty() {
                    self.write(&ops);
                }
            }
            14 => {
                if self.snapshots.len() < 4 {
                    self.snapshots.push((self.engine().snapshot(), self.content.clone()));
                }
            }
            15 => {
                let n = usize::from(input.byte());
                if !self.snapshots.is_empty() {
                    let (snapshot, content) = self.snapshots.remove(n % self.snapshots.len());
                    self.compare(Some(&snapshot), &content);
                }
            }
            16 => self.open_scan(input),
            17..22 => self.move_scan(input, code % 32),
            22 => self.engine().flush_all().unwrap_or_else(|error| panic!("flush: {error}")),
            23 => {
                let family = CfId(input.family());
                let engine = self.engine();
                while !engine
                    .compact_range_step(family, None, None)
                    .unwrap_or_else(|e| panic!("compact: {e}"))
                {}
            }
            24 => work(&self.engine()).unwrap_or_else(|error| panic!("background work: {error}")),
            25 => self.collect(),
            26 => {
                self.engine().sync().unwrap_or_else(|error| panic!("sync: {error}"));
            }
            27 => self.reopen(Stop::Close),
            28 => self.reopen(Stop::Kill),
            29 => self.reopen(Stop::PowerCut),
            _ => {
                let (family, key) = (input.family(), input.key());
                let found = self.engine().get(KeyRef::new(CfId(family), &key), Version::MAX);
                let found =
                    found.unwrap_or_else(|error| panic!("get: {error}")).map(|hit| hit.value.to_vec());
                let expected = self.content.get(&(family, key)).map(|value| value.to_vec());
                assert!(found == expected, "a point read");
            }
        }
    }

    fn collect(&mut self) {
        let engine = self.engine();
        let mut collection = match engine.gc_start(0.05) {
            Ok(collection) => collection,
            Err(Error::NothingToCollect) => return,
            Err(error) => panic!("collection: {error}"),
        };
        for _ in 0..1000 {
            match engine.gc_step(&mut collection).unwrap_or_else(|error| panic!("collection: {error}")) {
                GcStep::Wait => engine.flush_all().unwrap_or_else(|error| panic!("flush: {error}")),
                GcStep::Again => {}
                GcStep::Done(_) => return,
            }
        }
        panic!("a collection that does not end");
    }

    fn reopen(&mut self, how: Stop) {
        self.snapshots.clear();
        self.scans.clear();
        let engine = self.engine.take().expect("open");
        match how {
            Stop::Close => engine.close().unwrap_or_else(|error| panic!("close: {error}")),
            Stop::Kill => {}
            Stop::PowerCut => {
                engine.sync().unwrap_or_else(|error| panic!("sync: {error}"));
                let cut = self.fs.crash_clone(self.counter, CrashMode::Posix, CrashImage::None);
                self.fs = cut;
            }
        }
        drop(engine);
        self.open();
    }

    fn compare_all(&mut self) {
        for (snapshot, content) in std::mem::take(&mut self.snapshots) {
            self.compare(Some(&snapshot), &content);
        }
        self.compare(None, &self.content.clone());
    }

    fn scan(&self, family: u32, snapshot: Option<&Snapshot<MemFs, Skiplist>>) -> Scan<MemFs, Skiplist> {
        let scan = self.engine().scan(CfId(family), &[], None, snapshot, CursorOptions::SCAN);
        scan.unwrap_or_else(|error| panic!("scan: {error}"))
    }

    fn compare(&self, snapshot: Option<&Snapshot<MemFs, Skiplist>>, content: &Content) {
        let engine = self.engine();
        for family in 0..3 {
            let mut scan = self.scan(family, snapshot);
            scan.seek_first().unwrap_or_else(|error| panic!("scan: {error}"));
            for ((_, key), value) in content.range((family, Vec::new())..(family + 1, Vec::new())) {
                let (Some(found), Some(entry)) = (scan.key(), scan.entry()) else {
                    panic!("a scan misses {family}:{}", key.escape_ascii());
                };
                assert!(found.user_key == key, "a scan shows {found:?} before {}", key.escape_ascii());
                let read = engine.value_of(found, &entry).unwrap_or_else(|error| panic!("value: {error}"));
                assert!(*read == **value, "a scan shows another value of {found:?}");
                let hit = match snapshot {
                    Some(snapshot) => engine.get_at(snapshot, found, Version::MAX),
                    None => engine.get(found, Version::MAX),
                };
                let hit = hit.unwrap_or_else(|error| panic!("get: {error}"));
                assert!(hit.is_some_and(|hit| *hit.value == **value), "a point read of {found:?}");
                scan.next().unwrap_or_else(|error| panic!("scan: {error}"));
            }
            assert!(scan.key().is_none(), "a scan shows {:?}, which is not there", scan.key());
        }
    }

    fn open_scan(&mut self, input: &mut Input<'_>) {
        let (family, which) = (input.family(), usize::from(input.byte()));
        if self.scans.len() == 3 {
            self.scans.remove(which % 3);
        }
        let at = self.snapshots.get(which % 5);
        let content = at.map_or(&self.content, |(_, content)| content);
        let range = content.range((family, Vec::new())..(family + 1, Vec::new()));
        let expected = range.map(|((_, key), value)| (key.clone(), Arc::clone(value))).collect();
        let scan = self.scan(family, at.map(|(snapshot, _)| snapshot));
        self.scans.push(Open { scan, expected, at: None });
    }

    fn move_scan(&mut self, input: &mut Input<'_>, code: u8) {
        let (which, key) = (usize::from(input.byte()), input.key());
        let engine = self.engine();
        let count = self.scans.len().max(1);
        let Some(open) = self.scans.get_mut(which % count) else { return };
        let family = open.scan.key().map_or(CfId(0), |key| key.cf);
        let below = open.expected.partition_point(|(k, _)| *k < key);
        let up_to = open.expected.partition_point(|(k, _)| *k <= key);
        let moved = match (code, open.at) {
            // Steps of a scan that stands nowhere are not defined: it is placed instead.
            (17, Some(at)) => {
                open.at = Some(at + 1);
                open.scan.next()
            }
            (18, Some(at)) => {
                open.at = at.checked_sub(1);
                open.scan.prev()
            }
            (19, Some(_)) => {
                open.at = Some(below);
                open.scan.seek(KeyRef::new(family, &key))
            }
            (20, Some(_)) => {
                open.at = up_to.checked_sub(1);
                open.scan.seek_for_prev(KeyRef::new(family, &key))
            }
            (21, _) => {
                open.at = open.expected.len().checked_sub(1);
                open.scan.seek_last()
            }
            _ => {
                open.at = Some(0);
                open.scan.seek_first()
            }
        };
        moved.unwrap_or_else(|error| panic!("a move of a scan: {error}"));
        let expected = open.at.and_then(|at| open.expected.get(at));
        if expected.is_none() {
            open.at = None;
        }
        let found = match (open.scan.key(), open.scan.entry()) {
            (Some(key), Some(entry)) => {
                let value = engine.value_of(key, &entry).unwrap_or_else(|error| panic!("value: {error}"));
                Some((key.user_key.to_vec(), value.to_vec()))
            }
            _ => None,
        };
        let expected = expected.map(|(key, value)| (key.clone(), value.to_vec()));
        assert!(found == expected, "a move of a scan");
    }
}
