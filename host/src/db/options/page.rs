//! The page about the options, `docs/options.md`: made from the table, so that it cannot fall behind.

use std::fmt::Write;

use super::OPTION_FIELDS;

const HEAD: &str = "\
# Options

Made from the table of options in the code; do not edit. `NOKV_BLESS=1 cargo test -p nokv-tests --test house`
writes it anew.

All are fields of `nokv::Options`. Every one may differ at the next open. `nokv options` prints what is in effect,
`nokv options --toml` a file with all of them, which `Options::from_toml_file` and `--config FILE` take. The clock, the event
listener and the file system are values of the program and not text: they are set in code. The environment is not asked.

- **bytes**: a whole number, or one with a unit: `\"64KiB\"`, `\"64MiB\"`, `\"1GiB\"`.
- **duration**: always with a unit: `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"1h\"`.
- **ratio**: a number with a fraction. NaN and infinities are refused.
- **count**: a whole number. Negative numbers are refused everywhere; where the original took them for \"off\" or \"default\", 0
  is that.

An unknown key, a wrong type or unit, or a value out of its bounds is an error that names the key and its line. So is the
original's name of an option that is called otherwise here; the error names the new one.
";

/// The page about the options.
pub fn page() -> String {
    let mut out = String::from(HEAD);
    let mut group = "";
    for field in OPTION_FIELDS {
        if field.group != group {
            group = field.group;
            let _ = write!(
                out,
                "\n## {group}\n\n| option | type | default | meaning | in the original |\n|---|---|---|---|---|\n"
            );
        }
        let doc: Vec<&str> = field.doc.iter().map(|line| line.trim()).collect();
        let doc = doc.join(" ").replace('|', "\\|");
        let original =
            if field.original.is_empty() { "-".to_string() } else { format!("`{}`", field.original) };
        let default = match field.name {
            // These depend on what is compiled in.
            "mem_table_engine" => "`\"art\"`; without it `\"skiplist\"`".to_string(),
            "compression" => "`\"lz4\"`; without it `\"none\"`".to_string(),
            _ => format!("`{}`", field.default_value()),
        };
        let kind = field.kind.name();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `{}` | {kind} | {default} | {doc} | {original} |", field.name);
    }
    out
}
