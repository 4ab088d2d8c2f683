//! The laws of [`MemIndex`]: every index passes [`check_index`], or has a test of each law by [`each_index_law`].
//!
//! Who may call it: the suites; each law gets a function that makes an empty index. Random parts run from fixed
//! seeds. Counts shrink under Miri (second number of `sized`), which runs the suite too; no law is left out there.
//!
//! [`each_index_law`]: crate::each_index_law

mod model;
mod threads;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use nokv_core::formats::{CfId, EntryRef, KeyBuf, KeyRef, Kind, Seq, Version};
use nokv_core::{Cursor, MemIndex};

pub use model::{Op, check_ops, random_operations, random_ops};
pub use threads::{
    readers_beside_a_growing_node, readers_beside_writers, writers_in_one_place, writers_of_the_same_keys,
};

/// A count, and the one under Miri, where a second has a few thousand steps of an index.
const fn sized<T: Copy>(full: T, under_miri: T) -> T {
    if cfg!(miri) { under_miri } else { full }
}

/// Calls the macro `$with` with the names of all laws: each is a function of this module.
#[macro_export]
macro_rules! each_index_law {
    ($with:ident) => {
        $with! {
            empty_index
            order_and_moves
            versions_within_a_key
            prefixes_of_one_another
            every_byte_value
            long_keys
            fields_are_kept
            families_are_apart
            cursor_outlives_the_handle
            cursor_stays_while_others_insert
            memory_is_counted
            random_operations
            readers_beside_writers
            readers_beside_a_growing_node
            writers_of_the_same_keys
            writers_in_one_place
        }
    };
}

/// Runs every law on indexes that `make` makes, each empty.
pub fn check_index<I: MemIndex>(make: impl Fn() -> I) {
    macro_rules! run {
        ($($law:ident)*) => { $($law(&make);)* };
    }
    each_index_law!(run);
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
        probes.truncate(4);
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

/// An empty index has no key.
pub fn empty_index<I: MemIndex>(make: &impl Fn() -> I) {
    let index = &make();
    assert_eq!(index.len(), 0);
    assert!(index.is_empty());
    assert!(index.entries(key(b"")).next().is_none());
    assert!(index.entries(key(b"a")).next().is_none());
}

/// Keys in order; a new cursor and one on an empty index stand on nothing.
pub fn order_and_moves<I: MemIndex>(make: &impl Fn() -> I) {
    let index = Arc::new(make());
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

    let count = sized(700, 30);
    let keys =
        (0..count).map(|i| KeyBuf { cf: CfId(0), user_key: format!("user{:09}", i * 37 % 9973).into() });
    check_moves(index, keys.collect(), 3);
}

/// The entries of a key come newest first, in whatever order they were inserted.
pub fn versions_within_a_key<I: MemIndex>(make: &impl Fn() -> I) {
    let mut want: Vec<(u64, u64)> =
        vec![(u64::MAX, 3), (u64::MAX, 90), (0, 1), (0, 2), (7, 70), (7, 6), (8, 5)];
    want.extend((100..sized(160, 110)).map(|i| (i * 7 % 31, i)));
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

/// Keys that are prefixes of others, around the lengths of a byte.
pub fn prefixes_of_one_another<I: MemIndex>(make: &impl Fn() -> I) {
    let index = make();
    let mut keys = Vec::new();
    for fill in [0, b'a', 0xff] {
        for length in (0..sized(40, 10)).chain([255, 256, 257]) {
            keys.push(KeyBuf { cf: CfId(0), user_key: vec![fill; length] });
            let mut branched = vec![fill; length];
            branched.push(b'b');
            keys.push(KeyBuf { cf: CfId(0), user_key: branched });
        }
    }
    check_moves(index, keys, 5);
}

/// Every value of a byte, and few, some, many and all children below one.
pub fn every_byte_value<I: MemIndex>(make: &impl Fn() -> I) {
    let index = make();
    let mut keys = Vec::new();
    for first in 0..=255u8 {
        if cfg!(miri) && first > 3 {
            continue;
        }
        keys.push(KeyBuf { cf: CfId(0), user_key: vec![first] });
        // Few, some, many and all children below one byte.
        let children =
            sized([0, 3, 4, 5, 16, 17, 48, 49, 256], [0, 5, 17, 49, 0, 0, 0, 0, 0])[first as usize % 9];
        for second in 0..children {
            keys.push(KeyBuf { cf: CfId(0), user_key: vec![first, (second * 89 % 256) as u8] });
        }
    }
    check_moves(index, keys, 7);
}

/// Long keys that differ in one place.
pub fn long_keys<I: MemIndex>(make: &impl Fn() -> I) {
    let index = make();
    let long = sized(65_535, 300);
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

/// Every field of an entry, and its value, comes back.
pub fn fields_are_kept<I: MemIndex>(make: &impl Fn() -> I) {
    let index = &make();
    let kinds = [Kind::Put, Kind::Pointer, Kind::Delete, Kind::Purge];
    let large = vec![0x5a; sized(3 << 20, 9000)];
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

/// The order is by family first, whatever bytes the keys have.
pub fn families_are_apart<I: MemIndex>(make: &impl Fn() -> I) {
    let index = make();
    let mut keys = Vec::new();
    let families = [0, 256, u32::MAX - 1, 1, 2, 255, 65_536, 1 << 24];
    for cf in &families[..sized(8, 3)] {
        for user_key in [&b""[..], b"\0", b"a", b"ab", b"\0\0\0\x01", b"\xff\xff\xff\xff\xff"] {
            keys.push(KeyBuf { cf: CfId(*cf), user_key: user_key.to_vec() });
        }
    }
    check_moves(index, keys, 11);
}

/// A cursor keeps the index alive, on another thread as well.
pub fn cursor_outlives_the_handle<I: MemIndex>(make: &impl Fn() -> I) {
    let index = Arc::new(make());
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
pub fn cursor_stays_while_others_insert<I: MemIndex>(make: &impl Fn() -> I) {
    let index = Arc::new(make());
    let mut course = Course::new(77);
    let mut model = BTreeMap::new();
    let mut cursor = index.cursor();
    for seq in 1..=sized(4000u64, 80) {
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

/// Memory that is counted is at least what was put in, and not twice as much.
pub fn memory_is_counted<I: MemIndex>(make: &impl Fn() -> I) {
    let index = &make();
    let before = index.memory_bytes();
    assert!(before < 1 << 20, "an empty index holds {before} bytes");
    let (count, value) = (sized(2000u64, 20), [1u8; 500]);
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
