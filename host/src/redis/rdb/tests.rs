//! Payloads that Redis 7 gave, and damaged ones.

use super::crc::crc64;
use super::*;
use nokv_core::formats::redis::Kind;
use proptest::prelude::*;

/// A value, all of it.
#[derive(Debug, PartialEq)]
enum Loaded {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    SortedSet(Vec<(Vec<u8>, f64)>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
}

fn load(body: &[u8]) -> Option<Loaded> {
    let kind = check(body, |_| Ok(())).ok()?;
    let (mut single, mut scored, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    let read = each(body, |element| {
        match element {
            Element::Single(element) => single.push(element.to_vec()),
            Element::Scored(member, score) => scored.push((member.to_vec(), score)),
            Element::Pair(field, value) => pairs.push((field.to_vec(), value.to_vec())),
        }
        Ok(())
    });
    // What was checked reads.
    read.expect("a sound payload");
    Some(match kind {
        Kind::String => Loaded::String(single.pop()?),
        Kind::List => Loaded::List(single),
        Kind::Set => Loaded::Set(single),
        Kind::SortedSet => Loaded::SortedSet(scored),
        Kind::Hash => Loaded::Hash(pairs),
    })
}

/// A string of an LZF'd listpack with `count` zeros.
fn zeros(count: usize) -> Vec<u8> {
    let len = 7 + 2 * count;
    let head = [&(len as u32).to_le_bytes()[..], &[0xff, 0xff, 0, 1]].concat();
    let mut packed = [&[head.len() as u8 - 1], &head[..]].concat();
    let mut left = len - 1 - head.len();
    while left >= 264 {
        packed.extend([0xe0, 255, 1]);
        left -= 264;
    }
    packed.extend(std::iter::repeat_n([1, 0, 1], left / 2).flatten());
    packed.extend([0, 0xff]);
    let long = |len: usize| [&[0x80], &(len as u32).to_be_bytes()[..]].concat();
    [&[0xc3], &long(packed.len())[..], &long(len), &packed].concat()
}

/// 4 million elements in 91 KB: as a list too many for its size, and refused before more than the string is in memory.
#[test]
fn a_payload_gives_no_more_than_its_size_may_hold() {
    let small = [&[18, 1, 2], &zeros(500_000)[..]].concat();
    assert!(small.len() < 12_000, "{}", small.len());
    let mut count = 0;
    let counted = each(&small, |element| {
        count += usize::from(element == Element::Single(b"0"));
        Ok(())
    });
    assert!(counted.is_ok());
    assert_eq!(count, 500_000);
    let large = [&[18, 1, 2], &zeros(4_000_000)[..]].concat();
    assert!((90_000..92_000).contains(&large.len()), "{}", large.len());
    let refused = check(&large, |_| Ok(())).expect_err("too many");
    assert!(refused.line().starts_with("ERR Bad data format: the payload has more elements"), "{refused:?}");
    // Members have to differ: the second one is refused.
    let set = [&[20], &zeros(4_000_000)[..]].concat();
    assert_eq!(check(&set, |_| Ok(())).expect_err("twice").line(), "ERR Bad data format");
}

/// What LZF cannot make is not allocated; nor is more than a string may have.
#[test]
fn what_lzf_unpacks_to_is_bounded() {
    let declared = |packed: usize, len: usize| {
        let long = |len: usize| [&[0x80], &(len as u32).to_be_bytes()[..]].concat();
        [&[0, 0xc3], &long(packed)[..], &long(len), &vec![0xe0; packed]].concat()
    };
    assert_eq!(load(&declared(10_000, 10_000 * 88 + 1)), None);
    let many: Vec<u8> = std::iter::repeat_n(zeros(8_000_000), 40).flatten().collect();
    let list = [&[1, 40], &many[..]].concat();
    let mut given = 0;
    let stopped = each(&list, |element| {
        let Element::Single(element) = element else { return Ok(()) };
        given += element.len();
        Ok(())
    });
    assert!(stopped.is_err() && given <= 512 << 20, "{given}");
}

fn payload(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [body, &version.to_le_bytes()].concat();
    let crc = crc64(&payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    payload
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn the_footer_is_checked() {
    let good = payload(b"\x00\x01a", 11);
    assert_eq!(body(&good), Some(&b"\x00\x01a"[..]));
    assert_eq!(body(&payload(b"\x00\x01a", 12)), None);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(body(&bad), None, "byte {at}");
        assert_eq!(body(&good[..at]), None);
    }
}

#[test]
fn strings_have_five_forms() {
    for (bytes, text) in [
        (&b"\x00\x02ab"[..], "ab"),
        (b"\x00\x40\x02ab", "ab"),
        (b"\x00\x80\0\0\0\x02ab", "ab"),
        (b"\x00\x81\0\0\0\0\0\0\0\x02ab", "ab"),
        (b"\x00\xc0\xff", "-1"),
        (b"\x00\xc1\x00\x01", "256"),
        (b"\x00\xc2\x00\x00\x01\x00", "65536"),
        (b"\x00\xc3\x05\x0a\x00a\xe0\x00\x00", "aaaaaaaaaa"),
    ] {
        assert_eq!(load(bytes), Some(Loaded::String(text.as_bytes().to_vec())), "{bytes:?}");
    }
}

#[test]
fn packed_collections_read_as_what_they_hold() {
    // Two entries: 5 (immediate) and "ab".
    let ziplist = b"\x12\0\0\0\x0d\0\0\0\x02\0\x00\xf6\x02\x02ab\xff";
    let ziplist = [&[(ziplist.len()) as u8, 0, 0, 0], &ziplist[4..]].concat();
    let listpack = b"\0\0\0\0\x03\0\x05\x01\x82ab\x03\xdf\xff\x02\xff";
    let listpack = [&[(listpack.len()) as u8, 0, 0, 0], &listpack[4..]].concat();
    let string = |of: u8, packed: &[u8]| [&[of, packed.len() as u8], packed].concat();
    assert_eq!(load(&string(10, &ziplist)), Some(Loaded::List(texts(&["5", "ab"]))));
    assert_eq!(load(&string(20, &listpack)), Some(Loaded::Set(texts(&["5", "ab", "-1"]))));
    assert_eq!(load(&string(16, &listpack)), None);
    let intset = b"\x02\0\0\0\x02\0\0\0\xff\xff\x05\x00";
    assert_eq!(load(&string(11, intset)), Some(Loaded::Set(texts(&["-1", "5"]))));
    let list = [&[18, 2, 1, 1, b'x', 2, listpack.len() as u8][..], &listpack].concat();
    assert_eq!(load(&list), Some(Loaded::List(texts(&["x", "5", "ab", "-1"]))));
}

#[test]
fn nothing_is_twice_and_no_collection_is_empty() {
    for bytes in [&b"\x02\x02\x01a\x01a"[..], b"\x02\x00", b"\x01\x00", b"\x04\x02\x01a\x01b\x01a\x01c"] {
        assert_eq!(load(bytes), None);
    }
    assert_eq!(load(&[&b"\x05\x01\x01a"[..], &f64::NAN.to_le_bytes()].concat()), None);
}

#[test]
fn what_is_declared_allocates_nothing() {
    for bytes in [
        &b"\x00\x81\x7f\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\xc3\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x00",
        b"\x00\xc3\x02\x80\x40\x00\x00\x00\x00a",
    ] {
        assert_eq!(load(bytes), None);
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(of in prop::sample::select(vec![0u8, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 16, 17, 18, 20]), mut rest: Vec<u8>) {
        rest.insert(0, of);
        let _ = load(&rest);
        let _ = body(&rest);
    }

    #[test]
    fn what_is_written_reads_back(fields: std::collections::BTreeMap<Vec<u8>, (Vec<u8>, i32)>) {
        prop_assume!(!fields.is_empty());
        let mut hash = Writer::new(Kind::Hash);
        let mut sorted = Writer::new(Kind::SortedSet);
        let mut list = Writer::new(Kind::List);
        for (field, (value, score)) in &fields {
            hash.pair(field, value);
            sorted.scored(field, f64::from(*score));
            list.single(value);
        }
        let read = |writer: Writer| body(&writer.finish()).and_then(load);
        let pairs = fields.iter().map(|(field, (value, _))| (field.clone(), value.clone())).collect();
        prop_assert_eq!(read(hash), Some(Loaded::Hash(pairs)));
        let scored = fields.iter().map(|(field, (_, score))| (field.clone(), f64::from(*score))).collect();
        prop_assert_eq!(read(sorted), Some(Loaded::SortedSet(scored)));
        prop_assert_eq!(read(list), Some(Loaded::List(fields.values().map(|(value, _)| value.clone()).collect())));
    }
}
