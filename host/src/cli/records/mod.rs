//! Records as text: what `import` reads and what `export` and `scan` print.
//!
//! - Readers stream: they hold one record at a time, and memory grows with the bytes that arrive, never with
//!   a declared size.
//! - A line ends with a line feed; a carriage return before it belongs to the line, except in TSV, where a
//!   real one is always written `\r`.
//! - Every complaint names the line, counted from 1, where the record starts or where it is wrong.

pub mod deb822;
pub mod jsonl;
pub mod source;
pub mod tsv;

use std::fmt;
use std::io::{self, BufRead, Write};

use nokv_core::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The longest line or stanza, in bytes: the largest key and value with every byte as a six-byte JSON escape.
pub const RECORD_BYTES_MAX: u64 = 6 * (KEY_BYTES_MAX as u64 + VALUE_BYTES_MAX as u64) + 1024;

/// One record, lent from the reader until the next is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// The line where the record starts, counted from 1.
    pub line: u64,
}

/// Why reading stopped.
#[derive(Debug)]
pub struct ReadError {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong there.
    pub what: String,
    /// What to do about it.
    pub next: &'static str,
}

impl ReadError {
    /// A complaint about `line`.
    pub fn new(line: u64, what: impl Into<String>, next: &'static str) -> Self {
        Self { line, what: what.into(), next }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.what, self.next)
    }
}

impl std::error::Error for ReadError {}

/// A stream of records.
pub trait RecordReader {
    /// The next record, or `None` at the end. After an error the reader is not used again.
    ///
    /// # Errors
    /// Bytes that are not of the format, a side above the limits, or a failed read.
    fn next(&mut self) -> Result<Option<Record<'_>>, ReadError>;
}

/// Prints records.
pub trait RecordWriter {
    /// Prints one record as one line.
    ///
    /// # Errors
    /// What the output says.
    fn write(&mut self, out: &mut dyn Write, key: &[u8], value: &[u8]) -> io::Result<()>;
}

/// Refuses a key or value that the database cannot hold.
fn check_limits(key: &[u8], value: &[u8], line: u64) -> Result<(), ReadError> {
    const NEXT: &str = "shorten or remove this record";
    if key.len() > KEY_BYTES_MAX {
        let what = format!("the key of {} bytes is above the limit of {KEY_BYTES_MAX}", key.len());
        return Err(ReadError::new(line, what, NEXT));
    }
    if value.len() > VALUE_BYTES_MAX {
        let what = format!("the value of {} bytes is above the limit of {VALUE_BYTES_MAX}", value.len());
        return Err(ReadError::new(line, what, NEXT));
    }
    Ok(())
}

/// Lines of a stream, counted and bounded.
struct Lines<R> {
    input: R,
    /// Number of the last line given, from 1.
    number: u64,
    bytes_max: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, number: 0, bytes_max: RECORD_BYTES_MAX }
    }

    /// Appends the next line to `to`, its line feed included; false at the end. `to` never grows above the
    /// bound.
    fn append(&mut self, to: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.number += 1;
        let line = self.number;
        let mut any = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    let next = "check that the input is whole and readable, then import again";
                    return Err(ReadError::new(line, format!("the input cannot be read ({e})"), next));
                }
            };
            if available.is_empty() {
                return Ok(any);
            }
            any = true;
            let end = available.iter().position(|b| *b == b'\n').map(|at| at + 1);
            let take = end.unwrap_or(available.len());
            if to.len() as u64 + take as u64 > self.bytes_max {
                let what = format!("the record is longer than {} bytes", self.bytes_max);
                let next = "check --format; a single record cannot be this large";
                return Err(ReadError::new(line, what, next));
            }
            to.extend_from_slice(&available[..take]);
            self.input.consume(take);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// The next line without its line feed, in place of what `to` held; false at the end.
    fn next(&mut self, to: &mut Vec<u8>) -> Result<bool, ReadError> {
        to.clear();
        // One huge record must not hold its memory for the rest of the stream.
        to.shrink_to(1 << 20);
        if !self.append(to)? {
            return Ok(false);
        }
        if to.last() == Some(&b'\n') {
            to.pop();
        }
        Ok(true)
    }
}

/// Lower-case hexadecimal of `bytes`, appended.
pub fn push_hex(to: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        to.push(DIGITS[usize::from(byte >> 4)] as char);
        to.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

/// The value of one hexadecimal digit.
fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Reads hexadecimal of any case into `to`, in place of what it held; false if it is not that.
pub(super) fn read_hex(text: &str, to: &mut Vec<u8>) -> bool {
    to.clear();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    for [high, low] in pairs {
        let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low)) else { return false };
        to.push(high << 4 | low);
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests;
