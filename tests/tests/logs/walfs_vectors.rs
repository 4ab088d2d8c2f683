//! The walfs vectors through the public log: files of the original, and damaged copies of them.

use std::fs;
use std::path::{Path, PathBuf};

use nokv_core::Error;
use nokv_core::clock::ManualClock;
use nokv_core::sync::Arc;
use nokv_core::wal::{EndState, Log, LogOptions, Next, OnDamage, Position, dump};
use nokv_vfs_std::StdFs;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    position: Position,
    log_index: u64,
    payload: Vec<u8>,
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/walfs")
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

struct Vector {
    dir: String,
    segment_size: u64,
    marker: u32,
    sealed: Vec<u32>,
    write_offset: Vec<(u32, u64)>,
    records: Vec<Expected>,
}

fn load() -> Vec<Vector> {
    let text = fs::read_to_string(vectors().join("vectors.json")).unwrap();
    let list: Vec<Value> = serde_json::from_str(&text).unwrap();
    list.iter()
        .map(|v| Vector {
            dir: v["dir"].as_str().unwrap().to_string(),
            segment_size: v["segment_size"].as_u64().unwrap(),
            marker: v["custom_marker"].as_u64().unwrap() as u32,
            sealed: v["sealed_segments"]
                .as_array()
                .map_or(vec![], |a| a.iter().map(|n| n.as_u64().unwrap() as u32).collect()),
            write_offset: v["write_offset"].as_object().map_or(vec![], |m| {
                m.iter().map(|(k, v)| (k.parse().unwrap(), v.as_u64().unwrap())).collect()
            }),
            records: v["records"].as_array().map_or(vec![], |a| {
                a.iter()
                    .map(|r| Expected {
                        position: Position {
                            segment: r["segment"].as_u64().unwrap() as u32,
                            offset: r["offset"].as_u64().unwrap(),
                        },
                        log_index: r["log_index"].as_u64().unwrap(),
                        payload: hex(r["data_hex"].as_str().unwrap()),
                    })
                    .collect()
            }),
        })
        .collect()
}

fn vector(name: &str) -> Vector {
    load().into_iter().find(|v| v.dir == name).unwrap()
}

/// A copy of a vector's files that may be written.
fn copy(name: &str) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(vectors().join(name)).unwrap() {
        let entry = entry.unwrap();
        fs::write(to.path().join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
    }
    to
}

fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_name() != "walfs.lock")
        .map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn open(dir: &Path, read_only: bool, on_damage: OnDamage, segment_bytes: u64) -> Result<Log<StdFs>, Error> {
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let options = LogOptions {
        read_only,
        on_damage,
        segment_bytes,
        create: false,
        clock: Some(clock),
        ..LogOptions::default()
    };
    Log::open(StdFs::new(), dir.to_str().unwrap(), options)
}

/// Reads until there is no record; gives them and the error, if there was one.
fn read_all(log: &Log<StdFs>) -> (Vec<Expected>, Option<Error>) {
    let mut reader = log.reader();
    let mut out = vec![];
    loop {
        match reader.next() {
            Ok(Next::Record(r)) => {
                out.push(Expected {
                    position: r.position,
                    log_index: r.log_index,
                    payload: r.payload.to_vec(),
                });
            }
            Ok(_) => return (out, None),
            Err(e) => return (out, Some(e)),
        }
    }
}

const READABLE: [&str; 8] =
    ["basic", "rotated", "batch", "marker", "torn-trailer", "wild-length", "stale-header", "torn-header"];

fn expected(name: &str) -> Vec<Expected> {
    vector(if name == "torn-header" { "basic" } else { name }).records
}

#[test]
fn every_vector_is_read_and_reading_writes_nothing() {
    for name in READABLE {
        let dir = copy(name);
        let before = snapshot(dir.path());
        let log = open(dir.path(), true, OnDamage::Refuse, 4096).unwrap();
        let (records, error) = read_all(&log);
        assert_eq!(error, None, "{name}");
        assert_eq!(records, expected(name), "{name}");
        for record in &records {
            assert_eq!(log.read(record.position).unwrap(), record.payload, "{name}");
        }
        let mut shown = dump(StdFs::new(), dir.path().to_str().unwrap(), ".wal").unwrap();
        for record in &records {
            let found = shown.next().unwrap().unwrap();
            assert_eq!((found.position, found.log_index), (record.position, record.log_index), "{name}");
            assert_eq!(found.payload, record.payload, "{name}");
        }
        assert_eq!(shown.next().unwrap(), None, "{name}");
        let torn = matches!(shown.end_state(), EndState::TornTail { whole_records_behind: 0, .. });
        assert_eq!(torn, ["torn-trailer", "wild-length"].contains(&name), "{name}: {:?}", shown.end_state());
        assert!(snapshot(dir.path()) == before, "{name}: reading wrote");
    }
}

#[test]
fn headers_and_ends_are_those_of_the_list() {
    for name in READABLE.into_iter().filter(|n| *n != "torn-header") {
        let vector = vector(name);
        let dir = copy(name);
        let log = open(dir.path(), true, OnDamage::Refuse, 4096).unwrap();
        for info in log.segments() {
            assert_eq!(info.file_bytes, vector.segment_size, "{name}");
            assert_eq!(info.marker, vector.marker, "{name}");
            assert_eq!(info.sealed, vector.sealed.contains(&info.number), "{name}");
            assert!(vector.write_offset.contains(&(info.number, info.end)), "{name} {info:?}");
        }
        assert_eq!(log.segments().len(), vector.write_offset.len(), "{name}");
    }
}

#[test]
fn every_vector_opens_for_writing_and_goes_on() {
    for name in READABLE {
        let dir = copy(name);
        let mut all = expected(name);
        {
            // A segment size below that of the files cuts nothing off.
            let log = open(dir.path(), false, OnDamage::Refuse, 2048).unwrap();
            let last = all.last().unwrap().log_index;
            for i in 1..=40u64 {
                let payload = vec![i as u8; 100];
                let log_index = if last == 0 { 0 } else { last + i };
                let position = log.append(&payload, log_index).unwrap();
                all.push(Expected { position, log_index, payload });
            }
            assert_eq!(read_all(&log), (all.clone(), None), "{name}");
            log.close().unwrap();
        }
        let log = open(dir.path(), true, OnDamage::Refuse, 4096).unwrap();
        assert_eq!(read_all(&log), (all.clone(), None), "{name} reopened");
        let (_, active) = log.segments().split_last().map(|(a, b)| (a.clone(), b.to_vec())).unwrap();
        for info in active {
            assert!(info.sealed, "{name} {info:?}");
            // The index file that the seal wrote agrees with the records.
            assert_eq!(log.index(info.number).unwrap().len() as u64, info.entries, "{name}");
        }
        let shown = dump(StdFs::new(), dir.path().to_str().unwrap(), ".wal").unwrap();
        assert_eq!(*shown.end_state(), EndState::Clean, "{name}");
    }
}

#[test]
fn index_files_of_the_original_are_used_and_wrong_ones_rebuilt() {
    let dir = copy("rotated");
    let log = open(dir.path(), true, OnDamage::Refuse, 4096).unwrap();
    let records = expected("rotated");
    for segment in [1, 2] {
        let offsets: Vec<_> =
            log.index(segment).unwrap().iter().map(|e| (e.offset, e.len as usize)).collect();
        let expected: Vec<_> = records
            .iter()
            .filter(|r| r.position.segment == segment)
            .map(|r| (r.position.offset, r.payload.len()))
            .collect();
        assert_eq!(offsets, expected);
    }
}

#[test]
fn a_flipped_bit_is_told_with_what_lies_behind_it() {
    let dir = copy("flipped-bit");
    let before = snapshot(dir.path());
    let damage = |e: &Error| match e {
        Error::Corrupt { file, offset, what } => {
            assert!(file.ends_with("000000001.wal"), "{file}");
            assert_eq!(*offset, 184);
            assert!(what.contains("4 whole records behind"), "{what}");
        }
        other => panic!("{other}"),
    };
    let log = open(dir.path(), true, OnDamage::Refuse, 4096).unwrap();
    let (records, error) = read_all(&log);
    assert_eq!(records, expected("flipped-bit"));
    assert_eq!(records.len(), 5);
    damage(&error.unwrap());
    damage(&open(dir.path(), false, OnDamage::Refuse, 4096).map(|_| ()).unwrap_err());
    let shown = dump(StdFs::new(), dir.path().to_str().unwrap(), ".wal").unwrap();
    assert!(matches!(
        shown.end_state(),
        EndState::Damage { segment: 1, offset: 184, whole_records_behind: 4, .. }
    ));
    assert!(snapshot(dir.path()) == before, "refusing wrote");

    let log = open(dir.path(), false, OnDamage::Cut, 4096).unwrap();
    assert_eq!(log.report().cut_at, Some(Position { segment: 1, offset: 184 }));
    assert_eq!(log.report().records_cut, 4);
    assert_eq!(read_all(&log), (expected("flipped-bit"), None));
    drop(log);
    let shown = dump(StdFs::new(), dir.path().to_str().unwrap(), ".wal").unwrap();
    assert_eq!(*shown.end_state(), EndState::Clean);
}

#[test]
fn a_jump_of_the_log_index_starts_a_segment() {
    let dir = copy("basic");
    let log = open(dir.path(), false, OnDamage::Refuse, 4096).unwrap();
    log.append(b"eleven", 11).unwrap();
    let jumped = log.append(b"twenty", 20).unwrap();
    assert_eq!(jumped, Position { segment: 2, offset: 64 });
    log.append(b"twenty-one", 21).unwrap();
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), true, OnDamage::Refuse, 4096).unwrap();
    let (records, _) = read_all(&log);
    let indexes: Vec<_> = records.iter().map(|r| r.log_index).collect();
    assert_eq!(indexes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21]);
}

#[test]
fn two_writers_are_refused() {
    let dir = copy("basic");
    let first = open(dir.path(), false, OnDamage::Refuse, 4096).unwrap();
    assert!(matches!(open(dir.path(), false, OnDamage::Refuse, 4096).map(|_| ()), Err(Error::Locked { .. })));
    drop(first);
    open(dir.path(), false, OnDamage::Refuse, 4096).unwrap();
}
