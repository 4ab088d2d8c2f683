//! Room between neighbours of a list, where positions have run out.
//!
//! A window around the place is widened, twice as large each time, until its elements have enough room on average; then
//! they are spread out evenly over it. The room that is asked for grows with the window, so that after each spread its
//! halves take many insertions before they are full again: an insertion moves O(log n) elements on average, wherever
//! it is.

use nokv_core::formats::redis::Head;
use nokv_core::read::point::Value;

use super::list::{START, STRIDE, Side, position, walk_between};
use crate::redis::fail::{Answer, Fail};
use crate::redis::store::backend::Table;
use crate::redis::store::keyspace::{Collection, Keyspace};

/// Elements on each side of the place in the first window.
const SIDE_OF_FIRST_WINDOW: usize = 16;
/// Distance of elements that is asked for in the first window; in the next ones half as much again each time.
const FIRST_ROOM: u64 = 16;

const NO_ROOM: Fail = Fail::of("ERR the list has no room left");

/// What stands on one side of the place, the nearest first.
struct Half {
    elements: Vec<(u64, Value)>,
    /// The position behind them; `None` at the list's end.
    bound: Option<u64>,
}

/// Spreads out elements around the place behind `low`, whose neighbour is the next number; gives a free position
/// between them.
///
/// # Errors
/// What the store met.
pub fn make_room(keys: &mut Keyspace, of: &mut Collection<'_>, low: u64) -> Answer<u64> {
    let (mut size, mut room) = (SIDE_OF_FIRST_WINDOW, FIRST_ROOM);
    loop {
        let left = half(keys, of, (0, low), Side::Right, size)?;
        let right = half(keys, of, (low + 1, u64::MAX), Side::Left, size)?;
        let is_all = left.bound.is_none() && right.bound.is_none();
        // One more: the new element.
        let slots = (left.elements.len() + right.elements.len() + 1) as u64;
        if let Some((below, distance)) = place(&left, &right, slots)
            && (is_all || distance >= room)
        {
            return spread(keys, of, &left, &right, (below, distance));
        }
        if is_all {
            return Err(NO_ROOM);
        }
        size *= 2;
        room += room / 2;
    }
}

/// The number below the first slot of a window, and the distance of its slots: even within its bounds, by strides where
/// the list ends.
fn place(left: &Half, right: &Half, slots: u64) -> Option<(u64, u64)> {
    let wanted = (slots + 1).checked_mul(STRIDE)?;
    let (below, behind) = match (left.bound, right.bound) {
        (Some(below), Some(behind)) => (below, behind),
        (Some(below), None) => (below, below.saturating_add(wanted)),
        (None, Some(behind)) => (behind.saturating_sub(wanted), behind),
        (None, None) => {
            let below = START.checked_sub(wanted / 2)?;
            (below, below.checked_add(wanted)?)
        }
    };
    Some((below, (behind - below) / (slots + 1)))
}

fn half(
    keys: &mut Keyspace,
    of: &Collection<'_>,
    range: (u64, u64),
    side: Side,
    size: usize,
) -> Answer<Half> {
    let mut cursor = walk_between(keys, of, range, side)?;
    let mut elements = Vec::with_capacity(size);
    while cursor.advance()? {
        let at = position(cursor.key())?;
        if elements.len() == size {
            return Ok(Half { elements, bound: Some(at) });
        }
        elements.push((at, cursor.entry()?.value));
    }
    Ok(Half { elements, bound: None })
}

/// Gives the elements their slots; gives the position of the slot between the halves.
fn spread(
    keys: &mut Keyspace,
    of: &mut Collection<'_>,
    left: &Half,
    right: &Half,
    (below, distance): (u64, u64),
) -> Answer<u64> {
    if distance == 0 {
        return Err(NO_ROOM);
    }
    let all = || left.elements.iter().rev().chain(&right.elements);
    // ORDER: an element's new position may be another's old one.
    for (at, _) in all() {
        keys.delete_entry(Table::Elements, &of.element(&at.to_be_bytes()));
    }
    let slot = |number: usize| below + (number as u64 + 1) * distance;
    let hole = left.elements.len();
    for (number, (_, value)) in all().enumerate() {
        let number = number + usize::from(number >= hole);
        keys.put_entry(Table::Elements, &of.element(&slot(number).to_be_bytes()), value.to_vec(), false);
    }
    if let Some((first, last)) = &mut of.head.ends {
        if left.bound.is_none() {
            *first = slot(0);
        }
        if right.bound.is_none() {
            *last = slot(hole + right.elements.len());
        }
    }
    of.head.flags |= Head::HAS_GAPS;
    Ok(slot(hole))
}

/// Moves all elements to positions one stride apart around [`START`].
///
/// # Errors
/// What the store met.
pub fn recenter(keys: &mut Keyspace, of: &mut Collection<'_>) -> Answer<()> {
    let mut cursor = walk_between(keys, of, (0, u64::MAX), Side::Left)?;
    let before = (of.head.count / 2).checked_mul(STRIDE).ok_or(NO_ROOM)?;
    let first = START.checked_sub(before).ok_or(NO_ROOM)?;
    // The cursor does not see what is written behind it.
    keys.txn().delete_range(Table::Elements, &of.element(&[]), Some(&of.end()));
    let mut next = first;
    let mut last = first;
    while cursor.advance()? {
        let value = cursor.entry()?.value.into_vec();
        keys.txn().set(Table::Elements, &of.element(&next.to_be_bytes()), value);
        last = next;
        next = next.checked_add(STRIDE).ok_or(NO_ROOM)?;
    }
    of.head.ends = Some((first, last));
    of.head.flags &= !Head::HAS_GAPS;
    Ok(())
}
