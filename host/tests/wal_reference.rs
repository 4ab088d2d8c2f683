//! `nokv wal append` against the published text of the walfs format: a reader written here from that text, byte by byte,
//! which shares no code with the project, reads what the command wrote, also at instants at which it is stopped.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Far above what any wait here takes; it ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// CRC-32C, reflected, from its polynomial.
struct Crc([u32; 256]);

impl Crc {
    fn new() -> Self {
        let mut table = [0; 256];
        for (i, entry) in table.iter_mut().enumerate() {
            let mut crc = i as u32;
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
            *entry = crc;
        }
        Self(table)
    }

    fn of(&self, bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, b| self.0[(crc as u8 ^ b) as usize] ^ crc >> 8)
    }
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// One segment as the text describes it.
#[derive(Debug)]
struct Segment {
    write_offset: usize,
    entry_count: u64,
    sealed: bool,
    active: bool,
    first_log_index: u64,
    /// Offset and payload.
    records: Vec<(usize, Vec<u8>)>,
    /// Where the records end.
    end: usize,
    /// Is all of the rest zero?
    zeros_behind: bool,
}

/// "The first 64 bytes contain segment metadata"; then "each record is written in its own 8-byte aligned frame".
fn read_segment(crc: &Crc, bytes: &[u8], what: &str) -> Segment {
    assert_eq!(number(bytes, 0, 4), 0x5557_414c, "{what}: magic");
    assert_eq!(number(bytes, 4, 4), 1, "{what}: version");
    assert_eq!(number(bytes, 56, 4) as u32, crc.of(&bytes[..56]), "{what}: the CRC of the header");
    assert_eq!(number(bytes, 60, 4), 0, "{what}: padding of the header");
    let flags = number(bytes, 40, 4);
    let mut segment = Segment {
        write_offset: number(bytes, 24, 8) as usize,
        entry_count: number(bytes, 32, 8),
        sealed: flags & 2 != 0,
        active: flags & 8 != 0,
        first_log_index: number(bytes, 44, 8),
        records: vec![],
        end: 64,
        zeros_behind: false,
    };
    while let Some(payload) = read_record(crc, bytes, segment.end) {
        let frame = (8 + payload.len() + 8).next_multiple_of(8);
        segment.records.push((segment.end, payload));
        segment.end += frame;
    }
    segment.zeros_behind = bytes[segment.end..].iter().all(|b| *b == 0);
    segment
}

/// CRC of length and data, length, data, canary, zero padding.
fn read_record(crc: &Crc, bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    if at + 16 > bytes.len() {
        return None;
    }
    let len = number(bytes, at + 4, 4) as usize;
    let tail = at + 8 + len;
    let end = at + (8 + len + 8).next_multiple_of(8);
    let canary = [0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed, 0xfa, 0xce];
    let whole = end <= bytes.len()
        && number(bytes, at, 4) as u32 == crc.of(&bytes[at + 4..tail])
        && bytes[tail..tail + 8] == canary
        && bytes[tail + 8..end].iter().all(|b| *b == 0);
    whole.then(|| bytes[at + 8..tail].to_vec())
}

/// The segment files of a directory by number, as they are now.
fn image(dir: &Path) -> BTreeMap<u32, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("text");
        // A segment that is being made has another name.
        if let Some(Ok(n)) = name.strip_suffix(".wal").filter(|n| n.len() == 9).map(str::parse) {
            found.insert(n, fs::read(&path).expect("a readable file"));
        }
    }
    found
}

fn line(i: u64) -> String {
    let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{i} {mixed:016x} {}", "x".repeat((mixed >> 40) as usize % 700))
}

fn append(dir: &str, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_nokv"))
        .args(["wal", "append", dir])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

fn finish(child: Child) -> String {
    let output = child.wait_with_output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Checks that `segments` follow each other and hold `lines` in order, from `first_index` on (0 for none).
fn check_whole(segments: &BTreeMap<u32, Vec<u8>>, lines: u64, first_index: u64) {
    let crc = Crc::new();
    let mut next = 0;
    let last = *segments.keys().last().expect("a segment");
    for ((number, bytes), expected) in segments.iter().zip(1..) {
        assert_eq!(*number, expected, "segments are numbered from 1 on");
        let s = read_segment(&crc, bytes, &format!("segment {number}"));
        assert_eq!((s.sealed, s.active), (*number != last, *number == last), "segment {number}");
        assert!(s.zeros_behind, "segment {number}");
        assert_eq!((s.write_offset, s.entry_count), (s.end, s.records.len() as u64), "segment {number}");
        if !s.records.is_empty() {
            let index = if first_index == 0 { 0 } else { first_index + next };
            assert_eq!(s.first_log_index, index, "segment {number}");
        }
        for (at, payload) in &s.records {
            assert!(*payload == line(next).into_bytes(), "segment {number} offset {at}: not line {next}");
            next += 1;
        }
    }
    assert_eq!(next, lines);
}

#[test]
fn the_check_value_of_the_crc() {
    assert_eq!(Crc::new().of(b"123456789"), 0xe306_9283);
}

#[test]
fn a_reader_of_the_published_text_decodes_what_append_wrote() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, args, first_index) in [
        ("plain", &["--segment-bytes", "65536"][..], 0),
        ("indexed", &["--segment-bytes", "32768", "--index", "100"], 100),
        ("synced", &["--segment-bytes", "65536", "--sync"], 0),
    ] {
        let log = dir.path().join(name);
        let log_name = log.to_str().expect("text");
        // In three runs: a log that is opened again goes on where it was.
        for part in 0..3 {
            // The index is the log's own from the second run on.
            let args = if part == 0 { args } else { &args[..2] };
            let mut child = append(log_name, args);
            let mut stdin = child.stdin.take().expect("a pipe");
            for i in part * 200..part * 200 + 200 {
                writeln!(stdin, "{}", line(i)).expect("it reads");
            }
            drop(stdin);
            assert!(finish(child).contains("200"));
        }
        let segments = image(&log);
        assert!(segments.len() > 2, "{name}: {} segments", segments.len());
        check_whole(&segments, 600, first_index);
    }
}

#[test]
fn values_of_the_command_line_are_records() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let name = dir.path().to_str().expect("text");
    finish(append(name, &["--value", "one", "--value", "", "--value=-two"]));
    finish(append(name, &["--hex", "00ff0a", "--hex", ""]));
    let crc = Crc::new();
    let s = read_segment(&crc, &image(dir.path())[&1], "segment 1");
    let payloads: Vec<&[u8]> = s.records.iter().map(|(_, p)| p.as_slice()).collect();
    assert_eq!(payloads, [&b"one"[..], b"", b"-two", &[0, 0xff, 0x0a], b""]);
    assert_eq!(s.write_offset, s.end);
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
}

/// The letter that the system has for the state of the process.
fn state(child: &Child) -> char {
    let text = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it is there");
    let behind_name = text.rsplit(')').next().expect("a name in brackets");
    behind_name.trim_start().chars().next().expect("a state")
}

/// What must hold in an image of a running `append`.
fn check_image(crc: &Crc, segments: &BTreeMap<u32, Vec<u8>>, what: &str) -> u64 {
    let mut next = 0;
    let mut ended = None;
    for (number, bytes) in segments {
        let what = format!("{what}, segment {number}");
        let s = read_segment(crc, bytes, &what);
        let (before, behind): (Vec<_>, Vec<_>) = s.records.iter().partition(|(at, _)| *at < s.write_offset);
        // Every record up to the header's write offset decodes, and there are as many as it says.
        assert_eq!(before.len() as u64, s.entry_count, "{what}");
        assert!(s.end >= s.write_offset, "{what}: records end at {}", s.end);
        assert!(!s.sealed || behind.is_empty() && s.end == s.write_offset && s.zeros_behind, "{what}");
        if let Some(ended) = ended {
            assert!(s.records.is_empty(), "{what}: records behind a torn one in segment {ended}");
        }
        if !s.zeros_behind {
            ended = Some(*number);
        }
        for (at, payload) in &s.records {
            assert!(*payload == line(next).into_bytes(), "{what}, offset {at}: not line {next}");
            next += 1;
        }
    }
    next
}

fn stopped_at_many_instants(name: &str, args: &[&str], stops: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = dir.path().join(name);
    let mut child = append(log.to_str().expect("text"), args);
    let mut stdin = child.stdin.take().expect("a pipe");
    let enough = AtomicBool::new(false);
    let crc = Crc::new();
    let (fed, seen) = std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let mut fed = 0;
            while !enough.load(Ordering::Relaxed) {
                writeln!(stdin, "{}", line(fed)).expect("it reads");
                fed += 1;
            }
            drop(stdin);
            fed
        });
        let start = Instant::now();
        while image_is_empty(&log) {
            assert!(start.elapsed() < PATIENCE, "no segment appears");
            std::thread::yield_now();
        }
        let mut seen = vec![];
        for stop in 0..stops {
            signal(&child, "STOP");
            while state(&child) != 'T' {
                assert!(start.elapsed() < PATIENCE, "it does not stop");
                std::thread::yield_now();
            }
            seen.push(check_image(&crc, &image(&log), &format!("{name}, stop {stop}")));
            signal(&child, "CONT");
            // It goes on for a while that differs from stop to stop.
            let until = *seen.last().expect("just pushed") + stop % 7;
            while records_now(&crc, &log) < until {
                assert!(start.elapsed() < PATIENCE, "it does not go on");
            }
        }
        enough.store(true, Ordering::Relaxed);
        (feeder.join().expect("no panic"), seen)
    });
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.last() > seen.first(), "it appended meanwhile");
    finish(child);
    check_whole(&image(&log), fed, 0);
}

fn image_is_empty(log: &Path) -> bool {
    !log.exists() || image(log).is_empty()
}

/// Records of the newest segments, without checks: the process runs meanwhile.
fn records_now(crc: &Crc, log: &Path) -> u64 {
    image(log)
        .values()
        .map(|bytes| {
            let mut at = 64;
            let mut count = 0;
            while let Some(payload) = read_record(crc, bytes, at) {
                at += (8 + payload.len() + 8).next_multiple_of(8);
                count += 1;
            }
            count
        })
        .sum()
}

#[test]
fn the_header_and_what_it_claims_hold_at_every_instant_synced() {
    stopped_at_many_instants("synced", &["--segment-bytes", "65536", "--sync"], 150);
}

#[test]
fn the_header_and_what_it_claims_hold_at_every_instant() {
    stopped_at_many_instants("unsynced", &["--segment-bytes", "16384"], 60);
}
