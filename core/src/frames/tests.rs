use nokv_formats::walfs::{count_whole_records, encode_frame, find_whole_record};

use super::*;
use crate::manifest::testfs::TestFs;
use crate::vfs::Vfs;

/// xorshift64*
struct Course(u64);

impl Course {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}

/// Records shorter and longer than the window, zeros, rubbish, and damage to some of it.
fn image(seed: u64) -> Vec<u8> {
    let mut course = Course(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = Vec::new();
    for _ in 0..1 + course.below(12) {
        match course.below(8) {
            0 => bytes.resize(bytes.len() + course.below(100) as usize * 8, 0),
            1 => bytes.extend((0..course.below(60)).map(|_| course.below(256) as u8)),
            2 => encode_frame(&[0; 900][..course.below(900) as usize], &mut bytes),
            _ => {
                let len = [20, 120, 300, 1500][course.below(4) as usize];
                let payload: Vec<u8> = (0..course.below(len)).map(|_| course.below(3) as u8).collect();
                encode_frame(&payload, &mut bytes);
            }
        }
    }
    for _ in 0..course.below(4) {
        let len = bytes.len() as u64;
        match (len, course.below(3)) {
            (0, _) => {}
            (_, 0) => bytes.truncate(course.below(len + 1) as usize),
            (_, 1) => bytes[course.below(len) as usize] ^= 1 << course.below(8),
            // A length that lies, of any size.
            _ => bytes[course.below(len) as usize] = course.below(256) as u8,
        }
    }
    bytes
}

fn open(bytes: &[u8]) -> Frames<<TestFs as Vfs>::File> {
    let fs = TestFs::new(true);
    fs.create("file").expect("a new name").write_at(bytes, 0).expect("written");
    Frames::open(&fs, "file").expect("it is there")
}

/// Every verdict is that on the whole file, at every place and whatever was asked for before.
#[test]
fn pieces_say_what_the_whole_says() {
    let (mut records, mut damages, mut long) = (0, 0, 0);
    for seed in 0..if cfg!(miri) { 3 } else { 600 } {
        let bytes = image(seed);
        let mut frames = open(&bytes);
        let mut places: Vec<usize> = (0..=bytes.len() + 9).collect();
        let mut course = Course(seed + 1);
        for i in (1..places.len()).rev() {
            places.swap(i, course.below(i as u64 + 1) as usize);
        }
        for at in (0..bytes.len()).step_by(8).chain(places.into_iter().take(200)) {
            let look = frames.look(at as u64).expect("no read fails");
            match (frame_at(&bytes, at), look) {
                (Found::End, Look::End) => {}
                (Found::Damage(m), Look::Damage(what)) => {
                    assert_eq!(m.what, what, "seed {seed}, at {at}");
                    damages += 1;
                }
                (Found::Record(frame), Look::Record(place)) => {
                    assert_eq!((frame.offset, frame.end), (place.at, place.end));
                    assert_eq!(frames.payload(&place).expect("no read fails"), Some(frame.payload));
                    records += 1;
                    long += u32::from(frame.payload.len() > WINDOW_BYTES);
                }
                (whole, pieces) => panic!("seed {seed}, at {at}: {whole:?} is {pieces:?}"),
            }
            let (mut budget, mut left) = (bytes.len() * 3, bytes.len() as u64 * 3);
            let whole = find_whole_record(&bytes, at, &mut budget).map(|frame| (frame.offset, frame.end));
            let found = frames.find(at as u64, &mut left).expect("no read fails");
            assert_eq!(found.map(|place| (place.at, place.end)), whole, "seed {seed}, from {at}");
            assert_eq!(left, budget as u64, "seed {seed}, from {at}");
        }
        assert_eq!(frames.count_from(0).expect("no read fails"), count_whole_records(&bytes, 0));
        assert_eq!(
            frames.crc(3, bytes.len() as u64).expect("no read fails"),
            crc32c(bytes.get(3..).unwrap_or(&[]))
        );
        for from in [0, bytes.len() / 2, bytes.len()] {
            let used = bytes.iter().rposition(|b| *b != 0).map_or(from, |last| from.max(last + 1));
            assert_eq!(frames.used_from(from as u64).expect("no read fails"), used as u64);
        }
    }
    assert!(cfg!(miri) || (records > 1000 && damages > 1000 && long > 100), "{records} {damages} {long}");
}

/// A small budget ends the search at the same place.
#[test]
fn a_budget_ends_the_search_where_it_did() {
    let mut bytes = Vec::new();
    for payload in [&[1u8; 40][..], &[2; 700], &[3; 10]] {
        encode_frame(payload, &mut bytes);
        // The checksum is wrong: it costs, and is none.
        let start = bytes.len() - payload.len().next_multiple_of(8) - 16;
        bytes[start] ^= 1;
    }
    encode_frame(b"whole", &mut bytes);
    for most in 0..1200 {
        let (mut budget, mut left) = (most, most as u64);
        let whole = find_whole_record(&bytes, 0, &mut budget).map(|frame| frame.offset);
        let found = open(&bytes).find(0, &mut left).expect("no read fails").map(|place| place.at);
        assert_eq!((found, left), (whole, budget as u64), "{most}");
    }
}

/// Looking through bytes that are no records reads each of them about once.
#[test]
fn rubbish_is_read_once() {
    let mut bytes = vec![0x55; 64 << 10];
    encode_frame(b"whole", &mut bytes);
    let mut frames = open(&bytes);
    let mut budget = u64::MAX;
    let found = frames.find(0, &mut budget).expect("no read fails").expect("the record at the end");
    assert_eq!(found.at, 64 << 10);
    assert!(frames.reads <= (bytes.len() / WINDOW_BYTES + 2) as u64, "{} reads", frames.reads);
}

/// What is behind a long record's length is read for the checksum, and kept only if that is right.
#[test]
fn a_long_record_that_is_damaged_takes_no_memory() {
    let mut bytes = Vec::new();
    encode_frame(&[5; 100 << 10], &mut bytes);
    let mut frames = open(&bytes);
    assert!(matches!(frames.look(0), Ok(Look::Record(_))));
    bytes[5000] ^= 1;
    let mut frames = open(&bytes);
    assert_eq!(frames.look(0).expect("no read fails"), Look::Damage("the checksum of a record"));
    assert_eq!(frames.long.capacity(), 0);
    assert!(frames.window.capacity() <= WINDOW_BYTES);
}

/// The file changes between the look and the reading of a long record: nothing unchecked is handed out.
#[test]
fn bytes_that_changed_since_they_were_checked_are_not_handed_out() {
    for len in [50, 1000] {
        let fs = TestFs::new(true);
        let mut bytes = Vec::new();
        encode_frame(&vec![7; len], &mut bytes);
        let file = fs.create("file").expect("a new name");
        file.write_at(&bytes, 0).expect("written");
        let mut frames = Frames::open(&fs, "file").expect("it is there");
        let Ok(Look::Record(place)) = frames.look(0) else { panic!("a whole record") };
        bytes[20] ^= 1;
        file.write_at(&bytes, 0).expect("written");
        frames.refresh();
        assert_eq!(frames.payload(&place).expect("no read fails"), None, "{len}");
    }
}
