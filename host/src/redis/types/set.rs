//! Members: one empty element for each. They are stored in the order of their bytes, so that several sets can be
//! walked side by side.

use nokv_core::formats::redis::{Head, Kind};

use super::elements::{check_name, walk};
use crate::redis::commands::args::parse_integer;
use crate::redis::fail::Answer;
use crate::redis::store::backend::{Cursor, Table};
use crate::redis::store::keyspace::{Collection, Keyspace, part_of};

/// A look for a member costs about so many steps of a walk.
const STEPS_OF_A_LOOK: u64 = 8;

/// Is it a member?
///
/// # Errors
/// What the store met; the member is too long.
pub fn has(keys: &mut Keyspace, of: &Collection<'_>, member: &[u8]) -> Answer<bool> {
    check_name(member)?;
    Ok(keys.txn().get(Table::Elements, &of.element(member))?.is_some())
}

/// Adds a member; false if it was there.
///
/// # Errors
/// As [`has`].
pub fn add(keys: &mut Keyspace, of: &mut Collection<'_>, member: &[u8]) -> Answer<bool> {
    if has(keys, of, member)? {
        return Ok(false);
    }
    note(of, member);
    of.head.count += 1;
    of.note_length(member.len());
    keys.put_entry(Table::Elements, &of.element(member), Vec::new(), false);
    Ok(true)
}

/// Removes a member; false if it was not there.
///
/// # Errors
/// As [`has`].
pub fn remove(keys: &mut Keyspace, of: &mut Collection<'_>, member: &[u8]) -> Answer<bool> {
    let is_there = has(keys, of, member)?;
    if is_there {
        of.head.count = of.head.count.saturating_sub(1);
        keys.delete_entry(Table::Elements, &of.element(member));
    }
    Ok(is_there)
}

/// A set of integers has another member now.
fn note(of: &mut Collection<'_>, member: &[u8]) {
    if !of.head.has(Head::NOT_INTEGERS) && parse_integer(member).is_none() {
        of.head.flags |= Head::NOT_INTEGERS;
    }
}

/// What to make of several sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// Members of all.
    Inter,
    /// Members of any.
    Union,
    /// Members of the first that no other has.
    Diff,
}

/// Gives the members of a combination to `each`, every one once and in the order of bytes, until it says `false`. A set
/// that is `None` is empty.
///
/// # Errors
/// What the store met; what `each` says.
pub fn combine(
    keys: &mut Keyspace,
    how: Combine,
    sets: &[Option<Collection<'_>>],
    mut each: impl FnMut(&mut Keyspace, &[u8]) -> Answer<bool>,
) -> Answer<()> {
    let is_empty = match how {
        Combine::Inter => sets.iter().any(Option::is_none),
        Combine::Diff => sets.first().is_none_or(Option::is_none),
        Combine::Union => false,
    };
    if is_empty {
        return Ok(());
    }
    let mut there: Vec<&Collection<'_>> = sets.iter().flatten().collect();
    if how == Combine::Inter {
        there.sort_by_key(|set| set.head.count);
    }
    let Some((first, others)) = there.split_first() else { return Ok(()) };
    let total: u64 = there.iter().map(|set| set.head.count).sum();
    let looks = first.head.count.saturating_mul(others.len() as u64);
    if how != Combine::Union && looks.saturating_mul(STEPS_OF_A_LOOK) <= total {
        return by_looks(keys, how, first, others, &mut each);
    }
    side_by_side(keys, how, &there, &mut each)
}

/// Walks the first set and looks each member up in the others.
fn by_looks(
    keys: &mut Keyspace,
    how: Combine,
    first: &Collection<'_>,
    others: &[&Collection<'_>],
    each: &mut impl FnMut(&mut Keyspace, &[u8]) -> Answer<bool>,
) -> Answer<()> {
    let mut cursor = walk(keys, first, &[])?;
    'members: while cursor.advance()? {
        let member = part_of(cursor.key());
        for other in others {
            if has(keys, other, member)? != (how == Combine::Inter) {
                continue 'members;
            }
        }
        if !each(keys, member)? {
            break;
        }
    }
    Ok(())
}

/// Walks all sets at once.
fn side_by_side(
    keys: &mut Keyspace,
    how: Combine,
    sets: &[&Collection<'_>],
    each: &mut impl FnMut(&mut Keyspace, &[u8]) -> Answer<bool>,
) -> Answer<()> {
    // Cursors that stand on a member, with the number of their set.
    let mut standing: Vec<(usize, Box<dyn Cursor>)> = Vec::with_capacity(sets.len());
    for (at, set) in sets.iter().enumerate() {
        let mut cursor = walk(keys, set, &[])?;
        if cursor.advance()? {
            standing.push((at, cursor));
        }
    }
    let mut least = Vec::new();
    loop {
        match standing.iter().map(|(_, cursor)| part_of(cursor.key())).min() {
            None => return Ok(()),
            Some(member) => {
                least.clear();
                least.extend_from_slice(member);
            }
        }
        let (mut having, mut first_has) = (0, false);
        let mut at = 0;
        while let Some((set, cursor)) = standing.get_mut(at) {
            if part_of(cursor.key()) != least {
                at += 1;
                continue;
            }
            having += 1;
            first_has |= *set == 0;
            if cursor.advance()? {
                at += 1;
            } else {
                standing.swap_remove(at);
            }
        }
        let is_in = match how {
            Combine::Inter => having == sets.len(),
            Combine::Union => true,
            Combine::Diff => first_has && having == 1,
        };
        if is_in && !each(keys, &least)? {
            return Ok(());
        }
        let is_over = match how {
            Combine::Inter => standing.len() < sets.len(),
            Combine::Union => standing.is_empty(),
            Combine::Diff => standing.iter().all(|(set, _)| *set != 0),
        };
        if is_over {
            return Ok(());
        }
    }
}

/// Stores a combination under `key`, instead of what it holds; gives the number of members.
///
/// # Errors
/// What the store met.
pub fn store(
    keys: &mut Keyspace,
    how: Combine,
    sets: &[Option<Collection<'_>>],
    (db, key): (u8, &[u8]),
) -> Answer<u64> {
    let old = keys.slot(db, key)?;
    let mut new = keys.build(db, key, Kind::Set);
    combine(keys, how, sets, |keys, member| {
        note(&mut new.collection, member);
        new.element(keys, member, Vec::new())?;
        Ok(true)
    })?;
    // Not before: it may be one of the sets.
    keys.replace(&old)?;
    Ok(new.finish(keys)?.head.count)
}
