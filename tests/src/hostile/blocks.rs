//! The decoders of a table's parts.

use nokv_core::formats::block::{
    BlockBuilder, BlockRef, HEADER_BYTES, Layout, TRAILER_BYTES, common_prefix, split_raw_len, unseal,
};
use nokv_core::formats::bytes::Reader;
use nokv_core::formats::entry::stamp_order;
use nokv_core::formats::filter::Filter;
use nokv_core::formats::key::{KEY_BYTES_MAX, key_hash};
use nokv_core::formats::table::{FOOTER_BYTES, Footer, Index, decode_range_deletes, encode_range_deletes};
use nokv_core::formats::{CfId, EntryRef, KeyBuf, KeyRef, Kind, Malformed, Seq, TableProps};

use super::fixup;

/// A filter.
pub fn filter(bytes: &[u8]) {
    let mut fixed = bytes.to_vec();
    // The count of lines at the end, so that a cut or longer filter is one.
    if let Some(at) = fixed.len().checked_sub(4) {
        let lines = (fixed.len().saturating_sub(5) / 64) as u32;
        fixup::put(&mut fixed, at, &lines.to_le_bytes());
    }
    for bytes in [bytes, &fixed] {
        let Ok(filter) = Filter::decode(bytes) else { continue };
        let mut again = Vec::new();
        filter.encode(&mut again);
        assert_eq!(again, bytes);
        assert_eq!(filter.memory_bytes() + 5, bytes.len());
        for hash in [0, 1, u64::MAX, 1 << 63, 0x0123_4567_89ab_cdef] {
            filter.may_contain(hash);
        }
    }
    // A filter never excludes what it was built of.
    let (hashes, _) = bytes.as_chunks::<8>();
    let hashes: Vec<u64> = hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect();
    let built = Filter::build(&hashes, u32::from(bytes.first().copied().unwrap_or(0) % 30));
    assert!(hashes.iter().all(|hash| built.may_contain(*hash)));
}

/// Properties of a table.
pub fn table_props(bytes: &[u8]) {
    let mut r = Reader::new(bytes);
    let Ok(props) = TableProps::decode(&mut r) else { return };
    let mut again = Vec::new();
    props.encode(&mut again);
    assert_eq!(again, bytes[..r.offset()], "the one encoding of {props:?}");
    assert!(props.entries() <= 4 << 56);
    assert!(props.smallest <= props.largest && props.seq_min <= props.seq_max);
}

/// The index of a table.
pub fn table_index(bytes: &[u8]) {
    // The end of the blocks comes from the footer: the bytes choose it too.
    let mut r = Reader::new(bytes);
    let blocks_end = r.u32("end of the blocks").map_or(0, u64::from);
    let bytes = bytes.get(4..).unwrap_or(bytes);
    for end in [blocks_end, sum_of_blocks(bytes).unwrap_or(0)] {
        let Ok(index) = Index::decode(bytes, end) else { continue };
        assert!(index.memory_bytes() <= 64 + 48 * bytes.len());
        let mut at = 0;
        for i in 0..index.blocks() {
            let (offset, len) = index.block(i).expect("a block below the count");
            assert_eq!(offset, at);
            at = offset + len;
            index.continues(i);
        }
        assert_eq!(at, end);
        assert!(index.block(index.blocks()).is_none() && !index.continues(index.blocks()));
        // The search is monotonic, whatever the separators are.
        let mut keys: Vec<KeyBuf> = Vec::new();
        for (i, chunk) in bytes.chunks(7).take(64).enumerate() {
            let cf = CfId(if i % 3 == 0 { 0 } else { u32::from(chunk[0]) });
            keys.push(KeyRef::new(cf, chunk).to_buf());
            keys.push(KeyRef::new(cf, &chunk[..chunk.len() / 2]).to_buf());
        }
        keys.push(KeyRef::new(CfId(u32::MAX), &[0xff; 40]).to_buf());
        keys.sort();
        let mut last = 0;
        for key in &keys {
            let found = index.find(key.as_ref());
            assert!(found >= last && found <= index.blocks());
            last = found;
        }
    }
}

/// What the lengths in an index add up to.
fn sum_of_blocks(bytes: &[u8]) -> Option<u64> {
    let mut r = Reader::new(bytes);
    let blocks = r.varint("count").ok()?;
    r.prefixed("common").ok()?;
    let mut sum = 0u64;
    for _ in 0..blocks {
        sum = sum.checked_add(r.varint("length").ok()? >> 1)?;
        r.prefixed("separator").ok()?;
    }
    Some(sum)
}

/// Range deletes of a table.
pub fn range_deletes(bytes: &[u8]) {
    let Ok(ranges) = decode_range_deletes(bytes) else { return };
    let mut again = Vec::new();
    encode_range_deletes(&ranges, &mut again);
    assert_eq!(again, bytes);
}

/// The end of a table file; what stands before it counts for its length only.
pub fn table_footer(bytes: &[u8]) {
    let look = |file: &[u8]| {
        let Some(at) = file.len().checked_sub(FOOTER_BYTES) else {
            assert!(Footer::decode(file, file.len() as u64).is_err());
            return;
        };
        let Ok(footer) = Footer::decode(&file[at..], file.len() as u64) else { return };
        let mut again = Vec::new();
        footer.encode(&mut again);
        assert_eq!(again, file[at..]);
        let parts = [footer.filter(), footer.ranges(), footer.props(), footer.index()];
        assert!(parts.iter().all(|part| part.start <= part.end && part.end <= at as u64));
        assert!(Footer::decode(&file[at..], file.len() as u64 + 1).is_err());
    };
    look(bytes);
    let mut fixed = bytes.to_vec();
    fixup::table(&mut fixed);
    look(&fixed);
}

/// A block as it is stored: trailer and declared length.
pub fn stored_block(bytes: &[u8]) {
    const UID: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
    assert!(unseal(bytes, UID, 0).map_or(true, |(_, body)| body.len() + TRAILER_BYTES == bytes.len()));
    let mut fixed = bytes.to_vec();
    fixup::seal(&mut fixed, UID, 4096);
    match unseal(&fixed, UID, 4096) {
        Ok((codec, body)) => {
            assert_eq!(body.len() + TRAILER_BYTES, fixed.len());
            assert_eq!(codec, fixed[body.len()]);
            assert!(unseal(&fixed, UID, 0).is_err(), "a block in a wrong place");
            assert!(unseal(&fixed, UID + 1, 4096).is_err(), "a block of another table");
            if let Ok((_, rest)) = split_raw_len(body) {
                assert_eq!(rest.len() + 4, body.len());
            }
        }
        Err(_) => assert!(fixed.len() < TRAILER_BYTES),
    }
}

/// Entries of a block by its chain, as a cursor walks it.
fn walk(block: &BlockRef<'_>, layout: &Layout) -> Result<Vec<(KeyBuf, usize)>, Malformed> {
    let mut at = HEADER_BYTES;
    let mut key = KeyBuf::default();
    let mut entries = Vec::new();
    while at < layout.entries_end() {
        let entry = block.entry(at)?;
        assert!(entry.next() > at && entry.next() <= layout.entries_end(), "the chain goes on");
        if entry.is_restart() {
            key.set(KeyRef::new(entry.cf(), block.key_bytes(&entry)));
        } else if !entry.is_same_key() {
            if entry.shared() > key.user_key.len() {
                return Err(Malformed::new(at, "shared bytes"));
            }
            key.user_key.truncate(entry.shared());
            key.user_key.extend_from_slice(block.key_bytes(&entry));
        }
        if key.user_key.len() > KEY_BYTES_MAX {
            return Err(Malformed::new(at, "a long key"));
        }
        // Keys share bytes: what they come to is not bounded by the block, so it is here.
        if entries.len() < 256 {
            entries.push((key.clone(), at));
        }
        at = entry.next();
    }
    Ok(entries)
}

/// A data block, uncompressed.
pub fn block(bytes: &[u8]) {
    let Ok(layout) = Layout::parse(bytes) else { return };
    let block = BlockRef::new(bytes, &layout);
    // Any offset is refused or gives something within the block.
    for at in 0..bytes.len().min(512) {
        if let Ok(entry) = block.entry(at) {
            assert!(entry.next() > at && entry.next() <= layout.entries_end());
            let view = block.view(&entry);
            assert!(view.value.len() + block.key_bytes(&entry).len() <= bytes.len());
            assert!(view.seq <= Seq::MAX);
        }
        block.is_older(at);
        if let Ok(behind) = block.skip_older(at) {
            assert!(behind >= at);
        }
        if let Ok(restart) = block.restart_before(at) {
            assert!(restart < layout.restarts());
        }
    }
    for i in (0..layout.restarts().min(64)).chain([layout.restarts()]) {
        assert!(block.restart(i).is_ok_and(|at| at < layout.entries_end()) || block.restart(i).is_err());
    }
    for key in bytes.chunks(5).take(64) {
        let key = KeyRef::new(CfId(u32::from(key[0] & 1)), key);
        let _ = block.seek_restart(key);
        let _ = block.find(key, key_hash(key));
    }
    let Ok(entries) = walk(&block, &layout) else { return };
    for (key, _) in entries.iter().take(64) {
        let _ = block.find(key.as_ref(), key_hash(key.as_ref()));
        let _ = block.seek_restart(key.as_ref());
    }
    rebuild(&block, &entries);
}

/// What decodes in order, encoded again, decodes to the same.
fn rebuild(block: &BlockRef<'_>, entries: &[(KeyBuf, usize)]) {
    let views: Vec<(KeyRef<'_>, EntryRef<'_>)> = entries
        .iter()
        .map(|(key, at)| (key.as_ref(), block.view(&block.entry(*at).expect("walked before"))))
        .collect();
    let ordered = |a: &(KeyRef<'_>, EntryRef<'_>), b: &(KeyRef<'_>, EntryRef<'_>)| {
        let stamp = |e: &EntryRef<'_>| (e.version, e.seq);
        a.0 < b.0 || a.0 == b.0 && stamp_order(stamp(&a.1), stamp(&b.1)).is_lt()
    };
    if views.is_empty() || !views.is_sorted_by(ordered) {
        return;
    }
    let mut builder = BlockBuilder::new(3);
    let mut out = Vec::new();
    builder.begin(&mut out, Seq::ZERO, 7);
    let mut last: Option<KeyRef<'_>> = None;
    for (key, entry) in &views {
        let shared = last.map_or(0, |last| common_prefix(last.user_key, key.user_key));
        builder.add(&mut out, *key, key_hash(*key), shared, last == Some(*key), entry);
        last = Some(*key);
    }
    builder.finish(&mut out);
    let layout = Layout::parse(&out).expect("what was built");
    let built = BlockRef::new(&out, &layout);
    let again = walk(&built, &layout).expect("what was built");
    assert_eq!(again.len(), views.len());
    for ((key, entry), (again, at)) in views.iter().zip(&again) {
        assert_eq!((again.as_ref(), built.view(&built.entry(*at).expect("walked"))), (*key, *entry));
        let found = built.find(*key, key_hash(*key)).expect("what was built").expect("a key that is there");
        let first = views.iter().find(|(k, _)| k == key).expect("it is in the list");
        assert_eq!(built.view(&found), first.1);
    }
    let absent = KeyRef::new(CfId(7), b"a key of no block");
    if !views.iter().any(|(key, _)| *key == absent) {
        assert!(built.find(absent, key_hash(absent)).expect("what was built").is_none());
    }
    // Kinds that a block cannot hold never come out of one.
    assert!(views.iter().all(|(_, e)| e.kind != Kind::RangeDelete));
}
