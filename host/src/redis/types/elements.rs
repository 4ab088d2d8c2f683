//! What collections of all types have in common: walks over elements, limits of names, picks by rank.

use std::collections::BTreeMap;

use nokv_core::formats::redis::{Head, Kind, NAME_BYTES_MAX};
use nokv_core::read::point::Value;
use nokv_core::{Error, Result};

use crate::redis::fail::{Answer, Fail};
use crate::redis::store::backend::{Cursor, Table};
use crate::redis::store::keyspace::{Collection, Keyspace, part_of};

/// Up to so many elements a hash is compact, as Redis has it by default.
const COMPACT_HASH_MAX: u64 = 512;
/// Up to so many integers a set is compact.
const COMPACT_INTEGERS_MAX: u64 = 512;
/// Up to so many members of other kinds a set is compact, and a sorted set.
const COMPACT_MEMBERS_MAX: u64 = 128;
/// Up to this length of the longest element, but for sets of integers.
const COMPACT_BYTES_MAX: u32 = 64;

/// An element that is not further than this is walked to.
const WALK_MAX: u64 = 256;

/// Refuses a member or field that is too long.
///
/// # Errors
/// [`Error::KeyTooLarge`].
pub fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_BYTES_MAX { Err(Error::KeyTooLarge(name.len())) } else { Ok(()) }
}

/// Would Redis keep such a collection in one piece? Then SCAN gives it whole.
pub const fn is_compact(kind: Kind, head: &Head) -> bool {
    let count_max = match kind {
        Kind::Set if !head.has(Head::NOT_INTEGERS) => return head.count <= COMPACT_INTEGERS_MAX,
        Kind::Set | Kind::SortedSet => COMPACT_MEMBERS_MAX,
        Kind::Hash => COMPACT_HASH_MAX,
        Kind::String | Kind::List => return false,
    };
    head.count <= count_max && head.longest <= COMPACT_BYTES_MAX
}

/// A cursor before the first element whose part is at or behind `from`.
///
/// # Errors
/// What the store met.
pub fn walk(keys: &mut Keyspace, of: &Collection<'_>, from: &[u8]) -> Result<Box<dyn Cursor>> {
    keys.txn().scan(Table::Elements, &of.element(from), Some(&of.end()), false)
}

/// The elements of these ranks, in the order in which elements are stored. `ranks` ascend and may repeat.
///
/// # Errors
/// What the store met.
pub fn pick(keys: &mut Keyspace, of: &Collection<'_>, ranks: &[u64]) -> Answer<Vec<(Vec<u8>, Value)>> {
    let mut picked: Vec<(Vec<u8>, Value)> = Vec::with_capacity(ranks.len());
    let mut cursor = walk(keys, of, &[])?;
    // The rank of the element that the cursor comes to next.
    let mut next = 0;
    for rank in ranks {
        if *rank + 1 == next
            && let Some(same) = picked.last().cloned()
        {
            picked.push(same);
            continue;
        }
        if *rank - next > WALK_MAX {
            cursor = keys.seek_rank(of, Table::Elements, *rank, false)?;
            next = *rank;
        }
        while next <= *rank {
            if !cursor.advance()? {
                return Err(Fail::of("ERR storage: a collection has fewer elements than its head says"));
            }
            next += 1;
        }
        picked.push((part_of(cursor.key()).to_vec(), cursor.entry()?.value));
    }
    Ok(picked)
}

/// `count` elements that chance picks, one independent of the other, in the order in which they were picked.
///
/// # Errors
/// What the store met.
pub fn pick_any(keys: &mut Keyspace, of: &Collection<'_>, count: u64) -> Answer<Vec<(Vec<u8>, Value)>> {
    let drawn: Vec<u64> = (0..count).map(|_| super::random::below(of.head.count)).collect();
    let mut ranks = drawn.clone();
    ranks.sort_unstable();
    ranks.dedup();
    let found: BTreeMap<u64, (Vec<u8>, Value)> = ranks.iter().copied().zip(pick(keys, of, &ranks)?).collect();
    Ok(drawn.iter().filter_map(|rank| found.get(rank).cloned()).collect())
}

/// `count` different elements that chance picks, or all if there are no more.
///
/// # Errors
/// What the store met.
pub fn pick_distinct(keys: &mut Keyspace, of: &Collection<'_>, count: u64) -> Answer<Vec<(Vec<u8>, Value)>> {
    pick(keys, of, &super::random::distinct(count, of.head.count))
}
