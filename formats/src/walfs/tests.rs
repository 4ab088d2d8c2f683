use alloc::vec;
use proptest::prelude::*;

use super::*;

fn segment_of(payloads: &[Vec<u8>], size: usize) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = SegmentHeader::new(1, 1, 0).to_bytes().to_vec();
    let mut starts = vec![];
    for payload in payloads {
        starts.push(bytes.len());
        encode_frame(payload, &mut bytes);
    }
    let size = size.max(bytes.len());
    bytes.resize(size, 0);
    (bytes, starts)
}

/// One line per field: `from-to  bytes  name`.
fn dump(bytes: &[u8], fields: &[(usize, &str)]) -> String {
    let mut at = 0;
    let mut out = String::new();
    for (len, name) in fields {
        let hex: String = bytes[at..at + len].iter().map(|b| format!("{b:02x}")).collect();
        out.push_str(&format!("{at}-{}  {hex}  {name}\n", at + len));
        at += len;
    }
    assert_eq!(at, bytes.len());
    out
}

#[test]
fn golden_frame() {
    let mut frame = Vec::new();
    encode_frame(b"hello, log!", &mut frame);
    let crc = crc32c(b"\x0b\0\0\0hello, log!").to_le_bytes().map(|b| format!("{b:02x}")).concat();
    assert_eq!(
        dump(&frame, &[(4, "crc"), (4, "length 11"), (11, "payload"), (8, "trailer"), (5, "padding")]),
        format!(
            "0-4  {crc}  crc\n\
             4-8  0b000000  length 11\n\
             8-19  68656c6c6f2c206c6f6721  payload\n\
             19-27  deadbeeffeedface  trailer\n\
             27-32  0000000000  padding\n"
        )
    );
}

#[test]
fn golden_header_of_the_original() {
    // The header of a file that the original wrote: ten records, log indexes from 1.
    let header = SegmentHeader {
        created_ns: 0x18e9_af03_6dfe_775f,
        modified_ns: 0x18e9_af03_6e03_c2e6,
        write_offset: 1672,
        entry_count: 10,
        flags: FLAG_ACTIVE,
        first_log_index: 1,
        marker: 0,
    };
    assert_eq!(
        dump(
            &header.to_bytes(),
            &[
                (4, "magic"),
                (4, "version"),
                (8, "created"),
                (8, "modified"),
                (8, "write offset 1672"),
                (8, "10 records"),
                (4, "active"),
                (8, "first log index 1"),
                (4, "marker"),
                (4, "crc"),
                (4, "zero"),
            ]
        ),
        "0-4  4c415755  magic\n\
         4-8  01000000  version\n\
         8-16  5f77fe6d03afe918  created\n\
         16-24  e6c2036e03afe918  modified\n\
         24-32  8806000000000000  write offset 1672\n\
         32-40  0a00000000000000  10 records\n\
         40-44  08000000  active\n\
         44-52  0100000000000000  first log index 1\n\
         52-56  00000000  marker\n\
         56-60  955b8c22  crc\n\
         60-64  00000000  zero\n"
    );
    assert_eq!(SegmentHeader::decode(&header.to_bytes()), Ok(header));
}

#[test]
fn names() {
    assert_eq!(segment_file_name(7, ".wal"), "000000007.wal");
    assert_eq!(index_file_name(7, ".wal"), "000000007.wal.idx");
    assert_eq!(parse_segment_file_name("000000007.wal", ".wal"), Some(7));
    assert_eq!(parse_segment_file_name("4000000000.wal", ".wal"), Some(4_000_000_000));
    for other in
        ["000000000.wal", "7.wal", "0000000007.wal", "000000007.wal.idx", "00000000x.wal", "é.wal", ""]
    {
        assert_eq!(parse_segment_file_name(other, ".wal"), None, "{other}");
    }
}

#[test]
fn a_wild_length_is_damage_and_allocates_nothing() {
    let (mut bytes, starts) = segment_of(&[vec![1; 10], vec![2; 10]], 1024);
    bytes[starts[1] + 4..starts[1] + 8].copy_from_slice(&0xFFFF_FFF0u32.to_le_bytes());
    let mut scanner = Scanner::new(&bytes);
    assert!(matches!(scanner.step(), Found::Record(_)));
    assert!(matches!(scanner.step(), Found::Damage(m) if m.offset == starts[1] as u64));
}

#[test]
fn looking_behind_damage_is_bounded_on_hostile_bytes() {
    // Every 8 bytes a head whose record would end at the same trailer.
    let mut bytes = vec![0u8; 64 << 10];
    let end = bytes.len();
    bytes[end - 8..].copy_from_slice(&TRAILER);
    for at in (64..end - 16).step_by(8) {
        bytes[at + 4..at + 8].copy_from_slice(&((end - 16 - at) as u32).to_le_bytes());
        bytes[at] = 1;
    }
    assert_eq!(count_whole_records(&bytes, 64), 0);
}

proptest! {
    #[test]
    fn header_round_trip(created_ns: u64, modified_ns: u64, offset in 8u64..1 << 40, entry_count: u64, flags: u32,
                         first_log_index: u64, marker: u32) {
        let header = SegmentHeader { created_ns, modified_ns, write_offset: offset * 8, entry_count, flags,
                                     first_log_index, marker };
        prop_assert_eq!(SegmentHeader::decode(&header.to_bytes()), Ok(header));
    }

    #[test]
    fn a_header_with_any_flipped_bit_is_refused(bit in 0usize..60 * 8) {
        let mut bytes = SegmentHeader::new(5, 7, 9).to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(SegmentHeader::decode(&bytes).is_err());
    }

    #[test]
    fn position_round_trip(segment: u32, offset: u64) {
        let position = Position { segment, offset };
        prop_assert_eq!(Position::decode(&position.to_bytes()), Ok(position));
    }

    #[test]
    fn records_come_back(payloads: Vec<Vec<u8>>, spare in 0usize..100) {
        let (bytes, starts) = segment_of(&payloads, 0);
        let mut bytes = bytes;
        bytes.resize(bytes.len() + spare, 0);
        let mut scanner = Scanner::new(&bytes);
        for (payload, start) in payloads.iter().zip(&starts) {
            match scanner.step() {
                Found::Record(frame) => {
                    prop_assert_eq!(frame.payload, &payload[..]);
                    prop_assert_eq!(frame.offset, *start as u64);
                    prop_assert_eq!(Some((frame.end - frame.offset) as usize), frame_len(payload.len()));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(scanner.step(), Found::End);
    }

    #[test]
    fn a_flipped_bit_ends_the_walk_there_and_the_rest_is_counted(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..10),
        which: prop::sample::Index, bit: prop::sample::Index,
    ) {
        let (mut bytes, starts) = segment_of(&payloads, 0);
        let hit = which.index(starts.len());
        let end = starts.get(hit + 1).copied().unwrap_or(bytes.len());
        let bit = bit.index((end - starts[hit]) * 8);
        bytes[starts[hit] + bit / 8] ^= 1 << (bit % 8);
        let mut scanner = Scanner::new(&bytes);
        for _ in 0..hit {
            prop_assert!(matches!(scanner.step(), Found::Record(_)));
        }
        match scanner.step() {
            Found::Damage(m) => prop_assert_eq!(m.offset, starts[hit] as u64),
            other => prop_assert!(false, "{:?}", other),
        }
        let behind = count_whole_records(&bytes, starts[hit] + 8);
        prop_assert_eq!(behind, (payloads.len() - hit - 1) as u64);
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        let _ = SegmentHeader::decode(&bytes);
        let _ = Position::decode(&bytes);
        let _ = decode_index(&bytes, &SegmentHeader::new(0, 0, 0));
        let mut scanner = Scanner::starting_at(&bytes, 0);
        while let Found::Record(frame) = scanner.step() {
            prop_assert!(frame.end as usize <= bytes.len());
        }
        count_whole_records(&bytes, 0);
    }

    #[test]
    fn index_round_trip(lens in prop::collection::vec(0u32..1000, 0..20)) {
        let mut header = SegmentHeader::new(0, 1, 0);
        let mut entries = vec![];
        for len in &lens {
            entries.push(IndexEntry { offset: header.write_offset, len: *len });
            header.write_offset += frame_len(*len as usize).unwrap() as u64;
            header.entry_count += 1;
        }
        let mut bytes = vec![];
        encode_index(entries.iter().copied(), &mut bytes);
        prop_assert_eq!(decode_index(&bytes, &header), Ok(entries));
        header.entry_count += 1;
        prop_assert!(decode_index(&bytes, &header).is_err());
    }

    #[test]
    fn the_longest_payload_fits_and_no_longer(room in 16usize..10_000) {
        let len = payload_len_max(room).unwrap();
        prop_assert!(frame_len(len).unwrap() <= room);
        prop_assert!(frame_len(len + 1).unwrap() > room);
    }
}

#[test]
fn truncations_survive_the_round_trip_and_damage_is_told() {
    let cut = Truncation::Cut { end: Position { segment: 3, offset: 128 }, entries: 2 };
    for truncation in [cut, Truncation::Reset] {
        let bytes = truncation.to_bytes();
        assert_eq!(Truncation::decode(&bytes), Ok(truncation));
        for i in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[i] ^= 0x10;
            assert!(Truncation::decode(&damaged).is_err(), "byte {i}");
        }
        assert!(Truncation::decode(&bytes[..39]).is_err());
    }
    let golden = "57545243 01000000 01000000 03000000 8000000000000000 0200000000000000";
    let golden: Vec<u8> = golden
        .replace(' ', "")
        .as_bytes()
        .chunks(2)
        .map(|c| u8::from_str_radix(core::str::from_utf8(c).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(&cut.to_bytes()[..32], &golden[..]);
    let nowhere = Truncation::Cut { end: Position { segment: 3, offset: 60 }, entries: 2 };
    assert!(Truncation::decode(&nowhere.to_bytes()).is_err());
}

#[test]
fn a_position_has_twelve_bytes_and_a_nil() {
    let position = Position { segment: 7, offset: 0x0102_0304_0506 };
    let mut out = [0xEE; 14];
    assert_eq!(position.encode_to(&mut out), Some(&position.to_bytes()[..]));
    assert_eq!(out[12..], [0xEE, 0xEE]);
    assert_eq!(out[..12], [7, 0, 0, 0, 6, 5, 4, 3, 2, 1, 0, 0]);
    assert_eq!(position.encode_to(&mut out[..11]), None);
    assert_eq!(Position::decode(&position.to_bytes()), Ok(position));
    assert!(Position::decode(&out[..11]).is_err());
    assert!(Position::NIL.is_zero() && Position::default().is_zero() && !position.is_zero());
    assert_eq!(alloc::format!("{position}"), "7:1108152157446");
}
