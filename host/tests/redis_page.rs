//! `docs/redis.md` and the server say the same: commands and settings.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;

use nokv::redis::Config;
use nokv::redis::commands::Table;
use nokv::redis::settings::SETTINGS;

fn page() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/redis.md");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

/// Command, or command and subcommand, with its state.
fn matrix(page: &str) -> BTreeMap<String, String> {
    let table = Table::shared();
    let mut all = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let state = cells[2];
        if !["done", "in work", "later", "never"].contains(&state) {
            continue;
        }
        let names: Vec<&str> = cells[1].trim_matches('`').split(' ').collect();
        let has_subs = table.find(names[0].as_bytes()).is_some_and(|command| !command.subcommands.is_empty());
        if has_subs {
            for sub in &names[1..] {
                let old = all.insert(format!("{}|{sub}", names[0]), state.to_owned());
                assert_eq!(old, None, "{} {sub} stands twice", names[0]);
            }
        } else {
            for name in names {
                assert_eq!(all.insert(name.to_owned(), state.to_owned()), None, "{name} stands twice");
            }
        }
    }
    all
}

#[test]
fn the_matrix_has_the_commands_of_the_server_and_no_others() {
    let matrix = matrix(&page().1);
    assert!(matrix.len() > 200, "the matrix is gone");
    for entry in Table::shared().entries() {
        if !entry.command.subcommands.is_empty() || entry.command.name == "help" {
            continue;
        }
        let state = matrix.get(&entry.full).map(String::as_str);
        assert_eq!(state, Some("done"), "{} in docs/redis.md", entry.full);
    }
    for (name, _) in matrix.iter().filter(|(_, state)| *state == "done") {
        let is_there = Table::shared().entries().iter().any(|entry| entry.full == *name);
        assert!(is_there, "docs/redis.md says that {name} is done");
    }
}

#[test]
fn every_command_says_what_it_is() {
    for entry in Table::shared().entries() {
        let command = entry.command;
        assert!(!command.summary.is_empty() && !command.group.is_empty(), "{}", entry.full);
        assert!(command.name.bytes().all(|b| b.is_ascii_lowercase() || b"-_".contains(&b)), "{}", entry.full);
        // What its usage says fits its arity, at least for those that take nothing.
        if command.usage.is_empty() && command.name != "help" && command.subcommands.is_empty() {
            let own = if entry.parent.is_some() { 2 } else { 1 };
            assert!(
                command.arity == own || command.arity == -own,
                "{} has arguments without a usage",
                entry.full
            );
        }
    }
}

#[test]
fn the_page_has_the_settings() {
    let config = Config::default();
    let (path, text) = page();
    let rows: Vec<String> = SETTINGS
        .iter()
        .map(|setting| {
            let value = setting.get(&config);
            let value = if value.is_empty() { String::new() } else { format!("`{value}`") };
            let is_mutable = if setting.is_mutable { "yes" } else { "no" };
            format!("| `{}` | {} | {value} | {is_mutable} |\n", setting.name, setting.help)
        })
        .collect();
    let head = "| setting | what it is for | default | CONFIG SET |\n|---|---|---|---|\n";
    let start = text.find(head).expect("the table of settings") + head.len();
    let end = start + text[start..].find("\n\n").expect("its end") + 1;
    if std::env::var_os("NOKV_BLESS").is_some() {
        let new = format!("{}{}{}", &text[..start], rows.concat(), &text[end..]);
        std::fs::write(path, new).expect("a writable page");
        return;
    }
    assert_eq!(&text[start..end], rows.concat(), "NOKV_BLESS=1 rewrites docs/redis.md");
}
