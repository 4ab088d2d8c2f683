//! Several sets and sorted sets made into one: ZUNION, ZINTER, ZDIFF.
//!
//! Members are stored in the order of their bytes in all of them, so they are walked side by side; or the members of the
//! smallest one are looked up in the others, if it is much smaller.

use nokv_core::formats::redis::Kind;

use super::zset::decode;
use crate::redis::fail::Answer;
use crate::redis::store::backend::{Cursor, Stored, Table};
use crate::redis::store::keyspace::{Collection, Keyspace, part_of};

/// A look for a member costs about so many steps of a walk.
const STEPS_OF_A_LOOK: u64 = 8;

/// What to make of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// Members of any.
    Union,
    /// Members of all.
    Inter,
    /// Members of the first that no other has.
    Diff,
}

/// What becomes of the scores of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// The lowest.
    Min,
    /// The highest.
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities of both signs have no sum, and what is no number makes it 0, as in Redis.
            Self::Sum => number(a + b),
            Self::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Self::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One of them. A key that holds nothing is an empty one.
pub struct Source<'k> {
    /// It.
    pub set: Option<Collection<'k>>,
    /// By what its scores are multiplied.
    pub weight: f64,
}

impl Source<'_> {
    fn count(&self) -> u64 {
        self.set.as_ref().map_or(0, |set| set.head.count)
    }

    /// The weighted score; not a number where an infinite one is weighted with 0.
    fn score(&self, stored: &Stored) -> Answer<f64> {
        let is_sorted = self.set.as_ref().is_some_and(|set| set.kind == Kind::SortedSet);
        let score = if is_sorted { decode(&stored.value)? } else { 1.0 };
        Ok(score * self.weight)
    }

    fn look(&self, keys: &mut Keyspace, member: &[u8]) -> Answer<Option<f64>> {
        let Some(set) = &self.set else { return Ok(None) };
        let stored = keys.txn().get(Table::Elements, &set.element(member))?;
        stored.map(|stored| self.score(&stored)).transpose()
    }
}

/// The walk over a source; it stands on a member until it ends.
struct Walk {
    cursor: Option<Box<dyn Cursor>>,
}

impl Walk {
    fn new(keys: &mut Keyspace, source: &Source<'_>) -> Answer<Self> {
        let Some(set) = &source.set else { return Ok(Self { cursor: None }) };
        let cursor = keys.txn().scan(Table::Elements, &set.element(&[]), Some(&set.end()), false)?;
        let mut walk = Self { cursor: Some(cursor) };
        walk.advance()?;
        Ok(walk)
    }

    fn advance(&mut self) -> Answer<()> {
        if let Some(cursor) = &mut self.cursor
            && !cursor.advance()?
        {
            self.cursor = None;
        }
        Ok(())
    }

    fn member(&self) -> Option<&[u8]> {
        self.cursor.as_ref().map(|cursor| part_of(cursor.key()))
    }

    /// The score of `member`, if it stands there; then it goes on.
    fn take(&mut self, source: &Source<'_>, member: &[u8]) -> Answer<Option<f64>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        if part_of(cursor.key()) != member {
            return Ok(None);
        }
        let score = source.score(&cursor.entry()?)?;
        self.advance()?;
        Ok(Some(score))
    }

    /// To the first member that is not below `member`.
    fn seek(&mut self, member: &[u8]) -> Answer<()> {
        while self.member().is_some_and(|at| at < member) {
            self.advance()?;
        }
        Ok(())
    }
}

/// Gives each member of the combination with its score to `each`, in the order of their bytes, until it says `false`.
///
/// # Errors
/// What the store met; what `each` says.
pub fn combine(
    keys: &mut Keyspace,
    how: Combine,
    aggregate: Aggregate,
    mut sources: Vec<Source<'_>>,
    mut each: impl FnMut(&mut Keyspace, &[u8], f64) -> Answer<bool>,
) -> Answer<()> {
    if how != Combine::Diff {
        // In this order scores are added up.
        sources.sort_by_key(Source::count);
    }
    let Some((first, others)) = sources.split_first() else { return Ok(()) };
    let largest = others.iter().map(Source::count).max().unwrap_or(0);
    if how == Combine::Union {
        return union(keys, aggregate, &sources, &mut each);
    }
    if how == Combine::Inter && first.count() == 0 {
        return Ok(());
    }
    let by_looks = first.count().saturating_mul(STEPS_OF_A_LOOK) < largest;
    let mut leader = Walk::new(keys, first)?;
    let mut walks = Vec::new();
    if !by_looks {
        for other in others {
            walks.push(Walk::new(keys, other)?);
        }
    }
    while let Some(member) = leader.member() {
        let member = member.to_vec();
        let mut score = number(leader.take(first, &member)?.unwrap_or_default());
        let mut is_in = true;
        for (at, other) in others.iter().enumerate() {
            let found = match walks.get_mut(at) {
                Some(walk) => {
                    walk.seek(&member)?;
                    walk.take(other, &member)?
                }
                None => other.look(keys, &member)?,
            };
            is_in = found.is_some() == (how == Combine::Inter);
            if !is_in {
                break;
            }
            if let Some(found) = found {
                score = aggregate.of(score, found);
            }
        }
        if is_in && !each(keys, &member, score)? {
            return Ok(());
        }
    }
    Ok(())
}

fn union(
    keys: &mut Keyspace,
    aggregate: Aggregate,
    sources: &[Source<'_>],
    each: &mut impl FnMut(&mut Keyspace, &[u8], f64) -> Answer<bool>,
) -> Answer<()> {
    let mut walks = Vec::with_capacity(sources.len());
    for source in sources {
        walks.push(Walk::new(keys, source)?);
    }
    while let Some(member) = walks.iter().filter_map(Walk::member).min() {
        let member = member.to_vec();
        let mut score: Option<f64> = None;
        for (walk, source) in walks.iter_mut().zip(sources) {
            if let Some(found) = walk.take(source, &member)? {
                let found = number(found);
                score = Some(score.map_or(found, |score| aggregate.of(score, found)));
            }
        }
        if !each(keys, &member, score.unwrap_or_default())? {
            return Ok(());
        }
    }
    Ok(())
}
