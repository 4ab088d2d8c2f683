//! Repair: damage of each kind of file is refused by open, which changes nothing; the plan says what is lost; after it
//! was applied the database opens, checks clean, and answers a subset of what it did: all that was not damaged.
#![allow(missing_docs)]

use nokv::{Db, Error, Options, repair};
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_tests::small_db::{Content, files, fill, options, read, read_only};
use nokv_vfs_mem::MemFs;

const DIR: &str = "db";

fn open(fs: &MemFs, options: Options) -> nokv::Result<Db<MemFs>> {
    Db::open_on(fs.clone(), options)
}

/// A database that was closed cleanly, or killed with writes in its log.
fn build(clean: bool) -> (MemFs, Content) {
    let fs = MemFs::new();
    let db = open(&fs, options(DIR)).unwrap();
    let content = fill(&db, !clean).unwrap();
    if clean {
        db.close().unwrap();
        return (fs, content);
    }
    db.sync().unwrap();
    let killed = fs.kill_clone();
    killed.sync_all();
    (killed, content)
}

fn named(fs: &MemFs, part: &str) -> Vec<String> {
    files(fs, DIR).into_iter().filter(|path| path.contains(part)).collect()
}

fn flip(fs: &MemFs, path: &str, at: u64) {
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 0x10], at).unwrap();
    file.sync().unwrap();
}

fn cut(fs: &MemFs, path: &str, len: u64) {
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    file.set_len(len).unwrap();
    file.sync().unwrap();
}

fn image(fs: &MemFs) -> Vec<(String, Vec<u8>)> {
    files(fs, DIR)
        .into_iter()
        .filter(|path| !path.ends_with("LOCK"))
        .map(|path| (path.clone(), fs.contents(&path).unwrap()))
        .collect()
}

fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Io { .. } | Error::Unsupported { .. })
}

struct Outcome {
    steps: String,
    before: Content,
    after: Content,
    fs: MemFs,
}

impl Outcome {
    /// Keys that are not there any more.
    fn lost(&self) -> usize {
        let plain = self.before.plain.keys().filter(|key| !self.after.plain.contains_key(*key)).count();
        let versioned = self.before.versioned.keys();
        plain + versioned.filter(|key| !self.after.versioned.contains_key(*key)).count()
    }
}

/// Runs the whole story: refused, planned, applied, right.
fn story((fs, before): (MemFs, Content), damage: impl Fn(&MemFs)) -> Outcome {
    damage(&fs);
    let damaged = image(&fs);
    // Open refuses, or at least the check finds it; either way nothing changes.
    match open(&fs, read_only(DIR)) {
        Err(error) => assert!(is_damage(&error), "{error}"),
        Ok(db) => assert!(!db.check_all().unwrap().is_clean() || read(&db).is_err()),
    }
    let fork = fs.kill_clone();
    match open(&fork, options(DIR)) {
        Err(error) => {
            assert!(is_damage(&error), "{error}");
            assert!(image(&fork) == damaged, "a refused open changed something");
        }
        Ok(db) => drop(db),
    }
    let calls = fs.calls();
    let plan = nokv_core::engine::plan_repair(&fs, DIR).unwrap();
    assert_eq!(fs.calls(), calls, "planning wrote something");
    let steps: Vec<String> =
        plan.steps.iter().map(|s| format!("{}: {}. Lost: {}", s.file, s.what, s.lost)).collect();
    let steps = steps.join("\n");
    assert!(!plan.is_empty());
    repair::apply(&fs, DIR, &plan).unwrap_or_else(|error| panic!("{error}\n{steps}"));
    assert!(repair::plan(&fs, DIR).unwrap().is_empty(), "{steps}\n{:?}", repair::plan(&fs, DIR));
    // Nothing is gone but what was zero.
    for (path, bytes) in &damaged {
        let kept =
            files(&fs, DIR).iter().any(|p| p.starts_with(path.as_str()) && fs.contents(p).unwrap() == *bytes);
        let replaced = path.contains("MANIFEST") || path.contains("CURRENT");
        assert!(kept || replaced, "{path} is gone\n{steps}");
    }
    let db = open(&fs, options(DIR)).unwrap_or_else(|error| panic!("{error}\n{steps}"));
    let report = db.check_all().unwrap();
    assert!(report.is_clean(), "{:?}\n{steps}", report.problems);
    let after = read(&db).unwrap();
    // Goes on like any other, over a reopen.
    db.set(b"written after", b"the repair").unwrap();
    db.close().unwrap();
    let db = open(&fs, options(DIR)).unwrap();
    assert_eq!(db.get(b"written after").unwrap().as_deref(), Some(&b"the repair"[..]));
    assert!(db.check_all().unwrap().is_clean());
    db.close().unwrap();
    Outcome { steps, before, after, fs }
}

/// All that is there was there before, with the same value.
fn assert_subset(outcome: &Outcome) {
    for (key, value) in &outcome.after.plain {
        assert_eq!(outcome.before.plain.get(key), Some(value), "{key:?}\n{}", outcome.steps);
    }
    for (key, value) in &outcome.after.versioned {
        assert_eq!(outcome.before.versioned.get(key), Some(value), "{key:?}\n{}", outcome.steps);
    }
}

fn assert_nothing_lost(outcome: &Outcome) {
    assert!(outcome.after == outcome.before, "{}", outcome.steps);
}

#[test]
fn a_healthy_database_needs_no_repair() {
    for clean in [true, false] {
        let (fs, content) = build(clean);
        assert!(repair::plan(&fs, DIR).unwrap().is_empty());
        let db = open(&fs, options(DIR)).unwrap();
        assert_eq!(read(&db).unwrap(), content);
        assert!(matches!(repair::plan(&fs, DIR), Err(Error::Locked { .. })));
    }
    assert!(repair::plan(&MemFs::new(), DIR).is_err());
}

#[test]
fn current_missing_empty_or_damaged_loses_nothing() {
    for clean in [true, false] {
        let outcome = story(build(clean), |fs| fs.unlink("db/CURRENT").unwrap());
        assert_nothing_lost(&outcome);
        assert_nothing_lost(&story(build(clean), |fs| cut(fs, "db/CURRENT", 0)));
        let outcome = story(build(clean), |fs| flip(fs, "db/CURRENT", 20));
        assert_nothing_lost(&outcome);
        assert!(outcome.fs.size("db/CURRENT.damaged").is_ok());
    }
}

#[test]
fn a_manifest_that_lost_its_end_takes_in_what_it_does_not_name() {
    for clean in [true, false] {
        let (fs, _) = build(clean);
        let path = named(&fs, "MANIFEST").pop().unwrap();
        let size = fs.size(&path).unwrap();
        // After a kill, damage to the last edits is a torn end like any other: open gets by without them.
        let places = [40, 100, size / 4, size / 2, size * 3 / 4, size - 1];
        for at in places.into_iter().take(if clean { 6 } else { 2 }) {
            let outcome = story(build(clean), |fs| flip(fs, &path, at));
            // Entries whose deletes are in tables that are all there stay deleted.
            assert_subset(&outcome);
            assert_eq!(outcome.lost(), 0, "byte {at}\n{}", outcome.steps);
        }
    }
    let (fs, _) = build(true);
    let path = named(&fs, "MANIFEST").pop().unwrap();
    let size = fs.size(&path).unwrap();
    for len in [0, 3, size / 3, size - 9] {
        let outcome = story(build(true), |fs| cut(fs, &path, len));
        assert_subset(&outcome);
        assert_eq!(outcome.lost(), 0, "{}", outcome.steps);
    }
    let outcome = story(build(true), |fs| fs.unlink(&path).unwrap());
    assert_eq!(outcome.lost(), 0, "{}", outcome.steps);
}

#[test]
fn a_missing_table_is_left_out() {
    let (fs, _) = build(true);
    for path in named(&fs, ".sst") {
        let outcome = story(build(true), |fs| fs.unlink(&path).unwrap());
        assert!(outcome.steps.contains("it is missing"), "{}", outcome.steps);
        assert!(outcome.after != outcome.before);
        // Keys that no table of that file held are all there.
        assert!(outcome.after.plain.len() > 50, "{}", outcome.steps);
    }
}

#[test]
fn a_damaged_table_gives_all_whole_blocks() {
    let (fs, _) = build(true);
    for path in named(&fs, ".sst") {
        let size = fs.size(&path).unwrap();
        // A data block: only its entries can go.
        let outcome = story(build(true), |fs| flip(fs, &path, 100));
        assert!(outcome.lost() < 40, "{} lost\n{}", outcome.lost(), outcome.steps);
        assert!(outcome.fs.size(&format!("{path}.damaged")).is_ok());
        // Index and footer: the blocks are found without them.
        for at in [size - 1, size - 30, size - 80] {
            let outcome = story(build(true), |fs| flip(fs, &path, at));
            assert_nothing_lost(&outcome);
        }
        let outcome = story(build(true), |fs| cut(fs, &path, size / 2));
        assert!(outcome.after.plain.len() > 50);
        let outcome = story(build(true), |fs| cut(fs, &path, 0));
        assert!(outcome.steps.contains("nothing in it can be read"));
        // Two flips: a block, and the index that says where the others are.
        let outcome = story(build(true), |fs| {
            flip(fs, &path, 100);
            flip(fs, &path, size - 80);
        });
        assert!(outcome.lost() < 40, "{} lost\n{}", outcome.lost(), outcome.steps);
    }
}

#[test]
fn a_damaged_log_is_kept_up_to_the_damage() {
    let build = || {
        let fs = MemFs::new();
        let db = open(&fs, options(DIR)).unwrap();
        let mut content = Content::default();
        for i in 0..200u32 {
            let (key, value) = (format!("logged{i:03}").into_bytes(), i.to_le_bytes().to_vec());
            db.set(&key, &value).unwrap();
            content.plain.insert((0, key), value);
            if i % 20 == 19 {
                db.sync().unwrap();
            }
        }
        let killed = fs.kill_clone();
        killed.sync_all();
        (killed, content)
    };
    for at in [100, 5_000, 12_000] {
        let outcome = story(build(), |fs| flip(fs, "db/wal/000000001.wal", at));
        assert_subset(&outcome);
        // A prefix.
        let kept = outcome.after.plain.len();
        let expected: Vec<_> = outcome.before.plain.iter().take(kept).collect();
        assert_eq!(expected, outcome.after.plain.iter().collect::<Vec<_>>());
        assert!(kept < 200 && outcome.lost() > 0 && (at < 5_000 || kept > 20), "{kept}");
        assert!(outcome.steps.contains("whole records behind"), "{}", outcome.steps);
    }
    let outcome = story(build(), |fs| fs.unlink("db/wal/000000001.wal").unwrap());
    assert!(outcome.after.plain.is_empty());
    assert!(outcome.steps.contains("start a new, empty log: the first segment of the log is missing"));
}

#[test]
fn values_that_are_lost_do_not_bring_older_ones_back() {
    for clean in [true, false] {
        let (fs, _) = build(clean);
        for path in named(&fs, ".vlog") {
            let size = fs.size(&path).unwrap();
            let outcome = story(build(clean), |fs| fs.unlink(&path).unwrap());
            assert_subset(&outcome);
            assert!(outcome.lost() > 0, "{}", outcome.steps);
            assert_eq!(outcome.before.versioned, outcome.after.versioned);
            let outcome = story(build(clean), |fs| cut(fs, &path, size - 5));
            assert_subset(&outcome);
            // The header alone costs nothing.
            let outcome = story(build(clean), |fs| flip(fs, &path, 9));
            assert_nothing_lost(&outcome);
        }
        // One value.
        let path = named(&fs, ".vlog").pop().unwrap();
        let outcome = story(build(clean), |fs| flip(fs, &path, fs.size(&path).unwrap() - 3));
        assert_subset(&outcome);
        assert_eq!(outcome.lost(), 1, "{}", outcome.steps);
    }
}

#[test]
fn an_interrupted_repair_can_be_planned_and_applied_again() {
    let damage = |fs: &MemFs| {
        let table = named(fs, ".sst").pop().unwrap();
        flip(fs, &table, 60);
        let vlog = named(fs, ".vlog").remove(0);
        flip(fs, &vlog, 9);
        flip(fs, &vlog, fs.size(&vlog).unwrap() - 3);
        flip(fs, "db/CURRENT", 20);
    };
    let (fs, before) = build(false);
    damage(&fs);
    let images = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (taken, source) = (images.clone(), fs.clone());
    fs.set_call_hook(Box::new(move |_, _, _| taken.lock().unwrap().push(source.kill_clone())));
    let plan = repair::plan(&fs, DIR).unwrap();
    repair::apply(&fs, DIR, &plan).unwrap();
    fs.clear_call_hook();
    let db = open(&fs, options(DIR)).unwrap();
    let whole = read(&db).unwrap();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 20);
    for (i, image) in images.into_iter().enumerate() {
        let plan = repair::plan(&image, DIR).unwrap();
        repair::apply(&image, DIR, &plan).unwrap();
        let db = open(&image, options(DIR)).unwrap_or_else(|error| panic!("after call {i}: {error}"));
        assert_eq!(read(&db).unwrap(), whole, "after call {i}");
        assert!(db.check_all().unwrap().is_clean());
    }
    // Values may be older ones, where a block is lost; keys that never were do not appear.
    assert!(whole.plain.keys().filter(|key| !before.plain.contains_key(*key)).count() < 40);
}

#[test]
fn a_plan_is_only_good_for_what_it_saw() {
    let (fs, _) = build(true);
    flip(&fs, "db/CURRENT", 20);
    let plan = repair::plan(&fs, DIR).unwrap();
    let table = named(&fs, ".sst").pop().unwrap();
    flip(&fs, &table, 100);
    let before = image(&fs);
    assert!(matches!(repair::apply(&fs, DIR, &plan), Err(Error::InvalidArgument(_))));
    assert!(image(&fs) == before);
}

/// Wherever the manifest of a killed database ends, the database answers right, or repair brings all that the log has.
#[test]
fn a_manifest_without_its_end_loses_no_write_that_the_log_has() {
    let fs = MemFs::new();
    let db = open(&fs, options(DIR)).unwrap();
    for i in 0..20u8 {
        db.set(&[b'k', i], &[i; 20]).unwrap();
    }
    let late = db.create_cf("late").unwrap();
    db.set_cf(late, b"in the late family", b"x").unwrap();
    db.sync().unwrap();
    let killed = fs.kill_clone();
    let manifest = named(&killed, "MANIFEST").pop().unwrap();
    let whole = killed.contents(&manifest).unwrap().len() as u64;
    let (mut refused, mut repaired) = (0, 0);
    for len in 1..whole {
        let image = killed.kill_clone();
        cut(&image, &manifest, len);
        if let Err(error) = open(&image, options(DIR)) {
            assert!(is_damage(&error), "cut to {len}: {error:?}");
            refused += 1;
            let plan = repair::plan(&image, DIR).unwrap_or_else(|e| panic!("cut to {len}: {e}"));
            assert!(!plan.is_empty(), "cut to {len}: {error} and nothing to repair");
            repair::apply(&image, DIR, &plan).unwrap_or_else(|e| panic!("cut to {len}: {e}"));
            repaired += 1;
        }
        let db = open(&image, options(DIR)).unwrap_or_else(|e| panic!("cut to {len}, repaired: {e}"));
        for i in 0..20u8 {
            assert_eq!(db.get(&[b'k', i]).unwrap().as_deref(), Some(&[i; 20][..]), "cut to {len}, key {i}");
        }
        let late = db.cf("late").or_else(|| db.cf("recovered-3")).expect("the late family");
        assert!(db.get_cf(late, b"in the late family").unwrap().is_some(), "cut to {len}");
        assert!(db.check_all().unwrap().is_clean(), "cut to {len}");
    }
    assert!(refused > 20 && repaired == refused, "{refused} refused, {repaired} repaired");
}
