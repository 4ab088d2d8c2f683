use super::*;
use crate::redis::store::embedded::Embedded;
use crate::redis::testing::database;
use nokv_core::formats::redis::Kind;
use nokv_vfs_mem::MemFs;
use std::collections::BTreeSet;
use std::sync::Arc;

const SMALL: Sizes = Sizes { run: 4, block: 3, entries_min: 8, walk_max: 2, bytes_max: 1 << 20 };

/// A sequence of numbers that is the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn part(n: u64) -> Vec<u8> {
    format!("{n:x}").into_bytes()
}

fn open(sizes: Sizes) -> (Keyspace, Arc<dyn Backend>) {
    let backend: Arc<dyn Backend> = Arc::new(Embedded::new(database(&MemFs::new())).expect("the families"));
    let mut keys = Keyspace::open(backend.clone(), 1_000).expect("the keys");
    keys.ranks_and_txn().0.sizes = sizes;
    (keys, backend)
}

fn set_of(keys: &mut Keyspace) -> Collection<'static> {
    keys.collection_or_new(0, b"k", Kind::Set).expect("a lookup")
}

/// Adds or removes a part; without notes, if so.
fn toggle(keys: &mut Keyspace, model: &mut BTreeSet<Vec<u8>>, part: Vec<u8>, with_note: bool) {
    let mut set = set_of(keys);
    let key = set.element(&part);
    let stands = model.contains(&part);
    match (stands, with_note) {
        (true, true) => keys.delete_entry(Table::Elements, &key),
        (true, false) => keys.txn().delete(Table::Elements, &key),
        (false, true) => keys.put_entry(Table::Elements, &key, Vec::new(), false),
        (false, false) => keys.txn().set(Table::Elements, &key, Vec::new()),
    }
    if stands {
        model.remove(&part);
        set.head.count -= 1;
    } else {
        model.insert(part);
        set.head.count += 1;
    }
    keys.save(&set).expect("a head");
}

fn check(keys: &mut Keyspace, model: &BTreeSet<Vec<u8>>, dice: &mut Dice) {
    let set = set_of(keys);
    assert_eq!(set.head.count, model.len() as u64);
    let sorted: Vec<&Vec<u8>> = model.iter().collect();
    for _ in 0..3 {
        let probe = part(dice.below(400));
        let rank = keys.rank_of(&set, Table::Elements, &probe).expect("a rank");
        assert_eq!(rank, sorted.partition_point(|part| **part < probe) as u64, "{probe:?}");
        if sorted.is_empty() {
            continue;
        }
        let rank = dice.below(sorted.len() as u64);
        for reverse in [false, true] {
            let mut cursor = keys.seek_rank(&set, Table::Elements, rank, reverse).expect("a cursor");
            let mut at = Some(rank as usize);
            for _ in 0..3 {
                let wanted = at.and_then(|at| sorted.get(at));
                assert_eq!(cursor.advance().expect("an entry"), wanted.is_some());
                if let Some(wanted) = wanted {
                    assert_eq!(part_of(cursor.key()), wanted.as_slice(), "{rank} {reverse}");
                }
                at = at.and_then(|at| if reverse { at.checked_sub(1) } else { at.checked_add(1) });
            }
        }
    }
}

#[test]
fn any_history_gives_the_ranks_of_a_model() {
    for seed in 0..12 {
        let (mut keys, _) = open(SMALL);
        let mut dice = Dice(seed);
        let mut model = BTreeSet::new();
        let mut used = 0;
        for step in 0..500 {
            keys.begin(1_000);
            let mut wanted = model.clone();
            let (changes, with_note) = (dice.below(6), dice.below(20) > 0);
            for _ in 0..changes {
                // It grows at first and shrinks at the end.
                let part = part(dice.below(400));
                if wanted.contains(&part) == (step > 300) || dice.below(4) == 0 {
                    toggle(&mut keys, &mut wanted, part, with_note);
                }
                if dice.below(4) == 0 {
                    check(&mut keys, &wanted, &mut dice);
                }
            }
            match dice.below(12) {
                0 => continue,
                1 => {
                    let slot = keys.slot(0, b"k").expect("a slot");
                    keys.set_expiry(slot, 1 << 45).expect("an expiry");
                }
                2 if dice.below(8) == 0 => {
                    let slot = keys.slot(0, b"k").expect("a slot");
                    keys.remove(&slot).expect("a removal");
                    wanted.clear();
                }
                _ => {}
            }
            keys.commit().expect("a commit");
            model = wanted;
            keys.begin(1_000);
            check(&mut keys, &model, &mut dice);
            let ranks = keys.ranks_and_txn().0;
            used += u32::from(!ranks.by_key.is_empty());
            let bytes: usize = ranks.by_key.values().map(|index| index.fences.bytes).sum();
            assert_eq!((ranks.bytes, ranks.covered.len()), (bytes, ranks.by_key.len()));
        }
        assert!(used > 200, "{used}");
    }
}

#[test]
fn what_another_writer_did_is_seen() {
    let (mut keys, backend) = open(SMALL);
    let mut other = Keyspace::open(backend, 1_000).expect("the keys");
    let mut model = BTreeSet::new();
    let mut dice = Dice(7);
    for step in 0..200 {
        let writer = if dice.below(3) == 0 { &mut other } else { &mut keys };
        writer.begin(1_000);
        let before = model.clone();
        toggle(writer, &mut model, part(dice.below(400)), true);
        if writer.commit().is_err() {
            // The index did not know of the other's write: only the first try fails.
            model = before;
            writer.begin(1_000);
            toggle(writer, &mut model, part(dice.below(400)), true);
            writer.commit().expect("a commit");
        }
        if step % 3 > 0 {
            keys.begin(1_000);
            check(&mut keys, &model, &mut dice);
        }
    }
}

#[test]
fn they_stay_within_their_memory() {
    let (mut keys, _) = open(Sizes { bytes_max: 4 << 10, ..SMALL });
    let names: Vec<Vec<u8>> = (0..20).map(|n| format!("set{n}").into_bytes()).collect();
    for name in &names {
        keys.begin(1_000);
        let mut set = keys.new_collection(0, name, Kind::Set);
        for n in 100..200 {
            keys.put_entry(Table::Elements, &set.element(&part(n)), Vec::new(), false);
        }
        set.head.count = 100;
        keys.save(&set).expect("a head");
        keys.commit().expect("a commit");
        keys.begin(1_000);
        let set = keys.collection(0, name, Kind::Set).expect("a lookup").expect("a set");
        assert_eq!(keys.rank_of(&set, Table::Elements, &part(150)).expect("a rank"), 50);
        let ranks = keys.ranks_and_txn().0;
        assert!(ranks.bytes <= 4 << 10 && !ranks.by_key.is_empty(), "{}", ranks.bytes);
    }
}
