//! Requests: `*N` with bulk strings, or a line of words.
//!
//! ```text
//! request := "*" count CRLF { "$" length CRLF bytes CRLF }
//!          | words LF                      inline: words by blanks, with quotes
//! ```
//! The parser keeps its place, so bytes that come one by one are looked at once. It allocates by what has arrived, never
//! by what a header declares.

use std::ops::Range;

/// Most bytes of a line: an inline request, or a header.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// First reserve for arguments, whatever is declared.
const ARGS_RESERVE_MAX: usize = 64;

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of a request, the command's name included.
    pub args_max: usize,
    /// Bytes of an argument.
    pub bulk_bytes_max: usize,
}

impl Limits {
    /// Of a client that has not said who it is.
    pub const STRANGER: Self = Self { args_max: 10, bulk_bytes_max: 16 << 10 };
    /// Of all others.
    pub const USUAL: Self = Self { args_max: 1 << 20, bulk_bytes_max: 512 << 20 };
}

/// Why a connection has to end, as the error line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolError(pub &'static str);

/// A request in its buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// How many bytes it takes.
    pub len: usize,
}

/// Reads requests from the start of a buffer that grows.
#[derive(Debug, Default)]
pub struct Parser {
    /// Where to go on.
    at: usize,
    /// Arguments of a multi-bulk request that are still to come.
    missing: usize,
    is_bulk: bool,
    /// Bytes of the argument whose header was read.
    bulk: Option<usize>,
    args: Vec<Range<usize>>,
    /// Words of an inline request: they may hold escapes.
    words: Vec<Vec<u8>>,
    is_inline: bool,
}

impl Parser {
    /// Looks for a whole request at the start of `bytes`, which must begin with what was given before. `None`: more has
    /// to come. After a request its bytes are to be removed, and [`Parser::clear`] called.
    ///
    /// # Errors
    /// [`ProtocolError`]: the connection cannot go on.
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Request>, ProtocolError> {
        if !self.is_bulk {
            match bytes.first() {
                None => return Ok(None),
                Some(b'*') => {
                    let Some(line) = self.line(bytes, "too big mbulk count string")? else { return Ok(None) };
                    let count = number(&bytes[line][1..])
                        .filter(|count| *count < 1 << 31)
                        .ok_or(ProtocolError("invalid multibulk length"))?;
                    let count = usize::try_from(count).unwrap_or(0);
                    if count > limits.args_max {
                        return Err(ProtocolError(if *limits == Limits::STRANGER {
                            "unauthenticated multibulk length"
                        } else {
                            "invalid multibulk length"
                        }));
                    }
                    self.is_bulk = true;
                    self.missing = count;
                    self.args.reserve(count.min(ARGS_RESERVE_MAX));
                }
                Some(_) => return self.inline(bytes, limits),
            }
        }
        while self.missing > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => {
                    let Some(line) = self.line(bytes, "too big bulk count string")? else { return Ok(None) };
                    let line = &bytes[line];
                    if line.first() != Some(&b'$') {
                        return Err(ProtocolError("expected '$'"));
                    }
                    let len = number(&line[1..])
                        .and_then(|len| usize::try_from(len).ok())
                        .ok_or(ProtocolError("invalid bulk length"))?;
                    if len > limits.bulk_bytes_max {
                        return Err(ProtocolError(if *limits == Limits::STRANGER {
                            "unauthenticated bulk length"
                        } else {
                            "invalid bulk length"
                        }));
                    }
                    self.bulk = Some(len);
                    len
                }
            };
            // The line end behind it is not looked at, as in Redis.
            if bytes.len() - self.at < len + 2 {
                return Ok(None);
            }
            self.args.push(self.at..self.at + len);
            self.at += len + 2;
            self.bulk = None;
            self.missing -= 1;
        }
        Ok(Some(Request { len: self.at }))
    }

    /// Arguments of the request that was found.
    pub fn args<'a>(&'a self, bytes: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let count = if self.is_inline { self.words.len() } else { self.args.len() };
        (0..count)
            .map(move |i| if self.is_inline { &self.words[i][..] } else { &bytes[self.args[i].clone()] })
    }

    /// How many bytes of the argument that arrives are still to come, if that is known: a hint for the buffer.
    pub fn wanted(&self, bytes: usize) -> usize {
        self.bulk.map_or(0, |len| (len + 2).saturating_sub(bytes - self.at))
    }

    /// Begins with the next request.
    pub fn clear(&mut self) {
        self.at = 0;
        self.missing = 0;
        self.is_bulk = false;
        self.bulk = None;
        self.is_inline = false;
        self.words.clear();
        self.args.clear();
        if self.args.capacity() > 4 * ARGS_RESERVE_MAX {
            self.args.shrink_to(ARGS_RESERVE_MAX);
        }
    }

    /// The line that begins where the parser stands, which moves behind it.
    fn line(&mut self, bytes: &[u8], too_long: &'static str) -> Result<Option<Range<usize>>, ProtocolError> {
        let rest = &bytes[self.at..];
        let Some(end) = rest.iter().position(|b| *b == b'\r').filter(|end| end + 1 < rest.len()) else {
            if rest.len() > LINE_BYTES_MAX {
                return Err(ProtocolError(too_long));
            }
            return Ok(None);
        };
        let line = self.at..self.at + end;
        self.at += end + 2;
        Ok(Some(line))
    }

    fn inline(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Request>, ProtocolError> {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            if bytes.len() > LINE_BYTES_MAX {
                return Err(ProtocolError("too big inline request"));
            }
            return Ok(None);
        };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        self.words = split_words(line).ok_or(ProtocolError("unbalanced quotes in request"))?;
        if self.words.len() > limits.args_max {
            return Err(ProtocolError("unauthenticated multibulk length"));
        }
        if self.words.iter().any(|word| word.len() > limits.bulk_bytes_max) {
            return Err(ProtocolError("unauthenticated bulk length"));
        }
        self.is_inline = true;
        Ok(Some(Request { len: end + 1 }))
    }
}

/// A decimal number with an optional `-`, and nothing else.
fn number(text: &[u8]) -> Option<i64> {
    let (digits, is_negative) = match text.strip_prefix(b"-") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    if digits.is_empty() || digits.len() > 19 || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(if is_negative { -value } else { value })
}

/// Splits a line into words: blanks between them, `"` with escapes (`\n \r \t \b \a \xNN`, others stand for themselves)
/// and `'` with `\'`. `None` if quotes do not end, or something follows a closing one.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [b, after @ ..] = rest {
            if !is_blank(*b) {
                break;
            }
            rest = after;
        }
        let Some(first) = rest.first() else { return Some(words) };
        let mut word = Vec::new();
        let quote = match first {
            b'"' | b'\'' => Some(*first),
            _ => None,
        };
        if quote.is_none() {
            // A quote within a word begins a quoted part, as in Redis.
            let mut within = None;
            loop {
                match (within, rest) {
                    (None, [b, ..]) if is_blank(*b) => break,
                    (None, [b @ (b'"' | b'\''), after @ ..]) => {
                        within = Some(*b);
                        rest = after;
                    }
                    (None, [b, after @ ..]) => {
                        word.push(*b);
                        rest = after;
                    }
                    (None, []) => break,
                    (Some(quote), _) => {
                        rest = quoted(rest, quote, &mut word)?;
                        within = None;
                        if rest.first().is_some_and(|b| !is_blank(*b)) {
                            return None;
                        }
                    }
                }
            }
        } else if let Some(quote) = quote {
            rest = quoted(&rest[1..], quote, &mut word)?;
            if rest.first().is_some_and(|b| !is_blank(*b)) {
                return None;
            }
        }
        words.push(word);
    }
}

const fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

/// Takes what stands before the closing quote; gives what stands behind it.
fn quoted<'a>(mut rest: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b, after @ ..] if *b == quote => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', b, after @ ..] if quote == b'"' => {
                word.push(match b {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            [b'\\', b'\'', after @ ..] if quote == b'\'' => {
                word.push(b'\'');
                after
            }
            [b, after @ ..] => {
                word.push(*b);
                after
            }
        };
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
        let mut parser = Parser::default();
        let mut rest = bytes;
        let mut found = Vec::new();
        while let Some(request) = parser.parse(rest, &Limits::USUAL)? {
            found.push(parser.args(rest).map(<[u8]>::to_vec).collect());
            rest = &rest[request.len..];
            parser.clear();
        }
        Ok(found)
    }

    #[test]
    fn a_request_is_found_at_whichever_byte_it_is_split() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nb\r\nc\n\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n";
        let whole = all(bytes).expect("requests");
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0], [&b"SET"[..], b"a", b"b\r\nc\n"]);
        for _ in 0..1 {
            let mut parser = Parser::default();
            let (mut start, mut found) = (0, Vec::new());
            for end in 1..=bytes.len() {
                while let Some(request) =
                    parser.parse(&bytes[start..end], &Limits::USUAL).expect("good requests")
                {
                    found.push(parser.args(&bytes[start..end]).map(<[u8]>::to_vec).collect::<Vec<_>>());
                    start += request.len;
                    parser.clear();
                }
            }
            assert_eq!(found, whole);
        }
    }

    #[test]
    fn limits_hold_at_their_value_and_not_one_over() {
        let at = |args: usize, bulk: usize, limits: &Limits| {
            let bytes = format!("*{args}\r\n${bulk}\r\n");
            Parser::default().parse(bytes.as_bytes(), limits).map(|found| found.is_some())
        };
        for limits in [Limits::STRANGER, Limits::USUAL] {
            assert_eq!(at(limits.args_max, limits.bulk_bytes_max, &limits), Ok(false));
            assert!(at(limits.args_max + 1, 1, &limits).is_err());
            assert!(at(1, limits.bulk_bytes_max + 1, &limits).is_err());
        }
    }

    #[test]
    fn a_line_of_a_stranger_is_bounded_like_his_requests() {
        let is_taken = |line: String| Parser::default().parse(line.as_bytes(), &Limits::STRANGER).is_ok();
        assert!(is_taken(format!("{}\n", "a ".repeat(10))) && !is_taken(format!("{}\n", "a ".repeat(11))));
        assert!(is_taken(format!("{}\n", "a".repeat(16 << 10))));
        assert!(!is_taken(format!("{}\n", "a".repeat((16 << 10) + 1))));
    }

    #[test]
    fn what_is_no_request_ends_the_connection() {
        for bytes in [
            "*a\r\n",
            "*1\r\n+a\r\n",
            "*1\r\n$-1\r\n",
            "*99999999999999999999\r\n",
            "\"a\r\n",
            "*1\r\n$01\r\na\r\n",
        ] {
            assert!(all(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
        assert_eq!(all(b"*0\r\n*-1\r\n\r\n"), Ok(vec![vec![]; 3]));
    }

    #[test]
    fn words_have_quotes_and_escapes() {
        let words = split_words(br#" a "b c\n\x41" 'd\'e' f"g" "#).expect("words");
        assert_eq!(words, [&b"a"[..], b"b c\nA", b"d'e", b"fg"]);
        assert_eq!(split_words(b"\"a\"b"), None);
        assert_eq!(split_words(b"'a"), None);
    }
}
