//! Tab-separated records.
//!
//! ```text
//! line   = key TAB value LF
//! side   = *(byte | escape)       byte: any but TAB, LF and backslash
//! escape = "\t" | "\n" | "\r" | "\\" | "\x" hex hex
//! ```
//! The writer escapes control characters and every byte that is not part of valid UTF-8, so that its output is
//! text that a terminal shows safely; the reader takes raw bytes too.

use std::io::{self, BufRead, Write};

use super::{Lines, ReadError, Record, RecordReader, RecordWriter, check_limits, hex_digit};

/// Reads records.
pub struct Reader<R> {
    lines: Lines<R>,
    line: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self { lines: Lines::new(input), line: Vec::new(), key: Vec::new(), value: Vec::new() }
    }
}

impl<R: BufRead> RecordReader for Reader<R> {
    fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        if !self.lines.next(&mut self.line)? {
            return Ok(None);
        }
        let number = self.lines.number;
        // A raw carriage return here comes from a file with CRLF line ends: as data it is written `\r`.
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let Some(tab) = line.iter().position(|b| *b == b'\t') else {
            let next = "write each record as key, TAB, value; check --format";
            return Err(ReadError::new(number, "there is no TAB", next));
        };
        let (key, value) = (&line[..tab], &line[tab + 1..]);
        if value.contains(&b'\t') {
            let next = "write a TAB inside a key or value as \\t";
            return Err(ReadError::new(number, "there is more than one TAB", next));
        }
        for (text, to) in [(key, &mut self.key), (value, &mut self.value)] {
            to.clear();
            to.shrink_to(1 << 20);
            unescape(text, to).map_err(|what| {
                ReadError::new(number, what, "use \\t \\n \\r \\\\ or \\x with two hexadecimal digits")
            })?;
        }
        check_limits(&self.key, &self.value, number)?;
        Ok(Some(Record { key: &self.key, value: &self.value, line: number }))
    }
}

/// Appends `text` to `to` with its escapes resolved.
///
/// # Errors
/// Says which escape is none of ours.
pub fn unescape(mut text: &[u8], to: &mut Vec<u8>) -> Result<(), String> {
    while let Some(at) = text.iter().position(|b| *b == b'\\') {
        to.extend_from_slice(&text[..at]);
        text = match &text[at + 1..] {
            [b't', rest @ ..] => push(to, b'\t', rest),
            [b'n', rest @ ..] => push(to, b'\n', rest),
            [b'r', rest @ ..] => push(to, b'\r', rest),
            [b'\\', rest @ ..] => push(to, b'\\', rest),
            [b'x', high, low, rest @ ..] => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => push(to, high << 4 | low, rest),
                _ => return Err("\\x without two hexadecimal digits".to_owned()),
            },
            [b'x', ..] => return Err("\\x without two hexadecimal digits".to_owned()),
            [other, ..] => return Err(format!("\\{} is not an escape", other.escape_ascii())),
            [] => return Err("a backslash at the end".to_owned()),
        };
    }
    to.extend_from_slice(text);
    Ok(())
}

fn push<'a>(to: &mut Vec<u8>, byte: u8, rest: &'a [u8]) -> &'a [u8] {
    to.push(byte);
    rest
}

/// Prints `bytes` with escapes.
///
/// # Errors
/// What the output says.
pub fn write_escaped(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        let mut plain = chunk.valid();
        while let Some(at) = plain.find(|c: char| c.is_control() || c == '\\') {
            out.write_all(&plain.as_bytes()[..at])?;
            let Some(escaped) = plain[at..].chars().next() else { break };
            match escaped {
                '\t' => out.write_all(b"\\t")?,
                '\n' => out.write_all(b"\\n")?,
                '\r' => out.write_all(b"\\r")?,
                '\\' => out.write_all(b"\\\\")?,
                other => write_hex_escapes(out, other.encode_utf8(&mut [0; 4]).as_bytes())?,
            }
            plain = &plain[at + escaped.len_utf8()..];
        }
        out.write_all(plain.as_bytes())?;
        write_hex_escapes(out, chunk.invalid())?;
    }
    Ok(())
}

fn write_hex_escapes(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    bytes.iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"))
}

/// Prints records.
#[derive(Debug, Default)]
pub struct Writer;

impl RecordWriter for Writer {
    fn write(&mut self, out: &mut dyn Write, key: &[u8], value: &[u8]) -> io::Result<()> {
        write_escaped(out, key)?;
        out.write_all(b"\t")?;
        write_escaped(out, value)?;
        out.write_all(b"\n")
    }
}
