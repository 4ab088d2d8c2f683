//! Readers and writers of records: round trips of any bytes, and what each complaint says.

use std::io::{BufReader, Read, Write};

use proptest::prelude::*;

use super::*;

type Owned = (Vec<u8>, Vec<u8>, u64);

fn drain(mut reader: impl RecordReader) -> Result<Vec<Owned>, ReadError> {
    let mut all = Vec::new();
    while let Some(r) = reader.next()? {
        all.push((r.key.to_vec(), r.value.to_vec(), r.line));
    }
    Ok(all)
}

fn pairs(all: Vec<Owned>) -> Vec<(Vec<u8>, Vec<u8>)> {
    all.into_iter().map(|(key, value, _)| (key, value)).collect()
}

fn print(mut writer: impl RecordWriter, all: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in all {
        writer.write(&mut out, key, value).expect("a vector takes all");
    }
    out
}

/// Bytes of all kinds: noise, text with escapes, broken UTF-8.
fn side() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        any::<String>().prop_map(String::into_bytes),
        prop::collection::vec(prop::sample::select(b"\t\n\r\\x\"0\x00\x7f\x80\xc3\xa9\xff".to_vec()), 0..20),
    ]
}

proptest! {
    #[test]
    fn any_bytes_survive_both_formats(
        all in prop::collection::vec((side(), side()), 0..20),
        buffer in 1usize..64,
    ) {
        let text = print(jsonl::Writer::default(), &all);
        prop_assert_eq!(text.iter().filter(|b| **b == b'\n').count(), all.len());
        let input = BufReader::with_capacity(buffer, &text[..]);
        prop_assert_eq!(&pairs(drain(jsonl::Reader::new(input, None)).unwrap()), &all);

        let text = print(tsv::Writer, &all);
        prop_assert_eq!(text.iter().filter(|b| **b == b'\n').count(), all.len());
        prop_assert!(std::str::from_utf8(&text).is_ok());
        let input = BufReader::with_capacity(buffer, &text[..]);
        prop_assert_eq!(&pairs(drain(tsv::Reader::new(input)).unwrap()), &all);
    }

    #[test]
    fn readers_are_total(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = drain(jsonl::Reader::new(&bytes[..], None));
        let _ = drain(jsonl::Reader::new(&bytes[..], Some("a")));
        let _ = drain(tsv::Reader::new(&bytes[..]));
        let _ = drain(deb822::Reader::new(&bytes[..], "Package"));
    }

    #[test]
    fn stanzas_come_back_byte_for_byte(
        bodies in prop::collection::vec("[A-Z][a-z]{1,5}: [ -~]{0,20}(\n [ -~]{0,10}){0,3}", 1..10),
        blanks in 1usize..4,
    ) {
        let stanzas: Vec<_> = bodies.iter().enumerate().map(|(i, b)| format!("PACKAGE:  p{i} \n{b}")).collect();
        let text = stanzas.join(&"\n".repeat(blanks + 1));
        let expected: Vec<_> = stanzas
            .iter()
            .enumerate()
            .map(|(i, s)| (format!("p{i}").into_bytes(), s.clone().into_bytes()))
            .collect();
        for end in ["", "\n", "\n\n\n"] {
            let text = format!("{text}{end}");
            prop_assert_eq!(&pairs(drain(deb822::Reader::new(text.as_bytes(), "Package")).unwrap()), &expected);
        }
    }
}

fn record(key: &str, value: &str, line: u64) -> Owned {
    (key.into(), value.into(), line)
}

#[test]
fn deb822_takes_fields_of_any_case_and_several_lines() {
    let text =
        "\nPackage: a\nDescription: first\n second:\n \n .\n#comment\nSize: 1\n\n\nversion: 2\npackage:b\n";
    let all = drain(deb822::Reader::new(text.as_bytes(), "pAckage")).unwrap();
    let first = "Package: a\nDescription: first\n second:\n \n .\n#comment\nSize: 1";
    assert_eq!(all, [record("a", first, 2), record("b", "version: 2\npackage:b", 11)]);

    let folded = drain(deb822::Reader::new(&b"Files:\n one\n two\n"[..], "Files")).unwrap();
    assert_eq!(folded[0].0, b"one\n two");
}

#[test]
fn deb822_keeps_carriage_returns() {
    let all =
        drain(deb822::Reader::new(&b"Package: a\r\nSize: 1\r\n\r\nPackage: b\r\n"[..], "Package")).unwrap();
    assert_eq!(all, [record("a", "Package: a\r\nSize: 1\r", 1), record("b", "Package: b\r", 4)]);
}

#[test]
fn deb822_names_the_line_of_what_is_wrong() {
    let complain =
        |text: &str| drain(deb822::Reader::new(text.as_bytes(), "Package")).unwrap_err().to_string();
    assert!(complain("Package: a\n\nSize: 1\n").starts_with("line 3: the stanza has no field Package: "));
    assert!(complain("Package:\n").starts_with("line 1: the field Package of the stanza is empty: "));
    assert!(complain("Package: a\nPackage: b\n").starts_with("line 2: the field Package is here twice: "));
    assert!(complain("Package: a\nwhat\n").starts_with("line 2: this is not a field: "));
    assert!(complain(" folded: first\n").starts_with("line 1: this is not a field: "));
}

#[test]
fn keyed_json_lines_are_kept_whole() {
    let text = "{\"id\": \"a\\u00e9\", \"x\": {\"id\": 1}}\n\n{ \"x\":[], \"id\":-1.50e3 }\r\n{\"id\":12345678901234567890123}";
    let all = drain(jsonl::Reader::new(text.as_bytes(), Some("id"))).unwrap();
    assert_eq!(
        all,
        [
            record("a\u{e9}", "{\"id\": \"a\\u00e9\", \"x\": {\"id\": 1}}", 1),
            record("-1.50e3", "{ \"x\":[], \"id\":-1.50e3 }\r", 3),
            record("12345678901234567890123", "{\"id\":12345678901234567890123}", 4),
        ]
    );
}

#[test]
fn json_complaints_name_line_and_column() {
    let keyed = |text: &str| drain(jsonl::Reader::new(text.as_bytes(), Some("id"))).unwrap_err().to_string();
    assert!(keyed("{\"id\":1}\n{\"a\":1}").starts_with("line 2: there is no field id"));
    assert!(keyed("{\"id\":null}").starts_with("line 1: the field id is neither a string nor a number"));
    assert!(keyed("{\"id\":1,\"id\":2}").starts_with("line 1: the field id is here twice"));
    assert!(
        keyed("{\"id\":1} x").starts_with("line 1: there is more text behind the JSON object at column 10")
    );
    assert!(keyed("[1]").starts_with("line 1: the line is no JSON object: "));
    assert!(keyed("{\"id\":1,}").starts_with("line 1: there is a comma with nothing behind it at column "));
    assert!(keyed("{\"id\":tru}").starts_with("line 1: a word is none of true, false and null at column "));
    assert!(
        keyed("{\"id\":}").starts_with("line 1: a value is missing or is not written as JSON at column ")
    );
    assert!(keyed("{id:1}").starts_with("line 1: a name does not stand in double quotes at column "));
    assert!(keyed("{\"id\" 1}").starts_with("line 1: there is no colon behind a name at column "));
    assert!(keyed("{\"id\":1").starts_with("line 1: the line ends before the JSON does at column "));

    let plain = |text: &str| drain(jsonl::Reader::new(text.as_bytes(), None)).unwrap_err().to_string();
    assert!(plain("{\"key\":\"a\"}").starts_with("line 1: there is no value"));
    assert!(plain("{\"key\":\"a\",\"key_hex\":\"00\",\"value\":\"\"}").contains("both key and key_hex"));
    assert!(
        plain("{\"key_hex\":\"0\",\"value\":\"\"}").contains("key_hex is not pairs of hexadecimal digits")
    );
    assert!(plain("{\"key\":\"a\",\"value\":1}").contains("a string belongs here, not 1 at column"));
    assert!(plain("{\"key\":[],\"value\":\"\"}").contains("a string belongs here, not a list at column"));
    assert!(plain("{\"key\":true,\"value\":\"\"}").contains("a string belongs here, not true at column"));
    assert!(plain("{\"key\":1.5,\"value\":\"\"}").contains("a string belongs here, not 1.5 at column"));
    assert!(
        plain("{\"key\":\"a\",\"value\":\"b\",\"ttl\":1}").contains("the field ttl does not belong here")
    );
    assert!(plain("{\"key\":\"a\",\"key\":\"b\"}").contains("the field key is here twice"));
    // A list with the right things in it is no pair.
    assert!(plain("[\"a\",null,\"b\",null]").starts_with("line 1: the line is no JSON object: "));
    assert!(plain("key value").starts_with("line 1: the line is no JSON object: "));
}

#[test]
fn json_pairs_print_as_scripts_expect() {
    let all = [(b"a\"".to_vec(), b"line\n".to_vec()), (vec![0xff, 0], vec![])];
    let text = print(jsonl::Writer::default(), &all);
    let expected = "{\"key\":\"a\\\"\",\"value\":\"line\\n\"}\n{\"key_hex\":\"ff00\",\"value\":\"\"}\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn tsv_escapes_and_complaints() {
    let text = b"a\\tb\t\\x00\\xFF\\\\\r\nraw\xff\tx\n";
    let all = drain(tsv::Reader::new(&text[..])).unwrap();
    assert_eq!(pairs(all), [(b"a\tb".to_vec(), b"\0\xff\\".to_vec()), (b"raw\xff".to_vec(), b"x".to_vec())]);

    let printed = print(tsv::Writer, &[(b"\x1b[0m\r".to_vec(), "\u{e9}\u{85}\u{7f}".into())]);
    assert_eq!(String::from_utf8(printed).unwrap(), "\\x1b[0m\\r\t\u{e9}\\xc2\\x85\\x7f\n");

    let complain = |text: &str| drain(tsv::Reader::new(text.as_bytes())).unwrap_err().to_string();
    assert!(complain("a\tb\nc\n").starts_with("line 2: there is no TAB: "));
    assert!(complain("a\tb\tc\n").starts_with("line 1: there is more than one TAB: "));
    assert!(complain("a\t\\q\n").starts_with("line 1: \\q is not an escape: "));
    assert!(complain("a\\x1\tb\n").starts_with("line 1: \\x without two hexadecimal digits: "));
    assert!(complain("a\tb\\\n").starts_with("line 1: a backslash at the end: "));
}

#[test]
fn limits_are_complaints() {
    let long = format!("{}\tv\n", "k".repeat(KEY_BYTES_MAX + 1));
    let error = drain(tsv::Reader::new(long.as_bytes())).unwrap_err();
    assert_eq!(error.what, "the key of 65536 bytes is above the limit of 65535");
    let longest = format!("{}\tv\n", "k".repeat(KEY_BYTES_MAX));
    assert_eq!(drain(tsv::Reader::new(longest.as_bytes())).unwrap().len(), 1);

    // An endless line stops at the bound, and is not collected first.
    let mut lines = Lines::new(BufReader::new(std::io::repeat(b'x')));
    lines.bytes_max = 100_000;
    let mut line = Vec::new();
    let error = lines.next(&mut line).unwrap_err();
    assert_eq!(error.what, "the record is longer than 100000 bytes");
    assert!(line.len() <= 100_000);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).expect("a vector takes all");
    packer.finish().expect("a vector takes all")
}

#[test]
fn gzip_is_found_by_its_bytes_and_may_have_members() {
    let packed = [gzip(b"a\t1\n"), gzip(b"b\t2\n")].concat();
    let total = packed.len() as u64;
    let source = source::Source::new(std::io::Cursor::new(packed.clone()), "x".into(), None).ok().unwrap();
    let read = source.bytes_read();
    let all = drain(tsv::Reader::new(source.reader)).unwrap();
    assert_eq!(all, [record("a", "1", 1), record("b", "2", 2)]);
    assert_eq!(read.get(), total);

    let cut = packed[..packed.len() - 3].to_vec();
    let source = source::Source::new(std::io::Cursor::new(cut), "x".into(), None).ok().unwrap();
    let error = drain(tsv::Reader::new(source.reader)).unwrap_err();
    assert!(error.what.starts_with("the input cannot be read"), "{error}");
}

#[test]
fn other_packers_are_named() {
    let source = source::Source::new(&b"\xfd7zXZ\0rest"[..], "Packages.xz".into(), None);
    let failure = source.err().unwrap();
    assert_eq!(failure.what, "the input is packed");
    assert!(failure.next.contains("xz -dc"));
}

#[test]
fn short_input_is_no_magic() {
    for text in ["", "a", "a\tb"] {
        let mut source = source::Source::new(text.as_bytes(), "x".into(), None).ok().unwrap();
        let mut all = String::new();
        source.reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, text);
    }
}
