//! How answers look: one line of JSON for scripts, aligned text for people.

use std::io::{self, Write};

use nokv_core::wal::{Position, own_record};
use serde_json::{Map, Value as Json};

use super::records::{push_hex, tsv};
use super::store::{CheckReport, RepairReport, WalRecord};

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

/// Objects as rows; the columns are all names that any of them has.
fn table(out: &mut dyn Write, items: &[Json], indent: usize) -> io::Result<()> {
    let mut columns: Vec<&str> = Vec::new();
    for name in items.iter().filter_map(Json::as_object).flat_map(Map::keys) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let cell = |item: &Json, name: &str| item.get(name).map_or_else(String::new, |v| scalar(name, v));
    let widths: Vec<usize> = columns
        .iter()
        .map(|name| items.iter().map(|i| cell(i, name).chars().count()).max().unwrap_or(0).max(name.len()))
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let mut text = " ".repeat(indent);
        for (cell, width) in cells.zip(&widths) {
            text.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(&mut columns.iter().map(|name| (*name).to_owned()))?;
    items.iter().try_for_each(|item| line(&mut columns.iter().map(|name| cell(item, name))))
}

/// A value in a line. Counts of bytes, known by their names, are also given in a readable unit.
fn scalar(name: &str, value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(number) => match number.as_u64() {
            Some(n) if name == "bytes" || name.ends_with("_bytes") => bytes(n),
            _ => number.to_string(),
        },
        Json::Array(items) if items.is_empty() => "none".to_owned(),
        Json::Object(fields) if fields.is_empty() => "none".to_owned(),
        Json::Array(items) => items.iter().map(|i| scalar(name, i)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
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
    write!(out, "segment {segment}  offset {offset}  log index {log_index}  {} bytes  ", data.len())?;
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
            write!(out, " {} bytes", section.bytes)?;
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
        return json_line(out, &serde_json::json!({"ok": ok, "damage": damage, "summary": report.summary}));
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
        return json_line(out, &serde_json::json!({"applied": report.applied, "steps": steps}));
    }
    for step in &report.steps {
        let lost = if step.lost.is_empty() { "nothing" } else { &step.lost };
        writeln!(out, "{}: {}; lost: {lost}", step.file, step.what)?;
    }
    match (report.steps.is_empty(), report.applied) {
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
    fn units_of_bytes() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB (1024)");
        assert!(bytes(u64::MAX).starts_with("16.0 EiB"));
    }
}
