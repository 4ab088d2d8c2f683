//! Range deletes of one source, cut into disjoint fragments so that a lookup is one binary search.
//!
//! Invariant: fragments are sorted by (cf, start) and disjoint; the seqs of a fragment descend.

use alloc::vec::Vec;

use nokv_formats::{CfId, KeyRef, RangeDelete, Seq};

/// A piece of key space that the same range deletes cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Family.
    pub cf: CfId,
    /// First key covered.
    pub start: Vec<u8>,
    /// First key not covered.
    pub end: Vec<u8>,
    /// The range deletes that cover it, newest first.
    pub seqs: Vec<Seq>,
}

/// A set of range deletes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    fragments: Vec<Fragment>,
}

impl RangeSet {
    /// An empty set.
    pub const fn new() -> Self {
        Self { fragments: Vec::new() }
    }

    /// The set of `deletes`.
    pub fn of<'a>(deletes: impl IntoIterator<Item = &'a RangeDelete>) -> Self {
        let mut set = Self::new();
        for delete in deletes {
            set.insert(delete.cf, &delete.start, &delete.end, delete.seq);
        }
        set
    }

    /// True when nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    /// The fragments, in key order.
    pub fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    /// Bytes of memory, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.fragments
            .iter()
            .map(|f| size_of::<Fragment>() + f.start.len() + f.end.len() + f.seqs.len() * size_of::<Seq>())
            .sum()
    }

    /// Adds a range delete; an empty range adds nothing.
    pub fn insert(&mut self, cf: CfId, start: &[u8], end: &[u8], seq: Seq) {
        if start >= end {
            return;
        }
        // Everything that ends behind `start`, up to everything that starts before `end`.
        let from = self.fragments.partition_point(|f| (f.cf, f.end.as_slice()) <= (cf, start));
        let to = self.fragments.partition_point(|f| (f.cf, f.start.as_slice()) < (cf, end));
        let mut pieces = Vec::with_capacity((to - from) * 2 + 1);
        let mut covered_to = start.to_vec();
        for f in self.fragments.drain(from..to).collect::<Vec<_>>() {
            if f.start > covered_to {
                pieces.push(Fragment {
                    cf,
                    start: core::mem::take(&mut covered_to),
                    end: f.start.clone(),
                    seqs: [seq].to_vec(),
                });
                covered_to.clone_from(&f.start);
            } else if f.start < covered_to {
                pieces.push(Fragment { cf, start: f.start, end: covered_to.clone(), seqs: f.seqs.clone() });
            }
            let inner_end = if f.end.as_slice() > end { end.to_vec() } else { f.end.clone() };
            let mut seqs = f.seqs.clone();
            let at = seqs.partition_point(|s| *s > seq);
            seqs.insert(at, seq);
            pieces.push(Fragment { cf, start: covered_to, end: inner_end.clone(), seqs });
            if f.end > inner_end {
                pieces.push(Fragment { cf, start: inner_end.clone(), end: f.end, seqs: f.seqs });
            }
            covered_to = inner_end;
        }
        if covered_to.as_slice() < end {
            pieces.push(Fragment { cf, start: covered_to, end: end.to_vec(), seqs: [seq].to_vec() });
        }
        self.fragments.splice(from..from, pieces);
    }

    /// The seqs of the range deletes that cover `key`, newest first.
    #[inline]
    pub fn covering(&self, key: KeyRef<'_>) -> &[Seq] {
        if self.fragments.is_empty() {
            return &[];
        }
        let at = self.fragments.partition_point(|f| (f.cf, f.end.as_slice()) <= (key.cf, key.user_key));
        match self.fragments.get(at) {
            Some(f) if f.cf == key.cf && f.start.as_slice() <= key.user_key => &f.seqs,
            _ => &[],
        }
    }

    /// The newest range delete up to `seq` that covers `key`.
    #[inline]
    pub fn newest_covering(&self, key: KeyRef<'_>, seq: Seq) -> Option<Seq> {
        self.covering(key).iter().copied().find(|s| *s <= seq)
    }

    /// All range deletes as the fragments say them.
    pub fn to_deletes(&self) -> impl Iterator<Item = RangeDelete> + '_ {
        self.fragments.iter().flat_map(|f| {
            f.seqs.iter().map(|seq| RangeDelete {
                cf: f.cf,
                start: f.start.clone(),
                end: f.end.clone(),
                seq: *seq,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_naive_list(
            deletes in prop::collection::vec((0u32..2, 0u8..12, 0u8..12), 0..20),
        ) {
            let mut set = RangeSet::new();
            for (i, (cf, a, b)) in deletes.iter().enumerate() {
                set.insert(CfId(*cf), &[*a], &[*b], Seq(i as u64 + 1));
            }
            for pair in set.fragments().windows(2) {
                prop_assert!((pair[0].cf, &pair[0].end) <= (pair[1].cf, &pair[1].start));
            }
            for cf in 0..2 {
                for k in 0u8..12 {
                    let mut want: Vec<_> = deletes.iter().enumerate()
                        .filter(|(_, (c, a, b))| *c == cf && *a <= k && k < *b)
                        .map(|(i, _)| Seq(i as u64 + 1)).collect();
                    want.reverse();
                    prop_assert_eq!(set.covering(KeyRef::new(CfId(cf), &[k])), &want[..]);
                }
            }
            let again = RangeSet::of(&set.to_deletes().collect::<Vec<_>>());
            prop_assert_eq!(again, set);
        }
    }
}
