//! Replies, and how each version of the protocol writes them.

use std::borrow::Cow;

use nokv_core::read::point::Value;

/// The version of the protocol that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RESP2.
    #[default]
    V2,
    /// RESP3.
    V3,
}

/// Byte strings as both versions of the protocol write them.
#[derive(Debug, Clone, Default)]
pub struct Bulks {
    count: i64,
    written: Vec<u8>,
}

impl Bulks {
    /// One more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.count += 1;
        bulk(&mut self.written, bytes);
    }
}

/// What a client is answered. Version 2 writes what it does not know as what it knows: maps as flat arrays, numbers and
/// verbatim texts as bulk strings.
#[derive(Debug, Clone)]
pub enum Reply {
    /// `+OK`
    Ok,
    /// A status line.
    Status(Cow<'static, str>),
    /// An error line with its code.
    Error(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Bytes that the store gave.
    Value(Value),
    /// A constant text as bytes.
    Text(&'static str),
    /// A floating-point number.
    Double(f64),
    /// A truth: 1 or 0 in version 2.
    Bool(bool),
    /// A text for people: its format (three letters) and the text.
    Verbatim(&'static str, String),
    /// Nothing, where bytes were asked for.
    Nil,
    /// Nothing, where an array was asked for.
    NilArray,
    /// Replies in order.
    Array(Vec<Reply>),
    /// An array of many byte strings.
    Bulks(Bulks),
    /// Different replies: an array in version 2.
    Set(Vec<Reply>),
    /// Pairs: a flat array in version 2.
    Map(Vec<(Reply, Reply)>),
    /// What was not asked for: an array in version 2.
    Push(Vec<Reply>),
    /// Several replies, one after another.
    Many(Vec<Reply>),
    /// No reply (now).
    None,
}

impl Reply {
    /// Bytes, or [`Reply::Nil`].
    pub fn value_or_nil(value: Option<Value>) -> Self {
        value.map_or(Self::Nil, Self::Value)
    }

    /// Bytes, or [`Reply::Nil`].
    pub fn bulk_or_nil(bytes: Option<Vec<u8>>) -> Self {
        bytes.map_or(Self::Nil, Self::Bulk)
    }

    /// A count.
    pub fn count(count: impl TryInto<i64>) -> Self {
        Self::Int(count.try_into().unwrap_or(i64::MAX))
    }

    /// 1 or 0.
    pub const fn flag(flag: bool) -> Self {
        Self::Int(flag as i64)
    }

    /// Bytes of a borrowed text.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    /// Is it an error line?
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Writes it.
    pub fn write(&self, protocol: Protocol, out: &mut Vec<u8>) {
        let is_v3 = protocol == Protocol::V3;
        match self {
            Self::Ok => out.extend_from_slice(b"+OK\r\n"),
            Self::Status(text) => line(out, b'+', text.as_bytes()),
            Self::Error(text) => line(out, b'-', text.as_bytes()),
            Self::Int(n) => integer(out, b':', *n),
            Self::Bulk(bytes) => bulk(out, bytes),
            Self::Value(value) => bulk(out, value),
            Self::Text(text) => bulk(out, text.as_bytes()),
            Self::Double(number) => {
                let text = double(*number);
                if is_v3 { line(out, b',', text.as_bytes()) } else { bulk(out, text.as_bytes()) }
            }
            Self::Bool(flag) if is_v3 => out.extend_from_slice(if *flag { b"#t\r\n" } else { b"#f\r\n" }),
            Self::Bool(flag) => integer(out, b':', i64::from(*flag)),
            Self::Verbatim(format, text) if is_v3 => {
                integer(out, b'=', text.len() as i64 + 4);
                out.extend_from_slice(format.as_bytes());
                out.push(b':');
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Self::Verbatim(_, text) => bulk(out, text.as_bytes()),
            Self::Nil | Self::NilArray if is_v3 => out.extend_from_slice(b"_\r\n"),
            Self::Nil => out.extend_from_slice(b"$-1\r\n"),
            Self::NilArray => out.extend_from_slice(b"*-1\r\n"),
            Self::Array(items) => array(out, b'*', items, protocol),
            Self::Bulks(bulks) => {
                integer(out, b'*', bulks.count);
                out.extend_from_slice(&bulks.written);
            }
            Self::Set(items) => array(out, if is_v3 { b'~' } else { b'*' }, items, protocol),
            Self::Push(items) => array(out, if is_v3 { b'>' } else { b'*' }, items, protocol),
            Self::Map(pairs) => {
                if is_v3 {
                    integer(out, b'%', pairs.len() as i64);
                } else {
                    integer(out, b'*', 2 * pairs.len() as i64);
                }
                for (key, value) in pairs {
                    key.write(protocol, out);
                    value.write(protocol, out);
                }
            }
            Self::Many(items) => items.iter().for_each(|item| item.write(protocol, out)),
            Self::None => {}
        }
    }
}

fn line(out: &mut Vec<u8>, mark: u8, text: &[u8]) {
    out.push(mark);
    // A line end within would begin another reply.
    out.extend(text.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
    out.extend_from_slice(b"\r\n");
}

fn integer(out: &mut Vec<u8>, mark: u8, n: i64) {
    out.push(mark);
    push_integer(out, n);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal.
pub fn push_integer(out: &mut Vec<u8>, n: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    integer(out, b'$', bytes.len() as i64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn array(out: &mut Vec<u8>, mark: u8, items: &[Reply], protocol: Protocol) {
    integer(out, mark, items.len() as i64);
    items.iter().for_each(|item| item.write(protocol, out));
}

/// A number as Redis 7.2 prints it: the shortest digits that read back, in the plain form or with an exponent.
///
/// Whole numbers within 2^52 are plain. For others, with `digits` the number of digits, `last` the power of ten of the
/// last and `size` the absolute power of the first, it is plain if
///
/// ```text
/// last >= 0   size < digits + 7
/// last < 0    last > -7, or size < 4
/// ```
pub fn double(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if number.trunc() == number && number.abs() <= (1u64 << 52) as f64 {
        return format!("{number}");
    }
    // The shortest digits, and the power of the first of them.
    let scientific = format!("{number:e}");
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    let last = power + 1 - digits;
    let size = power.abs();
    let is_plain = if last >= 0 { size < digits + 7 } else { last > -7 || size < 4 };
    if is_plain {
        return format!("{number}");
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{size}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, protocol: Protocol) -> String {
        let mut out = Vec::new();
        reply.write(protocol, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn each_version_writes_what_it_knows() {
        let map = Reply::Map(vec![(Reply::Text("a"), Reply::Double(1.5)), (Reply::Text("b"), Reply::Nil)]);
        assert_eq!(written(&map, Protocol::V2), "*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$-1\r\n");
        assert_eq!(written(&map, Protocol::V3), "%2\r\n$1\r\na\r\n,1.5\r\n$1\r\nb\r\n_\r\n");
        let push = Reply::Push(vec![Reply::Int(-7), Reply::Bool(true), Reply::NilArray]);
        assert_eq!(written(&push, Protocol::V2), "*3\r\n:-7\r\n:1\r\n*-1\r\n");
        assert_eq!(written(&push, Protocol::V3), ">3\r\n:-7\r\n#t\r\n_\r\n");
        let text = Reply::Verbatim("txt", "hi".to_owned());
        assert_eq!(written(&text, Protocol::V3), "=6\r\ntxt:hi\r\n");
        assert_eq!(written(&text, Protocol::V2), "$2\r\nhi\r\n");
    }

    #[test]
    fn an_error_is_one_line() {
        let error = Reply::Error("ERR a\r\nb".into());
        assert_eq!(written(&error, Protocol::V2), "-ERR a  b\r\n");
    }

    #[test]
    fn numbers_print_as_in_redis() {
        for (number, text) in [
            (3.0, "3"),
            (-0.1, "-0.1"),
            (-0.0, "-0"),
            (1e15, "1000000000000000"),
            (4_503_599_627_370_496.0, "4503599627370496"),
            (1e16, "1e+16"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (12_345_678_901_234_567_890.0, "12345678901234567000"),
            (1.234_567_890_123_456_7e23, "123456789012345670000000"),
            (1.234_567_890_123_456_7e24, "1.2345678901234568e+24"),
            (0.0001, "0.0001"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (0.001_234_567_8, "0.0012345678"),
            (0.000_123_456_78, "1.2345678e-4"),
            (1_234.567_890_12, "1234.56789012"),
            (12_345.678_901_2, "1.23456789012e+4"),
            (12_345.678_901, "12345.678901"),
            (-1_700_000_000.123_456_7, "-1.7000000001234567e+9"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(double(number), text);
        }
        let mut out = Vec::new();
        push_integer(&mut out, i64::MIN);
        assert_eq!(out, b"-9223372036854775808");
    }
}
