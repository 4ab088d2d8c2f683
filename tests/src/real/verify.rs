//! What must hold of the files that a killed process left: opens them and compares what is there with the model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nokv::{CfId, Db, IterOptions, StdFs, Version, WriteBatch, WriteOptions};

use super::child::is_full;
use super::dice::{Dice, mix};
use super::model::{Model, Resolved};
use super::options::{file_system, options};
use super::script::{EXTRA, FAMILIES, Key, MARKER, Step, ValueId, marker, private};

/// What is wrong.
pub type Verdict<T> = Result<T, String>;

fn context<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Verdict<T> {
    result.map_err(|e| format!("{what}: {e}"))
}

type Content = BTreeMap<Key, Vec<u8>>;

/// What scans show, and point reads with them.
fn content_of(db: &Db, dice: &mut Dice) -> Verdict<Content> {
    let mut content = Content::new();
    for (_, cf) in db.cfs() {
        let mut count = 0;
        for item in context("scan", db.iter(IterOptions { cf, ..IterOptions::default() }))? {
            let (key, value) = context("scan", item)?;
            let name =
                String::from_utf8(key.to_vec()).map_err(|_| format!("a key that is not ours: {key:?}"))?;
            if dice.one_in(3) {
                let hit = context("get", db.get_cf(cf, &key))?;
                if hit.is_none_or(|hit| *hit != *value) {
                    return Err(format!("get and scan differ on {name} of family {}", cf.0));
                }
            }
            content.insert((cf.0, name), value.to_vec());
            count += 1;
        }
        if dice.one_in(8) {
            let reverse = IterOptions { cf, reverse: true, ..IterOptions::default() };
            let keys = context("reverse scan", db.iter(reverse))?.count();
            if keys != count {
                return Err(format!("family {}: {count} keys forward, {keys} backward", cf.0));
            }
        }
    }
    Ok(content)
}

/// Compares the keys that `wanted` picks.
fn compare<'a>(
    found: &Content,
    expected: impl Iterator<Item = (&'a Key, ValueId)>,
    seed: u64,
    wanted: impl Fn(&str) -> bool,
) -> Verdict<()> {
    let mut left: BTreeMap<&Key, &Vec<u8>> = found.iter().filter(|((_, key), _)| wanted(key)).collect();
    for (key, id) in expected.filter(|((_, key), _)| wanted(key)) {
        match left.remove(key) {
            None => return Err(format!("lost: {} of family {}, which is {id:?}", key.1, key.0)),
            Some(value) if *value != id.bytes(seed) => {
                return Err(format!("wrong value: {} of family {}, which is {id:?}", key.1, key.0));
            }
            Some(_) => {}
        }
    }
    match left.pop_first() {
        None => Ok(()),
        Some(((cf, key), value)) => {
            Err(format!("should not be there: {key} of family {cf}, a value of {} bytes", value.len()))
        }
    }
}

/// A question: these files, this model.
#[derive(Debug)]
pub struct Question<'a> {
    /// The database.
    pub dir: &'a Path,
    /// What it must answer.
    pub model: &'a Model,
    /// Options and choices are drawn from this.
    pub n: u64,
}

impl Question<'_> {
    const fn seed(&self) -> u64 {
        self.model.shape.seed
    }

    fn open(&self, n: u64) -> nokv::Result<(StdFs, Db)> {
        let fs = file_system(self.seed(), n);
        let mut options = options(self.dir, self.seed(), n);
        // What was there must not be made anew.
        options.create_if_missing = !self.model.created;
        Ok((fs, Db::open_on(fs, options)?))
    }

    /// Opens, compares, checks, goes on, closes; gives what was there of pending steps.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn verify(&self) -> Verdict<Resolved> {
        let mut dice = Dice::new(mix(self.seed(), self.n));
        let (fs, db) = context("open", self.open(self.n * 2 + 1))?;
        let found = content_of(&db, &mut dice)?;
        let resolved = self.judge(&db, &found)?;
        let report = context("check", db.check_all())?;
        if let Some(problem) = report.problems.first() {
            return Err(format!("check: {problem}"));
        }
        self.go_on(&db, &mut dice)?;
        context("close", db.close())?;
        // An open that cut something removes nothing: then the next one sweeps.
        let has_cut = db.open_report().cut.is_some() || db.open_report().manifest_torn_at.is_some();
        if !has_cut {
            self.strangers(&fs, &db)?;
        }
        drop(db);
        if has_cut || dice.one_in(4) {
            let (fs, db) = context("open after a clean close", self.open(self.n * 2 + 3))?;
            if !db.open_report().clean {
                return Err("a clean close is not seen as one".to_owned());
            }
            let again = content_of(&db, &mut dice)?;
            if again != found {
                return Err("another open shows something else".to_owned());
            }
            context("close", db.close())?;
            self.strangers(&fs, &db)?;
        }
        Ok(resolved)
    }

    /// Opens while the disk is full: that works, or it is told that the disk is full and changes nothing.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn verify_on_full_disk(&self) -> Verdict<()> {
        let mut dice = Dice::new(mix(self.seed(), self.n));
        match self.open(self.n * 2 + 1) {
            Ok((_, db)) => self.judge(&db, &content_of(&db, &mut dice)?).map(drop),
            Err(error) if is_full(&error) => Ok(()),
            Err(error) => Err(format!("open on a full disk: {error}")),
        }
    }

    fn strangers(&self, fs: &StdFs, db: &Db) -> Verdict<()> {
        context("files", crate::crash::verify::strangers(fs, &self.dir.to_string_lossy(), db.engine()))
    }

    fn judge(&self, db: &Db, found: &Content) -> Verdict<Resolved> {
        let model = self.model;
        if model.created && db.cf(EXTRA).is_none() {
            return Err(format!("the family {EXTRA} is gone"));
        }
        if db.cfs().iter().any(|(_, cf)| cf.0 >= FAMILIES) {
            return Err(format!("families that nobody made: {:?}", db.cfs()));
        }
        let mut resolved = Resolved { pending: vec![None; model.threads.len()], unlogged: 0 };
        let mut whole = model.clone();
        for (thread, reach) in (0..).zip(&model.threads) {
            if reach.pending == reach.acked {
                continue;
            }
            if matches!(model.shape.step(thread, reach.pending), Step::Batch(..)) {
                let id = ValueId { thread, step: reach.pending, index: MARKER, len: 8 };
                let (cf, key) = marker(thread);
                let entry = context("get", db.get_versioned_entry(CfId(cf), key.as_bytes(), Version::MAX))?;
                if let Some(entry) = entry.filter(|entry| *entry.value == id.bytes(self.seed())) {
                    whole.apply(thread, reach.pending, entry.seq.0);
                    resolved.pending[thread as usize] = Some(entry.seq.0);
                }
            } else {
                resolved.pending[thread as usize] = self.judge_single(found, thread)?;
            }
        }
        let is_private = |key: &str| key.starts_with(|c: char| c.is_ascii_uppercase());
        let is_unlogged = |key: &str| key.starts_with('u') || key == marker(model.shape.threads).1;
        compare(found, whole.content(), self.seed(), |key| !is_private(key) && !is_unlogged(key))?;
        for (thread, reach) in (0..).zip(&model.threads) {
            if reach.pending == reach.acked || resolved.pending[thread as usize] != Some(0) {
                let own = model.private(thread, false);
                let own = own.iter().map(|(key, id)| (key, *id));
                compare(found, own, self.seed(), |key| key.starts_with(private(thread)))
                    .map_err(|e| format!("thread {thread}: {e}"))?;
            }
        }
        resolved.unlogged = self.judge_unlogged(found)?;
        Ok(resolved)
    }

    /// The private keys of a thread with a pending call on one of them: before it or after it. `Some` for after.
    fn judge_single(&self, found: &Content, thread: u64) -> Verdict<Option<u64>> {
        let mut errors = Vec::new();
        for after in [true, false] {
            let own = self.model.private(thread, after);
            let own = own.iter().map(|(key, id)| (key, *id));
            match compare(found, own, self.seed(), |key| key.starts_with(private(thread))) {
                Ok(()) => return Ok(after.then_some(0)),
                Err(error) => errors.push(error),
            }
        }
        Err(format!("thread {thread}: with its pending step {}; without it {}", errors[0], errors[1]))
    }

    fn judge_unlogged(&self, found: &Content) -> Verdict<u64> {
        let model = self.model;
        let place = marker(model.shape.threads);
        let m =
            found.get(&place).and_then(|bytes| Some(u64::from_le_bytes(bytes.as_slice().try_into().ok()?)));
        let m = m.unwrap_or(0);
        let (low, high) = model.unlogged;
        if m < low || m > high {
            return Err(format!("unlogged steps up to {m} are there, not {low} to {high}"));
        }
        let own = model.unlogged_content(m);
        compare(found, own.iter().map(|(key, id)| (key, *id)), self.seed(), |key| key.starts_with('u'))
            .map_err(|e| format!("unlogged steps up to {m}: {e}"))?;
        Ok(m)
    }

    /// It takes writes. They leave nothing behind.
    fn go_on(&self, db: &Db, dice: &mut Dice) -> Verdict<()> {
        let cf = CfId(dice.below(3) as u32);
        let key = format!("~{}", self.n);
        let value = vec![7; dice.below(6000) as usize];
        let mut batch = WriteBatch::new();
        context("write", batch.put(cf, key.as_bytes(), &value))?;
        let options = WriteOptions { sync: Some(dice.one_in(2)), ..WriteOptions::default() };
        context("write", db.write(batch, &options))?;
        let read = context("get", db.get_cf(cf, key.as_bytes()))?;
        if read.as_deref() != Some(&value[..]) {
            return Err("what was just written is not there".to_owned());
        }
        context("delete", db.del_cf(cf, key.as_bytes()))
    }
}

/// Where a failing image is kept, and what is said of it.
///
/// # Panics
/// When it cannot be written.
pub fn keep(image: &super::image::Image, model: &Model, n: u64, error: &str) -> (PathBuf, String) {
    let dir = tempfile::Builder::new()
        .prefix("nokv-real-failure-")
        .tempdir()
        .expect("a temporary directory")
        .keep();
    image.put(&dir.join("db")).expect("the failing image can be written");
    std::fs::write(dir.join("expected"), format!("{n}\n{}", model.to_text()))
        .expect("the model can be written");
    std::fs::write(dir.join("error"), error).expect("the error can be written");
    let show = dir.display();
    let text = format!(
        "{error}\n    The moment of a kill does not come again, so the files are kept: {show}/db, expected content in \
         {show}/expected.\n    To check them again, on a copy: cargo run --release -p nokv-tests --bin net -- --child \
         verify {show}"
    );
    (dir, text)
}

/// Verifies a copy of what [`keep`] kept.
///
/// # Errors
/// The rule that does not hold.
///
/// # Panics
/// When there is no such directory.
pub fn verify_kept(dir: &Path) -> Verdict<Resolved> {
    let text = std::fs::read_to_string(dir.join("expected")).expect("a directory that a failure left");
    let (n, model) = text.split_once('\n').expect("two parts");
    let place = super::image::place("nokv-real-again-");
    let db = place.path().join("db");
    super::image::Image::take(&dir.join("db")).and_then(|image| image.put(&db)).expect("a copy");
    let model = Model::from_text(model);
    Question { dir: &db, model: &model, n: n.parse().expect("a number") }.verify()
}
