//! Random commands, from templates.
//!
//! ```text
//! template := word { " " word }
//! word     := text | "{" what "}"            what is drawn: see `Draw::value`
//!           | "(" words { "|" words } ")"    one of them
//!           | "[" words { "|" words } "]"    one of them, or nothing
//!           | "+" word                       once to four times
//! ```
//! The mark before a template says how its replies compare: see [`How`].

use crate::real::dice::Dice;

/// How replies of a command compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They are the same.
    Same,
    /// `~`: they hold the same, in any order.
    AnyOrder,
    /// `%`: they hold the same pairs, in any order.
    Pairs,
    /// `t`: numbers that differ by a time that has passed.
    Time,
}

/// A command.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Its arguments.
    pub args: Vec<Vec<u8>>,
    /// How its replies compare.
    pub how: How,
}

/// Draws commands from templates.
pub struct Draw {
    dice: Dice,
}

const WORDS: &[&str] = &[
    "a",
    "b",
    "c",
    "foo",
    "bar",
    "hello",
    "",
    "0",
    "1",
    "-1",
    "10",
    "3.5",
    "007",
    "9223372036854775807",
    "x y",
    "\u{fc}",
    "\r\n",
    "abcdefghijklmnopqrstuvwxyz",
];

impl Draw {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed) }
    }

    /// A command of one of these templates.
    pub fn command(&mut self, templates: &[&str]) -> Drawn {
        let template = self.dice.pick(templates);
        let (how, template) = match template.as_bytes().first() {
            Some(b'~') => (How::AnyOrder, &template[1..]),
            Some(b'%') => (How::Pairs, &template[1..]),
            Some(b't') if template.starts_with("t:") => (How::Time, &template[2..]),
            _ => (How::Same, template),
        };
        let mut args = Vec::new();
        self.words(template, &mut args);
        // Names of commands come in any case.
        if self.dice.one_in(8)
            && let Some(name) = args.first_mut()
        {
            name.make_ascii_lowercase();
        }
        Drawn { args, how }
    }

    fn words(&mut self, mut rest: &str, args: &mut Vec<Vec<u8>>) {
        loop {
            rest = rest.trim_start_matches(' ');
            if rest.is_empty() {
                return;
            }
            let (times, after_plus) = match rest.strip_prefix('+') {
                Some(after) => (1 + self.dice.below(4), after),
                None => (1, rest),
            };
            let word = first_word(after_plus);
            for _ in 0..times {
                self.word(word, args);
            }
            rest = &after_plus[word.len()..];
        }
    }

    fn word(&mut self, word: &str, args: &mut Vec<Vec<u8>>) {
        let inner = || &word[1..word.len() - 1];
        match word.as_bytes()[0] {
            b'(' => {
                let choices = choices(inner());
                let choice = self.dice.pick(&choices);
                self.words(choice, args);
            }
            b'[' => {
                if self.dice.one_in(2) {
                    let choices = choices(inner());
                    let choice = self.dice.pick(&choices);
                    self.words(choice, args);
                }
            }
            b'{' => {
                let value = self.value(inner());
                args.push(value);
            }
            _ => args.push(word.as_bytes().to_vec()),
        }
    }

    fn key(&mut self, of: &str) -> Vec<u8> {
        // Now and then a key of another type.
        let of = if self.dice.one_in(25) { self.dice.pick(&["s", "b", "h", "l", "t", "z"]) } else { of };
        format!("{of}{}", self.dice.below(5)).into_bytes()
    }

    fn value(&mut self, what: &str) -> Vec<u8> {
        let number = |n: i64| n.to_string().into_bytes();
        match what {
            // A key that holds a string, bits, a hash, a list, a set, a sorted set; any.
            "s" | "b" | "h" | "l" | "t" | "z" => self.key(what),
            // A sorted set whose scores are all the same: only then ranges of names mean something.
            "x" => format!("x{}", self.dice.below(3)).into_bytes(),
            "k" => {
                let of = self.dice.pick(&["s", "b", "h", "l", "t", "z"]);
                self.key(of)
            }
            // A value, a member, a field.
            "v" => match self.dice.below(12) {
                0 => vec![b'x'; self.dice.below(200) as usize],
                // No 0: the oracle sorts texts as C strings.
                1 => (0..self.dice.below(20)).map(|_| 1 + self.dice.below(255) as u8).collect(),
                2..=4 => number(self.dice.below(1000) as i64 - 500),
                _ => self.dice.pick(WORDS).as_bytes().to_vec(),
            },
            "m" => match self.dice.below(4) {
                0 => number(self.dice.below(40) as i64 - 5),
                _ => format!("m{}", self.dice.below(40)).into_bytes(),
            },
            // A whole number: small, an index, any.
            "n" => number(self.dice.below(12) as i64),
            "i" => match self.dice.below(16) {
                0 => number(self.dice.pick(&[i64::MAX, i64::MIN, 1_000_000, -1_000_000])),
                1 => b"x".to_vec(),
                _ => number(self.dice.below(24) as i64 - 12),
            },
            "by" => match self.dice.below(12) {
                0 => number(self.dice.pick(&[i64::MAX, i64::MIN])),
                1 => b"1.5".to_vec(),
                _ => number(self.dice.below(200) as i64 - 100),
            },
            // A count of things.
            "c" => number(1 + self.dice.below(6) as i64),
            // Offset of a bit, of a byte.
            "bit" => number(self.dice.below(200) as i64),
            "01" => number(self.dice.below(2) as i64),
            "off" => number(self.dice.below(40) as i64),
            // A score, and a bound of scores.
            "f" => match self.dice.below(14) {
                0 => self.dice.pick(&["inf", "-inf", "+inf", "1e3", "nan", "x", "1e400"]).as_bytes().to_vec(),
                1 => b"0.1".to_vec(),
                2 => b"-2.5".to_vec(),
                _ => number(self.dice.below(20) as i64 - 5),
            },
            "min" | "max" => {
                let bound = number(self.dice.below(20) as i64 - 5);
                match self.dice.below(6) {
                    0 => {
                        if what == "min" {
                            b"-inf".to_vec()
                        } else {
                            b"+inf".to_vec()
                        }
                    }
                    1 => [b"(", &bound[..]].concat(),
                    _ => bound,
                }
            }
            "lexmin" | "lexmax" => match self.dice.below(6) {
                0 => {
                    if what == "lexmin" {
                        b"-".to_vec()
                    } else {
                        b"+".to_vec()
                    }
                }
                1 => b"m1".to_vec(),
                2 => format!("(m{}", self.dice.below(40)).into_bytes(),
                _ => format!("[m{}", self.dice.below(40)).into_bytes(),
            },
            // A time to live that does not end within the test.
            "far" => number(1000 + self.dice.below(1000) as i64),
            "farms" => number(1_000_000 + self.dice.below(1_000_000) as i64),
            // One that ends soon.
            "soon" => number(1 + self.dice.below(20) as i64),
            // A type of BITFIELD.
            "type" => {
                let bits = 1 + self.dice.below(65);
                format!("{}{bits}", self.dice.pick(&["i", "u"])).into_bytes()
            }
            "glob" => {
                self.dice.pick(&["*", "s*", "?1", "[a-h]*", "m*", "*1*", "\\*", "[^s]?"]).as_bytes().to_vec()
            }
            other => panic!("no such value: {other}"),
        }
    }
}

/// The first word of a template: up to a blank outside of all brackets.
fn first_word(text: &str) -> &str {
    let mut depth = 0i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ' ' if depth == 0 => return &text[..at],
            _ => {}
        }
    }
    text
}

/// The parts of an alternative, cut at `|` outside of inner brackets.
fn choices(text: &str) -> Vec<&str> {
    let (mut depth, mut from) = (0i32, 0);
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '|' if depth == 0 => {
                found.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[from..]);
    found
}
