//! The names of the statistics: those of the reference, all of them, and nothing else beside `engine`.
#![allow(missing_docs)]

use std::collections::BTreeSet;

use nokv::stats::{HotKeyStat, LsmLevelStats, RingSnapshot, StatsSnapshot};
use nokv::{Db, Options};
use nokv_vfs_mem::MemFs;
use serde_json::Value;

const REFERENCE: &str = include_str!("reference.txt");

/// Objects whose keys are data.
const MAPS: &[&str] =
    &["value_log.heads", "lsm.column_families", "engine.memory.consumers", "engine.latency"];
/// Objects whose keys are data and whose values are numbers.
const TALLIES: &[&str] = &["redis.commands_per_operation", "engine.counters"];

/// Every path of `json`, as the reference list writes them.
fn paths(json: &Value) -> BTreeSet<String> {
    fn walk(json: &Value, at: &str, found: &mut BTreeSet<String>) {
        let below = |name: &str| if at.is_empty() { name.to_string() } else { format!("{at}.{name}") };
        match json {
            Value::Object(fields) if !TALLIES.contains(&at) => {
                for (name, value) in fields {
                    let name = if MAPS.contains(&at) { "*" } else { name };
                    walk(value, &below(name), found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{at}[]"), found)),
            _ => {
                found.insert(at.to_string());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(json, "", &mut found);
    found
}

fn of_reference(json: &Value) -> BTreeSet<String> {
    paths(json).into_iter().filter(|path| !path.starts_with("engine")).collect()
}

fn lines() -> impl Iterator<Item = &'static str> {
    REFERENCE.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// A snapshot in which nothing is empty.
fn full() -> StatsSnapshot {
    let mut full = StatsSnapshot::default();
    full.compaction.value_weight_suggested = 1.0;
    full.value_log.heads.insert(3, Default::default());
    full.wal.typed_record_reason = "reason".to_string();
    for keys in [&mut full.hot.read_keys, &mut full.hot.write_keys] {
        keys.push(HotKeyStat { key: b"key".to_vec(), count: 7 });
    }
    full.hot.read_ring = Some(RingSnapshot::default());
    full.hot.write_ring = Some(RingSnapshot::default());
    full.lsm.levels.push(LsmLevelStats::default());
    full.lsm.column_families.insert("default".to_string(), Default::default());
    full.redis.commands_per_operation.insert("GET".to_string(), 1);
    full
}

#[test]
fn every_name_of_the_reference_is_there_and_no_other() {
    let expected: BTreeSet<String> = lines().map(|line| line.trim_end_matches('?').to_string()).collect();
    assert_eq!(of_reference(&serde_json::to_value(full()).unwrap()), expected);
}

#[test]
fn only_fields_that_may_be_empty_are_left_out() {
    let expected: BTreeSet<String> =
        lines().filter(|line| !line.ends_with('?')).map(ToString::to_string).collect();
    assert_eq!(of_reference(&serde_json::to_value(StatsSnapshot::default()).unwrap()), expected);
}

fn numbers(json: &Value, visit: &mut impl FnMut(&Value)) {
    match json {
        Value::Object(fields) => fields.values().for_each(|value| numbers(value, visit)),
        Value::Array(items) => items.iter().for_each(|value| numbers(value, visit)),
        leaf => visit(leaf),
    }
}

#[test]
fn a_fresh_database_says_0_and_never_null() {
    let db = Db::open_on(MemFs::new(), Options::new("db")).unwrap();
    let json = serde_json::to_value(db.stats()).unwrap();
    numbers(&json, &mut |leaf| assert!(!leaf.is_null(), "{json:#}"));
    for name in ["entries", "flush", "region", "write", "cache", "transport", "redis", "raft"] {
        let mut json = json[name].clone();
        if name == "raft" {
            // Its threshold is an option.
            json["lag_warn_threshold"] = 0.into();
        }
        numbers(&json, &mut |leaf| {
            assert!(
                leaf.as_f64() == Some(0.0) || *leaf == Value::Bool(false) || *leaf == "",
                "{name}: {json:#}"
            );
        });
    }
}

#[test]
fn reading_gives_what_was_written() {
    let mut full = full();
    full.flush.max_wait_ms = 0.125;
    full.entries = -1;
    let text = serde_json::to_string(&full).unwrap();
    assert_eq!(serde_json::from_str::<StatsSnapshot>(&text).unwrap(), full);
}

#[test]
fn reading_passes_over_unknown_fields_and_takes_missing_ones_as_0() {
    let text = r#"{"entries": 5, "later": {"a": [1]}, "flush": {"completed": 2, "later": null}}"#;
    let read: StatsSnapshot = serde_json::from_str(text).unwrap();
    let mut expected = StatsSnapshot { entries: 5, ..StatsSnapshot::default() };
    expected.flush.completed = 2;
    assert_eq!(read, expected);
}

#[test]
fn a_hot_key_that_is_not_text_is_given_as_hexadecimal() {
    let key = HotKeyStat { key: vec![0xff, 0x00, b'a'], count: 3 };
    let json = serde_json::to_value(&key).unwrap();
    assert_eq!(json, serde_json::json!({"key_hex": "ff0061", "count": 3}));
    assert_eq!(serde_json::from_value::<HotKeyStat>(json).unwrap(), key);
    let text = HotKeyStat { key: "schl\u{fc}ssel".into(), count: 1 };
    let json = serde_json::to_value(&text).unwrap();
    assert_eq!(json, serde_json::json!({"key": "schl\u{fc}ssel", "count": 1}));
    assert_eq!(serde_json::from_value::<HotKeyStat>(json).unwrap(), text);
    assert!(serde_json::from_str::<HotKeyStat>(r#"{"key_hex": "f"}"#).is_err());
}

/// A snapshot in which nothing is empty below `engine` either.
fn full_with_engine() -> StatsSnapshot {
    let mut full = full();
    let binary = HotKeyStat { key: vec![0xff], count: 1 };
    for keys in [&mut full.hot.read_keys, &mut full.hot.write_keys, &mut full.engine.value_log_hot.keys] {
        keys.push(HotKeyStat { key: b"key".to_vec(), count: 1 });
        keys.push(binary.clone());
    }
    full.engine.value_log_hot.ring = Some(RingSnapshot::default());
    full.engine.levels.push(Default::default());
    full.engine.value_log_segments.push(Default::default());
    full.engine.pins.list.push(Default::default());
    full.engine.latency.insert("get".to_string(), Default::default());
    full.engine.memory.consumers.insert("memtables".to_string(), Default::default());
    full
}

const PAGE: &str = include_str!("../../../../docs/stats.md");

#[test]
fn every_number_is_defined_in_the_docs() {
    let mut names = paths(&serde_json::to_value(full_with_engine()).unwrap());
    names.remove("engine.counters");
    let db = Db::open_on(MemFs::new(), Options::new("db")).unwrap();
    let live = db.stats();
    names.extend(live.engine.counters.keys().map(|name| format!("engine.counters.{name}")));
    names.extend(live.engine.latency.keys().cloned());
    names.extend(live.engine.memory.consumers.keys().cloned());
    assert!(names.len() > 280, "{}", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !PAGE.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/stats.md: {missing:#?}");
}

#[test]
fn the_docs_define_nothing_that_is_not_there() {
    let mut names = paths(&serde_json::to_value(full_with_engine()).unwrap());
    names.insert("redis.commands_per_operation".to_string());
    let db = Db::open_on(MemFs::new(), Options::new("db")).unwrap();
    names.extend(db.stats().engine.counters.keys().map(|name| format!("engine.counters.{name}")));
    let defined = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    // Rows of five cells define numbers.
    let defined = defined.filter(|(_, rest)| rest.matches(" | ").count() == 4).map(|(name, _)| name);
    let unknown: Vec<_> = defined.filter(|name| !names.contains(*name)).collect();
    assert!(unknown.is_empty(), "not in the statistics: {unknown:#?}");
}
