//! Single writes of a table in key order: a sorted list while they are few, as those of a command are, a tree of more.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::changes::Put;

/// So many stand in the list.
const FEW: usize = 32;

type Write = (Vec<u8>, Option<Put>);

/// Single writes of a table; `None` is a delete.
#[derive(Debug, Default)]
pub struct Writes {
    few: Vec<Write>,
    /// All of them, once they were more.
    many: BTreeMap<Vec<u8>, Option<Put>>,
}

impl Writes {
    /// How many.
    pub fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_empty()
    }

    fn place(&self, key: &[u8]) -> Result<usize, usize> {
        self.few.binary_search_by(|(other, _)| other.as_slice().cmp(key))
    }

    /// Adds a write, in place of an earlier one of the key.
    pub fn insert(&mut self, key: &[u8], put: Option<Put>) {
        if !self.many.is_empty() {
            self.many.insert(key.to_vec(), put);
            return;
        }
        match self.place(key) {
            Ok(at) => self.few[at].1 = put,
            Err(at) if self.few.len() < FEW => self.few.insert(at, (key.to_vec(), put)),
            Err(_) => {
                self.many.extend(self.few.drain(..));
                self.many.insert(key.to_vec(), put);
            }
        }
    }

    /// The write of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Option<Put>> {
        if self.many.is_empty() {
            return self.place(key).ok().map(|at| &self.few[at].1);
        }
        self.many.get(key)
    }

    /// Forgets those whose key is none to keep.
    pub fn retain(&mut self, keeps: impl Fn(&[u8]) -> bool) {
        self.few.retain(|(key, _)| keeps(key));
        self.many.retain(|key, _| keeps(key));
    }

    /// Forgets all; the list keeps its memory.
    pub fn clear(&mut self) {
        self.few.clear();
        if !self.many.is_empty() {
            self.many = BTreeMap::new();
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Option<Put>)> {
        // One of the two is empty.
        self.few.iter().map(|(key, put)| (key, put)).chain(&self.many)
    }

    /// Takes those in `lower..upper` out, in order.
    pub fn drain(&mut self, lower: &[u8], upper: &[u8]) -> Vec<Write> {
        if self.many.is_empty() {
            let from = self.few.partition_point(|(key, _)| key.as_slice() < lower);
            let to = self.few.partition_point(|(key, _)| key.as_slice() < upper).max(from);
            return self.few.drain(from..to).collect();
        }
        if upper <= lower {
            return Vec::new();
        }
        let mut taken = self.many.split_off(lower);
        let mut behind = taken.split_off(upper);
        self.many.append(&mut behind);
        taken.into_iter().collect()
    }

    /// Those in `lower..upper`, in order.
    pub fn range<'a>(
        &'a self,
        lower: &'a [u8],
        upper: Option<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a Option<Put>)> {
        let from = self.few.partition_point(|(key, _)| key.as_slice() < lower);
        let to = upper.map_or(self.few.len(), |upper| {
            self.few.partition_point(|(key, _)| key.as_slice() < upper).max(from)
        });
        let is_empty = self.many.is_empty() || upper.is_some_and(|upper| upper <= lower);
        let bounds = (Bound::Included(lower), upper.map_or(Bound::Unbounded, Bound::Excluded));
        let many = (!is_empty).then(|| self.many.range::<[u8], _>(bounds)).into_iter().flatten();
        self.few[from..to].iter().map(|(key, put)| (key, put)).chain(many)
    }
}

impl IntoIterator for Writes {
    type Item = Write;
    type IntoIter = std::iter::Chain<
        std::vec::IntoIter<Write>,
        std::collections::btree_map::IntoIter<Vec<u8>, Option<Put>>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.few.into_iter().chain(self.many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(n: usize) -> Option<Put> {
        (!n.is_multiple_of(3)).then(|| Put { value: n.to_string().into_bytes(), kind: 0, expires_at: 0 })
    }

    /// Few and many writes are as a tree has them.
    #[test]
    fn few_and_many_are_the_same() {
        for count in [0, 1, FEW - 1, FEW, FEW + 1, 5 * FEW] {
            let (mut writes, mut tree) = (Writes::default(), BTreeMap::new());
            for n in 0..count {
                // Some of them twice, in no order.
                let key = (n * 37 % (count - count / 4)).to_string().into_bytes();
                writes.insert(&key, put(n));
                tree.insert(key, put(n));
            }
            assert_eq!((writes.len(), writes.is_empty()), (tree.len(), tree.is_empty()));
            assert!(writes.iter().eq(tree.iter()));
            assert!(tree.iter().all(|(key, put)| writes.get(key) == Some(put)));
            assert_eq!(writes.get(b"x"), None);
            let bounds: [&[u8]; 5] = [b"", b"1", b"17", b"2", b"z"];
            for lower in bounds {
                assert!(writes.range(lower, None).eq(tree.iter().filter(|(key, _)| key.as_slice() >= lower)));
                for upper in bounds {
                    let within = |key: &[u8]| lower <= key && key < upper;
                    assert!(writes.range(lower, Some(upper)).eq(tree.iter().filter(|(key, _)| within(key))));
                }
            }
            for (lower, upper) in [(&b"11"[..], &b"13"[..]), (b"13", b"11"), (b"x", b"y")] {
                let within = |key: &[u8]| lower <= key && key < upper;
                let (taken, left): (Vec<_>, Vec<_>) = tree.into_iter().partition(|(key, _)| within(key));
                assert_eq!(writes.drain(lower, upper), taken);
                tree = left.into_iter().collect();
                assert!(writes.iter().eq(tree.iter()));
            }
            writes.retain(|key| key.len() == 1);
            tree.retain(|key, _| key.len() == 1);
            assert!(writes.iter().rev().eq(tree.iter().rev()));
            assert!(writes.into_iter().eq(tree));
        }
    }
}
