//! How answers look: one line of JSON for scripts, aligned text for people.

use std::io::{self, Write};

use nokv_core::wal::{Position, own_record};
use serde_json::{Map, Value as Json};

use super::records::{push_hex, tsv};
use super::screen::WIDTH;
use super::store::{CheckReport, RepairReport, WalRecord};
use super::units::{Unit, amount, clip};

/// Payload bytes of a log record that people see.
const PREVIEW_BYTES: usize = 48;

/// Prints `value` as one line of JSON.
///
/// # Errors
/// What the output says.
pub fn json_line(out: &mut dyn Write, value: &Json) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Prints `value` as JSON or as text.
///
/// # Errors
/// What the output says.
pub fn answer(out: &mut dyn Write, value: &Json, json: bool) -> io::Result<()> {
    match (json, value) {
        (true, _) => json_line(out, value),
        (false, Json::Object(fields)) => object(out, fields, 0),
        (false, other) => writeln!(out, "{}", scalar("", other)),
    }
}

/// One field a line, nested objects indented, lists of objects as tables.
fn object(out: &mut dyn Write, fields: &Map<String, Json>, indent: usize) -> io::Result<()> {
    let is_inline = |v: &Json| match v {
        Json::Object(fields) => fields.is_empty(),
        Json::Array(items) => items.is_empty() || !items.iter().all(Json::is_object),
        _ => true,
    };
    let width = fields.iter().filter(|(_, v)| is_inline(v)).map(|(k, _)| k.len()).max().unwrap_or(0);
    for (name, value) in fields {
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                writeln!(out, "{:indent$}{name}:", "")?;
                object(out, inner, indent + 2)?;
            }
            Json::Array(items) if !is_inline(value) => {
                writeln!(out, "{:indent$}{name}:", "")?;
                table(out, items, indent + 2)?;
            }
            other => writeln!(out, "{:indent$}{name:width$}  {}", "", scalar(name, other))?,
        }
    }
    Ok(())
}

/// Objects as rows; the columns are all names that any of them has. Where not all fit a terminal, the others stand
/// below, behind the column that names the rows again: `file`, or else the first. Sizes are shown in a readable unit
/// only; the exact ones are in the JSON.
fn table(out: &mut dyn Write, items: &[Json], indent: usize) -> io::Result<()> {
    let mut columns: Vec<&str> = Vec::new();
    for name in items.iter().filter_map(Json::as_object).flat_map(Map::keys) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let cell = |item: &Json, name: &str, width: usize| match item.get(name) {
        None => String::new(),
        Some(Json::Number(n)) if is_bytes(name) && n.is_u64() => {
            amount(n.as_u64().unwrap_or(0) as f64, Unit::Bytes, 0)
        }
        Some(value) => short(&scalar(name, value), width),
    };
    let room = WIDTH - indent;
    let width = |name: &str, most: usize| {
        items.iter().map(|item| cell(item, name, most).len()).max().unwrap_or(0).max(name.len())
    };
    let Some(key) = columns.iter().find(|name| **name == "file").or(columns.first()).copied() else {
        return Ok(());
    };
    let key_width = width(key, room);
    let most = room.saturating_sub(key_width + 2).max(key.len());
    let mut part: Vec<(&str, usize)> = Vec::new();
    let mut parts: Vec<Vec<(&str, usize)>> = Vec::new();
    let mut used = 0;
    for name in columns {
        let width = if name == key { key_width } else { width(name, most) };
        if !part.is_empty() && used + width > room {
            parts.push(std::mem::replace(&mut part, vec![(key, key_width)]));
            used = key_width + 2;
        }
        if part.iter().all(|(taken, _)| *taken != name) {
            part.push((name, width));
            used += width + 2;
        }
    }
    parts.push(part);
    for part in parts {
        let mut line = |cell: &dyn Fn(&str, usize) -> String| {
            let cells: String =
                part.iter().map(|&(name, width)| format!("{:width$}  ", cell(name, width))).collect();
            writeln!(out, "{:indent$}{}", "", cells.trim_end())
        };
        line(&|name, _| name.to_owned())?;
        items.iter().try_for_each(|item| line(&|name, width| cell(item, name, width)))?;
    }
    Ok(())
}

/// One line that is at most `width` wide. Keys are escaped already: what is plain ASCII stays as it is.
fn short(text: &str, width: usize) -> String {
    match text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        true if text.len() <= width => text.to_owned(),
        true => text.chars().take(width.saturating_sub(2)).chain("..".chars()).collect(),
        false => clip(text.as_bytes(), width),
    }
}

/// Does the name say that the number counts bytes?
fn is_bytes(name: &str) -> bool {
    name == "bytes" || name.ends_with("_bytes")
}

/// A value in a line. Counts of bytes, known by their names, are also given in a readable unit.
fn scalar(name: &str, value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(number) => match number.as_u64() {
            Some(n) if is_bytes(name) => bytes(n),
            _ => number.to_string(),
        },
        Json::Array(items) if items.is_empty() => "none".to_owned(),
        Json::Object(fields) if fields.is_empty() => "none".to_owned(),
        Json::Array(items) => items.iter().map(|i| scalar(name, i)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// So many things of a name, which gets an s unless it is one.
pub fn things(n: u64, name: &str) -> String {
    format!("{n} {name}{}", if n == 1 { "" } else { "s" })
}

/// `n` bytes in the largest unit that leaves at least one, with the exact count behind it.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut shown = n as f64 / 1024.0;
    let mut unit = 0;
    if shown < 1.0 {
        return format!("{n} B");
    }
    while shown >= 1024.0 && unit + 1 < UNITS.len() {
        shown /= 1024.0;
        unit += 1;
    }
    format!("{shown:.1} {} ({n})", UNITS[unit])
}

/// Prints one record of a log.
///
/// # Errors
/// What the output says.
pub fn wal_record(
    out: &mut dyn Write,
    record: &WalRecord<'_>,
    json: bool,
    hex: &mut String,
) -> io::Result<()> {
    let WalRecord { segment, offset, log_index, data } = record;
    let own = own_record(data, Position { segment: *segment, offset: *offset });
    if json {
        hex.clear();
        push_hex(hex, data);
        write!(
            out,
            "{{\"segment\":{segment},\"offset\":{offset},\"log_index\":{log_index},\"data_hex\":\"{hex}\""
        )?;
        if let Some(own) = &own {
            write!(out, ",\"first_seq\":{},\"part\":{},\"sections\":[", own.first_seq.0, own.part)?;
            for (i, section) in own.sections.iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                let (kind, group, bytes) = (section.kind_name(), section.group, section.bytes);
                write!(out, "{comma}{{\"kind\":\"{kind}\",\"group\":{group},\"bytes\":{bytes}}}")?;
            }
            write!(out, "]")?;
        }
        return writeln!(out, "}}");
    }
    write!(
        out,
        "segment {segment}  offset {offset}  log index {log_index}  {}  ",
        things(data.len() as u64, "byte")
    )?;
    if let Some(own) = own {
        // A record of the engine's own log: what it holds says more than its first bytes.
        write!(out, "seq {}", own.first_seq.0)?;
        if !own.last_part || own.part > 0 {
            write!(out, "  part {}{}", own.part, if own.last_part { ", the last" } else { "" })?;
        }
        for section in &own.sections {
            write!(out, "  {}", section.kind_name())?;
            if section.group != 0 {
                write!(out, " of group {}", section.group)?;
            }
            write!(out, " {}", things(section.bytes, "byte"))?;
        }
        return writeln!(out);
    }
    tsv::write_escaped(out, &data[..data.len().min(PREVIEW_BYTES)])?;
    writeln!(out, "{}", if data.len() > PREVIEW_BYTES { "..." } else { "" })
}

/// Prints what a check found.
///
/// # Errors
/// What the output says.
pub fn check(out: &mut dyn Write, report: &CheckReport, json: bool) -> io::Result<()> {
    if json {
        let damage: Vec<Json> = report
            .damage
            .iter()
            .map(|f| serde_json::json!({"file": f.file, "offset": f.offset, "what": f.what}))
            .collect();
        let ok = damage.is_empty();
        let value = serde_json::json!({
            "ok": ok, "damage": damage, "summary": report.summary, "notes": report.notes,
        });
        return json_line(out, &value);
    }
    for finding in &report.damage {
        writeln!(out, "{}: byte {}: {}", finding.file, finding.offset, finding.what)?;
    }
    answer(out, &report.summary, false)?;
    if report.damage.is_empty() { writeln!(out, "no damage") } else { Ok(()) }
}

/// Prints the plan of a repair.
///
/// # Errors
/// What the output says.
pub fn repair(out: &mut dyn Write, report: &RepairReport, json: bool) -> io::Result<()> {
    if json {
        let steps: Vec<Json> = report
            .steps
            .iter()
            .map(|s| serde_json::json!({"file": s.file, "what": s.what, "lost": s.lost}))
            .collect();
        let value = serde_json::json!({"applied": report.applied, "steps": steps, "notes": report.notes});
        return json_line(out, &value);
    }
    for step in &report.steps {
        let lost = if step.lost.is_empty() { "nothing" } else { &step.lost };
        writeln!(out, "{}: {}; lost: {lost}", step.file, step.what)?;
    }
    match (report.steps.is_empty(), report.applied) {
        (true, _) if !report.notes.is_empty() => {
            writeln!(out, "nothing to repair but what the next open for writing does by itself: see the note")
        }
        (true, _) => writeln!(out, "nothing to repair"),
        (false, true) => writeln!(out, "done"),
        (false, false) => {
            writeln!(out, "nothing was changed; --apply does it, on a copy of the directory first")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_fields_tables_and_units() {
        let value = serde_json::json!({
            "a": 1, "log_bytes": 1_572_864, "empty": [], "on": true,
            "levels": [{"level": 0, "tables": 12}, {"level": 10, "bytes": 5}],
            "inner": {"names": ["x", "y"], "none": null},
        });
        let mut out = Vec::new();
        answer(&mut out, &value, false).unwrap();
        let expected = "\
a          1
log_bytes  1.5 MiB (1572864)
empty      none
on         yes
levels:
  level  tables  bytes
  0      12
  10             5 B
inner:
  names  x, y
  none   -
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn tables_fit_a_terminal_and_sizes_stand_there_once() {
        let table = |n: u64| {
            serde_json::json!({
                "level": 6, "ingest": false, "file": format!("tables/{n:012}.sst"), "file_bytes": 36_858_802 + n,
                "entries": n, "seq_max": u64::MAX, "smallest_key": "k".repeat(70_000), "largest_key": "a\\x00",
            })
        };
        let value = serde_json::json!({"tables": [table(1), table(2)]});
        let mut out = Vec::new();
        answer(&mut out, &value, false).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(text.contains("  35.2 MiB  ") && !text.contains("(36858"), "{text}");
        // Each part says which file its rows are about.
        let parts =
            text.lines().filter(|line| line.contains("  file") || line.trim_start().starts_with("file"));
        assert_eq!(parts.count(), 4, "{text}");
        assert_eq!(text.matches("tables/000000000002.sst").count(), 4, "{text}");
        for name in ["level", "ingest", "file_bytes", "entries", "seq_max", "smallest_key", "largest_key"] {
            assert_eq!(text.matches(name).count(), 1, "{name}: {text}");
        }
        assert!(text.contains("a\\x00\n"), "{text}");
        let mut out = Vec::new();
        answer(&mut out, &value, true).unwrap();
        assert!(String::from_utf8(out).unwrap().contains(":36858803,"));
    }

    #[test]
    fn one_of_a_thing_has_no_s() {
        assert_eq!(["0 records", "1 record", "2 records"], [0, 1, 2].map(|n| things(n, "record")));
    }

    #[test]
    fn units_of_bytes() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB (1024)");
        assert!(bytes(u64::MAX).starts_with("16.0 EiB"));
    }
}
