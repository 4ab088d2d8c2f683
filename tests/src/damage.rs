//! Rule 7: any damage to any byte of any file gives the right answer or an error; never a wrong value, never a missing
//! key, never a panic. On a database that was closed, and on one whose process died, where the log behind the last
//! durable record may end early.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use nokv::core::vfs::{OpenMode, Vfs, VfsFile, join};
use nokv::{Db, Error, Options};
use nokv_vfs_mem::MemFs;

use crate::net::{Scale, run_cases};
use crate::small_db::{Content, files, fill, options, read, read_only};

const DIR: &str = "db";
/// Zeros of a preallocated segment behind its records are sampled each so many bytes.
const ZEROS_STEP: usize = 16 << 10;
/// Places in one case.
const CHUNK: usize = 256;
const SECTOR: usize = 512;

struct Image {
    name: &'static str,
    fs: MemFs,
    /// What it may answer: one content if it was closed.
    contents: Vec<Content>,
    files: Vec<(String, Vec<u8>)>,
}

/// Bytes up to the last that is not zero.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1)
}

impl Image {
    fn new(name: &'static str, fs: MemFs, contents: Vec<Content>) -> Self {
        let files: Vec<_> = files(&fs, DIR)
            .into_iter()
            .filter(|path| !path.ends_with("LOCK"))
            .map(|path| (path.clone(), fs.contents(&path).expect("a file that is there")))
            .collect();
        let bytes: usize = files.iter().map(|(_, bytes)| used(bytes)).sum();
        assert!(bytes <= 64 << 10, "{bytes} bytes are too many for a sweep");
        for kind in ["CURRENT", "MANIFEST", ".sst", ".vlog", ".wal"] {
            assert!(files.iter().any(|(path, _)| path.contains(kind)), "no {kind}");
        }
        let image = Self { name, fs, contents, files };
        assert!(image.answer(&image.fs) == Answer::Right(image.contents.len() - 1), "untouched");
        image
    }

    /// Closed. A log that is needed was sealed by the close: records that only it held were flushed, so the clean end is
    /// all that it proves.
    fn closed() -> Self {
        let fs = MemFs::new();
        let db = Db::open_on(fs.clone(), options(DIR)).expect("open");
        let mut content = fill(&db, false).expect("fill");
        db.set(b"last", b"write").expect("set");
        content.plain.insert((0, b"last".to_vec()), b"write".to_vec());
        db.close().expect("close");
        Self::new("closed", fs, vec![content])
    }

    /// The process died: some records of the log are known to be durable, six are not.
    fn killed() -> Self {
        let fs = MemFs::new();
        let lazy = Options { manifest_sync: false, ..options(DIR) };
        let db = Db::open_on(fs.clone(), lazy).expect("open");
        let mut content = fill(&db, true).expect("fill");
        db.sync().expect("sync");
        // Says how far the log is durable.
        db.set(b"tells", b"x").expect("set");
        content.plain.insert((0, b"tells".to_vec()), b"x".to_vec());
        db.sync().expect("sync");
        let mut contents = vec![content.clone()];
        for i in 0..6u8 {
            db.set(&[b't', i], &[i; 30]).expect("set");
            content.plain.insert((0, vec![b't', i]), vec![i; 30]);
            contents.push(content.clone());
        }
        Self::new("killed", fs.kill_clone(), contents)
    }

    /// What `found` has too much or too little of, in short.
    fn difference(&self, found: &Content) -> String {
        let right = &self.contents[0];
        let lost: Vec<_> = right.plain.keys().filter(|key| !found.plain.contains_key(*key)).take(3).collect();
        let more: Vec<_> = found.plain.keys().filter(|key| !right.plain.contains_key(*key)).take(3).collect();
        let versions = (right.versioned.len(), found.versioned.len());
        let counts = (right.plain.len(), found.plain.len());
        format!("{counts:?} keys, {versions:?} versions, missing {lost:?}, too many {more:?}")
    }

    /// Opens `fs` for reading only and reads everything.
    fn answer(&self, fs: &MemFs) -> Answer {
        let fs = fs.clone();
        let result =
            catch_unwind(AssertUnwindSafe(|| Db::open_on(fs, read_only(DIR)).and_then(|db| read(&db))));
        match result.unwrap_or_else(|panic| panic!("panicked: {}", crate::net::text_of(panic))) {
            Ok(content) => match self.contents.iter().position(|c| *c == content) {
                Some(at) => Answer::Right(at),
                None => panic!("a wrong answer: {}", self.difference(&content)),
            },
            Err(Error::Corrupt { file, .. }) => {
                assert!(!file.is_empty(), "an error that names no file");
                Answer::Refused
            }
            Err(Error::Unsupported { .. }) => Answer::Refused,
            Err(error) => panic!("{error:?} is no error of damage"),
        }
    }
}

/// What came of reading everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The content with this number.
    Right(usize),
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// Flips bits.
    Bit,
    /// Cuts the file.
    Cut,
    /// Zeros a sector.
    Zero,
    /// Swaps a sector with each of the later ones.
    Swap,
    /// Takes the file away, makes it longer, puts another table in its place.
    File,
}

/// Damage of one kind at some places of a file.
struct Case {
    image: usize,
    file: usize,
    damage: Damage,
    places: Vec<usize>,
}

/// Counts over all cases.
#[derive(Default)]
struct Counts {
    damages: AtomicU64,
    flips: AtomicU64,
    flips_refused: AtomicU64,
}

fn cases_of(images: &[Image], scale: Scale) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, image) in images.iter().enumerate() {
        for (f, (path, bytes)) in image.files.iter().enumerate() {
            let used = used(bytes);
            let zeros = (used..bytes.len()).step_by(ZEROS_STEP).chain(bytes.len().checked_sub(1));
            // A slice takes one bit of each byte of the small files and of some bytes of the others.
            let sampled = |step: usize| scale.pick(if used > 2048 { step } else { 1 }, 1);
            let sectors = used.div_ceil(SECTOR);
            for (damage, places) in [
                (Damage::Bit, (0..used).step_by(sampled(7)).chain(zeros).collect::<Vec<_>>()),
                (
                    Damage::Cut,
                    (0..used).step_by(sampled(97)).chain([used.saturating_sub(1), bytes.len() - 1]).collect(),
                ),
                (Damage::Zero, (0..sectors).collect()),
                (Damage::Swap, (0..sectors).collect()),
                (Damage::File, vec![0]),
            ] {
                // What the log holds behind its durable end may go: the second image is about that.
                if image.contents.len() > 1 && damage == Damage::Swap && !path.ends_with(".wal") {
                    continue;
                }
                let chunks = places.chunks(if damage == Damage::Swap { 4 } else { CHUNK });
                cases.extend(chunks.map(|places| Case {
                    image: i,
                    file: f,
                    damage,
                    places: places.to_vec(),
                }));
            }
        }
    }
    cases
}

fn run(images: &[Image], case: &Case, scale: Scale, counts: &Counts) {
    let image = &images[case.image];
    let (path, bytes) = &image.files[case.file];
    // A disk of its own: other cases run beside this one.
    let fs = image.fs.kill_clone();
    let open = || fs.open(path, OpenMode::ReadWrite).expect("open");
    let file = open();
    let write = |bytes: &[u8], at: usize| file.write_at(bytes, at as u64).expect("write");
    let answer = |what: &str| {
        counts.damages.fetch_add(1, Ordering::Relaxed);
        let answer = catch_unwind(AssertUnwindSafe(|| image.answer(&fs)))
            .unwrap_or_else(|panic| panic!("{what}: {}", crate::net::text_of(panic)));
        // Only damage of the log may take records from behind its durable mark.
        let is_whole = !matches!(answer, Answer::Right(n) if n + 1 < image.contents.len());
        assert!(is_whole || path.ends_with(".wal"), "{what}: whole records of the log were left out");
        answer
    };
    for &at in &case.places {
        match case.damage {
            Damage::Bit => {
                for bit in if scale == Scale::Full { 0..8 } else { at % 8..at % 8 + 1 } {
                    write(&[bytes[at] ^ (1 << bit)], at);
                    let refused = answer(&format!("byte {at}, bit {bit}")) == Answer::Refused;
                    counts.flips.fetch_add(1, Ordering::Relaxed);
                    counts.flips_refused.fetch_add(u64::from(refused), Ordering::Relaxed);
                }
                write(&bytes[at..=at], at);
            }
            Damage::Cut => {
                file.set_len(at as u64).expect("set length");
                answer(&format!("cut to {at}"));
                write(&bytes[at..], at);
            }
            Damage::Zero => {
                let (start, end) = (at * SECTOR, bytes.len().min((at + 1) * SECTOR));
                write(&vec![0; end - start], start);
                answer(&format!("zeros from {start} to {end}"));
                write(&bytes[start..end], start);
            }
            Damage::Swap => {
                let last = bytes.len() / SECTOR;
                let others = at + 1..scale.pick(at + 3, last).min(last);
                let sector = |n: usize| &bytes[n * SECTOR..(n + 1) * SECTOR];
                for other in
                    others.filter(|other| used(bytes) > other * SECTOR && sector(at) != sector(*other))
                {
                    write(sector(other), at * SECTOR);
                    write(sector(at), other * SECTOR);
                    answer(&format!("sectors {at} and {other} swapped"));
                    write(sector(at), at * SECTOR);
                    write(sector(other), other * SECTOR);
                }
            }
            Damage::File => {
                write(&[0x5a], bytes.len());
                answer("one byte longer");
                file.set_len(bytes.len() as u64).expect("set length");
                swap_tables(image, &fs, path, &answer);
                missing(image, &fs, path, counts);
            }
        }
    }
    assert!(image.answer(&fs) == Answer::Right(image.contents.len() - 1), "restored");
}

/// Puts the bytes of each other table in place of this one.
fn swap_tables(image: &Image, fs: &MemFs, path: &str, answer: &dyn Fn(&str) -> Answer) {
    let is_table = |path: &str| path.ends_with(".sst");
    let set = |bytes: &[u8]| {
        let file = fs.open(path, OpenMode::ReadWrite).expect("open");
        file.write_at(bytes, 0).expect("write");
        file.set_len(bytes.len() as u64).expect("set length");
    };
    let own = image.files.iter().find(|(p, _)| p == path).filter(|(p, _)| is_table(p));
    let others = image.files.iter().filter(|(p, _)| is_table(p) && p != path);
    for ((_, own), (other, bytes)) in own.into_iter().flat_map(|own| others.clone().map(move |o| (own, o))) {
        set(bytes);
        assert!(
            answer(&format!("{other} in its place")) == Answer::Refused,
            "{other} in its place was taken"
        );
        set(own);
    }
}

/// Takes the file away.
fn missing(image: &Image, fs: &MemFs, path: &str, counts: &Counts) {
    counts.damages.fetch_add(1, Ordering::Relaxed);
    let away = join(DIR, "away.tmp");
    fs.rename(path, &away).expect("rename");
    match Db::open_on(fs.clone(), read_only(DIR)).and_then(|db| read(&db)) {
        Err(Error::Corrupt { .. } | Error::Io { .. }) => {}
        // A log segment below the floor, for instance: nothing needs it.
        Ok(content) => assert!(image.contents.contains(&content), "missing: a wrong answer"),
        Err(error) => panic!("missing: {error:?}"),
    }
    fs.rename(&away, path).expect("rename");
}

/// Damages a closed and a killed database everywhere; gives the number of damages.
///
/// # Panics
/// When an answer is wrong.
pub fn run_all(scale: Scale) -> u64 {
    let images = [Image::closed(), Image::killed()];
    let counts = Counts::default();
    let cases = cases_of(&images, scale);
    let name = |case: &Case| {
        let image = &images[case.image];
        let first = case.places.first().copied().unwrap_or(0);
        format!("{}/{}/{:?}/{first}", image.name, image.files[case.file].0, case.damage)
    };
    run_cases("damage", &cases, name, |case| run(&images, case, scale, &counts));
    let [damages, flips, refused] =
        [&counts.damages, &counts.flips, &counts.flips_refused].map(|n| n.load(Ordering::Relaxed));
    println!("{flips} bits flipped, {refused} refused; {damages} damages");
    assert!(refused > flips / 3 || std::env::var_os("NOKV_CASE").is_some(), "{refused} of {flips}");
    damages
}
