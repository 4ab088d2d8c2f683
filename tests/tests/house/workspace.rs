//! The shape of the repository: folders, directions between packages, dependencies, lints, where unsafe stands.
//!
//! It reads manifests and sources, so it holds for code that no build here compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder, package, and its place in the order of directions: a package uses packages of lower places only.
pub(crate) const PACKAGES: &[(&str, &str, u8)] = &[
    ("formats", "nokv-formats", 0),
    ("core", "nokv-core", 1),
    ("index-skiplist", "nokv-index-skiplist", 2),
    ("index-art", "nokv-index-art", 2),
    ("vfs-std", "nokv-vfs-std", 2),
    ("vfs-mem", "nokv-vfs-mem", 2),
    ("host", "nokv", 3),
    ("tests", "nokv-tests", 4),
];

/// Folders at the root that are no package.
const OTHER_FOLDERS: &[&str] = &["docs", ".ci"];

/// Files at the root.
const FILES: &[&str] =
    &[".gitignore", "CHANGELOG.md", "Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "rustfmt.toml"];

/// Packages that build without std.
const NO_STD: &[&str] = &["formats", "core", "index-skiplist", "index-art", "vfs-mem"];

/// Dependencies that are part of the design: where each is used, and what for.
const SET_DEPENDENCIES: &[(&str, &str, &str)] = &[
    ("hashbrown", "core", "tables that nothing iterates"),
    ("crc", "formats", "CRC-32C where no hardware does it, and the oracle of its tests"),
    ("bytemuck", "formats", "words of a filter's lines"),
    ("zerocopy", "formats", "views of fixed records"),
    ("memmap2", "vfs-std", "writable maps of log segments (feature mmap)"),
    ("spin", "core", "locks without std"),
    ("heapless", "formats", "file names"),
    ("heapless", "core", "spare buffers of the value log"),
    ("proptest", "formats", "round trips of every format"),
    ("proptest", "core", "readers against models"),
    ("proptest", "host", "round trips of the text formats"),
    ("proptest", "tests", "laws and models"),
    ("criterion", "tests", "benches"),
];

/// The files where unsafe code may stand, each with the reason at its top.
pub(crate) const UNSAFE_FILES: &[&str] = &[
    "core/src/arena.rs",
    "core/src/arena/entries.rs",
    "core/src/hotring/once.rs",
    "index-art/src/cursor.rs",
    "index-art/src/node.rs",
    "index-skiplist/src/cursor.rs",
    "index-skiplist/src/node.rs",
    // Benchmarks: an allocator that counts, a plain map to compare with, a rival.
    "tests/bench/src/bin/wal/count.rs",
    "tests/bench/src/bin/wal/floor.rs",
    "tests/bench/src/engines/lmdb.rs",
    // Counting allocators.
    "tests/examples/bare_metal/counting.rs",
    "tests/tests/budget/counting.rs",
    "tests/tests/hostile/meter.rs",
    "vfs-std/src/map.rs",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the root").to_owned()
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names in the dependency tables of a manifest, those of single targets included; true for those of tests only.
fn dependencies(folder: &str) -> Vec<(String, bool)> {
    let manifest = manifest(folder);
    let mut tables = vec![&manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    let mut names = Vec::new();
    for table in tables {
        for (section, only_tests) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            let Some(section) = table.get(section).and_then(toml::Value::as_table) else { continue };
            names.extend(section.iter().map(|(name, value)| {
                let renamed = value.get("package").and_then(toml::Value::as_str);
                (renamed.unwrap_or(name).to_owned(), only_tests)
            }));
        }
    }
    names
}

/// All Rust files below a folder, paths from the root; build output left out.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The code of a file: comments and the contents of strings are left out, lines stay.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(hashes) = raw_string_hashes(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len())
        } else if c == '"' {
            string_len(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn raw_string_hashes(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Length of the plain string that `text` opens with.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Does `word` stand in `code` as a whole word?
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part))
}

/// Does `code` name the crate in a path or an import? A module of our own with the same name does not count.
fn names_crate(code: &str, name: &str) -> bool {
    let name = name.replace('-', "_");
    let imports = [format!("use {name};"), format!("extern crate {name}"), format!("use {name} as")];
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    imports.iter().any(|import| code.contains(import))
        || code.match_indices(&format!("{name}::")).any(|(at, _)| !code[..at].ends_with(is_part))
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_scanner_leaves_out_comments_and_strings() {
    let code =
        code_of("a // unsafe {\n/* unsafe */ \"unsafe \\\" {\" r#\"unsafe \"\"# '\"' b\nunsafe_code x");
    assert!(!has_word(&code, "unsafe"), "{code}");
    assert!(code.contains('b') && code.contains("unsafe_code"), "{code}");
    assert_eq!(code.lines().count(), 3);
    assert!(has_word(&code_of("\"a\"; unsafe { b() }"), "unsafe"));
    assert!(names_crate("use crc::Crc;", "crc") && names_crate("let a = crc::X;", "crc"));
    assert!(!names_crate("use crate::crc::{Crc}; mycrc::x; crc32c::y", "crc"));
}

#[test]
fn the_root_holds_what_the_readme_lists_and_nothing_else() {
    let expected: BTreeSet<String> = PACKAGES
        .iter()
        .map(|(folder, _, _)| *folder)
        .chain(OTHER_FOLDERS.iter().copied())
        .chain(FILES.iter().copied())
        .map(str::to_owned)
        .collect();
    let found: BTreeSet<String> = fs::read_dir(root())
        .expect("a readable root")
        .map(|entry| entry.expect("a readable root").file_name().into_string().expect("a plain name"))
        .filter(|name| name != ".git" && name != "target")
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn members_are_the_packages() {
    let workspace = manifest("");
    let members: Vec<&str> = workspace["workspace"]["members"]
        .as_array()
        .expect("a list of members")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let folders: BTreeSet<&str> = PACKAGES.iter().map(|(folder, _, _)| *folder).collect();
    assert_eq!(members.iter().copied().collect::<BTreeSet<_>>(), folders);
    assert_eq!(workspace["workspace"]["default-members"].as_array().expect("a list"), &["host".into()]);
    for (folder, package, _) in PACKAGES {
        assert_eq!(manifest(folder)["package"]["name"].as_str(), Some(*package), "{folder}");
    }
}

#[test]
fn no_arrow_runs_back() {
    let places: BTreeMap<&str, u8> = PACKAGES.iter().map(|(_, package, place)| (*package, *place)).collect();
    for (folder, package, place) in PACKAGES {
        for (name, _) in dependencies(folder) {
            let Some(other) = places.get(name.as_str()) else {
                assert!(
                    !name.starts_with("nokv"),
                    "{folder} uses {name}, which is no package of the workspace"
                );
                continue;
            };
            assert!(other < place, "{package} uses {name}: formats <- core <- index, vfs <- host <- tests");
        }
    }
    // Only the host joins indexes and file systems, and the core reaches them through its own traits.
    let core: Vec<_> = dependencies("core").into_iter().filter(|(n, _)| n.starts_with("nokv")).collect();
    assert!(core.iter().all(|(name, _)| name == "nokv-formats"), "{core:?}");
}

#[test]
fn set_dependencies_are_declared_where_the_table_says() {
    let set: BTreeSet<&str> = SET_DEPENDENCIES.iter().map(|(name, _, _)| *name).collect();
    let mut declared = BTreeSet::new();
    for (folder, _, _) in PACKAGES {
        for (name, _) in dependencies(folder) {
            if let Some(name) = set.get(name.as_str()) {
                declared.insert((*name, *folder));
            }
        }
    }
    let expected: BTreeSet<_> = SET_DEPENDENCIES.iter().map(|(name, folder, _)| (*name, *folder)).collect();
    assert_eq!(declared, expected);
}

#[test]
fn every_declared_dependency_is_used() {
    let mut unused = Vec::new();
    for (folder, _, _) in PACKAGES {
        let base = root().join(folder);
        let code_below = |parts: &[&str]| -> Vec<String> {
            parts.iter().flat_map(|part| rust_files(&base.join(part))).map(|f| code_of(&read(&f))).collect()
        };
        let sources = code_below(&["src"]);
        let tests = code_below(&["tests", "benches", "examples"]);
        for (name, only_tests) in dependencies(folder) {
            let in_sources = sources.iter().any(|code| names_crate(code, &name));
            let in_tests = tests.iter().any(|code| names_crate(code, &name));
            // The suites are the product of the package of tests.
            if !in_sources && !(in_tests && (only_tests || *folder == "tests")) {
                unused.push(format!("{folder}: {name}"));
            }
        }
    }
    assert!(unused.is_empty(), "declared and not used: {unused:#?}");
}

#[test]
fn the_lints_are_shared() {
    let workspace = manifest("");
    let lints = &workspace["workspace"]["lints"];
    for (group, lint) in [
        ("rust", "unsafe_code"),
        ("rust", "missing_docs"),
        ("clippy", "disallowed_types"),
        ("clippy", "disallowed_methods"),
    ] {
        assert_eq!(lints[group][lint].as_str(), Some("deny"), "{lint}");
    }
    for (folder, _, _) in PACKAGES {
        assert_eq!(manifest(folder)["lints"]["workspace"].as_bool(), Some(true), "{folder}");
    }
    for folder in ["formats", "core"] {
        let clippy: toml::Table = read(&root().join(folder).join("clippy.toml")).parse().expect("TOML");
        let listed: BTreeSet<&str> = ["disallowed-types", "disallowed-methods"]
            .iter()
            .filter_map(|key| clippy[*key].as_array())
            .flatten()
            .filter_map(|item| item["path"].as_str())
            .collect();
        for ambient in
            ["std::time::Instant", "std::thread::spawn", "std::fs::File", "std::collections::HashMap"]
        {
            assert!(listed.contains(ambient), "{folder}/clippy.toml allows {ambient}");
        }
    }
    for folder in NO_STD {
        let lib = code_of(&read(&root().join(folder).join("src/lib.rs")));
        assert!(lib.contains("no_std"), "{folder} needs std");
    }
}

#[test]
fn unsafe_stands_in_named_files_only() {
    let mut found = BTreeSet::new();
    for (folder, _, _) in PACKAGES {
        for path in rust_files(&root().join(folder)) {
            let text = read(&path);
            let code = code_of(&text);
            let lifts = ["allow(unsafe_code", "expect(unsafe_code"].iter().any(|lint| code.contains(lint));
            if has_word(&code, "unsafe") || lifts {
                let name = path.strip_prefix(root()).expect("below the root").to_str().expect("text");
                assert!(
                    code.contains("#![allow(unsafe_code"),
                    "{name}: unsafe code, without the line that lifts the lint at the top of the file"
                );
                found.insert(name.replace('\\', "/"));
            }
        }
    }
    let named: BTreeSet<String> = UNSAFE_FILES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, named, "left: files with unsafe code; right: the list in this test");
}

/// Names of all packages that `nokv` is built from with these flags.
fn built_from(flags: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = |offline: &[&str]| {
        Command::new(&cargo)
            .current_dir(root())
            .args(["tree", "--locked", "-p", "nokv", "--prefix", "none", "--format", "{p}"])
            .args(flags)
            .args(offline)
            .output()
            .expect("cargo runs the tests, so it runs here")
    };
    // Packages of features that this build did not need may have to be fetched first.
    let mut output = tree(&["--offline"]);
    if !output.status.success() {
        output = tree(&[]);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_library_alone_pulls_in_no_command_line_no_runtime_and_no_maps() {
    let alone = built_from(&["--no-default-features", "-e", "normal"]);
    assert!(alone.contains("nokv-core"), "{alone:?}");
    for name in ["clap", "tokio", "memmap2", "indicatif", "flate2", "serde_json"] {
        assert!(!alone.contains(name), "{name} comes with default-features = false");
    }
    let usual = built_from(&["-e", "normal"]);
    for name in ["clap", "memmap2", "nokv-index-skiplist", "nokv-index-art"] {
        assert!(usual.contains(name), "{name} does not come with the default features");
    }
}

#[test]
fn the_default_build_needs_no_c_compiler() {
    let usual = built_from(&["-e", "normal,build"]);
    for name in ["cc", "cmake", "bindgen", "prost-build", "protoc-bin-vendored", "zstd-sys", "libz-sys"] {
        assert!(!usual.contains(name), "{name} comes with the default features");
    }
}
