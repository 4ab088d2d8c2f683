//! The workloads have the shape that the paper gives them.

use std::collections::HashMap;

use super::dist::{Latest, Scrambled, YCSB_ITEMS, Zipf};
use super::keys::Inserts;
use super::record::{Key, Rng, fill_value, fnv, hash_in, nonce_in};
use super::{Op, Source, Workload};

const RECORDS: u64 = 10_000;

fn count(workload: Workload, what: impl Fn(Op) -> bool) -> f64 {
    let inserts = Inserts::new(RECORDS);
    let mut source =
        Source::new(workload, &inserts, Scrambled::new(YCSB_ITEMS, RECORDS * 2), Latest::new(RECORDS));
    let mut rng = Rng(1);
    let mut seen = 0;
    for _ in 0..RECORDS {
        let op = source.next(&mut rng);
        if let Op::Insert(n) = op {
            inserts.acknowledge(n);
        }
        seen += u64::from(what(op));
    }
    seen as f64 / RECORDS as f64
}

#[test]
fn shares_are_those_of_the_paper() {
    let near = |share: f64, wanted: f64| assert!((share - wanted).abs() < 0.02, "{share} is not {wanted}");
    near(count(Workload::A, |op| matches!(op, Op::Update(_))), 0.5);
    near(count(Workload::B, |op| matches!(op, Op::Update(_))), 0.05);
    near(count(Workload::C, |op| matches!(op, Op::Read(_))), 1.0);
    near(count(Workload::D, |op| matches!(op, Op::Insert(_))), 0.05);
    near(count(Workload::E, |op| matches!(op, Op::Scan(_, 1..=100))), 0.95);
    near(count(Workload::F, |op| matches!(op, Op::ReadModifyWrite(_))), 0.5);
    near(count(Workload::G, |op| matches!(op, Op::Insert(_))), 1.0);
    near(count(Workload::E, |op| matches!(op, Op::Scan(_, 1..=50))), 0.475);
}

#[test]
fn rank_zero_has_its_share_of_a_zipfian() {
    for items in [RECORDS, YCSB_ITEMS] {
        let zipf = Zipf::new(items);
        let mut rng = Rng(7);
        let hits = (0..100_000).filter(|_| zipf.next(&mut rng) == 0).count() as f64 / 100_000.0;
        let zeta =
            if items == YCSB_ITEMS { 26.469 } else { (1..=items).map(|i| (i as f64).powf(-0.99)).sum() };
        assert!((hits - 1.0 / zeta).abs() < 0.004, "{hits} of 1 / {zeta}");
    }
}

#[test]
fn a_zipfian_that_grew_is_one_made_large() {
    let (mut grown, large) = (Zipf::new(100), Zipf::new(RECORDS));
    grown.grow(RECORDS);
    let (mut a, mut b) = (Rng(3), Rng(3));
    assert!((0..1000).all(|_| grown.next(&mut a) == large.next(&mut b)));
}

#[test]
fn latest_prefers_the_newest() {
    let mut latest = Latest::new(RECORDS);
    let mut rng = Rng(5);
    let newest =
        (0..RECORDS).filter(|_| latest.next(&mut rng, RECORDS) >= RECORDS - RECORDS / 10).count() as u64;
    assert!(newest > RECORDS * 6 / 10, "{newest}");
}

#[test]
fn keys_are_distinct_and_read_back() {
    let mut seen = HashMap::new();
    for n in 0..RECORDS {
        let key = Key::of(n);
        assert_eq!(hash_in(&key.bytes), Some(fnv(n)));
        assert_eq!(seen.insert(key.bytes, n), None);
    }
    assert_eq!(&Key::of(0).bytes[..4], b"user");
}

#[test]
fn a_value_tells_its_key_and_nonce_and_is_half_zero() {
    for len in [32, 33, 100, 256, 1024] {
        let mut value = vec![0; len];
        fill_value(9, 77, &mut value);
        assert_eq!(nonce_in(9, &value, len), Some(77));
        assert_eq!(nonce_in(8, &value, len), None);
        assert!(value[len / 2..].iter().all(|b| *b == 0));
        value[len - 1] ^= 1;
        assert_eq!(nonce_in(9, &value, len), None);
    }
}

#[test]
fn an_insert_is_readable_when_all_before_it_are() {
    let inserts = Inserts::new(10);
    let (a, b) = (inserts.next(), inserts.next());
    inserts.acknowledge(b);
    assert_eq!(inserts.readable(), 10);
    inserts.acknowledge(a);
    assert_eq!(inserts.readable(), 12);
}

#[test]
fn threads_that_insert_leave_no_number_behind() {
    let inserts = Inserts::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50_000).for_each(|_| inserts.acknowledge(inserts.next())));
        }
    });
    assert_eq!(inserts.readable(), 200_000);
}
