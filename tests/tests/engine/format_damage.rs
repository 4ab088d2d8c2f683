//! Rule 7: any damage to any byte of any file of a cleanly closed database gives the right answer or an error; never a
//! wrong value, never a missing key, never a panic.
//!
//! Samples by default; `NOKV_DAMAGE=all` flips every bit and cuts at every byte.
#![allow(missing_docs)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use nokv::{Db, Error};
use nokv_core::vfs::{OpenMode, Vfs, VfsFile, join};
use nokv_tests::small_db::{Content, files, fill, options, read, read_only};
use nokv_vfs_mem::MemFs;

const DIR: &str = "db";
/// Zeros of a preallocated segment behind its records are sampled each so many bytes.
const ZEROS_STEP: usize = 16 << 10;

fn all() -> bool {
    std::env::var("NOKV_DAMAGE").is_ok_and(|value| value == "all")
}

struct Original {
    fs: MemFs,
    content: Content,
    files: Vec<(String, Vec<u8>)>,
}

fn build() -> Original {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), options(DIR)).unwrap();
    let mut content = fill(&db, false).unwrap();
    // A log that is needed and sealed by the close: records that only it holds would be flushed, so the clean end is
    // all that it proves.
    db.set(b"last", b"write").unwrap();
    content.plain.insert((0, b"last".to_vec()), b"write".to_vec());
    db.close().unwrap();
    let files: Vec<_> = files(&fs, DIR)
        .into_iter()
        .filter(|path| !path.ends_with("LOCK"))
        .map(|path| (path.clone(), fs.contents(&path).unwrap()))
        .collect();
    let used = |bytes: &[u8]| bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let bytes: usize = files.iter().map(|(_, bytes)| used(bytes)).sum();
    assert!(bytes <= 64 << 10, "{bytes} bytes are too many for a sweep");
    for kind in ["CURRENT", "MANIFEST", ".sst", ".vlog", ".wal"] {
        assert!(files.iter().any(|(path, _)| path.contains(kind)), "no {kind}");
    }
    Original { fs, content, files }
}

/// What came of reading everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Right,
    Refused,
}

/// Opens read-only and reads everything.
fn answer(original: &Original, what: &str) -> Answer {
    let fs = original.fs.clone();
    let result = catch_unwind(AssertUnwindSafe(|| Db::open_on(fs, read_only(DIR)).and_then(|db| read(&db))));
    match result {
        Err(_) => panic!("{what}: panicked"),
        Ok(Ok(content)) => {
            assert!(content == original.content, "{what}: a wrong answer");
            Answer::Right
        }
        Ok(Err(Error::Corrupt { file, .. })) => {
            assert!(!file.is_empty(), "{what}");
            Answer::Refused
        }
        Ok(Err(Error::Unsupported { .. })) => Answer::Refused,
        Ok(Err(error)) => panic!("{what}: {error:?} is no error of damage"),
    }
}

#[test]
fn every_flipped_bit_is_harmless_or_noticed() {
    let original = build();
    assert_eq!(answer(&original, "untouched"), Answer::Right);
    let (mut flips, mut refused) = (0u32, 0u32);
    let mut turn = 0usize;
    for (path, bytes) in &original.files {
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let file = original.fs.open(path, OpenMode::ReadWrite).unwrap();
        let places =
            (0..used).chain((used..bytes.len()).step_by(ZEROS_STEP)).chain(bytes.len().checked_sub(1));
        for at in places {
            let bits = if all() { 0..8 } else { turn % 8..turn % 8 + 1 };
            turn = turn.wrapping_add(5);
            // By default one bit of each byte of the small files and each third byte of the others.
            if !all() && bytes.len() > 2048 && at % 3 != turn % 3 {
                continue;
            }
            for bit in bits {
                let flipped = bytes.get(at).unwrap() ^ (1 << bit);
                file.write_at(&[flipped], at as u64).unwrap();
                let came = answer(&original, &format!("{path}, byte {at}, bit {bit}"));
                flips += 1;
                refused += u32::from(came == Answer::Refused);
            }
            file.write_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
    assert_eq!(answer(&original, "restored"), Answer::Right);
    println!("{flips} bits flipped: {refused} refused, {} harmless", flips - refused);
    assert!(refused > flips / 2);
}

#[test]
fn every_cut_is_harmless_or_noticed() {
    let original = build();
    let mut cuts = 0;
    for (path, bytes) in &original.files {
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let step = if all() { 1 } else { (used / 150).max(1) };
        let file = original.fs.open(path, OpenMode::ReadWrite).unwrap();
        for len in (0..used).step_by(step).chain([used.saturating_sub(1), bytes.len() - 1]) {
            file.set_len(len as u64).unwrap();
            answer(&original, &format!("{path}, cut to {len}"));
            cuts += 1;
            file.write_at(&bytes[len..], len as u64).unwrap();
        }
        // Longer than it was.
        file.write_at(&[0x5a], bytes.len() as u64).unwrap();
        answer(&original, &format!("{path}, one byte longer"));
        file.set_len(bytes.len() as u64).unwrap();
    }
    println!("{cuts} cuts");
    assert_eq!(answer(&original, "restored"), Answer::Right);
}

#[test]
fn zeroed_sectors_and_missing_files_are_noticed() {
    let original = build();
    for (path, bytes) in &original.files {
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let file = original.fs.open(path, OpenMode::ReadWrite).unwrap();
        for at in (0..used).step_by(512) {
            let end = bytes.len().min(at + 512);
            file.write_at(&vec![0; end - at], at as u64).unwrap();
            answer(&original, &format!("{path}, zeroed from {at}"));
            file.write_at(&bytes[at..end], at as u64).unwrap();
        }
        drop(file);
        let away = join(DIR, "away.tmp");
        original.fs.rename(path, &away).unwrap();
        let outcome = Db::open_on(original.fs.clone(), read_only(DIR)).and_then(|db| read(&db));
        match outcome {
            Err(Error::Corrupt { .. } | Error::Io { .. }) => {}
            // A log segment below the floor, for instance: nothing needs it.
            Ok(content) => assert!(content == original.content, "{path} missing: a wrong answer"),
            Err(error) => panic!("{path} missing: {error:?}"),
        }
        original.fs.rename(&away, path).unwrap();
    }
    assert_eq!(answer(&original, "restored"), Answer::Right);
}

#[test]
fn two_swapped_blocks_are_noticed() {
    let original = build();
    for (path, bytes) in original.files.iter().filter(|(path, _)| path.ends_with(".sst")) {
        let file = original.fs.open(path, OpenMode::ReadWrite).unwrap();
        for distance in [512, 1024] {
            for at in (0..bytes.len().saturating_sub(distance + 512)).step_by(512) {
                file.write_at(&bytes[at + distance..at + distance + 512], at as u64).unwrap();
                file.write_at(&bytes[at..at + 512], (at + distance) as u64).unwrap();
                answer(&original, &format!("{path}, {at} and {} swapped", at + distance));
                file.write_at(bytes, 0).unwrap();
            }
        }
    }
    // Two whole tables.
    let tables: Vec<_> = original.files.iter().filter(|(path, _)| path.ends_with(".sst")).collect();
    for pair in tables.windows(2) {
        let [(a, a_bytes), (b, b_bytes)] = pair else { continue };
        let write = |path: &str, bytes: &[u8]| {
            let file = original.fs.open(path, OpenMode::ReadWrite).unwrap();
            file.write_at(bytes, 0).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
        };
        write(a, b_bytes);
        write(b, a_bytes);
        assert_eq!(answer(&original, &format!("{a} and {b} swapped")), Answer::Refused);
        write(a, a_bytes);
        write(b, b_bytes);
    }
}
