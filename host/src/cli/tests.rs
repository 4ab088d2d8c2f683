//! Every command as scripts call it, on a store in memory.

use std::io::{self, Write};

use super::store::Exit;
use super::testing::MapBackend;
use super::*;

struct Outcome {
    exit: Exit,
    out: String,
    err: String,
}

fn nokv(backend: &MapBackend, args: &[&str]) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("nokv").chain(args.iter().copied()).map(OsString::from);
    let exit = run(backend, args, &mut out, &mut err, false);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Outcome { exit, out: text(out), err: text(err) }
}

fn ok(backend: &MapBackend, args: &[&str]) -> String {
    let outcome = nokv(backend, args);
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Done, ""), "{args:?}");
    outcome.out
}

fn file(text: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("input");
    std::fs::write(&path, text).expect("a writable directory");
    let path = path.to_str().expect("text").to_owned();
    (dir, path)
}

#[test]
fn the_arguments_are_consistent() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn set_get_del() {
    let db = MapBackend::default();
    assert_eq!(ok(&db, &["set", "--workdir", "d", "k", "v"]), "");
    assert!(db.store("d").is_synced());
    assert_eq!(ok(&db, &["get", "--workdir", "d", "k"]), "v\n");
    assert_eq!(ok(&db, &["--workdir", "d", "get", "k", "--json"]), "{\"key\":\"k\",\"value\":\"v\"}\n");
    assert_eq!(ok(&db, &["del", "--workdir", "d", "k"]), "");
    let gone = nokv(&db, &["get", "--workdir", "d", "k"]);
    assert_eq!((gone.exit.code(), gone.out.as_str()), (1, ""));
    assert!(gone.err.starts_with("nokv: there is no such key: key k in d: "), "{}", gone.err);
    assert_eq!(db.store("d").times_closed(), 5);

    // Values that look like flags, and bytes that a shell cannot pass.
    ok(&db, &["set", "--workdir", "d", "--", "-k", "-5"]);
    assert_eq!(ok(&db, &["get", "--workdir", "d", "--", "-k"]), "-5\n");
}

#[test]
fn escaped_arguments_name_any_bytes() {
    let db = MapBackend::default();
    ok(&db, &["set", "--workdir", "d", "--escaped", "a\\x00\\xff", "\\t"]);
    assert_eq!(ok(&db, &["scan", "--workdir", "d"]), "a\\x00\\xff\t\\t\n");
    assert_eq!(ok(&db, &["get", "--workdir", "d", "--escaped", "a\\x00\\xff"]), "\t\n");
    assert_eq!(ok(&db, &["scan", "--workdir", "d", "--escaped", "--prefix", "a\\x01"]), "");
    assert_eq!(nokv(&db, &["get", "--workdir", "d", "--escaped", "\\q"]).exit.code(), 2);
}

#[test]
fn missing_databases_and_wrong_calls_are_code_2() {
    let db = MapBackend::default();
    for args in [
        &["get", "--workdir", "none", "k"][..],
        &["del", "--workdir", "none", "k"],
        &["scan", "--workdir", "none"],
        &["stats", "--workdir", "none"],
        &["get", "k"],
        &["get", "--workdir", "d"],
        &["frobnicate"],
        &[],
        &["import", "--workdir", "d", "--format", "xml"],
        &["import", "--workdir", "d", "--format", "deb822", "x"],
        &["import", "--workdir", "d", "--format", "tsv", "--key", "x", "/dev/null"],
        &["import", "--workdir", "d", "--format", "tsv", "/no/such/file"],
        &["scan", "--workdir", "d", "--limit", "many"],
    ] {
        let outcome = nokv(&db, args);
        assert_eq!(outcome.exit.code(), 2, "{args:?}");
        assert!(!outcome.err.is_empty(), "{args:?}");
        assert_eq!(outcome.out, "", "{args:?}");
    }
    assert!(db.stores.borrow().is_empty(), "a wrong call makes no database");
    assert_eq!(
        nokv(&db, &["stats", "--workdir", "none"]).err,
        "nokv: there is no database: none: check the name\n"
    );
    for args in [&["--help"][..], &["import", "--help"], &["wal", "dump", "--help"], &["--version"]] {
        assert!(!ok(&db, args).is_empty());
    }
}

#[test]
fn import_export_scan() {
    let db = MapBackend::default();
    let (_dir, path) = file(b"Package: b\nSize: 1\n\nPackage: a\n\nPackage: b\nSize: 2\n");
    let report = ok(&db, &["import", "--workdir", "d", "--format", "deb822", "--key", "package", &path]);
    assert!(report.starts_with("3 records, 49 B, in "), "{report}");
    assert!(report.ends_with("\n1 repeated key (the last record of each is stored)\n"), "{report}");
    assert!(db.store("d").is_synced());
    assert_eq!(db.store("d").batches(), [3]);

    let lines =
        "{\"key\":\"a\",\"value\":\"Package: a\"}\n{\"key\":\"b\",\"value\":\"Package: b\\nSize: 2\"}\n";
    assert_eq!(ok(&db, &["export", "--workdir", "d", "--format", "jsonl"]), lines);
    assert_eq!(ok(&db, &["scan", "--workdir", "d", "--json"]), lines);
    let tsv = "a\tPackage: a\nb\tPackage: b\\nSize: 2\n";
    assert_eq!(ok(&db, &["export", "--workdir", "d", "--format", "tsv"]), tsv);
    assert_eq!(ok(&db, &["scan", "--workdir", "d"]), tsv);
    assert_eq!(
        ok(&db, &["scan", "--workdir", "d", "--reverse", "--limit", "1"]),
        "b\tPackage: b\\nSize: 2\n"
    );
    assert_eq!(ok(&db, &["scan", "--workdir", "d", "--prefix", "a"]), "a\tPackage: a\n");
    assert_eq!(ok(&db, &["scan", "--workdir", "d", "--limit", "0"]), "");

    for (format, text) in [("jsonl", lines), ("tsv", tsv)] {
        let (_dir, path) = file(text.as_bytes());
        let report = ok(&db, &["import", "--workdir", format, "--format", format, "--json", &path]);
        let report: serde_json::Value = serde_json::from_str(&report).expect("one line of JSON");
        assert_eq!((&report["records"], &report["repeated"]), (&2.into(), &0.into()));
        assert_eq!(db.store(format).pairs(), db.store("d").pairs());
    }
}

#[test]
fn import_stops_at_a_bad_line_with_all_before_it_stored() {
    let db = MapBackend::default();
    let (_dir, path) = file(b"a\t1\nb\t2\nc\nd\t4\n");
    let outcome = nokv(&db, &["import", "--workdir", "d", "--format", "tsv", &path]);
    assert_eq!((outcome.exit.code(), outcome.out.as_str()), (2, ""));
    let start = format!("nokv: there is no TAB: {path} line 3: ");
    assert!(outcome.err.starts_with(&start), "{}", outcome.err);
    assert!(outcome.err.ends_with("(the 2 records before it are stored)\n"), "{}", outcome.err);
    assert_eq!(ok(&db, &["scan", "--workdir", "d"]), "a\t1\nb\t2\n");
    assert!(db.store("d").is_synced());
}

#[test]
fn inspection_in_text_and_json() {
    let db = MapBackend::default();
    ok(&db, &["set", "--workdir", "d", "k", "v"]);
    assert_eq!(ok(&db, &["stats", "--workdir", "d", "--json"]), "{\"keys\":1}\n");
    assert_eq!(
        ok(&db, &["stats", "--workdir", "d"]),
        "d (files only: what counts events is 0)\n\n  keys                                1\n"
    );
    assert_eq!(ok(&db, &["regions", "--workdir", "d", "--json"]), "{\"regions\":[]}\n");
    assert_eq!(ok(&db, &["manifest", "--workdir", "d"]), "levels:\n  level  tables\n  0      1\n");
    assert_eq!(ok(&db, &["vlog", "--workdir", "d"]), "segments  none\n");
    assert_eq!(ok(&db, &["compact", "--workdir", "d"]), "written_bytes  2.0 KiB (2048)\n");
    assert_eq!(ok(&db, &["checkpoint", "--workdir", "d", "copy", "--json"]), "{\"to\":\"copy\"}\n");
    assert_eq!(ok(&db, &["check", "--workdir", "d"]), "files  1\nno damage\n");
    assert_eq!(
        ok(&db, &["repair", "--workdir", "d"]),
        "1.sst: leave it out; lost: 3 keys\nnothing was changed; --apply does it, on a copy of the directory first\n"
    );
    assert!(ok(&db, &["repair", "--workdir", "d", "--apply"]).ends_with("\ndone\n"));
    assert!(ok(&db, &["repair", "--workdir", "d", "--json"]).contains("\"applied\":false"));
}

#[test]
fn what_a_running_process_tells_needs_its_address() {
    let db = MapBackend::default();
    ok(&db, &["set", "--workdir", "d", "k", "v"]);
    for command in ["hot", "pins"] {
        let refused = nokv(&db, &[command, "--workdir", "d"]);
        assert_eq!((refused.exit.code(), refused.out.as_str()), (2, ""));
        assert!(
            refused.err.contains("in memory and not in files: d: ask the running process with --expvar"),
            "{}",
            refused.err
        );
        assert_eq!(nokv(&db, &[command]).exit.code(), 2);
        assert_eq!(nokv(&db, &[command, "--expvar", "https://h:1"]).exit.code(), 2);
    }
    for command in ["stats", "top"] {
        let both = nokv(&db, &[command, "--workdir", "d", "--expvar", "1"]);
        assert_eq!(both.exit.code(), 2, "{}", both.out);
        assert_eq!(nokv(&db, &[command]).exit.code(), 2);
    }
}

#[test]
fn a_workload_is_the_same_for_the_same_seed() {
    let db = MapBackend::default();
    let run = |dir: &str, seed: &str| {
        let args = ["workload", "--workdir", dir, "--ops", "2000", "--keys", "300", "--seed", seed, "--json"];
        let mut report: serde_json::Value = serde_json::from_str(&ok(&db, &args)).expect("one line of JSON");
        let counts = report.as_object_mut().expect("an object");
        counts.retain(|name, _| !name.contains("second"));
        (report, db.store(dir).pairs())
    };
    let first = run("one", "7");
    assert!(first == run("two", "7"));
    assert!(first != run("three", "8"));
    let (report, pairs) = first;
    let count = |name: &str| report[name].as_u64().expect("a count");
    assert_eq!(count("reads") + count("writes") + count("deletes") + count("scans"), 2000);
    assert!(count("reads_found") > 0 && count("scanned_records") > 0, "{report}");
    assert!(
        !pairs.is_empty()
            && pairs.iter().all(|(key, value)| key.starts_with(b"workload-") && value.len() == 100)
    );
    assert!(db.store("one").is_synced());
    assert_eq!(nokv(&db, &["workload", "--workdir", "d", "--ops", "1", "--mix", "jump=1"]).exit.code(), 2);
    assert_eq!(nokv(&db, &["workload", "--workdir", "d", "--ops", "1", "--log", "loud"]).exit.code(), 2);
}

#[test]
fn a_torn_tail_is_a_note_of_check() {
    let db = MapBackend::default();
    let torn = nokv(&db, &["check", "--workdir", "torn"]);
    assert_eq!((torn.exit.code(), torn.out.as_str()), (0, "files  1\nno damage\n"));
    assert_eq!(torn.err, "nokv: note: a torn tail\n");
    let torn = nokv(&db, &["check", "--workdir", "torn", "--json"]);
    assert!(torn.out.ends_with(",\"notes\":[\"a torn tail\"]}\n"), "{}", torn.out);
    // Repair has nothing to do about it, and does not hide it.
    let torn = nokv(&db, &["repair", "--workdir", "torn"]);
    assert_eq!((torn.exit.code(), torn.err.as_str()), (0, "nokv: note: a torn tail\n"));
    assert!(torn.out.starts_with("nothing to repair but what the next open"), "{}", torn.out);
}

#[test]
fn a_key_that_is_not_there_as_it_stands_may_be_an_escape() {
    let db = MapBackend::default();
    ok(&db, &["set", "--workdir", "d", "k", "v"]);
    for (key, more, hint) in [
        ("a\\x00", None, true),
        ("a\\x00", Some("--escaped"), false),
        ("a\\q", None, false),
        ("plain", None, false),
    ] {
        let args = ["get", "--workdir", "d", key].into_iter().chain(more).collect::<Vec<_>>();
        let gone = nokv(&db, &args);
        assert_eq!((gone.exit.code(), gone.err.contains("--escaped")), (1, hint), "{args:?}: {}", gone.err);
    }
}

#[test]
fn logs_offer_and_take_no_flags_of_databases() {
    let db = MapBackend::default();
    for args in [
        &["wal", "--help"][..],
        &["wal", "dump", "--help"],
        &["wal", "append", "--help"],
        &["wal", "verify", "--help"],
        &["wal", "tail", "--help"],
        &["wal", "backup", "--help"],
    ] {
        let help = ok(&db, args);
        assert!(!help.contains("--workdir") && !help.contains("--config"), "{args:?}: {help}");
    }
    assert!(ok(&db, &["get", "--help"]).contains("--workdir"));
    for args in [
        &["wal", "dump", "fine", "--workdir", "d"][..],
        &["wal", "--workdir", "d", "dump", "fine"],
        &["--workdir", "d", "wal", "dump", "fine"],
        &["--config", "c.toml", "wal", "dump", "fine"],
    ] {
        let refused = nokv(&db, args);
        assert_eq!((refused.exit.code(), refused.out.as_str()), (2, ""), "{args:?}");
    }
    let dotless = nokv(&db, &["wal", "dump", "fine", "--ext", "log"]);
    assert_eq!((dotless.exit.code(), dotless.out.as_str()), (2, ""));
    assert!(dotless.err.contains("an extension starts with a dot"), "{}", dotless.err);
}

#[test]
fn damage_is_code_1() {
    let db = MapBackend::default();
    let found = nokv(&db, &["check", "--workdir", "bad"]);
    assert_eq!((found.exit.code(), found.out.as_str()), (1, "1.sst: byte 9: bad checksum\nfiles  1\n"));
    assert!(found.err.starts_with("nokv: there is damage in one place: bad: "));
    let found = nokv(&db, &["check", "--workdir", "bad", "--json"]);
    assert_eq!(
        found.out,
        "{\"ok\":false,\"damage\":[{\"file\":\"1.sst\",\"offset\":9,\"what\":\"bad checksum\"}],\"summary\":{\"files\":1},\"notes\":[]}\n"
    );
}

#[test]
fn wal_dump_shows_records_then_what_ended_them() {
    let db = MapBackend::default();
    let line = "{\"segment\":1,\"offset\":64,\"log_index\":5,\"data_hex\":\"61ff\"}\n";
    assert_eq!(ok(&db, &["wal", "dump", "fine", "--json"]), line);
    assert_eq!(
        ok(&db, &["wal", "dump", "fine", "--ext", ".log"]),
        "segment 1  offset 64  log index 5  2 bytes  a\\xff\n"
    );
    let torn = nokv(&db, &["wal", "dump", "torn", "--json"]);
    assert_eq!((torn.exit.code(), torn.out.as_str()), (0, line));
    assert!(torn.err.starts_with("nokv: note: the last write was cut short (bad checksum): torn segment 1"));
    let bad = nokv(&db, &["wal", "dump", "bad", "--json"]);
    assert_eq!((bad.exit.code(), bad.out.as_str()), (1, line));
    assert!(bad.err.contains("4 whole records stand behind it"), "{}", bad.err);
    assert!(bad.err.contains("nokv wal verify") && !bad.err.contains("nokv repair"), "{}", bad.err);
}

/// An output that fails after some bytes.
struct Failing(usize, io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(self.1.into());
        }
        let n = bytes.len().min(self.0);
        self.0 -= n;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0 == 0 { Err(self.1.into()) } else { Ok(()) }
    }
}

#[test]
fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
    let db = MapBackend::default();
    ok(&db, &["set", "--workdir", "d", "k", "v"]);
    for bytes in 0..4 {
        for (kind, exit) in [(io::ErrorKind::BrokenPipe, 0), (io::ErrorKind::StorageFull, 2)] {
            for args in [&["scan", "--json"][..], &["get", "k"], &["stats"], &["export", "--format", "tsv"]] {
                let args = ["nokv", "--workdir", "d"].iter().chain(args).map(OsString::from);
                let mut err = Vec::new();
                let ended = run(&db, args, &mut Failing(bytes, kind), &mut err, false);
                if ended == Exit::Done && kind == io::ErrorKind::StorageFull {
                    assert!(bytes >= 3, "only the shortest answer fits");
                    continue;
                }
                assert_eq!(ended.code(), exit);
                assert_eq!(err.is_empty(), exit == 0);
            }
        }
    }
}
