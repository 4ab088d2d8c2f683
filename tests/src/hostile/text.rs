//! Text from users: options, and records to import.

use nokv::Options;
#[cfg(feature = "cli")]
use nokv::cli::records::{self, RecordReader, RecordWriter};

/// A file of options.
pub fn options(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let options = match Options::from_toml_str(text, "hostile") {
        Ok(options) => options,
        Err(error) => {
            assert!(error.to_string().contains("hostile"), "the error names the file: {error}");
            return;
        }
    };
    let _ = options.validate();
    let written = options.to_toml();
    let again = Options::from_toml_str(&written, "again").unwrap_or_else(|e| panic!("{e} in {written}"));
    assert_eq!(again.to_toml(), written);
}

/// Key and value.
#[cfg(feature = "cli")]
type Pair = (Vec<u8>, Vec<u8>);

/// Reads all records; what came before an error counts.
#[cfg(feature = "cli")]
fn all(mut reader: impl RecordReader) -> (Vec<Pair>, bool) {
    let mut records = Vec::new();
    let mut line = 0;
    loop {
        match reader.next() {
            Ok(Some(record)) => {
                assert!(record.line > line, "lines ascend");
                line = record.line;
                records.push((record.key.to_vec(), record.value.to_vec()));
            }
            Ok(None) => return (records, true),
            Err(error) => {
                assert!(error.line >= line.max(1), "{error}");
                return (records, false);
            }
        }
    }
}

#[cfg(feature = "cli")]
fn print(mut writer: impl RecordWriter, records: &[Pair]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        writer.write(&mut out, key, value).expect("memory");
    }
    out
}

/// Stanzas to import.
#[cfg(feature = "cli")]
pub fn deb822(bytes: &[u8]) {
    let (records, _) = all(records::deb822::Reader::new(bytes, "Package"));
    for (key, value) in &records {
        assert!(!key.is_empty() && key.trim_ascii() == &key[..]);
        assert!(value.len() <= bytes.len());
    }
    // The values are the stanzas: one behind the other they give the same records.
    let joined = records.iter().flat_map(|(_, value)| [value, &b"\n\n"[..]].concat()).collect::<Vec<_>>();
    let (again, whole) = all(records::deb822::Reader::new(&joined[..], "Package"));
    assert!(whole);
    assert_eq!(again, records);
}

/// Lines of TSV to import.
#[cfg(feature = "cli")]
pub fn tsv(bytes: &[u8]) {
    let (records, _) = all(records::tsv::Reader::new(bytes));
    let (again, whole) = all(records::tsv::Reader::new(&print(records::tsv::Writer, &records)[..]));
    assert!(whole);
    assert_eq!(again, records);
    // Any bytes survive printing.
    let pair = [(bytes.to_vec(), bytes[bytes.len() / 2..].to_vec())];
    let printed = print(records::tsv::Writer, &pair);
    if !bytes.is_empty() {
        assert_eq!(all(records::tsv::Reader::new(&printed[..])), (pair.to_vec(), true));
    }
}

/// Lines of JSON to import: pairs, and objects with a key field.
#[cfg(feature = "cli")]
pub fn jsonl(bytes: &[u8]) {
    let writer = records::jsonl::Writer::default;
    let (records, _) = all(records::jsonl::Reader::new(bytes, None));
    let (again, whole) = all(records::jsonl::Reader::new(&print(writer(), &records)[..], None));
    assert!(whole);
    assert_eq!(again, records);
    let (keyed, _) = all(records::jsonl::Reader::new(bytes, Some("id")));
    assert!(keyed.iter().all(|(_, value)| value.len() <= bytes.len()));
    let pair = [(bytes.to_vec(), bytes[bytes.len() / 2..].to_vec())];
    let printed = print(writer(), &pair);
    assert_eq!(all(records::jsonl::Reader::new(&printed[..], None)), (pair.to_vec(), true));
}

/// Escaped arguments and addresses of the command line.
#[cfg(feature = "cli")]
pub fn arguments(bytes: &[u8]) {
    let mut plain = Vec::new();
    if records::tsv::unescape(bytes, &mut plain).is_ok() {
        let mut written = Vec::new();
        records::tsv::write_escaped(&mut written, &plain).expect("memory");
        let mut again = Vec::new();
        records::tsv::unescape(&written, &mut again).expect("what was written");
        assert_eq!(again, plain);
    }
    let mut escaped = Vec::new();
    records::tsv::write_escaped(&mut escaped, bytes).expect("memory");
    let mut back = Vec::new();
    records::tsv::unescape(&escaped, &mut back).expect("what was written");
    assert_eq!(back, bytes);
    let _ = nokv::split_internal_key(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = nokv::cli::remote::Endpoint::parse(text);
        let _ = nokv::cli::units::clip(bytes, 20);
    }
}
