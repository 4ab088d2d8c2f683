//! Tables built, read back, and damaged.

mod damage;
mod disk;
mod golden;
mod model;
mod shared;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::ControlFlow;

use nokv_formats::block::{BlockBuilder, Codec, seal};
use nokv_formats::key::key_hash;
use nokv_formats::{
    CfId, EntryRef, KeyRef, Kind, NEVER, RangeDelete, Seq, TableMeta, ValuePtr, Version, crc,
};

use super::*;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::vfs::Vfs;
use disk::Disk;

const UID: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

/// What an entry holds, apart from its key and stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Body {
    kind: Kind,
    meta: u8,
    expires_at: u64,
    value: Vec<u8>,
}

type Key = (u32, Vec<u8>);
type Versions = BTreeMap<(Reverse<u64>, Reverse<u64>), Body>;
type Model = BTreeMap<Key, Versions>;
type Seen = Vec<(u64, u64, Body)>;

fn as_ref(key: &Key) -> KeyRef<'_> {
    KeyRef::new(CfId(key.0), &key.1)
}

fn put(value: &[u8]) -> Body {
    Body { kind: Kind::Put, meta: 0, expires_at: NEVER, value: value.to_vec() }
}

fn pointer(segment: u32, value_len: u32) -> Body {
    let ptr = ValuePtr { bucket: 1, segment, offset: 99, value_len };
    Body { kind: Kind::Pointer, value: ptr.to_bytes().to_vec(), ..put(b"") }
}

fn add(model: &mut Model, cf: u32, key: &[u8], version: u64, seq: u64, body: Body) {
    model.entry((cf, key.to_vec())).or_default().insert((Reverse(version), Reverse(seq)), body);
}

fn flat(versions: &Versions) -> Seen {
    versions.iter().map(|((version, seq), body)| (version.0, seq.0, body.clone())).collect()
}

fn own(entry: &EntryRef<'_>) -> (u64, u64, Body) {
    let EntryRef { version, seq, kind, meta, expires_at, value } = *entry;
    (version.0, seq.0, Body { kind, meta, expires_at, value: value.to_vec() })
}

fn record_len(key: usize, value: u32) -> u64 {
    100 + key as u64 + u64::from(value)
}

fn options(block_bytes: usize, compression: Compression) -> TableOptions {
    TableOptions { block_bytes, compression, ..TableOptions::new(record_len) }
}

fn build(disk: &Disk, path: &str, model: &Model, ranges: &[RangeDelete], options: TableOptions) -> TableMeta {
    let mut builder = TableBuilder::new(disk.create(path).unwrap(), path, options, UID).unwrap();
    for (key, versions) in model {
        for ((version, seq), body) in versions {
            let entry = EntryRef {
                version: Version(version.0),
                seq: Seq(seq.0),
                kind: body.kind,
                meta: body.meta,
                expires_at: body.expires_at,
                value: &body.value,
            };
            builder.add(as_ref(key), &entry).unwrap();
        }
    }
    ranges.iter().for_each(|range| builder.add_range_delete(range));
    let estimate = builder.estimated_bytes();
    let meta = builder.finish().unwrap();
    assert_eq!(crc::crc32c(&disk.bytes(path)), meta.checksum);
    assert_eq!(disk.bytes(path).len() as u64, meta.file_bytes);
    // Long keys in properties and index are not part of the estimate.
    assert!(estimate + (64 << 10) * 4 > meta.file_bytes, "{estimate} {}", meta.file_bytes);
    assert_eq!(Table::read_meta(disk, path).unwrap(), meta);
    meta
}

fn open(disk: &Disk, path: &str, meta: &TableMeta, cache_bytes: usize) -> Arc<Table<Disk>> {
    let shared = Arc::new(TableShared::new(cache_bytes, 4));
    Arc::new(Table::new(disk.clone(), path, meta.clone(), shared))
}

fn find(table: &Table<Disk>, key: KeyRef<'_>) -> Result<Seen, Error> {
    let mut seen = Vec::new();
    table.find(key, key_hash(key), &mut |entry, block| {
        let range = block.range_of(entry.value).expect("the value lies in its block");
        assert_eq!(&block[range], entry.value);
        seen.push(own(&entry));
        ControlFlow::Continue(())
    })?;
    Ok(seen)
}

/// The rest of the entries of the key under the cursor.
fn entries(cursor: &mut TableCursor<Disk>) -> Result<Seen, Error> {
    let mut seen = Vec::new();
    while let Some(entry) = cursor.entry() {
        seen.push(own(&entry));
        cursor.next_entry()?;
    }
    Ok(seen)
}

/// A block of a few dozen bytes, for the tests of the cache.
pub(super) fn small_block() -> Arc<Block> {
    let key = KeyRef::new(CfId(0), b"key");
    let entry = EntryRef {
        version: Version::MAX,
        seq: Seq(1),
        kind: Kind::Put,
        meta: 0,
        expires_at: NEVER,
        value: b"value",
    };
    let (mut builder, mut out) = (BlockBuilder::new(8), Vec::new());
    builder.begin(&mut out, Seq(0), 1);
    builder.add(&mut out, key, key_hash(key), 0, false, &entry);
    builder.finish(&mut out);
    seal(&mut out, 0, Codec::None, UID, 0);
    out.shrink_to_fit();
    Arc::new(Block::load(out, super::block::Place { file: "t", uid: UID, offset: 0 }).unwrap())
}
