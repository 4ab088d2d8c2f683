//! `nokv wal append`, `verify`, `tail` and `dump` as scripts call them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nokv"));
    command.args(args);
    command
}

fn ended(output: std::process::Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn nokv(args: &[&str]) -> Ended {
    ended(command(args).stdin(Stdio::null()).output().expect("the binary runs"))
}

fn ok(args: &[&str]) -> String {
    let ended = nokv(args);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{args:?}");
    ended.out
}

fn with_input(args: &[&str], input: &str) -> Ended {
    let mut child = piped(args);
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    ended(child.wait_with_output().expect("it runs"))
}

fn piped(args: &[&str]) -> Child {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("text").to_owned()
    }
}

/// The data of the records that `dump` or `tail` print with --json.
fn payloads(out: &str) -> Vec<String> {
    let unhex = |text: &str| {
        let digits: Vec<u8> =
            text.bytes().map(|b| (b as char).to_digit(16).expect("a digit") as u8).collect();
        String::from_utf8(digits.chunks(2).map(|p| p[0] << 4 | p[1]).collect()).expect("text")
    };
    let of = |line: &str| {
        let record: Json = serde_json::from_str(line).expect("one object a line");
        unhex(record["data_hex"].as_str().expect("text"))
    };
    out.lines().map(of).collect()
}

fn flip(path: impl AsRef<Path>, at: usize) {
    let mut bytes = fs::read(&path).expect("a readable file");
    bytes[at] ^= 0x10;
    fs::write(&path, bytes).expect("a writable file");
}

fn segment(dir: &str, number: u32) -> PathBuf {
    Path::new(dir).join(format!("{number:09}.wal"))
}

#[test]
fn append_takes_lines_values_and_hex_and_tells_where_they_went() {
    let dir = Dir::new();
    let log = dir.path("log");
    let report = with_input(&["wal", "append", &log, "--json"], "one\n\ntwo");
    assert_eq!((report.code, report.err.as_str()), (Some(0), ""));
    assert_eq!(report.out, "{\"records\":3,\"first\":\"1:64\",\"last\":\"1:104\"}\n");
    let text = ok(&["wal", "append", &log, "--value", "three", "--value", "four"]);
    assert_eq!(text, "records  2\nfirst    1:128\nlast     1:152\n");
    ok(&["wal", "append", &log, "--hex", "66697665"]);
    assert_eq!(payloads(&ok(&["wal", "dump", &log, "--json"])), ["one", "", "two", "three", "four", "five"]);
    assert_eq!(ok(&["wal", "append", &log, "--json"]), "{\"records\":0,\"first\":null,\"last\":null}\n");

    for (args, what) in [
        (&["--hex", "6"][..], "not hexadecimal"),
        (&["--hex", "zz"], "not hexadecimal"),
        (&["--segment-bytes", "100"], "multiple of 8"),
        (&["--value", "a", "--hex", "61"], "cannot be used with"),
    ] {
        let ended = nokv(&[&["wal", "append", &log][..], args].concat());
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.err.contains(what), "{args:?}: {}", ended.err);
    }
    assert_eq!(payloads(&ok(&["wal", "dump", &log, "--json"])).len(), 6, "a wrong call appends nothing");
}

#[test]
fn a_record_that_does_not_fit_ends_the_command_behind_the_ones_before() {
    let dir = Dir::new();
    let log = dir.path("log");
    let input = format!("fits\n{}\nnever read\n", "x".repeat(2000));
    let ended = with_input(&["wal", "append", &log, "--segment-bytes", "1024"], &input);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert!(
        ended.err.contains("--segment-bytes") && ended.err.contains("1 record was appended"),
        "{}",
        ended.err
    );
    assert_eq!(payloads(&ok(&["wal", "dump", &log, "--json"])), ["fits"]);
}

#[test]
fn log_indexes_go_on_unless_told_otherwise() {
    let dir = Dir::new();
    let log = dir.path("log");
    ok(&["wal", "append", &log, "--index", "7", "--value", "a", "--value", "b"]);
    ok(&["wal", "append", &log, "--value", "c"]);
    ok(&["wal", "append", &log, "--index", "20", "--value", "d"]);
    ok(&["wal", "append", &log, "--index", "0", "--value", "e"]);
    let out = ok(&["wal", "dump", &log, "--json"]);
    let indexes: Vec<u64> = out
        .lines()
        .map(|l| serde_json::from_str::<Json>(l).expect("JSON")["log_index"].as_u64().expect("a number"))
        .collect();
    assert_eq!(indexes, [7, 8, 9, 20, 0]);
}

#[test]
fn one_appender_at_a_time() {
    let dir = Dir::new();
    let log = dir.path("log");
    ok(&["wal", "append", &log, "--value", "a"]);
    let mut child = piped(&["wal", "append", &log]);
    // It has the log open once its first record is there.
    writeln!(child.stdin.as_mut().expect("a pipe"), "b").expect("it reads");
    while payloads(&ok(&["wal", "dump", &log, "--json"])).len() < 2 {
        assert!(child.try_wait().expect("it runs").is_none(), "it ended");
    }
    let second = nokv(&["wal", "append", &log, "--value", "c"]);
    assert_eq!(second.code, Some(2));
    assert!(second.err.contains(&format!("process {} has the log open", child.id())), "{}", second.err);
    drop(child.stdin.take());
    assert!(child.wait().expect("it runs").success());
}

#[test]
fn a_torn_end_is_a_note_to_verify_and_dump_and_append_goes_on_behind_it() {
    let dir = Dir::new();
    let log = dir.path("log");
    // A process that is killed leaves its records unclaimed, so damage of the last one is a torn append.
    let mut child = piped(&["wal", "append", &log]);
    child.stdin.as_mut().expect("a pipe").write_all(b"one\ntwo\nthree\n").expect("it reads");
    while !segment(&log, 1).exists() || payloads(&ok(&["wal", "dump", &log, "--json"])).len() < 3 {
        assert!(child.try_wait().expect("it runs").is_none(), "it ended");
        if !Path::new(&log).exists() {
            std::thread::yield_now();
        }
    }
    child.kill().expect("it runs");
    child.wait().expect("it runs");
    flip(segment(&log, 1), 64 + 24 + 24 + 10);
    for args in [&["wal", "verify", &log][..], &["wal", "dump", &log]] {
        let ended = nokv(args);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.err.starts_with("nokv: note: the last write was cut short"), "{}", ended.err);
    }
    let ended = nokv(&["wal", "append", &log, "--value", "four"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("was cut off") && ended.err.contains("offset 112"), "{}", ended.err);
    assert_eq!(payloads(&ok(&["wal", "dump", &log, "--json"])), ["one", "two", "four"]);
    ok(&["wal", "verify", &log]);
}

#[test]
fn verify_shows_every_segment_and_ends_with_1_on_damage() {
    let dir = Dir::new();
    let log = dir.path("log");
    let input: String = (0..60).map(|i| format!("record number {i}\n")).collect();
    assert_eq!(
        with_input(&["wal", "append", &log, "--segment-bytes", "512", "--index", "1"], &input).code,
        Some(0)
    );
    let whole: Json = serde_json::from_str(&ok(&["wal", "verify", &log, "--json"])).expect("JSON");
    assert_eq!((&whole["records"], &whole["end"]), (&60.into(), &"clean".into()));
    let segments = whole["segments"].as_array().expect("a list");
    assert!(segments.len() > 2);
    for (i, s) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        assert_eq!(s["state"], if last { "active" } else { "sealed" });
        assert_eq!(s["index"], if last { "-" } else { "good" });
        assert_eq!((&s["header"], &s["damage"]), (&"good".into(), &Json::Null));
    }
    let table = ok(&["wal", "verify", &log]);
    assert!(table.lines().all(|l| l.len() <= 80), "{table}");

    // Damage in the middle: the segments behind it are looked at too.
    flip(segment(&log, 2), 100);
    let ended = nokv(&["wal", "verify", &log, "--json"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("the log is damaged"), "{}", ended.err);
    let found: Json = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(found["segments"].as_array().map(Vec::len), Some(segments.len()));
    assert!(
        found["segments"][1]["damage"].as_str().is_some_and(|d| d.starts_with("96: expected")),
        "{found}"
    );
    assert_eq!(found["segments"][2]["damage"], Json::Null);
    assert!(found["end"].as_str().is_some_and(|e| e.starts_with("damaged at 2:96")), "{found}");
    flip(segment(&log, 2), 100);

    // A header, and an index file that nobody believes: only the first is damage.
    flip(segment(&log, 3), 30);
    assert_eq!(nokv(&["wal", "verify", &log]).code, Some(1));
    flip(segment(&log, 3), 30);
    flip(Path::new(&log).join("000000001.wal.idx"), 3);
    let found: Json = serde_json::from_str(&ok(&["wal", "verify", &log, "--json"])).expect("JSON");
    assert_eq!(found["segments"][0]["index"], "ignored");
}

#[test]
fn the_vectors_verify_as_what_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/walfs");
    for (name, code) in [
        ("basic", 0),
        ("rotated", 0),
        ("batch", 0),
        ("marker", 0),
        ("stale-header", 0),
        ("torn-trailer", 0),
        ("wild-length", 0),
        ("flipped-bit", 1),
        ("torn-header", 1),
    ] {
        let ended = nokv(&["wal", "verify", root.join(name).to_str().expect("text")]);
        assert_eq!(ended.code, Some(code), "{name}: {}{}", ended.out, ended.err);
    }
}

#[test]
fn a_directory_without_segments_is_named_as_such() {
    let dir = Dir::new();
    let empty = dir.path("empty");
    fs::create_dir(&empty).expect("a writable directory");
    for (args, code) in [
        (&["wal", "dump", &empty][..], 2),
        (&["wal", "verify", &empty], 2),
        // A log may be about to be made.
        (&["wal", "tail", &empty], 0),
    ] {
        let ended = nokv(args);
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{args:?}");
        assert!(ended.err.contains("there are no log segments (NNNNNNNNN.wal)"), "{args:?}: {}", ended.err);
    }
    let none = dir.path("none");
    for args in [&["wal", "dump", &none][..], &["wal", "verify", &none], &["wal", "tail", &none]] {
        assert_eq!(nokv(args).code, Some(2), "{args:?}");
    }
    assert!(!Path::new(&none).exists(), "looking makes nothing");
    assert_eq!(fs::read_dir(&empty).expect("a directory").count(), 0);
}

#[test]
#[cfg(any(feature = "art", feature = "skiplist"))] // it opens a database
fn the_directory_of_a_database_is_no_log_and_what_asks_for_one_is_told_where_it_is() {
    let dir = Dir::new();
    let db = dir.path("db");
    ok(&["set", "--workdir", &db, "k", "v"]);
    let names = || {
        let entries = fs::read_dir(&db).expect("a directory").map(|e| e.expect("an entry").file_name());
        entries.collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    for args in [&["wal", "dump", &db][..], &["wal", "verify", &db]] {
        let ended = nokv(args);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.err.contains(&format!("its log is {db}/wal")), "{args:?}: {}", ended.err);
    }
    for log in [db.clone(), format!("{db}/"), format!("{db}/wal")] {
        let ended = nokv(&["wal", "append", &log, "--value", "x"]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{log}");
        assert!(ended.err.contains("belongs to a database"), "{log}: {}", ended.err);
    }
    // Without CURRENT the manifests still say whose it is.
    fs::rename(Path::new(&db).join("CURRENT"), dir.path("kept")).expect("a writable directory");
    assert_eq!(nokv(&["wal", "append", &db, "--value", "x"]).code, Some(2));
    fs::rename(dir.path("kept"), Path::new(&db).join("CURRENT")).expect("a writable directory");
    assert!(before == names(), "a refused append left something");

    // Damage: only what is a database's is for `repair`.
    let log = dir.path("log");
    let values: Vec<&str> = std::iter::repeat_n(["--value", "some record"], 5).flatten().collect();
    ok(&[&["wal", "append", &log][..], &values].concat());
    flip(segment(&log, 1), 80);
    let ended = nokv(&["wal", "dump", &log]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("nokv wal verify") && !ended.err.contains("nokv repair"), "{}", ended.err);
    fs::create_dir(dir.path("around")).expect("a writable directory");
    fs::write(dir.path("around/CURRENT"), "x").expect("a writable directory");
    fs::rename(&log, dir.path("around/wal")).expect("a writable directory");
    let ended = nokv(&["wal", "dump", &dir.path("around/wal")]);
    assert!(ended.err.contains("nokv repair"), "{}", ended.err);
}

#[test]
fn a_lower_index_replaces_what_is_at_and_above_it() {
    let dir = Dir::new();
    let log = dir.path("log");
    ok(&["wal", "append", &log, "--index", "1", "--value", "a", "--value", "b", "--value", "c"]);
    ok(&["wal", "append", &log, "--index", "2", "--value", "d"]);
    // As the help says: the dump shows both, and what follows goes on from the new one.
    ok(&["wal", "append", &log, "--value", "e"]);
    let out = ok(&["wal", "dump", &log, "--json"]);
    let shown: Vec<(u64, String)> = out
        .lines()
        .map(|l| serde_json::from_str::<Json>(l).expect("JSON")["log_index"].as_u64().expect("a number"))
        .zip(payloads(&out))
        .collect();
    let expected = [(1, "a"), (2, "b"), (3, "c"), (2, "d"), (3, "e")].map(|(i, text)| (i, text.to_owned()));
    assert_eq!(shown, expected);
    let fs = nokv::StdFs::new();
    let opened = nokv::core::wal::Log::open(fs, &log, nokv::core::wal::LogOptions::default()).expect("a log");
    let at = |index| opened.read(opened.position_for_index(index).expect("a place")).expect("a record");
    assert_eq!([at(1), at(2), at(3)].map(|record| String::from_utf8(record).expect("text")), ["a", "d", "e"]);
}

#[test]
fn what_is_no_directory_is_called_so() {
    let dir = Dir::new();
    let file = dir.path("letter.txt");
    fs::write(&file, "dear").expect("a writable directory");
    for args in [
        &["--workdir", &file, "get", "k"][..],
        &["--workdir", &file, "set", "k", "v"],
        &["--workdir", &file, "stats"],
        &["--workdir", &file, "check"],
        &["wal", "dump", &file],
        &["wal", "verify", &file],
        &["wal", "append", &file, "--value", "x"],
    ] {
        let ended = nokv(args);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.err.starts_with(&format!("nokv: this is not a directory: {file}")), "{}", ended.err);
    }
    assert_eq!(fs::read(&file).expect("a readable file"), b"dear");
}

#[test]
fn tail_says_that_there_is_no_new_data_and_starts_where_it_is_told() {
    let dir = Dir::new();
    let log = dir.path("log");
    let input: String = (0..40).map(|i| format!("record number {i}\n")).collect();
    assert_eq!(
        with_input(&["wal", "append", &log, "--segment-bytes", "512", "--index", "5"], &input).code,
        Some(0)
    );
    let all = nokv(&["wal", "tail", &log, "--json"]);
    assert_eq!(all.code, Some(0));
    assert!(all.err.contains("no new data"), "{}", all.err);
    assert_eq!(all.out, ok(&["wal", "dump", &log, "--json"]));
    // From behind each record: what follows it.
    let lines: Vec<&str> = all.out.lines().collect();
    for (i, line) in lines.iter().enumerate().step_by(7) {
        let record: Json = serde_json::from_str(line).expect("JSON");
        let after = format!("{}:{}", record["segment"], record["offset"]);
        let rest = nokv(&["wal", "tail", &log, "--json", "--after", &after]);
        assert_eq!(rest.out.lines().collect::<Vec<_>>(), lines[i + 1..]);
    }
    for after in ["1:72", "9:64", "x", "1"] {
        assert_eq!(nokv(&["wal", "tail", &log, "--after", after]).code, Some(2), "{after}");
    }
}

#[test]
fn tail_follows_an_appender_over_segments() {
    let dir = Dir::new();
    let log = dir.path("log");
    ok(&["wal", "append", &log, "--segment-bytes", "512", "--value", "first"]);
    let mut tail = piped(&["wal", "tail", &log, "--follow", "--json"]);
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    let mut next = || payloads(&lines.next().expect("a line").expect("text")).remove(0);
    assert_eq!(next(), "first");
    let mut appender = piped(&["wal", "append", &log, "--segment-bytes", "512"]);
    let mut stdin = appender.stdin.take().expect("a pipe");
    for i in 0..50 {
        // Each is seen before the next is appended, so the tail waits each time.
        writeln!(stdin, "record number {i}").expect("it reads");
        assert_eq!(next(), format!("record number {i}"));
    }
    drop(stdin);
    assert!(appender.wait().expect("it runs").success());
    assert!(segment(&log, 3).exists(), "it went over segments");
    ok(&["wal", "append", &log, "--value", "of another process"]);
    assert_eq!(next(), "of another process");
    assert!(tail.try_wait().expect("it runs").is_none(), "it goes on");
    tail.kill().expect("it runs");
    tail.wait().expect("it runs");
}

#[test]
fn backup_copies_sealed_segments_which_are_a_log_of_their_own() {
    let dir = Dir::new();
    let (log, to) = (dir.path("log"), dir.path("to"));
    let input: String = (0..60).map(|i| format!("record number {i}\n")).collect();
    let append = ["wal", "append", &log, "--segment-bytes", "512", "--index", "1"];
    assert_eq!(with_input(&append, &input).code, Some(0));
    let report: Json =
        serde_json::from_str(&ok(&["wal", "backup", &log, "--to", &to, "--json"])).expect("JSON");
    let copied = report["segments"].as_array().expect("a list").len() as u32;
    assert!(copied > 2);
    assert!(segment(&log, copied + 1).exists() && !segment(&to, copied + 1).exists(), "not the active one");
    for number in 1..=copied {
        let read = |dir: &str| fs::read(segment(dir, number)).expect("a readable file");
        assert!(read(&log) == read(&to), "segment {number}");
    }
    let all = ok(&["wal", "dump", &log, "--json"]);
    let copy = ok(&["wal", "dump", &to, "--json"]);
    assert!(!copy.is_empty() && all.starts_with(&copy));
    ok(&["wal", "verify", &to]);

    // Later ones only; then there are none.
    let later = dir.path("later");
    ok(&["wal", "backup", &log, "--to", &later, "--after", "2"]);
    assert!(!segment(&later, 2).exists() && segment(&later, 3).exists());
    let none = nokv(&["wal", "backup", &log, "--to", &later, "--after", "99", "--json"]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), "{\"segments\":[]}\n"));
    assert!(none.err.contains("no segment above 99 is sealed"), "{}", none.err);

    // A damaged segment is not copied.
    flip(segment(&log, 2), 100);
    let bad = dir.path("bad");
    let ended = nokv(&["wal", "backup", &log, "--to", &bad]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(segment(&bad, 1).exists() && !segment(&bad, 2).exists());
}
