//! Rings of hot keys: entering, competing for places, limits, removal and decay.

use std::sync::Arc;

use nokv::CfId;
use nokv_core::formats::KeyRef;
use nokv_core::hotring::{HotRing, RingOptions};

use super::{below, join, on_thread};

fn ring(node_cap: u64) -> HotRing {
    let mut options = RingOptions::default();
    options.bits = 1;
    options.node_cap = node_cap;
    options.window_slots = 0;
    options.window_slot_ns = 0;
    options.seed = 7;
    HotRing::new(options, 0)
}

/// Without a cap no touch is lost and no key stands twice; a limit lets exactly so many pass; with a cap, and keys that are
/// removed meanwhile, places stay within it.
pub(super) fn enter_and_compete() {
    match below(3) {
        0 => exact(),
        1 => limited(),
        _ => capped(),
    }
}

fn exact() {
    let ring = Arc::new(ring(0));
    let threads: Vec<_> = (0..3u8)
        .map(|t| {
            let ring = ring.clone();
            on_thread(move || {
                (0..12).for_each(|i| _ = ring.touch(KeyRef::new(CfId::DEFAULT, &[(i + t) % 5]), 0))
            })
        })
        .collect();
    threads.into_iter().for_each(join);
    let all = ring.keys_above(1, 0);
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(all.iter().map(|key| key.count).sum::<u64>(), 36, "{all:?}");
    let stats = ring.stats();
    assert_eq!((stats.touches, stats.nodes, stats.inserts), (36, 5, 5));
}

fn limited() {
    let ring = Arc::new(ring(0));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let ring = ring.clone();
            on_thread(move || {
                let key = KeyRef::new(CfId::DEFAULT, b"a");
                (0..4).filter(|_| !ring.touch_and_clamp(key, 5, 0).1).count()
            })
        })
        .collect();
    assert_eq!(threads.into_iter().map(join).sum::<usize>(), 5);
    assert_eq!(ring.frequency(KeyRef::new(CfId::DEFAULT, b"a"), 0), 5);
}

fn capped() {
    let ring = Arc::new(ring(4));
    let threads: Vec<_> = (0..3u8)
        .map(|t| {
            let ring = ring.clone();
            on_thread(move || {
                for i in 0..10u8 {
                    let key = [(i * 3 + t) % 9];
                    let key = KeyRef::new(CfId::DEFAULT, &key);
                    match below(8) {
                        0 => _ = ring.remove(key),
                        1 => ring.maintain(u64::from(i), 0),
                        2 => assert!(ring.top_n(3, 0).len() <= 3),
                        3 => ring.untouch(key, 0),
                        _ => _ = ring.touch(key, 0),
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(join);
    let listed = ring.keys_above(0, 0);
    let names: std::collections::BTreeSet<_> = listed.iter().map(|key| key.key.user_key.to_vec()).collect();
    assert_eq!(names.len(), listed.len(), "a key stands twice: {listed:?}");
    assert!(ring.stats().nodes <= 4, "{:?}", ring.stats());
}
