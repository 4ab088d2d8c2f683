//! What hostile bytes found in the engine, one test for each.

use nokv::{CfId, Db, Error, WriteBatch};
use nokv_core::formats::Seq;
use nokv_core::formats::current::Current;
use nokv_core::formats::manifest::{Edit, Group};
use nokv_core::manifest::manifest_name;
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_tests::small_db::options;
use nokv_vfs_mem::MemFs;

const DIR: &str = "db";

/// A database that was not closed, whose `CURRENT` is changed and whose manifest gets another group.
fn lie(edits: Vec<Edit>, change: impl Fn(&mut Current)) -> MemFs {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), options(DIR)).unwrap();
    db.set(b"key", b"value").unwrap();
    drop(db);
    let path = format!("{DIR}/CURRENT");
    let mut current = Current::decode(&fs.contents(&path).unwrap()).unwrap();
    current.clean = None;
    let manifest = format!("{DIR}/{}", manifest_name(current.manifest));
    let mut bytes = fs.contents(&manifest).unwrap();
    let (mut at, mut number) = (0, 0);
    while let Ok((_, len)) = Group::decode(&bytes[at..]) {
        at += len;
        number += 1;
    }
    bytes.truncate(at);
    Group { db_id: current.db_id, number, durable: at as u64, edits }.encode(&mut bytes);
    change(&mut current);
    let named = format!("{DIR}/{}", manifest_name(current.manifest));
    fs.rename(&manifest, &named).unwrap();
    let file = fs.open(&named, OpenMode::ReadWrite).unwrap();
    file.write_at(&bytes, 0).unwrap();
    let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
    let stored = current.to_bytes();
    file.set_len(stored.len() as u64).unwrap();
    file.write_at(&stored, 0).unwrap();
    fs
}

/// A manifest that says that all seqs were given: the first flush met an entry that no table can hold.
#[test]
fn a_database_whose_seqs_are_used_up_takes_no_writes_and_is_read() {
    for last in [Seq::MAX, Seq(Seq::BATCH_START_MAX.0)] {
        let fs = lie(vec![Edit::LastSeq { seq: last }], |_| ());
        let db = Db::open_on(fs.clone(), options(DIR)).unwrap();
        assert_eq!(db.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
        assert!(matches!(db.set(b"more", b"value"), Err(Error::ReadOnly(_))));
        let mut batch = WriteBatch::new();
        batch.put(CfId::DEFAULT, b"more", b"value").unwrap();
        let unlogged = nokv::WriteOptions { disable_wal: true, ..Default::default() };
        assert!(matches!(db.write(batch, &unlogged), Err(Error::ReadOnly(_))));
        db.close().unwrap();
        let db = Db::open_on(fs, options(DIR)).unwrap();
        assert_eq!(db.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
    }
}

/// Numbers at their end, with right checksums: adding one to them was a panic, or began again at 0.
#[test]
fn numbers_that_are_used_up_are_errors() {
    let all = [
        lie(vec![], |current| current.generation = u64::MAX),
        lie(vec![], |current| current.manifest = u64::MAX),
        lie(vec![], |current| current.manifest = u64::MAX - 1),
        lie(vec![Edit::NextFileId { id: u64::MAX }], |_| ()),
    ];
    for (i, fs) in all.iter().enumerate() {
        let opened = Db::open_on(fs.clone(), options(DIR));
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{i}: {:?}", opened.err());
    }
    let fs = lie(vec![], |_| ());
    fs.create_dir_all(&format!("{DIR}/tables")).unwrap();
    fs.create(&format!("{DIR}/tables/18446744073709551615.sst")).unwrap();
    assert!(matches!(Db::open_on(fs, options(DIR)), Err(Error::Corrupt { .. })));
}
