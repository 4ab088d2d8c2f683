//! Elements in an order: one element for each, under its position.
//!
//! 1. Positions ascend from the left to the right; `Head::ends` are those of the first and the last element. A new list
//!    begins at [`START`]; each push goes one [`STRIDE`] further out.
//! 2. Unless `Head::HAS_GAPS` is set, neighbours are one stride apart, so an index gives the position. Otherwise ranks do:
//!    see [`crate::redis::store::ranks`].
//! 3. An insertion takes a number between its neighbours; see [`super::spread`] for where there is none.

use nokv_core::formats::redis::Head;
use nokv_core::read::point::Value;

use super::spread;
use crate::redis::fail::{Answer, Fail};
use crate::redis::store::backend::{Cursor, Table};
use crate::redis::store::keyspace::{Collection, Keyspace, part_of};

/// The position of the first element of a new list.
pub const START: u64 = 1 << 63;
/// The distance of a pushed element from its neighbour.
pub const STRIDE: u64 = 1 << 20;
/// Elements at an end that are removed one by one; more are a range.
const SINGLE_DELETES_MAX: u64 = 32;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where the first element is.
    Left,
    /// Where the last element is.
    Right,
}

impl Side {
    /// The next position behind `at`, seen from this side.
    const fn inwards(self, at: u64) -> Option<u64> {
        match self {
            Self::Left => at.checked_add(STRIDE),
            Self::Right => at.checked_sub(STRIDE),
        }
    }

    /// The next position outside of `at`.
    const fn outwards(self, at: u64) -> Option<u64> {
        match self {
            Self::Left => at.checked_sub(STRIDE),
            Self::Right => at.checked_add(STRIDE),
        }
    }
}

const fn is_even(of: &Collection<'_>) -> bool {
    !of.head.has(Head::HAS_GAPS)
}

const MISSING: Fail = Fail::of("ERR storage: a list has fewer elements than its head says");

/// The position in an element's key.
///
/// # Errors
/// It is none.
pub(super) fn position(key: &[u8]) -> Answer<u64> {
    let part =
        part_of(key).try_into().map_err(|_| Fail::of("ERR storage: an element of a list has no position"))?;
    Ok(u64::from_be_bytes(part))
}

fn key(of: &Collection<'_>, position: u64) -> Vec<u8> {
    of.element(&position.to_be_bytes())
}

/// A cursor over the positions from `first` to `last`, beginning at `side`.
pub(super) fn walk_between(
    keys: &mut Keyspace,
    of: &Collection<'_>,
    (first, last): (u64, u64),
    side: Side,
) -> Answer<Box<dyn Cursor>> {
    let upper = last.checked_add(1).map_or_else(|| of.end(), |behind| key(of, behind));
    Ok(keys.txn().scan(Table::Elements, &key(of, first), Some(&upper), side == Side::Right)?)
}

/// A cursor over all elements, beginning at `side`.
///
/// # Errors
/// What the store met.
pub fn walk_from(keys: &mut Keyspace, of: &Collection<'_>, side: Side) -> Answer<Box<dyn Cursor>> {
    walk_between(keys, of, of.head.ends.unwrap_or((0, u64::MAX)), side)
}

/// The position of the element at `index`, which there is.
///
/// # Errors
/// What the store met.
pub fn position_of(keys: &mut Keyspace, of: &Collection<'_>, index: u64) -> Answer<u64> {
    let Some((first, last)) = of.head.ends else { return Err(MISSING) };
    let from_end = of.head.count.checked_sub(index + 1).ok_or(MISSING)?;
    if index == 0 {
        return Ok(first);
    }
    if from_end == 0 {
        return Ok(last);
    }
    if is_even(of) {
        return index.checked_mul(STRIDE).and_then(|offset| first.checked_add(offset)).ok_or(MISSING);
    }
    let mut cursor = keys.seek_rank(of, Table::Elements, index, false)?;
    if !cursor.advance()? {
        return Err(MISSING);
    }
    position(cursor.key())
}

/// The element at `index`, which there is.
///
/// # Errors
/// What the store met.
pub fn get(keys: &mut Keyspace, of: &Collection<'_>, index: u64) -> Answer<Value> {
    let at = key(of, position_of(keys, of, index)?);
    Ok(keys.txn().get(Table::Elements, &at)?.ok_or(MISSING)?.value)
}

/// Replaces the element at `index`, which there is.
///
/// # Errors
/// What the store met.
pub fn set(keys: &mut Keyspace, of: &mut Collection<'_>, index: u64, element: &[u8]) -> Answer<()> {
    let at = position_of(keys, of, index)?;
    put(keys, of, at, element, true);
    Ok(())
}

/// Gives the elements from index `start` to `stop`, which there are, to `each`.
///
/// # Errors
/// What the store met.
pub fn range(
    keys: &mut Keyspace,
    of: &Collection<'_>,
    (start, stop): (u64, u64),
    mut each: impl FnMut(&[u8]),
) -> Answer<()> {
    let from = position_of(keys, of, start)?;
    let mut cursor = walk_between(keys, of, (from, u64::MAX), Side::Left)?;
    for _ in start..=stop {
        if !cursor.advance()? {
            return Err(MISSING);
        }
        cursor.with_value(&mut each)?;
    }
    Ok(())
}

fn put(keys: &mut Keyspace, of: &mut Collection<'_>, position: u64, element: &[u8], stands: bool) {
    of.note_length(element.len());
    keys.put_entry(Table::Elements, &key(of, position), element.to_vec(), stands);
}

/// Adds an element at an end.
///
/// # Errors
/// What the store met.
pub fn push(keys: &mut Keyspace, of: &mut Collection<'_>, side: Side, element: &[u8]) -> Answer<()> {
    let at = match of.head.ends {
        None => START,
        Some(_) => match outside(of, side) {
            Some(at) => at,
            None => {
                // It was pushed to one end and taken from the other as often as there are numbers.
                spread::recenter(keys, of)?;
                outside(of, side).ok_or(Fail::of("ERR the list has no room left"))?
            }
        },
    };
    of.head.ends = Some(match (of.head.ends, side) {
        (None, _) => (at, at),
        (Some((_, last)), Side::Left) => (at, last),
        (Some((first, _)), Side::Right) => (first, at),
    });
    of.head.count += 1;
    put(keys, of, at, element, false);
    Ok(())
}

fn outside(of: &Collection<'_>, side: Side) -> Option<u64> {
    let (first, last) = of.head.ends?;
    side.outwards(if side == Side::Left { first } else { last })
}

/// Takes up to `n` elements from an end, the outermost first.
///
/// # Errors
/// What the store met.
pub fn take(keys: &mut Keyspace, of: &mut Collection<'_>, side: Side, n: u64) -> Answer<Vec<Value>> {
    let n = n.min(of.head.count);
    let Some((first, last)) = of.head.ends else { return Ok(Vec::new()) };
    let mut taken = Vec::new();
    if n == 1 {
        let at = key(of, if side == Side::Left { first } else { last });
        taken.push(keys.txn().get(Table::Elements, &at)?.ok_or(MISSING)?.value);
    } else if n > 1 {
        let mut cursor = walk_from(keys, of, side)?;
        for _ in 0..n {
            if !cursor.advance()? {
                return Err(MISSING);
            }
            taken.push(cursor.entry()?.value);
        }
    }
    cut(keys, of, side, n)?;
    Ok(taken)
}

/// Removes `n` elements at an end; there are as many.
///
/// # Errors
/// What the store met.
pub fn cut(keys: &mut Keyspace, of: &mut Collection<'_>, side: Side, n: u64) -> Answer<()> {
    let Some((first, last)) = of.head.ends else { return Ok(()) };
    if n == 0 {
        return Ok(());
    }
    if n <= SINGLE_DELETES_MAX {
        return cut_few(keys, of, side, n);
    }
    if n >= of.head.count {
        keys.txn().delete_range(Table::Elements, &key(of, first), Some(&of.end()));
        clear(of);
        return Ok(());
    }
    // The first that stays.
    let index = if side == Side::Left { n } else { of.head.count - 1 - n };
    let stays = position_of(keys, of, index)?;
    let (lower, upper) = match side {
        Side::Left => (key(of, first), key(of, stays)),
        Side::Right => (key(of, stays + 1), of.end()),
    };
    keys.txn().delete_range(Table::Elements, &lower, Some(&upper));
    of.head.ends = Some(if side == Side::Left { (stays, last) } else { (first, stays) });
    of.head.count -= n;
    settle(of);
    Ok(())
}

fn cut_few(keys: &mut Keyspace, of: &mut Collection<'_>, side: Side, n: u64) -> Answer<()> {
    let Some((first, last)) = of.head.ends else { return Ok(()) };
    let is_left = side == Side::Left;
    let mut goes = Vec::new();
    let mut stays = None;
    if is_even(of) {
        let mut at = if is_left { Some(first) } else { Some(last) };
        for _ in 0..n {
            goes.push(at.ok_or(MISSING)?);
            at = at.and_then(|at| side.inwards(at));
        }
        stays = at;
    } else {
        let mut cursor = walk_from(keys, of, side)?;
        while cursor.advance()? {
            let at = position(cursor.key())?;
            if goes.len() as u64 == n {
                stays = Some(at);
                break;
            }
            goes.push(at);
        }
    }
    for at in goes {
        keys.delete_entry(Table::Elements, &key(of, at));
    }
    if n >= of.head.count {
        clear(of);
        return Ok(());
    }
    let stays = stays.ok_or(MISSING)?;
    of.head.ends = Some(if is_left { (stays, last) } else { (first, stays) });
    of.head.count -= n;
    settle(of);
    Ok(())
}

/// It is empty now.
const fn clear(of: &mut Collection<'_>) {
    of.head.count = 0;
    of.head.ends = None;
    of.head.flags &= !Head::HAS_GAPS;
}

/// Notes whether elements are missing between the ends. Only if all stand on the grid of strides can that be seen from
/// the ends; a list that had gaps keeps them until one element is left.
const fn settle(of: &mut Collection<'_>) {
    let Some((first, last)) = of.head.ends else { return };
    if of.head.count <= 1 {
        of.head.flags &= !Head::HAS_GAPS;
    } else if is_even(of) && (last - first) / STRIDE != of.head.count - 1 {
        of.head.flags |= Head::HAS_GAPS;
    }
}

/// Removes elements equal to `element`, beginning at `side`, at most `limit`; gives their number.
///
/// # Errors
/// What the store met.
pub fn remove(
    keys: &mut Keyspace,
    of: &mut Collection<'_>,
    side: Side,
    limit: u64,
    element: &[u8],
) -> Answer<u64> {
    let mut cursor = walk_from(keys, of, side)?;
    let mut goes = Vec::new();
    while (goes.len() as u64) < limit && cursor.advance()? {
        if *cursor.entry()?.value == *element {
            goes.push(position(cursor.key())?);
        }
    }
    drop(cursor);
    let Some((mut first, mut last)) = of.head.ends else { return Ok(0) };
    let removed = goes.len() as u64;
    for at in &goes {
        keys.delete_entry(Table::Elements, &key(of, *at));
    }
    if removed >= of.head.count {
        clear(of);
        return Ok(removed);
    }
    for (end, side) in [(&mut first, Side::Left), (&mut last, Side::Right)] {
        if goes.contains(end) {
            let mut cursor = walk_from(keys, of, side)?;
            if !cursor.advance()? {
                return Err(MISSING);
            }
            *end = position(cursor.key())?;
        }
    }
    of.head.ends = Some((first, last));
    of.head.count -= removed;
    settle(of);
    Ok(removed)
}

/// Inserts `element` before (seen from the left) or behind the first element equal to `pivot`; false if there is none.
///
/// # Errors
/// What the store met.
pub fn insert(
    keys: &mut Keyspace,
    of: &mut Collection<'_>,
    is_before: bool,
    pivot: &[u8],
    element: &[u8],
) -> Answer<bool> {
    let mut cursor = walk_from(keys, of, Side::Left)?;
    let (mut before, mut found) = (None, None);
    while cursor.advance()? {
        let at = position(cursor.key())?;
        if *cursor.entry()?.value == *pivot {
            found = Some(at);
            break;
        }
        before = Some(at);
    }
    let Some(at) = found else { return Ok(false) };
    let (low, high) = if is_before {
        (before, Some(at))
    } else {
        let after = if cursor.advance()? { Some(position(cursor.key())?) } else { None };
        (Some(at), after)
    };
    drop(cursor);
    let (low, high) = match (low, high) {
        (Some(low), Some(high)) => (low, high),
        (None, _) => return push(keys, of, Side::Left, element).map(|()| true),
        (_, None) => return push(keys, of, Side::Right, element).map(|()| true),
    };
    let at = if high - low > 1 { low + (high - low) / 2 } else { spread::make_room(keys, of, low)? };
    of.head.count += 1;
    of.head.flags |= Head::HAS_GAPS;
    put(keys, of, at, element, false);
    Ok(true)
}

#[cfg(test)]
mod tests;
