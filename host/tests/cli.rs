//! The binary as scripts and people call it: every command, every exit code, kill -9, two processes at once.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// Far above what any wait here takes; it ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(120);

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nokv"));
    command.args(args);
    command
}

fn nokv(args: &[&str]) -> Ended {
    let output = command(args).stdin(Stdio::null()).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended {
        code: output.status.code().unwrap_or_else(|| panic!("{args:?} was killed: {}", output.status)),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn ok(args: &[&str]) -> String {
    let ended = nokv(args);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{args:?}");
    ended.out
}

/// As [`ok`], where notes are fine.
fn done(args: &[&str]) -> String {
    let ended = nokv(args);
    assert_eq!(ended.code, 0, "{args:?}: {}", ended.err);
    assert!(ended.err.lines().all(|line| line.starts_with("nokv: note: ")), "{args:?}: {}", ended.err);
    ended.out
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("text").to_owned()
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a writable directory");
        path
    }
}

/// Every file below `dir` with its bytes.
fn files(dir: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::from(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a readable directory") {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(&path).expect("a readable file");
                found.insert(path, bytes);
            }
        }
    }
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a readable file");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("a writable file");
}

/// Records in an order that is not that of their keys; some values are large enough for the value log.
fn record(i: u64) -> (String, String) {
    let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let value = format!("value-{i}-").repeat(if i % 50 == 7 { 800 } else { 5 });
    (format!("{mixed:016x}"), value)
}

fn tsv(records: impl Iterator<Item = u64>) -> String {
    let lines = records.map(|i| {
        let (key, value) = record(i);
        format!("{key}\t{value}\n")
    });
    lines.collect()
}

fn tail_of(path: &Path) -> String {
    path.file_name().and_then(|n| n.to_str()).expect("text").to_owned()
}

#[test]
fn set_get_del_and_what_is_missing() {
    let dir = Dir::new();
    let db = dir.path("db");
    assert_eq!(ok(&["set", "--workdir", &db, "k", "v"]), "");
    assert_eq!(ok(&["get", "--workdir", &db, "k"]), "v\n");
    assert_eq!(ok(&["set", "--workdir", &db, "empty", ""]), "");
    assert_eq!(ok(&["get", "--workdir", &db, "empty"]), "\n");
    let absent = nokv(&["get", "--workdir", &db, "nope"]);
    assert_eq!((absent.code, absent.out.as_str()), (1, ""));
    assert!(absent.err.contains("key nope"), "{}", absent.err);
    ok(&["del", "--workdir", &db, "k"]);
    ok(&["del", "--workdir", &db, "k"]);
    assert_eq!(nokv(&["get", "--workdir", &db, "k"]).code, 1);

    let none = dir.path("none");
    for args in [&["get", "k"][..], &["del", "k"], &["scan"], &["stats"], &["check"], &["compact"], &["vlog"]]
    {
        let ended = nokv(&[&["--workdir", &none][..], args].concat());
        assert_eq!(ended.code, 2, "{args:?}");
        assert!(ended.err.contains("there is no database"), "{}", ended.err);
    }
    assert!(!Path::new(&none).exists(), "looking makes nothing");
    assert_eq!(nokv(&["get", "k"]).code, 2);
    assert_eq!(nokv(&["wal", "dump", &none]).code, 2);

    // A directory of other things is left alone.
    let other = dir.path("other");
    fs::create_dir(&other).expect("a writable directory");
    fs::write(Path::new(&other).join("letter.txt"), "dear").expect("a writable directory");
    for args in [&["set", "k", "v"][..], &["get", "k"], &["check"]] {
        let ended = nokv(&[&["--workdir", &other][..], args].concat());
        assert_eq!(ended.code, 2, "{args:?}");
        assert!(ended.err.contains("holds other files and no database"), "{}", ended.err);
    }
    assert_eq!(files(&other).len(), 1);
}

#[test]
fn set_survives_in_the_log_alone() {
    // What `set` wrote is there for a process that never saw a clean close of it: copied while it is open.
    let dir = Dir::new();
    let db = dir.path("db");
    ok(&["set", "--workdir", &db, "k", "v"]);
    let mut import = open_import(&db);
    let stdin = import.stdin.as_mut().expect("a pipe");
    stdin.write_all(tsv(0..20_000).as_bytes()).expect("the importer reads");
    wait_for_records(&db, 3, &mut import);
    import.kill().expect("it runs");
    import.wait().expect("it runs");
    assert_eq!(ok(&["get", "--workdir", &db, "k"]), "v\n");
}

#[test]
fn import_of_every_format() {
    let dir = Dir::new();
    let stanzas = "Package: b\nSize: 1\n\nPackage: a\nDescription: x\n more\n\nPackage: b\nSize: 2\n";
    let plain = dir.file("Packages", stanzas);
    let packed = dir.path("Packages.gz");
    let file = fs::File::create(&packed).expect("a writable directory");
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    gz.write_all(stanzas.as_bytes()).and_then(|()| gz.finish().map(drop)).expect("a writable file");
    let (one, two) = (dir.path("one"), dir.path("two"));
    for (db, input) in [(&one, &plain), (&two, &packed)] {
        let import = ["import", "--workdir", db, "--format", "deb822", "--key", "Package", "--json", input];
        let report: Json = serde_json::from_str(&ok(&import)).expect("one line of JSON");
        assert_eq!((&report["records"], &report["repeated"]), (&3.into(), &1.into()));
        assert_eq!(ok(&["get", "--workdir", db, "b"]), "Package: b\nSize: 2\n");
        assert_eq!(
            ok(&["scan", "--workdir", db]),
            "a\tPackage: a\\nDescription: x\\n more\nb\tPackage: b\\nSize: 2\n"
        );
    }

    let keyed = dir.file("keyed.jsonl", "{\"id\": \"x\", \"n\": 1}\n{\"id\": 7, \"n\": 2}\n");
    let db = dir.path("keyed");
    ok(&["import", "--workdir", &db, "--format", "jsonl", "--key", "id", &keyed]);
    assert_eq!(ok(&["get", "--workdir", &db, "7"]), "{\"id\": 7, \"n\": 2}\n");

    let db = dir.path("bytes");
    let bytes = dir.file("bytes.tsv", "a\\x00\\xff\t\\t\\\\\nplain\tword\n");
    ok(&["import", "--workdir", &db, "--format", "tsv", &bytes]);
    let lines = "{\"key_hex\":\"6100ff\",\"value\":\"\\t\\\\\"}\n{\"key\":\"plain\",\"value\":\"word\"}\n";
    assert_eq!(ok(&["export", "--workdir", &db, "--format", "jsonl"]), lines);
    let again = dir.path("again");
    let lines = dir.file("bytes.jsonl", lines);
    ok(&["import", "--workdir", &again, "--format", "jsonl", &lines]);
    assert_eq!(
        ok(&["export", "--workdir", &again, "--format", "tsv"]),
        "a\\x00\\xff\t\\t\\\\\nplain\tword\n"
    );

    let bad = dir.file("bad.tsv", "a\t1\nno tab\nb\t2\n");
    let db = dir.path("bad");
    let ended = nokv(&["import", "--workdir", &db, "--format", "tsv", &bad]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("line 2") && ended.err.contains("the 1 record before it is stored"),
        "{}",
        ended.err
    );
    assert_eq!(ok(&["scan", "--workdir", &db]), "a\t1\n");
    assert_eq!(nokv(&["import", "--workdir", &db, "--format", "tsv", &dir.path("nothing")]).code, 2);
    assert_eq!(nokv(&["import", "--workdir", &db, "--format", "deb822", &plain]).code, 2);
}

#[test]
fn scan_and_export_in_key_order() {
    let dir = Dir::new();
    let db = dir.path("db");
    let input = dir.file("in.tsv", "b/2\t2\na/1\t1\nb/1\t3\nc\t4\nb/3\t5\nb/2\t6\n");
    let report = ok(&["import", "--workdir", &db, "--format", "tsv", &input]);
    assert!(report.starts_with("6 records, ") && report.contains("\n1 repeated key"), "{report}");
    assert_eq!(
        ok(&["export", "--workdir", &db, "--format", "tsv"]),
        "a/1\t1\nb/1\t3\nb/2\t6\nb/3\t5\nc\t4\n"
    );
    let scan = |args: &[&str]| ok(&[&["scan", "--workdir", db.as_str()][..], args].concat());
    assert_eq!(scan(&["--prefix", "b/"]), "b/1\t3\nb/2\t6\nb/3\t5\n");
    assert_eq!(scan(&["--prefix", "b/", "--reverse", "--limit", "2"]), "b/3\t5\nb/2\t6\n");
    assert_eq!(scan(&["--limit", "1", "--json"]), "{\"key\":\"a/1\",\"value\":\"1\"}\n");
    assert_eq!(scan(&["--limit", "0"]), "");
    assert_eq!(scan(&["--prefix", "x"]), "");
    assert_eq!(scan(&["--reverse"]), "c\t4\nb/3\t5\nb/2\t6\nb/1\t3\na/1\t1\n");
}

#[test]
fn what_only_looks_writes_nothing_and_the_answers_are_json() {
    let dir = Dir::new();
    let db = dir.path("db");
    let input = dir.file("in.tsv", tsv(0..500));
    ok(&["import", "--workdir", &db, "--format", "tsv", &input]);
    let before = files(&db);
    let json = |args: &[&str]| -> Json {
        let out = ok(&[&["--workdir", db.as_str(), "--json"][..], args].concat());
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}"))
    };
    let stats = json(&["stats"]);
    assert_eq!(stats["entries"], 500);
    assert_eq!(stats["value_log"]["segments"].as_u64().map(|n| n > 0), Some(true));
    assert_eq!(json(&["manifest"])["families"].as_array().map(Vec::len), Some(3));
    let segments = json(&["vlog"]);
    let live = |s: &Json| s["live_bytes"].as_u64().unwrap_or(0);
    assert!(segments["segments"].as_array().is_some_and(|s| s.iter().map(live).sum::<u64>() > 60_000));
    let check = json(&["check"]);
    assert_eq!((&check["ok"], &check["summary"]["entries"]), (&true.into(), &500.into()));
    for args in [&["stats"][..], &["manifest"], &["vlog"], &["check"], &["scan"], &["get", &record(3).0]] {
        assert!(!ok(&[&["--workdir", db.as_str()][..], args].concat()).is_empty());
    }
    // The engine's own log: the batches of the import.
    let dump = ok(&["wal", "dump", &format!("{db}/wal"), "--json"]);
    for line in dump.lines() {
        let record: Json = serde_json::from_str(line).expect("one object a line");
        let fields: Vec<&String> = record.as_object().expect("an object").keys().collect();
        assert_eq!(fields[..4], ["segment", "offset", "log_index", "data_hex"]);
    }
    assert!(before == files(&db), "looking changed a file");
}

#[test]
fn compact_and_checkpoint() {
    let dir = Dir::new();
    let db = dir.path("db");
    let input = dir.file("in.tsv", tsv(0..2_000));
    let import = ["import", "--workdir", &db, "--format", "tsv", &input];
    let sizes = || {
        let vlog = ok(&["vlog", "--workdir", &db, "--json"]);
        let vlog: Json = serde_json::from_str(&vlog).expect("JSON");
        let dead = |s: &Json| s["dead_bytes"].as_u64().unwrap_or(0);
        vlog["segments"].as_array().map(|s| s.iter().map(dead).sum::<u64>()).expect("a list")
    };
    for _ in 0..3 {
        ok(&import);
    }
    let export = ok(&["export", "--workdir", &db, "--format", "tsv"]);
    assert_eq!(export.lines().count(), 2_000);
    let copy = dir.path("copy");
    let made: Json =
        serde_json::from_str(&ok(&["checkpoint", "--workdir", &db, &copy, "--json"])).expect("JSON");
    assert_eq!(made["seq"], 6_000);
    let again = nokv(&["checkpoint", "--workdir", &db, &copy]);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("is not empty"), "{}", again.err);

    ok(&["compact", "--workdir", &db]);
    assert_eq!(sizes(), 0, "nothing dead is left");
    assert_eq!(ok(&["export", "--workdir", &db, "--format", "tsv"]), export);
    // Changing the source leaves the copy as it was.
    ok(&["del", "--workdir", &db, &record(0).0]);
    ok(&["set", "--workdir", &db, "new", "x"]);
    assert_eq!(ok(&["export", "--workdir", &copy, "--format", "tsv"]), export);
    ok(&["check", "--workdir", &copy]);
    ok(&["check", "--workdir", &db]);
    ok(&["set", "--workdir", &copy, "other", "y"]);
    assert_eq!(nokv(&["get", "--workdir", &db, "other"]).code, 1);
}

#[test]
fn check_names_damage() {
    let dir = Dir::new();
    let db = dir.path("db");
    let input = dir.file("in.tsv", tsv(0..3_000));
    ok(&["import", "--workdir", &db, "--format", "tsv", &input]);
    let whole = files(&db);
    let with_suffix = |part: &str| {
        let found =
            whole.keys().find(|p| p.to_str().is_some_and(|p| p.contains(part)) && whole[*p].len() > 100);
        found.unwrap_or_else(|| panic!("no file of {part}")).clone()
    };
    for (part, at) in [(".sst", 50), (".vlog", 90), ("MANIFEST-", 40), ("CURRENT", 20)] {
        let path = if part == "CURRENT" { Path::new(&db).join(part) } else { with_suffix(part) };
        flip(&path, at);
        let before = files(&db);
        let ended = nokv(&["check", "--workdir", &db]);
        assert_eq!(ended.code, 1, "{part}: {}{}", ended.out, ended.err);
        assert!(ended.out.contains(&tail_of(&path)), "{part}: {}", ended.out);
        assert!(ended.err.contains("there is damage in"), "{part}: {}", ended.err);
        let ended = nokv(&["check", "--workdir", &db, "--json"]);
        let report: Json = serde_json::from_str(&ended.out).expect("JSON");
        assert_eq!((ended.code, &report["ok"]), (1, &false.into()));
        assert!(report["damage"][0]["file"].as_str().is_some_and(|f| f.ends_with(&tail_of(&path))));
        let export = nokv(&["export", "--workdir", &db, "--format", "tsv"]);
        assert_eq!(export.code, 2, "{part}");
        assert!(export.err.contains("nokv check"), "{}", export.err);
        assert!(before == files(&db), "{part}: looking at damage changed a file");
        flip(&path, at);
    }
    ok(&["check", "--workdir", &db]);
}

#[test]
fn repair_plans_first_and_then_the_database_opens() {
    let dir = Dir::new();
    let db = dir.path("db");
    ok(&["import", "--workdir", &db, "--format", "tsv", &dir.file("in.tsv", tsv(0..3_000))]);
    assert_eq!(ok(&["repair", "--workdir", &db]), "nothing to repair\n");
    ok(&["repair", "--workdir", &db, "--apply"]);
    let whole = ok(&["export", "--workdir", &db, "--format", "tsv"]);

    let table = files(&db).into_keys().find(|p| p.extension().is_some_and(|e| e == "sst")).expect("a table");
    flip(&table, 50);
    let before = files(&db);
    let plan = ok(&["repair", "--workdir", &db]);
    assert!(plan.contains(&tail_of(&table)) && plan.contains("nothing was changed"), "{plan}");
    let json: Json = serde_json::from_str(&ok(&["repair", "--workdir", &db, "--json"])).expect("JSON");
    assert_eq!(json["applied"], false);
    assert!(before == files(&db), "planning changed a file");
    let done = ok(&["repair", "--workdir", &db, "--apply"]);
    assert!(done.ends_with("\ndone\n"), "{done}");
    ok(&["check", "--workdir", &db]);
    let left = ok(&["export", "--workdir", &db, "--format", "tsv"]);
    let whole: std::collections::BTreeSet<&str> = whole.lines().collect();
    assert!(left.lines().all(|line| whole.contains(line)), "a record that was never written");
    assert!(left.lines().count() < whole.len());
}

#[test]
fn a_log_that_is_missing_is_damage_and_can_be_given_up() {
    let dir = Dir::new();
    let db = dir.path("db");
    ok(&["set", "--workdir", &db, "k", "v"]);
    let wal = format!("{db}/wal");
    fs::remove_dir_all(&wal).expect("a writable directory");
    let check = nokv(&["check", "--workdir", &db]);
    assert_eq!(check.code, 1, "{}", check.err);
    assert!(
        check.out.starts_with(&format!("{wal}: byte 0: the directory of the log is missing\n")),
        "{}",
        check.out
    );
    assert!(check.err.contains("nokv repair"), "{}", check.err);
    for args in [&["get", "k"][..], &["scan"], &["set", "k", "w"]] {
        let ended = nokv(&[&["--workdir", db.as_str()][..], args].concat());
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{args:?}");
        let said = format!("the database is damaged (the directory of the log is missing): {wal}: ");
        assert!(ended.err.contains(&said) && ended.err.contains("nokv repair"), "{}", ended.err);
    }
    let plan = ok(&["repair", "--workdir", &db]);
    let step = format!(
        "{wal}: start a new, empty log: the directory of the log is missing; lost: all writes that are in no table\n"
    );
    assert!(plan.starts_with(&step), "{plan}");
    assert!(ok(&["repair", "--workdir", &db, "--apply"]).ends_with("\ndone\n"));
    ok(&["check", "--workdir", &db]);
    ok(&["set", "--workdir", &db, "after", "1"]);
    assert_eq!(ok(&["get", "--workdir", &db, "after"]), "1\n");
}

#[test]
fn what_is_in_the_log_only_is_shown_by_check_and_what_is_cut_of_it_by_repair_too() {
    let dir = Dir::new();
    let db = dir.path("db");
    let mut import = open_import(&db);
    import.stdin.as_mut().expect("a pipe").write_all(tsv(0..40_000).as_bytes()).expect("the importer reads");
    wait_for_records(&db, 4, &mut import);
    import.kill().expect("it runs");
    import.wait().expect("it runs");
    let report: Json = serde_json::from_str(&ok(&["check", "--workdir", &db, "--json"])).expect("JSON");
    let number = |name: &str| report["summary"][name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"));
    assert!(number("log_records") >= 4 && number("log_segments") >= 1 && number("log_bytes") > 1000);
    assert!(ok(&["check", "--workdir", &db]).contains("\nlog_bytes "));

    // Nothing was synced: damage of the second record is a torn end with whole records behind it.
    let dump = ok(&["wal", "dump", &format!("{db}/wal"), "--json"]);
    let second: Json = serde_json::from_str(dump.lines().nth(1).expect("a record")).expect("JSON");
    let at = usize::try_from(second["offset"].as_u64().expect("a number")).expect("it fits");
    flip(&Path::new(&db).join("wal/000000001.wal"), at + 20);
    // A plan takes the lock, which leaves its number in the lock file.
    let files = || files(&db).into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect::<Vec<_>>();
    let before = files();
    let check = nokv(&["check", "--workdir", &db]);
    assert_eq!(check.code, 0, "{}", check.err);
    assert!(check.err.contains(" whole records behind the last synced write are left out"), "{}", check.err);
    assert!(check.err.ends_with(": copy the directory first if they matter\n"), "{}", check.err);
    let repair = nokv(&["repair", "--workdir", &db]);
    assert_eq!((repair.code, repair.err.as_str()), (0, check.err.as_str()));
    assert!(repair.out.starts_with("nothing to repair but what the next open"), "{}", repair.out);
    assert!(before == files(), "looking changed a file");
}

#[test]
fn wal_dump_of_the_vectors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/walfs");
    let list: Json =
        serde_json::from_str(&fs::read_to_string(root.join("vectors.json")).expect("the vectors"))
            .expect("JSON");
    let list = list.as_array().expect("a list");
    let records_of = |name: &str| {
        let vector = list.iter().find(|v| v["dir"] == name).expect("a vector of this name");
        vector["records"].as_array().cloned().unwrap_or_default()
    };
    for vector in list {
        let name = vector["dir"].as_str().expect("a name");
        let dir = root.join(name);
        let dir = dir.to_str().expect("text");
        let before = files(dir);
        let ended = nokv(&["wal", "dump", dir, "--json"]);
        let found: Vec<Json> = ended.out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        let expected = records_of(if name == "torn-header" { "basic" } else { name });
        assert_eq!(found, expected, "{name}");
        match name {
            "flipped-bit" => {
                assert_eq!(ended.code, 1);
                assert!(
                    ended.err.contains("behind it") && ended.err.contains("nokv wal verify"),
                    "{}",
                    ended.err
                );
            }
            "torn-trailer" | "wild-length" => {
                assert_eq!(ended.code, 0);
                assert!(ended.err.starts_with("nokv: note: "), "{name}: {}", ended.err);
            }
            _ => assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{name}"),
        }
        assert!(before == files(dir), "{name}: the dump changed a file");
        assert_eq!(nokv(&["wal", "dump", dir]).code, ended.code);
    }
    // No segment has this extension.
    let basic = root.join("basic");
    let ended = nokv(&["wal", "dump", basic.to_str().expect("text"), "--ext", ".log", "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("there are no log segments"), "{}", ended.err);
}

/// An importer that waits for lines.
fn open_import(db: &str) -> Child {
    command(&["import", "--workdir", db, "--format", "tsv", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

/// Waits until the log of `db` shows at least `count` records.
fn wait_for_records(db: &str, count: usize, importer: &mut Child) {
    let start = Instant::now();
    let wal = format!("{db}/wal");
    while nokv(&["wal", "dump", &wal, "--json"]).out.lines().count() < count {
        assert!(importer.try_wait().expect("it runs").is_none(), "the import ended");
        assert!(start.elapsed() < PATIENCE, "the import does not go on");
    }
}

#[test]
fn kill_in_the_middle_of_an_import_leaves_a_prefix() {
    let dir = Dir::new();
    let db = dir.path("db");
    let records = 30_000;
    let text = tsv(0..records);
    for (round, seen) in [(0, 2), (1, 5), (2, 9)] {
        let _ = fs::remove_dir_all(&db);
        let mut import = open_import(&db);
        let mut stdin = import.stdin.take().expect("a pipe");
        let lines = text.clone();
        let feeder = std::thread::spawn(move || {
            // It is killed while it reads: the rest of the lines has no reader.
            let _ = stdin.write_all(lines.as_bytes());
            stdin
        });
        wait_for_records(&db, seen, &mut import);
        import.kill().expect("it runs");
        import.wait().expect("it runs");
        drop(feeder.join().expect("no panic"));
        // Read-only first: it gives the same as the open that recovers.
        let read_only = ok(&["export", "--workdir", &db, "--format", "tsv"]);
        done(&["check", "--workdir", &db]);
        done(&["compact", "--workdir", &db]);
        let export = ok(&["export", "--workdir", &db, "--format", "tsv"]);
        assert_eq!(export, read_only, "round {round}");
        let count = export.lines().count() as u64;
        assert!(count > 0 && count < records, "round {round}: {count} records");
        let mut expected: Vec<String> = tsv(0..count).lines().map(|line| format!("{line}\n")).collect();
        expected.sort();
        assert!(export == expected.concat(), "round {round}: not the first {count} records");
        ok(&["check", "--workdir", &db]);
    }
}

#[test]
fn one_process_at_a_time_and_looks_beside_it() {
    let dir = Dir::new();
    let db = dir.path("db");
    ok(&["set", "--workdir", &db, "before", "1"]);
    let mut import = open_import(&db);
    let pid = import.id().to_string();
    // One line, and more to come: it is read, and not yet written.
    let mut stdin = import.stdin.take().expect("a pipe");
    stdin.write_all(b"after\t2\n").expect("the importer reads");
    let start = Instant::now();
    while fs::read_to_string(format!("{db}/LOCK")).unwrap_or_default().trim() != pid {
        assert!(start.elapsed() < PATIENCE, "the import does not start");
        std::thread::yield_now();
    }
    for args in [&["set", "k", "v"][..], &["del", "before"], &["compact"]] {
        let ended = nokv(&[&["--workdir", db.as_str()][..], args].concat());
        assert_eq!(ended.code, 2, "{args:?}");
        assert!(ended.err.contains(&format!("process {pid} has the database open")), "{}", ended.err);
    }
    for args in [&["get", "before"][..], &["scan"], &["export", "--format", "tsv"], &["check"]] {
        let ended = nokv(&[&["--workdir", db.as_str()][..], args].concat());
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{args:?}");
        assert!(ended.err.contains(&format!("process {pid} has the database open")), "{}", ended.err);
    }
    for command in ["stats", "manifest", "vlog", "regions"] {
        assert!(!ok(&[command, "--workdir", &db]).is_empty());
    }
    drop(stdin);
    let output = import.wait_with_output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(ok(&["scan", "--workdir", &db]), "after\t2\nbefore\t1\n");
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let dir = Dir::new();
    let db = dir.path("db");
    // Much more than a pipe and our own buffer hold.
    let input = dir.file("in.tsv", tsv(0..20_000));
    ok(&["import", "--workdir", &db, "--format", "tsv", &input]);
    for args in [&["scan"][..], &["export", "--format", "jsonl"]] {
        let mut child = command(&[&["--workdir", db.as_str()][..], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut first = String::new();
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        reader.read_line(&mut first).expect("a line");
        assert!(first.ends_with('\n'));
        drop(reader);
        let mut err = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        let status = child.wait().expect("it runs");
        assert_eq!((status.code(), err.as_str()), (Some(0), ""));
    }
}
