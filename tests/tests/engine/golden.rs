//! A database of format 1, as it was written when the format was settled, opens and answers for ever.
//!
//! `NOKV_GOLDEN=write cargo test -p nokv-tests --test engine golden` writes the files anew. That is for a new format number, in
//! a new directory, only: a test that fails here says that released files cannot be read any more.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use nokv::{Db, Options, StdFs};
use nokv_tests::small_db::{Content, fill, options, read, read_only};
use nokv_vfs_mem::MemFs;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1").join(name)
}

/// What the database holds, from a file that says so in plain text.
fn expected(name: &str) -> String {
    fs::read_to_string(golden(&format!("{name}.txt"))).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(content: &Content) -> String {
    let mut out = String::new();
    for ((cf, key), value) in &content.plain {
        out.push_str(&format!("{cf} {} plain {}\n", key.escape_ascii(), hex(value)));
    }
    for ((key, version), value) in &content.versioned {
        out.push_str(&format!("1 {} {version} {}\n", key.escape_ascii(), hex(value)));
    }
    out
}

/// Zeros at the end of log segments are not stored: preallocated space.
fn trimmed(path: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    if path.ends_with(".wal") {
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        bytes.truncate(used.next_multiple_of(4096).min(bytes.len()));
    }
    bytes
}

fn write_golden(name: &str, clean: bool) {
    let mem = MemFs::new();
    let db = Db::open_on(mem.clone(), options("db")).unwrap();
    let content = fill(&db, !clean).unwrap();
    let files = if clean {
        db.close().unwrap();
        mem
    } else {
        db.sync().unwrap();
        mem.kill_clone()
    };
    let _ = fs::remove_dir_all(golden(name));
    for path in nokv_tests::small_db::files(&files, "db") {
        if path.ends_with("LOCK") {
            continue;
        }
        let to = golden(name).join(path.strip_prefix("db/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, trimmed(&path, files.contents(&path).unwrap())).unwrap();
    }
    fs::write(golden(&format!("{name}.txt")), text(&content)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn opens(name: &str, clean: bool) {
    if std::env::var("NOKV_GOLDEN").is_ok_and(|value| value == "write") {
        write_golden(name, clean);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    copy(&golden(name), &path);
    let options = options(path.to_str().unwrap());
    let look = |options: Options| {
        let db = Db::open_on(StdFs::new(), options).unwrap();
        assert_eq!(db.open_report().clean, clean);
        assert_eq!(text(&read(&db).unwrap()), expected(name));
        let report = db.check_all().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        db
    };
    assert!(nokv::repair::plan(&StdFs::new(), path.to_str().unwrap()).unwrap().is_empty());
    drop(look(read_only(path.to_str().unwrap())));
    let db = look(options.clone());
    // Taken on: written to, merged, reopened.
    db.set(b"new", b"write").unwrap();
    db.flush().unwrap();
    db.compact_range(nokv::CfId::DEFAULT, None, None).unwrap();
    db.close().unwrap();
    let db = Db::open_on(StdFs::new(), options).unwrap();
    let mut content = read(&db).unwrap();
    assert_eq!(content.plain.remove(&(0, b"new".to_vec())), Some(b"write".to_vec()));
    assert_eq!(text(&content), expected(name));
}

#[test]
fn a_database_of_format_1_that_was_closed_opens() {
    opens("closed", true);
}

#[test]
fn a_database_of_format_1_that_was_killed_opens() {
    opens("killed", false);
}
