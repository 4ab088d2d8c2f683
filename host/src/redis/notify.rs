//! The letters of `notify-keyspace-events`.

use super::store::effects::Class;

/// Letters and classes, in the order in which Redis prints them.
const CLASSES: [(char, Class); 11] = [
    ('g', Class::GENERIC),
    ('$', Class::STRING),
    ('l', Class::LIST),
    ('s', Class::SET),
    ('h', Class::HASH),
    ('z', Class::SORTED_SET),
    ('x', Class::EXPIRED),
    ('e', Class::EVICTED),
    ('t', Class::STREAM),
    ('d', Class::MODULE),
    ('n', Class::NEW),
];
/// Those that no `A` stands for.
const OTHERS: [(char, Class); 3] = [('K', Class::KEYSPACE), ('E', Class::KEYEVENT), ('m', Class::KEY_MISS)];

/// `A`: all but key misses and new keys.
const ALL: u32 = Class::GENERIC.0
    | Class::STRING.0
    | Class::LIST.0
    | Class::SET.0
    | Class::HASH.0
    | Class::SORTED_SET.0
    | Class::EXPIRED.0
    | Class::EVICTED.0
    | Class::STREAM.0
    | Class::MODULE.0;

/// The classes of a text; `None` if a letter is none of them.
pub fn parse(text: &str) -> Option<Class> {
    let mut bits = 0;
    for letter in text.chars() {
        bits |= match letter {
            'A' => ALL,
            _ => CLASSES.iter().chain(&OTHERS).find(|(name, _)| *name == letter)?.1.0,
        };
    }
    Some(Class(bits))
}

/// The text of classes, as Redis prints it.
pub fn print(classes: Class) -> String {
    let mut text = String::new();
    let has = |class: Class| classes.0 & class.0 != 0;
    if classes.0 & ALL == ALL {
        text.push('A');
    } else {
        text.extend(CLASSES.iter().filter(|(l, class)| *l != 'n' && has(*class)).map(|(l, _)| *l));
    }
    text.extend(if has(Class::NEW) { Some('n') } else { None });
    text.extend(OTHERS.iter().filter(|(_, class)| has(*class)).map(|(letter, _)| *letter));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_read_and_print_as_in_redis() {
        for (text, printed) in [
            ("", ""),
            ("KEA", "AKE"),
            ("AKE$", "AKE"),
            ("KEg$lshzxetd", "AKE"),
            ("Ex", "xE"),
            ("KEAmn", "AnKEm"),
            ("Kz$", "$zK"),
        ] {
            assert_eq!(parse(text).map(print).as_deref(), Some(printed), "{text}");
        }
        assert_eq!(parse("KQ"), None);
    }
}
