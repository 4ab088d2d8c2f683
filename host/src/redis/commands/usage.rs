//! The `usage` of a command as the argument trees of COMMAND DOCS: redis-cli shows them as hints.
//!
//! ```text
//! usage := { item }                     a b
//! item  := WORD                         a token; with names behind it, the token of these
//!        | name                         an argument
//!        | "[" usage { "|" usage } "]"  may be left out
//!        | "<" usage { "|" usage } ">"  one of these
//! ```
//! `key [key ...]` is one argument that may come several times; so is `[EX seconds ...]`.

use super::Reply;

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Argument {
    /// Its name; empty for a group.
    pub name: String,
    /// The word before it.
    pub token: Option<String>,
    /// Its parts, if it is a block or a choice.
    pub parts: Vec<Argument>,
    /// One of the parts, not all.
    pub is_choice: bool,
    /// It may be left out.
    pub is_optional: bool,
    /// It may come several times.
    pub is_multiple: bool,
}

/// The arguments of a usage.
pub fn parse(usage: &str) -> Vec<Argument> {
    let spaced = ["[", "]", "<", ">", "|"]
        .iter()
        .fold(usage.to_owned(), |text, mark| text.replace(mark, &format!(" {mark} ")));
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    sequence(&words, &mut at)
}

/// Items up to a mark that ends them.
fn sequence(words: &[&str], at: &mut usize) -> Vec<Argument> {
    let mut items: Vec<Argument> = Vec::new();
    while let Some(word) = words.get(*at) {
        match *word {
            "]" | ">" | "|" => break,
            "..." => {
                *at += 1;
                repeat(&mut items);
            }
            "[" | "<" => {
                *at += 1;
                let mut group = group(words, at);
                group.is_optional = *word == "[";
                // `key [key ...]`: the argument before, again.
                let before = items.len().checked_sub(group.width());
                let is_again = before.is_some_and(|before| group.is_again(&items[before..]));
                match before.filter(|_| is_again) {
                    Some(before) => {
                        let again = items.split_off(before);
                        items.push(block(again, true));
                    }
                    None => items.push(group),
                }
            }
            _ => {
                *at += 1;
                items.push(Argument { name: (*word).to_owned(), ..Argument::default() });
            }
        }
    }
    with_tokens(items)
}

fn group(words: &[&str], at: &mut usize) -> Argument {
    let mut choices = vec![sequence(words, at)];
    while words.get(*at) == Some(&"|") {
        *at += 1;
        choices.push(sequence(words, at));
    }
    // The mark that ends it.
    *at += 1;
    if choices.len() == 1 {
        return block(choices.pop().unwrap_or_default(), false);
    }
    let parts = choices.into_iter().map(|choice| block(choice, false)).collect();
    Argument { parts, is_choice: true, ..Argument::default() }
}

/// Several arguments as one.
fn block(mut parts: Vec<Argument>, is_multiple: bool) -> Argument {
    if parts.len() == 1
        && let Some(mut only) = parts.pop()
    {
        only.is_multiple |= is_multiple;
        return only;
    }
    Argument { parts, is_multiple, ..Argument::default() }
}

/// `...`: what stands before it may come again.
fn repeat(items: &mut Vec<Argument>) {
    let all = std::mem::take(items);
    items.push(block(all, true));
}

fn is_token(name: &str) -> bool {
    name.bytes().any(|b| b.is_ascii_uppercase()) && !name.bytes().any(|b| b.is_ascii_lowercase())
}

/// A word and the names behind it are one argument.
fn with_tokens(items: Vec<Argument>) -> Vec<Argument> {
    let mut out: Vec<Argument> = Vec::new();
    let mut items = items.into_iter().peekable();
    while let Some(item) = items.next() {
        if !is_token(&item.name) || item.token.is_some() {
            out.push(item);
            continue;
        }
        let mut named = Vec::new();
        while let Some(next) = items.next_if(|next| {
            let is_choice = next.is_choice && !next.is_optional;
            (is_choice || (!next.name.is_empty() && !is_token(&next.name)))
                && !next.is_optional
                && next.token.is_none()
        }) {
            named.push(next);
        }
        let mut argument = if named.is_empty() { Argument::default() } else { block(named, false) };
        if argument.parts.is_empty() && argument.name.is_empty() {
            argument.name = item.name.to_ascii_lowercase();
        }
        argument.token = Some(item.name);
        argument.is_multiple |= item.is_multiple;
        out.push(argument);
    }
    out
}

impl Argument {
    fn width(&self) -> usize {
        if self.parts.is_empty() || self.is_choice { 1 } else { self.parts.len() }
    }

    /// Is it a repetition of these?
    fn is_again(&self, before: &[Self]) -> bool {
        let names = |arguments: &[Self]| {
            arguments.iter().map(|a| (a.name.clone(), a.parts.clone())).collect::<Vec<_>>()
        };
        let own = if self.parts.is_empty() { vec![self.clone()] } else { self.parts.clone() };
        self.is_multiple && !self.is_choice && names(&own) == names(before)
    }

    fn shown_name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        match &self.token {
            Some(token) => token.to_ascii_lowercase(),
            None => self.parts.first().map_or_else(|| "block".to_owned(), Self::shown_name),
        }
    }

    fn kind(&self) -> &'static str {
        if self.is_choice {
            return "oneof";
        }
        if !self.parts.is_empty() {
            return "block";
        }
        if self.token.as_ref().is_some_and(|token| token.eq_ignore_ascii_case(&self.name)) {
            return "pure-token";
        }
        match self.name.as_str() {
            "key" | "newkey" | "source" | "destination" => "key",
            "pattern" => "pattern",
            "score" | "min" | "max" | "increment" | "weight" => "double",
            "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
            "seconds" | "milliseconds" | "count" | "offset" | "start" | "stop" | "end" | "index"
            | "numkeys" | "timeout" | "db" | "cursor" | "protover" | "client-id" | "numreplicas"
            | "numlocal" | "bit" | "rank" | "decrement" | "length" | "limit" | "numberofkeys" => "integer",
            _ => "string",
        }
    }

    /// As COMMAND DOCS gives it. `key_at` counts the keys.
    pub fn to_reply(&self, key_at: &mut i64) -> Reply {
        let kind = self.kind();
        let mut pairs = vec![
            (Reply::Text("name"), Reply::bulk(self.shown_name())),
            (Reply::Text("type"), Reply::Text(kind)),
        ];
        if self.parts.is_empty() {
            pairs.push((Reply::Text("display_text"), Reply::bulk(self.shown_name())));
        }
        if kind == "key" {
            pairs.push((Reply::Text("key_spec_index"), Reply::Int(*key_at)));
            *key_at += 1;
        }
        if let Some(token) = &self.token {
            pairs.push((Reply::Text("token"), Reply::bulk(token)));
        }
        let mut flags = Vec::new();
        flags.extend(self.is_optional.then_some(Reply::Status("optional".into())));
        flags.extend(self.is_multiple.then_some(Reply::Status("multiple".into())));
        if !flags.is_empty() {
            pairs.push((Reply::Text("flags"), Reply::Set(flags)));
        }
        if !self.parts.is_empty() {
            let parts = self.parts.iter().map(|part| part.to_reply(key_at)).collect();
            pairs.push((Reply::Text("arguments"), Reply::Array(parts)));
        }
        Reply::Map(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &[Argument]) -> String {
        let one = |a: &Argument| {
            let parts = if a.parts.is_empty() { String::new() } else { format!("({})", shown(&a.parts)) };
            let token = a.token.as_ref().map_or_else(String::new, |token| format!("{token}:"));
            let marks =
                format!("{}{}", if a.is_optional { "?" } else { "" }, if a.is_multiple { "+" } else { "" });
            format!("{token}{}{parts}{marks}/{}", a.name, a.kind())
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn usages_become_trees() {
        for (usage, expected) in [
            ("key", "key/key"),
            ("key [key ...]", "key+/key"),
            ("key value [key value ...]", "(key/key value/string)+/block"),
            ("key [NX | XX]", "key/key (NX:nx/pure-token XX:xx/pure-token)?/oneof"),
            ("key [EX seconds | KEEPTTL]", "key/key (EX:seconds/integer KEEPTTL:keepttl/pure-token)?/oneof"),
            ("[LIMIT offset count]", "LIMIT:(offset/integer count/integer)?/block"),
            ("[WEIGHTS weight [weight ...]]", "WEIGHTS:weight?+/double"),
            ("<ON | OFF>", "(ON:on/pure-token OFF:off/pure-token)/oneof"),
            ("[section [section ...]]", "section?+/string"),
            ("", ""),
        ] {
            assert_eq!(shown(&parse(usage)), expected, "{usage}");
        }
    }
}
