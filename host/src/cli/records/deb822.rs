//! Stanzas of fields, as in Debian's package index.
//!
//! ```text
//! file    = *(blank | stanza)      blank: an empty line; any number of them separates stanzas
//! stanza  = 1*(field | more | comment)
//! field   = name ":" text LF       the name is compared without regard to case
//! more    = (SP | TAB) text LF     continues the field before it, also when the text is only spaces
//! comment = "#" text LF
//! ```
//! The key is the text of the named field, continuation lines included, without white space around it. The
//! value is the bytes of the stanza without the final line feed; CRLF line ends are understood and kept.

use std::io::BufRead;

use super::{Lines, ReadError, Record, RecordReader, check_limits};

/// Reads stanzas.
pub struct Reader<R> {
    lines: Lines<R>,
    field: String,
    stanza: Vec<u8>,
    key: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`; `field` names the key.
    pub fn new(input: R, field: &str) -> Self {
        Self { lines: Lines::new(input), field: field.to_owned(), stanza: Vec::new(), key: Vec::new() }
    }

    /// Collects the next stanza; gives its first line, or `None` at the end.
    fn collect(&mut self) -> Result<Option<u64>, ReadError> {
        self.stanza.clear();
        self.stanza.shrink_to(1 << 20);
        let mut first = None;
        loop {
            let start = self.stanza.len();
            if !self.lines.append(&mut self.stanza)? {
                return Ok(first);
            }
            if is_blank(&self.stanza[start..]) {
                self.stanza.truncate(start);
                if first.is_some() {
                    return Ok(first);
                }
            } else {
                first.get_or_insert(self.lines.number);
            }
        }
    }

    /// Finds the key in the stanza that starts at line `first`.
    fn find_key(&mut self, first: u64) -> Result<(), ReadError> {
        self.key.clear();
        let mut found = false;
        let mut in_key = false;
        let mut in_field = false;
        for (line, number) in self.stanza.split_inclusive(|b| *b == b'\n').zip(first..) {
            match line.first() {
                Some(b'#') | None => continue,
                Some(b' ' | b'\t') if in_field => {
                    if in_key {
                        self.key.extend_from_slice(line);
                    }
                    continue;
                }
                Some(_) => {}
            }
            let colon = line.iter().position(|b| *b == b':');
            let Some((name, text)) = colon.map(|at| (&line[..at], &line[at + 1..])) else {
                let next = "write fields as \"Name: text\", more lines of one with a space before them";
                return Err(ReadError::new(number, "this is not a field", next));
            };
            if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
                let next = "write fields as \"Name: text\", more lines of one with a space before them";
                return Err(ReadError::new(number, "this is not a field", next));
            }
            in_field = true;
            in_key = name.eq_ignore_ascii_case(self.field.as_bytes());
            if in_key {
                if found {
                    let what = format!("the field {} is here twice", self.field);
                    return Err(ReadError::new(number, what, "leave one of the two in the stanza"));
                }
                found = true;
                self.key.extend_from_slice(text);
            }
        }
        let trimmed = self.key.trim_ascii();
        if trimmed.is_empty() {
            let what = match found {
                true => format!("the field {} of the stanza is empty", self.field),
                false => format!("the stanza has no field {}", self.field),
            };
            let next = "name a field with --key that every stanza has, or mend the stanza";
            return Err(ReadError::new(first, what, next));
        }
        let start = self.key.len() - self.key.trim_ascii_start().len();
        let len = trimmed.len();
        self.key.drain(..start);
        self.key.truncate(len);
        Ok(())
    }
}

/// Is it the line between two stanzas?
fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n" | b"\r" | b"")
}

impl<R: BufRead> RecordReader for Reader<R> {
    fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let Some(first) = self.collect()? else { return Ok(None) };
        self.find_key(first)?;
        let value = self.stanza.strip_suffix(b"\n").unwrap_or(&self.stanza);
        check_limits(&self.key, value, first)?;
        Ok(Some(Record { key: &self.key, value, line: first }))
    }
}
