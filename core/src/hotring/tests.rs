//! Rings against an exact model; caps under a skewed load; many threads at once.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::{CfId, KeyRef};
use proptest::prelude::*;

use super::{HotKey, HotRing, REPORTED_KEY_BYTES_MAX, RingOptions, RotatingRing};

/// What the tests write down small: Miri is slow.
const fn scaled(n: usize) -> usize {
    if cfg!(miri) { n / 100 } else { n }
}

fn key(name: &str) -> KeyRef<'_> {
    KeyRef::new(CfId(0), name.as_bytes())
}

fn name(i: usize) -> String {
    format!("key{i:06}")
}

fn plain(node_cap: u64) -> RingOptions {
    // Fewer buckets to walk for Miri.
    let bits = if cfg!(miri) { 3 } else { 0 };
    RingOptions { bits, node_cap, ..RingOptions::default() }
}

fn windowed(window_slots: u32, window_slot_ns: u64) -> RingOptions {
    RingOptions { window_slots, window_slot_ns, ..plain(0) }
}

fn listed(keys: &[HotKey]) -> Vec<(String, u64)> {
    let text = |k: &HotKey| String::from_utf8(k.key.user_key.clone()).unwrap();
    keys.iter().map(|k| (text(k), k.count)).collect()
}

/// A generator that is the same everywhere.
struct Course(u64);

impl Course {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Draws ranks of a Zipf distribution with exponent 1.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(keys: usize) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=keys)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self, course: &mut Course) -> usize {
        let at = (course.next() >> 11) as f64 / (1u64 << 53) as f64 * self.0[self.0.len() - 1];
        self.0.partition_point(|sum| *sum <= at).min(self.0.len() - 1)
    }
}

#[test]
fn counts_are_exact_without_a_cap_and_families_are_apart() {
    let ring = HotRing::new(RingOptions { bits: 1, ..plain(0) }, 0);
    for i in 0..200 {
        for touched in 1..=i as u64 % 5 + 1 {
            assert_eq!(ring.touch(key(&name(i)), 0), touched);
        }
    }
    assert_eq!(ring.touch(KeyRef::new(CfId(7), b"key000004"), 0), 1);
    assert_eq!(ring.frequency(key("key000004"), 0), 5);
    assert_eq!(ring.frequency(key("other"), 0), 0);
    let stats = ring.stats();
    assert_eq!((stats.buckets, stats.nodes, stats.load_factor), (2, 201, 100.5));
    assert_eq!((stats.touches, stats.inserts, stats.sample_drops), (601, 201, 0));
}

#[test]
fn the_top_is_by_count_then_by_key() {
    let ring = HotRing::new(plain(0), 0);
    for (name, touches) in [("d", 2), ("b", 2), ("a", 1), ("c", 2), ("e", 3)] {
        for _ in 0..touches {
            ring.touch(key(name), 0);
        }
    }
    let of =
        |keys: &[(&str, u64)]| keys.iter().map(|(k, n)| ((*k).into(), *n)).collect::<Vec<(String, u64)>>();
    assert_eq!(listed(&ring.top_n(3, 0)), of(&[("e", 3), ("b", 2), ("c", 2)]));
    assert_eq!(listed(&ring.top_n(1, 0)), of(&[("e", 3)]));
    assert_eq!(ring.top_n(0, 0), []);
    assert_eq!(listed(&ring.top_n(9, 0)), of(&[("e", 3), ("b", 2), ("c", 2), ("d", 2), ("a", 1)]));
    assert_eq!(listed(&ring.keys_above(2, 0)), of(&[("e", 3), ("b", 2), ("c", 2), ("d", 2)]));
}

#[test]
fn a_limit_lets_so_many_pass_and_the_window_lets_the_key_recover() {
    let ring = HotRing::new(windowed(4, 10), 0);
    let touch = |now| ring.touch_and_clamp(key("a"), 3, now);
    assert_eq!([touch(5), touch(12), touch(13)], [(1, false), (2, false), (3, false)]);
    assert_eq!([touch(14), touch(39)], [(3, true), (3, true)]);
    assert_eq!(ring.touch_and_clamp(key("b"), 3, 14), (1, false));
    // The slot of the first touch leaves the window.
    assert_eq!([touch(40), touch(41)], [(3, false), (3, true)]);
    assert_eq!(ring.stats().clamps, 3);
    assert_eq!(ring.touch_and_clamp(key("a"), 0, 41), (4, false));
}

#[test]
fn a_touch_that_came_to_nothing_can_be_taken_back() {
    for options in [plain(0), windowed(2, 10)] {
        let ring = HotRing::new(options, 0);
        assert_eq!([0, 0].map(|now| ring.touch_and_clamp(key("a"), 2, now).1), [false, false]);
        ring.untouch(key("a"), 0);
        assert_eq!(ring.frequency(key("a"), 0), 1);
        assert_eq!(ring.touch_and_clamp(key("a"), 2, 0), (2, false));
        ring.untouch(key("unknown"), 0);
        assert_eq!(ring.stats().touches, 2);
    }
}

#[test]
fn decay_shifts_every_count_when_due_and_makes_up_for_missed_intervals() {
    for window_slots in [0, 4] {
        let window = windowed(window_slots, u64::from(window_slots) * 1_000_000);
        let ring = HotRing::new(RingOptions { decay_interval_ns: 100, decay_shift: 0, ..window }, 0);
        for _ in 0..20 {
            ring.touch(key("a"), 0);
        }
        let after = |now| {
            ring.maintain(now, now / 10);
            ring.frequency(key("a"), now)
        };
        assert_eq!([after(99), after(100), after(150), after(299)], [20, 10, 10, 5]);
        assert_eq!(ring.stats().last_decay_unix, 29);
        // Two intervals at once.
        assert_eq!(after(499), 1);
        assert_eq!(ring.touch(key("a"), 499), 2);
        assert_eq!((ring.stats().decay_runs, ring.stats().decay_shift), (4, 1));
        assert_eq!(after(1 << 40), 0);
    }
}

#[test]
fn a_removed_key_is_gone_and_starts_anew() {
    for options in [plain(0), windowed(4, 10), plain(16)] {
        let ring = HotRing::new(options, 0);
        assert!(!ring.remove(key("a")));
        ring.touch(key("a"), 0);
        ring.touch(key("a"), 0);
        assert!(ring.remove(key("a")) && !ring.remove(key("a")));
        assert_eq!((ring.frequency(key("a"), 0), ring.top_n(9, 0), ring.stats().nodes), (0, Vec::new(), 0));
        assert_eq!(ring.touch(key("a"), 0), 1);
        assert_eq!(listed(&ring.top_n(9, 0)), [("a".into(), 1)]);
        assert!(ring.remove(key("a")));
        assert_eq!(ring.touch_and_clamp(key("a"), 1, 0), (1, false));
        let stats = ring.stats();
        assert_eq!((stats.nodes, stats.inserts, stats.removes), (1, 3, 2));
    }
}

#[test]
fn long_keys_are_counted_and_limited_but_not_listed() {
    let ring = HotRing::new(plain(0), 0);
    let long: Vec<Vec<u8>> =
        (0..2u8).map(|last| [&[b'k'; REPORTED_KEY_BYTES_MAX][..], &[last]].concat()).collect();
    let keys = [0, 1].map(|i| KeyRef::new(CfId(0), &long[i]));
    assert_eq!([ring.touch(keys[0], 0), ring.touch(keys[0], 0), ring.touch(keys[1], 0)], [1, 2, 1]);
    assert_eq!(ring.touch_and_clamp(keys[0], 2, 0), (2, true));
    let longest = KeyRef::new(CfId(0), &long[0][..REPORTED_KEY_BYTES_MAX]);
    ring.touch(longest, 0);
    assert_eq!(ring.top_n(9, 0).len(), 1);
    assert!(ring.memory_bytes() < HotRing::new(plain(0), 0).memory_bytes() + 4096 + REPORTED_KEY_BYTES_MAX);
}

#[test]
#[cfg_attr(miri, ignore = "many touches; the same paths run in the other tests")]
fn the_hottest_ten_are_found_in_order_with_a_cap_of_a_hundredth() {
    let keys = scaled(100_000);
    for options in [
        plain(keys as u64 / 100),
        RingOptions { window_slots: 8, window_slot_ns: 1 << 40, ..plain(keys as u64 / 100) },
    ] {
        let ring = HotRing::new(options, 0);
        let zipf = Zipf::new(keys);
        let mut course = Course(88172645463325252);
        let mut exact = alloc::vec![0u64; keys];
        let names: Vec<String> = (0..keys).map(name).collect();
        for _ in 0..scaled(2_000_000) {
            let i = zipf.draw(&mut course);
            exact[i] += 1;
            ring.touch(key(&names[i]), 0);
        }
        let mut order: Vec<usize> = (0..keys).collect();
        order.sort_by_key(|i| (core::cmp::Reverse(exact[*i]), *i));
        let stats = ring.stats();
        assert!(stats.nodes <= stats.node_cap, "{stats:?}");
        assert_eq!(stats.touches, scaled(2_000_000) as u64);
        assert_eq!(stats.inserts - stats.removes, stats.nodes);
        let top = listed(&ring.top_n(10, 0));
        let expected: Vec<String> = order[..10].iter().map(|i| names[*i].clone()).collect();
        assert_eq!(top.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>(), expected);
        for (i, (_, count)) in order.iter().zip(&top) {
            assert!(*count <= exact[*i] && *count * 100 >= exact[*i] * 98, "{count} of {}", exact[*i]);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "many touches; the same paths run in the other tests")]
fn memory_stays_at_the_cap_whatever_is_touched() {
    let cap = scaled(5000) as u64;
    let ring = HotRing::new(RingOptions { window_slots: 4, window_slot_ns: 100, ..plain(cap) }, 0);
    let mut highest = 0;
    for i in 0..scaled(300_000) {
        ring.touch(key(&name(i)), i as u64);
        if i % scaled(50_000) == 0 {
            highest = highest.max(ring.memory_bytes());
            assert!(ring.stats().nodes <= cap);
        }
    }
    // Each bucket has its nodes, rounded up to whole groups, with a window each, and 13 bytes of key for a node.
    let buckets = ring.stats().buckets;
    let places = (cap / buckets).next_multiple_of(8) * buckets;
    let each = size_of::<super::node::Group>() / 8 + 4 * 8;
    let bound = places as usize * each + cap as usize * 13 + buckets as usize * 256 + 256;
    assert!(highest > 0 && ring.memory_bytes() <= bound, "{} above {bound}", ring.memory_bytes());
    assert!(ring.stats().removes > 0 && ring.stats().nodes > cap * 9 / 10, "{:?}", ring.stats());
}

#[test]
#[cfg_attr(miri, ignore = "many touches; the same paths run in the other tests")]
fn a_key_that_becomes_hot_late_is_found_at_the_cap() {
    let ring = HotRing::new(plain(64), 0);
    for round in 0..scaled(1000) {
        for i in 0..64 {
            ring.touch(key(&name(i)), 0);
        }
        ring.touch(key(&name(1000 + round)), 0);
    }
    assert_eq!(ring.stats().nodes, 64);
    let before = ring.top_n(64, 0)[63].count;
    // Its bucket's coldest has a rank of at most the rounds: after 20 times as many it is in, but for e^-20.
    for _ in 0..20 * scaled(1000) {
        ring.touch(key("late"), 0);
    }
    assert_eq!(listed(&ring.top_n(1, 0))[0].0, "late", "the coldest had {before}");
    assert_eq!(ring.stats().nodes, 64);
}

#[test]
fn sampling_decides_by_key_and_only_at_the_cap() {
    let ring = HotRing::new(RingOptions { node_sample_bits: 63, ..windowed(1, 1) }, 0);
    assert_eq!(ring.touch(key("a"), 0), 1, "there is no cap");
    let ring = HotRing::new(RingOptions { node_sample_bits: 2, node_cap: 32, ..windowed(1, 1) }, 0);
    let tracked = |at: u64, i: usize| ring.touch(key(&name(i)), at) > 0;
    assert!((0..16).all(|i| tracked(0, i)));
    for i in 0..scaled(5000) {
        tracked(1, i);
    }
    // Each in its own slot of time, so that all nodes are cold: who may compete gets in.
    let by_key: Vec<bool> = (0..400).map(|i| tracked(10 + i as u64, 10_000 + i)).collect();
    let again: Vec<bool> = (0..400).map(|i| tracked(1000 + i as u64, 10_000 + i)).collect();
    assert_eq!(by_key, again);
    let share = by_key.iter().filter(|t| **t).count();
    assert!((60..140).contains(&share), "{share} of 400, where a quarter competes");
    assert_eq!(ring.stats().sample_mask, 3);
    assert!(ring.stats().sample_drops > 0 && ring.stats().nodes == 32);
}

#[test]
fn rotation_takes_the_larger_count_and_lists_the_sum() {
    let ring = RotatingRing::new(plain(0), 100, 0);
    for _ in 0..5 {
        ring.touch(key("a"), 0);
    }
    ring.touch(key("b"), 0);
    ring.maintain(99, 0);
    assert_eq!(ring.touch(key("b"), 99), 2);
    ring.maintain(100, 0);
    assert_eq!((ring.touch(key("a"), 100), ring.touch(key("c"), 100)), (5, 1));
    assert_eq!((ring.frequency(key("a"), 100), ring.frequency(key("b"), 100)), (5, 2));
    assert_eq!(listed(&ring.top_n(2, 100)), [("a".into(), 6), ("b".into(), 2)]);
    assert_eq!(listed(&ring.keys_above(6, 100)), [("a".into(), 6)]);
    assert_eq!(ring.touch_and_clamp(key("a"), 5, 100), (5, true));
    assert_eq!((ring.stats().nodes, ring.stats().clamps, ring.stats().touches), (2, 1, 9));
    // "b" was in no generation that is left.
    ring.maintain(200, 0);
    assert_eq!((ring.frequency(key("a"), 200), ring.frequency(key("b"), 200)), (1, 0));
    assert_eq!(ring.stats().nodes, 0);
    assert!(ring.remove(key("a")) && !ring.remove(key("a")));
    // Two intervals without a look: nothing of what was is less than one old.
    ring.touch(key("d"), 200);
    ring.maintain(450, 0);
    assert_eq!(ring.frequency(key("d"), 450), 0);
    assert_eq!(ring.stats().touches, 10);
}

#[test]
fn without_an_interval_nothing_rotates() {
    let ring = RotatingRing::new(plain(0), 0, 0);
    ring.touch(key("a"), 0);
    ring.maintain(u64::MAX, 0);
    assert_eq!((ring.frequency(key("a"), 0), listed(&ring.top_n(1, 0))), (1, [("a".into(), 1)].into()));
}

#[cfg(feature = "std")]
mod threads {
    use super::*;

    fn on_threads(count: usize, run: impl Fn(usize) + Sync) {
        std::thread::scope(|scope| {
            for t in 0..count {
                let run = &run;
                scope.spawn(move || run(t));
            }
        });
    }

    #[test]
    fn no_touch_is_lost_and_no_key_stands_twice() {
        for options in [RingOptions { bits: 3, ..plain(0) }, RingOptions { bits: 3, ..windowed(4, 1000) }] {
            let ring = HotRing::new(options, 0);
            let (rounds, keys) = (scaled(20_000), scaled(2_000));
            on_threads(4, |t| {
                for i in 0..rounds {
                    ring.touch(key(&name((i * 7 + t) % keys)), 0);
                }
            });
            let stats = ring.stats();
            assert_eq!(
                (stats.touches, stats.nodes, stats.inserts),
                ((rounds * 4) as u64, keys as u64, keys as u64)
            );
            let all = ring.keys_above(1, 0);
            assert_eq!(all.len(), keys);
            assert_eq!(all.iter().map(|k| k.count).sum::<u64>(), (rounds * 4) as u64);
        }
    }

    #[test]
    fn exactly_the_limit_passes() {
        for options in [plain(0), windowed(4, 1000)] {
            let ring = HotRing::new(options, 0);
            let passed = core::sync::atomic::AtomicU64::new(0);
            on_threads(4, |_| {
                for _ in 0..scaled(5_000) {
                    if !ring.touch_and_clamp(key("a"), 71, 0).1 {
                        passed.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
            assert_eq!(passed.into_inner(), 71);
            assert_eq!(ring.frequency(key("a"), 0), 71);
        }
    }

    #[test]
    fn all_calls_at_once_keep_the_bounds() {
        let window = windowed(4, 50);
        let options = RingOptions { node_cap: 40, decay_interval_ns: 300, ..window };
        let ring = RotatingRing::new(options, 1000, 0);
        let rounds = if cfg!(miri) { 40 } else { 20_000 };
        on_threads(4, |t| {
            let mut course = Course(t as u64 + 1);
            for i in 0..rounds {
                let (key, now) = (name(course.next() as usize % 200), i);
                let key = super::key(&key);
                match course.next() % 16 {
                    0 => assert!(ring.top_n(5, now).len() <= 5),
                    1 => ring.maintain(now, now),
                    2 => drop(ring.remove(key)),
                    3 => drop(ring.touch_and_clamp(key, 3, now)),
                    4 => ring.untouch(key, now),
                    5 => assert!(ring.keys_above(1, now).iter().all(|k| k.key.user_key.starts_with(b"key"))),
                    _ => drop(ring.touch(key, now)),
                }
            }
        });
        assert!(ring.stats().nodes <= 40);
        assert!(ring.top_n(100, rounds).len() <= 80);
    }
}

/// What a ring without a cap is.
#[derive(Default)]
struct Model {
    /// Touches by tick; all at tick 0 without a window.
    counts: BTreeMap<u8, BTreeMap<u64, u64>>,
    slots: u64,
    slot_ns: u64,
}

impl Model {
    fn tick(&self, now: u64) -> u64 {
        now.checked_div(self.slot_ns).unwrap_or(0)
    }

    fn count(&self, key: u8, now: u64) -> u64 {
        let tick = self.tick(now);
        let in_window = |at: u64| self.slots == 0 || at + self.slots > tick;
        self.counts.get(&key).map_or(0, |c| c.iter().filter(|(at, _)| in_window(**at)).map(|(_, n)| n).sum())
    }

    fn touch(&mut self, key: u8, now: u64) -> u64 {
        let tick = self.tick(now);
        *self.counts.entry(key).or_default().entry(tick).or_default() += 1;
        self.count(key, now)
    }

    fn top(&self, now: u64) -> Vec<(u8, u64)> {
        let mut all: Vec<_> = self.counts.keys().map(|k| (*k, self.count(*k, now))).collect();
        all.retain(|(_, n)| *n > 0);
        all.sort_by_key(|(k, n)| (core::cmp::Reverse(*n), *k));
        all
    }
}

#[derive(Debug, Clone)]
enum Step {
    Touch(u8),
    Clamp(u8, u64),
    TakeBack(u8),
    Remove(u8),
    Wait(u64),
    Decay,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..30u8;
    prop_oneof![
        8 => key.clone().prop_map(Step::Touch),
        4 => (key.clone(), 1..6u64).prop_map(|(k, limit)| Step::Clamp(k, limit)),
        1 => key.clone().prop_map(Step::TakeBack),
        1 => key.prop_map(Step::Remove),
        2 => (1..40u64).prop_map(Step::Wait),
        1 => Just(Step::Decay),
    ]
}

fn run_against_model(slots: u32, bits: u8, steps: &[Step]) -> Result<(), TestCaseError> {
    let slot_ns = if slots > 0 { 10 } else { 0 };
    // Decay is run when asked for: the interval is one nanosecond of a time of its own.
    let ring = HotRing::new(
        RingOptions { bits, decay_interval_ns: 1, decay_shift: 2, ..windowed(slots, slot_ns) },
        0,
    );
    let mut model = Model { slots: slots.into(), slot_ns, ..Model::default() };
    let (mut now, mut decays) = (0, 0);
    for step in steps {
        match step {
            Step::Touch(k) => {
                prop_assert_eq!(ring.touch(KeyRef::new(CfId(0), &[*k]), now), model.touch(*k, now))
            }
            Step::Clamp(k, limit) => {
                let at = model.count(*k, now);
                let expected = if at >= *limit { (at, true) } else { (model.touch(*k, now), false) };
                prop_assert_eq!(ring.touch_and_clamp(KeyRef::new(CfId(0), &[*k]), *limit, now), expected);
            }
            Step::TakeBack(k) => {
                ring.untouch(KeyRef::new(CfId(0), &[*k]), now);
                let tick = model.tick(now);
                if let Some(n) = model.counts.get_mut(k).and_then(|c| c.get_mut(&tick)) {
                    *n = n.saturating_sub(1);
                }
            }
            Step::Remove(k) => {
                ring.remove(KeyRef::new(CfId(0), &[*k]));
                model.counts.remove(k);
            }
            Step::Wait(ns) => now += ns,
            Step::Decay => {
                decays += 1;
                ring.maintain(decays, 0);
                model.counts.values_mut().flat_map(BTreeMap::values_mut).for_each(|n| *n >>= 2);
            }
        }
    }
    let top = model.top(now);
    let listed = |keys: &[HotKey]| keys.iter().map(|k| (k.key.user_key[0], k.count)).collect::<Vec<_>>();
    for n in [1, 3, 10, 100] {
        prop_assert_eq!(listed(&ring.top_n(n, now)), &top[..n.min(top.len())]);
    }
    let above: Vec<_> = top.iter().copied().filter(|(_, n)| *n >= 3).collect();
    prop_assert_eq!(listed(&ring.keys_above(3, now)), above);
    for k in 0..30 {
        prop_assert_eq!(ring.frequency(KeyRef::new(CfId(0), &[k]), now), model.count(k, now));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn without_a_cap_a_ring_is_the_model(
        slots in prop_oneof![Just(0u32), 1..6u32],
        bits in 1..6u8,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        run_against_model(slots, bits, &steps)?;
    }
}
