//! The decoders of `nokv-formats` but for those of tables.

use nokv_core::formats::batch::Ops;
use nokv_core::formats::bytes::Reader;
use nokv_core::formats::current::{self, Current};
use nokv_core::formats::envelope::{Envelope, Sections, decode_section_head, encode_section};
use nokv_core::formats::journal::{self, Record as JournalRecord};
use nokv_core::formats::manifest::Group;
use nokv_core::formats::names::{parse_table, table};
use nokv_core::formats::value_ptr::ValuePtr;
use nokv_core::formats::varint as number;
use nokv_core::formats::vlog::{self, Place, Record, SegmentHeader as ValueLogHeader};
use nokv_core::formats::walfs::{
    Found, HEADER_BYTES, POSITION_BYTES, Position, Scanner, SegmentHeader, TRUNCATION_BYTES, Truncation,
    count_whole_records, decode_index, encode_frame, encode_index, find_whole_record, frame_len,
    parse_segment_file_name, payload_len_max, segment_file_name,
};
use nokv_core::wal::own_record;

use super::fixup;

/// Runs `look` on the bytes, and on a copy with its checksums put right.
pub(super) fn both(bytes: &[u8], fix: impl FnOnce(&mut [u8]), look: impl Fn(&[u8])) {
    look(bytes);
    let mut fixed = bytes.to_vec();
    fix(&mut fixed);
    if fixed != bytes {
        look(&fixed);
    }
}

/// Base-128 numbers, one behind the other.
pub fn varint(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((value, used)) = number::decode(rest) {
        let mut again = Vec::new();
        number::encode(value, &mut again);
        assert_eq!(again, rest[..used], "the one encoding of {value}");
        assert_eq!(number::len(value), used);
        rest = &rest[used..];
    }
    // The cursor that everything else reads with agrees.
    let mut r = Reader::new(bytes);
    let mut rest = bytes;
    while let Ok(value) = r.varint("number") {
        assert_eq!(number::decode(rest).map(|(value, _)| value), Some(value));
        rest = &bytes[r.offset()..];
    }
    assert_eq!(r.offset() + r.remaining(), bytes.len());
}

/// Names of tables and of log segments.
pub fn names(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    if let Some(id) = parse_table(name) {
        assert_eq!(table(id), name);
    }
    for ext in [".wal", "", "."] {
        if let Some(number) = parse_segment_file_name(name, ext) {
            assert_eq!(segment_file_name(number, ext), name);
        }
    }
}

/// Operations of a batch.
pub fn batch(bytes: &[u8]) {
    let mut ops = Ops::new(bytes);
    let mut again = Vec::new();
    let mut failed = false;
    let mut at = 0;
    while let Some(op) = ops.next() {
        assert!(!failed, "nothing follows an error");
        let Ok(op) = op else {
            failed = true;
            continue;
        };
        again.clear();
        op.encode(&mut again);
        assert!(again.len() <= op.encoded_len_max());
        assert_eq!(again, bytes[at..ops.offset()], "the one encoding of an operation");
        at = ops.offset();
    }
    assert!(failed || at == bytes.len());
}

/// Pointers into the value log.
pub fn value_ptr(bytes: &[u8]) {
    if let Ok(ptr) = ValuePtr::decode(bytes) {
        assert_eq!(ptr.to_bytes(), bytes);
    }
}

/// A value-log segment: its header, and its records one behind the other.
pub fn value_log(bytes: &[u8]) {
    both(bytes, fixup::value_log, |bytes| {
        let Ok(header) = ValueLogHeader::decode(bytes) else { return };
        let mut at = vlog::SEGMENT_HEADER_BYTES as usize;
        assert_eq!(header.to_bytes(), bytes[..at]);
        loop {
            let rest = &bytes[at..];
            let place = Place { bucket: header.bucket, segment: header.segment, offset: at as u64 };
            let claimed = rest.first_chunk().map(Record::claimed_len);
            let Ok(record) = Record::decode(rest, place) else { return };
            let mut again = Vec::new();
            record.encode(place, &mut again);
            assert_eq!(again, rest[..again.len()], "the one encoding of a record");
            assert_eq!(claimed, Some(Ok(again.len() as u64)));
            let elsewhere = Place { offset: place.offset ^ 1, ..place };
            assert!(Record::decode(rest, elsewhere).is_err(), "a record in a wrong place");
            at += again.len();
        }
    });
}

/// `CURRENT`, and the two slots where there is no atomic rename: the first half and the second.
pub fn current(bytes: &[u8]) {
    let whole = |bytes: &[u8]| {
        if let Ok(current) = Current::decode(bytes) {
            assert_eq!(current.to_bytes(), bytes);
        }
    };
    both(bytes, fixup::current, whole);
    let (a, b) = bytes.split_at(bytes.len() / 2);
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    fixup::current(&mut a);
    fixup::current(&mut b);
    let decoded = (Current::decode(&a), Current::decode(&b));
    match (current::newest(&a, &b), decoded) {
        (Ok((0, newest)), (Ok(a), b)) => {
            assert_eq!(newest, a);
            assert!(b.is_err() || b.is_ok_and(|b| b.generation <= a.generation));
        }
        (Ok((1, newest)), (a, Ok(b))) => {
            assert_eq!(newest, b);
            assert!(a.is_err() || a.is_ok_and(|a| a.generation < b.generation));
        }
        (Err(_), (Err(_), Err(_))) => {}
        other => panic!("the newer of two slots: {other:?}"),
    }
}

/// Groups of edits, one behind the other.
pub fn manifest(bytes: &[u8]) {
    both(
        bytes,
        |bytes| fixup::frames(bytes, 0, None),
        |bytes| {
            let mut at = 0;
            while let Ok((group, len)) = Group::decode(&bytes[at..]) {
                let mut again = Vec::new();
                group.encode(&mut again);
                assert_eq!(again, bytes[at..at + len], "the one encoding of {group:?}");
                at += len;
            }
        },
    );
    // Without its frame.
    if let Ok(group) = Group::decode_data(bytes) {
        let mut again = Vec::new();
        group.encode(&mut again);
        assert_eq!(Group::decode(&again), Ok((group, again.len())));
    }
}

/// A record of the journal.
pub fn journal_record(bytes: &[u8]) {
    match journal::decode(bytes) {
        Ok(JournalRecord::Entry(entry)) => {
            let mut again = Vec::new();
            entry.encode(&mut again);
            assert_eq!(again, bytes, "the one encoding of {entry:?}");
        }
        Ok(JournalRecord::Mark) => assert_eq!(bytes, journal::mark()),
        Err(_) => {}
    }
}

/// The payload of a record of the engine's own log: envelope, sections, operations.
pub fn envelope(bytes: &[u8]) {
    let mut r = Reader::new(bytes);
    if let Ok(head) = decode_section_head(&mut r) {
        assert!(head.group < 1 << 56);
    }
    let Ok((envelope, chunk)) = Envelope::decode(bytes) else {
        assert!(own_record(bytes, Position::NIL).is_none());
        return;
    };
    let head = envelope.to_bytes();
    assert_eq!([&head[..], chunk].concat(), bytes);
    assert!(envelope.durable <= envelope.at);
    let own = own_record(bytes, envelope.at).expect("a whole envelope in its place");
    assert!(own.sections.len() <= bytes.len());
    let elsewhere = Position { offset: envelope.at.offset ^ 8, ..envelope.at };
    assert!(own_record(bytes, elsewhere).is_none());
    let mut again = Vec::new();
    let mut failed = false;
    for section in Sections::new(chunk) {
        assert!(!failed, "nothing follows an error");
        let Ok(section) = section else {
            failed = true;
            continue;
        };
        encode_section(section.kind, section.group, section.bytes, &mut again);
        assert_eq!(again, chunk[..again.len()], "the one encoding of a section");
        Ops::new(section.bytes).for_each(drop);
    }
    assert!(failed || again == chunk);
}

/// A walfs segment: header, frames, and the search behind damage.
pub fn walfs_segment(bytes: &[u8]) {
    both(
        bytes,
        |bytes| fixup::segment(bytes, None),
        |bytes| {
            if let Ok(header) = SegmentHeader::decode(bytes) {
                // The last word is not used, and not covered by the checksum.
                let covered = ..HEADER_BYTES - 4;
                assert_eq!(header.to_bytes()[covered], bytes[covered]);
            }
            for start in [HEADER_BYTES, 0] {
                let mut scanner = Scanner::starting_at(bytes, start);
                let mut count = 0;
                while let Found::Record(frame) = scanner.step() {
                    let (at, end) = (frame.offset as usize, frame.end as usize);
                    let mut again = Vec::new();
                    encode_frame(frame.payload, &mut again);
                    assert_eq!(again, bytes[at..end], "the one encoding of a frame");
                    assert_eq!(frame_len(frame.payload.len()), Some(end - at));
                    assert!(payload_len_max(end - at).is_some_and(|max| max >= frame.payload.len()));
                    assert_eq!(scanner.offset(), end);
                    count += 1;
                }
                assert!(count_whole_records(bytes, start) >= count);
            }
            let mut budget = bytes.len();
            if let Some(frame) = find_whole_record(bytes, 1, &mut budget) {
                assert!(frame.end as usize <= bytes.len() && frame.offset % 8 == 0);
            }
        },
    );
    if let Some(position) = bytes.get(..POSITION_BYTES) {
        let decoded = Position::decode(position).expect("12 bytes");
        assert_eq!(decoded.to_bytes(), position);
    }
    assert!(bytes.len() == POSITION_BYTES || Position::decode(bytes).is_err());
}

/// The header of a sealed segment, then its index file.
pub fn walfs_index(bytes: &[u8]) {
    both(
        bytes,
        |bytes| {
            fixup::segment(bytes, None);
            // A header that agrees with the entries: else the first difference ends it.
            let entries = bytes.len().saturating_sub(HEADER_BYTES) / 16;
            if bytes.len() > HEADER_BYTES {
                fixup::put(bytes, 32, &(entries as u64).to_le_bytes());
                let last = HEADER_BYTES + (entries.max(1) - 1) * 16;
                let (offset, len) = (fixup::u64_at(bytes, last), fixup::u32_at(bytes, last + 8));
                let end = frame_len(len.unwrap_or(0) as usize).unwrap_or(0) as u64;
                fixup::put(bytes, 24, &offset.unwrap_or(0).wrapping_add(end).to_le_bytes());
                fixup::segment(&mut bytes[..HEADER_BYTES], None);
            }
        },
        |bytes| {
            let Ok(header) = SegmentHeader::decode(bytes) else { return };
            let stored = &bytes[HEADER_BYTES..];
            let Ok(entries) = decode_index(stored, &header) else { return };
            assert_eq!(entries.len() as u64, header.entry_count);
            let mut again = Vec::new();
            encode_index(entries.iter().copied(), &mut again);
            assert_eq!(again, stored);
        },
    );
}

/// A truncation that was decided.
pub fn walfs_truncation(bytes: &[u8]) {
    both(bytes, fixup::truncation, |bytes| {
        if let Ok(truncation) = Truncation::decode(bytes) {
            assert_eq!(truncation.to_bytes(), bytes);
            assert_eq!(bytes.len(), TRUNCATION_BYTES);
        }
    });
}
