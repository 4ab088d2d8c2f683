//! Files whose numbers lie: reading them allocates no more than a fixed amount above what the whole files need.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nokv::core::formats::crc::crc32c;
use nokv::{CfId, Db, IterOptions, Result};
use nokv_tests::small_db::{fill, options, read_only};

use super::alone;
use super::counting::peak_of;

/// What lies may cost. A log segment of these options has 256 KiB.
const BOUND: usize = 1 << 20;

struct Files {
    dir: tempfile::TempDir,
    files: Vec<(PathBuf, Vec<u8>)>,
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

/// A small database with files of every kind; `log_too`: the last writes are in the log alone, as after a kill.
fn build(log_too: bool) -> Files {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("db");
    let db = Db::open(options(at.to_str().unwrap())).unwrap();
    fill(&db, log_too).unwrap();
    let copy = dir.path().join("copy");
    if !log_too {
        db.close().unwrap();
    }
    let mut paths = Vec::new();
    files_below(&at, &mut paths);
    let mut files = Vec::new();
    for path in paths.into_iter().filter(|path| !path.ends_with("LOCK")) {
        let to = copy.join(path.strip_prefix(&at).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&to, &bytes).unwrap();
        files.push((to, bytes));
    }
    db.close().unwrap();
    Files { dir, files }
}

fn read_all(dir: &Path) -> Result<()> {
    let db = Db::open(read_only(dir.to_str().unwrap()))?;
    let checked = db.check_all().map(drop);
    for cf in 0..4 {
        let Ok(iter) = db.iter(IterOptions { cf: CfId(cf), ..IterOptions::default() }) else { continue };
        // An error of one key is no end.
        iter.take(2_000).for_each(drop);
    }
    checked
}

impl Files {
    fn copy(&self) -> PathBuf {
        self.dir.path().join("copy")
    }

    /// The most that reading everything took.
    fn peak(&self) -> (usize, bool) {
        let (peak, result) = peak_of(|| read_all(&self.copy()));
        (peak, result.is_ok())
    }

    /// Writes `bytes` over the file, reads everything, puts the file back.
    fn with(&self, n: usize, at: u64, bytes: &[u8], whole: usize, what: &str) {
        let (path, original) = &self.files[n];
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes, at).unwrap();
        let (peak, _) = self.peak();
        file.set_len(original.len() as u64).unwrap();
        let end = original.len().min(at as usize + bytes.len());
        file.write_all_at(original.get(at as usize..end).unwrap_or_default(), at.min(original.len() as u64))
            .unwrap();
        assert!(peak <= whole + BOUND, "{}, {what} at {at}: {peak} bytes, {whole} without", path.display());
    }
}

/// Numbers as they may stand in a file: fixed and as varints.
const LIES: [&[u8]; 5] = [
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xf0, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x40],
];

#[test]
fn a_number_anywhere_in_a_file_decides_no_allocation() {
    let _alone = alone();
    for log_too in [false, true] {
        let files = build(log_too);
        let (whole, is_fine) = files.peak();
        assert!(is_fine);
        let mut cases = 0;
        for (n, (_, bytes)) in files.files.iter().enumerate() {
            let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
            // Heads and feet whole, the rest in steps that meet every alignment.
            let places = (0..used).filter(|at| *at < 100 || used - at < 90 || at.is_multiple_of(97));
            for at in places {
                let lie = LIES[(at + n) % LIES.len()];
                let lie = &lie[..lie.len().min(bytes.len() - at)];
                files.with(n, at as u64, lie, whole, "a number");
                cases += 1;
            }
        }
        println!("{cases} numbers; whole files take {whole} bytes");
        assert!(cases > 1000, "{cases}");
    }
}

#[test]
fn a_number_below_a_right_checksum_decides_no_allocation() {
    let _alone = alone();
    let files = build(true);
    let (whole, _) = files.peak();
    let mut cases = 0;
    for (n, (path, bytes)) in files.files.iter().enumerate() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("MANIFEST") && !name.ends_with(".wal") {
            continue;
        }
        // Record frames: CRC of length and payload, length, payload, canary.
        let mut start = if name.ends_with(".wal") { 64 } else { 0 };
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        while start + 16 <= bytes.len() && word(start + 4) != 0 {
            let end = start + 8 + word(start + 4) as usize;
            if end > bytes.len() {
                break;
            }
            let inside = start + 8..end;
            for at in inside.clone().filter(|at| at - inside.start < 90 || at.is_multiple_of(31)) {
                let lie = LIES[at % LIES.len()];
                let mut frame = bytes[start..end].to_vec();
                let place = at - start;
                let len = lie.len().min(frame.len() - place);
                frame[place..place + len].copy_from_slice(&lie[..len]);
                let crc = crc32c(&frame[4..]);
                frame[..4].copy_from_slice(&crc.to_le_bytes());
                files.with(n, start as u64, &frame, whole, &format!("a number at {at} in a frame"));
                cases += 1;
            }
            start = (end + 8).next_multiple_of(8);
        }
    }
    // Footers of tables: their ends anywhere, and the CRC right.
    for (n, (path, bytes)) in files.files.iter().enumerate() {
        if path.extension().is_none_or(|extension| extension != "sst") {
            continue;
        }
        let footer = bytes.len() - 72;
        for part in 0..5 {
            for end in [0, 1, footer as u64 / 2, footer as u64, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX]
            {
                let mut stored = bytes[footer..].to_vec();
                // Ends only rise.
                for later in part..5 {
                    let place = 16 + later * 8..24 + later * 8;
                    let now = u64::from_le_bytes(stored[place.clone()].try_into().unwrap());
                    if later == part || now < end {
                        stored[place].copy_from_slice(&end.to_le_bytes());
                    }
                }
                let crc = crc32c(&stored[..60]);
                stored[60..64].copy_from_slice(&crc.to_le_bytes());
                files.with(n, footer as u64, &stored, whole, &format!("end {part} of a footer {end}"));
                cases += 1;
            }
        }
    }
    println!("{cases} numbers below a right checksum");
    assert!(cases > 300, "{cases}");
}

#[test]
fn the_length_of_a_file_decides_no_allocation() {
    let _alone = alone();
    for log_too in [false, true] {
        let files = build(log_too);
        let (whole, _) = files.peak();
        for (n, (_, bytes)) in files.files.iter().enumerate() {
            // Sparse: it takes no space.
            let len = 64u64 << 20;
            files.with(n, len - 1, &[0], whole, "the end of a longer file");
            files.with(n, len - 1, &[1], whole, "a byte at the end of a longer file");
            // Longer than any log segment or manifest: refused unread.
            let name = files.files[n].0.file_name().unwrap().to_str().unwrap();
            if name.starts_with("MANIFEST") || name.ends_with(".wal") {
                files.with(n, (64 << 30) - 1, &[1], whole, "the end of a file of 64 GiB");
            }
            assert_eq!(fs::metadata(&files.files[n].0).unwrap().len(), bytes.len() as u64);
        }
    }
}
