//! The picker by text scripts, and by a simulation with real keys that checks every key after each step.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nokv_formats::{KeyBuf, Seq, TableId, TableMeta, TableProps};

use super::*;
use crate::level::testtree::{Tree, key, tree};
use crate::level::{self, Install};
use crate::limits::LEVELS;
use crate::sync::Arc;

const CALM: Pressure = Pressure {
    now_ms: 1000,
    oldest_snapshot: Seq::MAX,
    writers_wait: false,
    heat: LevelHeat { level: [0; LEVELS], ingest: [0; LEVELS] },
};

fn small() -> PickOptions {
    PickOptions {
        l0_tables: 2,
        base_bytes: 1000,
        multiplier: 10,
        ingest_tables: 2,
        input_bytes: 10_000,
        ..PickOptions::default()
    }
}

fn place(place: Place) -> String {
    format!("L{}{}", place.level, if place.ingest { " ingest" } else { "" })
}

fn show(choice: &Choice) -> String {
    match choice {
        Choice::Idle => String::from("idle"),
        Choice::Move { tables, from, to } => {
            let ids: Vec<_> = tables.iter().map(|id| format!("{id}")).collect();
            format!("move {} {} -> {}", ids.join(" "), place(*from), place(*to))
        }
        Choice::Merge { inputs, to, reason } => {
            let ids: Vec<_> = inputs.iter().map(|input| format!("{}", input.id)).collect();
            format!("merge {} -> {} ({reason:?})", ids.join(" "), place(*to))
        }
    }
}

/// Runs the commands of a script against its tree and compares each answer. A case is `define`, a tree, `----`, and
/// commands: `pick`, `wait` (pick while writers wait), `hot KEY ...` (these are read most), `at MS`, `snapshot SEQ`, `range A B`, `run` (picks and keeps running),
/// each followed by the expected answer.
fn script(text: &str) {
    let mut wrong = String::new();
    for case in text.split("define").skip(1) {
        let (tree_text, commands) = case.split_once("----").unwrap();
        let version = tree(tree_text);
        let mut busy = BusySet::new();
        let mut pressure = CALM;
        let mut lines = commands.lines().map(str::trim).filter(|line| !line.is_empty());
        while let Some(command) = lines.next() {
            let words: Vec<_> = command.split_whitespace().collect();
            let choice = match words.as_slice() {
                ["at", ms] => {
                    pressure.now_ms = ms.parse().unwrap();
                    continue;
                }
                ["hot", keys @ ..] => {
                    let keys: Vec<_> = keys.iter().map(|k| key(k)).collect();
                    pressure.heat = LevelHeat::of(&version, &keys);
                    continue;
                }
                ["snapshot", seq] => {
                    pressure.oldest_snapshot = Seq(seq.parse().unwrap());
                    continue;
                }
                ["pick"] => pick(&version, &busy, &pressure, &small()),
                ["wait"] => pick(&version, &busy, &Pressure { writers_wait: true, ..pressure }, &small()),
                ["range", from, to] => {
                    let (from, to) = (key(from), key(to));
                    pick_range(&version, &busy, &(from.as_ref()..=to.as_ref()), Seq::MAX, &small())
                }
                ["run"] => {
                    let choice = pick(&version, &busy, &pressure, &small());
                    assert!(busy.claim(&version, &choice).is_some(), "{command}: {}", show(&choice));
                    choice
                }
                _ => panic!("{command}"),
            };
            let (found, expected) = (show(&choice), lines.next().unwrap_or_default());
            if found != expected {
                wrong.push_str(&format!("{tree_text}----\n{command}\n{found}\nnot: {expected}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn scripts() {
    script(include_str!("tests.txt"));
}

#[test]
fn targets_fall_by_the_multiplier_up_to_the_base_level() {
    let opts = small();
    let of = |text: &str| scores(&tree(text), &BusySet::new(), &opts);
    let empty = of("");
    assert_eq!((empty.base_level, empty.debt_bytes), (6, 0));
    assert_eq!(of("L6: 1:a..b#1000").base_level, 6);
    let grown = of("L6: 1:a..b#20000");
    assert_eq!((grown.base_level, grown.target_bytes[4], grown.target_bytes[5]), (4, 200, 2000));
    let full = of("L5: 2:a..b#3000 3:c..d#1000\n L6: 1:a..b#20000");
    assert_eq!((full.base_level, full.level[5], full.debt_bytes), (4, 2000, 2000 + 10_000));
    let zero = of("L0: 1:a..b@1#400 2:a..b@2#100 3:a..b@3");
    assert_eq!((zero.level[0], zero.debt_bytes), (1500, 600));
}

fn pick_with(text: &str, opts: &PickOptions) -> String {
    show(&pick(&tree(text), &BusySet::new(), &Pressure { writers_wait: true, ..CALM }, opts))
}

#[test]
fn so_many_tables_of_level_0_move_into_an_ingest_set_in_one_step() {
    let text = "L0: 5:a..z@50 4:a..z@40 3:a..z@30 2:a..z@20 1:a..z@10\n L6: 8:a..n";
    for (batch, expected) in [(0, "1"), (1, "1"), (2, "1 2"), (4, "1 2 3 4"), (9, "1 2 3 4 5")] {
        let opts = PickOptions { ingest_batch: batch, ..small() };
        assert_eq!(pick_with(text, &opts), format!("move {expected} L0 -> L6 ingest"), "{batch}");
    }
    // A busy table in between ends the run: what is newer than it stays above it.
    let version = tree(text);
    let mut busy = BusySet::new();
    let held = Choice::Move {
        tables: Vec::from([TableId(3)]),
        from: Place { level: 0, ingest: false },
        to: Place { level: 6, ingest: true },
    };
    assert!(busy.claim(&version, &held).is_some());
    let pressure = Pressure { writers_wait: true, ..CALM };
    assert_eq!(show(&pick(&version, &busy, &pressure, &small())), "move 1 2 L0 -> L6 ingest");
}

#[test]
fn an_ingest_set_that_cannot_drain_is_merged_from_the_given_score_on() {
    // Table 9 of the level is busy, so nothing of the set can drain.
    let version = tree("L6 ingest: 4:a..z@40 3:a..z@30 2:a..z@20 1:a..z@10\n L6: 9:a..z@1");
    for (score, expected) in [(2000, "merge 4 3 2 1 -> L6 ingest (IngestMerge)"), (2001, "idle")] {
        let mut busy = BusySet::new();
        let held = Choice::Merge {
            inputs: Vec::from([Input { level: 6, ingest: false, id: TableId(9) }]),
            to: Place { level: 6, ingest: false },
            reason: Reason::Manual,
        };
        assert!(busy.claim(&version, &held).is_some());
        let opts = PickOptions { ingest_merge_score: score, ..small() };
        assert_eq!(show(&pick(&version, &busy, &CALM, &opts)), expected);
    }
}

#[test]
fn so_many_shards_of_an_ingest_set_are_compacted_at_once() {
    // Three shards that have no key in common; each drains by itself.
    let version = tree(
        "L6 ingest: 6:u..v@60 5:u..v@50 4:m..n@40 3:m..n@30 2:a..b@20 1:a..b@10\n L6: 7:a..b@1 8:m..n@2 9:u..v@3",
    );
    for (parallel, expected) in [(0, 1), (1, 1), (2, 2), (3, 3)] {
        let opts = PickOptions { ingest_parallel: parallel, ingest_tables: 1, ..small() };
        let mut busy = BusySet::new();
        let mut running = 0;
        loop {
            let choice = pick(&version, &busy, &CALM, &opts);
            if busy.claim(&version, &choice).is_none() {
                break;
            }
            running += 1;
        }
        assert_eq!(running, expected, "{parallel}");
    }
}

#[test]
fn values_that_a_level_names_raise_its_score_by_weight_density_and_share() {
    assert_eq!(value_score(100, 0, 1000, 500), 500, "a tenth of all values at full density: the weight");
    assert_eq!(value_score(100, 100, 1000, 500), 250, "half the density, half of it");
    assert_eq!(value_score(1000, 0, 1000, 500), 1000, "two tenths count at most");
    assert_eq!((value_score(100, 0, 1000, 0), value_score(0, 0, 0, 500)), (0, 0));
    assert_eq!((density_of(0, 0), density_of(3, 1)), (0, 750));
    assert_eq!((suggested_weight(600, 600), suggested_weight(999, 0)), (0, 0));
    assert_eq!(suggested_weight(800, 600), 625);
    let text = "L0: 2:a..z@20#10,val=400\n L6: 1:a..z@10#100,val=1000";
    let of = |weight| {
        let opts = PickOptions { value_weight: weight, l0_tables: 4, ..small() };
        let scores = scores(&tree(text), &BusySet::new(), &opts);
        assert_eq!((scores.level[6], scores.value_bytes[0]), (0, 400));
        (scores.level[0], show(&pick(&tree(text), &BusySet::new(), &CALM, &opts)))
    };
    assert_eq!(of(0), (250, String::from("idle")));
    // 250 for one table of four, and 500 x 975 ‰ density x 2 tenths.
    assert_eq!(of(500), (1225, String::from("merge 2 1 -> L6 (LevelZero)")));
    // An ingest set hides as much.
    let text = "L6: 1:a..z@10#100,val=1000\n L6 ingest: 2:a..z@20#10,val=400";
    let opts = PickOptions { ingest_tables: 4, ..small() };
    assert_eq!(show(&pick(&tree(text), &BusySet::new(), &CALM, &opts)), "merge 2 1 -> L6 (IngestFull)");
}

#[test]
fn a_range_compaction_leaves_what_was_written_later() {
    let version = tree("L0: 3:a..z@30 2:a..z@20\n L6: 1:a..z@10");
    let (from, to) = (key("a"), key("z"));
    let choose = |version: &Tree, up_to| {
        let range = from.as_ref()..=to.as_ref();
        show(&pick_range(version, &BusySet::new(), &range, Seq(up_to), &small()))
    };
    assert_eq!(choose(&version, 20), "merge 3 2 1 -> L6 (Manual)", "the newer one comes along");
    assert_eq!(choose(&tree("L0: 3:a..z@30\n L6: 1:a..z@10-20"), 20), "idle");
    assert_eq!(choose(&tree("L0: 3:a..z@30\n L6: 1:a..z@10-20"), 30), "merge 3 1 -> L6 (Manual)");
}

/// Entries of one table of the simulation: key to (seq, is it a delete, expiry or 0).
type Content = BTreeMap<u32, (u64, bool, u64)>;

struct Simulation {
    version: Tree,
    content: BTreeMap<TableId, Content>,
    busy: BusySet,
    running: Vec<(Ticket, Choice, Vec<Content>)>,
    model: Content,
    next_id: u64,
    next_seq: u64,
    now_ms: u64,
    random: u64,
    opts: PickOptions,
}

impl Simulation {
    fn draw(&mut self, below: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    fn pressure(&self) -> Pressure {
        Pressure {
            now_ms: self.now_ms,
            oldest_snapshot: Seq::MAX,
            writers_wait: self.next_seq.is_multiple_of(2),
            // Some of the keys are hot.
            heat: LevelHeat::of(
                &self.version,
                &[7u32, 40, 41].map(|k| KeyBuf { user_key: k.to_be_bytes().into(), ..KeyBuf::default() }),
            ),
        }
    }

    fn table(&mut self, content: Content) -> Arc<TableMeta> {
        let id = TableId(self.next_id);
        self.next_id += 1;
        let key = |n: &u32| KeyBuf { cf: Default::default(), user_key: n.to_be_bytes().to_vec() };
        let seqs = || content.values().map(|e| Seq(e.0));
        let deletes = content.values().filter(|e| e.1).count() as u64;
        let expiries = || content.values().map(|e| e.2).filter(|at| *at != 0);
        let props = TableProps {
            smallest: key(content.keys().next().unwrap()),
            largest: key(content.keys().next_back().unwrap()),
            puts: content.len() as u64 - deletes,
            deletes,
            seq_min: seqs().min().unwrap(),
            seq_max: seqs().max().unwrap(),
            expiry_min: expiries().min().unwrap_or(0),
            expiry_max: expiries().max().unwrap_or(0),
            ..TableProps::default()
        };
        let file_bytes = content.len() as u64 * 10;
        self.content.insert(id, content);
        Arc::new(TableMeta { id, file_bytes, checksum: 0, global_seq: None, props })
    }

    fn flush(&mut self) {
        let (from, span) = (self.draw(400) as u32, self.draw(300) as u32 + 1);
        let mut content = Content::new();
        for _ in 0..=self.draw(20) {
            let key = from + self.draw(u64::from(span)) as u32;
            let delete = self.draw(4) == 0;
            let expiry = if !delete && self.draw(6) == 0 { self.now_ms + self.draw(50) + 1 } else { 0 };
            content.insert(key, (self.next_seq, delete, expiry));
            self.next_seq += 1;
        }
        self.model.extend(content.clone());
        let meta = self.table(content);
        self.install(&[], Vec::from([(0, false, meta)]));
    }

    fn install(&mut self, removed: &[TableId], added: Vec<(u8, bool, Arc<TableMeta>)>) {
        let new = self.version.apply(removed, added);
        assert_eq!(level::check(&self.version, &new, &Install::default()), Ok(()));
        self.version = new;
        self.check_keys();
    }

    /// The source invariant for every key, and that a read finds what the model says.
    fn check_keys(&self) {
        let mut best: BTreeMap<u32, (u64, bool, u64)> = BTreeMap::new();
        let mut floor: BTreeMap<u32, u64> = BTreeMap::new();
        for level in self.version.levels() {
            for (n, set) in [&level.ingest, &level.tables].into_iter().enumerate() {
                let mut lowest: BTreeMap<u32, u64> = BTreeMap::new();
                for table in set {
                    for (key, entry) in &self.content[&table.id] {
                        let above = floor.get(key).copied().unwrap_or(u64::MAX);
                        assert!(entry.0 < above, "key {key}: seq {} below {above}", entry.0);
                        let newest = best.entry(*key).or_insert(*entry);
                        // Only within an ingest set may the order of tables say nothing.
                        assert!(newest.0 >= entry.0 || n == 0, "key {key}");
                        *newest = (*newest).max(*entry);
                        let low = lowest.entry(*key).or_insert(entry.0);
                        *low = (*low).min(entry.0);
                    }
                }
                floor.extend(lowest);
            }
        }
        for (key, entry) in &self.model {
            let gone = entry.1 || (entry.2 != 0 && entry.2 <= self.now_ms);
            match best.get(key) {
                Some(found) => assert!(found == entry || (gone && found.1), "key {key}: {found:?} {entry:?}"),
                None => assert!(gone, "key {key} is lost"),
            }
        }
    }

    /// Chooses, claims, and works out the outputs, which are installed later.
    fn start(&mut self) -> bool {
        let choice = pick(&self.version, &self.busy, &self.pressure(), &self.opts);
        self.start_with(choice)
    }

    fn start_with(&mut self, choice: Choice) -> bool {
        let Some(ticket) = self.busy.claim(&self.version, &choice) else { return false };
        let mut outputs = Vec::new();
        if let Choice::Merge { inputs, to, .. } = &choice {
            let mut merged = Content::new();
            for input in inputs {
                for (key, entry) in &self.content[&input.id] {
                    let newest = merged.entry(*key).or_insert(*entry);
                    *newest = (*newest).max(*entry);
                }
            }
            // Deletes go where nothing below, or beside in the ingest set's level, can hold the key.
            let lowest = |key: &u32| {
                let bytes = key.to_be_bytes();
                let key = nokv_formats::KeyRef::new(Default::default(), &bytes);
                self.version.sources_for_key(key).all(|source| {
                    let at = Place { level: source.level, ingest: source.ingest };
                    let is_input = inputs.iter().any(|input| input.id == source.table.id);
                    is_input || at < *to
                })
            };
            merged.retain(|key, entry| {
                if entry.2 != 0 && entry.2 <= self.now_ms {
                    *entry = (entry.0, true, 0);
                }
                !entry.1 || !lowest(key)
            });
            let most = if to.ingest { usize::MAX } else { 12 };
            let mut rest: Vec<_> = merged.into_iter().collect();
            while !rest.is_empty() {
                let tail = rest.split_off(rest.len().min(most));
                outputs.push(rest.into_iter().collect());
                rest = tail;
            }
        }
        self.running.push((ticket, choice, outputs));
        true
    }

    fn finish(&mut self, at: usize) {
        let (ticket, choice, outputs) = self.running.swap_remove(at);
        match choice {
            Choice::Idle => {}
            Choice::Move { tables, to, .. } => {
                let moved = tables
                    .iter()
                    .map(|id| (to.level, to.ingest, self.version.find(*id).unwrap().table.clone()));
                let moved = moved.collect();
                self.install(&tables, moved);
            }
            Choice::Merge { inputs, to, .. } => {
                let removed: Vec<_> = inputs.iter().map(|input| input.id).collect();
                let added = outputs.into_iter().map(|c| (to.level, to.ingest, self.table(c))).collect();
                self.install(&removed, added);
                removed.iter().for_each(|id| drop(self.content.remove(id)));
            }
        }
        self.busy.release(ticket);
    }

    fn settle(&mut self) {
        let mut steps = 0;
        loop {
            while self.running.len() < 3 && self.start() {}
            if self.running.is_empty() {
                break;
            }
            let at = self.draw(self.running.len() as u64) as usize;
            self.finish(at);
            steps += 1;
            assert!(steps < 5000, "compaction comes to an end");
        }
        let scores = scores(&self.version, &self.busy, &self.opts);
        assert!(scores.level.iter().chain(&scores.ingest).all(|score| *score < 1000), "{scores:?}");
        assert_eq!(self.busy.running(), 0);
    }
}

#[test]
fn random_flushes_and_compactions_keep_every_key_in_order() {
    for seed in 1..=24 {
        let mut sim = Simulation {
            version: Tree::default(),
            content: BTreeMap::new(),
            busy: BusySet::new(),
            running: Vec::new(),
            model: Content::new(),
            next_id: 1,
            next_seq: 1,
            now_ms: 1,
            random: 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed),
            opts: PickOptions {
                l0_tables: 1 + seed as usize % 4,
                base_bytes: 100 + 100 * (seed % 5),
                multiplier: 2 + seed % 5,
                ingest_tables: 1 + seed as usize % 3,
                use_ingest: seed % 3 != 0,
                input_bytes: 200 + 300 * (seed % 4),
                dead_percent: 30,
                ingest_batch: 1 + seed as usize % 4,
                ingest_merge_score: 1000 + 500 * (seed % 3),
                ingest_parallel: 1 + seed as usize % 3,
                value_weight: 500,
            },
        };
        for _ in 0..250 {
            sim.now_ms += sim.draw(3);
            match sim.draw(4) {
                0 => sim.flush(),
                1 if !sim.running.is_empty() => {
                    let at = sim.draw(sim.running.len() as u64) as usize;
                    sim.finish(at);
                }
                _ if sim.running.len() < 4 => drop(sim.start()),
                _ => {}
            }
        }
        sim.settle();
        // What expired later comes back too, without a write.
        sim.now_ms += 1000;
        sim.settle();
        for source in sim.version.sources() {
            assert_eq!(source.table.props.expiry_min, 0, "seed {seed}");
        }
        // All of it down to one level.
        let all = KeyBuf::default()..=KeyBuf { user_key: Vec::from([0xff; 5]), ..KeyBuf::default() };
        for _ in 0..1000 {
            let range = all.start().as_ref()..=all.end().as_ref();
            let choice = pick_range(&sim.version, &sim.busy, &range, Seq::MAX, &sim.opts);
            if choice == Choice::Idle {
                break;
            }
            sim.start_with(choice);
            sim.finish(0);
        }
        let used = sim.version.levels().iter().filter(|level| level.file_bytes() > 0).count();
        assert!(used <= 1, "seed {seed}: {used} levels");
        assert!(sim.version.levels().iter().all(|level| level.ingest.is_empty()));
    }
}

#[test]
fn under_steady_overwriting_the_last_level_holds_nearly_all() {
    let mut sim = Simulation {
        version: Tree::default(),
        content: BTreeMap::new(),
        busy: BusySet::new(),
        running: Vec::new(),
        model: Content::new(),
        next_id: 1,
        next_seq: 1,
        now_ms: 1,
        random: 99,
        opts: PickOptions { base_bytes: 400, multiplier: 10, ..small() },
    };
    for _ in 0..300 {
        let mut content = Content::new();
        for _ in 0..20 {
            content.insert(sim.draw(3000) as u32, (sim.next_seq, false, 0));
            sim.next_seq += 1;
        }
        sim.model.extend(content.clone());
        let meta = sim.table(content);
        sim.install(&[], Vec::from([(0, false, meta)]));
        sim.settle();
    }
    let live = sim.model.len() as u64 * 10;
    assert!(live > 20_000);
    let used = sim.version.file_bytes();
    assert!(used < live + live / 5, "{used} bytes for {live}");
    let last = sim.version.levels()[LEVELS - 1].file_bytes();
    assert!(last * 100 > used * 80, "{last} of {used} in the last level");
}
