//! Reading arguments.

use nokv_core::Error;
use nokv_core::formats::redis::NAME_BYTES_MAX;

use super::{Answer, Fail};

/// Longest string: as `proto-max-bulk-len` has it.
pub const STRING_BYTES_MAX: usize = 512 << 20;

/// May a key, member or field have this name?
///
/// # Errors
/// It is too long.
pub fn check_name(name: &[u8]) -> Answer<()> {
    if name.len() > NAME_BYTES_MAX { Err(Error::KeyTooLarge(name.len()).into()) } else { Ok(()) }
}

/// A whole number, written as Redis takes it: no blanks, no `+`, no leading zeros.
///
/// # Errors
/// [`Fail::NOT_AN_INTEGER`].
pub fn integer(arg: &[u8]) -> Answer<i64> {
    parse_integer(arg).ok_or(Fail::NOT_AN_INTEGER)
}

/// [`integer`], where its absence is no error.
pub fn parse_integer(arg: &[u8]) -> Option<i64> {
    let digits = arg.strip_prefix(b"-").unwrap_or(arg);
    let is_plain = match digits {
        [b'0'] => digits.len() == arg.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_plain { std::str::from_utf8(arg).ok()?.parse().ok() } else { None }
}

/// A number; `inf` and exponents are taken, NaN and blanks are not.
///
/// # Errors
/// [`Fail::NOT_A_FLOAT`].
pub fn float(arg: &[u8]) -> Answer<f64> {
    let text = std::str::from_utf8(arg).map_err(|_| Fail::NOT_A_FLOAT)?;
    match text.parse::<f64>() {
        // A number that is too large is none; infinity has to be named.
        Ok(number) if number.is_finite() || (number.is_infinite() && text.contains(['i', 'I'])) => Ok(number),
        _ => Err(Fail::NOT_A_FLOAT),
    }
}

/// Is `arg` this word, in any case?
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// An index from the start, or from the end if it is negative, within `len` elements: the first at or after the start,
/// where it lies before it.
pub fn index(index: i64, len: u64) -> i64 {
    if index < 0 { index.saturating_add(i64::try_from(len).unwrap_or(i64::MAX)) } else { index }
}

/// The part of `len` elements from `start` to `stop`, both included and counted from the end where negative.
pub fn range(start: i64, stop: i64, len: u64) -> Option<(u64, u64)> {
    let start = index(start, len).max(0);
    let stop = index(stop, len).min(i64::try_from(len).unwrap_or(i64::MAX) - 1);
    (start <= stop).then_some((start as u64, stop as u64))
}
