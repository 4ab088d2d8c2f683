//! The laws of [`MemIndex`]: every index passes [`check_index`].
//!
//! Each law fails with the name of its function in the backtrace. Random parts run from fixed seeds. Sizes
//! shrink under Miri, which runs the suite too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nokv_core::formats::{CfId, EntryRef, KeyBuf, KeyRef, Kind, Seq, Version};
use nokv_core::{Cursor, MemIndex};

/// Runs every law on indexes that `make` makes, each empty.
pub fn check_index<I: MemIndex>(make: impl Fn() -> I) {
    empty_index(&make());
    order_and_moves(make());
    versions_within_a_key(&make);
    prefixes_of_one_another(make());
    every_byte_value(make());
    long_keys(make());
    fields_are_kept(&make());
    families_are_apart(make());
    cursor_outlives_the_handle(make());
    cursor_stays_while_others_insert(make());
    memory_is_counted(&make());
    for seed in 0..if cfg!(miri) { 2 } else { 40 } {
        let ops = random_ops(seed, if cfg!(miri) { 60 } else { 600 });
        check_ops(make(), &ops);
    }
    readers_beside_writers(make());
    writers_of_the_same_keys(make());
    writers_in_one_place(&make);
}

/// One insert of a random comparison: what [`check_ops`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Family.
    pub cf: u32,
    /// User key.
    pub user_key: Vec<u8>,
    /// MVCC version; the seq is the place in the list of operations, turned about.
    pub version: u64,
    /// Value.
    pub value: Vec<u8>,
}

/// A small generator with a fixed course (xorshift64*).
#[derive(Debug, Clone)]
pub struct Course(u64);

impl Course {
    /// The course of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub const fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// Random operations whose keys collide, nest and share prefixes; dense bytes in some seeds, few in others.
pub fn random_ops(seed: u64, count: usize) -> Vec<Op> {
    let mut course = Course::new(seed + 1);
    let alphabet = [2, 5, 17, 49, 256][seed as usize % 5];
    let length = [3, 12, 40][seed as usize % 3];
    (0..count)
        .map(|_| {
            let common = course.below(3) as usize * 7;
            let mut user_key = vec![b'u'; common];
            user_key.extend(
                (0..course.below(length)).map(|_| (course.below(alphabet) * 255 / (alphabet - 1)) as u8),
            );
            Op {
                cf: [0, 0, 1, 258, u32::MAX][course.below(5) as usize],
                user_key,
                version: [u64::MAX, course.below(9)][course.below(2) as usize],
                value: vec![course.next() as u8; course.below(40) as usize],
            }
        })
        .collect()
}

fn put(version: u64, seq: u64, value: &[u8]) -> EntryRef<'_> {
    EntryRef { version: Version(version), seq: Seq(seq), kind: Kind::Put, meta: 0, expires_at: 0, value }
}

fn key(user_key: &[u8]) -> KeyRef<'_> {
    KeyRef::new(CfId::DEFAULT, user_key)
}

/// All keys, forward.
fn keys_of<C: Cursor>(cursor: &mut C) -> Vec<KeyBuf> {
    let mut keys = Vec::new();
    cursor.seek_first().unwrap();
    while cursor.valid() {
        keys.push(cursor.key().to_buf());
        cursor.next_key().unwrap();
    }
    keys
}

/// All keys, backward.
fn keys_back<C: Cursor>(cursor: &mut C) -> Vec<KeyBuf> {
    let mut keys = Vec::new();
    cursor.seek_last().unwrap();
    while cursor.valid() {
        keys.push(cursor.key().to_buf());
        cursor.prev_key().unwrap();
    }
    keys
}

/// The stamps and values of the entries that the cursor's key has.
fn stamps<C: Cursor>(cursor: &mut C) -> Vec<(u64, u64, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some(entry) = cursor.entry() {
        found.push((entry.version.0, entry.seq.0, entry.value.to_vec()));
        cursor.next_entry().unwrap();
    }
    found
}

/// Inserts `keys` in random order and checks every move from every key and from between the keys.
fn check_moves<I: MemIndex>(index: I, mut keys: Vec<KeyBuf>, seed: u64) {
    let index = Arc::new(index);
    let mut shuffled: Vec<_> = keys.iter().enumerate().collect();
    Course::new(seed).shuffle(&mut shuffled);
    for (i, key) in shuffled {
        index.insert(key.as_ref(), &put(u64::MAX, i as u64 + 1, &key.user_key));
    }
    keys.sort();
    keys.dedup();

    let mut cursor = index.cursor();
    assert_eq!(keys_of(&mut cursor), keys);
    let mut back = keys_back(&mut cursor);
    back.reverse();
    assert_eq!(back, keys);

    let mut probes = keys.clone();
    if cfg!(miri) {
        Course::new(seed).shuffle(&mut probes);
        probes.truncate(8);
    }
    for key in probes.clone() {
        let mut longer = key.clone();
        longer.user_key.push(0);
        probes.push(longer.clone());
        *longer.user_key.last_mut().unwrap() = 0xff;
        probes.push(longer);
        if let Some((last, rest)) = key.user_key.split_last() {
            probes.push(KeyBuf { cf: key.cf, user_key: rest.to_vec() });
            for other in [last.wrapping_sub(1), last.wrapping_add(1)] {
                let mut near = rest.to_vec();
                near.push(other);
                probes.push(KeyBuf { cf: key.cf, user_key: near });
            }
        }
        probes.push(KeyBuf { cf: CfId(key.cf.0.wrapping_add(1)), user_key: key.user_key.clone() });
        probes.push(KeyBuf { cf: CfId(key.cf.0.wrapping_sub(1)), user_key: key.user_key.clone() });
    }
    for probe in &probes {
        let at = keys.partition_point(|k| k < probe);
        let found = keys.get(at) == Some(probe);
        cursor.seek(probe.as_ref()).unwrap();
        check_stand(&mut cursor, &keys, at);
        cursor.seek_for_prev(probe.as_ref()).unwrap();
        check_stand(&mut cursor, &keys, if found { at } else { at.wrapping_sub(1) });
        let entries: Vec<_> = index.entries(probe.as_ref()).map(|e| e.value.to_vec()).collect();
        assert_eq!(!entries.is_empty(), found, "{probe:?}");
        assert!(entries.iter().all(|value| *value == probe.user_key));
    }
}

/// The cursor stands on `keys[at]` or on nothing; a step to either side and back works.
fn check_stand<C: Cursor>(cursor: &mut C, keys: &[KeyBuf], at: usize) {
    let Some(key) = keys.get(at) else {
        assert!(!cursor.valid());
        return;
    };
    assert!(cursor.valid());
    assert_eq!(cursor.key(), key.as_ref());
    assert_eq!(cursor.entry().unwrap().value, key.user_key);
    cursor.next_key().unwrap();
    assert_eq!(cursor.valid().then(|| cursor.key().to_buf()).as_ref(), keys.get(at + 1));
    if cursor.valid() {
        cursor.prev_key().unwrap();
        assert_eq!(cursor.key(), key.as_ref());
    } else {
        cursor.seek(key.as_ref()).unwrap();
    }
    cursor.prev_key().unwrap();
    assert_eq!(cursor.valid().then(|| cursor.key().to_buf()).as_ref(), keys.get(at.wrapping_sub(1)));
}

fn empty_index<I: MemIndex>(index: &I) {
    assert_eq!(index.len(), 0);
    assert!(index.is_empty());
    assert!(index.entries(key(b"")).next().is_none());
    assert!(index.entries(key(b"a")).next().is_none());
}

fn order_and_moves<I: MemIndex>(index: I) {
    let index = Arc::new(index);
    let mut cursor = index.cursor();
    assert!(!cursor.valid(), "a new cursor is not on a key");
    for seek in [Cursor::seek, Cursor::seek_for_prev] {
        seek(&mut cursor, key(b"a")).unwrap();
        assert!(!cursor.valid());
    }
    cursor.seek_first().unwrap();
    assert!(!cursor.valid());
    cursor.seek_last().unwrap();
    assert!(!cursor.valid());
    drop(cursor);
    let index = Arc::into_inner(index).expect("the cursor gave its share back");

    let count = if cfg!(miri) { 30 } else { 700 };
    let keys =
        (0..count).map(|i| KeyBuf { cf: CfId(0), user_key: format!("user{:09}", i * 37 % 9973).into() });
    check_moves(index, keys.collect(), 3);
}

fn versions_within_a_key<I: MemIndex>(make: &impl Fn() -> I) {
    let mut want: Vec<(u64, u64)> =
        vec![(u64::MAX, 3), (u64::MAX, 90), (0, 1), (0, 2), (7, 70), (7, 6), (8, 5)];
    want.extend((100..if cfg!(miri) { 110 } else { 160 }).map(|i| (i * 7 % 31, i)));
    let mut order = want.clone();
    want.sort();
    want.reverse();
    for seed in 0..4 {
        Course::new(seed).shuffle(&mut order);
        let index = Arc::new(make());
        for (i, (version, seq)) in order.iter().enumerate() {
            index.insert(key(b"k"), &put(*version, *seq, &seq.to_le_bytes()));
            assert_eq!(index.len(), i + 1);
        }
        index.insert(key(b"j"), &put(1, 1000, b""));
        index.insert(key(b"l"), &put(1, 1001, b""));
        let got: Vec<_> = index.entries(key(b"k")).map(|e| (e.version.0, e.seq.0)).collect();
        assert_eq!(got, want);
        assert!(index.entries(key(b"k")).all(|e| e.value == e.seq.0.to_le_bytes()));
        let mut cursor = index.cursor();
        cursor.seek(key(b"k")).unwrap();
        let walked: Vec<_> = stamps(&mut cursor).iter().map(|s| (s.0, s.1)).collect();
        assert_eq!(walked, want);
        assert!(cursor.valid() && cursor.key() == key(b"k") && cursor.entry().is_none());
        cursor.prev_key().unwrap();
        assert_eq!(cursor.key(), key(b"j"));
        cursor.next_key().unwrap();
        assert_eq!(cursor.entry().map(|e| (e.version.0, e.seq.0)), want.first().copied());
        cursor.next_entry().unwrap();
        cursor.next_key().unwrap();
        assert_eq!(cursor.key(), key(b"l"));
    }
}

fn prefixes_of_one_another<I: MemIndex>(index: I) {
    let mut keys = Vec::new();
    for fill in [0, b'a', 0xff] {
        for length in (0..if cfg!(miri) { 10 } else { 40 }).chain([255, 256, 257]) {
            keys.push(KeyBuf { cf: CfId(0), user_key: vec![fill; length] });
            let mut branched = vec![fill; length];
            branched.push(b'b');
            keys.push(KeyBuf { cf: CfId(0), user_key: branched });
        }
    }
    check_moves(index, keys, 5);
}

fn every_byte_value<I: MemIndex>(index: I) {
    let mut keys = Vec::new();
    for first in 0..=255u8 {
        if cfg!(miri) && first > 7 {
            continue;
        }
        keys.push(KeyBuf { cf: CfId(0), user_key: vec![first] });
        // Few, some, many and all children below one byte.
        let children = [0, 3, 4, 5, 16, 17, 48, 49, 256][first as usize % 9];
        for second in 0..children {
            keys.push(KeyBuf { cf: CfId(0), user_key: vec![first, (second * 89 % 256) as u8] });
        }
    }
    check_moves(index, keys, 7);
}

fn long_keys<I: MemIndex>(index: I) {
    let long = if cfg!(miri) { 300 } else { 65_535 };
    let mut keys = Vec::new();
    for changed in [0, 1, 7, 8, 9, long / 2, long - 2, long - 1] {
        let mut user_key = vec![b'k'; long];
        user_key[changed] = b'x';
        keys.push(KeyBuf { cf: CfId(0), user_key: user_key.clone() });
        user_key.pop();
        keys.push(KeyBuf { cf: CfId(0), user_key });
    }
    keys.push(KeyBuf { cf: CfId(0), user_key: vec![b'k'; long] });
    check_moves(index, keys, 9);
}

fn fields_are_kept<I: MemIndex>(index: &I) {
    let kinds = [Kind::Put, Kind::Pointer, Kind::Delete, Kind::Purge];
    let large = vec![0x5a; if cfg!(miri) { 9000 } else { 3 << 20 }];
    let mut inserted = Vec::new();
    for meta in 0..=255u8 {
        inserted.push(EntryRef {
            version: Version(u64::MAX - u64::from(meta)),
            seq: Seq(Seq::MAX.0 - u64::from(meta)),
            kind: kinds[meta as usize % 4],
            meta,
            expires_at: [0, 1, u64::MAX][meta as usize % 3],
            value: match meta {
                0 => &large,
                meta => &large[..meta as usize % 40],
            },
        });
    }
    for entry in inserted.iter().rev() {
        index.insert(key(b"meta"), entry);
    }
    assert!(index.entries(key(b"meta")).eq(inserted.iter().copied()));
}

fn families_are_apart<I: MemIndex>(index: I) {
    let mut keys = Vec::new();
    for cf in [0, 1, 2, 255, 256, 65_536, 1 << 24, u32::MAX - 1] {
        for user_key in [&b""[..], b"\0", b"a", b"ab", b"\0\0\0\x01", b"\xff\xff\xff\xff\xff"] {
            keys.push(KeyBuf { cf: CfId(cf), user_key: user_key.to_vec() });
        }
    }
    check_moves(index, keys, 11);
}

fn cursor_outlives_the_handle<I: MemIndex>(index: I) {
    let index = Arc::new(index);
    for i in 0..20u64 {
        index.insert(key(&[i as u8]), &put(u64::MAX, i + 1, &[i as u8]));
    }
    let mut cursor = index.cursor();
    cursor.seek_first().unwrap();
    drop(index);
    let mut seen = 0;
    thread::spawn(move || {
        while cursor.valid() {
            assert_eq!(cursor.key().user_key, [seen]);
            assert_eq!(cursor.entry().unwrap().value, [seen]);
            seen += 1;
            cursor.next_key().unwrap();
        }
        assert_eq!(seen, 20);
    })
    .join()
    .unwrap();
}

/// What was inserted before a move is seen by it, wherever it lies, though the cursor stood before.
fn cursor_stays_while_others_insert<I: MemIndex>(index: I) {
    let index = Arc::new(index);
    let mut course = Course::new(77);
    let mut model = BTreeMap::new();
    let mut cursor = index.cursor();
    for seq in 1..=if cfg!(miri) { 120 } else { 4000u64 } {
        let alphabet = [2, 256][course.below(2) as usize];
        let user_key: Vec<u8> = (0..course.below(6)).map(|_| course.below(alphabet) as u8).collect();
        index.insert(key(&user_key), &put(u64::MAX, seq, &user_key));
        model.insert(user_key, seq);
        if !cursor.valid() {
            cursor.seek_first().unwrap();
            assert_eq!(Some(cursor.key().user_key), model.keys().next().map(Vec::as_slice));
            continue;
        }
        let here = cursor.key().user_key.to_vec();
        let want = if course.below(2) == 0 {
            cursor.next_key().unwrap();
            model.range(here..).nth(1)
        } else {
            cursor.prev_key().unwrap();
            model.range(..here).next_back()
        };
        let found = cursor.valid().then(|| (cursor.key().user_key.to_vec(), cursor.entry().unwrap().seq.0));
        assert_eq!(found, want.map(|(key, seq)| (key.clone(), *seq)));
    }
}

fn memory_is_counted<I: MemIndex>(index: &I) {
    let before = index.memory_bytes();
    assert!(before < 1 << 20, "an empty index holds {before} bytes");
    let (count, value) = (if cfg!(miri) { 20 } else { 2000u64 }, [1u8; 500]);
    let mut last = before;
    for i in 0..count {
        index.insert(key(&i.to_be_bytes()), &put(u64::MAX, i + 1, &value));
        let now = index.memory_bytes();
        assert!(now >= last);
        last = now;
    }
    let payload = count as usize * (8 + value.len());
    assert!(last - before + (64 << 10) >= payload && last >= payload, "{last} bytes for {payload}");
    assert!(cfg!(miri) || last <= 2 * payload + before, "{last} bytes for {payload}");
    assert_eq!(index.len(), count as usize);
}

/// Values by (version, seq), newest first.
type Newest = BTreeMap<std::cmp::Reverse<(u64, u64)>, Vec<u8>>;

/// Inserts `ops` and compares every answer with a `BTreeMap`. Seqs are a permutation, so that entries of one
/// key come in any order.
pub fn check_ops<I: MemIndex>(index: I, ops: &[Op]) {
    let index = Arc::new(index);
    let mut model: BTreeMap<KeyBuf, Newest> = BTreeMap::new();
    let mut seqs: Vec<u64> = (1..=ops.len() as u64).collect();
    Course::new(ops.len() as u64).shuffle(&mut seqs);
    for (op, seq) in ops.iter().zip(seqs) {
        let key = KeyBuf { cf: CfId(op.cf), user_key: op.user_key.clone() };
        index.insert(key.as_ref(), &put(op.version, seq, &op.value));
        model.entry(key).or_default().insert(std::cmp::Reverse((op.version, seq)), op.value.clone());
    }
    assert_eq!(index.len(), ops.len());
    let expected = |key: &KeyBuf| -> Vec<(u64, u64, Vec<u8>)> {
        model[key].iter().map(|(stamp, value)| (stamp.0.0, stamp.0.1, value.clone())).collect()
    };

    let mut cursor = index.cursor();
    cursor.seek_first().unwrap();
    for key in model.keys() {
        assert_eq!(cursor.key(), key.as_ref());
        assert_eq!(stamps(&mut cursor), expected(key));
        cursor.next_key().unwrap();
    }
    assert!(!cursor.valid());
    let back = keys_back(&mut cursor);
    assert!(back.iter().rev().eq(model.keys()));

    let mut course = Course::new(9);
    for op in ops {
        let mut probe = KeyBuf { cf: CfId(op.cf), user_key: op.user_key.clone() };
        match course.below(4) {
            0 => probe.user_key.push(course.next() as u8),
            1 => drop(probe.user_key.pop()),
            2 => {
                if let Some(byte) = probe.user_key.last_mut() {
                    *byte = course.next() as u8;
                }
            }
            _ => {}
        }
        let got: Vec<_> =
            index.entries(probe.as_ref()).map(|e| (e.version.0, e.seq.0, e.value.to_vec())).collect();
        assert_eq!(got, if model.contains_key(&probe) { expected(&probe) } else { Vec::new() });
        cursor.seek(probe.as_ref()).unwrap();
        let after = model.range(&probe..).next().map(|(key, _)| key);
        assert_eq!(cursor.valid().then(|| cursor.key().to_buf()).as_ref(), after);
        if let Some(key) = after {
            assert_eq!(stamps(&mut cursor), expected(key));
        }
        cursor.seek_for_prev(probe.as_ref()).unwrap();
        let before = model.range(..=&probe).next_back().map(|(key, _)| key);
        assert_eq!(cursor.valid().then(|| cursor.key().to_buf()).as_ref(), before);
    }
}

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
fn readers_beside_writers<I: MemIndex>(index: I) {
    let (writers, readers, count) = if cfg!(miri) { (2, 2, 25) } else { (3, 3, 4000) };
    let index = Arc::new(index);
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
                        walk(&mut cursor, reader % 2 == 0, if cfg!(miri) { 5 } else { 300 });
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
fn writers_of_the_same_keys<I: MemIndex>(index: I) {
    let (writers, count) = if cfg!(miri) { (3, 12) } else { (4, 3000) };
    let index = Arc::new(index);
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
fn writers_in_one_place<I: MemIndex>(make: &impl Fn() -> I) {
    let (rounds, writers, count) = if cfg!(miri) { (2, 2, 10) } else { (1500, 3, 64) };
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
