//! Options as a TOML file: flat, one key for each option of [`OPTION_FIELDS`].
//!
//! The clock, the listener and the file system are values of the program and no text: they are set in code only. The
//! environment is not asked.
//!
//! 1. Nothing is taken for something else: a key that is not known, or that is there twice, a value of another type
//!    or unit, or one out of its bounds is an error. It names the key, the file and the line.
//! 2. What [`Options::to_toml`] writes gives the same options back.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use nokv_core::error::IoContext;
use nokv_core::vfs::{OpenMode, VfsFile};
use nokv_core::{Error, Result, Vfs};
use nokv_vfs_std::StdFs;
use toml::de::DeTable;

use super::{OPTION_FIELDS, OptionField, Options};

/// A file of options is shorter than this.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a program sets in code.
const NOT_TEXT: [&str; 4] = ["clock", "listener", "fs", "file_system"];

/// Where an error is.
struct Source<'a> {
    text: &'a str,
    name: &'a str,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn error(&self, line: usize, what: &str) -> Error {
        Error::InvalidArgument(format!("{}:{line}: {what}", self.name))
    }
}

/// A name without what spelling adds to it.
fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// Insertions, removals and exchanges that make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What to say of a key that no option has.
fn unknown(key: &str) -> String {
    let same = |name: &str| folded(name) == folded(key);
    if NOT_TEXT.iter().any(|name| same(name)) {
        return format!("{key} is no text: a program sets it in its Options");
    }
    if let Some(field) = OPTION_FIELDS.iter().find(|f| same(f.original) || same(f.name)) {
        let unit = match (field.original, field.is_cache()) {
            (_, true) => " (a number of entries became a number of bytes)",
            _ => "",
        };
        return format!("{key} is named {} here{unit}", field.name);
    }
    let near = OPTION_FIELDS.iter().map(|f| (distance(f.name, key), f.name)).min();
    match near.filter(|(distance, _)| *distance <= 3) {
        Some((_, name)) => format!("{key} is not an option; the nearest is {name}"),
        None => format!("{key} is not an option"),
    }
}

impl Options {
    /// The options in a TOML file; what it does not name has its default.
    ///
    /// Sizes are integers or texts with a unit (`"64MiB"`), times are texts with a unit (`"30s"`, `"250ms"`). The
    /// clock, the listener and the file system are not text: set them afterwards.
    ///
    /// ```
    /// # fn main() -> nokv::Result<()> {
    /// let text = "mem_table_bytes = \"8MiB\"\nvalue_log_gc_interval = \"5m\"\n";
    /// let options = nokv::Options::from_toml_str(text, "example")?;
    /// assert_eq!(options.mem_table_bytes, 8 << 20);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidArgument`] names key, file and line.
    pub fn from_toml_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bad = |what: &str| Error::InvalidArgument(format!("{name}: {what}"));
        let file = path.to_str().ok_or_else(|| bad("the name is not UTF-8"))?;
        let file = StdFs::new().open(file, OpenMode::Read).at("open", &name)?;
        let len = file.size().at("size", &name)?;
        if len > FILE_BYTES_MAX {
            return Err(bad("longer than 1 MiB: no file of options"));
        }
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0).at("read", &name)?;
        let text = String::from_utf8(bytes).map_err(|_| bad("the text is not UTF-8"))?;
        Self::from_toml_str(&text, &name)
    }

    /// The options in a TOML text; errors call it `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names key and line.
    pub fn from_toml_str(text: &str, name: &str) -> Result<Self> {
        let source = Source { text, name };
        let table = DeTable::parse(text).map_err(|error| {
            let line = source.line(error.span().map_or(text.len(), |span| span.start));
            source.error(line, &syntax_error(text, &error))
        })?;
        let table = table.get_ref();
        // In the order of the file, so that the first error is told.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut options = Self::default();
        let mut lines = BTreeMap::new();
        for (key, value) in entries {
            let line = source.line(key.span().start);
            let key = key.get_ref().as_ref();
            let Some(field) = OPTION_FIELDS.iter().find(|field| field.name == key) else {
                return Err(source.error(line, &unknown(key)));
            };
            field
                .parse_into(&mut options, value.get_ref())
                .map_err(|what| source.error(source.line(value.span().start), &format!("{key} {what}")))?;
            lines.insert(field.name, line);
        }
        options.validate().map_err(|error| match error {
            Error::InvalidArgument(what) => {
                // The rule may bind two options of which the file names the second.
                let words = || what.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let line = words().find_map(|word| lines.get(word)).copied();
                let what = format!("{what}{}", defaults_among(words(), &lines));
                line.map_or_else(
                    || Error::InvalidArgument(format!("{name}: {what}")),
                    |line| source.error(line, &what),
                )
            }
            other => other,
        })?;
        Ok(options)
    }

    /// A TOML text with every option and its documentation, which [`Options::from_toml_str`] takes. The clock, the
    /// listener and the file system are not in it. A name of a directory that is not UTF-8, which
    /// [`Options::validate`] refuses, has its odd bytes replaced.
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# Options of a NoKV database. What is not named has its default.\n\
             # Sizes: 4096, \"64KiB\", \"64MiB\", \"1GiB\". Times: \"250ms\", \"30s\", \"5m\".\n",
        );
        let mut group = "";
        for field in OPTION_FIELDS {
            if field.group != group {
                group = field.group;
                push(&mut out, format_args!("\n# ---- {group}\n"));
            }
            push(&mut out, format_args!("\n"));
            for line in field.doc {
                push(&mut out, format_args!("#{line}\n"));
            }
            push(&mut out, format_args!("{} = {}\n", field.name, field.value(self)));
        }
        out
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

/// Which of the options that a message names are not in the file, and what they are by default.
fn defaults_among<'a>(words: impl Iterator<Item = &'a str>, lines: &BTreeMap<&str, usize>) -> String {
    let mut absent: Vec<String> = Vec::new();
    for field in words.filter_map(OptionField::find).filter(|field| !lines.contains_key(field.name)) {
        let text = format!("{} = {}", field.name, field.default_value());
        if !absent.contains(&text) {
            absent.push(text);
        }
    }
    match absent.is_empty() {
        true => String::new(),
        false => format!("; not in the file, so by default: {}", absent.join(", ")),
    }
}

/// What the parser says, with the key where it does not name it.
fn syntax_error(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let at = error.span().and_then(|span| text.get(span)).map(str::trim).filter(|at| !at.is_empty());
    match at {
        Some(at) if at.lines().count() == 1 => format!("{message}: {at}"),
        _ => message.to_string(),
    }
}

impl OptionField {
    fn is_cache(&self) -> bool {
        self.name.ends_with("_cache_bytes")
    }
}
