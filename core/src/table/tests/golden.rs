//! The bytes of a tiny table, annotated. They must never change under this format version.

use alloc::string::String;
use core::fmt::Write;

use nokv_formats::block::{BlockRef, HEADER_BYTES, Layout, unseal};
use nokv_formats::table::{FOOTER_BYTES, Footer};

use super::*;

fn line(out: &mut String, bytes: &[u8], at: usize, to: usize, what: &str) {
    for (i, chunk) in bytes[at..to].chunks(16).enumerate() {
        let hex: String = chunk.iter().map(|b| alloc::format!("{b:02x}")).collect();
        let from = at + 16 * i;
        let what = if i == 0 { what } else { "" };
        let text = alloc::format!("{from:3}-{:<3} {hex:32}  {what}", from + chunk.len());
        writeln!(out, "{}", text.trim_end()).unwrap();
    }
}

fn dump(bytes: &[u8], table: &Table<Disk>) -> String {
    let mut out = String::new();
    let index = &table.loaded().unwrap().index;
    for i in 0..index.blocks() {
        let (start, len) = index.block(i).unwrap();
        let (start, end) = (start as usize, (start + len) as usize);
        let (_, payload) = unseal(&bytes[start..end], UID, start as u64).unwrap();
        let layout = Layout::parse(payload).unwrap();
        let block = BlockRef::new(payload, &layout);
        line(&mut out, bytes, start, start + HEADER_BYTES, "block: seq base, width");
        let mut at = HEADER_BYTES;
        while at < layout.entries_end() {
            let entry = block.entry(at).unwrap();
            let what = if entry.is_restart() { "restart" } else { "entry" };
            let view = block.view(&entry);
            let text = alloc::format!("{what} {:?} version {} seq {}", view.kind, view.version, view.seq);
            line(&mut out, bytes, start + at, start + entry.next(), &text);
            at = entry.next();
        }
        let restarts = at + 4 * layout.restarts();
        line(&mut out, bytes, start + at, start + restarts, "restarts");
        line(&mut out, bytes, start + restarts, start + payload.len() - 8, "buckets");
        line(
            &mut out,
            bytes,
            start + payload.len() - 8,
            start + payload.len(),
            "count of restarts, of buckets",
        );
        line(&mut out, bytes, end - 5, end, "codec, crc");
    }
    let footer_at = bytes.len() - FOOTER_BYTES;
    let footer = Footer::decode(&bytes[footer_at..], bytes.len() as u64).unwrap();
    let sections = [
        (footer.filter(), "filter"),
        (footer.ranges(), "range deletes"),
        (footer.props(), "properties"),
        (footer.index(), "index"),
    ];
    for (range, what) in sections {
        line(&mut out, bytes, range.start as usize, range.end as usize - 5, what);
        line(&mut out, bytes, range.end as usize - 5, range.end as usize, "codec, crc");
    }
    line(&mut out, bytes, footer_at, bytes.len(), "footer");
    out
}

#[test]
fn bytes_of_a_tiny_table() {
    let (disk, mut model) = (Disk::default(), Model::new());
    add(&mut model, 0, b"apple", u64::MAX, 12, put(b"red"));
    add(&mut model, 0, b"apple", 7, 11, Body { meta: 9, expires_at: 1_700_000_000_000, ..put(b"green") });
    add(&mut model, 0, b"apricot", u64::MAX, 13, Body { kind: Kind::Delete, ..put(b"") });
    add(&mut model, 1, b"banana", u64::MAX, 14, pointer(5, 1000));
    let range = RangeDelete { cf: CfId(0), start: b"b".to_vec(), end: b"c".to_vec(), seq: Seq(15) };
    let options = TableOptions { seqs: (Seq(10), Seq(20)), ..options(96, Compression::None) };
    let meta = build(&disk, "t", &model, &[range], options);
    let table = open(&disk, "t", &meta, 0);
    table.verify().unwrap();
    let seen = dump(&disk.bytes("t"), &table);
    assert!(seen == include_str!("golden_table.txt"), "the bytes of a table changed:\n{seen}");
}
