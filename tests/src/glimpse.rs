//! Reads in the middle of everything: before each insert into a memtable and before each changing call of the file
//! system a reader looks at the whole database. It must see the steps up to the published seq, whole, and nothing of
//! the step under way; and what it saw must survive the death of the process at that moment.
//!
//! One thread: the index and the disk call the reader back, so every run is the same. No look while the value log
//! writes: it makes its files under the lock that a read of a value takes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nokv_core::MemIndex;
use nokv_core::engine::{Engine, Member};
use nokv_core::formats::{EntryRef, KeyRef};
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::MemFs;

use crate::crash::drive::{DIR, environment, tiny};
use crate::crash::track::{Op, Track, batch_of};
use crate::crash::verify::compare;
use crate::laws::index::Course;
use crate::net::{Scale, picked_of, run_cases};

type Db = Engine<MemFs, Watched>;

thread_local! {
    /// Who looks; not there while it looks.
    static LOOK: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

fn look() {
    let Some(mut reader) = LOOK.take() else { return };
    reader();
    LOOK.set(Some(reader));
}

/// A skiplist that lets the reader look before each insert.
pub struct Watched(Arc<Skiplist>);

impl MemIndex for Watched {
    type Config = <Skiplist as MemIndex>::Config;
    type Entries<'a> = <Skiplist as MemIndex>::Entries<'a>;
    type Cursor = <Skiplist as MemIndex>::Cursor;

    fn new(config: &Self::Config, bytes: usize) -> Self {
        Self(Arc::new(Skiplist::new(config, bytes)))
    }

    fn insert(&self, key: KeyRef<'_>, entry: &EntryRef<'_>) {
        look();
        self.0.insert(key, entry);
    }

    fn entries(&self, key: KeyRef<'_>) -> Self::Entries<'_> {
        self.0.entries(key)
    }

    fn cursor(self: &Arc<Self>) -> Self::Cursor {
        self.0.cursor()
    }

    fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

fn open(fs: &MemFs) -> Arc<Db> {
    Engine::open(fs.clone(), DIR, tiny(()), environment()).expect("open")
}

/// Who looks, and what it should see.
struct Reader {
    engine: Arc<Db>,
    fs: MemFs,
    track: Track,
    families: BTreeSet<u32>,
    /// The highest seq that was looked for in what the process would leave.
    survived: u64,
    looks: Arc<AtomicU64>,
}

impl Reader {
    fn look(&mut self) {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        let seq = self.engine.published().0;
        let what = |e: String| format!("look {look} at seq {seq}: {e}");
        let (_, whole) = self.track.steps_up_to(0, seq);
        assert!(whole, "{}", what("in the middle of a step".to_owned()));
        let seen = self.track.expected(0, seq, seq);
        compare(&self.engine, &self.families, &seen).unwrap_or_else(|e| panic!("{}", what(e)));
        if seq > self.survived {
            self.survived = seq;
            let left = open(&self.fs.kill_clone());
            let found = left.published().0;
            assert!(found >= seq, "{}", what(format!("after a death only {found} is there")));
            let state = self.track.expected(0, found, found);
            compare(&left, &self.families, &state)
                .unwrap_or_else(|e| panic!("{}", what(format!("after a death: {e}"))));
        }
    }
}

fn ops(course: &mut Course, count: u64) -> Vec<Op> {
    let key = |n: u64| format!("key{n:02}").into_bytes();
    (0..count)
        .map(|_| {
            let (cf, n) = (course.below(3) as u32, course.below(24));
            match course.below(12) {
                0 => Op::Delete(cf, key(n)),
                1 => Op::DeleteRange(cf, key(n), key(n + course.below(6))),
                // Some go to the value log.
                2 => Op::Put(cf, key(n), vec![course.next() as u8; 3500].into()),
                _ => Op::Put(cf, key(n), vec![course.next() as u8; course.below(900) as usize].into()),
            }
        })
        .collect()
}

/// Writes `batches` as one group; the last one is applied first.
fn write_group(engine: &Db, track: &Track, batches: &[Vec<Op>]) {
    let mut last = engine.published().0;
    for ops in batches {
        last += ops.len() as u64;
        track.register(last, ops.clone(), true);
    }
    let batches: Vec<_> = batches.iter().map(|ops| batch_of(ops)).collect();
    let prepared: Vec<_> = batches.iter().map(|b| engine.prepare(b).expect("prepare")).collect();
    let mut group: Vec<_> =
        prepared.iter().map(|(batch, _)| Member { batch, disable_wal: false, outcome: None }).collect();
    engine.log(&mut group);
    for member in group.into_iter().rev() {
        let ticket = member.outcome.expect("an outcome").expect("logged");
        engine.apply(member.batch, &ticket);
    }
    assert_eq!(engine.published().0, last);
}

fn run(seed: u64, steps: u64) -> u64 {
    let fs = MemFs::new();
    let engine = open(&fs);
    let track = Track::new();
    let looks = Arc::default();
    let mut reader = Reader {
        engine: Arc::clone(&engine),
        fs: fs.clone(),
        track: track.clone(),
        families: BTreeSet::from([0, 1, 2]),
        survived: 0,
        looks: Arc::clone(&looks),
    };
    LOOK.set(Some(Box::new(move || reader.look())));
    fs.set_call_hook(Box::new(|_, _, path| {
        if !path.contains("vlog") {
            look();
        }
    }));
    // Also after a panic: what the reader holds goes, and the next run starts anew.
    struct End(MemFs);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.clear_call_hook();
            LOOK.set(None);
        }
    }
    let _end = End(fs);
    let mut course = Course::new(seed);
    for step in 0..steps {
        let members = 1 + course.below(3);
        let batches: Vec<_> = (0..members)
            .map(|_| {
                let count = 1 + course.below(5);
                ops(&mut course, count)
            })
            .collect();
        write_group(&engine, &track, &batches);
        match step % 16 {
            5 => drop(engine.sync().expect("sync")),
            10 => engine.flush_all().expect("flush"),
            15 => {
                engine.flush_all().expect("flush");
                engine.run_all_work().expect("background work");
            }
            _ => {}
        }
    }
    engine.close().expect("close");
    looks.load(Ordering::Relaxed)
}

/// Runs of random steps; gives the number of looks.
///
/// # Panics
/// When a look sees what it should not, with the command that runs its seed again.
pub fn run_all(scale: Scale) -> u64 {
    let (seeds, steps) = scale.pick((2, 60), (40, 400));
    let mut cases: Vec<(u64, u64)> = (1..=seeds).map(|seed| (seed, steps)).collect();
    // Any run can be run again, also one of the other scale.
    if let Some(picked) = picked_of("glimpse") {
        let parts =
            picked.split_once('/').and_then(|(seed, steps)| Some((seed.parse().ok()?, steps.parse().ok()?)));
        cases = parts.into_iter().collect();
    }
    let looks = AtomicU64::new(0);
    let name = |case: &(u64, u64)| format!("{}/{}", case.0, case.1);
    run_cases("glimpse", &cases, name, |&(seed, steps)| {
        looks.fetch_add(run(seed, steps), Ordering::Relaxed);
    });
    looks.into_inner()
}
