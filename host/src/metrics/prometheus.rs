//! The statistics in the Prometheus text format, version 0.0.4.
//!
//! Numbers are looked up by their JSON paths, so that what is shown is what `/debug/vars` shows. A number that is not
//! there gives no line; flags are 0 and 1.

use std::fmt::Write;

use serde_json::Value as Json;

use super::table::{COUNTER_MAPS, From, Kind, LABELS, METRICS, Metric};

/// The type of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels and value of one sample.
type Sample<'a> = (Vec<(&'a str, String)>, &'a Json);

/// Appends the statistics to `text`.
pub fn render(text: &mut String, stats: &Json) {
    for metric in METRICS.iter().copied().flatten() {
        one(text, stats, metric);
    }
    for path in COUNTER_MAPS {
        let Some(Json::Object(map)) = at(stats, path) else { continue };
        for (key, value) in map {
            counter(text, path, key, value);
        }
    }
}

/// Appends what is known of the process to `text`.
pub fn render_process(text: &mut String, process: &Json, is_well: bool) {
    head(text, "nokv_build_info", Kind::Gauge, "Always 1; the version is a label.");
    let version = process.get("version").and_then(Json::as_str).unwrap_or("");
    sample(text, "nokv_build_info", "", &[("version", version.to_owned())], "1");
    head(text, "nokv_healthy", Kind::Gauge, "1 if nothing keeps the database from taking writes.");
    sample(text, "nokv_healthy", "", &[], if is_well { "1" } else { "0" });
}

fn one(text: &mut String, stats: &Json, metric: &Metric) {
    let mut is_first = true;
    for from in metric.from {
        let mut samples = Vec::new();
        find(stats, from.path, "", &mut Vec::new(), &mut samples);
        for (mut labels, value) in samples {
            let Some(value) = number(value, scale(from.path, metric.name)) else { continue };
            if std::mem::take(&mut is_first) {
                head(text, metric.name, metric.kind, metric.help);
            }
            labels.extend(from.label.map(|(name, value)| (name, value.to_owned())));
            sample(text, metric.name, from.suffix, &labels, &value);
        }
    }
}

fn counter(text: &mut String, path: &str, key: &str, value: &Json) {
    let is_name =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !is_name {
        return;
    }
    let (plain, is_time) = match key.strip_suffix("_ns") {
        Some(plain) => (plain, true),
        None => (key, false),
    };
    let name = format!("nokv_{plain}{}_total", if is_time { "_seconds" } else { "" });
    let Some(value) = number(value, if is_time { 1e-9 } else { 1.0 }) else { return };
    head(text, &name, Kind::Counter, &format!("The counter {path}.{key} of the statistics."));
    sample(text, &name, "", &[], &value);
}

fn head(text: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Summary => "summary",
    };
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(text: &mut String, name: &str, suffix: &str, labels: &[(&str, String)], value: &str) {
    text.push_str(name);
    text.push_str(suffix);
    for (at, (label, value)) in labels.iter().enumerate() {
        // As above.
        let _ = write!(text, "{}{label}=\"", if at == 0 { "{" } else { "," });
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}

/// What a number at `path` is multiplied with to be in the unit of `name`.
fn scale(path: &str, name: &str) -> f64 {
    let last = path.rsplit('.').next().unwrap_or(path);
    match () {
        () if !name.contains("_seconds") => 1.0,
        () if last.ends_with("_ms") => 1e-3,
        () if last.ends_with("_ns") || last.contains("_ns_") => 1e-9,
        // Nanoseconds without a unit in the original's name.
        () if last == "window_slot_duration" || last == "decay_interval" => 1e-9,
        () => 1.0,
    }
}

fn number(value: &Json, scale: f64) -> Option<String> {
    match value {
        Json::Bool(flag) => Some(u8::from(*flag).to_string()),
        Json::Number(number) if scale == 1.0 => Some(number.to_string()),
        Json::Number(number) => number.as_f64().map(|n| (n * scale).to_string()),
        _ => None,
    }
}

/// The value at a path of plain names.
fn at<'a>(value: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// Finds every value at `rest`, a path with `[]` and `*`, below `done`.
fn find<'a>(
    value: &'a Json,
    rest: &str,
    done: &str,
    labels: &mut Vec<(&'a str, String)>,
    found: &mut Vec<Sample<'a>>,
) {
    let (name, behind) = rest.split_once('.').unwrap_or((rest, ""));
    let here = if done.is_empty() { name.to_owned() } else { format!("{done}.{name}") };
    let mut go_on = |value: &'a Json, labels: &mut Vec<(&'a str, String)>| {
        if behind.is_empty() {
            found.push((labels.clone(), value));
        } else {
            find(value, behind, &here, labels, found);
        }
    };
    let names = LABELS.iter().find(|(path, _)| *path == here).map_or(&["name"][..], |(_, names)| names);
    if name == "*" {
        let Json::Object(map) = value else { return };
        for (key, value) in map {
            labels.push((names[0], key.clone()));
            go_on(value, labels);
            labels.pop();
        }
    } else if let Some(name) = name.strip_suffix("[]") {
        let Some(Json::Array(items)) = value.get(name) else { return };
        for item in items {
            let before = labels.len();
            labels.extend(names.iter().map(|n| (*n, item.get(n).map_or_else(String::new, Json::to_string))));
            go_on(item, labels);
            labels.truncate(before);
        }
    } else if let Some(value) = value.get(name) {
        go_on(value, labels);
    }
}

/// The statistics that a metric takes its samples from.
pub fn paths() -> impl Iterator<Item = &'static str> {
    METRICS.iter().copied().flatten().flat_map(|metric| metric.from).map(|from: &From| from.path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(stats: &Json) -> String {
        let mut text = String::new();
        render(&mut text, stats);
        text
    }

    #[test]
    fn numbers_have_help_type_and_unit() {
        let text = rendered(&json!({"entries": 7, "flush": {"wait_ms": 1.5, "completed": u64::MAX}}));
        let expected = "\
# HELP nokv_entries Entries in tables and memtables, hidden ones included.
# TYPE nokv_entries gauge
nokv_entries 7
# HELP nokv_flush_wait_mean_seconds Time from sealing to the start of the flush: mean.
# TYPE nokv_flush_wait_mean_seconds gauge
nokv_flush_wait_mean_seconds 0.0015
# HELP nokv_flushes_completed_total Flushes that are done.
# TYPE nokv_flushes_completed_total counter
nokv_flushes_completed_total 18446744073709551615
";
        assert_eq!(text, expected);
    }

    #[test]
    fn lists_and_maps_give_labels() {
        let text = rendered(&json!({
            "lsm": {
                "levels": [{"level": 0, "tables": 2}, {"level": 6, "tables": 0}],
                "column_families": {"a\"\\\n": {"reads": 1}},
            },
            "value_log": {"heads": {"3": {"Fid": 9}}},
            "engine": {"value_log_segments": [{"bucket": 1, "segment": 2, "head": true}]},
        }));
        for line in [
            "nokv_level_tables{level=\"0\"} 2",
            "nokv_level_tables{level=\"6\"} 0",
            "nokv_family_reads_total{family=\"a\\\"\\\\\\n\"} 1",
            "nokv_value_log_head_segment{bucket=\"3\"} 9",
            "nokv_value_log_segment_is_head{bucket=\"1\",segment=\"2\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn latencies_are_one_summary() {
        let get = json!({"p50_ns": 1000, "p90_ns": 2000, "p99_ns": 3000, "p999_ns": 4000, "sum_ns": 5_000_000_000u64, "count": 9});
        let text = rendered(&json!({"engine": {"latency": {"get": get}}}));
        assert!(text.contains("# TYPE nokv_operation_latency_seconds summary\n"), "{text}");
        assert!(
            text.contains("nokv_operation_latency_seconds{operation=\"get\",quantile=\"0.99\"} 0.000003\n"),
            "{text}"
        );
        assert!(text.contains("nokv_operation_latency_seconds_sum{operation=\"get\"} 5\n"), "{text}");
        assert!(text.contains("nokv_operation_latency_seconds_count{operation=\"get\"} 9\n"), "{text}");
        assert_eq!(text.matches("# TYPE").count(), 1, "{text}");
    }

    #[test]
    fn counters_by_name_are_metrics_of_their_own() {
        let text = rendered(
            &json!({"engine": {"counters": {"reads": 3, "flush_ns": 2_000_000_000u64, "odd name": 1}}}),
        );
        assert!(text.contains("\nnokv_reads_total 3\n"), "{text}");
        assert!(text.contains("\nnokv_flush_seconds_total 2\n"), "{text}");
        assert!(!text.contains("odd"), "{text}");
    }

    #[test]
    fn names_are_proper() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in METRICS.iter().copied().flatten() {
            let name = metric.name;
            assert!(seen.insert(name), "{name} stands twice");
            assert!(name.starts_with("nokv_"), "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
            let is_time = metric.from.iter().any(|f| f.path.ends_with("_ms") || f.path.ends_with("_ns"));
            assert_eq!(is_time, is_time && name.contains("_seconds"), "{name}");
        }
    }
}
