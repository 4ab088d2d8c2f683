//! Metrics over HTTP, as monitors and hostile peers see them.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use nokv::metrics::{
    COUNTER_MAPS, Kind, METRICS, MetricsOptions, NOT_METRICS, ServeError, serve, serve_with,
};
use nokv::{Db, Options, StatsSnapshot};
use nokv_vfs_mem::{FaultFs, MemFs, Op, Rule};
use serde_json::{Value as Json, json};

struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Sends `request` as it is.
fn send(at: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(at).ok()?;
    // A peer that refuses may close before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

fn get(at: SocketAddr, path: &str) -> Answer {
    send(at, format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()).expect("an answer")
}

fn database() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Db::open(Options::new(dir.path())).expect("a database");
    (dir, db)
}

#[test]
fn prometheus_text_json_and_health_are_served() {
    let (_dir, db) = database();
    for i in 0..50u32 {
        db.set(&i.to_be_bytes(), b"value").expect("a write");
    }
    db.get(b"nothing").expect("a read");
    let server = serve(&db, "0").expect("a server");
    let at = server.local_addr();
    assert!(at.ip().is_loopback());

    let text = get(at, "/metrics");
    assert_eq!(text.status, 200);
    assert!(text.head.contains("content-type: text/plain; version=0.0.4"), "{}", text.head);
    for line in
        ["nokv_entries 50", "nokv_writes_total 50", "# TYPE nokv_writes_total counter", "nokv_healthy 1"]
    {
        assert!(text.body.lines().any(|l| l == line), "{line}\n{}", text.body);
    }
    assert_well_formed(&text.body);

    let vars = get(at, "/debug/vars");
    assert_eq!(vars.status, 200);
    assert!(vars.head.contains("content-type: application/json"), "{}", vars.head);
    let vars: Json = serde_json::from_str(&vars.body).expect("JSON");
    let stats: StatsSnapshot = serde_json::from_value(vars["NoKV.Stats"].clone()).expect("statistics");
    assert_eq!((stats.entries, stats.counter("writes")), (50, 50));
    assert_eq!(vars["NoKV.Process"]["pid"], std::process::id());
    assert_eq!(vars["NoKV.Health"]["writable"], true);

    let health = get(at, "/health");
    let body: Json = serde_json::from_str(&health.body).expect("JSON");
    assert_eq!((health.status, &body["writable"], &body["cause"]), (200, &true.into(), &Json::Null));
}

/// Each line is a comment or a sample; each name has one HELP and TYPE before its samples.
fn assert_well_formed(text: &str) {
    let mut types = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name");
            assert!(types.insert(name.to_owned()), "{name} has two types");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            value.parse::<f64>().unwrap_or_else(|e| panic!("{line}: {e}"));
            let name = series.split('{').next().expect("a name");
            let family = |suffix| name.strip_suffix(suffix).is_some_and(|name| types.contains(name));
            assert!(types.contains(name) || family("_sum") || family("_count"), "{line} has no type");
        }
    }
    assert!(types.len() > 100, "{} metrics", types.len());
}

#[test]
fn a_failed_disk_shows_in_health_and_metrics() {
    let fs = FaultFs::new(MemFs::new());
    let db = Db::open_on(fs.clone(), Options::new("db")).expect("a database");
    let server = serve(&db, "127.0.0.1:0").expect("a server");
    fs.add_rule(Rule::new(Op::Sync, nokv::core::vfs::IoErrorKind::Other).sticky());
    fs.add_rule(Rule::new(Op::Flush, nokv::core::vfs::IoErrorKind::Other).sticky());
    let sync = nokv::WriteOptions { sync: Some(true), ..nokv::WriteOptions::default() };
    let mut batch = nokv::WriteBatch::new();
    batch.put(nokv::CfId::DEFAULT, b"k", b"v").expect("a batch");
    db.write(batch, &sync).expect_err("the sync fails");
    let health = get(server.local_addr(), "/health");
    let body: Json = serde_json::from_str(&health.body).expect("JSON");
    assert_eq!((health.status, &body["writable"]), (503, &false.into()));
    assert!(body["cause"].is_string(), "{body}");
    assert!(get(server.local_addr(), "/metrics").body.contains("\nnokv_healthy 0\n"));
}

#[test]
fn a_database_that_is_read_only_by_choice_is_healthy() {
    let (dir, db) = database();
    db.close().expect("a clean close");
    let mut options = Options::new(dir.path());
    options.read_only = true;
    let db = Db::open(options).expect("a database");
    let server = serve(&db, "0").expect("a server");
    assert_eq!(get(server.local_addr(), "/health").status, 200);
}

#[test]
fn a_closed_database_is_503_and_a_dropped_guard_stops() {
    let (_dir, db) = database();
    let server = serve(&db, "0").expect("a server");
    let at = server.local_addr();
    db.close().expect("a clean close");
    for path in ["/metrics", "/debug/vars", "/health"] {
        assert_eq!(get(at, path).status, 503, "{path}");
    }
    drop(server);
    assert!(TcpStream::connect(at).is_err(), "it listens without its guard");
}

#[test]
fn the_server_lets_go_of_the_database_when_its_guard_is_dropped() {
    let (dir, db) = database();
    let server = serve(&db, "0").expect("a server");
    drop(db);
    // Still open: the server holds a handle.
    assert_eq!(get(server.local_addr(), "/health").status, 200);
    drop(server);
    Db::open(Options::new(dir.path())).expect("nobody holds it any more");
}

#[test]
fn only_what_is_there_is_answered_and_only_by_get() {
    let (_dir, db) = database();
    let server = serve(&db, "0").expect("a server");
    let at = server.local_addr();
    for path in ["/metric", "/metrics/", "/debug", "/../etc/passwd", "/health/x"] {
        assert_eq!(get(at, path).status, 404, "{path}");
    }
    assert!(get(at, "/").body.contains("/debug/vars"));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let request = format!("{method} /metrics HTTP/1.1\r\nHost: {at}\r\nContent-Length: 0\r\n\r\n");
        let answer = send(at, request.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
    }
    let head =
        send(at, format!("HEAD /metrics HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()).expect("an answer");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn a_page_of_another_name_is_not_answered_on_loopback() {
    let (_dir, db) = database();
    let request = b"GET /debug/vars HTTP/1.1\r\nHost: rebound.example\r\n\r\n";
    let server = serve(&db, "0").expect("a server");
    assert_eq!(send(server.local_addr(), request).expect("an answer").status, 403);
    let open = MetricsOptions { allow_remote: true };
    let server = serve_with(&db, "0", open).expect("a server");
    assert_eq!(send(server.local_addr(), request).expect("an answer").status, 200);
}

#[test]
fn other_machines_are_let_in_on_request_only() {
    let (_dir, db) = database();
    assert!(matches!(serve(&db, "0.0.0.0:0"), Err(ServeError::NotLoopback(_))));
    let server = serve_with(&db, "0.0.0.0:0", MetricsOptions { allow_remote: true }).expect("a server");
    let at = SocketAddr::from(([127, 0, 0, 1], server.local_addr().port()));
    assert_eq!(get(at, "/health").status, 200);
    assert!(matches!(serve(&db, &at.to_string()), Err(ServeError::Listen { .. })));
    assert!(matches!(serve(&db, "nowhere"), Err(ServeError::Address { .. })));
}

#[test]
fn requests_that_are_too_large_or_no_http_do_no_harm() {
    let (_dir, db) = database();
    let server = serve(&db, "0").expect("a server");
    let at = server.local_addr();
    let long = format!("GET /{} HTTP/1.1\r\nHost: {at}\r\n\r\n", "x".repeat(1 << 20));
    let wide = format!("GET /health HTTP/1.1\r\nHost: {at}\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("GET /health HTTP/1.1\r\nHost: {at}\r\n{}\r\n", "A: b\r\n".repeat(1_000));
    for request in [
        long.as_bytes(),
        wide.as_bytes(),
        many.as_bytes(),
        b"\x16\x03\x01\x02",
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
    ] {
        if let Some(answer) = send_and_close(at, request) {
            assert!((400..=431).contains(&answer.status), "{}", answer.status);
        }
    }
    assert_eq!(get(at, "/health").status, 200);
}

/// As [`send`], and says that nothing more comes.
fn send_and_close(at: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(at).ok()?;
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[test]
fn silent_connections_are_given_up() {
    let (_dir, db) = database();
    let server = serve(&db, "0").expect("a server");
    let at = server.local_addr();
    // More than are answered at once; each says nothing.
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(at).expect("a connection")).collect();
    assert_eq!(get(at, "/health").status, 200);
    drop(silent);
}

/// A snapshot in which every list and map has an element.
fn full() -> Json {
    let ring = json!({"nodes": 1});
    let hot = json!([{"key": "k", "count": 1}]);
    let partial = json!({
        "compaction": {"value_weight_suggested": 1.5},
        "value_log": {"heads": {"0": {}}},
        "wal": {"typed_record_reason": "x"},
        "hot": {"read_keys": hot, "read_ring": ring, "write_keys": hot, "write_ring": ring},
        "lsm": {"levels": [{}], "column_families": {"default": {}}},
        "transport": {"WatchdogReason": "x"},
        "redis": {"commands_per_operation": {"GET": 1}},
        "engine": {
            "counters": {"reads": 1}, "levels": [{}], "value_log_segments": [{}],
            "memory": {"consumers": {"memtables": {}}}, "latency": {"get": {}},
            "pins": {"list": [{}]}, "value_log_hot": {"keys": hot, "ring": ring},
        },
    });
    let full: StatsSnapshot = serde_json::from_value(partial).expect("statistics");
    serde_json::to_value(full).expect("JSON")
}

/// Paths of all leaves, with `[]` and `*` for the maps that the table of metrics knows.
fn leaves(value: &Json, path: &str, found: &mut BTreeSet<String>) {
    let is_map = |path: &str| {
        METRICS
            .iter()
            .copied()
            .flatten()
            .flat_map(|m| m.from)
            .any(|f| f.path.starts_with(&format!("{path}.*")))
    };
    match value {
        Json::Object(fields) => {
            for (name, value) in fields {
                let name = if is_map(path) { "*" } else { name };
                leaves(
                    value,
                    &if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") },
                    found,
                );
            }
        }
        Json::Array(items) => items.iter().for_each(|item| leaves(item, &format!("{path}[]"), found)),
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_number_of_the_statistics_is_a_metric_or_says_why_not() {
    let mut found = BTreeSet::new();
    leaves(&full(), "", &mut found);
    let metrics: BTreeSet<&str> = nokv::metrics::prometheus::paths().collect();
    let is_below = |path: &str, of: &str| {
        path == of || path.strip_prefix(of).is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    let missing: Vec<&String> = found
        .iter()
        .filter(|path| !metrics.contains(path.as_str()))
        .filter(|path| !NOT_METRICS.iter().any(|(no, _)| is_below(path, no)))
        .filter(|path| !COUNTER_MAPS.iter().any(|map| is_below(path, map)))
        .collect();
    assert!(missing.is_empty(), "neither a metric nor said why not: {missing:#?}");
    let gone: Vec<&&str> = metrics.iter().filter(|path| !found.contains(**path)).collect();
    assert!(gone.is_empty(), "metrics of statistics that are not there: {gone:#?}");
    for (no, why) in NOT_METRICS {
        assert!(found.iter().any(|path| is_below(path, no)), "{no} is not there");
        assert!(!why.is_empty());
    }
}

/// The page of the statistics says which of them are states of the moment.
#[test]
fn a_number_that_can_fall_is_no_counter() {
    let page = include_str!("../../docs/stats.md");
    let can_fall: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.ends_with("| now |"))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(can_fall.contains("flush.pending"), "the page has another form");
    let wrong: Vec<&str> = METRICS
        .iter()
        .copied()
        .flatten()
        .filter(|metric| metric.kind == Kind::Counter)
        .flat_map(|metric| metric.from)
        .map(|from| from.path)
        .filter(|path| can_fall.contains(path))
        .collect();
    assert!(wrong.is_empty(), "counters that can fall: {wrong:#?}");
}

#[test]
fn a_full_snapshot_is_well_formed_text() {
    let mut text = String::new();
    nokv::metrics::prometheus::render(&mut text, &full());
    assert_well_formed(&text);
    assert!(text.contains("nokv_hot_ring_keys{ring=\"value_log\"} 1\n"), "{text}");
    assert!(text.contains("nokv_redis_operation_commands_total{operation=\"GET\"} 1\n"), "{text}");
}
