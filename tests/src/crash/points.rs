//! Kill points: histories that live in the log, and the death of the process before every changing call of each.
//!
//! A history is drawn from its seed: small batches, groups, batches over several segments, batches without a log record,
//! typed records alone and with a batch, syncs, flushes, deaths and clean closes, on one of four disks. Before every
//! call, stores to a map among them, the files are looked at twice: as a death leaves them, and as one power cut may. What
//! is not looked at here in every image (going on, other power cuts, files that nothing names) the layer `crash` looks at.
//!
//! Who may call it: the list of layers, and the test of the trace. Invariants
//! 1. A history depends on its seed and length alone: the same two give the same calls with the same arguments.
//! 2. A point is a moment of one history: none is counted twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nokv_core::compact::PickOptions;
use nokv_core::engine::{Engine, EngineOptions, RecordKind, TypedSection};
use nokv_core::vfs::{Capabilities, Vfs};
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

use super::drive::{Drive, tiny};
use super::suite::{HOSTILE_WITH_MAPS, PLAIN, WITHOUT_MAPS};
use super::track::{Mark, Op, Track};
use super::verify::{Origin, Question, Recovered, Verdict};
use super::{USUAL, mix};
use crate::laws::index::Course;
use crate::net::{Scale, picked_of, run_cases, say};

const LAYER: &str = "kill-points";
/// One in so many images also goes on, is cut again, closes and opens.
const GO_ON: u64 = 64;
/// Whose the typed records are.
const GROUP: u64 = 7;

/// Whether the seq that was recovered is right beside a typed record.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Without the record at most this is there: what came before it.
    before: u64,
    /// With it at least this.
    with: u64,
}

/// Typed records, in the order of the log.
#[derive(Debug, Clone, Default)]
struct Records {
    places: Vec<Place>,
    acknowledged: usize,
    synced: usize,
}

/// The books of typed records, shared with those who judge.
#[derive(Debug, Clone, Default)]
pub struct Book(Arc<Mutex<Records>>);

impl Book {
    fn with<T>(&self, f: impl FnOnce(&mut Records) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn payload(i: usize) -> Vec<u8> {
    let mut bytes = format!("{i} ").into_bytes();
    bytes.resize(if i % 9 == 4 { 50_000 } else { 8 + i * 37 % 400 }, b'r');
    bytes
}

/// What a seed decides beside its operations.
struct Kind {
    capabilities: Capabilities,
    mode: CrashMode,
    options: EngineOptions<()>,
    /// Has it typed records? If not, it has batches without a log record.
    typed: bool,
}

fn kind(seed: u64) -> Kind {
    let (capabilities, mode) = match seed % 8 {
        0..=3 => (USUAL, CrashMode::Posix),
        4 | 5 => (HOSTILE_WITH_MAPS, CrashMode::Hostile),
        6 => (WITHOUT_MAPS, CrashMode::Posix),
        _ => (PLAIN, CrashMode::Hostile),
    };
    let memtable_bytes = [96 << 10, 256 << 10, 640 << 10][(seed / 8 % 3) as usize];
    let pick = PickOptions { l0_tables: 4, ..tiny(()).pick };
    // Few tables and merges: it is the log that is looked at.
    let options = EngineOptions {
        memtable_bytes,
        sealed_memtables_max: 3,
        table_bytes: 256 << 10,
        pick,
        manifest_sync: seed % 5 != 4,
        ..tiny(())
    };
    Kind { capabilities, mode, options, typed: seed % 3 == 1 }
}

/// A history under way.
struct Story<V: Vfs> {
    drive: Drive<V, Skiplist>,
    book: Book,
    course: Course,
    /// Most bytes of a batch.
    most: usize,
    typed: bool,
}

impl<V: Vfs> Story<V> {
    fn ops(&mut self, count: u64, len: u64) -> Vec<Op> {
        let course = &mut self.course;
        (0..count)
            .map(|_| {
                let (cf, n) = (course.below(3) as u32, course.below(12));
                let key = format!("key{n:02}");
                match course.below(16) {
                    0 => Op::Delete(cf, key.into_bytes()),
                    1 => Op::DeleteRange(cf, key.into_bytes(), format!("key{:02}", n + 3).into_bytes()),
                    // Into the value log.
                    2 if len < 1000 => self.drive.put(cf, &key, 3500),
                    _ => self.drive.put(cf, &key, 1 + course.below(len) as usize),
                }
            })
            .collect()
    }

    fn batch(&mut self) -> Vec<Op> {
        let count = 1 + self.course.below(3);
        self.ops(count, 200)
    }

    /// A batch of many records' size, up to several segments.
    fn long_batch(&mut self) -> Vec<Op> {
        let most = self.most as u64 / 2900;
        (0..1 + self.course.below(most))
            .map(|n| self.drive.put(n as u32 % 3, &format!("key{:02}", n % 12), 2900))
            .collect()
    }

    fn append(&mut self) {
        let at = self.drive.engine().published().0;
        let i = self.book.with(|book| {
            book.places.push(Place { before: at, with: at });
            book.places.len() - 1
        });
        let bytes = payload(i);
        let section = TypedSection { kind: RecordKind::RaftEntries, group: GROUP, bytes: &bytes };
        self.drive.engine().append_typed(&[section]).unwrap_or_else(|e| panic!("a typed record: {e}"));
        self.book.with(|book| book.acknowledged = i + 1);
    }

    /// The smallest thing that the log takes.
    fn append_or_put(&mut self) {
        if self.typed {
            return self.append();
        }
        let ops = self.ops(1, 20);
        self.drive.write(ops);
    }

    /// A batch and a typed record, in one log record.
    fn write_both(&mut self) {
        let ops = self.batch();
        let engine = Arc::clone(self.drive.engine());
        let (before, with) = (engine.published().0, engine.published().0 + ops.len() as u64);
        let i = self.book.with(|book| {
            book.places.push(Place { before, with });
            book.places.len() - 1
        });
        let bytes = payload(i);
        let section = TypedSection { kind: RecordKind::RaftEntries, group: GROUP, bytes: &bytes };
        self.drive.write_with(ops, &[section]);
        self.book.with(|book| book.acknowledged = i + 1);
    }

    fn step(&mut self) {
        match self.course.below(100) {
            0..54 => {
                let ops = self.batch();
                self.drive.write(ops);
            }
            54..60 => {
                let ops = self.long_batch();
                self.drive.write(ops);
            }
            60..66 => {
                let groups = (0..2 + self.course.below(2)).map(|_| self.batch()).collect();
                self.drive.write_group(groups);
            }
            66..78 => self.append_or_put(),
            78..86 if self.typed => self.write_both(),
            78..86 => {
                let ops = self.batch();
                self.drive.write_unlogged(ops);
            }
            86..93 => {
                self.drive.sync();
                self.book.with(|book| book.synced = book.places.len());
            }
            93..95 => self.drive.work(),
            95 => self.drive.flush(),
            96 => self.drive.die_and_reopen(),
            // Much goes on in a close that is not the log's.
            97 if self.course.below(3) == 0 => self.drive.reopen(),
            _ => self.append_or_put(),
        }
    }
}

/// Runs the history of `seed` with so many steps on `fs`.
///
/// # Panics
/// When one of its own calls fails.
pub fn history<V: Vfs>(fs: V, seed: u64, steps: u64, track: Track, book: Book) {
    let kind = kind(seed);
    // Later opens have memtables of 96 KiB.
    let most = 64 << 10;
    let drive = Drive::new(fs, kind.options, track);
    let mut story = Story { drive, book, course: Course::new(mix(seed, 21)), most, typed: kind.typed };
    (0..steps).for_each(|_| story.step());
    story.drive.close();
}

/// What the seed's disk can do.
pub fn capabilities(seed: u64) -> Capabilities {
    kind(seed).capabilities
}

struct Judge {
    kind: Kind,
    track: Track,
    book: Book,
}

impl Judge {
    fn image(&self, image: &MemFs, mark: &Mark, records: &Records, origin: Origin, seed: u64) -> Verdict<()> {
        let question = Question::<Skiplist> {
            options: &self.kind.options,
            track: &self.track,
            mark,
            origin,
            seed,
            mode: self.kind.mode,
        };
        let further = seed.is_multiple_of(GO_ON).then(|| image.kill_clone());
        let (engine, found) = question.recover(image)?;
        records.judge(&engine, found, origin)?;
        drop(engine);
        further.map_or(Ok(()), |image| question.verify(&image).map(drop))
    }
}

impl Records {
    fn judge(&self, engine: &Engine<MemFs, Skiplist>, found: Recovered, origin: Origin) -> Verdict<()> {
        let mut there = 0;
        let mut other = None;
        let replayed = engine.replay_group(GROUP, &mut |_, _, bytes: &[u8]| {
            if bytes != payload(there) {
                other.get_or_insert(there);
            }
            there += 1;
            Ok(())
        });
        replayed.map_err(|e| format!("typed records: {e}"))?;
        if let Some(i) = other {
            return Err(format!("typed record {i} has other bytes"));
        }
        let least = if origin == Origin::Killed { self.acknowledged.max(self.synced) } else { self.synced };
        if there < least || there > self.places.len() {
            return Err(format!("{there} typed records, not within {least}..={}", self.places.len()));
        }
        // One log, one order: what stands before a record is there when it is, and nothing behind one that is not.
        let with = self.places[..there].last().map_or(0, |place| place.with);
        let before = self.places.get(there).map_or(u64::MAX, |place| place.before);
        if found.last < with || found.last > before {
            return Err(format!(
                "{there} typed records and seq {}, not within {with}..={before}",
                found.last
            ));
        }
        Ok(())
    }
}

/// Runs a history and judges its points; gives their number, and how many of them stand before a store to a map.
fn points(seed: u64, steps: u64) -> (u64, u64) {
    /// Also after a panic: the hook owns the file system that owns the hook.
    struct End(MemFs);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.clear_call_hook();
        }
    }
    let fs = MemFs::with_capabilities(capabilities(seed));
    let end = End(fs.clone());
    let (track, book) = (Track::new(), Book::default());
    let judge = Judge { kind: kind(seed), track: track.clone(), book: book.clone() };
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let hook = {
        let (fs, counts) = (fs.clone(), Arc::clone(&counts));
        move |call: u64, op: &str, path: &str| {
            let mark = judge.track.mark();
            if !mark.created {
                return;
            }
            counts[0].fetch_add(1, Ordering::Relaxed);
            counts[1].fetch_add(u64::from(op == "store"), Ordering::Relaxed);
            let records = judge.book.with(|book| book.clone());
            let seed = mix(mix(seed, 22), call);
            let told = |how: &str, e: String| panic!("{how} before call {call} ({op} {path}): {e}");
            judge
                .image(&fs.kill_clone(), &mark, &records, Origin::Killed, seed)
                .unwrap_or_else(|e| told("kill", e));
            let cut = [CrashImage::Random, CrashImage::OneOnly, CrashImage::AllButOne, CrashImage::Random];
            let cut = cut[(seed >> 8) as usize % cut.len()];
            let image = fs.crash_clone(seed, judge.kind.mode, cut);
            judge
                .image(&image, &mark, &records, Origin::PowerCut, mix(seed, 1))
                .unwrap_or_else(|e| told(&format!("{cut:?} power cut"), e));
        }
    };
    fs.set_call_hook(Box::new(hook));
    history(fs, seed, steps, track, book);
    drop(end);
    (counts[0].load(Ordering::Relaxed), counts[1].load(Ordering::Relaxed))
}

/// Runs the histories; gives the number of points.
///
/// # Panics
/// When a rule does not hold of what is left at one, with the command that runs its history again.
pub fn run_all(scale: Scale) -> u64 {
    let (seeds, steps) = scale.pick((8, 100), (280, 200));
    let name = |case: &(u64, u64)| format!("{}/{}", case.0, case.1);
    let mut cases: Vec<(u64, u64)> = (0..seeds).map(|seed| (seed, steps)).collect();
    // Any history can be run again, also one of the other scale.
    if let Some(picked) = picked_of(LAYER) {
        let parts =
            picked.split_once('/').and_then(|(seed, steps)| Some((seed.parse().ok()?, steps.parse().ok()?)));
        cases = parts.into_iter().collect();
    }
    let (all, stores) = (AtomicU64::new(0), AtomicU64::new(0));
    let histories = run_cases(LAYER, &cases, name, |&(seed, steps)| {
        let (points, before_stores) = points(seed, steps);
        all.fetch_add(points, Ordering::Relaxed);
        stores.fetch_add(before_stores, Ordering::Relaxed);
    });
    let (all, stores) = (all.into_inner(), stores.into_inner());
    say(&format!("{LAYER}: {all} points of {histories} histories, {stores} of them before a store to a map"));
    all
}
