//! The tools that watch a running process, and those that look at its files meanwhile: the binary against a process
//! that serves metrics, and against a database that this process changes.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nokv::{Db, Options};
use serde_json::Value as Json;

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nokv"));
    command.args(args).env_remove("NOKV_LOG");
    command
}

fn nokv(args: &[&str]) -> Ended {
    let output = command(args).stdin(Stdio::null()).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended {
        code: output.status.code().expect("an exit code"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn ok(args: &[&str]) -> String {
    let ended = nokv(args);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{args:?}");
    ended.out
}

fn json(args: &[&str]) -> Json {
    let out = ok(args);
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}"))
}

/// No line wraps in a terminal of 80 columns, and nothing in it moves the cursor.
fn assert_fits(screen: &str) {
    assert!(!screen.trim().is_empty());
    for line in screen.lines() {
        assert!(line.len() <= 80, "{} columns: {line}", line.len());
        assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
    }
}

/// A workload that is done and keeps its database open until its input ends.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    addr: String,
    report: Json,
}

impl Running {
    fn start(db: &str, more: &[&str]) -> Self {
        Self::start_of(db, "4000", more)
    }

    fn start_of(db: &str, ops: &str, more: &[&str]) -> Self {
        let args = [
            "workload",
            "--workdir",
            db,
            "--ops",
            ops,
            "--keys",
            "500",
            "--json",
            "--hold",
            "--metrics-addr",
            "0",
        ];
        let mut child = command(&[&args[..], more].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stdin = child.stdin.take();
        let mut note = String::new();
        BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut note).expect("a note");
        let addr = note.split("http://").nth(1).and_then(|rest| rest.split(": ").next()).expect("an address");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a report");
        let report = serde_json::from_str(&line).expect("one line of JSON");
        Self { child, stdin, addr: addr.trim().to_owned(), report }
    }

    fn count(&self, name: &str) -> u64 {
        self.report[name].as_u64().unwrap_or_else(|| panic!("{name} in {}", self.report))
    }

    fn end(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().expect("it runs").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only after a failed assertion.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn at<'a>(value: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

fn number(value: &Json, path: &str) -> u64 {
    at(value, path).and_then(Json::as_u64).unwrap_or_else(|| panic!("{path} in {value}"))
}

/// The names of the reference that are always there.
fn reference_names() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests/engine/stats_names/reference.txt");
    let text = fs::read_to_string(path).expect("the list of names");
    let names = text.lines().filter(|l| !l.starts_with('#') && !l.ends_with('?') && !l.contains(['*', '[']));
    names.map(str::to_owned).collect()
}

#[test]
fn stats_of_a_running_process_have_every_name_with_the_numbers_of_its_workload() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = dir.path().join("db").to_str().expect("text").to_owned();
    let running = Running::start(&db, &[]);
    let stats = json(&["stats", "--expvar", &running.addr, "--json"]);
    let names = reference_names();
    assert!(names.len() > 80, "{} names", names.len());
    for name in names {
        let value = at(&stats, &name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(!value.is_null(), "{name} is null");
    }
    let written = running.count("writes") + running.count("deletes");
    assert_eq!(number(&stats, "entries"), written);
    assert_eq!(number(&stats, "engine.counters.writes"), written);
    assert_eq!(number(&stats, "engine.counters.reads"), running.count("reads"));
    assert_eq!(number(&stats, "engine.seqs.published"), written);
    assert_eq!(number(&stats, "write.batches_total"), written);
    assert_eq!(number(&stats, "flush.pending"), 0);
    assert_eq!(number(&stats, "redis.commands_total"), 0);
    assert_eq!(stats["engine"]["offline"], false);

    let screen = ok(&["stats", "--expvar", &running.addr]);
    assert_fits(&screen);
    assert!(
        screen.starts_with(&format!("http://{}/debug/vars (process {}, ", running.addr, running.child.id())),
        "{screen}"
    );
    assert!(screen.contains("\nwrite\n") && screen.contains("\nhealth\n"), "{screen}");
    assert!(screen.contains("writable"), "{screen}");

    let without = json(&["stats", "--expvar", &running.addr, "--json", "--no-region-metrics"]);
    assert!(without.get("region").is_none() && without.get("raft").is_some());

    // Beside it: readers of records are refused, looks are not.
    let pid = running.child.id().to_string();
    for args in [&["get", "k"][..], &["scan"], &["export", "--format", "tsv"], &["check"]] {
        let refused = nokv(&[&["--workdir", db.as_str()][..], args].concat());
        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{args:?}");
        assert!(refused.err.contains(&format!("process {pid} has the database open")), "{}", refused.err);
    }
    for args in [&["stats"][..], &["manifest"], &["vlog"], &["regions"]] {
        assert!(!ok(&[&["--workdir", db.as_str()][..], args].concat()).is_empty());
    }
    assert_eq!(json(&["regions", "--workdir", &db, "--json"]), serde_json::json!({"regions": []}));
    running.end();

    // From files: what they tell, and 0 for what happened.
    let offline = json(&["stats", "--workdir", &db, "--json"]);
    // The close wrote a table, without what newer writes of the same keys hide.
    let check = json(&["check", "--workdir", &db, "--json"]);
    assert_eq!(number(&offline, "entries"), number(&check, "summary.entries"));
    assert!((1..=500).contains(&number(&offline, "entries")), "one version of each key");
    assert_eq!(offline["engine"]["offline"], true);
    assert!(number(&offline, "engine.space.table_bytes") > 0);
    assert_eq!(number(&offline, "write.batches_total"), 0);
    assert_eq!(number(&offline, "flush.completed"), 0);
    for name in reference_names() {
        assert!(at(&offline, &name).is_some_and(|value| !value.is_null()), "{name} is missing");
    }
    let screen = ok(&["stats", "--workdir", &db]);
    assert_fits(&screen);
    assert!(screen.contains("files only"), "{screen}");
    for command in ["manifest", "vlog", "check"] {
        assert_fits(&ok(&[command, "--workdir", &db]));
    }
}

#[test]
fn ctrl_c_ends_a_workload_cleanly() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = dir.path().join("db").to_str().expect("text").to_owned();
    let ops = "1000000000000";
    let args = ["workload", "--workdir", &db, "--ops", ops, "--json", "--metrics-addr", "0"];
    let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut note = String::new();
    stderr.read_line(&mut note).expect("a note");
    let addr = note.split("http://").nth(1).and_then(|rest| rest.split(": ").next()).expect("an address");
    while number(&json(&["stats", "--expvar", addr, "--json"]), "engine.counters.writes") < 100 {
        assert!(child.try_wait().expect("it runs").is_none(), "it ended");
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    let output = child.wait_with_output().expect("it runs");
    assert_eq!(output.status.code(), Some(130), "{:?}", output.status);
    let report: Json = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let done = number(&report, "operations");
    let kinds = ["reads", "writes", "deletes", "scans"].map(|kind| number(&report, kind));
    assert_eq!(done, kinds.iter().sum::<u64>());
    assert!(kinds[1] >= 100, "{report}");
    let mut said = String::new();
    stderr.read_to_string(&mut said).expect("text");
    assert!(said.starts_with(&format!("nokv: interrupted after {done} of {ops} operations: ")), "{said}");
    // Closed: nothing is left to replay, and nothing to note.
    let check = json(&["check", "--workdir", &db, "--json"]);
    assert_eq!(check["ok"], true);
    let stats = json(&["stats", "--workdir", &db, "--json"]);
    assert_eq!(at(&stats, "engine.recovery.clean"), Some(&Json::Bool(true)), "{stats}");
}

/// Names of the reference below lists, maps and rings: they are there once there is a level, a family, a hot key, a
/// head.
fn reference_names_of_parts() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests/engine/stats_names/reference.txt");
    let text = fs::read_to_string(path).expect("the list of names");
    let is_of_part = |l: &&str| !l.starts_with('#') && (l.contains(['*', '[']) || l.contains("_ring."));
    text.lines().filter(is_of_part).map(|l| l.trim_end_matches('?').to_owned()).collect()
}

/// What `path` names: `[]` is each element of a list, `*` each value of a map.
fn each<'a>(value: &'a Json, path: &str) -> Vec<&'a Json> {
    path.replace("[]", ".[]").split('.').fold(vec![value], |values, name| {
        let below = |value: &'a Json| -> Vec<&'a Json> {
            match name {
                "[]" => value.as_array().into_iter().flatten().collect(),
                "*" => value.as_object().into_iter().flat_map(|map| map.values()).collect(),
                // A value without the name is found out by whoever counts.
                _ => vec![value.get(name).unwrap_or(&Json::Null)],
            }
        };
        values.into_iter().flat_map(below).collect()
    })
}

#[test]
fn stats_of_a_running_process_have_every_name_of_its_levels_families_hot_keys_rings_and_heads() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = dir.path().join("db").to_str().expect("text").to_owned();
    let config = dir.path().join("options.toml");
    // Small memtables for flushes and compactions, values for the value log, counts of all time.
    let options = "mem_table_bytes = \"64KiB\"\nwal_segment_bytes = \"256KiB\"\nvalue_threshold_bytes = 500\n\
                   level0_compaction_tables = 2\nhot_ring_enabled = true\nhot_ring_window_slots = 0\n";
    fs::write(&config, options).expect("a writable file");
    let more = ["--config", config.to_str().expect("text"), "--value-bytes", "1000"];
    let running = Running::start_of(&db, "20000", &more);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let stats = loop {
        let stats = json(&["stats", "--expvar", &running.addr, "--json"]);
        if number(&stats, "compaction.runs") > 0 && number(&stats, "flush.completed") > 2 {
            break stats;
        }
        assert!(std::time::Instant::now() < until, "nothing was flushed and compacted: {stats}");
    };
    let names = reference_names_of_parts();
    assert!(names.len() > 50, "{} names", names.len());
    for name in names {
        let found = each(&stats, &name);
        assert!(!found.is_empty(), "{name}: nothing has it");
        assert!(found.iter().all(|value| !value.is_null()), "{name} is missing or null: {found:?}");
    }
    let sum = |path: &str| -> u64 { each(&stats, path).iter().filter_map(|value| value.as_u64()).sum() };
    let written = running.count("writes") + running.count("deletes");
    assert_eq!(sum("lsm.column_families.*.writes"), written);
    assert_eq!(number(&stats, "lsm.column_families.default.reads"), running.count("reads"));
    assert_eq!(each(&stats, "lsm.levels[].level"), [0, 1, 2, 3, 4, 5, 6]);
    assert!(sum("lsm.levels[].tables") + sum("lsm.levels[].ingest_tables") > 0);
    assert!(sum("lsm.levels[].value_bytes") + sum("lsm.levels[].ingest_value_bytes") > 100 * 1000);
    assert!(sum("value_log.heads.*.Offset") > 0);
    for kind in ["read", "write"] {
        let counts = each(&stats, &format!("hot.{kind}_keys[].count"));
        let counts: Vec<u64> = counts.into_iter().filter_map(Json::as_u64).collect();
        assert!(counts.len() > 1 && counts.is_sorted_by(|a, b| a >= b) && counts[0] > 20, "{counts:?}");
    }
    assert!(
        each(&stats, "hot.read_keys[].key")
            .iter()
            .all(|key| { key.as_str().is_some_and(|key| key.starts_with("workload-")) })
    );
    assert_eq!(number(&stats, "hot.write_ring.touches"), written);
    running.end();
}

#[test]
fn hot_and_pins_ask_the_process() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_str().expect("text");
    let db = Db::open(Options::new(dir.path())).expect("a database");
    let server = nokv::metrics::serve(&db, "0").expect("a server");
    let at = server.local_addr().to_string();
    db.set(b"k", b"v").expect("a write");
    let pins = ok(&["pins", "--expvar", &at]);
    assert_eq!(pins, "nothing is pinned\n");
    let snapshot = db.snapshot().expect("a snapshot");
    let pins = json(&["pins", "--expvar", &at, "--json"]);
    assert_eq!(pins["snapshots"], 1, "{pins}");
    let screen = ok(&["pins", "--expvar", &at]);
    assert_fits(&screen);
    assert!(screen.contains("snapshot") && screen.contains("  age  "), "{screen}");
    drop(snapshot);
    assert_fits(&ok(&["hot", "--expvar", &at]));
    assert!(json(&["hot", "--expvar", &at, "--json"]).get("hot").is_some());
    for tool in ["hot", "pins"] {
        let refused = nokv(&[tool, "--workdir", path]);
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains("--expvar URL"), "{}", refused.err);
    }
    drop(server);
    let gone = nokv(&["stats", "--expvar", &at]);
    assert_eq!((gone.code, gone.out.as_str()), (2, ""));
    assert!(gone.err.contains(&at) && gone.err.contains("no answer"), "{}", gone.err);
}

#[test]
fn an_answer_that_is_not_ours_is_a_clear_error() {
    for (answer, says) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "has no NoKV.Stats"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi!", "is no JSON"),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno\x1b[2Jsuch",
            "404 Not Found: no\\x1b[2Jsuch",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "broke off"),
        ("220 smtp.example ESMTP\r\n", "failed"),
        ("", "failed"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address").to_string();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        });
        let ended = nokv(&["stats", "--expvar", &at]);
        served.join().expect("no panic");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{says}");
        assert!(ended.err.contains(says), "{says}: {}", ended.err);
    }
}

#[test]
fn looks_beside_a_process_that_changes_its_files_all_the_time_never_fail() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_str().expect("text");
    // Small enough that log segments, tables and value-log segments come and go.
    let options =
        Options { mem_table_bytes: 64 << 10, wal_segment_bytes: 256 << 10, ..Options::new(dir.path()) };
    let db = Db::open(options).expect("a database");
    db.set(b"first", b"value").expect("a write");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut i = 0u64;
            while !done.load(Ordering::Relaxed) {
                i += 1;
                let key = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 5_000).to_be_bytes();
                let value = vec![b'v'; if i.is_multiple_of(20) { 6_000 } else { 200 }];
                db.set(&key, &value).expect("a write");
            }
            i
        });
        let mut failed = Vec::new();
        // Until files changed under the looks often enough.
        for round in 0..500 {
            if round >= 5 && db.stats().flush.completed > 3 {
                break;
            }
            for tool in ["stats", "manifest", "vlog", "regions"] {
                let ended = nokv(&[tool, "--workdir", path, "--json"]);
                if ended.code != 0 || serde_json::from_str::<Json>(&ended.out).is_err() {
                    failed.push((tool, ended.err));
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(writer.join().expect("no panic") > 1_000);
        assert!(failed.is_empty(), "{failed:#?}");
    });
    let stats = db.stats();
    assert!(stats.flush.completed > 3, "nothing changed: {} flushes", stats.flush.completed);
}

#[test]
fn a_look_writes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_str().expect("text");
    let db = Db::open(Options::new(dir.path())).expect("a database");
    db.set(b"k", b"v").expect("a write");
    let files = || -> BTreeMap<_, _> {
        let entries =
            ["", "wal", "tables", "vlog"].iter().filter_map(|sub| fs::read_dir(dir.path().join(sub)).ok());
        let stamp = |entry: fs::DirEntry| {
            let meta = entry.metadata().expect("metadata");
            (entry.path(), (meta.len(), meta.modified().expect("a time")))
        };
        entries.flatten().map(|entry| stamp(entry.expect("an entry"))).collect()
    };
    let before = files();
    for tool in ["stats", "manifest", "vlog", "regions"] {
        ok(&[tool, "--workdir", path]);
    }
    assert_eq!(nokv(&["get", "--workdir", path, "k"]).code, 2);
    assert_eq!(before, files());
    drop(db);
}

#[test]
fn top_prints_one_screen() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = dir.path().join("db").to_str().expect("text").to_owned();
    let running = Running::start(&db, &[]);
    let screen = ok(&["top", "--expvar", &running.addr, "--once", "--interval", "100ms"]);
    assert_fits(&screen);
    assert!(screen.lines().count() <= 24 && !screen.ends_with("\n\n"), "{screen}");
    for part in ["PER SECOND", "CACHE HITS", "PRESSURE", "LEVEL", "HOT READS", "p50/p99  ", "\nwell\n"] {
        assert!(screen.contains(part), "{part}\n{screen}");
    }
    assert!(!screen.contains("q quits"), "{screen}");
    running.end();
    // From files: levels, and no rates.
    let screen = ok(&["top", "--workdir", &db, "--once", "--interval", "100ms"]);
    assert_fits(&screen);
    assert!(screen.contains("files only"), "{screen}");
    assert!(!screen.contains("p50") && !screen.ends_with("\n\n"), "{screen}");
    let nobody = nokv(&["top", "--expvar", "1", "--once"]);
    assert_eq!(nobody.code, 2);
}

/// A terminal of 80 columns and 24 rows, as far as programs need one here.
struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    pending: Vec<u8>,
}

impl Screen {
    fn new() -> Self {
        Self { cells: vec![vec![' '; 80]; 24], row: 0, column: 0, pending: Vec::new() }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
        while let Some(used) = self.step() {
            self.pending.drain(..used);
        }
    }

    /// Takes one character or one whole escape sequence.
    fn step(&mut self) -> Option<usize> {
        match *self.pending.first()? {
            0x1b if *self.pending.get(1)? == b'[' => {
                let end = self.pending.iter().skip(2).position(|b| (0x40..=0x7e).contains(b))? + 2;
                let text = String::from_utf8_lossy(&self.pending[2..end]).into_owned();
                let mut numbers = text.split(';').map(|n| n.parse::<usize>().unwrap_or(1).max(1));
                match self.pending[end] {
                    b'H' => {
                        self.row = numbers.next().unwrap_or(1) - 1;
                        self.column = numbers.next().unwrap_or(1) - 1;
                    }
                    b'J' => self.cells.iter_mut().for_each(|row| row.fill(' ')),
                    _ => {}
                }
                Some(end + 1)
            }
            0x1b => Some(2),
            b'\r' => self.jump(self.row, 0),
            b'\n' => self.jump(self.row + 1, self.column),
            byte @ b' '..=b'~' => {
                assert!(self.row < 24 && self.column < 80, "behind the edge: {} {}", self.row, self.column);
                self.cells[self.row][self.column] = char::from(byte);
                self.jump(self.row, self.column + 1)
            }
            _ => Some(1),
        }
    }

    fn jump(&mut self, row: usize, column: usize) -> Option<usize> {
        (self.row, self.column) = (row, column);
        Some(1)
    }

    fn text(&self) -> String {
        let lines = self.cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn top_on_a_terminal_of_80_columns_neither_wraps_nor_misaligns_and_q_quits() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no script(1) here to make a terminal");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = dir.path().join("db").to_str().expect("text").to_owned();
    let running = Running::start(&db, &[]);
    let binary = env!("CARGO_BIN_EXE_nokv");
    let inner =
        format!("stty cols 80 rows 24; exec '{binary}' top --expvar {} --interval 100ms", running.addr);
    let mut terminal = Command::new("script")
        .args(["-qec", &inner, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs");
    let mut keys = terminal.stdin.take().expect("a pipe");
    let mut output = terminal.stdout.take().expect("a pipe");
    let mut screen = Screen::new();
    let mut bytes = [0; 4096];
    // Rates are there from the second look on.
    let is_whole =
        |text: &str| text.contains("HOT READS") && text.contains("writes                  0  blocks, L0");
    while !is_whole(&screen.text()) {
        let n = output.read(&mut bytes).expect("a readable terminal");
        assert!(n > 0, "it ended:\n{}", screen.text());
        screen.feed(&bytes[..n]);
    }
    let shown = screen.text();
    if let Some(path) = std::env::var_os("NOKV_SCREEN") {
        fs::write(path, &shown).expect("a writable file");
    }
    assert_fits(&shown);
    let titles = shown.lines().find(|line| line.starts_with("PER SECOND")).expect("titles");
    assert_eq!(titles, "PER SECOND                 CACHE HITS                 PRESSURE");
    for row in shown.lines().skip(3).take(6) {
        assert_eq!(row.len(), 79, "a row of three columns: {row}");
        assert!(row.as_bytes()[25..27] == *b"  " && row.as_bytes()[52..54] == *b"  ", "{row}");
    }
    keys.write_all(b"q").expect("it reads keys");
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).expect("a readable terminal");
    drop(keys);
    assert!(terminal.wait().expect("it runs").success());
    running.end();
}

#[test]
fn logs_are_structured_lines_on_standard_error() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = dir.path().join("db").to_str().expect("text").to_owned();
    let run = |level: &str| {
        nokv(&["workload", "--workdir", &db, "--ops", "10", "--metrics-addr", "0", "--log", level])
    };
    let loud = run("info");
    assert_eq!(loud.code, 0);
    let line =
        loud.err.lines().find(|l| l.contains("metrics are served") && l.contains("INFO")).expect("a line");
    assert!(line.contains("at=127.0.0.1:"), "{line}");
    assert!(!run("off").err.contains("INFO"));
    assert_eq!(run("loud").code, 2);
    let open = nokv(&["workload", "--workdir", &db, "--ops", "1", "--metrics-addr", "0.0.0.0:0"]);
    assert_eq!(open.code, 2);
    assert!(open.err.contains("--metrics-allow-remote"), "{}", open.err);
}
