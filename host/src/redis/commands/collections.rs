//! What commands of collections have in common.

use nokv_core::formats::redis::Kind;

use super::args::{float, integer};
use super::{Answer, Call, Fail};
use crate::redis::resp::reply::Protocol;
use crate::redis::store::keyspace::Collection;

/// Elements that a command gives by chance and may give more than once: a bound of the reply.
const REPEATED_PICKS_MAX: u64 = 1 << 22;

/// The collection of a key, for a command that only reads.
///
/// # Errors
/// What the store met; [`Fail::WRONG_TYPE`].
pub fn read<'k>(call: &mut Call<'_>, key: &'k [u8], kind: Kind) -> Answer<Option<Collection<'k>>> {
    let Some(found) = call.read(key)? else { return Ok(None) };
    if found.kind != kind {
        return Err(Fail::WRONG_TYPE);
    }
    call.keys.collection_of(call.db, key, &found).map(Some)
}

/// A number from 0 on.
///
/// # Errors
/// What Redis says.
pub fn positive(arg: &[u8]) -> Answer<u64> {
    at_least(arg, 0, "ERR value is out of range, must be positive")
}

/// A number from `least` on.
///
/// # Errors
/// `otherwise`, whatever is wrong with it.
pub fn at_least(arg: &[u8], least: i64, otherwise: &'static str) -> Answer<u64> {
    let number = integer(arg).ok().filter(|number| *number >= least);
    number.and_then(|number| u64::try_from(number).ok()).ok_or(Fail::of(otherwise))
}

/// A number that has an opposite.
///
/// # Errors
/// What Redis says.
pub fn opposable(arg: &[u8]) -> Answer<i64> {
    let number = integer(arg)?;
    if number == i64::MIN {
        let most = i64::MAX;
        return Err(Fail::text(format!("ERR value is out of range, value must between -{most} and {most}")));
    }
    Ok(number)
}

/// How many elements chance is to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picks {
    /// Different ones, if there are so many.
    Distinct(u64),
    /// Exactly so many, each one of all.
    Any(u64),
}

/// The count of SRANDMEMBER and its like: negative for elements that may come again.
///
/// # Errors
/// The reply would be larger than the server gives.
pub fn picks(count: i64) -> Answer<Picks> {
    let number = count.unsigned_abs();
    if count >= 0 {
        return Ok(Picks::Distinct(number));
    }
    if number > REPEATED_PICKS_MAX {
        return Err(Fail::text(format!(
            "ERR value is out of range, at most {REPEATED_PICKS_MAX} may repeat"
        )));
    }
    Ok(Picks::Any(number))
}

/// Does the client take pairs as arrays of two?
pub fn takes_pairs(call: &Call<'_>) -> bool {
    call.client.borrow().protocol == Protocol::V3
}

/// How long a command is to wait, in seconds; 0 is forever.
///
/// # Errors
/// What Redis says.
pub fn timeout(arg: &[u8]) -> Answer<f64> {
    let seconds = float(arg).map_err(|_| Fail::of("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(Fail::of("ERR timeout is negative"));
    }
    // In milliseconds it is added to a time in 64 bits.
    if seconds * 1000.0 > i64::MAX as f64 / 2.0 {
        return Err(Fail::of("ERR timeout is out of range"));
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests;
