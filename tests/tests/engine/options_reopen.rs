//! A database made under one set of options gives the same answers under quite different ones.
#![cfg(all(feature = "skiplist", feature = "art"))]

use nokv::{CfId, Db, IterOptions, OPTION_FIELDS, Options, Version};
use nokv_tests::other_options::other_toml;
use nokv_vfs_mem::MemFs;

/// All options differ from the defaults, but for those that would end the test: it writes, in one place.
fn other() -> Options {
    let mut other = Options::from_toml_str(&other_toml(), "other").unwrap();
    other.read_only = false;
    other.create_if_missing = true;
    other.work_dir = "db".into();
    other
}

type Answers = (Vec<(Vec<u8>, Vec<u8>)>, Vec<Option<Vec<u8>>>);

fn answers(db: &Db<MemFs>) -> Answers {
    let all = db.iter(IterOptions::default()).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.0, entry.1.to_vec())
    });
    let versions = (0..40u64).map(|version| {
        let entry = db.get_versioned_entry(CfId::LOCK, b"v", Version(version)).unwrap();
        entry.map(|entry| entry.value.to_vec())
    });
    (all.collect(), versions.collect())
}

fn change(db: &Db<MemFs>, round: u32) {
    for k in 0..600u32 {
        let len = [3, 100, 700, 6000][(k % 4) as usize];
        db.set(&(k * 7 % 900).to_be_bytes(), &vec![(k + round) as u8; len]).unwrap();
    }
    db.delete_range(CfId::DEFAULT, &(round * 50).to_be_bytes(), &(round * 50 + 20).to_be_bytes()).unwrap();
    for k in 0..100u32 {
        db.del(&(k * 9).to_be_bytes()).unwrap();
    }
    let version = Version(u64::from(round) * 10 + 1);
    db.set_versioned_entry(CfId::LOCK, b"v", version, &[round as u8], 0).unwrap();
}

#[test]
fn a_reopening_with_every_option_changed_gives_the_same_answers() {
    let default = Options::new("db");
    let same: Vec<&str> = OPTION_FIELDS
        .iter()
        .filter(|field| field.value(&default) == field.value(&other()))
        .map(|field| field.name)
        .collect();
    assert_eq!(same, ["work_dir", "read_only", "create_if_missing"]);

    let fs = MemFs::new();
    let mut expected: Option<Answers> = None;
    for round in 0..6 {
        let options = if round % 2 == 0 { Options::new("db") } else { other() };
        let db = Db::open_on(fs.clone(), options).unwrap();
        if let Some(expected) = &expected {
            assert!(answers(&db) == *expected, "round {round}: right after the open");
        }
        change(&db, round);
        let before = answers(&db);
        db.flush().unwrap();
        assert!(answers(&db) == before, "round {round}: after a flush");
        db.compact_range(CfId::DEFAULT, None, None).unwrap();
        db.wait_idle().unwrap();
        assert!(answers(&db) == before, "round {round}: after compactions");
        change(&db, round + 1);
        expected = Some(answers(&db));
        db.close().unwrap();
    }
    assert_eq!(Db::open_on(fs, other()).unwrap().check_all().unwrap().problems, []);
}
