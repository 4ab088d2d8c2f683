//! Blocks against a list of what went in.

use super::*;
use crate::entry::{EntryRef, Kind, NEVER, Seq, Version};
use crate::key::{CfId, KeyRef, key_hash};
use crate::value_ptr::VALUE_PTR_BYTES;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Stamp = (core::cmp::Reverse<u64>, core::cmp::Reverse<u64>);
type Model = BTreeMap<(u32, Vec<u8>), BTreeMap<Stamp, (Kind, u8, u64, Vec<u8>)>>;

fn entries() -> impl Strategy<Value = Model> {
    let key = (0u32..3, prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..8));
    let stamp = (prop_oneof![Just(u64::MAX), 0u64..9], 5u64..300)
        .prop_map(|(v, s)| (core::cmp::Reverse(v), core::cmp::Reverse(s)));
    let kind = prop_oneof![Just(Kind::Put), Just(Kind::Pointer), Just(Kind::Delete), Just(Kind::Purge)];
    let expiry = prop_oneof![Just(NEVER), any::<u64>()];
    let body = (kind, any::<u8>(), expiry, prop::collection::vec(any::<u8>(), 0..300)).prop_map(
        |(k, m, e, mut v)| {
            match k {
                Kind::Put => {}
                Kind::Pointer => v.resize(VALUE_PTR_BYTES, 1),
                _ => v.clear(),
            }
            (k, m, e, v)
        },
    );
    let versions = prop::collection::btree_map(stamp, body, 1..5);
    prop::collection::btree_map(key, versions, 1..40)
}

fn flat(model: &Model) -> Vec<(KeyRef<'_>, EntryRef<'_>)> {
    let mut all = Vec::new();
    for ((cf, key), entries) in model {
        for ((version, seq), (kind, meta, expires_at, value)) in entries {
            let entry = EntryRef {
                version: Version(version.0),
                seq: Seq(seq.0),
                kind: *kind,
                meta: *meta,
                expires_at: *expires_at,
                value,
            };
            all.push((KeyRef::new(CfId(*cf), key), entry));
        }
    }
    all
}

fn build(all: &[(KeyRef<'_>, EntryRef<'_>)], interval: u32, continues: bool) -> Vec<u8> {
    let mut builder = BlockBuilder::new(interval);
    let mut out = b"before".to_vec();
    builder.begin(&mut out, Seq(5), 2);
    let mut last = KeyRef::new(CfId(0), b"");
    for (i, (key, entry)) in all.iter().enumerate() {
        let same = if i == 0 { continues } else { last == *key };
        let shared = common_prefix(last.user_key, key.user_key);
        assert!(builder.fits(entry.seq) && !builder.fits(Seq(4)) && !builder.fits(Seq(5 + 65536)));
        builder.add(&mut out, *key, key_hash(*key), shared, same, entry);
        last = *key;
    }
    let guess = builder.payload_bytes(&out);
    let start = builder.finish(&mut out);
    assert_eq!(start, 6);
    assert!(out.len() - start <= guess);
    out.split_off(start)
}

fn walk(block: BlockRef<'_>, end: usize) -> Vec<(CfId, Vec<u8>, EntryRef<'_>)> {
    let (mut at, mut cf, mut key, mut seen) = (HEADER_BYTES, CfId(0), Vec::new(), Vec::new());
    while at < end {
        let entry = block.entry(at).unwrap();
        if entry.is_restart() {
            cf = entry.cf();
            key = block.key_bytes(&entry).to_vec();
        } else if !entry.is_older() {
            key.truncate(entry.shared());
            key.extend_from_slice(block.key_bytes(&entry));
        }
        seen.push((cf, key.clone(), block.view(&entry)));
        at = entry.next();
    }
    assert_eq!(at, end);
    seen
}

proptest! {
    #[test]
    fn everything_comes_back(model in entries(), interval in 1u32..9, continues: bool) {
        let all = flat(&model);
        let bytes = build(&all, interval, continues);
        let layout = Layout::parse(&bytes).unwrap();
        prop_assert_eq!(layout.continues(), continues);
        let block = BlockRef::new(&bytes, &layout);
        let seen = walk(block, layout.entries_end());
        prop_assert_eq!(seen.len(), all.len());
        for ((cf, key, entry), (want_key, want)) in seen.iter().zip(&all) {
            prop_assert_eq!(KeyRef::new(*cf, key), *want_key);
            prop_assert_eq!(entry, want);
        }
        for ((cf, key), entries) in &model {
            let key = KeyRef::new(CfId(*cf), key);
            let found = block.find(key, key_hash(key)).unwrap().unwrap();
            let newest = entries.keys().next().unwrap();
            prop_assert_eq!((block.view(&found).version.0, block.view(&found).seq.0), (newest.0.0, newest.1.0));
            // A wrong hash may hide it but not show another key.
            if let Some(found) = block.find(key, 17).unwrap() {
                prop_assert_eq!(block.view(&found).seq.0, newest.1.0);
            }
            let longer = [key.user_key, b"a"].concat();
            let longer = KeyRef::new(key.cf, &longer);
            let there = model.contains_key(&(longer.cf.0, longer.user_key.to_vec()));
            prop_assert_eq!(block.find(longer, key_hash(longer)).unwrap().is_some(), there);
            prop_assert_eq!(block.find(longer, key_hash(key)).unwrap().is_some() && !there, false);
        }
    }

    #[test]
    fn damaged_payloads_never_panic(model in entries(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let all = flat(&model);
        let mut bytes = build(&all, 4, false);
        let i = at.index(bytes.len());
        bytes[i] = byte;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            let Ok(layout) = Layout::parse(bytes) else { continue };
            let block = BlockRef::new(bytes, &layout);
            for (key, _) in &all {
                let _ = block.find(*key, key_hash(*key));
                let _ = block.seek_restart(*key);
            }
            let mut at = HEADER_BYTES;
            while let Ok(entry) = block.entry(at) {
                let _ = (block.view(&entry), block.key_bytes(&entry), block.restart_before(at), block.skip_older(at));
                prop_assert!(entry.next() > at);
                at = entry.next();
            }
        }
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        let _ = unseal(&bytes, 1, 0);
        let _ = split_raw_len(&bytes);
        if let Ok(layout) = Layout::parse(&bytes) {
            let block = BlockRef::new(&bytes, &layout);
            let _ = block.find(KeyRef::new(CfId(0), b"k"), 1);
        }
    }

    #[test]
    fn the_trailer_binds_place_and_table(payload: Vec<u8>, uid: u128, offset: u64) {
        let mut out = b"xx".to_vec();
        out.extend_from_slice(&payload);
        seal(&mut out, 2, Codec::Lz4, uid, offset);
        let stored = &mut out[2..];
        prop_assert_eq!(unseal(stored, uid, offset), Ok((1, &payload[..])));
        prop_assert!(unseal(stored, uid ^ 1, offset).is_err());
        prop_assert!(unseal(stored, uid, offset ^ 4096).is_err());
        for bit in 0..stored.len() * 8 {
            stored[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(unseal(stored, uid, offset).is_err());
            stored[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn common_prefix_is_that(a: Vec<u8>, tail: Vec<u8>, b: Vec<u8>) {
        let plain = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(x, y)| x == y).count();
        prop_assert_eq!(common_prefix(&a, &b), plain(&a, &b));
        let longer = [&a[..], &tail].concat();
        prop_assert_eq!(common_prefix(&a, &longer), a.len());
    }
}
