//! Sorted sets: each member has an entry in `Elements` with its score, and one in `Scores` in the order of scores.
//!
//! 1. Both tables have the same members. What changes one changes the other.
//! 2. A score is never NaN, and -0 is stored as 0.
//! 3. `Head::ends` bound the scores. Who pops from an end moves that bound: the next one does not walk over what is gone.

use nokv_core::Error;
use nokv_core::formats::redis::{score_from_bits, score_to_bits};

use super::elements::check_name;
use crate::redis::fail::{Answer, Fail};
use crate::redis::store::backend::{Cursor, Table};
use crate::redis::store::keyspace::{Collection, Keyspace, part_of};

/// Bytes of a score in a key.
const SCORE_BYTES: usize = 8;
/// Members that are counted one by one before ranks are asked.
const COUNT_BY_WALK: u64 = 512;

/// A member and its score.
pub type Scored = (Vec<u8>, f64);

const DAMAGED: Fail = Fail::of("ERR storage: a stored score is damaged");

/// The score that an element has.
///
/// # Errors
/// The stored value is none.
pub fn decode(value: &[u8]) -> Answer<f64> {
    value.try_into().map(f64::from_le_bytes).map_err(|_| DAMAGED)
}

/// Score and member of an entry in `Scores`.
///
/// # Errors
/// The stored key is too short.
pub fn split(key: &[u8]) -> Answer<(f64, &[u8])> {
    let (bits, member) = part_of(key).split_first_chunk::<SCORE_BYTES>().ok_or(DAMAGED)?;
    Ok((score_from_bits(u64::from_be_bytes(*bits)), member))
}

/// The score of a member.
///
/// # Errors
/// What the store met; the member is too long.
pub fn score(keys: &mut Keyspace, of: &Collection<'_>, member: &[u8]) -> Answer<Option<f64>> {
    check_name(member)?;
    let stored = keys.txn().get(Table::Elements, &of.element(member))?;
    stored.map(|stored| decode(&stored.value)).transpose()
}

/// Gives a member, whose score is `old` now, another one.
pub fn set(keys: &mut Keyspace, of: &mut Collection<'_>, member: &[u8], old: Option<f64>, new: f64) {
    let new = new + 0.0;
    of.note_score(score_to_bits(new));
    match old {
        Some(old) => keys.delete_entry(Table::Scores, &of.score(score_to_bits(old), member)),
        None => {
            of.head.count += 1;
            of.note_length(member.len());
        }
    }
    keys.put_entry(Table::Elements, &of.element(member), new.to_le_bytes().to_vec(), old.is_some());
    keys.put_entry(Table::Scores, &of.score(score_to_bits(new), member), Vec::new(), false);
}

/// Removes a member that has this score.
pub fn remove(keys: &mut Keyspace, of: &mut Collection<'_>, member: &[u8], score: f64) {
    of.head.count = of.head.count.saturating_sub(1);
    keys.delete_entry(Table::Elements, &of.element(member));
    keys.delete_entry(Table::Scores, &of.score(score_to_bits(score), member));
}

/// All members before this one in the order of scores are gone: or behind it, if `reverse`.
pub fn note_end(of: &mut Collection<'_>, score: f64, reverse: bool) {
    let bits = score_to_bits(score);
    if let Some((first, last)) = &mut of.head.ends {
        *(if reverse { last } else { first }) = bits;
    }
}

/// How many members stand before one.
///
/// # Errors
/// What the store met.
pub fn rank(keys: &mut Keyspace, of: &Collection<'_>, member: &[u8], score: f64) -> Answer<u64> {
    let key = of.score(score_to_bits(score), member);
    keys.rank_of(of, Table::Scores, part_of(&key))
}

/// An end of a range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreBound {
    /// The score.
    pub score: f64,
    /// It is out of the range itself.
    pub is_open: bool,
}

/// An end of a range of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBound<'c> {
    /// Before all members.
    First,
    /// Behind all members.
    Last,
    /// At this one.
    Closed(&'c [u8]),
    /// Next to this one.
    Open(&'c [u8]),
}

/// Which members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Which<'c> {
    /// By rank, both included, negative from the end.
    Ranks(i64, i64),
    /// By score.
    Scores(ScoreBound, ScoreBound),
    /// By name.
    Names(LexBound<'c>, LexBound<'c>),
}

/// Keys from `lower` on, up to `upper`, which is not one of them.
#[derive(Debug)]
pub struct Span {
    /// Their table.
    pub table: Table,
    /// The first.
    pub lower: Vec<u8>,
    /// Behind the last.
    pub upper: Vec<u8>,
}

impl Span {
    /// The members between two scores.
    pub fn of_scores(of: &Collection<'_>, min: ScoreBound, max: ScoreBound) -> Self {
        let lower = score_to_bits(min.score) + u64::from(min.is_open);
        let upper = score_to_bits(max.score) + u64::from(!max.is_open);
        Self { table: Table::Scores, lower: of.score(lower, &[]), upper: of.score(upper, &[]) }
    }

    /// The members between two names.
    pub fn of_names(of: &Collection<'_>, min: LexBound<'_>, max: LexBound<'_>) -> Self {
        let behind = |name: &[u8]| of.element(&[name, &[0]].concat());
        let at = |bound: LexBound<'_>, is_lower: bool| match bound {
            LexBound::First => of.element(&[]),
            LexBound::Last => of.end(),
            LexBound::Closed(name) if is_lower => of.element(name),
            LexBound::Closed(name) => behind(name),
            LexBound::Open(name) if is_lower => behind(name),
            LexBound::Open(name) => of.element(name),
        };
        Self { table: Table::Elements, lower: at(min, true), upper: at(max, false) }
    }

    /// How many there are.
    ///
    /// # Errors
    /// What the store met.
    pub fn count(&self, keys: &mut Keyspace, of: &Collection<'_>) -> Answer<u64> {
        if self.lower >= self.upper {
            return Ok(0);
        }
        let mut cursor = keys.txn().scan(self.table, &self.lower, Some(&self.upper), false)?;
        let mut count = 0;
        while cursor.advance()? {
            count += 1;
            if count == COUNT_BY_WALK {
                drop(cursor);
                let behind = if self.upper < of.end() {
                    keys.rank_of(of, self.table, part_of(&self.upper))?
                } else {
                    of.head.count
                };
                return Ok(behind - keys.rank_of(of, self.table, part_of(&self.lower))?);
            }
        }
        Ok(count)
    }
}

/// A walk over some members.
pub struct Members {
    cursor: Box<dyn Cursor>,
    table: Table,
    left: u64,
}

impl Members {
    /// Those that `which` says, in order or backwards, without the first `skip` and up to `limit` of them. Ranks count
    /// from the end at which the walk begins.
    ///
    /// # Errors
    /// What the store met.
    pub fn of(
        keys: &mut Keyspace,
        of: &Collection<'_>,
        which: Which<'_>,
        reverse: bool,
        (skip, limit): (u64, u64),
    ) -> Answer<Self> {
        let span = match which {
            Which::Ranks(start, stop) => {
                let count = of.head.count;
                let Some((first, last)) = crate::redis::commands::args::range(start, stop, count) else {
                    return Self::none(keys, of);
                };
                let rank = if reverse { count - 1 - first } else { first };
                let cursor = keys.seek_rank(of, Table::Scores, rank, reverse)?;
                return Ok(Self { cursor, table: Table::Scores, left: last - first + 1 });
            }
            Which::Scores(min, max) => Span::of_scores(of, min, max),
            Which::Names(min, max) => Span::of_names(of, min, max),
        };
        if span.lower >= span.upper {
            return Self::none(keys, of);
        }
        let mut cursor = keys.txn().scan(span.table, &span.lower, Some(&span.upper), reverse)?;
        for _ in 0..skip {
            if !cursor.advance()? {
                return Self::none(keys, of);
            }
        }
        Ok(Self { cursor, table: span.table, left: limit })
    }

    fn none(keys: &mut Keyspace, of: &Collection<'_>) -> Answer<Self> {
        let end = of.end();
        Ok(Self {
            cursor: keys.txn().scan(Table::Scores, &end, Some(&end), false)?,
            table: Table::Scores,
            left: 0,
        })
    }

    /// To the next one.
    ///
    /// # Errors
    /// What the store met.
    pub fn advance(&mut self) -> Answer<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        Ok(self.cursor.advance()?)
    }

    /// The member that it stands on, and its score.
    ///
    /// # Errors
    /// What is stored is damaged.
    pub fn member(&self) -> Answer<(&[u8], f64)> {
        if self.table == Table::Scores {
            let (score, member) = split(self.cursor.key())?;
            return Ok((member, score));
        }
        Ok((part_of(self.cursor.key()), decode(&self.cursor.entry()?.value)?))
    }
}

/// The members at these ranks, which ascend and may repeat.
///
/// # Errors
/// What the store met.
pub fn pick(keys: &mut Keyspace, of: &Collection<'_>, ranks: &[u64]) -> Answer<Vec<Scored>> {
    const STEPS_OF_A_SEEK: u64 = 128;
    let mut picked: Vec<Scored> = Vec::with_capacity(ranks.len());
    // The walk, and the rank that it comes to next.
    let mut walk: Option<(Box<dyn Cursor>, u64)> = None;
    for rank in ranks {
        if let Some((_, next)) = &walk
            && rank + 1 == *next
            && let Some(same) = picked.last().cloned()
        {
            picked.push(same);
            continue;
        }
        let (mut cursor, mut next) = match walk.take() {
            Some((cursor, next)) if rank - next < STEPS_OF_A_SEEK => (cursor, next),
            _ => (keys.seek_rank(of, Table::Scores, *rank, false)?, *rank),
        };
        while next <= *rank {
            if !cursor.advance()? {
                return Err(Error::InvalidArgument(
                    "a sorted set has fewer members than its head says".to_owned(),
                )
                .into());
            }
            next += 1;
        }
        let (score, member) = split(cursor.key())?;
        picked.push((member.to_vec(), score));
        walk = Some((cursor, next));
    }
    Ok(picked)
}

/// Members that are removed one by one; of more it is first counted how many there are.
const LISTED_MAX: usize = 4096;
/// Of more members than this, those that stay are copied instead.
const REMOVED_MAX: u64 = 250_000;

/// Removes the members that `which` says, and saves the head; gives how many.
///
/// # Errors
/// What the store met.
pub fn remove_which(keys: &mut Keyspace, of: &mut Collection<'_>, which: Which<'_>) -> Answer<u64> {
    let mut listed = Vec::new();
    let mut walk = Members::of(keys, of, which, false, (0, u64::MAX))?;
    while listed.len() <= LISTED_MAX && walk.advance()? {
        let (member, score) = walk.member()?;
        listed.push((member.to_vec(), score));
    }
    drop(walk);
    let whole = of.head.count;
    let mut removed = listed.len() as u64;
    if listed.len() <= LISTED_MAX {
        listed.iter().for_each(|(member, score)| remove(keys, of, member, *score));
    } else {
        let span = span_of(keys, of, which)?;
        removed = span.count(keys, of)?;
        if removed == whole {
            of.head.count = 0;
        } else if removed > REMOVED_MAX || removed > whole / 2 {
            return keep_others(keys, of, &span).map(|()| removed);
        } else {
            let mut walk = Members::of(keys, of, which, false, (0, u64::MAX))?;
            while walk.advance()? {
                let (member, score) = walk.member()?;
                remove(keys, of, member, score);
            }
        }
    }
    if removed > 0 {
        keys.save(of)?;
    }
    Ok(removed)
}

/// Where the members stand, of which there is at least one.
fn span_of(keys: &mut Keyspace, of: &Collection<'_>, which: Which<'_>) -> Answer<Span> {
    Ok(match which {
        Which::Scores(min, max) => Span::of_scores(of, min, max),
        Which::Names(min, max) => Span::of_names(of, min, max),
        Which::Ranks(start, stop) => {
            let (first, last) =
                crate::redis::commands::args::range(start, stop, of.head.count).unwrap_or_default();
            let mut key_at = |rank| -> Answer<Vec<u8>> {
                let mut cursor = keys.seek_rank(of, Table::Scores, rank, false)?;
                cursor.advance()?;
                Ok(cursor.key().to_vec())
            };
            let (lower, mut upper) = (key_at(first)?, key_at(last)?);
            upper.push(0);
            Span { table: Table::Scores, lower, upper }
        }
    })
}

/// Gives the key a new collection of the members that are not in `span`.
fn keep_others(keys: &mut Keyspace, of: &mut Collection<'_>, span: &Span) -> Answer<()> {
    let mut build = keys.build(of.db, of.key, of.kind);
    build.collection.expires_at = of.expires_at;
    for (lower, upper) in [(of.element(&[]), span.lower.clone()), (span.upper.clone(), of.end())] {
        let cursor = keys.txn().scan(span.table, &lower, Some(&upper), false)?;
        let mut walk = Members { cursor, table: span.table, left: u64::MAX };
        while walk.advance()? {
            let (member, score) = walk.member()?;
            build.scored(keys, member, score)?;
        }
    }
    let slot = keys.slot(of.db, of.key)?;
    keys.replace(&slot)?;
    of.head.count = build.finish(keys)?.head.count;
    Ok(())
}
