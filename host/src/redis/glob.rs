//! Patterns of KEYS, SCAN and PSUBSCRIBE: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
//!
//! Iterative: a `*` that does not match as short as it is tries one byte more, and only the last `*` is ever tried again.

/// Steps after which a match is given up, so that no pattern holds the server up.
const STEPS_MAX: usize = 1 << 20;

/// Does `text` match `pattern`, whole?
pub fn matches(pattern: &[u8], text: &[u8], ignores_case: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    for _ in 0..STEPS_MAX {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            star = Some((p, t));
            if p == pattern.len() {
                return true;
            }
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        let step = if t < text.len() { one(&pattern[p..], text[t], ignores_case) } else { None };
        match (step, star) {
            (Some(len), _) => {
                p += len;
                t += 1;
            }
            (None, Some((after, from))) if from < text.len() => {
                p = after;
                t = from + 1;
                star = Some((after, t));
            }
            (None, _) => return false,
        }
    }
    false
}

/// The length of the pattern's first item, if it matches `byte`.
fn one(pattern: &[u8], byte: u8, ignores_case: bool) -> Option<usize> {
    let fold = |b: u8| if ignores_case { b.to_ascii_lowercase() } else { b };
    let byte = fold(byte);
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            let (is_not, mut at) = if set.first() == Some(&b'^') { (true, 1) } else { (false, 0) };
            let mut is_in = false;
            loop {
                match set[at.min(set.len())..] {
                    // A set without an end goes to the end of the pattern.
                    [] => break,
                    [b']', ..] => {
                        at += 1;
                        break;
                    }
                    [b'\\', b, ..] => {
                        is_in |= fold(b) == byte;
                        at += 2;
                    }
                    [low, b'-', high, ..] => {
                        let (low, high) = (fold(low.min(high)), fold(low.max(high)));
                        is_in |= (low..=high).contains(&byte);
                        at += 3;
                    }
                    [b, ..] => {
                        is_in |= fold(b) == byte;
                        at += 1;
                    }
                }
            }
            (is_in != is_not).then_some(1 + at)
        }
        [b'\\', b, ..] => (fold(*b) == byte).then_some(2),
        [b, ..] => (fold(*b) == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, is_match) in [
            ("*", "", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("h?llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-b]llo", "hbllo", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[", "[", false),
            ("a", "ab", false),
            ("*a", "aaaa", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), is_match, "{pattern} {text}");
        }
        assert!(matches(b"H[A-Z]", b"hx", true));
    }

    #[test]
    fn a_pattern_of_many_stars_ends() {
        let pattern = b"a*".repeat(10_000);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &b"a".repeat(100_000), false));
    }
}
