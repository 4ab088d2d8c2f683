//! Random operations on an index, compared with a map.

use std::collections::BTreeMap;
use std::sync::Arc;

use nokv_core::formats::{CfId, KeyBuf};
use nokv_core::{Cursor, MemIndex};

use super::{Course, keys_back, put, sized, stamps};

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

/// Random operations with many shapes of keys give what a map gives.
pub fn random_operations<I: MemIndex>(make: &impl Fn() -> I) {
    for seed in 0..sized(40, 2) {
        check_ops(make(), &random_ops(seed, sized(600, 30)));
    }
}
