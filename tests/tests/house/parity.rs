//! `docs/parity.md` against the original's names and our tests.
//!
//! - Every name of `tests/parity/names.txt` (all public names of the original's reference texts) has a row in its section.
//! - Every row says what the name is here, and names a test that exists; only the section of distributed names may
//!   say instead with which part of the system it comes.
//! - The rows of options name the option of [`nokv::OPTION_FIELDS`].
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const DISTRIBUTED: &str = "distributed";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

struct Row {
    original: String,
    here: String,
    note: String,
    tests: String,
}

/// Words in backticks.
fn ticked(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of each `## Section`, by its name in lower case.
fn sections(page: &str) -> BTreeMap<String, Vec<Row>> {
    let mut sections: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut current = None;
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            current = Some(name.to_lowercase());
            continue;
        }
        let (Some(section), Some(row)) = (&current, line.strip_prefix("| `")) else { continue };
        let cells: Vec<String> =
            row.replace("\\|", "\u{1}").split('|').map(|c| c.replace('\u{1}', "|")).collect();
        assert_eq!(cells.len(), 5, "four cells: {line}");
        let cell = |n: usize| cells[n].trim().to_owned();
        let original = cell(0).trim_end_matches('`').to_owned();
        sections.entry(section.clone()).or_default().push(Row {
            original,
            here: cell(1),
            note: cell(2),
            tests: cell(3),
        });
    }
    sections
}

fn page() -> BTreeMap<String, Vec<Row>> {
    sections(&fs::read_to_string(root().join("docs/parity.md")).expect("docs/parity.md"))
}

fn names() -> Vec<(String, String)> {
    let mut section = String::new();
    let mut names = Vec::new();
    for line in include_str!("../../parity/names.txt").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if !line.is_empty() && !line.starts_with('#') {
            names.push((section.clone(), line.to_owned()));
        }
    }
    names
}

/// `stem::function` of every test function of the project, and `stem::option` of every case of an option.
fn tests() -> BTreeSet<String> {
    fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
        for entry in fs::read_dir(dir).expect("read").map(|e| e.expect("entry").path()) {
            let name = entry.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if entry.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&entry, visit);
            } else if name.ends_with(".rs") {
                visit(&entry);
            }
        }
    }
    let mut tests = BTreeSet::new();
    walk(&root(), &mut |path| {
        let text = fs::read_to_string(path).expect("source");
        let mut stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        if ["mod", "tests", "lib", "main"].contains(&stem.as_str()) {
            let parent = path.parent().and_then(Path::file_name).and_then(|n| n.to_str());
            stem = parent.unwrap_or_default().to_owned();
        }
        if let Some(cases) = text.split("CASES: &[Case] = &[").nth(1).and_then(|rest| rest.split("];").next())
        {
            // Pairs of an option's name and its case.
            let names = cases.split("(\"").skip(1).filter_map(|rest| rest.split('"').next());
            tests.extend(names.map(|name| format!("{stem}::{name}")));
        }
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next()) else {
                is_test |= line == "#[test]";
                is_test &= line.is_empty() || line.starts_with("#[") || line.starts_with("//");
                continue;
            };
            if is_test {
                tests.insert(format!("{stem}::{name}"));
            }
            is_test = false;
        }
    });
    tests
}

#[test]
fn every_name_of_the_original_has_a_row() {
    let page = page();
    let missing: Vec<String> = names()
        .into_iter()
        .filter(|(section, name)| {
            !page.get(section).is_some_and(|rows| rows.iter().any(|r| r.original == *name))
        })
        .map(|(section, name)| format!("{section}: {name}"))
        .collect();
    assert!(missing.is_empty(), "{} without a row:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn every_row_names_a_test_that_exists() {
    let tests = tests();
    let mut faults = Vec::new();
    for (section, rows) in page() {
        for row in rows {
            let named = ticked(&row.tests);
            if row.here.is_empty() || row.here == "n/a" && row.note.len() < 20 {
                faults.push(format!("{section}: {} is nothing here and does not say why", row.original));
            }
            if named.is_empty() && !(section == DISTRIBUTED && row.tests.starts_with("with the ")) {
                faults.push(format!("{section}: {} has no test", row.original));
            }
            for name in named.iter().filter(|name| !tests.contains(**name)) {
                faults.push(format!("{section}: {} names `{name}`, which is no test", row.original));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn options_are_called_what_the_table_says() {
    let page = page();
    let rows = &page["options"];
    for field in nokv::OPTION_FIELDS.iter().filter(|f| !f.original.is_empty()) {
        let row = rows
            .iter()
            .find(|r| r.original == field.original)
            .unwrap_or_else(|| panic!("{}", field.original));
        assert_eq!(ticked(&row.here).first(), Some(&field.name), "{}", field.original);
    }
}

#[test]
fn the_scanner_knows_tests_from_other_functions() {
    let tests = tests();
    assert!(tests.contains("parity::the_scanner_knows_tests_from_other_functions"));
    assert!(!tests.contains("parity::ticked"));
    let rows = sections(
        "## A b\n| original | here | note | test |\n|---|---|---|---|\n| `X.y` | `x` | a \\| b | `t::u` |\n",
    );
    let row = &rows["a b"][0];
    assert_eq!(
        (row.original.as_str(), row.note.as_str(), ticked(&row.tests)),
        ("X.y", "a | b", vec!["t::u"])
    );
}
