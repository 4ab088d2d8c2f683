use nokv_core::formats::redis::{Head, Kind};
use nokv_vfs_mem::MemFs;

use super::*;
use crate::redis::store::keyspace::Keyspace;
use crate::redis::testing::keyspace;

/// A list beside a vector that is changed in the same way.
struct Pair {
    keys: Keyspace,
    model: Vec<String>,
    commands: u64,
}

impl Pair {
    fn new() -> Self {
        Self { keys: keyspace(&MemFs::new()), model: Vec::new(), commands: 0 }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Keyspace, &mut Collection<'_>) -> Answer<T>) -> T {
        self.commands += 1;
        self.keys.begin(1_000);
        let mut of = self.keys.collection_or_new(0, b"list", Kind::List).expect("a list");
        let changed = change(&mut self.keys, &mut of).expect("a change");
        self.keys.save(&of).expect("a head");
        self.keys.commit().expect("a commit");
        changed
    }

    fn push(&mut self, side: Side, element: &str) {
        match side {
            Side::Left => self.model.insert(0, element.to_owned()),
            Side::Right => self.model.push(element.to_owned()),
        }
        self.change(|keys, of| push(keys, of, side, element.as_bytes()));
    }

    fn insert(&mut self, is_before: bool, pivot: &str, element: &str) {
        let at = self.model.iter().position(|other| other == pivot);
        if let Some(at) = at {
            self.model.insert(at + usize::from(!is_before), element.to_owned());
        }
        let inserted =
            self.change(|keys, of| insert(keys, of, is_before, pivot.as_bytes(), element.as_bytes()));
        assert_eq!(inserted, at.is_some());
    }

    fn cut(&mut self, side: Side, n: usize) {
        let n = n.min(self.model.len());
        match side {
            Side::Left => drop(self.model.drain(..n)),
            Side::Right => self.model.truncate(self.model.len() - n),
        }
        self.change(|keys, of| cut(keys, of, side, n as u64));
    }

    fn remove(&mut self, side: Side, limit: usize, element: &str) {
        let mut left = limit;
        let mut keeps = |other: &String| {
            let goes = other == element && left > 0;
            left -= usize::from(goes);
            !goes
        };
        match side {
            Side::Left => self.model.retain(&mut keeps),
            Side::Right => {
                self.model.reverse();
                self.model.retain(&mut keeps);
                self.model.reverse();
            }
        }
        let removed = self.change(|keys, of| remove(keys, of, side, limit as u64, element.as_bytes()));
        assert_eq!(removed as usize, limit - left);
    }

    /// Elements, head and ends say the same as the model.
    fn check(&mut self) -> Option<Head> {
        self.keys.begin(1_000);
        let Some(of) = self.keys.collection(0, b"list", Kind::List).expect("a list") else {
            assert!(self.model.is_empty());
            return None;
        };
        let mut cursor = self
            .keys
            .txn()
            .scan(Table::Elements, &of.element(&[]), Some(&of.end()), false)
            .expect("a cursor");
        let (mut positions, mut elements) = (Vec::new(), Vec::new());
        while cursor.advance().expect("an element") {
            positions.push(position(cursor.key()).expect("a position"));
            elements.push(String::from_utf8_lossy(&cursor.entry().expect("an entry").value).into_owned());
        }
        assert_eq!(elements, self.model);
        assert_eq!(of.head.count as usize, elements.len());
        assert_eq!(of.head.ends, Some((positions[0], positions[positions.len() - 1])));
        if !of.head.has(Head::HAS_GAPS) {
            assert!(positions.windows(2).all(|pair| pair[1] - pair[0] == STRIDE));
        }
        for index in [0, self.model.len() / 3, self.model.len() / 2, self.model.len() - 1] {
            let found = get(&mut self.keys, &of, index as u64).expect("an element");
            assert_eq!(*found, *self.model[index].as_bytes());
        }
        let (start, stop) = (self.model.len() / 4, self.model.len() * 3 / 4);
        if stop < self.model.len() {
            let mut found = Vec::new();
            let each = |element: &[u8]| found.push(element.to_vec());
            range(&mut self.keys, &of, (start as u64, stop as u64), each).expect("elements");
            assert!(
                found
                    .iter()
                    .map(|value| value.to_vec())
                    .eq(self.model[start..=stop].iter().map(|element| element.as_bytes().to_vec()))
            );
        }
        Some(of.head)
    }
}

#[test]
fn a_list_does_what_a_vector_does() {
    let mut pair = Pair::new();
    // A fixed sequence of numbers that look like chance.
    let mut state = 7u64;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for step in 0..1_500 {
        let side = if next(2) == 0 { Side::Left } else { Side::Right };
        let (some, other) = (next(30).to_string(), next(30).to_string());
        match next(12) {
            0..5 => pair.push(side, &some),
            5..9 => pair.insert(side == Side::Left, &some, &other),
            9 => pair.remove(side, 1 + next(3) as usize, &some),
            10 => pair.cut(side, next(4) as usize),
            _ if next(20) == 0 => pair.cut(side, 30 + next(60) as usize),
            _ => pair.push(side, &other),
        }
        if step % 10 == 0 {
            pair.check();
        }
    }
    pair.check();
}

#[test]
fn insertions_at_one_place_find_room_again_and_again() {
    for is_before in [false, true] {
        let mut pair = Pair::new();
        for i in 0..100 {
            pair.push(Side::Right, &i.to_string());
        }
        for i in 0..300 {
            pair.insert(is_before, "50", &format!("new{i}"));
        }
        let head = pair.check().expect("a list");
        assert!(head.has(Head::HAS_GAPS));
    }
}

#[test]
fn insertions_next_to_an_end_find_room() {
    for (is_before, pivot) in [(false, "0"), (true, "1")] {
        let mut pair = Pair::new();
        pair.push(Side::Right, "0");
        pair.push(Side::Right, "1");
        for i in 0..200 {
            pair.insert(is_before, pivot, &format!("new{i}"));
        }
        pair.check();
        pair.push(Side::Left, "left");
        pair.push(Side::Right, "right");
        pair.check();
    }
}

#[test]
fn insertions_move_few_elements_on_average() {
    let mut pair = Pair::new();
    for i in 0..40 {
        pair.push(Side::Right, &i.to_string());
    }
    let mut written = 0;
    let inserted = 800;
    for _ in 0..inserted {
        pair.change(|keys, of| {
            insert(keys, of, false, b"20", b"x")?;
            written += keys.txn().changes().range(Table::Elements, &[], None).count();
            Ok(())
        });
    }
    assert!(written < 30 * inserted, "{written} writes");
}

#[test]
fn what_goes_at_the_ends_leaves_no_gaps_and_what_goes_within_does() {
    let mut pair = Pair::new();
    for i in 0..100 {
        pair.push(Side::Right, &i.to_string());
    }
    pair.cut(Side::Left, 2);
    pair.cut(Side::Right, 40);
    pair.remove(Side::Left, 1, "2");
    pair.remove(Side::Right, 1, "59");
    let head = pair.check().expect("a list");
    assert!(!head.has(Head::HAS_GAPS));
    pair.remove(Side::Left, 1, "30");
    assert!(pair.check().expect("a list").has(Head::HAS_GAPS));
    pair.cut(Side::Right, 55);
    pair.check();
    pair.cut(Side::Right, 100);
    assert!(pair.check().is_none());
}

#[test]
fn a_list_that_wandered_to_the_end_of_all_positions_comes_back() {
    let mut pair = Pair::new();
    for i in 0..5 {
        pair.push(Side::Right, &i.to_string());
    }
    // As if it had been pushed and popped for years.
    pair.change(|keys, of| {
        let taken = take(keys, of, Side::Left, 5)?;
        for (i, element) in taken.iter().enumerate() {
            let at = u64::MAX - STRIDE * (5 - i as u64) + 7;
            put(keys, of, at, element, false);
        }
        of.head.count = 5;
        of.head.ends = Some((u64::MAX - STRIDE * 5 + 7, u64::MAX - STRIDE + 7));
        Ok(())
    });
    pair.check();
    pair.push(Side::Right, "5");
    pair.push(Side::Right, "6");
    let head = pair.check().expect("a list");
    assert!(!head.has(Head::HAS_GAPS));
    assert!(head.ends.is_some_and(|(first, _)| first < START));
}
