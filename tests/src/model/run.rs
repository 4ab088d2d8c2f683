//! One run: a database and the model side by side.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nokv::core::clock::ManualClock;
use nokv::core::formats::ValuePtr;
use nokv::core::formats::vlog::record_len;
use nokv::{CfId, Clock, Db, Kind, MemIndex, Options, Seq, Snapshot, Vfs};

use super::choices::{self, one_in};
use super::history::{History, Read};
use super::reads::Held;
use super::seen::Seen;
use crate::laws::index::Course;
use crate::net::{replay_test, say};

/// What differs between runs.
pub struct Setup<V, C> {
    /// A name for reports.
    pub name: &'static str,
    /// Where the database lives.
    pub fs: V,
    /// A directory that is there; databases are made below it.
    pub dir: String,
    /// The index for an option set.
    pub index: fn(&Options) -> C,
    /// The file system as the death of the process leaves it, where it can say.
    pub kill: Option<fn(&V) -> V>,
    /// Fixes the sequence of operations.
    pub seed: u64,
    /// Fixes the options of each open.
    pub option_set: u64,
    /// How many operations.
    pub ops: u64,
}

/// A snapshot and what the model needs to read there.
pub(super) struct Past<V: Vfs, I: MemIndex> {
    pub(super) snapshot: Snapshot<V, I>,
    pub(super) at: Read,
}

pub(super) struct Run<V: Vfs, I: MemIndex> {
    pub(super) setup: Setup<V, I::Config>,
    pub(super) dir: String,
    pub(super) clock: Arc<ManualClock>,
    pub(super) course: Course,
    /// For options alone: what is done does not depend on them.
    pub(super) options_course: Course,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) model: History,
    /// `None` only while it is reopened.
    pub(super) db: Option<Db<V, I>>,
    pub(super) pasts: Vec<Past<V, I>>,
    pub(super) held: Vec<Held<V, I>>,
    /// Families that were made, by name.
    pub(super) made: Vec<(String, CfId)>,
    /// Writes without a log record since the last flush.
    pub(super) unlogged: bool,
    pub(super) seen: Seen,
    pub(super) number: u64,
    pub(super) last: VecDeque<String>,
    pub(super) options_text: String,
}

/// Runs operations on a new database and on the model. Gives a number that all runs of the same operations share.
///
/// # Panics
/// When they differ; prints seed, operation number and the last operations.
pub fn run<V: Vfs, I: MemIndex>(setup: Setup<V, I::Config>) -> u64 {
    run_and_count::<V, I>(setup).0
}

/// The same, with what the run came to before its end, which does everything once more.
pub(super) fn run_and_count<V: Vfs, I: MemIndex>(mut setup: Setup<V, I::Config>) -> (u64, Seen) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    setup.seed = number("NOKV_MODEL_SEED").unwrap_or(setup.seed);
    setup.ops = number("NOKV_MODEL_OPS").unwrap_or(setup.ops);
    let mut run = Run::<V, I>::new(setup);
    while run.number < run.setup.ops {
        run.number += 1;
        run.step();
    }
    let mut seen = run.seen.clone();
    seen.add(run.db());
    run.finish();
    (run.course.next() ^ run.model.seq().0, seen)
}

impl<V: Vfs, I: MemIndex> Run<V, I> {
    fn new(setup: Setup<V, I::Config>) -> Self {
        let mut model = History::default();
        for cf in [CfId::DEFAULT, CfId::LOCK, CfId::WRITE] {
            model.create(cf);
        }
        let mut run = Self {
            dir: format!("{}/db", setup.dir),
            clock: Arc::new(ManualClock::new(1_000_000)),
            course: Course::new(setup.seed),
            options_course: Course::new(setup.option_set ^ 0x6f70_7469_6f6e),
            keys: choices::key_space(),
            model,
            db: None,
            pasts: Vec::new(),
            held: Vec::new(),
            made: Vec::new(),
            unlogged: false,
            seen: Seen::default(),
            number: 0,
            last: VecDeque::new(),
            options_text: String::new(),
            setup,
        };
        run.open();
        run
    }

    pub(super) fn db(&self) -> &Db<V, I> {
        self.db.as_ref().expect("it is open")
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// Where a read stands that starts now.
    pub(super) fn now(&self) -> Read {
        Read { seq: self.model.seq(), now_ms: self.now_ms() }
    }

    pub(super) fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        let text = format!("{}: {}", self.number, what(self));
        if self.last.len() == 60 {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        one_in(&mut self.course, n)
    }

    pub(super) fn key(&mut self) -> Vec<u8> {
        let at = choices::key_at(&mut self.course, &self.keys);
        self.keys[at].clone()
    }

    pub(super) fn family(&mut self) -> CfId {
        if self.one_in(2) {
            return CfId::DEFAULT;
        }
        let families = self.model.families();
        choices::pick(&mut self.course, &families)
    }

    /// The seq and time that everything still open reads at, or a later one.
    fn oldest(&self) -> Read {
        let mut oldest = self.now();
        for at in self.pasts.iter().map(|past| past.at) {
            oldest.seq = oldest.seq.min(at.seq);
            oldest.now_ms = oldest.now_ms.min(at.now_ms);
        }
        oldest
    }

    fn step(&mut self) {
        // A short run does at least as much to the database as a whole as a long one.
        let rare = self.is_short() && self.one_in(100);
        let roll = if rare { 99_800 + self.course.below(200) } else { self.course.below(100_000) };
        match roll {
            0..16_000 => self.set(),
            16_000..30_000 => self.set_versioned(),
            30_000..34_000 => self.set_expiring(),
            34_000..39_000 => self.delete(),
            39_000..43_000 => self.delete_versioned(),
            43_000..47_000 => self.purge(),
            47_000..52_000 => self.batch(),
            52_000..54_000 => self.batch_with_preconditions(),
            54_000..56_000 => self.transaction(),
            56_000..56_500 => self.delete_range(),
            56_500..72_000 => self.get(),
            72_000..84_000 => self.get_versioned(),
            84_000..86_000 => self.multi_get(),
            86_000..90_000 => self.get_at_snapshot(),
            90_000..91_000 => self.snapshot(),
            91_000..92_000 => self.drop_snapshot(),
            92_000..95_000 => self.walk(),
            95_000..95_200 => self.hold_iterator(),
            95_200..97_000 => self.step_held(),
            97_000..99_500 => self.advance(),
            99_500..99_800 => self.touched_since(),
            99_800..99_850 => self.flush(),
            99_850..99_862 => self.compact_range(),
            99_862..99_890 => self.collect(),
            99_890..99_915 => self.create_family(),
            99_915..99_935 => self.drop_family(),
            99_935..99_945 => self.reopen(),
            99_945..99_955 => self.kill(),
            99_955..99_960 => self.checkpoint(),
            99_960..99_965 => self.wait_idle(),
            99_965..99_975 => self.sync(),
            _ => self.compare_all(),
        }
        assert_eq!(self.db().published_seq(), self.model.seq(), "published seq");
        if self.number.is_multiple_of(4_000) {
            let oldest = self.oldest();
            self.model.prune(oldest);
        }
    }

    /// Short runs are compared with each other: what options may decide one way or the other is left out of them.
    pub(super) const fn is_short(&self) -> bool {
        self.setup.ops < 50_000
    }

    pub(super) fn look_at_levels(&mut self) {
        if let Some(db) = &self.db {
            self.seen.look(db);
        }
    }

    fn advance(&mut self) {
        let by = match self.course.below(10) {
            0 => self.course.below(3_000),
            _ => self.course.below(40),
        };
        self.clock.advance_ms(by);
        self.note(|run| format!("time is {}", run.now_ms()));
    }

    fn finish(&mut self) {
        self.note(|_| "end of the run".to_owned());
        self.compare_all();
        self.check();
        self.pasts.clear();
        self.held.clear();
        self.db().flush().expect("flush");
        self.db().wait_idle().expect("wait_idle");
        self.check();
        self.reopen();
        self.check();
        for cf in self.model.families() {
            self.db().compact_range(cf, None, None).expect("compact_range");
        }
        self.compare_all();
        self.check();
        self.check_live_bytes();
        let health = self.db().health();
        assert!(health.writable, "{health:?}");
        let db = self.db.take().expect("it is open");
        self.seen.add(&db);
        db.close().expect("close");
        if self.setup.ops >= 100_000 {
            say(&format!("{}, seed {}: {:?}", self.setup.name, self.setup.seed, self.seen));
            self.seen.check(self.setup.kill.is_some());
        }
    }

    /// Every checksum and invariant, and the order of all entries.
    fn check(&mut self) {
        let report = self.db().check_all().expect("check_all");
        assert!(report.is_clean(), "{report:#?}");
        let mut before: Option<(CfId, Vec<u8>, nokv::Version, Seq)> = None;
        for entry in self.db().internal_iter().expect("internal_iter") {
            let entry = entry.expect("an entry");
            let key = nokv::split_internal_key(&entry.key).expect("an internal key");
            if let Some((cf, user_key, version, seq)) = &before {
                let ordered =
                    (*cf, user_key.as_slice(), key.version, key.seq) < (key.cf, key.user_key, *version, *seq);
                assert!(ordered, "{before:?} before {key:?}");
            }
            before = Some((key.cf, key.user_key.to_vec(), key.version, key.seq));
        }
    }

    /// The live bytes of each value-log segment are those that entries name.
    fn check_live_bytes(&mut self) {
        if !self.db().options().value_log_gc_interval.is_zero() {
            // A collection may move values at any moment.
            return;
        }
        self.db().flush().expect("flush");
        self.db().wait_idle().expect("wait_idle");
        let mut want = BTreeMap::new();
        for entry in self.db().internal_iter().expect("internal_iter").flatten() {
            if entry.kind == Kind::Pointer {
                let ptr = ValuePtr::decode(&entry.value).expect("a pointer");
                let key = nokv::split_internal_key(&entry.key).expect("an internal key");
                *want.entry((ptr.bucket, ptr.segment)).or_default() +=
                    record_len(key.user_key.len(), ptr.value_len);
            }
        }
        let mut live = self.db().engine().value_log_live();
        live.retain(|_, bytes| *bytes > 0);
        assert_eq!(live, want, "live bytes of value-log segments");
    }

    /// A report of all that is known of a key, for a failed comparison.
    pub(super) fn story(&self, cf: CfId, key: &[u8]) -> String {
        let mut text = format!("family {cf} key \"{}\"\nmodel:\n", key[..key.len().min(40)].escape_ascii());
        text += &self.model.describe(cf, key);
        text += "database:\n";
        if let Ok(entries) = self.db().internal_iter() {
            for entry in entries.flatten() {
                if let Some(at) =
                    nokv::split_internal_key(&entry.key).filter(|k| k.cf == cf && k.user_key == key)
                {
                    text += &format!(
                        "  {:?} seq {} version {} expires {}\n",
                        entry.kind, at.seq, at.version, entry.expires_at
                    );
                }
            }
        }
        let pasts: Vec<_> = self.pasts.iter().map(|past| past.at).collect();
        text + &format!("snapshots {pasts:?}\nnow {:?}\n", self.now())
    }
}

impl<V: Vfs, I: MemIndex> Drop for Run<V, I> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Setup { name, seed, .. } = &self.setup;
            say(&format!("model run {name}, seed {seed}, operation {}; the last ones:", self.number));
            self.last.iter().for_each(|op| say(&format!("  {op}")));
            say(&self.options_text);
            // A case of a layer is told by the layer.
            if let Some(command) = replay_test() {
                say(&format!("    {command}"));
            }
        }
    }
}
