//! Trees as text, for tests: lines `L1: 3:b..e@5-9 4:...` and `L1 ingest: ...`, a table being
//! `id:smallest..largest[@seq_min-seq_max][#bytes][,name=number]*` with the names `del`, `puts`, `exp` (both ends), `rd`, `val`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::key::KeyBuf;
use nokv_formats::table_props::VlogLive;
use nokv_formats::{CfId, Seq, TableId, TableMeta, TableProps};

use super::Version;
use crate::sync::Arc;

pub(crate) type Tree = Version<Arc<TableMeta>>;

pub(crate) fn key(text: &str) -> KeyBuf {
    KeyBuf { cf: CfId::DEFAULT, user_key: text.as_bytes().to_vec() }
}

/// A table by its word.
pub(crate) fn table(word: &str) -> Arc<TableMeta> {
    let mut parts = word.split(',');
    let mut head = parts.next().unwrap();
    let mut bytes = 100;
    if let Some((rest, size)) = head.split_once('#') {
        (head, bytes) = (rest, size.parse().unwrap());
    }
    let mut seqs = (1, 1);
    if let Some((rest, range)) = head.split_once('@') {
        let (min, max) = range.split_once('-').unwrap_or((range, range));
        (head, seqs) = (rest, (min.parse().unwrap(), max.parse().unwrap()));
    }
    let (id, range) = head.split_once(':').unwrap();
    let (smallest, largest) = range.split_once("..").unwrap_or((range, range));
    let mut props = TableProps {
        smallest: key(smallest),
        largest: key(largest),
        puts: 100,
        seq_min: Seq(seqs.0),
        seq_max: Seq(seqs.1),
        ..TableProps::default()
    };
    for part in parts {
        let (name, value) = part.split_once('=').unwrap();
        let value: u64 = value.parse().unwrap();
        match name {
            "del" => props.deletes = value,
            "puts" => props.puts = value,
            "rd" => props.range_deletes = value,
            "val" => props.live.push(VlogLive { bucket: 0, segment: 1, bytes: value }),
            "exp" => (props.expiry_min, props.expiry_max) = (value, value),
            _ => panic!("{part}"),
        }
    }
    let id = TableId(id.parse().unwrap());
    Arc::new(TableMeta { id, file_bytes: bytes, checksum: 0, global_seq: None, props })
}

/// A tree by its lines.
pub(crate) fn tree(text: &str) -> Tree {
    let mut tables = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (head, words) = line.split_once(':').unwrap();
        let (level, ingest) = match head.trim().split_once(' ') {
            Some((level, "ingest")) => (level, true),
            _ => (head.trim(), false),
        };
        let level: u8 = level.strip_prefix('L').unwrap().parse().unwrap();
        tables.extend(words.split_whitespace().map(|word| (level, ingest, table(word))));
    }
    Version::new(tables)
}

/// The tables of `found`, by number.
pub(crate) fn ids<'a>(found: impl Iterator<Item = &'a Arc<TableMeta>>) -> String {
    found.map(|table| format!("{}", table.id)).collect::<Vec<_>>().join(" ")
}
