//! Cursors of SCAN and its like: numbers that stand for positions.
//!
//! A client gets a number and comes back with it, or does not. What belongs together by that is an iteration. It keeps
//! its newest positions only, so memory goes by iterations that are under way, not by their steps; iterations are
//! bounded, by count and by bytes. Those that ended go first, then those that were used longest ago. A number that is
//! not known (any more) is an error, never another position.
//!
//! 1. A number means the same position as long as it is known: until its iteration has gone four steps further, or
//!    has gone as a whole. So a client may repeat its last calls.
//! 2. Numbers start at random and are given in order, below `CURSOR_LIMIT` and never 0, so that numbers from before a
//!    restart are hardly ever known.
//! 3. A position is a place in an order: it has a meaning whatever was written since, or became of the key.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::redis::fail::{Answer, Fail};

/// Numbers are below it: all clients can hold them.
const CURSOR_LIMIT: u64 = 1 << 48;
/// Positions that an iteration keeps.
const RING: usize = 4;
/// Iterations that are kept.
const ITERATIONS_MAX: usize = 1 << 16;
/// Bytes of positions that are kept.
const BYTES_MAX: usize = 64 << 20;
/// What a position takes beside its bytes, and its share of the iteration.
const POSITION_BYTES: usize = 128;

/// What a cursor walks over: one of one scope is unknown in all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The keys of a space.
    Keys {
        /// The space, which SWAPDB gives to another database.
        space: u8,
    },
    /// The elements of whatever a key holds.
    Elements {
        /// The database.
        db: u8,
        /// The key.
        key: Vec<u8>,
    },
}

impl Scope {
    const fn bytes(&self) -> usize {
        match self {
            Self::Keys { .. } => 0,
            Self::Elements { key, .. } => key.len(),
        }
    }
}

/// Calls of a client, each with the number that the one before gave.
#[derive(Debug)]
struct Iteration {
    scope: Scope,
    /// Numbers and positions, from the oldest on.
    ring: VecDeque<(u64, Vec<u8>)>,
    /// Its place in `Cursors::order`.
    place: Place,
}

/// Whether it goes on, and its last use: the lowest goes first.
type Place = (bool, u64);

/// The positions that are kept.
#[derive(Debug)]
pub struct Cursors {
    iterations: BTreeMap<u64, Iteration>,
    /// The iteration of each number.
    of_number: BTreeMap<u64, u64>,
    /// From the one that goes first.
    order: BTreeMap<Place, u64>,
    bytes: usize,
    next: u64,
    /// Counts uses, and names iterations.
    uses: u64,
}

impl Default for Cursors {
    fn default() -> Self {
        let start = RandomState::new().hash_one(0u64) % CURSOR_LIMIT;
        Self {
            iterations: BTreeMap::new(),
            of_number: BTreeMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            next: start.max(1),
            uses: 0,
        }
    }
}

impl Cursors {
    /// Keeps a position to which a call with the number `from` came; gives its number. 0 begins an iteration.
    pub fn hold(&mut self, scope: Scope, from: u64, position: Vec<u8>) -> u64 {
        let id = match self.of_number.get(&from) {
            Some(id) => *id,
            None => self.begin(scope),
        };
        self.touch(id, true);
        let number = self.next;
        let Some(iteration) = self.iterations.get_mut(&id) else { return 0 };
        // A call that is repeated mostly comes to the same position.
        if let Some((known, _)) = iteration.ring.iter().find(|(_, known)| *known == position) {
            return *known;
        }
        self.next = if number + 1 == CURSOR_LIMIT { 1 } else { number + 1 };
        self.bytes += POSITION_BYTES + position.len();
        iteration.ring.push_back((number, position));
        if iteration.ring.len() > RING
            && let Some((oldest, position)) = iteration.ring.pop_front()
        {
            self.bytes -= POSITION_BYTES + position.len();
            self.of_number.remove(&oldest);
        }
        self.of_number.insert(number, id);
        while (self.iterations.len() > ITERATIONS_MAX || self.bytes > BYTES_MAX) && self.iterations.len() > 1
        {
            let Some((_, first)) = self.order.pop_first() else { break };
            self.remove(first);
        }
        number
    }

    /// The call with the number `from` came to the end.
    pub fn end(&mut self, from: u64) {
        if let Some(id) = self.of_number.get(&from) {
            self.touch(*id, false);
        }
    }

    fn begin(&mut self, scope: Scope) -> u64 {
        self.uses += 1;
        self.bytes += scope.bytes();
        let place = (true, self.uses);
        self.order.insert(place, self.uses);
        self.iterations.insert(self.uses, Iteration { scope, ring: VecDeque::new(), place });
        self.uses
    }

    fn touch(&mut self, id: u64, goes_on: bool) {
        self.uses += 1;
        let place = (goes_on, self.uses);
        if let Some(iteration) = self.iterations.get_mut(&id) {
            self.order.remove(&std::mem::replace(&mut iteration.place, place));
            self.order.insert(place, id);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(iteration) = self.iterations.remove(&id) else { return };
        self.bytes -= iteration.scope.bytes();
        for (number, position) in iteration.ring {
            self.of_number.remove(&number);
            self.bytes -= POSITION_BYTES + position.len();
        }
    }

    /// The position that a number stands for, if it is known in this scope.
    pub fn position(&self, scope: &Scope, cursor: u64) -> Option<Vec<u8>> {
        let iteration = self.iterations.get(self.of_number.get(&cursor)?).filter(|of| of.scope == *scope)?;
        iteration.ring.iter().find(|(number, _)| *number == cursor).map(|(_, position)| position.clone())
    }

    /// Where the cursor that a client gave goes on: `None` at the start.
    ///
    /// # Errors
    /// `ERR invalid cursor` for what is not known in this scope.
    pub fn resume(&self, scope: &Scope, cursor: u64) -> Answer<Option<Vec<u8>>> {
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

    fn elements(db: u8, key: &[u8]) -> Scope {
        Scope::Elements { db, key: key.to_vec() }
    }

    /// What it says of its memory is what it holds.
    fn check(cursors: &Cursors) {
        let all = || cursors.iterations.values();
        let positions = all().flat_map(|iteration| &iteration.ring);
        let bytes: usize = positions.map(|(_, position)| POSITION_BYTES + position.len()).sum();
        assert_eq!(cursors.bytes, bytes + all().map(|iteration| iteration.scope.bytes()).sum::<usize>());
        assert_eq!(cursors.of_number.len(), all().map(|iteration| iteration.ring.len()).sum::<usize>());
        assert_eq!(cursors.order.len(), cursors.iterations.len());
        assert!(cursors.bytes <= BYTES_MAX && cursors.iterations.len() <= ITERATIONS_MAX);
    }

    #[test]
    fn a_cursor_may_be_used_again_and_only_in_its_scope() {
        let mut cursors = Cursors::default();
        let cursor = cursors.hold(KEYS, 0, b"k".to_vec());
        assert!(cursor != 0 && cursor < CURSOR_LIMIT);
        for _ in 0..2 {
            assert_eq!(cursors.position(&KEYS, cursor), Some(b"k".to_vec()));
        }
        assert_eq!(cursors.position(&Scope::Keys { space: 1 }, cursor), None);
        assert_eq!(cursors.position(&elements(0, b"k"), cursor), None);
        assert!(matches!(cursors.resume(&KEYS, 0), Ok(None)));
        assert!(cursors.resume(&KEYS, cursor + 1).is_err());
        let cursor = cursors.hold(elements(0, b"k"), 0, b"a".to_vec());
        assert_eq!(cursors.position(&elements(0, b"k"), cursor), Some(b"a".to_vec()));
        assert_eq!(cursors.position(&elements(1, b"k"), cursor), None);
        assert_eq!(cursors.position(&elements(0, b"l"), cursor), None);
        check(&cursors);
    }

    #[test]
    fn an_iteration_keeps_its_newest_positions() {
        let mut cursors = Cursors::default();
        let mut numbers = vec![cursors.hold(KEYS, 0, vec![0])];
        for step in 1..100u8 {
            let last = numbers[numbers.len() - 1];
            let next = cursors.hold(KEYS, last, vec![step]);
            // The call is repeated, and so is the one before.
            assert_eq!(cursors.hold(KEYS, last, vec![step]), next);
            if let Some(before) = numbers.iter().nth_back(1) {
                assert_eq!(cursors.position(&KEYS, *before), Some(vec![step - 2]));
                assert_eq!(cursors.hold(KEYS, *before, vec![step - 1]), last);
            }
            numbers.push(next);
            assert!(cursors.of_number.len() <= RING);
        }
        check(&cursors);
    }

    #[test]
    fn a_long_iteration_takes_nothing_from_others() {
        let mut cursors = Cursors::default();
        let other = cursors.hold(KEYS, 0, b"other".to_vec());
        let mut cursor = 0;
        for i in 0..200_000u32 {
            cursor = cursors.hold(KEYS, cursor, i.to_be_bytes().to_vec());
        }
        for i in 0..2_000u32 {
            cursor = cursors.hold(KEYS, cursor, [&[7; 60_000][..], &i.to_be_bytes()].concat());
        }
        assert_eq!(cursors.position(&KEYS, other), Some(b"other".to_vec()));
        assert_eq!(cursors.iterations.len(), 2);
        check(&cursors);
    }

    #[test]
    fn ended_ones_go_first_then_those_used_longest_ago() {
        let mut cursors = Cursors::default();
        let first = cursors.hold(KEYS, 0, b"0".to_vec());
        let used = cursors.hold(KEYS, 0, b"1".to_vec());
        let ended = cursors.hold(KEYS, 0, b"2".to_vec());
        for i in 3..ITERATIONS_MAX {
            cursors.hold(KEYS, 0, i.to_string().into_bytes());
        }
        cursors.end(ended);
        // Who repeats its last call still finds it.
        assert!(cursors.position(&KEYS, ended).is_some());
        let used_more = cursors.hold(KEYS, used, b"more".to_vec());
        cursors.hold(KEYS, 0, b"new".to_vec());
        assert!(cursors.position(&KEYS, ended).is_none() && cursors.position(&KEYS, first).is_some());
        cursors.hold(KEYS, 0, b"newer".to_vec());
        assert!(cursors.position(&KEYS, first).is_none());
        assert!(cursors.position(&KEYS, used).is_some() && cursors.position(&KEYS, used_more).is_some());
        check(&cursors);
        let mut last = 0;
        for i in 0..2_000u32 {
            last = cursors.hold(KEYS, 0, [&[7; 65_000][..], &i.to_be_bytes()].concat());
            assert!(cursors.bytes <= BYTES_MAX);
        }
        assert!(cursors.position(&KEYS, last).is_some());
        check(&cursors);
    }

    #[test]
    fn numbers_begin_again_below_the_limit() {
        let mut cursors = Cursors { next: CURSOR_LIMIT - 1, ..Cursors::default() };
        assert_eq!(cursors.hold(KEYS, 0, b"a".to_vec()), CURSOR_LIMIT - 1);
        assert_eq!(cursors.hold(KEYS, 0, b"b".to_vec()), 1);
    }
}
