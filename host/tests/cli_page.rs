//! `docs/cli.md` is what the argument parser says.
#![allow(missing_docs)]

use std::path::Path;

#[test]
fn the_page_is_what_the_parser_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = nokv::cli::page::page();
    if std::env::var_os("NOKV_BLESS").is_some() {
        std::fs::write(&path, &page).expect("a writable page");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (stored, made)) in stored.lines().zip(page.lines()).enumerate() {
        assert_eq!(stored, made, "docs/cli.md line {}: NOKV_BLESS=1 rewrites it", line + 1);
    }
    assert!(stored == page, "docs/cli.md is not as long as it should be: NOKV_BLESS=1 rewrites it");
}

#[test]
fn every_command_is_told_with_what_it_does() {
    use clap::CommandFactory;
    let page = nokv::cli::page::page();
    fn each(command: &clap::Command, path: &str, page: &str) {
        for sub in command.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set()) {
            let path = format!("{path} {}", sub.get_name());
            assert!(sub.get_about().is_some_and(|about| about.to_string().len() > 10), "{path} has no help");
            if sub.has_subcommands() {
                each(sub, &path, page);
                continue;
            }
            assert!(page.contains(&format!("\n## {path}\n")), "{path} has no section");
            for arg in sub.get_arguments().filter(|a| !a.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{path} {} has no help", arg.get_id());
                if let Some(long) = arg.get_long().filter(|long| *long != "help") {
                    assert!(page.contains(&format!("--{long}")), "{path} --{long} is not on the page");
                }
            }
        }
    }
    each(&nokv::cli::args::Cli::command(), "nokv", &page);
}
