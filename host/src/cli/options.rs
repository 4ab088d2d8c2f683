//! `nokv options`, and the options file that other commands take with `--config`.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value as Json, json};

use super::output;
use super::store::{Failure, Result};
use crate::{Error, OPTION_FIELDS, OptionField, OptionKind, Options};

/// Width of the printed text.
const COLUMNS: usize = 80;

/// Reads the options file.
pub(super) fn load(path: &Path) -> Result<Options> {
    if path.is_dir() {
        let next = "--config takes a file; --workdir takes the directory of the database";
        return Err(Failure::new("this is a directory", path.display().to_string(), next));
    }
    Options::from_toml_file(path).map_err(|error| {
        let name = path.display().to_string();
        let next = "nokv options prints every option; nokv options --toml a file with all of them";
        match error {
            Error::InvalidArgument(text) => {
                // The message starts with the file and, mostly, the line.
                let rest = text.strip_prefix(&name).and_then(|rest| rest.strip_prefix(':')).unwrap_or(&text);
                match rest.split_once(": ").filter(|(line, _)| line.bytes().all(|b| b.is_ascii_digit())) {
                    Some((line, what)) => Failure::new(what, format!("{name} line {line}"), next),
                    None => Failure::new(rest.trim(), name, next),
                }
            }
            other => Failure::new(other.to_string(), name, "check the name and the rights of the file"),
        }
    })
}

/// Prints the options that are in effect.
pub(super) fn print(out: &mut dyn Write, options: &Options, toml: bool, json: bool) -> io::Result<()> {
    if toml {
        return out.write_all(options.to_toml().as_bytes());
    }
    if json {
        let all: Vec<Json> = OPTION_FIELDS.iter().map(|field| as_json(field, options)).collect();
        return output::answer(out, &Json::Array(all), true);
    }
    let mut group = "";
    for field in OPTION_FIELDS {
        if field.group != group {
            let gap = if group.is_empty() { "" } else { "\n" };
            group = field.group;
            writeln!(out, "{gap}{group}")?;
        }
        print_field(out, field, options)?;
    }
    Ok(())
}

fn doc(field: &OptionField) -> String {
    let lines: Vec<&str> = field.doc.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

fn as_json(field: &OptionField, options: &Options) -> Json {
    let (value, default) = (field.value(options), field.default_value());
    json!({
        "name": field.name,
        "group": field.group,
        "type": field.kind.name(),
        "value": typed(field.kind, &value),
        "default": typed(field.kind, &default),
        "is_default": value == default,
        "superseded": field.is_superseded(),
        "original": field.original,
        "doc": doc(field),
    })
}

/// Numbers and switches as such; what has a unit, or is text, as text.
fn typed(kind: OptionKind, value: &str) -> Json {
    let plain = match kind {
        OptionKind::Bool => value.parse::<bool>().ok().map(Json::from),
        OptionKind::Count => value.parse::<u64>().ok().map(Json::from),
        OptionKind::Ratio => value.parse::<f64>().ok().map(Json::from),
        _ => None,
    };
    plain.unwrap_or_else(|| unquoted(value).into())
}

/// A TOML text without its quotes; other values are as they are.
fn unquoted(value: &str) -> String {
    let text = format!("v = {value}").parse::<toml::Table>();
    match text.ok().and_then(|mut table| table.remove("v")) {
        Some(toml::Value::String(text)) => text,
        _ => value.to_string(),
    }
}

fn print_field(out: &mut dyn Write, field: &OptionField, options: &Options) -> io::Result<()> {
    let (value, default) = (field.value(options), field.default_value());
    let mut notes = Vec::new();
    match value == default {
        true => notes.push("default".to_string()),
        false => notes.push(format!("default {default}")),
    }
    if field.is_superseded() {
        notes.push("superseded".to_string());
    }
    if !field.original.is_empty() {
        notes.push(format!("original {}", field.original));
    }
    let mark = if value == default { ' ' } else { '*' };
    writeln!(out, "{mark} {} = {value}", field.name)?;
    wrapped(out, &format!("[{}]", notes.join(", ")), "      ")?;
    wrapped(out, &doc(field), "      ")
}

/// Words in lines of at most 80 columns.
fn wrapped(out: &mut dyn Write, text: &str, indent: &str) -> io::Result<()> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(out, "{indent}{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{indent}{line}")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::db::Files;
    use crate::cli::run;
    use crate::cli::store::Exit;

    fn nokv(args: &[&str]) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = std::iter::once("nokv").chain(args.iter().copied()).map(OsString::from);
        let exit = run(&Files, args, &mut out, &mut err, false);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (exit, text(out), text(err))
    }

    fn ok(args: &[&str]) -> String {
        let (exit, out, err) = nokv(args);
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{args:?}");
        out
    }

    #[test]
    fn every_option_is_printed_with_its_doc_in_80_columns() {
        let text = ok(&["options"]);
        for field in OPTION_FIELDS {
            let value = format!("\n  {} = {}\n", field.name, field.default_value());
            assert!(text.contains(&value), "{}", field.name);
        }
        let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{long:?}");
        assert!(text.contains("[default, superseded, original DiscardStatsFlushThreshold]"), "{text}");
    }

    #[test]
    fn what_differs_from_the_default_is_marked() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = dir.path().join("c.toml");
        std::fs::write(&config, "block_bytes = \"8KiB\"\n").expect("a writable directory");
        let text = ok(&["options", "--config", config.to_str().expect("text")]);
        assert!(text.contains("\n* block_bytes = \"8KiB\"\n      [default \"4KiB\"]\n"), "{text}");
        let json = ok(&["options", "--json", "--config", config.to_str().expect("text")]);
        let all: Json = serde_json::from_str(&json).expect("JSON");
        let field = all.as_array().expect("a list").iter().find(|f| f["name"] == "block_bytes");
        let field = field.expect("the option");
        assert_eq!((&field["value"], &field["is_default"]), (&json!("8KiB"), &json!(false)));
        assert_eq!(field["default"], "4KiB");
        for field in all.as_array().expect("a list") {
            let is_of_kind = |value: &Json| match field["type"].as_str() {
                Some("bool") => value.is_boolean(),
                Some("count") => value.is_u64(),
                Some("ratio") => value.is_f64(),
                _ => value.is_string(),
            };
            assert!(is_of_kind(&field["value"]) && is_of_kind(&field["default"]), "{field}");
        }
    }

    #[test]
    #[cfg(any(feature = "art", feature = "skiplist"))] // it opens a database
    fn the_toml_form_is_a_file_that_other_commands_take() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
        let toml = ok(&["options", "--toml", "--workdir", &path("db")]);
        std::fs::write(path("c.toml"), &toml).expect("a writable directory");
        assert_eq!(ok(&["options", "--toml", "--config", &path("c.toml")]), toml);
        // The file names the directory; --workdir goes before it.
        ok(&["set", "--config", &path("c.toml"), "k", "v"]);
        assert_eq!(ok(&["get", "--workdir", &path("db"), "k"]), "v\n");
        ok(&["set", "--config", &path("c.toml"), "--workdir", &path("other"), "k", "w"]);
        assert_eq!(ok(&["get", "--workdir", &path("other"), "k"]), "w\n");
    }

    #[test]
    #[cfg(any(feature = "art", feature = "skiplist"))] // it opens a database
    fn options_from_the_file_have_an_effect() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
        std::fs::write(path("c.toml"), "max_batch_bytes = 100\n").expect("a writable directory");
        let long = "v".repeat(200);
        let (exit, _, err) =
            nokv(&["set", "--config", &path("c.toml"), "--workdir", &path("db"), "k", &long]);
        assert_eq!(exit, Exit::Error);
        assert!(err.contains("above the limit of 100"), "{err}");
    }

    #[test]
    fn a_mistake_in_the_file_is_one_line_that_names_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
        std::fs::write(path("c.toml"), "# mine\nvalue_threshold = 1\n").expect("a writable directory");
        let (exit, _, err) = nokv(&["set", "--config", &path("c.toml"), "--workdir", &path("db"), "k", "v"]);
        assert_eq!(exit, Exit::Error);
        let start =
            format!("nokv: value_threshold is named value_threshold_bytes here: {} line 2: ", path("c.toml"));
        assert!(err.starts_with(&start) && err.lines().count() == 1, "{err}");
        assert!(!dir.path().join("db").exists());
        let (exit, _, err) = nokv(&["options", "--config", &path(".")]);
        assert!(exit == Exit::Error && err.starts_with("nokv: this is a directory: "), "{err}");
        // What is wrong binds the file's option to two that are not in it.
        std::fs::write(path("c.toml"), "num_level_zero_tables = 100\n").expect("a writable directory");
        let (exit, _, err) = nokv(&["options", "--config", &path("c.toml")]);
        assert!(exit == Exit::Error && err.contains("c.toml line 1"), "{err}");
        let defaults =
            "; not in the file, so by default: level0_stop_tables = 24, level0_compaction_tables = 4";
        assert!(err.contains(defaults), "{err}");
        let (exit, _, err) = nokv(&["options", "--config", &path("none.toml")]);
        assert!(exit == Exit::Error && err.contains("none.toml"), "{err}");
    }
}
