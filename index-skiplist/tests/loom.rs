//! All schedules of writers and a reader on the skiplist, and all orders that the memory may show.
//! `RUSTFLAGS="--cfg loom" cargo test --release -p nokv-index-skiplist --test loom`; other builds have none of it.
#![cfg(loom)]
#![allow(missing_docs)]

use std::sync::Arc;

use loom::thread;
use nokv_core::formats::{CfId, EntryRef, KeyRef, Kind, Seq, Version};
use nokv_core::{Cursor, MemIndex};
use nokv_index_skiplist::Skiplist;

/// At most so many threads are set aside while they could go on: the schedules without this bound are too many.
fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.check(run);
}

fn entry(seq: u64, value: &[u8]) -> EntryRef<'_> {
    EntryRef { version: Version(7), seq: Seq(seq), kind: Kind::Put, meta: 0, expires_at: 0, value }
}

fn put(index: &Skiplist, key: &[u8], seq: u64) {
    index.insert(KeyRef::new(CfId(0), key), &entry(seq, key));
}

/// The seqs at a key, newest first.
fn seqs(index: &Skiplist, key: &[u8]) -> Vec<u64> {
    let entries = index.entries(KeyRef::new(CfId(0), key));
    entries.inspect(|entry| assert_eq!(entry.value, key)).map(|entry| entry.seq.0).collect()
}

/// All keys, in the order of a walk.
fn walk(index: &Arc<Skiplist>) -> Vec<Vec<u8>> {
    let mut cursor = index.cursor();
    cursor.seek_first().unwrap();
    let mut keys = Vec::new();
    while cursor.valid() {
        let key = cursor.key().user_key.to_vec();
        assert_eq!(cursor.entry().unwrap().value, key);
        keys.push(key);
        cursor.next_key().unwrap();
    }
    keys
}

fn is_sorted(keys: &[Vec<u8>]) -> bool {
    keys.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn two_writers_of_one_key_make_one_node_and_a_reader_sees_whole_entries() {
    model(3, || {
        let index = Arc::new(Skiplist::new(&(), 0));
        let writers: Vec<_> = (1..3)
            .map(|seq| {
                let index = index.clone();
                thread::spawn(move || put(&index, b"key", seq))
            })
            .collect();
        let early = seqs(&index, b"key");
        assert!(early.windows(2).all(|pair| pair[0] > pair[1]), "{early:?}");
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(seqs(&index, b"key"), [2, 1]);
        assert_eq!(walk(&index), [b"key"]);
    });
}

#[test]
fn writers_side_by_side_lose_no_key_and_a_walk_is_in_order() {
    model(3, || {
        let index = Arc::new(Skiplist::new(&(), 0));
        put(&index, b"m", 1);
        let writers: Vec<_> = [b"a", b"b"]
            .map(|key| {
                let index = index.clone();
                thread::spawn(move || put(&index, key, 2))
            })
            .into_iter()
            .collect();
        let early = walk(&index);
        assert!(is_sorted(&early) && early.contains(&b"m".to_vec()), "{early:?}");
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(walk(&index), [b"a", b"b", b"m"]);
    });
}
