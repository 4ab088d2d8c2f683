//! The page about unsafe code is held against the sources: every file, and how much of it.

use std::collections::BTreeMap;

use crate::workspace::{PACKAGES, UNSAFE_FILES, code_of, has_word, read, root, rust_files};

/// Blocks, functions and implementations; those of tests are counted too.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Counts {
    blocks: usize,
    functions: usize,
    impls: usize,
}

/// What follows each `unsafe` that is code.
fn counts(code: &str) -> Counts {
    let mut counts = Counts::default();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    for (at, word) in code.match_indices("unsafe") {
        let rest = &code[at + word.len()..];
        if code[..at].ends_with(is_part) || rest.starts_with(is_part) {
            continue;
        }
        match rest.trim_start() {
            rest if rest.starts_with('{') => counts.blocks += 1,
            rest if rest.starts_with("fn ") => counts.functions += 1,
            rest if rest.starts_with("impl") => counts.impls += 1,
            rest => panic!("a use of unsafe that the page has no column for: {:.40}", rest),
        }
    }
    counts
}

#[test]
fn each_kind_is_counted() {
    let code =
        code_of("unsafe impl<T> A {} unsafe fn b() { unsafe\n{ c() } } // unsafe {\n#![allow(unsafe_code)]");
    assert_eq!(counts(&code), Counts { blocks: 1, functions: 1, impls: 1 });
}

#[test]
fn the_page_lists_every_file_with_its_counts() {
    let page = read(&root().join("docs/unsafe.md"));
    let mut listed = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, file, blocks, functions, impls, why, shown, _] = cells[..] else {
            panic!("a row of six cells: {row}")
        };
        assert!(!why.is_empty() && !shown.is_empty(), "{row}");
        let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("a number: {row}"));
        let counts = Counts { blocks: number(blocks), functions: number(functions), impls: number(impls) };
        listed.insert(file.trim_matches('`').to_owned(), counts);
    }
    let found: BTreeMap<String, Counts> = UNSAFE_FILES
        .iter()
        .map(|file| ((*file).to_owned(), counts(&code_of(&read(&root().join(file))))))
        .collect();
    assert_eq!(listed, found, "left: docs/unsafe.md; right: the sources");
    let sum = |of: fn(&Counts) -> usize| found.values().map(of).sum::<usize>();
    let total = format!(
        "{} blocks, {} functions and {} implementations in {} files",
        sum(|c| c.blocks),
        sum(|c| c.functions),
        sum(|c| c.impls),
        found.len()
    );
    assert!(page.contains(&total), "docs/unsafe.md does not say: {total}");
}

#[test]
fn a_package_without_unsafe_code_forbids_it() {
    for (folder, _, _) in PACKAGES {
        let sources = root().join(folder).join("src");
        let has_unsafe = rust_files(&sources).iter().any(|path| has_word(&code_of(&read(path)), "unsafe"));
        let forbids = code_of(&read(&sources.join("lib.rs"))).contains("#![forbid(unsafe_code)]");
        // With some, the lint of the workspace denies it, and the files of the list lift that.
        assert_eq!(forbids, !has_unsafe, "{folder}/src/lib.rs");
    }
}
