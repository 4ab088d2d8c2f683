//! Statistics as text for people: groups of numbers in two columns, and tables; no line is wider than [`WIDTH`].
//!
//! 1. Names are those of the JSON, so that `docs/stats.md` explains them; the unit comes from the name. A name in a
//!    group that tells a unit of time has the plain number; the header of a table tells none, and its cells do.
//! 2. What is 0 throughout is not shown: groups with nothing below them are named at the end, columns of tables are
//!    left out unless the rows would say nothing without them.
//! 3. Text comes from users, keys above all: it is shown as plain ASCII on one line.

use serde_json::{Map, Value as Json};

use super::units::{Unit, WIDTH_MAX, clip, plain, show, tells_time_unit};

/// Columns of a terminal that every screen fits.
pub const WIDTH: usize = 80;
/// Of a name in a group.
const NAME_WIDTH: usize = 27;
/// Between the two columns of a group.
const GAP: usize = 3;
/// Of a text in a table.
const TEXT_WIDTH: usize = 44;

/// Maps whose keys are names of rows, with the name of their column.
const MAPS: &[(&str, &str)] = &[
    ("value_log.heads", "bucket"),
    ("lsm.column_families", "family"),
    ("engine.memory.consumers", "consumer"),
    ("engine.latency", "operation"),
];

/// Columns that are shown also where they are 0 throughout: what a row is about.
const KEPT: &[&str] = &["tables", "count", "age_ms", "bytes", "Offset"];

/// Short names for the columns of tables.
const HEADERS: &[(&str, &str)] = &[
    ("size_bytes", "size"),
    ("value_bytes", "values"),
    ("stale_bytes", "stale"),
    ("ingest_tables", "ingest"),
    ("ingest_size_bytes", "ing.size"),
    ("ingest_value_bytes", "ing.values"),
    ("value_density", "density"),
    ("ingest_value_density", "ing.density"),
    ("ingest_runs", "drains"),
    ("ingest_ms", "drain time"),
    ("ingest_tables_compacted", "drained"),
    ("ingest_merge_runs", "merges"),
    ("ingest_merge_ms", "merge time"),
    ("ingest_merge_tables", "merged"),
    ("sampled_one_in", "one in"),
];

/// The lines of an object: its numbers, then what lies below it.
pub fn lines(value: &Json, now: u64) -> Vec<String> {
    let mut screen = Screen { now, lines: Vec::new(), zero: Vec::new() };
    if let Json::Object(fields) = value {
        screen.object("", fields);
    }
    if !screen.zero.is_empty() {
        let names = format!("all 0: {}", screen.zero.join(", "));
        screen.lines.push(String::new());
        wrap(&mut screen.lines, &names);
    }
    screen.lines
}

/// Is there nothing but zeros in it?
pub fn is_empty(value: &Json) -> bool {
    !is_shown("", value)
}

/// Is any of its groups or tables shown?
fn is_shown(path: &str, value: &Json) -> bool {
    match value {
        Json::Object(rows) if MAPS.iter().any(|(map, _)| *map == path) => !rows.is_empty(),
        Json::Object(fields) => fields.iter().any(|(name, value)| is_shown(&below(path, name), value)),
        Json::Array(items) => items.iter().any(Json::is_object),
        plain => !is_zero(plain),
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

struct Screen {
    now: u64,
    lines: Vec<String>,
    /// Groups that hold nothing.
    zero: Vec<String>,
}

impl Screen {
    fn object(&mut self, path: &str, fields: &Map<String, Json>) {
        let (nested, plain): (Vec<_>, Vec<_>) =
            fields.iter().partition(|(_, v)| matches!(v, Json::Object(_) | Json::Array(_)));
        if !plain.is_empty() {
            // Where something of it is shown, it is not all 0.
            let is_shown = nested.iter().any(|(name, value)| is_shown(&below(path, name), value));
            self.group(path, &plain, is_shown);
        }
        for (name, value) in nested {
            let path = below(path, name);
            match value {
                Json::Object(map) => match MAPS.iter().find(|(map, _)| *map == path) {
                    Some((_, key)) => self.map(&path, key, map),
                    None => self.object(&path, map),
                },
                Json::Array(items) => self.table(&path, items),
                _ => {}
            }
        }
    }

    fn title(&mut self, path: &str) {
        if !self.lines.is_empty() {
            self.lines.push(String::new());
        }
        if !path.is_empty() {
            self.lines.push(clip(path.as_bytes(), WIDTH));
        }
    }

    fn group(&mut self, path: &str, fields: &[(&String, &Json)], is_shown: bool) {
        if !path.is_empty() && !is_shown && fields.iter().all(|(_, value)| is_zero(value)) {
            self.zero.push(clip(path.as_bytes(), WIDTH / 2));
            return;
        }
        self.title(path);
        let mut cells = Vec::new();
        let mut texts = Vec::new();
        for (name, value) in fields {
            let label = clip(name.as_bytes(), NAME_WIDTH);
            let number = match Unit::of(name) {
                _ if tells_time_unit(name) && value.is_number() => plain(value),
                Unit::BytesPerSecond => show(value, Unit::Bytes, self.now),
                unit => show(value, unit, self.now),
            };
            match number {
                Some(number) => cells
                    .push(format!("{label:NAME_WIDTH$}{:>WIDTH_MAX$}", clip(number.as_bytes(), WIDTH_MAX))),
                None => {
                    let text = clip(&text_of(value), WIDTH - NAME_WIDTH - 3);
                    texts.push(format!("  {label:NAME_WIDTH$} {text}"));
                }
            }
        }
        // Down the left column, then down the right one.
        let half = cells.len().div_ceil(2);
        for (row, left) in cells.iter().take(half).enumerate() {
            let right = cells.get(half + row).map_or("", String::as_str);
            self.lines.push(format!("  {left}{:GAP$}{right}", "").trim_end().to_owned());
        }
        self.lines.extend(texts.iter().map(|line| line.trim_end().to_owned()));
    }

    fn map(&mut self, path: &str, key: &str, map: &Map<String, Json>) {
        let row = |(name, value): (&String, &Json)| {
            let mut row = Map::new();
            row.insert(key.to_owned(), Json::from(name.as_str()));
            if let Json::Object(fields) = value {
                row.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            Json::Object(row)
        };
        self.table(path, &map.iter().map(row).collect::<Vec<_>>());
    }

    /// Rows of objects; where not all columns fit, the rest stands below, behind the first column again.
    fn table(&mut self, path: &str, items: &[Json]) {
        let rows: Vec<&Map<String, Json>> = items.iter().filter_map(Json::as_object).collect();
        if rows.is_empty() {
            self.zero.push(clip(path.as_bytes(), WIDTH / 2));
            return;
        }
        let mut columns = columns(&rows, self.now).into_iter();
        let Some(first) = columns.next() else { return };
        self.title(path);
        let mut part = vec![&first];
        let columns: Vec<Column> = columns.collect();
        for column in &columns {
            let width: usize = part.iter().map(|c| c.width + 2).sum();
            if part.len() > 1 && width + column.width + 2 > WIDTH {
                self.part(&part);
                part.truncate(1);
            }
            part.push(column);
        }
        self.part(&part);
    }

    fn part(&mut self, columns: &[&Column]) {
        let rows = columns.first().map_or(0, |c| c.cells.len());
        let line = |cell: &dyn Fn(&Column) -> String| {
            let mut line = String::new();
            for column in columns {
                let (text, width) = (cell(column), column.width);
                line.push_str("  ");
                line.push_str(&if column.is_text {
                    format!("{text:width$}")
                } else {
                    format!("{text:>width$}")
                });
            }
            line.trim_end().to_owned()
        };
        self.lines.push(line(&|c| c.header.clone()));
        for row in 0..rows {
            self.lines.push(line(&|c| c.cells.get(row).cloned().unwrap_or_default()));
        }
    }
}

struct Column {
    header: String,
    cells: Vec<String>,
    is_text: bool,
    width: usize,
}

/// The columns of `rows`, in the order of their first row that has them. All that are 0 throughout are left out, but
/// the first. A key in hexadecimal stands in the column of the others.
fn columns(rows: &[&Map<String, Json>], now: u64) -> Vec<Column> {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|row| row.keys()) {
        let name = if name == "key_hex" { "key" } else { name };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let is_hex_key = |name: &str, row: &Map<String, Json>| name == "key" && row.contains_key("key_hex");
    let is_shown = |name: &str| {
        KEPT.contains(&name)
            || !values_of(rows, name).all(is_zero)
            || rows.iter().any(|row| is_hex_key(name, row))
    };
    let first = names.first().copied();
    let mut shown: Vec<&str> =
        names.iter().copied().filter(|name| first == Some(*name) || is_shown(name)).collect();
    if shown.len() == 1 {
        // Rows of nothing but a name say nothing.
        shown.extend(names.get(1));
    }
    let mut columns = Vec::new();
    for name in shown {
        let values = || values_of(rows, name);
        let is_key = |row: &&Map<String, Json>| is_hex_key(name, row);
        let is_text = name == "key" || values().any(|v| v.is_string() || v.is_array() || v.is_object());
        let cell = |(row, value): (&&Map<String, Json>, &Json)| {
            if let Some(key) = row.get("key_hex").filter(|_| is_key(row)).and_then(bytes_of_hex) {
                return clip(&key, TEXT_WIDTH);
            }
            let plain = Unit::of(name) == Unit::Count && value.is_u64() && is_number_of_a_thing(name);
            match show(value, Unit::of(name), now) {
                Some(_) if plain => value.to_string(),
                Some(number) => number,
                None if value.is_null() => String::new(),
                None => clip(&text_of(value), TEXT_WIDTH),
            }
        };
        let cells: Vec<String> = rows.iter().zip(values()).map(cell).collect();
        let header = clip(header(name).as_bytes(), 20);
        let width = cells.iter().map(String::len).max().unwrap_or(0).max(header.len());
        columns.push(Column { header, cells, is_text, width });
    }
    columns
}

/// What the rows have under a name.
fn values_of<'r>(rows: &'r [&'r Map<String, Json>], name: &'r str) -> impl Iterator<Item = &'r Json> {
    rows.iter().map(move |row| row.get(name).unwrap_or(&Json::Null))
}

/// Names of things are numbers that nobody abbreviates.
fn is_number_of_a_thing(name: &str) -> bool {
    matches!(name, "level" | "bucket" | "segment" | "Fid" | "seq")
}

fn header(name: &str) -> &str {
    let short = HEADERS.iter().find(|(long, _)| *long == name).map(|(_, short)| *short);
    let without_unit = |name| ["_bytes", "_ns", "_ms"].iter().find_map(|unit| str::strip_suffix(name, unit));
    short.or_else(|| without_unit(name)).unwrap_or(name)
}

/// The bytes of a hot key that is no text.
fn bytes_of_hex(hex: &Json) -> Option<Vec<u8>> {
    let pairs = hex.as_str()?.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn text_of(value: &Json) -> Vec<u8> {
    match value {
        Json::String(text) => text.as_bytes().to_vec(),
        Json::Null => b"-".to_vec(),
        Json::Array(items) if items.is_empty() => b"none".to_vec(),
        other => other.to_string().into_bytes(),
    }
}

fn is_zero(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        Json::Bool(true) => false,
    }
}

/// Words in lines that fit.
fn wrap(lines: &mut Vec<String>, text: &str) {
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, "  ".to_owned()));
        } else if !line.is_empty() && line != "  " {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_tables_and_what_is_zero() {
        let value = json!({
            "entries": 1_234_567,
            "flush": {"pending": 0, "wait_ms": 0.0},
            "wal": {"active_segment": 3, "active_size": 1536, "typed_record_reason": "many\nof them", "record_counts": {"entries": 7, "other": 0}},
            "lsm": {"levels": [{"level": 0, "tables": 12, "size_bytes": 2048, "stale_bytes": 0}, {"level": 6, "tables": 1, "size_bytes": 0, "stale_bytes": 0}], "value_density_alert": false},
            "value_log": {"segments": 1, "heads": {"2": {"Len": 0, "Offset": 20, "Fid": 1_000_000}}},
            "hot": {"read_keys": [{"key": "plain", "count": 5}, {"key_hex": "61ff0a", "count": 4}]},
        });
        let expected = "
  entries                        1.23 M

wal
  active_segment                      3   active_size                  1.50 KiB
  typed_record_reason         many\\nof them

wal.record_counts
  entries                             7   other                               0

lsm
  value_density_alert                no

lsm.levels
  level  tables      size
      0      12  2.00 KiB
      6       1       0 B

value_log
  segments                            1

value_log.heads
  bucket  Offset      Fid
  2         20 B  1000000

hot.read_keys
  key      count
  plain        5
  a\\xff\\n      4

all 0: flush
";
        assert_eq!(format!("\n{}\n", lines(&value, 0).join("\n")), expected);
    }

    #[test]
    fn what_is_shown_below_is_not_called_zero_and_rows_keep_what_they_are_about() {
        let value = json!({
            "engine": {"pins": {
                "snapshots": 0, "iterators": 0,
                "list": [{"owner": "snapshot", "seq": 7, "age_ms": 0, "bytes": 0}],
            }},
            "lsm": {"entries": 0, "levels": [{"level": 0, "tables": 0, "size_bytes": 0}]},
            "levels": [{"level": 0, "live_bytes": 0, "dead_bytes": 0}],
            "flush": {"pending": 0, "stages": {"build_ms": 0}},
        });
        let expected = "\
engine.pins
  snapshots                           0   iterators                           0

engine.pins.list
  owner     seq  age  bytes
  snapshot    7    0    0 B

lsm
  entries                             0

lsm.levels
  level  tables
      0       0

levels
  level  live
      0   0 B

all 0: flush, flush.stages";
        assert_eq!(lines(&value, 0).join("\n"), expected);
        assert!(!is_empty(&value) && !is_empty(&value["lsm"]) && is_empty(&value["flush"]));
        assert!(is_empty(&json!({})) && is_empty(&Json::Null));
    }

    #[test]
    fn a_unit_of_time_is_told_once() {
        let value = json!({
            "recovery": {"duration_ms": 86, "avg_apply_ms": 0.000637, "debt_bytes_per_second": 2048},
            "engine": {"latency": {"get": {"count": 2, "p99_ns": 1200}}},
        });
        let expected = "
recovery
  duration_ms                        86   debt_bytes_per_second        2.00 KiB
  avg_apply_ms                 0.000637

engine.latency
  operation  count      p99
  get            2  1.20 us
";
        assert_eq!(format!("\n{}\n", lines(&value, 0).join("\n")), expected);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let wide: Map<String, Json> =
            (0..30).map(|i| (format!("a_rather_long_name_of_column_{i}"), Json::from(u64::MAX))).collect();
        let mut level = wide.clone();
        level.insert("text".to_owned(), "\u{1b}[31m\u{4e2d}".repeat(500).into());
        let value = json!({
            "group": wide.clone(),
            "table": [level, {}],
            "lsm": {"column_families": {"f\u{4e2d}".repeat(200): {"reads": u64::MAX}}},
            "g".repeat(300): {"x": 1},
            "z".repeat(300): {"x": 0},
            "negative": {"debt_bytes_per_second": -1.7e308, "nan": null, "small_ms": 1e-300, "large_ms": 1.7e308},
        });
        for line in lines(&value, u64::MAX) {
            assert!(line.len() <= WIDTH, "{}: {line}", line.len());
            assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
        }
    }
}
