//! `docs/cli.md`, made from the argument parser, so that page and parser cannot differ.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::args::Cli;

const HEAD: &str = "\
# Command line

Made from the argument parser; a test compares. `NOKV_BLESS=1 cargo test -p nokv --test cli_page` writes it anew.

Answers go to standard output; complaints, notes, progress bars and logs go to standard error. A complaint is one line:
`nokv: what: where: what to do next`. A reader that closes the pipe early is no error.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | the key is absent, or a check found damage |
| 2 | any other error: wrong arguments, no database, in use by another process, I/O |
| 130 | a workload was interrupted by Ctrl-C; what it did until then is stored |

";

/// The page.
pub fn page() -> String {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut page = HEAD.to_owned();
    let _ = write!(page, "## nokv\n\n{}\n\n", about(&root));
    table(&mut page, "Flags of every command", root.get_arguments().filter(|arg| arg.is_global_set()));
    page.push_str("| command | does |\n|---|---|\n");
    index(&mut page, &root, "nokv");
    for command in root.get_subcommands().filter(|c| is_shown(c)) {
        section(&mut page, command, "nokv");
    }
    page
}

fn is_shown(command: &Command) -> bool {
    command.get_name() != "help" && !command.is_hide_set()
}

fn about(command: &Command) -> String {
    let text = command.get_long_about().or_else(|| command.get_about());
    escaped(&text.map_or_else(String::new, ToString::to_string))
}

/// Angle brackets and bars would be taken for HTML and tables.
fn escaped(text: &str) -> String {
    text.trim().replace('|', "\\|").replace('<', "\\<")
}

/// Writing to a string does not fail, here and below.
fn index(page: &mut String, command: &Command, path: &str) {
    for sub in command.get_subcommands().filter(|c| is_shown(c)) {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            index(page, sub, &path);
        } else {
            let about = sub.get_about().map_or_else(String::new, ToString::to_string);
            let _ = writeln!(page, "| [`{path}`](#{}) | {} |", path.replace(' ', "-"), escaped(&about));
        }
    }
}

fn section(page: &mut String, command: &Command, path: &str) {
    let path = format!("{path} {}", command.get_name());
    if command.has_subcommands() {
        for sub in command.get_subcommands().filter(|c| is_shown(c)) {
            section(page, sub, &path);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let _ = write!(page, "\n## {path}\n\n{}\n\n```text\n{usage}\n```\n\n", about(command));
    let own = || {
        command
            .get_arguments()
            .filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
    };
    table(page, "", own());
    for arg in own() {
        let values: Vec<_> =
            arg.get_possible_values().into_iter().filter(|v| v.get_help().is_some()).collect();
        if arg.get_action().takes_values() && !values.is_empty() {
            let _ = writeln!(page, "Values of `{}`:\n", name_of(arg));
            for value in values {
                let help = value.get_help().map_or_else(String::new, ToString::to_string);
                let _ = writeln!(page, "- `{}`: {}", value.get_name(), escaped(&help));
            }
            page.push('\n');
        }
    }
    if let Some(examples) = command.get_after_help() {
        let text = examples.to_string();
        let (title, lines) = text.split_once('\n').unwrap_or(("Example:", &text));
        let _ = write!(page, "{title}\n\n```text\n{}\n```\n", unindented(lines));
    }
    let trimmed = page.trim_end().len();
    page.truncate(trimmed);
    page.push('\n');
}

fn unindented(lines: &str) -> String {
    lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn name_of(arg: &Arg) -> String {
    let value = || {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    match (arg.get_long(), arg.get_action()) {
        (None, _) => value(),
        (Some(long), ArgAction::SetTrue) => format!("--{long}"),
        (Some(long), _) => format!("--{long} {}", value()),
    }
}

fn table<'a>(page: &mut String, title: &str, args: impl Iterator<Item = &'a Arg>) {
    let mut is_first = true;
    for arg in args {
        if std::mem::take(&mut is_first) {
            if !title.is_empty() {
                let _ = write!(page, "{title}:\n\n");
            }
            page.push_str("| argument | meaning |\n|---|---|\n");
        }
        let help =
            arg.get_long_help().or_else(|| arg.get_help()).map_or_else(String::new, ToString::to_string);
        let mut text = escaped(&help.split_whitespace().collect::<Vec<_>>().join(" "));
        if !text.is_empty() && !text.ends_with(['.', '?', ']']) {
            // The parser takes it off.
            text.push('.');
        }
        let defaults: Vec<_> = arg.get_default_values().iter().map(|v| v.display().to_string()).collect();
        if !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values() {
            let _ = write!(text, " Default: `{}`.", defaults.join(" "));
        }
        if arg.is_required_set() && arg.get_long().is_some() {
            text.push_str(" Required.");
        }
        let _ = writeln!(page, "| `{}` | {text} |", name_of(arg));
    }
    if !is_first {
        page.push('\n');
    }
}
