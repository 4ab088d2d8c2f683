//! The page about the options is what the table of options says. `NOKV_BLESS=1` writes it anew.

use std::path::Path;

#[test]
fn the_page_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/options.md");
    let page = nokv::options_page();
    if std::env::var_os("NOKV_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == page, "docs/options.md is not what the table says: run this test with NOKV_BLESS=1");
}

#[test]
fn every_option_stands_in_the_page_once() {
    let page = nokv::options_page();
    for field in nokv::OPTION_FIELDS {
        let rows = page.lines().filter(|line| line.starts_with(&format!("| `{}` |", field.name)));
        assert_eq!(rows.count(), 1, "{}", field.name);
    }
}
