//! Rule 7: any damage to any byte of any file gives the right answer or an error; never a wrong value, never a missing
//! key, never a panic. On a database that was closed, and on one whose process died, where the log behind the last
//! durable record may end early.
//!
//! A case is one damage at one place, and its name says which: a slice takes some of the cases of a full run. A full run
//! has every bit, cut, sector and pair of sectors of what is used, and of the first bytes of the zeros behind it. Of the
//! zeros far behind it has one bit and one cut in each `ZEROS_STEP` bytes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use nokv::core::vfs::{OpenMode, Vfs, VfsFile, join};
use nokv::{Db, Error, Options};
use nokv_vfs_mem::MemFs;

use crate::net::{Scale, run_cases, say, text_of};
use crate::small_db::{Content, LEAST, files, fill_sized, options, read_only, read_sized};

const DIR: &str = "db";
/// Zeros of a preallocated segment far behind its records are sampled each so many bytes.
const ZEROS_STEP: usize = 1021;
/// Zeros behind records that are damaged like those: more than the head of a record, and into the next sector.
const ZEROS_NEAR: usize = 640;
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

/// What a file is, by its name.
fn kind_of(path: &str) -> &'static str {
    let kinds = [".sst", ".vlog", ".wal", "CURRENT", "MANIFEST"];
    kinds.into_iter().find(|kind| path.contains(kind)).unwrap_or("")
}

impl Image {
    fn new(name: &'static str, fs: &MemFs, contents: Vec<Content>) -> Self {
        // At rest: images of it are cheap.
        let fs = fs.kill_clone();
        fs.sync_all();
        let files: Vec<_> = files(&fs, DIR)
            .into_iter()
            .filter(|path| !path.ends_with("LOCK"))
            .map(|path| (path.clone(), fs.contents(&path).expect("a file that is there")))
            .collect();
        let bytes: usize = files.iter().map(|(_, bytes)| used(bytes)).sum();
        assert!(bytes <= 64 << 10, "{bytes} bytes are too many for a sweep");
        for kind in ["CURRENT", "MANIFEST", ".sst", ".vlog", ".wal"] {
            assert!(files.iter().any(|(path, _)| kind_of(path) == kind), "no {kind}");
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
        let mut content = fill_sized(&db, false, LEAST).expect("fill");
        db.set(b"last", b"write").expect("set");
        content.plain.insert((0, b"last".to_vec()), b"write".to_vec());
        db.close().expect("close");
        Self::new("closed", &fs, vec![content])
    }

    /// The process died: some records of the log are known to be durable, six are not.
    fn killed() -> Self {
        let fs = MemFs::new();
        let lazy = Options { manifest_sync: false, ..options(DIR) };
        let db = Db::open_on(fs.clone(), lazy).expect("open");
        let mut content = fill_sized(&db, true, LEAST).expect("fill");
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
        Self::new("killed", &fs, contents)
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
        let open = || Db::open_on(fs.clone(), read_only(DIR)).and_then(|db| read_sized(&db, LEAST));
        let result = catch_unwind(AssertUnwindSafe(open));
        match result.unwrap_or_else(|panic| panic!("panicked: {}", text_of(panic))) {
            Ok(content) => match self.contents.iter().position(|c| *c == content) {
                Some(at) => Answer::Right(at),
                None => panic!("a wrong answer: {}", self.difference(&content)),
            },
            Err(Error::Corrupt { file, .. }) => {
                assert!(!file.is_empty(), "an error that names no file");
                Answer::Refused
            }
            Err(Error::Unsupported { .. }) => Answer::Refused,
            Err(Error::Io { .. }) => Answer::Failed,
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
    /// An error of the file system.
    Failed,
}

/// One damage to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// Flips this bit of this byte.
    Bit(usize, u8),
    /// Cuts the file to this length.
    Cut(usize),
    /// Zeros this sector.
    Zero(usize),
    /// Swaps a sector with one of a file, of the same or of another one of its kind.
    Swap(usize, usize, usize),
    /// Makes the file one byte longer.
    Longer,
    /// Puts the bytes of this file of its kind in its place.
    Replaced(usize),
    /// Takes the file away.
    Missing,
}

struct Case {
    image: usize,
    file: usize,
    damage: Damage,
}

/// The name of a case, without its image.
struct Name<'a>(&'a Image, &'a Case);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |file: usize| self.0.files[file].0.strip_prefix("db/").unwrap_or("?");
        write!(f, "{}:", path(self.1.file))?;
        match self.1.damage {
            Damage::Bit(at, bit) => write!(f, "bit {at}.{bit}"),
            Damage::Cut(at) => write!(f, "cut {at}"),
            Damage::Zero(sector) => write!(f, "zero {sector}"),
            Damage::Swap(sector, other, at) => write!(f, "swap {sector} with {at} of {}", path(other)),
            Damage::Longer => write!(f, "longer"),
            Damage::Replaced(other) => write!(f, "replaced by {}", path(other)),
            Damage::Missing => write!(f, "missing"),
        }
    }
}

/// Counts over all cases.
#[derive(Default)]
struct Counts {
    flips: AtomicU64,
    flips_refused: AtomicU64,
}

/// The sector, the last one of a file in the length that it has.
fn sector(bytes: &[u8], n: usize) -> &[u8] {
    &bytes[n * SECTOR..bytes.len().min((n + 1) * SECTOR)]
}

fn cases_of(images: &[Image], scale: Scale) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, image) in images.iter().enumerate() {
        for file in 0..image.files.len() {
            let damages = places(image, file, scale).into_iter().chain(swaps(image, file, scale));
            cases.extend(damages.map(|damage| Case { image: i, file, damage }));
        }
    }
    cases
}

/// Damages of a file by itself.
fn places(image: &Image, file: usize, scale: Scale) -> Vec<Damage> {
    let bytes = &image.files[file].1;
    let used = used(bytes);
    let near = bytes.len().min(used + scale.pick(8, ZEROS_NEAR));
    let far =
        || (near..bytes.len()).step_by(scale.pick(16 * ZEROS_STEP, ZEROS_STEP)).chain([bytes.len() - 1]);
    // A slice takes one bit of each byte of the small files and of some bytes of the others.
    let sampled = |step: usize| scale.pick(if used > 2048 { step } else { 1 }, 1);
    let one = |at: usize| Damage::Bit(at, (at % 8) as u8);
    let mut damages = vec![Damage::Longer, Damage::Missing];
    let bits = (0..used).step_by(sampled(7)).chain(used..near);
    damages.extend(bits.flat_map(|at| {
        let bits = if scale == Scale::Full { 0..8 } else { (at % 8) as u8..(at % 8) as u8 + 1 };
        bits.map(move |bit| Damage::Bit(at, bit))
    }));
    damages.extend((0..used).step_by(sampled(97)).chain(used.saturating_sub(1)..near).map(Damage::Cut));
    if near < bytes.len() {
        damages.extend(far().map(one));
        damages.extend(far().map(Damage::Cut));
    }
    damages.extend((0..used.div_ceil(SECTOR)).map(Damage::Zero));
    damages
}

/// Its sectors swapped with each other and with those of later files of its kind; those files in its place.
fn swaps(image: &Image, file: usize, scale: Scale) -> Vec<Damage> {
    let (path, bytes) = &image.files[file];
    let sectors = |bytes: &[u8]| used(bytes).div_ceil(SECTOR);
    let mut damages = Vec::new();
    for (other, (name, others)) in
        image.files.iter().enumerate().filter(|(_, f)| kind_of(&f.0) == kind_of(path))
    {
        if name != path {
            damages.push(Damage::Replaced(other));
        }
        for at in 0..sectors(bytes) {
            let from = if other == file { at + 1 } else { 0 };
            let most = if other < file { 0 } else { sectors(others) };
            let to = most.min(scale.pick(from + 2, most));
            let differ = |with: &usize| {
                let (a, b) = (sector(bytes, at), sector(others, *with));
                a.len() == b.len() && a != b
            };
            damages.extend((from..to).filter(differ).map(|with| Damage::Swap(at, other, with)));
        }
    }
    damages
}

fn run(image: &Image, case: &Case, counts: &Counts) {
    let (path, bytes) = &image.files[case.file];
    // A disk of its own: other cases run beside this one.
    let fs = image.fs.kill_clone();
    let write = |path: &str, bytes: &[u8], at: usize| {
        let file = fs.open(path, OpenMode::ReadWrite).expect("open");
        file.write_at(bytes, at as u64).expect("write");
    };
    let cut = |len: usize| {
        fs.open(path, OpenMode::ReadWrite).expect("open").set_len(len as u64).expect("set length");
    };
    match case.damage {
        Damage::Bit(at, bit) => write(path, &[bytes[at] ^ (1 << bit)], at),
        Damage::Cut(at) => cut(at),
        Damage::Zero(n) => write(path, &vec![0; sector(bytes, n).len()], n * SECTOR),
        Damage::Swap(n, other, at) => {
            let (name, others) = &image.files[other];
            write(path, sector(others, at), n * SECTOR);
            write(name, sector(bytes, n), at * SECTOR);
        }
        Damage::Longer => write(path, &[0x5a], bytes.len()),
        Damage::Replaced(other) => {
            cut(0);
            write(path, &image.files[other].1, 0);
        }
        Damage::Missing => fs.rename(path, &join(DIR, "away.tmp")).expect("rename"),
    }
    let answer = image.answer(&fs);
    assert!(answer != Answer::Failed || case.damage == Damage::Missing, "an error that is none of damage");
    if kind_of(path) == ".sst" && matches!(case.damage, Damage::Replaced(_)) {
        assert_eq!(answer, Answer::Refused, "a table in the place of another was taken");
    }
    if let Damage::Bit(..) = case.damage {
        counts.flips.fetch_add(1, Ordering::Relaxed);
        counts.flips_refused.fetch_add(u64::from(answer == Answer::Refused), Ordering::Relaxed);
    }
    // Only damage of the log may take records from behind its durable mark.
    let is_whole = !matches!(answer, Answer::Right(n) if n + 1 < image.contents.len());
    assert!(is_whole || kind_of(path) == ".wal", "whole records of the log were left out");
}

fn run_some(scale: Scale, wanted: impl Fn(&Image, &Case) -> bool) -> u64 {
    let images = [Image::closed(), Image::killed()];
    let counts = Counts::default();
    let mut cases = cases_of(&images, scale);
    cases.retain(|case| wanted(&images[case.image], case));
    let name = |case: &Case| {
        let image = &images[case.image];
        format!("{}/{}", image.name, Name(image, case))
    };
    let count = run_cases("damage", &cases, name, |case| run(&images[case.image], case, &counts));
    let [flips, refused] = [&counts.flips, &counts.flips_refused].map(|n| n.load(Ordering::Relaxed));
    say(&format!("{flips} bits flipped, {refused} refused; {count} damages"));
    assert!(refused > flips / 3 || std::env::var_os("NOKV_CASE").is_some(), "{refused} of {flips}");
    count
}

/// Damages a closed and a killed database everywhere; gives the number of damages.
///
/// # Panics
/// When an answer is wrong.
pub fn run_all(scale: Scale) -> u64 {
    run_some(scale, |_, _| true)
}

/// Flips bits of the files whose names end so; gives the number of flips.
///
/// # Panics
/// When an answer is wrong, or there are no such files.
pub fn run_flips(suffix: &str, scale: Scale) -> u64 {
    let count = run_some(scale, |image, case| {
        image.files[case.file].0.ends_with(suffix) && matches!(case.damage, Damage::Bit(..))
    });
    assert!(count > 0, "no file *{suffix}");
    count
}
