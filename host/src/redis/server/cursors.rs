//! Cursors of SCAN and its like: numbers that stand for positions.
//!
//! A client gets a number and comes back with it, or does not. So the table is bounded, by count and by bytes, and the
//! oldest positions go first; a number that is not known (any more) is an error, never another position.
//!
//! 1. A number may be used again as long as it is known: it always means the same position.
//! 2. Numbers start at random and are given in order, below `CURSOR_LIMIT` and never 0, so that numbers from before a
//!    restart are hardly ever known.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::redis::fail::{Answer, Fail};

/// Numbers are below it: all clients can hold them.
const CURSOR_LIMIT: u64 = 1 << 48;
/// Positions that are held.
const POSITIONS_MAX: usize = 1 << 16;
/// Bytes of positions that are held.
const BYTES_MAX: usize = 16 << 20;
/// What a position takes beside its bytes.
const POSITION_BYTES: usize = 64;

/// What a cursor walks over: one of one scope is unknown in all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The keys of a space.
    Keys {
        /// The space, which SWAPDB gives to another database.
        space: u8,
    },
    /// The elements of a collection.
    Collection {
        /// Its number: a key that is deleted and made again has another.
        number: u64,
    },
}

#[derive(Debug)]
struct Held {
    scope: Scope,
    position: Vec<u8>,
}

/// The positions that are held.
#[derive(Debug)]
pub struct Cursors {
    held: BTreeMap<u64, Held>,
    /// From the oldest on.
    order: VecDeque<u64>,
    bytes: usize,
    next: u64,
}

impl Default for Cursors {
    fn default() -> Self {
        let start = RandomState::new().hash_one(0u64) % CURSOR_LIMIT;
        Self { held: BTreeMap::new(), order: VecDeque::new(), bytes: 0, next: start.max(1) }
    }
}

impl Cursors {
    /// Holds a position; gives its number.
    pub fn hold(&mut self, scope: Scope, position: Vec<u8>) -> u64 {
        // A loop that walks the same thing again and again needs its last position only once.
        if let Some(last) = self.order.back()
            && let Some(held) = self.held.get(last)
            && held.scope == scope
            && held.position == position
        {
            return *last;
        }
        let number = self.next;
        self.next = if number + 1 == CURSOR_LIMIT { 1 } else { number + 1 };
        self.bytes += POSITION_BYTES + position.len();
        self.held.insert(number, Held { scope, position });
        self.order.push_back(number);
        while self.order.len() > POSITIONS_MAX || (self.bytes > BYTES_MAX && self.order.len() > 1) {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(held) = self.held.remove(&oldest) {
                self.bytes -= POSITION_BYTES + held.position.len();
            }
        }
        number
    }

    /// The position that a number stands for, if it is known in this scope.
    pub fn position(&self, scope: Scope, cursor: u64) -> Option<Vec<u8>> {
        self.held.get(&cursor).filter(|held| held.scope == scope).map(|held| held.position.clone())
    }

    /// Where a cursor that a client gave goes on: `None` at the start.
    ///
    /// # Errors
    /// `ERR invalid cursor` for what is no number, or not known in this scope.
    pub fn resume(&self, scope: Scope, arg: &[u8]) -> Answer<Option<Vec<u8>>> {
        let cursor = parse(arg)?;
        if cursor == 0 {
            return Ok(None);
        }
        self.position(scope, cursor).map(Some).ok_or(INVALID)
    }
}

const INVALID: Fail = Fail::of("ERR invalid cursor");

/// A cursor as a client gives it.
///
/// # Errors
/// `ERR invalid cursor`.
pub fn parse(arg: &[u8]) -> Answer<u64> {
    let is_number = !arg.is_empty() && arg.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(arg).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok()).ok_or(INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Scope = Scope::Keys { space: 0 };

    #[test]
    fn a_cursor_may_be_used_again_and_only_in_its_scope() {
        let mut cursors = Cursors::default();
        let cursor = cursors.hold(KEYS, b"k".to_vec());
        assert!(cursor != 0 && cursor < CURSOR_LIMIT);
        for _ in 0..2 {
            assert_eq!(cursors.position(KEYS, cursor), Some(b"k".to_vec()));
        }
        assert_eq!(cursors.position(Scope::Keys { space: 1 }, cursor), None);
        assert_eq!(cursors.position(Scope::Collection { number: 0 }, cursor), None);
        assert!(matches!(cursors.resume(KEYS, b"0"), Ok(None)));
        assert!(cursors.resume(KEYS, b"x").is_err());
        assert!(cursors.resume(KEYS, (cursor + 1).to_string().as_bytes()).is_err());
    }

    #[test]
    fn the_oldest_go_first() {
        let mut cursors = Cursors::default();
        let first = cursors.hold(KEYS, b"0".to_vec());
        let second = cursors.hold(KEYS, b"1".to_vec());
        for i in 2..=POSITIONS_MAX {
            cursors.hold(KEYS, i.to_string().into_bytes());
        }
        assert_eq!(cursors.position(KEYS, first), None);
        assert!(cursors.position(KEYS, second).is_some());
        let mut last = 0;
        for byte in 0..=255u8 {
            last = cursors.hold(KEYS, vec![byte; 65_500]);
        }
        for byte in 0..=255u8 {
            last = cursors.hold(KEYS, vec![byte; 65_501]);
        }
        assert!(cursors.bytes <= BYTES_MAX);
        assert!(cursors.order.len() == cursors.held.len() && cursors.order.len() < 256);
        assert!(cursors.position(KEYS, last).is_some());
    }

    #[test]
    fn numbers_begin_again_below_the_limit() {
        let mut cursors = Cursors { next: CURSOR_LIMIT - 1, ..Cursors::default() };
        assert_eq!(cursors.hold(KEYS, b"a".to_vec()), CURSOR_LIMIT - 1);
        assert_eq!(cursors.hold(KEYS, b"b".to_vec()), 1);
    }
}
