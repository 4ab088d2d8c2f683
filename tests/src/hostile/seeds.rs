//! Inputs to start from: real files, made by the engine as it is, and their parts.
//!
//! The same code gives the same bytes: nothing here draws a number or asks a clock.

use std::sync::{Arc, OnceLock};

use nokv_core::engine::{Engine, EngineOptions};
use nokv_core::formats::block::{TRAILER_BYTES, split_raw_len};
use nokv_core::formats::envelope::Sections;
use nokv_core::formats::journal::{Entry, Op as JournalOp};
use nokv_core::formats::manifest::Group;
use nokv_core::formats::table::{FOOTER_BYTES, Footer, Index};
use nokv_core::formats::vlog::record_len;
use nokv_core::formats::walfs::{Found, HEADER_BYTES, Position, Scanner, Truncation};
use nokv_core::formats::{CfId, EntryRef, KeyRef, Kind, NEVER, RangeDelete, Seq, ValuePtr, Version};
use nokv_core::manifest::{RaftPointer, RegionEpoch, RegionMeta, RegionPeer, RegionState};
use nokv_core::table::{Compression, TableBuilder, TableOptions, is_available};
use nokv_core::vfs::Vfs;
use nokv_core::wal::record_log::Record as NewRecord;
use nokv_core::wal::{BatchLog, BatchLogConfig, Journal, Log, LogOptions, RecordLog, Section, SyncMode};
use nokv_core::write::WriteBatch;
use nokv_index_skiplist::Skiplist;
use nokv_vfs_mem::MemFs;

use super::engine::{environment, options};
use super::image::{self, File};
use super::logs;
use crate::crash::drive::{DIR, write};
use crate::crash::track::Op;

/// The seeds of a target.
///
/// # Panics
/// If there is no such target, or the engine does not do its work.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "varint" => vec![vec![0, 1, 0x7f, 0x80, 1, 0xff, 0xff, 3], [&[0xff; 9][..], &[1]].concat()],
        "names" => texts(&["000001.sst", "18446744073709551615.sst", "000000001.wal", "4294967295.wal"]),
        "batch" => sections().into_iter().map(|(_, bytes)| bytes).chain([batch()]).collect(),
        "value_ptr" => {
            vec![ValuePtr { bucket: 1, segment: 2, offset: 3 << 33, value_len: 4 }.to_bytes().to_vec()]
        }
        "value_log" => of_kind(".vlog"),
        "current" => {
            let all = of_kind("CURRENT");
            let twice = all.iter().map(|one| [&one[..], one].concat()).collect();
            [all, twice].concat()
        }
        "manifest" => [of_kind("MANIFEST"), groups()].concat(),
        "journal_record" => journal_records(),
        "envelope" => frames(),
        "walfs_segment" => of_kind(".wal"),
        "walfs_index" => walfs_indexes(),
        "walfs_truncation" => {
            [Truncation::Reset, Truncation::Cut { end: Position { segment: 3, offset: 128 }, entries: 2 }]
                .map(|truncation| truncation.to_bytes().to_vec())
                .to_vec()
        }
        "filter" => parts(Footer::filter),
        "range_deletes" => parts(Footer::ranges),
        "table_props" => parts(Footer::props),
        "table_index" => {
            let with_end = |(table, footer): (Vec<u8>, Footer)| {
                let end = (footer.blocks_end as u32).to_le_bytes();
                [&end[..], body(&table, footer.index())].concat()
            };
            tables().into_iter().map(with_end).collect()
        }
        "table_footer" => tables().into_iter().map(|(t, _)| t[t.len() - FOOTER_BYTES..].to_vec()).collect(),
        "stored_block" | "block" => blocks(target == "stored_block"),
        "table_file" => tables().into_iter().map(|(table, _)| table).collect(),
        "ingest" => [Compression::None, Compression::Lz4]
            .into_iter()
            .filter(|codec| is_available(*codec))
            .map(|codec| table(codec, true))
            .collect(),
        "log" | "segment_file" => log_images(),
        "record_log" => vec![record_log()],
        "journal" => vec![journal()],
        "batch_log" => vec![batch_log()],
        "manifest_files" => manifest_files(),
        "open" | "repair" => databases().iter().map(|files| image::encode(files)).collect(),
        "options" => vec![nokv::Options::new("dir").to_toml().into_bytes(), OPTIONS.as_bytes().to_vec()],
        "deb822" => {
            texts(&["Package: a\nVersion: 1\n more\n\nPackage:\tb\n# c\nX: y\n", "\r\n\r\nPACKAGE: c\r\n"])
        }
        "tsv" => texts(&["a\tb\nc\\t\\x00\t\\\\d\n", "no tab\n", "\t\n"]),
        "jsonl" => texts(&[
            "{\"key\":\"a\",\"value\":\"b\"}\n\n{\"key_hex\":\"00ff\",\"value_hex\":\"\"}\n",
            "{\"id\":\"x\\u00e9\",\"o\":[1,{\"a\":null}]}\n{\"id\":-1.5e3}\n",
        ]),
        "arguments" => {
            texts(&["a\\x00\\t\\\\", "9090", "http://localhost:80/debug/vars", "[::1]:1", "ab\u{7f}é"])
        }
        "ops" => ops(),
        other => panic!("no seeds for {other}"),
    }
}

const OPTIONS: &str =
    "mem_table_bytes = \"8MiB\"\nvalue_log_gc_interval = \"5m\"\nblock_bytes = 4096\n# end\n";

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn batch() -> Vec<u8> {
    let mut batch = WriteBatch::new();
    let cf = CfId(300);
    let done = batch
        .put(cf, b"key", b"value")
        .and_then(|()| batch.put_expiring(cf, b"", b"", 1 << 40))
        .and_then(|()| batch.put_versioned(cf, b"key", Version(9), b"old", 7))
        .and_then(|()| batch.delete(cf, b"gone"))
        .and_then(|()| batch.delete_versioned(cf, b"gone", Version(1 << 63)))
        .and_then(|()| batch.purge(cf, b"p", Version(3)))
        .and_then(|()| batch.delete_range(cf, b"a", b"b"));
    done.expect("within limits");
    batch.encoded().to_vec()
}

fn put(cf: u32, key: &str, value: &[u8]) -> Op {
    Op::Put(cf, key.as_bytes().to_vec(), Arc::from(value))
}

/// A database with everything: levels, range deletes, versions, a value log, a second family, a log, a raft group.
fn database(fs: &MemFs, stop: Stop) -> Vec<File> {
    let options = EngineOptions { value_threshold_bytes: 300, ..options() };
    let engine = Engine::<MemFs, Skiplist>::open(fs.clone(), DIR, options, environment()).expect("new");
    let extra = engine.create_family("extra").expect("family").0;
    for i in 0..24u8 {
        let ops = [put(0, &format!("key{i:02}"), &[i; 30]), put(extra, &format!("k{}", i % 5), &[i])];
        write(&engine, &ops, true).expect("write");
    }
    for i in 0..3u8 {
        write(&engine, &[put(0, &format!("large{i}"), &[i + 1; 310])], true).expect("write");
        let version = Op::PutVersion(1, b"versioned".to_vec(), 10 + u64::from(i), Arc::from([i; 9]));
        write(&engine, &[version], true).expect("write");
    }
    engine.flush_all().expect("flush");
    while !engine.compact_range_step(CfId(0), None, None).expect("compact") {}
    let ops = [
        Op::DeleteRange(0, b"key03".to_vec(), b"key06".to_vec()),
        Op::Delete(0, b"key10".to_vec()),
        put(0, "large1", &[9; 400]),
    ];
    write(&engine, &ops, true).expect("write");
    engine.flush_all().expect("flush");
    let pointer = RaftPointer { group: 5, applied_index: 3, committed: 4, ..RaftPointer::default() };
    engine.set_raft_pointer(pointer).expect("pointer");
    engine.set_region(&region()).expect("region");
    for i in 0..3u8 {
        write(&engine, &[put(0, &format!("logged{i}"), &[i; 20])], true).expect("write");
    }
    match stop {
        Stop::Clean => engine.close().expect("close"),
        Stop::Killed => {
            engine.sync().expect("sync");
            write(&engine, &[put(0, "unsynced", b"x")], true).expect("write");
        }
    }
    drop(engine);
    image::take(fs, DIR)
}

#[derive(Clone, Copy)]
enum Stop {
    Clean,
    Killed,
}

fn region() -> RegionMeta {
    RegionMeta {
        id: 5,
        start_key: b"a".to_vec(),
        end_key: b"z".to_vec(),
        epoch: RegionEpoch { version: 2, conf_version: 1 },
        peers: vec![RegionPeer { store_id: 1, peer_id: 11 }, RegionPeer { store_id: 2, peer_id: 12 }],
        state: RegionState::Running,
    }
}

fn databases() -> &'static [Vec<File>] {
    static DATABASES: OnceLock<Vec<Vec<File>>> = OnceLock::new();
    DATABASES.get_or_init(|| [Stop::Clean, Stop::Killed].map(|stop| database(&MemFs::new(), stop)).to_vec())
}

/// Files of both databases whose path contains `part`, without the zeros at the end.
fn of_kind(part: &str) -> Vec<Vec<u8>> {
    let files = databases().iter().flatten().filter(|file| file.path.contains(part));
    let cut = |file: &File| {
        let used = file.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        file.bytes[..(used + 64).min(file.bytes.len())].to_vec()
    };
    let mut found: Vec<_> = files.map(cut).collect();
    found.sort();
    found.dedup();
    found
}

fn groups() -> Vec<Vec<u8>> {
    let whole = of_kind("MANIFEST");
    let mut groups = Vec::new();
    for manifest in &whole {
        let mut at = 0;
        while let Ok((_, len)) = Group::decode(&manifest[at..]) {
            groups.push(manifest[at..at + len].to_vec());
            at += len;
        }
    }
    groups
}

fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for segment in of_kind(".wal") {
        let mut scanner = Scanner::new(&segment);
        while let Found::Record(frame) = scanner.step() {
            if frames.len() < 12 {
                frames.push(frame.payload.to_vec());
            }
        }
    }
    frames
}

fn sections() -> Vec<(u8, Vec<u8>)> {
    let envelope = nokv_core::formats::envelope::ENVELOPE_BYTES;
    let mut all = Vec::new();
    for frame in frames() {
        let sections = Sections::new(frame.get(envelope..).unwrap_or_default());
        all.extend(sections.flatten().map(|section| (section.kind, section.bytes.to_vec())));
    }
    all
}

/// A table of every kind of entry; one without pointers and range deletes can be ingested.
fn table(compression: Compression, plain: bool) -> Vec<u8> {
    let fs = MemFs::new();
    let file = fs.create("t").expect("a new file");
    let table_options = TableOptions {
        block_bytes: 256,
        restart_interval: 3,
        compression,
        seqs: (Seq(5), Seq(60)),
        ..TableOptions::new(record_len)
    };
    let mut builder = TableBuilder::new(file, "t", table_options, 0x77).expect("a builder");
    let pointer = ValuePtr { bucket: 1, segment: 1, offset: 32, value_len: 400 }.to_bytes();
    for i in 0..30u64 {
        let key = format!("table-key-{i:03}");
        let cf = CfId(u32::from(i >= 20));
        let versions: &[u64] = if i % 7 == 0 { &[u64::MAX, 9, 4] } else { &[u64::MAX] };
        for version in versions {
            let kind = match i % 5 {
                1 if !plain => Kind::Pointer,
                2 => Kind::Delete,
                3 if *version != u64::MAX => Kind::Purge,
                _ => Kind::Put,
            };
            let value: &[u8] = match kind {
                Kind::Pointer => &pointer,
                Kind::Put => b"value value value value value value",
                _ => &[],
            };
            let entry = EntryRef {
                version: Version(*version),
                seq: Seq(10 + i),
                kind,
                meta: (i % 3) as u8,
                expires_at: if i % 11 == 0 && kind == Kind::Put { 1 << 41 } else { NEVER },
                value,
            };
            builder.add(KeyRef::new(cf, key.as_bytes()), &entry).expect("an entry");
        }
    }
    if !plain {
        for (start, end) in [("a", "b"), ("table-key-003", "table-key-009")] {
            let range = RangeDelete { cf: CfId(0), start: start.into(), end: end.into(), seq: Seq(50) };
            builder.add_range_delete(&range);
        }
    }
    builder.finish().expect("a table");
    fs.contents("t").expect("a table")
}

fn tables() -> Vec<(Vec<u8>, Footer)> {
    let built = [Compression::None, Compression::Lz4].into_iter().filter(|codec| is_available(*codec));
    let mut tables: Vec<Vec<u8>> = built.map(|codec| table(codec, false)).collect();
    tables.extend(of_kind(".sst"));
    let footer = |table: &[u8]| {
        Footer::decode(&table[table.len() - FOOTER_BYTES..], table.len() as u64).expect("a footer")
    };
    tables.into_iter().map(|table| (table.clone(), footer(&table))).collect()
}

fn body(table: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    let part = &table[range.start as usize..range.end as usize];
    &part[..part.len().saturating_sub(TRAILER_BYTES)]
}

/// A section of each table.
fn parts(range: fn(&Footer) -> std::ops::Range<u64>) -> Vec<Vec<u8>> {
    tables().iter().map(|(table, footer)| body(table, range(footer)).to_vec()).collect()
}

fn blocks(stored: bool) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    for (table, footer) in tables() {
        let index = Index::decode(body(&table, footer.index()), footer.blocks_end).expect("an index");
        for (at, len) in (0..index.blocks()).filter_map(|i| index.block(i)).take(3) {
            let block = &table[at as usize..(at + len) as usize];
            let (payload, trailer) = block.split_at(block.len() - TRAILER_BYTES);
            if stored {
                blocks.push(block.to_vec());
            } else if trailer[0] == 0 {
                blocks.push(payload.to_vec());
            } else {
                assert!(split_raw_len(payload).is_ok());
            }
        }
    }
    blocks
}

fn journal_entries() -> [Entry<'static>; 3] {
    let put = Entry { op: JournalOp::Put, entity: "table", key: "k", data: Some(b"data"), timestamp_ns: 1 };
    [
        put,
        Entry { op: JournalOp::Delete, entity: "", key: "é", data: None, timestamp_ns: i64::MIN },
        Entry { data: Some(b""), ..put },
    ]
}

fn journal_records() -> Vec<Vec<u8>> {
    let mut records = vec![nokv_core::formats::journal::mark().to_vec()];
    for entry in journal_entries() {
        let mut record = Vec::new();
        entry.encode(&mut record);
        records.push(record);
    }
    records
}

fn log_images() -> Vec<Vec<u8>> {
    let mut images = Vec::new();
    for (indexed, close) in [(true, true), (false, true), (true, false)] {
        let fs = MemFs::new();
        let options = LogOptions { segment_bytes: 512, marker: 7, ..logs::options() };
        let log = Log::open(fs.clone(), logs::DIR, options).expect("a new log");
        for i in 1..=14u64 {
            let payload = vec![i as u8; 5 * i as usize];
            log.append(&payload, if indexed { 100 + i } else { 0 }).expect("an append");
        }
        if close {
            log.close().expect("close");
        }
        drop(log);
        images.push(image::encode(&image::take(&fs, logs::DIR)));
    }
    let mut with_truncation = image::parse(&images[0]);
    let cut = Truncation::Cut { end: Position { segment: 2, offset: 64 }, entries: 0 };
    with_truncation.push(File { path: "log/walfs.truncate".to_owned(), bytes: cut.to_bytes().to_vec() });
    images.push(image::encode(&with_truncation));
    images
}

/// The header of a sealed segment, and its index file.
fn walfs_indexes() -> Vec<Vec<u8>> {
    let files = image::parse(&log_images()[0]);
    let mut found = Vec::new();
    for index in files.iter().filter(|file| file.path.ends_with(".idx")) {
        let segment = files.iter().find(|file| Some(&file.path[..]) == index.path.strip_suffix(".idx"));
        let segment = segment.expect("the segment of an index");
        found.push([&segment.bytes[..HEADER_BYTES], &index.bytes].concat());
    }
    assert!(!found.is_empty(), "a sealed segment has an index");
    found
}

fn record_log() -> Vec<u8> {
    let fs = MemFs::new();
    let log = RecordLog::open(fs.clone(), logs::DIR, logs::record_log_options()).expect("a new log");
    for id in 20..32u64 {
        let data = vec![id as u8; 3 * id as usize];
        log.append(&[NewRecord { id, data: &data }]).expect("an append");
    }
    log.close().expect("close");
    drop(log);
    image::encode(&image::take(&fs, logs::DIR))
}

fn journal() -> Vec<u8> {
    let fs = MemFs::new();
    let options = LogOptions { segment_bytes: 1024, ..logs::options() };
    let journal =
        Journal::open_with(fs.clone(), logs::DIR, SyncMode::Always, options).expect("a new journal");
    for entry in journal_entries() {
        journal.append(&entry).expect("an append");
    }
    journal.truncate().expect("truncate");
    for entry in journal_entries() {
        journal.append(&entry).expect("an append");
    }
    journal.close().expect("close");
    drop(journal);
    image::encode(&image::take(&fs, logs::DIR))
}

fn batch_log() -> Vec<u8> {
    let fs = MemFs::new();
    let config = BatchLogConfig { segment_bytes: logs::SEGMENT_BYTES, db_id: logs::DB_ID };
    let log = BatchLog::create(&fs, logs::WAL, config, 1).expect("a new log");
    let ops = batch();
    for i in 0..4u64 {
        // The last batch does not fit one segment.
        let long = vec![i as u8; if i == 3 { 6000 } else { 100 }];
        let sections =
            [Section { kind: 1, group: 0, parts: &[&ops] }, Section { kind: 2, group: 5, parts: &[&long] }];
        log.append(Seq(1 + 7 * i), &sections).expect("an append");
        log.sync().expect("sync");
    }
    log.append(Seq(29), &[Section { kind: 200, group: 1 << 40, parts: &[b"unsynced"] }]).expect("an append");
    drop(log);
    image::encode(&image::take(&fs, logs::WAL))
}

fn manifest_files() -> Vec<Vec<u8>> {
    let of_manifest = |files: &Vec<File>| {
        let kept = files.iter().filter(|f| f.path.contains("MANIFEST") || f.path.contains("CURRENT"));
        let moved = kept.map(|file| File {
            path: file.path.replace(&format!("{DIR}/"), &format!("{}/", logs::MANIFEST)),
            bytes: file.bytes.clone(),
        });
        moved.collect::<Vec<_>>()
    };
    let mut images: Vec<Vec<File>> = databases().iter().map(of_manifest).collect();
    // Two slots, as where there is no atomic rename.
    let mut slots = images[0].clone();
    if let Some(current) = slots.iter_mut().find(|file| file.path.ends_with("CURRENT")) {
        current.path.push_str("-A");
        let other = File { path: current.path.replace("-A", "-B"), bytes: current.bytes.clone() };
        slots.push(other);
    }
    images.push(slots);
    images.iter().map(|files| image::encode(files)).collect()
}

fn ops() -> Vec<Vec<u8>> {
    let long: Vec<u8> = (0..400u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let small = [
        &[0, 0, 3, 2, 1, 0, 4, 7][..],
        &[12, 3, 0, 0, 5, 3, 6, 0, 1, 9, 7, 1, 3, 4],
        &[14, 22, 4, 0, 3, 15, 0, 16, 0, 0, 17, 0, 0, 17, 0, 0, 18, 0, 0, 19, 0, 5, 20, 0, 5, 21, 0, 0],
        &[23, 0, 24, 25, 26, 29, 27, 28, 30, 0, 3],
    ];
    vec![long, small.concat()]
}
