//! JSON lines.
//!
//! ```text
//! pair  = {"key": text, "value": text} LF        a side that is not UTF-8 is named key_hex or value_hex
//!                                                and holds hexadecimal
//! keyed = any JSON object LF                     with the name of the field that is the key
//! ```
//! Of a keyed line the key is the field's string, or the text of its number as it stands in the line; the value
//! is the whole line without its line feed. Empty lines are skipped.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Write};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{Lines, ReadError, Record, RecordReader, RecordWriter, check_limits, push_hex, read_hex};

/// A string that borrows from the line where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A line that `export` printed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair<'a> {
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    key_hex: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
    #[serde(borrow)]
    value_hex: Option<Text<'a>>,
}

/// Reads pairs, or keyed lines.
pub struct Reader<R> {
    lines: Lines<R>,
    field: Option<String>,
    line: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`: pairs, or with `field` keyed lines.
    pub fn new(input: R, field: Option<&str>) -> Self {
        let field = field.map(str::to_owned);
        Self { lines: Lines::new(input), field, line: Vec::new(), key: Vec::new(), value: Vec::new() }
    }
}

impl<R: BufRead> RecordReader for Reader<R> {
    fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        loop {
            if !self.lines.next(&mut self.line)? {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let line = self.lines.number;
        // The parser would take a list for an object with its fields in order.
        if self.line.trim_ascii_start().first() != Some(&b'{') {
            let next = "write one JSON object a line, or check --format";
            return Err(ReadError::new(line, "the line is no JSON object", next));
        }
        if let Some(field) = &self.field {
            read_keyed(&self.line, field, &mut self.key)
                .map_err(|e| ReadError::new(line, describe(&e), "mend the line, or name another --key"))?;
            check_limits(&self.key, &self.line, line)?;
            return Ok(Some(Record { key: &self.key, value: &self.line, line }));
        }
        let next = "write {\"key\": ..., \"value\": ...} with strings, key_hex or value_hex for other bytes, \
                    or name the key's field with --key to store whole lines";
        let pair: Pair<'_> =
            serde_json::from_slice(&self.line).map_err(|e| ReadError::new(line, describe(&e), next))?;
        for (name, text, hex, to) in [
            ("key", pair.key, pair.key_hex, &mut self.key),
            ("value", pair.value, pair.value_hex, &mut self.value),
        ] {
            to.clear();
            to.shrink_to(1 << 20);
            match (text, hex) {
                (Some(text), None) => to.extend_from_slice(text.0.as_bytes()),
                (None, Some(hex)) if read_hex(&hex.0, to) => {}
                (None, Some(_)) => {
                    let what = format!("{name}_hex is not pairs of hexadecimal digits");
                    return Err(ReadError::new(line, what, next));
                }
                (None, None) => return Err(ReadError::new(line, format!("there is no {name}"), next)),
                (Some(_), Some(_)) => {
                    let what = format!("there are both {name} and {name}_hex");
                    return Err(ReadError::new(line, what, next));
                }
            }
        }
        check_limits(&self.key, &self.value, line)?;
        Ok(Some(Record { key: &self.key, value: &self.value, line }))
    }
}

/// What the parser says, in plain words, and where in the line.
fn describe(error: &serde_json::Error) -> String {
    // Its line number is always 1.
    let text = error.to_string();
    let (what, column) = match text.rsplit_once(" at line 1 column ") {
        Some((what, column)) => (what, format!(" at column {column}")),
        None => (text.as_str(), String::new()),
    };
    let what = match error.classify() {
        Category::Eof => "the line ends before the JSON does".to_owned(),
        Category::Syntax => syntax_in_words(what),
        Category::Data | Category::Io => data_in_words(what),
    };
    what + &column
}

/// What the parser says of text that is no JSON, by how its message begins.
const SYNTAX: &[(&str, &str)] = &[
    ("expected value", "a value is missing or is not written as JSON"),
    ("expected ident", "a word is none of true, false and null"),
    ("expected `:`", "there is no colon behind a name"),
    ("expected `,` or `}`", "there is no comma or closing brace behind a value"),
    ("expected `,` or `]`", "there is no comma or closing bracket behind a value"),
    ("trailing comma", "there is a comma with nothing behind it"),
    ("trailing characters", "there is more text behind the JSON object"),
    ("key must be a string", "a name does not stand in double quotes"),
    ("control character", "a text holds a control character that is not escaped"),
    ("invalid escape", "a backslash is followed by no escape of JSON"),
    ("unexpected end of hex escape", "an escape of a character is cut short"),
    ("lone leading surrogate", "an escape names half of a character"),
    ("invalid unicode", "a text is not UTF-8"),
    ("invalid number", "a number is not written as JSON"),
    ("number out of range", "a number is too large"),
    ("recursion limit", "lists and objects lie too deep in one another"),
];

fn syntax_in_words(what: &str) -> String {
    let known = SYNTAX.iter().find(|(start, _)| what.starts_with(start));
    known.map_or_else(|| format!("the line is not JSON ({what})"), |(_, words)| (*words).to_owned())
}

/// What the parser says of JSON that is something else than was asked for.
fn data_in_words(what: &str) -> String {
    if let Some((found, wanted)) =
        what.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        let found = match found.split_once(' ') {
            _ if found == "sequence" => "a list".to_owned(),
            _ if found == "map" => "an object".to_owned(),
            Some(("string", text)) => format!("the text {text}"),
            Some((_, quoted)) if quoted.contains('`') => quoted.replace("point ", "").replace('`', ""),
            _ => found.to_owned(),
        };
        return format!("{wanted} belongs here, not {found}");
    }
    let name_of = |start: &str| {
        let rest = what.strip_prefix(start)?.strip_prefix('`')?;
        rest.split_once('`').map(|(name, _)| name)
    };
    if let Some(name) = name_of("unknown field ") {
        return format!("the field {name} does not belong here");
    }
    match name_of("duplicate field ") {
        Some(name) => format!("the field {name} is here twice"),
        None => what.to_owned(),
    }
}

/// Puts the key of a keyed line into `key`.
fn read_keyed(line: &[u8], field: &str, key: &mut Vec<u8>) -> serde_json::Result<()> {
    key.clear();
    let mut parser = serde_json::Deserializer::from_slice(line);
    let raw = FieldOf(field).deserialize(&mut parser)?.get();
    parser.end()?;
    match raw.as_bytes().first() {
        Some(b'"') => key.extend_from_slice(serde_json::from_str::<Text<'_>>(raw)?.0.as_bytes()),
        Some(b'-' | b'0'..=b'9') => key.extend_from_slice(raw.as_bytes()),
        _ => {
            let what = format!("the field {field} is neither a string nor a number");
            return Err(serde_json::Error::custom(what));
        }
    }
    Ok(())
}

/// Finds one field of an object and skips the others without building them.
struct FieldOf<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = &'de RawValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldOf<'_> {
    type Value = &'de RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the field {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(name)) = map.next_key()? {
            if name != self.0 {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom(format!("the field {} is here twice", self.0)));
            }
        }
        found.ok_or_else(|| A::Error::custom(format!("there is no field {}", self.0)))
    }
}

/// Prints pairs.
#[derive(Debug, Default)]
pub struct Writer {
    hex: String,
}

impl Writer {
    fn side(&mut self, out: &mut dyn Write, name: &str, bytes: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                write!(out, "\"{name}\":")?;
                serde_json::to_writer(out, text)?;
                Ok(())
            }
            Err(_) => {
                write!(out, "\"{name}_hex\":\"")?;
                // By pieces: the text of a value of a gigabyte need not stand in memory.
                for piece in bytes.chunks(16 << 10) {
                    self.hex.clear();
                    push_hex(&mut self.hex, piece);
                    out.write_all(self.hex.as_bytes())?;
                }
                out.write_all(b"\"")
            }
        }
    }
}

impl RecordWriter for Writer {
    fn write(&mut self, out: &mut dyn Write, key: &[u8], value: &[u8]) -> io::Result<()> {
        out.write_all(b"{")?;
        self.side(out, "key", key)?;
        out.write_all(b",")?;
        self.side(out, "value", value)?;
        out.write_all(b"}\n")
    }
}
