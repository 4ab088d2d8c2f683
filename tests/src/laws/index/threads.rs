//! The laws of an index that threads share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nokv_core::{Cursor, MemIndex};

use super::{Course, key, keys_of, put, sized, stamps};

/// The key and value that thread `writer` inserts as its `i`th: both from one number, so that a torn entry shows.
fn derived(writer: usize, i: usize) -> (Vec<u8>, Vec<u8>) {
    let mut course = Course::new((writer * 1_000_003 + i) as u64);
    let number = course.next();
    let alphabet = [3, 256][i % 2];
    let mut user_key: Vec<u8> = (0..course.below(7)).map(|_| course.below(alphabet) as u8).collect();
    user_key.extend_from_slice(&number.to_be_bytes()[..1 + i % 8]);
    let value = value_of(&user_key);
    (user_key, value)
}

fn value_of(user_key: &[u8]) -> Vec<u8> {
    let length = user_key.iter().map(|b| *b as usize).sum::<usize>() % 200;
    user_key.iter().cycle().map(|b| b.wrapping_mul(31)).take(length).collect()
}

/// Every key inserted before a reader starts is found; a cursor sees keys in strict order, both ways; no
/// entry is torn.
pub fn readers_beside_writers<I: MemIndex>(make: &impl Fn() -> I) {
    let (writers, readers, count) = sized((3, 3, 4000), (2, 2, 25));
    let index = Arc::new(make());
    let done: Vec<_> = (0..writers).map(|_| AtomicUsize::new(0)).collect();
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        let (index, done, finished) = (&index, &done, &finished);
        let writing: Vec<_> = (0..writers)
            .map(|writer| {
                scope.spawn(move || {
                    for i in 0..count {
                        let (user_key, value) = derived(writer, i);
                        let seq = (i * writers + writer) as u64 + 1;
                        index.insert(key(&user_key), &put(u64::MAX, seq, &value));
                        done[writer].store(i + 1, Ordering::Release);
                    }
                })
            })
            .collect();
        for reader in 0..readers {
            scope.spawn(move || {
                let mut course = Course::new(reader as u64 + 500);
                let mut cursor = index.cursor();
                while !finished.load(Ordering::Acquire) {
                    for (writer, done) in done.iter().enumerate() {
                        let done = done.load(Ordering::Acquire);
                        if done == 0 {
                            continue;
                        }
                        let i = course.below(done as u64) as usize;
                        let (user_key, value) = derived(writer, i);
                        let seq = (i * writers + writer) as u64 + 1;
                        let mut entries = index.entries(key(&user_key));
                        let entry = entries.find(|e| e.seq.0 == seq).expect("inserted before the read");
                        assert_eq!(entry.value, value);
                        cursor.seek(key(&user_key)).unwrap();
                        assert_eq!(cursor.key().user_key, user_key);
                        walk(&mut cursor, reader % 2 == 0, sized(300, 5));
                    }
                }
            });
        }
        // A failed writer must not leave the readers running.
        let failed = writing.into_iter().map(|thread| thread.join()).filter(Result::is_err).count();
        finished.store(true, Ordering::Release);
        assert_eq!(failed, 0);
    });

    let mut model = BTreeMap::new();
    for writer in 0..writers {
        for i in 0..count {
            let (user_key, _) = derived(writer, i);
            model.entry(user_key).or_insert_with(Vec::new).push((i * writers + writer) as u64 + 1);
        }
    }
    let mut cursor = index.cursor();
    cursor.seek_first().unwrap();
    for (user_key, seqs) in &mut model {
        assert_eq!(cursor.key().user_key, user_key);
        seqs.sort_by_key(|seq| std::cmp::Reverse(*seq));
        assert_eq!(&stamps(&mut cursor).iter().map(|s| s.1).collect::<Vec<_>>(), seqs);
        cursor.next_key().unwrap();
    }
    assert!(!cursor.valid());
    assert_eq!(index.len(), writers * count);
}

/// One node gets child after child, from one to all 256, while readers walk over it: nothing that was there before a walk
/// is missed by it.
pub fn readers_beside_a_growing_node<I: MemIndex>(make: &impl Fn() -> I) {
    let (rounds, children, readers) = sized((20, 256, 3), (1, 52, 2));
    for round in 0..rounds {
        let index = Arc::new(make());
        let mut bytes: Vec<u8> = (0..=255).collect();
        Course::new(round + 900).shuffle(&mut bytes);
        bytes.truncate(children);
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (index, bytes, done) = (&index, &bytes, &done);
            for reader in 0..readers {
                scope.spawn(move || {
                    let mut cursor = index.cursor();
                    let mut before = 0;
                    while before < bytes.len() {
                        before = done.load(Ordering::Acquire);
                        let mut expected = bytes[..before].to_vec();
                        expected.sort_unstable();
                        let mut keys = keys_of(&mut cursor);
                        if reader % 2 == 1 {
                            keys = super::keys_back(&mut cursor);
                            keys.reverse();
                        }
                        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
                        let mut found = keys.iter().map(|key| key.user_key[1]);
                        // Both are in order, so that one way through is enough.
                        assert!(expected.iter().all(|byte| found.any(|f| f == *byte)), "round {round}");
                    }
                });
            }
            for (i, byte) in bytes.iter().enumerate() {
                index.insert(key(&[b'n', *byte]), &put(u64::MAX, i as u64 + 1, &[*byte]));
                done.store(i + 1, Ordering::Release);
            }
        });
        let entry =
            |byte: &u8| index.entries(key(&[b'n', *byte])).map(|e| e.value.to_vec()).collect::<Vec<_>>();
        assert!(bytes.iter().all(|byte| entry(byte) == [[*byte]]));
    }
}

/// Up to `steps` moves one way: strict order, whole entries, newest first.
fn walk<C: Cursor>(cursor: &mut C, forward: bool, steps: usize) {
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..steps {
        if !cursor.valid() {
            return;
        }
        let user_key = cursor.key().user_key.to_vec();
        if let Some(last) = &last {
            assert!(if forward { *last < user_key } else { *last > user_key });
        }
        let entries = stamps(cursor);
        assert!(!entries.is_empty());
        assert!(entries.windows(2).all(|pair| (pair[0].0, pair[0].1) > (pair[1].0, pair[1].1)));
        let value = value_of(&user_key);
        assert!(entries.iter().all(|entry| entry.2 == value));
        last = Some(user_key);
        if forward { cursor.next_key() } else { cursor.prev_key() }.unwrap();
    }
}

/// Threads that race for the same new keys: one key each, with the entries of all.
pub fn writers_of_the_same_keys<I: MemIndex>(make: &impl Fn() -> I) {
    let (writers, count) = sized((4, 3000), (3, 12));
    let index = Arc::new(make());
    thread::scope(|scope| {
        for writer in 0..writers {
            let index = &index;
            scope.spawn(move || {
                for i in 0..count {
                    let user_key = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                    index.insert(key(&user_key), &put(7, (i * writers + writer) as u64 + 1, &user_key));
                }
            });
        }
    });
    let mut cursor = index.cursor();
    assert_eq!(keys_of(&mut cursor).len(), count);
    for i in 0..count {
        let user_key = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let seqs: Vec<_> = index.entries(key(&user_key)).map(|e| e.seq.0).collect();
        let want: Vec<_> = (0..writers).rev().map(|writer| (i * writers + writer) as u64 + 1).collect();
        assert_eq!(seqs, want);
    }
}

/// Threads that start at once on a new index with neighbouring keys: they meet in the same few nodes, split
/// and grow them, and no key is lost. Many short rounds, as each race is open for a moment only.
pub fn writers_in_one_place<I: MemIndex>(make: &impl Fn() -> I) {
    let (rounds, writers, count) = sized((1500, 3, 64), (2, 2, 10));
    for round in 0..rounds {
        let index = make();
        let key_of = |writer: usize, i: usize| {
            let number = (i * writers + writer) as u8;
            // Neighbours in one node in some rounds, forks at changing depths in others.
            let mut user_key = vec![number.reverse_bits() >> 3; if round % 2 == 0 { 0 } else { 1 + i % 3 }];
            user_key.push(number);
            user_key
        };
        let ready = AtomicUsize::new(0);
        thread::scope(|scope| {
            for writer in 0..writers {
                let (index, ready) = (&index, &ready);
                scope.spawn(move || {
                    ready.fetch_add(1, Ordering::AcqRel);
                    while ready.load(Ordering::Acquire) < writers {
                        thread::yield_now();
                    }
                    for i in 0..count {
                        let user_key = key_of(writer, i);
                        index.insert(key(&user_key), &put(9, (i * writers + writer) as u64 + 1, &user_key));
                    }
                });
            }
        });
        for writer in 0..writers {
            for i in 0..count {
                let user_key = key_of(writer, i);
                assert_eq!(index.entries(key(&user_key)).count(), 1, "round {round}, {user_key:?}");
            }
        }
    }
}
