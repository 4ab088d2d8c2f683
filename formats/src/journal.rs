//! Records of the operation journal: what was done to which entity, when.
//!
//! ```text
//! record := format u8 = 1, op u8, body
//! body   := put, delete: timestamp_ns i64, entity_len varint, entity, key_len varint, key, data
//!         | mark: nothing
//! data   := 0 u8 | 1 u8, bytes up to the end of the record
//! op     := put 1 | delete 2 | mark 3
//! ```
//! Entity and key are UTF-8. A mark takes everything before it out of the journal. A record is the payload of one
//! log record, whose frame has its length and its checksum. Each record has exactly one encoding.

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};
use crate::varint;
use crate::versions::JOURNAL;

/// Stored size of a mark.
pub const MARK_BYTES: usize = 2;
const OP_MARK: u8 = 3;

/// What an entry does. The numbers are those on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// Stores the data of a key.
    Put = 1,
    /// Removes a key.
    Delete = 2,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it does.
    pub op: Op,
    /// The kind of thing it is done to, such as a table or a collection.
    pub entity: &'a str,
    /// Which of them.
    pub key: &'a str,
    /// What it becomes; usually nothing for a delete. Nothing and empty data are told apart.
    pub data: Option<&'a [u8]>,
    /// When, in nanoseconds since the Unix epoch; may lie before it.
    pub timestamp_ns: i64,
}

/// A record of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// An operation.
    Entry(Entry<'a>),
    /// Everything before this was truncated.
    Mark,
}

impl Entry<'_> {
    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(JOURNAL);
        out.push(self.op as u8);
        out.extend_from_slice(&self.timestamp_ns.to_le_bytes());
        varint::encode(self.entity.len() as u64, out);
        out.extend_from_slice(self.entity.as_bytes());
        varint::encode(self.key.len() as u64, out);
        out.extend_from_slice(self.key.as_bytes());
        match self.data {
            None => out.push(0),
            Some(data) => {
                out.push(1);
                out.extend_from_slice(data);
            }
        }
    }
}

/// The stored form of a mark.
pub const fn mark() -> [u8; MARK_BYTES] {
    [JOURNAL, OP_MARK]
}

/// Reads a record, which must fill `bytes`.
///
/// # Errors
/// Anything but the encoding of a record of a known format.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u8("format of a journal record")? != JOURNAL {
        return Err(Malformed::new(0, "journal format 1"));
    }
    let op = match r.u8("operation of a journal record")? {
        1 => Op::Put,
        2 => Op::Delete,
        OP_MARK => {
            r.finish("a mark of 2 bytes")?;
            return Ok(Record::Mark);
        }
        _ => return Err(Malformed::new(1, "a known operation of the journal")),
    };
    let timestamp_ns = i64::from_le_bytes(r.array("timestamp of a journal entry")?);
    let entity = text(&mut r, "entity of a journal entry in UTF-8")?;
    let key = text(&mut r, "key of a journal entry in UTF-8")?;
    let at = r.offset();
    let data = match r.u8("data of a journal entry")? {
        0 => {
            r.finish("no data behind a journal entry without")?;
            None
        }
        1 => Some(r.take(r.remaining(), "data of a journal entry")?),
        _ => return Err(Malformed::new(at, "data of a journal entry")),
    };
    Ok(Record::Entry(Entry { op, entity, key, data, timestamp_ns }))
}

fn text<'a>(r: &mut Reader<'a>, what: &'static str) -> Result<&'a str, Malformed> {
    let start = r.offset();
    core::str::from_utf8(r.prefixed(what)?).map_err(|_| Malformed::new(start, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vlog::tests::assert_golden;
    use alloc::string::String;
    use proptest::prelude::*;

    const ENTRY: Entry<'_> = Entry {
        op: Op::Put,
        entity: "processes",
        key: "p-7",
        data: Some(b"{}"),
        timestamp_ns: 0x0102_0304_0506_0708,
    };

    #[test]
    fn golden_entries() {
        let mut out = Vec::new();
        ENTRY.encode(&mut out);
        Entry { op: Op::Delete, data: None, entity: "", timestamp_ns: -1, ..ENTRY }.encode(&mut out);
        out.extend_from_slice(&mark());
        assert_golden(
            &out,
            "0-1    01                  format 1
             1-2    01                  put
             2-10   0807060504030201    timestamp
             10-11  09                  entity length
             11-20  70726f636573736573  entity
             20-21  03                  key length
             21-24  702d37              key
             24-25  01                  data follows
             25-27  7b7d                data
             27-28  01                  format 1
             28-29  02                  delete
             29-37  ffffffffffffffff    timestamp
             37-38  00                  entity length
             38-39  03                  key length
             39-42  702d37              key
             42-43  00                  no data
             43-44  01                  format 1
             44-45  03                  mark",
        );
    }

    proptest! {
        #[test]
        fn round_trip(
            put: bool, entity: String, key: String, data: Option<Vec<u8>>, timestamp_ns: i64,
        ) {
            let op = if put { Op::Put } else { Op::Delete };
            let entry = Entry { op, entity: &entity, key: &key, data: data.as_deref(), timestamp_ns };
            let mut out = Vec::new();
            entry.encode(&mut out);
            prop_assert_eq!(decode(&out), Ok(Record::Entry(entry)));
        }

        #[test]
        fn a_cut_entry_is_malformed_or_shorter_data(cut in 0usize..27) {
            let mut out = Vec::new();
            ENTRY.encode(&mut out);
            out.truncate(cut);
            match decode(&out) {
                Err(_) => prop_assert!(cut < 25),
                Ok(Record::Entry(e)) => {
                    prop_assert!(cut >= 25);
                    prop_assert_eq!(e.data, Some(&b"{}"[..cut - 25]));
                }
                Ok(Record::Mark) => prop_assert!(false, "an entry became a mark"),
            }
        }

        #[test]
        fn any_bytes_decode_to_their_own_encoding(
            bytes: Vec<u8>, op in 0u8..5, small in 0u8..4, tail: Vec<u8>,
        ) {
            // Plain noise rarely gets past the first byte.
            let likely = [&[JOURNAL, op][..], &bytes, &[small], &tail].concat();
            for bytes in [bytes, likely] {
                let mut again = Vec::new();
                match decode(&bytes) {
                    Ok(Record::Entry(entry)) => entry.encode(&mut again),
                    Ok(Record::Mark) => again.extend_from_slice(&mark()),
                    Err(m) => {
                        prop_assert!(m.offset <= bytes.len() as u64);
                        continue;
                    }
                }
                prop_assert_eq!(&again, &bytes);
            }
        }
    }

    #[test]
    fn other_formats_and_operations_are_named_as_such() {
        let what = |bytes: &[u8]| decode(bytes).err().map(|m| m.what);
        assert_eq!(what(&[2, 1]), Some("journal format 1"));
        assert_eq!(what(&[1, 0]), Some("a known operation of the journal"));
        assert_eq!(what(&[1, 4]), Some("a known operation of the journal"));
        assert_eq!(what(&[1, 3, 0]), Some("a mark of 2 bytes"));
        assert_eq!(what(&[]), Some("format of a journal record"));
        let mut bad_text = Vec::new();
        ENTRY.encode(&mut bad_text);
        bad_text[12] = 0xff;
        assert_eq!(what(&bad_text), Some("entity of a journal entry in UTF-8"));
    }
}
